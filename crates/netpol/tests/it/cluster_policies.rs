//! The probes of the network-policy API's own conformance tests for ClusterNetworkPolicy, where they are at hand.

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

#[test]
fn probes_without_mutation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol/cluster-network-policy");
    let Ok(text) = fs::read_to_string(root.join("pokes.json")) else { return };
    let tests: Value = serde_json::from_str(&text).unwrap();
    let (mut checked, mut failed) = (0, Vec::new());
    for test in tests.as_array().unwrap() {
        let mut objects = Vec::new();
        let mut files = vec!["base/manifests.yaml".to_owned()];
        files.extend(
            test["manifests"].as_array().unwrap().iter().filter_map(|file| file.as_str().map(str::to_owned)),
        );
        for file in files {
            let mut yaml = fs::read_to_string(root.join(&file)).unwrap();
            // The suite fills ports of its host-network pods in.
            for index in 0..10 {
                yaml = yaml.replace(
                    &format!("{{{{ index .HostNetworkPorts {index} }}}}"),
                    &(34345 + index).to_string(),
                );
            }
            objects.extend(parse_documents(yaml.as_bytes(), Format::Yaml).expect(&file));
        }
        let state = ClusterState::from(objects);
        let connectivity = Connectivity::build(&state, &Options::default());
        for subtest in test["subtests"].as_array().unwrap() {
            for step in subtest["steps"].as_array().unwrap() {
                let Some(poke) = step.get("poke") else { break };
                let protocol = Protocol::parse(&poke["proto"].as_str().unwrap().to_uppercase()).unwrap();
                let ends = (
                    endpoint(&connectivity, poke["src"].as_str().unwrap()),
                    endpoint(&connectivity, poke["dst"].as_str().unwrap_or_default()),
                );
                let (Some(source), Some(destination)) = ends else { continue };
                let port = poke["port"].as_u64().unwrap() as u16;
                let open = connectivity.between(source, destination).contains(protocol, port);
                checked += 1;
                if Some(open) != poke["expect"].as_bool() {
                    failed.push(format!("{}: {}: {poke}", test["test"], subtest["name"]));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {checked}: {failed:#?}", failed.len());
    assert!(checked >= 20, "{checked}");
}
