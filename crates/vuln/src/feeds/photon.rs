//! Photon OS: one JSON list a release, `cve_data_photon5.0.json`
//! (<https://packages.broadcom.com/photon/photon_cve_metadata/>). Packages are source packages.

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use serde::Deserialize;

use super::updateinfo::dist_version;
use super::{Sink, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};

#[derive(Deserialize)]
struct Entry {
    cve_id: String,
    pkg: String,
    #[serde(default)]
    cve_score: f64,
    #[serde(default, deserialize_with = "nullable")]
    res_ver: String,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let Ok(entries) = serde_json::from_slice::<Vec<serde_json::Value>>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    for (number, value) in entries.into_iter().enumerate() {
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) => take(place, &entry, sink),
            Err(_) => sink.reject(&format!("{place} {number}"), "json_invalid"),
        }
    }
}

fn take(place: &str, entry: &Entry, sink: &mut Sink<'_>) {
    if !is_cve(&entry.cve_id) || entry.pkg.is_empty() || entry.pkg.len() > 256 || entry.pkg.contains('\0') {
        return sink.reject(&entry.cve_id, "id_invalid");
    }
    // "NA": nothing is released yet, and which versions are affected is told in words.
    let fixed = entry.res_ver.trim();
    if fixed.is_empty() || fixed.eq_ignore_ascii_case("na") {
        return sink.ignore();
    }
    let Some(scheme) = scheme(Ecosystem::Rpm).filter(|scheme| scheme.parse(fixed).is_ok()) else {
        return sink.reject(&entry.cve_id, "version_invalid");
    };
    let Some(version) = dist_version("photon", fixed).or_else(|| named(place)) else {
        return sink.reject(&entry.cve_id, "release_unknown");
    };
    let release = Release { id: "photon".to_owned(), version };
    let affected = Affected {
        key: LookupKey::new(Ecosystem::Rpm, Some(&release), &entry.pkg),
        scheme,
        status: MatchStatus::Affected,
        severity: severity(entry.cve_score),
        intervals: vec![Interval { start: None, end: End::Fixed(fixed.to_owned()) }],
        versions: Vec::new(),
        arches: Vec::new(),
    };
    let advisory = Advisory {
        id: format!("PHOTON-{}", entry.cve_id),
        feed: "photon",
        names: vec![entry.cve_id.clone()],
        affected: vec![affected],
        ..Advisory::default()
    };
    sink.record(Record::Advisory(advisory), None);
}

/// The release in the name of the file.
fn named(place: &str) -> Option<String> {
    let rest = place.rsplit('/').next()?.strip_prefix("cve_data_photon")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

/// A CVSS base score in words (CVSS 3.1, table 14).
fn severity(score: f64) -> Severity {
    match score {
        score if score >= 9.0 => Severity::Critical,
        score if score >= 7.0 => Severity::High,
        score if score >= 4.0 => Severity::Medium,
        score if score > 0.0 => Severity::Low,
        _ => Severity::Unknown,
    }
}
