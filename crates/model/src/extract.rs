//! What one layer contributes to an image: its shadow set and the bytes that catalogers selected.

mod entries;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub use entries::Entries;

/// The reduced content of one layer. Deterministic for (layer bytes, selectors, limits profile).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// Digest of the compressed blob, verified.
    pub layer: Digest,
    /// Name of the limits profile that bounded the reading.
    pub profile: String,
    /// Selectors that looked at this layer, with their revisions, sorted by name.
    pub selectors: Vec<SelectorRevision>,
    /// Every entry of the layer, sorted by path; the last of duplicate entries stands.
    pub entries: Entries,
    /// Kept bytes, sorted by (path, selector).
    pub selected: Vec<Selected>,
    /// What was strange but did not stop the reading.
    pub anomalies: Vec<Anomaly>,
    /// Why the reading is incomplete, if it is.
    pub partial: Vec<Partial>,
    /// Compressed bytes read.
    pub compressed_size: u64,
    /// Bytes after decompression.
    pub uncompressed_size: u64,
}

/// A selector and the revision of its rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SelectorRevision {
    pub name: String,
    pub revision: u32,
}

/// One entry of a layer's tar stream. Paths are relative, without leading `/` or `./`, cleaned, `/`-separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry<T = String> {
    pub path: T,
    pub kind: EntryKind<T>,
}

impl Entry<&str> {
    /// The same with texts of its own.
    pub fn to_owned(&self) -> Entry {
        let kind = match self.kind {
            EntryKind::File => EntryKind::File,
            EntryKind::Directory => EntryKind::Directory,
            EntryKind::Symlink(target) => EntryKind::Symlink(target.into()),
            EntryKind::Hardlink(target) => EntryKind::Hardlink(target.into()),
            EntryKind::Other => EntryKind::Other,
            EntryKind::Whiteout => EntryKind::Whiteout,
            EntryKind::Opaque => EntryKind::Opaque,
        };
        Entry { path: self.path.into(), kind }
    }
}

/// Type of an entry, as far as it decides what a layer hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EntryKind<T = String> {
    File,
    Directory,
    /// Target as written in the archive.
    Symlink(T),
    /// Target as a path of the same form as `Entry::path`.
    Hardlink(T),
    /// Device, FIFO and the like.
    Other,
    /// `.wh.NAME`: `path` is the path that it hides, without the prefix.
    Whiteout,
    /// `.wh..wh..opq`: `path` is the directory whose lower content it hides (empty for the root).
    Opaque,
}

impl<T: AsRef<str>> EntryKind<T> {
    /// What a symlink or hard link names.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Symlink(target) | Self::Hardlink(target) => Some(target.as_ref()),
            _ => None,
        }
    }
}

/// Bytes that a selector kept of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// Path of the file in the layer.
    pub path: String,
    /// The selector that asked for it.
    pub selector: String,
    /// Size of the whole file in bytes.
    pub size: u64,
    /// What was kept: the file, or what the selector reduces it to.
    pub bytes: Vec<u8>,
}

/// Something that readers of layers may disagree about, or that looks like an attack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Anomaly {
    /// Stable code, e.g. `path_escapes_root`.
    pub code: String,
    pub path: String,
    pub detail: String,
}

/// A reason for which something is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Partial {
    /// Stable code, e.g. `too_many_entries`.
    pub code: String,
    pub detail: String,
}
