//! Sets of connections: protocol × destination port.
//!
//! Ports are 1–65535 of TCP, UDP and SCTP, the three protocols that policies know.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

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

/// Interned connection sets with remembered operations: a few thousand distinct sets serve a whole cluster.
#[derive(Debug, Clone)]
pub struct ConnTable {
    sets: Vec<ConnSet>,
    ids: rustc_hash::FxHashMap<ConnSet, ConnId>,
    memo: rustc_hash::FxHashMap<(u8, ConnId, ConnId), ConnId>,
}

impl Default for ConnTable {
    fn default() -> Self {
        let mut table = Self { sets: Vec::new(), ids: Default::default(), memo: Default::default() };
        table.intern(ConnSet::none());
        table.intern(ConnSet::all());
        table
    }
}

impl ConnTable {
    /// A table of sets by number; the first two are the empty and the full one.
    pub(crate) fn of(sets: impl Iterator<Item = ConnSet>) -> Self {
        let mut table = Self::default();
        sets.for_each(|set| {
            table.intern(set);
        });
        table
    }

    /// The id of a set.
    pub fn intern(&mut self, set: ConnSet) -> ConnId {
        if let Some(&id) = self.ids.get(&set) {
            return id;
        }
        let id = ConnId(self.sets.len() as u32);
        self.sets.push(set.clone());
        self.ids.insert(set, id);
        id
    }

    /// The set of an id; an id of another table gives the empty set.
    pub fn get(&self, id: ConnId) -> &ConnSet {
        static NONE: std::sync::LazyLock<ConnSet> = std::sync::LazyLock::new(ConnSet::none);
        self.sets.get(id.0 as usize).unwrap_or(&NONE)
    }

    /// The id of a set that may not be there.
    pub fn find(&self, set: &ConnSet) -> Option<ConnId> {
        self.ids.get(set).copied()
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
        self.sets.len()
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
