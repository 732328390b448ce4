//! Putting artifacts into a registry (distribution specification 1.1, "Push"): blobs, then the manifest that names
//! them. The same allow-list, credentials, pace and retries hold as for reading; nothing is pushed that a caller did
//! not hand over.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};
use plimsoll_model::Digest;
use plimsoll_model::reference::valid_tag;
use reqwest::{Response, Url};
use serde::Serialize;

use super::error::RegistryError;
use super::host::{Ask, Host, Put};
use super::verify::{Hasher, is};
use super::{Registries, check_repository};
use crate::manifest::{Descriptor, MAX_ENTRIES, MAX_MANIFEST_BYTES, media};

/// Most bytes of one blob that is pushed: what is read of an artifact, too.
pub const MAX_PUSH_BYTES: usize = 1 << 30;
/// Larger blobs go in parts of this size, so that a slow line shows progress within the read time-out.
const PART_BYTES: usize = 8 << 20;
/// Largest part that a registry may insist on.
const MAX_PART_BYTES: usize = 64 << 20;
/// Sent by a registry that lists the manifest among its subject's referrers by itself.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The least size of a part that is not the last.
const MIN_PART: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The content of an empty configuration.
const EMPTY: &[u8] = b"{}";

/// Content that is no image: an SBOM, a Db. Equal artifacts give equal manifests, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The media type that says what it is, such as `application/vnd.cyclonedx+json`.
    pub artifact_type: String,
    /// In order; the manifest's layers. At least one.
    pub parts: Vec<Part>,
    pub annotations: BTreeMap<String, String>,
    /// The manifest that this refers to: the artifact is then one of its referrers.
    pub subject: Option<Descriptor>,
}

/// One blob of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub media_type: String,
    /// At most [`MAX_PUSH_BYTES`]; a mapped file serves as well as memory ([`Bytes::from_owner`]).
    pub bytes: Bytes,
    /// For example `org.opencontainers.image.title`, which tools take as a file's name.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest that a registry has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What was pushed, as a list of referrers names it.
    pub descriptor: Descriptor,
    /// The tag under which referrers of the subject are listed, for a registry that does not list them itself.
    pub listed_in: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestOut<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: DescriptorOut<'a>,
    layers: Vec<DescriptorOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<DescriptorOut<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescriptorOut<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

impl<'a> DescriptorOut<'a> {
    pub(super) fn whole(descriptor: &'a Descriptor) -> Self {
        let annotations = Some(&descriptor.annotations).filter(|annotations| !annotations.is_empty());
        Self { artifact_type: descriptor.artifact_type.as_deref(), annotations, ..Self::bare(descriptor) }
    }

    fn bare(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            digest: descriptor.digest.as_str(),
            size: descriptor.size,
            artifact_type: None,
            annotations: None,
        }
    }
}

impl Registries {
    /// Pushes an artifact: its parts, then its manifest under `tag`, or under its digest alone. With a subject the
    /// artifact is afterwards one of its referrers: by the registry itself, else in the index that the specification's
    /// tag schema names.
    ///
    /// Fails as reading does; `too_large` for a part or manifest over the bound. Pushing the same again changes
    /// nothing.
    pub async fn push(
        &self,
        registry: &str,
        repository: &str,
        tag: Option<&str>,
        artifact: &Artifact,
    ) -> Result<Pushed, RegistryError> {
        check_repository(repository)?;
        let host = self.host(registry)?;
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(RegistryError::InvalidReference("the tag is no valid tag".into()));
        }
        let empty = Bytes::from_static(EMPTY);
        let config = push_blob(&host, repository, media::OCI_EMPTY, &empty).await?;
        let mut layers = Vec::with_capacity(artifact.parts.len());
        for part in artifact.parts.iter().take(MAX_ENTRIES) {
            let pushed = push_blob(&host, repository, &part.media_type, &part.bytes).await?;
            layers.push(Descriptor { annotations: part.annotations.clone(), ..pushed });
        }
        let bytes = manifest(artifact, &config, &layers);
        let (descriptor, listed) = put_manifest(&host, repository, tag, media::OCI_MANIFEST, bytes).await?;
        let descriptor = Descriptor {
            annotations: artifact.annotations.clone(),
            artifact_type: Some(artifact.artifact_type.clone()),
            ..descriptor
        };
        let mut listed_in = None;
        if let Some(subject) = artifact.subject.as_ref().filter(|_| !listed) {
            listed_in = Some(super::referrers::list_by_tag(&host, repository, subject, &descriptor).await?);
        }
        Ok(Pushed { descriptor, listed_in })
    }
}

fn manifest(artifact: &Artifact, config: &Descriptor, layers: &[Descriptor]) -> Bytes {
    let out = ManifestOut {
        schema_version: 2,
        media_type: media::OCI_MANIFEST,
        artifact_type: &artifact.artifact_type,
        config: DescriptorOut::bare(config),
        layers: layers.iter().map(DescriptorOut::whole).collect(),
        subject: artifact.subject.as_ref().map(DescriptorOut::bare),
        annotations: &artifact.annotations,
    };
    // Maps of texts always have a JSON form.
    serde_json::to_vec(&out).unwrap_or_default().into()
}

fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// Pushes a blob unless the repository has it.
async fn push_blob(
    host: &Arc<Host>,
    repository: &str,
    media_type: &str,
    bytes: &Bytes,
) -> Result<Descriptor, RegistryError> {
    if bytes.len() > MAX_PUSH_BYTES {
        return Err(too_large("a part of the artifact".into(), MAX_PUSH_BYTES));
    }
    let digest = hash(bytes.clone()).await;
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        annotations: BTreeMap::new(),
        artifact_type: None,
    };
    let what = format!("blob {} of {repository}", descriptor.digest);
    let url = host.url(&format!("{repository}/blobs/{}", descriptor.digest));
    let known = host.send(&Ask::read(Method::HEAD, url, scope(repository), what.clone())).await;
    match known {
        Ok(_) => return Ok(descriptor),
        // What it redirects to storage, it has.
        Err(RegistryError::NotConfigured { role: "redirect", .. }) => return Ok(descriptor),
        Err(RegistryError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut attempt = 0;
    loop {
        match upload(host, repository, &what, &descriptor.digest, bytes).await {
            Ok(()) => return Ok(descriptor),
            // Where an upload has got to after a failure is not certain: it is begun anew.
            Err(error) if error.transient() && attempt + 1 < host.retry.attempts => {
                tracing::debug!(registry = host.identity, attempt, code = error.code(), "upload is repeated");
                host.rest(attempt, None).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn hash(bytes: Bytes) -> Digest {
    let digest = |bytes: Bytes| {
        let mut hasher = Hasher::sha256();
        hasher.update(&bytes);
        hasher.sha256_digest()
    };
    if bytes.len() < PART_BYTES {
        return digest(bytes);
    }
    // A second of arithmetic, once for a push: not on the runtime's threads.
    let shared = bytes.clone();
    match tokio::task::spawn_blocking(move || digest(shared)).await {
        Ok(digest) => digest,
        Err(_) => digest(bytes),
    }
}

/// One upload, from its start to its end: in one request after the first, or in parts.
async fn upload(
    host: &Host,
    repository: &str,
    what: &str,
    digest: &Digest,
    bytes: &Bytes,
) -> Result<(), RegistryError> {
    let write = |method: Method, url: Url, once: bool, put: Put| Ask {
        put: Some(put),
        once,
        transfer: true,
        ..Ask::read(method, url, scope(repository), what.to_owned())
    };
    let none = || Put { media_type: String::new(), bytes: Bytes::new(), range: None };
    let octets = |bytes: Bytes, range| Put { media_type: "application/octet-stream".into(), bytes, range };
    let start = write(Method::POST, host.url(&format!("{repository}/blobs/uploads/")), false, none());
    let (response, places) = host.send(&start).await?;
    let mut at = next_address(host, &start, &response)?;
    let least = response.headers().get(MIN_PART).and_then(|value| value.to_str().ok()?.parse().ok());
    let part = least.unwrap_or(0_usize).clamp(PART_BYTES, MAX_PART_BYTES);
    drop((response, places));
    let mut last = octets(bytes.clone(), None);
    if bytes.len() > part {
        last = none();
        let mut first = 0;
        while first < bytes.len() {
            let end = first.saturating_add(part).min(bytes.len());
            let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let range = (wide(first), wide(end.saturating_sub(1)));
            let ask = write(Method::PATCH, at, true, octets(bytes.slice(first..end), Some(range)));
            let (response, _places) = host.send(&ask).await?;
            at = next_address(host, &ask, &response)?;
            first = end;
        }
    }
    at.query_pairs_mut().append_pair("digest", digest.as_str());
    let ask = write(Method::PUT, at, true, last);
    let (response, _places) = host.send(&ask).await?;
    match response.status() {
        StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
        status => Err(host.unsupported(&ask, status.as_str().to_owned())),
    }
}

/// Where an upload goes on: the registry itself or a host that it may redirect to.
fn next_address(host: &Host, ask: &Ask, response: &Response) -> Result<Url, RegistryError> {
    match host.redirected(ask, response.url(), response.headers()) {
        Err(RegistryError::NotConfigured { host, .. }) => {
            Err(RegistryError::NotConfigured { host, role: "upload" })
        }
        other => other,
    }
}

/// Puts a manifest; says whether the registry keeps the list of referrers itself.
pub(super) async fn put_manifest(
    host: &Host,
    repository: &str,
    tag: Option<&str>,
    media_type: &str,
    bytes: Bytes,
) -> Result<(Descriptor, bool), RegistryError> {
    let mut hasher = Hasher::sha256();
    hasher.update(&bytes);
    let digest = hasher.sha256_digest();
    let name = tag.unwrap_or(digest.as_str());
    let what = format!("manifest {name} of {repository}");
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(too_large(what, MAX_MANIFEST_BYTES));
    }
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let ask = Ask {
        put: Some(Put { media_type: media_type.to_owned(), bytes: bytes.clone(), range: None }),
        ..Ask::read(
            Method::PUT,
            host.url(&format!("{repository}/manifests/{name}")),
            scope(repository),
            what.clone(),
        )
    };
    let (response, _places) = host.send(&ask).await?;
    let said = |headers: &HeaderMap| super::said_digest(headers);
    if said(response.headers()).is_some_and(|said| !is(&bytes, &said)) {
        return Err(RegistryError::Corrupt {
            what,
            detail: "the registry took something else for it".into(),
        });
    }
    let listed = response.headers().contains_key(SUBJECT);
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
        artifact_type: None,
    };
    Ok((descriptor, listed))
}

fn too_large(what: String, limit: usize) -> RegistryError {
    RegistryError::TooLarge { what, limit: u64::try_from(limit).unwrap_or(u64::MAX) }
}
