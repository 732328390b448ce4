//! Rules whose removal changes nothing, with the rules that make them so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compile::resolve;
use super::profile::NO_NAMES;
use super::{Class, CompiledRule, Connectivity, Direction, PeerColumns, Policy};
use crate::bits::Bits;
use crate::conn::ConnSet;
use crate::objects::{Action, ObjectKey, Tier};

/// Most rules that govern a class in one direction for which shadows are looked for.
const MAX_RULES: usize = 400;
/// Most parts into which the peers of one rule are cut while the others are held against it.
const MAX_PARTS: usize = 64;

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    pub policy: ObjectKey,
    pub direction: Direction,
    /// Index in the policy's list.
    pub rule: usize,
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.policy, self.place())
    }
}

impl RuleRef {
    /// Where it stands in its policy: `ingress[0]`.
    pub(crate) fn place(&self) -> String {
        format!("{}[{}]", self.direction.as_str(), self.rule)
    }
}

/// A rule without which the same would be allowed, with the workloads in view and the well-known ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shadowed {
    pub rule: RuleRef,
    /// Rules that decide all of its traffic already; one where one alone does.
    pub by: Vec<RuleRef>,
}

/// A rule in the list of a class.
struct Ruled<'a> {
    policy: u32,
    rule: usize,
    tier: Option<Tier>,
    action: Action,
    peers: &'a PeerColumns,
    /// Ports without those that each destination names itself.
    conn: ConnSet,
    /// Names that each destination resolves.
    named: u32,
    /// Found to be without effect.
    idle: bool,
}

/// A rule by number of its policy and place in it.
type RuleId = (u32, usize);
/// By rule, those that decide all of its traffic; None: it has an effect on some class.
type Verdicts = BTreeMap<RuleId, Option<BTreeSet<RuleId>>>;

/// Columns of classes and of the outside.
#[derive(Clone)]
struct Columns {
    classes: Bits,
    atoms: Bits,
}

impl Columns {
    fn and(&self, peers: &PeerColumns) -> Self {
        Self { classes: self.classes.and(&peers.classes), atoms: self.atoms.and(&peers.atoms) }
    }

    fn without(mut self, peers: &PeerColumns) -> Self {
        self.classes.remove(&peers.classes);
        self.atoms.remove(&peers.atoms);
        self
    }

    fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.atoms.is_empty()
    }
}

/// Columns at which some ports of a rule are left to it, and those that the administrator's tier has not decided.
struct Part {
    columns: Columns,
    left: ConnSet,
    open: ConnSet,
}

impl Connectivity {
    /// The rules that change nothing. `only` narrows the question to some policies. Of rules that stand for each other
    /// the one evaluated last is told, so that all that are told can be removed together. What isolates a pod, or
    /// names ports that only its destinations resolve, is not held against others. Rules of classes that more than
    /// 400 rules govern are left out.
    pub fn shadowed(&self, only: Option<&BTreeSet<ObjectKey>>) -> Vec<Shadowed> {
        let mut found = Vec::new();
        let named = |(id, policy): (u32, &Option<Arc<Policy>>)| {
            let key = &policy.as_deref()?.key;
            only.is_some_and(|only| only.contains(key)).then_some(id)
        };
        let only: Option<BTreeSet<u32>> =
            only.map(|_| (0..).zip(self.policies.iter()).filter_map(named).collect());
        let only = only.as_ref();
        for direction in [Direction::Ingress, Direction::Egress] {
            // Classes with the same policies and the same names of ports are governed alike.
            let mut alike: BTreeMap<(&[u32], u32), &Class> = BTreeMap::new();
            for class in self.live.iter().filter_map(|class| self.classes.get(class)) {
                let ports = if direction == Direction::Ingress { class.ports } else { 0 };
                let asked = only
                    .is_none_or(|only| class.policies(direction).iter().any(|policy| only.contains(policy)));
                if !class.members.is_empty() && asked {
                    alike.entry((class.policies(direction), ports)).or_insert(class);
                }
            }
            let mut verdicts = Verdicts::new();
            for class in alike.into_values() {
                self.judge_rules(class, direction, only, &mut verdicts);
            }
            for ((policy, rule), by) in verdicts {
                let name = |policy: u32, rule: usize| {
                    let key = self.policy_at(policy)?.key.clone();
                    Some(RuleRef { policy: key, direction, rule })
                };
                let by = by.into_iter().flatten().filter_map(|(policy, rule)| name(policy, rule));
                let by: Vec<RuleRef> = by.collect();
                if let Some(rule) = name(policy, rule).filter(|_| !by.is_empty()) {
                    found.push(Shadowed { rule, by });
                }
            }
        }
        found.sort();
        found
    }

    fn policy_at(&self, id: u32) -> Option<&Policy> {
        self.policies.get(id as usize)?.as_deref()
    }

    /// Judges every rule that governs a class.
    fn judge_rules(
        &self,
        class: &Class,
        direction: Direction,
        only: Option<&BTreeSet<u32>>,
        verdicts: &mut Verdicts,
    ) {
        let mut rules: Vec<Ruled<'_>> = Vec::new();
        for &id in class.policies(direction) {
            let Some(policy) = self.policy_at(id) else { continue };
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let Some(peers) = self.sets.get(rule.peers as usize) else { continue };
                let (conn, named) = self.own_ports(rule, class, direction);
                let (tier, action) = (policy.tier, rule.action);
                rules.push(Ruled { policy: id, rule: index, tier, action, peers, conn, named, idle: false });
            }
        }
        let many = rules.len() > MAX_RULES;
        for at in (0..rules.len()).rev() {
            let Some(rule) = rules.get(at) else { continue };
            let key = (rule.policy, rule.rule);
            if only.is_some_and(|only| !only.contains(&rule.policy)) {
                continue;
            }
            let by = if many { None } else { self.covered(&rules, at, direction) };
            if let (Some(_), Some(rule)) = (&by, rules.get_mut(at)) {
                rule.idle = true;
            }
            let verdict = verdicts.entry(key).or_insert_with(|| Some(BTreeSet::new()));
            match (verdict.as_mut(), by) {
                (Some(known), Some(by)) => known.extend(by),
                _ => *verdict = None,
            }
        }
    }

    /// Ports that are known without the destination, and the names that are not.
    fn own_ports(&self, rule: &CompiledRule, class: &Class, direction: Direction) -> (ConnSet, u32) {
        let fixed = self.conn(rule.ports.fixed);
        if direction == Direction::Egress || rule.ports.named == NO_NAMES {
            return (fixed.clone(), rule.ports.named);
        }
        let names = self.named.get(rule.ports.named as usize).map(|names| names.as_slice());
        let ports = self.port_sets.get(class.ports as usize).map(|ports| ports.as_slice());
        (fixed.union(&resolve(names.unwrap_or_default(), ports.unwrap_or_default())), NO_NAMES)
    }

    /// The rules that decide all that a rule speaks of before or beside it; None where it decides something itself.
    fn covered(&self, rules: &[Ruled<'_>], at: usize, direction: Direction) -> Option<Vec<RuleId>> {
        let rule = rules.get(at)?;
        let all = Columns { classes: (*self.live).clone(), atoms: self.atoms(direction).live().clone() };
        let columns = all.and(rule.peers);
        // What matches nothing is another remark.
        if columns.is_empty() || rule.conn.is_empty() && rule.named == NO_NAMES {
            return None;
        }
        let others: Vec<&Ruled<'_>> = match rule.tier {
            Some(tier) => rules.iter().take(at).filter(|other| other.tier == Some(tier)).collect(),
            None => {
                // The administrator's tier first, in its order, then every other NetworkPolicy.
                let first = rules.iter().filter(|other| other.tier == Some(Tier::Admin));
                let beside = rules.iter().enumerate().filter(|(index, _)| *index != at);
                first.chain(beside.map(|(_, other)| other).filter(|other| other.tier.is_none())).collect()
            }
        };
        let others: Vec<&Ruled<'_>> = others.into_iter().filter(|other| !other.idle).collect();
        // One rule that does it alone says more than several that do it together.
        let alone = others.iter().copied().filter(|other| other.tier == rule.tier).find(|other| {
            let wide = other.conn.is_all() || other.named == rule.named && contains(&other.conn, &rule.conn);
            wide && columns.clone().without(other.peers).is_empty()
        });
        if let Some(other) = alone {
            return Some(vec![(other.policy, other.rule)]);
        }
        if rule.named != NO_NAMES {
            return None;
        }
        let mut parts = vec![Part { columns, left: rule.conn.clone(), open: ConnSet::all() }];
        let mut used = Vec::new();
        for other in others {
            // What such a rule passes on cannot be told without the destination.
            if other.tier.is_some() && rule.tier.is_none() && other.named != NO_NAMES {
                return None;
            }
            let mut next = Vec::with_capacity(parts.len() + 1);
            for part in parts {
                let inside = part.columns.and(other.peers);
                if inside.is_empty() {
                    next.push(part);
                    continue;
                }
                let outside = part.columns.without(other.peers);
                let of_tier = other.tier.is_some();
                let hit = if of_tier { other.conn.intersect(&part.open) } else { other.conn.clone() };
                // To its own tier a rule that passes on has decided; to the tiers behind, it has not.
                let decides = !of_tier || rule.tier.is_some() || other.action != Action::Pass;
                let left = if decides { part.left.subtract(&hit) } else { part.left.clone() };
                if left != part.left && used.last() != Some(&(other.policy, other.rule)) {
                    used.push((other.policy, other.rule));
                }
                let open = if of_tier { part.open.subtract(&other.conn) } else { part.open.clone() };
                if !left.is_empty() {
                    next.push(Part { columns: inside, left, open });
                }
                if !outside.is_empty() {
                    next.push(Part { columns: outside, left: part.left, open: part.open });
                }
            }
            parts = next;
            if parts.is_empty() {
                return Some(used);
            }
            if parts.len() > MAX_PARTS {
                return None;
            }
        }
        None
    }
}

/// True when every connection of `inner` is in `outer`.
fn contains(outer: &ConnSet, inner: &ConnSet) -> bool {
    inner.subtract(outer).is_empty()
}
