//! Requests that are refused, each with a stable code.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fleet::{Fleet, HOOKS, TOKEN, run, until};
use crate::world::{HOOK_SECRET, LODASH, of_npm, world};

const HOOK: &str = "/v1/webhooks/distribution";
const DEPLOY: &str = "/v1/deploys?cluster=refused";

/// What a request is answered with: status, code, and the whole body.
async fn ask(
    fleet: &Fleet,
    path: &str,
    token: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> (u16, String, Value) {
    let request = fleet.http.post(format!("{}{path}", fleet.url)).body(body);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(answer.headers().contains_key("retry-after"));
    }
    let body: Value = answer.json().await.unwrap_or_default();
    (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned(), body)
}

fn event(host: &str, repository: &str, tag: &str, digest: &str) -> Value {
    json!({
        "id": "e", "action": "push", "timestamp": "2026-11-20T10:00:00Z",
        "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "repository": repository, "tag": tag, "digest": digest, "size": 500,
            "url": "http://169.254.169.254/latest/meta-data",
        },
        "request": {"host": host},
    })
}

fn envelope(events: &[Value]) -> String {
    json!({ "events": events }).to_string()
}

/// EVENTS messages so far.
async fn events(fleet: &Fleet) -> u64 {
    let context = async_nats::jetstream::new(fleet.client().await);
    context.get_stream("EVENTS").await.unwrap().cached_info().state.last_sequence
}

#[test]
fn refused_requests_record_nothing() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let host = world.registry.host();
        let digest = format!("sha256:{}", "0".repeat(64));
        let good = envelope(&[event(&host, "input/app", "1", &digest)]);
        let large = format!("{{\"events\": [], \"x\": \"{}\"}}", "x".repeat(70_000));
        let hook = |body: String| (HOOK, Some(TOKEN), body);
        let deploy = |body: &str| (DEPLOY, Some(TOKEN), body.to_owned());
        let forged = |repository: &str, tag: &str, digest: &str| {
            hook(envelope(&[event(&host, repository, tag, digest)]))
        };
        let image = |body: &str| ("/v1/images", Some(TOKEN), body.to_owned());
        let bad_object = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ok, namespace: shop}\n\
            spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n\
            ---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\n\
            spec: {podSelector: {}, ingress: [{ports: [{port: 99999}]}]}\n";
        for ((path, token, body), status, code) in [
            ((HOOK, None, good.clone()), 401, "unauthorized"),
            ((HOOK, Some("no-such-token"), good.clone()), 401, "unauthorized"),
            (
                ("/v1/images", Some(HOOKS), json!({"reference": format!("{host}/a:1")}).to_string()),
                403,
                "forbidden",
            ),
            ((DEPLOY, Some(HOOKS), bad_object.to_owned()), 403, "forbidden"),
            (
                hook(envelope(&[event("evil.example.com", "input/app", "1", &digest)])),
                422,
                "registry_not_configured",
            ),
            (hook(envelope(&[event("", "input/app", "1", &digest)])), 422, "registry_not_configured"),
            (
                (concat!("/v1/webhooks/distribution", "?registry=nobody"), Some(TOKEN), good),
                422,
                "registry_not_configured",
            ),
            (hook(large), 413, "too_large"),
            (hook("not JSON".into()), 400, "bad_envelope"),
            (hook("{\"events\": 1}".into()), 400, "bad_envelope"),
            (hook(format!("{{\"events\": {}1{}}}", "[".repeat(5000), "]".repeat(5000))), 400, "bad_envelope"),
            (forged("../../etc/passwd", "1", &digest), 400, "bad_event"),
            (forged("a//b", "1", &digest), 400, "bad_event"),
            (forged("input/app?x=", "1", &digest), 400, "bad_event"),
            (forged("input/app", "../1", &digest), 400, "bad_event"),
            (forged("input/app", "1\r\nX: y", &digest), 400, "bad_event"),
            (forged("input/app", "1", "sha256:../../blobs"), 400, "bad_event"),
            (forged("input/app", "1", "sha256:00"), 400, "bad_event"),
            (forged("input/app", "1", ""), 400, "bad_event"),
            (image("{}"), 400, "bad_body"),
            (image("{\"reference\": \"a b\"}"), 400, "invalid_reference"),
            (image("{\"reference\": \"evil.example.com/a:1\"}"), 422, "registry_not_configured"),
            (image("{\"reference\": \"169.254.169.254/a:1\"}"), 422, "registry_not_configured"),
            (deploy("a: [1\n"), 400, "invalid_yaml"),
            (deploy("a: &x [*x, *x]\nb: *y\n"), 400, "invalid_yaml"),
            (deploy(bad_object), 400, "invalid_object"),
            (deploy(""), 400, "no_objects"),
            (deploy(&"#".repeat((1 << 20) + 1)), 413, "too_large"),
            (("/v1/deploys?cluster=refused&mode=maybe", Some(TOKEN), String::new()), 400, "bad_request"),
            (
                ("/v1/deploys?cluster=refused&mode=replace&scope=all", Some(TOKEN), String::new()),
                400,
                "bad_request",
            ),
            (("/v1/deploys?cluster=%0d%0a", Some(TOKEN), String::new()), 400, "bad_request"),
        ] {
            let answer = ask(fleet, path, token, body.clone()).await;
            let shown: String = body.chars().take(200).collect();
            assert_eq!((answer.0, answer.1.as_str()), (status, code), "{path} {shown}: {}", answer.2);
            assert!(!answer.2["detail"].as_str().unwrap().is_empty());
        }
        let (_, _, body) = ask(fleet, DEPLOY, Some(TOKEN), bad_object).await;
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("bad") && detail.contains("port"), "{detail}");
        let context = async_nats::jetstream::new(fleet.client().await);
        let stream = context.get_stream("EVENTS").await.unwrap();
        let mut recorded = Vec::new();
        for subject in ["events.cluster.refused", "events.image.pushed"] {
            if let Ok(last) = stream.get_last_raw_message_by_subject(subject).await {
                recorded.push(String::from_utf8_lossy(&last.payload).into_owned());
            }
        }
        assert!(
            !recorded.iter().any(|text| text.contains("input/app") || text.contains("refused")),
            "{recorded:?}"
        );

        // One event that is refused does not cost the others of its envelope.
        let app = of_npm("input", "lodash", "4.17.11");
        world.registry.put_image("input/mixed", "1", &app);
        let mixed = [event(&host, "../x", "1", &digest), event(&host, "input/mixed", "1", app.digest())];
        let (status, _, body) = ask(fleet, HOOK, Some(TOKEN), envelope(&mixed)).await;
        assert_eq!(
            (status, &body["accepted"], &body["refused"][0]["code"]),
            (202, &1.into(), &"bad_event".into())
        );
        fleet.vulnerable("repository=input/mixed", &LODASH).await;
    });
}

#[test]
fn an_envelope_sent_again_is_the_same_events() {
    run(async {
        let world = world().await;
        let app = of_npm("again", "minimist", "1.2.0");
        world.registry.put_image("again/app", "1", &app);
        let body = envelope(&[event(&world.registry.host(), "again/app", "1", app.digest())]);
        let count = || async {
            let context = async_nats::jetstream::new(world.fleet.client().await);
            let stream = context.get_stream("EVENTS").await.unwrap();
            let mut found = 0;
            for seq in 1..=events(&world.fleet).await {
                if let Ok(message) = stream.get_raw_message(seq).await {
                    found += usize::from(String::from_utf8_lossy(&message.payload).contains("again/app"));
                }
            }
            found
        };
        for _ in 0..3 {
            assert_eq!(ask(&world.fleet, HOOK, Some(TOKEN), body.clone()).await.0, 202);
        }
        world.fleet.vulnerable("repository=again/app", &["CVE-2021-44906"]).await;
        assert_eq!(count().await, 1);
    });
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    run(async {
        let fleet = &world().await.fleet;
        until("the aggregator", async || (fleet.get("/v1/findings").await.0 == 200).then_some(())).await;
        for (path, status, code) in [
            ("/v1/findings?class=5d", 400, "bad_request"),
            ("/v1/findings?state=maybe", 400, "bad_request"),
            ("/v1/findings?cursor=zzz", 400, "bad_cursor"),
            ("/v1/findings/stream?from=tomorrow", 400, "bad_request"),
            ("/v1/images/sha256:00/status", 400, "invalid_digest"),
            ("/v1/nothing", 404, "not_found"),
        ] {
            let (found, body) = fleet.get(path).await;
            assert_eq!((found, body["code"].as_str().unwrap_or_default()), (status, code), "{path}: {body}");
        }
        let unknown = format!("/v1/images/sha256:{}/status", "1".repeat(64));
        assert_eq!(fleet.get(&unknown).await.0, 404);
        let answer = fleet.http.get(format!("{}/v1/findings", fleet.url)).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    });
}

/// Signs as GitHub does.
fn signature(secret: &str, body: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn registries_tell_in_their_own_formats() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let host = world.registry.host();
        let app = of_npm("formats", "lodash", "4.17.21");
        world.registry.push_image("formats/app", "1", &app);
        fleet.scanned(app.digest()).await;
        let digest = app.digest();
        let harbor = |kind: &str, tag: &str| {
            json!({ "type": kind, "occur_at": 1_680_501_893, "operator": "ci", "event_data": {
                "resources": [{ "digest": digest, "tag": tag, "resource_url": format!("{host}/formats/app:{tag}") }],
                "repository": { "name": "app", "namespace": "formats", "repo_full_name": "formats/app" } } })
            .to_string()
        };
        let acr = |action: &str, tag: &str| {
            let mut event = event(&host, "formats/app", tag, digest);
            event["action"] = action.into();
            event.to_string()
        };
        let github = |of: &str, tag: &str| {
            json!({ "action": "published", "package": { "name": "app", "namespace": "formats", "package_type": "CONTAINER",
                "package_version": { "version": digest, "package_url": format!("{of}/formats/app:{tag}"),
                    "container_metadata": { "tag": { "name": tag, "digest": digest } } } } })
            .to_string()
        };
        let before = events(fleet).await;
        // ECR's hosts are of its own, so the registry is named; Quay does not tell what a tag points at.
        let ecr = |action: &str, tag: &str| {
            json!({ "id": "e-1", "detail-type": "ECR Image Action", "account": "123456789012", "region": "eu-west-1",
                "detail": { "result": "SUCCESS", "action-type": action, "repository-name": "formats/app",
                    "image-digest": digest, "image-tag": tag } })
            .to_string()
        };
        let quay = |tags: Value| {
            json!({ "name": "app", "namespace": "formats", "repository": "formats/app", "docker_url": format!("{host}/formats/app"),
                "updated_tags": tags })
            .to_string()
        };
        let ecr_path = &*format!("/v1/webhooks/ecr?registry={host}");
        for (path, body) in [
            ("/v1/webhooks/harbor", harbor("PULL_ARTIFACT", "1")),
            ("/v1/webhooks/acr", acr("ping", "1")),
            (ecr_path, ecr("REPLICATE", "1")),
            ("/v1/webhooks/quay", quay(json!([]))),
        ] {
            let (status, _, body) = ask(fleet, path, Some(HOOKS), body).await;
            assert_eq!((status, &body["accepted"], &body["ignored"]), (202, &json!(0), &json!(1)), "{path}");
        }
        let hub = async |kind: &str, signed: Option<String>, body: &str| {
            let request = fleet.http.post(format!("{}/v1/webhooks/github", fleet.url));
            let mut request = request.header("X-GitHub-Event", kind).header("X-GitHub-Delivery", "d-1");
            if let Some(signed) = signed {
                request = request.header("X-Hub-Signature-256", signed);
            }
            let answer = request.body(body.to_owned()).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.unwrap_or_default())
        };
        let (good, elsewhere) = (github(&host, "github"), github(&world.locked.host(), "github"));
        let sign = |body: &str| Some(signature(HOOK_SECRET, body));
        for (what, signed, body, status) in [
            ("no signature", None, &good, 401),
            ("another secret", Some(signature("some-other-secret", &good)), &good, 401),
            ("of other bytes", sign(&elsewhere), &good, 401),
            ("no hexadecimal digits", Some("sha256=zz".to_owned()), &good, 401),
            ("of another registry", sign(&elsewhere), &elsewhere, 401),
            ("no payload", sign("x"), &"x".to_owned(), 400),
        ] {
            let (got, body) = hub("package", signed, body).await;
            assert_eq!(got, status, "{what}: {body}");
        }
        assert_eq!(hub("ping", sign(&good), &good).await.1["ignored"], 1);
        for (path, body) in [
            ("/v1/webhooks/harbor", harbor("PUSH_ARTIFACT", "harbor")),
            ("/v1/webhooks/acr", acr("push", "acr")),
            ("/v1/webhooks/ecr", ecr("PUSH", "ecr")),
            ("/v1/webhooks/quay", quay(json!(["1"]))),
        ] {
            assert_eq!(ask(fleet, path, None, body.clone()).await.0, 401, "{path}");
            assert_eq!(ask(fleet, path, Some(TOKEN), "x").await.1, "bad_envelope", "{path}");
            assert_eq!(ask(fleet, &format!("{path}?registry=nobody"), Some(HOOKS), body).await.0, 422);
        }
        let told_of = |seq: u64, from: u64| seq - from;
        assert_eq!(told_of(events(fleet).await, before), 0, "what is refused or ignored is recorded nowhere");

        let (status, _, body) =
            ask(fleet, "/v1/webhooks/harbor", Some(HOOKS), harbor("PUSH_ARTIFACT", "harbor")).await;
        assert_eq!((status, &body["accepted"]), (202, &json!(1)), "{body}");
        let (status, _, body) = ask(fleet, "/v1/webhooks/acr", Some(HOOKS), acr("push", "acr")).await;
        assert_eq!((status, &body["accepted"]), (202, &json!(1)), "{body}");
        let (status, body) = hub("registry_package", sign(&good), &good).await;
        assert_eq!((status, &body["accepted"]), (202, &json!(1)), "{body}");
        let (status, code, _) = ask(fleet, "/v1/webhooks/ecr", Some(HOOKS), ecr("PUSH", "ecr")).await;
        assert_eq!(
            (status, code.as_str()),
            (422, "registry_not_configured"),
            "an account that is not configured"
        );
        let (status, _, body) = ask(fleet, ecr_path, Some(HOOKS), ecr("PUSH", "ecr")).await;
        assert_eq!((status, &body["accepted"]), (202, &json!(1)), "{body}");
        // As Quay calls `https://plimsoll:TOKEN@…`.
        world.registry.push_image("formats/app", "quay", &app);
        let request =
            fleet.http.post(format!("{}/v1/webhooks/quay", fleet.url)).basic_auth("plimsoll", Some(HOOKS));
        let answer = request.body(quay(json!(["quay", "-no-tag"]))).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        assert_eq!(
            (status, &body["accepted"], &body["refused"][0]["code"]),
            (202, &json!(1), &json!("bad_event"))
        );
        let path = format!("/v1/images/{digest}/status");
        for tag in ["harbor", "acr", "github", "ecr", "quay"] {
            until(&format!("the tag {tag}"), async || {
                let (_, body) = fleet.get(&path).await;
                body["sources"].to_string().contains(&format!("formats/app:{tag}")).then_some(())
            })
            .await;
        }
    });
}
