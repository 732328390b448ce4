//! Points of the APIs that implementations have got wrong, each as a small cluster.

use plimsoll_netpol::conn::{ConnSet, Protocol};
use plimsoll_netpol::engine::{Connectivity, Options, Peer};
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol::state::ClusterState;

struct World {
    connectivity: std::sync::Arc<Connectivity>,
}

impl World {
    fn new(policies: &str) -> Self {
        let pods = "
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {team: one}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: a, labels: {app: client}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: a, labels: {app: server}}
spec:
  initContainers: [{name: side, image: i, restartPolicy: Always, ports: [{name: metrics, containerPort: 9100}]}]
  containers: [{name: c, image: i, ports: [{name: web, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: b}
spec: {containers: [{name: c, image: i}]}
---
";
        let objects = parse_documents((pods.to_owned() + policies).as_bytes(), Format::Yaml).expect("valid");
        Self { connectivity: Connectivity::build(&ClusterState::from(objects), &Options::default()) }
    }

    fn open(&self, source: &str, destination: &str) -> String {
        let peer = |name: &str| {
            let position = self
                .connectivity
                .endpoints()
                .iter()
                .position(|endpoint| endpoint.to_string() == format!("{name}[Pod]"));
            Peer::Workload(position.expect("there"))
        };
        self.connectivity.between(peer(source), peer(destination)).to_string()
    }
}

fn policy(spec: &str) -> String {
    policy_named("p", spec)
}

fn policy_named(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: a}}\nspec: {spec}\n"
    )
}

#[test]
fn ports_are_intersected_as_sets() {
    // kubescape issue 3903: TCP 80 out and TCP 443 in are no connection.
    let out = policy_named(
        "out",
        "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}",
    );
    let into =
        policy_named("in", "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 443}]}]}");
    assert_eq!(World::new(&(out + &into)).open("a/client", "a/server"), "No Connections");
}

#[test]
fn policy_types_decide_what_is_isolated() {
    let ignored = policy("{podSelector: {}, policyTypes: [Egress], ingress: [], egress: [{}]}");
    assert_eq!(World::new(&ignored).open("b/stranger", "a/server"), "All Connections");
    let both = policy("{podSelector: {}, egress: [{ports: [{port: 53, protocol: UDP}]}]}");
    let world = World::new(&both);
    assert_eq!(world.open("a/client", "b/stranger"), "UDP 53");
    assert_eq!(world.open("b/stranger", "a/server"), "No Connections", "ingress is in effect by default");
}

#[test]
fn nil_and_empty_namespace_selectors_differ() {
    let own = policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}");
    assert_eq!(World::new(&own).open("b/stranger", "a/server"), "No Connections");
    let any = policy("{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]}");
    assert_eq!(World::new(&any).open("b/stranger", "a/server"), "All Connections");
}

#[test]
fn named_ports_resolve_on_the_destination_by_name_and_protocol() {
    // np-guard issue 405.
    let into = "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: web}, {port: dns}, {port: metrics}]}]}";
    assert_eq!(World::new(&policy(into)).open("a/client", "a/server"), "TCP 80,9100", "dns is UDP there");
    let out = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{ports: [{port: dns, protocol: UDP}]}]}";
    let world = World::new(&policy(out));
    assert_eq!(world.open("a/client", "a/server"), "UDP 53");
    assert_eq!(world.open("a/client", "b/stranger"), "No Connections");
}

#[test]
fn warnings_name_what_is_odd() {
    let codes = |yaml: &str| -> Vec<&'static str> {
        World::new(yaml).connectivity.warnings().iter().map(|warning| warning.code).collect()
    };
    let nobody = "{podSelector: {matchLabels: {app: none}}, ingress: [{}]}";
    assert_eq!(codes(&policy(nobody)), ["policy_selects_nothing"]);
    let nothing = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}";
    assert_eq!(codes(&policy(nothing)), ["rule_matches_nothing"]);
    let port = "{podSelector: {}, ingress: [{ports: [{port: nope}]}]}";
    assert_eq!(codes(&policy(port)), ["named_port_unresolved"]);
    let cilium =
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: a}\n";
    assert_eq!(codes(cilium), ["policy_not_analysed"]);
    let tie = |name: &str, action: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: {name}}}\nspec: \
             {{priority: 5, subject: {{namespaces: {{}}}}, ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]}}\n"
        )
    };
    assert_eq!(codes(&(tie("x", "Allow") + &tie("z", "Deny"))), ["policy_priority_tie"]);
    assert!(codes(&(tie("x", "Deny") + &tie("z", "Deny"))).is_empty());
}

#[test]
fn explanations_name_policy_and_rule() {
    let world = World::new(&policy(
        "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 9}]}, {from: [{podSelector: {}}]}]}",
    ));
    let endpoints = world.connectivity.endpoints();
    let at = |name: &str| {
        Peer::Workload(endpoints.iter().position(|endpoint| endpoint.name == name).expect("there"))
    };
    let explained = world.connectivity.explain(at("stranger"), at("server"));
    let side = explained.ingress.expect("inside");
    assert!(side.isolated);
    let words: Vec<_> = side.decisions.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["networking.k8s.io/NetworkPolicy a/p rule 0 allow TCP 9"]);
    assert_eq!(explained.conn, ConnSet::range(Protocol::Tcp, 9, 9));
    let own = world.connectivity.explain(at("client"), at("server")).ingress.expect("inside");
    assert_eq!(own.decisions.len(), 2);
}
