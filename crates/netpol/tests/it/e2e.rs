//! The 48 cases of Kubernetes' own end-to-end tests, from `e2e-tables.yaml`: the engine built at once, the engine
//! kept up to date, and the judge of single packets must all agree with the tables.

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::engine::{BlockPods, Connectivity, Options, Peer};
use plimsoll_netpol::live::{Change, Live};
use plimsoll_netpol::objects::{Format, Object, ObjectKey, Workload, parse_documents};
use plimsoll_netpol::state::ClusterState;
use serde_json::{Value, json};

use crate::judge::{End, Judge};

pub(crate) const SPACES: [&str; 3] = ["x", "y", "z"];
pub(crate) const PODS: [&str; 3] = ["a", "b", "c"];

pub(crate) fn object(value: &Value) -> Object {
    parse_documents(value.to_string().as_bytes(), Format::Json).expect("valid").remove(0)
}

fn pod(space: usize, index: usize, labels: &Value) -> Object {
    let mut ports = Vec::new();
    for port in [80, 81] {
        for protocol in ["TCP", "UDP", "SCTP"] {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            ports.push(json!({"name": name, "containerPort": port, "protocol": protocol}));
        }
    }
    object(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": PODS[index], "namespace": SPACES[space], "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
        "status": {"podIP": format!("10.0.{space}.{}", index + 1)}}))
}

fn namespace(name: &str, labels: &Value) -> Object {
    object(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
}

/// Nine pods in three namespaces.
pub(crate) fn base() -> Vec<Object> {
    let mut all: Vec<Object> = SPACES.iter().map(|name| namespace(name, &json!({}))).collect();
    for space in 0..3 {
        for (index, name) in PODS.iter().enumerate() {
            all.push(pod(space, index, &json!({"pod": name})));
        }
    }
    all
}

pub(crate) fn policy(namespace: &str, name: &str, spec: &Value) -> Object {
    object(&json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec}))
}

/// The pods by `namespace/name`, with their number in a connectivity.
pub(crate) fn pods<'a>(
    state: &'a ClusterState,
    connectivity: &Connectivity,
) -> Vec<(String, usize, &'a Workload)> {
    let number = |name: &str| {
        connectivity.endpoints().iter().position(|e| e.to_string() == format!("{name}[Pod]")).unwrap()
    };
    state
        .workloads()
        .map(|pod| {
            let name = format!("{}/{}", pod.meta.namespace, pod.meta.name);
            let number = number(&name);
            (name, number, pod)
        })
        .collect()
}

fn matches(pattern: &str, pod: &str) -> bool {
    pattern == "*" || pattern == pod || pattern.strip_suffix('*').is_some_and(|space| pod.starts_with(space))
}

#[test]
fn tables() {
    let cases: Value = serde_saphyr::from_str(include_str!("e2e-tables.yaml")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 48);
    let options = Options { block_pods: BlockPods::Match, ..Options::default() };
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in cases {
        let mut live = Live::new(ClusterState::from(base()), &options);
        let mut state = ClusterState::from(base());
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let mut changes = Vec::new();
            for new in step["apply"].as_array().into_iter().flatten() {
                let (space, name) = (new["namespace"].as_str().unwrap(), new["name"].as_str().unwrap());
                changes.push(Change::Apply(policy(space, name, &new["spec"])));
            }
            for gone in step["delete"].as_array().into_iter().flatten() {
                let (namespace, name) = gone.as_str().unwrap().split_once('/').unwrap();
                changes.push(Change::Delete(ObjectKey {
                    kind: "networking.k8s.io/NetworkPolicy".into(),
                    namespace: namespace.into(),
                    name: name.into(),
                }));
            }
            for (name, labels) in step["namespace-labels"].as_object().into_iter().flatten() {
                changes.push(Change::Apply(namespace(name, labels)));
            }
            for (name, labels) in step["pod-labels"].as_object().into_iter().flatten() {
                let (space, name) = name.split_once('/').unwrap();
                let at = |list: [&str; 3], name| list.iter().position(|known| *known == name).unwrap();
                changes.push(Change::Apply(pod(at(SPACES, space), at(PODS, name), labels)));
            }
            for change in &changes {
                match change {
                    Change::Apply(object) => drop(state.apply(object.clone())),
                    Change::Delete(key) => drop(state.delete(key)),
                    Change::Replace(..) => unreachable!(),
                }
            }
            live.changes(changes);
            let cold = Connectivity::build(&state, &options);
            let warm = live.snapshot();
            let judge = Judge { state: &state, match_pods: true };
            let (cold_pods, warm_pods) = (pods(&state, &cold), pods(&state, warm.connectivity()));
            for expected in step["expect"].as_array().unwrap() {
                let port = u16::try_from(expected["port"].as_u64().unwrap()).unwrap();
                let protocol = Protocol::parse(expected["protocol"].as_str().unwrap()).unwrap();
                for (s, (source, cold_s, source_pod)) in cold_pods.iter().enumerate() {
                    for (d, (destination, cold_d, destination_pod)) in cold_pods.iter().enumerate() {
                        if s == d {
                            continue;
                        }
                        let mut want = true;
                        for line in expected["table"].as_array().unwrap() {
                            let words: Vec<&str> = line.as_str().unwrap().split(' ').collect();
                            if matches(words[1], source) && matches(words[2], destination) {
                                want = words[0] == "allow";
                            }
                        }
                        let open = |view: &Connectivity, s: usize, d: usize| {
                            view.between(Peer::Workload(s), Peer::Workload(d)).contains(protocol, port)
                        };
                        let answers = [
                            open(&cold, *cold_s, *cold_d),
                            open(warm.connectivity(), warm_pods[s].1, warm_pods[d].1),
                            judge.allows(End::Pod(source_pod), End::Pod(destination_pod), protocol, port),
                        ];
                        compared += 1;
                        if answers != [want; 3] {
                            wrong.push(format!(
                                "{} step {number}: {source} -> {destination} {protocol:?} {port}: {answers:?}, want {want}",
                                case["name"]
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}: {wrong:#?}", wrong.len());
    assert!(compared > 4_000, "{compared}");
}
