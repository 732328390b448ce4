//! Exposure to peers that are not in view but that rules imply.
//!
//! Each distinct pair of selectors in a rule stands for the pods that it could select, its *representative*. Rules
//! without selectors speak of the entire cluster. A representative is printed where it may exchange something else
//! than the entire cluster may.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::conn::{ConnSet, Protocol};
use crate::engine::{Connectivity, Endpoint};
use crate::format::{ExposedRow, PotentialReport};
use crate::objects::{
    Action, AdminPeer, AdminPolicy, AdminPort, AdminRule, NetworkPolicy, Object, PolicyPeer, PolicyPort,
    PolicyRule, PortRef, Tier,
};
use crate::selector::{Labels, Requirement, Selector};
use crate::state::ClusterState;

/// A connection set, and ports that are known by name only because the destination is not in view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Conn {
    set: ConnSet,
    named: BTreeSet<(Protocol, String)>,
}

impl Conn {
    fn all() -> Self {
        Self { set: ConnSet::all(), named: BTreeSet::new() }
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.named.is_empty()
    }

    fn union(&self, other: &Self) -> Self {
        let set = self.set.union(&other.set);
        let named = self.named.union(&other.named).cloned().collect();
        Self { set, named }.reduced()
    }

    fn intersect(&self, other: &Self) -> Self {
        let has = |one: &Self, name: &(Protocol, String)| {
            one.named.contains(name) || one.set.ports(name.0).is_full()
        };
        let named =
            self.named.union(&other.named).filter(|name| has(self, name) && has(other, name)).cloned();
        Self { set: self.set.intersect(&other.set), named: named.collect() }.reduced()
    }

    fn subtract(&self, other: &Self) -> Self {
        let kept =
            self.named.difference(&other.named).filter(|(protocol, _)| !other.set.ports(*protocol).is_full());
        Self { set: self.set.subtract(&other.set), named: kept.cloned().collect() }.reduced()
    }

    /// A name says nothing where every port of its protocol is in the set.
    fn reduced(mut self) -> Self {
        let set = &self.set;
        self.named.retain(|(protocol, _)| !set.ports(*protocol).is_full());
        self
    }
}

impl fmt::Display for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.named.is_empty() {
            return self.set.fmt(f);
        }
        let mut parts = Vec::new();
        for protocol in Protocol::ALL {
            let ranges = self.set.ports(protocol).ranges().iter();
            let ports =
                ranges.map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") });
            let names = self.named.iter().filter(|(of, _)| *of == protocol).map(|(_, name)| name.clone());
            let all: Vec<String> = ports.chain(names).collect();
            if !all.is_empty() {
                parts.push(format!("{} {}", protocol.as_str(), all.join(",")));
            }
        }
        f.write_str(&parts.join(","))
    }
}

/// The pods that a pair of selectors could select.
#[derive(Debug, Clone)]
struct Representative {
    namespaces: Selector,
    pods: Selector,
    canonical: (Vec<Requirement>, Vec<Requirement>),
}

impl Representative {
    fn new(namespaces: Selector, pods: Selector) -> Self {
        let canonical = (namespaces.canonical(), pods.canonical());
        Self { namespaces, pods, canonical }
    }

    /// Printed namespaces and pods.
    fn name(&self) -> (String, String) {
        let by_name = self.namespaces.match_labels.get(NAME_LABEL);
        let namespaces = match by_name {
            Some(name) if self.canonical.0.len() == 1 && self.namespaces.match_expressions.is_empty() => {
                name.clone()
            }
            _ if self.namespaces.is_empty() => "all namespaces".to_owned(),
            _ => format!("namespace with {{{}}}", self.namespaces),
        };
        let pods =
            if self.pods.is_empty() { "all pods".to_owned() } else { format!("pod with {{{}}}", self.pods) };
        (namespaces, pods)
    }

    fn selected_by(&self, namespaces: &[Requirement], pods: &[Requirement]) -> bool {
        (namespaces.is_empty() || namespaces == self.canonical.0)
            && (pods.is_empty() || pods == self.canonical.1)
    }
}

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Canonical selectors of a peer: namespaces, pods.
type Pair = (Vec<Requirement>, Vec<Requirement>);

/// A rule of any kind, reduced to what representatives need.
struct Rule {
    tier: Option<Tier>,
    action: Action,
    pairs: Vec<Pair>,
    everyone: bool,
    fixed: ConnSet,
    /// Names, with the protocol that must match if one must.
    named: Vec<(Option<Protocol>, String)>,
}

impl Rule {
    fn conn(&self, destination: Option<&Endpoint>) -> Conn {
        let mut conn = Conn { set: self.fixed.clone(), named: BTreeSet::new() };
        for (protocol, name) in &self.named {
            match destination {
                None => {
                    conn.named.insert((protocol.unwrap_or(Protocol::Tcp), name.clone()));
                }
                Some(endpoint) => {
                    let ports = endpoint
                        .containers
                        .iter()
                        .filter(|container| container.serves)
                        .flat_map(|c| &c.ports);
                    for port in ports.filter(|port| port.name.as_ref() == Some(name)) {
                        if protocol.is_none_or(|protocol| protocol == port.protocol) {
                            conn.set = conn.set.union(&ConnSet::range(port.protocol, port.port, port.port));
                        }
                    }
                }
            }
        }
        conn.reduced()
    }

    fn selects(&self, representative: &Representative) -> bool {
        self.everyone
            || self.pairs.iter().any(|(namespaces, pods)| representative.selected_by(namespaces, pods))
    }
}

/// A policy's rules in both directions, and whom it governs.
struct Governing {
    tier: Option<Tier>,
    /// Of a NetworkPolicy: its namespace.
    namespace: Option<String>,
    namespaces: Selector,
    pods: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

impl Governing {
    fn rules(&self, ingress: bool) -> Option<&[Rule]> {
        if ingress { self.ingress.as_deref() } else { self.egress.as_deref() }
    }

    fn governs(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
            && self.namespaces.matches(namespace_labels)
            && self.pods.matches(labels)
    }

    fn governs_representative(&self, representative: &Representative) -> bool {
        self.tier.is_some()
            && representative.selected_by(&self.namespaces.canonical(), &self.pods.canonical())
    }
}

/// What every workload may exchange with the entire cluster and with the peers that rules imply.
pub fn potential(state: &ClusterState, connectivity: &Connectivity) -> PotentialReport {
    let mut representatives: BTreeMap<Pair, Representative> = BTreeMap::new();
    let mut note = |namespaces: Selector, pods: Selector| {
        let representative = Representative::new(namespaces, pods);
        representatives.entry(representative.canonical.clone()).or_insert(representative);
    };
    let mut governing = Vec::new();
    let mut admin = Vec::new();
    for object in state.objects() {
        match object {
            Object::NetworkPolicy(policy) => governing.push(network_policy(policy, &mut note)),
            Object::AdminNetworkPolicy(policy)
            | Object::BaselineAdminNetworkPolicy(policy)
            | Object::ClusterNetworkPolicy(policy) => admin.push(policy),
            _ => {}
        }
    }
    admin.sort_by_key(|policy| (policy.tier, policy.priority, policy.meta.name.clone()));
    governing.extend(admin.iter().map(|policy| admin_policy(policy, &mut note)));

    let namespaces: BTreeMap<&str, Labels> = connectivity
        .endpoints()
        .iter()
        .map(|endpoint| (endpoint.namespace.as_str(), state.namespace_labels(&endpoint.namespace).0))
        .collect();
    let empty = Labels::new();
    let labels_of = |namespace: &str| namespaces.get(namespace).unwrap_or(&empty);
    let endpoints: Vec<&Endpoint> =
        connectivity.endpoints().iter().filter(|endpoint| !endpoint.assumed).collect();
    let plain = |selector: &Selector| !selector.is_empty() && selector.match_expressions.is_empty();
    representatives.retain(|_, representative| {
        let real = plain(&representative.namespaces)
            && plain(&representative.pods)
            && endpoints.iter().any(|endpoint| {
                representative.namespaces.matches(labels_of(&endpoint.namespace))
                    && endpoint.pod_labels.iter().any(|labels| representative.pods.matches(labels))
            });
        !real
    });

    let mut report = PotentialReport::default();
    for endpoint in endpoints {
        for ingress in [true, false] {
            let selecting: Vec<Vec<&Governing>> = endpoint
                .pod_labels
                .iter()
                .map(|labels| {
                    let governs = |policy: &&Governing| {
                        policy.rules(ingress).is_some()
                            && policy.governs(&endpoint.namespace, labels_of(&endpoint.namespace), labels)
                    };
                    governing.iter().filter(governs).collect()
                })
                .collect();
            exposures(
                endpoint,
                labels_of(&endpoint.namespace),
                ingress,
                &selecting,
                &governing,
                &representatives,
                &mut report,
            );
        }
    }
    report
}

fn exposures(
    endpoint: &Endpoint,
    namespace_labels: &Labels,
    ingress: bool,
    selecting: &[Vec<&Governing>],
    governing: &[Governing],
    representatives: &BTreeMap<Pair, Representative>,
    report: &mut PotentialReport,
) {
    let workload = endpoint.to_string();
    let rows = if ingress { &mut report.ingress } else { &mut report.egress };
    if selecting.iter().any(Vec::is_empty) {
        report.unprotected.insert((workload.clone(), if ingress { "Ingress" } else { "Egress" }));
        rows.push(ExposedRow { workload, peer: None, conn: ConnSet::all().to_string() });
        return;
    }
    let destination = ingress.then_some(endpoint);
    let of_variants = |keep: &dyn Fn(&Rule) -> bool| {
        selecting
            .iter()
            .fold(Conn::default(), |all, policies| all.union(&fold(policies, ingress, destination, keep)))
    };
    let cluster = of_variants(&|rule| rule.everyone);
    if !cluster.is_empty() {
        rows.push(ExposedRow { workload: workload.clone(), peer: None, conn: cluster.to_string() });
    }
    for representative in representatives.values() {
        let ours = of_variants(&|rule| rule.selects(representative));
        // The other end: administrators' policies may govern it, by the same comparison of selectors.
        let theirs: Vec<&Governing> = governing
            .iter()
            .filter(|policy| {
                policy.rules(!ingress).is_some() && policy.governs_representative(representative)
            })
            .collect();
        let back = fold(&theirs, !ingress, destination, &|rule| {
            rule.everyone || faces(rule, endpoint, namespace_labels)
        });
        let conn = ours.intersect(&back);
        if conn != cluster && !(cluster.is_empty() && conn.is_empty()) {
            rows.push(ExposedRow {
                workload: workload.clone(),
                peer: Some(representative.name()),
                conn: conn.to_string(),
            });
        }
    }
}

/// Whether a rule's peers match a real workload.
fn faces(rule: &Rule, endpoint: &Endpoint, namespace_labels: &Labels) -> bool {
    rule.pairs.iter().any(|(namespaces, pods)| {
        namespaces.iter().all(|requirement| requirement.matches(namespace_labels))
            && endpoint
                .pod_labels
                .iter()
                .any(|labels| pods.iter().all(|requirement| requirement.matches(labels)))
    })
}

/// Folds the tiers over the rules kept; nothing that selects: everything.
fn fold(
    policies: &[&Governing],
    ingress: bool,
    destination: Option<&Endpoint>,
    keep: &dyn Fn(&Rule) -> bool,
) -> Conn {
    let tier = |tier: Tier| {
        let (mut allowed, mut denied, mut passed) = (Conn::default(), Conn::default(), Conn::default());
        let rules = policies.iter().filter_map(|policy| policy.rules(ingress)).flatten();
        for rule in rules.filter(|rule| rule.tier == Some(tier) && keep(rule)) {
            let fresh = rule.conn(destination).subtract(&allowed.union(&denied).union(&passed));
            let into = match rule.action {
                Action::Allow => &mut allowed,
                Action::Deny => &mut denied,
                Action::Pass => &mut passed,
            };
            *into = into.union(&fresh);
        }
        (allowed, denied)
    };
    let (allowed, denied) = tier(Tier::Admin);
    let rest = Conn::all().subtract(&allowed).subtract(&denied);
    let isolated = policies.iter().any(|policy| policy.tier.is_none());
    let middle = if isolated {
        let rules = policies.iter().filter_map(|policy| policy.rules(ingress)).flatten();
        let kept = rules.filter(|rule| rule.tier.is_none() && keep(rule));
        kept.fold(Conn::default(), |all, rule| all.union(&rule.conn(destination)))
    } else {
        Conn::all().subtract(&tier(Tier::Baseline).1)
    };
    allowed.union(&rest.intersect(&middle))
}

fn network_policy(policy: &NetworkPolicy, note: &mut impl FnMut(Selector, Selector)) -> Governing {
    let own = Selector::of_labels([(NAME_LABEL.to_owned(), policy.meta.namespace.clone())].into());
    let mut read = |rules: &Option<Vec<PolicyRule>>| {
        rules.as_ref().map(|rules| rules.iter().map(|rule| policy_rule(rule, &own, note)).collect::<Vec<_>>())
    };
    Governing {
        tier: None,
        namespace: Some(policy.meta.namespace.clone()),
        namespaces: Selector::default(),
        pods: policy.pods.clone(),
        ingress: read(&policy.ingress),
        egress: read(&policy.egress),
    }
}

fn policy_rule(rule: &PolicyRule, own: &Selector, note: &mut impl FnMut(Selector, Selector)) -> Rule {
    let mut pairs = Vec::new();
    let mut seen = Vec::new();
    for peer in &rule.peers {
        if let PolicyPeer::Pods { namespaces, pods } = peer {
            let pair = (namespaces.clone().unwrap_or_else(|| own.clone()), pods.clone().unwrap_or_default());
            pairs.push((pair.0.canonical(), pair.1.canonical()));
            seen.push(pair);
        }
    }
    let everyone = rule.peers.is_empty()
        || pairs.iter().any(|(namespaces, pods)| namespaces.is_empty() && pods.is_empty());
    if !everyone {
        seen.into_iter().for_each(|(namespaces, pods)| note(namespaces, pods));
    }
    let (fixed, named) = policy_ports(&rule.ports);
    Rule { tier: None, action: Action::Allow, pairs, everyone, fixed, named }
}

fn policy_ports(ports: &[PolicyPort]) -> (ConnSet, Vec<(Option<Protocol>, String)>) {
    if ports.is_empty() {
        return (ConnSet::all(), Vec::new());
    }
    let (mut fixed, mut named) = (ConnSet::none(), Vec::new());
    for port in ports {
        match &port.port {
            None => fixed = fixed.union(&ConnSet::range(port.protocol, 1, u16::MAX)),
            Some(PortRef::Range(low, high)) => {
                fixed = fixed.union(&ConnSet::range(port.protocol, *low, *high))
            }
            Some(PortRef::Name(name)) => named.push((Some(port.protocol), name.clone())),
        }
    }
    (fixed, named)
}

fn admin_policy(policy: &AdminPolicy, note: &mut impl FnMut(Selector, Selector)) -> Governing {
    let mut read = |rules: &[AdminRule]| {
        let read: Vec<Rule> = rules.iter().map(|rule| admin_rule(rule, policy.tier, note)).collect();
        (!read.is_empty()).then_some(read)
    };
    Governing {
        tier: Some(policy.tier),
        namespace: None,
        namespaces: policy.subject.namespaces.clone(),
        pods: policy.subject.pods.clone().unwrap_or_default(),
        ingress: read(&policy.ingress),
        egress: read(&policy.egress),
    }
}

fn admin_rule(rule: &AdminRule, tier: Tier, note: &mut impl FnMut(Selector, Selector)) -> Rule {
    let mut pairs = Vec::new();
    for peer in &rule.peers {
        if let AdminPeer::Pods { namespaces, pods } = peer {
            let pods = pods.clone().unwrap_or_default();
            pairs.push((namespaces.canonical(), pods.canonical()));
            if !(namespaces.is_empty() && pods.is_empty()) {
                note(namespaces.clone(), pods);
            }
        }
    }
    let everyone = pairs.iter().any(|(namespaces, pods)| namespaces.is_empty() && pods.is_empty());
    let (mut fixed, mut named) = (ConnSet::none(), Vec::new());
    match &rule.ports {
        None => fixed = ConnSet::all(),
        Some(ports) => {
            for port in ports {
                match port {
                    AdminPort::Range { protocol, low, high } => {
                        fixed = fixed.union(&ConnSet::range(*protocol, *low, *high))
                    }
                    AdminPort::Protocol(protocol) => {
                        fixed = fixed.union(&ConnSet::range(*protocol, 1, u16::MAX))
                    }
                    AdminPort::Named(name) => named.push((None, name.clone())),
                }
            }
        }
    }
    Rule { tier: Some(tier), action: rule.action, pairs, everyone, fixed, named }
}
