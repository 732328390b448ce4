//! NVD's CVE records, as pages of the API 2.0 or its yearly files
//! (<https://nvd.nist.gov/developers/vulnerabilities>). Read are the products that a classifier finds by their content
//! (see [`crate::classified`]): names of products are guesses everywhere else, and their matches would be too.

use std::fmt;

use plimsoll_model::package::Ecosystem;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::vulnerability::Severity;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Sink, clip, date, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::classified;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};
use crate::score::valid_vectors;

const MAX_MATCHES: usize = 20_000;

#[derive(Deserialize)]
struct Item {
    cve: Cve,
}

#[derive(Deserialize)]
struct Cve {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    published: String,
    #[serde(rename = "lastModified", default, deserialize_with = "nullable")]
    modified: String,
    #[serde(rename = "vulnStatus", default, deserialize_with = "nullable")]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    descriptions: Vec<Description>,
    #[serde(default, deserialize_with = "nullable")]
    metrics: std::collections::BTreeMap<String, Vec<serde_json::Value>>,
    #[serde(default, deserialize_with = "nullable")]
    configurations: Vec<Configuration>,
}

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    lang: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default, deserialize_with = "nullable")]
    nodes: Vec<CpeNode>,
}

#[derive(Deserialize)]
struct CpeNode {
    #[serde(default, deserialize_with = "nullable")]
    negate: bool,
    #[serde(rename = "cpeMatch", default, deserialize_with = "nullable")]
    matches: Vec<CpeMatch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CpeMatch {
    #[serde(default)]
    vulnerable: bool,
    criteria: String,
    version_start_including: Option<String>,
    version_start_excluding: Option<String>,
    version_end_including: Option<String>,
    version_end_excluding: Option<String>,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Page { place, sink: &mut *sink }.deserialize(&mut reader).and_then(|()| reader.end());
    if read.is_err() {
        sink.reject(place, "json_invalid");
    }
}

/// A page, or the file of a year: what it has is taken one by one, because a year is some hundred megabytes.
struct Page<'s, 'k> {
    place: &'s str,
    sink: &'s mut Sink<'k>,
}

impl<'de> DeserializeSeed<'de> for Page<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of NVD's interface")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "timestamp" => {
                    self.sink.dated(date(&map.next_value::<Option<String>>()?.unwrap_or_default()))
                }
                "vulnerabilities" => {
                    map.next_value_seed(Items(Page { place: self.place, sink: &mut *self.sink }))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Items<'s, 'k>(Page<'s, 'k>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of vulnerabilities")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Page { place, sink } = self.0;
        let mut number = 0_usize;
        while let Some(value) = list.next_element::<serde_json::Value>()? {
            match serde_json::from_value::<Item>(value) {
                Ok(item) => take(&item.cve, sink),
                Err(_) => sink.reject(&format!("{place} {number}"), "json_invalid"),
            }
            number += 1;
        }
        Ok(())
    }
}

fn take(cve: &Cve, sink: &mut Sink<'_>) {
    if !is_cve(&cve.id) {
        return sink.reject(&cve.id, "id_invalid");
    }
    if cve.status.eq_ignore_ascii_case("rejected") {
        return sink.ignore();
    }
    let matches =
        cve.configurations.iter().flat_map(|c| &c.nodes).filter(|node| !node.negate).flat_map(|n| &n.matches);
    let mut affected = Vec::new();
    for (number, cpe) in matches.filter(|cpe| cpe.vulnerable).enumerate() {
        if number >= MAX_MATCHES {
            return sink.reject(&cve.id, "too_many_entries");
        }
        match read_match(cpe) {
            Ok(Some(found)) => affected.push(found),
            Ok(None) => {}
            Err(reason) => sink.reject(&cve.id, reason),
        }
    }
    if affected.is_empty() {
        return sink.ignore();
    }
    let modified = date(&cve.modified);
    let vectors = cve
        .metrics
        .values()
        .flatten()
        .filter_map(|metric| metric.pointer("/cvssData/vectorString")?.as_str());
    let summary = cve.descriptions.iter().find(|d| d.lang == "en").map_or("", |d| d.value.trim());
    let advisory = Advisory {
        id: format!("NVD-{}", cve.id),
        feed: "nvd",
        names: vec![cve.id.clone()],
        summary: clip(summary, 256),
        published: date(&cve.published),
        modified,
        cvss: valid_vectors(vectors),
        affected,
        ..Advisory::default()
    };
    sink.record(Record::Advisory(advisory), modified);
}

/// What one CPE match says; `None` for products that no classifier finds, and for editions of other platforms.
fn read_match(cpe: &CpeMatch) -> Result<Option<Affected>, &'static str> {
    let fields = cpe_fields(&cpe.criteria);
    let field = |n: usize| fields.get(n).map_or("*", String::as_str);
    if field(0) != "cpe" || field(2) != "a" {
        return Ok(None);
    }
    let product = format!("{}:{}", field(3), field(4));
    if !classified::is_named(&product) || !matches!(field(10), "*" | "-" | "linux") {
        return Ok(None);
    }
    let scheme = scheme(Ecosystem::Generic).ok_or("version_invalid")?;
    let (version, update) = (field(5), field(6));
    let (mut intervals, mut versions) = (Vec::new(), Vec::new());
    match version {
        "-" => return Ok(None),
        "*" => {
            let start = match (&cpe.version_start_including, &cpe.version_start_excluding) {
                (Some(start), _) => Some(start.clone()),
                // The caret sorts behind the version itself and before whatever follows it.
                (None, Some(start)) => Some(format!("{start}^")),
                (None, None) => None,
            };
            let end = match (&cpe.version_end_excluding, &cpe.version_end_including) {
                (Some(end), _) => End::Fixed(end.clone()),
                (None, Some(end)) => End::Last(end.clone()),
                (None, None) => End::Open,
            };
            let bounds = [
                start.as_deref(),
                match &end {
                    End::Fixed(end) | End::Last(end) => Some(end.as_str()),
                    _ => None,
                },
            ];
            if bounds.iter().flatten().any(|text| text.len() > 128 || scheme.parse(text).is_err()) {
                return Err("version_invalid");
            }
            intervals.push(Interval { start, end });
        }
        version => {
            let text =
                if matches!(update, "*" | "-") { version.to_owned() } else { format!("{version}{update}") };
            if text.len() > 128 {
                return Err("version_invalid");
            }
            versions.push(text);
        }
    }
    Ok(Some(Affected {
        key: LookupKey::new(Ecosystem::Generic, None, &classified::cpe_name(&product)),
        scheme,
        status: MatchStatus::Affected,
        severity: Severity::Unknown,
        intervals,
        versions,
        arches: Vec::new(),
    }))
}

/// The fields of a CPE 2.3 formatted string (NISTIR 7695, 6.2): separated by colons, characters escaped by a backslash.
fn cpe_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = text.chars().take(1024);
    while let Some(c) = characters.next() {
        match c {
            ':' => fields.push(String::new()),
            '\\' => {
                if let (Some(field), Some(escaped)) = (fields.last_mut(), characters.next()) {
                    field.push(escaped);
                }
            }
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}
