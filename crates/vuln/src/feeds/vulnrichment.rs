//! Vulnrichment: CVE JSON 5 records with CISA's container (SSVC and CVSS), whole
//! (<https://github.com/cisagov/vulnrichment>), or one reduced record a line: `cveId`, `cna`, `cisaAdp`.

use std::collections::BTreeMap;

use plimsoll_model::vulnerability::Exploit;
use serde::Deserialize;

use super::{Sink, clip, date, nullable};
use crate::advisory::{CveEntry, Record};
use crate::aliases::is_cve;
use crate::score::valid_vectors;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reduced {
    #[serde(rename = "cveId")]
    id: Option<String>,
    #[serde(rename = "datePublished", deserialize_with = "nullable")]
    published: String,
    #[serde(rename = "dateUpdated", deserialize_with = "nullable")]
    updated: String,
    #[serde(deserialize_with = "nullable")]
    state: String,
    #[serde(deserialize_with = "nullable")]
    cna: Container,
    #[serde(rename = "cisaAdp", deserialize_with = "nullable")]
    adp: Container,
    #[serde(rename = "cveMetadata")]
    metadata: Option<Metadata>,
    containers: Option<Containers>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    #[serde(rename = "cveId")]
    id: String,
    #[serde(rename = "datePublished", deserialize_with = "nullable")]
    published: String,
    #[serde(rename = "dateUpdated", deserialize_with = "nullable")]
    updated: String,
    #[serde(deserialize_with = "nullable")]
    state: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Containers {
    #[serde(deserialize_with = "nullable")]
    cna: Container,
    #[serde(deserialize_with = "nullable")]
    adp: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    #[serde(deserialize_with = "nullable")]
    title: String,
    #[serde(rename = "providerMetadata", deserialize_with = "nullable")]
    provider: Provider,
    #[serde(deserialize_with = "nullable")]
    metrics: Vec<BTreeMap<String, serde_json::Value>>,
    #[serde(deserialize_with = "nullable")]
    ssvc: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Provider {
    #[serde(rename = "shortName", deserialize_with = "nullable")]
    name: String,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let Ok(record) = serde_json::from_slice::<Reduced>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    let (id, published, updated, state, cna, adp) = match (record.metadata, record.containers) {
        (Some(m), containers) => {
            let containers = containers.unwrap_or_default();
            (m.id, m.published, m.updated, m.state, containers.cna, containers.adp)
        }
        (None, _) => {
            let adp = Container { provider: Provider { name: "CISA-ADP".into() }, ..record.adp };
            (
                record.id.unwrap_or_default(),
                record.published,
                record.updated,
                record.state,
                record.cna,
                vec![adp],
            )
        }
    };
    if !is_cve(&id) {
        let id = if id.is_empty() { place } else { &id };
        return sink.reject(id, "id_invalid");
    }
    if state.eq_ignore_ascii_case("REJECTED") {
        return sink.ignore();
    }
    let cisa: Vec<&Container> =
        adp.iter().filter(|c| c.provider.name.eq_ignore_ascii_case("CISA-ADP")).collect();
    let modified = date(&updated);
    let mut entry = CveEntry {
        summary: clip(cna.title.trim(), 256),
        published: date(&published),
        modified,
        // The authority that assigned the CVE first, then CISA.
        cvss: valid_vectors(vectors(&cna).chain(cisa.iter().flat_map(|c| vectors(c)))),
        cve: id,
        ..CveEntry::default()
    };
    for container in cisa {
        for (name, value) in options(container) {
            decide(&name, &value, &mut entry);
        }
    }
    sink.record(Record::Cve(entry), modified);
}

fn vectors(container: &Container) -> impl Iterator<Item = &str> {
    container.metrics.iter().flat_map(|metric| {
        metric
            .iter()
            .filter(|(name, _)| name.starts_with("cvssV"))
            .filter_map(|(_, value)| value.get("vectorString").and_then(|v| v.as_str()))
    })
}

/// The decision points of SSVC as (name, value), folded to lower case: CISA's own records mix `None` and `none`.
fn options(container: &Container) -> Vec<(String, String)> {
    let fold = |name: &str, value: &serde_json::Value| {
        value.as_str().map(|value| (name.to_ascii_lowercase(), value.to_ascii_lowercase()))
    };
    let mut found: Vec<(String, String)> =
        container.ssvc.iter().filter_map(|(name, value)| fold(name, value)).collect();
    for metric in &container.metrics {
        let Some(other) = metric.get("other") else { continue };
        if !other.get("type").and_then(|v| v.as_str()).is_some_and(|kind| kind.eq_ignore_ascii_case("ssvc")) {
            continue;
        }
        let Some(list) = other.pointer("/content/options").and_then(|v| v.as_array()) else { continue };
        for option in list.iter().take(64).filter_map(|option| option.as_object()) {
            found.extend(option.iter().filter_map(|(name, value)| fold(name, value)));
        }
    }
    found
}

fn decide(name: &str, value: &str, entry: &mut CveEntry) {
    match (name, value) {
        ("exploitation", "poc" | "public poc") => entry.exploit = entry.exploit.max(Exploit::Poc),
        ("exploitation", "active") => entry.exploit = Exploit::Weaponised,
        ("automatable", "yes") => entry.automatable = Some(true),
        ("automatable", "no") => entry.automatable = Some(false),
        ("technical impact", "total") => entry.total_impact = Some(true),
        ("technical impact", "partial") => entry.total_impact = Some(false),
        _ => {}
    }
}
