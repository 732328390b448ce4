//! Who can reach whom.
//!
//! Pods that no policy can tell apart are one *class*: namespace, the labels whose keys selectors use, named ports.
//! Selectors are evaluated once each, into bit sets over classes. Address blocks cut the address space into *atoms*,
//! the further columns. A *profile* is what decides one direction of a class; classes of the same profile share a
//! *row*, a partition of all columns by interned connection set. A connection from `s` to `d` is the egress row of
//! `s` at `d` intersected, as a set of ports, with the ingress row of `d` at `s`.

mod atoms;
mod cells;
mod certainty;
mod change;
mod classes;
mod compile;
mod crossings;
mod endpoints;
mod explain;
mod lint;
mod matrix;
mod narrow;
mod profile;
mod query;
mod resident;
mod row;
mod selectors;
mod sets;
mod settle;
mod shadow;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub(crate) use cells::{Block, Cells, PairChange, Subject};
pub use certainty::Verdict;
pub(crate) use change::{Changed, Touch};
pub(crate) use endpoints::{ASSUMED_CONTROLLER, KNOWN_CONTROLLERS};
pub use endpoints::{Endpoint, Endpoints};
pub use explain::{Decision, Explanation, Side};
pub(crate) use profile::Space;
pub use query::{Peer, Rows};
pub(crate) use resident::Engine;
pub use shadow::{RuleRef, Shadowed};

use crate::bits::{Bits, SharedBits};
use crate::conn::{ConnId, ConnSet};
use crate::nodes::Nodes;
use crate::objects::{Action, ObjectKey, Tier};
use crate::paged::Paged;
use crate::state::ClusterState;
use atoms::AtomTable;
use matrix::Shelf;
use profile::{PeerSet, Profile};

/// Whether an ipBlock matches the addresses of pods; Kubernetes leaves it to the network plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BlockPods {
    /// Blocks are the world outside (Cilium, np-guard).
    #[default]
    Never,
    /// Blocks match pods by address (most plugins). Pods whose address is unknown match the blocks that hold every
    /// address of a family.
    Match,
    /// As `Never`, and what `Match` would add is told as a caveat.
    Unknown,
}

/// How to read what Kubernetes leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// np-guard's reading wherever it differs: pods stand for their direct owner, IPv6 blocks are taken for IPv4.
    pub np_guard: bool,
    pub block_pods: BlockPods,
    /// The nodes in view are all that the cluster has. Without it that is so only of a state that says it
    /// ([`ClusterState::has_all_nodes`]).
    pub all_nodes: bool,
}

/// A direction of traffic, seen from the pod that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The other one.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// Something in the input that makes the answer less than certain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Stable code, such as `named_port_unresolved`.
    pub code: &'static str,
    /// The object that it is about.
    pub object: ObjectKey,
    pub message: String,
    /// The rule that it is about; none for the object as a whole.
    pub rule: Option<(Direction, usize)>,
    /// Of `peer_not_in_view` and `subject_not_in_view`: the namespaces, or pods of any namespace, of which nothing is in
    /// view, in words. Otherwise empty.
    pub absent: String,
}

impl Warning {
    /// About an object as a whole.
    pub(crate) fn of(code: &'static str, object: ObjectKey, message: String) -> Self {
        Self { code, object, message, rule: None, absent: String::new() }
    }

    /// True for selectors that match nothing.
    pub(crate) fn is_of_nobody(&self) -> bool {
        let codes =
            ["policy_selects_nothing", "subject_not_in_view", "rule_matches_nothing", "peer_not_in_view"];
        codes.contains(&self.code)
    }
}

/// In place of a profile: a column that is free, or a class whose rows are not evaluated yet.
const NO_PROFILE: u32 = u32::MAX;

/// Pods that no policy can tell apart.
#[derive(Debug, Clone)]
struct Class {
    egress: u32,
    ingress: u32,
    ports: u32,
    /// Workloads of the class; assumed peers are left out.
    members: SmallVec<[u32; 2]>,
    /// Policies that select it, by direction, in order of evaluation.
    egress_policies: Arc<[u32]>,
    ingress_policies: Arc<[u32]>,
}

impl Default for Class {
    fn default() -> Self {
        Self {
            egress: NO_PROFILE,
            ingress: NO_PROFILE,
            ports: 0,
            members: SmallVec::new(),
            egress_policies: Arc::default(),
            ingress_policies: Arc::default(),
        }
    }
}

impl Class {
    fn profile(&self, direction: Direction) -> u32 {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }

    fn policies(&self, direction: Direction) -> &[u32] {
        match direction {
            Direction::Ingress => &self.ingress_policies,
            Direction::Egress => &self.egress_policies,
        }
    }
}

/// The name of a port, and the protocol that must match if one must.
type PortName = (String, Option<crate::conn::Protocol>);

#[derive(Debug, Clone)]
struct Ports {
    fixed: ConnId,
    /// [`profile::NO_NAMES`] without named ports.
    named: u32,
}

/// The columns of a set of peers.
#[derive(Debug, Clone, Default)]
struct PeerColumns {
    classes: SharedBits,
    /// Atoms of the direction that the rule is of.
    atoms: SharedBits,
}

impl PeerColumns {
    fn of(&self, space: Space) -> &SharedBits {
        match space {
            Space::Classes => &self.classes,
            Space::Outside => &self.atoms,
        }
    }
}

impl Default for ConnId {
    fn default() -> Self {
        ConnId::NONE
    }
}

#[derive(Debug, Clone)]
struct CompiledRule {
    name: String,
    action: Action,
    peers: PeerSet,
    ports: Ports,
}

/// A policy of any kind, compiled.
#[derive(Debug, Clone)]
struct Policy {
    key: ObjectKey,
    source: Option<String>,
    /// `None`: a NetworkPolicy.
    tier: Option<Tier>,
    ingress: Option<Vec<CompiledRule>>,
    egress: Option<Vec<CompiledRule>>,
}

impl Policy {
    fn rules(&self, direction: Direction) -> Option<&[CompiledRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// The connectivity of one cluster state: an immutable value, cheap to share, to compare and to copy.
///
/// It is what an [`Engine`] shows of itself: classes, policies and workloads keep their numbers from one state to the
/// next, and what did not change is shared between the states. Rows are evaluated when they are asked for.
#[derive(Debug, Clone)]
pub struct Connectivity {
    options: Arc<Options>,
    conns: Paged<Arc<ConnSet>>,
    endpoints: Endpoints,
    /// Workloads by printed name.
    order: Arc<Vec<u32>>,
    classes: Paged<Class>,
    /// Columns of classes in use.
    live: Arc<Bits>,
    port_sets: Paged<Arc<Vec<endpoints::NamedPort>>>,
    named: Paged<Arc<Vec<PortName>>>,
    profiles: Paged<Option<Arc<Profile>>>,
    sets: Paged<PeerColumns>,
    policies: Paged<Option<Arc<Policy>>>,
    sources: Arc<AtomTable>,
    destinations: Arc<AtomTable>,
    warnings: Arc<Vec<Warning>>,
    /// The nodes in view; to np-guard there are none.
    nodes: Arc<Nodes>,
    shelf: Shelf,
}

impl Connectivity {
    /// Computes the connectivity of a state.
    pub fn build(state: &ClusterState, options: &Options) -> Arc<Self> {
        Engine::new(state, options).connectivity()
    }

    /// Workloads by number, and assumed peers. Numbers of a state that was computed at once follow the printed name;
    /// in a resident engine workloads keep theirs.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What makes the answer less than certain, sorted.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The options that it was built with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Number of classes, distinct rows and distinct connection sets, for measurement.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let rows = self.profiles.iter().flatten().count();
        let sets = self.conns.iter().filter(|set| !set.is_empty()).count() + 1;
        (self.live.count(), rows, sets)
    }

    /// The nodes in view.
    pub(crate) fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// True where both have the very same list of warnings.
    pub(crate) fn shares_warnings(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.warnings, &other.warnings)
    }

    fn atoms(&self, direction: Direction) -> &AtomTable {
        match direction {
            Direction::Ingress => &self.sources,
            Direction::Egress => &self.destinations,
        }
    }

    fn profile_of(&self, class: u32, direction: Direction) -> Option<&Arc<Profile>> {
        let class = self.classes.get(class as usize)?;
        self.profiles.get(class.profile(direction) as usize)?.as_ref()
    }
}
