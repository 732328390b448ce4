//! Which cells a change changed: only rows that were marked are compared, and only where they were marked.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::narrow::{Narrow, Speaking};
use super::resident::{BOTH, Columns, Engine, side};
use super::{Connectivity, Direction, NO_PROFILE, Space};
use crate::bits::{Bits, Numbering};
use crate::conn::{ConnId, ConnTable};
use crate::ip::IpRange;

/// Whom a block is about.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Every workload of some classes, without those that are told one by one.
    Classes(Bits),
    Workload(u32),
}

/// Cells that changed in the same way: every subject with every other. What a change costs goes by its blocks; their
/// pairs are listed only where somebody asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) subject: Subject,
    /// Ingress: the subjects are destinations, and the others are sources.
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
    /// Those of them whose exposure may differ whoever calls them: they may exchange something else with the outside, an
    /// assumed peer or themselves.
    pub(super) judged: BTreeSet<u32>,
    /// Those of them that other policies select.
    pub(super) relinked: BTreeSet<u32>,
}

/// Columns of a row by what they were and are.
pub(super) type Parts = Vec<(ConnId, ConnId, Bits)>;

/// How a row changed.
#[derive(Default)]
pub(super) struct RowChange {
    /// Ranks among the columns that were compared.
    pub(super) classes: Parts,
    atoms: Parts,
}

/// How the rows of a direction changed.
#[derive(Default)]
pub(super) struct Changes {
    /// Columns of classes that were compared.
    pub(super) columns: Rc<Numbering>,
    /// Classes whose rows differ, ascending.
    pub(super) rows: Vec<(u32, Rc<RowChange>)>,
}

/// A row that is marked.
struct Marked {
    class: u32,
    /// Number of the marks that it has.
    marks: usize,
    /// What no rule speaks of may differ, too.
    all: bool,
    /// Its profiles before and after.
    profiles: [u32; 2],
}

/// Rows by the marks that they have.
fn by_marks(marks: &[(Columns, Bits)]) -> Vec<(SmallVec<[usize; 4]>, Bits)> {
    let mut groups: Vec<(SmallVec<[usize; 4]>, Bits)> = Vec::new();
    for (number, (_, classes)) in marks.iter().enumerate() {
        let mut rest = classes.clone();
        for at in 0..groups.len() {
            let Some((known, group)) = groups.get_mut(at).filter(|(_, group)| group.meets(&rest)) else {
                continue;
            };
            let both = group.and(&rest);
            rest.remove(&both);
            if both == *group {
                known.push(number);
                continue;
            }
            group.remove(&both);
            let mut marks = known.clone();
            marks.push(number);
            groups.push((marks, both));
        }
        if !rest.is_empty() {
            groups.push((std::iter::once(number).collect(), rest));
        }
    }
    groups
}

/// Compares two partitions of the same columns.
pub(super) fn compare_rows(before: &[(ConnId, Bits)], after: &[(ConnId, Bits)]) -> Parts {
    let mut parts = Vec::new();
    let mut gone: Vec<Bits> = after.iter().map(|(_, bits)| bits.clone()).collect();
    for (b, columns) in before {
        let mut rest = columns.clone();
        for ((a, others), gone) in after.iter().zip(&mut gone) {
            if columns.meets(others) {
                let common = columns.and(others);
                rest.remove(&common);
                gone.remove(&common);
                if a != b {
                    parts.push((*b, *a, common));
                }
            }
        }
        if !rest.is_empty() {
            parts.push((*b, ConnId::NONE, rest));
        }
    }
    for ((a, _), rest) in after.iter().zip(gone) {
        if !rest.is_empty() {
            parts.push((ConnId::NONE, *a, rest));
        }
    }
    parts
}

/// The classes of a workload in a view.
pub(super) fn classes_of(view: &Connectivity, workload: u32) -> &[u32] {
    view.endpoints.get(workload as usize).map(|endpoint| endpoint.classes.as_slice()).unwrap_or_default()
}

/// A comparison in progress.
pub(super) struct Comparison<'a> {
    pub(super) before: &'a Connectivity,
    pub(super) after: &'a Connectivity,
    pub(super) conns: &'a mut ConnTable,
    /// Columns that are there on both sides.
    live: Bits,
    /// Workloads that came, went, or changed class.
    pub(super) moved: &'a BTreeSet<u32>,
    /// Classes with a workload of several classes.
    pub(super) mixed: Bits,
    /// Pairs with a workload of several classes, to be looked at by workload.
    pub(super) asked: BTreeSet<(u32, u32)>,
    pub(super) speaking: Speaking<'a>,
    pub(super) cells: Cells,
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
            live: before.live.and(&after.live),
            moved: &self.dirty.moved,
            mixed,
            asked: BTreeSet::new(),
            speaking: Speaking::of(self),
            cells: Cells { apart, ..Cells::default() },
        };
        // Columns that judging asks about by themselves.
        let mut special = Bits::default();
        for peer in self.assumed.clone() {
            classes_of(&after, peer).iter().for_each(|class| special.set(*class as usize));
        }
        let (mut governed, mut judged, mut relinked): (Bits, Bits, Bits) = Default::default();
        let note = |of: &mut Bits, members: &[u32]| members.iter().for_each(|id| of.set(*id as usize));
        let rows = BOTH.map(|direction| {
            let marks = self.marked(direction);
            let groups = by_marks(marks);
            let ruled = self.dirty.ruled.get(side(direction));
            let mut marked: Vec<Marked> = Vec::new();
            for (number, (_, classes)) in groups.iter().enumerate() {
                for class in classes.iter().map(|class| class as u32) {
                    if self.dirty.fresh.has(class as usize) || self.classes.key(class).is_none() {
                        note(&mut governed, after.members(class as usize));
                        note(&mut judged, after.members(class as usize));
                    } else {
                        marked.push(comparison.marked(class, direction, number));
                    }
                }
            }
            marked.sort_unstable_by_key(|marked| marked.class);
            let mut memo = Memo::new(marks, &groups, &marked, &comparison.live);
            let special = memo.columns.narrow(&special);
            let mut changed = Vec::new();
            for marked in &marked {
                let class = marked.class as usize;
                let members = after.members(class);
                let change = comparison.row(marked, direction, &mut memo);
                let differs = !change.classes.is_empty() || !change.atoms.is_empty();
                if differs || ruled.is_some_and(|ruled| ruled.has(class)) {
                    note(&mut governed, members);
                }
                let own = memo.columns.rank(class);
                let itself = |bits: &Bits| bits.meets(&special) || own.is_some_and(|own| bits.has(own));
                if self.dirty.relinked.contains(&marked.class) {
                    note(&mut relinked, members);
                }
                if comparison.mixed.has(class)
                    || !change.atoms.is_empty()
                    || change.classes.iter().any(|(.., bits)| itself(bits))
                {
                    note(&mut judged, members);
                }
                if differs {
                    changed.push((marked.class, change));
                }
            }
            Changes { columns: memo.columns, rows: changed }
        });
        comparison.crossings(&rows);
        comparison.moved(&self.dirty.moved, &self.multiple, &self.real);
        comparison.asked();
        comparison.outside(&rows, &self.dirty.moved, &self.multiple);
        let cells = comparison.cells;
        self.conns = conns;
        let [governed, judged, relinked] =
            [governed, judged, relinked].map(|workloads| workloads.iter().map(|id| id as u32).collect());
        Compared { cells, governed, judged, relinked }
    }
}

/// Rows at some columns, before and after.
struct Compare {
    classes: [Narrow; 2],
    atoms: [Narrow; 2],
    /// The columns of the outside.
    told: Rc<Numbering>,
}

/// What was compared already.
struct Memo<'a> {
    marks: &'a [(Columns, Bits)],
    groups: &'a [(SmallVec<[usize; 4]>, Bits)],
    /// Every column of classes that is compared.
    columns: Rc<Numbering>,
    /// By number of the marks, where the default is the same and where it may differ.
    compares: Vec<[Option<Compare>; 2]>,
    /// By number of the marks and whether the default may differ, and numbers of the rows there.
    changes: FxHashMap<(usize, bool, [u32; 4]), Rc<RowChange>>,
}

impl<'a> Memo<'a> {
    fn new(
        marks: &'a [(Columns, Bits)],
        groups: &'a [(SmallVec<[usize; 4]>, Bits)],
        marked: &[Marked],
        live: &Bits,
    ) -> Self {
        let mut columns = Bits::default();
        if marked.iter().any(|marked| marked.all) {
            columns.add(live);
        } else {
            marks.iter().for_each(|(mark, _)| columns.add(&mark.classes));
            columns.keep(live);
        }
        Self {
            marks,
            groups,
            columns: Rc::new(Numbering::new(columns)),
            compares: groups.iter().map(|_| [None, None]).collect(),
            changes: FxHashMap::default(),
        }
    }

    /// The columns of some marks.
    fn marked(&self, marks: usize, all: bool, live: &Bits, of: fn(&Columns) -> &Bits) -> Bits {
        let mut columns = Bits::default();
        if all {
            columns.add(live);
        } else {
            let marks = self.groups.get(marks).into_iter().flat_map(|(marks, _)| marks);
            marks.filter_map(|mark| self.marks.get(*mark)).for_each(|(mark, _)| columns.add(of(mark)));
            columns.keep(live);
        }
        columns
    }
}

impl Comparison<'_> {
    fn marked(&self, class: u32, direction: Direction, marks: usize) -> Marked {
        let found = |view: &Connectivity| {
            let id = view.classes.get(class as usize)?.profile(direction);
            Some((id, view.profiles.get(id as usize)?.as_ref()?.isolated))
        };
        let none = (NO_PROFILE, false);
        let (old, new) = match (found(self.before), found(self.after)) {
            (Some(old), Some(new)) => (old, new),
            _ => (none, none),
        };
        // What no rule speaks of changes only with the default.
        Marked { class, marks, all: old.1 != new.1, profiles: [old.0, new.0] }
    }

    fn row(&mut self, marked: &Marked, direction: Direction, memo: &mut Memo<'_>) -> Rc<RowChange> {
        let (marks, all, [old, new]) = (marked.marks, marked.all, marked.profiles);
        let atoms = self.after.atoms(direction).live();
        if memo.compares.get(marks).is_some_and(|[same, other]| if all { other } else { same }.is_none()) {
            let classes = memo.marked(marks, all, &self.live, |columns| &columns.classes);
            let atoms = Rc::new(Numbering::new(memo.marked(marks, all, atoms, |columns| &columns.atoms)));
            let narrow = |_| Narrow::within(Space::Classes, Rc::clone(&memo.columns), classes.clone());
            let outside = |_| Narrow::new(Space::Outside, Rc::clone(&atoms));
            let made =
                Compare { classes: [0, 1].map(narrow), atoms: [0, 1].map(outside), told: atoms.clone() };
            if let Some(slots) = memo.compares.get_mut(marks) {
                let [same, other] = slots;
                *(if all { other } else { same }) = Some(made);
            }
        }
        let slot = memo.compares.get_mut(marks).map(|[same, other]| if all { other } else { same });
        let Some(Some(compare)) = slot else { return Rc::default() };
        let mut numbers = |[before, after]: &mut [Narrow; 2]| {
            let number = before.number(self.before, old, self.conns);
            let twin = Some((&*before, self.before));
            [number, after.number_beside(self.after, new, twin, self.conns)]
        };
        let (classes, atoms) = (numbers(&mut compare.classes), numbers(&mut compare.atoms));
        let parts = |[before, after]: &[Narrow; 2], [old, new]: [u32; 2]| {
            compare_rows(before.row(old), after.row(new))
        };
        let key = (marks, all, [classes[0], classes[1], atoms[0], atoms[1]]);
        let change = memo.changes.entry(key).or_insert_with(|| {
            let mut outside = parts(&compare.atoms, atoms);
            outside.iter_mut().for_each(|(.., bits)| *bits = compare.told.widen(bits));
            Rc::new(RowChange { classes: parts(&compare.classes, classes), atoms: outside })
        });
        Rc::clone(change)
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

    fn outside(&mut self, changes: &[Changes; 2], moved: &BTreeSet<u32>, multiple: &BTreeSet<u32>) {
        for (direction, Changes { rows, .. }) in BOTH.into_iter().zip(changes) {
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
