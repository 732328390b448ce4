//! How reading from a registry fails.

use std::io;

use plimsoll_model::reference::InvalidReference;

/// Why a registry gave nothing. Messages never hold credentials or query strings; text of the registry's own
/// is shortened and stripped of control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The host is not in the configuration's allow-list; nothing was connected to.
    #[error("{host} is not a configured registry ({role})")]
    NotConfigured {
        host: String,
        /// What the host was to be: `registry`, `token service`, `redirect`, `mirror` or `next page`.
        role: &'static str,
    },
    /// The registry refused us.
    #[error("{registry} refuses access to {what}: {detail}")]
    Auth { registry: String, what: String, detail: String },
    /// The registry does not have it, or says so.
    #[error("{registry} has no {what}")]
    NotFound { registry: String, what: String },
    /// Connection, transfer or server failures, after retries.
    #[error("{registry} is not available for {what}: {detail}")]
    Unavailable { registry: String, what: String, detail: String },
    /// Too many requests, after retries.
    #[error("{registry} limits our rate for {what}")]
    RateLimited { registry: String, what: String },
    /// More bytes or pages than are read.
    #[error("{what} is larger than {limit}")]
    TooLarge { what: String, limit: u64 },
    /// The content is not what its digest names, or not of its type.
    #[error("{what} is corrupt: {detail}")]
    Corrupt { what: String, detail: String },
    /// An answer or a kind of content that is not supported.
    #[error("{registry} answers {what} in a way that is not supported: {detail}")]
    Unsupported { registry: String, what: String, detail: String },
    /// The reference is no reference, or the registry says so.
    #[error("{0}")]
    InvalidReference(String),
}

impl RegistryError {
    /// Stable code: `registry_not_configured`, `auth`, `not_found`, `unavailable`, `rate_limited`,
    /// `too_large`, `corrupt`, `unsupported`, `invalid_reference`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured { .. } => "registry_not_configured",
            Self::Auth { .. } => "auth",
            Self::NotFound { .. } => "not_found",
            Self::Unavailable { .. } => "unavailable",
            Self::RateLimited { .. } => "rate_limited",
            Self::TooLarge { .. } => "too_large",
            Self::Corrupt { .. } => "corrupt",
            Self::Unsupported { .. } => "unsupported",
            Self::InvalidReference(_) => "invalid_reference",
        }
    }

    /// True when the same request may succeed later without anybody changing anything.
    pub fn transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::RateLimited { .. })
    }
}

impl From<InvalidReference> for RegistryError {
    fn from(error: InvalidReference) -> Self {
        Self::InvalidReference(error.to_string())
    }
}

impl From<RegistryError> for io::Error {
    /// For readers of a blob's bytes; the error itself is had back by downcasting the source.
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::NotFound { .. } => io::ErrorKind::NotFound,
            RegistryError::Auth { .. } | RegistryError::NotConfigured { .. } => {
                io::ErrorKind::PermissionDenied
            }
            RegistryError::Corrupt { .. } | RegistryError::TooLarge { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// The configuration of registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("registries: {host}: cannot read {}: {source}", path.display())]
    Certificates { host: String, path: std::path::PathBuf, source: io::Error },
    #[error("registries: {host}: {reason}")]
    Invalid { host: String, reason: String },
}

/// Shortens hostile text for a message.
pub(super) fn tame(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
