//! The outside as columns: atoms keep their column while others are cut or joined.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::bits::Bits;
use crate::ip::{Family, IpRange};

/// The partition of the address spaces in one direction, in order of address, with the column of each part.
#[derive(Debug, Clone, Default)]
pub(crate) struct AtomTable {
    ranges: Vec<IpRange>,
    slots: Vec<u32>,
    live: Bits,
    /// Some block is of IPv6. Without one that family is a column all the same, but not worth telling.
    wide: bool,
}

impl AtomTable {
    /// The ranges that are told: those of a family that some block is of, and of IPv4.
    pub(crate) fn ranges(&self) -> &[IpRange] {
        let told = if self.wide {
            self.ranges.len()
        } else {
            self.ranges.partition_point(|range| range.family == Family::V4)
        };
        self.ranges.get(..told).unwrap_or_default()
    }

    /// Every range that has a column.
    pub(crate) fn all_ranges(&self) -> &[IpRange] {
        &self.ranges
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    pub(crate) fn widen(&mut self, wide: bool) {
        self.wide = wide;
    }

    /// Columns in order of address.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Columns in use.
    pub(crate) fn live(&self) -> &Bits {
        &self.live
    }

    /// True when columns are in order of address.
    pub(crate) fn is_straight(&self) -> bool {
        self.slots.iter().enumerate().all(|(index, slot)| index == *slot as usize)
    }

    /// Position of the atom that holds the first address of a range.
    pub(crate) fn position(&self, range: IpRange) -> Option<usize> {
        let after =
            self.ranges.partition_point(|atom| (atom.family, atom.first) <= (range.family, range.first));
        let at = after.checked_sub(1)?;
        self.ranges.get(at).filter(|atom| atom.family == range.family).map(|_| at)
    }

    /// The column of the atom that holds the first address of a range.
    pub(crate) fn slot_of(&self, range: IpRange) -> Option<usize> {
        self.slots.get(self.position(range)?).map(|slot| *slot as usize)
    }

    /// Columns of the atoms inside a range whose boundaries were cut.
    pub(crate) fn inside(&self, range: IpRange) -> impl Iterator<Item = usize> {
        let from =
            self.ranges.partition_point(|atom| (atom.family, atom.first) < (range.family, range.first));
        let to = self.ranges.partition_point(|atom| (atom.family, atom.first) <= (range.family, range.last));
        self.slots.get(from..to).unwrap_or_default().iter().map(|slot| *slot as usize)
    }

    fn insert(&mut self, at: usize, range: IpRange, slot: u32) {
        self.ranges.insert(at, range);
        self.slots.insert(at, slot);
        self.live.set(slot as usize);
    }

    fn remove(&mut self, at: usize) -> u32 {
        self.ranges.remove(at);
        let slot = self.slots.remove(at);
        self.live.clear(slot as usize);
        slot
    }
}

/// The boundaries of the blocks in use in one direction, counted, and the columns that are free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    points: BTreeMap<(Family, u128), u32>,
    free: Vec<u32>,
    next: u32,
}

/// The addresses at which a block begins and the rest goes on.
fn points(range: IpRange) -> impl Iterator<Item = (Family, u128)> {
    let first = (range.first > 0).then_some((range.family, range.first));
    let after = (range.last < IpRange::whole(range.family).last).then(|| (range.family, range.last + 1));
    first.into_iter().chain(after)
}

impl Cuts {
    /// Counts a block without a table; [`Cuts::table`] follows.
    pub(crate) fn count(&mut self, range: IpRange) {
        points(range).for_each(|point| *self.points.entry(point).or_default() += 1);
    }

    /// The whole partition of some families, columns in order of address.
    pub(crate) fn table(&mut self, families: &[Family]) -> AtomTable {
        let mut table = AtomTable::default();
        for &family in families {
            let slot = self.slot();
            table.insert(table.ranges.len(), IpRange::whole(family), slot);
            let points: Vec<u128> =
                self.points.range((family, 0)..=(family, u128::MAX)).map(|((_, at), _)| *at).collect();
            for at in points {
                self.split(&mut table, (family, at));
            }
        }
        table
    }

    fn slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn split(&mut self, table: &mut AtomTable, (family, at): (Family, u128)) -> Option<(u32, u32)> {
        let whole = IpRange::whole(family);
        let position = table.position(IpRange { first: at, ..whole })?;
        let atom = table.ranges.get_mut(position).filter(|atom| atom.first < at)?;
        let upper = IpRange { first: at, ..*atom };
        atom.last = at - 1;
        let from = table.slots.get(position).copied()?;
        let slot = self.slot();
        table.insert(position + 1, upper, slot);
        Some((from, slot))
    }

    /// Counts a block and cuts at its boundaries: gives each column that was split and the new one beside it.
    pub(crate) fn add(&mut self, table: &mut AtomTable, range: IpRange) -> Vec<(u32, u32)> {
        let mut split = Vec::new();
        for point in points(range) {
            let count = self.points.entry(point).or_default();
            *count += 1;
            if *count == 1 {
                split.extend(self.split(table, point));
            }
        }
        split
    }

    /// Takes a block out, and joins atoms that nothing divides any more.
    pub(crate) fn remove(&mut self, table: &mut AtomTable, range: IpRange) {
        for point in points(range) {
            let Some(count) = self.points.get_mut(&point) else { continue };
            *count -= 1;
            if *count > 0 {
                continue;
            }
            self.points.remove(&point);
            let whole = IpRange::whole(point.0);
            let Some(position) = table.position(IpRange { first: point.1, ..whole }).filter(|at| *at > 0)
            else {
                continue;
            };
            let Some(upper) = table.ranges.get(position).copied().filter(|atom| atom.first == point.1) else {
                continue;
            };
            if let Some(lower) = table.ranges.get_mut(position - 1) {
                lower.last = upper.last;
            }
            self.free.push(table.remove(position));
        }
    }
}

/// An atom of the addresses of pods, by its first address.
pub(crate) type PodAtom = (Family, u128);

/// The partition of both address spaces by the blocks that may match pods. Boundaries stay when their blocks go: pods
/// are then told apart more finely than needed.
#[derive(Debug, Clone)]
pub(super) struct PodAtoms(BTreeSet<PodAtom>);

impl Default for PodAtoms {
    fn default() -> Self {
        Self([(Family::V4, 0), (Family::V6, 0)].into())
    }
}

impl PodAtoms {
    /// Cuts at the boundaries of a block. Gives the atoms that came of it: each the upper part of another.
    pub(super) fn cut(&mut self, range: IpRange) -> impl Iterator<Item = PodAtom> {
        points(range).filter(|point| self.0.insert(*point))
    }

    /// The atom that holds an address.
    pub(super) fn of(&self, address: IpAddr) -> Option<PodAtom> {
        let at = match address {
            IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address))),
            IpAddr::V6(address) => (Family::V6, u128::from(address)),
        };
        self.0.range(..=at).next_back().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::Atoms;

    fn block(text: &str) -> IpRange {
        IpRange::of(text.parse().expect("valid"))
    }

    #[test]
    fn cutting_and_joining_gives_what_cutting_at_once_gives() {
        let blocks =
            ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "10.0.0.0/16", "2001:db8::/32", "10.1.0.0/16"]
                .map(block);
        let families = [Family::V4, Family::V6];
        for skip in 0..blocks.len() {
            let mut cuts = Cuts::default();
            let mut table = cuts.table(&families);
            table.widen(true);
            blocks.iter().for_each(|block| {
                cuts.add(&mut table, *block);
            });
            assert_eq!(table.ranges(), Atoms::cut(&families, &blocks).ranges());
            assert!(
                table.ranges().iter().all(|range| table.live().has(table.slot_of(*range).expect("a column")))
            );
            let left: Vec<IpRange> =
                blocks.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, b)| *b).collect();
            cuts.remove(&mut table, blocks[skip]);
            assert_eq!(table.ranges(), Atoms::cut(&families, &left).ranges());
            assert_eq!(table.live().count(), table.ranges().len());
            cuts.add(&mut table, blocks[skip]);
            assert_eq!(table.ranges(), Atoms::cut(&families, &blocks).ranges());
            let mut counted = Cuts::default();
            blocks.iter().for_each(|block| counted.count(*block));
            assert_eq!(counted.table(&families).all_ranges(), table.ranges());
            table.widen(false);
            assert!(table.ranges().iter().all(|range| range.family == Family::V4));
        }
    }
}
