//! Deterministic OCI images, built in memory.
//!
//! The same description gives the same digests on every run: times are zero, owners are root, entries keep
//! the order in which they were given. Formats: OCI image-spec 1.1 (manifest, index, layout, whiteouts).
//!
//! ```
//! use plimsoll_testkit::image::{Compression, ImageBuilder, Layer, content};
//!
//! let base = Layer::new()
//!     .file("etc/os-release", content::os_release("debian", "12"))
//!     .file("var/lib/dpkg/status", content::dpkg_status(&[("bash", "5.2.15-2+b2", "bash", "amd64")]));
//! let upper = Layer::new().whiteout("var/lib/dpkg/status");
//! let image = ImageBuilder::new()
//!     .layer(base, Compression::Gzip)
//!     .layer(upper, Compression::Zstd)
//!     .env("PATH", "/usr/bin")
//!     .build()?;
//! assert_eq!(image.layers().len(), 2);
//! # Ok::<(), plimsoll_testkit::image::ImageError>(())
//! ```

mod build;
pub mod content;
pub mod elf;
pub mod hostile;
mod layer;
mod layout;

use bytes::Bytes;

pub use build::{BuiltImage, BuiltLayer, ImageBuilder, index};
pub use layer::{Compression, Entry, EntryKind, Layer, LayerBlob};

/// Media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// An image could not be built or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A layer could not be compressed.
    #[error("compress a layer")]
    Compress(#[source] std::io::Error),
    /// A document could not be encoded.
    #[error("encode a document")]
    Encode(#[from] serde_json::Error),
    /// A jar could not be written.
    #[error("write a jar")]
    Jar(#[source] zip::result::ZipError),
    /// The layout could not be written.
    #[error("write the layout at {path}")]
    Write {
        /// Which file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The Go tool could not be run, or refused.
    #[error("compile a Go program: {0}")]
    Go(String),
}

/// `sha256:<hex>` of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    format_digest(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

fn format_digest(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(71);
    out.push_str("sha256:");
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Bytes with the media type and digest under which a registry keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Media type, as a descriptor names it.
    pub media_type: String,
    /// `sha256:<hex>` of `bytes`.
    pub digest: String,
    /// The content.
    pub bytes: Bytes,
}

impl Blob {
    /// Takes bytes and works out their digest.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { media_type: media_type.into(), digest: sha256(&bytes), bytes }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// The descriptor that a manifest or an index names this by.
    pub fn descriptor(&self) -> serde_json::Value {
        serde_json::json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size()})
    }
}
