//! Advisory and intelligence sources in their official formats, from a file or a directory.
//!
//! Content is hostile: a record that cannot be used is counted and named in the [`FeedReport`], and the rest goes on.
//! Only a source that cannot be read at all is an error. Sizes are bounded, see [`input`].

mod container;
pub mod csaf;
pub mod debian;
pub mod debian_support;
pub mod epss;
pub mod input;
pub mod kev;
pub mod licence;
pub mod node_core;
pub mod nvd;
pub mod osv;
pub mod oval;
pub mod photon;
pub mod secdb;
pub mod updateinfo;
pub mod vulnrichment;
mod xml;

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_model::digest::Digest;
use plimsoll_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::advisory::Record;

pub use input::{FeedError, Layers, detect};

/// At most so many rejected records are named; all are counted.
pub const MAX_NAMED_REJECTS: usize = 1000;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// OSV records (<https://ossf.github.io/osv-schema/>).
    Osv,
    /// CISA's catalog of known exploited vulnerabilities, JSON.
    Kev,
    /// FIRST EPSS scores, CSV.
    Epss,
    /// CVE JSON 5 records with CISA's container, or one reduced record a line.
    Vulnrichment,
    /// The Debian security tracker's JSON.
    Debian,
    /// Alpine's security database, also as Wolfi and Chainguard publish it.
    Secdb,
    /// Red Hat's CSAF VEX documents.
    Csaf,
    /// `updateinfo.xml` of rpm repositories.
    UpdateInfo,
    /// OVAL definitions of rpm distributions.
    Oval,
    /// Photon OS.
    Photon,
    /// CVE records of NVD, API 2.0.
    Nvd,
    /// Vulnerabilities of Node.js itself.
    NodeCore,
    /// Debian's packages without security support.
    DebianSupport,
}

impl Format {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Osv => "osv",
            Self::Kev => "kev",
            Self::Epss => "epss",
            Self::Vulnrichment => "vulnrichment",
            Self::Debian => "debian",
            Self::Secdb => "secdb",
            Self::Csaf => "csaf",
            Self::UpdateInfo => "updateinfo",
            Self::Oval => "oval",
            Self::Photon => "photon",
            Self::Nvd => "nvd",
            Self::NodeCore => "nodecore",
            Self::DebianSupport => "debiansupport",
        }
    }
}

/// What was read of one source in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedReport {
    pub format: Format,
    /// Last component of the path that was given.
    pub source: String,
    /// Records that were taken.
    pub records: u64,
    /// Records, or parts of records, that could not be used.
    pub rejected: u64,
    /// The first [`MAX_NAMED_REJECTS`] of these.
    pub rejects: Vec<Rejected>,
    /// Records that say nothing to match: bug-fix updates, notices of unmaintained packages, refused CVEs.
    pub ignored: u64,
    /// Entries of ecosystems that Plimsoll does not match, by ecosystem.
    pub unsupported: BTreeMap<String, u64>,
    /// Records of each feed in the source (`ghsa`, `pypa`, …), of those that name packages.
    #[serde(default)]
    pub feeds: BTreeMap<String, u64>,
    /// Where the source was fetched from, and when; nothing for what was just read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// The newest date that any record was modified; for KEV and EPSS the date of the whole.
    pub newest: Option<Timestamp>,
    /// SHA-256 of the file, or of the sorted names and SHA-256s of a directory's files.
    pub checksum: Digest,
}

/// Where a source came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// What the source is called in the configuration.
    pub name: String,
    /// Address, or path.
    pub address: String,
    /// The date that the server gives the content, where it gives one.
    pub as_of: Option<Timestamp>,
    /// When the content was last known to be the source's own.
    pub checked: Option<Timestamp>,
    /// The source did not answer, or not with what can be used: this is the last good copy.
    pub stale: bool,
    /// What the source has now lost records or went backwards, and waits for acceptance: this is the copy before.
    pub held: bool,
}

/// A record that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejected {
    pub feed: String,
    /// Id of the record, or the place where it stands (`line 7`, a file name).
    pub id: String,
    /// A stable code: `json_invalid`, `record_too_large`, `id_invalid`, `version_invalid`, `nothing_affected`,
    /// `too_many_entries`, `date_invalid`, `score_invalid`, `release_unknown`, `entry_unreadable`, `format_unknown`,
    /// `xml_invalid`.
    pub reason: String,
}

/// Where the readers of formats put what they find.
pub(crate) struct Sink<'a> {
    pub(crate) out: &'a mut dyn FnMut(Record),
    pub(crate) report: &'a mut FeedReport,
}

impl Sink<'_> {
    pub(crate) fn record(&mut self, record: Record, modified: Option<Timestamp>) {
        self.report.records += 1;
        if let Record::Advisory(advisory) = &record {
            match self.report.feeds.get_mut(advisory.feed) {
                Some(count) => *count += 1,
                None => drop(self.report.feeds.insert(advisory.feed.to_owned(), 1)),
            }
        }
        self.dated(modified);
        (self.out)(record);
    }

    pub(crate) fn dated(&mut self, modified: Option<Timestamp>) {
        self.report.newest = self.report.newest.max(modified);
    }

    pub(crate) fn reject(&mut self, id: &str, reason: &str) {
        self.report.rejected += 1;
        if self.report.rejects.len() < MAX_NAMED_REJECTS {
            self.report.rejects.push(Rejected {
                feed: self.report.format.as_str().to_owned(),
                id: id.chars().take(128).collect(),
                reason: reason.to_owned(),
            });
        }
    }

    pub(crate) fn ignore(&mut self) {
        self.report.ignored += 1;
    }

    pub(crate) fn unsupported(&mut self, ecosystem: &str) {
        const MAX_NAMES: usize = 256;
        // Releases are not told apart: "Android:14" counts as "Android".
        let base: String = ecosystem.split(':').next().unwrap_or("").chars().take(64).collect();
        if self.report.unsupported.len() < MAX_NAMES || self.report.unsupported.contains_key(&base) {
            *self.report.unsupported.entry(base).or_insert(0) += 1;
        }
    }
}

/// The SHA-256 of a file, read as a stream.
pub fn checksum(path: &Path) -> Result<Digest, FeedError> {
    input::sha256(path).map(|sum| Digest::from_sha256(&sum))
}

/// Reads every record of a file or directory. A directory may hold several formats: one report for each, sorted.
/// Files of a directory that are no data (`README.md`) are passed over.
pub fn read(path: &Path, out: &mut dyn FnMut(Record)) -> Result<Vec<FeedReport>, FeedError> {
    input::read(path, out)
}

/// One document of a format: a whole file, a line, or an entry of an archive.
pub(crate) fn document(format: Format, place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    match format {
        Format::Osv => osv::document(place, bytes, sink),
        Format::Kev => kev::document(place, bytes, sink),
        Format::Vulnrichment => vulnrichment::document(place, bytes, sink),
        Format::Debian => debian::document(place, bytes, sink),
        Format::Secdb => secdb::document(place, bytes, sink),
        Format::Csaf => csaf::document(place, bytes, sink),
        Format::Photon => photon::document(place, bytes, sink),
        Format::Nvd => nvd::document(place, bytes, sink),
        Format::NodeCore => node_core::document(place, bytes, sink),
        Format::DebianSupport => debian_support::document(place, bytes, sink),
        // These are read as streams, see `input`.
        Format::UpdateInfo => updateinfo::read(place, bytes, sink),
        Format::Oval => oval::read(place, bytes, sink),
        // Scores are read as a stream, see `input`.
        Format::Epss => epss::read(place, bytes, sink),
    }
}

/// A date of a record: RFC 3339, a date alone, or (CVE records) without a zone, meaning UTC. Dates before 1990, which
/// stand for "none" in some feeds, are none.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    const YEAR_1990: Timestamp = Timestamp(631_152_000_000);
    let text = text.trim();
    let parsed = text.parse::<Timestamp>().or_else(|_| format!("{text}Z").parse());
    parsed.ok().filter(|&at| at >= YEAR_1990)
}

/// True for ids that may stand in the Db: printable ASCII without spaces, 1 to 128 bytes.
pub(crate) fn id_is_valid(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic())
}

/// The first `limit` characters.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

/// Reads a field that may be absent or null.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
