//! Changed rows seen through the other side. Rows that changed in the same way are taken together, and so are classes
//! that share a row of the other side: the work is that of the distinct rows, not of the cells.

use std::collections::BTreeSet;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::cells::{Block, Changes, Comparison, RowChange, Subject, classes_of, compare_rows};
use super::narrow::{FEW, Narrow};
use super::profile::Partition;
use super::resident::BOTH;
use super::{Connectivity, Direction, Space};
use crate::bits::{Bits, Numbering};
use crate::conn::ConnId;

/// Changed rows of one side, by how they changed.
struct Alike<'a> {
    /// The classes of them.
    classes: Rc<Numbering>,
    /// Columns of what changed are ranks in these.
    columns: &'a Numbering,
    /// Each with the ranks of its classes.
    changes: Vec<(&'a RowChange, Bits)>,
    /// The number of its change, by rank of the class.
    of: Vec<u32>,
}

impl<'a> Alike<'a> {
    fn new(Changes { columns, rows }: &'a Changes) -> Self {
        let mut known: FxHashMap<*const RowChange, u32> = FxHashMap::default();
        let (mut classes, mut alike) = (Bits::default(), Vec::new());
        let mut found: Vec<(&RowChange, u32)> = Vec::new();
        for (class, change) in rows.iter().filter(|(_, change)| !change.classes.is_empty()) {
            let at = *known.entry(Rc::as_ptr(change)).or_insert_with(|| {
                found.push((change.as_ref(), 0));
                found.len() as u32 - 1
            });
            if let Some((_, count)) = found.get_mut(at as usize) {
                *count += 1;
            }
            classes.set(*class as usize);
            alike.push(at);
        }
        // Classes that changed in the same way follow one another.
        let (mut changes, mut of, mut next) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (change, count)) in (0..).zip(found) {
            let mut ranks = Bits::default();
            ranks.fill(of.len(), of.len() + count as usize);
            next.push(of.len() as u32);
            of.extend(std::iter::repeat_n(at, count as usize));
            changes.push((change, ranks));
        }
        let place = |at: &u32| {
            let next = next.get_mut(*at as usize)?;
            *next += 1;
            Some(*next - 1)
        };
        let order = alike.iter().filter_map(place).collect();
        Self { classes: Rc::new(Numbering::ordered(classes, order)), columns, changes, of }
    }

    fn change(&self, class: usize) -> Option<u32> {
        self.of.get(self.classes.rank(class)?).copied()
    }

    /// Parts of a row of the other side as ranks of this side's classes.
    fn seen(&self, parts: &[(ConnId, ConnId, Bits)], columns: &Numbering) -> Vec<(ConnId, ConnId, Bits)> {
        let seen = |bits: &Bits| self.classes.narrow(&columns.widen(bits));
        let parts = parts.iter().map(|(before, after, bits)| (*before, *after, seen(bits)));
        parts.filter(|(.., bits)| !bits.is_empty()).collect()
    }
}

/// Blocks by what they were and are and by subjects, each once.
#[derive(Default)]
struct Crossed {
    blocks: Vec<(ConnId, ConnId, Bits, Bits)>,
    known: FxHashMap<(ConnId, ConnId, Bits), usize>,
}

impl Crossed {
    fn put(&mut self, before: ConnId, after: ConnId, subjects: Bits, others: &Bits) {
        if before == after || subjects.is_empty() {
            return;
        }
        let at = self.known.entry((before, after, subjects));
        match at {
            std::collections::hash_map::Entry::Occupied(found) => {
                if let Some((.., known)) = self.blocks.get_mut(*found.get()) {
                    known.add(others);
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                let subjects = free.key().2.clone();
                free.insert(self.blocks.len());
                self.blocks.push((before, after, subjects, others.clone()));
            }
        }
    }
}

/// Changed columns by what the other side has there: the number of the row, and of its change if it changed.
struct Facing {
    groups: Vec<(u32, Option<u32>, Bits)>,
    /// The number of the group, by class.
    of: Vec<u32>,
}

impl Facing {
    fn note(&mut self, column: usize, group: u32) {
        if let Some(slot) = self.of.get_mut(column) {
            *slot = group;
        }
    }

    /// The columns of each group. What is fewer is gone through: columns or groups.
    /// `places` has room for each group, and anything in it.
    fn among(&self, columns: &Bits, places: &mut [u32]) -> Vec<(u32, Option<u32>, Bits)> {
        if columns.count() > 4 * self.groups.len() {
            let met = self.groups.iter().filter(|(.., bits)| bits.meets(columns));
            return met.map(|(row, change, bits)| (*row, *change, bits.and(columns))).collect();
        }
        let mut found: Vec<(u32, Bits)> = Vec::new();
        for column in columns.iter() {
            let Some(&group) = self.of.get(column) else { continue };
            let Some(place) = places.get_mut(group as usize) else { continue };
            match found.get_mut(*place as usize).filter(|(known, _)| *known == group) {
                Some((_, bits)) => bits.set(column),
                None => {
                    *place = found.len() as u32;
                    let mut bits = Bits::default();
                    bits.set(column);
                    found.push((group, bits));
                }
            }
        }
        let group = |(group, bits): (u32, Bits)| {
            let (row, change, _) = self.groups.get(group as usize)?;
            Some((*row, *change, bits))
        };
        found.into_iter().filter_map(group).collect()
    }
}

impl Comparison<'_> {
    /// Changed cells of each side, seen through the other side. Subjects are ranks of the side's classes, others ranks
    /// of its columns.
    pub(super) fn crossings(&mut self, changes: &[Changes; 2]) {
        let [ingress, egress] = &changes.each_ref().map(Alike::new);
        for (direction, rows, other) in
            [(Direction::Ingress, ingress, egress), (Direction::Egress, egress, ingress)]
        {
            if rows.changes.is_empty() {
                continue;
            }
            let mut across = Narrow::new(Space::Classes, Rc::clone(&rows.classes));
            let facing = self.facing(direction, rows, other, &mut across);
            let mut places = vec![0; facing.groups.len()];
            let mut faced: Vec<Option<Vec<(ConnId, ConnId, Bits)>>> = vec![None; other.changes.len()];
            for (change, subjects) in &rows.changes {
                let mut crossed = Crossed::default();
                for (b, a, columns) in &change.classes {
                    for (row, faces, others) in facing.among(columns, &mut places) {
                        let mut rest = subjects.clone();
                        let faces = faces.and_then(|at| {
                            let (change, _) = other.changes.get(at as usize)?;
                            let known = faced.get_mut(at as usize)?;
                            Some(known.get_or_insert_with(|| rows.seen(&change.classes, other.columns)))
                        });
                        for (fb, fa, bits) in faces.into_iter().flatten() {
                            if !bits.meets(&rest) {
                                continue;
                            }
                            let both = bits.and(&rest);
                            rest.remove(&both);
                            // Where both sides changed, the destination's row tells.
                            if direction == Direction::Ingress {
                                let before = self.conns.intersect(*b, *fb);
                                let after = self.conns.intersect(*a, *fa);
                                crossed.put(before, after, both, &others);
                            }
                        }
                        for (conn, bits) in across.row(row) {
                            if bits.meets(&rest) {
                                let before = self.conns.intersect(*b, *conn);
                                let after = self.conns.intersect(*a, *conn);
                                crossed.put(before, after, bits.and(&rest), &others);
                            }
                        }
                    }
                }
                for (before, after, subjects, others) in crossed.blocks {
                    let (subjects, others) = (rows.classes.widen(&subjects), rows.columns.widen(&others));
                    self.ask(&subjects, direction, &others);
                    let subject = Subject::Classes(subjects);
                    self.cells.blocks.push(Block { subject, direction, before, after, others });
                }
            }
        }
    }

    /// Every changed column of a side.
    fn facing(
        &mut self,
        direction: Direction,
        rows: &Alike<'_>,
        other: &Alike<'_>,
        across: &mut Narrow,
    ) -> Facing {
        let mut facing = Facing { groups: Vec::new(), of: vec![0; rows.columns.len()] };
        let mut columns = Bits::default();
        let parts = rows.changes.iter().flat_map(|(change, _)| &change.classes);
        parts.for_each(|(.., bits)| columns.add(bits));
        let mut known: FxHashMap<(u32, Option<u32>), u32> = FxHashMap::default();
        let opposite = direction.opposite();
        let split = if rows.classes.len() <= FEW {
            self.speaking.split(rows.classes.bits(), opposite, &rows.columns.widen(&columns))
        } else {
            None
        };
        let silent = match split {
            Some([speaking, isolated, open]) => {
                columns = rows.columns.narrow(&speaking);
                let [isolated, open] = [isolated, open].map(|bits| rows.columns.narrow(&bits));
                vec![(across.silent(true), isolated), (across.silent(false), open)]
            }
            None => Vec::new(),
        };
        for (row, columns) in silent.into_iter().filter(|(_, columns)| !columns.is_empty()) {
            let group = facing.groups.len() as u32;
            for column in columns.iter() {
                facing.note(column, group);
            }
            facing.groups.push((row, None, columns));
        }
        for column in columns.iter() {
            let class = rows.columns.at(column).and_then(|at| Some((at, self.before.classes.get(at)?)));
            let Some((at, class)) = class else { continue };
            let row = across.number(self.before, class.profile(opposite), self.conns);
            let key = (row, other.change(at));
            let group = *known.entry(key).or_insert_with(|| {
                facing.groups.push((key.0, key.1, Bits::default()));
                facing.groups.len() as u32 - 1
            });
            if let Some((.., bits)) = facing.groups.get_mut(group as usize) {
                bits.set(column);
            }
            facing.note(column, group);
        }
        facing
    }

    /// Notes the pairs of changed cells that have a workload of several classes.
    fn ask(&mut self, subjects: &Bits, direction: Direction, others: &Bits) {
        let (ours, theirs) = (subjects.and(&self.mixed), others.and(&self.mixed));
        let members = |class: usize| self.after.members(class);
        let apart = |id: &u32| self.cells.apart.contains(id);
        let mut ask = |subject: usize, other: usize| {
            for &one in members(subject) {
                for &two in members(other) {
                    // Pairs of what moved are told elsewhere.
                    let moved = self.moved.contains(&one) || self.moved.contains(&two);
                    if one != two && !moved && (apart(&one) || apart(&two)) {
                        let ingress = direction == Direction::Ingress;
                        self.asked.insert(if ingress { (two, one) } else { (one, two) });
                    }
                }
            }
        };
        for subject in ours.iter() {
            others.iter().for_each(|other| ask(subject, other));
        }
        for other in theirs.iter() {
            subjects.iter().for_each(|subject| ask(subject, other));
        }
    }

    /// Workloads that came, went or changed class, with every other one. `real` are the classes that have a workload.
    pub(super) fn moved(&mut self, moved: &BTreeSet<u32>, multiple: &BTreeSet<u32>, real: &Bits) {
        if moved.is_empty() {
            return;
        }
        // Workloads that are told one by one are asked about one by one.
        let mut plain = real.clone();
        for id in &self.cells.apart {
            for &class in classes_of(self.after, *id) {
                let members = self.after.members(class as usize);
                if members.iter().all(|member| self.cells.apart.contains(member)) {
                    plain.clear(class as usize);
                }
            }
        }
        for &workload in moved {
            for &other in moved.iter().chain(multiple).filter(|other| **other != workload) {
                self.asked.extend([(workload, other), (other, workload)]);
            }
            for direction in BOTH {
                let old = self.whole(self.before, workload, direction, &plain);
                let new = self.whole(self.after, workload, direction, &plain);
                for (before, after, others) in compare_rows(&old, &new) {
                    let subject = Subject::Workload(workload);
                    self.cells.blocks.push(Block { subject, direction, before, after, others });
                }
            }
        }
    }

    /// What a workload may exchange with classes in a view, through both sides.
    fn whole(
        &mut self,
        view: &Connectivity,
        workload: u32,
        direction: Direction,
        plain: &Bits,
    ) -> Vec<(ConnId, Bits)> {
        let opposite = direction.opposite();
        let mut open = Partition::new(ConnId::NONE, plain.clone());
        for &class in classes_of(view, workload) {
            let Some(profile) = view.profile_of(class, direction).cloned() else { continue };
            let mut column = Bits::default();
            column.set(class as usize);
            let split = self.speaking.split(&column, opposite, plain);
            let [speaking, _, unasked] =
                split.unwrap_or_else(|| [plain.clone(), Bits::default(), Bits::default()]);
            let mut theirs = Narrow::new(Space::Classes, Rc::new(Numbering::new(column)));
            for (own, columns) in view.evaluate(&profile, Space::Classes, plain, self.conns) {
                open.shift(&columns.and(&unasked), |known| self.conns.union(known, own));
                // By row of the others: there are few.
                let mut through: Vec<Bits> = Vec::new();
                for other in columns.and(&speaking).iter() {
                    let Some(class) = view.classes.get(other) else { continue };
                    let row = theirs.number(view, class.profile(opposite), self.conns) as usize;
                    if through.len() <= row {
                        through.resize(row + 1, Bits::default());
                    }
                    if let Some(bits) = through.get_mut(row) {
                        bits.set(other);
                    }
                }
                for (row, columns) in through.into_iter().enumerate() {
                    if let Some((conn, _)) = theirs.row(row as u32).first() {
                        let conn = self.conns.intersect(own, *conn);
                        open.shift(&columns, |known| self.conns.union(known, conn));
                    }
                }
            }
        }
        let mut open = open.into_parts();
        open.retain(|(conn, _)| *conn != ConnId::NONE);
        open.sort_by_key(|(conn, _)| *conn);
        open
    }
}
