//! Sets of connections: protocol × destination port.
//!
//! Ports are 1–65535 of TCP, UDP and SCTP, the three protocols that policies know.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::bits::Bits;

/// Lowest port of a set.
pub const PORT_MIN: u16 = 1;
/// Highest port of a set.
pub const PORT_MAX: u16 = u16::MAX;

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Sctp,
    Tcp,
    Udp,
}

impl Protocol {
    /// The three, in the order in which they are printed.
    pub const ALL: [Self; 3] = [Self::Sctp, Self::Tcp, Self::Udp];

    /// Name as in Kubernetes objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sctp => "SCTP",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Reads a name as in Kubernetes objects; case matters there.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }
}

/// Sorted, disjoint, not touching, inclusive ranges of ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSet(SmallVec<[(u16, u16); 2]>);

impl PortSet {
    /// Every port.
    pub fn full() -> Self {
        Self::range(PORT_MIN, PORT_MAX)
    }

    /// The ports `low..=high`; empty when `low > high`.
    pub fn range(low: u16, high: u16) -> Self {
        let low = low.max(PORT_MIN);
        let mut ranges = SmallVec::new();
        if low <= high {
            ranges.push((low, high));
        }
        Self(ranges)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// True when no port is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when every port is in it.
    pub fn is_full(&self) -> bool {
        self.0.as_slice() == [(PORT_MIN, PORT_MAX)]
    }

    /// True when the port is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|&(low, high)| low <= port && port <= high)
    }

    fn union(&self, other: &Self) -> Self {
        let mut all: SmallVec<[(u16, u16); 4]> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut ranges: SmallVec<[(u16, u16); 2]> = SmallVec::new();
        for (low, high) in all {
            match ranges.last_mut() {
                Some(last) if u32::from(low) <= u32::from(last.1) + 1 => last.1 = last.1.max(high),
                _ => ranges.push((low, high)),
            }
        }
        Self(ranges)
    }

    fn intersect(&self, other: &Self) -> Self {
        let mut ranges = SmallVec::new();
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (ours.peek(), theirs.peek()) {
            let (low, high) = (a.max(c), b.min(d));
            if low <= high {
                ranges.push((low, high));
            }
            if b <= d {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(ranges)
    }

    fn complement(&self) -> Self {
        let mut ranges = SmallVec::new();
        let mut next = u32::from(PORT_MIN);
        for &(low, high) in &self.0 {
            if next < u32::from(low) {
                ranges.push((next as u16, low - 1));
            }
            next = u32::from(high) + 1;
        }
        if next <= u32::from(PORT_MAX) {
            ranges.push((next as u16, PORT_MAX));
        }
        Self(ranges)
    }
}

/// A set of (protocol, port) pairs.
///
/// `Display` gives the form that users of network-policy tools parse: `All Connections`, `No Connections`, or
/// `SCTP 1-65535,TCP 80,443-500`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnSet {
    sctp: PortSet,
    tcp: PortSet,
    udp: PortSet,
}

impl ConnSet {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every port of every protocol.
    pub fn all() -> Self {
        Self { sctp: PortSet::full(), tcp: PortSet::full(), udp: PortSet::full() }
    }

    /// The ports `low..=high` of one protocol.
    pub fn range(protocol: Protocol, low: u16, high: u16) -> Self {
        let mut set = Self::default();
        *set.ports_mut(protocol) = PortSet::range(low, high);
        set
    }

    /// Reads what [`ConnSet`] prints: `All Connections`, `No Connections`, or `SCTP 1-65535,TCP 80,443-500`. None for
    /// another text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "All Connections" => return Some(Self::all()),
            "No Connections" => return Some(Self::none()),
            _ => {}
        }
        let (mut found, mut protocol) = (Self::none(), None);
        for word in text.split(',') {
            let ports = match word.split_once(' ') {
                Some((name, ports)) => {
                    protocol = Some(Protocol::parse(name)?);
                    ports
                }
                None => word,
            };
            let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            if low > high {
                return None;
            }
            found = found.union(&Self::range(protocol?, low, high));
        }
        Some(found)
    }

    /// The ports of one protocol.
    pub fn ports(&self, protocol: Protocol) -> &PortSet {
        match protocol {
            Protocol::Sctp => &self.sctp,
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    fn ports_mut(&mut self, protocol: Protocol) -> &mut PortSet {
        match protocol {
            Protocol::Sctp => &mut self.sctp,
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
        }
    }

    fn zip(&self, other: &Self, join: impl Fn(&PortSet, &PortSet) -> PortSet) -> Self {
        Self {
            sctp: join(&self.sctp, &other.sctp),
            tcp: join(&self.tcp, &other.tcp),
            udp: join(&self.udp, &other.udp),
        }
    }

    /// What either has.
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, PortSet::union)
    }

    /// What both have.
    pub fn intersect(&self, other: &Self) -> Self {
        self.zip(other, PortSet::intersect)
    }

    /// What this one has and the other has not.
    pub fn subtract(&self, other: &Self) -> Self {
        self.zip(other, |ours, theirs| ours.intersect(&theirs.complement()))
    }

    /// True when it has nothing.
    pub fn is_empty(&self) -> bool {
        self.sctp.is_empty() && self.tcp.is_empty() && self.udp.is_empty()
    }

    /// True when it has everything.
    pub fn is_all(&self) -> bool {
        self.sctp.is_full() && self.tcp.is_full() && self.udp.is_full()
    }

    /// True when the pair is in it.
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.ports(protocol).contains(port)
    }

    /// Bytes that it takes, with those on the heap.
    fn bytes(&self) -> usize {
        let heap = |ports: &PortSet| if ports.0.spilled() { size_of_val(ports.0.as_slice()) } else { 0 };
        size_of::<Self>()
            + Protocol::ALL.into_iter().map(|protocol| heap(self.ports(protocol))).sum::<usize>()
    }

    /// True when the other is a subset of this one.
    pub fn covers(&self, other: &Self) -> bool {
        other.subtract(self).is_empty()
    }
}

impl fmt::Display for ConnSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("All Connections");
        }
        if self.is_empty() {
            return f.write_str("No Connections");
        }
        let mut first = true;
        for protocol in Protocol::ALL {
            let mut lead = true;
            for &(low, high) in self.ports(protocol).ranges() {
                if !first {
                    f.write_str(",")?;
                }
                if lead {
                    write!(f, "{} ", protocol.as_str())?;
                }
                (first, lead) = (false, false);
                if low == high { write!(f, "{low}")? } else { write!(f, "{low}-{high}")? }
            }
        }
        Ok(())
    }
}

impl Serialize for ConnSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a set of connections"))
    }
}

/// Name of an interned [`ConnSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u32);

impl ConnId {
    /// The empty set, in every table.
    pub const NONE: Self = Self(0);
    /// The full set, in every table.
    pub const ALL: Self = Self(1);
}

/// Interned connection sets with remembered operations: a few thousand distinct sets serve a whole cluster. Sets that
/// nobody uses any more go with [`ConnTable::sweep`], and their numbers are given out again.
#[derive(Debug, Clone)]
pub struct ConnTable {
    sets: Vec<Arc<ConnSet>>,
    ids: rustc_hash::FxHashMap<Arc<ConnSet>, ConnId>,
    memo: rustc_hash::FxHashMap<(u8, ConnId, ConnId), ConnId>,
    free: Vec<ConnId>,
    /// Numbers given out since they were last taken.
    fresh: Vec<ConnId>,
    /// Bytes that the sets take, about.
    bytes: usize,
}

impl Default for ConnTable {
    fn default() -> Self {
        let mut table = Self {
            sets: Vec::new(),
            ids: Default::default(),
            memo: Default::default(),
            free: Vec::new(),
            fresh: Vec::new(),
            bytes: 0,
        };
        table.intern(ConnSet::none());
        table.intern(ConnSet::all());
        table
    }
}

impl ConnTable {
    /// A table of sets by number; the first two are the empty and the full one, and what is empty besides is free.
    pub(crate) fn of<'a>(sets: impl Iterator<Item = &'a Arc<ConnSet>>) -> Self {
        let mut table = Self::default();
        for (at, set) in sets.enumerate().skip(table.sets.len()) {
            let id = ConnId(at as u32);
            table.bytes += set.bytes();
            table.sets.push(Arc::clone(set));
            if !set.is_empty() {
                table.ids.insert(Arc::clone(set), id);
            }
        }
        table
    }

    /// The id of a set.
    pub fn intern(&mut self, set: ConnSet) -> ConnId {
        if let Some(&id) = self.ids.get(&set) {
            return id;
        }
        self.bytes += set.bytes();
        let set = Arc::new(set);
        let id = self.free.pop().unwrap_or(ConnId(self.sets.len() as u32));
        match self.sets.get_mut(id.0 as usize) {
            Some(slot) => *slot = Arc::clone(&set),
            None => self.sets.push(Arc::clone(&set)),
        }
        self.ids.insert(set, id);
        self.fresh.push(id);
        id
    }

    /// The set of an id; an id of another table gives the empty set.
    pub fn get(&self, id: ConnId) -> &ConnSet {
        static NONE: std::sync::LazyLock<ConnSet> = std::sync::LazyLock::new(ConnSet::none);
        self.sets.get(id.0 as usize).map_or(&NONE, Arc::as_ref)
    }

    /// The id of a set that may not be there.
    pub fn find(&self, set: &ConnSet) -> Option<ConnId> {
        self.ids.get(set).copied()
    }

    /// As [`ConnTable::get`], to be shared.
    pub(crate) fn share(&self, id: ConnId) -> Arc<ConnSet> {
        self.sets.get(id.0 as usize).map_or_else(|| Arc::new(ConnSet::none()), Arc::clone)
    }

    /// Numbers that were given out since this was asked last.
    pub(crate) fn take_fresh(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.fresh)
    }

    /// Bytes that sets and remembered operations take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.memo.len() * 2 * size_of::<((u8, ConnId, ConnId), ConnId)>()
    }

    /// Lets go of every set but those in use, and of what is remembered of operations. Gives the numbers that became
    /// free: they give the empty set until they are given out again.
    pub(crate) fn sweep(&mut self, used: &Bits) -> Vec<ConnId> {
        let none = Arc::clone(self.sets.first().unwrap_or(&Arc::default()));
        let mut freed = Vec::new();
        for (at, slot) in self.sets.iter_mut().enumerate().skip(2) {
            if !used.has(at) && !slot.is_empty() {
                let gone = std::mem::replace(slot, Arc::clone(&none));
                self.ids.remove(&gone);
                self.bytes -= gone.bytes();
                freed.push(ConnId(at as u32));
            }
        }
        self.memo = Default::default();
        self.ids.shrink_to_fit();
        self.free.extend(freed.iter().rev());
        freed
    }

    fn remembered(
        &mut self,
        op: u8,
        a: ConnId,
        b: ConnId,
        apply: fn(&ConnSet, &ConnSet) -> ConnSet,
    ) -> ConnId {
        if let Some(&id) = self.memo.get(&(op, a, b)) {
            return id;
        }
        let set = apply(self.get(a), self.get(b));
        let id = self.intern(set);
        self.memo.insert((op, a, b), id);
        id
    }

    /// What either has.
    pub fn union(&mut self, a: ConnId, b: ConnId) -> ConnId {
        match (a, b) {
            _ if a == b => a,
            (ConnId::NONE, other) | (other, ConnId::NONE) => other,
            (ConnId::ALL, _) | (_, ConnId::ALL) => ConnId::ALL,
            _ => self.remembered(0, a.min(b), a.max(b), ConnSet::union),
        }
    }

    /// What both have.
    pub fn intersect(&mut self, a: ConnId, b: ConnId) -> ConnId {
        match (a, b) {
            _ if a == b => a,
            (ConnId::NONE, _) | (_, ConnId::NONE) => ConnId::NONE,
            (ConnId::ALL, other) | (other, ConnId::ALL) => other,
            _ => self.remembered(1, a.min(b), a.max(b), ConnSet::intersect),
        }
    }

    /// What the first has and the second has not.
    pub fn subtract(&mut self, a: ConnId, b: ConnId) -> ConnId {
        match (a, b) {
            _ if a == b => ConnId::NONE,
            (ConnId::NONE, _) | (_, ConnId::ALL) => ConnId::NONE,
            (_, ConnId::NONE) => a,
            _ => self.remembered(2, a, b, ConnSet::subtract),
        }
    }

    /// Number of distinct sets.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: the empty and the full set are always there.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_parsers_expect() {
        let tcp = ConnSet::range(Protocol::Tcp, 80, 80).union(&ConnSet::range(Protocol::Tcp, 443, 500));
        let mixed = tcp.union(&ConnSet::range(Protocol::Sctp, 1, u16::MAX));
        assert_eq!(mixed.to_string(), "SCTP 1-65535,TCP 80,443-500");
        assert_eq!(ConnSet::all().to_string(), "All Connections");
        assert_eq!(ConnSet::none().to_string(), "No Connections");
        let gap = ConnSet::all().subtract(&ConnSet::range(Protocol::Tcp, 80, 80));
        assert_eq!(gap.to_string(), "SCTP 1-65535,TCP 1-79,81-65535,UDP 1-65535");
        assert_eq!(gap.union(&ConnSet::range(Protocol::Tcp, 80, 80)), ConnSet::all());
    }

    #[test]
    fn a_swept_table_keeps_what_is_used_and_gives_numbers_out_again() {
        let port = |port: u16| ConnSet::range(Protocol::Tcp, port, port);
        let mut table = ConnTable::default();
        let ids: Vec<ConnId> = (1..100).map(|number| table.intern(port(number))).collect();
        assert_eq!(table.take_fresh().len(), 101);
        table.union(ids[1], ids[2]);
        let mut used = Bits::default();
        used.set(ids[7].0 as usize);
        let (len, freed) = (table.sets.len(), table.sweep(&used));
        assert_eq!((table.len(), freed.len()), (3, 99));
        assert_eq!((table.get(ids[7]), table.get(ids[8])), (&port(8), &ConnSet::none()));
        assert_eq!((table.find(&port(8)), table.find(&port(9))), (Some(ids[7]), None));
        assert_eq!(
            (table.find(&ConnSet::none()), table.find(&ConnSet::all())),
            (Some(ConnId::NONE), Some(ConnId::ALL))
        );
        let again = table.intern(port(9));
        assert!(freed.contains(&again) && table.sets.len() == len && table.take_fresh().contains(&again));
        let copy = ConnTable::of(table.sets.iter());
        assert_eq!((copy.find(&port(8)), copy.find(&port(9)), copy.len()), (Some(ids[7]), Some(again), 4));
        assert!(table.sweep(&Bits::default()).len() == 2 && table.bytes() < copy.bytes());
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_sets_of_ports(a in ranges(), b in ranges(), port in 1u16..60) {
            let (left, right) = (build(&a), build(&b));
            let (l, r) = (holds(&a, port), holds(&b, port));
            let protocol = Protocol::Udp;
            proptest::prop_assert_eq!(left.union(&right).contains(protocol, port), l || r);
            proptest::prop_assert_eq!(left.intersect(&right).contains(protocol, port), l && r);
            proptest::prop_assert_eq!(left.subtract(&right).contains(protocol, port), l && !r);
            proptest::prop_assert_eq!(ConnSet::all().subtract(&left).contains(protocol, port), !l);
            proptest::prop_assert_eq!(left.union(&right), right.union(&left));
        }
    }

    fn ranges() -> impl proptest::strategy::Strategy<Value = Vec<(u16, u16)>> {
        proptest::collection::vec((1u16..60, 0u16..12), 0..6)
    }

    fn build(ranges: &[(u16, u16)]) -> ConnSet {
        ranges.iter().fold(ConnSet::none(), |set, &(low, more)| {
            set.union(&ConnSet::range(Protocol::Udp, low, low + more))
        })
    }

    fn holds(ranges: &[(u16, u16)], port: u16) -> bool {
        ranges.iter().any(|&(low, more)| low <= port && port <= low + more)
    }
}
