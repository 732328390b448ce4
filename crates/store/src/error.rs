//! What can fail.

use std::path::PathBuf;

/// An act on the store that failed. Nothing of a failed commit is visible; it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to open the store at {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    #[error("failed to read or write the store")]
    Sql(#[from] sqlx::Error),
    #[error("failed to write a row of {table}")]
    Encode {
        table: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to read a row of {table}")]
    Decode {
        table: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("a row of {table} holds what this program never writes: {what}")]
    Corrupt { table: &'static str, what: String },
    /// Another process opened the store for writing after this one.
    #[error("another process has taken over the writing of the store")]
    Fenced,
    #[error("the store has schema {found}, this program knows up to {known}")]
    Newer { found: i64, known: i64 },
    #[error("not a cursor of this query: {0:?}")]
    Cursor(String),
    #[error("the file of the store is damaged: {0}")]
    Integrity(String),
}

impl StoreError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "store_open",
            Self::Sql(_) => "store_sql",
            Self::Encode { .. } => "store_encode",
            Self::Decode { .. } | Self::Corrupt { .. } => "store_decode",
            Self::Fenced => "store_fenced",
            Self::Newer { .. } => "store_newer",
            Self::Cursor(_) => "invalid_cursor",
            Self::Integrity(_) => "store_damaged",
        }
    }
}

/// JSON of a column.
pub(crate) fn encode<T: serde::Serialize + ?Sized>(
    table: &'static str,
    value: &T,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { table, source })
}

/// A column's JSON.
pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(
    table: &'static str,
    text: &'a str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Decode { table, source })
}

/// An unsigned number as SQL keeps it. What counts events never gets near 2^63.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The reverse of [`signed`].
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
