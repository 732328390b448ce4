//! What a change did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use super::LiveSnapshot;
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet};
use crate::diff::{
    Both, ConnDiff, DiffPeer, DiffRow, diff_snapshots, diff_snapshots_at_most, explain, is_single, row, sort,
};
use crate::engine::{Cells, Connectivity, Direction, Subject};
use crate::exposure::WorkloadExposure;

/// How the cells that changed are known.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Cells {
        /// The state before, in the columns of the state after.
        before: Arc<Connectivity>,
        cells: Cells,
        /// Workloads that came, went, or changed class.
        moved: BTreeSet<u32>,
    },
    /// The state was read as a whole; the difference is looked for when it is asked for.
    Whole(OnceLock<Box<ConnDiff>>),
}

/// The exposure of a workload before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposureChange {
    /// None: the workload is new.
    pub before: Option<WorkloadExposure>,
    /// None: the workload is gone.
    pub after: Option<WorkloadExposure>,
}

/// What a change did: the connections that differ, exactly, and the exposures. The cells are known; names and deciding
/// rules are looked up when asked for.
#[derive(Debug)]
pub struct Delta {
    pub(super) content: Content,
    /// Workloads whose exposure differs in more than the number of workloads that they reach.
    pub(super) rejudged: BTreeSet<u32>,
    /// Workloads that reach another number of workloads.
    pub(super) recounted: BTreeSet<u32>,
    /// Workloads with other policies or objects, whatever that changed.
    pub(super) concerned: BTreeSet<u32>,
    pub(super) before: Arc<LiveSnapshot>,
    pub(super) after: Arc<LiveSnapshot>,
}

/// A changed pair of workloads by number, and the sets before and after.
type Pair = (u32, u32, ConnId, ConnId);

/// Every pair of workloads of some cells.
fn pairs(cells: &Cells, after: &Connectivity, mut each: impl FnMut(Pair)) {
    let mut apart = Bits::default();
    cells.apart.iter().for_each(|id| apart.set(*id as usize));
    for block in &cells.blocks {
        let mut cross = |subject: u32| {
            for &other in block.others.iter().flat_map(|class| after.members(class)) {
                if other == subject || apart.has(other as usize) {
                    continue;
                }
                match block.direction {
                    Direction::Ingress => each((other, subject, block.before, block.after)),
                    Direction::Egress => each((subject, other, block.before, block.after)),
                }
            }
        };
        match &block.subject {
            Subject::Workload(workload) => cross(*workload),
            Subject::Classes(classes) => {
                let members = classes.iter().flat_map(|class| after.members(class));
                members.filter(|id| !apart.has(**id as usize)).for_each(|id| cross(*id));
            }
        }
    }
    for pair in &cells.pairs {
        each((pair.source, pair.destination, pair.before, pair.after));
    }
}

impl Delta {
    pub(super) fn nothing(before: Arc<LiveSnapshot>, after: Arc<LiveSnapshot>) -> Self {
        Self::of(Content::Nothing, before, after)
    }

    pub(super) fn of(content: Content, before: Arc<LiveSnapshot>, after: Arc<LiveSnapshot>) -> Self {
        let (rejudged, recounted, concerned) = Default::default();
        Self { content, rejudged, recounted, concerned, before, after }
    }

    fn whole<'d>(&self, found: &'d OnceLock<Box<ConnDiff>>) -> &'d ConnDiff {
        found.get_or_init(|| Box::new(diff_snapshots(&self.before.snapshot, &self.after.snapshot, false)))
    }

    /// Printed names of the workloads that the change had to do with: their exposure, their policies or their objects
    /// differ, or they came or went. None: the state was read as a whole, and any may.
    pub fn concerned(&self) -> Option<BTreeSet<String>> {
        if matches!(self.content, Content::Whole(_)) {
            return None;
        }
        let ids = self.rejudged.iter().chain(&self.recounted).chain(&self.concerned);
        let mut names = BTreeSet::new();
        for id in ids {
            for snapshot in [&self.before, &self.after] {
                let found = snapshot.connectivity().endpoints().get(*id as usize);
                names.extend(
                    found.filter(|endpoint| !endpoint.assumed).map(|found| found.printed.to_string()),
                );
            }
        }
        Some(names)
    }

    /// The state before the change.
    pub fn before(&self) -> &Arc<LiveSnapshot> {
        &self.before
    }

    /// The state after the change.
    pub fn after(&self) -> &Arc<LiveSnapshot> {
        &self.after
    }

    /// Number of connections that differ, between workloads and with ranges of the outside; ways in through ingress
    /// controllers are not counted.
    pub fn count(&self) -> usize {
        match &self.content {
            Content::Nothing => 0,
            Content::Cells { cells, .. } => {
                let mut count = 0;
                pairs(cells, &self.after.snapshot.connectivity, |_| count += 1);
                count
                    + cells
                        .outside
                        .iter()
                        .map(|block| block.workloads.len() * block.segments.len())
                        .sum::<usize>()
            }
            Content::Whole(found) => {
                let diff = self.whole(found);
                diff.rows.iter().filter(|row| row.source != DiffPeer::IngressController).count()
            }
        }
    }

    /// True when no connection and no exposure differs and no workload came or went.
    pub fn is_empty(&self) -> bool {
        match &self.content {
            Content::Nothing => true,
            Content::Cells { .. } => {
                self.count() == 0 && self.rejudged.is_empty() && self.connections() == ConnDiff::default()
            }
            Content::Whole(found) => *self.whole(found) == ConnDiff::default() && self.exposures().is_empty(),
        }
    }

    /// The difference, as [`crate::diff::diff_snapshots`] of the two states gives it.
    pub fn connections(&self) -> ConnDiff {
        match &self.content {
            Content::Nothing => ConnDiff::default(),
            Content::Whole(found) => self.whole(found).clone(),
            Content::Cells { before, cells, moved } => self.told(before, cells, moved, usize::MAX).0,
        }
    }

    /// As [`Delta::connections`], but names no more than `most` pairs of workloads, and as many rows with the outside;
    /// true when that was all. A change of a label of a large namespace may differ in workloads squared.
    pub fn connections_at_most(&self, most: usize) -> (ConnDiff, bool) {
        match &self.content {
            Content::Nothing => (ConnDiff::default(), true),
            Content::Whole(found) => match found.get() {
                Some(diff) => (diff.as_ref().clone(), true),
                None => diff_snapshots_at_most(&self.before.snapshot, &self.after.snapshot, most),
            },
            Content::Cells { before, cells, moved } => self.told(before, cells, moved, most),
        }
    }

    fn told(
        &self,
        before: &Connectivity,
        cells: &Cells,
        moved: &BTreeSet<u32>,
        most: usize,
    ) -> (ConnDiff, bool) {
        let after = &self.after.snapshot.connectivity;
        let both = |id: u32| {
            let there = |connectivity: &Connectivity| {
                let known = connectivity.endpoints().get(id as usize).filter(|endpoint| !endpoint.assumed);
                known.map(|_| id as usize)
            };
            Both { before: there(before), after: there(after) }
        };
        let name = |id: u32| -> &Arc<str> {
            let view = if both(id).after.is_some() { after } else { before };
            &view.endpoints()[id as usize].printed
        };
        let peer = |id: u32| DiffPeer::Workload(name(id).to_string());
        let mut rows: Vec<DiffRow> = Vec::new();
        let mut ends: BTreeSet<u32> = BTreeSet::new();
        let mut complete = true;
        pairs(cells, after, |(source, destination, old, new)| {
            if rows.len() >= most {
                complete = false;
                return;
            }
            let single = (is_single(&both(source)), is_single(&both(destination)));
            ends.extend([source, destination]);
            let (old, new) = (after.conn(old).clone(), after.conn(new).clone());
            rows.extend(row(peer(source), peer(destination), old, new, single, false));
        });
        let most = rows.len().saturating_add(most);
        for block in &cells.outside {
            for &workload in &block.workloads {
                if rows.len() >= most {
                    complete = false;
                    break;
                }
                ends.insert(workload);
                let single = is_single(&both(workload));
                for (range, old, new) in block.segments.iter() {
                    let (old, new) = (after.conn(*old).clone(), after.conn(*new).clone());
                    let (inner, outer) = (peer(workload), DiffPeer::Range(*range));
                    rows.extend(match block.direction {
                        Direction::Ingress => row(outer, inner, old, new, (false, single), false),
                        Direction::Egress => row(inner, outer, old, new, (single, false), false),
                    });
                }
            }
        }
        let (old, new) = (&self.before.snapshot.ingress, &self.after.snapshot.ingress);
        if !Arc::ptr_eq(old, new) {
            let keys: BTreeSet<usize> = old.keys().chain(new.keys()).copied().collect();
            for id in keys {
                let of = |rows: &BTreeMap<usize, ConnSet>| rows.get(&id).cloned().unwrap_or_default();
                let single = is_single(&both(id as u32));
                let (old, new) = (of(old), of(new));
                if old != new {
                    ends.insert(id as u32);
                    let destination = peer(id as u32);
                    rows.extend(row(
                        DiffPeer::IngressController,
                        destination,
                        old,
                        new,
                        (false, single),
                        false,
                    ));
                }
            }
        }
        sort(&mut rows);
        let index: FxHashMap<&str, Both> = ends.iter().map(|id| (name(*id).as_ref(), both(*id))).collect();
        explain(&mut rows, before, after, &index);
        let only = |pick: fn(&Both) -> bool| {
            let mut names: Vec<String> =
                moved.iter().filter(|id| pick(&both(**id))).map(|id| name(*id).to_string()).collect();
            names.sort();
            names
        };
        let diff = ConnDiff {
            rows,
            workloads_added: only(|both| both.before.is_none() && both.after.is_some()),
            workloads_removed: only(|both| both.after.is_none() && both.before.is_some()),
        };
        (diff, complete)
    }

    /// The workloads whose exposure differs in more than [`WorkloadExposure::reaches`], by name, with those that came
    /// or went.
    pub fn exposures(&self) -> Vec<ExposureChange> {
        match self.content {
            Content::Whole(_) => self.compared(false),
            _ => self.named(&self.rejudged),
        }
    }

    /// The workloads that reach another number of workloads and whose exposure is the same otherwise.
    pub fn recounted(&self) -> Vec<ExposureChange> {
        match self.content {
            Content::Whole(_) => self.compared(true),
            _ => self.named(&self.recounted.difference(&self.rejudged).copied().collect()),
        }
    }

    fn named(&self, ids: &BTreeSet<u32>) -> Vec<ExposureChange> {
        let change = |id: &u32| ExposureChange {
            before: self.before.exposure(*id as usize),
            after: self.after.exposure(*id as usize),
        };
        let mut changes: Vec<ExposureChange> = ids.iter().map(change).collect();
        changes.sort_by_cached_key(ExposureChange::name);
        changes
    }

    /// By name: the exposures that differ in the number of workloads reached only, or the others that differ.
    fn compared(&self, in_number_only: bool) -> Vec<ExposureChange> {
        let named = |snapshot: &LiveSnapshot| {
            let named = |exposure: WorkloadExposure| {
                (format!("{}/{}[{}]", exposure.namespace, exposure.name, exposure.kind), exposure)
            };
            snapshot.exposures().into_iter().map(named).collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (named(&self.before), named(&self.after));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let change =
            |name: &String| ExposureChange { before: old.get(name).cloned(), after: new.get(name).cloned() };
        let keep = |change: &ExposureChange| match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                let same = WorkloadExposure { reaches: before.reaches, ..after.clone() } == *before;
                if in_number_only { same && before.reaches != after.reaches } else { !same }
            }
            _ => !in_number_only,
        };
        names.into_iter().map(change).filter(keep).collect()
    }
}

impl ExposureChange {
    /// The workload's printed name.
    pub fn name(&self) -> String {
        let known = self.after.as_ref().or(self.before.as_ref());
        known.map_or_else(String::new, |known| format!("{}/{}[{}]", known.namespace, known.name, known.kind))
    }
}
