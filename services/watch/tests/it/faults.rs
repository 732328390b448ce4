//! What goes wrong on either side.

use std::time::Duration;

use plimsoll_testkit::kubernetes::FakeApiServer;
use plimsoll_watch_service::agent::Settings;
use plimsoll_watch_service::tell::{Gateway, Token};
use serde_json::json;

use crate::agent::{held, shop};
use crate::gateway::{Recorder, deployment, namespace, policy, quick, start, start_with};

fn key(kind: &str, namespace: &str, name: &str) -> (String, String, String) {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_expired_versions_everything_is_told_again() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    // What happens while the watch is cut off leaves no trace but the list.
    api.answer("deployments", 500);
    api.delete("deployments", "shop", "cart");
    api.put(deployment("bank", "vault", "registry.test/app:1"));
    api.compact();
    api.answer("deployments", 200);
    recorder
        .until("everything again", |held| {
            held.told.iter().filter(|told| told.is_everything()).count() > 1
                && held.model.contains_key(&key("Deployment", "bank", "vault"))
                && !held.model.contains_key(&key("Deployment", "shop", "cart"))
        })
        .await;
    assert!(recorder.with(|held| held.complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_may_not_be_seen_makes_the_view_a_part() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    api.answer("networkpolicies", 403);
    let agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    assert!(!recorder.with(|held| held.told[0].complete || held.complete));
    assert!(!held(&recorder).iter().any(|name| name.contains("closed")));
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
    assert!(
        agent.metrics.page().contains("plimsoll_state{name=\"watch_gaps\"} 1"),
        "{}",
        agent.metrics.page()
    );
    api.answer("networkpolicies", 200);
    recorder.until("all of it", |held| held.complete).await;
    assert!(held(&recorder).contains(&"NetworkPolicy shop/closed".to_owned()));
    // And once more, while it is watched: what is known of it stays, but is no proof.
    api.answer("networkpolicies", 403);
    recorder.until("a part again", |held| !held.complete).await;
    assert!(held(&recorder).contains(&"NetworkPolicy shop/closed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_answer_is_not_gone() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    api.silence("networking.k8s.io", true);
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("a part", |held| !held.told.is_empty()).await;
    assert!(!recorder.with(|held| held.complete));
    api.silence("networking.k8s.io", false);
    recorder
        .until("all of it", |held| {
            held.complete && held.model.contains_key(&key("NetworkPolicy", "shop", "closed"))
        })
        .await;
    // It is watched by now: silence changes what is known of the kinds, not of the objects.
    api.silence("networking.k8s.io", true);
    recorder.until("silence", |held| !held.complete).await;
    assert!(held(&recorder).contains(&"NetworkPolicy shop/closed".to_owned()));
    api.put(policy("bank", "closed"));
    recorder
        .until("the watch", |held| held.model.contains_key(&key("NetworkPolicy", "bank", "closed")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_fails_is_not_waited_for_for_ever() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    api.answer("services", 500);
    let agent = start(&api, &recorder, quick()).await;
    recorder.until("a part", |held| !held.told.is_empty()).await;
    assert!(!recorder.with(|held| held.complete));
    let reasons = agent.health.not_ready();
    assert!(reasons.iter().any(|(part, why)| part == "cluster" && why.contains("Service")), "{reasons:?}");
    api.answer("services", 200);
    recorder.until("all of it", |held| held.complete).await;
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_goes_on_is_no_trouble() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    // Longer than the test: that it goes on is known from what it says.
    let mut settings = quick();
    settings.pace.going = Duration::from_secs(3600);
    let agent = start(&api, &recorder, settings).await;
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
    api.answer("networkpolicies", 500);
    recorder.until("trouble", |_| agent.health.not_ready().iter().any(|(part, _)| part == "cluster")).await;
    api.put(policy("bank", "closed"));
    api.answer("networkpolicies", 200);
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
    recorder
        .until("the policy", |held| held.model.contains_key(&key("NetworkPolicy", "bank", "closed")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_or_busy_is_told_later() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    recorder.with(|held| held.refusals.extend([(503, Some(0)), (429, None), (502, None)]));
    let agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| held.complete).await;
    recorder.with(|held| held.down = Some(503));
    api.put(deployment("shop", "new", "registry.test/app:9"));
    api.delete("deployments", "shop", "web");
    recorder.until("refusals", |held| held.refused.len() > 5).await;
    assert!(
        agent.health.not_ready().iter().any(|(part, why)| part == "gateway" && why == "gateway_unavailable")
    );
    recorder.with(|held| held.down = None);
    recorder
        .until("what waited", |held| {
            held.model.contains_key(&key("Deployment", "shop", "new"))
                && !held.model.contains_key(&key("Deployment", "shop", "web"))
        })
        .await;
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_read_again() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let agent = start_with(&api, &recorder, quick(), Token::File(file.clone())).await;
    recorder.until("a refusal", |held| held.refused.contains(&401)).await;
    assert!(agent.health.not_ready().iter().any(|(part, why)| part == "gateway" && why == "unauthorized"));
    std::fs::remove_file(&file).unwrap();
    recorder.until("no token", |_| agent.metrics.page().contains("outcome=\"token_unreadable\"")).await;
    std::fs::write(&file, "secret\n").unwrap();
    recorder.until("the first word", |held| held.complete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_told_in_parts() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    recorder.with(|held| held.max_body = Some(1500));
    let agent = start(&api, &recorder, quick()).await;
    recorder.until("everything", |held| held.model.len() == 7).await;
    recorder.until("readiness", |_| agent.health.not_ready().is_empty()).await;
    recorder.with(|held| {
        assert!(!held.complete && held.refused.contains(&413));
        assert!(held.told.iter().any(|told| told.scope == "namespace=shop" || told.mode == "apply"));
    });
    // A namespace that goes takes its objects along.
    api.delete("deployments", "bank", "ledger");
    api.delete("namespaces", "", "bank");
    recorder
        .until("no bank", |held| {
            !held.model.keys().any(|(_, namespace, name)| namespace == "bank" || name == "bank")
        })
        .await;
    // One object that no request may hold is left out, the others are told.
    let mut large = deployment("shop", "large", "registry.test/app:1");
    large["metadata"]["labels"] = json!({ "x": "y".repeat(3000) });
    api.put(large);
    api.put(deployment("shop", "small", "registry.test/app:1"));
    recorder
        .until("the small one", |held| held.model.contains_key(&key("Deployment", "shop", "small")))
        .await;
    assert!(!held(&recorder).contains(&"Deployment shop/large".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_known_to_be_too_large_is_not_tried() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let _agent = start(&api, &recorder, Settings { max_body: 2000, ..quick() }).await;
    recorder.until("everything", |held| held.model.len() == 7).await;
    recorder.with(|held| {
        assert!(held.refused.is_empty() && !held.complete, "{:?}", held.refused);
        assert!(held.told.iter().all(|told| told.scope != "cluster" || told.mode != "replace"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_is_left_out_until_it_changes() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    for n in 0..5 {
        api.put(policy("bank", &format!("p{n}")));
    }
    recorder.with(|held| held.invalid.extend(["p1".to_owned(), "cart".to_owned()]));
    let _agent = start(&api, &recorder, quick()).await;
    recorder
        .until("all but two", |held| {
            held.model.len() == 10 && held.told.last().is_some_and(|told| told.is_everything())
        })
        .await;
    assert!(!recorder.with(|held| held.complete));
    assert!(!held(&recorder).iter().any(|name| name.ends_with("/p1") || name.ends_with("/cart")));
    recorder.with(|held| held.invalid.clear());
    let mut changed = policy("bank", "p1");
    changed["spec"]["policyTypes"] = json!(["Egress"]);
    api.put(changed);
    api.put(deployment("shop", "cart", "registry.test/app:5"));
    recorder.until("all of it", |held| held.complete && held.model.len() == 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_does_not_stop_the_others() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let mut odd = policy("bank", "odd");
    odd["spec"]["policyTypes"] = json!("Ingress");
    api.put(odd);
    let _agent = start(&api, &recorder, quick()).await;
    recorder.until("the first word", |held| !held.told.is_empty()).await;
    assert!(!recorder.with(|held| held.complete || !held.refused.is_empty()));
    api.put(policy("bank", "odd"));
    recorder
        .until("all of it", |held| {
            held.complete && held.model.contains_key(&key("NetworkPolicy", "bank", "odd"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_too_many_are_forgotten_and_told_with_everything() {
    let (api, recorder) = (shop().await, Recorder::start().await);
    let settings = Settings { most_waiting: 8, ..quick() };
    let _agent = start(&api, &recorder, settings).await;
    recorder.until("the first word", |held| held.complete).await;
    recorder.with(|held| held.down = Some(503));
    for n in 0..50 {
        api.put(deployment("bank", &format!("d{n}"), "registry.test/app:1"));
    }
    api.delete("deployments", "shop", "web");
    recorder.until("refusals", |held| held.refused.len() > 3).await;
    recorder.with(|held| held.down = None);
    recorder
        .until("everything", |held| {
            held.model.len() == 7 - 1 + 50 && held.told.iter().filter(|told| told.is_everything()).count() > 1
        })
        .await;
}

/// Whatever happens in whatever order: in the end the gateway has what the cluster has.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_end_the_gateway_has_what_the_cluster_has() {
    for seed in 1..=3_u64 {
        let (api, recorder) = (shop().await, Recorder::start().await);
        let mut state = seed;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let settings = Settings { most_waiting: 12, part: 2000, ..quick() };
        let _first = start(&api, &recorder, settings.clone()).await;
        let _replica = start(&api, &recorder, settings).await;
        for _ in 0..300 {
            let name = format!("d{}", next(12));
            let within = ["shop", "bank"][usize::try_from(next(2)).unwrap()];
            match next(20) {
                0 => api.compact(),
                1 => api.bookmark(),
                2 => recorder.with(|held| held.refusals.push_back((503, None))),
                3 => recorder.with(|held| held.down = Some(503)),
                4 => recorder.with(|held| held.down = None),
                5 => api.answer("deployments", 500),
                6 => api.answer("deployments", 200),
                7 => tokio::time::sleep(Duration::from_millis(next(15))).await,
                8..14 => drop(api.put(deployment(within, &name, &format!("registry.test/app:{}", next(3))))),
                14..17 => drop(api.delete("deployments", within, &name)),
                17 => drop(api.put(policy(within, &name))),
                18 => drop(api.delete("networkpolicies", within, &name)),
                _ => drop(api.put(namespace(&name))),
            }
        }
        api.answer("deployments", 200);
        recorder.with(|held| held.down = None);
        let wanted = wanted(&api);
        recorder
            .until("the same", |held| {
                held.complete
                    && held.model.keys().eq(wanted.iter().map(|(key, _)| key))
                    && held.model.iter().all(|(key, object)| {
                        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
                        wanted.iter().any(|(known, wanted)| known == key && wanted == image)
                    })
            })
            .await;
    }
}

/// Kind, namespace and name of what is there, sorted, with the image of what runs one.
fn wanted(api: &FakeApiServer) -> Vec<((String, String, String), serde_json::Value)> {
    let mut all: Vec<_> = api
        .objects()
        .into_iter()
        .filter(|((plural, ..), _)| plural != "secrets")
        .map(|((_, namespace, name), object)| {
            let kind = object["kind"].as_str().unwrap().to_owned();
            ((kind, namespace, name), object["spec"]["template"]["spec"]["containers"][0]["image"].clone())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    for url in ["gateway", "ftp://gateway", "http://", ""] {
        let error = Gateway::new(url, "east", Token::Text(String::new()), None).unwrap_err();
        assert_eq!(error.code(), "bad_url", "{url}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "none").unwrap();
    let error = Gateway::new("https://gateway", "east", Token::Text(String::new()), Some(&file)).unwrap_err();
    assert_eq!(error.code(), "bad_certificates");
}
