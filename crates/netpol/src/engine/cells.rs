//! Which cells a change changed: only rows that were marked are compared, and only where they were marked.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::narrow::{Narrow, Speaking};
use super::resident::{BOTH, Columns, Engine, side};
use super::{Connectivity, Direction, Space};
use crate::bits::Bits;
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
    /// Those of them whose exposure may differ whoever calls them: other policies select them, or they may exchange
    /// something else with the outside, an assumed peer or themselves.
    pub(super) judged: BTreeSet<u32>,
}

/// Columns of a row by what they were and are.
pub(super) type Parts = Vec<(ConnId, ConnId, Bits)>;

/// How a row changed.
#[derive(Default)]
pub(super) struct RowChange {
    pub(super) classes: Parts,
    atoms: Parts,
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
        let (mut governed, mut judged): (Vec<u32>, Vec<u32>) = Default::default();
        let rows = BOTH.map(|direction| {
            let mut memo = Memo::default();
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
        comparison.moved(&self.dirty.moved, &self.multiple, &self.real);
        comparison.asked();
        comparison.outside(&rows, &self.dirty.moved, &self.multiple);
        let cells = comparison.cells;
        self.conns = conns;
        Compared { cells, governed: governed.into_iter().collect(), judged: judged.into_iter().collect() }
    }
}

/// Rows at some columns, before and after.
struct Compare {
    classes: [Narrow; 2],
    atoms: [Narrow; 2],
}

/// What was compared already.
#[derive(Default)]
struct Memo {
    /// By number of what is compared, and numbers of the rows there.
    changes: FxHashMap<(usize, [u32; 4]), Rc<RowChange>>,
    /// By marks and whether the default may differ, too.
    marks: FxHashMap<(Vec<*const Columns>, bool), usize>,
    compares: Vec<Compare>,
}

impl Comparison<'_> {
    fn row(
        &mut self,
        class: u32,
        direction: Direction,
        marks: &[Arc<Columns>],
        memo: &mut Memo,
    ) -> Rc<RowChange> {
        let found = |view: &Connectivity| {
            let id = view.classes.get(class as usize)?.profile(direction);
            Some((id, view.profiles.get(id as usize)?.as_ref()?.isolated))
        };
        let (Some((old, old_isolated)), Some((new, isolated))) = (found(self.before), found(self.after))
        else {
            return Rc::default();
        };
        // What no rule speaks of changes only with the default.
        let all = old_isolated != isolated;
        let marked: Vec<*const Columns> = marks.iter().map(Arc::as_ptr).collect();
        let Memo { changes, marks: known, compares } = memo;
        let at = *known.entry((marked, all)).or_insert_with(|| {
            let narrowed = |space: Space, live: &Bits, of: fn(&Columns) -> &Bits| {
                let mut columns = Bits::default();
                if all {
                    columns.add(live);
                } else {
                    marks.iter().for_each(|mark| columns.add(of(mark)));
                    columns.keep(live);
                }
                [Narrow::new(space, columns.clone()), Narrow::new(space, columns)]
            };
            compares.push(Compare {
                classes: narrowed(Space::Classes, &self.live, |columns| &columns.classes),
                atoms: narrowed(Space::Outside, self.after.atoms(direction).live(), |columns| &columns.atoms),
            });
            compares.len() - 1
        });
        let Some(compare) = compares.get_mut(at) else { return Rc::default() };
        let mut numbers = |[before, after]: &mut [Narrow; 2]| {
            [before.number(self.before, old, self.conns), after.number(self.after, new, self.conns)]
        };
        let (classes, atoms) = (numbers(&mut compare.classes), numbers(&mut compare.atoms));
        let parts = |[before, after]: &[Narrow; 2], [old, new]: [u32; 2]| {
            compare_rows(before.row(old), after.row(new))
        };
        let change = changes.entry((at, [classes[0], classes[1], atoms[0], atoms[1]])).or_insert_with(|| {
            Rc::new(RowChange {
                classes: parts(&compare.classes, classes),
                atoms: parts(&compare.atoms, atoms),
            })
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
