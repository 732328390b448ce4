//! Which cells a change changed: only rows that were marked are compared, and only where they were marked.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::resident::{BOTH, Columns, Engine, side};
use super::{Connectivity, Direction, Space};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnTable};
use crate::ip::IpRange;

/// Whom a block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Every workload of a class, without those that are told one by one.
    Class(u32),
    Workload(u32),
}

/// Cells of one row that changed in the same way.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) subject: Subject,
    /// Ingress: the subject is the destination, and the others are sources.
    pub(crate) direction: Direction,
    pub(crate) before: ConnId,
    pub(crate) after: ConnId,
    /// Classes, without workloads that are told one by one.
    pub(crate) others: Bits,
}

/// One pair of workloads that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PairChange {
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) before: ConnId,
    pub(crate) after: ConnId,
}

/// Ranges of the outside, and the sets before and after.
pub(crate) type Segments = Arc<[(IpRange, ConnId, ConnId)]>;

/// What some workloads may exchange with the outside, where it changed.
#[derive(Debug, Clone)]
pub(crate) struct OutsideBlock {
    pub(crate) workloads: Vec<u32>,
    pub(crate) direction: Direction,
    pub(crate) segments: Segments,
}

/// Every cell that a change changed, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells {
    pub(crate) blocks: Vec<Block>,
    pub(crate) pairs: Vec<PairChange>,
    pub(crate) outside: Vec<OutsideBlock>,
    /// Workloads that are told one by one: they came, went, changed class, or have several.
    pub(crate) apart: BTreeSet<u32>,
}

/// What a comparison gives.
pub(super) struct Compared {
    pub(super) cells: Cells,
    /// Workloads whose rules or what they allow may differ.
    pub(super) governed: BTreeSet<u32>,
    /// Those of them whose exposure may differ whoever calls them: other policies select them, or they may exchange
    /// something else with the outside, an assumed peer or themselves.
    pub(super) judged: BTreeSet<u32>,
}

/// Columns of a row by what they were and are.
type Parts = Vec<(ConnId, ConnId, Bits)>;

/// How a row changed.
#[derive(Default)]
struct RowChange {
    classes: Parts,
    atoms: Parts,
}

/// One column of every row of a direction, evaluated when asked for; rows are known by profile.
#[derive(Default)]
struct Column {
    stamps: Vec<u32>,
    conns: Vec<ConnId>,
    stamp: u32,
}

impl Column {
    /// Turns to another column.
    fn turn(&mut self) {
        self.stamp += 1;
    }

    fn at(&mut self, view: &Connectivity, profile: u32, column: usize, conns: &mut ConnTable) -> ConnId {
        self.known(view, profile, || match view.profiles.get(profile as usize) {
            Some(Some(profile)) => view.cell(profile, Space::Classes, column, conns),
            _ => ConnId::NONE,
        })
    }

    fn known(&mut self, view: &Connectivity, profile: u32, find: impl FnOnce() -> ConnId) -> ConnId {
        let index = profile as usize;
        if self.stamps.len() <= index {
            let to = view.profiles.len().max(index + 1);
            self.stamps.resize(to, 0);
            self.conns.resize(to, ConnId::NONE);
        }
        if self.stamps.get(index) == Some(&self.stamp) {
            return self.conns.get(index).copied().unwrap_or_default();
        }
        let found = find();
        if let (Some(stamp), Some(conn)) = (self.stamps.get_mut(index), self.conns.get_mut(index)) {
            (*stamp, *conn) = (self.stamp, found);
        }
        found
    }
}

/// What the other side's rows have at the classes whose own rows changed, evaluated when asked for; by profile.
struct Across {
    columns: Bits,
    rows: Vec<Option<Vec<(ConnId, Bits)>>>,
}

impl Across {
    fn at(&mut self, view: &Connectivity, profile: u32, column: usize, conns: &mut ConnTable) -> ConnId {
        let index = profile as usize;
        if self.rows.len() <= index {
            self.rows.resize(view.profiles.len().max(index + 1), None);
        }
        let Some(slot) = self.rows.get_mut(index) else { return ConnId::NONE };
        let row = slot.get_or_insert_with(|| match view.profiles.get(index) {
            Some(Some(profile)) => view.evaluate(profile, Space::Classes, &self.columns, conns),
            _ => Vec::new(),
        });
        row.iter().find(|(_, bits)| bits.has(column)).map_or(ConnId::NONE, |(conn, _)| *conn)
    }
}

fn put(parts: &mut Parts, before: ConnId, after: ConnId, column: usize) {
    match parts.iter_mut().find(|(b, a, _)| (*b, *a) == (before, after)) {
        Some((.., bits)) => bits.set(column),
        None => {
            let mut bits = Bits::default();
            bits.set(column);
            parts.push((before, after, bits));
        }
    }
}

/// Compares two partitions of the same columns.
fn compare_rows(before: Vec<(ConnId, Bits)>, after: Vec<(ConnId, Bits)>, columns: &Bits) -> Parts {
    let whole = |mut row: Vec<(ConnId, Bits)>| {
        let mut rest = columns.clone();
        row.iter().for_each(|(_, bits)| rest.remove(bits));
        if !rest.is_empty() {
            row.push((ConnId::NONE, rest));
        }
        row
    };
    let (before, after) = (whole(before), whole(after));
    let mut parts = Vec::new();
    for (b, columns) in &before {
        for (a, others) in after.iter().filter(|(a, _)| a != b) {
            if columns.meets(others) {
                parts.push((*b, *a, columns.and(others)));
            }
        }
    }
    parts
}

/// The classes of a workload in a view.
fn classes_of(view: &Connectivity, workload: u32) -> &[u32] {
    view.endpoints.get(workload as usize).map(|endpoint| endpoint.classes.as_slice()).unwrap_or_default()
}

/// A comparison in progress.
struct Comparison<'a> {
    before: &'a Connectivity,
    after: &'a Connectivity,
    conns: &'a mut ConnTable,
    column: Column,
    /// Workloads that came, went, or changed class.
    moved: &'a BTreeSet<u32>,
    /// Classes with a workload of several classes.
    mixed: Bits,
    /// Pairs with a workload of several classes, to be looked at by workload.
    asked: BTreeSet<(u32, u32)>,
    cells: Cells,
}

impl Engine {
    /// Compares the rows that are marked, and the workloads that moved.
    pub(super) fn compare(&mut self, before: &Connectivity) -> Compared {
        let after = self.connectivity();
        let mut conns = std::mem::take(&mut self.conns);
        let mut apart: BTreeSet<u32> = self.multiple.clone();
        apart.extend(&self.dirty.moved);
        let mut mixed = Bits::default();
        for id in &self.multiple {
            classes_of(&after, *id).iter().for_each(|class| mixed.set(*class as usize));
        }
        let mut comparison = Comparison {
            before,
            after: &after,
            conns: &mut conns,
            column: Column::default(),
            moved: &self.dirty.moved,
            mixed,
            asked: BTreeSet::new(),
            cells: Cells { apart, ..Cells::default() },
        };
        // Columns that judging asks about by themselves.
        let mut special = Bits::default();
        for peer in self.assumed.clone() {
            classes_of(&after, peer).iter().for_each(|class| special.set(*class as usize));
        }
        let (mut governed, mut judged): (Vec<u32>, Vec<u32>) = Default::default();
        let rows = BOTH.map(|direction| {
            let mut memo = FxHashMap::default();
            let mut changed: BTreeMap<u32, Rc<RowChange>> = BTreeMap::new();
            let ruled = self.dirty.ruled.get(side(direction));
            for (class, columns) in self.marked(direction) {
                let members = after.members(class as usize);
                if self.dirty.fresh.contains(&class) || self.classes.key(class).is_none() {
                    governed.extend(members);
                    judged.extend(members);
                    continue;
                }
                let change = comparison.row(class, direction, columns, &mut memo);
                let differs = !change.classes.is_empty() || !change.atoms.is_empty();
                if differs || ruled.is_some_and(|ruled| ruled.contains(&class)) {
                    governed.extend(members);
                }
                let itself = |bits: &Bits| bits.meets(&special) || bits.has(class as usize);
                if self.dirty.relinked.contains(&class)
                    || comparison.mixed.has(class as usize)
                    || !change.atoms.is_empty()
                    || change.classes.iter().any(|(.., bits)| itself(bits))
                {
                    judged.extend(members);
                }
                if differs {
                    changed.insert(class, change);
                }
            }
            changed
        });
        comparison.crossings(&rows);
        comparison.moved(&self.dirty.moved, &self.multiple);
        comparison.asked();
        comparison.outside(&rows, &self.dirty.moved, &self.multiple);
        let cells = comparison.cells;
        self.conns = conns;
        Compared { cells, governed: governed.into_iter().collect(), judged: judged.into_iter().collect() }
    }
}

/// Rows compared already, by profiles and marks.
type Memo = FxHashMap<(u32, u32, Vec<*const Columns>), Rc<RowChange>>;

impl Comparison<'_> {
    fn row(
        &mut self,
        class: u32,
        direction: Direction,
        marks: &[Arc<Columns>],
        memo: &mut Memo,
    ) -> Rc<RowChange> {
        let profile = |view: &Connectivity| {
            view.classes.get(class as usize).map_or(super::NO_PROFILE, |class| class.profile(direction))
        };
        let ids = (profile(self.before), profile(self.after));
        let key = (ids.0, ids.1, marks.iter().map(Arc::as_ptr).collect());
        if let Some(known) = memo.get(&key) {
            return Rc::clone(known);
        }
        let found =
            |view: &Connectivity, id: u32| view.profiles.get(id as usize).and_then(Option::as_ref).cloned();
        let (Some(old), Some(new)) = (found(self.before, ids.0), found(self.after, ids.1)) else {
            return Rc::default();
        };
        // What no rule speaks of changes only with the default.
        let all = old.isolated != new.isolated;
        let live = self.before.live.and(&self.after.live);
        let atoms = self.after.atoms(direction).live();
        let narrowed = |live: &Bits, of: fn(&Columns) -> &Bits| {
            let mut columns = Bits::default();
            if all {
                return live.clone();
            }
            marks.iter().for_each(|mark| columns.add(of(mark)));
            columns.keep(live);
            columns
        };
        let classes = narrowed(&live, |columns| &columns.classes);
        let atoms = narrowed(atoms, |columns| &columns.atoms);
        let mut compare = |space: Space, columns: &Bits| {
            compare_rows(
                self.before.evaluate(&old, space, columns, self.conns),
                self.after.evaluate(&new, space, columns, self.conns),
                columns,
            )
        };
        let change = Rc::new(RowChange {
            classes: compare(Space::Classes, &classes),
            atoms: compare(Space::Outside, &atoms),
        });
        memo.insert(key, Rc::clone(&change));
        change
    }

    /// A changed cell of one side, seen through the other side.
    fn crossings(&mut self, [ingress, egress]: &[BTreeMap<u32, Rc<RowChange>>; 2]) {
        for (direction, rows) in [(Direction::Ingress, ingress), (Direction::Egress, egress)] {
            let opposite =
                if direction == Direction::Ingress { Direction::Egress } else { Direction::Ingress };
            if rows.is_empty() {
                continue;
            }
            let mut facing: Vec<Option<&RowChange>> = vec![None; self.after.classes.len()];
            for (class, change) in if direction == Direction::Ingress { egress } else { ingress } {
                if let Some(slot) = facing.get_mut(*class as usize) {
                    *slot = Some(change.as_ref());
                }
            }
            let mut across = Across { columns: Bits::default(), rows: Vec::new() };
            rows.keys().for_each(|class| across.columns.set(*class as usize));
            for (&subject, change) in rows {
                self.column.turn();
                let mut parts: Parts = Vec::new();
                for (b, a, columns) in &change.classes {
                    for other in columns.iter() {
                        let changed = facing.get(other).copied().flatten().and_then(|change| {
                            change.classes.iter().find(|(.., bits)| bits.has(subject as usize))
                        });
                        let (before, after) = match changed {
                            // Where both sides changed, the destination's row tells.
                            Some(_) if direction == Direction::Egress => continue,
                            Some((before, after, _)) => (*before, *after),
                            None => {
                                let Some(class) = self.before.classes.get(other) else { continue };
                                let profile = class.profile(opposite);
                                let (view, column) = (self.before, subject as usize);
                                let same = self
                                    .column
                                    .known(view, profile, || across.at(view, profile, column, self.conns));
                                (same, same)
                            }
                        };
                        let before = self.conns.intersect(*b, before);
                        let after = self.conns.intersect(*a, after);
                        if before != after {
                            put(&mut parts, before, after, other);
                        }
                    }
                }
                self.ask(subject, direction, &parts);
                let subject = Subject::Class(subject);
                self.cells.blocks.extend(parts.into_iter().map(|(before, after, others)| Block {
                    subject,
                    direction,
                    before,
                    after,
                    others,
                }));
            }
        }
    }

    /// Notes the pairs of changed cells that have a workload of several classes.
    fn ask(&mut self, subject: u32, direction: Direction, parts: &Parts) {
        let whole = self.mixed.has(subject as usize);
        for (.., others) in parts {
            let others: Vec<usize> = if whole {
                others.iter().collect()
            } else if others.meets(&self.mixed) {
                others.and(&self.mixed).iter().collect()
            } else {
                continue;
            };
            let members = |class: usize| self.after.classes.get(class).map(|class| class.members.as_slice());
            for other in others {
                for &one in members(subject as usize).unwrap_or_default() {
                    for &two in members(other).unwrap_or_default() {
                        // Pairs of what moved are told elsewhere.
                        let apart = |id: &u32| self.cells.apart.contains(id);
                        let moved = self.moved.contains(&one) || self.moved.contains(&two);
                        if one != two && !moved && (apart(&one) || apart(&two)) {
                            let pair = if direction == Direction::Ingress { (two, one) } else { (one, two) };
                            self.asked.insert(pair);
                        }
                    }
                }
            }
        }
    }

    /// Workloads that came, went or changed class, with every other one.
    fn moved(&mut self, moved: &BTreeSet<u32>, multiple: &BTreeSet<u32>) {
        let plain: Vec<(usize, u32, u32, u32, u32)> = if moved.is_empty() {
            Vec::new()
        } else {
            self.after
                .classes
                .iter()
                .enumerate()
                .filter(|(_, class)| class.members.iter().any(|member| !self.cells.apart.contains(member)))
                .filter_map(|(index, class)| {
                    let old = self.before.classes.get(index)?;
                    Some((index, old.ingress, class.ingress, old.egress, class.egress))
                })
                .collect()
        };
        for &workload in moved {
            for &other in moved.iter().chain(multiple).filter(|other| **other != workload) {
                self.asked.extend([(workload, other), (other, workload)]);
            }
            let (before, after) = (self.before, self.after);
            let mut results: Vec<[(ConnId, ConnId); 2]> = vec![Default::default(); plain.len()];
            for (old, view) in [(true, before), (false, after)] {
                for &class in classes_of(view, workload) {
                    for (at, direction) in BOTH.into_iter().enumerate() {
                        let Some(profile) = view.profile_of(class, direction).cloned() else { continue };
                        let mut dense = vec![ConnId::NONE; view.classes.len()];
                        for (conn, columns) in view.evaluate(&profile, Space::Classes, &view.live, self.conns)
                        {
                            for column in columns.iter() {
                                if let Some(cell) = dense.get_mut(column) {
                                    *cell = conn;
                                }
                            }
                        }
                        let column = &mut self.column;
                        column.turn();
                        for ((index, old_in, new_in, old_out, new_out), result) in
                            plain.iter().zip(&mut results)
                        {
                            let own = dense.get(*index).copied().unwrap_or_default();
                            if own == ConnId::NONE {
                                continue;
                            }
                            let id = match (direction, old) {
                                (Direction::Ingress, true) => *old_out,
                                (Direction::Ingress, false) => *new_out,
                                (Direction::Egress, true) => *old_in,
                                (Direction::Egress, false) => *new_in,
                            };
                            let theirs = column.at(view, id, class as usize, self.conns);
                            let open = self.conns.intersect(own, theirs);
                            let Some(slot) = result.get_mut(at) else { continue };
                            let slot = if old { &mut slot.0 } else { &mut slot.1 };
                            *slot = self.conns.union(*slot, open);
                        }
                    }
                }
            }
            let mut parts: [Parts; 2] = Default::default();
            for ((index, ..), result) in plain.iter().zip(&results) {
                for ((b, a), parts) in result.iter().zip(&mut parts) {
                    if b != a {
                        put(parts, *b, *a, *index);
                    }
                }
            }
            for (direction, parts) in BOTH.into_iter().zip(parts) {
                let subject = Subject::Workload(workload);
                let block = |(before, after, others)| Block { subject, direction, before, after, others };
                self.cells.blocks.extend(parts.into_iter().map(block));
            }
        }
    }

    fn asked(&mut self) {
        for (source, destination) in std::mem::take(&mut self.asked) {
            let before = self.before.between_ids(source, destination, self.conns);
            let after = self.after.between_ids(source, destination, self.conns);
            if before != after {
                self.cells.pairs.push(PairChange { source, destination, before, after });
            }
        }
    }

    fn outside(
        &mut self,
        rows: &[BTreeMap<u32, Rc<RowChange>>; 2],
        moved: &BTreeSet<u32>,
        multiple: &BTreeSet<u32>,
    ) {
        for (direction, rows) in BOTH.into_iter().zip(rows) {
            let table = self.after.atoms(direction);
            // Columns of a family that is not told are past the ranges.
            let mut known: FxHashMap<*const RowChange, Segments> = FxHashMap::default();
            let mut single: BTreeSet<u32> = moved.clone();
            for (class, change) in rows.iter().filter(|(_, change)| !change.atoms.is_empty()) {
                let segments = known.entry(Rc::as_ptr(change)).or_insert_with(|| {
                    let cell = |slot: u32| {
                        let found = change.atoms.iter().find(|(.., bits)| bits.has(slot as usize));
                        found.map(|(before, after, _)| (*before, *after))
                    };
                    merge(table.ranges().iter().zip(table.slots()).map(|(range, slot)| (*range, cell(*slot))))
                });
                let members = self.after.classes.get(*class as usize).map(|class| class.members.as_slice());
                let (apart, plain): (Vec<u32>, Vec<u32>) =
                    members.unwrap_or_default().iter().partition(|member| self.cells.apart.contains(member));
                single.extend(apart.iter().filter(|id| multiple.contains(id)));
                if !plain.is_empty() && !segments.is_empty() {
                    let segments = Arc::clone(segments);
                    self.cells.outside.push(OutsideBlock { workloads: plain, direction, segments });
                }
            }
            for workload in single {
                let mut dense = [self.before, self.after].map(|view| {
                    let mut dense: FxHashMap<u32, ConnId> = FxHashMap::default();
                    for &class in classes_of(view, workload) {
                        let Some(profile) = view.profile_of(class, direction).cloned() else { continue };
                        let row = view.evaluate(&profile, Space::Outside, table.live(), self.conns);
                        for (conn, columns) in row {
                            for slot in columns.iter() {
                                let cell = dense.entry(slot as u32).or_default();
                                *cell = self.conns.union(*cell, conn);
                            }
                        }
                    }
                    dense
                });
                let [before, after] = &mut dense;
                let cell = |slot: &u32| {
                    let at = |dense: &FxHashMap<u32, ConnId>| dense.get(slot).copied().unwrap_or_default();
                    let (before, after) = (at(before), at(after));
                    (before != after).then_some((before, after))
                };
                let ranges = table.ranges().iter().zip(table.slots());
                let segments = merge(ranges.map(|(range, slot)| (*range, cell(slot))));
                if !segments.is_empty() {
                    self.cells.outside.push(OutsideBlock { workloads: vec![workload], direction, segments });
                }
            }
        }
    }
}

/// Touching ranges that changed in the same way are one.
fn merge(cells: impl Iterator<Item = (IpRange, Option<(ConnId, ConnId)>)>) -> Segments {
    let mut segments: Vec<(IpRange, ConnId, ConnId)> = Vec::new();
    for (range, cell) in cells {
        let Some((before, after)) = cell else { continue };
        match segments.last_mut() {
            Some((last, b, a))
                if last.family == range.family
                    && last.last.checked_add(1) == Some(range.first)
                    && (*b, *a) == (before, after) =>
            {
                last.last = range.last;
            }
            _ => segments.push((range, before, after)),
        }
    }
    segments.into()
}
