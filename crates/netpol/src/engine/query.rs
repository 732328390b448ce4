//! Questions to a connectivity: one pair, every pair, and why.

use std::fmt;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::compile::resolve;
use super::row::Row;
use super::{BlockPods, Class, CompiledRule, Connectivity, Direction};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable, Protocol};
use crate::ip::IpRange;
use crate::objects::{Action, ObjectKey};

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

/// What is declared about one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
    /// Depends on what is not in view or on the network plugin.
    Unknown,
}

/// One rule or policy that had a say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    pub policy: ObjectKey,
    /// File or event that the policy came from.
    pub source: Option<String>,
    /// `None`: the policy isolates the pod and none of its rules matches.
    pub rule: Option<usize>,
    /// Name of the rule, where it has one.
    pub name: String,
    /// `allow`, `deny`, `pass` or `isolate`.
    pub action: &'static str,
    /// Ports that the rule speaks about.
    pub conn: ConnSet,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.policy)?;
        match self.rule {
            Some(rule) if self.name.is_empty() => write!(f, " rule {rule}")?,
            Some(rule) => write!(f, " rule {rule} ({})", self.name)?,
            None => {}
        }
        write!(f, " {}", self.action)?;
        if self.rule.is_some() { write!(f, " {}", self.conn) } else { Ok(()) }
    }
}

/// One direction of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// A NetworkPolicy selects the pod in this direction.
    pub isolated: bool,
    /// What this side allows.
    pub conn: ConnSet,
    /// Rules that match the peer, in order of evaluation; empty: default allow.
    pub decisions: Vec<Decision>,
}

/// Why two peers may connect, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub conn: ConnSet,
    /// `None` where the source is outside the cluster.
    pub egress: Option<Side>,
    /// `None` where the destination is outside the cluster.
    pub ingress: Option<Side>,
}

impl Connectivity {
    fn row(&self, index: u32) -> &Row {
        static EMPTY: Row = Row::Sparse(Vec::new());
        self.rows.get(index as usize).unwrap_or(&EMPTY)
    }

    fn column(&self, peer: Peer, direction: Direction) -> Option<usize> {
        let Peer::Range(range) = peer else { return None };
        let atoms = if direction == Direction::Ingress { &self.sources } else { &self.destinations };
        let found = atoms.inside(IpRange { last: range.first, ..range });
        // The atom that holds the first address.
        Some(self.classes.len() + found.end.checked_sub(1)?)
    }

    fn classes_of(&self, peer: Peer) -> &[u32] {
        match peer {
            Peer::Workload(index) => {
                self.endpoints.get(index).map(|endpoint| endpoint.classes.as_slice()).unwrap_or_default()
            }
            Peer::Range(_) => &[],
        }
    }

    fn class(&self, index: u32) -> Option<&Class> {
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
                        all = all.union(self.conns.get(self.row(class.egress).at(column)));
                    }
                }
            }
            (Peer::Range(_), Peer::Workload(_)) => {
                for class in self.classes_of(destination).iter().filter_map(|class| self.class(*class)) {
                    if let Some(column) = self.column(source, Direction::Ingress) {
                        all = all.union(self.conns.get(self.row(class.ingress).at(column)));
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
        let out = self.conns.get(self.row(s.egress).at(destination as usize));
        out.intersect(self.conns.get(self.row(d.ingress).at(source as usize)))
    }

    /// The verdict on one packet; [`Verdict::Unknown`] where a side has host networking or, with
    /// [`BlockPods::Unknown`], an address block may or may not match the peer.
    pub fn verdict(&self, source: Peer, destination: Peer, protocol: Protocol, port: u16) -> Verdict {
        if source == destination {
            return Verdict::Allow;
        }
        if self.between(source, destination).contains(protocol, port) {
            return Verdict::Allow;
        }
        let host = |peer: Peer| match peer {
            Peer::Workload(index) => self.endpoints.get(index).is_some_and(|endpoint| endpoint.host_network),
            Peer::Range(_) => false,
        };
        let blocks = self.options.block_pods == BlockPods::Unknown
            && (self.block_may_match(source, Direction::Egress)
                || self.block_may_match(destination, Direction::Ingress));
        if host(source) || host(destination) || blocks { Verdict::Unknown } else { Verdict::Deny }
    }

    /// True when a policy that selects the peer names addresses in this direction.
    fn block_may_match(&self, peer: Peer, direction: Direction) -> bool {
        self.classes_of(peer).iter().filter_map(|class| self.class(*class)).any(|class| {
            self.selecting(class, direction).any(|policy| {
                policy.rules(direction).unwrap_or_default().iter().any(|rule| {
                    let set = self.sets.get(rule.peers as usize);
                    set.is_some_and(|set| set.iter().any(|column| column >= self.classes.len()))
                })
            })
        })
    }

    fn selecting<'a>(
        &'a self,
        class: &'a Class,
        direction: Direction,
    ) -> impl Iterator<Item = &'a super::Policy> {
        let listed = match direction {
            Direction::Ingress => &class.ingress_policies,
            Direction::Egress => &class.egress_policies,
        };
        listed.iter().filter_map(|index| self.policies.get(*index as usize))
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

    /// Ranges into which the outside is cut, as sources or as destinations.
    pub fn ranges(&self, direction: Direction) -> &[IpRange] {
        match direction {
            Direction::Ingress => self.sources.ranges(),
            Direction::Egress => self.destinations.ranges(),
        }
    }

    /// The outside address range that holds an address.
    pub fn range_of(&self, address: IpAddr, direction: Direction) -> Option<IpRange> {
        self.ranges(direction).iter().find(|range| range.contains(address)).copied()
    }

    /// Every allowed connection. Time and size are those of the answer: workloads squared at worst.
    pub fn rows(&self) -> Rows {
        let mut conns = self.conns.clone();
        let mut rows = Vec::new();
        let members = &self.members;
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
        let mut seen = vec![ConnId::NONE; self.ingress_rows];
        for (index, class) in self.classes.iter().enumerate() {
            let Some(sources) = members.get(index).filter(|list| !list.is_empty()) else { continue };
            for (row, at) in self.rows.iter().zip(&mut seen) {
                *at = row.at(index);
            }
            for (column, out) in self.row(class.egress).entries(0, usize::MAX) {
                let Some(destination) = self.classes.get(column) else {
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
                    for destination in members.get(column).into_iter().flatten() {
                        if source != destination {
                            push(&mut conns, *source, *destination, conn);
                        }
                    }
                }
            }
            for (column, conn) in self.row(class.ingress).entries(self.classes.len(), usize::MAX) {
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
        let mut seen = vec![ConnId::NONE; self.ingress_rows];
        let mut meets = Meets { connectivity: self, memo: FxHashMap::default() };
        let mut known: FxHashMap<&[u32], u32> = FxHashMap::default();
        // Where every workload is one class, a cell of all classes is counted by row, not by column.
        let simple = self.endpoints.iter().all(|endpoint| endpoint.classes.len() <= 1);
        let mut weights = vec![0u32; self.ingress_rows];
        for (class, members) in self.classes.iter().zip(&self.members) {
            if let Some(weight) = weights.get_mut(class.ingress as usize) {
                *weight += members.len() as u32;
            }
        }
        let mut all = Bits::empty(self.width());
        all.fill(0, self.classes.len());
        for (index, endpoint) in self.endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed) {
            let key = endpoint.classes.as_slice();
            // Workloads of the same classes see the same, each without itself.
            let count = match known.get(key) {
                Some(count) => *count,
                None => {
                    let mut count = 0;
                    for &class in key {
                        for (row, at) in self.rows.iter().zip(&mut seen) {
                            *at = row.at(class as usize);
                        }
                        let Some(row) = self.class(class).map(|class| self.row(class.egress)) else {
                            continue;
                        };
                        if let Some(out) = row.uniform(&all, self.classes.len()).filter(|_| simple) {
                            let open = seen
                                .iter()
                                .zip(&weights)
                                .filter(|(admitted, _)| meets.check(out, **admitted));
                            count += open.map(|(_, weight)| weight).sum::<u32>();
                            continue;
                        }
                        for (column, out) in row.entries(0, self.classes.len()) {
                            let admitted =
                                self.classes.get(column).and_then(|class| seen.get(class.ingress as usize));
                            if !admitted.is_some_and(|admitted| meets.check(out, *admitted)) {
                                continue;
                            }
                            for member in self.members.get(column).into_iter().flatten() {
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
        self.classes_at(workload).iter().flat_map(move |&class| {
            let row = self.class(class).map(|class| self.row(class.ingress));
            let entries = row.into_iter().flat_map(|row| row.entries(0, self.classes.len()));
            entries.flat_map(move |(column, conn)| {
                let out = self.classes.get(column).map(|source| self.row(source.egress).at(class as usize));
                let open = self.conns.get(conn).intersect(self.conns.get(out.unwrap_or_default()));
                let members = self.members.get(column).filter(|_| !open.is_empty());
                let others = members.into_iter().flatten().map(|member| *member as usize);
                others.filter(move |member| *member != workload).map(move |member| (member, open.clone()))
            })
        })
    }

    /// Why `source` may connect to `destination`: both sides, with the rules that match. For a workload with several
    /// label sets the decisions of all of them are listed.
    pub fn explain(&self, source: Peer, destination: Peer) -> Explanation {
        Explanation {
            conn: self.between(source, destination),
            egress: self.side(source, destination, Direction::Egress),
            ingress: self.side(destination, source, Direction::Ingress),
        }
    }

    fn side(&self, subject: Peer, other: Peer, direction: Direction) -> Option<Side> {
        let Peer::Workload(_) = subject else { return None };
        let columns: Vec<usize> = match other {
            Peer::Workload(_) => self.classes_of(other).iter().map(|class| *class as usize).collect(),
            Peer::Range(_) => self.column(other, direction).into_iter().collect(),
        };
        let mut side = Side { isolated: false, conn: ConnSet::none(), decisions: Vec::new() };
        for class in self.classes_of(subject).iter().filter_map(|class| self.class(*class)) {
            let row = match direction {
                Direction::Ingress => class.ingress,
                Direction::Egress => class.egress,
            };
            for column in &columns {
                side.conn = side.conn.union(self.conns.get(self.row(row).at(*column)));
            }
            for policy in self.selecting(class, direction) {
                side.isolated |= policy.tier.is_none();
                let before = side.decisions.len();
                for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                    for column in &columns {
                        if !self.sets.get(rule.peers as usize).is_some_and(|set| set.has(*column)) {
                            continue;
                        }
                        let ports = if direction == Direction::Ingress {
                            Some(class)
                        } else {
                            self.classes.get(*column)
                        };
                        let decision = Decision {
                            policy: policy.key.clone(),
                            source: policy.source.clone(),
                            rule: Some(index),
                            name: rule.name.clone(),
                            action: action(rule),
                            conn: self.rule_conn(rule, ports),
                        };
                        if !side.decisions.contains(&decision) {
                            side.decisions.push(decision);
                        }
                    }
                }
                if policy.tier.is_none() && side.decisions.len() == before {
                    let decision = Decision {
                        policy: policy.key.clone(),
                        source: policy.source.clone(),
                        rule: None,
                        name: String::new(),
                        action: "isolate",
                        conn: ConnSet::none(),
                    };
                    if !side.decisions.contains(&decision) {
                        side.decisions.push(decision);
                    }
                }
            }
        }
        Some(side)
    }

    fn rule_conn(&self, rule: &CompiledRule, destination: Option<&Class>) -> ConnSet {
        let fixed = self.conns.get(rule.ports.fixed);
        let ports = destination.and_then(|class| self.port_sets.get(class.ports as usize));
        ports.map_or_else(|| fixed.clone(), |ports| fixed.union(&resolve(&rule.ports.named, ports)))
    }
}

fn action(rule: &CompiledRule) -> &'static str {
    match rule.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    }
}

/// What a difference needs of the inside.
impl Connectivity {
    /// Ids of this table's sets in the other's.
    pub(crate) fn ids_in(&self, other: &Self) -> Vec<Option<ConnId>> {
        (0..self.conns.len() as u32).map(|id| other.conns.find(self.conns.get(ConnId(id)))).collect()
    }

    pub(crate) fn classes_at(&self, workload: usize) -> &[u32] {
        self.classes_of(Peer::Workload(workload))
    }

    /// Rows of a workload in a direction, by class.
    pub(crate) fn rows_of(&self, workload: usize, direction: Direction) -> Vec<u32> {
        let classes = self.classes_at(workload).iter().filter_map(|class| self.class(*class));
        classes
            .map(|class| if direction == Direction::Ingress { class.ingress } else { class.egress })
            .collect()
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
        let same =
            |(ours, theirs): (&u32, &u32)| self.row(*ours).same_within(other.row(*theirs), ids, from, to);
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
    }

    fn width(&self) -> usize {
        self.classes.len() + self.sources.ranges().len().max(self.destinations.ranges().len())
    }

    /// Columns of the outside whose range is to be kept.
    pub(crate) fn outside_columns(&self, direction: Direction, keep: impl Fn(&IpRange) -> bool) -> Bits {
        let count = self.classes.len();
        let mut bits = Bits::empty(self.width());
        for (index, range) in self.ranges(direction).iter().enumerate() {
            if keep(range) {
                bits.set(count + index);
            }
        }
        bits
    }

    /// What a workload may exchange with any of the columns.
    pub(crate) fn with_columns(&self, workload: usize, direction: Direction, columns: &Bits) -> ConnSet {
        let mut all = ConnSet::none();
        for row in self.rows_of(workload, direction) {
            for conn in self.row(row).sets_at(columns) {
                all = all.union(self.conns.get(conn));
            }
        }
        all
    }

    /// The set of an id of this connectivity.
    pub(crate) fn conn(&self, id: ConnId) -> &ConnSet {
        self.conns.get(id)
    }

    /// The rows by range of the outside.
    pub(crate) fn dense_outside(&self, rows: &[u32], direction: Direction) -> Vec<Vec<ConnId>> {
        let count = self.classes.len();
        let expand = |row: &u32| {
            let mut dense = vec![ConnId::NONE; self.ranges(direction).len()];
            for (column, conn) in self.row(*row).entries(count, usize::MAX) {
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
            for (column, conn) in self.row(*row).entries(0, self.classes.len()) {
                if let Some(cell) = dense.get_mut(column) {
                    *cell = conn;
                }
            }
            dense
        };
        rows.iter().map(expand).collect()
    }
}

/// Remembers whether two interned sets have anything in common.
struct Meets<'a> {
    connectivity: &'a Connectivity,
    memo: FxHashMap<(ConnId, ConnId), bool>,
}

impl Meets<'_> {
    fn check(&mut self, a: ConnId, b: ConnId) -> bool {
        match (a, b) {
            (ConnId::NONE, _) | (_, ConnId::NONE) => false,
            (ConnId::ALL, _) | (_, ConnId::ALL) => true,
            _ => *self.memo.entry((a, b)).or_insert_with(|| {
                let conns = &self.connectivity.conns;
                !conns.get(a).intersect(conns.get(b)).is_empty()
            }),
        }
    }
}
