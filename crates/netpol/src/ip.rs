//! Address blocks and the partition of the address spaces that they imply.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Which address space a range is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// That of a block.
    pub fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

/// An inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IpRange {
    pub family: Family,
    /// First address, as a number.
    pub first: u128,
    /// Last address, as a number.
    pub last: u128,
}

impl IpRange {
    /// The whole space of a family.
    pub fn whole(family: Family) -> Self {
        let last = match family {
            Family::V4 => u128::from(u32::MAX),
            Family::V6 => u128::MAX,
        };
        Self { family, first: 0, last }
    }

    /// The addresses of a block.
    pub fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self {
                family: Family::V4,
                first: u128::from(u32::from(net.network())),
                last: u128::from(u32::from(net.broadcast())),
            },
            IpNet::V6(net) => Self {
                family: Family::V6,
                first: u128::from(net.network()),
                last: u128::from(net.broadcast()),
            },
        }
    }

    /// One address.
    pub fn one(address: IpAddr) -> Self {
        Self::of(IpNet::from(address))
    }

    /// True when the two have an address in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    /// Its first address.
    pub fn first_address(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.first).unwrap_or(u32::MAX))),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.first)),
        }
    }

    /// Its last address.
    pub fn last_address(&self) -> IpAddr {
        self.address(self.last)
    }

    /// True when the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, value) = match address {
            IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address))),
            IpAddr::V6(address) => (Family::V6, u128::from(address)),
        };
        family == self.family && self.first <= value && value <= self.last
    }

    /// True when every address of it is private, loopback or link-local, thus not the internet.
    pub fn is_private(&self) -> bool {
        const PRIVATE: [&str; 9] = [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "::/127",
        ];
        static BLOCKS: LazyLock<Vec<IpRange>> = LazyLock::new(|| {
            PRIVATE.iter().filter_map(|block| block.parse().ok()).map(IpRange::of).collect()
        });
        BLOCKS
            .iter()
            .any(|block| block.family == self.family && block.first <= self.first && self.last <= block.last)
    }

    fn address(&self, value: u128) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(value as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(value)),
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.address(self.first), self.address(self.last))
    }
}

/// A block as np-guard reads it: the first four bytes of an IPv6 block are taken for an IPv4 address.
pub(crate) fn np_guard_range(net: IpNet) -> Option<IpRange> {
    match net {
        IpNet::V4(_) => Some(IpRange::of(net)),
        IpNet::V6(v6) => {
            let value = u32::from(v6.network().segments()[0]) << 16 | u32::from(v6.network().segments()[1]);
            let length = u32::from(v6.prefix_len()).min(32);
            let host = if length == 0 { u32::MAX } else { (1u64 << (32 - length)).saturating_sub(1) as u32 };
            Some(IpRange {
                family: Family::V4,
                first: u128::from(value & !host),
                last: u128::from(value | host),
            })
        }
    }
}

/// Disjoint ranges that cover the space of a family, cut at every boundary of the blocks in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Atoms(Vec<IpRange>);

impl Atoms {
    /// The partition of the families named; a family without blocks is one range.
    pub(crate) fn cut(families: &[Family], blocks: &[IpRange]) -> Self {
        let mut atoms = Vec::new();
        for &family in families {
            let whole = IpRange::whole(family);
            let mut starts = vec![0];
            for block in blocks.iter().filter(|block| block.family == family) {
                starts.push(block.first);
                if block.last < whole.last {
                    starts.push(block.last + 1);
                }
            }
            starts.sort_unstable();
            starts.dedup();
            let ends = starts.iter().skip(1).map(|start| start - 1).chain([whole.last]);
            atoms.extend(starts.iter().zip(ends).map(|(&first, last)| IpRange { family, first, last }));
        }
        Self(atoms)
    }

    pub(crate) fn ranges(&self) -> &[IpRange] {
        &self.0
    }
}

/// `range` without `holes`.
pub(crate) fn without(range: IpRange, holes: &[IpRange]) -> Vec<IpRange> {
    let mut left = vec![range];
    for hole in holes.iter().filter(|hole| hole.family == range.family) {
        left = left
            .into_iter()
            .flat_map(|part| {
                let mut parts = Vec::new();
                if hole.last < part.first || part.last < hole.first {
                    parts.push(part);
                } else {
                    if part.first < hole.first {
                        parts.push(IpRange { last: hole.first - 1, ..part });
                    }
                    if hole.last < part.last {
                        parts.push(IpRange { first: hole.last + 1, ..part });
                    }
                }
                parts
            })
            .collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_subtracts() {
        let ten: IpRange = IpRange::of("10.0.0.0/8".parse().expect("valid"));
        let hole = IpRange::of("10.1.0.0/16".parse().expect("valid"));
        let parts = without(ten, &[hole]);
        let shown: Vec<_> = parts.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0-10.0.255.255", "10.2.0.0-10.255.255.255"]);
        let atoms = Atoms::cut(&[Family::V4, Family::V6], &parts);
        let shown: Vec<_> = atoms.ranges().iter().map(ToString::to_string).collect();
        assert_eq!((shown.len(), shown[2].as_str()), (6, "10.1.0.0-10.1.255.255"));
        let v6 = np_guard_range("2001:db8::/32".parse().expect("valid")).expect("some");
        assert_eq!(v6.to_string(), "32.1.13.184-32.1.13.184");
    }
}
