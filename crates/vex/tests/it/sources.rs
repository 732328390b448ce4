//! Trust, signatures, repositories.

use std::fs;
use std::io::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_vex::{Collected, Key, Trust, VexError, load};
use serde_json::json;

use crate::formats::collected;

const VEX: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"v","author":"Example","statements":[
  {"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/lodash@4.17.20"}],"status":"not_affected"}]}"#;

fn pem(prefix: &[u8], key: &[u8]) -> String {
    let body = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn envelope(kind: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> serde_json::Value {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload.as_bytes());
    json!({ "payloadType": kind, "payload": STANDARD.encode(payload), "signatures": [{ "keyid": "", "sig": STANDARD.encode(sign(&message)) }] })
}

const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[test]
fn signed_documents() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    let key = Key::parse("release.pub", &pem(P256, pair.public_key().as_ref())).unwrap();
    let other = Ed25519KeyPair::generate().unwrap();
    let other_key = Key::parse("other.pub", &pem(ED, other.public_key().as_ref())).unwrap();
    let trust =
        |keys: &[&Key]| Trust { keys: keys.iter().map(|k| (*k).clone()).collect(), ..Trust::default() };
    let digest = "ab".repeat(32);
    let statement = json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://openvex.dev/ns/v0.2.0",
        "subject": [{ "name": "r.example/app", "digest": { "sha256": digest } }], "predicate": serde_json::from_str::<serde_json::Value>(VEX).unwrap() });
    let signed = envelope("application/vnd.in-toto+json", &statement.to_string(), sign);

    let out = collected(&signed.to_string(), &trust(&[&other_key, &key]));
    assert_eq!(out.statements.len(), 1, "{:?}", out.report);
    let one = &out.statements[0];
    assert_eq!((one.signed_by.as_str(), one.issuer.as_str()), ("release.pub", "Example"));
    let image = one.products[0].image.as_ref().expect("it holds for the image that it is attached to");
    assert_eq!(image.digest.as_ref().unwrap().as_str(), format!("sha256:{digest}"));

    // A bundle, and several a line.
    let bundle =
        json!({ "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": signed });
    assert_eq!(collected(&bundle.to_string(), &trust(&[&key])).statements.len(), 1);
    let lines = format!("{signed}\n{signed}\n");
    assert_eq!(collected(&lines, &trust(&[&key])).statements.len(), 1, "the same twice is once");
    // Ed25519 as well.
    let by_other = envelope("application/vnd.openvex+json", VEX, |m| other.sign(m).as_ref().to_vec());
    assert_eq!(collected(&by_other.to_string(), &trust(&[&other_key])).statements[0].signed_by, "other.pub");

    for (text, keys, reason) in [
        (signed.to_string(), vec![&other_key], "signature_invalid"),
        (VEX.to_owned(), vec![&key], "signature_missing"),
        (
            {
                let mut changed = signed.clone();
                let payload = statement.to_string().replace("not_affected", "under_investigation");
                changed["payload"] = json!(STANDARD.encode(payload));
                changed.to_string()
            },
            vec![&key],
            "signature_invalid",
        ),
        (
            {
                let mut changed = signed.clone();
                changed["payloadType"] = json!("application/vnd.openvex+json");
                changed.to_string()
            },
            vec![&key],
            "signature_invalid",
        ),
    ] {
        let out = collected(&text, &trust(&keys));
        assert_eq!(
            (out.statements.len(), out.report.left_out.get(reason)),
            (0, Some(&1)),
            "{:?}",
            out.report
        );
    }
    assert_eq!(Key::parse("x", "no key"), None);
    assert_eq!(Key::parse("x", &pem(P256, &[4; 10])), None);
}

#[test]
fn authors_and_names() {
    let trust = Trust { authors: vec!["Somebody".into()], ..Trust::default() };
    let out = collected(VEX, &trust);
    assert_eq!((out.statements.len(), out.report.left_out["author_untrusted"]), (0, 1));
    let trust = Trust { authors: vec!["Example".into()], issuer: "vendor".into(), ..Trust::default() };
    assert_eq!(collected(VEX, &trust).statements[0].issuer, "vendor");
}

#[test]
fn directories_and_repositories() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("pkg/npm/lodash")).unwrap();
    fs::write(root.join("pkg/npm/lodash/vex.json"), VEX).unwrap();
    fs::write(root.join("other.json"), "{}").unwrap();
    let all = |path: &std::path::Path| {
        let mut out = Collected::default();
        load(path, &Trust::default(), &mut out).map(|()| out)
    };
    let plain = all(root).unwrap();
    assert_eq!((plain.statements.len(), plain.report.left_out["format_unknown"]), (1, 1));

    let index = json!({ "packages": [
        { "id": "pkg:npm/lodash", "location": "pkg/npm/lodash/vex.json" },
        { "id": "pkg:npm/minimist", "location": "pkg/npm/lodash/vex.json" },
        { "id": "pkg:npm/x", "location": "../outside.json" },
        { "id": "pkg:npm/y", "location": "gone.json" } ] });
    fs::write(root.join("index.json"), index.to_string()).unwrap();
    let hub = all(root).unwrap();
    assert_eq!(hub.statements.len(), 1, "a document counts for the package under which it is filed");
    for reason in ["product_elsewhere", "hub_location", "hub_document_missing"] {
        assert_eq!(hub.report.left_out.get(reason), Some(&1), "{:?}", hub.report);
    }

    let archive = root.join("hub.tar.gz");
    let file = fs::File::create(&archive).unwrap();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    for (name, text) in
        [("vexhub-main/index.json", index.to_string()), ("vexhub-main/pkg/npm/lodash/vex.json", VEX.into())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
    let packed = all(&archive).unwrap();
    assert_eq!(packed.statements, hub.statements);

    assert!(matches!(all(&root.join("other.json")), Err(VexError::Unknown(_))));
    assert!(matches!(all(&root.join("none")), Err(VexError::Io { .. })));
}
