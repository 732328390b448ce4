//! Who may use the HTTP interface, and for what.

use std::fmt;
use std::path::PathBuf;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use serde::Deserialize;

use crate::value::Secret;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Registry notifications: `POST /v1/webhooks/…`.
    Webhooks,
    /// Asking for images to be read: `POST /v1/images`.
    Images,
    /// Telling what clusters run: `POST /v1/deploys`.
    Deploys,
    /// Every `GET`.
    Read,
}

impl Scope {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Images => "images",
            Self::Deploys => "deploys",
            Self::Read => "read",
        }
    }
}

/// A token of the HTTP interface. Only the SHA-256 of its text is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// For people: who holds it; shows in logs and as the actor of a change.
    pub name: String,
    /// What it allows; never empty.
    pub scopes: Vec<Scope>,
    sha256: [u8; 32],
}

impl Token {
    /// A token from its text.
    pub fn new(name: impl Into<String>, text: &str, scopes: Vec<Scope>) -> Self {
        Self { name: name.into(), scopes, sha256: sha256(text) }
    }

    pub(crate) fn from_sha256(name: String, sha256: [u8; 32], scopes: Vec<Scope>) -> Self {
        Self { name, scopes, sha256 }
    }

    /// True when `presented` is this token's text, in time that does not depend on where they differ.
    pub fn matches(&self, presented: &str) -> bool {
        verify_slices_are_equal(&self.sha256, &sha256(presented)).is_ok()
    }

    /// True when it allows `scope`.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn same_text(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

/// A token as the file writes it: exactly one of the three forms.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) token: Option<Secret>,
    pub(crate) token_sha256: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) scopes: Vec<Scope>,
}

/// 64 hexadecimal digits, with or without `sha256:` before them.
pub(crate) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let hex = text.trim();
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex).as_bytes();
    if hex.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (to, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *to = digit(*high)? * 16 + digit(*low)?;
    }
    Some(out)
}
