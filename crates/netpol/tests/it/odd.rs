//! Inputs at the edges of the APIs, each with what Kubernetes makes of it.

use plimsoll_netpol::engine::{BlockPods, Connectivity, Options, Peer};
use plimsoll_netpol::objects::{Format, ParseError, parse_documents};
use plimsoll_netpol::state::ClusterState;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: a, labels: {app: client}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: a, labels: {app: server, empty: ''}}
spec:
  initContainers:
  - {name: setup, image: i, ports: [{name: setup, containerPort: 1}]}
  - {name: side, image: i, restartPolicy: Always, ports: [{name: metrics, containerPort: 9100}]}
  containers: [{name: c, image: i, ports: [{name: web, containerPort: 80}, {name: web-udp, containerPort: 80, protocol: UDP}]}]
status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: '2001:db8::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: b, labels: {app: client}}
spec: {containers: [{name: c, image: i}]}
";

fn policy(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: a}}\nspec: {spec}\n"
    )
}

fn open_with(yaml: &str, options: &Options, source: &str, destination: &str) -> String {
    let state = ClusterState::from(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid"));
    let connectivity = Connectivity::build(&state, options);
    let peer = |name: &str| {
        let found = connectivity.endpoints().iter().position(|e| e.to_string() == format!("{name}[Pod]"));
        Peer::Workload(found.expect(name))
    };
    connectivity.between(peer(source), peer(destination)).to_string()
}

fn open(spec: &str, source: &str) -> String {
    open_with(&(PODS.to_owned() + &policy(spec)), &Options::default(), source, "a/server")
}

const ALL: &str = "All Connections";
const NONE: &str = "No Connections";

#[test]
fn empty_and_missing_by_table() {
    let cases = [
        ("policyTypes empty: ingress only", "{podSelector: {}, policyTypes: []}", NONE, NONE),
        ("policyTypes null", "{podSelector: {}, policyTypes: null, ingress: [{}]}", ALL, ALL),
        ("ingress null", "{podSelector: {}, ingress: null}", NONE, NONE),
        (
            "ports empty with peers",
            "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: []}]}",
            ALL,
            NONE,
        ),
        (
            "from empty with ports",
            "{podSelector: {}, ingress: [{from: [], ports: [{port: 80}]}]}",
            "TCP 80",
            "TCP 80",
        ),
        ("a rule that is null is an empty one", "{podSelector: {}, ingress: [null]}", ALL, ALL),
        ("from null", "{podSelector: {}, ingress: [{from: null}]}", ALL, ALL),
        (
            "namespaceSelector null beside podSelector",
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: null, podSelector: {}}]}]}",
            ALL,
            NONE,
        ),
        (
            "both empty",
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]}",
            ALL,
            ALL,
        ),
        (
            "podSelector null beside namespaceSelector",
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: null}]}]}",
            ALL,
            ALL,
        ),
        ("no podSelector: every pod", "{ingress: []}", NONE, NONE),
        (
            "a port without number",
            "{podSelector: {}, ingress: [{ports: [{}]}]}",
            "TCP 1-65535",
            "TCP 1-65535",
        ),
        (
            "endPort as port",
            "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 80}]}]}",
            "TCP 80",
            "TCP 80",
        ),
        (
            "the last port",
            "{podSelector: {}, ingress: [{ports: [{port: 65535, endPort: 65535}]}]}",
            "TCP 65535",
            "TCP 65535",
        ),
        (
            "overlapping ranges",
            "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}, {port: 85, endPort: 95}, {port: 96}]}]}",
            "TCP 80-96",
            "TCP 80-96",
        ),
        (
            "a sidecar's name",
            "{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}",
            "TCP 9100",
            "TCP 9100",
        ),
        (
            "a finished init container's name",
            "{podSelector: {}, ingress: [{ports: [{port: setup}]}]}",
            NONE,
            NONE,
        ),
        (
            "a name under another protocol",
            "{podSelector: {}, ingress: [{ports: [{port: web-udp}]}]}",
            NONE,
            NONE,
        ),
        (
            "policies of egress only",
            "{podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: []}",
            NONE,
            ALL,
        ),
        ("the same type twice", "{podSelector: {}, policyTypes: [Ingress, Ingress]}", NONE, NONE),
    ];
    for (name, spec, near, far) in cases {
        assert_eq!((open(spec, "a/client").as_str(), open(spec, "b/other").as_str()), (near, far), "{name}");
    }
}

#[test]
fn expressions_by_table() {
    // Who of a (client) may send, by the expression on the peer.
    let cases = [
        ("{key: app, operator: In, values: [client, x]}", ALL),
        ("{key: app, operator: NotIn, values: [client]}", NONE),
        ("{key: nope, operator: NotIn, values: [client]}", ALL),
        ("{key: nope, operator: DoesNotExist}", ALL),
        ("{key: app, operator: DoesNotExist}", NONE),
        ("{key: app, operator: Exists}", ALL),
        ("{key: app, operator: In, values: [client]}, {key: app, operator: NotIn, values: [client]}", NONE),
        ("{key: nope, operator: In, values: ['']}", NONE),
    ];
    for (expression, want) in cases {
        let spec = format!(
            "{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {{matchExpressions: [{expression}]}}}}]}}]}}"
        );
        assert_eq!(open(&spec, "a/client"), want, "{expression}");
    }
    // A label that is there with an empty value is there.
    for (selector, want) in [
        ("{matchLabels: {empty: ''}}", NONE),
        ("{matchExpressions: [{key: empty, operator: DoesNotExist}]}", ALL),
    ] {
        assert_eq!(open(&format!("{{podSelector: {selector}}}"), "a/client"), want, "{selector}");
    }
    for expression in [
        "{key: a, operator: In}",
        "{key: a, operator: In, values: []}",
        "{key: a, operator: Exists, values: [b]}",
        "{key: a, operator: in, values: [b]}",
        "{operator: Exists}",
        "{key: '', operator: Exists}",
        "{key: a, operator: In, values: [1]}",
    ] {
        let yaml = policy(&format!("{{podSelector: {{matchExpressions: [{expression}]}}}}"));
        let error = parse_documents(yaml.as_bytes(), Format::Yaml).expect_err(expression).to_string();
        assert!(error.contains("NetworkPolicy a/p: spec.podSelector.matchExpressions[0]"), "{error}");
    }
}

#[test]
fn blocks_of_both_families() {
    let matching = Options { block_pods: BlockPods::Match, ..Options::default() };
    let egress = |block: &str| {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: client}}}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {block}}}]}}]}}"
        );
        open_with(&(PODS.to_owned() + &policy(&spec)), &matching, "a/client", "a/server")
    };
    assert_eq!(egress("{cidr: '2001:db8::/32'}"), ALL);
    assert_eq!(egress("{cidr: '2001:db8::/32', except: ['2001:db8::/64']}"), NONE);
    assert_eq!(egress("{cidr: 10.0.0.0/24, except: [10.0.0.0/31]}"), ALL);
    assert_eq!(egress("{cidr: '::/0', except: ['2000::/3']}"), NONE);
    assert_eq!(egress("{cidr: '::ffff:10.0.0.0/120'}"), NONE, "a mapped block is no block of IPv4");
    for block in [
        "{cidr: 10.0.0.1}",
        "{cidr: 10.0.0.0/8, except: ['::/0']}",
        "{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}",
        "{cidr: '2001:db8::/32', except: ['2001:db9::/48']}",
        "{except: [10.0.0.0/8]}",
        "{cidr: null}",
    ] {
        let yaml = policy(&format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {block}}}]}}]}}"));
        let error = parse_documents(yaml.as_bytes(), Format::Yaml).expect_err(block);
        assert!(error.to_string().contains("spec.ingress[0].from[0].ipBlock"), "{error}");
    }
}

#[test]
fn wrong_types_are_refused_with_their_field() {
    let cases = [
        ("{podSelector: []}", "spec.podSelector"),
        ("{podSelector: {matchLabels: [a]}}", "spec.podSelector.matchLabels"),
        ("{podSelector: {matchLabels: {a: 1}}}", "spec.podSelector.matchLabels.a"),
        ("{podSelector: {}, ingress: {}}", "spec.ingress"),
        ("{podSelector: {}, ingress: [{from: {}}]}", "spec.ingress[0].from"),
        ("{podSelector: {}, policyTypes: Ingress}", "spec.policyTypes"),
        ("{podSelector: {}, policyTypes: [ingress]}", "spec.policyTypes[0]"),
        ("{podSelector: {}, ingress: [{ports: [{port: 70000}]}]}", "spec.ingress[0].ports[0].port"),
        ("{podSelector: {}, ingress: [{ports: [{port: 80.5}]}]}", "spec.ingress[0].ports[0].port"),
        ("{podSelector: {}, ingress: [{ports: [{port: '80'}]}]}", "spec.ingress[0].ports[0].port"),
        ("{podSelector: {}, ingress: [{ports: [{endPort: 80}]}]}", "spec.ingress[0].ports[0].endPort"),
        ("{podSelector: {}, ingress: [{ports: [a]}]}", "spec.ingress[0].ports[0]"),
        ("{podSelector: {}, ingress: [a]}", "spec.ingress[0]"),
        ("{podSelector: {}, ingress: [{from: [a]}]}", "spec.ingress[0].from[0]"),
        ("a", "spec"),
    ];
    for (spec, field) in cases {
        match parse_documents(policy(spec).as_bytes(), Format::Yaml) {
            Err(ParseError::InvalidObject { field: found, .. }) => assert_eq!(found, field, "{spec}"),
            other => panic!("{spec}: {other:?}"),
        }
    }
}

#[test]
fn lists_nest_and_objects_repeat() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: a, labels: {app: NAME}}}";
    let (one, two) = (pod.replace("NAME", "one"), pod.replace("NAME", "two"));
    let nested = format!(
        "{{apiVersion: v1, kind: List, items: [{{apiVersion: v1, kind: List, items: [{one}]}}, {two}, null, 5]}}"
    );
    let objects = parse_documents(nested.as_bytes(), Format::Yaml).expect("valid");
    assert_eq!(objects.len(), 2);
    let state = ClusterState::from(objects);
    assert_eq!(state.len(), 1);
    assert_eq!(
        state.workloads().next().unwrap().pod_labels["app"],
        "two",
        "the later one counts, as for kubectl apply"
    );
    let deep = (0..9).fold(one, |inner, _| format!("{{apiVersion: v1, kind: List, items: [{inner}]}}"));
    assert_eq!(parse_documents(deep.as_bytes(), Format::Yaml).expect_err("deep").code(), "too_large");
    // A key that stands twice in one mapping has two readings.
    let twice = "{apiVersion: v1, kind: Pod, metadata: {name: p, name: q}}";
    assert_eq!(parse_documents(twice.as_bytes(), Format::Yaml).expect_err("twice").code(), "invalid_yaml");
}

#[test]
fn anchors_work_within_bounds() {
    let yaml = "apiVersion: v1\nkind: List\nitems:\n- &pod {apiVersion: v1, kind: Pod, metadata: {name: p}}\n- *pod\n";
    assert_eq!(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid").len(), 2);
    // A wide bomb: one level, many aliases of a large node.
    let big = vec!["x"; 20_000].join(", ");
    let many = vec!["*a"; 20_000].join(", ");
    let bomb = format!("a: &a [{big}]\nb: [{many}]\n");
    assert_eq!(parse_documents(bomb.as_bytes(), Format::Yaml).expect_err("bomb").code(), "invalid_yaml");
}

#[test]
fn many_objects_in_one_file() {
    let document = |index: usize| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{index}, namespace: a, labels: {{app: p{index}}}}}\n"
        )
    };
    let yaml: String = (0..5_000).map(document).collect();
    let objects = parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid");
    assert_eq!(objects.len(), 5_000);
}
