//! What is odd about policies.

use super::compile::{AnyPolicy, resolve};
use super::profile::NO_NAMES;
use super::resident::Engine;
use super::selectors::{Pods, Scope};
use super::sets::Term;
use super::{Direction, Policy, Warning};
use crate::bits::Bits;
use crate::conn::ConnId;
use crate::objects::{Action, AdminPeer, AdminRule, ObjectKey};
use crate::selector::{Operator, Requirement, words};

/// Most policies of one priority that each is compared with.
const MAX_TIES: usize = 50;
/// Peers of a rule that a warning names.
const MAX_PEERS: usize = 3;
/// The label by which Kubernetes names a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The namespace that every cluster has; where its workloads are in view, the manifests are those of a cluster.
const SYSTEM_NAMESPACE: &str = "kube-system";

impl Engine {
    /// A policy that selects nothing, rules that match nothing, names of ports that nobody has, peers that cannot be
    /// analysed.
    pub(super) fn lint(&self, id: u32) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let Some(info) = self.infos.get(id as usize).and_then(Option::as_ref) else { return warnings };
        let Some(policy) = self.policy(id) else { return warnings };
        if let Some(AnyPolicy::Admin(admin)) = AnyPolicy::of(&info.object) {
            let sides = [(Direction::Ingress, &admin.ingress), (Direction::Egress, &admin.egress)];
            let rules = sides.into_iter().flat_map(|(direction, rules)| {
                // What a rule that denies does not name stays denied by others, or open as it is.
                let place = move |index, rule: &AdminRule| {
                    (rule.action != Action::Deny).then_some((direction, index))
                };
                rules.iter().enumerate().map(move |(index, rule)| (place(index, rule), rule))
            });
            for (place, peer) in
                rules.flat_map(|(place, rule)| rule.peers.iter().map(move |peer| (place, peer)))
            {
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
                let warning = Warning::of("peer_not_analysed", policy.key.clone(), what.into());
                warnings.push(Warning { rule: place, ..warning });
            }
        }
        if let Some(AnyPolicy::Network(network)) = AnyPolicy::of(&info.object) {
            let told = network.unknown.iter();
            warnings.extend(told.map(|told| Warning::of("unknown_field", policy.key.clone(), told.clone())));
        }
        let real = |class: u32| self.real.has(class as usize);
        if !self.selectors.find(info.subject, &self.classes, real) {
            let (code, absent) = match self.is_in_view(info.subject.scope) {
                true => ("policy_selects_nothing", String::new()),
                false => ("subject_not_in_view", self.absent(info.subject)),
            };
            let message = "selects no workload".into();
            warnings.push(Warning { absent, ..Warning::of(code, policy.key.clone(), message) });
            return warnings;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let field = direction.as_str();
            let atoms = self.view.atoms(direction).live();
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let mut tell = |code: &'static str, message: String, absent: String| {
                    let rule = Some((direction, index));
                    warnings.push(Warning { rule, absent, ..Warning::of(code, policy.key.clone(), message) });
                };
                let Some(peers) = self.view.sets.get(rule.peers as usize) else { continue };
                if !peers.classes.meets(&self.real) && !peers.atoms.meets(atoms) {
                    let (whom, absent) = self.nobody(rule.peers);
                    let code = if absent.is_empty() { "rule_matches_nothing" } else { "peer_not_in_view" };
                    let whom = if whom.is_empty() { whom } else { format!(": {whom}") };
                    tell(code, format!("{field}[{index}] matches no workload and no address{whom}"), absent);
                    // Whose ports an ingress rule names does not depend on its peers.
                    if direction == Direction::Egress {
                        continue;
                    }
                }
                let mut warn = |code: &'static str, message: String| tell(code, message, String::new());
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

    /// Whom a set of peers without members speaks of, in words, and those of them whose namespaces are not in view.
    fn nobody(&self, set: u32) -> (String, String) {
        let pods = self.sets.terms(set).iter().filter_map(|term| match term {
            Term::Pods(pods) => Some(*pods),
            Term::Everyone | Term::Addresses { .. } => None,
        });
        let (mut all, mut absent) = (Vec::new(), Vec::new());
        for pods in pods {
            if !self.is_in_view(pods.scope) {
                absent.push(self.absent(pods));
            }
            all.push(self.words(pods));
        }
        // Terms are in order of numbers, which say nothing.
        for words in [&mut all, &mut absent] {
            words.sort();
            words.dedup();
        }
        let listed = |words: Vec<String>| {
            let shown: Vec<&str> = words.iter().take(MAX_PEERS).map(String::as_str).collect();
            let rest = match words.len().saturating_sub(MAX_PEERS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            shown.join(", ") + &rest
        };
        (listed(all), listed(absent))
    }

    /// True where the namespaces that are meant have workloads in view, so that a selector that matches none of them is a
    /// mistake. Which others a selector means nobody can tell: one by name speaks of those it names, one by other labels
    /// of those that it matches, and one of all namespaces of more than are in view, unless the system's own is.
    fn is_in_view(&self, scope: Scope) -> bool {
        let seen = |id: u32| self.selectors.namespaces.get(id as usize).is_some_and(|found| found.real > 0);
        let named = |name: &str| self.selectors.namespace_id(name).is_some_and(seen);
        let selector = match scope {
            Scope::Own(namespace) => return seen(namespace),
            Scope::Selected(selector) => self.selectors.of_namespaces.get(selector as usize),
        };
        let Some(selector) = selector else { return false };
        let names = selector.canonical.iter().find_map(|requirement| match &requirement.operator {
            Operator::In(values) if requirement.key == NAME_LABEL => Some(values),
            _ => None,
        });
        let chooses =
            |requirement: &Requirement| matches!(requirement.operator, Operator::In(_) | Operator::Exists);
        match names {
            Some(names) => names.iter().all(|name| named(name)),
            None if selector.canonical.iter().any(chooses) => {
                selector.matches.iter().any(|namespace| seen(namespace as u32))
            }
            None => named(SYSTEM_NAMESPACE),
        }
    }

    /// Pods of some namespaces, in words.
    fn words(&self, pods: Pods) -> String {
        let of = self.pod_words(pods.pods);
        match self.namespace_words(pods.scope) {
            Some(namespaces) => format!("{of} of {namespaces}"),
            None => format!("{of} of any namespace"),
        }
    }

    /// The namespaces that are not in view, in words; the pods where any namespace is meant.
    fn absent(&self, pods: Pods) -> String {
        self.namespace_words(pods.scope)
            .unwrap_or_else(|| format!("{} of any namespace", self.pod_words(pods.pods)))
    }

    fn pod_words(&self, pods: u32) -> String {
        match self.selectors.pods.get(pods as usize) {
            Some(selector) if !selector.requirements.is_empty() => {
                format!("pods with {}", words(&selector.requirements))
            }
            _ => "pods".to_owned(),
        }
    }

    /// None for all of them.
    fn namespace_words(&self, scope: Scope) -> Option<String> {
        let named = |names: &[String]| {
            let word = if names.len() == 1 { "namespace" } else { "namespaces" };
            format!("{word} {}", names.join(", "))
        };
        match scope {
            Scope::Own(namespace) => {
                let found = self.selectors.namespaces.get(namespace as usize)?;
                Some(named(std::slice::from_ref(&found.name)))
            }
            Scope::Selected(selector) => {
                match self.selectors.of_namespaces.get(selector as usize)?.canonical.as_slice() {
                    [] => None,
                    [Requirement { key, operator: Operator::In(names) }] if key == NAME_LABEL => {
                        Some(named(names))
                    }
                    requirements => Some(format!("namespaces with {}", words(requirements))),
                }
            }
        }
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
                    let message =
                        format!("has the priority of {} and decides otherwise on common traffic", b.key);
                    warnings.push(Warning::of("policy_priority_tie", a.key.clone(), message));
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
            .map(|namespace| {
                let (kind, name) = ("Namespace".into(), namespace.name.clone());
                let object = ObjectKey { kind, namespace: String::new(), name };
                let message = "the namespace is not in view, so selectors of namespaces by label may miss it";
                Warning::of("namespace_labels_unknown", object, message.into())
            })
            .collect()
    }
}
