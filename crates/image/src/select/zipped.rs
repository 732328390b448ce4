//! Reading of a zip archive that is in memory, by its central directory, as Java's `ZipFile` does.
//!
//! Offsets, sizes and counts are hostile: every access is checked, and the caller says how much may be inflated.

use std::io::Read;

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
const END64: &[u8] = b"PK\x06\x06";
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_SIZE: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;
/// Longest comment after the end record.
const MAX_COMMENT: usize = 65_535;

/// An archive.
pub struct Zip<'a> {
    bytes: &'a [u8],
    central: &'a [u8],
    /// Bytes before the archive: the script of a self-executing jar.
    base: u64,
}

/// One record of the central directory.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    pub name: &'a [u8],
    method: u16,
    encrypted: bool,
    /// Bytes in the archive: a claim.
    pub stored: u64,
    /// Bytes when inflated: a claim.
    pub size: u64,
    offset: u64,
}

impl<'a> Zip<'a> {
    /// Finds the central directory; `None` if the bytes are no zip archive.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let lowest = bytes.len().checked_sub(END_SIZE)?.saturating_sub(MAX_COMMENT);
        let end = (lowest..=bytes.len() - END_SIZE).rev().find(|at| {
            let record = bytes.get(*at..).unwrap_or(&[]);
            record.starts_with(END)
                && half(record, 20).is_some_and(|comment| END_SIZE + usize::from(comment) <= record.len())
        })?;
        let record = bytes.get(end..)?;
        let (mut size, mut offset) = (u64::from(word(record, 12)?), u64::from(word(record, 16)?));
        let mut finish = end;
        if (size == u64::from(u32::MAX) || offset == u64::from(u32::MAX))
            && let Some((at, size64, offset64)) = end64(bytes, end)
        {
            (finish, size, offset) = (at, size64, offset64);
        }
        // The directory lies right before its end record, whatever precedes the archive.
        let start = u64::try_from(finish).ok()?.checked_sub(size)?;
        let base = start.checked_sub(offset)?;
        let central = bytes.get(usize::try_from(start).ok()?..finish)?;
        Some(Self { bytes, central, base })
    }

    /// The records, in order, to the first that is broken.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let mut rest = self.central;
        std::iter::from_fn(move || {
            let record = rest;
            if !record.starts_with(CENTRAL) {
                return None;
            }
            let name_length = usize::from(half(record, 28)?);
            let extra_length = usize::from(half(record, 30)?);
            let comment_length = usize::from(half(record, 32)?);
            let name = record.get(CENTRAL_SIZE..CENTRAL_SIZE + name_length)?;
            let extra_at = CENTRAL_SIZE + name_length;
            let extra = record.get(extra_at..extra_at + extra_length)?;
            rest = record.get(extra_at + extra_length + comment_length..).unwrap_or(&[]);
            let mut member = Member {
                name,
                method: half(record, 10)?,
                encrypted: half(record, 8)? & 1 != 0,
                stored: u64::from(word(record, 20)?),
                size: u64::from(word(record, 24)?),
                offset: u64::from(word(record, 42)?),
            };
            member.widen(extra);
            Some(member)
        })
    }

    /// A member's bytes if they are stored as they are.
    pub fn plain(&self, member: &Member<'a>) -> Option<&'a [u8]> {
        if member.method == 0 && !member.encrypted { self.raw(member) } else { None }
    }

    /// A member's bytes, at most `max` of them; `None` if it is longer, or cannot be read.
    pub fn read(&self, member: &Member<'a>, max: u64) -> Option<Vec<u8>> {
        let raw = self.raw(member)?;
        if member.encrypted {
            return None;
        }
        match member.method {
            0 => (raw.len() as u64 <= max).then(|| raw.to_vec()),
            8 => {
                let mut bytes = Vec::new();
                let mut inflated = flate2::bufread::DeflateDecoder::new(raw).take(max.saturating_add(1));
                inflated.read_to_end(&mut bytes).ok()?;
                (bytes.len() as u64 <= max).then_some(bytes)
            }
            _ => None,
        }
    }

    fn raw(&self, member: &Member<'a>) -> Option<&'a [u8]> {
        let at = usize::try_from(self.base.checked_add(member.offset)?).ok()?;
        let local = self.bytes.get(at..)?;
        if !local.starts_with(LOCAL) {
            return None;
        }
        let start = LOCAL_SIZE + usize::from(half(local, 26)?) + usize::from(half(local, 28)?);
        local.get(start..)?.get(..usize::try_from(member.stored).ok()?)
    }
}

impl Member<'_> {
    /// Takes sizes and offset from the zip64 extra field where the record has no room for them.
    fn widen(&mut self, mut extra: &[u8]) {
        const FULL: u64 = u32::MAX as u64;
        while let (Some(id), Some(length)) = (half(extra, 0), half(extra, 2)) {
            let Some(field) = extra.get(4..4 + usize::from(length)) else { return };
            if id == 1 {
                let mut numbers = field.chunks_exact(8).filter_map(|chunk| long(chunk, 0));
                for value in [&mut self.size, &mut self.stored, &mut self.offset] {
                    if *value == FULL
                        && let Some(number) = numbers.next()
                    {
                        *value = number;
                    }
                }
                return;
            }
            extra = extra.get(4 + usize::from(length)..).unwrap_or(&[]);
        }
    }
}

/// Where the zip64 end record is, and its size and offset of the central directory.
fn end64(bytes: &[u8], end: usize) -> Option<(usize, u64, u64)> {
    let locator = end.checked_sub(20)?;
    if !bytes.get(locator..)?.starts_with(END64_LOCATOR) {
        return None;
    }
    // The record is right before its locator unless it has an extensible part.
    let at = [usize::try_from(long(bytes, locator + 8)?).ok(), locator.checked_sub(56)]
        .into_iter()
        .flatten()
        .find(|at| bytes.get(*at..).is_some_and(|record| record.starts_with(END64)) && *at < locator)?;
    let record = bytes.get(at..)?;
    Some((at, long(record, 40)?, long(record, 48)?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
