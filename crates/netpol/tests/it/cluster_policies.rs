//! The probes of the network-policy API's own conformance tests for ClusterNetworkPolicy, where they are at hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::engine::{Connectivity, Options, Peer};
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol::state::ClusterState;
use serde_json::Value;

/// `network-policy-conformance-x/pod-name-0`: pods of a StatefulSet are named by their number.
fn endpoint(connectivity: &Connectivity, pod: &str) -> Option<Peer> {
    let (namespace, name) = pod.split_once('/')?;
    let set = name.rsplit_once('-').map_or(name, |(set, _)| set);
    let found = connectivity.endpoints().iter().position(|endpoint| {
        endpoint.namespace == namespace && (endpoint.name == name || endpoint.name == set)
    });
    found.map(Peer::Workload)
}

/// Documents of a file, with the ports that the suite fills in for its host-network pods.
fn documents(root: &Path, file: &str) -> Vec<Value> {
    let mut yaml = fs::read_to_string(root.join(file)).unwrap();
    for index in 0..10 {
        let hole = format!("{{{{ index .HostNetworkPorts {index} }}}}");
        yaml = yaml.replace(&hole, &(34345 + index).to_string());
    }
    serde_saphyr::from_multiple::<Value>(&yaml).expect(file)
}

/// The place that `mutate.Spec.Egress[5]` names.
fn place<'a>(policy: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let path = path.strip_prefix("mutate.Spec.")?.strip_suffix(']')?;
    let (list, index) = path.split_once('[')?;
    policy.get_mut("spec")?.get_mut(list.to_lowercase())?.get_mut(index.parse::<usize>().ok()?)
}

/// Carries out one line of the suite's edits of a policy.
fn mutate(policy: &mut Value, line: &str, variables: &mut BTreeMap<String, Value>) {
    let (left, right) = line.split_once(" := ").or(line.split_once(" = ")).expect(line);
    let value = if right.starts_with("mutate.") {
        place(policy, right).expect(line).clone()
    } else if right.starts_with('[') {
        serde_saphyr::from_str::<Value>(right).expect(line)
    } else {
        variables[right].clone()
    };
    if left.starts_with("mutate.") {
        *place(policy, left).expect(line) = value;
    } else if let Some((variable, field)) = left.split_once('.') {
        let rule = variables.get_mut(variable).expect(line).as_object_mut().expect(line);
        rule.insert(field.to_lowercase(), value);
    } else {
        variables.insert(left.to_owned(), value);
    }
}

fn built(documents: &[Value]) -> std::sync::Arc<Connectivity> {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string();
    let state = ClusterState::from(parse_documents(list.as_bytes(), Format::Json).expect("valid"));
    Connectivity::build(&state, &Options::default())
}

#[test]
fn every_probe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol/cluster-network-policy");
    let Ok(text) = fs::read_to_string(root.join("pokes.json")) else { return };
    let tests: Value = serde_json::from_str(&text).unwrap();
    let (mut plain, mut mutated, mut failed) = (0, 0, Vec::new());
    for test in tests.as_array().unwrap() {
        let mut all = documents(&root, "base/manifests.yaml");
        for file in test["manifests"].as_array().unwrap() {
            all.extend(documents(&root, file.as_str().unwrap()));
        }
        let policy = all.iter().position(|object| object["kind"] == "ClusterNetworkPolicy").unwrap();
        let mut connectivity = built(&all);
        let mut edited = false;
        for subtest in test["subtests"].as_array().unwrap() {
            let mut variables = BTreeMap::new();
            for step in subtest["steps"].as_array().unwrap() {
                // Edits stay for the subtests that follow, as in the suite.
                if let Some(line) = step["mutate_raw"].as_str() {
                    mutate(&mut all[policy], line, &mut variables);
                    connectivity = built(&all);
                    edited = true;
                    continue;
                }
                let poke = &step["poke"];
                let protocol = Protocol::parse(&poke["proto"].as_str().unwrap().to_uppercase()).unwrap();
                let source = endpoint(&connectivity, poke["src"].as_str().unwrap()).expect("source");
                let destination =
                    endpoint(&connectivity, poke["dst"].as_str().unwrap()).expect("destination");
                let port = poke["port"].as_u64().unwrap() as u16;
                let open = connectivity.between(source, destination).contains(protocol, port);
                if edited {
                    mutated += 1
                } else {
                    plain += 1
                }
                if Some(open) != poke["expect"].as_bool() {
                    failed.push(format!("{}: {}: {poke}", test["test"], subtest["name"]));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), plain + mutated);
    assert_eq!(
        (plain + mutated, plain, mutated),
        (44, 16, 28),
        "probes covered: all, without and with edits before them"
    );
}
