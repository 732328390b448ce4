//! Ports of pods behind Services, and the ways in that need no route.

use super::{AtNode, Entry, Source};
use crate::conn::{ConnSet, Protocol};
use crate::engine::Endpoint;
use crate::objects::{BackendPort, ContainerPort, Service, ServicePort, ServiceType, TargetPort};

/// Ports of the pods behind some ports of a service.
pub(crate) fn pod_ports(
    endpoint: &Endpoint,
    ports: &[&ServicePort],
    tcp_only: bool,
    np_guard: bool,
) -> ConnSet {
    let declared: Vec<_> = endpoint
        .containers
        .iter()
        .filter(|container| container.serves && !(np_guard && container.init))
        .flat_map(|container| &container.ports)
        .collect();
    let mut all = ConnSet::none();
    for port in ports {
        let protocol = if tcp_only { Protocol::Tcp } else { port.protocol };
        let numbers: Vec<u16> = match port.target() {
            TargetPort::Number(number) => vec![number],
            TargetPort::Name(name) => {
                let named = |port: &&&ContainerPort| {
                    port.name.as_deref() == Some(name.as_str()) && port.protocol == protocol
                };
                declared.iter().filter(named).map(|port| port.port).collect()
            }
        };
        for number in numbers {
            // np-guard drops ports that the containers do not declare, though they work.
            if !np_guard || declared.iter().any(|port| port.port == number) {
                all = all.union(&ConnSet::range(protocol, number, number));
            }
        }
    }
    all
}

/// Pod ports behind a backend.
pub(super) fn behind_backend(
    service: &Service,
    port: &BackendPort,
    endpoint: &Endpoint,
    (tcp_only, np_guard): (bool, bool),
) -> ConnSet {
    let wanted = |candidate: &&ServicePort| match port {
        BackendPort::Any => true,
        BackendPort::Number(number) => {
            candidate.port == *number || candidate.target == Some(TargetPort::Number(*number))
        }
        BackendPort::Name(name) => {
            candidate.name.as_ref() == Some(name) || candidate.target == Some(TargetPort::Name(name.clone()))
        }
    };
    let most = if *port == BackendPort::Any { usize::MAX } else { 1 };
    let ports: Vec<&ServicePort> = service.ports.iter().filter(wanted).take(most).collect();
    pod_ports(endpoint, &ports, tcp_only, np_guard)
}

/// Ways in that a Service is by its type and its addresses.
pub(super) fn published(service: &Service, workload: usize, endpoint: &Endpoint, found: &mut Vec<Entry>) {
    let (namespace, name) = (&service.meta.namespace, &service.meta.name);
    let mut ways: Vec<(&str, bool)> = Vec::new();
    match service.kind {
        ServiceType::LoadBalancer => {
            let public = service.source_ranges.is_empty()
                || service.source_ranges.iter().any(|net| !crate::ip::IpRange::of(*net).is_private());
            ways.push(("load balancer", public && !service.internal));
        }
        ServiceType::NodePort => ways.push(("node port", true)),
        ServiceType::ClusterIp | ServiceType::ExternalName => {}
    }
    if !service.external_ips.is_empty() {
        ways.push(("external IP", true));
    }
    if ways.is_empty() {
        return;
    }
    let source = if service.local_traffic { Source::Client } else { Source::Node };
    // Without address translation only the nodes of its pods answer.
    let at = if service.local_traffic { AtNode::Own } else { AtNode::Any };
    for port in &service.ports {
        let ports = pod_ports(endpoint, &[port], false, false);
        if ports.is_empty() {
            continue;
        }
        for (way, internet) in &ways {
            let number = if *way == "node port" { port.node_port.unwrap_or(port.port) } else { port.port };
            found.push(Entry {
                workload,
                via: format!("{way} {namespace}/{name}:{number}"),
                source,
                ports: ports.clone(),
                internet: *internet,
                certain: true,
                caveat: None,
                at: (*way == "node port").then_some(at),
            });
        }
    }
}

/// Ways in by ports of the node, and by its network.
pub(super) fn host_ports(workload: usize, endpoint: &Endpoint, found: &mut Vec<Entry>) {
    for port in
        endpoint.containers.iter().filter(|container| container.serves).flat_map(|container| &container.ports)
    {
        if let Some(host) = port.host_port.filter(|_| !endpoint.host_network) {
            found.push(Entry {
                workload,
                via: format!("host port {host}"),
                source: Source::Client,
                ports: ConnSet::range(port.protocol, port.port, port.port),
                internet: true,
                certain: true,
                caveat: None,
                at: Some(AtNode::Own),
            });
        }
    }
    if endpoint.host_network {
        found.push(Entry {
            workload,
            via: "the node's network".into(),
            source: Source::Client,
            ports: ConnSet::all(),
            internet: true,
            certain: true,
            caveat: None,
            at: Some(AtNode::Own),
        });
    }
}
