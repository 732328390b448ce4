//! Levels of exposure, by table.

use plimsoll_model::exposure::ExposureLevel::{self, Controlled, Isolated, Open, Small};
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::exposure::{WorkloadExposure, exposures};
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
