//! Policies become sets of peers and sets of connections.

use super::endpoints::NamedPort;
use super::profile::NO_NAMES;
use super::resident::Engine;
use super::selectors::{Pods, Scope};
use super::sets::{Definition, Ground, Term};
use super::{BlockPods, CompiledRule, Direction, Options, Policy, PortName, Ports};
use crate::conn::{ConnId, ConnSet};
use crate::ip::{Family, IpRange, np_guard_range, without};
use crate::nodes::Nodes;
use crate::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, IpBlock, NetworkPolicy, Object,
    ObjectKey, PolicyPeer, PolicyPort, PolicyRule, PortRef, Tier,
};
use crate::selector::Selector;
use crate::state::ClusterState;

/// A policy of either form.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnyPolicy<'a> {
    Network(&'a NetworkPolicy),
    Admin(&'a AdminPolicy),
}

/// Order of evaluation: NetworkPolicies by name, then the administrator's by tier, priority and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Option<(Tier, u16)>, String, String);

impl<'a> AnyPolicy<'a> {
    pub(super) fn of(object: &'a Object) -> Option<Self> {
        match object {
            Object::NetworkPolicy(policy) => Some(Self::Network(policy)),
            Object::AdminNetworkPolicy(policy)
            | Object::BaselineAdminNetworkPolicy(policy)
            | Object::ClusterNetworkPolicy(policy) => Some(Self::Admin(policy)),
            _ => None,
        }
    }

    pub(super) fn rank(self) -> Rank {
        match self {
            Self::Network(policy) => Rank(None, policy.meta.namespace.clone(), policy.meta.name.clone()),
            Self::Admin(policy) => {
                Rank(Some((policy.tier, policy.priority)), policy.meta.name.clone(), admin_key(policy).kind)
            }
        }
    }

    /// Label keys of pods that its selectors read.
    pub(super) fn keys(self) -> Vec<&'a str> {
        let mut keys: Vec<&str> = Vec::new();
        match self {
            Self::Network(policy) => {
                keys.extend(policy.pods.keys());
                for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
                    for peer in &rule.peers {
                        if let PolicyPeer::Pods { pods: Some(pods), .. } = peer {
                            keys.extend(pods.keys());
                        }
                    }
                }
            }
            Self::Admin(policy) => {
                keys.extend(policy.subject.pods.iter().flat_map(Selector::keys));
                for peer in policy.ingress.iter().chain(&policy.egress).flat_map(|rule| &rule.peers) {
                    if let AdminPeer::Pods { pods: Some(pods), .. } = peer {
                        keys.extend(pods.keys());
                    }
                }
            }
        }
        keys
    }

    /// Address blocks by direction (ingress, egress), and those among them that may match pods.
    pub(super) fn blocks(self, options: &Options, nodes: &Nodes) -> ([Vec<IpRange>; 2], Vec<IpRange>) {
        let (mut blocks, mut pods) = ([Vec::new(), Vec::new()], Vec::new());
        let [sources, destinations] = &mut blocks;
        match self {
            Self::Network(policy) => {
                for (rules, into) in [(&policy.ingress, sources), (&policy.egress, destinations)] {
                    for peer in rules.iter().flatten().flat_map(|rule| &rule.peers) {
                        let PolicyPeer::Block(block) = peer else { continue };
                        let ranges = block_ranges(block, options);
                        if options.block_pods == BlockPods::Match {
                            pods.extend(ranges.iter().copied());
                        }
                        into.extend(ranges);
                    }
                }
            }
            Self::Admin(policy) => {
                for (rules, into) in [(&policy.ingress, sources), (&policy.egress, destinations)] {
                    for peer in rules.iter().flat_map(|rule| &rule.peers) {
                        let (ranges, match_pods) = match peer {
                            AdminPeer::Networks(networks) => {
                                (network_ranges(networks, options), policy.flavor == AdminFlavor::Cluster)
                            }
                            // Pods on the node's network have its address.
                            AdminPeer::Nodes(selector) => (nodes.selected(selector), true),
                            _ => continue,
                        };
                        if match_pods {
                            pods.extend(ranges.iter().copied());
                        }
                        into.extend(ranges);
                    }
                }
            }
        }
        (blocks, pods)
    }

    /// Some peer is nodes by label.
    pub(super) fn has_node_peers(self) -> bool {
        let Self::Admin(policy) = self else { return false };
        let rules = policy.ingress.iter().chain(&policy.egress);
        rules.flat_map(|rule| &rule.peers).any(|peer| matches!(peer, AdminPeer::Nodes(_)))
    }

    /// A ClusterNetworkPolicy leaves pods on the node's network out.
    pub(super) fn splits_host_network(self) -> bool {
        matches!(self, Self::Admin(policy) if policy.flavor == AdminFlavor::Cluster)
    }
}

/// A policy compiled, and what it holds on to.
pub(super) struct Compiled {
    pub(super) policy: Policy,
    pub(super) subject: Pods,
    /// Sets of its rules, once for each rule.
    pub(super) sets: Vec<u32>,
    /// Some selector of namespaces reads other labels than the name.
    pub(super) foreign: bool,
}

/// What a compilation gathers.
struct Gathered {
    id: u32,
    sets: Vec<u32>,
    foreign: bool,
}

impl Engine {
    pub(super) fn compile(&mut self, id: u32, policy: AnyPolicy<'_>, state: &ClusterState) -> Compiled {
        let mut gathered = Gathered { id, sets: Vec::new(), foreign: false };
        let (policy, subject) = match policy {
            AnyPolicy::Network(policy) => self.network_policy(policy, state, &mut gathered),
            AnyPolicy::Admin(policy) => self.admin_policy(policy, &mut gathered),
        };
        Compiled { policy, subject, sets: gathered.sets, foreign: gathered.foreign }
    }

    fn network_policy(
        &mut self,
        policy: &NetworkPolicy,
        state: &ClusterState,
        gathered: &mut Gathered,
    ) -> (Policy, Pods) {
        let name = &policy.meta.namespace;
        let own = Scope::Own(self.selectors.namespace(name, || state.namespace_labels(name)));
        let subject =
            Pods { scope: own, pods: self.selectors.pod_selector(Some(&policy.pods)), no_host: false };
        let mut compile = |rules: &Option<Vec<PolicyRule>>, direction: Direction| {
            let rules = rules.as_ref()?;
            let compiled = rules.iter().map(|rule| {
                let terms = self.policy_peers(rule, own, gathered);
                CompiledRule {
                    name: String::new(),
                    action: Action::Allow,
                    peers: self.set(Definition::new(terms, direction), gathered),
                    ports: self.policy_ports(&rule.ports),
                }
            });
            Some(compiled.collect())
        };
        let compiled = Policy {
            key: ObjectKey {
                kind: "networking.k8s.io/NetworkPolicy".into(),
                namespace: policy.meta.namespace.clone(),
                name: policy.meta.name.clone(),
            },
            source: policy.meta.source.clone(),
            tier: None,
            ingress: compile(&policy.ingress, Direction::Ingress),
            egress: compile(&policy.egress, Direction::Egress),
        };
        (compiled, subject)
    }

    fn set(&mut self, definition: Definition, gathered: &mut Gathered) -> u32 {
        let ground = Ground {
            classes: &self.classes,
            live: &self.view.live,
            sources: &self.view.sources,
            destinations: &self.view.destinations,
        };
        let id =
            self.sets.acquire(definition, gathered.id, &mut self.selectors, &ground, &mut self.view.sets);
        gathered.sets.push(id);
        id
    }

    fn namespaces(&mut self, selector: &Selector, gathered: &mut Gathered) -> Scope {
        gathered.foreign |= selector.keys().any(|key| key != "kubernetes.io/metadata.name");
        Scope::Selected(self.selectors.namespace_selector(selector))
    }

    fn policy_peers(&mut self, rule: &PolicyRule, own: Scope, gathered: &mut Gathered) -> Vec<Term> {
        if rule.peers.is_empty() {
            return vec![Term::Everyone];
        }
        let mut terms = Vec::with_capacity(rule.peers.len());
        for peer in &rule.peers {
            terms.push(match peer {
                PolicyPeer::Pods { namespaces, pods } => {
                    let scope = match namespaces {
                        Some(selector) => self.namespaces(selector, gathered),
                        None => own,
                    };
                    let pods = self.selectors.pod_selector(pods.as_ref());
                    Term::Pods(Pods { scope, pods, no_host: false })
                }
                PolicyPeer::Block(block) => Term::Addresses {
                    ranges: block_ranges(block, &self.view.options),
                    match_pods: self.view.options.block_pods == BlockPods::Match,
                },
            });
        }
        terms
    }

    fn named(&mut self, names: Vec<PortName>) -> u32 {
        if names.is_empty() {
            return NO_NAMES;
        }
        if let Some(&id) = self.named_ids.get(&names) {
            return id;
        }
        let id = self.view.named.len() as u32;
        self.view.named.push(names.clone().into());
        self.named_ids.insert(names, id);
        id
    }

    fn policy_ports(&mut self, ports: &[PolicyPort]) -> Ports {
        if ports.is_empty() {
            return Ports { fixed: ConnId::ALL, named: NO_NAMES };
        }
        let (mut fixed, mut names) = (ConnSet::none(), Vec::new());
        for port in ports {
            match &port.port {
                None => fixed = fixed.union(&ConnSet::range(port.protocol, 1, u16::MAX)),
                Some(PortRef::Range(low, high)) => {
                    fixed = fixed.union(&ConnSet::range(port.protocol, *low, *high))
                }
                Some(PortRef::Name(name)) => names.push((name.clone(), Some(port.protocol))),
            }
        }
        Ports { fixed: self.conns.intern(fixed), named: self.named(names) }
    }

    fn admin_policy(&mut self, policy: &AdminPolicy, gathered: &mut Gathered) -> (Policy, Pods) {
        let subject = Pods {
            scope: self.namespaces(&policy.subject.namespaces, gathered),
            pods: self.selectors.pod_selector(policy.subject.pods.as_ref()),
            no_host: policy.flavor == AdminFlavor::Cluster,
        };
        let mut compile = |rules: &[AdminRule], direction: Direction| {
            let compiled: Vec<CompiledRule> =
                rules.iter().map(|rule| self.admin_rule(rule, policy.flavor, direction, gathered)).collect();
            (!compiled.is_empty()).then_some(compiled)
        };
        let compiled = Policy {
            key: admin_key(policy),
            source: policy.meta.source.clone(),
            tier: Some(policy.tier),
            ingress: compile(&policy.ingress, Direction::Ingress),
            egress: compile(&policy.egress, Direction::Egress),
        };
        (compiled, subject)
    }

    fn admin_rule(
        &mut self,
        rule: &AdminRule,
        flavor: AdminFlavor,
        direction: Direction,
        gathered: &mut Gathered,
    ) -> CompiledRule {
        let cluster = flavor == AdminFlavor::Cluster;
        if cluster && rule.action != Action::Allow && rule.peers.contains(&AdminPeer::Unknown) {
            // The API asks to fail closed: what cannot be read denies everything.
            return CompiledRule {
                name: rule.name.clone(),
                action: Action::Deny,
                peers: self.set(Definition::new(vec![Term::Everyone], direction), gathered),
                ports: Ports { fixed: ConnId::ALL, named: NO_NAMES },
            };
        }
        let mut terms = Vec::with_capacity(rule.peers.len());
        for peer in &rule.peers {
            match peer {
                AdminPeer::Pods { namespaces, pods } => {
                    let scope = self.namespaces(namespaces, gathered);
                    let pods = self.selectors.pod_selector(pods.as_ref());
                    terms.push(Term::Pods(Pods { scope, pods, no_host: cluster }));
                }
                AdminPeer::Networks(networks) => terms.push(Term::Addresses {
                    ranges: network_ranges(networks, &self.view.options),
                    match_pods: cluster,
                }),
                AdminPeer::Nodes(selector) => {
                    let ranges = self.view.nodes.selected(selector);
                    if !ranges.is_empty() {
                        terms.push(Term::Addresses { ranges, match_pods: true });
                    }
                }
                AdminPeer::Domains(_) | AdminPeer::Unknown => {}
            }
        }
        let ports = match &rule.ports {
            None => Ports { fixed: ConnId::ALL, named: NO_NAMES },
            Some(ports) => {
                let (mut fixed, mut names) = (ConnSet::none(), Vec::new());
                for port in ports {
                    match port {
                        AdminPort::Range { protocol, low, high } => {
                            fixed = fixed.union(&ConnSet::range(*protocol, *low, *high));
                        }
                        AdminPort::Protocol(protocol) => {
                            fixed = fixed.union(&ConnSet::range(*protocol, 1, u16::MAX))
                        }
                        AdminPort::Named(name) => names.push((name.clone(), None)),
                    }
                }
                Ports { fixed: self.conns.intern(fixed), named: self.named(names) }
            }
        };
        CompiledRule {
            name: rule.name.clone(),
            action: rule.action,
            peers: self.set(Definition::new(terms, direction), gathered),
            ports,
        }
    }
}

pub(super) fn admin_key(policy: &AdminPolicy) -> ObjectKey {
    let kind = match policy.flavor {
        AdminFlavor::Admin => "policy.networking.k8s.io/AdminNetworkPolicy",
        AdminFlavor::Baseline => "policy.networking.k8s.io/BaselineAdminNetworkPolicy",
        AdminFlavor::Cluster => "policy.networking.k8s.io/ClusterNetworkPolicy",
    };
    ObjectKey { kind: kind.into(), namespace: String::new(), name: policy.meta.name.clone() }
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

/// The ports that a list of named container ports gives to the names of a rule.
pub(super) fn resolve(named: &[PortName], ports: &[NamedPort]) -> ConnSet {
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
