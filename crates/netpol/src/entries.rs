//! Ways in: Service types, externalIPs, hostPort, host network, Ingress, OpenShift Route and Gateway API.

mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::attach::{Attachment, attachment};
use crate::conn::ConnSet;
use crate::engine::{ASSUMED_CONTROLLER, Connectivity, Endpoint, KNOWN_CONTROLLERS, Peer};
use crate::objects::{BackendPort, Object, ObjectKey, Route, Service};
use crate::state::ClusterState;
pub(crate) use ports::pod_ports;
use ports::{behind_backend, host_ports, published};

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
    /// Services of type ExternalName by the Service that they are another name of; all by namespace and name.
    aliases: BTreeMap<(String, String), BTreeSet<(String, String)>>,
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

/// What an ExternalName Service is another name of.
fn alias(object: &Object) -> Option<&(String, String)> {
    match object {
        Object::Service(service) => service.alias.as_ref(),
        _ => None,
    }
}

/// Most names of names that are followed.
const MAX_ALIASES: usize = 4;

/// A Service that a route leads to.
struct Led<'w> {
    service: &'w Service,
    /// Why it is not certain that traffic gets to the pods.
    doubt: Option<String>,
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
        if let Some(of) = old.and_then(|old| alias(old))
            && let Some(names) = self.aliases.get_mut(of)
        {
            names.remove(&(key.namespace.clone(), key.name.clone()));
            if names.is_empty() {
                self.aliases.remove(of);
            }
        }
        if let Some(of) = new.and_then(|new| alias(new)) {
            let names = self.aliases.entry(of.clone()).or_default();
            names.insert((key.namespace.clone(), key.name.clone()));
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

    /// The Service that a name leads to, through other names.
    fn led(&self, namespace: &str, name: &str, np_guard: bool) -> Option<Led<'_>> {
        let mut service = self.service(namespace, name)?;
        let mut doubt = None;
        for _ in 0..MAX_ALIASES {
            let Some((of, target)) = service.alias.as_ref().filter(|_| !np_guard) else { break };
            doubt = Some(format!(
                "Service {namespace}/{name} is another name of {of}/{target} (ExternalName), which not every controller \
                 follows"
            ));
            service = self.service(of, target)?;
        }
        if service.leads_anywhere() && !np_guard {
            doubt = Some(nowhere(service));
        }
        Some(Led { service, doubt })
    }

    /// A Service's own name, and other names that lead to it.
    fn names(&self, service: &Service, np_guard: bool) -> BTreeSet<(String, String)> {
        let own = (service.meta.namespace.clone(), service.meta.name.clone());
        let mut found = BTreeSet::from([own.clone()]);
        let mut last = vec![own];
        for _ in 0..if np_guard { 0 } else { MAX_ALIASES } {
            let next = last.iter().filter_map(|name| self.aliases.get(name)).flatten().cloned();
            last = next.filter(|name| found.insert(name.clone())).collect();
        }
        found
    }

    /// Services of the workload's namespace that may lead to it without a selector.
    fn leading_anywhere(&self, endpoint: &Endpoint, np_guard: bool) -> impl Iterator<Item = &Service> {
        let services = self.services.get(&endpoint.namespace).filter(|_| !np_guard);
        services.into_iter().flat_map(BTreeMap::values).filter_map(|object| match object.as_ref() {
            Object::Service(service) if service.leads_anywhere() => Some(service),
            _ => None,
        })
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
                let found = connectivity.endpoints().get(**index as usize);
                service.leads_anywhere() || found.is_some_and(|found| selects(service, found))
            };
            into.extend(neighbours.get(namespace).into_iter().flatten().filter(selected));
        };
        let mut through = |object: &Object| {
            for (namespace, name) in backends(object) {
                if let Some(led) = self.led(&namespace, &name, false) {
                    behind(&led.service.meta.namespace, led.service);
                }
            }
        };
        let routes = |keep: &dyn Fn(&Route) -> bool| -> BTreeSet<&ObjectKey> {
            let kept = |key: &&ObjectKey| matches!(state.get(key), Some(Object::Route(route)) if keep(route));
            self.routes.values().flatten().filter(kept).collect()
        };
        match object {
            Object::Service(service) => {
                behind(&key.namespace, service);
                let of = service.alias.as_ref().and_then(|(of, target)| self.led(of, target, false));
                if let Some(led) = of {
                    behind(&led.service.meta.namespace, led.service);
                }
            }
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
            for service in self.leading_anywhere(endpoint, np_guard) {
                let from = found.len();
                published(service, workload, endpoint, &mut found);
                for entry in found.iter_mut().skip(from) {
                    (entry.certain, entry.caveat) = (false, Some(nowhere(service)));
                }
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
        }
        for service in self.selecting(endpoint).chain(self.leading_anywhere(endpoint, np_guard)) {
            for name in self.names(service, np_guard) {
                objects.extend(self.routes.get(&name).into_iter().flatten());
            }
        }
        struct Way<'w> {
            via: &'w str,
            caveat: Option<String>,
            certain: bool,
            internet: bool,
            tcp_only: bool,
        }
        let mut add = |way: Way<'_>, namespace: &str, service: &str, port: &BackendPort| {
            let led = self.led(namespace, service, np_guard);
            let Some(Led { service, doubt }) = led.filter(|led| {
                let (service, own) = (led.service, &endpoint.namespace);
                service.meta.namespace == *own
                    && (selects(service, endpoint) || service.leads_anywhere() && !np_guard)
            }) else {
                return;
            };
            let mut ports = behind_backend(service, port, endpoint, (way.tcp_only, np_guard));
            if ports.is_empty() && doubt.is_some() {
                // A port of another name may be called otherwise there.
                ports = behind_backend(service, &BackendPort::Any, endpoint, (way.tcp_only, np_guard));
            }
            if !ports.is_empty() {
                let (via, source) = (way.via.to_owned(), Source::Controller);
                let (certain, caveat) = (way.certain && doubt.is_none(), doubt.or(way.caveat));
                let internet = way.internet;
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

/// Why it cannot be told which pods a Service without a selector leads to.
fn nowhere(service: &Service) -> String {
    let meta = &service.meta;
    format!("Service {}/{} has no selector: which pods it leads to is not in view", meta.namespace, meta.name)
}

/// Every declared way in, in order of workload; [`crate::exposure`] judges them by policy.
pub fn entries(state: &ClusterState, connectivity: &Connectivity) -> Vec<Entry> {
    let ways = Ways::of(state);
    let workloads = 0..connectivity.endpoints().len();
    workloads.flat_map(|workload| ways.entries(state, connectivity, workload)).collect()
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
