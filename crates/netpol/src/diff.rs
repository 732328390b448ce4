//! The difference of two states of a cluster, as connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::conn::{ConnId, ConnSet};
use crate::engine::{Connectivity, Decision, Direction, Options, Peer};
use crate::entries::ingress_rows;
use crate::format::INGRESS_CONTROLLER;
use crate::ip::{Atoms, IpRange};
use crate::state::ClusterState;

/// Most rows of a difference for which the deciding rules are looked up.
pub const MAX_EXPLAINED: usize = 1_000;

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

/// As [`diff_snapshots`] without equal rows, but looks at no more than `most` pairs of workloads, and as many rows with
/// the outside: the difference to a state that has nothing in common has workloads squared. True when that was all.
pub fn diff_snapshots_at_most(before: &Snapshot, after: &Snapshot, most: usize) -> (ConnDiff, bool) {
    let differ = Differ::new(&before.connectivity, &after.connectivity);
    differ.run(&before.ingress, &after.ingress, false, most)
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
    ) -> (ConnDiff, bool) {
        let mut pairs: BTreeSet<(u32, u32)> = BTreeSet::new();
        let mut complete = true;
        for direction in [Direction::Egress, Direction::Ingress] {
            let mut known: FxHashMap<(Vec<u32>, Vec<u32>), Vec<u32>> = FxHashMap::default();
            for (index, (_, both)) in self.names.iter().enumerate() {
                if pairs.len() >= most {
                    complete = false;
                    break;
                }
                let changed: &[u32] = match (both.before, both.after, all) {
                    (Some(before), Some(after), false) => {
                        let key =
                            (self.before.rows_of(before, direction), self.after.rows_of(after, direction));
                        known.entry(key).or_insert_with_key(|(b, a)| self.changed_columns(b, a))
                    }
                    _ => &(0..self.names.len() as u32).collect::<Vec<_>>(),
                };
                for &other in changed {
                    let index = index as u32;
                    pairs.insert(if direction == Direction::Egress {
                        (index, other)
                    } else {
                        (other, index)
                    });
                }
            }
        }
        let mut rows = Vec::new();
        for (source, destination) in pairs {
            if source != destination {
                rows.extend(self.pair(source as usize, destination as usize, all));
            }
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            complete &= self.outside(direction, all, rows.len().saturating_add(most), &mut rows);
        }
        for (name, both) in &self.names {
            let of = |index: Option<usize>, rows: &BTreeMap<usize, ConnSet>| {
                index.and_then(|index| rows.get(&index)).cloned().unwrap_or_default()
            };
            let (b, a) = (of(both.before, ingress_before), of(both.after, ingress_after));
            rows.extend(row(
                DiffPeer::IngressController,
                DiffPeer::Workload(name.clone()),
                b,
                a,
                (false, is_single(both)),
                all,
            ));
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
        (diff, complete)
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

    /// Rows with the outside: by common atoms, touching ones of the same answer merged.
    /// Stops at `most` rows in all; gives true when there were no more.
    fn outside(&self, direction: Direction, all: bool, most: usize, rows: &mut Vec<DiffRow>) -> bool {
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
        let atoms: Vec<(IpRange, Option<usize>, Option<usize>)> = Atoms::cut(&families, &blocks)
            .ranges()
            .iter()
            .map(|atom| (*atom, place(old, atom), place(new, atom)))
            .collect();
        let mut known: FxHashMap<(Vec<u32>, Vec<u32>), Vec<Segment>> = FxHashMap::default();
        for (name, both) in &self.names {
            if rows.len() >= most {
                return false;
            }
            let rows_of = |connectivity: &Connectivity, index: Option<usize>| {
                index.map(|index| connectivity.rows_of(index, direction)).unwrap_or_default()
            };
            let key = (rows_of(self.before, both.before), rows_of(self.after, both.after));
            let segments =
                known.entry(key).or_insert_with_key(|(b, a)| self.segments(direction, b, a, &atoms, all));
            for (range, before, after) in segments {
                let (workload, range) = (DiffPeer::Workload(name.clone()), DiffPeer::Range(*range));
                let (before, after, single) = (before.clone(), after.clone(), is_single(both));
                rows.extend(match direction {
                    Direction::Ingress => row(range, workload, before, after, (false, single), all),
                    Direction::Egress => row(workload, range, before, after, (single, false), all),
                });
            }
        }
        true
    }

    /// What some rows before and after allow with the outside, where it differs or everything is asked for.
    fn segments(
        &self,
        direction: Direction,
        before: &[u32],
        after: &[u32],
        atoms: &[(IpRange, Option<usize>, Option<usize>)],
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

pub(crate) fn row(
    source: DiffPeer,
    destination: DiffPeer,
    before: ConnSet,
    after: ConnSet,
    (source_differs, destination_differs): (bool, bool),
    all: bool,
) -> Option<DiffRow> {
    let kind = match (before.is_empty(), after.is_empty()) {
        (true, true) => return None,
        (false, true) => ChangeKind::Removed,
        (true, false) => ChangeKind::Added,
        (false, false) if before == after => ChangeKind::Unchanged,
        (false, false) => ChangeKind::Changed,
    };
    (all || kind != ChangeKind::Unchanged).then_some(DiffRow {
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
