//! Why a selector matches nothing, as far as what is in view says.

use std::collections::BTreeSet;

use crate::engine::{Connectivity, Direction, Endpoint, Warning};
use crate::objects::{NetworkPolicy, Object, PolicyPeer};
use crate::selector::{Labels, Operator, Selector, words};
use crate::state::ClusterState;

/// Values, or namespaces, that a hint names.
const SHOWN: usize = 3;

/// Of a policy that selects nothing or a rule that matches nothing: which of its labels nobody has, or where those pods
/// are instead.
pub(super) fn of(state: &ClusterState, connectivity: &Connectivity, warning: &Warning) -> Option<String> {
    let Object::NetworkPolicy(policy) = state.get(&warning.object)? else { return None };
    let own = policy.meta.namespace.as_str();
    let workloads = || connectivity.endpoints().iter().filter(|endpoint| !endpoint.assumed);
    let Some((direction, index)) = warning.rule else {
        let here: Vec<&Endpoint> = workloads().filter(|endpoint| endpoint.namespace == own).collect();
        return elsewhere(&policy.pods, own, workloads()).or_else(|| unmet(&policy.pods, &here, false));
    };
    // With several peers it is not one label that is wrong.
    let [PolicyPeer::Pods { namespaces, pods: Some(pods) }] = rule(policy, direction, index)? else {
        return None;
    };
    let here = |endpoint: &&Endpoint| match namespaces {
        None => endpoint.namespace == own,
        Some(namespaces) => namespaces.matches(&state.namespace_labels(&endpoint.namespace).0),
    };
    let inside: Vec<&Endpoint> = workloads().filter(here).collect();
    let outside = if namespaces.is_none() { elsewhere(pods, own, workloads()) } else { None };
    let outside = outside.map(|outside| {
        format!("{outside}, and without a namespaceSelector the rule speaks of its own namespace")
    });
    outside.or_else(|| unmet(pods, &inside, true))
}

fn rule(policy: &NetworkPolicy, direction: Direction, index: usize) -> Option<&[PolicyPeer]> {
    let rules = if direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
    Some(rules.as_ref()?.get(index)?.peers.as_slice())
}

fn has(endpoint: &Endpoint, matches: impl Fn(&Labels) -> bool) -> bool {
    endpoint.pod_labels.iter().any(matches)
}

/// Where else such pods are.
fn elsewhere<'a>(
    pods: &Selector,
    own: &str,
    workloads: impl Iterator<Item = &'a Endpoint>,
) -> Option<String> {
    let others = workloads.filter(|endpoint| endpoint.namespace != own);
    let found: BTreeSet<&str> = others
        .filter(|endpoint| has(endpoint, |labels| pods.matches(labels)))
        .map(|endpoint| endpoint.namespace.as_str())
        .collect();
    let shown: Vec<&str> = found.iter().take(SHOWN).copied().collect();
    (!found.is_empty() && !pods.is_empty()).then(|| {
        let word = if found.len() == 1 { "namespace" } else { "namespaces" };
        let rest = match found.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("such pods are in {word} {}{rest}", shown.join(", "))
    })
}

/// The first requirement that no pod meets, with what the pods have instead.
fn unmet(pods: &Selector, here: &[&Endpoint], brief: bool) -> Option<String> {
    let requirements = pods.canonical();
    let met = |one: &&crate::selector::Requirement| {
        here.iter().any(|endpoint| has(endpoint, |labels| one.matches(labels)))
    };
    if here.is_empty() {
        return None;
    }
    let Some(first) = requirements.iter().find(|one| !met(one)) else {
        return (requirements.len() > 1).then(|| format!("no pod there has all of {}", words(&requirements)));
    };
    // A rule's only requirement has been named.
    let brief = brief && requirements.len() == 1;
    let values: BTreeSet<&str> = here
        .iter()
        .flat_map(|endpoint| &endpoint.pod_labels)
        .filter_map(|labels| labels.get(&first.key).map(String::as_str))
        .collect();
    let unmet = words(std::slice::from_ref(first));
    let shown: Vec<&str> = values.iter().take(SHOWN).copied().collect();
    let rest =
        if values.len() > SHOWN { format!(" and {} more", values.len() - SHOWN) } else { String::new() };
    let known = format!("{} is {}{rest}", first.key, shown.join(", "));
    match (&first.operator, values.is_empty()) {
        (Operator::In(_) | Operator::Exists, true) => Some(format!("no pod there has a label {}", first.key)),
        (Operator::In(_), false) if brief => Some(format!("there {known}")),
        (Operator::In(_), false) => Some(format!("no pod there has {unmet}: {known}")),
        _ => Some(format!("no pod there has {unmet}")),
    }
}
