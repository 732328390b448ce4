//! A cluster that is watched: from its API server to findings.

use plimsoll_testkit::kubernetes::FakeApiServer;
use plimsoll_testkit::process::Guarded;
use serde_json::{Value, json};

use crate::fleet::{BOUND, Fleet, TOKEN, run, until};
use crate::world::{LODASH, of_npm, world};

const CLUSTER: &str = "watched";

fn deployment(name: &str, image: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "selector": { "matchLabels": { "app": name } }, "template": { "metadata": { "labels": { "app": name } },
            "spec": { "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }],
                "env": [{ "name": "PASSWORD", "value": "hunter2" }] }] } } } })
}

fn pod(name: &str, image: &str, digest: &str) -> Value {
    let (repository, _) = image.rsplit_once(':').unwrap();
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop",
            "labels": { "app": "web", "pod-template-hash": "abc" }, "ownerReferences": [{ "apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": "web-abc", "uid": "u", "controller": true }] },
        "spec": { "containers": [{ "name": "app", "image": image }] },
        "status": { "phase": "Running", "containerStatuses": [{ "name": "app", "imageID": format!("{repository}@{digest}") }] } })
}

fn service(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop", "labels": labels },
        "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] } })
}

/// The findings of packages, once they are as wanted.
async fn packages(fleet: &Fleet, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    until(what, async || {
        let mut findings = fleet.findings(&format!("cluster={CLUSTER}")).await;
        findings.retain(|f| !f["vulnerabilityId"].as_str().is_some_and(|id| id.starts_with("NETPOL")));
        wanted(&findings).then_some(findings)
    })
    .await
}

#[test]
fn what_a_cluster_runs_is_known_from_its_api_server() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let old = of_npm("watch", "lodash", "4.17.11");
        let new = of_npm("watch", "lodash", "4.17.20");
        world.registry.push_image("watch/app", "1", &old);
        fleet.scanned(old.digest()).await;
        let image = format!("{}/watch/app:1", world.registry.host());

        let api = FakeApiServer::start().await.unwrap();
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        for object in [namespace, deployment("web", &image), service("web", &json!({}))] {
            assert!(api.put(object));
        }
        let (kubeconfig, token) = (fleet.dir.join("kubeconfig"), fleet.dir.join("watch-token"));
        std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
        std::fs::write(&token, TOKEN).unwrap();
        let words = [
            "watch",
            "--cluster",
            CLUSTER,
            "--server",
            &fleet.url,
            "--token-file",
            token.to_str().unwrap(),
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
        ];
        let mut agent = Guarded::spawn(fleet.command(&words), &fleet.dir.join("watch.log")).unwrap();

        // The first word: what is there, and the tag as it is now.
        let level = |f: &Value, level: &str| f["factors"]["level"] == level;
        let found = packages(fleet, "the first word", |found| {
            found.len() == LODASH.len() && found.iter().all(|f| level(f, "open"))
        })
        .await;
        assert!(found.iter().all(|f| f["versions"][0] == "4.17.11"), "{found:?}");

        // The tag moves, and a pod says that it runs what the tag means now; the Deployment is as it was.
        world.registry.push_image("watch/app", "1", &new);
        fleet.scanned(new.digest()).await;
        assert!(api.put(pod("web-abc-1", &image, new.digest())));
        let found = packages(fleet, "what the pod runs", |found| found.len() == 1).await;
        assert_eq!(found[0]["versions"][0], "4.17.20");
        let (_, affected) = fleet.get(&format!("/v1/affected/{}", LODASH[1])).await;
        let ours = affected["affected"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["finding"]["holder"]["workload"]["workload"]["cluster"] == CLUSTER);
        assert_eq!(ours.map(|one| one["basis"].clone()), Some("pod_status".into()), "{affected}");

        // A policy proves that nobody comes in: the view is complete.
        assert!(api.put(json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "closed", "namespace": "shop" }, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } })));
        let exposed = |found: &[Value]| found.len() == 1 && found[0]["factors"]["exposed"] == true;
        packages(fleet, "the proof", |found| found.len() == 1 && !exposed(found)).await;

        // More than the gateway takes at once, and a list that has to be made anew: told in parts, and no proof any more.
        for n in 0..5 {
            assert!(api.put(service(&format!("large-{n}"), &json!({ "x": "y".repeat(300_000) }))));
        }
        api.compact();
        let found = packages(fleet, "a part", exposed).await;
        assert_eq!(found[0]["factors"]["unproved"], "incomplete", "{found:?}");
        for n in 0..5 {
            assert!(api.delete("services", "shop", &format!("large-{n}")));
        }

        // What is gone ends.
        assert!(api.delete("pods", "shop", "web-abc-1") && api.delete("deployments", "shop", "web"));
        packages(fleet, "the end", |found| found.is_empty()).await;
        let status = agent.stop(BOUND).await.unwrap();
        assert!(status.success(), "{}", agent.log_tail());
        assert!(!std::fs::read_to_string(fleet.dir.join("watch.log")).unwrap().contains("hunter2"));
    });
}

#[test]
fn an_agent_without_a_cluster_or_a_token_says_so() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    for name in
        ["PLIMSOLL_CONFIG", "PLIMSOLL_TOKEN", "PLIMSOLL_TOKEN_FILE", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"]
    {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").args(["watch", "--cluster", "c", "--server", "http://127.0.0.1:9"]);
    let refused = |command: &mut std::process::Command, code: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(code), "{said}");
    };
    refused(&mut command, "no_token");
    refused(command.env("PLIMSOLL_TOKEN", "t"), "kubeconfig");
    refused(command.args(["--access", "in-cluster"]), "kubeconfig");
}
