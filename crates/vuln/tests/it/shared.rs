//! Real feeds, where this checkout has them beside it.

use std::sync::OnceLock;

use plimsoll_model::package::ComponentKey;
use plimsoll_model::package::Ecosystem::*;
use plimsoll_model::sbom::{Component, Confidence, Sbom};
use plimsoll_vuln::{Db, LookupKey, build, diff};
use proptest::prelude::*;

use crate::support::*;

/// A Db of some real feeds; `None` without them.
fn real() -> Option<&'static Db> {
    static DB: OnceLock<Option<Db>> = OnceLock::new();
    DB.get_or_init(|| {
        let inputs = [
            "osv/npm.jsonl.zst",
            "osv/Go.jsonl.zst",
            "osv/PyPI.jsonl.zst",
            "osv/GHSA-other-ecosystems.jsonl.zst",
            "osv/Debian-CVE-derived.jsonl.zst",
            "secdb/alpine/v3.17",
            "kev/known_exploited_vulnerabilities.json",
            "cve/vulnrichment-2024-10-24.jsonl.zst",
        ];
        let inputs: Option<Vec<_>> = inputs.iter().map(|input| shared(input)).collect();
        let (bytes, report) = build(&inputs?, &OPTIONS).unwrap();
        // The manifest's counts, less what the records themselves say is no vulnerability.
        assert!(report.records() > 60_000, "{}", report.records());
        assert!(report.rejected() < 20, "{:?}", report.feeds);
        Some(Db::from_bytes(bytes).unwrap())
    })
    .as_ref()
}

#[test]
fn real_advisories_match_real_packages() {
    let Some(db) = real() else { return };
    for (component, id, fixed) in [
        (language(Npm, "lodash", "4.17.20"), "CVE-2021-23337", Some("4.17.21")),
        (language(Golang, "golang.org/x/net", "v0.16.0"), "CVE-2023-39325", Some("0.17.0")),
        (language(Pypi, "Django", "3.2.13"), "CVE-2022-34265", Some("3.2.14")),
        (
            packaged(Deb, ("debian", "12"), ("libwebp7", "1.2.4-0.2"), Some(("libwebp", "1.2.4-0.2"))),
            "CVE-2023-4863",
            Some("1.2.4-0.2+deb12u1"),
        ),
    ] {
        let matches = db.match_component(&component).unwrap();
        let hit =
            matches.iter().find(|m| m.vulnerability == id).unwrap_or_else(|| panic!("{id}: {matches:?}"));
        assert_eq!(hit.fixed.as_deref(), fixed, "{id}");
        let repaired = match &component.source {
            Some(source) => packaged(Deb, ("debian", "12"), ("x", "1"), Some((&source.name, fixed.unwrap()))),
            None => language(component.package.ecosystem, &component.package.name, fixed.unwrap()),
        };
        assert!(db.match_component(&repaired).unwrap().iter().all(|m| m.vulnerability != id), "{id}");
    }
    let webp = db.vulnerability("CVE-2023-4863").unwrap().unwrap();
    assert!(webp.intelligence.kev.is_some());
}

#[test]
fn no_two_cves_share_a_vulnerability() {
    let Some(db) = real() else { return };
    let (empty, _) = build(&[], &OPTIONS).unwrap();
    let all = diff(&Db::from_bytes(empty).unwrap(), db).unwrap();
    assert!(all.vulnerabilities.len() > 15_000);
    for id in all.vulnerabilities.iter().step_by(7) {
        let vulnerability = db.vulnerability(id).unwrap().unwrap();
        assert_eq!(&vulnerability.id, id);
        assert!(!vulnerability.aliases.iter().any(|alias| alias.starts_with("CVE-")), "{vulnerability:?}");
    }
}

fn component(key: ComponentKey, low: bool, owned: bool) -> Component {
    Component {
        purl: String::new(),
        display_name: key.package.name.clone(),
        key,
        locations: Vec::new(),
        licenses: Vec::new(),
        owned_by: owned.then(|| "pkg:deb/debian/python3-django".to_owned()),
        confidence: if low { Confidence::Low } else { Confidence::High },
        supplier: String::new(),
        found_by: String::new(),
        depends_on: Vec::new(),
        introduced: None,
    }
}

fn sbom(components: Vec<Component>) -> Sbom {
    Sbom {
        image: None,
        name: "test".into(),
        platform: None,
        distribution: None,
        layers: Vec::new(),
        components,
        anomalies: Vec::new(),
        partial: Vec::new(),
        labels: Vec::new(),
        base: None,
        secrets: Vec::new(),
    }
}

fn any_key() -> impl Strategy<Value = ComponentKey> {
    let version = prop_oneof![
        Just("1.0.0"),
        Just("2.2.10"),
        Just("0.16.0"),
        Just("3.0.5-r1"),
        Just("1:2.36-9"),
        Just("odd one")
    ];
    prop_oneof![
        (prop_oneof![Just("lodash"), Just("minimist"), Just("nothing-here")], version.clone())
            .prop_map(|(name, version)| language(Npm, name, version)),
        (prop_oneof![Just("Django"), Just("jinja2"), Just("PyYAML")], version.clone())
            .prop_map(|(name, version)| language(Pypi, name, version)),
        (prop_oneof![Just("glibc"), Just("openssl"), Just("curl")], version.clone(), "1[0-3]").prop_map(
            |(name, version, release)| packaged(Deb, ("debian", &release), ("b", "1"), Some((name, version)))
        ),
        (prop_oneof![Just("openssl"), Just("busybox")], version).prop_map(|(name, version)| packaged(
            Apk,
            ("alpine", "3.17.1"),
            ("b", "1"),
            Some((name, version))
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Matching an Sbom is matching its keys, however they are ordered or repeated, and is the union of matching each.
    #[test]
    fn sbom_and_keys_agree(parts in proptest::collection::vec((any_key(), any::<bool>(), any::<bool>()), 0..12)) {
        let Some(db) = real() else { return Ok(()) };
        let sbom = sbom(parts.iter().cloned().map(|(key, low, owned)| component(key, low, owned)).collect());
        let mut by_sbom = db.match_sbom(&sbom).unwrap();
        let keys = plimsoll_vuln::matchable_keys(&sbom);
        let by_keys = db.match_keys(&keys).unwrap();
        let unsure = by_sbom.matches.iter().filter(|m| !m.confident).count();
        for m in &mut by_sbom.matches {
            let sure = parts.iter().any(|(key, low, owned)| {
                key == &m.component && !low && (!owned || key.package.ecosystem.is_distribution())
            });
            prop_assert_eq!(m.confident, sure);
            m.confident = true;
        }
        prop_assert!(unsure == 0 || parts.iter().any(|(_, low, _)| *low));
        prop_assert_eq!(&by_sbom, &by_keys);
        let mut single: Vec<_> = keys.iter().flat_map(|key| db.match_component(key).unwrap()).collect();
        single.sort();
        prop_assert_eq!(single, by_keys.matches);
        let reversed: Vec<ComponentKey> = keys.iter().rev().chain(&keys).cloned().collect();
        prop_assert_eq!(&db.match_keys(&reversed).unwrap(), &by_sbom);
    }

    /// A fix that is offered is not affected by the record that offers it, and is above what was compared.
    #[test]
    fn fixes_are_fixes(key in any_key()) {
        let Some(db) = real() else { return Ok(()) };
        for m in db.match_component(&key).unwrap() {
            let Some(fixed) = &m.fixed else { continue };
            let scheme = plimsoll_vuln::names::scheme(key.package.ecosystem).unwrap();
            prop_assert_eq!(scheme.compare(&m.compared, fixed), Ok(std::cmp::Ordering::Less));
            let mut repaired = key.clone();
            repaired.version.clone_from(fixed);
            if let Some(source) = &mut repaired.source {
                source.version.clone_from(fixed);
            }
            let again = db.match_component(&repaired).unwrap();
            prop_assert!(!again.iter().any(|other| other.advisory == m.advisory && other.vulnerability == m.vulnerability));
        }
    }
}

#[test]
fn keys_of_an_id_lead_back_to_it() {
    let Some(db) = real() else { return };
    let keys = db.lookup_keys_of("CVE-2023-44487").unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let statements = db.query(&key).unwrap();
        assert!(statements.iter().any(|s| s.vulnerabilities.iter().any(|v| v == "CVE-2023-44487")), "{key}");
        assert!(db.covers(&key));
        assert_eq!(LookupKey::from_bytes(&key.to_bytes()), Some(key));
    }
}

#[test]
fn real_red_hat_documents() {
    let Some(input) = shared("vex/csaf") else { return };
    let (bytes, report) = build(&[input], &OPTIONS).unwrap();
    assert_eq!((report.feeds.len(), report.rejected()), (1, 0), "{:?}", report.feeds);
    let db = Db::from_bytes(bytes).unwrap();
    let curl =
        |release, version| packaged(Rpm, ("rhel", release), ("libcurl", version), Some(("curl", version)));
    let matches = db.match_component(&curl("9.1", "7.76.1-19.el9")).unwrap();
    assert_eq!(matches.len(), 1, "{matches:?}");
    assert_eq!(matches[0].vulnerability, "CVE-2023-38545");
    assert_eq!(matches[0].fixed.as_deref(), Some("7.76.1-26.el9_3.2"));
    assert!(db.match_component(&curl("9.3", "7.76.1-26.el9_3.2")).unwrap().is_empty());
    assert!(db.match_component(&curl("7.9", "7.29.0-59.el7")).unwrap().is_empty());
}

#[test]
fn official_samples_of_every_format() {
    let Some(input) = shared("samples") else { return };
    let (bytes, report) = build(&[input], &OPTIONS).unwrap();
    assert_eq!(report.rejected(), 0, "{:?}", report.feeds);
    let formats: Vec<&str> = report.feeds.iter().map(|feed| feed.format.as_str()).collect();
    assert_eq!(formats, ["osv", "epss", "debian", "secdb", "nvd"]);
    let db = Db::from_bytes(bytes).unwrap();
    // RLSA-2023:3220 names seven CVEs, and binary packages.
    let firefox = |version| packaged(Rpm, ("rocky", "8.7"), ("firefox", version), None);
    assert_eq!(db.match_component(&firefox("102.10.0-1.el8_7")).unwrap().len(), 7);
    assert!(db.match_component(&firefox("102.11.0-2.el8_7")).unwrap().is_empty());
    // USN-5614-1 and UBUNTU-CVE-2021-3782 speak of one vulnerability.
    let wayland = |version| {
        packaged(Deb, ("ubuntu", "22.04"), ("libwayland-client0", version), Some(("wayland", version)))
    };
    let matches = db.match_component(&wayland("1.20.0-1")).unwrap();
    assert_eq!(matches.len(), 1);
    assert_eq!(
        (matches[0].vulnerability.as_str(), matches[0].fixed.as_deref()),
        ("CVE-2021-3782", Some("1.20.0-1ubuntu0.1"))
    );
}
