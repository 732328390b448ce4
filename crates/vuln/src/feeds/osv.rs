//! OSV records (<https://ossf.github.io/osv-schema/>, read up to version 1.7): any database that exports them.

use plimsoll_model::package::Ecosystem;
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use serde::Deserialize;

use super::{Sink, clip, date, id_is_valid, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::{is_cve, plain_id};
use crate::names::{LookupKey, osv_ecosystem, scheme};
use crate::ranges::{Event, intervals};
use crate::score::{severity_word, valid_vectors};

const MAX_NAMES: usize = 2048;
const MAX_AFFECTED: usize = 20_000;
const MAX_VERSIONS: usize = 200_000;
const MAX_EVENTS: usize = 10_000;
const MAX_TEXT: usize = 256;

#[derive(Deserialize)]
struct OsvRecord {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    modified: String,
    #[serde(default, deserialize_with = "nullable")]
    published: String,
    #[serde(default, deserialize_with = "nullable")]
    withdrawn: String,
    #[serde(default, deserialize_with = "nullable")]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    upstream: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    related: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    summary: String,
    #[serde(default, deserialize_with = "nullable")]
    severity: Vec<OsvSeverity>,
    #[serde(default, deserialize_with = "nullable")]
    affected: Vec<OsvAffected>,
    #[serde(default, deserialize_with = "nullable")]
    database_specific: serde_json::Value,
}

#[derive(Deserialize)]
struct OsvSeverity {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    score: String,
}

#[derive(Deserialize)]
struct OsvAffected {
    #[serde(default, deserialize_with = "nullable")]
    package: Option<OsvPackage>,
    #[serde(default, deserialize_with = "nullable")]
    ranges: Vec<OsvRange>,
    #[serde(default, deserialize_with = "nullable")]
    versions: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    severity: Vec<OsvSeverity>,
    #[serde(default, deserialize_with = "nullable")]
    ecosystem_specific: serde_json::Value,
    #[serde(default, deserialize_with = "nullable")]
    database_specific: serde_json::Value,
}

#[derive(Deserialize)]
struct OsvPackage {
    #[serde(default)]
    ecosystem: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct OsvRange {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    events: Vec<OsvEvent>,
}

#[derive(Deserialize)]
struct OsvEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

/// Reads one record, or an array of records.
pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        match serde_json::from_slice::<Vec<serde_json::Value>>(bytes) {
            Ok(records) => {
                for (n, value) in records.into_iter().enumerate() {
                    match serde_json::from_value::<OsvRecord>(value) {
                        Ok(record) => take(record, sink),
                        Err(_) => sink.reject(&format!("{place} {n}"), "json_invalid"),
                    }
                }
            }
            Err(_) => sink.reject(place, "json_invalid"),
        }
        return;
    }
    match serde_json::from_slice::<OsvRecord>(bytes) {
        Ok(record) => take(record, sink),
        Err(_) => sink.reject(place, "json_invalid"),
    }
}

fn take(record: OsvRecord, sink: &mut Sink<'_>) {
    if !id_is_valid(&record.id) {
        return sink.reject(&record.id, "id_invalid");
    }
    if record.affected.len() > MAX_AFFECTED || record.aliases.len() + record.upstream.len() > MAX_NAMES {
        return sink.reject(&record.id, "too_many_entries");
    }
    let feed = feed_of(&record.id);
    let modified = date(&record.modified);
    let mut advisory = Advisory {
        feed,
        names: names(feed, &record),
        summary: clip(record.summary.trim(), MAX_TEXT),
        published: date(&record.published),
        modified,
        withdrawn: !record.withdrawn.trim().is_empty(),
        severity: record
            .database_specific
            .get("severity")
            .and_then(|v| v.as_str())
            .map_or(Severity::Unknown, severity_word),
        cvss: valid_vectors(
            vectors(&record.severity).chain(record.affected.iter().flat_map(|a| vectors(&a.severity))),
        ),
        affected: Vec::new(),
        id: record.id,
    };
    if advisory.withdrawn {
        return sink.record(Record::Advisory(advisory), modified);
    }
    // AlmaLinux and Rocky publish bug-fix and enhancement updates in the same form: no vulnerability is named.
    let is_update = ["ALBA-", "ALEA-", "RLBA-", "RLEA-"].iter().any(|prefix| advisory.id.starts_with(prefix));
    if is_update && !advisory.names.iter().any(|name| is_cve(name)) {
        return sink.ignore();
    }
    let word = distribution_word(&record.severity);
    let (mut unsupported, mut noticed, mut bad) = (0, 0, 0);
    for affected in &record.affected {
        match read_affected(affected, word) {
            Ok(Some(found)) => advisory.affected.push(found),
            Ok(None) => noticed += 1,
            Err(Refusal::Ecosystem(name)) => {
                unsupported += 1;
                sink.unsupported(&name);
            }
            Err(Refusal::Reason(reason)) => {
                bad += 1;
                sink.reject(&advisory.id, reason);
            }
        }
    }
    if !advisory.affected.is_empty() {
        return sink.record(Record::Advisory(advisory), modified);
    }
    if noticed > 0 || unsupported > 0 {
        sink.ignore();
    } else if bad == 0 {
        sink.reject(&advisory.id, "nothing_affected");
    }
}

/// Ids of what the record is about. `upstream` is where Debian and Ubuntu write it, `related` where AlmaLinux and Rocky
/// do; elsewhere `related` ids are other vulnerabilities.
fn names(feed: &str, record: &OsvRecord) -> Vec<String> {
    let related: &[String] = if matches!(feed, "almalinux" | "rocky") { &record.related } else { &[] };
    let mut names: Vec<String> = record
        .aliases
        .iter()
        .chain(&record.upstream)
        .chain(related.iter().take(MAX_NAMES))
        .map(|name| plain_id(name.trim()))
        .chain(Some(plain_id(&record.id)).filter(|&id| id != record.id))
        .filter(|name| id_is_valid(name))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn vectors(severity: &[OsvSeverity]) -> impl Iterator<Item = &str> {
    severity.iter().filter(|s| s.kind.starts_with("CVSS")).map(|s| s.score.as_str())
}

/// `{"type": "Ubuntu", "score": "medium"}`.
fn distribution_word(severity: &[OsvSeverity]) -> Severity {
    severity.iter().find(|s| s.kind == "Ubuntu").map_or(Severity::Unknown, |s| severity_word(&s.score))
}

enum Refusal {
    Ecosystem(String),
    Reason(&'static str),
}

fn read_affected(affected: &OsvAffected, word: Severity) -> Result<Option<Affected>, Refusal> {
    let informational = affected.database_specific.get("informational").and_then(|v| v.as_str());
    if matches!(informational, Some("unmaintained" | "notice")) {
        return Ok(None);
    }
    // Ranges of commits only, without a package, say nothing to match.
    let Some(package) = &affected.package else { return Ok(None) };
    let (ecosystem, release) = osv_ecosystem(&package.ecosystem).map_err(|e| Refusal::Ecosystem(e.0))?;
    let scheme = scheme(ecosystem).ok_or_else(|| Refusal::Ecosystem(package.ecosystem.clone()))?;
    if package.name.is_empty() || package.name.len() > 512 || package.name.contains('\0') {
        return Err(Refusal::Reason("id_invalid"));
    }
    if affected.versions.len() > MAX_VERSIONS {
        return Err(Refusal::Reason("too_many_entries"));
    }
    let mut found = Affected {
        key: LookupKey::new(ecosystem, release.as_ref(), &package.name),
        scheme,
        status: MatchStatus::Affected,
        severity: own_severity(ecosystem, affected, word),
        intervals: Vec::new(),
        versions: affected
            .versions
            .iter()
            .map(|v| v.trim())
            .filter(|v| is_version(v))
            .map(str::to_owned)
            .collect(),
        arches: Vec::new(),
    };
    if found.key.distribution == "ubuntu"
        && affected.ecosystem_specific.get("ubuntu_status").and_then(|v| v.as_str()) == Some("ignored")
    {
        found.status = MatchStatus::WontFix;
    }
    let mut unreadable = false;
    let ranges = affected.ranges.iter().filter(|range| range.kind != "GIT");
    for range in ranges {
        if range.events.len() > MAX_EVENTS {
            return Err(Refusal::Reason("too_many_entries"));
        }
        match events(range).map(|events| intervals(scheme, &events)) {
            Some(Ok(intervals)) => found.intervals.extend(intervals),
            _ => unreadable = true,
        }
    }
    // A range that cannot be read is replaced by the list of versions, where there is one.
    if unreadable && found.versions.is_empty() {
        return Err(Refusal::Reason("version_invalid"));
    }
    if found.intervals.is_empty() && found.versions.is_empty() {
        return Err(Refusal::Reason("nothing_affected"));
    }
    Ok(Some(found))
}

/// The severity that a distribution gives for one package.
fn own_severity(ecosystem: Ecosystem, affected: &OsvAffected, record: Severity) -> Severity {
    if !ecosystem.is_distribution() {
        return Severity::Unknown;
    }
    let text = |name: &str| affected.ecosystem_specific.get(name).and_then(|v| v.as_str()).map(severity_word);
    let stated = text("ubuntu_priority").or_else(|| text("urgency")).unwrap_or_default();
    let listed = distribution_word(&affected.severity);
    [stated, listed, record].into_iter().find(|&s| s != Severity::Unknown).unwrap_or_default()
}

fn events(range: &OsvRange) -> Option<Vec<Event>> {
    let mut events = Vec::with_capacity(range.events.len());
    for event in &range.events {
        for (text, kind) in [
            (&event.introduced, Event::Introduced as fn(String) -> Event),
            (&event.fixed, Event::Fixed),
            (&event.last_affected, Event::LastAffected),
            (&event.limit, Event::Limit),
        ] {
            let Some(text) = text else { continue };
            let text = text.trim();
            if !is_version(text) {
                return None;
            }
            events.push(kind(text.to_owned()));
        }
    }
    Some(events)
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0')
}

/// The source of a record by the prefix of its id (<https://ossf.github.io/osv-schema/#id-modified-fields>).
fn feed_of(id: &str) -> &'static str {
    const PREFIXES: &[(&str, &str)] = &[
        ("GHSA-", "ghsa"),
        ("GO-", "go"),
        ("PYSEC-", "pypa"),
        ("PSF-", "pypa"),
        ("RUSTSEC-", "rustsec"),
        ("MAL-", "ossf"),
        ("DEBIAN-", "debian"),
        ("DSA-", "debian"),
        ("DLA-", "debian"),
        ("DTSA-", "debian"),
        ("UBUNTU-", "ubuntu"),
        ("USN-", "ubuntu"),
        ("LSN-", "ubuntu"),
        ("ALPINE-", "alpine"),
        ("ALSA-", "almalinux"),
        ("ALBA-", "almalinux"),
        ("ALEA-", "almalinux"),
        ("RLSA-", "rocky"),
        ("RXSA-", "rocky"),
        ("RLBA-", "rocky"),
        ("RLEA-", "rocky"),
        ("RHSA-", "redhat"),
        ("RHBA-", "redhat"),
        ("RHEA-", "redhat"),
        ("SUSE-", "suse"),
        ("openSUSE-", "suse"),
        ("BIT-", "bitnami"),
        ("CGA-", "chainguard"),
        ("MGASA-", "mageia"),
        ("RUBYSEC-", "rubysec"),
        ("FOP-", "friendsofphp"),
        ("RETIRE-", "retirejs"),
        ("NSWG-", "nodejs"),
    ];
    PREFIXES.iter().find(|(prefix, _)| id.starts_with(prefix)).map_or("osv", |(_, feed)| feed)
}
