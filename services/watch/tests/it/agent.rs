//! What is told, and when.

use std::time::Duration;

use plimsoll_testkit::kubernetes::FakeApiServer;
use plimsoll_watch_service::agent::Settings;
use serde_json::{Value, json};

use crate::gateway::{Recorder, deployment, namespace, pod, policy, quick, start, text};

pub(crate) const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// A small cluster.
pub(crate) async fn shop() -> FakeApiServer {
    let api = FakeApiServer::start().await.unwrap();
    for object in [
        namespace("shop"),
        namespace("bank"),
        deployment("shop", "web", "registry.test/app:1"),
        deployment("shop", "cart", "registry.test/app:2"),
        deployment("bank", "ledger", "registry.test/app:3"),
        policy("shop", "closed"),
        pod("shop", "web-1", Some("web-abc"), "Running", Some(DIGEST)),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "shop" }, "data": { "k": "hunter2" } }),
    ] {
        assert!(api.put(object));
    }
    api
}

/// Names of what the recorder holds, `Kind namespace/name`.
pub(crate) fn held(recorder: &Recorder) -> Vec<String> {
    recorder.with(|held| {
        held.model.keys().map(|(kind, namespace, name)| format!("{kind} {namespace}/{name}")).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_word_is_everything_and_nothing_more() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    let all = [
        "Deployment bank/ledger",
        "Deployment shop/cart",
        "Deployment shop/web",
        "Namespace /bank",
        "Namespace /shop",
        "NetworkPolicy shop/closed",
        "Pod shop/web-1",
    ];
    assert_eq!(held(&recorder), all);
    let first = recorder.with(|held| held.told[0].clone());
    assert!(first.is_everything() && first.scope == "cluster" && first.complete, "{first:?}");
    let web = first.objects.iter().find(|object| text(object, "/metadata/name") == "web").unwrap();
    assert!(web["metadata"]["uid"].as_str().is_some_and(|uid| uid.starts_with("uid-")), "{web}");
    assert!(
        web["metadata"]["resourceVersion"].as_str().is_some_and(|version| version.parse::<u64>().is_ok())
    );
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "registry.test/app:1");
    let pod = first.objects.iter().find(|object| text(object, "/metadata/name") == "web-1").unwrap();
    assert_eq!(
        pod["status"],
        json!({ "podIP": "10.0.0.7", "containerStatuses": [{ "name": "app",
        "imageID": format!("registry.test/app@{DIGEST}") }] })
    );
    let shop = first.objects.iter().find(|object| text(object, "/metadata/name") == "shop").unwrap();
    assert_eq!(shop["metadata"]["labels"], json!({ "team": "shop" }));
    // Nothing that nobody reads left the cluster, and nobody asked for Secrets.
    recorder.with(|held| {
        for word in ["hunter2", "managedFields", "last-applied", "restartCount", "phase", "Secret"] {
            assert!(!held.bytes.contains(word), "{word}");
        }
    });
    let asked = api.asked();
    assert!(!asked.iter().any(|path| path.contains("secrets") || path.contains("configmaps")), "{asked:?}");
    assert!(asked.iter().any(|path| path.contains("continue=")), "pages of two: {asked:?}");
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
    assert!(
        agent.metrics.page().contains("plimsoll_state{name=\"watch_objects\"} 7"),
        "{}",
        agent.metrics.page()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_come_and_equal_objects_never() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    // Equal but for what nobody reads, then something new of the same kind.
    let mut same = deployment("shop", "web", "registry.test/app:1");
    same["status"] = json!({ "replicas": 1 });
    same["metadata"]["annotations"]["note"] = "other".into();
    api.put(same);
    api.bookmark();
    api.put(deployment("shop", "new", "registry.test/app:9"));
    recorder
        .until("the new one", |held| {
            held.model.contains_key(&("Deployment".into(), "shop".into(), "new".into()))
        })
        .await;
    api.delete("deployments", "shop", "cart");
    api.put(deployment("shop", "web", "registry.test/app:4"));
    recorder
        .until("the changed one", |held| {
            let web = &held.model[&("Deployment".into(), "shop".into(), "web".into())];
            !held.model.contains_key(&("Deployment".into(), "shop".into(), "cart".into()))
                && web["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/app:4"
        })
        .await;
    recorder.with(|held| {
        let web: Vec<_> = held.told.iter().filter(|told| told.names().contains(&"web".to_owned())).collect();
        assert_eq!(web.len(), 2, "once in everything, once changed: {:#?}", held.told);
        assert_eq!(held.told.iter().filter(|told| told.is_everything()).count(), 1);
        let deleted: Vec<_> =
            held.told.iter().filter(|told| told.mode == "delete").flat_map(|told| told.names()).collect();
        assert_eq!(deleted, ["cart"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_nothing_is_not_told_and_what_ends_is_gone() {
    let api = shop().await;
    let replica_set = |name: &str, owner: &str, replicas: u32| {
        let mut set = deployment("shop", name, "registry.test/app:1");
        set["kind"] = "ReplicaSet".into();
        set["spec"]["replicas"] = replicas.into();
        set["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": owner, "name": "o", "uid": "u", "controller": true }]);
        set
    };
    for object in [
        pod("shop", "pending", Some("web-abc"), "Pending", None),
        pod("shop", "pulled", Some("web-abc"), "Pending", Some(DIGEST)),
        pod("shop", "bare", None, "Pending", None),
        pod("shop", "over", None, "Succeeded", Some(DIGEST)),
        replica_set("web-abc", "Deployment", 2),
        replica_set("rollout-old", "Rollout", 0),
        replica_set("rollout-new", "Rollout", 1),
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "done", "namespace": "shop" },
            "spec": { "template": { "spec": { "containers": [] } } },
            "status": { "conditions": [{ "type": "Complete", "status": "True" }] } }),
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "works", "namespace": "shop" },
            "spec": { "template": { "spec": { "containers": [] } } }, "status": { "active": 1 } }),
    ] {
        assert!(api.put(object));
    }
    let recorder = Recorder::start().await;
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    let running = |recorder: &Recorder| -> Vec<String> {
        let mut names = held(recorder);
        names.retain(|name| !name.starts_with("Deployment") && name.contains(" shop/"));
        names
    };
    let all = [
        "Job shop/works",
        "NetworkPolicy shop/closed",
        "Pod shop/bare",
        "Pod shop/pulled",
        "Pod shop/web-1",
        "ReplicaSet shop/rollout-new",
    ];
    assert_eq!(running(&recorder), all);
    api.put(pod("shop", "pulled", Some("web-abc"), "Succeeded", Some(DIGEST)));
    api.put(pod("shop", "pending", Some("web-abc"), "Running", Some(DIGEST)));
    recorder
        .until("the pods that run", |held| {
            let has = |name: &str| held.model.contains_key(&("Pod".into(), "shop".into(), name.into()));
            has("pending") && !has("pulled")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_come_are_watched_and_kinds_that_go_are_gone() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    api.install("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", true);
    api.install("cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", true);
    let route = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "route", "namespace": "shop" }, "spec": { "parentRefs": [{ "name": "gate" }],
        "rules": [{ "matches": [{ "headers": [{ "name": "k", "value": "hunter2" }] }], "backendRefs": [{ "name": "web", "port": 80 }] }] } });
    let foreign = json!({ "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": { "name": "l7", "namespace": "shop", "labels": { "l": "hunter2" } }, "spec": { "ingress": ["hunter2"] } });
    assert!(api.put(route) && api.put(foreign));
    let known = |kind: &str, name: &str| (kind.to_owned(), "shop".to_owned(), name.to_owned());
    let (route, foreign) = (known("HTTPRoute", "route"), known("CiliumNetworkPolicy", "l7"));
    recorder
        .until("the route", |held| held.model.contains_key(&route) && held.model.contains_key(&foreign))
        .await;
    recorder.with(|held| {
        assert_eq!(
            held.model[&route]["spec"],
            json!({ "parentRefs": [{ "name": "gate" }],
            "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] })
        );
        assert_eq!(held.model[&foreign].get("spec"), None, "its name alone");
        assert!(!held.bytes.contains("hunter2") && held.complete);
    });
    let metadata_alone = |path: &String| path.contains("ciliumnetworkpolicies");
    assert!(api.asked().iter().any(metadata_alone));
    api.uninstall("httproutes");
    recorder.until("no route", |held| !held.model.contains_key(&route)).await;
    assert!(recorder.with(|held| held.complete && held.model.contains_key(&foreign)));
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_told_one_by_one_and_never_as_all() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let settings = Settings { namespaces: vec!["shop".into(), "empty".into()], ..quick() };
    let _agent = start(&api, &recorder, settings).await;
    recorder.until("both", |held| held.told.len() == 2).await;
    recorder.with(|held| {
        let scopes: Vec<_> = held.told.iter().map(|told| told.scope.clone()).collect();
        assert_eq!(scopes, ["namespace=shop", "namespace=empty"]);
        assert!(!held.complete && held.told.iter().all(|told| !told.complete));
    });
    let all = [
        "Deployment shop/cart",
        "Deployment shop/web",
        "Namespace /shop",
        "NetworkPolicy shop/closed",
        "Pod shop/web-1",
    ];
    assert_eq!(held(&recorder), all);
    assert!(!api.asked().iter().any(|path| path.contains("/nodes") || path.contains("namespaces/bank")));
    api.delete("deployments", "shop", "cart");
    recorder.until("the deletion", |held| held.model.len() == all.len() - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_cluster_is_seen_again_and_again() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let settings =
        Settings { heartbeat: Duration::from_millis(20), resend: Duration::from_millis(400), ..quick() };
    let _agent = start(&api, &recorder, settings).await;
    recorder
        .until("a second telling of everything", |held| {
            held.told.iter().filter(|told| told.is_everything()).count() > 1
        })
        .await;
    recorder.with(|held| {
        let beats: Vec<_> = held.told.iter().filter(|told| told.mode == "apply").collect();
        assert!(!beats.is_empty());
        for beat in beats {
            // Nothing that runs: that would have images looked up.
            assert_eq!((beat.objects.len(), text(&beat.objects[0], "/kind")), (1, "Namespace".to_owned()));
        }
        let everything: Vec<&Vec<Value>> =
            held.told.iter().filter(|told| told.is_everything()).map(|told| &told.objects).collect();
        assert!(everything.windows(2).all(|two| two[0] == two[1]), "the same bytes");
    });
}
