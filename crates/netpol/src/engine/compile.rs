//! Policies become sets of columns and sets of connections.

use rustc_hash::FxHashMap;

use super::build::{admin_key, block_ranges, network_ranges};
use super::endpoints::NamedPort;
use super::row::{AdminEntry, PeerSet, Profile};
use super::space::Space;
use super::{BlockPods, Class, CompiledRule, Direction, Policy, Ports};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable, Protocol};
use crate::ip::Atoms;
use crate::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, NetworkPolicy, ObjectKey, PolicyPeer,
    PolicyPort, PolicyRule, PortRef,
};

pub(super) fn compile_policy(
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

pub(super) fn compile_admin(
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
pub(super) struct Resolver<'a, 'b> {
    pub(super) space: &'a mut Space<'b>,
    pub(super) conns: &'a mut ConnTable,
    pub(super) port_sets: &'a [Vec<NamedPort>],
    /// Egress rules with named ports, split by what their peers call their ports.
    pub(super) named: FxHashMap<(u32, u32), Vec<(PeerSet, ConnId)>>,
}

impl Resolver<'_, '_> {
    pub(super) fn profile(&mut self, class: &Class, direction: Direction, policies: &[Policy]) -> Profile {
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
            let mut bits = Bits::empty(self.space.width);
            let classes = self.space.by_ports.get(index).map(Vec::as_slice).unwrap_or_default();
            classes
                .iter()
                .map(|class| *class as usize)
                .filter(|class| peers.has(*class))
                .for_each(|class| bits.set(class));
            if !bits.is_empty() {
                let conn = self.conns.intern(resolved);
                entries.push((self.space.intern(bits), conn));
            }
        }
        self.named.insert(place, entries.clone());
        entries
    }
}
