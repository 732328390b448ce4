//! SBOMs beyond a list of packages: base images, secrets, documents attached to images.

use std::process::Command;

use plimsoll_testkit::image::content::{dpkg_status, os_release};
use plimsoll_testkit::image::{Compression, ImageBuilder, Layer};
use plimsoll_testkit::registry::Pusher;
use serde_json::{Value, json};

use crate::fleet::{run, until};
use crate::world::{debian, image, npm, world};

fn says(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    for name in ["PLIMSOLL_CONFIG", "PLIMSOLL_DB", "PLIMSOLL_DATA", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(words: &[&str]) -> Value {
    serde_json::from_str(&says(words)).unwrap()
}

/// A private key, made here so that nothing finds one in this file.
fn private_key() -> String {
    let alphabet = b"q7Xz2Vb9Kd4Ts1Ym8Rw3Jn6Lf5HcGpQa0ZeUoNi";
    let body: String =
        (0..64_usize).map(|n| char::from(alphabet[(n * n * 7 + n * 11) % alphabet.len()])).collect();
    let label = "RSA PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{body}\n{body}\n-----END {label}-----\n")
}

#[test]
fn secrets_are_found_in_every_layer_and_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let built = ImageBuilder::new()
        .layer(
            Layer::new().file("root/.ssh/id_rsa", private_key()).file("etc/motd", "hello"),
            Compression::Gzip,
        )
        .layer(Layer::new().whiteout("root/.ssh/id_rsa"), Compression::Zstd)
        .layer(Layer::new().file("app/key.pem", format!("first line\n{}", private_key())), Compression::Gzip)
        .build()
        .unwrap();
    built.to_layout(&folder.path().join("app"), "1").unwrap();
    let target = format!("oci:{}", folder.path().join("app").display());
    let plain = json_of(&["sbom", &target, "-o", "json"]);
    assert_eq!(plain.get("secrets"), None, "not looked for unless asked");
    let found = json_of(&["sbom", &target, "-o", "json", "--secrets"]);
    let secret = |path: &str, line: u32, layer: usize, hidden: bool| {
        json!({
            "path": path, "line": line, "rule": "private-key", "excerpt": "-----BEGIN RSA PRIVATE KEY----- ****",
            "layer": built.layers()[layer].digest, "hidden": hidden
        })
    };
    assert_eq!(
        found["secrets"],
        json!([secret("app/key.pem", 2, 2, false), secret("root/.ssh/id_rsa", 1, 0, true)])
    );
    let table = says(&["sbom", &target, "--secrets"]);
    assert!(table.contains("app/key.pem:2") && table.contains("still in the image"), "{table}");
    let body = private_key().lines().nth(1).unwrap().to_owned();
    let all = ["table", "json", "cyclonedx-json", "spdx-json"]
        .map(|form| says(&["sbom", &target, "--secrets", "-o", form]));
    assert!(all.iter().all(|text| !text.contains(&body[..12])));
    // What is written is no document of secrets either: it may be attached to the image.
    assert!(!all[2].contains("id_rsa") && !all[3].contains("id_rsa"));
}

#[test]
fn packages_of_the_base_image_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("oci:{}", folder.path().join(name).display());
    let base = Layer::new().file("etc/os-release", os_release("debian", "12")).file(
        "var/lib/dpkg/status",
        dpkg_status(&[("bash", "5.2", "bash", "amd64"), ("old", "1", "old", "amd64")]),
    );
    let packages =
        [("bash", "5.2", "bash", "amd64"), ("curl", "8", "curl", "amd64"), ("old", "2", "old", "amd64")];
    let upper = Layer::new().file("var/lib/dpkg/status", dpkg_status(&packages));
    let of = |layers: &[&Layer]| {
        let add = |builder: ImageBuilder, layer: &&Layer| builder.layer((*layer).clone(), Compression::Gzip);
        layers.iter().fold(ImageBuilder::new(), add).build().unwrap()
    };
    let (below, above) = (of(&[&base]), of(&[&base, &upper, &npm("app", &[("left-pad", "1.3.0")])]));
    below.to_layout(&folder.path().join("base"), "1").unwrap();
    above.to_layout(&folder.path().join("app"), "1").unwrap();
    let (app, known) = (at("app"), at("base"));
    let found = json_of(&["sbom", &app, "-o", "json", "--base", &known]);
    assert_eq!(found["base"], json!({"name": known, "digest": below.digest(), "layers": 1}));
    let layer = |n: usize| above.layers()[n].digest.clone();
    let origin: Vec<(String, String)> = found["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            (c["display_name"].as_str().unwrap().to_owned(), c["introduced"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [("bash", 0), ("curl", 1), ("old", 1), ("left-pad", 2)];
    assert_eq!(origin, expected.map(|(name, n)| (name.to_owned(), layer(n))));
    let document =
        json_of(&["sbom", &app, "-o", "cyclonedx-json", "--base", &known, "--spec-version", "1.5"]);
    assert_eq!(document["specVersion"], "1.5");
    let of_base = |value: &Value| value == &json!({"name": "plimsoll:origin", "value": "base"});
    let named: Vec<&Value> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["properties"].as_array().is_some_and(|all| all.iter().any(of_base)))
        .map(|c| &c["name"])
        .collect();
    assert_eq!(named, [&json!("bash")]);
    // An image is not its own base, and one that only begins alike is none.
    assert_eq!(json_of(&["sbom", &app, "-o", "json", "--base", &app]).get("base"), None);
    assert_eq!(json_of(&["sbom", &known, "-o", "json", "--base", &app]).get("base"), None);
    // What is written as tag-value is read as what was scanned.
    let path = folder.path().join("app.spdx").display().to_string();
    says(&["sbom", &app, "-o", "spdx-tag-value", "--out", &path]);
    let differs = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["sbom", "--diff", &app, &format!("sbom:{path}")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&differs.stdout), "no difference\n");
}

#[test]
fn a_document_that_is_attached_starts_nothing() {
    run(async {
        let world = world().await;
        let Some(real) = &world.real else {
            assert!(std::env::var_os("CI").is_none(), "docker-registry is not installed");
            return;
        };
        let fleet = &world.fleet;
        let built = image([
            debian(&[("bash", "5.2.15-2+b2", "bash")]),
            npm("attached", &[("left-pad", "1.3.0")]).file("attached/key.pem", private_key()),
        ]);
        Pusher::new(real.url(), None).unwrap().image("attached/app", "1", &built).await.unwrap();
        fleet.scanned(built.digest()).await;
        let reference = format!("{}/attached/app:1", real.host());
        let said = fleet.says(&["sbom", &reference, "--push"]).await;
        let tag = built.digest().replace(':', "-");
        assert!(
            said.contains(&format!("refers to {}, listed under the tag {tag}", built.digest())),
            "{said}"
        );
        let pushed = said.split('@').nth(1).unwrap().split(' ').next().unwrap().to_owned();
        // The registry tells of the artifact and of the list: both come to their end as what they are.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let list = http
            .head(format!("{}/v2/attached/app/manifests/{tag}", real.url()))
            .header("accept", "application/vnd.oci.image.index.v1+json")
            .send()
            .await
            .unwrap();
        let list = list.headers()["docker-content-digest"].to_str().unwrap().to_owned();
        for digest in [&pushed, &list] {
            until(&format!("{digest} to be known as no image"), async || {
                let (_, status) = fleet.get(&format!("/v1/images/{digest}/status")).await;
                (status["state"] == "not_an_image").then_some(())
            })
            .await;
        }
        assert_eq!(fleet.failures("attached/app").await, Vec::<Value>::new());
        let dead: Vec<_> =
            world.dead.all().into_iter().filter(|m| m.body.to_string().contains("attached/app")).collect();
        assert!(dead.is_empty(), "{dead:?}");
        // The same again is the same.
        assert_eq!(fleet.says(&["sbom", &reference, "--push"]).await, said);
        // Secrets are looked for here, and told without the secret.
        let (code, found) = fleet.get(&format!("/v1/images/{}/secrets", built.digest())).await;
        assert_eq!((code, &found["looked"]), (200, &json!(true)));
        assert_eq!(found["secrets"][0]["path"], "attached/key.pem", "{found}");
        for (query, kind) in [
            ("", "application/vnd.cyclonedx+json; version=1.6"),
            ("?version=1.5", "application/vnd.cyclonedx+json; version=1.5"),
            ("?format=spdx-json", "application/spdx+json"),
            ("?format=spdx-tag-value", "text/spdx; charset=utf-8"),
        ] {
            let url = format!("{}/v1/images/{}/sbom{query}", fleet.url, built.digest());
            let answer = http.get(url).bearer_auth(crate::fleet::TOKEN).send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], kind);
        }
    });
}
