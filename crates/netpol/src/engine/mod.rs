//! Who can reach whom.
//!
//! Pods that no policy can tell apart are one *class*: namespace, the labels whose keys selectors use, named ports.
//! Selectors are evaluated once each, into bit sets over classes. Address blocks cut the address space into *atoms*,
//! the further columns. A *profile* is what decides one direction of a class; classes of the same profile share a
//! *row*, a partition of all columns by interned connection set. A connection from `s` to `d` is the egress row of
//! `s` at `d` intersected, as a set of ports, with the ingress row of `d` at `s`.

mod build;
mod compile;
mod endpoints;
mod lint;
mod query;
mod row;
mod space;

use std::sync::Arc;

pub use endpoints::Endpoint;
pub(crate) use endpoints::{ASSUMED_CONTROLLER, KNOWN_CONTROLLERS};
pub use query::{Decision, Explanation, Peer, Rows, Side, Verdict};

use crate::bits::Bits;
use crate::conn::{ConnId, ConnTable};
use crate::ip::Atoms;
use crate::objects::{Action, ObjectKey, Tier};
use crate::state::ClusterState;
use row::{PeerSet, Row};

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
}

/// A direction of traffic, seen from the pod that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Ingress,
    Egress,
}

/// Something in the input that makes the answer less than certain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Stable code, such as `named_port_unresolved`.
    pub code: &'static str,
    /// The object that it is about.
    pub object: ObjectKey,
    pub message: String,
}

/// Pods that no policy can tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    egress: u32,
    ingress: u32,
    ports: u32,
    /// Policies that select it, by direction.
    egress_policies: Vec<u32>,
    ingress_policies: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
struct Ports {
    fixed: ConnId,
    /// Name, and the protocol that must match if one must.
    named: Vec<(String, Option<crate::conn::Protocol>)>,
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

/// The connectivity of one cluster state: an immutable value, cheap to share and to compare.
#[derive(Debug)]
pub struct Connectivity {
    options: Options,
    conns: ConnTable,
    endpoints: Vec<Endpoint>,
    classes: Vec<Class>,
    /// Workloads of each class; assumed peers are left out.
    members: Vec<Vec<u32>>,
    port_sets: Vec<Vec<endpoints::NamedPort>>,
    /// Rows of ingress profiles, then of egress profiles.
    rows: Vec<Row>,
    /// Number of rows of ingress profiles.
    ingress_rows: usize,
    sets: Vec<Bits>,
    policies: Vec<Policy>,
    sources: Atoms,
    destinations: Atoms,
    warnings: Vec<Warning>,
}

impl Connectivity {
    /// Computes the connectivity of a state.
    pub fn build(state: &ClusterState, options: &Options) -> Arc<Self> {
        Arc::new(build::build(state, options))
    }

    /// Workloads by printed name, then assumed peers.
    pub fn endpoints(&self) -> &[Endpoint] {
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
        (self.classes.len(), self.rows.len(), self.conns.len())
    }
}
