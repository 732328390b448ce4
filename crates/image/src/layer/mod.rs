//! A layer's bytes become an [`Extract`], in one pass, in bounded memory, with nothing written to disk.
//!
//! Compressed stream → hash, checked at the end → decompress → walk the tar stream → entries for the shadow set,
//! and what [selectors](crate::select) keep. Files that nobody selects are skipped without a copy.
//!
//! What is read is what containerd reads (see `tar`). Readers of Extracts can rely on this:
//!
//! - Entries are sorted by path and then kind. One path has at most one entry that is a file of some kind (the
//!   last of the archive), and beside it at most one `Whiteout` and one `Opaque`. Those two hide content of
//!   *lower* layers only (OCI image specification, "Whiteouts"), wherever they stand in the archive.
//! - A file or link that replaces a directory of the same layer removes what the archive put there before.
//! - A hard link to a file of this layer carries what selectors would have kept of it under its own path.
//!
//! | partial | meaning |
//! |---|---|
//! | `decompressed_bytes`, `ratio`, `entries`, `names`, `time` | the limit was reached; what follows was not read |
//! | `path_length`, `link_depth` | such entries are left out, or links not followed |
//! | `entry_bytes`, `kept_bytes` | selected content is left out |
//! | `hardlink_unread` | a link that is selected by its name, to content that was not |
//! | `truncated`, `corrupt_gzip`, `corrupt_zstd`, `corrupt_tar` | containerd could not read on from here either |
//! | `foreign_layer` | not distributable and not fetched |
//!
//! | anomaly | meaning |
//! |---|---|
//! | `compression_differs` | the media type names another compression than the content shows |
//! | `absolute_path`, `path_escapes_root`, `path_not_utf8` | the path was cleaned inside the root |
//! | `duplicate_entry`, `entry_replaced` | an entry hides an earlier one of the same layer |
//! | `parent_not_directory` | an entry below a file |
//! | `whiteout_of_own_entry`, `invalid_whiteout` | readers disagree, or refuse |
//! | `unhandled_type` | a tar type that containerd refuses |
//! | `global_header` | PAX records that some readers apply to every entry |
//! | `hardlink_target_missing` | the target is not in this layer |
//! | `data_after_end`, `corrupt_after_end` | bytes after the end of the archive |
//! | `anomalies_omitted` | more of them than the limit lists |

mod collect;
mod decode;
mod error;
mod limits;
mod media;
mod order;
mod path;
mod settle;
mod source;
pub mod stream;
mod tar;

use std::io::Read;
use std::ops::ControlFlow;

use plimsoll_cpu::Permit;
use plimsoll_model::Digest;
use plimsoll_model::extract::{Entries, Extract, Partial};

pub use error::LayerError;
pub use limits::Limits;
pub use media::{Compression, LayerMedia};
pub use stream::{StreamError, read_stream};

use crate::select::Table;
use collect::Collector;
use decode::{Decoded, Stop};
use source::Hashed;
use tar::{Found, Tar};

/// What is known of a layer before it is read: its descriptor. Size and media type are claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSource {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Compressed bytes, if known.
    pub size: Option<u64>,
    /// Media type; `application/octet-stream` or nothing if unknown.
    pub media_type: String,
}

/// How far a reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Compressed bytes read.
    pub compressed: u64,
    /// Bytes after decompression.
    pub uncompressed: u64,
    /// Tar entries.
    pub entries: u64,
}

/// What the caller of a reading is asked meanwhile, on the reading thread.
pub trait Hooks: Send + Sync {
    /// Called with each chunk of input. `Break` ends the reading with [`LayerError::Cancelled`].
    fn progress(&self, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Called before more than 1 MiB of one file is held; the permit is kept until the file is reduced.
    fn reserve(&self, _bytes: u64) -> Option<Permit> {
        None
    }
}

/// Hooks that do nothing.
impl Hooks for () {}

/// Reads a layer from its compressed bytes, to their end.
///
/// The digest is always verified before anything is returned, whatever was wrong with the content.
pub fn read<R: Read>(
    reader: R,
    layer: &LayerSource,
    limits: &Limits,
    table: &Table,
    hooks: &dyn Hooks,
) -> Result<Extract, LayerError> {
    let media = LayerMedia::parse(&layer.media_type)
        .ok_or_else(|| LayerError::MediaType(layer.media_type.clone()))?;
    let mut input = Hashed::new(reader, &layer.digest, layer.size, limits.compressed_bytes, hooks);
    let head = decode::peek(&mut input);
    let compression = Compression::sniff(head);
    if media.compression.is_none()
        && compression == Compression::Uncompressed
        && !tar::begins(head)
        && !input.failed()
    {
        return Err(LayerError::NotALayer);
    }
    let mut collector = Collector::new(limits, table, hooks);
    if let Some(claimed) = media.compression.filter(|claimed| *claimed != compression) {
        let detail = format!("claimed {}, found {}", claimed.name(), compression.name());
        collector.anomaly("compression_differs", "", detail);
    }
    let mut tar = Tar::new(Decoded::new(input, compression, limits)?);
    let stop = walk(&mut tar, &mut collector).err();
    let began = tar.began;
    let mut decoded = tar.into_stream();
    match &stop {
        None => finish_stream(&mut decoded, &mut collector),
        Some(Stop::Limit { code, detail } | Stop::Corrupt { code, detail }) => {
            collector.partial(code, detail.clone());
        }
        Some(Stop::Input) => {}
    }
    let uncompressed = decoded.total();
    let compressed = decoded.into_input().verify(&layer.digest)?;
    match stop {
        Some(Stop::Corrupt { code, detail }) if !began => Err(LayerError::Corrupt { code, detail }),
        _ => Ok(collector.finish(layer.digest.clone(), compressed, uncompressed)),
    }
}

/// The Extract of a layer that is not fetched because it is not distributable: empty and partial.
pub fn foreign(digest: Digest, limits: &Limits, table: &Table) -> Extract {
    Extract {
        layer: digest,
        profile: limits.profile.clone(),
        selectors: table.revisions(),
        entries: Entries::default(),
        selected: Vec::new(),
        anomalies: Vec::new(),
        partial: vec![Partial {
            code: "foreign_layer".to_owned(),
            detail: "the layer is not distributable and was not fetched".to_owned(),
        }],
        compressed_size: 0,
        uncompressed_size: 0,
    }
}

fn walk<R: Read>(tar: &mut Tar<'_, R>, collector: &mut Collector<'_>) -> Result<(), Stop> {
    loop {
        match tar.next()? {
            Found::Entry => {
                collector.entry(tar)?;
                let entries = collector.seen();
                tar.stream().note_entries(entries);
            }
            Found::Global(true) => {
                collector.anomaly("global_header", "", "global records are ignored".to_owned());
            }
            Found::Global(false) => {}
            Found::End => return Ok(()),
        }
    }
}

/// Looks at what follows the end of the archive: padding, or something that other readers may see.
fn finish_stream<R: Read>(decoded: &mut Decoded<'_, R>, collector: &mut Collector<'_>) {
    let mut clean = true;
    loop {
        match decoded.available() {
            Ok([]) => return,
            Ok(bytes) => {
                if clean && bytes.iter().any(|byte| *byte != 0) {
                    clean = false;
                    collector.anomaly("data_after_end", "", "bytes after the end of the archive".to_owned());
                }
                let count = bytes.len();
                decoded.consume(count);
            }
            Err(Stop::Input) => return,
            Err(Stop::Corrupt { detail, .. }) => {
                return collector.anomaly("corrupt_after_end", "", detail);
            }
            Err(Stop::Limit { code, detail }) => return collector.partial(code, detail),
        }
    }
}
