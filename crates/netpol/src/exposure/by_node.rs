//! What depends on the addresses of nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use plimsoll_model::exposure::ExposureLevel;

use super::{Admitted, Judge, Range};
use crate::bits::Bits;
use crate::conn::ConnSet;
use crate::engine::{BlockPods, Connectivity, Direction, Endpoint, Peer};
use crate::entries::{AtNode, Entry};
use crate::ip::IpRange;
use crate::nodes::senders;

/// Columns of the addresses that packets of nodes carry, each once, with the first node by name and its address.
pub(super) fn columns(connectivity: &Connectivity) -> Vec<(usize, String, IpAddr)> {
    let mut found: Vec<(usize, String, IpAddr)> = Vec::new();
    let mut seen = Bits::default();
    for (name, node) in connectivity.nodes().iter() {
        for address in senders(node) {
            let column = connectivity.source_column(*address).filter(|column| !seen.has(*column));
            if let Some(column) = column {
                seen.set(column);
                found.push((column, name.to_owned(), *address));
            }
        }
    }
    found
}

impl Judge<'_> {
    /// The node with an address that the internet routes to, in words, where a way in begins at nodes. That no node in
    /// view has one is told, and closes nothing: a cloud's address translation and balancers outside lead in all the
    /// same.
    pub(super) fn public_node(
        &mut self,
        endpoint: &Endpoint,
        way: &Entry,
        caveats: &mut BTreeSet<String>,
    ) -> Option<String> {
        let at = way.at.filter(|_| way.internet)?;
        self.consulted.places = true;
        let nodes = self.connectivity.nodes();
        if nodes.is_empty() {
            return None;
        }
        let places = (at == AtNode::Own).then_some(&endpoint.places);
        let found = nodes.public(places);
        if found.is_none() {
            caveats.insert(format!(
                "{}: the nodes in view have private addresses only; address translation or a balancer outside the \
                 cluster may lead in all the same",
                way.via
            ));
        }
        found.map(|(name, address)| format!("; node {name} has the external address {address}"))
    }

    /// What policies admit from ingress controllers. One on the node's network sends from the node's address, and
    /// selectors do not see it as a rule.
    pub(super) fn controllers_send(
        &mut self,
        index: usize,
        way: &Entry,
    ) -> (Admitted, Option<(String, IpAddr)>) {
        let open = |conn: &ConnSet| Some(conn.intersect(&way.ports)).filter(|open| !open.is_empty());
        let connectivity = self.connectivity;
        let mut all = ConnSet::none();
        let mut hosts: Vec<&Endpoint> = Vec::new();
        for controller in self.controllers {
            if let Peer::Workload(controller) = controller {
                all = all.union(&self.between(*controller, index));
                let found = connectivity.endpoints().get(*controller);
                hosts.extend(found.filter(|found| found.host_network));
            }
        }
        if let Some(yes) = open(&all) {
            return (Admitted::Yes(yes), None);
        }
        if !self.in_view {
            let why = "the ingress controller is not in view and policies admit none of the well-known ones";
            return (Admitted::Unknown(why.into()), None);
        }
        let Some(first) = hosts.first() else { return (Admitted::No, None) };
        self.consulted.places = true;
        for host in &hosts {
            let carried = connectivity.nodes().carried(&host.places);
            let found = self.node_sends(index, Some(carried.as_deref().unwrap_or_default()), &way.ports);
            if let Some((node, address, sent)) = found {
                return (Admitted::Yes(sent), Some((node, address)));
            }
        }
        let why = format!(
            "the ingress controller {first} uses the node's network: its packets carry a node's address, and traffic \
             from a pod's own node may pass its policies"
        );
        (Admitted::Unknown(why), None)
    }

    /// What a node may send of some ports, by its address: the first by name of those in view, or of `among`.
    pub(super) fn node_sends(
        &mut self,
        index: usize,
        among: Option<&[(String, IpAddr)]>,
        ports: &ConnSet,
    ) -> Option<(String, IpAddr, ConnSet)> {
        let connectivity = self.connectivity;
        if let Some(among) = among {
            return among.iter().find_map(|(name, address)| {
                let range = IpRange::one(*address);
                let sent = connectivity.between(Peer::Range(range), Peer::Workload(index)).intersect(ports);
                (!sent.is_empty()).then(|| (name.clone(), *address, sent))
            });
        }
        let outside = self.outside;
        if outside.nodes.is_empty() {
            return None;
        }
        let rows = connectivity.rows_of(index, Direction::Ingress);
        let conns = &mut *self.conns;
        let sent = self.sent.entry(rows).or_insert_with(|| {
            let of = |(column, ..): &(usize, String, IpAddr)| {
                let mut bits = Bits::default();
                bits.set(*column);
                connectivity.with_outside(index, Direction::Ingress, &bits, conns)
            };
            Arc::new(outside.nodes.iter().map(of).collect())
        });
        outside.nodes.iter().zip(sent.iter()).find_map(|((_, name, address), sent)| {
            let sent = sent.intersect(ports);
            (!sent.is_empty()).then(|| (format!("node {name}"), *address, sent))
        })
    }

    /// Where policies admit some address block: its addresses may be pods' or nodes', unless all of them are in view and
    /// none is.
    pub(super) fn blocks_unclear(&mut self, index: usize, caveats: &mut BTreeSet<String>) -> ExposureLevel {
        if self.outside_sends(index, false).is_empty() {
            return ExposureLevel::Isolated;
        }
        self.consulted.outside = true;
        let matched = self.options.block_pods == BlockPods::Match;
        if matched && self.connectivity.nodes().are_all()
            || self.exchanged(index, Range::InnerSources).is_empty()
        {
            return ExposureLevel::Isolated;
        }
        caveats.insert(if matched {
            "whether a node's address is in an ipBlock is not known: not all nodes are in view".into()
        } else {
            "whether an ipBlock matches pods and nodes depends on the network plugin".into()
        });
        ExposureLevel::Controlled
    }
}
