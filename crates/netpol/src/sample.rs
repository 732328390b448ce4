//! Which rows of a difference are named where not all of them are.
//!
//! A change of one label may make more rows than anybody reads. Each kind of row then has its share of the list, so that
//! the few connections that were closed do not go under in the many that were opened; the others are counted.

use plimsoll_model::fact::Unlisted;

use crate::conn::ConnId;
use crate::diff::ChangeKind;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Between workloads.
    Pair,
    /// With addresses outside the cluster.
    Outside,
    /// In through an ingress controller.
    Way,
}

const PLACES: usize = 3;
const KINDS: usize = 4;

/// Rows as they are found: those that may be named, and the number of all.
pub(crate) struct Sample<T> {
    most: usize,
    kept: [Vec<T>; PLACES * KINDS],
    count: [u64; PLACES * KINDS],
    cut: bool,
}

/// What happened to a connection that differs, by number of set.
pub(crate) fn kind_of_ids(before: ConnId, after: ConnId) -> ChangeKind {
    match (before, after) {
        (ConnId::NONE, _) => ChangeKind::Added,
        (_, ConnId::NONE) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    }
}

impl<T> Sample<T> {
    /// Names no more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: std::array::from_fn(|_| Vec::new()), count: [0; PLACES * KINDS], cut: false }
    }

    fn slot(place: Place, kind: ChangeKind) -> usize {
        place as usize * KINDS + kind as usize
    }

    /// True while another row of the kind may come to be named.
    pub(crate) fn wants(&self, place: Place, kind: ChangeKind) -> bool {
        self.kept.get(Self::slot(place, kind)).is_some_and(|kept| kept.len() < self.most)
    }

    /// Takes a row in.
    pub(crate) fn add(&mut self, place: Place, kind: ChangeKind, row: impl FnOnce() -> T) {
        if let Some(kept) = self.kept.get_mut(Self::slot(place, kind)).filter(|kept| kept.len() < self.most) {
            kept.push(row());
        }
        self.pass(place, kind, 1);
    }

    /// Counts rows that are not to be named.
    pub(crate) fn pass(&mut self, place: Place, kind: ChangeKind, count: u64) {
        if let Some(known) = self.count.get_mut(Self::slot(place, kind)) {
            *known = known.saturating_add(count);
        }
    }

    /// Notes that there may be more than were counted.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// The rows to name, by place and kind, each in the order in which it came; and the number of the others.
    pub(crate) fn finish(self) -> (Vec<T>, Unlisted) {
        let Self { most, kept, count, cut } = self;
        let share = share(most, &kept);
        let mut unlisted = Unlisted { at_least: cut, ..Unlisted::default() };
        let mut rows = Vec::new();
        for (slot, (kept, count)) in kept.into_iter().zip(count).enumerate() {
            let left = count.saturating_sub(kept.len().min(share) as u64);
            match slot % KINDS {
                known if known == ChangeKind::Added as usize => unlisted.added += left,
                known if known == ChangeKind::Removed as usize => unlisted.removed += left,
                _ => unlisted.changed += left,
            }
            rows.extend(kept.into_iter().take(share));
        }
        (rows, unlisted)
    }
}

/// The most that each may have so that all together are no more than `most`.
fn share<T>(most: usize, kept: &[Vec<T>]) -> usize {
    let mut sizes: Vec<usize> = kept.iter().map(Vec::len).filter(|size| *size > 0).collect();
    sizes.sort_unstable();
    let mut left = most;
    for (at, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - at);
        if share < *size {
            return share;
        }
        left -= size;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(most: usize, rows: &[(Place, ChangeKind, usize)]) -> (Vec<(Place, ChangeKind)>, Unlisted) {
        let mut sample = Sample::new(most);
        for (place, kind, count) in rows {
            for _ in 0..*count {
                sample.add(*place, *kind, || (*place, *kind));
            }
        }
        sample.finish()
    }

    #[test]
    fn every_kind_has_its_share_and_the_others_are_counted() {
        use ChangeKind::{Added, Removed};
        let found = [(Place::Pair, Added, 5000), (Place::Pair, Removed, 10), (Place::Outside, Added, 300)];
        let (rows, unlisted) = sample(100, &found);
        let of = |place, kind| rows.iter().filter(|row| **row == (place, kind)).count();
        assert_eq!(
            (of(Place::Pair, Added), of(Place::Pair, Removed), of(Place::Outside, Added)),
            (45, 10, 45)
        );
        assert_eq!(unlisted, Unlisted { added: 5300 - 90, ..Unlisted::default() });
        assert_eq!(unlisted.to_string(), "5210 more (5210 added)");
        let (rows, unlisted) = sample(6000, &found);
        assert!(rows.len() == 5310 && unlisted.is_none());
    }
}
