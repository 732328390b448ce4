use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use plimsoll_testkit::image::sha256;
use plimsoll_testkit::registry::{Behaviour, FakeRegistry, Fault, Kind, Options};

use crate::fake::{client, image};

struct Setup {
    registry: FakeRegistry,
    digest: String,
    bytes: Bytes,
}

impl Setup {
    async fn new() -> Self {
        let registry = FakeRegistry::start(Options::default()).await.unwrap();
        let image = image(&"faults".repeat(50_000));
        registry.put_image("app", "v1", &image);
        let layer = image.layers()[1].clone();
        Self { registry, digest: layer.digest, bytes: layer.bytes }
    }

    fn blob(&self) -> String {
        format!("{}/v2/app/blobs/{}", self.registry.url(), self.digest)
    }

    async fn get(&self) -> reqwest::Response {
        client().get(self.blob()).send().await.unwrap()
    }

    async fn statuses(&self, count: usize) -> Vec<u16> {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(self.get().await.status().as_u16());
        }
        seen
    }
}

#[tokio::test]
async fn refusals_come_in_order_and_are_used_up() {
    let setup = Setup::new().await;
    let slow = Fault::TooManyRequests { retry_after: Some("7".to_owned()) };
    setup.registry.behave(Behaviour::blob(&setup.digest, slow).times(2));
    setup.registry.behave(Behaviour::blob(&setup.digest, Fault::Status(503)).times(1));
    setup.registry.behave(Behaviour::blob(&setup.digest, Fault::Status(404)).after(1).times(1));
    let first = setup.get().await;
    assert_eq!(first.headers()["retry-after"], "7");
    assert_eq!(setup.statuses(5).await, [429, 503, 200, 404, 200]);
    assert_eq!(setup.registry.blob_gets(&setup.digest), 2, "refusals do not count");
    let logged: Vec<u16> = setup.registry.requests().iter().map(|request| request.status).collect();
    assert_eq!(logged, [429, 429, 503, 200, 404, 200]);
}

#[tokio::test]
async fn faults_meet_only_what_they_name() {
    let setup = Setup::new().await;
    let http = client();
    setup.registry.behave(Behaviour::new(Fault::Status(500)).on(Kind::Blob).method(Method::HEAD));
    setup.registry.behave(Behaviour::new(Fault::Status(501)).repository("other"));
    setup.registry.behave(Behaviour::new(Fault::Status(502)).on(Kind::Manifest).reference("v1"));
    let status = async |method: Method, path: &str| {
        let url = format!("{}{path}", setup.registry.url());
        http.request(method, url).send().await.unwrap().status().as_u16()
    };
    let blob = format!("/v2/app/blobs/{}", setup.digest);
    assert_eq!(status(Method::GET, &blob).await, 200);
    assert_eq!(status(Method::HEAD, &blob).await, 500);
    assert_eq!(status(Method::GET, "/v2/other/tags/list").await, 501);
    assert_eq!(status(Method::GET, "/v2/app/manifests/v1").await, 502);
    assert_eq!(status(Method::GET, "/v2/app/manifests/v2").await, 404);
    setup.registry.calm();
    assert_eq!(status(Method::HEAD, &blob).await, 200);
}

#[tokio::test]
async fn content_is_cut_short_changed_or_replaced() {
    let setup = Setup::new().await;
    let blob = |fault| Behaviour::blob(&setup.digest, fault).times(1);
    setup.registry.behave(blob(Fault::Truncate(10)));
    assert_eq!(
        setup.get().await.bytes().await.unwrap(),
        setup.bytes.slice(..10),
        "and the transfer looks whole"
    );
    setup.registry.behave(blob(Fault::Corrupt));
    let corrupt = setup.get().await.bytes().await.unwrap();
    assert_eq!(corrupt.len(), setup.bytes.len());
    assert_ne!(sha256(&corrupt), setup.digest);
    setup.registry.behave(blob(Fault::Replace(Bytes::from_static(b"other"))));
    assert_eq!(setup.get().await.bytes().await.unwrap(), "other");
    setup.registry.behave(blob(Fault::NoDigestHeader));
    assert!(!setup.get().await.headers().contains_key("docker-content-digest"));
    setup.registry.behave(blob(Fault::IgnoreRange));
    let whole = client().get(setup.blob()).header("range", "bytes=5-").send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(sha256(&whole.bytes().await.unwrap()), setup.digest);
}

#[tokio::test]
async fn a_connection_ends_or_stalls_in_the_middle() {
    let setup = Setup::new().await;
    let after = setup.bytes.len() as u64 / 2;
    setup.registry.behave(Behaviour::blob(&setup.digest, Fault::DropAfter(after)).times(1));
    let mut answer = setup.get().await;
    assert_eq!(answer.content_length(), Some(setup.bytes.len() as u64), "what is promised");
    let mut got = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => got += chunk.len() as u64,
            Ok(None) => panic!("the transfer looks whole"),
            Err(error) => break error,
        }
    };
    assert!(!error.is_timeout(), "{error:?}");
    assert_eq!(got, after);

    setup.registry.behave(Behaviour::blob(&setup.digest, Fault::StallAfter(after)).times(1));
    let mut answer = setup.get().await;
    let mut got = 0;
    while got < after {
        got += answer.chunk().await.unwrap().unwrap().len() as u64;
    }
    assert_eq!(got, after);
    let more = tokio::time::timeout(Duration::from_millis(100), answer.chunk()).await;
    assert!(more.is_err(), "nothing more comes");
}

#[tokio::test]
async fn a_blob_is_elsewhere_and_no_credentials_go_there() {
    let setup = Setup::new().await;
    let other = Setup::new().await;
    setup.registry.behave(Behaviour::blob(&setup.digest, Fault::Redirect(other.registry.url())));
    let answer = setup.get().await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"], other.blob().as_str());
    let follows = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = follows.get(setup.blob()).bearer_auth("secret").send().await.unwrap();
    assert_eq!(sha256(&answer.bytes().await.unwrap()), setup.digest);
    assert_eq!(setup.registry.blob_gets(&setup.digest), 0);
    assert_eq!(other.registry.blob_gets(&setup.digest), 1);
    assert_eq!(setup.registry.requests()[1].authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(other.registry.requests()[0].authorization, None);
}

#[tokio::test]
async fn a_challenge_may_name_another_realm() {
    let setup = Setup::new().await;
    let challenge = "Bearer realm=\"http://elsewhere.invalid/token\"";
    setup.registry.behave(Behaviour::new(Fault::Challenge(challenge.to_owned())).times(1));
    let answer = setup.get().await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], challenge);
    setup.registry.behave(Behaviour::new(Fault::Unauthorized).times(1));
    assert_eq!(setup.statuses(2).await, [401, 200]);
}

#[tokio::test]
async fn latency_is_added_to_each_request() {
    let setup = Setup::new().await;
    setup.registry.behave(Behaviour::new(Fault::Latency(Duration::from_millis(40))));
    let start = std::time::Instant::now();
    assert_eq!(setup.statuses(3).await, [200; 3]);
    assert!(start.elapsed() >= Duration::from_millis(120));
}
