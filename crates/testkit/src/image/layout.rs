//! OCI image layouts (image-spec 1.1, image-layout.md), as a directory and as a tar archive.

use std::path::Path;

use serde_json::json;

use super::{BuiltImage, EntryKind, ImageError, Layer};

impl BuiltImage {
    /// Writes the image into `dir`, made if absent, under `tag`. Content of an earlier image stays, and its
    /// index gets one more entry, so several images share one layout; a tag that exists moves.
    pub fn to_layout(&self, dir: &Path, tag: &str) -> Result<(), ImageError> {
        let write = |path: &Path, bytes: &[u8]| {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|source| ImageError::Write { path: parent.to_owned(), source })?;
            }
            std::fs::write(path, bytes).map_err(|source| ImageError::Write { path: path.to_owned(), source })
        };
        for (digest, bytes) in self.content() {
            write(&dir.join("blobs").join(digest.replacen(':', "/", 1)), &bytes)?;
        }
        write(&dir.join("oci-layout"), LAYOUT)?;
        let index = dir.join("index.json");
        let mut entries = std::fs::read(&index)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
            .and_then(|index| index.get("manifests")?.as_array().cloned())
            .unwrap_or_default();
        entries.retain(|entry| entry.pointer(REF_NAME).and_then(|name| name.as_str()) != Some(tag));
        entries.push(self.tagged(tag));
        write(&index, &serde_json::to_vec(&index_document(&entries))?)
    }

    /// The layout as a tar archive, as `skopeo copy … oci-archive:` reads it; deterministic.
    pub fn to_archive(&self, tag: &str) -> Result<Vec<u8>, ImageError> {
        let index = serde_json::to_vec(&index_document(&[self.tagged(tag)]))?;
        let mut layer = Layer::new().file("oci-layout", LAYOUT).file("index.json", index);
        layer = layer.dir("blobs").dir("blobs/sha256");
        for (digest, bytes) in self.content() {
            layer =
                layer.with(format!("blobs/{}", digest.replacen(':', "/", 1)), EntryKind::File(bytes), 0o644);
        }
        Ok(layer.tar())
    }

    /// Every byte: configurations, layers and manifests, by digest.
    fn content(&self) -> Vec<(String, bytes::Bytes)> {
        let mut all: Vec<_> = self.blobs().into_iter().map(|(digest, blob)| (digest, blob.bytes)).collect();
        all.extend(self.manifests().into_iter().map(|manifest| (manifest.digest, manifest.bytes)));
        all
    }

    fn tagged(&self, tag: &str) -> serde_json::Value {
        let mut descriptor = self.root().descriptor();
        if let Some(fields) = descriptor.as_object_mut() {
            fields.insert("annotations".to_owned(), json!({"org.opencontainers.image.ref.name": tag}));
        }
        descriptor
    }
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const REF_NAME: &str = "/annotations/org.opencontainers.image.ref.name";

fn index_document(manifests: &[serde_json::Value]) -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": super::INDEX, "manifests": manifests})
}
