//! Feeds become one mapped Db; components are matched against it.
//!
//! | module | does |
//! |---|---|
//! | [`feeds`] | reads advisory and intelligence sources in their official formats into [`advisory`] records |
//! | [`advisory`] | what the feeds say, in one form |
//! | [`names`] | ecosystems, releases and names as OSV writes them, and the keys under which the Db is asked |
//! | `probes` | what the Db is asked about a component |
//! | [`builds`] | what the version of an RPM build says of how it was built |
//! | [`classified`] | programs without a package, and how feeds call them |
//! | [`end_of_life`] | releases that their distributions no longer support |
//! | [`ranges`] | OSV events become disjoint intervals of versions |
//! | [`score`] | severities in words, and what a CVSS vector says |
//! | [`aliases`] | records of one vulnerability come together under one canonical id |
//! | [`db`] | the file: build, open, verify, ask, compare |
//! | [`matching`] | components, key sets and Sboms against a Db |
//!
//! ```no_run
//! use plimsoll_vuln::{BuildOptions, Db, build};
//! # fn main() -> Result<(), plimsoll_vuln::DbError> {
//! let (bytes, report) = build(&["advisories".into()], &BuildOptions { seq: 1, ..Default::default() })?;
//! println!("{} records, {} rejected", report.records(), report.rejected());
//! let db = Db::from_bytes(bytes)?;
//! println!("{:?}", db.vulnerability("CVE-2021-44228")?);
//! # Ok(()) }
//! ```

pub mod advisory;
pub mod aliases;
pub mod builds;
pub mod classified;
pub mod db;
pub mod end_of_life;
pub mod feeds;
pub mod matching;
pub mod names;
mod probes;
pub mod ranges;
pub mod score;

pub use db::build::{BuildOptions, BuildReport, Input, build, build_dated, build_sources};
pub use db::diff::{DbDiff, diff};
pub use db::{Db, DbError, DbInfo};
pub use feeds::{FeedReport, Format, Layers, Provenance, Rejected, detect};
pub use matching::matchable_keys;
pub use names::LookupKey;
