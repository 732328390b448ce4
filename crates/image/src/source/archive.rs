//! A tar file as a place of files: indexed once, read in place, never unpacked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::error::SourceError;

/// Most entries of an archive that holds images.
const MAX_ENTRIES: usize = 100_000;
/// Links that are followed from one name.
const MAX_LINKS: usize = 8;

/// An indexed archive.
pub(super) struct Archive {
    pub(super) path: PathBuf,
    file: Arc<File>,
    entries: FxHashMap<String, Entry>,
}

enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Archive {
    /// Reads the headers of a tar file; blocks.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Io { path: path.to_owned(), source };
        let corrupt = |detail: String| SourceError::Corrupt { path: path.to_owned(), detail };
        // Opening a FIFO would wait for ever.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(corrupt("not a file".into()));
        }
        let file = File::open(path).map_err(failed)?;
        let mut magic = [0; 4];
        let read = file.read_at(&mut magic, 0).map_err(failed)?;
        if read == 4 && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(corrupt("the archive is compressed; decompress it first".into()));
        }
        let mut archive = tar::Archive::new(BufReader::new(file.try_clone().map_err(failed)?));
        let mut entries = FxHashMap::default();
        let broken = |error: io::Error| corrupt(format!("not a tar archive: {error}"));
        for entry in archive.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            if entries.len() >= MAX_ENTRIES {
                return Err(corrupt(format!("more than {MAX_ENTRIES} entries")));
            }
            let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
            let Some(name) = clean("", &name) else { continue };
            let link = || {
                let target = entry.link_name_bytes()?;
                String::from_utf8(target.into_owned()).ok()
            };
            let kind = entry.header().entry_type();
            let entry = if kind.is_file() {
                Some(Entry::File { offset: entry.raw_file_position(), size: entry.size() })
            } else if kind.is_hard_link() {
                link().and_then(|target| clean("", &target)).map(Entry::Link)
            } else if kind.is_symlink() {
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                link().and_then(|target| clean(parent, &target)).map(Entry::Link)
            } else {
                None
            };
            if let Some(entry) = entry {
                entries.insert(name, entry);
            }
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(file), entries })
    }

    /// True if there is such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The file's bytes and their number.
    pub(super) fn read(&self, name: &str) -> Option<(Window, u64)> {
        let (_, offset, size) = self.find(name)?;
        Some((Window { file: Arc::clone(&self.file), at: offset, left: size }, size))
    }

    /// The name of the file that a name leads to.
    pub(super) fn resolve(&self, name: &str) -> Option<String> {
        self.find(name).map(|(name, ..)| name)
    }

    fn find(&self, name: &str) -> Option<(String, u64, u64)> {
        let mut name = clean("", name)?;
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name)? {
                Entry::File { offset, size } => return Some((name, *offset, *size)),
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// A path inside the archive from `parent`, without `.` and `..`; `None` if it leaves the archive.
fn clean(parent: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { parent };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A part of a file, read at its own position.
pub(super) struct Window {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let read = self.file.read_at(buffer, self.at)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        let count = u64::try_from(read).unwrap_or(0);
        self.at = self.at.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_stay_inside() {
        for (parent, path, expected) in [
            ("", "./blobs//sha256/a", Some("blobs/sha256/a")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("a/b", "../../../etc/passwd", None),
            ("a", "/x", Some("x")),
            ("", "..", None),
        ] {
            assert_eq!(clean(parent, path).as_deref(), expected, "{parent} {path}");
        }
    }
}
