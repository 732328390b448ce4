//! Objects that let traffic in: Service, Ingress, OpenShift Route, and the Gateway API.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Meta;
use super::node::{Node, Read};
use super::policy;
use crate::conn::Protocol;
use crate::selector::{Labels, Selector};

/// Type of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// Port by number or name on the pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetPort {
    Number(u16),
    Name(String),
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    pub name: Option<String>,
    pub protocol: Protocol,
    pub port: u16,
    /// As written; missing means the same number as `port`.
    pub target: Option<TargetPort>,
    pub node_port: Option<u16>,
}

impl ServicePort {
    /// Where it arrives.
    pub fn target(&self) -> TargetPort {
        self.target.clone().unwrap_or(TargetPort::Number(self.port))
    }
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub meta: Meta,
    /// Equality of labels; `None` or empty selects nothing.
    pub selector: Labels,
    pub ports: Vec<ServicePort>,
    pub kind: ServiceType,
    pub external_ips: Vec<IpAddr>,
    /// `externalTrafficPolicy: Local`: the client's address is kept. Otherwise the source is a node's address.
    pub local_traffic: bool,
    /// `loadBalancerSourceRanges`, as written.
    pub source_ranges: Vec<ipnet::IpNet>,
    /// An annotation asks the cloud for an internal load balancer.
    pub internal: bool,
    /// Of type ExternalName: the Service of this cluster that its name is of, by namespace and name.
    #[serde(default)]
    pub alias: Option<(String, String)>,
}

impl Service {
    /// True where no selector says which pods it leads to: Endpoints and EndpointSlices, which are not read, may name any.
    pub fn leads_anywhere(&self) -> bool {
        self.selector.is_empty() && self.kind != ServiceType::ExternalName
    }
}

/// `NAME.NAMESPACE.svc` and whatever domain the cluster has.
fn alias(name: &str) -> Option<(String, String)> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let mut parts = name.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(namespace), Some("svc")) if !name.is_empty() && !namespace.is_empty() => {
            Some((namespace.to_owned(), name.to_owned()))
        }
        _ => None,
    }
}

/// Service port that a backend asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackendPort {
    Number(u16),
    Name(String),
    /// Not named: every port of the Service.
    Any,
}

/// Service behind an Ingress.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IngressBackend {
    pub service: String,
    pub port: BackendPort,
}

/// An Ingress: its backends, default backend included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    pub meta: Meta,
    pub class: Option<String>,
    pub hosts: Vec<String>,
    pub tls: bool,
    pub backends: Vec<IngressBackend>,
}

/// Service behind a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteBackend {
    /// `None`: the route's own namespace.
    pub namespace: Option<String>,
    pub service: String,
    pub port: BackendPort,
}

/// Gateway that a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteParent {
    pub namespace: Option<String>,
    pub name: String,
    /// Name of a listener.
    pub section: Option<String>,
    /// Port of the listeners.
    #[serde(default)]
    pub port: Option<u16>,
}

/// OpenShift Route; HTTPRoute, GRPCRoute, TLSRoute, TCPRoute or UDPRoute; Istio's VirtualService, Traefik's IngressRoutes,
/// Contour's HTTPProxy, and kinds of other controllers that are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub meta: Meta,
    /// API group and kind.
    pub kind: String,
    /// Empty for an OpenShift Route.
    pub parents: Vec<RouteParent>,
    pub backends: Vec<RouteBackend>,
    pub hosts: Vec<String>,
    /// Why it may lead to other Services of its namespace, too: not everything of it is read.
    #[serde(default)]
    pub unclear: Option<String>,
}

impl Route {
    /// True for a route of the Gateway API, which is served where a Gateway admits it.
    pub fn is_gateway_api(&self) -> bool {
        self.kind.starts_with("gateway.networking.k8s.io/")
    }
}

/// Namespaces whose routes a listener admits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Namespaces {
    All,
    Same,
    Select(Selector),
}

/// One listener of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GatewayListener {
    pub name: String,
    pub port: u16,
    pub namespaces: Namespaces,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or one of an implementation; empty where it is not written.
    #[serde(default)]
    pub protocol: String,
    #[serde(default)]
    pub hostname: Option<String>,
    /// Kinds of routes that it admits; empty: those of its protocol.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    pub meta: Meta,
    pub class: String,
    pub listeners: Vec<GatewayListener>,
    /// An annotation asks the cloud for an internal load balancer.
    #[serde(default)]
    pub internal: bool,
}

/// A ReferenceGrant: routes of other namespaces that may name Services of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrant {
    pub meta: Meta,
    /// API group, kind and namespace of who may refer.
    pub from: Vec<(String, String, String)>,
    /// API group, kind and, where one is written, name of what may be referred to.
    pub to: Vec<(String, String, Option<String>)>,
}

impl ReferenceGrant {
    /// True when a route of a kind and namespace may name a Service.
    pub fn admits(&self, route: &str, namespace: &str, service: &str) -> bool {
        let (group, kind) = route.split_once('/').unwrap_or(("", route));
        self.from.iter().any(|(g, k, n)| g == group && k == kind && n == namespace)
            && self.to.iter().any(|(g, k, name)| {
                g.is_empty() && k == "Service" && name.as_ref().is_none_or(|name| name == service)
            })
    }
}

fn target(node: &Node<'_>) -> Read<TargetPort> {
    if node.is_text() {
        Ok(TargetPort::Name(node.text()?.to_owned()))
    } else {
        Ok(TargetPort::Number(node.port()?))
    }
}

/// True when annotations ask the cloud for an internal load balancer.
fn asks_internal(metadata: Option<Node<'_>>) -> bool {
    metadata.and_then(|metadata| metadata.get("annotations")).is_some_and(|node| {
        node.object().is_ok_and(|notes| {
            notes.iter().any(|(key, value)| {
                let asked = value.as_str().is_some_and(|value| {
                    let value = value.to_ascii_lowercase();
                    value == "true" || value == "internal" || value == "private" || value == "0.0.0.0/0"
                });
                asked && key.contains("internal") && key.contains("load-balancer")
                    || asked && key.ends_with("load-balancer-type")
                    || asked && key.ends_with("load-balancer-scheme")
            })
        })
    })
}

pub(super) fn service(meta: Meta, root: &Node<'_>) -> Read<Service> {
    let internal = asks_internal(root.get("metadata"));
    let Some(spec) = root.get("spec") else {
        return Ok(Service {
            meta,
            selector: Labels::new(),
            ports: Vec::new(),
            kind: ServiceType::ClusterIp,
            external_ips: Vec::new(),
            local_traffic: false,
            source_ranges: Vec::new(),
            internal,
            alias: None,
        });
    };
    let kind = match spec.text_at("type")?.as_deref() {
        None | Some("ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => return spec.require("type")?.refuse(format!("{other:?} is not a Service type")),
    };
    let mut ports = Vec::new();
    for entry in spec.list("ports")? {
        ports.push(ServicePort {
            name: entry.text_at("name")?,
            protocol: policy::protocol(entry.get("protocol"))?,
            port: entry.require("port")?.port()?,
            target: match entry.get("targetPort") {
                Some(node) if node.is_text() || node.integer()? != 0 => Some(target(&node)?),
                _ => None,
            },
            node_port: match entry.get("nodePort") {
                Some(node) if node.integer()? != 0 => Some(node.port()?),
                _ => None,
            },
        });
    }
    let external_ips = spec.list("externalIPs")?.iter().filter_map(Node::address).collect();
    let source_ranges =
        spec.list("loadBalancerSourceRanges")?.iter().map(Node::block).collect::<Read<Vec<_>>>()?;
    let external = spec.text_at("externalName")?.filter(|_| kind == ServiceType::ExternalName);
    Ok(Service {
        alias: external.as_deref().and_then(alias),
        meta,
        selector: spec.labels_at("selector")?,
        ports,
        kind,
        external_ips,
        local_traffic: spec.text_at("externalTrafficPolicy")?.as_deref() == Some("Local"),
        source_ranges,
        internal,
    })
}

pub(super) fn ingress(meta: Meta, root: &Node<'_>) -> Read<Ingress> {
    let mut backends = Vec::new();
    let (mut hosts, mut tls, mut class) = (Vec::new(), false, None);
    if let Some(spec) = root.get("spec") {
        class = spec.text_at("ingressClassName")?;
        tls = !spec.list("tls")?.is_empty();
        // `backend`, `serviceName` and `servicePort` are of the beta versions of the API.
        for field in ["defaultBackend", "backend"] {
            backends.extend(spec.get(field).map(|node| ingress_backend(&node)).transpose()?.flatten());
        }
        for rule in spec.list("rules")? {
            hosts.extend(rule.text_at("host")?);
            let Some(http) = rule.get("http") else { continue };
            for path in http.list("paths")? {
                backends
                    .extend(path.get("backend").map(|node| ingress_backend(&node)).transpose()?.flatten());
            }
        }
    }
    Ok(Ingress { meta, class, hosts, tls, backends })
}

fn ingress_backend(node: &Node<'_>) -> Read<Option<IngressBackend>> {
    let old = |node: &Node<'_>| -> Read<Option<IngressBackend>> {
        let Some(service) = node.text_at("serviceName")? else { return Ok(None) };
        let port = node.get("servicePort").map(|port| target(&port)).transpose()?;
        Ok(Some(IngressBackend { service, port: backend_port(port) }))
    };
    let Some(service) = node.get("service") else { return old(node) };
    let name = service.require("name")?.text()?.to_owned();
    let port = match service.get("port") {
        None => BackendPort::Any,
        Some(port) => match (port.text_at("name")?.filter(|name| !name.is_empty()), port.get("number")) {
            (Some(name), _) => BackendPort::Name(name),
            (None, Some(number)) => BackendPort::Number(number.port()?),
            (None, None) => BackendPort::Any,
        },
    };
    Ok(Some(IngressBackend { service: name, port }))
}

fn backend_port(port: Option<TargetPort>) -> BackendPort {
    match port {
        Some(TargetPort::Number(number)) => BackendPort::Number(number),
        Some(TargetPort::Name(name)) => BackendPort::Name(name),
        None => BackendPort::Any,
    }
}

pub(super) fn openshift_route(meta: Meta, root: &Node<'_>) -> Read<Route> {
    let (mut backends, mut hosts) = (Vec::new(), Vec::new());
    if let Some(spec) = root.get("spec") {
        hosts.extend(spec.text_at("host")?);
        let port =
            spec.get("port").and_then(|port| port.get("targetPort")).map(|node| target(&node)).transpose()?;
        for entry in spec.get("to").into_iter().chain(spec.list("alternateBackends")?) {
            let kind = entry.text_at("kind")?.unwrap_or_default();
            if kind.is_empty() || kind == "Service" {
                let service = entry.text_at("name")?.unwrap_or_default();
                backends.push(RouteBackend { namespace: None, service, port: backend_port(port.clone()) });
            }
        }
    }
    Ok(Route {
        meta,
        kind: "route.openshift.io/Route".into(),
        parents: Vec::new(),
        backends,
        hosts,
        unclear: None,
    })
}

pub(super) fn gateway_route(meta: Meta, kind: &str, root: &Node<'_>) -> Read<Route> {
    let (mut parents, mut backends, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(spec) = root.get("spec") {
        for host in spec.list("hostnames")? {
            hosts.push(host.text()?.to_owned());
        }
        for entry in spec.list("parentRefs")? {
            if entry.text_at("kind")?.is_some_and(|kind| kind != "Gateway") {
                continue;
            }
            parents.push(RouteParent {
                namespace: entry.text_at("namespace")?,
                name: entry.require("name")?.text()?.to_owned(),
                section: entry.text_at("sectionName")?,
                port: entry.get("port").map(|port| port.port()).transpose()?,
            });
        }
        for rule in spec.list("rules")? {
            for entry in rule.list("backendRefs")? {
                // No traffic is forwarded to a weight of nothing.
                let weight = entry.get("weight").map(|weight| weight.integer()).transpose()?;
                if weight != Some(0) {
                    backends.extend(route_backend(&entry)?);
                    mirrored(&entry, &mut backends)?;
                }
            }
            mirrored(&rule, &mut backends)?;
        }
    }
    Ok(Route {
        meta,
        kind: format!("gateway.networking.k8s.io/{kind}"),
        parents,
        backends,
        hosts,
        unclear: None,
    })
}

fn route_backend(entry: &Node<'_>) -> Read<Option<RouteBackend>> {
    if entry.text_at("kind")?.is_some_and(|kind| kind != "Service") {
        return Ok(None);
    }
    Ok(Some(RouteBackend {
        namespace: entry.text_at("namespace")?,
        service: entry.require("name")?.text()?.to_owned(),
        port: match entry.get("port") {
            Some(port) => BackendPort::Number(port.port()?),
            None => BackendPort::Any,
        },
    }))
}

/// Services to which a filter sends copies of requests.
fn mirrored(node: &Node<'_>, backends: &mut Vec<RouteBackend>) -> Read<()> {
    for filter in node.list("filters")? {
        if let Some(backend) = filter.get("requestMirror").and_then(|mirror| mirror.get("backendRef")) {
            backends.extend(route_backend(&backend)?);
        }
    }
    Ok(())
}

pub(super) fn reference_grant(meta: Meta, root: &Node<'_>) -> Read<ReferenceGrant> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    if let Some(spec) = root.get("spec") {
        let text = |entry: &Node<'_>, name: &str| Ok(entry.text_at(name)?.unwrap_or_default());
        for entry in spec.list("from")? {
            from.push((text(&entry, "group")?, text(&entry, "kind")?, text(&entry, "namespace")?));
        }
        for entry in spec.list("to")? {
            to.push((text(&entry, "group")?, text(&entry, "kind")?, entry.text_at("name")?));
        }
    }
    Ok(ReferenceGrant { meta, from, to })
}

pub(super) fn gateway(meta: Meta, root: &Node<'_>) -> Read<Gateway> {
    let mut listeners = Vec::new();
    let mut class = String::new();
    let mut internal = asks_internal(root.get("metadata"));
    if let Some(spec) = root.get("spec") {
        internal |= asks_internal(spec.get("infrastructure"));
        class = spec.text_at("gatewayClassName")?.unwrap_or_default();
        for entry in spec.list("listeners")? {
            let from = entry.get("allowedRoutes").and_then(|routes| routes.get("namespaces"));
            let namespaces = match &from {
                None => Namespaces::Same,
                Some(from) => match from.text_at("from")?.as_deref() {
                    None | Some("Same") => Namespaces::Same,
                    Some("All") => Namespaces::All,
                    Some("Selector") => Namespaces::Select(from.require("selector")?.selector()?),
                    Some(other) => return from.refuse(format!("{other:?} must be All, Same or Selector")),
                },
            };
            let mut kinds = Vec::new();
            if let Some(routes) = entry.get("allowedRoutes") {
                for kind in routes.list("kinds")? {
                    kinds.push(kind.text_at("kind")?.unwrap_or_default());
                }
            }
            listeners.push(GatewayListener {
                name: entry.text_at("name")?.unwrap_or_default(),
                port: entry.require("port")?.port()?,
                namespaces,
                protocol: entry.text_at("protocol")?.unwrap_or_default(),
                hostname: entry.text_at("hostname")?.filter(|hostname| !hostname.is_empty()),
                kinds,
            });
        }
    }
    Ok(Gateway { meta, class, listeners, internal })
}
