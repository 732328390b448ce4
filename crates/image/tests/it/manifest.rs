use plimsoll_image::manifest::{
    Child, ImageConfig, Index, MAX_ENTRIES, MAX_MANIFEST_BYTES, Manifest, media, normalize,
};
use plimsoll_model::Platform;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake::digest;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str, of: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(of.as_bytes()), "size": 7})
}

fn image(config: &str, layers: &[&str]) -> Value {
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer, "layer")).collect();
    json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": descriptor(config, "config"), "layers": layers})
}

fn parse(value: &Value, media_type: &str) -> Result<Manifest, &'static str> {
    Manifest::parse(value.to_string().as_bytes(), media_type).map_err(|error| error.code())
}

fn artifact(artifact_type: &str) -> Result<Manifest, &'static str> {
    Ok(Manifest::NotAnImage { artifact_type: artifact_type.into() })
}

fn child(platform: Option<(&str, &str, Option<&str>)>, name: &str) -> Child {
    let value = json!({"schemaVersion": 2, "manifests": [descriptor(media::OCI_MANIFEST, name)]});
    let Ok(Manifest::Index(index)) = parse(&value, "") else { panic!() };
    let platform = platform.map(|(os, architecture, variant)| Platform {
        os: os.into(),
        architecture: architecture.into(),
        variant: variant.map(str::to_owned),
    });
    Child { platform, ..index.children.into_iter().next().unwrap() }
}

#[test]
fn images_of_oci_and_docker() {
    let mut value = image(media::OCI_CONFIG, &[LAYER, LAYER]);
    value["annotations"] = json!({"Layers": "anything goes here", "a": "b"});
    for announced in [media::OCI_MANIFEST, "", "application/json", "text/plain; charset=utf-8"] {
        let Ok(Manifest::Image(image)) = parse(&value, announced) else { panic!("{announced}") };
        assert_eq!((image.layers.len(), image.layers[0].size), (2, 7));
        assert_eq!(image.config.digest, digest(b"config"));
        assert_eq!(image.annotations["a"], "b");
    }
    let mut docker = image(media::DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    docker["mediaType"] = json!(media::DOCKER_MANIFEST);
    assert!(matches!(parse(&docker, media::DOCKER_MANIFEST), Ok(Manifest::Image(_))));
    let mut untyped = image(media::OCI_CONFIG, &[LAYER]);
    untyped.as_object_mut().unwrap().remove("mediaType");
    untyped["layers"][0]["urls"] = json!(["https://evil.example/x"]);
    untyped["annotations"] = Value::Null;
    assert!(matches!(parse(&untyped, ""), Ok(Manifest::Image(_))));
    untyped["layers"] = Value::Null;
    assert!(matches!(parse(&untyped, ""), Ok(Manifest::Image(image)) if image.layers.is_empty()));
}

#[test]
fn what_is_no_image() {
    let simple_signing = "application/vnd.dev.cosign.simplesigning.v1+json";
    let in_toto = "application/vnd.in-toto+json";
    let helm = "application/vnd.cncf.helm.config.v1+json";
    assert_eq!(parse(&image(media::OCI_CONFIG, &[simple_signing]), ""), artifact(simple_signing));
    assert_eq!(parse(&image(media::OCI_CONFIG, &[in_toto, in_toto]), ""), artifact(in_toto));
    assert_eq!(
        parse(&image(helm, &["application/vnd.cncf.helm.chart.content.v1.tar+gzip"]), ""),
        artifact(helm)
    );
    let mut referrer = image("application/vnd.oci.empty.v1+json", &["application/vnd.cyclonedx+json"]);
    referrer["artifactType"] = json!("application/vnd.cyclonedx+json");
    referrer["subject"] = descriptor(media::OCI_MANIFEST, "subject");
    assert_eq!(parse(&referrer, media::OCI_MANIFEST), artifact("application/vnd.cyclonedx+json"));
    let old = json!({"mediaType": media::OCI_ARTIFACT, "artifactType": "x/y", "blobs": []});
    assert_eq!(parse(&old, ""), artifact("x/y"));
    let other = json!({"mediaType": "application/vnd.acme+json"});
    assert_eq!(parse(&other, ""), artifact("application/vnd.acme+json"));
    // One layer that a runtime would unpack makes it an image, whatever stands beside it.
    assert!(matches!(parse(&image(media::OCI_CONFIG, &[in_toto, LAYER]), ""), Ok(Manifest::Image(_))));
    // An encrypted layer is still a layer: it fails visibly.
    let encrypted = format!("{LAYER}+encrypted");
    assert!(matches!(parse(&image(media::OCI_CONFIG, &[&encrypted]), ""), Ok(Manifest::Image(_))));
}

#[test]
fn what_is_refused() {
    let fine = image(media::OCI_CONFIG, &[LAYER]);
    let with = |change: fn(&mut Value)| {
        let mut value = fine.clone();
        change(&mut value);
        value
    };
    let many: Vec<Value> = (0..=MAX_ENTRIES).map(|_| descriptor(LAYER, "x")).collect();
    let mut crowded = fine.clone();
    crowded["layers"] = json!(many);
    for (value, announced, code) in [
        (json!({"schemaVersion": 1, "fsLayers": []}), "", "unsupported"),
        (json!({"schemaVersion": 2, "fsLayers": []}), "", "unsupported"),
        (fine.clone(), "application/vnd.docker.distribution.manifest.v1+prettyjws", "unsupported"),
        (fine.clone(), media::OCI_INDEX, "corrupt"),
        (fine.clone(), media::DOCKER_MANIFEST, "corrupt"),
        (with(|v| v["manifests"] = json!([])), "", "corrupt"),
        (with(|v| v["mediaType"] = json!(media::OCI_INDEX)), "", "corrupt"),
        (with(|v| v["Layers"] = json!([])), "", "corrupt"),
        (with(|v| v["layer\u{17f}"] = json!([])), "", "corrupt"),
        (with(|v| v["layers"][0]["Digest"] = json!("x")), "", "corrupt"),
        (with(|v| v["layers"][0]["digest"] = json!("md5:abc")), "", "corrupt"),
        (with(|v| v["layers"][0]["size"] = json!(-1)), "", "corrupt"),
        (with(|v| v["annotations"] = json!({"a": 1})), "", "corrupt"),
        (with(|v| drop(v.as_object_mut().unwrap().remove("config"))), "", "corrupt"),
        (json!({}), "", "corrupt"),
        (json!([]), "", "corrupt"),
        (crowded, "", "too_large"),
    ] {
        let shown = value.to_string().chars().take(200).collect::<String>();
        assert_eq!(parse(&value, announced), Err(code), "{announced} {shown}");
    }
    let twice = fine.to_string().replacen('{', "{\"layers\":[],", 1);
    assert_eq!(Manifest::parse(twice.as_bytes(), "").unwrap_err().code(), "corrupt");
    let mut long = fine.to_string();
    long.push_str(&" ".repeat(MAX_MANIFEST_BYTES));
    assert_eq!(Manifest::parse(long.as_bytes(), "").unwrap_err().code(), "too_large");
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Manifest::parse(deep.as_bytes(), "").unwrap_err().code(), "corrupt");
}

#[test]
fn indexes_and_their_runnable_children() {
    let attestation = |annotated: bool| {
        let mut value = descriptor(media::OCI_MANIFEST, "attestation");
        if annotated {
            value["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
            value["platform"] = json!({"os": "linux", "architecture": "amd64"});
        } else {
            value["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        }
        value
    };
    let mut amd64 = descriptor(media::OCI_MANIFEST, "amd64");
    amd64["platform"] = json!({"os": "linux", "architecture": "amd64", "os.features": ["X"]});
    let value = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX,
        "manifests": [attestation(true), attestation(false), amd64, descriptor(LAYER, "layer")],
    });
    let Ok(Manifest::Index(index)) = parse(&value, media::OCI_INDEX) else { panic!() };
    let runnable: Vec<bool> = index.children.iter().map(Child::runnable).collect();
    assert_eq!(runnable, [false, false, true, false]);
    let selected = index.select(&Platform::default()).unwrap();
    assert_eq!(selected.descriptor.digest, digest(b"amd64"));
    let list = json!({"schemaVersion": 2, "mediaType": media::DOCKER_LIST, "manifests": null});
    assert!(
        matches!(parse(&list, media::DOCKER_LIST), Ok(Manifest::Index(index)) if index.children.is_empty())
    );
    let referrers = json!({"mediaType": media::OCI_INDEX, "artifactType": "x/y", "manifests": []});
    assert_eq!(parse(&referrers, ""), artifact("x/y"));
}

#[test]
fn platforms_are_chosen_as_containerd_does() {
    let index = Index {
        children: vec![
            child(Some(("linux", "arm", Some("v6"))), "v6"),
            child(Some(("linux", "arm", Some("v7"))), "v7"),
            child(Some(("linux", "arm64", Some("v8"))), "arm64"),
            child(Some(("windows", "amd64", None)), "windows"),
            child(Some(("linux", "x86_64", None)), "amd64"),
        ],
        annotations: Default::default(),
    };
    for (text, name) in [
        (("linux", "amd64", None), Some("amd64")),
        (("linux", "amd64", Some("v3")), Some("amd64")),
        (("linux", "aarch64", None), Some("arm64")),
        (("linux", "arm", None), Some("v7")),
        (("linux", "arm", Some("6")), Some("v6")),
        (("linux", "arm", Some("v5")), None),
        (("linux", "s390x", None), None),
        (("windows", "amd64", None), Some("windows")),
    ] {
        let wanted =
            Platform { os: text.0.into(), architecture: text.1.into(), variant: text.2.map(str::to_owned) };
        let found = index.select(&wanted).map(|child| child.descriptor.digest.clone());
        assert_eq!(found, name.map(|name| digest(name.as_bytes())), "{wanted}");
        assert_eq!(normalize(&normalize(&wanted)), normalize(&wanted));
    }
    let lone = Index { children: vec![child(None, "only")], annotations: Default::default() };
    assert!(lone.select(&Platform::default()).is_some());
    let two =
        Index { children: vec![child(None, "one"), child(None, "two")], annotations: Default::default() };
    assert!(two.select(&Platform::default()).is_none());
}

#[test]
fn configurations() {
    let diff_ids = [digest(b"1"), digest(b"2")];
    let value = json!({
        "os": "linux", "architecture": "arm64", "variant": "v8", "created": "2026-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/bin"], "Labels": {"b": "2", "a": "1"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created_by": "ADD rootfs"},
            {"created_by": "ENV X=1", "empty_layer": true},
            {"created_by": "RUN apt"},
        ],
    });
    let parse = |value: &Value, layers| ImageConfig::parse(value.to_string().as_bytes(), layers);
    let config = parse(&value, 2).unwrap();
    assert_eq!(config.platform.to_string(), "linux/arm64/v8");
    assert_eq!(config.history, ["ADD rootfs", "RUN apt"]);
    assert_eq!(config.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!((config.env.len(), config.diff_ids.as_slice()), (1, &diff_ids[..]));
    let mut value = value;
    value["history"] = json!([{"created_by": "only one"}]);
    value["config"] = Value::Null;
    let config = parse(&value, 2).unwrap();
    assert_eq!(config.history, ["", ""], "a history that does not fit says nothing");
    for layers in [0, 1, 3] {
        assert_eq!(parse(&value, layers).unwrap_err().code(), "corrupt");
    }
    for (field, bad) in [
        ("rootfs", Value::Null),
        ("rootfs", json!({"type": "chunks", "diff_ids": diff_ids})),
        ("rootfs", json!({"diff_ids": ["x", "y"]})),
        ("history", json!({})),
        ("history", json!(vec![json!({}); 10_001])),
    ] {
        let mut value = value.clone();
        value[field] = bad;
        assert!(parse(&value, 2).is_err(), "{field}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Manifest::parse(&bytes, ""));
        drop(ImageConfig::parse(&bytes, 1));
    }

    #[test]
    fn no_damaged_manifest_panics(at in 0_usize..400, with in any::<u8>()) {
        let mut bytes = image(media::OCI_CONFIG, &[LAYER]).to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        drop(Manifest::parse(&bytes, media::OCI_MANIFEST));
    }
}
