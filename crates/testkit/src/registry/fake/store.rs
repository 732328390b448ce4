//! Content in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Everything that the registry holds.
#[derive(Debug, Default)]
pub(super) struct Store {
    blobs: HashMap<String, Bytes>,
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, BytesMut>,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: HashSet<String>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) bytes: Bytes,
}

/// What a deletion took.
#[derive(Debug)]
pub(super) struct Deleted {
    /// The manifest, unless only a tag was deleted.
    pub(super) digest: Option<String>,
    /// Tags that went.
    pub(super) tags: Vec<String>,
}

impl Store {
    pub(super) fn catalog(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    /// Tags in order; `None` for an unknown repository.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        if !self.repositories.get(repository)?.blobs.contains(digest) {
            return None;
        }
        self.blobs.get(digest).cloned()
    }

    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: Bytes) {
        self.blobs.entry(digest.to_owned()).or_insert(bytes);
        self.repository(repository).blobs.insert(digest.to_owned());
    }

    /// Makes a blob of one repository another's too; its size, if there is one.
    pub(super) fn mount(&mut self, from: &str, to: &str, digest: &str) -> Option<u64> {
        let bytes = self.blob(from, digest)?;
        self.repository(to).blobs.insert(digest.to_owned());
        u64::try_from(bytes.len()).ok()
    }

    pub(super) fn delete_blob(&mut self, repository: &str, digest: &str) -> bool {
        self.repositories.get_mut(repository).is_some_and(|repository| repository.blobs.remove(digest))
    }

    /// By tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let repository = self.repositories.get(repository)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        repository.manifests.get(digest).cloned()
    }

    pub(super) fn put_manifest(&mut self, repository: &str, tag: Option<&str>, manifest: Manifest) {
        let repository = self.repository(repository);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), manifest.digest.clone());
        }
        repository.manifests.insert(manifest.digest.clone(), manifest);
    }

    /// Removes a tag, or a manifest with every tag on it; `None` when there is no such thing.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &str) -> Option<Deleted> {
        let repository = self.repositories.get_mut(repository)?;
        if repository.tags.remove(reference).is_some() {
            return Some(Deleted { digest: None, tags: vec![reference.to_owned()] });
        }
        let manifest = repository.manifests.remove(reference)?;
        let tags = repository.tags.extract_if(.., |_, digest| *digest == manifest.digest);
        let tags = tags.map(|(tag, _)| tag).collect();
        Some(Deleted { digest: Some(manifest.digest), tags })
    }

    /// Digests that a manifest names and the repository lacks.
    pub(super) fn missing(&self, repository: &str, manifest: &Value) -> Vec<String> {
        let empty = Repository::default();
        let repository = self.repositories.get(repository).unwrap_or(&empty);
        let digests = |field: &str| -> Vec<String> {
            let list = manifest.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter().filter_map(digest_of).collect()
        };
        let config = manifest.get("config").and_then(digest_of);
        let blobs =
            digests("layers").into_iter().chain(config).filter(|digest| !repository.blobs.contains(digest));
        let manifests =
            digests("manifests").into_iter().filter(|digest| !repository.manifests.contains_key(digest));
        blobs.chain(manifests).collect()
    }

    /// Descriptors of the manifests whose subject is `digest`.
    pub(super) fn referrers(&self, repository: &str, digest: &str) -> Vec<Value> {
        let Some(repository) = self.repositories.get(repository) else { return Vec::new() };
        repository.manifests.values().filter_map(|manifest| referrer(manifest, digest)).collect()
    }

    /// Opens an upload.
    pub(super) fn open(&mut self, id: &str) {
        self.uploads.insert(id.to_owned(), BytesMut::new());
    }

    /// Appends to an upload; its length, or `None` when there is no such upload.
    pub(super) fn append(&mut self, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.uploads.get_mut(id)?;
        upload.extend_from_slice(bytes);
        Some(upload.len())
    }

    /// Length of an upload.
    pub(super) fn progress(&self, id: &str) -> Option<usize> {
        self.uploads.get(id).map(BytesMut::len)
    }

    /// Takes an upload's bytes and ends it.
    pub(super) fn close(&mut self, id: &str) -> Option<Bytes> {
        self.uploads.remove(id).map(BytesMut::freeze)
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}

fn digest_of(descriptor: &Value) -> Option<String> {
    descriptor.get("digest")?.as_str().map(str::to_owned)
}

fn referrer(manifest: &Manifest, subject: &str) -> Option<Value> {
    let document: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    if document.pointer("/subject/digest")?.as_str()? != subject {
        return None;
    }
    let artifact_type = document
        .get("artifactType")
        .or_else(|| document.pointer("/config/mediaType"))
        .cloned()
        .unwrap_or_default();
    let mut descriptor = serde_json::json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.bytes.len(),
        "artifactType": artifact_type,
    });
    if let (Some(fields), Some(annotations)) = (descriptor.as_object_mut(), document.get("annotations")) {
        fields.insert("annotations".to_owned(), annotations.clone());
    }
    Some(descriptor)
}
