//! The difference of two states of a cluster, as connections.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use plimsoll_model::fact::Unlisted;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::conn::{ConnId, ConnSet, ConnTable};
use crate::engine::{Connectivity, Decision, Direction, Options, Peer};
use crate::entries::ingress_rows;
use crate::format::INGRESS_CONTROLLER;
use crate::ip::{Atoms, IpRange};
use crate::sample::{Place, Sample};
use crate::state::ClusterState;

/// Most rows of a difference for which the deciding rules are looked up.
pub const MAX_EXPLAINED: usize = 10_000;
/// Pairs of workloads that are looked at where not all rows are named.
const MAX_COUNTED: u64 = 2_000_000;

/// A state with everything that a difference needs; immutable and cheap to share.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub state: Arc<ClusterState>,
    pub connectivity: Arc<Connectivity>,
    /// What ingress controllers may send to each workload.
    pub ingress: Arc<BTreeMap<usize, ConnSet>>,
}

impl Snapshot {
    /// Computes the snapshot of a state.
    pub fn new(state: Arc<ClusterState>, options: &Options) -> Self {
        let connectivity = Connectivity::build(&state, options);
        let (ingress, _) = ingress_rows(&state, &connectivity);
        Self { state, connectivity, ingress: Arc::new(ingress) }
    }
}

/// One end of a row of a difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiffPeer {
    /// Printed name of a workload.
    Workload(String),
    Range(IpRange),
    IngressController,
}

impl fmt::Display for DiffPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => f.write_str(name),
            Self::Range(range) => write!(f, "{range}[External]"),
            Self::IngressController => f.write_str(INGRESS_CONTROLLER),
        }
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    Changed,
    Added,
    Removed,
    /// Only where the whole picture was asked for.
    Unchanged,
}

impl ChangeKind {
    /// The word as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One connection that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffRow {
    pub kind: ChangeKind,
    pub source: DiffPeer,
    pub destination: DiffPeer,
    pub before: ConnSet,
    pub after: ConnSet,
    /// The source is a workload of one side only.
    pub source_differs: bool,
    /// The destination is a workload of one side only.
    pub destination_differs: bool,
    /// Rules that decided before; empty also past [`MAX_EXPLAINED`] rows and where nothing selects (default allow).
    pub decided_before: Vec<Decision>,
    /// Rules that decide after; as before.
    pub decided_after: Vec<Decision>,
}

/// The difference of two states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnDiff {
    /// By kind, then source, then destination.
    pub rows: Vec<DiffRow>,
    /// Printed names of workloads that only the second state has.
    pub workloads_added: Vec<String>,
    /// Printed names of workloads that only the first state has.
    pub workloads_removed: Vec<String>,
}

impl ConnDiff {
    /// True when no connection differs.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.kind == ChangeKind::Unchanged)
    }

    /// The rows of a kind.
    pub fn of_kind(&self, kind: ChangeKind) -> impl Iterator<Item = &DiffRow> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }
}

/// A workload by name: its index before and after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Both {
    pub(crate) before: Option<usize>,
    pub(crate) after: Option<usize>,
}

/// What one workload may send to addresses outside the cluster beyond what it might before.
#[derive(Debug, Clone)]
pub(crate) struct Outward {
    /// Printed.
    pub(crate) workload: String,
    pub(crate) both: Both,
    /// Ranges in order, with what else may go there. Workloads of the same rules share them.
    pub(crate) opened: Arc<[(IpRange, ConnSet)]>,
}

/// The difference of two connectivities, without ways in through ingress controllers.
pub fn diff(before: &Connectivity, after: &Connectivity) -> ConnDiff {
    let none = BTreeMap::new();
    Differ::new(before, after).run(&none, &none, false, usize::MAX).0
}

/// The difference of two snapshots, ways in included. `unchanged` asks for the equal rows too, of which there can be
/// as many as workloads squared.
pub fn diff_snapshots(before: &Snapshot, after: &Snapshot, unchanged: bool) -> ConnDiff {
    let differ = Differ::new(&before.connectivity, &after.connectivity);
    differ.run(&before.ingress, &after.ingress, unchanged, usize::MAX).0
}

/// As [`diff_snapshots`] without equal rows, but names no more than `most`, of each kind some, and counts the others: the
/// difference to a state that has nothing in common has workloads squared.
pub fn diff_snapshots_at_most(before: &Snapshot, after: &Snapshot, most: usize) -> (ConnDiff, Unlisted) {
    let differ = Differ::new(&before.connectivity, &after.connectivity);
    differ.run(&before.ingress, &after.ingress, false, most)
}

/// Every workload that may send more to the outside, whatever else differs.
pub(crate) fn outward(before: &Connectivity, after: &Connectivity) -> Vec<Outward> {
    Differ::new(before, after).outward()
}

struct Differ<'a> {
    before: &'a Connectivity,
    after: &'a Connectivity,
    names: Vec<(String, Both)>,
    /// Ids of the first table in the second; `None` where the set is unknown there.
    ids: Vec<Option<ConnId>>,
    /// Both sides have the same workloads in the same classes.
    aligned: bool,
}

/// A range of the outside, and what may be exchanged with it before and after.
type Segment = (IpRange, ConnSet, ConnSet);

/// Rows of a workload, by class, before and after.
type RowsKey = (Vec<u32>, Vec<u32>);

/// A part of the outside, and its place in the columns before and after.
type Cut = (IpRange, Option<usize>, Option<usize>);

/// Something that differs, before it is named.
enum Differs {
    Pair(u32, u32),
    Outside(Direction, usize, Segment),
    Way(usize, ConnSet, ConnSet),
}

/// Answers of one connectivity about pairs of workloads, by number of set.
struct Between<'a> {
    connectivity: &'a Connectivity,
    conns: ConnTable,
}

impl<'a> Between<'a> {
    fn new(connectivity: &'a Connectivity) -> Self {
        Self { connectivity, conns: connectivity.matrix_table() }
    }

    fn ask(&mut self, source: usize, destination: usize) -> ConnId {
        self.connectivity.between_rows(source, destination, &mut self.conns)
    }
}

type Signature = SmallVec<[Option<ConnId>; 2]>;

impl<'a> Differ<'a> {
    fn new(before: &'a Connectivity, after: &'a Connectivity) -> Self {
        let mut names: BTreeMap<String, Both> = BTreeMap::new();
        for (index, endpoint) in
            before.endpoints().iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed)
        {
            names.insert(endpoint.to_string(), Both { before: Some(index), after: None });
        }
        for (index, endpoint) in
            after.endpoints().iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed)
        {
            names.entry(endpoint.to_string()).or_insert(Both { before: None, after: None }).after =
                Some(index);
        }
        let names: Vec<(String, Both)> = names.into_iter().collect();
        let aligned = before.same_columns(after)
            && names.iter().all(|(_, both)| match (both.before, both.after) {
                (Some(b), Some(a)) => before.classes_at(b) == after.classes_at(a),
                _ => false,
            });
        Self { before, after, names, ids: before.ids_in(after), aligned }
    }

    fn run(
        &self,
        ingress_before: &BTreeMap<usize, ConnSet>,
        ingress_after: &BTreeMap<usize, ConnSet>,
        all: bool,
        most: usize,
    ) -> (ConnDiff, Unlisted) {
        let mut sample = Sample::new(most);
        self.inside(all, most, &mut sample);
        for direction in [Direction::Ingress, Direction::Egress] {
            self.outside(direction, all, &mut sample);
        }
        for (index, (_, both)) in self.names.iter().enumerate() {
            let of = |index: Option<usize>, rows: &BTreeMap<usize, ConnSet>| {
                index.and_then(|index| rows.get(&index)).cloned().unwrap_or_default()
            };
            let (b, a) = (of(both.before, ingress_before), of(both.after, ingress_after));
            if let Some(kind) = kind_of(&b, &a, all) {
                sample.add(Place::Way, kind, || Differs::Way(index, b, a));
            }
        }
        let (chosen, unlisted) = sample.finish();
        let named = |index: usize| self.names.get(index).map(|(name, both)| (name.clone(), is_single(both)));
        let mut rows = Vec::with_capacity(chosen.len());
        for differs in chosen {
            rows.extend(match differs {
                Differs::Pair(source, destination) => self.pair(source as usize, destination as usize, all),
                Differs::Outside(direction, index, (range, b, a)) => {
                    named(index).and_then(|(name, single)| {
                        let (workload, range) = (DiffPeer::Workload(name), DiffPeer::Range(range));
                        match direction {
                            Direction::Ingress => row(range, workload, b, a, (false, single), all),
                            Direction::Egress => row(workload, range, b, a, (single, false), all),
                        }
                    })
                }
                Differs::Way(index, b, a) => named(index).and_then(|(name, single)| {
                    let ends = (DiffPeer::IngressController, DiffPeer::Workload(name));
                    row(ends.0, ends.1, b, a, (false, single), all)
                }),
            });
        }
        sort(&mut rows);
        let index: FxHashMap<&str, Both> =
            self.names.iter().map(|(name, both)| (name.as_str(), *both)).collect();
        explain(&mut rows, self.before, self.after, &index);
        let only = |pick: fn(&Both) -> bool| {
            self.names.iter().filter(|(_, both)| pick(both)).map(|(name, _)| name.clone()).collect()
        };
        let diff = ConnDiff {
            rows,
            workloads_added: only(|both| both.before.is_none()),
            workloads_removed: only(|both| both.after.is_none()),
        };
        (diff, unlisted)
    }

    /// Pairs of workloads that differ. Where no more than some are to be named, no more than [`MAX_COUNTED`] that may are
    /// looked at.
    fn inside(&self, all: bool, most: usize, sample: &mut Sample<Differs>) {
        let budget = if most == usize::MAX { u64::MAX } else { MAX_COUNTED.max(most as u64) };
        let everyone: Rc<[u32]> = if all || self.names.iter().any(|(_, both)| is_single(both)) {
            (0..self.names.len() as u32).collect()
        } else {
            Rc::default()
        };
        // Columns of each workload's row that differ, in order.
        let [outgoing, incoming] = [Direction::Egress, Direction::Ingress].map(|direction| {
            let mut known: FxHashMap<RowsKey, Rc<[u32]>> = FxHashMap::default();
            let changed = |(_, both): &(String, Both)| match (both.before, both.after, all) {
                (Some(before), Some(after), false) => {
                    let key = (self.before.rows_of(before, direction), self.after.rows_of(after, direction));
                    Rc::clone(known.entry(key).or_insert_with_key(|(b, a)| self.changed_columns(b, a).into()))
                }
                _ => Rc::clone(&everyone),
            };
            self.names.iter().map(changed).collect::<Vec<_>>()
        });
        let mut looked = 0;
        let mut between = [Between::new(self.before), Between::new(self.after)];
        let mut look = |source: u32, destination: u32| {
            if source == destination {
                return true;
            }
            if looked >= budget {
                sample.cut();
                return false;
            }
            looked += 1;
            if let Some(kind) = self.kind(source as usize, destination as usize, all, &mut between) {
                sample.add(Place::Pair, kind, || Differs::Pair(source, destination));
            }
            true
        };
        for (source, others) in outgoing.iter().enumerate() {
            if !others.iter().all(|other| look(source as u32, *other)) {
                return;
            }
        }
        for (destination, others) in incoming.iter().enumerate() {
            let destination = destination as u32;
            let told = |source: u32| {
                outgoing.get(source as usize).is_some_and(|told| told.binary_search(&destination).is_ok())
            };
            if !others.iter().all(|other| told(*other) || look(*other, destination)) {
                return;
            }
        }
    }

    /// What happened between two workloads; none where nothing did.
    fn kind(
        &self,
        source: usize,
        destination: usize,
        all: bool,
        [before, after]: &mut [Between<'_>; 2],
    ) -> Option<ChangeKind> {
        let ((_, s), (_, d)) = (self.names.get(source)?, self.names.get(destination)?);
        let ask = |between: &mut Between<'_>, s: Option<usize>, d: Option<usize>| match (s, d) {
            (Some(s), Some(d)) => between.ask(s, d),
            _ => ConnId::NONE,
        };
        let (b, a) = (ask(before, s.before, d.before), ask(after, s.after, d.after));
        kind_of(before.conns.get(b), after.conns.get(a), all)
    }

    /// Workloads that may send more to the outside.
    fn outward(&self) -> Vec<Outward> {
        let atoms = self.cut(Direction::Egress);
        let mut known: FxHashMap<RowsKey, Arc<[(IpRange, ConnSet)]>> = FxHashMap::default();
        let mut found = Vec::new();
        for (name, both) in self.names.iter().filter(|(_, both)| both.after.is_some()) {
            let opened = known.entry(self.key(both, Direction::Egress)).or_insert_with_key(|(b, a)| {
                let segments = self.segments(Direction::Egress, b, a, &atoms, false).into_iter();
                let more = segments.map(|(range, before, after)| (range, after.subtract(&before)));
                more.filter(|(_, more)| !more.is_empty()).collect()
            });
            if !opened.is_empty() {
                let (workload, opened) = (name.clone(), Arc::clone(opened));
                found.push(Outward { workload, both: *both, opened });
            }
        }
        found
    }

    /// Rows of a workload before and after.
    fn key(&self, both: &Both, direction: Direction) -> RowsKey {
        let rows_of = |connectivity: &Connectivity, index: Option<usize>| {
            index.map(|index| connectivity.rows_of(index, direction)).unwrap_or_default()
        };
        (rows_of(self.before, both.before), rows_of(self.after, both.after))
    }

    /// Workload columns at which two rows differ.
    fn changed_columns(&self, before: &[u32], after: &[u32]) -> Vec<u32> {
        if self.aligned && self.before.same_rows(before, self.after, after, &self.ids, false) {
            return Vec::new();
        }
        let (dense_before, dense_after) = (self.before.dense(before), self.after.dense(after));
        let signature =
            |dense: &[Vec<ConnId>], classes: &[u32], map: &dyn Fn(ConnId) -> Option<ConnId>| -> Signature {
                let mut signature: Signature = dense
                    .iter()
                    .flat_map(|row| {
                        classes.iter().map(|class| row.get(*class as usize).copied().unwrap_or_default())
                    })
                    .map(map)
                    .collect();
                signature.sort_unstable();
                signature.dedup();
                signature
            };
        let map_before = |id: ConnId| self.ids.get(id.0 as usize).copied().flatten();
        let mut changed = Vec::new();
        for (index, (_, both)) in self.names.iter().enumerate() {
            let same = match (both.before, both.after) {
                (Some(b), Some(a)) => {
                    let classes = (self.before.classes_at(b), self.after.classes_at(a));
                    // The common case, without lists.
                    if let (([row_b], [row_a]), ([b], [a])) =
                        ((dense_before.as_slice(), dense_after.as_slice()), classes)
                    {
                        let cell =
                            |row: &[ConnId], class: u32| row.get(class as usize).copied().unwrap_or_default();
                        if map_before(cell(row_b, *b)) != Some(cell(row_a, *a)) {
                            changed.push(index as u32);
                        }
                        continue;
                    }
                    signature(&dense_before, self.before.classes_at(b), &map_before)
                        == signature(&dense_after, self.after.classes_at(a), &Some)
                }
                _ => false,
            };
            if !same {
                changed.push(index as u32);
            }
        }
        changed
    }

    fn pair(&self, source: usize, destination: usize, all: bool) -> Option<DiffRow> {
        let ((source_name, s), (destination_name, d)) =
            (self.names.get(source)?, self.names.get(destination)?);
        let between = |connectivity: &Connectivity, s: Option<usize>, d: Option<usize>| match (s, d) {
            (Some(s), Some(d)) => connectivity.between(Peer::Workload(s), Peer::Workload(d)),
            _ => ConnSet::none(),
        };
        let (before, after) =
            (between(self.before, s.before, d.before), between(self.after, s.after, d.after));
        let ends = (DiffPeer::Workload(source_name.clone()), DiffPeer::Workload(destination_name.clone()));
        row(ends.0, ends.1, before, after, (is_single(s), is_single(d)), all)
    }

    /// The outside, cut at the boundaries of both sides, with the place of each part in either.
    fn cut(&self, direction: Direction) -> Vec<Cut> {
        let wide = self.before.is_wide() || self.after.is_wide();
        let old = self.before.columns_outside(direction, wide);
        let new = self.after.columns_outside(direction, wide);
        let blocks: Vec<IpRange> = old.iter().chain(new).copied().collect();
        let mut families: Vec<_> = blocks.iter().map(|range| range.family).collect();
        families.sort_unstable();
        families.dedup();
        let place = |ranges: &[IpRange], atom: &IpRange| {
            let after =
                ranges.partition_point(|range| (range.family, range.first) <= (atom.family, atom.first));
            after
                .checked_sub(1)
                .filter(|index| ranges.get(*index).is_some_and(|range| range.family == atom.family))
        };
        Atoms::cut(&families, &blocks)
            .ranges()
            .iter()
            .map(|atom| (*atom, place(old, atom), place(new, atom)))
            .collect()
    }

    /// Rows with the outside: by common atoms, touching ones of the same answer merged.
    fn outside(&self, direction: Direction, all: bool, sample: &mut Sample<Differs>) {
        let atoms = self.cut(direction);
        let mut known: FxHashMap<RowsKey, Vec<Segment>> = FxHashMap::default();
        for (index, (_, both)) in self.names.iter().enumerate() {
            let segments = known
                .entry(self.key(both, direction))
                .or_insert_with_key(|(b, a)| self.segments(direction, b, a, &atoms, all));
            for segment in segments {
                if let Some(kind) = kind_of(&segment.1, &segment.2, all) {
                    sample.add(Place::Outside, kind, || Differs::Outside(direction, index, segment.clone()));
                }
            }
        }
    }

    /// What some rows before and after allow with the outside, where it differs or everything is asked for.
    fn segments(
        &self,
        direction: Direction,
        before: &[u32],
        after: &[u32],
        atoms: &[Cut],
        all: bool,
    ) -> Vec<Segment> {
        if !all
            && self.aligned
            && self.before.columns_outside(direction, true) == self.after.columns_outside(direction, true)
            && self.before.same_rows(before, self.after, after, &self.ids, true)
        {
            return Vec::new();
        }
        let old = self.before.dense_outside(before, direction);
        let new = self.after.dense_outside(after, direction);
        let ids = |dense: &[Vec<ConnId>], at: Option<usize>| -> SmallVec<[ConnId; 2]> {
            let mut ids: SmallVec<[ConnId; 2]> = dense
                .iter()
                .filter_map(|row| row.get(at?).copied())
                .filter(|id| *id != ConnId::NONE)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let union = |connectivity: &Connectivity, ids: &[ConnId]| {
            ids.iter().fold(ConnSet::none(), |all, id| all.union(connectivity.matrix_conn(*id)))
        };
        let mut segments: Vec<Segment> = Vec::new();
        for (atom, b, a) in atoms {
            let (b, a) = (ids(&old, *b), ids(&new, *a));
            let mut mapped: SmallVec<[Option<ConnId>; 2]> =
                b.iter().map(|id| self.ids.get(id.0 as usize).copied().flatten()).collect();
            mapped.sort_unstable();
            if !all && mapped.iter().copied().eq(a.iter().copied().map(Some)) {
                continue;
            }
            let (b, a) = (union(self.before, &b), union(self.after, &a));
            match segments.last_mut() {
                Some((range, old, new))
                    if range.family == atom.family
                        && range.last + 1 == atom.first
                        && *old == b
                        && *new == a =>
                {
                    range.last = atom.last;
                }
                _ => segments.push((*atom, b, a)),
            }
        }
        segments
    }
}

/// Looks up the rules that decide the rows, up to [`MAX_EXPLAINED`] of them.
pub(crate) fn explain(
    rows: &mut [DiffRow],
    before: &Connectivity,
    after: &Connectivity,
    index: &FxHashMap<&str, Both>,
) {
    let differing = rows.iter_mut().filter(|row| row.kind != ChangeKind::Unchanged);
    for row in differing.take(MAX_EXPLAINED) {
        let peers = |side: fn(&Both) -> Option<usize>| {
            let peer = |peer: &DiffPeer| match peer {
                DiffPeer::Workload(name) => index.get(name.as_str()).and_then(side).map(Peer::Workload),
                DiffPeer::Range(range) => Some(Peer::Range(*range)),
                DiffPeer::IngressController => None,
            };
            Some((peer(&row.source)?, peer(&row.destination)?))
        };
        let decisions = |connectivity: &Connectivity, ends: Option<(Peer, Peer)>| {
            ends.map(|(source, destination)| connectivity.decisions(source, destination)).unwrap_or_default()
        };
        row.decided_before = decisions(before, peers(|both| both.before));
        row.decided_after = decisions(after, peers(|both| both.after));
    }
}

/// The order in which rows are told.
pub(crate) fn sort(rows: &mut [DiffRow]) {
    rows.sort_by(|a, b| (a.kind, &a.source, &a.destination).cmp(&(b.kind, &b.source, &b.destination)));
}

pub(crate) fn is_single(both: &Both) -> bool {
    both.before.is_none() || both.after.is_none()
}

/// What happened to a connection; none where nothing did, unless `all` asks for that.
pub(crate) fn kind_of(before: &ConnSet, after: &ConnSet, all: bool) -> Option<ChangeKind> {
    match (before.is_empty(), after.is_empty()) {
        (true, true) => None,
        (false, true) => Some(ChangeKind::Removed),
        (true, false) => Some(ChangeKind::Added),
        (false, false) if before == after => all.then_some(ChangeKind::Unchanged),
        (false, false) => Some(ChangeKind::Changed),
    }
}

pub(crate) fn row(
    source: DiffPeer,
    destination: DiffPeer,
    before: ConnSet,
    after: ConnSet,
    (source_differs, destination_differs): (bool, bool),
    all: bool,
) -> Option<DiffRow> {
    let kind = kind_of(&before, &after, all)?;
    Some(DiffRow {
        kind,
        source,
        destination,
        before,
        after,
        source_differs,
        destination_differs,
        decided_before: Vec::new(),
        decided_after: Vec::new(),
    })
}
