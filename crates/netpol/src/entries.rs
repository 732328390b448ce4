//! Ways in: Service types, externalIPs, hostPort, host network, Ingress, OpenShift Route and Gateway API.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::conn::{ConnSet, Protocol};
use crate::engine::{ASSUMED_CONTROLLER, Connectivity, Endpoint, KNOWN_CONTROLLERS, Peer};
use crate::objects::{
    BackendPort, Gateway, Namespaces, Object, Service, ServicePort, ServiceType, TargetPort,
};
use crate::state::ClusterState;

/// Whose address a packet carries when it arrives at the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The client's own.
    Client,
    /// A node's, because the node translates addresses.
    Node,
    /// A controller's pods.
    Controller,
}

/// One way from outside the cluster to ports of a workload, before policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index into [`Connectivity::endpoints`].
    pub workload: usize,
    /// In words, such as `ingress shop/web` or `load balancer shop/web:443`.
    pub via: String,
    pub source: Source,
    /// Ports on the pod.
    pub ports: ConnSet,
    /// The internet can reach it; false where it is declared internal or its sources are private.
    pub internet: bool,
    /// Something about the way in is not certain.
    pub caveat: Option<String>,
}

/// Services of a state by namespace and name, and the workloads that they select.
struct Services<'a> {
    by_name: BTreeMap<(&'a str, &'a str), &'a Service>,
    by_namespace: FxHashMap<&'a str, Vec<usize>>,
    endpoints: &'a [Endpoint],
    np_guard: bool,
}

impl<'a> Services<'a> {
    fn gather(state: &'a ClusterState, connectivity: &'a Connectivity) -> Self {
        let mut by_name = BTreeMap::new();
        for object in state.objects() {
            if let Object::Service(service) = object {
                by_name.insert((service.meta.namespace.as_str(), service.meta.name.as_str()), service);
            }
        }
        let mut by_namespace: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
        for (index, endpoint) in
            connectivity.endpoints().iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed)
        {
            by_namespace.entry(endpoint.namespace.as_str()).or_default().push(index);
        }
        let endpoints = connectivity.endpoints();
        Self { by_name, by_namespace, endpoints, np_guard: connectivity.options().np_guard }
    }

    fn selected(&self, service: &Service) -> Vec<usize> {
        if service.selector.is_empty() {
            return Vec::new();
        }
        let in_namespace =
            self.by_namespace.get(service.meta.namespace.as_str()).map(Vec::as_slice).unwrap_or_default();
        let matches = |index: &&usize| {
            self.endpoints.get(**index).is_some_and(|endpoint| {
                endpoint
                    .pod_labels
                    .iter()
                    .any(|labels| service.selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
            })
        };
        in_namespace.iter().filter(matches).copied().collect()
    }

    /// Ports of the pods behind some ports of a service.
    fn pod_ports(&self, workload: usize, ports: &[&ServicePort], tcp_only: bool) -> ConnSet {
        let Some(endpoint) = self.endpoints.get(workload) else { return ConnSet::none() };
        let declared: Vec<_> = endpoint
            .containers
            .iter()
            .filter(|container| container.serves && !(self.np_guard && container.init))
            .flat_map(|container| &container.ports)
            .collect();
        let mut all = ConnSet::none();
        for port in ports {
            let protocol = if tcp_only { Protocol::Tcp } else { port.protocol };
            let numbers: Vec<u16> = match port.target() {
                TargetPort::Number(number) => vec![number],
                TargetPort::Name(name) => {
                    let named = |port: &&&crate::objects::ContainerPort| {
                        port.name.as_deref() == Some(name.as_str()) && port.protocol == protocol
                    };
                    declared.iter().filter(named).map(|port| port.port).collect()
                }
            };
            for number in numbers {
                // np-guard drops ports that the containers do not declare, though they work.
                if !self.np_guard || declared.iter().any(|port| port.port == number) {
                    all = all.union(&ConnSet::range(protocol, number, number));
                }
            }
        }
        all
    }

    /// Workloads and pod ports behind a backend; `None` where the service is not in view.
    fn backend(&self, namespace: &str, service: &str, port: &BackendPort) -> Option<Vec<(usize, ConnSet)>> {
        let service = self.by_name.get(&(namespace, service))?;
        let wanted = |candidate: &&ServicePort| match port {
            BackendPort::Any => true,
            BackendPort::Number(number) => {
                candidate.port == *number || candidate.target == Some(TargetPort::Number(*number))
            }
            BackendPort::Name(name) => {
                candidate.name.as_ref() == Some(name)
                    || candidate.target == Some(TargetPort::Name(name.clone()))
            }
        };
        let most = if *port == BackendPort::Any { usize::MAX } else { 1 };
        let ports: Vec<&ServicePort> = service.ports.iter().filter(wanted).take(most).collect();
        let reached =
            self.selected(service).into_iter().map(|index| (index, self.pod_ports(index, &ports, true)));
        Some(reached.filter(|(_, ports)| !ports.is_empty()).collect())
    }
}

/// Every declared way in, in order of workload; [`crate::exposure`] judges them by policy.
pub fn entries(state: &ClusterState, connectivity: &Connectivity) -> Vec<Entry> {
    let services = Services::gather(state, connectivity);
    let mut found = routed(state, &services);
    if !connectivity.options().np_guard {
        for service in services.by_name.values() {
            published(service, &services, &mut found);
        }
        host_ports(connectivity, &mut found);
    }
    found.sort_by(|a, b| (a.workload, &a.via).cmp(&(b.workload, &b.via)));
    found
}

fn routed(state: &ClusterState, services: &Services<'_>) -> Vec<Entry> {
    let mut found = Vec::new();
    let gateways: BTreeMap<(&str, &str), &Gateway> = state
        .objects()
        .filter_map(|object| match object {
            Object::Gateway(gateway) => {
                Some(((gateway.meta.namespace.as_str(), gateway.meta.name.as_str()), gateway))
            }
            _ => None,
        })
        .collect();
    let mut add = |via: String, internet: bool, caveat: Option<String>, reached: Vec<(usize, ConnSet)>| {
        for (workload, ports) in reached {
            let (via, caveat) = (via.clone(), caveat.clone());
            found.push(Entry { workload, via, source: Source::Controller, ports, internet, caveat });
        }
    };
    for object in state.objects() {
        match object {
            Object::Ingress(ingress) => {
                let meta = &ingress.meta;
                let port = if ingress.tls { 443 } else { 80 };
                for backend in &ingress.backends {
                    let reached = services.backend(&meta.namespace, &backend.service, &backend.port);
                    add(
                        format!("ingress {}/{}:{port}", meta.namespace, meta.name),
                        true,
                        None,
                        reached.unwrap_or_default(),
                    );
                }
            }
            Object::Route(route) => {
                let meta = &route.meta;
                let short = route.kind.rsplit('/').next().unwrap_or("route").to_lowercase();
                let openshift = route.kind.starts_with("route.openshift.io/");
                if services.np_guard && !openshift {
                    continue;
                }
                let (attached, caveat) =
                    if openshift { (true, None) } else { attachment(route, &gateways, state) };
                if !attached {
                    continue;
                }
                for backend in &route.backends {
                    let namespace = backend.namespace.as_deref().unwrap_or(&meta.namespace);
                    let mut caveat = caveat.clone();
                    if namespace != meta.namespace {
                        caveat.get_or_insert_with(|| {
                            format!(
                                "the backend {namespace}/{} needs a ReferenceGrant, which is not checked",
                                backend.service
                            )
                        });
                    }
                    let reached = services.backend(namespace, &backend.service, &backend.port);
                    add(
                        format!("{short} {}/{}", meta.namespace, meta.name),
                        true,
                        caveat,
                        reached.unwrap_or_default(),
                    );
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a route attaches to some listener; a gateway that is not in view counts as admitting.
fn attachment(
    route: &crate::objects::Route,
    gateways: &BTreeMap<(&str, &str), &Gateway>,
    state: &ClusterState,
) -> (bool, Option<String>) {
    let own = route.meta.namespace.as_str();
    let mut unseen = None;
    for parent in &route.parents {
        let namespace = parent.namespace.as_deref().unwrap_or(own);
        let Some(gateway) = gateways.get(&(namespace, parent.name.as_str())) else {
            unseen = Some(format!(
                "gateway {namespace}/{} is not in view and is taken to admit the route",
                parent.name
            ));
            continue;
        };
        let admits = gateway.listeners.iter().any(|listener| {
            parent.section.as_ref().is_none_or(|section| *section == listener.name)
                && match &listener.namespaces {
                    Namespaces::All => true,
                    Namespaces::Same => namespace == own,
                    Namespaces::Select(selector) => selector.matches(&state.namespace_labels(own).0),
                }
        });
        if admits {
            return (true, None);
        }
    }
    (unseen.is_some(), unseen)
}

fn published(service: &Service, services: &Services<'_>, found: &mut Vec<Entry>) {
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
    for workload in services.selected(service) {
        for port in &service.ports {
            let ports = services.pod_ports(workload, &[port], false);
            if ports.is_empty() {
                continue;
            }
            for (way, internet) in &ways {
                let number =
                    if *way == "node port" { port.node_port.unwrap_or(port.port) } else { port.port };
                found.push(Entry {
                    workload,
                    via: format!("{way} {namespace}/{name}:{number}"),
                    source,
                    ports: ports.clone(),
                    internet: *internet,
                    caveat: None,
                });
            }
        }
    }
}

fn host_ports(connectivity: &Connectivity, found: &mut Vec<Entry>) {
    for (workload, endpoint) in
        connectivity.endpoints().iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed)
    {
        for port in endpoint
            .containers
            .iter()
            .filter(|container| container.serves)
            .flat_map(|container| &container.ports)
        {
            if let Some(host) = port.host_port.filter(|_| !endpoint.host_network) {
                found.push(Entry {
                    workload,
                    via: format!("host port {host}"),
                    source: Source::Client,
                    ports: ConnSet::range(port.protocol, port.port, port.port),
                    internet: true,
                    caveat: None,
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
                caveat: None,
            });
        }
    }
}

/// The peers that stand for ingress controllers, and whether they are in view. Without one in view, the assumed ones.
pub fn controllers(connectivity: &Connectivity) -> (Vec<Peer>, bool) {
    let endpoints = connectivity.endpoints();
    let known = |endpoint: &Endpoint| {
        endpoint.pod_labels.iter().any(|labels| {
            KNOWN_CONTROLLERS
                .iter()
                .any(|(_, key, value)| labels.get(*key).is_some_and(|found| found == value))
        })
    };
    let peers = |keep: &dyn Fn(&Endpoint) -> bool| -> Vec<Peer> {
        endpoints
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| keep(endpoint))
            .map(|(index, _)| Peer::Workload(index))
            .collect()
    };
    if connectivity.options().np_guard {
        let (namespace, name) = ASSUMED_CONTROLLER;
        return (
            peers(&|endpoint| endpoint.assumed && endpoint.namespace == namespace && endpoint.name == name),
            false,
        );
    }
    let in_view = peers(&|endpoint| !endpoint.assumed && known(endpoint));
    if in_view.is_empty() { (peers(&|endpoint| endpoint.assumed), false) } else { (in_view, true) }
}

/// What ingress controllers may send to each workload that an Ingress or route names: by workload, never empty sets.
/// Second: workloads that are named but that policies cut off, with the way in.
pub fn ingress_rows(
    state: &ClusterState,
    connectivity: &Connectivity,
) -> (BTreeMap<usize, ConnSet>, Vec<(usize, String)>) {
    let (peers, _) = controllers(connectivity);
    let services = Services::gather(state, connectivity);
    let mut wanted: BTreeMap<usize, (ConnSet, String)> = BTreeMap::new();
    for entry in routed(state, &services) {
        let known = wanted.entry(entry.workload).or_insert_with(|| (ConnSet::none(), entry.via.clone()));
        known.0 = known.0.union(&entry.ports);
    }
    let (mut allowed, mut blocked) = (BTreeMap::new(), Vec::new());
    for (workload, (ports, via)) in wanted {
        let admitted = peers.iter().fold(ConnSet::none(), |all, peer| {
            all.union(&connectivity.between(*peer, Peer::Workload(workload)))
        });
        let open = ports.intersect(&admitted);
        if open.is_empty() {
            blocked.push((workload, via));
        } else {
            allowed.insert(workload, open);
        }
    }
    (allowed, blocked)
}
