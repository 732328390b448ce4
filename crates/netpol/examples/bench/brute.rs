//! The judge of the tests beside the engine: every pair of workloads, packet by packet, each policy for each packet.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::engine::{Connectivity, Direction, Options, Peer};
use plimsoll_netpol::objects::WorkloadKind;

use crate::cluster::{Size, cluster};
use crate::judge::{End, Judge};

/// Packets of each pair.
const PACKETS: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 8080), (Protocol::Tcp, 443), (Protocol::Tcp, 1_080), (Protocol::Udp, 1_080)];

/// A row of the table.
pub(crate) fn row(size: Size, options: &Options) {
    let state = cluster(size);
    let begin = Instant::now();
    let connectivity = Connectivity::build(&state, options);
    let pods: Vec<_> =
        state.workloads().filter(|workload| workload.kind == WorkloadKind::Deployment).collect();
    let index = |pod: &plimsoll_netpol::objects::Workload| {
        connectivity.workload_named(&format!("{}/{}[Deployment]", pod.meta.namespace, pod.meta.name))
    };
    let mut ends: Vec<_> =
        pods.iter().filter_map(|pod| Some((End::Pod(pod), Peer::Workload(index(pod)?)))).collect();
    // The world sends, too.
    let world = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
    let outside = connectivity.range_of(world, Direction::Ingress);
    let destinations = ends.clone();
    ends.extend(outside.map(|range| (End::Address(world), Peer::Range(range))));
    let mut pairs = Vec::new();
    for source in &ends {
        pairs.extend(destinations.iter().filter(|known| known.1 != source.1).map(|other| (source, other)));
    }
    let mut ours = Vec::new();
    for (source, destination) in &pairs {
        let open = connectivity.between(source.1, destination.1);
        ours.extend(PACKETS.map(|(protocol, port)| open.contains(protocol, port)));
    }
    let engine = begin.elapsed();
    let judge = Judge { state: &state, match_pods: false };
    let begin = Instant::now();
    let mut theirs = Vec::new();
    for (source, destination) in &pairs {
        theirs.extend(PACKETS.map(|(protocol, port)| judge.allows(source.0, destination.0, protocol, port)));
    }
    let judged = begin.elapsed();
    let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
    println!(
        "| {} × {} | {} | {judged:.2?} | {engine:.2?} | {differ} |",
        size.workloads,
        size.policies,
        theirs.len()
    );
}
