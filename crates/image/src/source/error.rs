//! How opening an image fails.

use std::io;
use std::path::PathBuf;

use plimsoll_cpu::RunError;
use plimsoll_model::Digest;

use crate::layer::LayerError;
use crate::manifest::ManifestError;
use crate::registry::RegistryError;

/// Why an image or a layer of it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A local file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Not a layout, not an archive, or one that contradicts itself.
    #[error("{}: {detail}", path.display())]
    Corrupt { path: PathBuf, detail: String },
    /// A file in the layout or archive that is larger than is read.
    #[error("{}: {what} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, what: String, limit: u64 },
    /// No image of that name.
    #[error("{place} has no image {wanted:?}{}", list(" (it has ", available))]
    NotFound { place: String, wanted: String, available: Vec<String> },
    /// Several images, and nothing says which.
    #[error("{place} has several images, name one{}", list(" (it has ", available))]
    Ambiguous { place: String, available: Vec<String> },
    /// No image for that platform.
    #[error("{place} has no image for {wanted}{}", list(" (it has ", available))]
    Platform { place: String, wanted: String, available: Vec<String> },
    /// A chart, a signature and the like.
    #[error("{name} is not an image but {artifact_type:?}")]
    NotAnImage { name: String, artifact_type: String },
    /// Content whose digest is not its name.
    #[error("{what} has digest {actual}, not {expected}")]
    Digest { what: String, expected: Digest, actual: String },
    /// Indexes within indexes.
    #[error("{place} nests indexes too deeply")]
    Nested { place: String },
    /// A layer that the image does not have.
    #[error("the image has no layer {0}")]
    NoSuchLayer(usize),
    /// Cancelled, or the reading thread failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

fn list(open: &str, names: &[String]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{open}{}{more})", shown.join(", "))
}

impl SourceError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Registry(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::Layer(error) => error.code(),
            Self::Io { .. } => "unreadable",
            Self::Corrupt { .. } | Self::Digest { .. } | Self::Nested { .. } => "corrupt",
            Self::TooLarge { .. } => "too_large",
            Self::NotFound { .. } | Self::NoSuchLayer(_) => "not_found",
            Self::Ambiguous { .. } => "ambiguous_image",
            Self::Platform { .. } => "platform_not_found",
            Self::NotAnImage { .. } => "not_an_image",
            Self::Run(RunError::Cancelled { .. }) => "cancelled",
            Self::Run(_) => "internal",
        }
    }

    /// True when the same request may succeed later without anybody changing anything.
    pub fn transient(&self) -> bool {
        matches!(self, Self::Registry(error) if error.transient())
    }
}
