//! Alpine's security database, one file for each release and repository (<https://secdb.alpinelinux.org>), and the same
//! shape without a release from Wolfi and Chainguard. Packages are origin packages.

use std::collections::BTreeMap;

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use serde::Deserialize;

use super::{Sink, id_is_valid, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};

#[derive(Deserialize)]
struct Secdb {
    #[serde(default, deserialize_with = "nullable")]
    distroversion: String,
    #[serde(default, deserialize_with = "nullable")]
    urlprefix: String,
    #[serde(default, deserialize_with = "nullable")]
    packages: Vec<Wrapper>,
}

#[derive(Deserialize)]
struct Wrapper {
    pkg: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    secfixes: BTreeMap<String, Option<Vec<String>>>,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let Ok(secdb) = serde_json::from_slice::<Secdb>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    let (id, feed, prefix) = if secdb.urlprefix.contains("wolfi") {
        ("wolfi", "wolfi", "WOLFI")
    } else if secdb.urlprefix.contains("cgr.dev") || secdb.urlprefix.contains("chainguard") {
        ("chainguard", "chainguard", "CHAINGUARD")
    } else if secdb.distroversion.is_empty() {
        return sink.reject(place, "release_unknown");
    } else {
        ("alpine", "alpine", "ALPINE")
    };
    let Some(scheme) = scheme(Ecosystem::Apk) else { return };
    let release = Release { id: id.to_owned(), version: secdb.distroversion.clone() };
    for Wrapper { pkg } in secdb.packages {
        if pkg.name.is_empty() || pkg.name.len() > 256 {
            sink.reject(&pkg.name, "id_invalid");
            continue;
        }
        let key = LookupKey::new(Ecosystem::Apk, Some(&release), &pkg.name);
        for (version, stated) in pkg.secfixes {
            // "0": the package was never affected.
            let (status, end) = if version == "0" {
                (MatchStatus::NotAffected, End::Open)
            } else if scheme.parse(&version).is_ok() {
                (MatchStatus::Affected, End::Fixed(version.clone()))
            } else {
                sink.reject(&format!("{} {version}", pkg.name), "version_invalid");
                continue;
            };
            let stated = stated.unwrap_or_default();
            let restated = id != "alpine" && status == MatchStatus::Affected && restates(&stated);
            for text in stated {
                let ids = ids(&text);
                // CGA ids restate the CVE and GHSA ids that stand beside them, and GHSA ids the CVE ids.
                let is_twin = |id: &str| id.starts_with("CGA-") || (restated && id.starts_with("GHSA-"));
                if ids.first().is_none_or(|id| is_twin(id)) {
                    sink.ignore();
                    continue;
                }
                let Some(first) = ids.iter().find(|id| is_cve(id)).or(ids.first()).copied() else { continue };
                let affected = Affected {
                    key: key.clone(),
                    scheme,
                    status,
                    severity: Severity::Unknown,
                    intervals: vec![Interval { start: None, end: end.clone() }],
                    versions: Vec::new(),
                    arches: Vec::new(),
                };
                let advisory = Advisory {
                    id: format!("{prefix}-{first}"),
                    feed,
                    names: ids.into_iter().map(str::to_owned).collect(),
                    affected: vec![affected],
                    ..Advisory::default()
                };
                sink.record(Record::Advisory(advisory), None);
            }
        }
    }
}

/// True where the GHSA ids of a version say again what its CVE ids say: Wolfi and Chainguard list every id of a
/// vulnerability one by one. In Wolfi's data each GHSA id with a known CVE has that CVE beside it wherever there are no more
/// GHSA ids than CVE ids (4,488 of 4,488); where there are more, some have no CVE.
fn restates(stated: &[String]) -> bool {
    let count = |begin: &str| stated.iter().filter(|text| text.starts_with(begin)).count();
    count("GHSA-") <= count("CVE-")
}

/// One text may hold several ids (`CVE-2018-7540 XSA-252`), or words that are none.
fn ids(text: &str) -> Vec<&str> {
    text.split([' ', ',', ';'])
        .filter(|id| id_is_valid(id) && id.contains('-') && id.starts_with(|c: char| c.is_ascii_uppercase()))
        .take(32)
        .collect()
}
