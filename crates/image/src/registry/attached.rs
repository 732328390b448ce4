//! What lies beside an image: the parts of manifests that refer to it (distribution specification 1.1, "Listing
//! Referrers"), and of the manifest under the tag that cosign gives attestations (`sha256-….att`).
//!
//! Whoever may push to a repository may put something there: what is read is for the caller to believe or not.

use std::collections::BTreeMap;

use bytes::Bytes;
use plimsoll_model::Digest;

use super::error::RegistryError;
use super::{Registries, fetch_manifest};
use crate::manifest::{Descriptor, Manifest};

/// Most manifests that are read of one image, and most of their parts.
pub const MAX_ATTACHED: usize = 100;
/// Largest part, in bytes.
pub const MAX_ATTACHED_BYTES: usize = 8 << 20;
/// All parts of one image, in bytes.
const MAX_ALL_BYTES: usize = 64 << 20;

/// A part of a manifest beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Digest of its manifest, and its own.
    pub manifest: Digest,
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

/// The parts that were asked for, in the registry's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    pub parts: Vec<Attached>,
    /// Manifests and parts that were not read, because there are too many, they are too large or are none.
    pub passed_over: usize,
}

impl Registries {
    /// The parts beside `subject` that `wanted` wants by media type and annotations: those of its layer, else those of its
    /// manifest. `wanted` is asked of an artifact type too, before its manifest is fetched. Empty where there is nothing.
    ///
    /// Limits: [`MAX_ATTACHED`] manifests and parts, [`MAX_ATTACHED_BYTES`] a part, 64 MiB together; what is beyond is
    /// counted.
    ///
    /// # Errors
    /// [`RegistryError`] where the registry is not configured, cannot be asked, or gives content of another digest.
    pub async fn attached(
        &self,
        registry: &str,
        repository: &str,
        subject: &Digest,
        wanted: impl Fn(&str, &BTreeMap<String, String>) -> bool,
    ) -> Result<Attachments, RegistryError> {
        let mut out = Attachments::default();
        let mut manifests: Vec<(Digest, Bytes, String)> = Vec::new();
        let host = self.host(registry)?;
        let tag = format!("{}.att", subject.as_str().replace(':', "-"));
        match fetch_manifest(&host, repository, &tag, None).await {
            Ok(found) => manifests.push((found.digest, found.bytes, found.media_type)),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        for referrer in self.referrers(registry, repository, subject, None).await? {
            if !wanted(referrer.artifact_type.as_deref().unwrap_or(""), &referrer.annotations) {
                continue;
            }
            if manifests.len() >= MAX_ATTACHED {
                out.passed_over += 1;
                continue;
            }
            match self.manifest(registry, repository, &referrer.digest).await {
                Ok(found) => manifests.push((found.digest, found.bytes, found.media_type)),
                // A list by tag may name what was deleted since.
                Err(RegistryError::NotFound { .. }) => out.passed_over += 1,
                Err(error) => return Err(error),
            }
        }
        let mut left = MAX_ALL_BYTES;
        for (manifest, bytes, media_type) in manifests {
            let Ok(artifact) = Manifest::parse_artifact(&bytes, &media_type) else {
                out.passed_over += 1;
                continue;
            };
            for layer in &artifact.layers {
                let said =
                    if layer.annotations.is_empty() { &artifact.annotations } else { &layer.annotations };
                if !wanted(&layer.media_type, said) {
                    continue;
                }
                let Some(size) = fits(layer, left).filter(|_| out.parts.len() < MAX_ATTACHED) else {
                    out.passed_over += 1;
                    continue;
                };
                left -= size;
                let bytes = self.blob_bytes(registry, repository, &layer.digest, size).await?;
                out.parts.push(Attached {
                    manifest: manifest.clone(),
                    digest: layer.digest.clone(),
                    media_type: layer.media_type.clone(),
                    bytes,
                });
            }
        }
        Ok(out)
    }
}

/// The size of a part that may be read. A part that is larger than it says is an error when it is.
fn fits(layer: &Descriptor, left: usize) -> Option<usize> {
    usize::try_from(layer.size).ok().filter(|size| *size <= MAX_ATTACHED_BYTES.min(left))
}
