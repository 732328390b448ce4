//! Every row at once, for answers about the whole: made when first asked for, and kept with the view.

use std::sync::OnceLock;

use super::row::Row;
use super::{Connectivity, Direction, Space};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable};

/// The rows of a view. Columns are classes by number, then atoms in order of address.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) conns: ConnTable,
    /// By profile.
    pub(super) rows: Vec<Row>,
    /// Profiles of ingress.
    pub(super) ingress: Vec<u32>,
}

impl Matrix {
    pub(super) fn row(&self, profile: u32) -> &Row {
        static EMPTY: Row = Row::Sparse(Vec::new());
        self.rows.get(profile as usize).unwrap_or(&EMPTY)
    }
}

/// Where a view keeps its rows. A copy of a view starts without.
#[derive(Debug, Default)]
pub(super) struct Shelf(OnceLock<Box<Matrix>>);

impl Clone for Shelf {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Connectivity {
    /// The connection sets by number, as a table that can grow.
    pub(crate) fn table(&self) -> ConnTable {
        ConnTable::of(self.conns.iter())
    }

    /// The set of an id of this connectivity.
    pub(crate) fn conn(&self, id: ConnId) -> &ConnSet {
        static NONE: std::sync::LazyLock<ConnSet> = std::sync::LazyLock::new(ConnSet::none);
        self.conns.get(id.0 as usize).map_or(&NONE, AsRef::as_ref)
    }

    pub(super) fn matrix(&self) -> &Matrix {
        self.shelf.0.get_or_init(|| {
            let mut conns = self.table();
            let count = self.classes.len();
            let mut rows = Vec::with_capacity(self.profiles.len());
            let mut ingress = Vec::new();
            for (index, profile) in self.profiles.iter().enumerate() {
                let Some(profile) = profile else {
                    rows.push(Row::Sparse(Vec::new()));
                    continue;
                };
                if profile.direction == Direction::Ingress {
                    ingress.push(index as u32);
                }
                let atoms = self.atoms(profile.direction);
                let mut row = self.evaluate(profile, Space::Classes, &self.live, &mut conns);
                for (conn, slots) in self.evaluate(profile, Space::Outside, atoms.live(), &mut conns) {
                    let at = match row.iter().position(|(known, _)| *known == conn) {
                        Some(at) => at,
                        None => {
                            row.push((conn, Bits::default()));
                            row.len() - 1
                        }
                    };
                    let Some((_, bits)) = row.get_mut(at) else { continue };
                    if atoms.is_straight() {
                        slots.iter().for_each(|slot| bits.set(count + slot));
                    } else {
                        for (position, slot) in atoms.slots().iter().enumerate() {
                            if slots.has(*slot as usize) {
                                bits.set(count + position);
                            }
                        }
                    }
                }
                row.sort_by_key(|(conn, _)| *conn);
                rows.push(Row::pack(row, count + atoms.all_ranges().len()));
            }
            Box::new(Matrix { conns, rows, ingress })
        })
    }
}
