//! Documents written and read back, and those of other tools.

use std::io::Write as _;
use std::process::{Command, Stdio};

use plimsoll_model::extract::{Anomaly, Partial};
use plimsoll_model::package::SourcePackage;
use plimsoll_model::sbom::{Base, Component, Confidence, Distribution, LayerInfo, Location};
use plimsoll_model::{ComponentKey, Digest, Ecosystem, PackageKey, Platform, Release, Sbom, Timestamp};
use plimsoll_sbom::cyclonedx::{self, Options, SpecVersion};
use plimsoll_sbom::{diff, document, purl_of_component, spdx, syft};
use proptest::prelude::*;

use crate::images::image;

pub(crate) const VERSIONS: [SpecVersion; 3] = [SpecVersion::V1_5, SpecVersion::V1_6, SpecVersion::V1_7];

fn a_key() -> impl Strategy<Value = ComponentKey> {
    let version = "[0-9][0-9a-z.+~:-]{0,6}";
    prop_oneof![
        ("[a-z][a-z0-9+.-]{0,6}", version, "[a-z][a-z0-9+.-]{0,6}", version, "[a-z0-9]{0,3}").prop_map(
            |(name, version, source, source_version, arch)| ComponentKey {
                stream: String::new(),
                package: PackageKey {
                    ecosystem: Ecosystem::Deb,
                    release: Some(Release { id: "debian".into(), version: "12".into() }),
                    name,
                },
                version,
                source: Some(SourcePackage { name: source, version: source_version }),
                arch,
            }
        ),
        any_key(),
        ("(@[a-z]{1,3}/)?[a-z]{1,4}", version).prop_map(|(name, version)| ComponentKey {
            stream: String::new(),
            package: PackageKey { ecosystem: Ecosystem::Npm, release: None, name },
            version,
            source: None,
            arch: String::new(),
        }),
    ]
}

/// Any texts at all: what no package URL can say as well.
fn any_key() -> impl Strategy<Value = ComponentKey> {
    let ecosystem = proptest::sample::select(Ecosystem::ALL.to_vec());
    let release = proptest::option::of(("[a-z]{1,3}", ".{0,3}"));
    let source = proptest::option::of((".{1,4}", ".{0,4}"));
    (ecosystem, release, ".{1,6}", ".{0,5}", source, "[a-z |%]{0,3}", "[a-z: ]{0,3}").prop_map(
        |(ecosystem, release, name, version, source, arch, stream)| ComponentKey {
            package: PackageKey {
                ecosystem,
                release: release.map(|(id, version)| Release { id, version }),
                name,
            },
            version,
            source: source.map(|(name, version)| SourcePackage { name, version }),
            arch,
            stream,
        },
    )
}

fn a_component() -> impl Strategy<Value = Component> {
    let location = ("[a-z/]{1,8}", proptest::option::of(0u8..3));
    (
        a_key(),
        ".{0,8}",
        proptest::collection::btree_set(location, 0..4),
        proptest::collection::btree_set(
            prop_oneof![Just("MIT".to_owned()), Just("MIT OR Apache-2.0".to_owned()), "[A-Za-z ]{1,6}"],
            0..3,
        ),
        proptest::option::of("pkg:deb/[a-z]{1,4}"),
        any::<bool>(),
        "[^\u{0}]{0,6}",
        proptest::option::of(0u8..3),
    )
        .prop_map(|(key, name, locations, licenses, owned_by, low, supplier, introduced)| Component {
            purl: purl_of_component(&key).to_string(),
            display_name: if name.is_empty() { key.package.name.clone() } else { name },
            key,
            locations: locations
                .into_iter()
                .map(|(path, layer)| Location { path, layer: layer.map(digest) })
                .collect(),
            licenses: licenses.into_iter().collect(),
            owned_by,
            confidence: if low { Confidence::Low } else { Confidence::High },
            supplier,
            found_by: "dpkg".to_owned(),
            depends_on: Vec::new(),
            introduced: introduced.map(digest),
        })
}

fn digest(n: u8) -> Digest {
    Digest::from_sha256(&[n; 32])
}

prop_compose! {
    pub(crate) fn an_sbom()(components in proptest::collection::vec(a_component(), 0..6), links in proptest::collection::vec((0usize..6, 0usize..6), 0..6),
                 image in proptest::option::of(0u8..3), layers in proptest::collection::vec(".{0,5}", 0..12), name in ".{0,6}",
                 texts in proptest::collection::vec((".{0,4}", ".{0,4}", ".{0,4}"), 0..4), distribution in any::<bool>()) -> Sbom {
        let mut components: Vec<Component> = components;
        components.sort_by(|a, b| a.key.cmp(&b.key));
        components.dedup_by(|a, b| a.key == b.key);
        components.sort_by(|a, b| (&a.purl, &a.locations, &a.key).cmp(&(&b.purl, &b.locations, &b.key)));
        for (from, to) in links {
            if from < components.len() && to < components.len() && from != to {
                let purl = components[to].purl.clone();
                components[from].depends_on.push(purl);
            }
        }
        for component in &mut components {
            component.locations.sort();
            component.depends_on.sort();
            component.depends_on.dedup();
        }
        let mut sbom = Sbom {
            image: image.map(digest),
            name,
            platform: Some(Platform { os: "linux".into(), architecture: "arm".into(), variant: Some("v7".into()) }),
            distribution: distribution.then(|| Distribution {
                release: Release { id: "debian".into(), version: "12".into() }, codename: "bookworm".into(), pretty_name: "Debian".into(), like: vec!["a".into(), "b".into()],
            }),
            layers: layers.into_iter().enumerate().map(|(n, created_by)| LayerInfo { digest: digest(n as u8), created_by }).collect(),
            components,
            anomalies: texts.iter().cloned().map(|(code, path, detail)| Anomaly { code, path, detail }).collect(),
            partial: texts.iter().cloned().map(|(code, _, detail)| Partial { code, detail }).collect(),
            labels: texts.into_iter().map(|(name, value, _)| (name, value)).collect(),
            base: image.map(|n| Base { name: "a/b:1".into(), digest: digest(n), layers: 2 }),
            secrets: Vec::new(),
        };
        sbom.anomalies.sort();
        sbom.anomalies.dedup();
        sbom.partial.sort();
        sbom.partial.dedup();
        sbom.labels.sort();
        sbom
    }
}

type Decisive = (ComponentKey, Vec<String>, Option<String>, Confidence);

/// What of the components decides about findings.
fn decisive(sbom: &Sbom) -> Vec<Decisive> {
    let one = |c: &Component| (c.key.clone(), c.depends_on.clone(), c.owned_by.clone(), c.confidence);
    let mut all: Vec<Decisive> = sbom.components.iter().map(one).collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn cyclonedx_reads_back_equal(sbom in an_sbom(), pretty in any::<bool>()) {
        for version in VERSIONS {
            let written = cyclonedx::write(&sbom, &Options { version, pretty, timestamp: None });
            prop_assert_eq!(&cyclonedx::read(&written).unwrap(), &sbom);
            prop_assert_eq!(&document::read(&written).unwrap(), &sbom);
        }
    }

    #[test]
    fn spdx_keeps_identities(sbom in an_sbom()) {
        let read = document::read(&spdx::write(&sbom, None, false)).unwrap();
        prop_assert_eq!(decisive(&read), decisive(&sbom));
        prop_assert_eq!(&read.image, &sbom.image);
        prop_assert_eq!(read.inside(), sbom.inside());
        let read = document::read(&spdx::write_tag_value(&sbom, None)).unwrap();
        prop_assert_eq!(decisive(&read), decisive(&sbom));
        prop_assert_eq!(&read.image, &sbom.image);
        prop_assert_eq!(read.inside(), sbom.inside());
    }

    #[test]
    fn any_tag_value_is_read_or_refused(text in "SPDXVersion: SPDX-2.3\n((PackageName|LicenseID|ExternalRef|SPDXID|Relationship|ExtractedText|FileName): (<text>)?[a-z /:@\n]{0,12}(</text>)?\n){0,9}") {
        let _ = document::read(text.as_bytes());
    }

    #[test]
    fn own_json_reads_back_equal(sbom in an_sbom()) {
        prop_assert_eq!(document::read(&serde_json::to_vec(&sbom).unwrap()).unwrap(), sbom);
    }

    #[test]
    fn any_json_is_read_or_refused(text in r#"\{"(bomFormat|spdxVersion|artifacts)":"(CycloneDX|SPDX-2.3)","(specVersion|packages|schema)":("1.6"|\[\{"externalRefs":\[1\]\}\]|null),"components":(\[\{"purl":"[a-z:/@%]{0,9}"\}\]|1)\}"#) {
        let _ = document::read(text.as_bytes());
    }
}

/// Found by fuzzing: 35 components became 34, because two identities had one package URL, or one had a longer package
/// URL than is read.
#[test]
fn spdx_keeps_identities_that_no_package_url_tells() {
    let key = |ecosystem, name: &str, source: Option<&str>| ComponentKey {
        package: PackageKey { ecosystem, release: None, name: name.to_owned() },
        version: "1".to_owned(),
        source: source.map(|name| SourcePackage { name: name.to_owned(), version: "1".to_owned() }),
        arch: String::new(),
        stream: String::new(),
    };
    let mut sbom = image();
    let keys = [
        key(Ecosystem::Opkg, "kernel", None),
        key(Ecosystem::Opkg, "kernel", Some("kernel")),
        key(Ecosystem::Npm, "a//b", None),
        key(Ecosystem::Npm, "a/b", None),
        key(Ecosystem::Pypi, "A_b", None),
        key(Ecosystem::Npm, &"long name ".repeat(1000), None),
        // The image has a distribution, and this is of none.
        key(Ecosystem::Deb, "stray", Some("stray")),
    ];
    let like = sbom.components[0].clone();
    sbom.components.extend(keys.into_iter().map(|key| Component {
        purl: purl_of_component(&key).to_string(),
        key,
        ..like.clone()
    }));
    let all = |sbom: &Sbom| {
        let mut keys: Vec<ComponentKey> = sbom.components.iter().map(|c| c.key.clone()).collect();
        keys.sort();
        keys
    };
    for written in [spdx::write(&sbom, None, true), spdx::write_tag_value(&sbom, None)] {
        assert_eq!(all(&document::read(&written).unwrap()), all(&sbom));
    }
    // What a package URL tells is not told twice.
    let written = String::from_utf8(spdx::write(&image(), None, false)).unwrap();
    assert!(!written.contains("plimsoll-key"));
}

#[test]
fn an_image_survives_cyclonedx() {
    let sbom = image();
    let options = Options { pretty: true, ..Options::default() };
    let written = cyclonedx::write(&sbom, &options);
    assert_eq!(cyclonedx::read(&written).unwrap(), sbom);
    assert_eq!(cyclonedx::write(&sbom, &options), written);
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("cyclonedx-1.6", String::from_utf8(written).unwrap());
        insta::assert_snapshot!("spdx-2.3-tag-value", String::from_utf8(spdx::write_tag_value(&sbom, Some(Timestamp(1_700_000_000_123)))).unwrap());
        insta::assert_snapshot!("spdx-2.3", String::from_utf8(spdx::write(&sbom, Some(Timestamp(1_700_000_000_123)), true)).unwrap());
    });
}

/// The minimum elements of NTIA (2021), in each form: supplier, name, version, another identifier, dependency
/// relationship, author of the data, timestamp.
#[test]
fn documents_have_the_minimum_elements() {
    let sbom = image();
    let at = Some(Timestamp(1_700_000_000_000));
    let stated = sbom.components.iter().filter(|component| !component.supplier.is_empty()).count();
    assert!(stated > 0 && stated < sbom.components.len());
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let full = |value: &serde_json::Value| value.as_str().is_some_and(|text| !text.is_empty());
    for version in VERSIONS {
        let written = cyclonedx::write(&sbom, &Options { version, timestamp: at, ..Options::default() });
        let bom: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        assert_eq!(bom["metadata"]["tools"]["components"][0]["name"], "plimsoll");
        let components = list(&bom["components"]);
        let packages: Vec<_> = components.iter().filter(|item| item["type"] != "operating-system").collect();
        assert_eq!(packages.len(), sbom.components.len());
        assert!(
            packages
                .iter()
                .all(|item| ["name", "version", "purl", "bom-ref"].iter().all(|m| full(&item[*m])))
        );
        assert_eq!(packages.iter().filter(|item| full(&item["supplier"]["name"])).count(), stated);
        // The image depends on every package.
        let root = &bom["dependencies"][0];
        assert_eq!(root["ref"], bom["metadata"]["component"]["bom-ref"]);
        assert_eq!(list(&root["dependsOn"]).len(), packages.len());
    }
    let document: serde_json::Value = serde_json::from_slice(&spdx::write(&sbom, at, false)).unwrap();
    assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    assert!(document["creationInfo"]["creators"][0].as_str().unwrap().starts_with("Tool: plimsoll-"));
    let of_kind = |purpose: &str| -> Vec<serde_json::Value> {
        let packages = list(&document["packages"]);
        packages.into_iter().filter(|package| package["primaryPackagePurpose"] == purpose).collect()
    };
    let packages = of_kind("LIBRARY");
    assert_eq!(packages.len(), sbom.components.len());
    assert!(packages.iter().all(|package| {
        ["name", "versionInfo", "SPDXID", "supplier"].iter().all(|member| full(&package[*member]))
            && package["externalRefs"][0]["referenceType"] == "purl"
    }));
    assert_eq!(packages.iter().filter(|package| package["supplier"] != "NOASSERTION").count(), stated);
    let contained = list(&document["relationships"]);
    let contained = contained.iter().filter(|relationship| relationship["relationshipType"] == "CONTAINS");
    assert_eq!(contained.count(), packages.len() + of_kind("OPERATING-SYSTEM").len());
}

#[test]
fn serial_numbers_name_the_content() {
    let serial = |sbom: &Sbom, timestamp| {
        let options = Options { timestamp, ..Options::default() };
        let bom: serde_json::Value = serde_json::from_slice(&cyclonedx::write(sbom, &options)).unwrap();
        bom["serialNumber"].as_str().unwrap().to_owned()
    };
    let mut sbom = image();
    let first = serial(&sbom, None);
    assert_eq!(serial(&sbom, Some(Timestamp(5))), first);
    assert_eq!(first.as_bytes()["urn:uuid:xxxxxxxx-xxxx-".len()], b'8');
    sbom.components.pop();
    assert_ne!(serial(&sbom, None), first);
}

#[test]
fn documents_of_trivy_and_syft() {
    let trivy = br#"{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"container","name":"debian:12"}},
      "components":[{"type":"operating-system","name":"debian","version":"12.5","bom-ref":"os"},
        {"type":"library","bom-ref":"a","name":"libc6","version":"2.36-9+b1","purl":"pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&distro=debian-12.5",
         "supplier":{"name":"M"},"licenses":[{"license":{"name":"GPL"}}],
         "properties":[{"name":"aquasecurity:trivy:SrcName","value":"glibc"},{"name":"aquasecurity:trivy:SrcVersion","value":"2.36"},{"name":"aquasecurity:trivy:SrcRelease","value":"9"},
           {"name":"aquasecurity:trivy:LayerDigest","value":"sha256:0101010101010101010101010101010101010101010101010101010101010101"}]},
        {"type":"application","name":"app/package-lock.json","components":[{"type":"library","bom-ref":"b","group":"@babel","name":"core","version":"7.0.0","purl":"pkg:npm/%40babel/core@7.0.0",
           "properties":[{"name":"aquasecurity:trivy:FilePath","value":"app/x/package.json"}]}]},
        {"type":"library","name":"nameless"}],
      "dependencies":[{"ref":"b","dependsOn":["a","os"]}]}"#;
    let sbom = document::read(trivy).unwrap();
    let ids: Vec<String> = sbom.components.iter().map(|component| component.key.id()).collect();
    assert_eq!(ids, ["deb|debian|12|libc6|2.36-9+b1|glibc|2.36-9|amd64", "npm|||@babel/core|7.0.0|||"]);
    assert_eq!(sbom.components[1].depends_on, [sbom.components[0].purl.clone()]);
    assert_eq!(sbom.components[1].locations[0].path, "app/x/package.json");
    assert_eq!(sbom.components[1].display_name, "@babel/core");
    assert_eq!(sbom.partial[0].code, "component_without_purl");
    assert_eq!(sbom.distribution.unwrap().release.to_string(), "debian:12");

    let syft_json = br#"{"artifacts":[{"id":"1","name":"libc6","version":"2.36","purl":"pkg:deb/debian/libc6@2.36?arch=amd64&distro=debian-12&upstream=glibc","foundBy":"dpkg-db-cataloger","locations":[{"path":"/var/lib/dpkg/status"}],"licenses":[{"value":"GPL","spdxExpression":""}],"metadata":{"maintainer":"M"}},
      {"id":"2","name":"six","version":"1.16.0","purl":"pkg:pypi/six@1.16.0","locations":[]},
      {"id":"3","name":"x","version":"1","type":"java-archive","purl":"pkg:maven/g/x@1","locations":[{"path":"/srv/app.war"}],"metadata":{"virtualPath":"/srv/app.war:WEB-INF/lib/y.jar:x.jar"}},
      {"id":"4","name":"redis","version":"7.0.1","type":"binary","foundBy":"binary-classifier-cataloger","purl":"pkg:generic/redis@7.0.1","locations":[{"path":"/bin/redis"}]}],
      "artifactRelationships":[{"parent":"1","child":"2","type":"ownership-by-file-overlap"},{"parent":"1","child":"2","type":"dependency-of"}],
      "source":{"type":"image","metadata":{"userInput":"x:1","manifestDigest":"sha256:0101010101010101010101010101010101010101010101010101010101010101"}},
      "distro":{"id":"debian","versionID":"12","idLike":[]},"schema":{"version":"16.0.0"}}"#;
    let sbom = document::read(syft_json).unwrap();
    assert_eq!(sbom, syft::read(syft_json).unwrap());
    assert_eq!(sbom.name, "x:1");
    assert_eq!(sbom.components[0].key.id(), "deb|debian|12|libc6|2.36|glibc|2.36|amd64");
    let named = |name: &str| sbom.components.iter().find(|component| component.display_name == name).unwrap();
    assert_eq!(named("six").owned_by.as_ref(), Some(&sbom.components[0].purl));
    assert_eq!(named("six").depends_on, [sbom.components[0].purl.clone()]);
    assert_eq!(named("x").locations[0].path, "srv/app.war!/WEB-INF/lib/y.jar!/x.jar");
    assert_eq!((named("redis").confidence, named("x").confidence), (Confidence::Low, Confidence::High));
}

#[test]
fn refused_documents() {
    for (text, code) in [
        ("", "sbom_not_json"),
        ("[]", "sbom_unknown_format"),
        ("{}", "sbom_unknown_format"),
        (r#"{"bomFormat":"x","specVersion":"1.6"}"#, "sbom_unknown_format"),
        (r#"{"bomFormat":"CycloneDX","specVersion":"9"}"#, "sbom_unknown_version"),
        (r#"{"spdxVersion":"SPDX-3.0"}"#, "sbom_unknown_version"),
        (r#"{"components":[],"layers":[]}"#, "sbom_not_json"),
    ] {
        assert_eq!(document::read(text.as_bytes()).unwrap_err().code(), code, "{text}");
    }
}

#[test]
fn differences() {
    let before = image();
    assert!(diff(&before, &before).is_empty());
    let mut after = before.clone();
    let six = after.components.iter_mut().find(|component| component.key.version == "1.17.0").unwrap();
    six.key.version = "1.18.0".to_owned();
    let gone = after.components.remove(0);
    let found = diff(&before, &after);
    assert_eq!(found.removed, std::slice::from_ref(&gone.key));
    assert_eq!(found.changed.len(), 1);
    assert_eq!(found.changed[0].before[0].version, "1.17.0");
    assert_eq!(found.changed[0].after[0].version, "1.18.0");
    assert_eq!(diff(&after, &before).added, [gone.key]);
    assert_eq!(found.distribution, None);

    // Another release of the distribution, with one package that changed.
    let mut after = before.clone();
    after.distribution.as_mut().unwrap().release.version = "13".to_owned();
    let mut upgraded = None;
    for component in &mut after.components {
        if let Some(release) = &mut component.key.package.release {
            release.version = "13".to_owned();
            upgraded.get_or_insert_with(|| component.key.package.name.clone());
            if upgraded.as_ref() == Some(&component.key.package.name) {
                component.key.version.push_str("+1");
            }
        }
    }
    let found = diff(&before, &after);
    assert_eq!(found.distribution.as_ref().unwrap().after.as_ref().unwrap().version, "13");
    let changed: Vec<&str> = found.changed.iter().map(|change| change.package.name.as_str()).collect();
    assert_eq!((changed, found.added.len(), found.removed.len()), (vec![upgraded.unwrap().as_str()], 0, 0));
}

/// The Python that has these modules; the tests that need it are for it to be had.
pub(crate) fn python(modules: &str) -> Option<String> {
    let python = std::env::var("PLIMSOLL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = format!("import {modules}");
    let present = Command::new(&python).args(["-c", &probe]).stderr(Stdio::null()).status();
    if present.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "{python} has not {modules}");
    eprintln!("skipped: {python} has not {modules}");
    None
}

/// What the library of CycloneDX needs, with validation.
pub(crate) const CYCLONEDX: &str = "cyclonedx.validation.json, jsonschema";

/// The specification's own tools read what is written and find nothing wrong, where Python's `spdx-tools` is installed.
#[test]
fn spdx_documents_are_valid_by_the_official_tools() {
    const CHECK: &str = "
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
for path in sys.argv[1:]:
    document = parse_file(path)
    problems = [message.validation_message for message in validate_full_spdx_document(document)]
    if problems:
        sys.exit('; '.join(problems)[:2000])
    assert len(document.packages) > 1 or 'empty' in path
";
    let Some(python) = python("spdx_tools.spdx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut odd = image();
    odd.components[0].key.package.name = "no purl tells this|".to_owned();
    odd.components[0].supplier = "Somebody (else) <a b@c>".to_owned();
    odd.components[0].licenses = vec!["Own, text".to_owned(), "MIT OR Apache-2.0".to_owned()];
    let mut empty = image();
    empty.components.clear();
    empty.image = None;
    empty.distribution = None;
    let mut files = Vec::new();
    for (name, sbom) in [("image", image()), ("odd", odd), ("empty", empty)] {
        let at = Some(Timestamp(1_700_000_000_000));
        for (ending, bytes) in
            [("spdx.json", spdx::write(&sbom, at, false)), ("spdx", spdx::write_tag_value(&sbom, at))]
        {
            let file = folder.path().join(format!("{name}.{ending}"));
            std::fs::write(&file, bytes).unwrap();
            files.push(file);
        }
    }
    let output = Command::new(&python).args(["-c", CHECK]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Validates against the official schemas, where Python's `cyclonedx-python-lib[json-validation]` is installed for
/// `$PLIMSOLL_PYTHON` (default `python3`).
#[test]
fn documents_are_valid_by_the_official_schemas() {
    const CHECK: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
problem = JsonStrictValidator(SchemaVersion.from_version(sys.argv[1])).validate_str(sys.stdin.read())
sys.exit(str(problem)[:2000] if problem else 0)
";
    let Some(python) = python(CYCLONEDX) else { return };
    let mut empty = image();
    empty.components.clear();
    empty.image = None;
    for sbom in [image(), empty] {
        for version in VERSIONS {
            let options = Options { version, pretty: false, timestamp: Some(Timestamp(1_700_000_000_000)) };
            let mut child = Command::new(&python)
                .args(["-c", CHECK, version.as_str()])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&cyclonedx::write(&sbom, &options)).unwrap();
            assert!(child.wait().unwrap().success(), "{}", version.as_str());
        }
    }
}
