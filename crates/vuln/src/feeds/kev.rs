//! CISA's catalog of known exploited vulnerabilities, JSON
//! (<https://www.cisa.gov/known-exploited-vulnerabilities-catalog>).

use serde::Deserialize;

use super::{Sink, date, nullable};
use crate::advisory::{KevEntry, Record};
use crate::aliases::is_cve;

#[derive(Deserialize)]
struct Catalog {
    #[serde(rename = "dateReleased", default, deserialize_with = "nullable")]
    released: String,
    #[serde(default, deserialize_with = "nullable")]
    vulnerabilities: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "cveID")]
    cve: String,
    #[serde(rename = "dateAdded")]
    added: String,
    #[serde(rename = "knownRansomwareCampaignUse", default, deserialize_with = "nullable")]
    ransomware: String,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let Ok(catalog) = serde_json::from_slice::<Catalog>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    sink.dated(date(&catalog.released));
    for (n, value) in catalog.vulnerabilities.into_iter().enumerate() {
        let Ok(entry) = serde_json::from_value::<Entry>(value) else {
            sink.reject(&format!("entry {n}"), "json_invalid");
            continue;
        };
        if !is_cve(&entry.cve) {
            sink.reject(&entry.cve, "id_invalid");
            continue;
        }
        match date(&entry.added) {
            Some(date_added) => {
                let ransomware = entry.ransomware.eq_ignore_ascii_case("known");
                sink.record(Record::Kev(KevEntry { cve: entry.cve, date_added, ransomware }), None);
            }
            None => sink.reject(&entry.cve, "date_invalid"),
        }
    }
}
