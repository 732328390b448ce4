//! Why a source of statements is not read.

use std::io;
use std::path::{Path, PathBuf};

/// A source, key or rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VexError {
    #[error("read {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is larger than allowed: {what}", path.display())]
    TooLarge { path: PathBuf, what: &'static str },
    #[error("{} is in no format of VEX that is known", .0.display())]
    Unknown(PathBuf),
    #[error("{} is no archive of a VEX repository: {reason}", path.display())]
    Archive { path: PathBuf, reason: String },
    #[error("{} is no public key for ECDSA P-256 or Ed25519 in PEM", .0.display())]
    Key(PathBuf),
    #[error("{}: {reason}", path.display())]
    Ignore { path: PathBuf, reason: String },
}

impl VexError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "vex_unreadable",
            Self::TooLarge { .. } => "vex_too_large",
            Self::Unknown(_) => "vex_format_unknown",
            Self::Archive { .. } => "vex_archive_invalid",
            Self::Key(_) => "vex_key_invalid",
            Self::Ignore { .. } => "ignore_invalid",
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
