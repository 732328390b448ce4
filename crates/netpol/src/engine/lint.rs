//! What is odd about policies.

use super::compile::resolve;
use super::endpoints::NamedPort;
use super::space::Space;
use super::{Class, Direction, Policy, Warning};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnTable};
use crate::objects::AdminPolicy;

/// Policies that select nothing, rules that match nothing, names of ports that nobody has.
pub(super) fn lint(
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

/// Most policies of one priority that each is compared with.
const MAX_TIES: usize = 50;

/// Policies of one tier and priority whose rules disagree on a common packet: the API leaves the outcome open.
pub(super) fn ties(
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
            .take_while(|(other, ..)| other.tier == policy.tier && other.priority == policy.priority)
            .take(MAX_TIES);
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
