//! What the feeds say, in one form.

use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::{Exploit, MatchStatus, Severity};
use plimsoll_version::Scheme;

use crate::names::LookupKey;
use crate::ranges::Interval;

/// One record of a feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Advisory(Advisory),
    Kev(KevEntry),
    Epss(EpssEntry),
    Cve(CveEntry),
    Unsupported(Unsupported),
}

/// An advisory: some packages are affected by one or several vulnerabilities.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Advisory {
    pub id: String,
    /// Short name of the source (`ghsa`, `debian`, `go`, …).
    pub feed: &'static str,
    /// Other ids that the record states for what it is about: aliases, upstream ids of distributions, and, where a
    /// distribution writes its CVEs there, related ids. Several CVEs mean several vulnerabilities.
    pub names: Vec<String>,
    pub summary: String,
    pub published: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    /// Taken back: the record affects nothing.
    pub withdrawn: bool,
    /// Severity that the record states in words.
    pub severity: Severity,
    /// Valid CVSS vectors, as stated.
    pub cvss: Vec<String>,
    pub affected: Vec<Affected>,
}

/// The versions of one package that an advisory is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Affected {
    pub key: LookupKey,
    pub scheme: Scheme,
    pub status: MatchStatus,
    /// The distribution's own severity for this package, where it gives one.
    pub severity: Severity,
    pub intervals: Vec<Interval>,
    /// Versions that the advisory lists one by one.
    pub versions: Vec<String>,
    /// Architectures of which alone this is said, sorted; empty for all.
    pub arches: Vec<String>,
}

/// A package whose security support ended before that of its release: what is open there stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub key: LookupKey,
    /// All packages whose names begin so.
    pub prefix: bool,
    pub since: Option<Timestamp>,
}

/// One entry of the CISA catalog of known exploited vulnerabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KevEntry {
    pub cve: String,
    pub date_added: Timestamp,
    pub ransomware: bool,
}

/// One line of the EPSS scores.
#[derive(Debug, Clone, PartialEq)]
pub struct EpssEntry {
    pub cve: String,
    /// 0 to 1.
    pub probability: f64,
}

/// What a CVE record of Vulnrichment adds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CveEntry {
    pub cve: String,
    pub summary: String,
    pub published: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    pub cvss: Vec<String>,
    pub exploit: Exploit,
    pub automatable: Option<bool>,
    pub total_impact: Option<bool>,
}
