//! The values that every part of Plimsoll speaks about; no input, no output.
//!
//! | module | values |
//! |---|---|
//! | [`digest`] | content digests as the OCI image specification writes them |
//! | [`reference`] | registry, repository, tag and digest of an image |
//! | [`platform`] | operating system and architecture of a manifest |
//! | [`package`] | ecosystems, distribution releases, package and component keys |
//! | [`extract`] | what one layer contributes |
//! | [`sbom`] | the components of one image |
//! | [`vulnerability`] | vulnerabilities with their intelligence, and matches |
//! | [`exposure`] | who can reach a workload, and how far that is proved |
//! | [`fact`] | what the stages established: the aggregator's input |
//! | [`finding`] | holders, classes, findings and their changes |
//! | [`action`] | what people do about findings |
//! | [`vex`] | statements about vulnerabilities in products |
//! | [`time`] | points in time, in milliseconds |

pub mod action;
pub mod digest;
pub mod exposure;
pub mod extract;
pub mod fact;
pub mod finding;
pub mod package;
pub mod platform;
pub mod reference;
pub mod sbom;
pub mod time;
pub mod vex;
pub mod vulnerability;

pub use action::{Action, ActionKind};
pub use digest::Digest;
pub use exposure::{Exposure, ExposureLevel};
pub use extract::Extract;
pub use fact::{Fact, FactBody};
pub use finding::{Class, Finding, FindingKey, Holder};
pub use package::{ComponentKey, Ecosystem, PackageKey, Release};
pub use platform::Platform;
pub use reference::Reference;
pub use sbom::{Component, Sbom};
pub use time::Timestamp;
pub use vex::{Statement, Suppression};
pub use vulnerability::{Match, MatchSet, Vulnerability};
