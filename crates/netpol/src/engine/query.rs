//! Questions to a connectivity: one pair, and every pair.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::matrix::Matrix;
use super::profile::ByValue;
use super::row::Row;
use super::{Class, Connectivity, Direction, Space};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable};
use crate::ip::IpRange;
use crate::objects::ObjectKey;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Index into [`Connectivity::endpoints`].
    Workload(usize),
    /// Addresses outside the cluster.
    Range(IpRange),
}

/// Every allowed connection between two different workloads, or a workload and the outside.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    conns: ConnTable,
    endpoints: usize,
    sources: Vec<IpRange>,
    destinations: Vec<IpRange>,
    /// Ends by number: endpoints first, then ranges.
    rows: Vec<(u32, u32, ConnId)>,
}

impl Rows {
    /// Source, destination and connection, never empty, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Peer, Peer, &ConnSet)> {
        let peer = |number: u32, ranges: &[IpRange]| {
            let outside = (number as usize).checked_sub(self.endpoints);
            outside
                .and_then(|index| ranges.get(index))
                .map_or(Peer::Workload(number as usize), |range| Peer::Range(*range))
        };
        self.rows.iter().map(move |&(source, destination, conn)| {
            (peer(source, &self.sources), peer(destination, &self.destinations), self.conns.get(conn))
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when nothing may connect.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Connectivity {
    /// What a profile allows with a column.
    pub(super) fn at(&self, profile: u32, space: Space, column: usize) -> ConnSet {
        match self.profiles.get(profile as usize) {
            Some(Some(profile)) => self.cell(profile, space, column, &mut ByValue(self)),
            _ => ConnSet::none(),
        }
    }

    /// The column of the outside that holds the first address of a range.
    pub(super) fn column(&self, peer: Peer, direction: Direction) -> Option<usize> {
        let Peer::Range(range) = peer else { return None };
        self.atoms(direction).slot_of(range)
    }

    pub(super) fn classes_of(&self, peer: Peer) -> &[u32] {
        match peer {
            Peer::Workload(index) => {
                self.endpoints.get(index).map(|endpoint| endpoint.classes.as_slice()).unwrap_or_default()
            }
            Peer::Range(_) => &[],
        }
    }

    pub(super) fn class(&self, index: u32) -> Option<&Class> {
        self.classes.get(index as usize)
    }

    /// What may connect from `source` to `destination`. A range is judged by the atom that holds its first address.
    /// A workload with itself: what its replicas may send each other.
    pub fn between(&self, source: Peer, destination: Peer) -> ConnSet {
        let mut all = ConnSet::none();
        match (source, destination) {
            (Peer::Workload(_), Peer::Workload(_)) => {
                for &s in self.classes_of(source) {
                    for &d in self.classes_of(destination) {
                        all = all.union(&self.between_classes(s, d));
                    }
                }
            }
            (Peer::Workload(_), Peer::Range(_)) => {
                for class in self.classes_of(source).iter().filter_map(|class| self.class(*class)) {
                    if let Some(column) = self.column(destination, Direction::Egress) {
                        all = all.union(&self.at(class.egress, Space::Outside, column));
                    }
                }
            }
            (Peer::Range(_), Peer::Workload(_)) => {
                for class in self.classes_of(destination).iter().filter_map(|class| self.class(*class)) {
                    if let Some(column) = self.column(source, Direction::Ingress) {
                        all = all.union(&self.at(class.ingress, Space::Outside, column));
                    }
                }
            }
            (Peer::Range(_), Peer::Range(_)) => {}
        }
        all
    }

    fn between_classes(&self, source: u32, destination: u32) -> ConnSet {
        let (Some(s), Some(d)) = (self.class(source), self.class(destination)) else {
            return ConnSet::none();
        };
        let out = self.at(s.egress, Space::Classes, destination as usize);
        out.intersect(&self.at(d.ingress, Space::Classes, source as usize))
    }

    /// As [`Connectivity::between`] for two workloads, by number of set.
    pub(crate) fn between_ids(&self, source: u32, destination: u32, conns: &mut ConnTable) -> ConnId {
        let mut all = ConnId::NONE;
        for &s in self.classes_at(source as usize) {
            for &d in self.classes_at(destination as usize) {
                let (Some(out), Some(into)) =
                    (self.profile_of(s, Direction::Egress), self.profile_of(d, Direction::Ingress))
                else {
                    continue;
                };
                let out = self.cell(out, Space::Classes, d as usize, conns);
                if out != ConnId::NONE {
                    let into = self.cell(into, Space::Classes, s as usize, conns);
                    let open = conns.intersect(out, into);
                    all = conns.union(all, open);
                }
            }
        }
        all
    }

    pub(super) fn selecting<'a>(
        &'a self,
        class: &'a Class,
        direction: Direction,
    ) -> impl Iterator<Item = &'a super::Policy> {
        let policies = class.policies(direction).iter();
        policies.filter_map(|index| self.policies.get(*index as usize)?.as_deref())
    }

    /// True when a policy of any kind selects some pod of the workload in the direction.
    pub fn is_selected(&self, workload: usize, direction: Direction) -> bool {
        let classes = self.classes_of(Peer::Workload(workload)).iter().filter_map(|class| self.class(*class));
        classes.into_iter().any(|class| self.selecting(class, direction).next().is_some())
    }

    /// True when a NetworkPolicy selects every pod of the workload in the direction.
    pub fn is_isolated(&self, workload: usize, direction: Direction) -> bool {
        let mut classes =
            self.classes_of(Peer::Workload(workload)).iter().filter_map(|class| self.class(*class));
        classes.all(|class| self.selecting(class, direction).any(|policy| policy.tier.is_none()))
    }

    /// The policies that select the workload in the direction.
    pub fn selected_by(&self, workload: usize, direction: Direction) -> Vec<&ObjectKey> {
        let classes = self.classes_of(Peer::Workload(workload)).iter().filter_map(|class| self.class(*class));
        let mut keys: Vec<_> =
            classes.flat_map(|class| self.selecting(class, direction)).map(|policy| &policy.key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// True where the very same policies, as they were or changed, are known to select a workload of both states. May
    /// say no although they do.
    pub(crate) fn selected_alike(
        &self,
        workload: usize,
        other: &Self,
        there: usize,
        direction: Direction,
    ) -> bool {
        let ([here], [there]) = (self.classes_at(workload), other.classes_at(there)) else { return false };
        let (Some(ours), Some(theirs)) = (self.class(*here), other.class(*there)) else { return false };
        let same = |id: &u32| match (self.policies.get(*id as usize), other.policies.get(*id as usize)) {
            (Some(Some(ours)), Some(Some(theirs))) => Arc::ptr_eq(ours, theirs) || ours.key == theirs.key,
            _ => false,
        };
        ours.policies(direction) == theirs.policies(direction) && ours.policies(direction).iter().all(same)
    }

    /// How many policies select the workload in the direction.
    pub(crate) fn selected_count(&self, workload: usize, direction: Direction) -> usize {
        match self.classes_of(Peer::Workload(workload)) {
            [class] => self.class(*class).map_or(0, |class| self.selecting(class, direction).count()),
            _ => self.selected_by(workload, direction).len(),
        }
    }

    /// Ranges into which the outside is cut, as sources or as destinations.
    pub fn ranges(&self, direction: Direction) -> &[IpRange] {
        self.atoms(direction).ranges()
    }

    /// The outside address range that holds an address.
    pub fn range_of(&self, address: IpAddr, direction: Direction) -> Option<IpRange> {
        self.ranges(direction).iter().find(|range| range.contains(address)).copied()
    }

    /// Every allowed connection. Time and size are those of the answer: workloads squared at worst.
    pub fn rows(&self) -> Rows {
        let matrix = self.matrix();
        let mut conns = matrix.conns.clone();
        let mut rows = Vec::new();
        let simple = self.endpoints.iter().all(|endpoint| endpoint.classes.len() <= 1);
        let mut merged: FxHashMap<(u32, u32), ConnId> = FxHashMap::default();
        let mut push = |conns: &mut ConnTable, source: u32, destination: u32, conn: ConnId| {
            if simple {
                rows.push((source, destination, conn));
            } else {
                let known = merged.entry((source, destination)).or_insert(ConnId::NONE);
                *known = conns.union(*known, conn);
            }
        };
        let outside = self.endpoints.len() as u32;
        let classes: Vec<&Class> = self.classes.iter().collect();
        let mut seen = vec![ConnId::NONE; self.profiles.len()];
        for (index, class) in classes.iter().enumerate() {
            let sources = class.members.as_slice();
            if sources.is_empty() {
                continue;
            }
            matrix.look(index, &mut seen);
            for (column, out) in matrix.row(class.egress).entries(0, usize::MAX) {
                let Some(destination) = classes.get(column) else {
                    if column - self.classes.len() >= self.destinations.ranges().len() {
                        continue;
                    }
                    let range = outside + (column - self.classes.len()) as u32;
                    for source in sources {
                        push(&mut conns, *source, range, out);
                    }
                    continue;
                };
                let admitted = seen.get(destination.ingress as usize).copied().unwrap_or(ConnId::NONE);
                if admitted == ConnId::NONE {
                    continue;
                }
                let conn = conns.intersect(out, admitted);
                if conn == ConnId::NONE {
                    continue;
                }
                for source in sources {
                    for destination in &destination.members {
                        if source != destination {
                            push(&mut conns, *source, *destination, conn);
                        }
                    }
                }
            }
            let told = self.classes.len() + self.sources.ranges().len();
            for (column, conn) in matrix.row(class.ingress).entries(self.classes.len(), told) {
                let range = outside + (column - self.classes.len()) as u32;
                for workload in sources {
                    push(&mut conns, range, *workload, conn);
                }
            }
        }
        rows.extend(merged.into_iter().map(|((source, destination), conn)| (source, destination, conn)));
        Rows {
            conns,
            endpoints: self.endpoints.len(),
            sources: self.sources.ranges().to_vec(),
            destinations: self.destinations.ranges().to_vec(),
            rows,
        }
    }

    /// For each endpoint, the number of other workloads that it can reach on some port; assumed peers reach none.
    pub fn reach(&self) -> Vec<u32> {
        let mut reached = vec![0; self.endpoints.len()];
        let mut stamps = vec![u32::MAX; self.endpoints.len()];
        let matrix = self.matrix();
        let classes: Vec<&Class> = self.classes.iter().collect();
        let mut seen = vec![ConnId::NONE; self.profiles.len()];
        let mut meets = Meets { conns: &matrix.conns, memo: FxHashMap::default() };
        let mut known: FxHashMap<&[u32], u32> = FxHashMap::default();
        // Where every workload is one class, a cell of all classes is counted by row, not by column.
        let simple = self.endpoints.iter().all(|endpoint| endpoint.classes.len() <= 1);
        let mut weights = vec![0u32; self.profiles.len()];
        for class in &classes {
            if let Some(weight) = weights.get_mut(class.ingress as usize) {
                *weight += class.members.len() as u32;
            }
        }
        for (index, endpoint) in self.endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed) {
            let key = endpoint.classes.as_slice();
            // Workloads of the same classes see the same, each without itself.
            let count = match known.get(key) {
                Some(count) => *count,
                None => {
                    let mut count = 0;
                    for &class in key {
                        matrix.look(class as usize, &mut seen);
                        let Some(row) = self.class(class).map(|class| matrix.row(class.egress)) else {
                            continue;
                        };
                        if let Some(out) = row.uniform(&self.live, self.classes.len()).filter(|_| simple) {
                            let open = seen
                                .iter()
                                .zip(&weights)
                                .filter(|(admitted, _)| meets.check(out, **admitted));
                            count += open.map(|(_, weight)| weight).sum::<u32>();
                            continue;
                        }
                        for (column, out) in row.entries(0, self.classes.len()) {
                            let Some(destination) = classes.get(column) else { continue };
                            let admitted = seen.get(destination.ingress as usize);
                            if !admitted.is_some_and(|admitted| meets.check(out, *admitted)) {
                                continue;
                            }
                            for member in &destination.members {
                                if let Some(stamp) = stamps.get_mut(*member as usize)
                                    && *stamp != index as u32
                                {
                                    *stamp = index as u32;
                                    count += 1;
                                }
                            }
                        }
                    }
                    known.insert(key, count);
                    count
                }
            };
            let own = !self.between(Peer::Workload(index), Peer::Workload(index)).is_empty();
            if let Some(slot) = reached.get_mut(index) {
                *slot = count - u32::from(own);
            }
        }
        reached
    }

    /// Workloads that may connect to this one, without itself, and on what; the order is that of classes.
    pub fn callers(&self, workload: usize) -> impl Iterator<Item = (usize, ConnSet)> {
        let matrix = self.matrix();
        self.classes_at(workload).iter().flat_map(move |&class| {
            let row = self.class(class).map(|class| matrix.row(class.ingress));
            let entries = row.into_iter().flat_map(|row| row.entries(0, self.classes.len()));
            entries.flat_map(move |(column, conn)| {
                let source = self.classes.get(column);
                let out = source.map(|source| matrix.row(source.egress).at(class as usize));
                let open = matrix.conns.get(conn).intersect(matrix.conns.get(out.unwrap_or_default()));
                let members = source.map(|source| source.members.as_slice()).filter(|_| !open.is_empty());
                let others = members.unwrap_or_default().iter().map(|member| *member as usize);
                others.filter(move |member| *member != workload).map(move |member| (member, open.clone()))
            })
        })
    }
}

/// What a difference of two whole views needs of the inside.
impl Connectivity {
    /// Ids of this one's sets in the other's table.
    pub(crate) fn ids_in(&self, other: &Self) -> Vec<Option<ConnId>> {
        let (ours, theirs) = (&self.matrix().conns, &other.matrix().conns);
        (0..ours.len() as u32).map(|id| theirs.find(ours.get(ConnId(id)))).collect()
    }

    /// True when classes have the same numbers in both, if their workloads do.
    pub(crate) fn same_columns(&self, other: &Self) -> bool {
        self.classes.len() == other.classes.len() && self.live == other.live
    }

    /// A table of the sets by which [`Connectivity::between_rows`] answers.
    pub(crate) fn matrix_table(&self) -> ConnTable {
        self.matrix().conns.clone()
    }

    /// As [`Connectivity::between_ids`], where very many pairs are asked about.
    pub(crate) fn between_rows(&self, source: usize, destination: usize, conns: &mut ConnTable) -> ConnId {
        let matrix = self.matrix();
        let mut all = ConnId::NONE;
        for &s in self.classes_at(source) {
            for &d in self.classes_at(destination) {
                let (Some(from), Some(to)) = (self.class(s), self.class(d)) else { continue };
                let out = matrix.row(from.egress).at(d as usize);
                if out != ConnId::NONE {
                    let open = conns.intersect(out, matrix.row(to.ingress).at(s as usize));
                    all = conns.union(all, open);
                }
            }
        }
        all
    }

    pub(crate) fn classes_at(&self, workload: usize) -> &[u32] {
        self.classes_of(Peer::Workload(workload))
    }

    /// Ranges of the outside: as told or, with `all`, every one that has a column.
    pub(crate) fn columns_outside(&self, direction: Direction, all: bool) -> &[IpRange] {
        let table = self.atoms(direction);
        if all { table.all_ranges() } else { table.ranges() }
    }

    /// True when IPv6 is told.
    pub(crate) fn is_wide(&self) -> bool {
        self.sources.is_wide()
    }

    /// Rows of a workload in a direction, by class.
    pub(crate) fn rows_of(&self, workload: usize, direction: Direction) -> Vec<u32> {
        let classes = self.classes_at(workload).iter().filter_map(|class| self.class(*class));
        classes.map(|class| class.profile(direction)).collect()
    }

    /// True when the rows of one connectivity equal those of another, over the columns of classes or of the outside.
    /// The columns must mean the same in both; `ids` are this one's sets in the other.
    pub(crate) fn same_rows(
        &self,
        ours: &[u32],
        other: &Self,
        theirs: &[u32],
        ids: &[Option<ConnId>],
        outside: bool,
    ) -> bool {
        let count = self.classes.len();
        let (from, to) = if outside { (count, self.width().max(other.width())) } else { (0, count) };
        let (left, right) = (self.matrix(), other.matrix());
        let same =
            |(ours, theirs): (&u32, &u32)| left.row(*ours).same_within(right.row(*theirs), ids, from, to);
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
    }

    fn width(&self) -> usize {
        self.classes.len() + self.sources.all_ranges().len().max(self.destinations.all_ranges().len())
    }

    /// The set of an id that [`Connectivity::dense`] gave.
    pub(crate) fn matrix_conn(&self, id: ConnId) -> &ConnSet {
        self.matrix().conns.get(id)
    }

    /// The rows by range of the outside.
    pub(crate) fn dense_outside(&self, rows: &[u32], direction: Direction) -> Vec<Vec<ConnId>> {
        let count = self.classes.len();
        let expand = |row: &u32| {
            let mut dense = vec![ConnId::NONE; self.atoms(direction).all_ranges().len()];
            for (column, conn) in self.matrix().row(*row).entries(count, usize::MAX) {
                if let Some(cell) = dense.get_mut(column - count) {
                    *cell = conn;
                }
            }
            dense
        };
        rows.iter().map(expand).collect()
    }

    /// The rows by class.
    pub(crate) fn dense(&self, rows: &[u32]) -> Vec<Vec<ConnId>> {
        let expand = |row: &u32| {
            let mut dense = vec![ConnId::NONE; self.classes.len()];
            for (column, conn) in self.matrix().row(*row).entries(0, self.classes.len()) {
                if let Some(cell) = dense.get_mut(column) {
                    *cell = conn;
                }
            }
            dense
        };
        rows.iter().map(expand).collect()
    }
}

/// What judging exposure needs of the inside.
impl Connectivity {
    /// Columns of the outside whose range is to be kept.
    pub(crate) fn outside_columns(&self, direction: Direction, keep: impl Fn(&IpRange) -> bool) -> Bits {
        let table = self.atoms(direction);
        let mut bits = Bits::default();
        for (range, slot) in table.all_ranges().iter().zip(table.slots()) {
            if keep(range) {
                bits.set(*slot as usize);
            }
        }
        bits
    }

    /// The column of an address as a source.
    pub(crate) fn source_column(&self, address: IpAddr) -> Option<usize> {
        self.sources.slot_of(IpRange::one(address))
    }

    /// What a workload may exchange with any of the columns of the outside.
    pub(crate) fn with_outside(
        &self,
        workload: usize,
        direction: Direction,
        columns: &Bits,
        conns: &mut ConnTable,
    ) -> ConnSet {
        let mut all = ConnId::NONE;
        for class in self.classes_at(workload) {
            let Some(profile) = self.profile_of(*class, direction) else { continue };
            for (conn, _) in self.evaluate(profile, Space::Outside, columns, conns) {
                all = conns.union(all, conn);
            }
        }
        conns.get(all).clone()
    }

    /// Classes from which a workload's policies admit anything.
    pub(crate) fn admitted_classes(&self, workload: usize, conns: &mut ConnTable) -> Bits {
        let mut all = Bits::default();
        for class in self.classes_at(workload) {
            let Some(profile) = self.profile_of(*class, Direction::Ingress) else { continue };
            for (_, columns) in self.evaluate(profile, Space::Classes, &self.live, conns) {
                all.add(&columns);
            }
        }
        all
    }

    /// Workloads of a class.
    pub(crate) fn members(&self, class: usize) -> &[u32] {
        self.classes.get(class).map(|class| class.members.as_slice()).unwrap_or_default()
    }

    /// Numbers of the workloads by printed name.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// The number of a workload by its printed name, such as `shop/web[Deployment]`.
    pub fn workload_named(&self, printed: &str) -> Option<usize> {
        let name =
            |id: &u32| self.endpoints.get(*id as usize).map_or("", |endpoint| endpoint.printed.as_ref());
        let at = self.order.binary_search_by(|id| name(id).cmp(printed)).ok()?;
        self.order.get(at).map(|id| *id as usize)
    }

    /// Numbers of the assumed peers.
    pub(crate) fn assumed(&self) -> Vec<u32> {
        let endpoints = self.endpoints.iter().enumerate();
        endpoints.filter(|(_, endpoint)| endpoint.assumed).map(|(index, _)| index as u32).collect()
    }

    /// True when the outside has the same columns in both, as far as that is cheap to tell.
    pub(crate) fn shares_outside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sources, &other.sources)
            && Arc::ptr_eq(&self.destinations, &other.destinations)
            && Arc::ptr_eq(&self.nodes, &other.nodes)
    }
}

impl Matrix {
    /// What every row of ingress has at a column, by profile.
    fn look(&self, column: usize, seen: &mut [ConnId]) {
        for &profile in &self.ingress {
            if let (Some(row), Some(at)) = (self.rows.get(profile as usize), seen.get_mut(profile as usize)) {
                *at = Row::at(row, column);
            }
        }
    }
}

/// Remembers whether two interned sets have anything in common.
struct Meets<'a> {
    conns: &'a ConnTable,
    memo: FxHashMap<(ConnId, ConnId), bool>,
}

impl Meets<'_> {
    fn check(&mut self, a: ConnId, b: ConnId) -> bool {
        match (a, b) {
            (ConnId::NONE, _) | (_, ConnId::NONE) => false,
            (ConnId::ALL, _) | (_, ConnId::ALL) => true,
            _ => *self
                .memo
                .entry((a, b))
                .or_insert_with(|| !self.conns.get(a).intersect(self.conns.get(b)).is_empty()),
        }
    }
}
