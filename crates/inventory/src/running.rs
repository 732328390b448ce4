//! Which digest a container runs, and how we know.

use plimsoll_model::fact::{ContainerFact, Resolution};
use plimsoll_model::{Digest, Reference};

/// How the digest of a container is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// The status of a pod says so.
    PodStatus,
    /// The reference names it.
    Manifest,
    /// The tag pointed at it when the deploy event of this EVENTS sequence was handled.
    Resolved { seq: u64 },
    /// The tag could not be resolved; a stable code.
    Unresolved { code: String },
    /// The deploy event has not been handled yet.
    Pending,
}

impl Basis {
    /// The word in answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PodStatus => "pod_status",
            Self::Manifest => "manifest",
            Self::Resolved { .. } => "resolved",
            Self::Unresolved { .. } => "unresolved",
            Self::Pending => "pending",
        }
    }
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub digest: Option<Digest>,
    pub basis: Basis,
    /// Identity of the registry and repository; empty when the reference is not valid.
    pub registry: String,
    pub repository: String,
    /// The tag in the reference, which a later push may move.
    pub tag: Option<String>,
}

/// What `container` runs. `resolution` is that of the deploy event at which the workload's specification last changed
/// (`changed_seq`) and of this container's reference: a later push that moves the tag does not change what runs.
pub fn running(container: &ContainerFact, changed_seq: u64, resolution: Option<&Resolution>) -> Running {
    let reference: Option<Reference> = container.image.parse().ok();
    let (registry, repository) = match (resolution, &reference) {
        // After aliases, so it is the better name.
        (Some(r), _) if !r.repository.is_empty() => (r.registry.clone(), r.repository.clone()),
        (_, Some(r)) => (r.registry.clone(), r.repository.clone()),
        _ => (String::new(), String::new()),
    };
    let named = reference.as_ref().and_then(|r| r.digest.clone());
    let (digest, basis) = match (&container.digest, named, resolution) {
        (Some(digest), Some(named), _) if *digest == named => (Some(named), Basis::Manifest),
        (Some(digest), ..) => (Some(digest.clone()), Basis::PodStatus),
        (None, Some(named), _) => (Some(named), Basis::Manifest),
        (None, None, Some(Resolution { digest: Some(digest), .. })) => {
            (Some(digest.clone()), Basis::Resolved { seq: changed_seq })
        }
        (None, None, Some(Resolution { digest: None, code, .. })) => {
            (None, Basis::Unresolved { code: code.clone() })
        }
        (None, None, None) => (None, Basis::Pending),
    };
    Running { digest, basis, registry, repository, tag: reference.and_then(|r| r.tag) }
}

/// The digest that a rollout would bring: the tag of the reference points elsewhere by now. `None` when a rollout would
/// change nothing, or the reference pins a digest.
pub fn rollout<'a>(
    container: &ContainerFact,
    running: &Running,
    tag_now: Option<&'a Digest>,
) -> Option<&'a Digest> {
    let pinned = container.image.contains('@');
    match (pinned, &running.digest, tag_now) {
        (false, Some(runs), Some(now)) if runs != now => Some(now),
        _ => None,
    }
}
