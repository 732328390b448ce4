//! What refers to a manifest (distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema").

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use plimsoll_model::Digest;
use serde_json::{Value, json};

use super::error::RegistryError;
use super::host::{Ask, Host};
use super::list::next_page;
use super::push::{DescriptorOut, put_manifest};
use super::{Registries, check_repository, fetch_manifest};
use crate::manifest::{self, Descriptor, MAX_ENTRIES, MAX_MANIFEST_BYTES, media};

/// Most pages of one list.
const MAX_PAGES: usize = 100;
/// Writes of one list by tag: somebody else may write it at the same time.
const WRITES: usize = 4;

impl Registries {
    /// The manifests that refer to `subject`, at most 1,000, in the registry's order: those of one artifact type, or
    /// all. Empty for a subject that nothing refers to, and for one that is not there.
    pub async fn referrers(
        &self,
        registry: &str,
        repository: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        check_repository(repository)?;
        let host = self.host(registry)?;
        let mut found = match by_interface(&host, repository, subject, artifact_type).await {
            // A registry without the interface answers 404, some of them 400 or 405.
            Err(
                RegistryError::NotFound { .. }
                | RegistryError::Unsupported { .. }
                | RegistryError::InvalidReference(_),
            ) => match fetch_manifest(&host, repository, &tag(subject), None).await {
                Ok(list) => descriptors(&list.bytes, repository)?,
                Err(RegistryError::NotFound { .. }) => Vec::new(),
                Err(error) => return Err(error),
            },
            other => other?,
        };
        if let Some(wanted) = artifact_type {
            found.retain(|descriptor| descriptor.artifact_type.as_deref() == Some(wanted));
        }
        Ok(found)
    }
}

/// The tag under which the referrers of a manifest are listed where the registry lists none.
fn tag(subject: &Digest) -> String {
    let (algorithm, encoded) = subject.as_str().split_once(':').unwrap_or(("", subject.as_str()));
    let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    format!("{}-{}", cut(algorithm, 32), cut(encoded, 64))
}

async fn by_interface(
    host: &Arc<Host>,
    repository: &str,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut url = host.url(&format!("{repository}/referrers/{subject}"));
    if let Some(wanted) = artifact_type {
        url.query_pairs_mut().append_pair("artifactType", wanted);
    }
    let what = format!("referrers of {subject} in {repository}");
    let mut found: Vec<Descriptor> = Vec::new();
    for _ in 0..MAX_PAGES {
        let scope = format!("repository:{repository}:pull");
        let ask = Ask {
            accept: Some(media::OCI_INDEX.to_owned()),
            ..Ask::read(Method::GET, url, scope, what.clone())
        };
        let (bytes, headers, at) = host.fetch(&ask, MAX_MANIFEST_BYTES).await?;
        found.extend(descriptors(&bytes, repository)?);
        match next_page(&at, &headers) {
            Some(next) if found.len() < MAX_ENTRIES && next != at => {
                if !host.is_own(&next) {
                    let host = next.host_str().unwrap_or("").to_owned();
                    return Err(RegistryError::NotConfigured { host, role: "next page" });
                }
                url = next;
            }
            _ => break,
        }
    }
    found.truncate(MAX_ENTRIES);
    Ok(found)
}

fn descriptors(bytes: &[u8], repository: &str) -> Result<Vec<Descriptor>, RegistryError> {
    manifest::referrers(bytes).map_err(|error| RegistryError::Corrupt {
        what: format!("a list of referrers in {repository}"),
        detail: error.to_string(),
    })
}

/// Adds a manifest to the list of its subject's referrers, and gives the list's tag. What others listed stays as it
/// is. There is no lock for this: the list is read again after it was written, and written again if another's write
/// took ours away.
pub(super) async fn list_by_tag(
    host: &Arc<Host>,
    repository: &str,
    subject: &Descriptor,
    referrer: &Descriptor,
) -> Result<String, RegistryError> {
    let tag = tag(&subject.digest);
    let what = || format!("the list of referrers {tag} of {repository}");
    for _ in 0..WRITES {
        let mut list = match fetch_manifest(host, repository, &tag, None).await {
            Ok(list) => {
                if descriptors(&list.bytes, repository)?.iter().any(|known| known.digest == referrer.digest) {
                    return Ok(tag);
                }
                serde_json::from_slice::<Value>(&list.bytes)
                    .map_err(|error| RegistryError::Corrupt { what: what(), detail: error.to_string() })?
            }
            Err(RegistryError::NotFound { .. }) => {
                json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []})
            }
            Err(error) => return Err(error),
        };
        let entries = list.get_mut("manifests").and_then(Value::as_array_mut);
        let entry = serde_json::to_value(DescriptorOut::whole(referrer)).ok();
        let (Some(entries), Some(entry)) = (entries, entry) else {
            return Err(RegistryError::Corrupt { what: what(), detail: "it is no index".into() });
        };
        if entries.len() >= MAX_ENTRIES {
            let limit = u64::try_from(MAX_ENTRIES).unwrap_or(u64::MAX);
            return Err(RegistryError::TooLarge { what: what(), limit });
        }
        entries.push(entry);
        let bytes = Bytes::from(list.to_string());
        put_manifest(host, repository, Some(&tag), media::OCI_INDEX, bytes).await?;
    }
    Err(RegistryError::Unavailable {
        registry: host.identity.clone(),
        what: what(),
        detail: "others keep writing it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_the_schema() {
        let of = |text: &str| tag(&text.parse().unwrap());
        let hex = "ab".repeat(32);
        assert_eq!(of(&format!("sha256:{hex}")), format!("sha256-{hex}"));
        let long = "cd".repeat(64);
        assert_eq!(of(&format!("sha512:{long}")), format!("sha512-{}", &long[..64]));
    }
}
