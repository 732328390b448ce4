//! The nodes in view: whose addresses packets carry when a node sends or translates them, and which addresses pods can
//! have.
//!
//! What a node *has* is told by its object. What no node has can be told only when every node of the cluster is in view:
//! when the cluster was replaced as a whole, nodes among it ([`ClusterState::has_all_nodes`]), or the caller says so
//! ([`crate::engine::Options::all_nodes`]), and no pod names a node that is not in view. That blocks of pod addresses
//! (`spec.podCIDRs`) are what pods get their addresses from is taken from the pods: many plugins give out others, so
//! each address of a pod in view has to be from the blocks of its node, and there must be one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::ip::IpRange;
use crate::objects::{ClusterNode, Object, Workload};
use crate::selector::Selector;
use crate::state::ClusterState;

/// Where pods of a workload run, as far as pods in view tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Node and address of the node, of which each pod tells one or both.
    pub(crate) known: Vec<(Option<String>, Option<IpAddr>)>,
    /// Some pod, or every pod of a template, may be on any node.
    pub(crate) anywhere: bool,
}

impl Places {
    /// Those of the objects that make a workload up. A template says nothing where pods are in view.
    pub(crate) fn of(members: &[&Workload]) -> Self {
        let mut known: Vec<_> = Vec::new();
        let (mut anywhere, mut pods) = (false, false);
        for pod in members.iter().filter(|member| member.kind == crate::objects::WorkloadKind::Pod) {
            pods = true;
            // A pod on the node's network has the node's address.
            let own = pod.pod_ips.first().copied().filter(|_| pod.host_network);
            match (pod.node.clone(), pod.host_ip.or(own)) {
                (None, None) => anywhere = true,
                place => known.push(place),
            }
        }
        known.sort();
        known.dedup();
        Self { known, anywhere: anywhere || !pods }
    }

    /// True unless pods of the two are known to be on different nodes.
    pub(crate) fn may_share(&self, other: &Self) -> bool {
        let same = |(node, host): &(Option<String>, Option<IpAddr>)| {
            other.known.iter().any(|(there, other)| match (node, there, host, other) {
                (Some(node), Some(there), ..) => node == there,
                (_, _, Some(host), Some(other)) => host == other,
                _ => true,
            })
        };
        self.anywhere || other.anywhere || self.known.iter().any(same)
    }
}

/// The nodes in brackets, after a space; nothing where they are not known or many.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.known.iter().filter_map(|(node, _)| node.as_deref()).collect();
        names.dedup();
        if self.anywhere || names.is_empty() || names.len() > 3 || names.len() < self.known.len() {
            return Ok(());
        }
        write!(f, " ({})", names.join(", "))
    }
}

/// The nodes in view: an immutable value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    known: BTreeMap<String, Arc<ClusterNode>>,
    /// Every address of a node, with the first node by name that has it.
    addresses: BTreeMap<IpAddr, String>,
    /// Blocks of pod addresses, in order, none touching another.
    pods: Vec<IpRange>,
    /// No node is out of view.
    all: bool,
    /// What is in no block of pod addresses is no pod's.
    pods_by_block: bool,
}

impl Nodes {
    /// True when no node is in view.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// True when no node is out of view.
    pub(crate) fn are_all(&self) -> bool {
        self.all
    }

    /// True when both can tell the same of what no node has, whatever their nodes are.
    pub(crate) fn tell_alike(&self, other: &Self) -> bool {
        let told = |nodes: &Self| (nodes.is_empty(), nodes.all, nodes.pods_by_block);
        told(self) == told(other)
    }

    /// True when [`Nodes::may_hold_pod`] can say no.
    pub(crate) fn tell_pods(&self) -> bool {
        self.all && self.pods_by_block
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ClusterNode)> {
        self.known.iter().map(|(name, node)| (name.as_str(), node.as_ref()))
    }

    /// Every address of the nodes that a selector selects.
    pub(crate) fn selected(&self, selector: &Selector) -> Vec<IpRange> {
        let nodes = self.known.values().filter(|node| selector.matches(&node.meta.labels));
        nodes.flat_map(|node| node.internal.iter().chain(&node.external)).copied().map(IpRange::one).collect()
    }

    /// The first address of a node in a range, and the node.
    pub(crate) fn first_in(&self, range: IpRange) -> Option<(&str, IpAddr)> {
        let mut inside = self.addresses.range(range.first_address()..=range.last_address());
        inside.next().map(|(address, name)| (name.as_str(), *address))
    }

    /// An address of a node as packets carry it.
    pub(crate) fn sender(&self, name: &str) -> Option<IpAddr> {
        senders(self.known.get(name)?).first().copied()
    }

    /// The node whose pods have addresses of the block that an address is in.
    pub(crate) fn with_pod(&self, address: IpAddr) -> Option<(&str, IpNet)> {
        self.iter().find_map(|(name, node)| {
            let block = node.pod_cidrs.iter().find(|block| block.contains(&address));
            block.map(|block| (name, *block))
        })
    }

    /// The node that has an address.
    pub(crate) fn with_address(&self, address: IpAddr) -> Option<&str> {
        self.addresses.get(&address).map(String::as_str)
    }

    /// False when no address of the range can be a pod's.
    pub(crate) fn may_hold_pod(&self, range: IpRange) -> bool {
        if !self.tell_pods() {
            return true;
        }
        let at = self.pods.partition_point(|block| (block.family, block.last) < (range.family, range.first));
        self.pods.get(at).is_some_and(|block| block.meets(&range))
    }

    /// False when no address of the range can be a node's.
    pub(crate) fn may_hold_node(&self, range: IpRange) -> bool {
        !self.all || self.first_in(range).is_some()
    }

    /// The addresses that packets of pods on the node's network carry, each with its node in words. None where a pod may
    /// be on a node that is not in view.
    pub(crate) fn carried(&self, places: &Places) -> Option<Vec<(String, IpAddr)>> {
        let mut found = Vec::new();
        for (node, host) in &places.known {
            match (node.as_ref().and_then(|name| self.known.get_key_value(name)), host) {
                (Some((name, node)), _) if !senders(node).is_empty() => {
                    found.extend(senders(node).iter().map(|address| (format!("node {name}"), *address)));
                }
                (_, Some(host)) => {
                    let name = self.with_address(*host).or(node.as_deref());
                    found.push((
                        name.map_or_else(|| "its node".to_owned(), |name| format!("node {name}")),
                        *host,
                    ));
                }
                _ => return None,
            }
        }
        if places.anywhere {
            if !self.all {
                return None;
            }
            let all = self.iter().flat_map(|(name, node)| {
                senders(node).iter().map(move |address| (format!("node {name}"), *address))
            });
            found.extend(all);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        found.dedup();
        Some(found)
    }

    /// The first node by name with an address that the internet routes to; of the nodes of `places` where they are known.
    pub(crate) fn public(&self, places: Option<&Places>) -> Option<(&str, IpAddr)> {
        let here = |name: &str| match places {
            Some(places) if !places.anywhere => places.known.iter().any(|(node, host)| match node {
                Some(node) => node == name,
                None => host.is_some_and(|host| self.with_address(host) == Some(name)),
            }),
            _ => true,
        };
        self.iter().filter(|(name, _)| here(name)).find_map(|(name, node)| {
            let public = |address: &&IpAddr| !IpRange::one(**address).is_private();
            let found = node.external.iter().find(public).or_else(|| node.internal.iter().find(public));
            found.map(|address| (name, *address))
        })
    }
}

/// The addresses that packets of a node carry.
pub(crate) fn senders(node: &ClusterNode) -> &[IpAddr] {
    if node.internal.is_empty() { &node.external } else { &node.internal }
}

/// What the view of the nodes is made of, kept up to date object by object.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: Nodes,
    declared: bool,
    /// Number of objects that name a node.
    named: BTreeMap<String, u32>,
    /// Number of pods with an address of their own, by address and the node that they name.
    pods: BTreeMap<(IpAddr, Option<String>), u32>,
    /// Entries of `pods` outside the blocks of their node.
    strays: usize,
}

impl Fleet {
    /// Those of a state.
    pub(crate) fn of(state: &ClusterState, declared: bool) -> Self {
        let mut fleet = Self { declared, ..Self::default() };
        for object in state.objects() {
            if let Object::Node(node) = object {
                fleet.nodes.known.insert(node.meta.name.clone(), Arc::new(node.clone()));
            }
        }
        fleet.index();
        for workload in state.workloads() {
            fleet.count(workload, true);
        }
        fleet.judge();
        fleet
    }

    /// The view.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Takes changes of objects in, each before and after. Gives the view where it differs.
    pub(crate) fn change<'a>(
        &mut self,
        touches: impl Iterator<Item = (Option<&'a Object>, Option<&'a Object>)>,
        declared: bool,
    ) -> Option<&Nodes> {
        let before = (self.nodes.all, self.nodes.pods_by_block);
        let mut changed = false;
        self.declared = declared;
        for (old, new) in touches {
            if let Some(Object::Workload(old)) = old {
                self.count(old, false);
            }
            if let Some(Object::Workload(new)) = new {
                self.count(new, true);
            }
            match (old, new) {
                (_, Some(Object::Node(node))) => {
                    let known = self.nodes.known.get(&node.meta.name);
                    if known.is_none_or(|known| differs(known, node)) {
                        self.nodes.known.insert(node.meta.name.clone(), Arc::new(node.clone()));
                        changed = true;
                    }
                }
                (Some(Object::Node(node)), _) => {
                    changed |= self.nodes.known.remove(&node.meta.name).is_some()
                }
                _ => {}
            }
        }
        if changed {
            self.index();
            let strays = self.pods.keys().filter(|(address, node)| self.strays_at(*address, node.as_deref()));
            self.strays = strays.count();
        }
        self.judge();
        (changed || before != (self.nodes.all, self.nodes.pods_by_block)).then_some(&self.nodes)
    }

    fn count(&mut self, workload: &Workload, comes: bool) {
        if let Some(node) = &workload.node {
            step(&mut self.named, node.clone(), comes);
        }
        if !workload.host_network {
            for address in &workload.pod_ips {
                let key = (*address, workload.node.clone());
                let strays = self.strays_at(*address, workload.node.as_deref());
                if step(&mut self.pods, key, comes) && strays {
                    self.strays = if comes { self.strays + 1 } else { self.strays.saturating_sub(1) };
                }
            }
        }
    }

    fn strays_at(&self, address: IpAddr, node: Option<&str>) -> bool {
        match node.and_then(|node| self.nodes.known.get(node)) {
            Some(node) => !node.pod_cidrs.iter().any(|block| block.contains(&address)),
            None => !self.nodes.pods.iter().any(|block| block.contains(address)),
        }
    }

    fn index(&mut self) {
        let nodes = &mut self.nodes;
        nodes.addresses.clear();
        for (name, node) in &nodes.known {
            for address in node.internal.iter().chain(&node.external) {
                nodes.addresses.entry(*address).or_insert_with(|| name.clone());
            }
        }
        let blocks = nodes.known.values().flat_map(|node| &node.pod_cidrs);
        let mut blocks: Vec<IpRange> = blocks.map(|block| IpRange::of(*block)).collect();
        blocks.sort_by_key(|block| (block.family, block.first, block.last));
        nodes.pods.clear();
        for block in blocks {
            match nodes.pods.last_mut().filter(|last| last.meets(&block)) {
                Some(last) => last.last = last.last.max(block.last),
                None => nodes.pods.push(block),
            }
        }
    }

    fn judge(&mut self) {
        let nodes = &mut self.nodes;
        let addressed = |node: &Arc<ClusterNode>| !senders(node).is_empty();
        nodes.all = self.declared
            && !nodes.known.is_empty()
            && nodes.known.values().all(addressed)
            && self.named.keys().all(|name| nodes.known.contains_key(name));
        nodes.pods_by_block = self.strays == 0
            && !self.pods.is_empty()
            && nodes.known.values().all(|node| !node.pod_cidrs.is_empty());
    }
}

/// True where two states of a node differ in what is read of it.
fn differs(known: &ClusterNode, node: &ClusterNode) -> bool {
    known.meta.labels != node.meta.labels
        || known.pod_cidrs != node.pod_cidrs
        || known.internal != node.internal
        || known.external != node.external
}

/// Counts; true where the key came or went.
fn step<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, comes: bool) -> bool {
    if comes {
        let count = counts.entry(key).or_default();
        *count += 1;
        return *count == 1;
    }
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            counts.remove(&key);
            return true;
        }
        None => {}
    }
    false
}
