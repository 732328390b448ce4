//! Scanning the SBOM of an image finds exactly what scanning the image finds, through CycloneDX, SPDX and syft-json.

use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_testkit::image::elf::go_binary;
use plimsoll_testkit::image::{Compression, ImageBuilder, Layer, content};
use serde_json::{Value, json};

fn plimsoll(words: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    for name in ["PLIMSOLL_CONFIG", "PLIMSOLL_DB", "PLIMSOLL_DATA", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Findings with all that they say, but for the files and layers of packages: not every format has those.
fn findings(target: &str, db: &str) -> (Vec<Value>, Value) {
    let report: Value =
        serde_json::from_slice(&plimsoll(&["scan", target, "--db", db, "-o", "json"])).unwrap();
    let mut findings = report["findings"].as_array().unwrap().clone();
    for finding in &mut findings {
        // The rank of two runs differs by the age of the vulnerability.
        finding["assessment"]["rank"] = Value::Null;
        for component in finding["components"].as_array_mut().unwrap() {
            for place in ["locations", "introduced"] {
                component.as_object_mut().unwrap().remove(place);
            }
        }
    }
    findings
        .sort_by_key(|finding| (finding["vulnerability"]["id"].to_string(), finding["package"].to_string()));
    (findings, report["uncovered"].clone())
}

/// The Sbom as Syft would write it.
fn syft_json(sbom: &[u8]) -> Vec<u8> {
    let sbom: Value = serde_json::from_slice(sbom).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let at = |purl: &Value| components.iter().position(|component| component["purl"] == *purl);
    let (mut artifacts, mut relationships) = (Vec::new(), Vec::new());
    for (n, component) in components.iter().enumerate() {
        let places = component["locations"].as_array().unwrap().iter();
        let locations: Vec<Value> = places
            .map(|place| place["path"].as_str().unwrap().split("!/").next().unwrap())
            .map(|path| json!({"path": format!("/{path}"), "annotations": {"evidence": "primary"}}))
            .collect();
        let virtual_path = component["locations"][0]["path"].as_str().unwrap_or("").replace("!/", ":");
        let low = component["confidence"] == "low";
        artifacts.push(json!({
            "id": n.to_string(),
            "name": component["display_name"],
            "version": component["key"]["version"],
            "foundBy": if low { "binary-classifier-cataloger" } else { "some-cataloger" },
            "locations": locations,
            "licenses": [],
            "purl": component["purl"],
            "metadata": {"virtualPath": format!("/{virtual_path}"), "maintainer": component["supplier"]},
        }));
        let mut relate = |parent: &Value, kind: &str| {
            let Some(parent) = at(parent) else { return };
            relationships.push(json!({"parent": parent.to_string(), "child": n.to_string(), "type": kind}));
        };
        relate(&component["owned_by"], "ownership-by-file-overlap");
        component["depends_on"].as_array().unwrap().iter().for_each(|on| relate(on, "dependency-of"));
    }
    let release = &sbom["distribution"]["release"];
    let document = json!({
        "artifacts": artifacts, "artifactRelationships": relationships,
        "source": {"type": "image", "name": sbom["name"], "metadata": {"userInput": sbom["name"], "manifestDigest": sbom["image"]}},
        "distro": {"id": release["id"], "versionID": release["version"], "prettyName": sbom["distribution"]["pretty_name"]},
        "descriptor": {"name": "syft"}, "schema": {"version": "16.0.18"},
    });
    serde_json::to_vec(&document).unwrap()
}

/// Compares the scans of one image; gives the number of findings.
fn same(image: &str, db: &str, folder: &Path) -> usize {
    let (expected, uncovered) = findings(image, db);
    for format in ["cyclonedx-json", "spdx-json", "spdx-tag-value", "json", "syft-json"] {
        let file = folder.join(format!("{format}.sbom"));
        let document = match format {
            "syft-json" => syft_json(&plimsoll(&["sbom", image, "-o", "json"])),
            format => plimsoll(&["sbom", image, "-o", format]),
        };
        std::fs::write(&file, document).unwrap();
        let (found, also_uncovered) = findings(&format!("sbom:{}", file.display()), db);
        let name = |f: &Value| format!("{} {}", f["vulnerability"]["id"], f["package"]);
        let (a, b): (Vec<_>, Vec<_>) =
            (expected.iter().map(name).collect(), found.iter().map(name).collect());
        let lost: Vec<_> = a.iter().filter(|f| !b.contains(f)).collect();
        let new: Vec<_> = b.iter().filter(|f| !a.contains(f)).collect();
        assert!(lost.is_empty() && new.is_empty(), "{image} {format}: lost {lost:?}, new {new:?}");
        for (a, b) in expected.iter().zip(&found) {
            assert_eq!(a, b, "{image} {format}");
        }
        assert_eq!(uncovered, also_uncovered, "{image} {format}");
    }
    expected.len()
}

fn advisory(id: &str, ecosystem: &str, name: &str, fixed: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"2024-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]}}]}}]}}"#
    )
}

#[test]
fn an_sbom_is_as_good_as_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = dir.path().join("feeds");
    std::fs::create_dir(&feeds).unwrap();
    for (n, (ecosystem, name, fixed)) in [
        // By source package and version, whatever the binary's are.
        ("Debian:12", "glibc", "2.36-9+deb12u9"),
        ("Debian:12", "bash", "9"),
        ("npm", "@babel/core", "8.0.0"),
        ("npm", "lodash", "4.17.21"),
        ("PyPI", "zope-interface", "6.0"),
        ("Go", "golang.org/x/net", "0.30.0"),
        ("Alpine:v3.18", "openssl", "3.1.9-r0"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("CVE-2024-{}", 1000 + n);
        std::fs::write(feeds.join(format!("{id}.json")), advisory(&id, ecosystem, name, fixed)).unwrap();
    }
    let db = dir.path().join("a.db").display().to_string();
    plimsoll(&["db", "build", "--from", &feeds.display().to_string(), "--out", &db]);
    let debian = Layer::new()
        .file("etc/os-release", content::os_release("debian", "12"))
        .file(
            "var/lib/dpkg/status",
            content::dpkg_status(&[
                ("libc6", "2.36-9+b4", "glibc (2.36-9+deb12u4)", "amd64"),
                ("bash", "5.2.15-2+b2", "bash", "amd64"),
                ("python3-zope", "5.5", "zope", "amd64"),
            ]),
        )
        .file(
            "var/lib/dpkg/info/python3-zope.list",
            "/usr/lib/python3/dist-packages/zope.interface-5.5.dist-info/METADATA\n",
        )
        // Owned by the distribution's package, and not.
        .file(
            "usr/lib/python3/dist-packages/zope.interface-5.5.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: zope.interface\nVersion: 5.5\n",
        )
        .file(
            "opt/app/zope.interface-5.4.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: Zope_Interface\nVersion: 5.4\n",
        );
    let apps = Layer::new()
        .file("app/node_modules/lodash/package.json", content::npm_package_json("lodash", "4.17.20"))
        .file("app/node_modules/@babel/core/package.json", content::npm_package_json("@babel/core", "7.0.0"))
        .file(
            "usr/bin/app",
            go_binary("go1.21.4", "path\texample.com/app\nmod\texample.com/app\t(devel)\t\ndep\tgolang.org/x/net\tv0.17.0\th1:x=\n"),
        );
    let alpine = Layer::new()
        .file("etc/os-release", content::os_release("alpine", "3.18.4"))
        .file("lib/apk/db/installed", "P:libssl3\nV:3.1.4-r0\nA:x86_64\no:openssl\n\n");
    for (name, layers, least) in [("debian", vec![debian, apps], 6), ("alpine", vec![alpine], 1)] {
        let image = layers
            .into_iter()
            .fold(ImageBuilder::new(), |b, l| b.layer(l, Compression::Gzip))
            .build()
            .unwrap();
        let layout = dir.path().join(name);
        image.to_layout(&layout, "1").unwrap();
        let found = same(&format!("oci:{}", layout.display()), &db, dir.path());
        assert_eq!(found, least, "{name}");
    }
}

/// The images of the corpus that `PLIMSOLL_CORPUS` names, against the shared advisories or the Db in `PLIMSOLL_TEST_DB`.
#[test]
fn real_images_are_found_again_in_their_sboms() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/advisories");
    let corpus = std::env::var_os("PLIMSOLL_CORPUS").map(PathBuf::from);
    let Some(corpus) = corpus.filter(|_| shared.exists()) else {
        eprintln!("skipped: PLIMSOLL_CORPUS names no images, or there are no shared advisories");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let db = match std::env::var("PLIMSOLL_TEST_DB") {
        Ok(db) => db,
        Err(_) => {
            let db = dir.path().join("shared.db").display().to_string();
            let from = ["osv", "debian", "secdb"].map(|name| shared.join(name).display().to_string());
            let mut words = vec!["db", "build", "--out", &db, "--from"];
            words.extend(from.iter().map(String::as_str));
            plimsoll(&words);
            db
        }
    };
    for image in std::fs::read_dir(corpus.join("images")).unwrap() {
        let image = image.unwrap().path();
        let found = same(&format!("oci:{}", image.display()), &db, dir.path());
        eprintln!("{}: {found} findings", image.display());
    }
}
