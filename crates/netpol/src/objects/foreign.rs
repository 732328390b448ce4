//! Ways in of ingress controllers and meshes with kinds of their own: Traefik's IngressRoutes, Contour's HTTPProxy,
//! Istio's VirtualService. The Services that they name plainly are read; what is not, and the kinds of others, is told
//! as unclear. Nothing of them is ever refused: Kubernetes leaves their fields to their own controllers.

use super::entry::{BackendPort, Route, RouteBackend};
use super::node::Node;
use super::{Meta, loose_meta};

/// Kinds that let traffic in and are not read, by API group.
pub(super) const UNREAD: [(&str, &str); 17] = [
    ("configuration.konghq.com", "TCPIngress"),
    ("configuration.konghq.com", "UDPIngress"),
    ("getambassador.io", "Mapping"),
    ("getambassador.io", "TCPMapping"),
    ("x.getambassador.io", "AmbassadorMapping"),
    ("k8s.nginx.org", "VirtualServer"),
    ("k8s.nginx.org", "VirtualServerRoute"),
    ("k8s.nginx.org", "TransportServer"),
    ("gateway.solo.io", "VirtualService"),
    ("gateway.solo.io", "RouteTable"),
    ("apisix.apache.org", "ApisixRoute"),
    ("zalando.org", "RouteGroup"),
    ("voyager.appscode.com", "Ingress"),
    ("ingress.haproxy.org", "TCP"),
    ("core.haproxy.org", "TCP"),
    ("cis.f5.com", "VirtualServer"),
    ("cis.f5.com", "TransportServer"),
];

const TRAEFIK: [&str; 2] = ["traefik.io", "traefik.containo.us"];

/// A way in of one of these kinds; none for any other kind.
pub(super) fn route(group: &str, kind: &str, root: &Node<'_>) -> Option<Route> {
    let meta = || Meta {
        namespace: Some(loose_meta(root).namespace)
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| "default".into()),
        ..loose_meta(root)
    };
    let mut found = Found::default();
    let spec = root.get("spec");
    match (group, kind) {
        ("projectcontour.io", "HTTPProxy") => {
            spec.into_iter().for_each(|spec| contour(&spec, &mut found));
        }
        ("networking.istio.io", "VirtualService") => {
            let namespace = meta().namespace;
            spec.into_iter().for_each(|spec| istio(&spec, &namespace, &mut found));
        }
        (group, "IngressRoute" | "IngressRouteTCP" | "IngressRouteUDP") if TRAEFIK.contains(&group) => {
            spec.into_iter().for_each(|spec| traefik(&spec, &mut found));
        }
        _ if UNREAD.contains(&(group, kind)) => found.miss("ways in of this kind are not analysed"),
        _ => return None,
    }
    let Found { backends, hosts, unclear } = found;
    let kind = format!("{group}/{kind}");
    Some(Route { meta: meta(), kind, parents: Vec::new(), backends, hosts, unclear })
}

/// What was read of a way in.
#[derive(Default)]
struct Found {
    backends: Vec<RouteBackend>,
    hosts: Vec<String>,
    unclear: Option<String>,
}

impl Found {
    fn miss(&mut self, why: impl Into<String>) {
        self.unclear.get_or_insert_with(|| why.into());
    }

    /// A Service by name; a port that is none of a Service's numbers or names counts as every port.
    fn service(&mut self, namespace: Option<String>, service: String, port: Option<Node<'_>>) {
        let port = match port {
            Some(port) if port.is_text() => {
                let text = port.text().unwrap_or_default();
                text.parse().map_or_else(|_| BackendPort::Name(text.to_owned()), BackendPort::Number)
            }
            Some(port) => port.port().map_or(BackendPort::Any, BackendPort::Number),
            None => BackendPort::Any,
        };
        self.backends.push(RouteBackend { namespace, service, port });
    }
}

fn text(node: &Node<'_>, name: &str) -> Option<String> {
    node.text_at(name).ok().flatten().filter(|text| !text.is_empty())
}

fn list<'a>(node: &Node<'a>, name: &str) -> Vec<Node<'a>> {
    node.list(name).unwrap_or_default()
}

fn traefik(spec: &Node<'_>, found: &mut Found) {
    for route in list(spec, "routes") {
        for service in list(&route, "services") {
            let Some(name) = text(&service, "name") else {
                found.miss("a backend without a name");
                continue;
            };
            match text(&service, "kind").as_deref() {
                None | Some("Service") => {
                    found.service(text(&service, "namespace"), name, service.get("port"));
                }
                // The dashboard and the like, which are Traefik's own.
                Some(_) if name.ends_with("@internal") => {}
                Some(kind) => found.miss(format!("its {kind} {name} is not followed")),
            }
        }
    }
}

fn contour(spec: &Node<'_>, found: &mut Found) {
    let host = spec.get("virtualhost").and_then(|host| text(&host, "fqdn"));
    found.hosts.extend(host);
    // What is included is an HTTPProxy of its own.
    let tcp = ["tcpproxy", "tcpProxy"].into_iter().filter_map(|name| spec.get(name));
    for route in list(spec, "routes").into_iter().chain(tcp) {
        for service in list(&route, "services") {
            match text(&service, "name") {
                Some(name) => found.service(None, name, service.get("port")),
                None => found.miss("a backend without a name"),
            }
        }
    }
}

/// A route that is bound to no gateway is of the mesh alone; one without hosts is taken in by another.
fn istio(spec: &Node<'_>, namespace: &str, found: &mut Found) {
    let texts = |name: &str| -> Vec<String> {
        list(spec, name).iter().filter_map(|node| node.text().ok().map(str::to_owned)).collect()
    };
    let gateways = texts("gateways");
    found.hosts = texts("hosts");
    if found.hosts.is_empty() {
        found.miss("which route delegates to it is not followed");
    } else if gateways.iter().all(|gateway| gateway == "mesh") {
        return;
    }
    for kind in ["http", "tls", "tcp"] {
        for route in list(spec, kind) {
            let mirrors = route.get("mirror").into_iter().chain(list(&route, "mirrors"));
            let ends = list(&route, "route").into_iter().filter_map(|end| end.get("destination"));
            for end in ends.chain(mirrors.map(|mirror| mirror.get("destination").unwrap_or(mirror))) {
                let host = text(&end, "host").unwrap_or_default();
                let (service, of) = match host.split_once('.') {
                    None if !host.is_empty() => (host.as_str(), namespace),
                    Some((service, rest)) => {
                        let own =
                            rest.strip_suffix(".svc.cluster.local").or_else(|| rest.strip_suffix(".svc"));
                        let of = own.unwrap_or(rest);
                        if of.contains('.') {
                            // A name of the world, or of a ServiceEntry.
                            continue;
                        }
                        (service, of)
                    }
                    None => {
                        found.miss("a destination without a host");
                        continue;
                    }
                };
                let port = end.get("port").and_then(|port| port.get("number"));
                found.service(Some(of.to_owned()), service.to_owned(), port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Format, Object, parse_documents};

    fn read(yaml: &str) -> Route {
        match parse_documents(yaml.as_bytes(), Format::Yaml).expect("never refused").remove(0) {
            Object::Route(route) => route,
            other => panic!("{other:?}"),
        }
    }

    fn named<'a>(route: &'a Route) -> Vec<(Option<&'a str>, &'a str, BackendPort)> {
        let named = |known: &'a RouteBackend| {
            (known.namespace.as_deref(), known.service.as_str(), known.port.clone())
        };
        route.backends.iter().map(named).collect()
    }

    #[test]
    fn services_that_are_named_plainly_are_read() {
        let traefik = read(
            "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: r, namespace: shop}, spec: {routes: [{services: \
             [{name: web, port: 80}, {name: api, namespace: other, port: http}, {name: api@internal, kind: TraefikService}]}]}}",
        );
        assert_eq!(
            named(&traefik),
            [
                (None, "web", BackendPort::Number(80)),
                (Some("other"), "api", BackendPort::Name("http".into()))
            ]
        );
        assert_eq!(traefik.unclear, None);
        let contour = read(
            "{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: r}, spec: {virtualhost: {fqdn: a.test}, routes: \
             [{services: [{name: web, port: 80}]}], tcpproxy: {services: [{name: db, port: 5432}]}}}",
        );
        assert_eq!((contour.meta.namespace.as_str(), contour.backends.len()), ("default", 2));
        let istio = |gateways: &str, hosts: &str| {
            read(&format!(
                "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: r, namespace: shop}}, spec: {{hosts: \
                 [{hosts}], gateways: [{gateways}], http: [{{route: [{{destination: {{host: web, port: {{number: 80}}}}}}, {{destination: \
                 {{host: api.other.svc.cluster.local}}}}, {{destination: {{host: api.example.com}}}}]}}]}}}}"
            ))
        };
        let entry = istio("istio-system/public", "shop.test");
        assert_eq!(
            named(&entry),
            [(Some("shop"), "web", BackendPort::Number(80)), (Some("other"), "api", BackendPort::Any)]
        );
        assert!(istio("mesh", "web").backends.is_empty(), "no way in from outside");
        assert!(istio("", "").unclear.is_some(), "another route may delegate to it");
    }

    #[test]
    fn what_is_not_read_is_unclear_and_never_refused() {
        for yaml in [
            "{apiVersion: getambassador.io/v3alpha1, kind: Mapping, metadata: {name: m}, spec: {service: web}}",
            "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: r}, spec: {routes: [{services: [{name: w, kind: \
             TraefikService}]}]}}",
            "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: r}, spec: {routes: [{services: [{port: 80}]}]}}",
        ] {
            assert!(read(yaml).unclear.is_some(), "{yaml}");
        }
        let odd = "{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: r}, spec: {routes: 5, tcpproxy: [1]}}";
        assert!(read(odd).backends.is_empty());
    }
}
