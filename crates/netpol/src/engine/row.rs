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

/// A partition of the columns that have any connection, by connection set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Vec<(ConnId, Bits)>);

impl Row {
    pub(crate) fn at(&self, column: usize) -> ConnId {
        self.0.iter().find(|(_, bits)| bits.has(column)).map_or(ConnId::NONE, |(conn, _)| *conn)
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
pub(crate) fn evaluate(profile: &Profile, sets: &[Bits], columns: &Bits, conns: &mut ConnTable) -> Row {
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
    Row(row.0)
}
