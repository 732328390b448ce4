//! Changes that follow one another closely, told as one.
//!
//! A rollout is many events, and a tool that replaces a policy may delete it first. What is told is the difference of the
//! settled states; what was open only in between is told apart, as transient.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_model::fact::Unlisted;

use super::{Delta, LiveSnapshot};
use crate::conn::ConnSet;
use crate::diff::{ConnDiff, DiffPeer, diff_snapshots_at_most};
use crate::effects::{Effect, effects_of};
use crate::engine::{Direction, Peer};

/// Connections of a settled difference that are named.
pub const MAX_TOLD: usize = 1_000;
/// Openings in between that are remembered.
const MAX_OPENED: usize = 1_000;

/// A connection that was open in between, and neither before nor after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transient {
    pub source: DiffPeer,
    pub destination: DiffPeer,
    /// What was open before already, and is after.
    pub lasting: ConnSet,
    /// What was open in between only.
    pub between: ConnSet,
}

/// The changes of a cluster since it was told last.
#[derive(Debug, Default)]
pub struct Window {
    first: Option<Arc<LiveSnapshot>>,
    newest: Option<Newest>,
    /// More than one change was taken.
    several: bool,
    /// None once a change was read as a whole.
    concerned: Option<BTreeSet<String>>,
    opened: BTreeMap<(DiffPeer, DiffPeer), ConnSet>,
}

/// The last change of a window, with its difference as far as it was looked at.
#[derive(Debug)]
struct Newest {
    delta: Delta,
    connections: ConnDiff,
    unlisted: Unlisted,
}

/// What the changes of a window come to.
#[derive(Debug)]
pub struct Settled {
    pub before: Arc<LiveSnapshot>,
    pub after: Arc<LiveSnapshot>,
    /// Printed names of the workloads that the changes had to do with; none: any may be.
    pub concerned: Option<BTreeSet<String>>,
    /// At most [`MAX_TOLD`] rows, of each kind some.
    pub connections: ConnDiff,
    /// The connections that differ besides.
    pub unlisted: Unlisted,
    /// Sorted by source, then destination.
    pub transient: Vec<Transient>,
}

impl Window {
    /// Takes the next change in, and gives its own effects.
    pub fn take(&mut self, delta: Delta) -> Vec<Effect> {
        let concerned = delta.concerned();
        let (connections, unlisted) = delta.connections_at_most(MAX_TOLD);
        let effects = effects_of(&delta, &connections);
        match self.newest.take() {
            None => {
                self.first = Some(Arc::clone(delta.before()));
                self.concerned = concerned;
            }
            Some(earlier) => {
                self.several = true;
                self.note(earlier);
                self.concerned = match (self.concerned.take(), concerned) {
                    (Some(mut known), Some(more)) => {
                        known.extend(more);
                        Some(known)
                    }
                    _ => None,
                };
            }
        }
        self.newest = Some(Newest { delta, connections, unlisted });
        effects
    }

    /// Remembers what a change opened that others followed.
    fn note(&mut self, earlier: Newest) {
        // Nothing was in view before a cluster was read for the first time.
        if earlier.delta.before().state().is_empty() {
            return;
        }
        for row in earlier.connections.rows {
            let more = row.after.subtract(&row.before);
            if more.is_empty() || self.opened.len() >= MAX_OPENED {
                continue;
            }
            let known = self.opened.entry((row.source, row.destination)).or_default();
            *known = known.union(&more);
        }
    }

    /// What the changes come to, and an empty window. None when there was none.
    pub fn settle(&mut self) -> Option<Settled> {
        let Self { first, newest, several, concerned, opened } = std::mem::take(self);
        let (before, newest) = (first?, newest?);
        let after = Arc::clone(newest.delta.after());
        let (connections, unlisted) = if several {
            diff_snapshots_at_most(&before.snapshot, &after.snapshot, MAX_TOLD)
        } else {
            (newest.connections, newest.unlisted)
        };
        let transient = opened
            .into_iter()
            .filter_map(|((source, destination), opened)| {
                let (was, is) = (open(&before, &source, &destination), open(&after, &source, &destination));
                let between = opened.subtract(&was.union(&is));
                let lasting = was.intersect(&is);
                (!between.is_empty()).then_some(Transient { source, destination, lasting, between })
            })
            .collect();
        Some(Settled { before, after, concerned, connections, unlisted, transient })
    }
}

/// What may pass in a state; of a range, what its first address may exchange.
fn open(snapshot: &LiveSnapshot, source: &DiffPeer, destination: &DiffPeer) -> ConnSet {
    let connectivity = snapshot.connectivity();
    let peer = |peer: &DiffPeer, direction| match peer {
        DiffPeer::Workload(name) => connectivity.workload_named(name).map(Peer::Workload),
        DiffPeer::Range(range) => connectivity.range_of(range.first_address(), direction).map(Peer::Range),
        DiffPeer::IngressController => None,
    };
    if let (DiffPeer::IngressController, DiffPeer::Workload(name)) = (source, destination) {
        let index = connectivity.workload_named(name);
        let known = index.and_then(|index| snapshot.snapshot.ingress.get(&index));
        return known.cloned().unwrap_or_default();
    }
    match (peer(source, Direction::Ingress), peer(destination, Direction::Egress)) {
        (Some(source), Some(destination)) => connectivity.between(source, destination),
        _ => ConnSet::none(),
    }
}
