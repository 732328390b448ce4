use std::collections::BTreeMap;

use bytes::Bytes;
use plimsoll_config::{Registry, Secret};
use plimsoll_image::manifest::{Descriptor, Manifest};
use plimsoll_image::registry::{Artifact, Part, Registries};
use plimsoll_model::Digest;
use plimsoll_testkit::image::{Blob, Compression, ImageBuilder, Layer, MANIFEST};
use plimsoll_testkit::registry::{
    Auth, Behaviour, FakeRegistry, Fault, Kind, Options, Pusher, RealOptions, RealRegistry,
};

use crate::fake::{Fake, registries, reply, status};

const TYPE: &str = "application/vnd.example.thing.v1+json";

fn entry(host: &str) -> Registry {
    Registry::anonymous(host)
}

fn artifact(text: &str, subject: Option<&Blob>) -> Artifact {
    Artifact {
        artifact_type: TYPE.to_owned(),
        parts: vec![Part {
            media_type: "application/vnd.example.part+json".to_owned(),
            bytes: Bytes::from(text.to_owned()),
            annotations: BTreeMap::from([("org.opencontainers.image.title".into(), "thing.json".into())]),
        }],
        annotations: BTreeMap::from([("example.of".to_owned(), text.to_owned())]),
        subject: subject.map(|blob| Descriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.parse().unwrap(),
            size: blob.size(),
            annotations: BTreeMap::new(),
            artifact_type: None,
        }),
    }
}

/// Two artifacts about an image, listed and read back; the rest of what a registry must do is in `inspect`.
async fn round_trip(registries: &Registries, host: &str, subject: &Blob) -> Vec<Option<String>> {
    let of: Digest = subject.digest.parse().unwrap();
    assert!(registries.referrers(host, "a/b", &of, None).await.unwrap().is_empty());
    let mut listed = Vec::new();
    for text in ["one", "two", "two"] {
        let pushed = registries.push(host, "a/b", None, &artifact(text, Some(subject))).await.unwrap();
        let found = registries.manifest(host, "a/b", &pushed.descriptor.digest).await.unwrap();
        assert_eq!(found.media_type, MANIFEST);
        let parsed = Manifest::parse(&found.bytes, &found.media_type).unwrap();
        assert_eq!(parsed, Manifest::NotAnImage { artifact_type: TYPE.to_owned() });
        let image = Manifest::parse_artifact(&found.bytes, &found.media_type).unwrap();
        assert_eq!(image.subject.as_ref().map(|subject| &subject.digest), Some(&of));
        assert_eq!(image.artifact_type.as_deref(), Some(TYPE));
        let part = registries.blob_bytes(host, "a/b", &image.layers[0].digest, 100).await.unwrap();
        assert_eq!(part, text);
        assert_eq!(image.layers[0].annotations["org.opencontainers.image.title"], "thing.json");
        listed.push(pushed.listed_in);
    }
    let all = registries.referrers(host, "a/b", &of, Some(TYPE)).await.unwrap();
    let mut about: Vec<&str> = all.iter().map(|one| one.annotations["example.of"].as_str()).collect();
    about.sort_unstable();
    assert_eq!(about, ["one", "two"], "the same again is no third");
    assert!(all.iter().all(|one| one.artifact_type.as_deref() == Some(TYPE)));
    assert!(registries.referrers(host, "a/b", &of, Some("application/else")).await.unwrap().is_empty());
    // Without a subject, under a tag.
    let pushed = registries.push(host, "a/b", Some("latest"), &artifact("three", None)).await.unwrap();
    let named = registries.manifest_of(&format!("{host}/a/b:latest").parse().unwrap()).await.unwrap();
    assert_eq!((named.digest, pushed.listed_in), (pushed.descriptor.digest, None));
    listed
}

fn an_image() -> plimsoll_testkit::image::BuiltImage {
    ImageBuilder::new().layer(Layer::new().file("a", "b"), Compression::Gzip).build().unwrap()
}

#[tokio::test]
async fn referrers_by_interface_with_tokens() {
    let auth = Auth::Bearer {
        credentials: Some(("me".to_owned(), "sesame".to_owned())),
        anonymous_pull: true,
        ttl: std::time::Duration::from_secs(300),
        realm: None,
    };
    let registry = FakeRegistry::start(Options { auth, ..Options::default() }).await.unwrap();
    let image = an_image();
    registry.put_image("a/b", "1", &image);
    let mut entry = entry(&registry.host());
    let anonymous = registries(std::slice::from_ref(&entry));
    let refused = anonymous.push(&registry.host(), "a/b", None, &artifact("x", None)).await.unwrap_err();
    assert_eq!(refused.code(), "auth");
    entry.username = Some("me".into());
    entry.password = Some(Secret::new("sesame"));
    let listed = round_trip(&registries(&[entry]), &registry.host(), image.root()).await;
    assert_eq!(listed, [None, None, None]);
    // A tag that is a list of referrers was not needed.
    assert_eq!(registry.tags("a/b"), ["1", "latest"]);
    let again = registry.requests().iter().filter(|one| one.kind == Kind::Upload && one.status < 400).count();
    assert_eq!(again, 2 * 4, "the empty configuration and three parts; what is there is not sent again");
}

#[tokio::test]
async fn referrers_by_tag_in_a_registry_without_the_interface() {
    if RealRegistry::find().is_err() {
        return;
    }
    let credentials = ("me".to_owned(), "sesame".to_owned());
    let options = RealOptions { credentials: Some(credentials), ..RealOptions::default() };
    let registry = RealRegistry::start(options).await.unwrap();
    let image = an_image();
    let pusher = Pusher::new(registry.url(), Some(("me", "sesame"))).unwrap();
    pusher.image("a/b", "1", &image).await.unwrap();
    let mut entry = entry(&registry.host());
    entry.username = Some("me".into());
    entry.password = Some(Secret::new("sesame"));
    let registries = registries(&[entry]);
    let listed = round_trip(&registries, &registry.host(), image.root()).await;
    let tag = image.digest().replace(':', "-");
    assert_eq!(listed, vec![Some(tag.clone()); 3]);
    // What lists referrers is no image either.
    let list = registries.manifest_of(&format!("{}/a/b:{tag}", registry.host()).parse().unwrap()).await;
    let list = list.unwrap();
    assert!(matches!(Manifest::parse(&list.bytes, &list.media_type).unwrap(), Manifest::NotAnImage { .. }));
    // A blob that goes in parts.
    let large = Artifact {
        parts: vec![Part {
            media_type: "application/octet-stream".into(),
            bytes: (0..20_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect::<Vec<u8>>().into(),
            annotations: BTreeMap::new(),
        }],
        ..artifact("", None)
    };
    let pushed = registries.push(&registry.host(), "a/b", None, &large).await.unwrap();
    let found = registries.manifest(&registry.host(), "a/b", &pushed.descriptor.digest).await.unwrap();
    let image = Manifest::parse_artifact(&found.bytes, "").unwrap();
    let read = registries.blob_bytes(&registry.host(), "a/b", &image.layers[0].digest, 1 << 25).await;
    assert!(read.unwrap() == large.parts[0].bytes);
}

#[tokio::test]
async fn uploads_that_fail_begin_anew_and_give_up() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let registries = registries(&[entry(&registry.host())]);
    let large = Artifact {
        parts: vec![Part {
            media_type: "application/octet-stream".into(),
            bytes: vec![7; 20 << 20].into(),
            annotations: BTreeMap::new(),
        }],
        ..artifact("", None)
    };
    // The empty configuration goes first, in two requests. Then the upload breaks at its second part.
    let broken = Behaviour::new(Fault::Status(503)).on(Kind::Upload).method(http::Method::PATCH);
    registry.behave(broken.after(1).times(1));
    registry.behave(
        Behaviour::new(Fault::TooManyRequests { retry_after: Some("0".into()) })
            .on(Kind::Manifest)
            .method(http::Method::PUT)
            .times(2),
    );
    registries.push(&registry.host(), "a/b", Some("1"), &large).await.unwrap();
    let methods: Vec<String> = registry
        .requests()
        .iter()
        .filter(|request| matches!(request.kind, Kind::Upload | Kind::Manifest))
        .map(|request| format!("{} {}", request.method, request.status))
        .collect();
    assert_eq!(
        methods,
        [
            "POST 202",
            "PUT 201",
            "POST 202",
            "PATCH 202",
            "PATCH 503",
            "POST 202",
            "PATCH 202",
            "PATCH 202",
            "PATCH 202",
            "PUT 201",
            "PUT 429",
            "PUT 429",
            "PUT 201"
        ]
    );
    registry.behave(Behaviour::new(Fault::Status(500)).on(Kind::Upload));
    let failed = registries.push(&registry.host(), "c", None, &large).await.unwrap_err();
    assert_eq!((failed.code(), failed.transient()), ("unavailable", true));
    for (registry, repository, tag) in [
        ("elsewhere.example", "a/b", None),
        (registry.host().as_str(), "../x", None),
        (registry.host().as_str(), "a/b", Some("no tag")),
    ] {
        let refused = registries.push(registry, repository, tag, &large).await.unwrap_err();
        assert!(matches!(refused.code(), "registry_not_configured" | "invalid_reference"), "{refused}");
    }
}

#[tokio::test]
async fn uploads_go_nowhere_else() {
    let thief = Fake::start(|_| status(201)).await;
    let away = format!("http://{}/v2/a/b/blobs/uploads/1", thief.host);
    for code in [202, 307] {
        let away = away.clone();
        let fake = Fake::start(move |asked| match asked.method.as_str() {
            "HEAD" => status(404),
            _ => reply(code, &[("location", &away)], ""),
        })
        .await;
        let mut entry = fake.entry();
        entry.token = Some(Secret::new("fixed"));
        let refused =
            registries(&[entry]).push(&fake.host, "a/b", None, &artifact("x", None)).await.unwrap_err();
        assert_eq!(refused.code(), "registry_not_configured", "{refused}");
    }
    assert!(thief.asked().is_empty());
    // Where another host takes uploads and is listed, our credentials stay at home.
    let storage = thief.host.clone();
    let fake = Fake::start(move |asked| match (asked.method.as_str(), asked.path.contains("/manifests/")) {
        ("HEAD", _) => status(404),
        (_, true) => status(201),
        _ => reply(202, &[("location", &away)], ""),
    })
    .await;
    let mut entry = fake.entry();
    entry.token = Some(Secret::new("fixed"));
    entry.redirect_hosts = vec![storage];
    registries(&[entry]).push(&fake.host, "a/b", None, &artifact("x", None)).await.unwrap();
    assert!(!thief.asked().is_empty());
    assert!(thief.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[tokio::test]
async fn what_lies_beside_an_image_is_read_within_bounds() {
    let registry = FakeRegistry::start(Options::default()).await.unwrap();
    let image = an_image();
    registry.put_image("a/b", "1", &image);
    let (host, of) = (registry.host(), image.digest().parse::<Digest>().unwrap());
    let registries = registries(&[entry(&registry.host())]);
    let found = registries.attached(&host, "a/b", &of, |_, _| true).await.unwrap();
    assert_eq!(found, Default::default());
    for text in ["one", "two"] {
        registries.push(&host, "a/b", None, &artifact(text, Some(image.root()))).await.unwrap();
    }
    let large = "x".repeat(plimsoll_image::registry::MAX_ATTACHED_BYTES + 1);
    let mut beyond = artifact(&large, Some(image.root()));
    beyond.annotations.clear();
    registries.push(&host, "a/b", None, &beyond).await.unwrap();
    // Cosign's tag: an image of no file system.
    let config = Blob::new("application/vnd.oci.image.config.v1+json", "{}");
    let envelope = Blob::new("application/vnd.dsse.envelope.v1+json", "envelope");
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(),
        "layers": [envelope.descriptor()] });
    let tag = format!("{}.att", image.digest().replace(':', "-"));
    let pusher = Pusher::new(registry.url(), None).unwrap();
    for blob in [&config, &envelope] {
        pusher.blob("a/b", blob).await.unwrap();
    }
    pusher.manifest("a/b", &tag, &Blob::new(MANIFEST, manifest.to_string())).await.unwrap();
    let texts = |found: &plimsoll_image::registry::Attachments| {
        let mut texts: Vec<String> =
            found.parts.iter().map(|part| String::from_utf8_lossy(&part.bytes).into_owned()).collect();
        texts.sort();
        texts
    };
    let found = registries.attached(&host, "a/b", &of, |_, _| true).await.unwrap();
    assert_eq!((texts(&found), found.passed_over), (vec!["envelope".into(), "one".into(), "two".into()], 1));
    // What is not wanted is not fetched: an artifact by its type, a part by its own.
    let before = registry.requests().len();
    let found = registries.attached(&host, "a/b", &of, |kind, _| kind.contains("dsse")).await.unwrap();
    assert_eq!((texts(&found), found.passed_over), (vec!["envelope".into()], 0));
    assert!(registry.requests().len() - before <= 3, "the tag, the list, the part");
    let elsewhere = registries.attached("r.example.com", "a/b", &of, |_, _| true).await.unwrap_err();
    assert_eq!(elsewhere.code(), "registry_not_configured");
}
