//! Levels of exposure, by table.

use plimsoll_model::exposure::ExposureLevel::{self, Controlled, Isolated, Open, Small};
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::exposure::{WorkloadExposure, exposures};
use plimsoll_netpol::live::{Change, Live};
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol::state::ClusterState;

fn of(yaml: &str) -> Vec<WorkloadExposure> {
    let state = ClusterState::from(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid"));
    let options = Options::default();
    exposures(&state, &Connectivity::build(&state, &options), &options)
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'registry.test/web:1', ports: [{name: http, containerPort: 8080}]}
";

fn service(spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{selector: {{app: web}}, \
         ports: [{{port: 443, targetPort: http}}], {spec}}}\n"
    )
}

fn policy(ingress: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: shop}}\nspec: \
         {{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Ingress], ingress: {ingress}}}\n"
    )
}

fn pod(namespace: &str, name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}\nspec: \
         {{containers: [{{name: a, image: b}}]}}\n"
    )
}

const INGRESS: &str = "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec: {tls: [{}], rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 443}}}}]}}]}
";

#[test]
fn levels() {
    let balancer = service("type: LoadBalancer, externalTrafficPolicy: Local");
    let snat = service("type: LoadBalancer");
    let nginx = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ctl, namespace: ingress-nginx}\nspec: {template: \
                 {metadata: {labels: {app.kubernetes.io/name: ingress-nginx}}, spec: {containers: [{name: c, image: d}]}}}\n";
    let cases: Vec<(&str, String, ExposureLevel, ExposureLevel, &str)> = vec![
        ("no policy", WEB.into(), Controlled, Controlled, "every pod of the cluster"),
        ("denied", WEB.to_owned() + &policy("[]"), Isolated, Isolated, "no workload in view"),
        (
            "balancer",
            WEB.to_owned() + &balancer,
            Open,
            Open,
            "internet via load balancer shop/web:443 to TCP 8080",
        ),
        ("balancer denied", WEB.to_owned() + &balancer + &policy("[]"), Isolated, Isolated, "no workload"),
        (
            "balancer for one office",
            WEB.to_owned() + &balancer + &policy("[{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]"),
            Isolated,
            Controlled,
            "no workload",
        ),
        (
            "balancer, wrong port",
            WEB.to_owned() + &balancer + &policy("[{ports: [{port: 9090}]}]"),
            Controlled,
            Controlled,
            "any pod of the cluster to TCP 9090",
        ),
        ("node addresses", WEB.to_owned() + &snat + &policy("[]"), Isolated, Open, "no workload"),
        (
            "internal balancer",
            WEB.to_owned()
                + &service(
                    "type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerSourceRanges: [10.0.0.0/8]",
                ),
            Controlled,
            Controlled,
            "every pod of the cluster",
        ),
        (
            "ingress",
            WEB.to_owned() + &service("type: ClusterIP") + INGRESS,
            Open,
            Open,
            "internet via ingress shop/shop:443 to TCP 8080",
        ),
        (
            "ingress, controller not in view",
            WEB.to_owned() + &service("type: ClusterIP") + INGRESS + &policy("[]"),
            Isolated,
            Open,
            "no workload",
        ),
        (
            "ingress, controller in view and kept out",
            WEB.to_owned() + &service("type: ClusterIP") + INGRESS + nginx + &policy("[]"),
            Isolated,
            Isolated,
            "no workload",
        ),
        (
            "ingress, controller in view and admitted",
            WEB.to_owned()
                + &service("type: ClusterIP")
                + INGRESS
                + nginx
                + &policy(
                    "[{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]}]",
                ),
            Open,
            Open,
            "internet via ingress",
        ),
        (
            "same namespace",
            WEB.to_owned() + &policy("[{from: [{podSelector: {}}]}]") + &pod("shop", "cart"),
            Small,
            Small,
            "shop/cart[Pod] from the same namespace",
        ),
        (
            "other namespace",
            WEB.to_owned()
                + &policy("[{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: jobs}}}]}]")
                + &pod("ops", "jobs"),
            Controlled,
            Controlled,
            "ops/jobs[Pod] from another namespace",
        ),
        (
            "host network",
            WEB.replace("    spec:\n", "    spec:\n      hostNetwork: true\n") + &policy("[]"),
            Open,
            Open,
            "internet via the node's network",
        ),
        (
            "host port",
            WEB.replace("containerPort: 8080", "containerPort: 8080, hostPort: 80"),
            Open,
            Open,
            "internet via host port 80 to TCP 8080",
        ),
    ];
    for (name, yaml, level, at_most, path) in cases {
        let all = of(&yaml);
        let web = all.iter().find(|found| found.name == "web").expect("web");
        assert_eq!((web.level, web.at_most), (level, at_most), "{name}: {web:#?}");
        assert!(web.paths.iter().any(|found| found.starts_with(path)), "{name}: {web:#?}");
        assert!(web.at_most >= web.level, "{name}");
        assert!(level == at_most || !web.caveats.is_empty(), "{name}: {web:#?}");
    }
}

#[test]
fn pods_of_a_deployment_are_one_workload() {
    let pods = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-5d4f-x, namespace: shop, labels: {app: web, pod-template-hash: \
                5d4f}, ownerReferences: [{kind: ReplicaSet, name: web-5d4f, controller: true}]}\nspec: {containers: []}\n";
    let all = of(&(WEB.to_owned() + pods));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].objects.len(), 2);
}

fn gateway(listener: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: gw, namespace: infra}}\nspec: \
         {{gatewayClassName: c, listeners: [{listener}]}}\n"
    )
}

fn route(kind: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r, namespace: edge}}\nspec: {{parentRefs: \
         [{{name: gw, namespace: infra{spec}}}], HOSTSrules: [{{backendRefs: [{{name: web, namespace: shop, port: 443}}]}}]}}\n"
    )
}

fn grant(from: &str, to: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: shop}}\nspec: \
         {{from: [{{group: gateway.networking.k8s.io, {from}}}], to: [{to}]}}\n"
    )
}

#[test]
fn routes_of_the_gateway_api() {
    let all = "allowedRoutes: {namespaces: {from: All}}";
    let http = format!("{{name: web, port: 443, protocol: HTTPS, hostname: '*.shop.test', {all}}}");
    let same = "{name: web, port: 443, protocol: HTTPS}";
    let given = grant("kind: HTTPRoute, namespace: edge", "{group: '', kind: Service}");
    let other = grant("kind: HTTPRoute, namespace: elsewhere", "{group: '', kind: Service}");
    let named = grant("kind: HTTPRoute, namespace: edge", "{group: '', kind: Service, name: db}");
    let selected = "{name: web, port: 443, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: edge}}}}}";
    let kinds = "{name: web, port: 443, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}";
    let tcp = format!("{{name: web, port: 443, protocol: TCP, {all}}}");
    let cases: Vec<(&str, String, String, String, ExposureLevel, ExposureLevel)> = vec![
        ("granted", gateway(&http), route("HTTPRoute", ""), given.clone(), Open, Open),
        ("no grant in view", gateway(&http), route("HTTPRoute", ""), String::new(), Isolated, Open),
        ("a grant for another namespace", gateway(&http), route("HTTPRoute", ""), other, Isolated, Open),
        ("a grant for another Service", gateway(&http), route("HTTPRoute", ""), named, Isolated, Open),
        ("routes of the gateway's namespace only", gateway(same), route("HTTPRoute", ""), given.clone(), Isolated, Isolated),
        ("namespaces by selector", gateway(selected), route("HTTPRoute", ""), given.clone(), Open, Open),
        ("other kinds only", gateway(kinds), route("HTTPRoute", ""), given.clone(), Isolated, Isolated),
        ("a listener of another protocol", gateway(&tcp), route("HTTPRoute", ""), given.clone(), Isolated, Isolated),
        ("TCPRoute", gateway(&tcp), route("TCPRoute", ""), given.replace("HTTPRoute", "TCPRoute"), Open, Open),
        ("another section", gateway(&http), route("HTTPRoute", ", sectionName: api"), given.clone(), Isolated, Isolated),
        ("another port", gateway(&http), route("HTTPRoute", ", port: 80"), given.clone(), Isolated, Isolated),
        ("a host of the listener", gateway(&http), route("HTTPRoute", "").replace("HOSTS", "hostnames: [a.b.shop.test], "), given.clone(), Open, Open),
        ("a host of another listener", gateway(&http), route("HTTPRoute", "").replace("HOSTS", "hostnames: [shop.test], "), given.clone(), Isolated, Isolated),
        ("a gateway that is not in view", String::new(), route("HTTPRoute", ""), given.clone(), Open, Open),
        ("no traffic by weight", gateway(&http), route("HTTPRoute", "").replace("port: 443}]", "port: 443, weight: 0}]"), given.clone(), Isolated, Isolated),
        ("a copy of requests", gateway(&http), route("HTTPRoute", "").replace("{backendRefs: [{name: web, namespace: shop, port: 443}]}", "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: web, namespace: shop, port: 443}}}]}"), given.clone(), Open, Open),
        ("an internal gateway", gateway(&http).replace("spec: {", "spec: {infrastructure: {annotations: {service.beta.kubernetes.io/aws-load-balancer-scheme: internal}}, "), route("HTTPRoute", ""), given.clone(), Controlled, Controlled),
    ];
    // Only the well-known controllers may call, so that nothing else exposes it.
    let closed = policy(
        "[{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: envoy-gateway-system}}, podSelector: {}}]}]",
    );
    for (name, gateway, route, grant, level, at_most) in cases {
        let route = route.replace("HOSTS", "");
        let yaml = WEB.to_owned() + &service("type: ClusterIP") + &closed + &gateway + &route + &grant;
        let all = of(&yaml);
        let web = all.iter().find(|found| found.name == "web").expect("web");
        assert_eq!((web.level, web.at_most), (level, at_most), "{name}: {web:#?}");
        assert!(
            level == at_most || web.caveats.iter().any(|c| c.contains("ReferenceGrant")),
            "{name}: {web:#?}"
        );
    }
}

#[test]
fn openshift_routers_are_known_by_their_namespace() {
    let route = "---\napiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: web, namespace: shop}\nspec: {to: {kind: Service, name: web}}\n";
    for label in
        ["network.openshift.io/policy-group: ingress", "policy-group.network.openshift.io/ingress: ''"]
    {
        let admitted = policy(&format!("[{{from: [{{namespaceSelector: {{matchLabels: {{{label}}}}}}}]}}]"));
        let all = of(&(WEB.to_owned() + &service("type: ClusterIP") + route + &admitted));
        assert_eq!(all[0].level, Open, "{label}: {:#?}", all[0]);
    }
}

#[test]
fn a_grant_that_comes_and_goes_is_followed() {
    let listener = "{name: web, port: 443, protocol: HTTPS, allowedRoutes: {namespaces: {from: All}}}";
    let yaml = WEB.to_owned()
        + &service("type: ClusterIP")
        + &gateway(listener)
        + &route("HTTPRoute", "").replace("HOSTS", "");
    let state = ClusterState::from(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid"));
    let mut live = Live::new(state, &Options::default());
    let level = |live: &Live| live.snapshot().exposures()[0].level;
    assert_eq!(level(&live), Controlled);
    let text = grant("kind: HTTPRoute, namespace: edge", "{group: '', kind: Service}");
    let object = parse_documents(text.as_bytes(), Format::Yaml).expect("valid").remove(0);
    let key = object.key();
    assert_eq!(live.change(Change::Apply(object)).exposures().len(), 1);
    assert_eq!(level(&live), Open);
    live.change(Change::Delete(key));
    assert_eq!(level(&live), Controlled);
}

/// Ways in of controllers' own kinds: those that are read open what they name, those that are not open nothing for
/// certain, and nothing is called isolated for them.
#[test]
fn ways_in_of_other_kinds() {
    const CLOSED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: shop}\nspec: {podSelector: {}, \
                          policyTypes: [Ingress]}\n---\n";
    const SHOP: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {containers: [{name: c, image: i}]}\n\
                        ---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n\
                        apiVersion: v1\nkind: Pod\nmetadata: {name: lone, namespace: shop}\nspec: {containers: [{name: c, image: i}]}\n---\n";
    let levels = |entry: &str, policy: &str| {
        let state = ClusterState::from(
            parse_documents(format!("{SHOP}{policy}{entry}").as_bytes(), Format::Yaml).unwrap(),
        );
        let options = Options::default();
        let connectivity = Connectivity::build(&state, &options);
        let found = exposures(&state, &connectivity, &options);
        let of = |name: &str| found.iter().find(|known| known.name == name).unwrap();
        let (web, lone) = (of("web"), of("lone"));
        let told = connectivity.warnings().iter().any(|warning| warning.code == "entry_not_analysed");
        ((web.level, web.at_most), (lone.level, lone.at_most), told, web.caveats.join("; "))
    };
    let (open, controlled, isolated) =
        (ExposureLevel::Open, ExposureLevel::Controlled, ExposureLevel::Isolated);
    let small = ExposureLevel::Small;
    for read in [
        "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: r, namespace: shop}, spec: {routes: [{services: [{name: web, \
         port: 80}]}]}}",
        "{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: r, namespace: shop}, spec: {routes: [{services: [{name: web, \
         port: 80}]}]}}",
        "{apiVersion: networking.istio.io/v1beta1, kind: VirtualService, metadata: {name: r, namespace: edge}, spec: {hosts: [a.test], \
         gateways: [public], http: [{route: [{destination: {host: web.shop.svc.cluster.local}}]}]}}",
    ] {
        let (web, lone, told, _) = levels(read, "");
        assert_eq!((web, lone, told), ((open, open), (controlled, controlled), false), "{read}");
        let (web, _, _, why) = levels(read, CLOSED);
        assert_eq!((web.0, web.1), (isolated, open), "who the controller is cannot be known: {why}");
    }
    let unread = "{apiVersion: getambassador.io/v3alpha1, kind: Mapping, metadata: {name: m, namespace: shop}, spec: {service: web}}";
    let (web, lone, told, why) = levels(unread, CLOSED);
    assert_eq!((web, lone.1, told), ((isolated, open), isolated.max(lone.0), true), "{why}");
    assert!(why.contains("mapping shop/m"), "{why}");
    let mesh = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r, namespace: shop}, spec: {hosts: [web], http: \
                [{route: [{destination: {host: web}}]}]}}";
    let (web, _, told, _) = levels(mesh, CLOSED);
    assert!(web.1 <= small && !told, "the mesh's own");
}

/// What a Service without a selector leads to is not in view, and one that is another name of a Service may be followed:
/// neither opens for certain, neither is taken for nothing.
#[test]
fn services_without_selectors() {
    let service = |namespace: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}, ports: \
             [{{port: 443, targetPort: 8080}}]}}\n"
        )
    };
    let ingress = |namespace: &str, backend: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i, namespace: {namespace}}}\nspec: \
             {{defaultBackend: {{service: {{name: {backend}, port: {{number: 443}}}}}}}}\n"
        )
    };
    let selected = service("shop", "web", "selector: {app: web}");
    let external = |to: &str| service("edge", "out", &format!("type: ExternalName, externalName: {to}"));
    let loose = |kind: &str| service("shop", "loose", &format!("type: {kind}"));
    // Only ingress controllers may call, so that nothing else exposes it.
    let closed = policy(
        "[{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}, podSelector: {}}]}]",
    );
    let cases = [
        ("a balancer", String::new(), loose("LoadBalancer"), Controlled, Open, "has no selector"),
        ("a Service of the cluster", closed.clone(), loose("ClusterIP"), Isolated, Isolated, ""),
        (
            "behind an ingress",
            closed.clone(),
            loose("ClusterIP") + &ingress("shop", "loose"),
            Isolated,
            Open,
            "has no selector",
        ),
        (
            "another namespace",
            closed.clone(),
            service("edge", "loose", "type: ClusterIP") + &ingress("edge", "loose"),
            Isolated,
            Isolated,
            "",
        ),
        (
            "another name",
            closed.clone(),
            selected.clone() + &external("Web.shop.svc.cluster.local.") + &ingress("edge", "out"),
            Isolated,
            Open,
            "Service edge/out is another name of shop/web",
        ),
        (
            "a name outside",
            closed.clone(),
            selected.clone() + &external("web.shop.example.com") + &ingress("edge", "out"),
            Isolated,
            Isolated,
            "",
        ),
        (
            "another name that nothing routes to",
            closed.clone(),
            selected.clone() + &external("web.shop.svc"),
            Isolated,
            Isolated,
            "",
        ),
        (
            "a name of a name",
            closed,
            selected
                + &external("two.edge.svc")
                + &service("edge", "two", "type: ExternalName, externalName: web.shop.svc")
                + &ingress("edge", "out"),
            Isolated,
            Open,
            "is another name of shop/web",
        ),
    ];
    for (name, policy, services, level, at_most, caveat) in cases {
        let all = of(&(WEB.to_owned() + &policy + &services));
        let web = all.iter().find(|found| found.name == "web").expect("web");
        assert_eq!((web.level, web.at_most), (level, at_most), "{name}: {web:#?}");
        assert!(caveat.is_empty() || web.caveats.iter().any(|c| c.contains(caveat)), "{name}: {web:#?}");
    }
}
