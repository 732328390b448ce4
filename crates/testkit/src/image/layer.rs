//! Layers: entries to a tar, a tar to a compressed blob.

use std::io::Write as _;

use bytes::Bytes;
use tar::{EntryType, Header};

use super::{Blob, ImageError, sha256};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File(Bytes),
    /// A directory.
    Dir,
    /// A symbolic link to this target, as written.
    Symlink(String),
    /// A hard link to this path of the same tar.
    Hardlink(String),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
}

/// One entry of a layer's tar. Nothing is checked or normalised: hostile paths are written as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as it stands in the tar.
    pub path: String,
    /// Kind and content.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Records of a PAX extended header before this entry, such as `SCHILY.xattr.user.x`.
    pub pax: Vec<(String, Vec<u8>)>,
    /// Size in the header, when it is to differ from the content's.
    pub declared_size: Option<u64>,
}

/// How a layer's tar is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `application/vnd.oci.image.layer.v1.tar`
    None,
    /// `…tar+gzip`, one member.
    Gzip,
    /// `…tar+gzip` of many concatenated members, as eStargz and pigz write it.
    MultiGzip,
    /// `…tar+zstd`
    Zstd,
}

impl Compression {
    /// The layer media type of the OCI image specification.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::MultiGzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Compresses `tar`; the same input gives the same bytes.
    pub fn apply(self, tar: &[u8]) -> Result<Vec<u8>, ImageError> {
        match self {
            Self::None => Ok(tar.to_vec()),
            Self::Gzip => gzip(tar),
            Self::MultiGzip => {
                let mut out = Vec::new();
                for part in tar.chunks(64 * 1024) {
                    out.extend(gzip(part)?);
                }
                Ok(out)
            }
            Self::Zstd => zstd::encode_all(tar, 3).map_err(ImageError::Compress),
        }
    }
}

/// One gzip member without a time or a name.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).map_err(ImageError::Compress)?;
    encoder.finish().map_err(ImageError::Compress)
}

/// A layer as a registry stores it. `diff_id` is the digest of the tar, which a hostile layer may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The stored bytes and their digest.
    pub blob: Blob,
    /// Digest of the uncompressed tar.
    pub diff_id: String,
}

impl LayerBlob {
    /// A blob whose `diff_id` is worked out from `tar`.
    pub fn new(media_type: &str, stored: Vec<u8>, tar: &[u8]) -> Self {
        Self { blob: Blob::new(media_type, stored), diff_id: sha256(tar) }
    }
}

/// The entries of one layer, in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    entries: Vec<Entry>,
}

impl Layer {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(self, path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.with(path, EntryKind::File(bytes.into()), 0o644)
    }

    /// A regular file that may be executed, mode 0755.
    #[must_use]
    pub fn executable(self, path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.with(path, EntryKind::File(bytes.into()), 0o755)
    }

    /// Many regular files.
    #[must_use]
    pub fn files<P: Into<String>, B: Into<Bytes>>(self, files: impl IntoIterator<Item = (P, B)>) -> Self {
        files.into_iter().fold(self, |layer, (path, bytes)| layer.file(path, bytes))
    }

    /// A directory, mode 0755.
    #[must_use]
    pub fn dir(self, path: impl Into<String>) -> Self {
        self.with(path, EntryKind::Dir, 0o755)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl Into<String>, target: impl Into<String>) -> Self {
        self.with(path, EntryKind::Symlink(target.into()), 0o777)
    }

    /// A hard link to an earlier entry.
    #[must_use]
    pub fn hardlink(self, path: impl Into<String>, target: impl Into<String>) -> Self {
        self.with(path, EntryKind::Hardlink(target.into()), 0o644)
    }

    /// Hides `path` of the layers below: an empty file `.wh.<name>` beside it.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let marker = match path.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(marker, Bytes::new())
    }

    /// Hides everything that layers below have in `dir`: an empty file `.wh..wh..opq` in it.
    #[must_use]
    pub fn opaque(self, dir: &str) -> Self {
        self.file(format!("{}/.wh..wh..opq", dir.trim_end_matches('/')), Bytes::new())
    }

    /// Any kind of entry.
    #[must_use]
    pub fn with(self, path: impl Into<String>, kind: EntryKind, mode: u32) -> Self {
        self.entry(Entry { path: path.into(), kind, mode, pax: Vec::new(), declared_size: None })
    }

    /// An entry in full.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// The entries so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tar: ustar headers, GNU long names where a name exceeds 100 bytes, two zero blocks at the end.
    pub fn tar(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            write_entry(&mut out, entry);
        }
        out.extend([0_u8; 1024]);
        out
    }

    /// The tar, compressed.
    pub fn blob(&self, compression: Compression) -> Result<LayerBlob, ImageError> {
        let tar = self.tar();
        let stored = compression.apply(&tar)?;
        Ok(LayerBlob::new(compression.media_type(), stored, &tar))
    }
}

/// Appends one entry: extended headers, header, content padded to a block.
pub(super) fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    if !entry.pax.is_empty() {
        let records: Vec<u8> = entry.pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
        let header = header(EntryType::XHeader, "PaxHeaders/entry", 0o644, len(&records));
        out.extend_from_slice(header.as_bytes());
        padded(out, &records);
    }
    let (kind, link, content) = match &entry.kind {
        EntryKind::File(bytes) => (EntryType::Regular, None, bytes.clone()),
        EntryKind::Dir => (EntryType::Directory, None, Bytes::new()),
        EntryKind::Symlink(target) => (EntryType::Symlink, Some(target.as_str()), Bytes::new()),
        EntryKind::Hardlink(target) => (EntryType::Link, Some(target.as_str()), Bytes::new()),
        EntryKind::Fifo => (EntryType::Fifo, None, Bytes::new()),
        EntryKind::CharDevice => (EntryType::Char, None, Bytes::new()),
    };
    let path = match entry.kind {
        EntryKind::Dir if !entry.path.ends_with('/') => format!("{}/", entry.path),
        _ => entry.path.clone(),
    };
    long_name(out, EntryType::GNULongName, &path);
    if let Some(target) = link {
        long_name(out, EntryType::GNULongLink, target);
    }
    let size = entry.declared_size.unwrap_or_else(|| len(&content));
    let mut header = header(kind, &path, entry.mode, size);
    if let Some(target) = link {
        copy(&mut header.as_old_mut().linkname, target.as_bytes());
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    padded(out, &content);
}

/// A header with the name copied as it is: the tar crate's own setter refuses `..` and absolute paths.
pub(super) fn header(kind: EntryType, name: &str, mode: u32, size: u64) -> Header {
    // GNU headers, which is what long names and sizes above 8 GiB need.
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    copy(&mut header.as_old_mut().name, name.as_bytes());
    header.set_cksum();
    header
}

fn long_name(out: &mut Vec<u8>, kind: EntryType, name: &str) {
    if name.len() <= 100 {
        return;
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    let header = header(kind, "././@LongLink", 0o644, len(&bytes));
    out.extend_from_slice(header.as_bytes());
    padded(out, &bytes);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    let rest = bytes.len() % 512;
    if rest != 0 {
        out.resize(out.len().saturating_add(512_usize.saturating_sub(rest)), 0);
    }
}

fn copy(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len().saturating_add(value.len()).saturating_add(3);
    let mut total = rest.saturating_add(1);
    while rest.saturating_add(total.to_string().len()) != total {
        total = rest.saturating_add(total.to_string().len());
    }
    let mut record = format!("{total} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}
