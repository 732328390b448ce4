//! What is certain about one packet or two peers, and what is not.

use std::net::IpAddr;

use super::{BlockPods, Connectivity, Direction, Peer, Space};
use crate::conn::{ConnSet, Protocol};
use crate::ip::IpRange;

/// What is declared about one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
    /// Depends on what is not in view or on the network plugin.
    Unknown,
}

impl Connectivity {
    /// The verdict on one packet. [`Verdict::Unknown`] where policies are as a rule not enforced (a side that they
    /// govern uses the node's network), where the other side's address is a node's that is not in view or may be that of
    /// the pod's own node, or where, with [`BlockPods::Unknown`], an address block may or may not match a pod.
    pub fn verdict(&self, source: Peer, destination: Peer, protocol: Protocol, port: u16) -> Verdict {
        if source == destination || self.between(source, destination).contains(protocol, port) {
            return Verdict::Allow;
        }
        let sides = [
            self.side_verdict(source, destination, Direction::Egress, (protocol, port)),
            self.side_verdict(destination, source, Direction::Ingress, (protocol, port)),
        ];
        match sides {
            [Verdict::Deny, _] | [_, Verdict::Deny] => Verdict::Deny,
            // Each side admits the packet for some pods: not for one pair of them, unless nodes are in it.
            [Verdict::Allow, Verdict::Allow] if !self.uses_node(source) && !self.uses_node(destination) => {
                Verdict::Deny
            }
            [Verdict::Allow, Verdict::Allow] => Verdict::Allow,
            _ => Verdict::Unknown,
        }
    }

    fn uses_node(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Workload(index) if self.endpoints.get(index).is_some_and(|found| found.host_network))
    }

    fn side_verdict(
        &self,
        subject: Peer,
        other: Peer,
        direction: Direction,
        (protocol, port): (Protocol, u16),
    ) -> Verdict {
        let Peer::Workload(index) = subject else { return Verdict::Allow };
        let admits = |conn: ConnSet| conn.contains(protocol, port);
        let classes = || self.classes_of(subject).iter().filter_map(|class| self.class(*class));
        let admitted = match other {
            Peer::Workload(_) => classes().any(|class| {
                let row = class.profile(direction);
                let others = self.classes_of(other);
                others.iter().any(|other| admits(self.at(row, Space::Classes, *other as usize)))
            }),
            Peer::Range(_) => classes().any(|class| {
                let column = self.column(other, direction);
                column.is_some_and(|column| admits(self.at(class.profile(direction), Space::Outside, column)))
            }),
        };
        if admitted {
            return Verdict::Allow;
        }
        if self.uses_node(subject) {
            return Verdict::Unknown;
        }
        if let (Peer::Workload(other), true) = (other, self.uses_node(other)) {
            let found = self.at_nodes(index, other, direction);
            return match found {
                Some(found) if found.iter().any(|(.., conn)| conn.contains(protocol, port)) => Verdict::Allow,
                Some(_) if !self.may_share_node(index, other) => Verdict::Deny,
                _ => Verdict::Unknown,
            };
        }
        let unclear = self.options.block_pods == BlockPods::Unknown
            && matches!(other, Peer::Workload(_))
            && self.block_may_match(subject, direction);
        if unclear { Verdict::Unknown } else { Verdict::Deny }
    }

    fn may_share_node(&self, one: usize, other: usize) -> bool {
        match (self.endpoints.get(one), self.endpoints.get(other)) {
            (Some(one), Some(other)) => one.places.may_share(&other.places),
            _ => true,
        }
    }

    /// What a workload's rules say of the addresses of nodes that pods on the node's network have, each with its node.
    /// None where such a pod may be on a node that is not in view.
    fn at_nodes(
        &self,
        subject: usize,
        other: usize,
        direction: Direction,
    ) -> Option<Vec<(String, IpAddr, ConnSet)>> {
        let carried = self.nodes.carried(&self.endpoints.get(other)?.places)?;
        let of = |(node, address): (String, IpAddr)| {
            let (range, own) = (Peer::Range(IpRange::one(address)), Peer::Workload(subject));
            let conn = match direction {
                Direction::Ingress => self.between(range, own),
                Direction::Egress => self.between(own, range),
            };
            (node, address, conn)
        };
        Some(carried.into_iter().map(of).collect())
    }

    /// Why what is declared of two peers may not be what happens between them, in words.
    pub fn caveats(&self, source: Peer, destination: Peer) -> Vec<String> {
        let mut found = Vec::new();
        let ends = [
            (source, destination, Direction::Egress, "egress"),
            (destination, source, Direction::Ingress, "ingress"),
        ];
        for (peer, other, direction, word) in ends {
            let Peer::Workload(index) = peer else { continue };
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            let selected = self.is_selected(index, direction);
            if endpoint.host_network {
                found.push(format!(
                    "{endpoint} uses the node's network, where policies are as a rule not enforced"
                ));
            }
            if let (Peer::Workload(other), true) = (other, selected && !endpoint.host_network) {
                found.extend(self.node_caveat(index, other, direction));
            }
            let between_pods = matches!((source, destination), (Peer::Workload(_), Peer::Workload(_)));
            if between_pods
                && self.options.block_pods != BlockPods::Match
                && self.block_may_match(peer, direction)
            {
                found.push(format!(
                    "whether the address blocks in the {word} rules of {endpoint} match pods depends on the network plugin"
                ));
            }
            if selected && direction == Direction::Ingress {
                found.push(format!(
                    "traffic to {endpoint} from its own node{} is always allowed",
                    endpoint.places
                ));
            }
        }
        found.dedup();
        found
    }

    /// What the rules of a workload say of a pod on the node's network at its address, which is all that most network
    /// plugins see of it.
    fn node_caveat(&self, index: usize, other: usize, direction: Direction) -> Option<String> {
        let (endpoint, peer) = (self.endpoints.get(index)?, self.endpoints.get(other)?);
        if !peer.host_network {
            return None;
        }
        let word = direction.as_str();
        let Some(found) = self.at_nodes(index, other, direction).filter(|found| !found.is_empty()) else {
            return Some(format!(
                "network plugins see {peer} as the node that it runs on, and not all nodes are in view: what the {word} \
                 rules of {endpoint} say of its address is not known"
            ));
        };
        // The first that may, or the first.
        let decides = found.iter().find(|(.., conn)| !conn.is_empty()).or(found.first());
        let (node, address, conn) = decides?;
        let rest = if found.len() > 1 { format!(" (of {} addresses)", found.len()) } else { String::new() };
        Some(format!(
            "network plugins see {peer} as {node} at {address}{rest}: the {word} rules of {endpoint} allow that address {conn}"
        ))
    }

    /// True when a policy that selects the peer names addresses in this direction that may be pods'.
    fn block_may_match(&self, peer: Peer, direction: Direction) -> bool {
        let inner = self
            .nodes
            .tell_pods()
            .then(|| self.outside_columns(direction, |range| self.nodes.may_hold_pod(*range)));
        self.classes_of(peer).iter().filter_map(|class| self.class(*class)).any(|class| {
            self.selecting(class, direction).any(|policy| {
                policy.rules(direction).unwrap_or_default().iter().any(|rule| {
                    let set = self.sets.get(rule.peers as usize);
                    set.is_some_and(|set| match &inner {
                        Some(inner) => set.atoms.meets(inner),
                        None => !set.atoms.is_empty(),
                    })
                })
            })
        })
    }
}
