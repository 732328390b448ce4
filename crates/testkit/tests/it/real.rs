use std::collections::BTreeSet;

use http::Method;
use plimsoll_testkit::image::index;
use plimsoll_testkit::registry::{
    Endpoint, FakeRegistry, Options, Pusher, RealOptions, RealRegistry, RegistryError, WebhookSink,
};
use plimsoll_testkit::wait::until;
use serde_json::Value;

use crate::fake::{client, image};
use crate::{BOUND, installed};

/// The dotted names of everything that an event says.
fn shape(event: &Value, path: &str, out: &mut BTreeSet<String>) {
    match event {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), out);
            }
        }
        _ => drop(out.insert(path.to_owned())),
    }
}

/// What identifies an event, without ids and times.
fn gist(event: &Value) -> (String, String, String, String, BTreeSet<String>) {
    let mut names = BTreeSet::new();
    shape(event, "", &mut names);
    let text = |pointer: &str| event.pointer(pointer).map(Value::to_string).unwrap_or_default();
    (
        text("/action"),
        text("/target/digest"),
        text("/target/mediaType") + &text("/target/size") + &text("/target/length"),
        text("/target/repository") + &text("/target/tag") + &text("/target/fromRepository"),
        names,
    )
}

async fn story(base: String, sink: &WebhookSink) -> Vec<Value> {
    let pusher = Pusher::new(&base, None).unwrap();
    let both = index(vec![image("a"), image("b")]).unwrap();
    pusher.image("team/app", "v1", &both).await.unwrap();
    let layer = &both.children()[0].layers()[0].digest;
    let accept = "application/vnd.oci.image.index.v1+json";
    for (method, path) in [
        (Method::HEAD, "team/app/manifests/v1".to_owned()),
        (Method::GET, "team/app/manifests/v1".to_owned()),
        (Method::GET, format!("team/app/manifests/{}", both.digest())),
        (Method::GET, "team/app/manifests/v2".to_owned()),
        (Method::GET, format!("team/app/blobs/{layer}")),
        (Method::POST, format!("team/other/blobs/uploads/?mount={layer}&from=team/app")),
        (Method::POST, "team/other/blobs/uploads/".to_owned()),
    ] {
        let url = format!("{base}/v2/{path}");
        client().request(method, url).header("accept", accept).send().await.unwrap().bytes().await.unwrap();
    }
    pusher.delete("team/app", both.digest()).await.unwrap();
    until("the delete to be told", BOUND, || async {
        // The manifest's, and that of the tag that went with it.
        sink.events().iter().filter(|event| event["action"] == "delete").count() == 2
    })
    .await
    .unwrap();
    sink.events()
}

#[tokio::test]
async fn the_embedded_registry_tells_what_distribution_tells() {
    if !installed("docker-registry") {
        return;
    }
    let (there, here) = (WebhookSink::start().await.unwrap(), WebhookSink::start().await.unwrap());
    let endpoint = |sink: &WebhookSink| vec![Endpoint::authorized(sink.url(), "Bearer t")];
    let real = RealRegistry::start(RealOptions { endpoints: endpoint(&there), ..RealOptions::default() });
    let real = real.await.unwrap();
    let fake = FakeRegistry::start(Options { endpoints: endpoint(&here), ..Options::default() });
    let fake = fake.await.unwrap();
    let expected: Vec<_> = story(real.url(), &there).await.iter().map(gist).collect();
    let told: Vec<_> = story(fake.url(), &here).await.iter().map(gist).collect();
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
    assert!(there.deliveries().iter().all(|delivery| delivery.headers["authorization"] == "Bearer t"));
    let media = |sink: &WebhookSink| sink.deliveries()[0].headers["content-type"].clone();
    assert_eq!(media(&here), media(&there));
}

#[tokio::test]
async fn skopeo_pushes_a_layout_with_credentials() {
    if !installed("docker-registry") || !installed("skopeo") {
        return;
    }
    let credentials = Some(("user".to_owned(), "pass word".to_owned()));
    let registry = RealRegistry::start(RealOptions { credentials, ..RealOptions::default() }).await.unwrap();
    let both = index(vec![image("a"), image("b")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    both.to_layout(dir.path(), "v1").unwrap();
    registry.skopeo_push(dir.path(), "v1", "team/app:v1").await.unwrap();
    let url = format!("{}/v2/team/app/manifests/v1", registry.url());
    let get = client().get(&url).header("accept", "application/vnd.oci.image.index.v1+json");
    let answer = get.basic_auth("user", Some("pass word")).send().await.unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], both.digest());
    assert_eq!(client().get(&url).send().await.unwrap().status(), 401);

    let error = registry.skopeo_push(dir.path(), "no-such-tag", "team/app:v1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Failed { program: "skopeo", .. }), "{error}");
}

#[tokio::test]
async fn skopeo_copies_to_and_from_the_embedded_registry() {
    if !installed("skopeo") {
        return;
    }
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let both = index(vec![image("a"), image("b")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    both.to_layout(dir.path(), "v1").unwrap();
    let copy = async |from: String, to: String| {
        let output = tokio::process::Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--all", "--preserve-digests"])
            .args(["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let remote = format!("docker://{}/team/app:v1", registry.host());
    copy(format!("oci:{}:v1", dir.path().display()), remote.clone()).await;
    assert_eq!(registry.resolve("team/app", "v1").as_deref(), Some(both.digest()));
    let back = tempfile::tempdir().unwrap();
    copy(remote, format!("oci:{}:back", back.path().display())).await;
    for (digest, blob) in both.blobs() {
        let path = back.path().join("blobs").join(digest.replacen(':', "/", 1));
        assert_eq!(std::fs::read(path).unwrap(), blob.bytes);
        assert_eq!(registry.blob_gets(&digest), 1, "each blob is read once");
    }
}

#[tokio::test]
async fn content_stays_in_its_directory() {
    if !installed("docker-registry") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = || RealOptions { dir: Some(dir.path().to_owned()), ..RealOptions::default() };
    let image = image("kept");
    let registry = RealRegistry::start(options()).await.unwrap();
    Pusher::new(registry.url(), None).unwrap().image("app", "v1", &image).await.unwrap();
    drop(registry);
    let registry = RealRegistry::start(options()).await.unwrap();
    let head = client().head(format!("{}/v2/app/manifests/{}", registry.url(), image.digest()));
    let head = head.header("accept", "application/vnd.oci.image.manifest.v1+json").send().await.unwrap();
    assert_eq!(head.status(), 200);
}
