//! Images wherever they are: in a registry, an OCI layout, an archive; and directories that look like one.
//!
//! [`Target`] is what a person names. [`open`] reads manifest and configuration and gives an [`ImageSource`],
//! whose layers are read one by one, in any order and at the same time, with [`ImageSource::extract`].
//! A directory has no layers: [`directory::extract`] reads it as one.

mod archive;
pub mod directory;
mod error;
mod local;
mod target;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use plimsoll_cpu::{Cancel, thread};
use plimsoll_model::{Digest, Extract, Platform, Reference};

pub use error::SourceError;
pub use target::{InvalidTarget, Target};

use crate::layer::{self, Hooks, LayerMedia, LayerSource, Limits, StreamError, read_stream};
use crate::manifest::{Child, Image, ImageConfig, Index, MAX_CONFIG_BYTES, Manifest, normalize};
use crate::registry::{BlobStream, Registries, RegistryError};
use crate::select::Table;
use archive::Archive;
use local::{MAX_NESTING, Place};

/// An image whose manifest and configuration are read.
pub struct ImageSource {
    /// What it was opened as.
    pub target: Target,
    /// Digest of the image's manifest; `None` for what `docker save` writes, which has none.
    pub digest: Option<Digest>,
    /// Digest of the configuration (Docker's image id).
    pub config_digest: Digest,
    pub config: ImageConfig,
    /// Oldest first.
    pub layers: Vec<LayerSource>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    origin: Origin,
}

enum Origin {
    Registry { registries: Registries, registry: String, repository: String },
    Local { place: Arc<Place>, files: Vec<String> },
}

/// What opening gives beside the place.
struct Content {
    digest: Option<Digest>,
    config_digest: Digest,
    config: ImageConfig,
    layers: Vec<LayerSource>,
    annotations: BTreeMap<String, String>,
    /// The file of each layer, where it is not found by digest.
    files: Vec<String>,
}

impl Content {
    fn of_manifest(digest: Digest, image: Image, config: ImageConfig) -> Self {
        let source = |layer: &crate::manifest::Descriptor| LayerSource {
            digest: layer.digest.clone(),
            size: Some(layer.size),
            media_type: layer.media_type.clone(),
        };
        Self {
            digest: Some(digest),
            config_digest: image.config.digest,
            config,
            layers: image.layers.iter().map(source).collect(),
            annotations: image.annotations,
            files: Vec::new(),
        }
    }
}

/// The bytes of a layer, compressed as they are stored and not verified.
pub enum LayerBytes {
    /// To be read by a thread that may block.
    Local(Box<dyn Read + Send>),
    /// To be polled by the runtime.
    Remote(BlobStream),
}

impl std::fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageSource")
            .field("target", &self.target)
            .field("digest", &self.digest)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// Opens an image. Of an index, the image for `platform` is taken; without one that for linux/amd64, or the
/// only one that there is. A directory is no image: see [`directory::extract`].
pub async fn open(
    target: &Target,
    platform: Option<&Platform>,
    registries: &Registries,
    cancel: &Cancel,
) -> Result<ImageSource, SourceError> {
    let (content, origin) = match target {
        Target::Registry(reference) => open_remote(reference, platform, registries).await?,
        Target::OciDir { .. } | Target::OciArchive { .. } | Target::DockerArchive { .. } => {
            let (target, platform) = (target.clone(), platform.cloned());
            let work = move |_: &Cancel| open_local(&target, platform.as_ref());
            thread::run("image-source", cancel, work).await??
        }
        Target::Directory(path) => {
            return Err(SourceError::NotAnImage {
                name: path.display().to_string(),
                artifact_type: "directory".into(),
            });
        }
    };
    Ok(ImageSource {
        target: target.clone(),
        digest: content.digest,
        config_digest: content.config_digest,
        config: content.config,
        layers: content.layers,
        annotations: content.annotations,
        origin,
    })
}

async fn open_remote(
    reference: &Reference,
    platform: Option<&Platform>,
    registries: &Registries,
) -> Result<(Content, Origin), SourceError> {
    let reference = registries.canonical(reference)?;
    let (registry, repository) = (&reference.registry, &reference.repository);
    let mut found = registries.manifest_of(&reference).await?;
    for _ in 0..MAX_NESTING {
        match Manifest::parse(&found.bytes, &found.media_type)? {
            Manifest::Index(index) => {
                let child = pick_platform(&index, platform, &reference.to_string())?;
                found = registries.manifest(registry, repository, &child.descriptor.digest).await?;
            }
            Manifest::NotAnImage { artifact_type } => {
                return Err(SourceError::NotAnImage { name: reference.to_string(), artifact_type });
            }
            Manifest::Image(image) => {
                let bytes = registries
                    .blob_bytes(registry, repository, &image.config.digest, MAX_CONFIG_BYTES)
                    .await?;
                let config = ImageConfig::parse(&bytes, image.layers.len())?;
                let origin = Origin::Registry {
                    registries: registries.clone(),
                    registry: registry.clone(),
                    repository: repository.clone(),
                };
                return Ok((Content::of_manifest(found.digest, image, config), origin));
            }
        }
    }
    Err(SourceError::Nested { place: reference.to_string() })
}

fn open_local(target: &Target, platform: Option<&Platform>) -> Result<(Content, Origin), SourceError> {
    let (place, content) = match target {
        Target::DockerArchive { path, image } => {
            let place = Place::Archive(Archive::open(path)?);
            let content = local::saved(&place, image.as_deref())?;
            (place, content)
        }
        Target::OciArchive { path, image } => {
            let place = Place::Archive(Archive::open(path)?);
            let content = local::layout(&place, image.as_deref(), platform)?;
            (place, content)
        }
        Target::OciDir { path, image } => {
            let place = Place::Dir(path.clone());
            let content = local::layout(&place, image.as_deref(), platform)?;
            (place, content)
        }
        Target::Registry(_) | Target::Directory(_) => {
            let detail = "not a layout or archive".to_owned();
            return Err(SourceError::Corrupt { path: target.to_string().into(), detail });
        }
    };
    let files = content.files.clone();
    Ok((content, Origin::Local { place: Arc::new(place), files }))
}

/// The child of an index for a platform, or for linux/amd64, or the only runnable one.
fn pick_platform<'a>(
    index: &'a Index,
    platform: Option<&Platform>,
    place: &str,
) -> Result<&'a Child, SourceError> {
    let wanted = platform.cloned().unwrap_or_default();
    if let Some(child) = index.select(&wanted) {
        return Ok(child);
    }
    let runnable: Vec<&Child> = index.children.iter().filter(|child| child.runnable()).collect();
    match runnable.as_slice() {
        [only] if platform.is_none() => Ok(only),
        _ => Err(SourceError::Platform {
            place: place.to_owned(),
            wanted: normalize(&wanted).to_string(),
            available: runnable
                .iter()
                .map(|child| child.platform.as_ref().map_or("unknown".into(), ToString::to_string))
                .collect(),
        }),
    }
}

impl ImageSource {
    /// A name for people.
    pub fn name(&self) -> String {
        self.target.to_string()
    }

    /// Opens the bytes of a layer, at most `limit` of them from a registry. A local file is opened by the
    /// calling thread.
    pub async fn layer(&self, index: usize, limit: u64) -> Result<LayerBytes, SourceError> {
        let layer = self.layers.get(index).ok_or(SourceError::NoSuchLayer(index))?;
        match &self.origin {
            Origin::Registry { registries, registry, repository } => {
                let stream = registries.blob(registry, repository, &layer.digest, limit).await?;
                Ok(LayerBytes::Remote(stream))
            }
            Origin::Local { place, files } => {
                let (reader, _) = match files.get(index) {
                    Some(file) => place.named(file)?,
                    None => place.blob(&layer.digest)?,
                };
                Ok(LayerBytes::Local(reader))
            }
        }
    }

    /// Reads a layer to its Extract, on a thread of its own; verified. A layer that is not distributable and
    /// not here is an empty Extract that says so. The number of layers at once is the caller's to bound.
    pub async fn extract(
        &self,
        index: usize,
        limits: &Limits,
        table: &'static Table,
        hooks: Arc<dyn Hooks>,
        cancel: &Cancel,
    ) -> Result<Extract, SourceError> {
        let layer = self.layers.get(index).ok_or(SourceError::NoSuchLayer(index))?.clone();
        let foreign = LayerMedia::parse(&layer.media_type).is_some_and(|media| media.foreign);
        let bytes = match self.layer(index, limits.compressed_bytes).await {
            Ok(bytes) => bytes,
            Err(error) if foreign && absent(&error) => {
                return Ok(layer::foreign(layer.digest, limits, table));
            }
            Err(error) => return Err(error),
        };
        match bytes {
            LayerBytes::Local(reader) => {
                let limits = limits.clone();
                let work = move |cancel: &Cancel| {
                    let hooks = Stoppable { hooks: hooks.as_ref(), cancel };
                    layer::read(reader, &layer, &limits, table, &hooks)
                };
                Ok(thread::run("layer", cancel, work).await??)
            }
            LayerBytes::Remote(stream) => read_stream(stream, layer, limits.clone(), table, hooks, cancel)
                .await
                .map_err(|error| match error {
                    StreamError::Transfer(error) => SourceError::Registry(error),
                    StreamError::Layer(error) => SourceError::Layer(error),
                }),
        }
    }
}

/// True where the content is not here, rather than unreadable.
fn absent(error: &SourceError) -> bool {
    match error {
        SourceError::Registry(RegistryError::NotFound { .. }) | SourceError::Corrupt { .. } => true,
        SourceError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The caller's hooks with a cancellation.
struct Stoppable<'a> {
    hooks: &'a dyn Hooks,
    cancel: &'a Cancel,
}

impl Hooks for Stoppable<'_> {
    fn progress(&self, progress: &layer::Progress) -> std::ops::ControlFlow<()> {
        if self.cancel.is_cancelled() {
            return std::ops::ControlFlow::Break(());
        }
        self.hooks.progress(progress)
    }

    fn reserve(&self, bytes: u64) -> Option<plimsoll_cpu::Permit> {
        self.hooks.reserve(bytes)
    }
}
