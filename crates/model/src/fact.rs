//! What the stages established: the only input of the aggregator's state. Facts arrive at least once and in
//! any order; each says enough to be applied alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::exposure::{Exposure, WorkloadName};
use crate::extract::Partial;
use crate::package::ComponentKey;
use crate::platform::Platform;
use crate::time::Timestamp;
use crate::vulnerability::MatchSet;

/// A fact with its identity. Equal ids mean the same fact, delivered again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Hash of what the fact depends on; the inbox remembers it.
    pub id: String,
    /// When the event that led to it happened.
    pub at: Timestamp,
    /// W3C `traceparent` of the work that established it, empty when there is none.
    pub trace: String,
    pub body: FactBody,
}

/// The kinds of facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FactBody {
    /// A registry announced a manifest (from EVENTS).
    ImagePushed(ImagePushed),
    /// A registry announced that a manifest or a tag is gone (from EVENTS).
    ImageDeleted(ImageDeleted),
    /// The planner read a manifest.
    Manifest(ManifestFact),
    /// The planner resolved the references of a deploy event.
    Resolved(ResolvedFact),
    /// An image was inventoried and matched.
    Image(ImageFact),
    /// An image could not be inventoried, and this is visible.
    ScanFailed(ScanFailed),
    /// What a cluster runs and who can reach it.
    Exposure(ExposureFact),
    /// Components were matched again with another Db.
    Match(MatchFact),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePushed {
    pub registry: String,
    pub repository: String,
    /// Absent when the manifest was pushed by digest (a child of an index).
    pub tag: Option<String>,
    pub digest: Digest,
    /// Order among the events of one repository: EVENTS stream sequence.
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDeleted {
    pub registry: String,
    pub repository: String,
    /// Exactly one of tag and digest is set.
    pub tag: Option<String>,
    pub digest: Option<Digest>,
    pub seq: u64,
}

/// A manifest as the planner read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFact {
    pub registry: String,
    pub repository: String,
    pub digest: Digest,
    pub kind: ManifestKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestKind {
    /// An image index with its runnable children.
    Index { children: Vec<(Platform, Digest)> },
    /// An image for one platform, with its layers, oldest first.
    Image { platform: Platform, layers: Vec<Digest> },
    /// A chart, a signature, an attestation and the like.
    NotAnImage { artifact_type: String },
}

/// The digests that the references of one deploy event meant when it was handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedFact {
    pub cluster: String,
    /// EVENTS sequence of the deploy event.
    pub seq: u64,
    pub references: Vec<Resolution>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The reference as the manifest writes it.
    pub reference: String,
    /// Identity of the registry after aliases, and repository; empty when the reference is not valid.
    pub registry: String,
    pub repository: String,
    pub digest: Option<Digest>,
    /// Stable code where it could not be resolved, e.g. `registry_not_configured`.
    pub code: String,
}

/// The inventory and the matches of one image (one platform).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageFact {
    pub digest: Digest,
    pub platform: Platform,
    /// Name of the Sbom artifact.
    pub sbom: String,
    /// Distinct components of the Sbom, sorted.
    pub components: Vec<ComponentKey>,
    pub matches: MatchSet,
    /// Why the Sbom may be incomplete.
    pub partial: Vec<Partial>,
    /// Layer digests, oldest first.
    pub layers: Vec<Digest>,
    /// Components all of whose files are inside of another's (see [`crate::Sbom::inside`]), as places in `components`.
    pub inside: Vec<(u32, u32)>,
    /// For each of `components` the newest layer, by its place in `layers`, that brought it in; [`UNKNOWN_LAYER`] where
    /// that is not known of all the places it was found at. Empty in facts of versions that did not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introduced: Vec<u32>,
}

/// In [`ImageFact::introduced`]: the layer is not known.
pub const UNKNOWN_LAYER: u32 = u32::MAX;

/// A scan that ended without an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanFailed {
    /// The image, where its digest is known.
    pub digest: Option<Digest>,
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    /// Stage that failed: `manifest`, `layer`, `sbom`, `scan`.
    pub stage: String,
    /// Stable code, see the page of error codes.
    pub code: String,
    pub detail: String,
}

/// The settled state of a cluster after some events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureFact {
    pub cluster: String,
    /// EVENTS sequence of the newest event of the state that `changes` starts from; 0 for none.
    pub base_seq: u64,
    /// EVENTS sequence of the newest event that is folded in.
    pub target_seq: u64,
    /// Number of the publication: of two facts with the same target, the higher is the newer. 0 of older writers.
    #[serde(default)]
    pub publication: u64,
    /// EVENTS sequence through which every event is folded in: those of namespaces that were not quiet yet are left
    /// out. 0 of older writers, which leave none out.
    #[serde(default)]
    pub through_seq: u64,
    /// Absolute state of every workload that differs between base and target (all of them when base is 0).
    pub workloads: Vec<WorkloadFact>,
    /// Workloads that are gone.
    pub removed: Vec<WorkloadName>,
    /// Connections added, removed and changed, in words, at most 1,000, of each kind some.
    pub changes: Vec<ConnectionChange>,
    /// Those that differ too and are not among `changes`.
    #[serde(default, skip_serializing_if = "Unlisted::is_none")]
    pub unlisted: Unlisted,
    /// Connections that were open in between, and neither before nor after: `before` is what was and is open, `after`
    /// what was open for a while. At most 1,000.
    #[serde(default)]
    pub transient: Vec<ConnectionChange>,
    /// Who or what deployed, for the cause's sentence.
    pub actor: String,
}

/// Connections of a difference that are not listed, counted by what happened to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    /// Not every pair was counted: there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

impl Unlisted {
    /// True when the list is all that there is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Number of connections.
    pub fn total(&self) -> u64 {
        self.added.saturating_add(self.removed).saturating_add(self.changed)
    }
}

/// `9532 more (9000 added, 532 removed)`, without kinds that there are none of; `at least 9532 more (…)` where they were
/// not all counted.
impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [(self.added, "added"), (self.removed, "removed"), (self.changed, "changed")];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let least = if self.at_least { "at least " } else { "" };
        write!(f, "{least}{} more ({})", self.total(), kinds.join(", "))
    }
}

/// One workload: what it runs and who can reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFact {
    pub name: WorkloadName,
    pub exposure: Exposure,
    /// EVENTS sequence at which its specification last changed.
    pub changed_seq: u64,
    pub containers: Vec<ContainerFact>,
    pub privileged: bool,
    pub replicas: u32,
    /// What changes brought about for its connections and still stands, sorted. A policy that something is odd about is
    /// told as a workload of its kind without containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<NetworkNote>,
}

/// A consequence of changes of a cluster that still stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkNote {
    /// `NETPOL001`…
    pub code: String,
    /// `ingress`, `egress` or `policy`.
    pub about: String,
    /// What happened, in one sentence.
    pub message: String,
    /// Rules that decide, or decided before.
    pub decided_by: Vec<String>,
    /// Who is on the other side: printed workloads, ranges of addresses, `internet`, `entire-cluster`. Empty where that is
    /// not known whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerFact {
    pub name: String,
    /// The reference as the manifest writes it.
    pub image: String,
    /// From the pod's status or from the reference itself.
    pub digest: Option<Digest>,
}

/// One line of a connectivity diff.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionChange {
    pub kind: ConnectionChangeKind,
    pub source: String,
    pub destination: String,
    pub before: String,
    pub after: String,
    /// Names of the policies and entries that decide, e.g. `NetworkPolicy shop/allow-web`.
    pub because: Vec<String>,
    /// Rules that decided before, e.g. `networking.k8s.io/NetworkPolicy shop/closed isolate`; empty where nothing
    /// selected (allowed by default).
    #[serde(default)]
    pub decided_before: Vec<String>,
    /// Rules that decide after; as before.
    #[serde(default)]
    pub decided_after: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionChangeKind {
    Added,
    Removed,
    Changed,
}

/// Fresh matches of components that the store asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchFact {
    /// The components that were matched, also those without matches.
    pub components: Vec<ComponentKey>,
    pub matches: MatchSet,
    /// What changed, for the cause's sentence: `Db 7`.
    pub reason: String,
}
