//! What is odd about policies.

use super::compile::{AnyPolicy, resolve};
use super::profile::NO_NAMES;
use super::resident::Engine;
use super::{Direction, Policy, Warning};
use crate::bits::Bits;
use crate::conn::ConnId;
use crate::objects::{AdminPeer, ObjectKey};

/// Most policies of one priority that each is compared with.
const MAX_TIES: usize = 50;

impl Engine {
    /// A policy that selects nothing, rules that match nothing, names of ports that nobody has, peers that cannot be
    /// analysed.
    pub(super) fn lint(&self, id: u32) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let Some(info) = self.infos.get(id as usize).and_then(Option::as_ref) else { return warnings };
        let Some(policy) = self.policy(id) else { return warnings };
        if let Some(AnyPolicy::Admin(admin)) = AnyPolicy::of(&info.object) {
            for peer in admin.ingress.iter().chain(&admin.egress).flat_map(|rule| &rule.peers) {
                let what = match peer {
                    AdminPeer::Nodes(_) if self.view.nodes.is_empty() => {
                        "peers by node are not analysed: no node is in view"
                    }
                    AdminPeer::Nodes(_) if !self.view.nodes.are_all() => {
                        "peers by node stand for the nodes in view, which may not be all of them"
                    }
                    AdminPeer::Domains(_) => "peers by domain name are not analysed",
                    AdminPeer::Unknown => "a peer of an unknown kind fails closed",
                    _ => continue,
                };
                let object = policy.key.clone();
                warnings.push(Warning { code: "peer_not_analysed", object, message: what.into() });
            }
        }
        let mut warn = |code: &'static str, message: String| {
            warnings.push(Warning { code, object: policy.key.clone(), message });
        };
        let real = |class: u32| self.real.has(class as usize);
        if !self.selectors.find(info.subject, &self.classes, real) {
            warn("policy_selects_nothing", "selects no workload".into());
            return warnings;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let field = if direction == Direction::Ingress { "ingress" } else { "egress" };
            let atoms = self.view.atoms(direction).live();
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let Some(peers) = self.view.sets.get(rule.peers as usize) else { continue };
                if !peers.classes.meets(&self.real) && !peers.atoms.meets(atoms) {
                    warn(
                        "rule_matches_nothing",
                        format!("{field}[{index}] matches no workload and no address"),
                    );
                    continue;
                }
                if rule.ports.named == NO_NAMES {
                    if rule.ports.fixed == ConnId::NONE {
                        warn("rule_matches_nothing", format!("{field}[{index}] matches no port"));
                    }
                    continue;
                }
                let destinations = if direction == Direction::Ingress {
                    self.subject(info.subject).and(&self.real)
                } else {
                    peers.classes.and(&self.real)
                };
                let classes = destinations.iter().filter_map(|class| self.view.classes.get(class));
                let mut sets: Vec<u32> = classes.map(|class| class.ports).collect();
                sets.sort_unstable();
                sets.dedup();
                let names = self.view.named.get(rule.ports.named as usize);
                for name in names.into_iter().flat_map(|names| names.iter()) {
                    let mut found = sets.iter().filter_map(|set| self.view.port_sets.get(*set as usize));
                    if found.all(|ports| resolve(std::slice::from_ref(name), ports).is_empty()) {
                        warn(
                            "named_port_unresolved",
                            format!("{field}[{index}]: no destination has a port named {:?}", name.0),
                        );
                    }
                }
            }
        }
        warnings
    }

    /// Policies of one tier and priority whose rules disagree on a common packet: the API leaves the outcome open.
    pub(super) fn ties(&mut self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut admin: Vec<u32> = self.admin.iter().copied().collect();
        admin.sort_by(|a, b| self.rank(*a).cmp(&self.rank(*b)));
        let level = |engine: &Self, id: u32| {
            let object = engine.infos.get(id as usize)?.as_ref().map(|info| &info.object)?;
            match AnyPolicy::of(object)? {
                AnyPolicy::Admin(policy) => Some((policy.tier, policy.priority)),
                AnyPolicy::Network(_) => None,
            }
        };
        for (at, &left) in admin.iter().enumerate() {
            let own = level(self, left);
            let mut subject: Option<Bits> = None;
            for &right in admin.iter().skip(at + 1).take(MAX_TIES) {
                if level(self, right) != own {
                    break;
                }
                let (Some(a), Some(b)) = (self.info(left), self.info(right)) else { continue };
                let ours = subject.get_or_insert_with(|| self.subject(a.subject));
                if !ours.meets(&self.subject(b.subject)) {
                    continue;
                }
                let (Some(a), Some(b)) = (self.policy(left).cloned(), self.policy(right).cloned()) else {
                    continue;
                };
                if self.clash(&a, &b) {
                    warnings.push(Warning {
                        code: "policy_priority_tie",
                        object: a.key.clone(),
                        message: format!(
                            "has the priority of {} and decides otherwise on common traffic",
                            b.key
                        ),
                    });
                }
            }
        }
        warnings
    }

    fn clash(&mut self, left: &Policy, right: &Policy) -> bool {
        [Direction::Ingress, Direction::Egress].into_iter().any(|direction| {
            let theirs = right.rules(direction).unwrap_or_default();
            left.rules(direction).unwrap_or_default().iter().any(|a| {
                theirs.iter().any(|b| {
                    let (sets, atoms) = (&self.view.sets, self.view.atoms(direction).live());
                    let common = match (sets.get(a.peers as usize), sets.get(b.peers as usize)) {
                        (Some(x), Some(y)) => {
                            x.classes.meets(&y.classes) || x.atoms.and(atoms).meets(&y.atoms)
                        }
                        _ => false,
                    };
                    a.action != b.action
                        && common
                        && (a.ports.named != NO_NAMES
                            || b.ports.named != NO_NAMES
                            || self.conns.intersect(a.ports.fixed, b.ports.fixed) != ConnId::NONE)
                })
            })
        })
    }

    /// A selector of namespaces by labels is uncertain where the namespace's object is not in view.
    pub(super) fn unseen_namespaces(&self) -> Vec<Warning> {
        if self.foreign == 0 || self.view.options.np_guard {
            return Vec::new();
        }
        let unseen =
            self.selectors.namespaces.iter().filter(|namespace| !namespace.known && namespace.real > 0);
        unseen
            .map(|namespace| Warning {
                code: "namespace_labels_unknown",
                object: ObjectKey {
                    kind: "Namespace".into(),
                    namespace: String::new(),
                    name: namespace.name.clone(),
                },
                message: "the namespace is not in view, so selectors of namespaces by label may miss it"
                    .into(),
            })
            .collect()
    }
}
