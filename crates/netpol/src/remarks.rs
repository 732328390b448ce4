//! What is odd about a state, without looking at what it was before.

mod hint;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::effects::{Effect, Urgency};
use crate::engine::{BlockPods, Connectivity, Direction, Endpoint, RuleRef, Shadowed, Warning};
use crate::entries::selects;
use crate::ip::IpRange;
use crate::nodes::senders;
use crate::objects::{NetworkPolicy, Object, ObjectKey, PolicyPeer, Service, ServiceType, WorkloadKind};
use crate::standing::Condition;
use crate::state::ClusterState;

/// DaemonSets by which network plugins that enforce NetworkPolicy are known.
const ENFORCING: [&str; 14] = [
    "calico-node",
    "cilium",
    "antrea-agent",
    "kube-router",
    "weave-net",
    "aws-node",
    "azure-npm",
    "azure-cns",
    "ovnkube-node",
    "ovs-node",
    "kube-ovn-cni",
    "canal",
    "kindnet",
    "netd",
];
/// Those of network plugins that do not.
const NOT_ENFORCING: [&str; 3] = ["kube-flannel-ds", "kube-flannel", "kube-multus-ds"];

/// Every remark on a state: about policies, workloads without policies, and rules that change nothing. Most urgent
/// first.
pub fn remarks(state: &ClusterState, connectivity: &Connectivity) -> Vec<Effect> {
    let unseen = |warning: &&Warning| warning.code == "namespace_labels_unknown";
    let (unseen, others): (Vec<&Warning>, Vec<&Warning>) = connectivity.warnings().iter().partition(unseen);
    let mut found = of_warnings(others.into_iter(), state, connectivity);
    found.extend(unseen_namespaces(&unseen));
    found.extend(of_workloads(state, connectivity));
    unprotected(state, connectivity, &mut found);
    found.extend(connectivity.shadowed(None).into_iter().map(shadowed));
    found.sort();
    found.dedup();
    found
}

/// Warnings of one state that are explained by what else is in view; of more, what the engine says has to do.
const MAX_HINTS: usize = 50;
/// Rules or policies that a remark names.
const SHOWN: usize = 3;

/// NETPOL007, 008, 011, 012 and 020: what the engine finds odd about objects. Whom nothing in view matches is told once,
/// for all the rules that speak of him.
pub(crate) fn of_warnings<'a>(
    warnings: impl Iterator<Item = &'a Warning>,
    state: &ClusterState,
    connectivity: &Connectivity,
) -> Vec<Effect> {
    let mut found = Vec::new();
    let mut absent = Vec::new();
    let mut hints = 0;
    for warning in warnings {
        if !warning.absent.is_empty() {
            absent.push(warning);
            continue;
        }
        let mut effect = of_warning(warning);
        if warning.is_of_nobody() && hints < MAX_HINTS {
            hints += 1;
            if let Some(hint) = hint::of(state, connectivity, warning) {
                effect.message.push_str(&format!("; {hint}"));
            }
        }
        found.push(effect);
    }
    found.extend(of_absent(absent).map(|(_, effect)| effect));
    found
}

/// What was not there before. Whom nothing in view matches is no news where it was so already, whichever rule says so.
pub(crate) fn new<'a>(
    before: &'a Connectivity,
    after: &'a Connectivity,
) -> impl Iterator<Item = &'a Warning> {
    let absent = |warning: &'a Warning| (warning.code, warning.absent.as_str());
    let known: BTreeSet<(&str, &str)> = before.warnings().iter().map(absent).collect();
    after.warnings().iter().filter(move |warning| match warning.absent.is_empty() {
        true => before.warnings().binary_search(warning).is_err(),
        false => !known.contains(&absent(warning)),
    })
}

/// NETPOL007, 008, 011, 012 or 020: what the engine finds odd about an object.
fn of_warning(warning: &Warning) -> Effect {
    let (code, urgency) = match warning.code {
        "policy_selects_nothing" => ("NETPOL007", Urgency::Low),
        "rule_matches_nothing" => ("NETPOL008", Urgency::Low),
        "named_port_unresolved" => ("NETPOL011", Urgency::Medium),
        "policy_priority_tie" => ("NETPOL012", Urgency::Medium),
        "unknown_field" => ("NETPOL013", Urgency::Medium),
        "namespace_labels_unknown" => ("NETPOL020", Urgency::Low),
        _ => ("NETPOL020", Urgency::Medium),
    };
    let object = &warning.object;
    // Whom a rule speaks of is wording.
    let told = warning.message.split_once(": ").filter(|_| code == "NETPOL008");
    let detail = format!("{} {}", warning.code, told.map_or(warning.message.as_str(), |(told, _)| told));
    let message = format!("{object}: {}", warning.message);
    let condition = Condition::Odd { code: warning.code.to_owned(), object: object.clone() };
    Effect::new(code, urgency, object, detail, message).about([object.clone()]).while_holds(condition)
}

/// NETPOL020: namespaces whose labels are not in view, where selectors ask for labels; one finding for all of them.
fn unseen_namespaces(warnings: &[&Warning]) -> Option<Effect> {
    let [first, .., _] = warnings else { return warnings.first().map(|warning| of_warning(warning)) };
    let names: Vec<&str> = warnings.iter().take(SHOWN).map(|warning| warning.object.name.as_str()).collect();
    let rest = match warnings.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the namespaces {}{rest} are not in view, so selectors of namespaces by label may miss them",
        names.join(", ")
    );
    let effect = Effect::new("NETPOL020", Urgency::Low, "namespaces", first.code, message);
    Some(effect.about(warnings.iter().map(|warning| warning.object.clone())))
}

/// NETPOL020: policies that speak of namespaces of which nothing is in view: what they allow there cannot be told, and
/// it is no mistake that they match nothing. One finding for each whom they speak of, with the code of its warnings.
pub(crate) fn of_absent<'a>(
    warnings: impl IntoIterator<Item = &'a Warning>,
) -> impl Iterator<Item = (&'a str, Effect)> {
    let mut absent: BTreeMap<(&str, &str), Vec<&Warning>> = BTreeMap::new();
    for warning in warnings {
        absent.entry((warning.code, &warning.absent)).or_default().push(warning);
    }
    absent.into_iter().map(|((code, whom), warnings)| (code, absence(code, whom, &warnings)))
}

fn absence(code: &str, whom: &str, warnings: &[&Warning]) -> Effect {
    let mut places: BTreeMap<&ObjectKey, Vec<String>> = BTreeMap::new();
    for warning in warnings {
        let rules = places.entry(&warning.object).or_default();
        rules.extend(warning.rule.map(|(direction, index)| format!("{}[{index}]", direction.as_str())));
    }
    let place = |(object, rules): (&&ObjectKey, &Vec<String>)| match rules.as_slice() {
        [] => object.to_string(),
        rules => format!("{object} ({})", rules.join(", ")),
    };
    let shown = places.iter().take(SHOWN).map(place).collect::<Vec<_>>().join(", ");
    let rest = match places.len().saturating_sub(SHOWN) {
        0 => String::new(),
        1 => " and 1 more policy".to_owned(),
        more => format!(" and {more} more policies"),
    };
    let verb = match (code == "subject_not_in_view", places.len()) {
        (true, 1) => "applies to",
        (true, _) => "apply to",
        (false, 1) => "speaks of",
        (false, _) => "speak of",
    };
    let message = format!("{shown}{rest} {verb} {whom}, of which nothing is in view");
    let objects = places.into_keys().cloned();
    Effect::new("NETPOL020", Urgency::Info, whom, code, message).about(objects)
}

/// NETPOL020: where what workloads are keeps policies from being enforced as they are declared.
pub(crate) fn of_workloads(state: &ClusterState, connectivity: &Connectivity) -> Vec<Effect> {
    let mut found = Vec::new();
    host_network(connectivity, &mut found);
    plugin(state, &mut found);
    if connectivity.options().block_pods != BlockPods::Match && !connectivity.options().np_guard {
        blocks(state, &mut found);
    }
    node_blocks(state, connectivity, &mut found);
    found
}

/// NETPOL009 of a rule.
pub(crate) fn shadowed(shadowed: Shadowed) -> Effect {
    let Shadowed { rule, by } = shadowed;
    let name = |other: &RuleRef| match other.policy == rule.policy {
        true => format!("its {}", other.place()),
        false => other.to_string(),
    };
    let shown = by.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
    let rest = if by.len() > SHOWN { format!(" and {} more", by.len() - SHOWN) } else { String::new() };
    let decide = if by.len() == 1 { "decides" } else { "decide" };
    let message = format!("{rule} changes nothing: {shown}{rest} {decide} all of its traffic already");
    Effect::new("NETPOL009", Urgency::Low, &rule.policy, rule.place(), message)
        .decided(by.iter().map(ToString::to_string).collect())
        .about([rule.policy.clone()])
}

/// True for workloads that policies can hold: not for those on the node's network, whatever selects them.
pub(crate) fn holdable(endpoint: &Endpoint) -> bool {
    !endpoint.assumed && !endpoint.host_network
}

/// Namespaces some workload of which policies select, by direction: there a workload that none selects was forgotten,
/// elsewhere nobody meant to hold anything.
pub(crate) struct Policed([BTreeSet<String>; 2]);

impl Policed {
    pub(crate) fn of(connectivity: &Connectivity) -> Self {
        Self([Direction::Ingress, Direction::Egress].map(|direction| {
            let mut found: BTreeSet<String> = BTreeSet::new();
            let endpoints = connectivity.endpoints().iter().enumerate();
            for (index, endpoint) in endpoints.filter(|(_, endpoint)| holdable(endpoint)) {
                if !found.contains(&endpoint.namespace) && connectivity.is_selected(index, direction) {
                    found.insert(endpoint.namespace.clone());
                }
            }
            found
        }))
    }

    pub(crate) fn has(&self, namespace: &str, direction: Direction) -> bool {
        let [ingress, egress] = &self.0;
        (if direction == Direction::Ingress { ingress } else { egress }).contains(namespace)
    }
}

/// NETPOL006: workloads that no policy selects in a direction. Where that is so for the whole namespace it is one
/// finding, and no more than low.
fn unprotected(state: &ClusterState, connectivity: &Connectivity, found: &mut Vec<Effect>) {
    const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];
    let words = |of: [bool; 2]| match of {
        [true, true] => Some("ingress or egress"),
        [true, false] => Some("ingress"),
        [false, true] => Some("egress"),
        [false, false] => None,
    };
    let policed = Policed::of(connectivity);
    let mut free: BTreeMap<&str, Vec<(String, &[ObjectKey])>> = BTreeMap::new();
    for (index, endpoint) in connectivity.endpoints().iter().enumerate() {
        if !holdable(endpoint) {
            continue;
        }
        free.entry(&endpoint.namespace).or_default().push((endpoint.to_string(), &endpoint.objects));
        let forgotten = BOTH.map(|direction| {
            policed.has(&endpoint.namespace, direction) && !connectivity.is_selected(index, direction)
        });
        let Some(what) = words(forgotten) else { continue };
        let [ingress, _] = forgotten;
        let urgency = if ingress { Urgency::Medium } else { Urgency::Low };
        let message = format!(
            "{endpoint} is selected by no policy for {what}, though its namespace has such policies: everything is \
             allowed"
        );
        let effect = Effect::new("NETPOL006", urgency, endpoint, what, message);
        found.push(effect.about(endpoint.objects.clone()));
    }
    for (namespace, workloads) in free {
        let open @ [ingress, _] = BOTH.map(|direction| !policed.has(namespace, direction));
        let Some(what) = words(open) else { continue };
        // Where ingress is held and egress is not, nobody meant to hold egress.
        let urgency = if ingress { Urgency::Low } else { Urgency::Info };
        let key =
            ObjectKey { kind: "Namespace".into(), namespace: String::new(), name: namespace.to_owned() };
        let shown: Vec<&str> = workloads.iter().take(3).map(|(name, _)| name.as_str()).collect();
        let rest = match workloads.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let to = match open {
            [true, true] => "to and from",
            [true, false] => "to",
            _ => "from",
        };
        let message = format!(
            "no policy selects a workload of namespace {namespace} for {what}: everything is allowed {to} {}{rest}",
            shown.join(", ")
        );
        let places = workloads.iter().flat_map(|(_, objects)| objects.iter().take(1)).take(3).cloned();
        let known = state.get(&key).map(|_| key.clone());
        let effect = Effect::new("NETPOL006", urgency, &key, what, message);
        found.push(effect.about(known.into_iter().chain(places)));
    }
}

/// NETPOL020: policies that select pods on the node's network.
fn host_network(connectivity: &Connectivity, found: &mut Vec<Effect>) {
    for (index, endpoint) in connectivity.endpoints().iter().enumerate() {
        if endpoint.assumed || !endpoint.host_network {
            continue;
        }
        let by: BTreeSet<&ObjectKey> = [Direction::Ingress, Direction::Egress]
            .into_iter()
            .flat_map(|direction| connectivity.selected_by(index, direction))
            .collect();
        if by.is_empty() {
            continue;
        }
        let by: Vec<String> = by.into_iter().map(ToString::to_string).collect();
        let message = format!(
            "{endpoint} uses the node's network, where policies are as a rule not enforced, though {} selects it",
            by.join(", ")
        );
        let effect = Effect::new("NETPOL020", Urgency::Medium, endpoint, "host network", message);
        found.push(effect.decided(by).about(endpoint.objects.clone()));
    }
}

/// NETPOL020: policies in a cluster whose network plugin does not enforce them.
fn plugin(state: &ClusterState, found: &mut Vec<Effect>) {
    let mut idle = None;
    for workload in state.workloads().filter(|workload| workload.kind == WorkloadKind::DaemonSet) {
        let name = workload.meta.name.as_str();
        if ENFORCING.contains(&name) {
            return;
        }
        // Canal is flannel's network with Calico's policies, in one DaemonSet of either name.
        if workload.containers.iter().any(|container| container.image.contains("calico")) {
            return;
        }
        if NOT_ENFORCING.contains(&name) {
            idle.get_or_insert(workload);
        }
    }
    let Some(plugin) = idle else { return };
    let policies = state.objects().filter(|object| matches!(object, Object::NetworkPolicy(_))).count();
    if policies == 0 {
        return;
    }
    let key = Object::Workload(plugin.clone()).key();
    let message = format!(
        "{key} enforces no policies, and no network plugin that does is in view: {policies} policies may have no effect"
    );
    found.push(Effect::new("NETPOL020", Urgency::High, &key, "plugin", message).about([key.clone()]));
}

/// NETPOL020: address blocks that hold the addresses of pods.
fn blocks(state: &ClusterState, found: &mut Vec<Effect>) {
    let mut pods: BTreeMap<IpAddr, String> = BTreeMap::new();
    for workload in state.workloads().filter(|workload| !workload.host_network) {
        for address in &workload.pod_ips {
            let name = format!("{}/{}", workload.meta.namespace, workload.meta.name);
            pods.entry(*address).or_insert(name);
        }
    }
    if pods.is_empty() {
        return;
    }
    for object in state.objects() {
        let Object::NetworkPolicy(policy) = object else { continue };
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        let covered = rules.flat_map(|rule| &rule.peers).find_map(|peer| {
            let PolicyPeer::Block(block) = peer else { return None };
            let range = IpRange::of(block.cidr);
            let holds = |address: &IpAddr| {
                range.contains(*address) && !block.except.iter().any(|hole| hole.contains(address))
            };
            // Addresses are in order, those of a block beside each other.
            let mut inside = pods.range(block.cidr.network()..=block.cidr.broadcast());
            inside
                .find(|(address, _)| holds(address))
                .map(|(address, pod)| (block.cidr, *address, pod.clone()))
        });
        if let Some((block, address, pod)) = covered {
            let key = object.key();
            let message = format!(
                "{key}: the block {block} holds {address} of {pod}; whether it matches pods depends on the network \
                 plugin (--block-pods match shows what it would allow)"
            );
            let effect = Effect::new("NETPOL020", Urgency::Low, &key, format!("block {block}"), message);
            found.push(effect.about([key.clone()]));
        }
    }
}

/// NETPOL020: closed lists of addresses that hold a node's, of workloads behind a Service that translates addresses:
/// whoever reaches a node passes for the node. Blocks of a whole family are no list.
fn node_blocks(state: &ClusterState, connectivity: &Connectivity, found: &mut Vec<Effect>) {
    let nodes = connectivity.nodes();
    if nodes.is_empty() {
        return;
    }
    let translating: Vec<&Service> = state
        .objects()
        .filter_map(|object| match object {
            Object::Service(service) if translates(service) => Some(service),
            _ => None,
        })
        .collect();
    if translating.is_empty() {
        return;
    }
    // Of each block that holds a node, with the policies that name it.
    let held = |policy: &NetworkPolicy| {
        let peers = policy.ingress.iter().flatten().flat_map(|rule| &rule.peers);
        let blocks = peers.filter_map(|peer| match peer {
            PolicyPeer::Block(block) if block.cidr.prefix_len() > 0 => Some(block),
            _ => None,
        });
        blocks.into_iter().find_map(|block| {
            let inside =
                nodes.iter().flat_map(|(name, node)| senders(node).iter().map(move |at| (name, *at)));
            let mut inside = inside.filter(|(_, address)| {
                block.cidr.contains(address) && !block.except.iter().any(|hole| hole.contains(address))
            });
            inside.next().map(|(name, address)| (block.cidr, name.to_owned(), address))
        })
    };
    let spaces: BTreeSet<&str> = translating.iter().map(|service| service.meta.namespace.as_str()).collect();
    for object in state.objects() {
        let Object::NetworkPolicy(policy) = object else { continue };
        if !spaces.contains(policy.meta.namespace.as_str()) {
            continue;
        }
        let Some((block, node, address)) = held(policy) else { continue };
        let behind = connectivity.endpoints().iter().filter(|endpoint| {
            holdable(endpoint)
                && endpoint.namespace == policy.meta.namespace
                && endpoint.pod_labels.iter().any(|labels| policy.pods.matches(labels))
        });
        let mut pairs = behind.flat_map(|endpoint| {
            translating
                .iter()
                .filter(|service| service.meta.namespace == endpoint.namespace && selects(service, endpoint))
                .map(move |service| (endpoint, *service))
        });
        let Some((endpoint, service)) = pairs.next() else { continue };
        let key = object.key();
        let message = format!(
            "{key}: the block {block} holds {address} of node {node}, and Service {}/{} hides its clients behind the \
             addresses of nodes: whoever reaches it passes as {block} to {endpoint} (externalTrafficPolicy: Local keeps \
             clients' addresses)",
            service.meta.namespace, service.meta.name
        );
        let effect = Effect::new("NETPOL020", Urgency::Medium, &key, format!("nodes in {block}"), message);
        found.push(effect.about([key.clone(), Object::Service(service.clone()).key()]));
    }
}

/// True for a Service by which clients outside the cluster come with the address of a node.
fn translates(service: &Service) -> bool {
    let outside = matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer);
    (outside || !service.external_ips.is_empty()) && !service.local_traffic
}
