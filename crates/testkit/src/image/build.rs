//! Images: layers and a configuration to manifests, manifests to an index.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Blob, CONFIG, Compression, DOCKER_MANIFEST, INDEX, ImageError, Layer, LayerBlob, MANIFEST};

/// A layer of a built image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltLayer {
    /// Media type, as the manifest says it.
    pub media_type: String,
    /// Digest, as the manifest says it.
    pub digest: String,
    /// Size, as the manifest says it, which may be a lie.
    pub size: u64,
    /// Digest of the uncompressed tar, as the configuration says it.
    pub diff_id: String,
    /// The stored bytes.
    pub bytes: Bytes,
}

/// A single-platform image or an index, with every byte it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    root: Blob,
    /// Manifests below an index; empty for a single image.
    children: Vec<BuiltImage>,
    layers: Vec<BuiltLayer>,
    config: Option<Blob>,
    platform: (String, String),
}

impl BuiltImage {
    /// The manifest or the index.
    pub fn root(&self) -> &Blob {
        &self.root
    }

    /// Digest of the manifest or the index.
    pub fn digest(&self) -> &str {
        &self.root.digest
    }

    /// Layers in order, lowest first; empty for an index.
    pub fn layers(&self) -> &[BuiltLayer] {
        &self.layers
    }

    /// The configuration; `None` for an index.
    pub fn config(&self) -> Option<&Blob> {
        self.config.as_ref()
    }

    /// The images of an index, in order; empty for a single image.
    pub fn children(&self) -> &[BuiltImage] {
        &self.children
    }

    /// `(os, architecture)`; both empty for an index.
    pub fn platform(&self) -> (&str, &str) {
        (&self.platform.0, &self.platform.1)
    }

    /// Manifests, children before the index that names them.
    pub fn manifests(&self) -> Vec<Blob> {
        self.children.iter().map(BuiltImage::root).chain([&self.root]).cloned().collect()
    }

    /// Configurations and layers, each once, by digest.
    pub fn blobs(&self) -> BTreeMap<String, Blob> {
        let mut blobs = BTreeMap::new();
        for image in self.children.iter().chain([self]) {
            for layer in &image.layers {
                let blob = Blob {
                    media_type: layer.media_type.clone(),
                    digest: layer.digest.clone(),
                    bytes: layer.bytes.clone(),
                };
                blobs.insert(layer.digest.clone(), blob);
            }
            if let Some(config) = &image.config {
                blobs.insert(config.digest.clone(), config.clone());
            }
        }
        blobs
    }
}

/// Describes an image for one platform.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    os: String,
    architecture: String,
    layers: Vec<Source>,
    env: Vec<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    history: Vec<String>,
    entrypoint: Vec<String>,
    created: String,
    docker: bool,
    artifact_type: Option<String>,
    subject: Option<Value>,
    declared_sizes: BTreeMap<usize, u64>,
}

#[derive(Debug, Clone)]
enum Source {
    Described(Layer, Compression),
    Raw(LayerBlob),
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// linux/amd64, no layers.
    pub fn new() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            layers: Vec::new(),
            env: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            history: Vec::new(),
            entrypoint: Vec::new(),
            created: "1970-01-01T00:00:00Z".to_owned(),
            docker: false,
            artifact_type: None,
            subject: None,
            declared_sizes: BTreeMap::new(),
        }
    }

    /// Operating system and architecture, in Go's words (`linux`, `arm64`).
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        (self.os, self.architecture) = (os.to_owned(), architecture.to_owned());
        self
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer, compression: Compression) -> Self {
        self.layers.push(Source::Described(layer, compression));
        self
    }

    /// Adds a layer that is ready, such as a hostile one.
    #[must_use]
    pub fn raw_layer(mut self, layer: LayerBlob) -> Self {
        self.layers.push(Source::Raw(layer));
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// A label of the configuration.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// `created_by` of the next layer's history entry; layers without one get a plain sentence.
    #[must_use]
    pub fn history(mut self, created_by: &str) -> Self {
        self.history.push(created_by.to_owned());
        self
    }

    /// The command that runs.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// RFC 3339 time of creation; the epoch otherwise.
    #[must_use]
    pub fn created(mut self, at: &str) -> Self {
        at.clone_into(&mut self.created);
        self
    }

    /// Docker schema 2 media types instead of OCI's.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Makes it an artifact of this type rather than an image: an empty configuration, as OCI 1.1 has it.
    #[must_use]
    pub fn artifact(mut self, artifact_type: &str) -> Self {
        self.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Makes it refer to another manifest, which the referrers API then lists.
    #[must_use]
    pub fn subject(mut self, of: &Blob) -> Self {
        self.subject = Some(of.descriptor());
        self
    }

    /// Lies about the size of a layer, counted from 0, in the manifest.
    #[must_use]
    pub fn declared_size(mut self, layer: usize, size: u64) -> Self {
        self.declared_sizes.insert(layer, size);
        self
    }

    /// Builds every byte.
    pub fn build(self) -> Result<BuiltImage, ImageError> {
        let mut layers = Vec::new();
        for (number, source) in self.layers.iter().enumerate() {
            let ready = match source {
                Source::Described(layer, compression) => layer.blob(*compression)?,
                Source::Raw(ready) => ready.clone(),
            };
            layers.push(BuiltLayer {
                media_type: self.layer_media_type(&ready.blob.media_type),
                size: self.declared_sizes.get(&number).copied().unwrap_or_else(|| ready.blob.size()),
                digest: ready.blob.digest,
                diff_id: ready.diff_id,
                bytes: ready.blob.bytes,
            });
        }
        let config = self.config(&layers)?;
        let root = self.manifest(&config, &layers)?;
        let platform = (self.os, self.architecture);
        Ok(BuiltImage { root, children: Vec::new(), layers, config: Some(config), platform })
    }

    fn layer_media_type(&self, oci: &str) -> String {
        match oci {
            "application/vnd.oci.image.layer.v1.tar+gzip" if self.docker => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned()
            }
            "application/vnd.oci.image.layer.v1.tar" if self.docker => {
                "application/vnd.docker.image.rootfs.diff.tar".to_owned()
            }
            other => other.to_owned(),
        }
    }

    fn config(&self, layers: &[BuiltLayer]) -> Result<Blob, ImageError> {
        if self.artifact_type.is_some() {
            return Ok(Blob::new("application/vnd.oci.empty.v1+json", "{}"));
        }
        let history: Vec<Value> = (0..layers.len())
            .map(|number| {
                let by = self.history.get(number).cloned();
                let by = by.unwrap_or_else(|| format!("layer {number}"));
                json!({"created": self.created, "created_by": by})
            })
            .collect();
        let mut run = json!({"Env": self.env, "Labels": self.labels});
        if let (false, Some(run)) = (self.entrypoint.is_empty(), run.as_object_mut()) {
            run.insert("Entrypoint".to_owned(), json!(self.entrypoint));
        }
        let document = json!({
            "created": self.created,
            "architecture": self.architecture,
            "os": self.os,
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
            "history": history,
        });
        let media_type = if self.docker { "application/vnd.docker.container.image.v1+json" } else { CONFIG };
        Ok(Blob::new(media_type, serde_json::to_vec(&document)?))
    }

    fn manifest(&self, config: &Blob, layers: &[BuiltLayer]) -> Result<Blob, ImageError> {
        let media_type = if self.docker { DOCKER_MANIFEST } else { MANIFEST };
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}))
            .collect();
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.descriptor(),
            "layers": layers,
        });
        if let Some(fields) = document.as_object_mut() {
            if !self.annotations.is_empty() {
                fields.insert("annotations".to_owned(), json!(self.annotations));
            }
            if let Some(artifact_type) = &self.artifact_type {
                fields.insert("artifactType".to_owned(), json!(artifact_type));
            }
            if let Some(subject) = &self.subject {
                fields.insert("subject".to_owned(), subject.clone());
            }
        }
        Ok(Blob::new(media_type, serde_json::to_vec(&document)?))
    }
}

/// An OCI index of these images, one for each platform.
pub fn index(images: Vec<BuiltImage>) -> Result<BuiltImage, ImageError> {
    let manifests: Vec<Value> = images
        .iter()
        .map(|image| {
            let mut descriptor = image.root.descriptor();
            if let Some(fields) = descriptor.as_object_mut() {
                let (os, architecture) = image.platform();
                fields.insert("platform".to_owned(), json!({"os": os, "architecture": architecture}));
            }
            descriptor
        })
        .collect();
    let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    Ok(BuiltImage {
        root: Blob::new(INDEX, serde_json::to_vec(&document)?),
        children: images,
        layers: Vec::new(),
        config: None,
        platform: (String::new(), String::new()),
    })
}
