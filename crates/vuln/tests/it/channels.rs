//! Modules, minor releases, extended channels, architectures, other people's packages, ends of support. The documents
//! are Red Hat's in shape; names and versions are facts of CVE-2023-38545 and CVE-2023-44487.

use plimsoll_model::package::Ecosystem::*;
use plimsoll_model::package::{ComponentKey, Release};
use plimsoll_model::sbom::{Component, Confidence, Sbom};
use plimsoll_vuln::matching::is_third_party;
use plimsoll_vuln::{BuildOptions, Db, build};

use crate::support::*;

/// CVE-2023-38545: fixed in 9.3, for 9.2 and, in the extended channel, for 9.0.
const CURL: &str = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","title":"curl","tracking":{"id":"CVE-2023-38545","current_release_date":"2025-11-21T14:31:32+00:00","initial_release_date":"2023-10-11T06:00:00+00:00"}},
"product_tree":{"branches":[{"branches":[
 {"product":{"product_id":"BaseOS-9.3","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
 {"product":{"product_id":"BaseOS-9.2","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
 {"product":{"product_id":"BaseOS-9.0-EUS","product_identification_helper":{"cpe":"cpe:/o:redhat:rhel_eus:9.0::baseos"}}},
 {"product":{"product_id":"c93x","product_identification_helper":{"purl":"pkg:rpm/redhat/libcurl@7.76.1-26.el9_3.2?arch=x86_64"}}},
 {"product":{"product_id":"c93a","product_identification_helper":{"purl":"pkg:rpm/redhat/libcurl@7.76.1-26.el9_3.2?arch=aarch64"}}},
 {"product":{"product_id":"c92","product_identification_helper":{"purl":"pkg:rpm/redhat/libcurl@7.76.1-23.el9_2.4?arch=x86_64"}}},
 {"product":{"product_id":"c90","product_identification_helper":{"purl":"pkg:rpm/redhat/libcurl@7.76.1-14.el9_0.9?arch=x86_64"}}}]}],
"relationships":[
 {"product_reference":"c93x","relates_to_product_reference":"BaseOS-9.3","full_product_name":{"product_id":"93x"}},
 {"product_reference":"c93a","relates_to_product_reference":"BaseOS-9.3","full_product_name":{"product_id":"93a"}},
 {"product_reference":"c92","relates_to_product_reference":"BaseOS-9.2","full_product_name":{"product_id":"92"}},
 {"product_reference":"c90","relates_to_product_reference":"BaseOS-9.0-EUS","full_product_name":{"product_id":"90"}}]},
"vulnerabilities":[{"cve":"CVE-2023-38545","product_status":{"fixed":["93x","93a","92","90"]}}]}"#;

fn rpm(release: (&str, &str), name: &str, version: &str) -> ComponentKey {
    ComponentKey { arch: "x86_64".into(), ..packaged(Rpm, release, (name, version), Some((name, version))) }
}

#[test]
fn a_fix_for_a_minor_release_is_one_for_its_builds() {
    let db = db_of(&[("cve.json", CURL)]);
    let libcurl = |version| found(&db, &rpm(("rhel", "9.0"), "libcurl", version));
    for (version, affected) in [
        ("7.76.1-19.el9", true),
        ("7.76.1-23.el9_2.1", true),
        // The fix for 9.2, and for 9.0 in the extended channel: fixed, though 9.3 needed a later build.
        ("7.76.1-23.el9_2.4", false),
        ("7.76.1-14.el9_0.9", false),
        ("7.76.1-14.el9_0.8", true),
        // Of no minor release that has a fix of its own.
        ("7.76.1-19.el9_1.9", true),
        ("7.76.1-26.el9_3.2", false),
    ] {
        assert_eq!(!libcurl(version).is_empty(), affected, "{version}");
    }
    // A fix of the extended channel is offered to nobody who is not on it.
    let plain = libcurl("7.76.1-14.el9_0.8");
    assert!(plain[0].ends_with(" fixed 7.76.1-26.el9_3.2"), "{plain:?}");
    assert_eq!(db.info().unwrap().coverage, ["rpm:rhel:9"]);
    // An architecture that no fix names says nothing.
    let s390x = ComponentKey { arch: "s390x".into(), ..rpm(("rhel", "9.2"), "libcurl", "7.76.1-19.el9") };
    assert!(found(&db, &s390x).is_empty());
    let noarch = ComponentKey { arch: "noarch".into(), ..s390x };
    assert_eq!(found(&db, &noarch).len(), 1);
}

/// CVE-2023-44487 in two streams of a module: 16 and 18 have fixes of their own, 20 is affected without one.
fn node(document: &str) -> Db {
    db_of(&[("cve.json", document)])
}

const NODE: &str = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","title":"HTTP/2","tracking":{"id":"CVE-2023-44487","current_release_date":"2024-01-01T00:00:00+00:00"}},
"product_tree":{"branches":[{"branches":[
 {"product":{"product_id":"AppStream-8","product_identification_helper":{"cpe":"cpe:/a:redhat:enterprise_linux:8::appstream"}}},
 {"product":{"product_id":"nodejs:18:8080020231013181403:63b34585","product_identification_helper":{"purl":"pkg:rpmmod/redhat/nodejs@18:8080020231013181403:63b34585"}}},
 {"product":{"product_id":"n16","product_identification_helper":{"purl":"pkg:rpm/redhat/nodejs@16.20.2-3.module+el8.8.0+20386+0b1f3093?arch=x86_64&epoch=1&rpmmod=nodejs:16:8080020231013155128:63b34585"}}},
 {"product":{"product_id":"n18","product_identification_helper":{"purl":"pkg:rpm/redhat/nodejs@18.18.2-1.module+el8.8.0+20407+9c4e1a9b?arch=x86_64&epoch=1"}}},
 {"product":{"product_id":"n20","product_identification_helper":{"purl":"pkg:rpm/redhat/nodejs?arch=src&rpmmod=nodejs:20"}}}]}],
"relationships":[
 {"product_reference":"nodejs:18:8080020231013181403:63b34585","relates_to_product_reference":"AppStream-8","full_product_name":{"product_id":"AppStream-8:nodejs:18:8080020231013181403:63b34585"}},
 {"product_reference":"n16","relates_to_product_reference":"AppStream-8","full_product_name":{"product_id":"p16"}},
 {"product_reference":"n18","relates_to_product_reference":"AppStream-8:nodejs:18:8080020231013181403:63b34585","full_product_name":{"product_id":"p18"}},
 {"product_reference":"n20","relates_to_product_reference":"AppStream-8","full_product_name":{"product_id":"p20"}}]},
"vulnerabilities":[{"cve":"CVE-2023-44487","product_status":{"fixed":["p16","p18"],"known_affected":["p20"]}}]}"#;

#[test]
fn streams_of_a_module_have_fixes_of_their_own() {
    let db = node(NODE);
    // The same where only the module's id says which it is.
    let by_id = node(
        &NODE.replace(r#""purl":"pkg:rpmmod/redhat/nodejs@18:8080020231013181403:63b34585""#, r#""cpe":"""#),
    );
    for db in [db, by_id] {
        let nodejs = |stream: &str, version: &str| {
            found(&db, &ComponentKey { stream: stream.into(), ..rpm(("rhel", "8.8"), "nodejs", version) })
        };
        assert_eq!(nodejs("nodejs:16", "1:16.19.1-1.module+el8.7.0+1").len(), 1);
        // Older than 18's fix, and fixed in its own stream.
        assert_eq!(nodejs("nodejs:16", "1:16.20.2-3.module+el8.8.0+20386+0b1f3093").len(), 0);
        assert_eq!(
            nodejs("nodejs:18", "1:18.16.1-1.module+el8.8.0+1"),
            [
                "CVE-2023-44487 >= 0, < 1:18.18.2-1.module+el8.8.0+20407+9c4e1a9b fixed 1:18.18.2-1.module+el8.8.0+20407+9c4e1a9b"
            ]
        );
        assert_eq!(nodejs("nodejs:18", "1:18.18.2-1.module+el8.8.0+20407+9c4e1a9b").len(), 0);
        // By its source package, without a fix.
        assert_eq!(nodejs("nodejs:20", "1:20.8.0-1.module+el8.9.0+1"), ["CVE-2023-44487 >= 0 fixed -"]);
        assert_eq!(nodejs("nodejs:14", "1:14.21.3-1.module+el8.7.0+1").len(), 0);
        // A document that lost the label is not silently clean.
        assert_eq!(nodejs("", "1:16.19.1-1.module+el8.7.0+1").len(), 1);
        // A build outside of the module is none of its business.
        assert_eq!(nodejs("", "1:16.19.1-1.el8").len(), 0);
    }
}

#[test]
fn what_keys_add_is_taken_off_again() {
    let key = |component: &ComponentKey| {
        plimsoll_vuln::LookupKey::of(component)
            .iter()
            .flat_map(|key| key.component_names())
            .collect::<Vec<_>>()
    };
    let nodejs =
        ComponentKey { stream: "nodejs:18".into(), ..rpm(("rhel", "8.8"), "nodejs", "1:18-1.el8_8") };
    assert!(key(&nodejs).iter().all(|name| *name == (Rpm, "nodejs".to_owned())));
    assert_eq!(key(&nodejs).len(), 6);
}

fn component(key: ComponentKey, supplier: &str) -> Component {
    Component {
        purl: String::new(),
        display_name: key.package.name.clone(),
        key,
        locations: Vec::new(),
        licenses: Vec::new(),
        owned_by: None,
        confidence: Confidence::High,
        supplier: supplier.into(),
        found_by: String::new(),
        introduced: None,
        depends_on: Vec::new(),
    }
}

#[test]
fn packages_of_others_are_not_the_distributions() {
    for (id, version, supplier, expected) in [
        ("rhel", "1-1.el9", "Red Hat, Inc.", false),
        ("rhel", "1-1.el9", "Fedora Project", true),
        ("fedora", "1-1.fc40", "Fedora Project", false),
        ("rhel", "8.3-1.el9.remi", "", true),
        ("debian", "5:24.0", "Docker <support@docker.com>", true),
        ("debian", "2.36-9", "GNU Libc Maintainers <debian-glibc@lists.debian.org>", false),
        ("ubuntu", "12.2", "cudatools <cudatools@nvidia.com>", true),
    ] {
        let ecosystem = if id == "rhel" || id == "fedora" { Rpm } else { Deb };
        let key = packaged(ecosystem, (id, "9"), ("p", version), None);
        assert_eq!(is_third_party(&component(key, supplier)), expected, "{supplier} {version}");
    }
    let db = db_of(&[("cve.json", CURL)]);
    let sbom = |supplier: &str| Sbom {
        image: None,
        name: "test".into(),
        platform: None,
        distribution: None,
        layers: Vec::new(),
        components: vec![component(rpm(("rhel", "9.1"), "libcurl", "7.76.1-19.el9"), supplier)],
        anomalies: Vec::new(),
        partial: Vec::new(),
        labels: Vec::new(),
        base: None,
        secrets: Vec::new(),
    };
    assert_eq!(db.match_sbom(&sbom("Red Hat, Inc.")).unwrap().matches.len(), 1);
    assert_eq!(db.match_sbom(&sbom("Fedora Project")).unwrap().matches.len(), 0);
    assert!(plimsoll_vuln::matchable_keys(&sbom("Fedora Project")).is_empty());
}

#[test]
fn releases_past_their_support_are_marked() {
    let record = r#"{"id":"DSA-1","modified":"2023-06-09T00:00:00Z","upstream":["CVE-2021-0001"],"affected":[{"package":{"ecosystem":"Debian:10","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2"}]}]}]}"#;
    let directory = directory(&[("r.json", record)]);
    let at = |text: &str| {
        let options = BuildOptions { seq: 1, built_at: format!("{text}T00:00:00Z").parse().unwrap() };
        Db::from_bytes(build(&[directory.path().to_owned()], &options).unwrap().0).unwrap()
    };
    let components = [
        packaged(Deb, ("debian", "10.13"), ("p", "1"), Some(("p", "1"))),
        packaged(Deb, ("debian", "12"), ("p", "1"), Some(("p", "1"))),
        rpm(("centos", "8"), "p", "1-1.el8"),
        rpm(("rhel", "8.10"), "p", "1-1.el8"),
    ];
    // Rebuilds end before what they rebuild.
    let marked = at("2025-01-01").match_keys(&components).unwrap();
    assert_eq!(marked.end_of_life, ["deb:debian:10 since 2024-06-30", "rpm:rhel:8 since 2021-12-31"]);
    // Marked, and matched all the same.
    assert_eq!(marked.matches.len(), 1);
    assert_eq!(at("2021-01-01").match_keys(&components).unwrap().end_of_life, Vec::<String>::new());
    let buster = Release { id: "debian".into(), version: "10.13".into() };
    assert!(
        plimsoll_vuln::end_of_life::since(&buster, "10", "2025-01-01T00:00:00Z".parse().unwrap()).is_some()
    );
}
