//! Statements that lie beside an image in its registry: `plimsoll scan IMAGE --vex oci`.

use std::collections::BTreeMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_config::Registry;
use plimsoll_image::manifest::Descriptor;
use plimsoll_image::registry::{Artifact, Part, Registries};
use plimsoll_testkit::image::Blob;
use plimsoll_testkit::registry::{Pusher, RealOptions, RealRegistry, RegistryError};
use serde_json::{Value, json};

use crate::offline::{Done, command, finish};
use crate::world::{demo_feeds, of_npm};

const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
const OPENVEX: &str = "https://openvex.dev/ns/v0.2.0";
/// SubjectPublicKeyInfo of a point on P-256, up to the point (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn pem(&self) -> String {
        let body = STANDARD.encode([P256, self.0.public_key().as_ref()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// An in-toto statement about an image, in a DSSE envelope, as `cosign attest` makes it.
    fn attests(&self, digest: &str, predicate_type: &str, predicate: &Value) -> Vec<u8> {
        let payload = json!({
            "_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate_type, "predicate": predicate,
            "subject": [{ "name": "shop/web", "digest": { "sha256": digest.trim_start_matches("sha256:") } }],
        })
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        json!({ "payloadType": kind, "payload": STANDARD.encode(&payload),
            "signatures": [{ "keyid": "", "sig": STANDARD.encode(signature.as_ref()) }] })
        .to_string()
        .into_bytes()
    }
}

/// OpenVEX: the image is not affected, by way of lodash.
fn vex(vulnerability: &str, digest: &str) -> Value {
    json!({ "@context": OPENVEX, "@id": format!("https://shop.example/vex/{vulnerability}"), "author": "Shop", "statements": [{
        "vulnerability": { "name": vulnerability }, "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
        "products": [{ "@id": format!("pkg:oci/web@{}", digest.replace(':', "%3A")), "subcomponents": [{ "@id": "pkg:npm/lodash" }] }] }] })
}

/// A layer of an attestation's manifest, with its annotation.
fn layer(blob: &Blob, predicate_type: &str) -> Value {
    let mut layer = blob.descriptor();
    layer["annotations"] =
        json!({ "predicateType": predicate_type, "dev.cosignproject.cosign/signature": "" });
    layer
}

/// A manifest of `cosign attest`, under its tag.
async fn att(pusher: &Pusher, digest: &str, layers: &[(Blob, &str)]) {
    let config = Blob::new("application/vnd.oci.image.config.v1+json", "{}");
    pusher.blob("shop/web", &config).await.unwrap();
    for (blob, _) in layers {
        pusher.blob("shop/web", blob).await.unwrap();
    }
    let layers: Vec<Value> = layers.iter().map(|(blob, kind)| layer(blob, kind)).collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(), "layers": layers });
    let tag = format!("{}.att", digest.replace(':', "-"));
    pusher.manifest("shop/web", &tag, &Blob::new(media_type, manifest.to_string())).await.unwrap();
}

fn ids(list: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> =
        list.as_array().unwrap().iter().map(|row| row["vulnerability"]["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn attestations_beside_an_image_count_when_a_trusted_key_signed_them() {
    crate::fleet::run(async {
        let registry = match RealRegistry::start(RealOptions::default()).await {
            Ok(registry) => registry,
            Err(RegistryError::NotInstalled { .. }) if std::env::var_os("CI").is_none() => return,
            Err(error) => panic!("{error}"),
        };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (shop, other) = (Signer::new(), Signer::new());
        std::fs::write(at("shop.pub"), shop.pem()).unwrap();
        std::fs::write(at("other.pub"), other.pem()).unwrap();
        let host = registry.host();
        std::fs::write(
            at("plimsoll.yaml"),
            format!("registries: [{{host: \"{host}\", plain_http: true}}]\n"),
        )
        .unwrap();
        let run = |words: Vec<String>| async {
            let command = command(words);
            tokio::task::spawn_blocking(move || finish(command, "")).await.unwrap()
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let feeds = demo_feeds().display().to_string();
        let built = run(words(&["db", "build", "--from", &feeds, "--out", &at("a.db")])).await;
        assert_eq!(built.code, 0, "{}", built.err);
        let app = of_npm("web", "lodash", "4.17.11");
        let pusher = Pusher::new(registry.url(), None).unwrap();
        pusher.image("shop/web", "1", &app).await.unwrap();
        let (image, digest) = (format!("{host}/shop/web:1"), app.digest().to_owned());
        let scan = |more: &[&str]| {
            let mut all =
                words(&["scan", &image, "--db", &at("a.db"), "--config", &at("plimsoll.yaml"), "-o", "json"]);
            all.extend(words(more));
            run(all)
        };
        let of = |done: Done| {
            assert_eq!(done.code, 0, "{}", done.err);
            let report = done.json();
            let ids = |name: &str| ids(&report[name]).into_iter().map(str::to_owned).collect::<Vec<_>>();
            (ids("findings"), ids("suppressed"))
        };
        let (both, one): (Vec<_>, Vec<_>) = (
            vec!["CVE-2020-8203".to_owned(), "CVE-2021-23337".to_owned()],
            vec!["CVE-2021-23337".to_owned()],
        );
        // Nothing lies there yet.
        let trusted = ["--vex", "oci", "--vex-key", &at("shop.pub")];
        assert_eq!(of(scan(&trusted).await), (both.clone(), vec![]));

        // As cosign puts it: several attestations under one tag, of which one is of VEX.
        let wrong = shop.attests(&digest, "https://slsa.dev/provenance/v1", &json!({ "builder": "x" }));
        let first = shop.attests(&digest, OPENVEX, &vex("CVE-2020-8203", &digest));
        let stranger = other.attests(&digest, OPENVEX, &vex("CVE-2021-23337", &digest));
        att(
            &pusher,
            &digest,
            &[
                (Blob::new(DSSE, wrong), "https://slsa.dev/provenance/v1"),
                (Blob::new(DSSE, first), OPENVEX),
                (Blob::new(DSSE, stranger), OPENVEX),
            ],
        )
        .await;
        let done = scan(&trusted).await;
        assert!(done.err.contains("warning signature_invalid: 1"), "{}", done.err);
        assert_eq!(of(done), (one.clone(), vec!["CVE-2020-8203".to_owned()]));
        // Somebody else's key is somebody else's word; both keys are both.
        let done = scan(&["--vex", "oci", "--vex-key", &at("other.pub")]).await;
        assert_eq!(of(done), (vec!["CVE-2020-8203".to_owned()], one.clone()));
        let done = scan(&["--vex", "oci", "--vex-key", &at("shop.pub"), &at("other.pub")]).await;
        assert_eq!(of(done), (vec![], both.clone()));
        // Without a key nothing that lies there counts, and that is an error.
        let done = scan(&["--vex", "oci"]).await;
        assert!(done.code == 2 && done.err.starts_with("error vex_keys_missing: "), "{}", done.err);

        // As a referrer; this registry lists none, so it is listed under a tag. An attestation about another image, that
        // a trusted issuer signed, says nothing of this one.
        let mut entry = Registry::anonymous(&host);
        entry.plain_http = true;
        let registries = Registries::new(&[entry]).unwrap();
        let elsewhere = shop.attests(
            &format!("sha256:{}", "ab".repeat(32)),
            OPENVEX,
            &vex("CVE-2021-23337", "sha256:00"),
        );
        let signed = shop.attests(&digest, OPENVEX, &vex("CVE-2021-23337", &digest));
        for (bytes, expected) in [(elsewhere, one.clone()), (signed, vec![])] {
            let artifact = Artifact {
                artifact_type: DSSE.to_owned(),
                parts: vec![Part {
                    media_type: DSSE.to_owned(),
                    bytes: bytes.into(),
                    annotations: BTreeMap::new(),
                }],
                annotations: BTreeMap::from([("predicateType".to_owned(), OPENVEX.to_owned())]),
                subject: Some(Descriptor {
                    media_type: app.root().media_type.clone(),
                    digest: digest.parse().unwrap(),
                    size: app.root().size(),
                    annotations: BTreeMap::new(),
                    artifact_type: None,
                }),
            };
            registries.push(&host, "shop/web", None, &artifact).await.unwrap();
            assert_eq!(of(scan(&trusted).await).0, expected);
        }
        // Who says so is shown.
        let done = scan(&trusted).await.json();
        let by = &done["suppressed"][0]["suppressions"][0];
        assert_eq!((&by["issuer"], &by["signed_by"]), (&json!("Shop"), &json!("shop.pub")), "{by}");

        // What is not in a registry has nothing beside it.
        app.to_layout(&dir.path().join("layout"), "1").unwrap();
        let layout = format!("oci:{}", at("layout"));
        let done = run(words(&[&["scan", &layout, "--db", &at("a.db")], &trusted[..]].concat())).await;
        assert!(done.code == 2 && done.err.starts_with("error usage: "), "{}", done.err);
    });
}
