//! Bounds on the reading of one layer.

use std::time::Duration;

/// How much of a layer is read and kept. Results are keyed by the profile's name, so two sets of numbers
/// need two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Name of this set of numbers; goes into the Extract.
    pub profile: String,
    /// Compressed bytes; beyond them the layer fails with `too_large`.
    pub compressed_bytes: u64,
    /// Bytes after decompression; beyond them the Extract is partial (`decompressed_bytes`).
    pub decompressed_bytes: u64,
    /// Decompressed bytes for each compressed byte (`ratio`). Deflate cannot pass 1032.
    pub ratio: u64,
    /// The ratio is not looked at before this many decompressed bytes.
    pub ratio_from: u64,
    /// Tar entries (`entries`).
    pub entries: u32,
    /// Bytes of all paths and link targets together (`names`).
    pub name_bytes: u64,
    /// Bytes of one path or link target; longer ones are left out (`path_length`).
    pub path_bytes: usize,
    /// Hard links to hard links (`link_depth`).
    pub link_depth: u32,
    /// Time spent on decompression and reading, without the time spent waiting for input (`time`).
    pub time: Duration,
    /// Bytes kept by all selectors together (`kept_bytes`).
    pub kept_bytes: u64,
    /// Bytes of one file held in memory while a selector reduces it (`entry_bytes`).
    pub entry_bytes: u64,
    /// Anomalies listed; further ones are only counted.
    pub anomalies: usize,
}

impl Default for Limits {
    /// The profile `default`.
    fn default() -> Self {
        Self {
            profile: "default".to_owned(),
            compressed_bytes: 32 << 30,
            decompressed_bytes: 64 << 30,
            ratio: 1_100,
            ratio_from: 1 << 30,
            entries: 2_000_000,
            name_bytes: 256 << 20,
            path_bytes: 4_096,
            link_depth: 40,
            time: Duration::from_secs(15 * 60),
            kept_bytes: 32 << 20,
            entry_bytes: 64 << 20,
            anomalies: 100,
        }
    }
}
