//! Names of streams, subjects and buckets.

use std::fmt;
use std::str::FromStr;

/// The stream of what happened outside.
pub const EVENTS: &str = "EVENTS";
/// The work queue.
pub const JOBS: &str = "JOBS";
/// The queue of jobs that wait for a time: `schedule.<id>` until then, `later.<stage>.<lane>` from then on, whence the
/// stage moves them back to [`JOBS`]. It is a stream of its own because one with schedules cannot refuse new messages
/// when it is full, as the work queue does.
pub const LATER: &str = "LATER";
/// The stream of what stages established.
pub const FACTS: &str = "FACTS";
/// The stream that subscribers read.
pub const FINDINGS: &str = "FINDINGS";
/// The stream of work that was given up.
pub const DEAD: &str = "DEAD";
/// The stream that keeps the server's advisories about `max_deliver`.
pub const ADVISORIES: &str = "ADVISORIES";

pub const IMAGE_PUSHED: &str = "events.image.pushed";
pub const IMAGE_DELETED: &str = "events.image.deleted";
pub const LAYER_PUSHED: &str = "events.layer.pushed";
pub const DB_UPDATED: &str = "events.db.updated";
/// Every deploy event; one cluster's are at [`cluster_changed`].
pub const CLUSTERS_CHANGED: &str = "events.cluster.*";

pub const FACT_MANIFEST: &str = "facts.manifest";
/// The manifest of an image whose layers are all known, with the sbom job that follows from it: one message where two
/// would be.
pub const FACT_READY: &str = "facts.ready";
pub const FACT_RESOLVED: &str = "facts.resolved";
pub const FACT_LAYER: &str = "facts.layer";
pub const FACT_IMAGE: &str = "facts.image";
pub const FACT_EXPOSURE: &str = "facts.exposure";
pub const FACT_MATCH: &str = "facts.match";

/// Urgency of work. Hot is taken first; bulk keeps one slot in eight; hints take what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Hot,
    Bulk,
    Hint,
}

impl Lane {
    /// The word in subjects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Bulk => "bulk",
            Self::Hint => "hint",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no lane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown lane {0:?}: one of hot, bulk, hint")]
pub struct UnknownLane(pub String);

impl FromStr for Lane {
    type Err = UnknownLane;
    fn from_str(text: &str) -> Result<Self, UnknownLane> {
        [Self::Hot, Self::Bulk, Self::Hint]
            .into_iter()
            .find(|lane| lane.as_str() == text)
            .ok_or_else(|| UnknownLane(text.chars().take(20).collect()))
    }
}

/// `jobs.<stage>.<lane>`
pub fn job(stage: &str, lane: Lane) -> String {
    format!("jobs.{stage}.{lane}")
}

/// `later.<stage>.<lane>`: a job whose time has come, before it is in the work queue again.
pub fn later(stage: &str, lane: Lane) -> String {
    format!("later.{stage}.{lane}")
}

/// `dead.<stage>`
pub fn dead(stage: &str) -> String {
    format!("dead.{stage}")
}

/// `events.cluster.<cluster>`: a cluster's events are a log of their own, so a fold reads no other's.
pub fn cluster_changed(cluster: &str) -> String {
    format!("events.cluster.{}", token(cluster))
}

/// One subject token or record key of any text: bytes outside `[A-Za-z0-9_-]` are percent-encoded with `=`
/// as the sign, which both subjects and record keys admit. The empty text becomes `=`.
pub fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            out.push(char::from(byte));
        } else {
            out.push('=');
            plimsoll_model::digest::push_hex(&mut out, &[byte]);
        }
    }
    if out.is_empty() {
        out.push('=');
    }
    out
}

/// Record key of a layer under a limits profile.
pub fn layer_record(profile: &str, digest: &str) -> String {
    format!("{}.{}", token(profile), token(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_one_token_and_distinct(a in ".{0,12}", b in ".{0,12}") {
            let encoded = token(&a);
            prop_assert!(!encoded.is_empty());
            prop_assert!(encoded.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'=')));
            prop_assert_eq!(a == b, encoded == token(&b));
        }
    }
}
