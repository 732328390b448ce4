//! Which images are behind a digest: itself, or the children of the index that it is.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::fact::ManifestKind;
use plimsoll_model::{Digest, Platform};

/// What is known about manifests, by digest.
pub trait Known {
    /// The manifest, if it was read.
    fn manifest(&self, digest: &Digest) -> Option<&ManifestKind>;
    /// The platform of an image that was inventoried, whether or not its manifest fact arrived.
    fn image(&self, digest: &Digest) -> Option<&Platform>;
}

/// Depth to which indexes are followed.
const MAX_DEPTH: u8 = 3;

/// The images behind `digest` with their platforms, sorted; each image once. Empty while nothing is known about the
/// digest, and for what is not an image.
pub fn images_behind(digest: &Digest, known: &impl Known) -> Vec<(Platform, Digest)> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    walk(digest, None, MAX_DEPTH, known, &mut seen, &mut found);
    let mut images: Vec<(Platform, Digest)> = found.into_iter().map(|(d, p)| (p, d)).collect();
    images.sort();
    images
}

fn walk<'a>(
    digest: &'a Digest,
    platform: Option<&'a Platform>,
    depth: u8,
    known: &'a impl Known,
    seen: &mut BTreeSet<&'a Digest>,
    found: &mut BTreeMap<Digest, Platform>,
) {
    if !seen.insert(digest) {
        return;
    }
    match known.manifest(digest) {
        Some(ManifestKind::Index { children }) if depth > 0 => {
            for (platform, child) in children {
                walk(child, Some(platform), depth - 1, known, seen, found);
            }
        }
        Some(ManifestKind::Index { .. } | ManifestKind::NotAnImage { .. }) => {}
        Some(ManifestKind::Image { platform: own, .. }) => {
            found.insert(digest.clone(), platform.unwrap_or(own).clone());
        }
        // A child that nobody has read yet counts: what its index says is enough.
        None => {
            if let Some(platform) = platform.or_else(|| known.image(digest)) {
                found.insert(digest.clone(), platform.clone());
            }
        }
    }
}
