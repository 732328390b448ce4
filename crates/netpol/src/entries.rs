//! Ways in: Service types, externalIPs, hostPort, host network, Ingress, OpenShift Route and Gateway API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::attach::{Attachment, attachment};
use crate::conn::{ConnSet, Protocol};
use crate::engine::{ASSUMED_CONTROLLER, Connectivity, Endpoint, KNOWN_CONTROLLERS, Peer};
use crate::objects::{BackendPort, Object, ObjectKey, Route, Service, ServicePort, ServiceType, TargetPort};
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
    /// False where it cannot be told whether the way is open; the caveat says why.
    pub certain: bool,
    /// Something about the way in is not certain.
    pub caveat: Option<String>,
    /// Clients address a node: where they can depends on the node's addresses.
    pub at: Option<AtNode>,
}

/// Which nodes a way in is open on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtNode {
    /// Every one.
    Any,
    /// Those that run pods of the workload.
    Own,
}

/// Workloads by namespace.
pub(crate) type ByNamespace = FxHashMap<String, BTreeSet<u32>>;

/// The workloads of a connectivity by namespace, assumed peers left out.
pub(crate) fn by_namespace(connectivity: &Connectivity) -> ByNamespace {
    let mut found = ByNamespace::default();
    let endpoints = connectivity.endpoints().iter().enumerate();
    for (index, endpoint) in endpoints.filter(|(_, endpoint)| !endpoint.assumed) {
        found.entry(endpoint.namespace.clone()).or_default().insert(index as u32);
    }
    found
}

/// Services, and the Ingresses and routes that name them; kept up to date object by object.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// By namespace and name.
    services: BTreeMap<String, BTreeMap<String, Arc<Object>>>,
    /// Ingresses and routes by namespace and name of the service that they name.
    routes: BTreeMap<(String, String), BTreeSet<ObjectKey>>,
    /// Routes that may lead to more Services than they were found to name, by namespace.
    unclear: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// ReferenceGrants by namespace.
    grants: BTreeMap<String, BTreeSet<ObjectKey>>,
}

/// Services that an Ingress or route names.
fn backends(object: &Object) -> Vec<(String, String)> {
    match object {
        Object::Ingress(ingress) => {
            let own = &ingress.meta.namespace;
            ingress.backends.iter().map(|backend| (own.clone(), backend.service.clone())).collect()
        }
        Object::Route(route) => {
            let own = &route.meta.namespace;
            let of = |namespace: &Option<String>| namespace.clone().unwrap_or_else(|| own.clone());
            route.backends.iter().map(|backend| (of(&backend.namespace), backend.service.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// True when a Service selects pods of a workload.
pub(crate) fn selects(service: &Service, endpoint: &Endpoint) -> bool {
    !service.selector.is_empty()
        && endpoint
            .pod_labels
            .iter()
            .any(|labels| service.selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

impl Ways {
    /// Those of a state.
    pub(crate) fn of(state: &ClusterState) -> Self {
        let mut ways = Self::default();
        for object in state.objects() {
            if matches!(
                object,
                Object::Service(_) | Object::Ingress(_) | Object::Route(_) | Object::ReferenceGrant(_)
            ) {
                let key = object.key();
                let shared = state.share(&key);
                ways.change(&key, None, shared.as_ref());
            }
        }
        ways
    }

    /// Takes a change of an object in.
    pub(crate) fn change(&mut self, key: &ObjectKey, old: Option<&Arc<Object>>, new: Option<&Arc<Object>>) {
        for service in old.into_iter().flat_map(|old| backends(old)) {
            if let Some(keys) = self.routes.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.routes.remove(&service);
                }
            }
        }
        for service in new.into_iter().flat_map(|new| backends(new)) {
            self.routes.entry(service).or_default().insert(key.clone());
        }
        let unclear = |object: Option<&Arc<Object>>| matches!(object.map(Arc::as_ref), Some(Object::Route(route)) if route.unclear.is_some());
        if unclear(old)
            && let Some(keys) = self.unclear.get_mut(&key.namespace)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.unclear.remove(&key.namespace);
            }
        }
        if unclear(new) {
            self.unclear.entry(key.namespace.clone()).or_default().insert(key.clone());
        }
        if key.kind == "gateway.networking.k8s.io/ReferenceGrant" {
            let grants = self.grants.entry(key.namespace.clone()).or_default();
            if new.is_some() {
                grants.insert(key.clone());
            } else {
                grants.remove(key);
            }
        }
        if let Some(Object::Service(_)) = old.map(Arc::as_ref)
            && let Some(services) = self.services.get_mut(&key.namespace)
        {
            services.remove(&key.name);
            if services.is_empty() {
                self.services.remove(&key.namespace);
            }
        }
        if let Some(object) = new.filter(|object| matches!(***object, Object::Service(_))) {
            let services = self.services.entry(key.namespace.clone()).or_default();
            services.insert(key.name.clone(), Arc::clone(object));
        }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        match self.services.get(namespace)?.get(name)?.as_ref() {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    /// True when a ReferenceGrant lets a route name a Service of another namespace.
    fn granted(&self, state: &ClusterState, route: &Route, namespace: &str, service: &str) -> bool {
        let mut grants = self.grants.get(namespace).into_iter().flatten().filter_map(|key| state.get(key));
        grants.any(|object| match object {
            Object::ReferenceGrant(grant) => grant.admits(&route.kind, &route.meta.namespace, service),
            _ => false,
        })
    }

    /// Services of the namespace that select a workload.
    fn selecting(&self, endpoint: &Endpoint) -> impl Iterator<Item = &Service> {
        let services = self.services.get(&endpoint.namespace).into_iter().flat_map(BTreeMap::values);
        services.filter_map(move |object| match object.as_ref() {
            Object::Service(service) if selects(service, endpoint) => Some(service),
            _ => None,
        })
    }

    /// Workloads whose ways in a change of an object may alter.
    pub(crate) fn affected(
        &self,
        key: &ObjectKey,
        object: &Object,
        state: &ClusterState,
        connectivity: &Connectivity,
        neighbours: &ByNamespace,
        into: &mut BTreeSet<u32>,
    ) {
        if matches!(object, Object::Route(route) if route.unclear.is_some()) {
            into.extend(neighbours.get(&key.namespace).into_iter().flatten());
        }
        let mut behind = |namespace: &str, service: &Service| {
            let selected = |index: &&u32| {
                connectivity.endpoints().get(**index as usize).is_some_and(|found| selects(service, found))
            };
            into.extend(neighbours.get(namespace).into_iter().flatten().filter(selected));
        };
        let mut through = |object: &Object| {
            for (namespace, name) in backends(object) {
                if let Some(service) = self.service(&namespace, &name) {
                    behind(&namespace, service);
                }
            }
        };
        let routes = |keep: &dyn Fn(&Route) -> bool| -> BTreeSet<&ObjectKey> {
            let kept = |key: &&ObjectKey| matches!(state.get(key), Some(Object::Route(route)) if keep(route));
            self.routes.values().flatten().filter(kept).collect()
        };
        match object {
            Object::Service(service) => behind(&key.namespace, service),
            Object::Ingress(_) | Object::Route(_) => through(object),
            Object::Gateway(gateway) => {
                let (namespace, name) = (&gateway.meta.namespace, &gateway.meta.name);
                let attached = routes(&|route| {
                    route.parents.iter().any(|parent| {
                        parent.name == *name
                            && parent.namespace.as_ref().unwrap_or(&route.meta.namespace) == namespace
                    })
                });
                attached.into_iter().filter_map(|key| state.get(key)).for_each(through);
            }
            Object::ReferenceGrant(grant) => {
                let own = Some(&grant.meta.namespace);
                let into =
                    routes(&|route| route.backends.iter().any(|backend| backend.namespace.as_ref() == own));
                into.into_iter().filter_map(|key| state.get(key)).for_each(through);
            }
            Object::Namespace(namespace) => {
                let inside = routes(&|route| route.meta.namespace == namespace.meta.name);
                inside.into_iter().filter_map(|key| state.get(key)).for_each(through);
            }
            _ => {}
        }
    }

    /// Ways in of one workload, in order of their words.
    pub(crate) fn entries(
        &self,
        state: &ClusterState,
        connectivity: &Connectivity,
        workload: usize,
    ) -> Vec<Entry> {
        let Some(endpoint) = connectivity.endpoints().get(workload).filter(|endpoint| !endpoint.assumed)
        else {
            return Vec::new();
        };
        let np_guard = connectivity.options().np_guard;
        let mut found = self.routed(state, workload, endpoint, np_guard);
        if !np_guard {
            for service in self.selecting(endpoint) {
                published(service, workload, endpoint, &mut found);
            }
            host_ports(workload, endpoint, &mut found);
        }
        found.sort_by(|a, b| a.via.cmp(&b.via));
        found
    }

    /// Ways in through Ingresses and routes.
    fn routed(
        &self,
        state: &ClusterState,
        workload: usize,
        endpoint: &Endpoint,
        np_guard: bool,
    ) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut objects: BTreeSet<&ObjectKey> = BTreeSet::new();
        let mut unclear = self.unclear.get(&endpoint.namespace).cloned().unwrap_or_default();
        if np_guard {
            unclear.clear();
        }
        for service in self.selecting(endpoint) {
            for key in &unclear {
                let Some(Object::Route(route)) = state.get(key) else { continue };
                let short = route.kind.rsplit('/').next().unwrap_or("route").to_lowercase();
                found.push(Entry {
                    workload,
                    via: format!("{short} {}/{}", key.namespace, key.name),
                    source: Source::Controller,
                    ports: behind_backend(service, &BackendPort::Any, endpoint, (false, false)),
                    internet: true,
                    certain: false,
                    caveat: route.unclear.clone(),
                    at: None,
                });
            }
            let name = (service.meta.namespace.clone(), service.meta.name.clone());
            objects.extend(self.routes.get(&name).into_iter().flatten());
        }
        struct Way<'w> {
            via: &'w str,
            caveat: Option<String>,
            certain: bool,
            internet: bool,
            tcp_only: bool,
        }
        let mut add = |way: Way<'_>, namespace: &str, service: &str, port: &BackendPort| {
            let service = self.service(namespace, service).filter(|_| namespace == endpoint.namespace);
            let Some(service) = service.filter(|service| selects(service, endpoint)) else { return };
            let ports = behind_backend(service, port, endpoint, (way.tcp_only, np_guard));
            if !ports.is_empty() {
                let (via, source) = (way.via.to_owned(), Source::Controller);
                let Way { caveat, certain, internet, .. } = way;
                found.push(Entry { workload, via, source, ports, internet, certain, caveat, at: None });
            }
        };
        for key in objects {
            match state.get(key) {
                Some(Object::Ingress(ingress)) => {
                    let meta = &ingress.meta;
                    let port = if ingress.tls { 443 } else { 80 };
                    let via = format!("ingress {}/{}:{port}", meta.namespace, meta.name);
                    for backend in &ingress.backends {
                        let (caveat, tcp_only) = (None, true);
                        let way = Way { via: &via, caveat, certain: true, internet: true, tcp_only };
                        add(way, &meta.namespace, &backend.service, &backend.port);
                    }
                }
                Some(Object::Route(route)) => {
                    let meta = &route.meta;
                    let short = route.kind.rsplit('/').next().unwrap_or("route").to_lowercase();
                    let openshift = route.kind.starts_with("route.openshift.io/");
                    if np_guard && !openshift {
                        continue;
                    }
                    let Attachment { attached, internal, caveat } = if route.is_gateway_api() {
                        attachment(route, state)
                    } else {
                        Attachment { attached: true, internal: false, caveat: None }
                    };
                    if !attached {
                        continue;
                    }
                    let via = format!("{short} {}/{}", meta.namespace, meta.name);
                    for backend in &route.backends {
                        let namespace = backend.namespace.as_deref().unwrap_or(&meta.namespace);
                        let mut caveat = caveat.clone();
                        // A grant may be where this view does not reach: unclear, not closed.
                        let certain = namespace == meta.namespace
                            || !route.is_gateway_api()
                            || self.granted(state, route, namespace, &backend.service);
                        if !certain {
                            caveat = Some(format!(
                                "no ReferenceGrant in view lets {via} name {namespace}/{}",
                                backend.service
                            ));
                        }
                        let (internet, tcp_only) =
                            (!internal, !short.ends_with("udp") && short != "udproute");
                        let way = Way { via: &via, caveat, certain, internet, tcp_only };
                        add(way, namespace, &backend.service, &backend.port);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

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
                let named = |port: &&&crate::objects::ContainerPort| {
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
fn behind_backend(
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

/// Every declared way in, in order of workload; [`crate::exposure`] judges them by policy.
pub fn entries(state: &ClusterState, connectivity: &Connectivity) -> Vec<Entry> {
    let ways = Ways::of(state);
    let workloads = 0..connectivity.endpoints().len();
    workloads.flat_map(|workload| ways.entries(state, connectivity, workload)).collect()
}

fn published(service: &Service, workload: usize, endpoint: &Endpoint, found: &mut Vec<Entry>) {
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

fn host_ports(workload: usize, endpoint: &Endpoint, found: &mut Vec<Entry>) {
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

/// True for pods with the labels that vendors give their ingress controllers.
pub(crate) fn is_controller(endpoint: &Endpoint) -> bool {
    endpoint.pod_labels.iter().any(|labels| {
        KNOWN_CONTROLLERS.iter().any(|(_, key, value)| labels.get(*key).is_some_and(|found| found == value))
    })
}

/// The peers that stand for ingress controllers, and whether they are in view. Without one in view, the assumed ones.
pub fn controllers(connectivity: &Connectivity) -> (Vec<Peer>, bool) {
    let endpoints = connectivity.endpoints();
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
    let in_view = peers(&|endpoint| !endpoint.assumed && is_controller(endpoint));
    if in_view.is_empty() { (peers(&|endpoint| endpoint.assumed), false) } else { (in_view, true) }
}

/// Ports of one workload that Ingresses and routes name, and what policies admit of them from ingress controllers;
/// with the first way in. None where nothing names it.
pub(crate) fn ingress_of(
    entries: &[Entry],
    controllers: &[Peer],
    connectivity: &Connectivity,
) -> Option<(ConnSet, String)> {
    let mut wanted = entries.iter().filter(|entry| entry.source == Source::Controller && entry.certain);
    let first = wanted.next()?;
    let ports = wanted.fold(first.ports.clone(), |all, entry| all.union(&entry.ports));
    let admitted = controllers.iter().fold(ConnSet::none(), |all, peer| {
        all.union(&connectivity.between(*peer, Peer::Workload(first.workload)))
    });
    Some((ports.intersect(&admitted), first.via.clone()))
}

/// What ingress controllers may send to each workload that an Ingress or route names: by workload, never empty sets.
/// Second: workloads that are named but that policies cut off, with the way in.
pub fn ingress_rows(
    state: &ClusterState,
    connectivity: &Connectivity,
) -> (BTreeMap<usize, ConnSet>, Vec<(usize, String)>) {
    let (peers, _) = controllers(connectivity);
    let ways = Ways::of(state);
    let np_guard = connectivity.options().np_guard;
    let (mut allowed, mut blocked) = (BTreeMap::new(), Vec::new());
    let endpoints = connectivity.endpoints().iter().enumerate();
    for (workload, endpoint) in endpoints.filter(|(_, endpoint)| !endpoint.assumed) {
        let routed = ways.routed(state, workload, endpoint, np_guard);
        match ingress_of(&routed, &peers, connectivity) {
            Some((open, via)) if open.is_empty() => blocked.push((workload, via)),
            Some((open, _)) => {
                allowed.insert(workload, open);
            }
            None => {}
        }
    }
    (allowed, blocked)
}
