//! The demonstration's data, as the demonstration uses it.

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll_model::package::Ecosystem::*;
use plimsoll_vuln::{Db, build};

use crate::support::*;

fn demo() -> (Db, plimsoll_vuln::BuildReport) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo");
    let inputs =
        ["advisories", "kev.json", "epss.csv", "vulnrichment.jsonl"].map(|name| directory.join(name));
    let (bytes, report) = build(&inputs, &OPTIONS).unwrap();
    (Db::from_bytes(bytes).unwrap(), report)
}

#[test]
fn every_record_is_used() {
    let (db, report) = demo();
    assert_eq!(report.rejected(), 0, "{:?}", report.feeds);
    assert!(report.advisories >= 30);
    let formats: Vec<&str> = report.feeds.iter().map(|feed| feed.format.as_str()).collect();
    assert_eq!(formats, ["osv", "kev", "epss", "vulnrichment"]);
    let coverage = db.info().unwrap().coverage;
    assert_eq!(coverage, ["deb:debian:12", "golang", "npm", "pypi"]);
}

#[test]
fn an_old_image_has_findings_and_a_new_one_has_none() {
    let (db, _) = demo();
    let deb = |source: &str, version: &str| {
        packaged(Deb, ("debian", "12"), (source, version), Some((source, version)))
    };
    for (old, new, id) in [
        (deb("openssl", "3.0.11-1~deb12u1"), deb("openssl", "3.0.15-1~deb12u1"), "CVE-2023-5363"),
        (deb("libwebp", "1.2.4-0.2"), deb("libwebp", "1.2.4-0.2+deb12u1"), "CVE-2023-4863"),
        (language(Npm, "minimist", "0.2.1"), language(Npm, "minimist", "0.2.4"), "CVE-2021-44906"),
        (language(Pypi, "PyYAML", "5.3.1"), language(Pypi, "PyYAML", "5.4"), "CVE-2020-14343"),
        (language(Pypi, "Pillow", "9.5.0"), language(Pypi, "Pillow", "10.2.0"), "CVE-2023-4863"),
        (language(Golang, "stdlib", "1.20.9"), language(Golang, "stdlib", "1.22.4"), "CVE-2023-39325"),
    ] {
        let ids: Vec<String> =
            db.match_component(&old).unwrap().into_iter().map(|m| m.vulnerability).collect();
        assert!(ids.contains(&id.to_owned()), "{id} {ids:?}");
        assert_eq!(found(&db, &new), Vec::<String>::new(), "{id}");
    }
    let webp = db.vulnerability("CVE-2023-4863").unwrap().unwrap();
    assert!(webp.intelligence.kev.is_some() && webp.intelligence.epss.is_some());
    // Debian's package and Python's wheel: one vulnerability.
    assert_eq!(db.lookup_keys_of("CVE-2023-4863").unwrap().len(), 2);
}

/// Ranges agree with the real feeds wherever these have the same advisory's vulnerability for the same package.
#[test]
fn the_facts_are_facts() {
    let feeds =
        ["osv/npm.jsonl.zst", "osv/PyPI.jsonl.zst", "osv/Go.jsonl.zst", "osv/Debian-CVE-derived.jsonl.zst"];
    let Some(inputs) = feeds.iter().map(|feed| shared(feed)).collect::<Option<Vec<_>>>() else { return };
    let real = Db::from_bytes(build(&inputs, &OPTIONS).unwrap().0).unwrap();
    let (db, _) = demo();
    let empty = Db::from_bytes(build(&[], &OPTIONS).unwrap().0).unwrap();
    let mut compared = 0;
    for key in plimsoll_vuln::diff(&empty, &db).unwrap().keys {
        let theirs = real.query(&key).unwrap();
        for ours in db.query(&key).unwrap() {
            let same: BTreeSet<&String> = theirs
                .iter()
                .filter(|s| s.vulnerabilities.iter().any(|v| ours.vulnerabilities.contains(v)))
                .flat_map(|s| &s.ranges)
                .collect();
            if !same.is_empty() {
                compared += 1;
                assert!(ours.ranges.iter().all(|range| same.contains(range)), "{key} {ours:?} {same:?}");
            }
        }
    }
    assert!(compared >= 25, "{compared}");
}
