//! What decides one direction of a class, and how it is evaluated: for many columns at once, or for one.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Connectivity, Direction};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable};
use crate::objects::{Action, Tier};

/// Number of an interned set of peers.
pub(crate) type PeerSet = u32;

/// In place of a list of named ports: none.
pub(super) const NO_NAMES: u32 = u32::MAX;

/// Peers and the ports that a rule gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) peers: PeerSet,
    pub(crate) conn: ConnId,
    /// Of egress rules: named ports, which each destination resolves by its own names; [`NO_NAMES`] without.
    pub(crate) named: u32,
}

/// One resolved rule of an administrator's policy, in order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AdminEntry {
    pub(crate) tier: Tier,
    pub(crate) action: Action,
    pub(crate) entry: Entry,
}

/// Everything that decides one direction of a class; classes with equal profiles share a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    pub(crate) direction: Direction,
    /// Some NetworkPolicy selects the class in this direction.
    pub(crate) isolated: bool,
    /// Allowed by NetworkPolicies: sorted, without duplicates.
    pub(crate) allowed: Vec<Entry>,
    /// Rules of the administrator's tiers, in order.
    pub(crate) admin: Vec<AdminEntry>,
}

impl Profile {
    /// Nothing has a say: everything is allowed.
    pub(super) fn is_open(&self) -> bool {
        !self.isolated && self.admin.is_empty()
    }
}

/// The two kinds of columns; they are numbered apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Classes,
    /// Atoms of the outside, in the direction of the profile.
    Outside,
}

/// Sets of connections by value or by number.
pub(super) trait Algebra {
    type Set: Clone + PartialEq;
    fn of(&mut self, id: ConnId) -> Self::Set;
    fn union(&mut self, a: &Self::Set, b: &Self::Set) -> Self::Set;
    fn intersect(&mut self, a: &Self::Set, b: &Self::Set) -> Self::Set;
    fn subtract(&mut self, a: &Self::Set, b: &Self::Set) -> Self::Set;
    /// A set that is not interned yet.
    fn made(&mut self, set: ConnSet) -> Self::Set;
}

impl Algebra for ConnTable {
    type Set = ConnId;

    fn of(&mut self, id: ConnId) -> ConnId {
        id
    }

    fn union(&mut self, a: &ConnId, b: &ConnId) -> ConnId {
        ConnTable::union(self, *a, *b)
    }

    fn intersect(&mut self, a: &ConnId, b: &ConnId) -> ConnId {
        ConnTable::intersect(self, *a, *b)
    }

    fn subtract(&mut self, a: &ConnId, b: &ConnId) -> ConnId {
        ConnTable::subtract(self, *a, *b)
    }

    fn made(&mut self, set: ConnSet) -> ConnId {
        self.intern(set)
    }
}

/// By value: for questions that may not change a table.
pub(super) struct ByValue<'a>(pub(super) &'a Connectivity);

impl Algebra for ByValue<'_> {
    type Set = ConnSet;

    fn of(&mut self, id: ConnId) -> ConnSet {
        self.0.conn(id).clone()
    }

    fn union(&mut self, a: &ConnSet, b: &ConnSet) -> ConnSet {
        a.union(b)
    }

    fn intersect(&mut self, a: &ConnSet, b: &ConnSet) -> ConnSet {
        a.intersect(b)
    }

    fn subtract(&mut self, a: &ConnSet, b: &ConnSet) -> ConnSet {
        a.subtract(b)
    }

    fn made(&mut self, set: ConnSet) -> ConnSet {
        set
    }
}

/// Columns by key, disjoint; few keys, so a list.
pub(super) struct Partition<K>(Vec<(K, Bits)>);

impl<K: Copy + PartialEq> Partition<K> {
    pub(super) fn new(key: K, columns: Bits) -> Self {
        Self(vec![(key, columns)])
    }

    /// Moves the columns of `peers` to the key that `change` gives.
    pub(super) fn shift(&mut self, peers: &Bits, mut change: impl FnMut(K) -> K) {
        let mut moved: SmallVec<[(K, Bits); 4]> = SmallVec::new();
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

    pub(super) fn into_parts(self) -> Vec<(K, Bits)> {
        self.0
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

/// Columns that an entry speaks of, and the set that it gives them.
type Part<'a> = (Cow<'a, Bits>, ConnId);
/// Mostly one.
type Parts<'a> = SmallVec<[Part<'a>; 1]>;

fn fold(
    entries: &[(Tier, Action, Parts<'_>)],
    tier: Tier,
    columns: &Bits,
    conns: &mut ConnTable,
) -> Partition<Decided> {
    let none = (ConnId::NONE, ConnId::NONE, ConnId::NONE);
    let mut cells = Partition::new(none, columns.clone());
    for (_, action, parts) in entries.iter().filter(|(of, ..)| *of == tier) {
        for (peers, conn) in parts {
            cells.shift(peers, |(allowed, denied, passed)| {
                let decided = conns.union(allowed, denied);
                let decided = conns.union(decided, passed);
                let fresh = conns.subtract(*conn, decided);
                match action {
                    Action::Allow => (conns.union(allowed, fresh), denied, passed),
                    Action::Deny => (allowed, conns.union(denied, fresh), passed),
                    Action::Pass => (allowed, denied, conns.union(passed, fresh)),
                }
            });
        }
    }
    cells
}

/// The columns over which a profile is evaluated.
pub(super) trait Columns {
    /// Every one.
    fn all(&self) -> &Bits;
    /// Those that a set of peers holds; it may hold others besides.
    fn of(&self, set: PeerSet) -> Option<&Bits>;
    /// True where a set of peers holds one.
    fn meets(&self, set: PeerSet) -> bool;
    /// The class of a column; none of the outside.
    fn class(&self, column: usize) -> Option<usize>;
}

/// Columns as they are numbered.
struct Plain<'a> {
    view: &'a Connectivity,
    space: Space,
    columns: &'a Bits,
}

impl Columns for Plain<'_> {
    fn all(&self) -> &Bits {
        self.columns
    }

    fn of(&self, set: PeerSet) -> Option<&Bits> {
        self.view.sets.get(set as usize).map(|set| &**set.of(self.space))
    }

    fn meets(&self, set: PeerSet) -> bool {
        self.view.sets.get(set as usize).is_some_and(|set| set.of(self.space).meets(self.columns))
    }

    fn class(&self, column: usize) -> Option<usize> {
        (self.space == Space::Classes).then_some(column)
    }
}

impl Connectivity {
    /// Evaluates a profile over `columns`: administrator's tier, then NetworkPolicies, then the baseline, then allow.
    /// Gives a partition of the columns that have anything, by set, ascending.
    pub(super) fn evaluate(
        &self,
        profile: &Profile,
        space: Space,
        columns: &Bits,
        conns: &mut ConnTable,
    ) -> Vec<(ConnId, Bits)> {
        self.evaluate_over(profile, &Plain { view: self, space, columns }, conns)
    }

    /// As [`Connectivity::evaluate`], over columns however they are numbered.
    pub(super) fn evaluate_over(
        &self,
        profile: &Profile,
        columns: &impl Columns,
        conns: &mut ConnTable,
    ) -> Vec<(ConnId, Bits)> {
        if columns.all().is_empty() {
            return Vec::new();
        }
        if profile.is_open() {
            return vec![(ConnId::ALL, columns.all().clone())];
        }
        // Of many rules, few speak of a few columns.
        let admin: Vec<(Tier, Action, Parts<'_>)> = profile
            .admin
            .iter()
            .filter(|admin| columns.meets(admin.entry.peers))
            .map(|admin| (admin.tier, admin.action, self.parts(&admin.entry, columns, conns)))
            .collect();
        // What is left after the administrator's tier goes to this one: allowed by it.
        let mut middle: Partition<ConnId>;
        if profile.isolated {
            middle = Partition::new(ConnId::NONE, columns.all().clone());
            for entry in profile.allowed.iter().filter(|entry| columns.meets(entry.peers)) {
                for (peers, conn) in self.parts(entry, columns, conns) {
                    middle.shift(&peers, |known| conns.union(known, conn));
                }
            }
        } else {
            middle = Partition(Vec::new());
            for ((_, denied, _), bits) in fold(&admin, Tier::Baseline, columns.all(), conns).0 {
                middle.put(conns.subtract(ConnId::ALL, denied), bits);
            }
        }
        let mut row: Partition<ConnId> = Partition(Vec::new());
        if admin.iter().any(|(tier, ..)| *tier == Tier::Admin) {
            for ((allowed, denied, _), bits) in fold(&admin, Tier::Admin, columns.all(), conns).0 {
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
        row.0
    }

    /// The columns of an entry; named ports give each destination its own set.
    fn parts<'c>(&self, entry: &Entry, columns: &'c impl Columns, conns: &mut ConnTable) -> Parts<'c> {
        let mut parts = Parts::new();
        let Some(bits) = columns.of(entry.peers) else { return parts };
        if entry.conn != ConnId::NONE {
            parts.push((Cow::Borrowed(bits), entry.conn));
        }
        if entry.named != NO_NAMES {
            let mut found: Vec<(u32, ConnId, Bits)> = Vec::new();
            for column in bits.and(columns.all()).iter() {
                let class = columns.class(column).and_then(|class| self.classes.get(class));
                let Some(ports) = class.map(|class| class.ports) else { continue };
                match found.iter_mut().find(|(known, ..)| *known == ports) {
                    Some((.., bits)) => bits.set(column),
                    None => {
                        let conn = conns.intern(self.resolved(entry.named, ports));
                        let mut bits = Bits::default();
                        bits.set(column);
                        found.push((ports, conn, bits));
                    }
                }
            }
            let resolved = found.into_iter().filter(|(_, conn, _)| *conn != ConnId::NONE);
            parts.extend(resolved.map(|(_, conn, bits)| (Cow::Owned(bits), conn)));
        }
        parts
    }

    /// What a profile allows with one column.
    pub(super) fn cell<A: Algebra>(
        &self,
        profile: &Profile,
        space: Space,
        column: usize,
        algebra: &mut A,
    ) -> A::Set {
        if profile.is_open() {
            return algebra.of(ConnId::ALL);
        }
        let holds =
            |entry: &Entry| self.sets.get(entry.peers as usize).is_some_and(|set| set.of(space).has(column));
        let none = algebra.of(ConnId::NONE);
        let mut decided = [Tier::Admin, Tier::Baseline].map(|_| [none.clone(), none.clone(), none.clone()]);
        for admin in profile.admin.iter().filter(|admin| holds(&admin.entry)) {
            let [first, last] = &mut decided;
            let [allowed, denied, passed] = if admin.tier == Tier::Admin { first } else { last };
            let conn = self.given(&admin.entry, space, column, algebra);
            let known = algebra.union(allowed, denied);
            let known = algebra.union(&known, passed);
            let fresh = algebra.subtract(&conn, &known);
            let slot = match admin.action {
                Action::Allow => allowed,
                Action::Deny => denied,
                Action::Pass => passed,
            };
            *slot = algebra.union(slot, &fresh);
        }
        let [[allowed, denied, _], [_, refused, _]] = decided;
        let everything = algebra.of(ConnId::ALL);
        let middle = if profile.isolated {
            let mut open = none;
            for entry in profile.allowed.iter().filter(|entry| holds(entry)) {
                let conn = self.given(entry, space, column, algebra);
                open = algebra.union(&open, &conn);
            }
            open
        } else {
            algebra.subtract(&everything, &refused)
        };
        let known = algebra.union(&allowed, &denied);
        let rest = algebra.subtract(&everything, &known);
        let open = algebra.intersect(&rest, &middle);
        algebra.union(&allowed, &open)
    }

    fn given<A: Algebra>(&self, entry: &Entry, space: Space, column: usize, algebra: &mut A) -> A::Set {
        let fixed = algebra.of(entry.conn);
        let ports = self.classes.get(column).filter(|_| entry.named != NO_NAMES && space == Space::Classes);
        match ports {
            Some(class) => {
                let resolved = algebra.made(self.resolved(entry.named, class.ports));
                algebra.union(&fixed, &resolved)
            }
            None => fixed,
        }
    }

    fn resolved(&self, named: u32, ports: u32) -> ConnSet {
        let names = self.named.get(named as usize).map(|names| names.as_slice()).unwrap_or_default();
        let ports = self.port_sets.get(ports as usize).map(|ports| ports.as_slice()).unwrap_or_default();
        super::compile::resolve(names, ports)
    }
}
