//! How reading a layer fails.

use std::io;

use plimsoll_model::Digest;

/// Why a layer gave no [`Extract`](plimsoll_model::Extract) at all.
///
/// A layer that could be read in part is not an error: it is an `Extract` whose `partial` says what is missing.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The source of the bytes failed; nothing is known about the content.
    #[error("cannot read the layer's bytes: {0}")]
    Input(#[source] io::Error),
    /// The bytes are not those that the digest names.
    #[error("the content has digest {actual}, not {expected}")]
    Digest { expected: Digest, actual: Digest },
    /// There are more or fewer bytes than the descriptor says. The content itself may be sound.
    #[error("the descriptor says {claimed} bytes, the content has {actual} or more")]
    Size { claimed: u64, actual: u64 },
    /// The compressed stream is longer than the limits allow.
    #[error("the compressed layer is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    /// Bytes of an unknown type that are neither gzip, zstd nor tar.
    #[error("neither gzip, zstd nor tar")]
    NotALayer,
    /// The media type is not a layer's, or asks for something that is not supported (encryption).
    #[error("media type {0:?} is not a layer that can be read")]
    MediaType(String),
    /// The bytes are those that the digest names, but not one tar entry could be read from them.
    #[error("nothing can be read from the layer ({code}): {detail}")]
    Corrupt { code: &'static str, detail: String },
    /// The caller asked to stop, or went away.
    #[error("reading the layer was cancelled")]
    Cancelled,
    /// The operating system refused a thread.
    #[error("cannot start a thread for the layer: {0}")]
    Thread(#[source] io::Error),
    /// The reading thread ended without a result.
    #[error("the layer's thread ended without a result")]
    Lost,
}

impl LayerError {
    /// The stable code: `unavailable`, `corrupt_digest`, `corrupt_size`, `too_large`, `not_a_layer`,
    /// `unsupported`, `corrupt_gzip`, `corrupt_zstd`, `corrupt_tar`, `truncated`, `cancelled`, `internal`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Input(_) => "unavailable",
            Self::Digest { .. } => "corrupt_digest",
            Self::Size { .. } => "corrupt_size",
            Self::TooLarge { .. } => "too_large",
            Self::NotALayer => "not_a_layer",
            Self::MediaType(_) => "unsupported",
            Self::Corrupt { code, .. } => code,
            Self::Cancelled => "cancelled",
            Self::Thread(_) | Self::Lost => "internal",
        }
    }
}
