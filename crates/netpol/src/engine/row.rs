//! One row, materialised: the connections that a direction profile allows with every column.

use crate::bits::Bits;
use crate::conn::ConnId;

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
    pub(super) fn pack(cells: Vec<(ConnId, Bits)>, width: usize) -> Self {
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

    /// True when both have the same in `from..to`; `ids` are this one's sets in the other's table. May say no where
    /// the forms differ.
    pub(crate) fn same_within(&self, other: &Self, ids: &[Option<ConnId>], from: usize, to: usize) -> bool {
        let map = |conn: ConnId| ids.get(conn.0 as usize).copied().flatten();
        match (self, other) {
            (Self::Cells(ours), Self::Cells(theirs)) => {
                let none = Bits::default();
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
                    let mut bits = Bits::default();
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
        ) {
            let forms = |columns: &[u32]| {
                let cells = cells(columns);
                [Row::sparse(&cells), Row::dense(&cells, WIDTH), Row::Cells(cells)]
            };
            let ids: Vec<Option<ConnId>> = (0..6).map(|id| Some(ConnId(id))).collect();
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
                let same = from >= to || columns.get(from..to) == other.get(from..to);
                proptest::prop_assert_eq!(row.same_within(&twin, &ids, from, to.max(from)), same);
                proptest::prop_assert!(row.same_within(row, &ids, 0, WIDTH));
            }
            let packed = Row::pack(cells(&columns), WIDTH);
            proptest::prop_assert!(columns.iter().enumerate().all(|(column, conn)| packed.at(column) == ConnId(*conn)));
        }
    }
}
