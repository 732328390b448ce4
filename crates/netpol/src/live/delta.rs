//! What a change did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use plimsoll_model::fact::Unlisted;
use rustc_hash::FxHashMap;

use super::LiveSnapshot;
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet};
use crate::diff::{
    Both, ConnDiff, DiffPeer, DiffRow, Outward, diff_snapshots, diff_snapshots_at_most, explain, is_single,
    kind_of, outward, row, sort,
};
use crate::engine::{Block, Cells, Connectivity, Direction, Subject};
use crate::exposure::WorkloadExposure;
use crate::ip::IpRange;
use crate::sample::{Place, Sample, kind_of_ids};

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

/// Something that differs, before it is named.
enum Differs<'d> {
    Pair(Pair),
    Outside(Direction, u32, &'d (IpRange, ConnId, ConnId)),
    Way(u32),
}

/// The pairs of workloads of some cells.
struct Pairs<'d> {
    cells: &'d Cells,
    after: &'d Connectivity,
    apart: Bits,
}

impl<'d> Pairs<'d> {
    fn of(cells: &'d Cells, after: &'d Connectivity) -> Self {
        let mut apart = Bits::default();
        cells.apart.iter().for_each(|id| apart.set(*id as usize));
        Self { cells, after, apart }
    }

    /// Workloads of some classes, without those that are told one by one.
    fn members<'a>(&'a self, classes: &'a Bits) -> impl Iterator<Item = u32> + 'a {
        let members = classes.iter().flat_map(|class| self.after.members(class)).copied();
        members.filter(|id| !self.apart.has(*id as usize))
    }

    /// Number of pairs of a block, which does not go through them.
    fn size(&self, block: &Block) -> u64 {
        let others = self.members(&block.others).count() as u64;
        match &block.subject {
            Subject::Workload(workload) => {
                let mut classes = self.after.classes_at(*workload as usize).iter();
                let itself = !self.apart.has(*workload as usize)
                    && classes.any(|class| block.others.has(*class as usize));
                others - u64::from(itself)
            }
            Subject::Classes(classes) => {
                let both = self.members(&classes.and(&block.others)).count() as u64;
                self.members(classes).count() as u64 * others - both
            }
        }
    }

    /// Number of all pairs.
    fn count(&self) -> u64 {
        self.cells.blocks.iter().map(|block| self.size(block)).sum::<u64>() + self.cells.pairs.len() as u64
    }

    /// Goes through the pairs of a block until `each` gives false.
    fn visit(&self, block: &Block, mut each: impl FnMut(Pair) -> bool) {
        let mut cross = |subject: u32| {
            self.members(&block.others).filter(|other| *other != subject).all(|other| {
                each(match block.direction {
                    Direction::Ingress => (other, subject, block.before, block.after),
                    Direction::Egress => (subject, other, block.before, block.after),
                })
            })
        };
        match &block.subject {
            Subject::Workload(workload) => cross(*workload),
            Subject::Classes(classes) => self.members(classes).all(cross),
        };
    }

    /// Takes every pair in; those that are not to be named are only counted.
    fn take(&self, sample: &mut Sample<Differs<'d>>) {
        for block in &self.cells.blocks {
            let kind = kind_of_ids(block.before, block.after);
            let mut taken = 0;
            if sample.wants(Place::Pair, kind) {
                self.visit(block, |pair| {
                    sample.add(Place::Pair, kind, || Differs::Pair(pair));
                    taken += 1;
                    sample.wants(Place::Pair, kind)
                });
            }
            sample.pass(Place::Pair, kind, self.size(block) - taken);
        }
        for pair in &self.cells.pairs {
            let kind = kind_of_ids(pair.before, pair.after);
            let pair = (pair.source, pair.destination, pair.before, pair.after);
            sample.add(Place::Pair, kind, || Differs::Pair(pair));
        }
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
                Pairs::of(cells, &self.after.snapshot.connectivity).count() as usize
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

    /// As [`Delta::connections`], but names no more than `most` rows, of each kind some, and counts the others. A change of
    /// a label of a large namespace may differ in workloads squared.
    pub fn connections_at_most(&self, most: usize) -> (ConnDiff, Unlisted) {
        match &self.content {
            Content::Nothing => Default::default(),
            Content::Whole(_) => diff_snapshots_at_most(&self.before.snapshot, &self.after.snapshot, most),
            Content::Cells { before, cells, moved } => self.told(before, cells, moved, most),
        }
    }

    /// Every workload that may send more to the outside, whatever else differs.
    pub(crate) fn outward(&self) -> Vec<Outward> {
        let after = &self.after.snapshot.connectivity;
        let cells = match &self.content {
            Content::Nothing => return Vec::new(),
            Content::Whole(_) => return outward(&self.before.snapshot.connectivity, after),
            Content::Cells { cells, .. } => cells,
        };
        let mut found = Vec::new();
        for block in cells.outside.iter().filter(|block| block.direction == Direction::Egress) {
            let more = block.segments.iter().map(|(range, old, new)| {
                let more = after.conn(*new).subtract(after.conn(*old));
                (*range, more)
            });
            let opened: Arc<[(IpRange, ConnSet)]> = more.filter(|(_, more)| !more.is_empty()).collect();
            if opened.is_empty() {
                continue;
            }
            for &id in &block.workloads {
                let both = self.both(id);
                let endpoint = both.after.and_then(|index| after.endpoints().get(index));
                let Some(endpoint) = endpoint else { continue };
                let (workload, opened) = (endpoint.printed.to_string(), Arc::clone(&opened));
                found.push(Outward { workload, both, opened });
            }
        }
        found
    }

    /// A workload by number, where it is known before and after.
    fn both(&self, id: u32) -> Both {
        let there = |snapshot: &LiveSnapshot| {
            let endpoints = snapshot.connectivity().endpoints();
            endpoints.get(id as usize).filter(|endpoint| !endpoint.assumed).map(|_| id as usize)
        };
        Both { before: there(&self.before), after: there(&self.after) }
    }

    fn told(
        &self,
        before: &Connectivity,
        cells: &Cells,
        moved: &BTreeSet<u32>,
        most: usize,
    ) -> (ConnDiff, Unlisted) {
        let after = &self.after.snapshot.connectivity;
        let mut sample = Sample::new(most);
        Pairs::of(cells, after).take(&mut sample);
        for block in &cells.outside {
            for &workload in &block.workloads {
                for segment in block.segments.iter() {
                    let kind = kind_of_ids(segment.1, segment.2);
                    sample.add(Place::Outside, kind, || Differs::Outside(block.direction, workload, segment));
                }
            }
        }
        let (old_ways, new_ways) = (&self.before.snapshot.ingress, &self.after.snapshot.ingress);
        let way = |id: u32| {
            let of = |rows: &BTreeMap<usize, ConnSet>| rows.get(&(id as usize)).cloned().unwrap_or_default();
            (of(old_ways), of(new_ways))
        };
        if !Arc::ptr_eq(old_ways, new_ways) {
            let keys: BTreeSet<usize> = old_ways.keys().chain(new_ways.keys()).copied().collect();
            for id in keys.into_iter().map(|id| id as u32) {
                let (old, new) = way(id);
                if let Some(kind) = kind_of(&old, &new, false) {
                    sample.add(Place::Way, kind, || Differs::Way(id));
                }
            }
        }
        let (chosen, unlisted) = sample.finish();
        let both = |id: u32| self.both(id);
        let name = |id: u32| -> &Arc<str> {
            let view = if both(id).after.is_some() { after } else { before };
            &view.endpoints()[id as usize].printed
        };
        let peer = |id: u32| DiffPeer::Workload(name(id).to_string());
        let mut rows: Vec<DiffRow> = Vec::with_capacity(chosen.len());
        let mut ends: BTreeSet<u32> = BTreeSet::new();
        for differs in chosen {
            rows.extend(match differs {
                Differs::Pair((source, destination, old, new)) => {
                    ends.extend([source, destination]);
                    let single = (is_single(&both(source)), is_single(&both(destination)));
                    let (old, new) = (after.conn(old).clone(), after.conn(new).clone());
                    row(peer(source), peer(destination), old, new, single, false)
                }
                Differs::Outside(direction, workload, (range, old, new)) => {
                    ends.insert(workload);
                    let single = is_single(&both(workload));
                    let (old, new) = (after.conn(*old).clone(), after.conn(*new).clone());
                    let (inner, outer) = (peer(workload), DiffPeer::Range(*range));
                    match direction {
                        Direction::Ingress => row(outer, inner, old, new, (false, single), false),
                        Direction::Egress => row(inner, outer, old, new, (single, false), false),
                    }
                }
                Differs::Way(id) => {
                    ends.insert(id);
                    let single = is_single(&both(id));
                    let (old, new) = way(id);
                    row(DiffPeer::IngressController, peer(id), old, new, (false, single), false)
                }
            });
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
        (diff, unlisted)
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
