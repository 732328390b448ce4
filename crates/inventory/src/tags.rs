//! Which digests are current in a repository.

use std::collections::BTreeMap;

use plimsoll_model::Digest;

/// Which tags of a repository count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    /// As many tags, the most recently pushed first.
    pub newest: usize,
    /// These, whenever they were pushed; they do not count among the newest.
    pub always: Vec<String>,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { newest: 3, always: vec!["latest".to_owned()] }
    }
}

/// The last that was said about a tag (or, without a tag, about a manifest that was pushed by digest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagState {
    /// `None` for a manifest that was pushed by its digest.
    pub tag: Option<String>,
    /// `None` when the tag was deleted.
    pub digest: Option<Digest>,
    /// EVENTS sequence of the push or deletion.
    pub seq: u64,
}

/// The current digests of a repository with the tags that make them so (none for those pushed by digest).
///
/// `deleted` has the sequence at which a manifest was deleted: pushes before it do not count. Manifests that were pushed by digest
/// count only while the repository never had a tag: otherwise they are children of an index, or leftovers.
pub fn current(
    tags: &[TagState],
    deleted: &BTreeMap<Digest, u64>,
    tracking: &Tracking,
) -> BTreeMap<Digest, Vec<String>> {
    let tagged = tags.iter().any(|t| t.tag.is_some());
    let mut live: Vec<(&TagState, &Digest)> = tags
        .iter()
        .filter(|t| t.tag.is_some() == tagged)
        .filter_map(|t| Some((t, t.digest.as_ref()?)))
        .filter(|(t, digest)| deleted.get(*digest).is_none_or(|&gone| gone < t.seq))
        .collect();
    live.sort_by(|(a, x), (b, y)| b.seq.cmp(&a.seq).then_with(|| a.tag.cmp(&b.tag)).then_with(|| x.cmp(y)));
    let mut current: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut newest = 0;
    for (state, digest) in live {
        let always = state.tag.as_ref().is_some_and(|tag| tracking.always.contains(tag));
        if !always {
            if newest >= tracking.newest {
                continue;
            }
            newest += 1;
        }
        current.entry(digest.clone()).or_default().extend(state.tag.clone());
    }
    for tags in current.values_mut() {
        tags.sort();
    }
    current
}
