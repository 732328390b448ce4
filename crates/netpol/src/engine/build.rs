//! A state becomes classes, profiles and rows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::compile::{Resolver, compile_admin, compile_policy};
use super::endpoints::{NamedPort, Variant, endpoints};
use super::lint::{lint, ties};
use super::row::{Profile, evaluate};
use super::space::Space;
use super::{BlockPods, Class, Connectivity, Direction, Options, Policy, Warning};
use crate::bits::Bits;
use crate::conn::ConnTable;
use crate::ip::{Atoms, Family, IpRange, np_guard_range, without};
use crate::objects::{
    AdminFlavor, AdminPeer, AdminPolicy, IpBlock, NetworkPolicy, Object, ObjectKey, PolicyPeer,
};
use crate::selector::Selector;
use crate::state::ClusterState;

/// Everything that distinguishes pods to a policy. Sorted by namespace first, so that a namespace is a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassKey {
    pub(super) namespace: u32,
    pub(super) labels: Vec<(String, String)>,
    pub(super) ports: u32,
    pub(super) host_network: bool,
    /// Atoms of the blocks that may match pods.
    pub(super) addresses: Vec<usize>,
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
    let mut ingress_rows = 0;
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
                rows.push(evaluate(profile, &space.sets, &columns, count + atoms.ranges().len(), &mut conns));
                rows.len() as u32 - 1
            });
            match direction {
                Direction::Ingress => class.ingress = row,
                Direction::Egress => class.egress = row,
            }
        }
        if direction == Direction::Ingress {
            ingress_rows = rows.len();
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
        ingress_rows,
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

pub(super) fn admin_key(policy: &AdminPolicy) -> ObjectKey {
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

pub(super) fn block_ranges(block: &IpBlock, options: &Options) -> Vec<IpRange> {
    let range = |net| if options.np_guard { np_guard_range(net) } else { Some(IpRange::of(net)) };
    let holes: Vec<IpRange> = block.except.iter().filter_map(|net| range(*net)).collect();
    range(block.cidr).map(|whole| without(whole, &holes)).unwrap_or_default()
}

/// np-guard leaves IPv6 networks of administrators' policies out.
pub(super) fn network_ranges(networks: &[ipnet::IpNet], options: &Options) -> Vec<IpRange> {
    networks
        .iter()
        .map(|net| IpRange::of(*net))
        .filter(|range| !options.np_guard || range.family == Family::V4)
        .collect()
}
