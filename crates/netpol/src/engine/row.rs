//! One row: the connections that a direction profile allows with every column.

use crate::bits::Bits;
use crate::conn::{ConnId, ConnTable};
use crate::objects::{Action, Tier};

/// Index of an interned set of columns.
pub(crate) type PeerSet = u32;

/// One resolved rule of an administrator's policy, in order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AdminEntry {
    pub(crate) tier: Tier,
    pub(crate) action: Action,
    pub(crate) peers: PeerSet,
    pub(crate) conn: ConnId,
}

/// Everything that decides one direction of a class; classes with equal profiles share a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    /// Some NetworkPolicy selects the class in this direction.
    pub(crate) isolated: bool,
    /// Allowed by NetworkPolicies: sorted, without duplicates.
    pub(crate) allowed: Vec<(PeerSet, ConnId)>,
    /// Rules of the administrator's tiers, in order.
    pub(crate) admin: Vec<AdminEntry>,
}

/// The connections of every column, in whichever form is smallest. Columns that are not there have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    /// Few sets, many columns: a partition of the columns.
    Cells(Vec<(ConnId, Bits)>),
    /// Few columns, ascending.
    Sparse(Vec<(u32, ConnId)>),
    /// Many sets and many columns.
    Dense(Vec<ConnId>),
}

/// Columns of a row with what they allow.
type Entries<'a> = Box<dyn Iterator<Item = (usize, ConnId)> + 'a>;

impl Row {
    /// From a partition; `width` is the number of columns.
    fn pack(cells: Vec<(ConnId, Bits)>, width: usize) -> Self {
        let columns: usize = cells.iter().map(|(_, bits)| bits.count()).sum();
        let (split, sparse, dense) = (cells.len() * width.div_ceil(8), columns * 8, width * 4);
        if split <= sparse.min(dense) {
            Self::Cells(cells)
        } else if sparse <= dense {
            Self::sparse(&cells)
        } else {
            Self::dense(&cells, width)
        }
    }

    fn sparse(cells: &[(ConnId, Bits)]) -> Self {
        let entries = cells.iter().flat_map(|(conn, bits)| bits.iter().map(|column| (column as u32, *conn)));
        let mut list: Vec<(u32, ConnId)> = entries.collect();
        list.sort_unstable();
        Self::Sparse(list)
    }

    fn dense(cells: &[(ConnId, Bits)], width: usize) -> Self {
        let mut list = vec![ConnId::NONE; width];
        for (conn, bits) in cells {
            for column in bits.iter() {
                if let Some(cell) = list.get_mut(column) {
                    *cell = *conn;
                }
            }
        }
        Self::Dense(list)
    }

    pub(crate) fn at(&self, column: usize) -> ConnId {
        let found = match self {
            Self::Cells(cells) => cells.iter().find(|(_, bits)| bits.has(column)).map(|(conn, _)| *conn),
            Self::Sparse(list) => {
                let found = list.binary_search_by_key(&column, |(known, _)| *known as usize).ok();
                found.and_then(|index| list.get(index)).map(|(_, conn)| *conn)
            }
            Self::Dense(list) => list.get(column).copied(),
        };
        found.unwrap_or(ConnId::NONE)
    }

    /// The columns of `from..to` that have anything, each once, in no order.
    pub(crate) fn entries(&self, from: usize, to: usize) -> Entries<'_> {
        match self {
            Self::Cells(cells) => Box::new(cells.iter().flat_map(move |(conn, bits)| {
                bits.iter_from(from).take_while(move |column| *column < to).map(move |column| (column, *conn))
            })),
            Self::Sparse(list) => {
                let inside = move |(column, _): &(usize, ConnId)| from <= *column && *column < to;
                Box::new(list.iter().map(|(column, conn)| (*column as usize, *conn)).filter(inside))
            }
            Self::Dense(list) => {
                let inside = list.iter().enumerate().take(to).skip(from);
                Box::new(
                    inside.map(|(column, conn)| (column, *conn)).filter(|(_, conn)| *conn != ConnId::NONE),
                )
            }
        }
    }

    /// The set that every column of `all` has, where it is one set.
    pub(crate) fn uniform(&self, all: &Bits, to: usize) -> Option<ConnId> {
        let Self::Cells(cells) = self else { return None };
        cells.iter().find(|(_, bits)| bits.same_within(all, 0, to)).map(|(conn, _)| *conn)
    }

    /// The sets of some columns.
    pub(crate) fn sets_at(&self, columns: &Bits) -> Vec<ConnId> {
        let mut found: Vec<ConnId> = match self {
            Self::Cells(cells) => {
                cells.iter().filter(|(_, bits)| bits.meets(columns)).map(|(conn, _)| *conn).collect()
            }
            Self::Sparse(_) | Self::Dense(_) => columns.iter().map(|column| self.at(column)).collect(),
        };
        found.sort_unstable();
        found.dedup();
        found
    }

    /// True when both have the same in `from..to`; `ids` are this one's sets in the other's table. May say no where
    /// the forms differ.
    pub(crate) fn same_within(&self, other: &Self, ids: &[Option<ConnId>], from: usize, to: usize) -> bool {
        let map = |conn: ConnId| ids.get(conn.0 as usize).copied().flatten();
        match (self, other) {
            (Self::Cells(ours), Self::Cells(theirs)) => {
                let none = Bits::empty(0);
                let ours_in_theirs = ours.iter().all(|(conn, columns)| {
                    let found = theirs.iter().find(|(known, _)| Some(*known) == map(*conn));
                    columns.same_within(found.map_or(&none, |(_, columns)| columns), from, to)
                });
                ours_in_theirs
                    && theirs.iter().all(|(conn, columns)| {
                        ours.iter().any(|(id, _)| map(*id) == Some(*conn))
                            || columns.same_within(&none, from, to)
                    })
            }
            (Self::Sparse(_), Self::Sparse(_)) | (Self::Dense(_), Self::Dense(_)) => {
                let ours = self.entries(from, to).map(|(column, conn)| (column, map(conn)));
                ours.eq(other.entries(from, to).map(|(column, conn)| (column, Some(conn))))
            }
            _ => false,
        }
    }
}

/// Columns by key, disjoint; few keys, so a list.
struct Cells<K>(Vec<(K, Bits)>);

impl<K: Copy + PartialEq> Cells<K> {
    fn new(key: K, columns: Bits) -> Self {
        Self(vec![(key, columns)])
    }

    /// Moves the columns of `peers` to the key that `change` gives.
    fn shift(&mut self, peers: &Bits, mut change: impl FnMut(K) -> K) {
        let mut moved: Vec<(K, Bits)> = Vec::new();
        for (key, columns) in &mut self.0 {
            if !columns.meets(peers) {
                continue;
            }
            let next = change(*key);
            if next != *key {
                moved.push((next, columns.and(peers)));
                columns.remove(peers);
            }
        }
        if moved.is_empty() {
            return;
        }
        self.0.retain(|(_, columns)| !columns.is_empty());
        for (key, columns) in moved {
            self.put(key, columns);
        }
    }

    fn put(&mut self, key: K, columns: Bits) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => known.add(&columns),
            None => self.0.push((key, columns)),
        }
    }
}

/// Ports already decided by a tier: allowed, denied, passed on.
type Decided = (ConnId, ConnId, ConnId);

fn fold(
    entries: &[AdminEntry],
    tier: Tier,
    sets: &[Bits],
    columns: &Bits,
    conns: &mut ConnTable,
) -> Cells<Decided> {
    let none = (ConnId::NONE, ConnId::NONE, ConnId::NONE);
    let mut cells = Cells::new(none, columns.clone());
    for entry in entries.iter().filter(|entry| entry.tier == tier) {
        let Some(peers) = sets.get(entry.peers as usize) else { continue };
        cells.shift(peers, |(allowed, denied, passed)| {
            let decided = conns.union(allowed, denied);
            let decided = conns.union(decided, passed);
            let fresh = conns.subtract(entry.conn, decided);
            match entry.action {
                Action::Allow => (conns.union(allowed, fresh), denied, passed),
                Action::Deny => (allowed, conns.union(denied, fresh), passed),
                Action::Pass => (allowed, denied, conns.union(passed, fresh)),
            }
        });
    }
    cells
}

/// Evaluates a profile over `columns`: administrator's tier, then NetworkPolicies, then the baseline, then allow.
pub(crate) fn evaluate(
    profile: &Profile,
    sets: &[Bits],
    columns: &Bits,
    width: usize,
    conns: &mut ConnTable,
) -> Row {
    // What is left after the administrator's tier goes to this one: allowed by it.
    let mut middle: Cells<ConnId>;
    if profile.isolated {
        middle = Cells::new(ConnId::NONE, columns.clone());
        for &(peers, conn) in &profile.allowed {
            if let Some(peers) = sets.get(peers as usize) {
                middle.shift(peers, |known| conns.union(known, conn));
            }
        }
    } else {
        middle = Cells(Vec::new());
        for ((_, denied, _), bits) in fold(&profile.admin, Tier::Baseline, sets, columns, conns).0 {
            middle.put(conns.subtract(ConnId::ALL, denied), bits);
        }
    }
    let mut row: Cells<ConnId> = Cells(Vec::new());
    if profile.admin.iter().any(|entry| entry.tier == Tier::Admin) {
        for ((allowed, denied, _), bits) in fold(&profile.admin, Tier::Admin, sets, columns, conns).0 {
            let decided = conns.union(allowed, denied);
            let rest = conns.subtract(ConnId::ALL, decided);
            for (conn, inner) in &middle.0 {
                if inner.meets(&bits) {
                    let open = conns.intersect(rest, *conn);
                    row.put(conns.union(allowed, open), inner.and(&bits));
                }
            }
        }
    } else {
        row = middle;
    }
    row.0.retain(|(conn, columns)| *conn != ConnId::NONE && !columns.is_empty());
    row.0.sort_by_key(|(conn, _)| *conn);
    Row::pack(row.0, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 150;

    fn cells(columns: &[u32]) -> Vec<(ConnId, Bits)> {
        let mut cells: Vec<(ConnId, Bits)> = Vec::new();
        for (column, conn) in columns.iter().enumerate().filter(|(_, conn)| **conn > 0) {
            match cells.iter_mut().find(|(known, _)| known.0 == *conn) {
                Some((_, bits)) => bits.set(column),
                None => {
                    let mut bits = Bits::empty(WIDTH);
                    bits.set(column);
                    cells.push((ConnId(*conn), bits));
                }
            }
        }
        cells
    }

    proptest::proptest! {
        #[test]
        fn every_form_gives_the_same_answers(
            columns in proptest::collection::vec(0u32..5, WIDTH),
            other in proptest::collection::vec(0u32..5, WIDTH),
            (from, to) in (0usize..WIDTH, 0usize..WIDTH),
            asked in proptest::collection::vec(0usize..WIDTH, 0..9),
        ) {
            let forms = |columns: &[u32]| {
                let cells = cells(columns);
                [Row::sparse(&cells), Row::dense(&cells, WIDTH), Row::Cells(cells)]
            };
            let ids: Vec<Option<ConnId>> = (0..6).map(|id| Some(ConnId(id))).collect();
            let mut bits = Bits::empty(WIDTH);
            asked.iter().for_each(|column| bits.set(*column));
            for (row, twin) in forms(&columns).iter().zip(forms(&other)) {
                for (column, conn) in columns.iter().enumerate() {
                    proptest::prop_assert_eq!(row.at(column), ConnId(*conn));
                }
                let mut entries: Vec<_> = row.entries(from, to).collect();
                entries.sort_unstable();
                let expected: Vec<_> = (from..to)
                    .filter_map(|column| columns.get(column).filter(|conn| **conn > 0).map(|conn| (column, ConnId(*conn))))
                    .collect();
                proptest::prop_assert_eq!(entries, expected);
                let mut sets: Vec<_> = asked.iter().filter_map(|column| columns.get(*column)).map(|conn| ConnId(*conn)).collect();
                sets.sort_unstable();
                sets.dedup();
                let mut found = row.sets_at(&bits);
                found.retain(|conn| *conn != ConnId::NONE);
                sets.retain(|conn| *conn != ConnId::NONE);
                proptest::prop_assert_eq!(found, sets);
                let same = from >= to || columns.get(from..to) == other.get(from..to);
                proptest::prop_assert_eq!(row.same_within(&twin, &ids, from, to.max(from)), same);
                proptest::prop_assert!(row.same_within(row, &ids, 0, WIDTH));
            }
            let packed = Row::pack(cells(&columns), WIDTH);
            proptest::prop_assert!(columns.iter().enumerate().all(|(column, conn)| packed.at(column) == ConnId(*conn)));
        }
    }
}
