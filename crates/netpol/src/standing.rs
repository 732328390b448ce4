//! Consequences of changes that still hold.
//!
//! An [`Effect`] is what a change did; what it brought about may last or be put right. A [`Standing`] is kept from the
//! change on for as long as its [`Condition`] holds in the cluster as it is. What a cluster had when it was seen for the
//! first time is no change, and stands nowhere.

use plimsoll_model::exposure::ExposureLevel;
use serde::{Deserialize, Serialize};

use crate::conn::ConnSet;
use crate::effects::{Effect, MAX_RANGES, Urgency};
use crate::engine::{Direction, Peer};
use crate::ip::IpRange;
use crate::live::LiveSnapshot;
use crate::objects::ObjectKey;

/// What has to hold for a consequence to stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The workload is established to be exposed this far at least.
    Reachable(ExposureLevel),
    /// No NetworkPolicy isolates the workload.
    NotIsolated(Direction),
    /// No policy of any kind selects the workload.
    Unselected(Direction),
    /// One of the policies is there and does not select the workload.
    Deselected { direction: Direction, policies: Vec<ObjectKey> },
    /// The workload may still send some of this to one of the ranges.
    Outward { ranges: Vec<IpRange>, more: ConnSet },
    /// A warning of this code is given for the object.
    Odd { code: String, object: ObjectKey },
    /// The objects are as they were, each with its digest; the first is the one that it is told of.
    AsWritten { objects: Vec<(ObjectKey, String)> },
}

/// A consequence of a change that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `NETPOL001`…
    pub code: String,
    /// Printed workload, or object.
    pub subject: String,
    pub urgency: Urgency,
    /// What happened, in one sentence.
    pub message: String,
    /// Rules that decide, or decided before.
    pub decided_by: Vec<String>,
    pub condition: Condition,
    /// As of [`Effect::peers`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

impl Condition {
    /// Which side of its subject it is about: `ingress`, `egress`, or `policy`.
    pub fn about(&self) -> &'static str {
        match self {
            Self::Reachable(_) => Direction::Ingress.as_str(),
            Self::NotIsolated(direction)
            | Self::Unselected(direction)
            | Self::Deselected { direction, .. } => direction.as_str(),
            Self::Outward { .. } => Direction::Egress.as_str(),
            Self::Odd { .. } | Self::AsWritten { .. } => "policy",
        }
    }
}

impl Standing {
    /// What stands of an effect; none for what only happened.
    pub fn of(effect: &Effect) -> Option<Self> {
        Some(Self {
            code: effect.code.to_owned(),
            subject: effect.subject.clone(),
            urgency: effect.urgency,
            message: effect.message.clone(),
            decided_by: effect.decided_by.clone(),
            condition: effect.condition.clone()?,
            peers: effect.peers.clone(),
        })
    }

    /// The policy that it is told of; none where that is a workload.
    pub fn policy(&self) -> Option<&ObjectKey> {
        match &self.condition {
            Condition::Odd { object, .. } => Some(object),
            Condition::AsWritten { objects } => objects.first().map(|(key, _)| key),
            _ => None,
        }
    }

    /// Which side of its subject it is about: `ingress`, `egress`, or `policy`.
    pub fn about(&self) -> &'static str {
        self.condition.about()
    }

    /// Takes a later consequence of the same [`Standing::key`] in. True when it says more than what stood: that it reaches
    /// further is not hidden by what is known, or accepted, already.
    pub fn take(&mut self, later: Self) -> bool {
        let (Condition::Outward { ranges, more }, Condition::Outward { ranges: new, more: opened }) =
            (&mut self.condition, later.condition)
        else {
            return false;
        };
        let known = !self.peers.is_empty() && later.peers.iter().all(|peer| self.peers.contains(peer));
        if known && !later.peers.is_empty() {
            return false;
        }
        let whole = !self.peers.is_empty() && !later.peers.is_empty();
        self.peers.extend(later.peers);
        self.peers.sort();
        self.peers.dedup();
        if !whole || self.peers.len() > MAX_RANGES {
            self.peers.clear();
        }
        ranges.extend(new);
        ranges.sort_unstable();
        ranges.dedup();
        ranges.truncate(MAX_RANGES);
        *more = more.union(&opened);
        self.urgency = self.urgency.min(later.urgency);
        self.message = later.message;
        self.decided_by.extend(later.decided_by);
        self.decided_by.sort();
        self.decided_by.dedup();
        true
    }

    /// The same for the same consequence at the same place, whenever it comes about: subject, code, side.
    pub fn key(&self) -> (String, String, &'static str) {
        (self.subject.clone(), self.code.clone(), self.about())
    }

    /// True while it stands in this state.
    pub fn holds(&self, now: &LiveSnapshot) -> bool {
        let connectivity = now.connectivity();
        if let Condition::Odd { code, object } = &self.condition {
            let found = connectivity.warnings().iter();
            return found.into_iter().any(|warning| warning.code == code && warning.object == *object);
        }
        if let Condition::AsWritten { objects } = &self.condition {
            let same = |(key, digest): &(ObjectKey, String)| {
                now.state().get(key).is_some_and(|object| object.digest() == *digest)
            };
            return objects.iter().all(same);
        }
        let Some(workload) = connectivity.workload_named(&self.subject) else { return false };
        match &self.condition {
            Condition::Reachable(level) => {
                now.exposure(workload).is_some_and(|exposure| exposure.level >= *level)
            }
            Condition::NotIsolated(direction) => !connectivity.is_isolated(workload, *direction),
            Condition::Unselected(direction) => connectivity.selected_by(workload, *direction).is_empty(),
            Condition::Deselected { direction, policies } => {
                let selecting = connectivity.selected_by(workload, *direction);
                policies
                    .iter()
                    .any(|policy| now.state().get(policy).is_some() && !selecting.contains(&policy))
            }
            Condition::Outward { ranges, more } => ranges.iter().any(|range| {
                let column = connectivity.range_of(range.first_address(), Direction::Egress);
                column.is_some_and(|column| {
                    let conn = connectivity.between(Peer::Workload(workload), Peer::Range(column));
                    !conn.intersect(more).is_empty()
                })
            }),
            Condition::Odd { .. } | Condition::AsWritten { .. } => false,
        }
    }
}
