//! A state becomes classes, profiles and rows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::endpoints::{NamedPort, Variant, endpoints};
use super::row::{AdminEntry, PeerSet, Profile, evaluate};
use super::{BlockPods, Class, CompiledRule, Connectivity, Direction, Options, Policy, Ports, Warning};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable, Protocol};
use crate::ip::{Atoms, Family, IpRange, np_guard_range, without};
use crate::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, IpBlock, NetworkPolicy, Object,
    ObjectKey, PolicyPeer, PolicyPort, PolicyRule, PortRef,
};
use crate::selector::{Operator, Requirement, Selector};
use crate::state::ClusterState;

/// Everything that distinguishes pods to a policy. Sorted by namespace first, so that a namespace is a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ClassKey {
    namespace: u32,
    labels: Vec<(String, String)>,
    ports: u32,
    host_network: bool,
    /// Atoms of the blocks that may match pods.
    addresses: Vec<usize>,
}

pub(super) fn build(state: &ClusterState, options: &Options) -> Connectivity {
    let input = Input::gather(state);
    let mut endpoints = endpoints(state, options);
    let names: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.namespace.as_str()).collect();
    let namespaces: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let blocks = Blocks::gather(&input, options);
    let pod_atoms = Atoms::cut(&[Family::V4, Family::V6], &blocks.pods);

    let keys = input.pod_keys();
    let split_host_network = input.admin.iter().any(|policy| policy.flavor == AdminFlavor::Cluster);
    let mut port_sets: Vec<Vec<NamedPort>> = Vec::new();
    let mut port_ids: FxHashMap<Vec<NamedPort>, u32> = FxHashMap::default();
    let mut class_keys: BTreeMap<ClassKey, Vec<(usize, bool)>> = BTreeMap::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let namespace = namespaces.binary_search(&endpoint.namespace).unwrap_or_default() as u32;
        for variant in &endpoint.variants {
            let ports = *port_ids.entry(variant.named_ports.clone()).or_insert_with(|| {
                port_sets.push(variant.named_ports.clone());
                port_sets.len() as u32 - 1
            });
            let labels = variant.labels.iter().filter(|(key, _)| keys.contains(key.as_str()));
            let key = ClassKey {
                namespace,
                labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
                ports,
                host_network: split_host_network && variant.host_network,
                addresses: if blocks.pods.is_empty() { Vec::new() } else { atoms_of(variant, &pod_atoms) },
            };
            class_keys.entry(key).or_default().push((index, endpoint.assumed));
        }
    }
    for (class, members) in class_keys.values().enumerate() {
        for (endpoint, _) in members {
            if let Some(endpoint) = endpoints.get_mut(*endpoint) {
                endpoint.classes.push(class as u32);
            }
        }
    }
    for endpoint in &mut endpoints {
        endpoint.classes.sort_unstable();
        endpoint.classes.dedup();
    }

    let sources = Atoms::cut(&blocks.families, &blocks.sources);
    let destinations = Atoms::cut(&blocks.families, &blocks.destinations);
    let count = class_keys.len();
    let width = count + sources.ranges().len().max(destinations.ranges().len());
    let mut space = Space::new(state, options, &namespaces, &class_keys, pod_atoms, width);
    let mut conns = ConnTable::default();
    let mut policies = Vec::new();
    for policy in &input.policies {
        policies.push(compile_policy(policy, &mut space, &mut conns, &sources, &destinations));
    }
    for policy in &input.admin {
        policies.push(compile_admin(policy, &mut space, &mut conns, &sources, &destinations));
    }

    let mut classes: Vec<Class> = class_keys
        .keys()
        .map(|key| Class {
            egress: 0,
            ingress: 0,
            ports: key.ports,
            egress_policies: Vec::new(),
            ingress_policies: Vec::new(),
        })
        .collect();
    let mut subjects = Vec::with_capacity(policies.len());
    for (index, (policy, subject)) in policies.iter().enumerate() {
        for class in subject.iter() {
            let Some(class) = classes.get_mut(class) else { continue };
            if policy.ingress.is_some() {
                class.ingress_policies.push(index as u32);
            }
            if policy.egress.is_some() {
                class.egress_policies.push(index as u32);
            }
        }
        subjects.push(subject.clone());
    }
    let policies: Vec<Policy> = policies.into_iter().map(|(policy, _)| policy).collect();

    let mut warnings = input.warnings;
    space.warn_namespaces(&policies, &mut warnings);
    lint(&policies, &subjects, &space, &port_sets, &classes, &conns, &mut warnings);
    ties(&input.admin, &policies, &subjects, &space, &mut conns, &mut warnings);

    let mut rows = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let atoms = if direction == Direction::Ingress { &sources } else { &destinations };
        let mut columns = Bits::empty(width);
        columns.fill(0, count + atoms.ranges().len());
        let mut known: FxHashMap<Profile, u32> = FxHashMap::default();
        let mut resolver = Resolver {
            space: &mut space,
            conns: &mut conns,
            port_sets: &port_sets,
            named: FxHashMap::default(),
        };
        let profiles: Vec<Profile> =
            classes.iter().map(|class| resolver.profile(class, direction, &policies)).collect();
        for (class, profile) in classes.iter_mut().zip(profiles) {
            let row = *known.entry(profile).or_insert_with_key(|profile| {
                rows.push(evaluate(profile, &space.sets, &columns, &mut conns));
                rows.len() as u32 - 1
            });
            match direction {
                Direction::Ingress => class.ingress = row,
                Direction::Egress => class.egress = row,
            }
        }
    }
    warnings.sort();
    warnings.dedup();
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); classes.len()];
    for (index, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed) {
        for class in &endpoint.classes {
            if let Some(list) = members.get_mut(*class as usize) {
                list.push(index as u32);
            }
        }
    }
    Connectivity {
        options: options.clone(),
        conns,
        members,
        endpoints,
        classes,
        port_sets,
        rows,
        sets: space.sets,
        policies,
        sources,
        destinations,
        warnings,
    }
}

fn atoms_of(variant: &Variant, atoms: &Atoms) -> Vec<usize> {
    let position = |address: &IpAddr| atoms.ranges().iter().position(|atom| atom.contains(*address));
    variant.addresses.iter().filter_map(position).collect()
}

/// The policies of a state, in order of evaluation.
struct Input<'a> {
    policies: Vec<&'a NetworkPolicy>,
    admin: Vec<&'a AdminPolicy>,
    warnings: Vec<Warning>,
}

impl<'a> Input<'a> {
    fn gather(state: &'a ClusterState) -> Self {
        let mut input = Self { policies: Vec::new(), admin: Vec::new(), warnings: Vec::new() };
        for object in state.objects() {
            match object {
                Object::NetworkPolicy(policy) => input.policies.push(policy),
                Object::AdminNetworkPolicy(policy)
                | Object::BaselineAdminNetworkPolicy(policy)
                | Object::ClusterNetworkPolicy(policy) => {
                    input.admin.push(policy);
                    input.warn_peers(object.key(), policy);
                }
                Object::Other(other) if other.policy => input.warnings.push(Warning {
                    code: "policy_not_analysed",
                    object: object.key(),
                    message: "policies of this kind are not analysed; the answer is incomplete".into(),
                }),
                _ => {}
            }
        }
        input.admin.sort_by_key(|policy| (policy.tier, policy.priority, policy.meta.name.clone()));
        input
    }

    fn warn_peers(&mut self, key: ObjectKey, policy: &AdminPolicy) {
        for peer in policy.ingress.iter().chain(&policy.egress).flat_map(|rule| &rule.peers) {
            let what = match peer {
                AdminPeer::Nodes(_) => "peers by node are not analysed",
                AdminPeer::Domains(_) => "peers by domain name are not analysed",
                AdminPeer::Unknown => "a peer of an unknown kind fails closed",
                _ => continue,
            };
            self.warnings.push(Warning {
                code: "peer_not_analysed",
                object: key.clone(),
                message: what.into(),
            });
        }
    }

    /// Label keys of pods that any selector reads.
    fn pod_keys(&self) -> FxHashSet<&'a str> {
        let mut keys: FxHashSet<&'a str> = FxHashSet::default();
        for policy in &self.policies {
            keys.extend(policy.pods.keys());
            for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
                for peer in &rule.peers {
                    if let PolicyPeer::Pods { pods: Some(pods), .. } = peer {
                        keys.extend(pods.keys());
                    }
                }
            }
        }
        for policy in &self.admin {
            keys.extend(policy.subject.pods.iter().flat_map(Selector::keys));
            for peer in policy.ingress.iter().chain(&policy.egress).flat_map(|rule| &rule.peers) {
                if let AdminPeer::Pods { pods: Some(pods), .. } = peer {
                    keys.extend(pods.keys());
                }
            }
        }
        keys
    }
}

fn admin_key(policy: &AdminPolicy) -> ObjectKey {
    let kind = match policy.flavor {
        AdminFlavor::Admin => "policy.networking.k8s.io/AdminNetworkPolicy",
        AdminFlavor::Baseline => "policy.networking.k8s.io/BaselineAdminNetworkPolicy",
        AdminFlavor::Cluster => "policy.networking.k8s.io/ClusterNetworkPolicy",
    };
    ObjectKey { kind: kind.into(), namespace: String::new(), name: policy.meta.name.clone() }
}

/// Address blocks in use, by direction.
struct Blocks {
    sources: Vec<IpRange>,
    destinations: Vec<IpRange>,
    /// Those that may match pods.
    pods: Vec<IpRange>,
    families: Vec<Family>,
}

impl Blocks {
    fn gather(input: &Input<'_>, options: &Options) -> Self {
        let (mut sources, mut destinations, mut pods) = (Vec::new(), Vec::new(), Vec::new());
        for policy in &input.policies {
            for (rules, into) in [(&policy.ingress, &mut sources), (&policy.egress, &mut destinations)] {
                for peer in rules.iter().flatten().flat_map(|rule| &rule.peers) {
                    if let PolicyPeer::Block(block) = peer {
                        let ranges = block_ranges(block, options);
                        if options.block_pods == BlockPods::Match {
                            pods.extend(ranges.iter().copied());
                        }
                        into.extend(ranges);
                    }
                }
            }
        }
        for policy in &input.admin {
            for (rules, into) in [(&policy.ingress, &mut sources), (&policy.egress, &mut destinations)] {
                for peer in rules.iter().flat_map(|rule| &rule.peers) {
                    if let AdminPeer::Networks(networks) = peer {
                        let ranges = network_ranges(networks, options);
                        if policy.flavor == AdminFlavor::Cluster {
                            pods.extend(ranges.iter().copied());
                        }
                        into.extend(ranges);
                    }
                }
            }
        }
        let six = sources.iter().chain(&destinations).any(|range: &IpRange| range.family == Family::V6);
        let families = if six { vec![Family::V4, Family::V6] } else { vec![Family::V4] };
        Self { sources, destinations, pods, families }
    }
}

fn block_ranges(block: &IpBlock, options: &Options) -> Vec<IpRange> {
    let range = |net| if options.np_guard { np_guard_range(net) } else { Some(IpRange::of(net)) };
    let holes: Vec<IpRange> = block.except.iter().filter_map(|net| range(*net)).collect();
    range(block.cidr).map(|whole| without(whole, &holes)).unwrap_or_default()
}

/// np-guard leaves IPv6 networks of administrators' policies out.
fn network_ranges(networks: &[ipnet::IpNet], options: &Options) -> Vec<IpRange> {
    networks
        .iter()
        .map(|net| IpRange::of(*net))
        .filter(|range| !options.np_guard || range.family == Family::V4)
        .collect()
}

/// The columns, and selectors evaluated over them.
struct Space<'a> {
    options: &'a Options,
    count: usize,
    width: usize,
    namespaces: Vec<(&'a str, crate::selector::Labels, bool, Bits)>,
    index: FxHashMap<String, FxHashMap<String, Bits>>,
    host_network: Bits,
    real: Bits,
    addresses: Vec<Vec<usize>>,
    pod_atoms: Atoms,
    by_ports: Vec<Bits>,
    pod_memo: FxHashMap<Selector, Bits>,
    namespace_memo: FxHashMap<Selector, Bits>,
    sets: Vec<Bits>,
    ids: FxHashMap<Bits, PeerSet>,
    foreign_labels: bool,
}

impl<'a> Space<'a> {
    fn new(
        state: &ClusterState,
        options: &'a Options,
        namespaces: &'a [String],
        classes: &BTreeMap<ClassKey, Vec<(usize, bool)>>,
        pod_atoms: Atoms,
        width: usize,
    ) -> Self {
        let mut space = Self {
            options,
            count: classes.len(),
            width,
            namespaces: namespaces
                .iter()
                .map(|name| {
                    let (labels, known) = state.namespace_labels(name);
                    (name.as_str(), labels, known, Bits::empty(width))
                })
                .collect(),
            index: FxHashMap::default(),
            host_network: Bits::empty(width),
            real: Bits::empty(width),
            addresses: Vec::with_capacity(classes.len()),
            pod_atoms,
            by_ports: Vec::new(),
            pod_memo: FxHashMap::default(),
            namespace_memo: FxHashMap::default(),
            sets: Vec::new(),
            ids: FxHashMap::default(),
            foreign_labels: false,
        };
        for (class, (key, members)) in classes.iter().enumerate() {
            if let Some((_, _, _, bits)) = space.namespaces.get_mut(key.namespace as usize) {
                bits.set(class);
            }
            for (label, value) in &key.labels {
                let values = space.index.entry(label.clone()).or_default();
                values.entry(value.clone()).or_insert_with(|| Bits::empty(width)).set(class);
            }
            if key.host_network {
                space.host_network.set(class);
            }
            if members.iter().any(|(_, assumed)| !assumed) {
                space.real.set(class);
            }
            space.addresses.push(key.addresses.clone());
            let ports = key.ports as usize;
            while space.by_ports.len() <= ports {
                space.by_ports.push(Bits::empty(width));
            }
            if let Some(bits) = space.by_ports.get_mut(ports) {
                bits.set(class);
            }
        }
        space
    }

    fn all_classes(&self) -> Bits {
        let mut bits = Bits::empty(self.width);
        bits.fill(0, self.count);
        bits
    }

    fn intern(&mut self, bits: Bits) -> PeerSet {
        if let Some(&id) = self.ids.get(&bits) {
            return id;
        }
        let id = self.sets.len() as PeerSet;
        self.sets.push(bits.clone());
        self.ids.insert(bits, id);
        id
    }

    fn set(&self, id: PeerSet) -> Bits {
        self.sets.get(id as usize).cloned().unwrap_or_else(|| Bits::empty(self.width))
    }

    fn requirement(&self, requirement: &Requirement) -> Bits {
        let values = self.index.get(&requirement.key);
        let mut bits = Bits::empty(self.width);
        let listed = match &requirement.operator {
            Operator::In(listed) | Operator::NotIn(listed) => listed.as_slice(),
            Operator::Exists | Operator::DoesNotExist => &[],
        };
        match &requirement.operator {
            Operator::In(_) | Operator::NotIn(_) => {
                for value in listed {
                    if let Some(found) = values.and_then(|values| values.get(value)) {
                        bits.add(found);
                    }
                }
            }
            Operator::Exists | Operator::DoesNotExist => {
                values.into_iter().flat_map(|values| values.values()).for_each(|found| bits.add(found));
            }
        }
        if matches!(requirement.operator, Operator::NotIn(_) | Operator::DoesNotExist) {
            let mut others = self.all_classes();
            others.remove(&bits);
            return others;
        }
        bits
    }

    fn pods(&mut self, selector: Option<&Selector>) -> Bits {
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return self.all_classes();
        };
        if let Some(bits) = self.pod_memo.get(selector) {
            return bits.clone();
        }
        let mut bits = self.all_classes();
        for requirement in selector.canonical() {
            bits.keep(&self.requirement(&requirement));
        }
        self.pod_memo.insert(selector.clone(), bits.clone());
        bits
    }

    fn namespaces(&mut self, selector: &Selector) -> Bits {
        if let Some(bits) = self.namespace_memo.get(selector) {
            return bits.clone();
        }
        self.foreign_labels |= selector.keys().any(|key| key != "kubernetes.io/metadata.name");
        let mut bits = Bits::empty(self.width);
        for (_, labels, _, classes) in &self.namespaces {
            if selector.matches(labels) {
                bits.add(classes);
            }
        }
        self.namespace_memo.insert(selector.clone(), bits.clone());
        bits
    }

    fn namespace(&self, name: &str) -> Bits {
        let found = self.namespaces.binary_search_by(|(known, ..)| (*known).cmp(name)).ok();
        let bits = found.and_then(|index| self.namespaces.get(index)).map(|(_, _, _, bits)| bits.clone());
        bits.unwrap_or_else(|| Bits::empty(self.width))
    }

    /// Columns of address ranges: atoms of the direction and, where blocks match pods, classes.
    fn addresses(&self, ranges: &[IpRange], atoms: &Atoms, match_pods: bool) -> Bits {
        let mut bits = Bits::empty(self.width);
        for range in ranges {
            let inside = atoms.inside(*range);
            bits.fill(self.count + inside.start, self.count + inside.end);
            if match_pods {
                let within = self.pod_atoms.inside(*range);
                let whole = *range == IpRange::whole(range.family);
                for (class, addresses) in self.addresses.iter().enumerate() {
                    if addresses.is_empty() && whole || addresses.iter().any(|atom| within.contains(atom)) {
                        bits.set(class);
                    }
                }
            }
        }
        bits
    }

    /// A selector of namespaces by labels is uncertain where the namespace's object is not in view.
    fn warn_namespaces(&self, policies: &[Policy], warnings: &mut Vec<Warning>) {
        if !self.foreign_labels || policies.is_empty() || self.options.np_guard {
            return;
        }
        for (name, _, known, bits) in &self.namespaces {
            if !known && bits.meets(&self.real) {
                warnings.push(Warning {
                    code: "namespace_labels_unknown",
                    object: ObjectKey {
                        kind: "Namespace".into(),
                        namespace: String::new(),
                        name: (*name).into(),
                    },
                    message: "the namespace is not in view, so selectors of namespaces by label may miss it"
                        .into(),
                });
            }
        }
    }
}

fn compile_policy(
    policy: &NetworkPolicy,
    space: &mut Space<'_>,
    conns: &mut ConnTable,
    sources: &Atoms,
    destinations: &Atoms,
) -> (Policy, Bits) {
    let own = space.namespace(&policy.meta.namespace);
    let subject = space.pods(Some(&policy.pods)).and(&own);
    let mut compile = |rules: &Option<Vec<PolicyRule>>, atoms: &Atoms| {
        rules.as_ref().map(|rules| {
            rules
                .iter()
                .map(|rule| CompiledRule {
                    name: String::new(),
                    action: Action::Allow,
                    peers: policy_peers(rule, &own, space, atoms),
                    ports: policy_ports(&rule.ports, conns),
                })
                .collect()
        })
    };
    let compiled = Policy {
        key: ObjectKey {
            kind: "networking.k8s.io/NetworkPolicy".into(),
            namespace: policy.meta.namespace.clone(),
            name: policy.meta.name.clone(),
        },
        source: policy.meta.source.clone(),
        tier: None,
        ingress: compile(&policy.ingress, sources),
        egress: compile(&policy.egress, destinations),
    };
    (compiled, subject)
}

fn policy_peers(rule: &PolicyRule, own: &Bits, space: &mut Space<'_>, atoms: &Atoms) -> PeerSet {
    let mut bits = Bits::empty(space.width);
    if rule.peers.is_empty() {
        bits.fill(0, space.count + atoms.ranges().len());
    }
    for peer in &rule.peers {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                let mut found = space.pods(pods.as_ref());
                match namespaces {
                    Some(selector) => found.keep(&space.namespaces(selector)),
                    None => found.keep(own),
                }
                bits.add(&found);
            }
            PolicyPeer::Block(block) => {
                let ranges = block_ranges(block, space.options);
                let match_pods = space.options.block_pods == BlockPods::Match;
                bits.add(&space.addresses(&ranges, atoms, match_pods));
            }
        }
    }
    space.intern(bits)
}

fn policy_ports(ports: &[PolicyPort], conns: &mut ConnTable) -> Ports {
    if ports.is_empty() {
        return Ports { fixed: ConnId::ALL, named: Vec::new() };
    }
    let mut compiled = Ports::default();
    let mut fixed = ConnSet::none();
    for port in ports {
        match &port.port {
            None => fixed = fixed.union(&ConnSet::range(port.protocol, 1, u16::MAX)),
            Some(PortRef::Range(low, high)) => {
                fixed = fixed.union(&ConnSet::range(port.protocol, *low, *high))
            }
            Some(PortRef::Name(name)) => compiled.named.push((name.clone(), Some(port.protocol))),
        }
    }
    compiled.fixed = conns.intern(fixed);
    compiled
}

fn compile_admin(
    policy: &AdminPolicy,
    space: &mut Space<'_>,
    conns: &mut ConnTable,
    sources: &Atoms,
    destinations: &Atoms,
) -> (Policy, Bits) {
    let mut subject = space.pods(policy.subject.pods.as_ref());
    subject.keep(&space.namespaces(&policy.subject.namespaces));
    if policy.flavor == AdminFlavor::Cluster {
        subject.remove(&space.host_network);
    }
    let mut compile = |rules: &[AdminRule], atoms: &Atoms| {
        let compiled: Vec<CompiledRule> =
            rules.iter().map(|rule| admin_rule(rule, policy.flavor, space, conns, atoms)).collect();
        (!compiled.is_empty()).then_some(compiled)
    };
    let compiled = Policy {
        key: admin_key(policy),
        source: policy.meta.source.clone(),
        tier: Some(policy.tier),
        ingress: compile(&policy.ingress, sources),
        egress: compile(&policy.egress, destinations),
    };
    (compiled, subject)
}

fn admin_rule(
    rule: &AdminRule,
    flavor: AdminFlavor,
    space: &mut Space<'_>,
    conns: &mut ConnTable,
    atoms: &Atoms,
) -> CompiledRule {
    let cluster = flavor == AdminFlavor::Cluster;
    if cluster && rule.action != Action::Allow && rule.peers.contains(&AdminPeer::Unknown) {
        // The API asks to fail closed: what cannot be read denies everything.
        let mut bits = Bits::empty(space.width);
        bits.fill(0, space.count + atoms.ranges().len());
        let ports = Ports { fixed: ConnId::ALL, named: Vec::new() };
        return CompiledRule {
            name: rule.name.clone(),
            action: Action::Deny,
            peers: space.intern(bits),
            ports,
        };
    }
    let mut bits = Bits::empty(space.width);
    for peer in &rule.peers {
        match peer {
            AdminPeer::Pods { namespaces, pods } => {
                let mut found = space.pods(pods.as_ref());
                found.keep(&space.namespaces(namespaces));
                if cluster {
                    found.remove(&space.host_network);
                }
                bits.add(&found);
            }
            AdminPeer::Networks(networks) => {
                let ranges = network_ranges(networks, space.options);
                bits.add(&space.addresses(&ranges, atoms, cluster));
            }
            AdminPeer::Nodes(_) | AdminPeer::Domains(_) | AdminPeer::Unknown => {}
        }
    }
    let ports = match &rule.ports {
        None => Ports { fixed: ConnId::ALL, named: Vec::new() },
        Some(ports) => {
            let mut compiled = Ports::default();
            let mut fixed = ConnSet::none();
            for port in ports {
                match port {
                    AdminPort::Range { protocol, low, high } => {
                        fixed = fixed.union(&ConnSet::range(*protocol, *low, *high));
                    }
                    AdminPort::Protocol(protocol) => {
                        fixed = fixed.union(&ConnSet::range(*protocol, 1, u16::MAX))
                    }
                    AdminPort::Named(name) => compiled.named.push((name.clone(), None)),
                }
            }
            compiled.fixed = conns.intern(fixed);
            compiled
        }
    };
    CompiledRule { name: rule.name.clone(), action: rule.action, peers: space.intern(bits), ports }
}

/// The ports that a list of named container ports gives to the names of a rule.
pub(super) fn resolve(named: &[(String, Option<Protocol>)], ports: &[NamedPort]) -> ConnSet {
    let mut found = ConnSet::none();
    for (name, protocol) in named {
        for (known, has, number) in ports {
            if known == name && protocol.is_none_or(|protocol| protocol == *has) {
                found = found.union(&ConnSet::range(*has, *number, *number));
            }
        }
    }
    found
}

/// Resolves the rules of policies for one class and direction.
struct Resolver<'a, 'b> {
    space: &'a mut Space<'b>,
    conns: &'a mut ConnTable,
    port_sets: &'a [Vec<NamedPort>],
    /// Egress rules with named ports, split by what their peers call their ports.
    named: FxHashMap<(u32, u32), Vec<(PeerSet, ConnId)>>,
}

impl Resolver<'_, '_> {
    fn profile(&mut self, class: &Class, direction: Direction, policies: &[Policy]) -> Profile {
        let mut profile = Profile { isolated: false, allowed: Vec::new(), admin: Vec::new() };
        let selecting = match direction {
            Direction::Ingress => &class.ingress_policies,
            Direction::Egress => &class.egress_policies,
        };
        for &index in selecting {
            let Some(policy) = policies.get(index as usize) else { continue };
            profile.isolated |= policy.tier.is_none();
            for (position, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let entries = match direction {
                    Direction::Ingress => self.ingress(rule, class),
                    Direction::Egress => self.egress(rule, (index, position as u32)),
                };
                for (peers, conn) in entries {
                    match policy.tier {
                        None => profile.allowed.push((peers, conn)),
                        Some(tier) => {
                            profile.admin.push(AdminEntry { tier, action: rule.action, peers, conn })
                        }
                    }
                }
            }
        }
        profile.allowed.sort_unstable();
        profile.allowed.dedup();
        profile
    }

    fn ingress(&mut self, rule: &CompiledRule, class: &Class) -> Vec<(PeerSet, ConnId)> {
        if rule.ports.named.is_empty() {
            return vec![(rule.peers, rule.ports.fixed)];
        }
        let ports = self.port_sets.get(class.ports as usize).map(Vec::as_slice).unwrap_or_default();
        let resolved = self.conns.intern(resolve(&rule.ports.named, ports));
        vec![(rule.peers, self.conns.union(rule.ports.fixed, resolved))]
    }

    fn egress(&mut self, rule: &CompiledRule, place: (u32, u32)) -> Vec<(PeerSet, ConnId)> {
        if rule.ports.named.is_empty() {
            return vec![(rule.peers, rule.ports.fixed)];
        }
        if let Some(entries) = self.named.get(&place) {
            return entries.clone();
        }
        let mut entries = vec![(rule.peers, rule.ports.fixed)];
        let peers = self.space.set(rule.peers);
        for (index, ports) in self.port_sets.iter().enumerate() {
            let resolved = resolve(&rule.ports.named, ports);
            if resolved.is_empty() {
                continue;
            }
            if let Some(bits) = self.space.by_ports.get(index).map(|bits| bits.and(&peers))
                && !bits.is_empty()
            {
                let conn = self.conns.intern(resolved);
                entries.push((self.space.intern(bits), conn));
            }
        }
        self.named.insert(place, entries.clone());
        entries
    }
}

/// Policies that select nothing, rules that match nothing, names of ports that nobody has.
fn lint(
    policies: &[Policy],
    subjects: &[Bits],
    space: &Space<'_>,
    port_sets: &[Vec<NamedPort>],
    classes: &[Class],
    conns: &ConnTable,
    warnings: &mut Vec<Warning>,
) {
    for (policy, subject) in policies.iter().zip(subjects) {
        let real = subject.and(&space.real);
        if real.is_empty() {
            warnings.push(Warning {
                code: "policy_selects_nothing",
                object: policy.key.clone(),
                message: "selects no workload".into(),
            });
            continue;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let field = if direction == Direction::Ingress { "ingress" } else { "egress" };
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let mut peers = space.set(rule.peers);
                let mut seen = space.real.clone();
                seen.fill(space.count, space.width);
                peers.keep(&seen);
                if peers.is_empty() {
                    warnings.push(Warning {
                        code: "rule_matches_nothing",
                        object: policy.key.clone(),
                        message: format!("{field}[{index}] matches no workload and no address"),
                    });
                    continue;
                }
                let destinations = if direction == Direction::Ingress { &real } else { &peers };
                for name in &rule.ports.named {
                    let mut sets: Vec<u32> = destinations
                        .iter()
                        .filter_map(|class| classes.get(class))
                        .map(|class| class.ports)
                        .collect();
                    sets.sort_unstable();
                    sets.dedup();
                    let found = sets.iter().filter_map(|set| port_sets.get(*set as usize));
                    if found.into_iter().all(|ports| resolve(std::slice::from_ref(name), ports).is_empty()) {
                        warnings.push(Warning {
                            code: "named_port_unresolved",
                            object: policy.key.clone(),
                            message: format!(
                                "{field}[{index}]: no destination has a port named {:?}",
                                name.0
                            ),
                        });
                    }
                }
                if rule.ports.named.is_empty() && conns.get(rule.ports.fixed).is_empty() {
                    warnings.push(Warning {
                        code: "rule_matches_nothing",
                        object: policy.key.clone(),
                        message: format!("{field}[{index}] matches no port"),
                    });
                }
            }
        }
    }
}

/// Policies of one tier and priority whose rules disagree on a common packet: the API leaves the outcome open.
fn ties(
    admin: &[&AdminPolicy],
    policies: &[Policy],
    subjects: &[Bits],
    space: &Space<'_>,
    conns: &mut ConnTable,
    warnings: &mut Vec<Warning>,
) {
    let from = policies.len().saturating_sub(admin.len());
    let compiled: Vec<(&AdminPolicy, &Policy, &Bits)> = admin
        .iter()
        .zip(policies.iter().skip(from).zip(subjects.iter().skip(from)))
        .map(|(policy, (compiled, subject))| (*policy, compiled, subject))
        .collect();
    for (index, (policy, left, subject)) in compiled.iter().enumerate() {
        let same = compiled
            .iter()
            .skip(index + 1)
            .take_while(|(other, ..)| other.tier == policy.tier && other.priority == policy.priority);
        for (_, right, other_subject) in same {
            if !subject.meets(other_subject) {
                continue;
            }
            let clash = [Direction::Ingress, Direction::Egress].into_iter().any(|direction| {
                let ours = left.rules(direction).unwrap_or_default();
                let theirs = right.rules(direction).unwrap_or_default();
                ours.iter().any(|a| {
                    theirs.iter().any(|b| {
                        a.action != b.action
                            && space.set(a.peers).meets(&space.set(b.peers))
                            && (conns.intersect(a.ports.fixed, b.ports.fixed) != ConnId::NONE
                                || !a.ports.named.is_empty()
                                || !b.ports.named.is_empty())
                    })
                })
            });
            if clash {
                warnings.push(Warning {
                    code: "policy_priority_tie",
                    object: left.key.clone(),
                    message: format!(
                        "has the priority of {} and decides otherwise on common traffic",
                        right.key
                    ),
                });
            }
        }
    }
}
