//! Reading from registries, and putting artifacts into them (OCI distribution specification 1.1).
//!
//! [`Registries`] is the allow-list: a host is an identity or an alias in the configuration, or it is not
//! connected to. The same holds for token services, redirects, mirrors and the pages of listings. Credentials
//! go to the registry itself and to its token service alone. Nothing that an image contains decides an
//! address; the URLs of descriptors are not even parsed.
//!
//! The transport is reqwest rather than `oci-client`: that crate follows redirects and challenge realms
//! inside its own client, with credentials, before anybody can look at them; it reads manifests and tokens
//! without a bound, hashes blobs on the runtime's threads, and has no hook at which to retry, refresh a token
//! or resume a transfer. What would be left of it is names of media types. Challenges are parsed by
//! `http-auth`, as `oci-client` does.
//!
//! Every request is bounded, retried with jitter while the failure is transient, paced per registry
//! (concurrency, rate, `Retry-After` for all who ask), and authorised again once after a 401.

mod attached;
mod auth;
mod blob;
mod error;
mod host;
mod known;
mod list;
mod push;
mod referrers;
mod retry;
mod token;
pub(crate) mod verify;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method};
use plimsoll_config::Registry;
use plimsoll_model::reference::{valid_repository, valid_tag};
use plimsoll_model::{Digest, Reference};
use rustc_hash::FxHashMap;

pub use attached::{Attached, Attachments, MAX_ATTACHED, MAX_ATTACHED_BYTES};
pub use blob::BlobStream;
pub use error::{RegistryError, SetupError};
pub use host::Gauges;
pub use list::Listing;
pub use push::{Artifact, MAX_PUSH_BYTES, Part, Pushed};
pub use retry::Retry;

use crate::manifest::{MAX_MANIFEST_BYTES, media};
use host::{Ask, Host};
use verify::Hasher;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Time-outs and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub retry: Retry,
    /// For a connection to stand.
    pub connect_timeout: Duration,
    /// Without a byte arriving.
    pub read_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// What a tag or digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub digest: Digest,
    /// As the registry says; empty when it does not.
    pub media_type: String,
}

/// A manifest's bytes, which are what its digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBytes {
    pub bytes: Bytes,
    pub digest: Digest,
    /// As the registry says; empty when it does not.
    pub media_type: String,
}

/// The registries that may be spoken to. Cheap to clone.
#[derive(Clone)]
pub struct Registries {
    /// By identity and alias.
    hosts: Arc<FxHashMap<String, Arc<Host>>>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.identities()).finish()
    }
}

impl Registries {
    /// The allow-list of a configuration. Reads certificate files and, where configured, Docker's
    /// credentials; blocks while it does.
    pub fn new(registries: &[Registry]) -> Result<Self, SetupError> {
        Self::with_options(registries, Options::default())
    }

    /// As [`Registries::new`] with other time-outs and retries.
    pub fn with_options(registries: &[Registry], options: Options) -> Result<Self, SetupError> {
        let mut hosts: FxHashMap<String, Arc<Host>> = FxHashMap::default();
        for registry in registries {
            let host = Arc::new(Host::new(registry, &options)?);
            for name in std::iter::once(&registry.host).chain(&registry.aliases) {
                if hosts.insert(name.to_ascii_lowercase(), Arc::clone(&host)).is_some() {
                    return Err(SetupError::Invalid {
                        host: registry.host.clone(),
                        reason: format!("the name {name:?} is given twice"),
                    });
                }
            }
        }
        if let Some(hub) = hosts.get("docker.io").map(Arc::clone) {
            for name in ["index.docker.io", "registry-1.docker.io"] {
                hosts.entry(name.to_owned()).or_insert_with(|| Arc::clone(&hub));
            }
        }
        for registry in registries {
            if let Some(mirror) = registry.mirrors.iter().find(|mirror| !hosts.contains_key(*mirror)) {
                return Err(SetupError::Invalid {
                    host: registry.host.clone(),
                    reason: format!("the mirror {mirror:?} needs an entry of its own"),
                });
            }
        }
        Ok(Self { hosts: Arc::new(hosts) })
    }

    /// The identity of a host or alias, if it is configured.
    pub fn identity(&self, host: &str) -> Option<&str> {
        let found = self.hosts.get(host).or_else(|| self.hosts.get(&host.to_ascii_lowercase()));
        found.map(|host| host.identity.as_str())
    }

    /// The identities, sorted.
    pub fn identities(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.hosts.values().map(|host| host.identity.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the requests to a registry are doing: for metrics, and to tell a stage that waits at a gate from
    /// one that is stuck.
    pub fn gauges(&self, registry: &str) -> Option<Gauges> {
        self.host(registry).ok().map(|host| host.gauges())
    }

    /// The reference with its registry's identity in place of an alias; `registry_not_configured` for a
    /// host that is not in the list.
    pub fn canonical(&self, reference: &Reference) -> Result<Reference, RegistryError> {
        let host = self.host(&reference.registry)?;
        Ok(Reference { registry: host.identity.clone(), ..reference.clone() })
    }

    /// What a reference names now. A digest is only confirmed to be there.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let host = self.host(&reference.registry)?;
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) if valid_tag(tag) => tag,
            _ => {
                return Err(RegistryError::InvalidReference(format!(
                    "{reference} has no valid tag or digest"
                )));
            }
        };
        let ask = manifest_ask(&host, Method::HEAD, &reference.repository, name)?;
        let headers = match host.send(&ask).await {
            Ok((response, _places)) => response.headers().clone(),
            // A registry without HEAD still has GET.
            Err(RegistryError::Unsupported { .. }) => HeaderMap::new(),
            Err(error) => return Err(error),
        };
        if let Some(digest) = said_digest(&headers) {
            if reference.digest.as_ref().is_some_and(|wanted| *wanted != digest) {
                return Err(RegistryError::Corrupt {
                    what: ask.what,
                    detail: format!("the registry says that it is {digest}"),
                });
            }
            return Ok(Resolved { digest, media_type: said_media_type(&headers) });
        }
        let found = fetch_manifest(&host, &reference.repository, name, reference.digest.as_ref()).await?;
        Ok(Resolved { digest: found.digest, media_type: found.media_type })
    }

    /// A manifest by digest, from a mirror or the registry, verified; at most 4 MiB.
    pub async fn manifest(
        &self,
        registry: &str,
        repository: &str,
        digest: &Digest,
    ) -> Result<ManifestBytes, RegistryError> {
        let mut hosts = self.sources(registry)?.into_iter().peekable();
        loop {
            let Some(host) = hosts.next() else { return Err(not_configured(registry)) };
            match fetch_manifest(&host, repository, digest.as_str(), Some(digest)).await {
                Err(error) if hosts.peek().is_some() => passed_over(&host, &error),
                result => return result,
            }
        }
    }

    /// The manifest that a reference names, by its digest if it has one, else by its tag; verified.
    pub async fn manifest_of(&self, reference: &Reference) -> Result<ManifestBytes, RegistryError> {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => self.manifest(&reference.registry, &reference.repository, digest).await,
            (None, Some(tag)) if valid_tag(tag) => {
                let host = self.host(&reference.registry)?;
                fetch_manifest(&host, &reference.repository, tag, None).await
            }
            _ => Err(RegistryError::InvalidReference(format!("{reference} has no valid tag or digest"))),
        }
    }

    /// A blob's bytes, from a mirror or the registry, not verified; the error `too_large` once there are
    /// more than `limit`. Fails at once if no host has it.
    pub async fn blob(
        &self,
        registry: &str,
        repository: &str,
        digest: &Digest,
        limit: u64,
    ) -> Result<BlobStream, RegistryError> {
        check_repository(repository)?;
        blob::open(self.sources(registry)?, repository, digest, limit).await
    }

    /// As [`Registries::blob`], never from a mirror: for when a mirror's bytes turned out to be wrong.
    pub async fn blob_from_origin(
        &self,
        registry: &str,
        repository: &str,
        digest: &Digest,
        limit: u64,
    ) -> Result<BlobStream, RegistryError> {
        check_repository(repository)?;
        blob::open(vec![self.host(registry)?], repository, digest, limit).await
    }

    /// A small blob, such as a configuration, whole and verified.
    pub async fn blob_bytes(
        &self,
        registry: &str,
        repository: &str,
        digest: &Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        use futures::StreamExt;
        check_repository(repository)?;
        let mut hosts = self.sources(registry)?.into_iter().peekable();
        loop {
            let Some(host) = hosts.next() else { return Err(not_configured(registry)) };
            let read = async {
                let bound = u64::try_from(limit).unwrap_or(u64::MAX);
                let mut stream = blob::open(vec![Arc::clone(&host)], repository, digest, bound).await?;
                let mut hasher = Hasher::like(digest);
                let mut bytes = bytes::BytesMut::new();
                while let Some(chunk) = stream.next().await.transpose()? {
                    hasher.update(&chunk);
                    bytes.extend_from_slice(&chunk);
                }
                let actual = hasher.finish();
                if actual == digest.as_str() {
                    return Ok(bytes.freeze());
                }
                let detail = format!("its content has digest {actual}");
                Err(RegistryError::Corrupt { what: format!("blob {digest} of {repository}"), detail })
            };
            match read.await {
                Err(error) if hosts.peek().is_some() => passed_over(&host, &error),
                result => return result,
            }
        }
    }

    /// The tags of a repository, at most `limit`.
    pub async fn tags(
        &self,
        registry: &str,
        repository: &str,
        limit: usize,
    ) -> Result<Listing, RegistryError> {
        check_repository(repository)?;
        list::list(&self.host(registry)?, list::Of::Tags(repository), limit).await
    }

    /// The repositories of a registry, at most `limit`. Many registries refuse this.
    pub async fn catalog(&self, registry: &str, limit: usize) -> Result<Listing, RegistryError> {
        list::list(&self.host(registry)?, list::Of::Repositories, limit).await
    }

    fn host(&self, name: &str) -> Result<Arc<Host>, RegistryError> {
        let found = self.hosts.get(name).or_else(|| self.hosts.get(&name.to_ascii_lowercase()));
        found.map(Arc::clone).ok_or_else(|| not_configured(name))
    }

    /// The mirrors of a registry, then the registry.
    fn sources(&self, name: &str) -> Result<Vec<Arc<Host>>, RegistryError> {
        let host = self.host(name)?;
        let mut all = Vec::with_capacity(host.mirrors.len() + 1);
        for mirror in &host.mirrors {
            all.push(self.host(mirror)?);
        }
        all.push(host);
        Ok(all)
    }
}

fn not_configured(host: &str) -> RegistryError {
    RegistryError::NotConfigured { host: error::tame(host), role: "registry" }
}

fn passed_over(host: &Host, error: &RegistryError) {
    tracing::debug!(mirror = host.identity, code = error.code(), "mirror is passed over");
}

fn check_repository(repository: &str) -> Result<(), RegistryError> {
    if valid_repository(repository) {
        return Ok(());
    }
    Err(RegistryError::InvalidReference(format!("{:?} is not a repository", error::tame(repository))))
}

fn manifest_ask(host: &Host, method: Method, repository: &str, name: &str) -> Result<Ask, RegistryError> {
    check_repository(repository)?;
    let url = host.url(&format!("{repository}/manifests/{name}"));
    let scope = format!("repository:{repository}:pull");
    let what = format!("manifest {name} of {repository}");
    Ok(Ask { accept: Some(media::ACCEPT.join(", ")), ..Ask::read(method, url, scope, what) })
}

async fn fetch_manifest(
    host: &Host,
    repository: &str,
    name: &str,
    wanted: Option<&Digest>,
) -> Result<ManifestBytes, RegistryError> {
    let ask = manifest_ask(host, Method::GET, repository, name)?;
    let (bytes, headers, _) = host.fetch(&ask, MAX_MANIFEST_BYTES).await?;
    let corrupt = |detail: String| RegistryError::Corrupt { what: ask.what.clone(), detail };
    let expected = wanted.cloned().or_else(|| said_digest(&headers));
    let mut hasher = expected.as_ref().map_or_else(Hasher::sha256, Hasher::like);
    hasher.update(&bytes);
    let actual = hasher.finish();
    if let Some(expected) = expected.filter(|expected| expected.as_str() != actual) {
        return Err(corrupt(format!("its content has digest {actual}, not {expected}")));
    }
    let digest = actual.parse().map_err(|error| corrupt(format!("{error}")))?;
    Ok(ManifestBytes { bytes, digest, media_type: said_media_type(&headers) })
}

fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn said_media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}
