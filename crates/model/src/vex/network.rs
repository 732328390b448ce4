//! Rules that accept findings about network policy (NETPOL001…).

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Product, Statement, StatementKind, like};
use crate::exposure::WorkloadName;
use crate::time::Timestamp;

/// True for the code of a finding about network policy.
pub fn is_network(id: &str) -> bool {
    id.strip_prefix("NETPOL").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// What a rule may name of a finding about network policy.
#[derive(Debug, Clone, Copy)]
pub struct NetworkFinding<'a> {
    /// `NETPOL001`…
    pub code: &'a str,
    /// The workload, or the policy as an object of its kind.
    pub workload: &'a WorkloadName,
    /// `ingress`, `egress`, `policy`; empty where it is about no side alone.
    pub side: &'a str,
    /// Who is on the other side: printed workloads, ranges of addresses, `internet`, `entire-cluster`. Empty where that is
    /// not known whole; no rule that names a peer accepts it then.
    pub peers: &'a [String],
}

impl Statement {
    /// True where this is an ignore rule that accepts the finding at that time. VEX documents speak of vulnerabilities, and
    /// accept none.
    pub fn accepts(&self, finding: &NetworkFinding<'_>, now: Timestamp) -> bool {
        let scope = &self.scope;
        self.kind == StatementKind::Ignore
            && is_network(finding.code)
            && self.is_live(now)
            && self.vulnerabilities.iter().any(|id| id == finding.code)
            && self.products.iter().any(|product| *product == Product::default())
            && scope.image.is_empty()
            && scope.names_workload(finding.workload)
            && (scope.side.is_empty() || scope.side == finding.side)
            && (scope.peer.is_empty()
                || !finding.peers.is_empty() && finding.peers.iter().all(|peer| is_peer(&scope.peer, peer)))
    }
}

/// True where `peer` is like the pattern, or all its addresses are within those of the pattern.
fn is_peer(pattern: &str, peer: &str) -> bool {
    if like(pattern, peer) {
        return true;
    }
    let (Some(outer), Some(inner)) = (range(pattern), range(peer)) else { return false };
    outer.0.is_ipv4() == inner.0.is_ipv4() && outer.0 <= inner.0 && inner.1 <= outer.1
}

/// First and last address of `10.0.0.1`, `10.0.0.0/8` or `10.0.0.0-10.0.0.255`, of either family.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.parse().ok()?, last.parse().ok()?));
    }
    let block = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address))).ok()?;
    Some((block.network(), block.broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vex::{Scope, VexStatus};

    fn rule(scope: Scope) -> Statement {
        Statement {
            id: String::new(),
            kind: StatementKind::Ignore,
            vulnerabilities: vec!["NETPOL004".into()],
            products: vec![Product::default()],
            scope,
            status: VexStatus::NotAffected,
            justification: String::new(),
            reason: "meant".into(),
            issuer: String::new(),
            document: String::new(),
            signed_by: String::new(),
            at: Timestamp(0),
            expires: Some(Timestamp(10)),
        }
    }

    #[test]
    fn peers() {
        for (pattern, peer, same) in [
            ("10.0.0.0/8", "10.1.0.0-10.1.255.255", true),
            ("10.0.0.0/8", "10.1.0.0-11.1.255.255", false),
            ("10.0.0.0/8", "9.255.255.255-10.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("10.0.0.7", "10.0.0.7-10.0.0.7", true),
            ("10.0.0.0/33", "10.0.0.7", false),
            ("fd00::/8", "fd12::1-fd12::2", true),
            ("::/0", "10.0.0.1", false),
            ("monitoring/*", "monitoring/prometheus[Deployment]", true),
            ("monitoring/*", "shop/web[Deployment]", false),
            ("internet", "internet", true),
        ] {
            assert_eq!(is_peer(pattern, peer), same, "{pattern} {peer}");
        }
    }

    #[test]
    fn a_rule_accepts_what_it_names_and_nothing_else() {
        let workload = WorkloadName {
            cluster: "east".into(),
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: "cart".into(),
        };
        let of = |peers: &[&str], side: &str, scope: Scope, code: &str, at: i64| {
            let peers: Vec<String> = peers.iter().map(|p| (*p).to_owned()).collect();
            let finding = NetworkFinding { code, workload: &workload, side, peers: &peers };
            rule(scope).accepts(&finding, Timestamp(at))
        };
        let scope = |namespace: &str, peer: &str, side: &str| Scope {
            namespace: namespace.into(),
            peer: peer.into(),
            side: side.into(),
            ..Scope::default()
        };
        let block = ["10.0.0.0-10.0.0.255"];
        for (peers, side, scope, code, at, accepted) in [
            (&block[..], "egress", scope("shop", "", ""), "NETPOL004", 9, true),
            (&block[..], "egress", scope("shop", "", ""), "NETPOL004", 10, false),
            (&block[..], "egress", scope("shop", "", ""), "NETPOL001", 9, false),
            (&block[..], "egress", scope("bank", "", ""), "NETPOL004", 9, false),
            (&block[..], "egress", scope("", "", "ingress"), "NETPOL004", 9, false),
            (&block[..], "egress", scope("", "10.0.0.0/8", "egress"), "NETPOL004", 9, true),
            // One peer more than what was accepted, or peers that are not known.
            (&["10.0.0.1", "1.1.1.1"], "egress", scope("", "10.0.0.0/8", ""), "NETPOL004", 9, false),
            (&[], "egress", scope("", "10.0.0.0/8", ""), "NETPOL004", 9, false),
        ] {
            assert_eq!(of(peers, side, scope.clone(), code, at), accepted, "{scope:?} {peers:?} {code} {at}");
        }
        let image = Scope { image: "*".into(), ..Scope::default() };
        assert!(!of(&[], "egress", image, "NETPOL004", 1));
        let vex = Statement { kind: StatementKind::Vex, ..rule(Scope::default()) };
        let finding = NetworkFinding { code: "NETPOL004", workload: &workload, side: "egress", peers: &[] };
        assert!(!vex.accepts(&finding, Timestamp(1)));
    }

    #[test]
    fn codes() {
        assert!(
            is_network("NETPOL001")
                && !is_network("NETPOL")
                && !is_network("CVE-1")
                && !is_network("NETPOLX")
        );
    }
}
