//! Policies of every combination of features, as cyclonus generates them — direction, subject, peers, ports, rules,
//! policies beside each other — each against the judge of single packets.

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::engine::{BlockPods, Connectivity, Options, Peer};
use plimsoll_netpol::objects::Object;
use plimsoll_netpol::state::ClusterState;
use serde_json::{Value, json};

use crate::e2e::{base, pods, policy};
use crate::judge::{End, Judge};

fn peers() -> Vec<Value> {
    let expression = |key: &str, operator: &str, values: &[&str]| {
        if values.is_empty() {
            json!({"matchExpressions": [{"key": key, "operator": operator}]})
        } else {
            json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
        }
    };
    let name = "kubernetes.io/metadata.name";
    vec![
        json!([]),
        json!([{"podSelector": {}}]),
        json!([{"podSelector": {"matchLabels": {"pod": "b"}}}]),
        json!([{"podSelector": expression("pod", "NotIn", &["b"])}]),
        json!([{"podSelector": expression("absent", "DoesNotExist", &[])}]),
        json!([{"podSelector": expression("absent", "NotIn", &["b"])}]),
        json!([{"podSelector": expression("pod", "Exists", &[])}]),
        json!([{"namespaceSelector": {}}]),
        json!([{"namespaceSelector": {"matchLabels": {name: "y"}}}]),
        json!([{"namespaceSelector": expression(name, "NotIn", &["x", "z"])}]),
        json!([{"namespaceSelector": {}, "podSelector": {"matchLabels": {"pod": "c"}}}]),
        json!([{"namespaceSelector": expression(name, "In", &["x", "z"]), "podSelector": expression("pod", "In", &["a", "b"])}]),
        json!([{"ipBlock": {"cidr": "10.0.1.0/24"}}]),
        json!([{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.2/32", "10.0.2.0/24"]}}]),
        json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        json!([{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}]),
        json!([{"podSelector": {"matchLabels": {"pod": "a"}}}, {"namespaceSelector": {"matchLabels": {name: "z"}}}]),
    ]
}

fn ports() -> Vec<Value> {
    vec![
        json!([]),
        json!([{"port": 80}]),
        json!([{"port": 81, "protocol": "UDP"}]),
        json!([{"port": 80, "endPort": 81, "protocol": "SCTP"}]),
        json!([{"protocol": "UDP"}]),
        json!([{"port": "serve-81-tcp"}]),
        json!([{"port": "serve-80-udp", "protocol": "UDP"}]),
        // By name and protocol: nobody has this one.
        json!([{"port": "serve-80-udp", "protocol": "TCP"}]),
        json!([{"port": "absent"}]),
        json!([{"port": 80}, {"port": 81}, {"protocol": "SCTP"}]),
    ]
}

fn subjects() -> Vec<Value> {
    vec![
        json!({}),
        json!({"matchLabels": {"pod": "a"}}),
        json!({"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": ["c"]}]}),
    ]
}

fn spec(direction: &str, subject: &Value, rules: &[(&Value, &Value)]) -> Value {
    let rules = |peers: &str| -> Vec<Value> {
        rules.iter().map(|(from, ports)| json!({peers: from, "ports": ports})).collect()
    };
    match direction {
        "ingress" => json!({"podSelector": subject, "policyTypes": ["Ingress"], "ingress": rules("from")}),
        "egress" => json!({"podSelector": subject, "policyTypes": ["Egress"], "egress": rules("to")}),
        // Without policyTypes, egress is in effect because there is a rule.
        _ => json!({"podSelector": subject, "ingress": rules("from"), "egress": rules("to")}),
    }
}

fn check(policies: Vec<Object>, options: &Options) -> usize {
    let mut all = base();
    all.extend(policies);
    let state = ClusterState::from(all);
    let connectivity = Connectivity::build(&state, options);
    let judge = Judge { state: &state, match_pods: options.block_pods == BlockPods::Match };
    let pods = pods(&state, &connectivity);
    let mut compared = 0;
    for (source, s, source_pod) in &pods {
        // Policies are in namespace x: who is neither in it nor speaks with it is not touched.
        for (destination, d, destination_pod) in &pods {
            if s == d || !(source.starts_with('x') || destination.starts_with('x')) {
                continue;
            }
            let open = connectivity.between(Peer::Workload(*s), Peer::Workload(*d));
            for protocol in Protocol::ALL {
                for port in [80, 81, 82] {
                    let want = judge.allows(End::Pod(source_pod), End::Pod(destination_pod), protocol, port);
                    assert_eq!(
                        open.contains(protocol, port),
                        want,
                        "{source} -> {destination} {protocol:?} {port}: {:#?}",
                        connectivity.explain(Peer::Workload(*s), Peer::Workload(*d))
                    );
                    compared += 1;
                }
            }
        }
    }
    compared
}

#[test]
fn one_rule() {
    let options =
        [BlockPods::Never, BlockPods::Match].map(|block_pods| Options { block_pods, ..Options::default() });
    let (mut policies, mut compared) = (0, 0);
    for (turn, (from, ports)) in peers()
        .iter()
        .flat_map(|from| ports().into_iter().map(move |ports| (from.clone(), ports)))
        .enumerate()
    {
        for direction in ["ingress", "egress", "both"] {
            let subject = &subjects()[(turn + direction.len()) % 3];
            let spec = spec(direction, subject, &[(&from, &ports)]);
            compared += check(vec![policy("x", "p", &spec)], &options[turn % 2]);
            policies += 1;
        }
    }
    assert_eq!(policies, 17 * 10 * 3);
    assert!(compared > 100_000, "{compared}");
}

#[test]
fn several_rules_and_policies() {
    let options = Options { block_pods: BlockPods::Match, ..Options::default() };
    let (peers, ports) = (peers(), ports());
    let mut policies = 0;
    for turn in 0..120 {
        // Strides without a common factor with the lengths meet every pair in time.
        let rule = |step: usize| {
            (&peers[(turn * 5 + step * 3) % peers.len()], &ports[(turn * 7 + step) % ports.len()])
        };
        let subjects = subjects();
        let one = spec("ingress", &subjects[turn % 3], &[rule(0), rule(1)]);
        let two = spec("both", &subjects[(turn + 1) % 3], &[rule(2)]);
        let three = spec("egress", &subjects[(turn + 2) % 3], &[rule(3), rule(4), rule(5)]);
        let all = vec![policy("x", "one", &one), policy("x", "two", &two), policy("x", "three", &three)];
        policies += all.len();
        check(all, &options);
    }
    assert_eq!(policies, 360);
}
