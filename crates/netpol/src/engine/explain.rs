//! Why two peers may connect, or not.

use std::fmt;

use smallvec::SmallVec;

use super::compile::resolve;
use super::{Class, CompiledRule, Connectivity, Direction, Peer, Space};
use crate::conn::ConnSet;
use crate::objects::{Action, ObjectKey};

/// One rule or policy that had a say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    pub policy: ObjectKey,
    /// File or event that the policy came from.
    pub source: Option<String>,
    /// `None`: the policy isolates the pod and none of its rules matches.
    pub rule: Option<usize>,
    /// Name of the rule, where it has one.
    pub name: String,
    /// `allow`, `deny`, `pass` or `isolate`.
    pub action: &'static str,
    /// Ports that the rule speaks about.
    pub conn: ConnSet,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.policy)?;
        match self.rule {
            Some(rule) if self.name.is_empty() => write!(f, " rule {rule}")?,
            Some(rule) => write!(f, " rule {rule} ({})", self.name)?,
            None => {}
        }
        write!(f, " {}", self.action)?;
        if self.rule.is_some() { write!(f, " {}", self.conn) } else { Ok(()) }
    }
}

/// One direction of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// A NetworkPolicy selects the pod in this direction.
    pub isolated: bool,
    /// What this side allows.
    pub conn: ConnSet,
    /// Rules that match the peer, in order of evaluation; empty: default allow.
    pub decisions: Vec<Decision>,
}

/// Why two peers may connect, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub conn: ConnSet,
    /// `None` where the source is outside the cluster.
    pub egress: Option<Side>,
    /// `None` where the destination is outside the cluster.
    pub ingress: Option<Side>,
}

impl Connectivity {
    /// Why `source` may connect to `destination`: both sides, with the rules that match. For a workload with several
    /// label sets the decisions of all of them are listed.
    pub fn explain(&self, source: Peer, destination: Peer) -> Explanation {
        Explanation {
            conn: self.between(source, destination),
            egress: self.side(source, destination, Direction::Egress),
            ingress: self.side(destination, source, Direction::Ingress),
        }
    }

    /// The decisions of both sides alone, each once.
    pub(crate) fn decisions(&self, source: Peer, destination: Peer) -> Vec<Decision> {
        let mut decisions = self.decided(source, destination, Direction::Egress);
        decisions.append(&mut self.decided(destination, source, Direction::Ingress));
        decisions.dedup();
        decisions
    }

    fn columns_at(&self, other: Peer, direction: Direction) -> (Space, SmallVec<[usize; 2]>) {
        match other {
            Peer::Workload(_) => {
                (Space::Classes, self.classes_of(other).iter().map(|class| *class as usize).collect())
            }
            Peer::Range(_) => (Space::Outside, self.column(other, direction).into_iter().collect()),
        }
    }

    fn side(&self, subject: Peer, other: Peer, direction: Direction) -> Option<Side> {
        let Peer::Workload(_) = subject else { return None };
        let (space, columns) = self.columns_at(other, direction);
        let decisions = self.decided(subject, other, direction);
        let mut side = Side { isolated: false, conn: ConnSet::none(), decisions };
        for class in self.classes_of(subject).iter().filter_map(|class| self.class(*class)) {
            let row = class.profile(direction);
            for column in &columns {
                side.conn = side.conn.union(&self.at(row, space, *column));
            }
            side.isolated |= self.selecting(class, direction).any(|policy| policy.tier.is_none());
        }
        Some(side)
    }

    /// Rules that match the other, in order of evaluation; none where the subject is outside the cluster.
    fn decided(&self, subject: Peer, other: Peer, direction: Direction) -> Vec<Decision> {
        let mut decisions: Vec<Decision> = Vec::new();
        let Peer::Workload(_) = subject else { return decisions };
        let (space, columns) = self.columns_at(other, direction);
        let classes = self.classes_of(subject);
        // One rule decides of one class and one column once.
        let several = classes.len() > 1 || columns.len() > 1;
        let mut decide = |decision: Decision| {
            if !(several && decisions.contains(&decision)) {
                decisions.push(decision);
            }
        };
        for class in classes.iter().filter_map(|class| self.class(*class)) {
            for policy in self.selecting(class, direction) {
                let mut matched = false;
                for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                    for column in &columns {
                        if !self.sets.get(rule.peers as usize).is_some_and(|set| set.of(space).has(*column)) {
                            continue;
                        }
                        matched = true;
                        let ports = if direction == Direction::Ingress {
                            Some(class)
                        } else {
                            self.classes.get(*column).filter(|_| space == Space::Classes)
                        };
                        let decision = Decision {
                            policy: policy.key.clone(),
                            source: policy.source.clone(),
                            rule: Some(index),
                            name: rule.name.clone(),
                            action: action(rule),
                            conn: self.rule_conn(rule, ports),
                        };
                        decide(decision);
                    }
                }
                if policy.tier.is_none() && !matched {
                    let decision = Decision {
                        policy: policy.key.clone(),
                        source: policy.source.clone(),
                        rule: None,
                        name: String::new(),
                        action: "isolate",
                        conn: ConnSet::none(),
                    };
                    decide(decision);
                }
            }
        }
        decisions
    }

    fn rule_conn(&self, rule: &CompiledRule, destination: Option<&Class>) -> ConnSet {
        let fixed = self.conn(rule.ports.fixed);
        let names = self.named.get(rule.ports.named as usize);
        let ports = destination.and_then(|class| self.port_sets.get(class.ports as usize));
        match (names, ports) {
            (Some(names), Some(ports)) => fixed.union(&resolve(names, ports)),
            _ => fixed.clone(),
        }
    }
}

fn action(rule: &CompiledRule) -> &'static str {
    match rule.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    }
}
