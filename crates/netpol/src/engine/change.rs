//! Changes of objects, and what depends on them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::atoms::{PodAtom, PodAtoms};
use super::cells::{Cells, Compared};
use super::classes::ClassKey;
use super::compile::AnyPolicy;
use super::endpoints::{Identity, Variant};
use super::resident::{BOTH, Columns, Dirty, Engine, PolicyInfo, side};
use super::selectors::Scope;
use super::sets::Ground;
use super::{Connectivity, Direction};
use crate::bits::Bits;
use crate::ip::{Family, IpRange};
use crate::objects::{Object, ObjectKey, Workload};
use crate::state::ClusterState;

/// An object before and after.
#[derive(Debug, Clone)]
pub(crate) struct Touch {
    pub(crate) key: ObjectKey,
    pub(crate) old: Option<Arc<Object>>,
    pub(crate) new: Option<Arc<Object>>,
}

/// What a change did.
pub(crate) struct Changed {
    /// The state before, in the columns of the state after.
    pub(crate) before: Arc<Connectivity>,
    pub(crate) after: Arc<Connectivity>,
    pub(crate) cells: Cells,
    /// Workloads that came, went, or changed class.
    pub(crate) moved: BTreeSet<u32>,
    /// Workloads whose description changed.
    pub(crate) described: BTreeSet<u32>,
    /// Workloads whose policies changed, or what these allow.
    pub(crate) governed: BTreeSet<u32>,
    /// Those of them whose exposure may differ whoever calls them.
    pub(crate) judged: BTreeSet<u32>,
    /// Those of them that other policies select, whatever that changed.
    pub(crate) relinked: BTreeSet<u32>,
    /// Workloads of which an object came, went or changed in anything at all.
    pub(crate) touched: BTreeSet<u32>,
}

fn workload(object: &Option<Arc<Object>>) -> Option<&Workload> {
    match object.as_deref() {
        Some(Object::Workload(workload)) => Some(workload),
        _ => None,
    }
}

fn policy(object: &Option<Arc<Object>>) -> Option<AnyPolicy<'_>> {
    object.as_deref().and_then(AnyPolicy::of)
}

impl Engine {
    /// True where a change alters what pods are told apart by as a whole (their addresses, the node's network), or where
    /// so much has gone that reading anew is cheaper: the state is then to be read as a whole.
    pub(crate) fn must_found(&self, touches: &[Touch]) -> bool {
        if touches.len() > 200 + self.view.endpoints.len() / 8 {
            return true;
        }
        let kept = self.selectors.namespaces.len() + self.pod_atoms.len();
        if kept > 4 * self.founded.unwrap_or_default() + 20_000 {
            return true;
        }
        // Peers by node are addresses of nodes, which cut the outside.
        let node_peers = |object: &Option<Arc<Object>>| policy(object).is_some_and(AnyPolicy::has_node_peers);
        if (self.node_peers > 0 || touches.iter().any(|touch| node_peers(&touch.new)))
            && touches.iter().any(|touch| touch.key.kind == "Node")
        {
            return true;
        }
        let count = |of: fn(&Touch) -> &Option<Arc<Object>>| {
            let policies = || touches.iter().filter_map(|touch| policy(of(touch)));
            let blocks: usize =
                policies().map(|policy| policy.blocks(&self.view.options, &self.view.nodes).1.len()).sum();
            (policies().filter(|policy| policy.splits_host_network()).count(), blocks)
        };
        let ((gone, blocks_gone), (come, blocks_come)) =
            (count(|touch| &touch.old), count(|touch| &touch.new));
        let toggled = |before: usize, gone: usize, come: usize| (before == 0) != (before + come == gone);
        toggled(self.host_splitters, gone, come) && self.has_host_network(touches)
            || toggled(self.pod_blocks, blocks_gone, blocks_come)
    }

    fn has_host_network(&self, touches: &[Touch]) -> bool {
        let comes = |touch: &Touch| workload(&touch.new).is_some_and(|workload| workload.host_network);
        touches.iter().any(comes) || self.view.endpoints.iter().any(|endpoint| endpoint.host_network)
    }

    /// Takes changed objects in; `state` has them already.
    pub(crate) fn change(&mut self, touches: &[Touch], state: &ClusterState) -> Changed {
        self.sweep_conns();
        let blocks = self.prepare(touches);
        let before = self.connectivity();
        self.change_nodes(touches, state);
        for touch in touches.iter().filter(|touch| touch.key.kind == "Namespace") {
            self.change_namespace(&touch.key.name, state);
        }
        let mut identities: FxHashSet<Identity> = FxHashSet::default();
        for touch in touches {
            let (old, new) = (workload(&touch.old), workload(&touch.new));
            if old.is_some() || new.is_some() {
                let options = Arc::clone(&self.view.options);
                identities.extend(self.groups.change(old, new, state, &options));
            }
        }
        let mut touched: BTreeSet<u32> = BTreeSet::new();
        for identity in identities {
            touched.extend(self.endpoint_ids.get(&identity));
            self.change_workload(&identity, state);
            touched.extend(self.endpoint_ids.get(&identity));
        }
        for (touch, blocks) in touches.iter().zip(blocks) {
            if let (Some(blocks), Some(object)) = (blocks, &touch.new) {
                self.swap_policy(&touch.key, Some((Arc::clone(object), blocks)), state);
            } else if self.policy_ids.contains_key(&touch.key) {
                self.swap_policy(&touch.key, None, state);
            }
            self.note_other(&touch.key, touch.new.as_deref());
        }
        self.settle();
        let Compared { cells, governed, judged, relinked } = self.compare(&before);
        self.publish_conns();
        let dirty = std::mem::take(&mut self.dirty);
        // The view that is told still has the boundaries by which it was compared; the next one has them joined.
        self.retire(dirty.retired);
        self.free_policies.extend(dirty.freed_policies);
        self.classes.settle();
        self.sets.settle();
        self.free_endpoints.append(&mut self.freed_endpoints);
        Changed {
            before,
            after: self.connectivity(),
            cells,
            moved: dirty.moved,
            described: dirty.described,
            governed,
            judged,
            relinked,
            touched,
        }
    }

    /// Takes changes of nodes in, and of what tells whether they are all. No row depends on it: where policies have peers
    /// by node, a node that changes founds the state anew.
    fn change_nodes(&mut self, touches: &[Touch], state: &ClusterState) {
        if self.view.options.np_guard {
            return;
        }
        let objects = touches.iter().map(|touch| (touch.old.as_deref(), touch.new.as_deref()));
        let declared = state.has_all_nodes() || self.view.options.all_nodes;
        let Some(nodes) = self.fleet.change(objects, declared) else { return };
        self.view.nodes = Arc::new(nodes.clone());
        if self.node_peers > 0 {
            self.dirty.lint.extend(&self.admin);
        }
    }

    /// Makes room for label keys and address blocks of policies that come; no answer changes. Gives the blocks of each
    /// touch that brings a policy.
    fn prepare(&mut self, touches: &[Touch]) -> Vec<Option<[Vec<IpRange>; 2]>> {
        let mut fresh: FxHashSet<String> = FxHashSet::default();
        let (mut pod_atoms, mut parted) = (self.pod_atoms.clone(), FxHashSet::default());
        let mut all = Vec::with_capacity(touches.len());
        for touch in touches {
            let Some(policy) = policy(&touch.new) else {
                all.push(None);
                continue;
            };
            fresh
                .extend(policy.keys().into_iter().filter(|key| !self.keys.contains(*key)).map(str::to_owned));
            let (blocks, pods) = policy.blocks(&self.view.options, &self.view.nodes);
            pods.into_iter().for_each(|range| parted.extend(pod_atoms.cut(range)));
            for (direction, ranges) in BOTH.into_iter().zip(&blocks) {
                for range in ranges {
                    self.admit(direction, *range);
                }
            }
            all.push(Some(blocks));
        }
        if !fresh.is_empty() || !parted.is_empty() {
            self.adopt(fresh, pod_atoms, &parted);
            self.settle();
            self.dirty = Dirty::default();
        }
        all
    }

    fn admit(&mut self, direction: Direction, range: IpRange) {
        if range.family == Family::V6 {
            self.six += 1;
            self.widen();
        }
        let (table, cuts) = self.table_mut(direction);
        let split = cuts.add(table, range);
        self.sets.split(direction, &split, &mut self.view.sets);
    }

    /// Joins atoms that only these blocks divided.
    fn retire(&mut self, retired: [Vec<IpRange>; 2]) {
        for (direction, ranges) in BOTH.into_iter().zip(retired) {
            for range in ranges {
                let (table, cuts) = self.table_mut(direction);
                cuts.remove(table, range);
                if range.family == Family::V6 {
                    self.six = self.six.saturating_sub(1);
                }
            }
        }
        self.widen();
    }

    /// Label keys that selectors begin to read, and boundaries between addresses of pods: classes get longer keys, and
    /// part where their pods differ. No selector and no block in use reads them, so that parted classes have the same
    /// rows. `parted` are the atoms that are new.
    fn adopt(&mut self, fresh: FxHashSet<String>, pod_atoms: PodAtoms, parted: &FxHashSet<PodAtom>) {
        let mut touched: BTreeSet<u32> = BTreeSet::new();
        for (id, endpoint) in self.view.endpoints.iter().enumerate() {
            let lies = |address: &IpAddr| pod_atoms.of(*address).is_some_and(|atom| parted.contains(&atom));
            let differs = |variant: &Variant| {
                !fresh.is_empty() && variant.labels.keys().any(|key| fresh.contains(key))
                    || !parted.is_empty() && variant.addresses.iter().any(lies)
            };
            if endpoint.variants.iter().any(differs) {
                touched.insert(id as u32);
            }
        }
        // What each class of the touched workloads becomes, for each of its users.
        let mut wanted: FxHashMap<u32, FxHashMap<ClassKey, BTreeSet<u32>>> = FxHashMap::default();
        let mut classes: BTreeSet<u32> = BTreeSet::new();
        for id in &touched {
            classes.extend(
                self.view.endpoints.share(*id).into_iter().flat_map(|endpoint| endpoint.classes.iter()),
            );
        }
        let users: BTreeSet<u32> =
            classes.iter().flat_map(|class| self.classes.users(*class)).copied().collect();
        let none = ClusterState::new();
        let mut keys: Vec<(u32, Vec<ClassKey>)> = Vec::new();
        for &id in &users {
            let Some(endpoint) = self.view.endpoints.share(id).cloned() else { continue };
            // Namespaces and ports are known already.
            let old = endpoint.variants.iter().map(|variant| self.class_key(&endpoint, variant, &none));
            keys.push((id, old.collect()));
        }
        self.keys.extend(fresh);
        self.pod_atoms = pod_atoms;
        for (id, old) in keys {
            let Some(endpoint) = self.view.endpoints.share(id).cloned() else { continue };
            for (variant, old) in endpoint.variants.iter().zip(old) {
                let Some(class) = self.classes.find(&old) else { continue };
                let key = self.class_key(&endpoint, variant, &none);
                wanted.entry(class).or_default().entry(key).or_default().insert(id);
            }
        }
        let mut moves: Vec<(u32, u32, u32)> = Vec::new();
        for (class, parts) in wanted {
            // The largest part keeps the class.
            let mut parts: Vec<(ClassKey, BTreeSet<u32>)> = parts.into_iter().collect();
            parts.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
            let mut parts = parts.into_iter();
            let Some((key, stay)) = parts.next() else { continue };
            self.classes.rename(class, key);
            for (key, ids) in parts {
                let new = self.class(key);
                moves.extend(ids.iter().map(|id| (*id, class, new)));
            }
            let gone = self.classes.users(class).iter().filter(|id| !stay.contains(id));
            moves.extend(gone.map(|id| (*id, class, class)));
        }
        let moved: BTreeSet<u32> = moves.iter().map(|(id, ..)| *id).collect();
        for id in moved {
            let Some(endpoint) = self.view.endpoints.share(id).cloned() else { continue };
            let mut endpoint = (*endpoint).clone();
            let mut classes: Vec<u32> = Vec::new();
            for variant in &endpoint.variants {
                let key = self.class_key(&endpoint, variant, &none);
                classes.extend(self.classes.find(&key).filter(|class| !classes.contains(class)));
            }
            endpoint.classes = classes;
            self.count_multiple(id, &endpoint.classes);
            self.view.endpoints.put(id, Arc::new(endpoint));
        }
        // Into new classes first, so that none is empty in between.
        for (id, _, to) in moves.iter().filter(|(_, from, to)| from != to).copied() {
            let assumed = self.view.endpoints.share(id).is_some_and(|endpoint| endpoint.assumed);
            if !self.classes.users(to).contains(&id) {
                self.join(id, to, assumed);
            }
        }
        for (id, from, _) in moves.iter().filter(|(_, from, to)| from == to).copied() {
            self.part(id, from);
        }
    }

    fn change_workload(&mut self, identity: &Identity, state: &ClusterState) {
        let endpoint = self.groups.endpoint(identity, state, self.pod_blocks > 0);
        let known = self.endpoint_ids.get(identity).copied();
        match (known, endpoint) {
            (Some(id), Some(endpoint)) => self.settle_endpoint(id, Some(endpoint), state),
            (Some(id), None) => {
                let printed = self.view.endpoints.share(id).map(|endpoint| Arc::clone(&endpoint.printed));
                self.settle_endpoint(id, None, state);
                self.endpoint_ids.remove(identity);
                self.freed_endpoints.push(id);
                if let Some(printed) = printed {
                    self.reorder(id, &printed, false);
                }
            }
            (None, Some(endpoint)) => {
                let id = self.free_endpoints.pop().unwrap_or(self.view.endpoints.len() as u32);
                let printed = Arc::clone(&endpoint.printed);
                self.endpoint_ids.insert(identity.clone(), id);
                self.settle_endpoint(id, Some(endpoint), state);
                self.reorder(id, &printed, true);
            }
            (None, None) => {}
        }
    }

    fn reorder(&mut self, id: u32, printed: &str, comes: bool) {
        let order = Arc::make_mut(&mut self.view.order);
        let endpoints = &self.view.endpoints;
        if comes {
            let name = |id: &u32| endpoints.get(*id as usize).map(|endpoint| endpoint.printed.as_ref());
            let at = order.partition_point(|known| name(known) < Some(printed));
            order.insert(at, id);
        } else if let Some(at) = order.iter().position(|known| *known == id) {
            order.remove(at);
        }
    }

    fn change_namespace(&mut self, name: &str, state: &ClusterState) {
        let (labels, known) = state.namespace_labels(name);
        let Some(id) = self.selectors.namespace_id(name) else { return };
        let toggled = self.selectors.relabel(id, labels, known);
        self.dirty.warnings = true;
        if toggled.is_empty() {
            return;
        }
        self.dirty.presence = true;
        let classes = self.selectors.namespaces.get(id as usize).map(|entry| entry.classes.clone());
        let classes = classes.unwrap_or_default();
        self.dirty.ties = true;
        let mut sets: BTreeSet<u32> = BTreeSet::new();
        let mut policies: BTreeSet<u32> = BTreeSet::new();
        for selector in toggled {
            let Some(selector) = self.selectors.of_namespaces.get(selector as usize) else { continue };
            sets.extend(&selector.sets);
            policies.extend(&selector.policies);
        }
        for policy in policies {
            self.dirty.lint.insert(policy);
            let Some(info) = self.info(policy) else { continue };
            let subject = info.subject;
            for direction in BOTH {
                let mut marked = Bits::default();
                for &class in &classes {
                    let key = self.classes.key(class);
                    let governs = key.is_some_and(|key| self.selectors.selects(subject, key));
                    if governs == self.is_linked(policy, class, direction) {
                        continue;
                    }
                    if governs {
                        self.link(policy, class, direction);
                    } else {
                        self.unlink(policy, class, direction);
                    }
                    marked.set(class as usize);
                }
                if !marked.is_empty() {
                    self.mark_rules(direction, self.columns_of(policy, direction), marked);
                }
            }
        }
        // Sets mostly change alike: rows are marked once for each way.
        let mut marks: FxHashMap<Bits, [Bits; 2]> = FxHashMap::default();
        for set in sets {
            let ground = Ground {
                classes: &self.classes,
                live: &self.view.live,
                sources: &self.view.sources,
                destinations: &self.view.destinations,
            };
            let changed = self.sets.refresh(set, &classes, &self.selectors, &ground, &mut self.view.sets);
            if changed.is_empty() {
                continue;
            }
            let rows = marks.entry(changed).or_default();
            let users: BTreeSet<u32> = self.sets.users(set).iter().copied().collect();
            for policy in users {
                self.dirty.lint.insert(policy);
                for (direction, rows) in BOTH.into_iter().zip(rows.iter_mut()) {
                    let Some(Some(compiled)) = self.view.policies.get(policy as usize) else { continue };
                    let rules = compiled.rules(direction).unwrap_or_default();
                    let governed =
                        self.governs.get(policy as usize).and_then(|sides| sides.get(side(direction)));
                    if let Some(governed) = governed.filter(|_| rules.iter().any(|rule| rule.peers == set)) {
                        rows.add(governed);
                    }
                }
            }
        }
        let mut marks: Vec<(Bits, [Bits; 2])> = marks.into_iter().collect();
        marks.sort_by_key(|(changed, _)| (changed.iter().next(), changed.count()));
        for (changed, rows) in marks {
            for (direction, rows) in BOTH.into_iter().zip(rows) {
                let columns = Columns { classes: changed.clone(), atoms: Bits::default() };
                self.mark(direction, columns, rows);
            }
        }
    }

    /// Every column that the rules of a policy speak of.
    fn columns_of(&self, policy: u32, direction: Direction) -> Columns {
        let mut columns = Columns::default();
        let rules = self.policy(policy).and_then(|policy| policy.rules(direction));
        for rule in rules.unwrap_or_default() {
            if let Some(set) = self.view.sets.get(rule.peers as usize) {
                columns.classes.add(&set.classes);
                columns.atoms.add(&set.atoms);
            }
        }
        columns
    }

    /// Puts a policy in, in place of what it was, or takes it out.
    pub(super) fn swap_policy(
        &mut self,
        key: &ObjectKey,
        new: Option<(Arc<Object>, [Vec<IpRange>; 2])>,
        state: &ClusterState,
    ) {
        let foreign = self.foreign;
        let known = self.policy_ids.get(key).copied();
        let id = known.or_else(|| self.free_policies.pop()).unwrap_or(self.infos.len() as u32);
        let mut columns = BOTH.map(|direction| self.columns_of(id, direction));
        let mut governed = [Bits::default(), Bits::default()];
        let old = self.infos.get_mut(id as usize).and_then(Option::take);
        if let Some(old) = &old {
            let subject = self.subject(old.subject);
            for (direction, governed) in BOTH.into_iter().zip(&mut governed) {
                if self.policy(id).is_some_and(|policy| policy.rules(direction).is_some()) {
                    subject.iter().for_each(|class| self.unlink(id, class as u32, direction));
                    governed.add(&subject);
                }
            }
        }
        let mut entering = None;
        if let Some((object, blocks)) = new
            && let Some(policy) = AnyPolicy::of(&object)
        {
            let compiled = self.compile(id, policy, state);
            self.host_splitters += usize::from(policy.splits_host_network() && self.founded.is_some());
            self.node_peers += usize::from(policy.has_node_peers() && self.founded.is_some());
            self.count_pod_blocks(policy, true);
            if matches!(policy, AnyPolicy::Admin(_)) {
                self.admin.insert(id);
                self.dirty.ties = true;
            }
            self.foreign += usize::from(compiled.foreign);
            let info = PolicyInfo {
                rank: policy.rank(),
                subject: compiled.subject,
                sets: compiled.sets,
                foreign: compiled.foreign,
                blocks,
                warnings: Vec::new(),
                object: Arc::clone(&object),
            };
            entering = Some((info, Arc::new(compiled.policy)));
        }
        match entering {
            Some((info, policy)) => {
                let subject = info.subject;
                self.register(id, subject, true);
                while self.infos.len() <= id as usize {
                    self.infos.push(None);
                }
                if let Some(slot) = self.infos.get_mut(id as usize) {
                    *slot = Some(info);
                }
                self.view.policies.put(id as usize, Some(policy), || None);
                self.policy_ids.insert(key.clone(), id);
                let subject = self.subject(subject);
                for ((direction, governed), columns) in BOTH.into_iter().zip(&mut governed).zip(&mut columns)
                {
                    let own = self.columns_of(id, direction);
                    columns.classes.add(&own.classes);
                    columns.atoms.add(&own.atoms);
                    if self.policy(id).is_some_and(|policy| policy.rules(direction).is_some()) {
                        subject.iter().for_each(|class| self.link(id, class as u32, direction));
                        governed.add(&subject);
                    }
                }
                self.dirty.lint.insert(id);
            }
            None => {
                self.policy_ids.remove(key);
                if let Some(slot) = self.view.policies.get_mut(id as usize) {
                    *slot = None;
                }
                self.dirty.freed_policies.push(id);
            }
        }
        for ((direction, mut governed), columns) in BOTH.into_iter().zip(governed).zip(columns) {
            governed.remove(&self.dirty.fresh);
            self.mark_rules(direction, columns, governed);
        }
        if let Some(old) = old {
            self.dismiss(id, old);
        }
        self.dirty.warnings |= (foreign == 0) != (self.foreign == 0);
    }

    /// Gives back what a policy held.
    fn dismiss(&mut self, id: u32, old: PolicyInfo) {
        self.register(id, old.subject, false);
        for set in old.sets {
            self.sets.release(set, id, &mut self.selectors, &mut self.view.sets);
        }
        self.selectors.sweep_pods(old.subject.pods);
        if let Scope::Selected(namespaces) = old.subject.scope {
            self.selectors.sweep_namespaces(namespaces);
        }
        self.foreign -= usize::from(old.foreign);
        self.forget_warnings(old.warnings);
        for (retired, blocks) in self.dirty.retired.iter_mut().zip(old.blocks) {
            retired.extend(blocks);
        }
        if let Some(policy) = AnyPolicy::of(&old.object) {
            self.host_splitters -= usize::from(policy.splits_host_network());
            self.node_peers -= usize::from(policy.has_node_peers());
            self.count_pod_blocks(policy, false);
            if matches!(policy, AnyPolicy::Admin(_)) {
                self.dirty.ties = true;
                if self.info(id).is_none() {
                    self.admin.remove(&id);
                }
            }
        }
    }

    /// Counts blocks that may match pods. Their boundaries are all known: [`Engine::prepare`] saw to it.
    fn count_pod_blocks(&mut self, policy: AnyPolicy<'_>, come: bool) {
        if self.founded.is_none() {
            return;
        }
        let (_, ranges) = policy.blocks(&self.view.options, &self.view.nodes);
        let blocks = if come { self.pod_blocks + ranges.len() } else { self.pod_blocks - ranges.len() };
        self.pod_blocks = blocks;
    }

    /// Makes a policy's subject known to its selectors, or unknown.
    fn register(&mut self, id: u32, subject: super::selectors::Pods, known: bool) {
        if let Some(selector) = self.selectors.pods.get_mut(subject.pods as usize) {
            if known {
                selector.policies.add(id, subject.scope, subject.no_host);
            } else {
                selector.policies.remove(id, subject.scope, subject.no_host);
            }
        }
        if let Scope::Selected(namespaces) = subject.scope
            && let Some(selector) = self.selectors.of_namespaces.get_mut(namespaces as usize)
        {
            if known {
                selector.policies.push(id);
            } else if let Some(at) = selector.policies.iter().position(|found| *found == id) {
                selector.policies.swap_remove(at);
            }
        }
    }

    /// Rows marked for a direction, and where they are to be compared.
    pub(super) fn marked(&self, direction: Direction) -> &[(Columns, Bits)] {
        self.dirty.rows.get(side(direction)).map(Vec::as_slice).unwrap_or_default()
    }
}
