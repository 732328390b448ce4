//! The engine that stays: a connectivity, and the indexes by which a change finds what depends on it.
//!
//! A change runs in three steps. First what it brings along is made room for without changing any answer: label keys
//! that selectors did not read before split classes, boundaries of new address blocks split atoms. The view at that
//! moment is the *before* of the difference, in the columns of the *after*. Then objects change, and mark the rows and
//! columns that depend on them. Last, marked rows are compared, and boundaries that nothing needs any more go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::atoms::{AtomTable, Cuts, PodAtoms};
use super::classes::{ClassKey, Classes};
use super::compile::{AnyPolicy, Rank};
use super::endpoints::{Groups, Identity, NamedPort, Variant, assumed_peers};
use super::profile::Profile;
use super::selectors::{Pods, Selectors};
use super::sets::Sets;
use super::{Class, Connectivity, Direction, Endpoint, Options, Policy, PortName, Warning};
use crate::bits::Bits;
use crate::conn::ConnTable;
use crate::ip::{Family, IpRange};
use crate::nodes::Fleet;
use crate::objects::{Object, ObjectKey};
use crate::state::ClusterState;

/// Columns at which a row may have changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) classes: Bits,
    pub(super) atoms: Bits,
}

/// What the engine keeps of a policy beside its compiled form.
pub(super) struct PolicyInfo {
    pub(super) object: Arc<Object>,
    pub(super) rank: Rank,
    pub(super) subject: Pods,
    pub(super) sets: Vec<u32>,
    pub(super) foreign: bool,
    pub(super) blocks: [Vec<IpRange>; 2],
    pub(super) warnings: Vec<Warning>,
}

/// What a change has touched so far.
#[derive(Default)]
pub(super) struct Dirty {
    /// Classes that came; their rows are evaluated, not compared.
    pub(super) fresh: Bits,
    /// Where rows may have changed, and the classes whose rows these are, by direction.
    pub(super) rows: [Vec<(Columns, Bits)>; 2],
    /// Those of the marked whose rules may differ too, not only what the rules speak of.
    pub(super) ruled: [Bits; 2],
    /// Classes that other policies select, or in another order.
    pub(super) relinked: FxHashSet<u32>,
    /// Keys of classes that went.
    pub(super) gone: FxHashMap<u32, Arc<ClassKey>>,
    /// Workloads that came, went, or changed class.
    pub(super) moved: BTreeSet<u32>,
    /// Workloads whose description changed, classes or not.
    pub(super) described: BTreeSet<u32>,
    /// Policies to be looked at for oddities.
    pub(super) lint: FxHashSet<u32>,
    /// Classes came or went, or a policy of the administrator changed.
    pub(super) ties: bool,
    /// Namespaces came into view, went out of it, or are matched by other selectors.
    pub(super) presence: bool,
    /// Blocks whose boundaries may go, by direction.
    pub(super) retired: [Vec<IpRange>; 2],
    pub(super) warnings: bool,
    /// Numbers of policies that went.
    pub(super) freed_policies: Vec<u32>,
}

/// The connectivity of a cluster, kept up to date.
pub(crate) struct Engine {
    pub(super) view: Connectivity,
    pub(super) conns: ConnTable,
    pub(super) selectors: Selectors,
    pub(super) classes: Classes,
    pub(super) sets: Sets,
    pub(super) groups: Groups,
    pub(super) fleet: Fleet,
    /// Number of policies with peers by node.
    pub(super) node_peers: usize,
    /// Label keys of pods that some selector reads, or read once.
    pub(super) keys: FxHashSet<String>,
    pub(super) port_ids: FxHashMap<Vec<NamedPort>, u32>,
    pub(super) named_ids: FxHashMap<Vec<PortName>, u32>,
    pub(super) profile_ids: FxHashMap<Arc<Profile>, u32>,
    pub(super) profile_refs: Vec<u32>,
    pub(super) free_profiles: Vec<u32>,
    pub(super) endpoint_ids: FxHashMap<Identity, u32>,
    pub(super) free_endpoints: Vec<u32>,
    pub(super) freed_endpoints: Vec<u32>,
    pub(super) policy_ids: FxHashMap<ObjectKey, u32>,
    pub(super) infos: Vec<Option<PolicyInfo>>,
    pub(super) free_policies: Vec<u32>,
    /// Policies by class, in order of evaluation, for ingress and egress.
    pub(super) lists: Vec<[Vec<u32>; 2]>,
    /// The other way round: classes by policy.
    pub(super) governs: Vec<[Bits; 2]>,
    /// Classes that some NetworkPolicy selects.
    pub(super) isolated: [Bits; 2],
    pub(super) admin: BTreeSet<u32>,
    pub(super) cuts: [Cuts; 2],
    /// Number of IPv6 blocks in use.
    pub(super) six: usize,
    /// Number of blocks that may match pods.
    pub(super) pod_blocks: usize,
    pub(super) pod_atoms: PodAtoms,
    /// Number of policies that leave pods on the node's network out.
    pub(super) host_splitters: usize,
    /// Number of policies with a selector of namespaces that reads other labels than the name.
    pub(super) foreign: usize,
    /// Classes that have a workload.
    pub(super) real: Bits,
    /// Workloads of several classes.
    pub(super) multiple: BTreeSet<u32>,
    /// Numbers of the assumed peers; they never change.
    pub(super) assumed: std::ops::Range<u32>,
    pub(super) dirty: Dirty,
    pub(super) policy_warnings: BTreeMap<Warning, u32>,
    pub(super) other_warnings: BTreeMap<ObjectKey, Warning>,
    pub(super) tie_warnings: Vec<Warning>,
    pub(super) seen_warnings: Vec<Warning>,
    /// Number of namespaces and of atoms of pods' addresses after the first build; none before.
    pub(super) founded: Option<usize>,
    /// Bytes of connection sets past which those not in use go.
    pub(super) most_conns: usize,
}

pub(super) fn side(direction: Direction) -> usize {
    usize::from(direction == Direction::Egress)
}

pub(super) const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

impl Engine {
    /// Reads a whole state.
    pub(crate) fn new(state: &ClusterState, options: &Options) -> Self {
        let mut engine = Self {
            view: Connectivity {
                options: Arc::new(options.clone()),
                conns: Default::default(),
                endpoints: Default::default(),
                order: Arc::default(),
                classes: Default::default(),
                live: Arc::default(),
                port_sets: Default::default(),
                named: Default::default(),
                profiles: Default::default(),
                sets: Default::default(),
                policies: Default::default(),
                sources: Arc::default(),
                destinations: Arc::default(),
                warnings: Arc::default(),
                nodes: Arc::default(),
                shelf: Default::default(),
            },
            conns: ConnTable::default(),
            selectors: Selectors::default(),
            classes: Classes::default(),
            sets: Sets::default(),
            groups: Groups::of(state, options),
            fleet: Fleet::default(),
            node_peers: 0,
            keys: FxHashSet::default(),
            port_ids: FxHashMap::default(),
            named_ids: FxHashMap::default(),
            profile_ids: FxHashMap::default(),
            profile_refs: Vec::new(),
            free_profiles: Vec::new(),
            endpoint_ids: FxHashMap::default(),
            free_endpoints: Vec::new(),
            freed_endpoints: Vec::new(),
            policy_ids: FxHashMap::default(),
            infos: Vec::new(),
            free_policies: Vec::new(),
            lists: Vec::new(),
            governs: Vec::new(),
            isolated: Default::default(),
            admin: BTreeSet::new(),
            cuts: Default::default(),
            six: 0,
            pod_blocks: 0,
            pod_atoms: PodAtoms::default(),
            host_splitters: 0,
            foreign: 0,
            real: Bits::default(),
            multiple: BTreeSet::new(),
            assumed: 0..0,
            dirty: Dirty::default(),
            policy_warnings: BTreeMap::new(),
            other_warnings: BTreeMap::new(),
            tie_warnings: Vec::new(),
            seen_warnings: Vec::new(),
            founded: None,
            most_conns: super::settle::SPARE_CONNS,
        };
        engine.found(state);
        engine
    }

    /// The order is that of dependence: what selectors read, what pods there are, then policies over them.
    fn found(&mut self, state: &ClusterState) {
        if !self.view.options.np_guard {
            self.fleet = Fleet::of(state, state.has_all_nodes() || self.view.options.all_nodes);
            self.view.nodes = Arc::new(self.fleet.nodes().clone());
        }
        let shared = |object: &Object| state.share(&object.key());
        let mut policies: Vec<Arc<Object>> =
            state.objects().filter(|object| AnyPolicy::of(object).is_some()).filter_map(shared).collect();
        policies.sort_by_cached_key(|object| AnyPolicy::of(object).map(AnyPolicy::rank));
        for policy in policies.iter().filter_map(|object| AnyPolicy::of(object)) {
            for key in policy.keys() {
                if !self.keys.contains(key) {
                    self.keys.insert(key.to_owned());
                }
            }
            let (blocks, pods) = policy.blocks(&self.view.options, &self.view.nodes);
            self.node_peers += usize::from(policy.has_node_peers());
            for (ranges, cuts) in blocks.iter().zip(&mut self.cuts) {
                ranges.iter().for_each(|range| cuts.count(*range));
                self.six += ranges.iter().filter(|range| range.family == Family::V6).count();
            }
            self.pod_blocks += pods.len();
            pods.into_iter().for_each(|range| self.pod_atoms.cut(range).for_each(drop));
            self.host_splitters += usize::from(policy.splits_host_network());
        }
        // To np-guard every address is of IPv4.
        let np_guard = self.view.options.np_guard;
        let families = if np_guard { [Family::V4].as_slice() } else { &[Family::V4, Family::V6] };
        let [sources, destinations] = &mut self.cuts;
        self.view.sources = Arc::new(sources.table(families));
        self.view.destinations = Arc::new(destinations.table(families));
        self.widen();

        let pod_addresses = self.pod_blocks > 0;
        let mut found: Vec<Endpoint> = self
            .groups
            .identities()
            .filter_map(|identity| self.groups.endpoint(identity, state, pod_addresses))
            .collect();
        found.sort_by(|a, b| a.printed.cmp(&b.printed));
        self.view.order = Arc::new((0..found.len() as u32).collect());
        let workloads = found.len();
        found.extend(assumed_peers(&self.view.options));
        self.assumed = workloads as u32..found.len() as u32;
        for (index, endpoint) in found.into_iter().enumerate() {
            if index < workloads {
                let identity = (endpoint.namespace.clone(), endpoint.name.clone(), endpoint.kind.clone());
                self.endpoint_ids.insert(identity, index as u32);
            }
            self.settle_endpoint(index as u32, Some(endpoint), state);
        }
        for object in policies {
            let Some(policy) = AnyPolicy::of(&object) else { continue };
            let blocks = policy.blocks(&self.view.options, &self.view.nodes).0;
            self.swap_policy(&object.key(), Some((Arc::clone(&object), blocks)), state);
        }
        for object in state.objects() {
            self.note_other(&object.key(), Some(object));
        }
        self.dirty.lint = (0..self.infos.len() as u32).collect();
        (self.dirty.ties, self.dirty.warnings) = (true, true);
        self.settle();
        self.dirty = Dirty::default();
        self.founded = Some(self.selectors.namespaces.len() + self.pod_atoms.len());
    }

    /// The connectivity as it is.
    pub(crate) fn connectivity(&self) -> Arc<Connectivity> {
        Arc::new(self.view.clone())
    }

    /// The sets of connections, for evaluation outside the engine. What is added is known to later views.
    pub(crate) fn conns(&mut self) -> &mut ConnTable {
        &mut self.conns
    }

    pub(super) fn info(&self, id: u32) -> Option<&PolicyInfo> {
        self.infos.get(id as usize)?.as_ref()
    }

    pub(super) fn rank(&self, id: u32) -> Option<&Rank> {
        self.info(id).map(|info| &info.rank)
    }

    pub(super) fn policy(&self, id: u32) -> Option<&Arc<Policy>> {
        self.view.policies.get(id as usize)?.as_ref()
    }

    /// Classes of some pods.
    pub(super) fn subject(&self, pods: Pods) -> Bits {
        let mut bits = Bits::default();
        self.selectors.select(pods, &self.classes, &mut bits);
        bits
    }

    pub(super) fn class_key(
        &mut self,
        endpoint: &Endpoint,
        variant: &Variant,
        state: &ClusterState,
    ) -> ClassKey {
        let name = &endpoint.namespace;
        let ports = match self.port_ids.get(&variant.named_ports) {
            Some(&id) => id,
            None => {
                let id = self.view.port_sets.len() as u32;
                self.view.port_sets.push(Arc::new(variant.named_ports.clone()));
                self.port_ids.insert(variant.named_ports.clone(), id);
                id
            }
        };
        let labels = variant.labels.iter().filter(|(key, _)| self.keys.contains(*key));
        let atom = |address: &std::net::IpAddr| self.pod_atoms.of(*address);
        ClassKey {
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
            ports,
            host_network: self.host_splitters > 0 && variant.host_network,
            addresses: if self.pod_blocks == 0 {
                Vec::new()
            } else {
                variant.addresses.iter().filter_map(atom).collect()
            },
            namespace: self.selectors.namespace(name, || state.namespace_labels(name)),
        }
    }

    /// The class of a key; a new one joins the sets and policies that select it.
    pub(super) fn class(&mut self, key: ClassKey) -> u32 {
        if let Some(class) = self.classes.find(&key) {
            return class;
        }
        let member_of = self.sets.of_class(&key, &self.selectors);
        let (namespace, ports) = (key.namespace, key.ports);
        let selected = self.selectors.selecting(&key);
        let class = self.classes.add(key);
        Arc::make_mut(&mut self.view.live).set(class as usize);
        for set in member_of {
            super::sets::mark(&mut self.view.sets, set, class, true);
        }
        if let Some(namespace) = self.selectors.namespaces.get_mut(namespace as usize) {
            namespace.classes.push(class);
        }
        self.view.classes.put(class as usize, Class { ports, ..Class::default() }, Class::default);
        for policy in selected {
            BOTH.into_iter().for_each(|direction| self.link(policy, class, direction));
        }
        self.dirty.fresh.set(class as usize);
        self.dirty.ties = true;
        class
    }

    fn drop_class(&mut self, class: u32) {
        let Some(key) = self.classes.key(class).cloned() else { return };
        for set in self.sets.of_class(&key, &self.selectors) {
            super::sets::mark(&mut self.view.sets, set, class, false);
        }
        if let Some(namespace) = self.selectors.namespaces.get_mut(key.namespace as usize) {
            namespace.classes.retain(|known| *known != class);
        }
        if let Some(lists) = self.lists.get_mut(class as usize) {
            for (list, at) in std::mem::take(lists).into_iter().zip(0..) {
                for policy in list {
                    self.note_governed(policy, class, at, false);
                }
            }
        }
        self.isolated.iter_mut().for_each(|isolated| isolated.clear(class as usize));
        self.dirty.gone.insert(class, Arc::clone(&key));
        let gone = self.view.classes.get_mut(class as usize).map(std::mem::take);
        if let Some(gone) = gone {
            BOTH.into_iter().for_each(|direction| self.release_profile(gone.profile(direction)));
        }
        Arc::make_mut(&mut self.view.live).clear(class as usize);
        self.classes.remove(class);
        self.dirty.fresh.clear(class as usize);
        self.dirty.ties = true;
    }

    /// Makes a policy govern a class, where the policy has rules of the direction.
    pub(super) fn link(&mut self, policy: u32, class: u32, direction: Direction) {
        if self.policy(policy).is_none_or(|policy| policy.rules(direction).is_none()) {
            return;
        }
        if self.lists.len() <= class as usize {
            self.lists.resize_with(class as usize + 1, Default::default);
        }
        let Some(list) = self.lists.get(class as usize).and_then(|lists| lists.get(side(direction))) else {
            return;
        };
        let at = match list.last() {
            Some(last) if self.rank(*last) < self.rank(policy) => list.len(),
            _ => list.partition_point(|known| self.rank(*known) < self.rank(policy)),
        };
        if list.get(at) == Some(&policy) {
            return;
        }
        if let Some(list) =
            self.lists.get_mut(class as usize).and_then(|lists| lists.get_mut(side(direction)))
        {
            list.insert(at, policy);
            self.note_governed(policy, class, side(direction), true);
        }
    }

    fn note_governed(&mut self, policy: u32, class: u32, at: usize, governs: bool) {
        if self.governs.len() <= policy as usize {
            self.governs.resize_with(policy as usize + 1, Default::default);
        }
        let slot = self.governs.get_mut(policy as usize).and_then(|sides| sides.get_mut(at));
        match (slot, governs) {
            (Some(classes), true) => classes.set(class as usize),
            (Some(classes), false) => classes.clear(class as usize),
            (None, _) => {}
        }
    }

    pub(super) fn unlink(&mut self, policy: u32, class: u32, direction: Direction) {
        if let Some(list) =
            self.lists.get_mut(class as usize).and_then(|lists| lists.get_mut(side(direction)))
        {
            list.retain(|known| *known != policy);
            self.note_governed(policy, class, side(direction), false);
        }
    }

    pub(super) fn is_linked(&self, policy: u32, class: u32, direction: Direction) -> bool {
        self.list(class, direction).contains(&policy)
    }

    pub(super) fn list(&self, class: u32, direction: Direction) -> &[u32] {
        let list = self.lists.get(class as usize).and_then(|lists| lists.get(side(direction)));
        list.map(Vec::as_slice).unwrap_or_default()
    }

    /// Puts a workload in its place: described anew, in other classes, or gone. Assumed peers pass here too.
    pub(super) fn settle_endpoint(&mut self, id: u32, endpoint: Option<Endpoint>, state: &ClusterState) {
        let old = self.view.endpoints.share(id).cloned();
        let before: Vec<u32> = old.as_ref().map(|old| old.classes.clone()).unwrap_or_default();
        let assumed = endpoint
            .as_ref()
            .map_or_else(|| old.as_ref().is_some_and(|old| old.assumed), |endpoint| endpoint.assumed);
        let mut after: Vec<u32> = Vec::new();
        if let Some(mut endpoint) = endpoint {
            for variant in &endpoint.variants {
                let key = self.class_key(&endpoint, variant, state);
                let class = self.class(key);
                // In order of the pods, which does not depend on what came before.
                if !after.contains(&class) {
                    after.push(class);
                }
            }
            endpoint.classes.clone_from(&after);
            if old.as_deref() == Some(&endpoint) {
                return;
            }
            self.view.endpoints.put(id, Arc::new(endpoint));
        } else {
            self.view.endpoints.vacate(id);
        }
        self.dirty.described.insert(id);
        self.count_multiple(id, &after);
        if before == after {
            return;
        }
        self.dirty.moved.insert(id);
        for class in after.iter().filter(|class| !before.contains(class)) {
            self.join(id, *class, assumed);
        }
        for class in before.iter().filter(|class| !after.contains(class)) {
            self.part(id, *class);
        }
    }

    pub(super) fn count_multiple(&mut self, id: u32, classes: &[u32]) {
        if classes.len() > 1 {
            self.multiple.insert(id);
        } else {
            self.multiple.remove(&id);
        }
    }

    pub(super) fn join(&mut self, id: u32, class: u32, assumed: bool) {
        if let Some(users) = self.classes.users_mut(class) {
            users.push(id);
        }
        if assumed {
            return;
        }
        let Some(slot) = self.view.classes.get_mut(class as usize) else { return };
        let at = slot.members.partition_point(|member| *member < id);
        slot.members.insert(at, id);
        if slot.members.len() == 1 {
            self.count_real(class, true);
        }
    }

    pub(super) fn part(&mut self, id: u32, class: u32) {
        if let Some(users) = self.classes.users_mut(class) {
            users.retain(|user| *user != id);
        }
        if let Some(slot) = self.view.classes.get_mut(class as usize)
            && let Some(at) = slot.members.iter().position(|member| *member == id)
        {
            slot.members.remove(at);
            if slot.members.is_empty() {
                self.count_real(class, false);
            }
        }
        if self.classes.users(class).is_empty() {
            self.drop_class(class);
        }
    }

    /// A class got its first workload or lost its last: policies that were odd may not be, and the other way about.
    fn count_real(&mut self, class: u32, real: bool) {
        let Some(key) = self.classes.key(class).cloned() else { return };
        if let Some(namespace) = self.selectors.namespaces.get_mut(key.namespace as usize) {
            let before = namespace.real;
            namespace.real = if real { before + 1 } else { before.saturating_sub(1) };
            self.dirty.presence |= (before == 0) != (namespace.real == 0);
        }
        if real {
            self.real.set(class as usize)
        } else {
            self.real.clear(class as usize)
        }
        self.dirty.warnings = true;
        let mut about = self.selectors.selecting(&key);
        for set in self.sets.of_class(&key, &self.selectors) {
            about.extend(self.sets.users(set));
        }
        for policy in about {
            // More workloads can only put an odd policy right.
            if !real || self.info(policy).is_some_and(|info| !info.warnings.is_empty()) {
                self.dirty.lint.insert(policy);
            }
        }
    }

    /// Marks rows as to be compared at some columns.
    pub(super) fn mark(&mut self, direction: Direction, columns: Columns, classes: Bits) {
        if let Some(rows) = self.dirty.rows.get_mut(side(direction)).filter(|_| !classes.is_empty()) {
            rows.push((columns, classes));
        }
    }

    /// Marks rows whose rules may differ.
    pub(super) fn mark_rules(&mut self, direction: Direction, columns: Columns, classes: Bits) {
        if let Some(ruled) = self.dirty.ruled.get_mut(side(direction)) {
            ruled.add(&classes);
        }
        self.mark(direction, columns, classes);
    }

    /// Makes IPv6 told where some block is of it.
    pub(super) fn widen(&mut self) {
        let wide = self.six > 0;
        for direction in BOTH {
            if self.view.atoms(direction).is_wide() != wide {
                self.table_mut(direction).0.widen(wide);
            }
        }
    }

    pub(super) fn table_mut(&mut self, direction: Direction) -> (&mut AtomTable, &mut Cuts) {
        let [sources, destinations] = &mut self.cuts;
        match direction {
            Direction::Ingress => (Arc::make_mut(&mut self.view.sources), sources),
            Direction::Egress => (Arc::make_mut(&mut self.view.destinations), destinations),
        }
    }
}
