//! The Debian security tracker's JSON: source package → CVE → release
//! (<https://security-tracker.debian.org/tracker/data/json>).

use std::collections::BTreeMap;

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::MatchStatus;
use serde::Deserialize;

use super::{Sink, clip, id_is_valid, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};
use crate::score::severity_word;

#[derive(Deserialize)]
struct Issue {
    #[serde(default, deserialize_with = "nullable")]
    description: String,
    /// An object; an empty array where there is none.
    #[serde(default)]
    releases: serde_json::Value,
}

#[derive(Deserialize)]
struct State {
    #[serde(default, deserialize_with = "nullable")]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    fixed_version: String,
    #[serde(default, deserialize_with = "nullable")]
    urgency: String,
    #[serde(default, deserialize_with = "nullable")]
    nodsa_reason: String,
}

/// `VERSION_ID` of a code name, `sid` for unstable.
pub fn release_of(codename: &str) -> Option<&'static str> {
    Some(match codename {
        "wheezy" => "7",
        "jessie" => "8",
        "stretch" => "9",
        "buster" => "10",
        "bullseye" => "11",
        "bookworm" => "12",
        "trixie" => "13",
        "forky" => "14",
        "duke" => "15",
        "sid" => "sid",
        _ => return None,
    })
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    type Tracker = BTreeMap<String, BTreeMap<String, serde_json::Value>>;
    let Ok(tracker) = serde_json::from_slice::<Tracker>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    for (package, issues) in tracker {
        for (id, value) in issues {
            let Ok(issue) = serde_json::from_value::<Issue>(value) else {
                sink.reject(&format!("{package} {id}"), "json_invalid");
                continue;
            };
            take(&package, &id, &issue, sink);
        }
    }
}

fn take(package: &str, id: &str, issue: &Issue, sink: &mut Sink<'_>) {
    if !id_is_valid(id) || package.is_empty() || package.len() > 256 {
        return sink.reject(id, "id_invalid");
    }
    let Some(scheme) = scheme(Ecosystem::Deb) else { return };
    let empty = serde_json::Map::new();
    let releases = issue.releases.as_object().unwrap_or(&empty);
    let mut advisory = Advisory {
        id: format!("DEBIAN-{id}"),
        feed: "debian",
        names: vec![id.to_owned()],
        summary: clip(issue.description.trim(), 256),
        ..Advisory::default()
    };
    for (codename, state) in releases {
        let Ok(state) = State::deserialize(state) else {
            sink.reject(&format!("{id} {codename}"), "json_invalid");
            continue;
        };
        // "bookworm-security" and the like repeat the release.
        let Some(version) = release_of(codename) else {
            if !codename.contains('-') {
                sink.reject(&format!("{id} {codename}"), "release_unknown");
            }
            continue;
        };
        let end_of_life = state.urgency.starts_with("end-of-life");
        let (status, end) = match (state.status.as_str(), state.fixed_version.as_str()) {
            ("resolved", "0") => (MatchStatus::NotAffected, End::Open),
            ("resolved", "") => continue,
            ("resolved", fixed) if scheme.parse(fixed).is_err() => {
                sink.reject(&format!("{id} {codename}"), "version_invalid");
                continue;
            }
            ("resolved", fixed) => (MatchStatus::Affected, End::Fixed(fixed.to_owned())),
            ("open", _) if end_of_life || state.nodsa_reason == "ignored" => {
                (MatchStatus::WontFix, End::Open)
            }
            ("open", _) => (MatchStatus::Affected, End::Open),
            _ => (MatchStatus::UnderInvestigation, End::Open),
        };
        let release = Release { id: "debian".to_owned(), version: version.to_owned() };
        advisory.affected.push(Affected {
            key: LookupKey::new(Ecosystem::Deb, Some(&release), package),
            scheme,
            status,
            severity: severity_word(&state.urgency),
            intervals: vec![Interval { start: None, end }],
            versions: Vec::new(),
            arches: Vec::new(),
        });
    }
    if advisory.affected.is_empty() {
        return sink.ignore();
    }
    sink.record(Record::Advisory(advisory), None);
}
