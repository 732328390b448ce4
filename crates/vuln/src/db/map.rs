//! The one place with `unsafe`: a file becomes memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The bytes of a Db.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a whole file, read-only. An installed Db is never written again: a newer one gets another name and is
    /// moved into place, and the old one lives on in its mappings.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is read-only, and Db files are immutable once they have their final name (see above).
        // Nothing assumes anything of the content: all reads are bounds-checked and texts are checked as UTF-8 at
        // each use.
        unsafe { memmap2::Mmap::map(file) }.map(Self::Mapped)
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
