use std::time::Duration;

use http::StatusCode;
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, Layer, content, index};
use plimsoll_testkit::registry::{Auth, Endpoint, FakeRegistry, Options, Pusher, RegistryError, WebhookSink};
use serde_json::{Value, json};

use crate::BOUND;

pub(crate) fn image(word: &str) -> BuiltImage {
    let layer = Layer::new().file("etc/os-release", content::os_release("debian", "12"));
    ImageBuilder::new()
        .layer(layer, Compression::Gzip)
        .layer(Layer::new().file("word", word.to_owned()), Compression::Zstd)
        .build()
        .unwrap()
}

pub(crate) fn client() -> reqwest::Client {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(none).timeout(BOUND).build().unwrap()
}

async fn json_of(url: &str) -> Value {
    client().get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let pusher = Pusher::new(registry.url(), None).unwrap();
    let both = index(vec![image("a"), image("b")]).unwrap();
    pusher.image("team/app", "v1", &both).await.unwrap();
    assert_eq!(registry.resolve("team/app", "v1").as_deref(), Some(both.digest()));

    let http = client();
    for manifest in both.manifests() {
        let url = format!("{}/v2/team/app/manifests/{}", registry.url(), manifest.digest);
        let answer = http.get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], manifest.media_type.as_str());
        assert_eq!(answer.headers()["docker-content-digest"], manifest.digest.as_str());
        assert_eq!(answer.bytes().await.unwrap(), manifest.bytes);
        let head = http.head(&url).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], manifest.bytes.len().to_string().as_str());
    }
    for (digest, blob) in both.blobs() {
        let url = format!("{}/v2/team/app/blobs/{digest}", registry.url());
        assert_eq!(http.get(&url).send().await.unwrap().bytes().await.unwrap(), blob.bytes);
        assert_eq!(registry.blob_gets(&digest), 1);
        let elsewhere = format!("{}/v2/other/blobs/{digest}", registry.url());
        assert_eq!(http.get(&elsewhere).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    // A second push finds everything there.
    registry.forget();
    pusher.image("team/app", "v2", &both).await.unwrap();
    let requests = registry.requests();
    assert!(!requests.iter().any(|request| request.method == "POST"), "{requests:?}");
    assert_eq!(registry.tags("team/app"), ["v1", "v2"]);
}

#[tokio::test]
async fn ranges_are_answered_as_http_says() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let image = image("ranges");
    registry.put_image("app", "v1", &image);
    let layer = &image.layers()[0];
    let url = format!("{}/v2/app/blobs/{}", registry.url(), layer.digest);
    let size = layer.bytes.len();
    for (range, expected) in [
        ("bytes=0-0", Some(0..1)),
        ("bytes=5-", Some(5..size)),
        ("bytes=3-999999", Some(3..size)),
        ("bytes=-4", Some(size - 4..size)),
        ("bytes=999999-", None),
        ("bytes=9-3", None),
        ("lines=1-2", Some(0..size)),
    ] {
        let answer = client().get(&url).header("range", range).send().await.unwrap();
        match expected {
            None => assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}"),
            Some(span) => {
                let partial = range.starts_with("bytes");
                assert_eq!(answer.status() == StatusCode::PARTIAL_CONTENT, partial, "{range}");
                if partial {
                    let told = format!("bytes {}-{}/{size}", span.start, span.end - 1);
                    assert_eq!(answer.headers()["content-range"], told.as_str());
                }
                assert_eq!(answer.bytes().await.unwrap(), layer.bytes.slice(span), "{range}");
            }
        }
    }
}

#[tokio::test]
async fn uploads_in_chunks_in_one_and_by_mount() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let http = client();
    let digest = plimsoll_testkit::image::sha256(b"hello world");
    let uploads = |name: &str| format!("{}/v2/{name}/blobs/uploads/", registry.url());

    let started = http.post(uploads("chunks")).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let location = started.url().join(started.headers()["location"].to_str().unwrap()).unwrap();
    let patch = |from: &'static str, body: &'static str| {
        http.patch(location.clone()).header("content-range", from).body(body).send()
    };
    assert_eq!(patch("0-5", "hello ").await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(patch("0-5", "hello ").await.unwrap().status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let progress = http.get(location.clone()).send().await.unwrap();
    assert_eq!(progress.headers()["range"], "0-5");
    let finish = format!("{location}?digest={digest}");
    assert_eq!(http.put(finish).body("world").send().await.unwrap().status(), StatusCode::CREATED);

    let at_once = format!("{}?digest={digest}", uploads("once"));
    let wrong = http.post(&at_once).body("HELLO").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(http.post(&at_once).body("hello world").send().await.unwrap().status(), StatusCode::CREATED);

    let mount = |from: &str| format!("{}?mount={digest}&from={from}", uploads("mounted"));
    let unknown = http.post(mount("nowhere")).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::ACCEPTED, "an upload is started instead");
    assert_eq!(http.post(mount("once")).send().await.unwrap().status(), StatusCode::CREATED);
    for name in ["chunks", "once", "mounted"] {
        let url = format!("{}/v2/{name}/blobs/{digest}", registry.url());
        assert_eq!(http.get(url).send().await.unwrap().text().await.unwrap(), "hello world");
    }
}

#[tokio::test]
async fn manifests_need_their_blobs_and_their_digest() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let image = image("checked");
    let pusher = Pusher::new(registry.url(), None).unwrap();
    let refused = |error: RegistryError, code: &str| {
        assert!(
            matches!(&error, RegistryError::Refused { status: 400, body, .. } if body.contains(code)),
            "{error}"
        );
    };
    refused(pusher.manifest("app", "v1", image.root()).await.unwrap_err(), "MANIFEST_BLOB_UNKNOWN");
    for (_, blob) in image.blobs() {
        assert!(pusher.blob("app", &blob).await.unwrap());
        assert!(!pusher.blob("app", &blob).await.unwrap(), "the second time it is there");
    }
    let other = plimsoll_testkit::image::sha256(b"other");
    refused(pusher.manifest("app", &other, image.root()).await.unwrap_err(), "DIGEST_INVALID");
    pusher.manifest("app", "v1", image.root()).await.unwrap();
    pusher.delete("app", image.digest()).await.unwrap();
    assert_eq!(registry.resolve("app", "v1"), None);
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = FakeRegistry::start(Options { page: 3, ..Options::default() }).await.unwrap();
    let image = image("pages");
    for number in 0..8 {
        registry.put_image("app", &format!("v{number}"), &image);
    }
    let (mut url, mut tags, mut pages) = (format!("{}/v2/app/tags/list?n=5", registry.url()), Vec::new(), 0);
    loop {
        let answer = client().get(&url).send().await.unwrap();
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let next = link.map(|link| {
            let path = link.split(['<', '>']).nth(1).unwrap();
            answer.url().join(path).unwrap().to_string()
        });
        let page: Value = answer.json().await.unwrap();
        tags.extend(page["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        pages += 1;
        match next {
            Some(next) => url = next,
            None => break,
        }
    }
    assert_eq!(tags, (0..8).map(|number| format!("v{number}")).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    assert_eq!(json_of(&format!("{}/v2/_catalog", registry.url())).await, json!({"repositories": ["app"]}));
}

#[tokio::test]
async fn referrers_are_found_by_subject_and_type() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let image = image("subject");
    registry.put_image("app", "v1", &image);
    let refer = |kind: &str| {
        ImageBuilder::new().artifact(kind).subject(image.root()).annotation("a", "b").build().unwrap()
    };
    let sbom = refer("application/spdx+json");
    let pusher = Pusher::new(registry.url(), None).unwrap();
    pusher.image("app", "sbom", &sbom).await.unwrap();
    pusher.image("app", "signature", &refer("application/vnd.dev.sigstore")).await.unwrap();
    let url = format!("{}/v2/app/referrers/{}", registry.url(), image.digest());
    assert_eq!(json_of(&url).await["manifests"].as_array().unwrap().len(), 2);
    let filtered = json_of(&format!("{url}?artifactType=application/spdx%2Bjson")).await;
    assert_eq!(filtered["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(filtered["manifests"][0]["digest"], sbom.digest());
    assert_eq!(filtered["manifests"][0]["annotations"]["a"], "b");
}

#[tokio::test]
async fn basic_credentials_are_asked_for() {
    let auth = Auth::Basic { user: "u".to_owned(), password: "p:p".to_owned() };
    let registry = FakeRegistry::start(Options { auth, ..Options::default() }).await.unwrap();
    let answer = client().get(format!("{}/v2/", registry.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    assert!(
        Pusher::new(registry.url(), Some(("u", "no"))).unwrap().image("a", "b", &image("x")).await.is_err()
    );
    Pusher::new(registry.url(), Some(("u", "p:p"))).unwrap().image("a", "b", &image("x")).await.unwrap();
}

#[tokio::test]
async fn tokens_are_scoped_and_expire() {
    let auth = Auth::Bearer {
        credentials: Some(("u".to_owned(), "p".to_owned())),
        anonymous_pull: true,
        ttl: Duration::from_secs(3_600),
        realm: None,
    };
    let registry = FakeRegistry::start(Options { auth, ..Options::default() }).await.unwrap();
    let image = image("bearer");
    registry.put_image("team/app", "v1", &image);
    let manifest = format!("{}/v2/team/app/manifests/v1", registry.url());
    let asked = client().get(&manifest).send().await.unwrap();
    let challenge = asked.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let host = registry.host();
    assert_eq!(
        challenge,
        format!("Bearer realm=\"http://{host}/token\",service=\"{host}\",scope=\"repository:team/app:pull\"")
    );
    let token = |scope: &'static str, password: Option<&'static str>| {
        let request = client().get(format!("http://{host}/token?service={host}&scope={scope}"));
        let request = match password {
            Some(password) => request.basic_auth("u", Some(password)),
            None => request,
        };
        async move {
            let answer = request.send().await.unwrap().error_for_status()?;
            let body: Value = answer.json().await?;
            Ok::<_, reqwest::Error>(body["token"].as_str().unwrap().to_owned())
        }
    };
    let get = |token: String| client().get(&manifest).bearer_auth(token).send();
    let upload = |token: String| {
        client().post(format!("{}/v2/team/app/blobs/uploads/", registry.url())).bearer_auth(token).send()
    };
    assert!(token("repository:team/app:pull", Some("wrong")).await.is_err());
    let anonymous = token("repository:team/app:pull,push", None).await.unwrap();
    assert_eq!(get(anonymous.clone()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(upload(anonymous.clone()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let other = token("repository:other:pull", None).await.unwrap();
    assert_eq!(get(other).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let known = token("repository:team/app:pull,push", Some("p")).await.unwrap();
    assert_eq!(upload(known).await.unwrap().status(), StatusCode::ACCEPTED);
    registry.expire_tokens();
    assert_eq!(get(anonymous).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pushes_are_told_in_order_with_authorization() {
    let sink = WebhookSink::start().await.unwrap();
    let endpoints = vec![Endpoint::authorized(sink.url(), "Bearer secret")];
    let registry = FakeRegistry::start(Options { endpoints, ..Options::default() }).await.unwrap();
    let image = image("told");
    registry.put_image("silent", "v1", &image);
    registry.push_image("app", "v1", &image);
    registry.flushed(BOUND).await.unwrap();
    let deliveries = sink.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.headers["authorization"] == "Bearer secret"));
    assert!(deliveries.iter().all(|delivery| {
        delivery.headers["content-type"] == "application/vnd.docker.distribution.events.v1+json"
    }));
    let events = sink.events();
    assert_eq!(events.len(), 4, "two layers, the configuration, the manifest");
    assert!(events.iter().all(|event| event["action"] == "push" && event["target"]["repository"] == "app"));
    let last = &events[3]["target"];
    assert_eq!((&last["tag"], &last["digest"]), (&"v1".into(), &image.digest().into()));
    assert_eq!(last["url"], format!("{}/v2/app/manifests/{}", registry.url(), image.digest()));
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 4);

    // A push of what is there tells of the manifest only.
    registry.push_image("app", "v2", &image);
    registry.flushed(BOUND).await.unwrap();
    assert_eq!(sink.events().len(), 5);
}

#[tokio::test]
async fn a_refused_notification_is_sent_again() {
    let sink = WebhookSink::start().await.unwrap();
    sink.answer(503);
    let endpoints = vec![Endpoint { url: sink.url(), headers: Vec::new() }];
    let registry = FakeRegistry::start(Options { endpoints, ..Options::default() }).await.unwrap();
    registry.notify(&[json!({"id": "1"})]);
    registry.notify(&[json!({"id": "2"})]);
    plimsoll_testkit::wait::until("a second try", BOUND, || async { sink.deliveries().len() >= 2 })
        .await
        .unwrap();
    assert_eq!(registry.notified(), (0, 0));
    sink.answer(200);
    registry.flushed(BOUND).await.unwrap();
    assert_eq!(registry.notified(), (2, 0));
    let events = sink.events();
    assert!(events[..events.len() - 1].iter().all(|event| event["id"] == "1"), "{events:?}");
    assert_eq!(events[events.len() - 1]["id"], "2");
}

#[tokio::test]
async fn a_dropped_registry_serves_nobody() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let (http, url) = (client(), format!("{}/v2/", registry.url()));
    assert_eq!(http.get(&url).send().await.unwrap().status(), StatusCode::OK);
    drop(registry);
    let ended = || async {
        match http.get(&url).send().await {
            Ok(answer) => answer.bytes().await.is_err(),
            Err(_) => true,
        }
    };
    plimsoll_testkit::wait::until("the registry to be gone", BOUND, ended).await.unwrap();
}
