//! Build information of Go executables, as Go's `debug/buildinfo` finds it.

use super::executable::Image;
use super::go_scan::{GoScan, Retained};
use super::scan::{Headed, Program as Selected};

/// Keeps the Go version and the module information (`path`, `mod`, `dep`, `=>`, `build` lines).
pub static GO_BINARY: Selected = Selected {
    name: "go-binary",
    revision: 2,
    scan: || Box::new(Headed::<GoScan>::default()),
    reduce: |bytes| {
        let program = Program { image: Image::parse(bytes)?, bytes: Bytes::Whole(bytes) };
        program.build_info(program.find()?)
    },
};

pub(super) const MAGIC: &[u8] = b"\xff Go buildinf:";
pub(super) const HEADER: usize = 32;
pub(super) const ALIGN: u64 = 16;

/// What there is of a file.
pub(super) enum Bytes<'a> {
    Whole(&'a [u8]),
    Parts(&'a Retained),
}

impl<'a> Bytes<'a> {
    /// Up to `length` bytes at an offset in the file.
    fn at(&self, offset: u64, length: usize) -> Option<&'a [u8]> {
        let bytes = match self {
            Self::Whole(bytes) => bytes.get(usize::try_from(offset).ok()?..)?,
            Self::Parts(parts) => parts.at(offset, length)?,
        };
        bytes.get(..length.min(bytes.len()))
    }
}

pub(super) struct Program<'a> {
    pub(super) image: Image,
    pub(super) bytes: Bytes<'a>,
}

impl<'a> Program<'a> {
    /// Version, newline, module information, from the header at `address`.
    pub(super) fn build_info(&self, address: u64) -> Option<Vec<u8>> {
        let header = self.read(address, HEADER as u64)?;
        let flags = *header.get(15)?;
        let (version, modules) = if flags & 2 != 0 {
            let (version, next) = self.inline(address.checked_add(HEADER as u64)?)?;
            (version, self.inline(next)?.0)
        } else {
            let (wide, big) = match header.get(14)? {
                8 => (true, flags & 1 != 0),
                4 => (false, flags & 1 != 0),
                _ => return None,
            };
            let word = if wide { 8 } else { 4 };
            let version = self.pointed(integer(header.get(16..)?, wide, big)?, wide, big).unwrap_or(&[]);
            let modules =
                self.pointed(integer(header.get(16 + word..)?, wide, big)?, wide, big).unwrap_or(&[]);
            (version, modules)
        };
        if version.is_empty() || version.contains(&b'\n') {
            return None;
        }
        // The text stands between two markers of 16 bytes.
        let framed = modules.len() >= 33
            && modules.len().checked_sub(17).and_then(|at| modules.get(at)) == Some(&b'\n');
        let modules = if framed { modules.get(16..modules.len() - 16).unwrap_or(&[]) } else { &[] };
        let mut kept = Vec::with_capacity(version.len() + modules.len() + 1);
        kept.extend_from_slice(version);
        kept.push(b'\n');
        kept.extend_from_slice(modules);
        Some(kept)
    }

    /// The aligned address of the header: in its section, else in the data segment.
    fn find(&self) -> Option<u64> {
        let (start, size) =
            self.image.build_info.or_else(|| self.image.data.map(|data| (data.address, data.memory)))?;
        let end = start.checked_add(size)?;
        let address = start.checked_next_multiple_of(ALIGN)?;
        let bytes = self.read(address, end.checked_sub(address)?)?;
        let at = bytes.chunks(ALIGN as usize).position(|chunk| chunk.starts_with(MAGIC))? * ALIGN as usize;
        let whole = bytes.len().checked_sub(at)? >= HEADER;
        if whole { address.checked_add(at as u64) } else { None }
    }

    /// Up to `length` bytes at `address`, fewer at the end of their segment.
    fn read(&self, address: u64, length: u64) -> Option<&'a [u8]> {
        let (segment, offset) = self.image.locate(address)?;
        let left = segment.stored - (address - segment.address);
        let length = usize::try_from(length.min(left)).ok()?;
        self.bytes.at(offset, length).filter(|bytes| !bytes.is_empty())
    }

    fn exactly(&self, address: u64, length: u64) -> Option<&'a [u8]> {
        self.read(address, length).filter(|bytes| bytes.len() as u64 == length)
    }

    /// A string with its length before it as a varint (Go 1.18 and later), and the address after it.
    fn inline(&self, address: u64) -> Option<(&'a [u8], u64)> {
        let mut length: u64 = 0;
        for (index, byte) in self.read(address, 10)?.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = u32::try_from(index * 7).ok()?;
            if bits.leading_zeros() < shift {
                return None;
            }
            length |= bits << shift;
            if byte & 0x80 == 0 {
                let start = address.checked_add(index as u64 + 1)?;
                if length == 0 {
                    return Some((&[], start));
                }
                return Some((self.exactly(start, length)?, start.checked_add(length)?));
            }
        }
        None
    }

    /// A Go string header (pointer, length) at `address` (Go before 1.18).
    fn pointed(&self, address: u64, wide: bool, big: bool) -> Option<&'a [u8]> {
        let word: u64 = if wide { 8 } else { 4 };
        let header = self.exactly(address, 2 * word)?;
        let start = integer(header, wide, big)?;
        let length = integer(header.get(usize::try_from(word).ok()?..)?, wide, big)?;
        self.exactly(start, length)
    }
}

pub(super) fn integer(bytes: &[u8], wide: bool, big: bool) -> Option<u64> {
    Some(match (wide, big) {
        (true, true) => u64::from_be_bytes(*bytes.first_chunk()?),
        (true, false) => u64::from_le_bytes(*bytes.first_chunk()?),
        (false, true) => u64::from(u32::from_be_bytes(*bytes.first_chunk()?)),
        (false, false) => u64::from(u32::from_le_bytes(*bytes.first_chunk()?)),
    })
}
