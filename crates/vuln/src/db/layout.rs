//! The file: a header, then sections. All integers little-endian, no alignment.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `PLIMDB\x1a\n` |
//! | 4 | format version |
//! | 4 | number of sections |
//! | 8 | sequence number of the Db |
//! | 8 | when it was built, milliseconds |
//! | 8 | length of the file |
//! | 16 each | offset and length of each [`Section`] |
//! | 32 | SHA-256 of everything after the header |
//! | 32 | SHA-256 of the header before this field |
//!
//! Sections come in pairs: an index of fixed-size entries (offset, length, fingerprint) and the records. Two slot
//! tables (open addressing, linear probing) lead from the hash of a lookup key, and of a vulnerability id, to its
//! record. A slot table in place of a transducer, because its readers can be checked against damaged files.

use aws_lc_rs::digest::{SHA256, digest};

use super::DbError;
use super::codec::{Damaged, hash, u32_at, u64_at};
use crate::feeds::input::array;

pub(super) const MAGIC: &[u8; 8] = b"PLIMDB\x1a\n";
/// The version that is written. Readers refuse any other: the records change together with the version.
pub const FORMAT: u32 = 2;

/// The sections, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Meta,
    Coverage,
    KeySlots,
    KeyIndex,
    Keys,
    AdvisoryIndex,
    Advisories,
    VulnIndex,
    Vulns,
    IdSlots,
    IdIndex,
    Ids,
}

pub(super) const SECTIONS: usize = 12;
pub(super) const HEADER: usize = 40 + 16 * SECTIONS + 64;
const INDEX_ENTRY: usize = 24;
const SLOT: usize = 8;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) seq: u64,
    pub(super) built_at: i64,
    pub(super) sections: [(usize, usize); SECTIONS],
    pub(super) content: [u8; 32],
}

impl Header {
    pub(super) fn encode(&self, length: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&(SECTIONS as u32).to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.built_at.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        for (offset, length) in self.sections {
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            out.extend_from_slice(&(length as u64).to_le_bytes());
        }
        out.extend_from_slice(&self.content);
        let sum = digest(&SHA256, &out);
        out.extend_from_slice(sum.as_ref());
        out
    }

    /// Reads the header of a file and checks it against the file's length. Nothing else of the file is read.
    pub(super) fn decode(file: &[u8]) -> Result<Self, DbError> {
        let magic = file.get(..MAGIC.len()).ok_or(DbError::Truncated)?;
        if magic != MAGIC {
            return Err(DbError::Format { found: None });
        }
        let format = u32_at(file, 8).ok_or(DbError::Truncated)?;
        if format != FORMAT {
            return Err(DbError::Format { found: Some(format) });
        }
        let header = file.get(..HEADER).ok_or(DbError::Truncated)?;
        let (body, sum) = header.split_at_checked(HEADER - 32).ok_or(DbError::Truncated)?;
        if digest(&SHA256, body).as_ref() != sum {
            return Err(DbError::Corrupt("header checksum"));
        }
        let word = |at| u64_at(file, at).ok_or(DbError::Truncated);
        if u32_at(file, 12) != Some(SECTIONS as u32) {
            return Err(DbError::Corrupt("number of sections"));
        }
        let length = word(32)?;
        match length.cmp(&(file.len() as u64)) {
            std::cmp::Ordering::Greater => return Err(DbError::Truncated),
            std::cmp::Ordering::Less => return Err(DbError::Corrupt("bytes after the end")),
            std::cmp::Ordering::Equal => {}
        }
        let mut sections = [(0, 0); SECTIONS];
        for (n, section) in sections.iter_mut().enumerate() {
            let offset = usize::try_from(word(40 + 16 * n)?).map_err(|_| DbError::Corrupt("section"))?;
            let size = usize::try_from(word(48 + 16 * n)?).map_err(|_| DbError::Corrupt("section"))?;
            if offset < HEADER || offset.checked_add(size).is_none_or(|end| end > file.len()) {
                return Err(DbError::Corrupt("section"));
            }
            *section = (offset, size);
        }
        let content = array(file.get(HEADER - 64..HEADER - 32).ok_or(DbError::Truncated)?);
        Ok(Self { seq: word(16)?, built_at: word(24)? as i64, sections, content })
    }
}

/// Records with their index, while a file is written.
#[derive(Debug, Default)]
pub(super) struct TableWriter {
    pub(super) index: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl TableWriter {
    pub(super) fn push(&mut self, record: &[u8], fingerprint: u64) {
        self.index.extend_from_slice(&(self.data.len() as u64).to_le_bytes());
        self.index.extend_from_slice(&(record.len() as u64).to_le_bytes());
        self.index.extend_from_slice(&fingerprint.to_le_bytes());
        self.data.extend_from_slice(record);
    }
}

/// Records with their index, in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) index: &'a [u8],
    pub(super) data: &'a [u8],
}

impl<'a> Table<'a> {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.index.len() / INDEX_ENTRY).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, ordinal: u32) -> Result<&'a [u8], Damaged> {
        let at = ordinal as usize * INDEX_ENTRY;
        let word = |n: usize| {
            let word = u64_at(self.index, at + 8 * n)?;
            usize::try_from(word).ok()
        };
        let (Some(offset), Some(length)) = (word(0), word(1)) else {
            return Err(Damaged("index"));
        };
        let end = offset.checked_add(length).ok_or(Damaged("index"))?;
        self.data.get(offset..end).ok_or(Damaged("index"))
    }

    pub(super) fn fingerprint(&self, ordinal: u32) -> Result<u64, Damaged> {
        u64_at(self.index, ordinal as usize * INDEX_ENTRY + 16).ok_or(Damaged("index"))
    }
}

/// The slot table of `keys`, which are distinct; their order gives the ordinals.
pub(super) fn slots<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let capacity = (keys.len() * 2).next_power_of_two().max(2);
    let mut table = vec![(0_u32, 0_u32); capacity];
    for (ordinal, key) in keys.enumerate() {
        let hash = hash(key);
        let mut at = hash as usize & (capacity - 1);
        // Half of the slots are free, so that this ends.
        while let Some(slot) = table.get_mut(at) {
            if slot.1 == 0 {
                *slot = ((hash >> 32) as u32, ordinal as u32 + 1);
                break;
            }
            at = (at + 1) & (capacity - 1);
        }
    }
    table.iter().flat_map(|(tag, ordinal)| [tag.to_le_bytes(), ordinal.to_le_bytes()]).flatten().collect()
}

/// The ordinals that may belong to `key`, until `matches` confirms one.
pub(super) fn find(
    slots: &[u8],
    key: &[u8],
    mut matches: impl FnMut(u32) -> Result<bool, DbError>,
) -> Result<Option<u32>, DbError> {
    let capacity = slots.len() / SLOT;
    if !capacity.is_power_of_two() {
        return Err(DbError::Corrupt("slot table"));
    }
    let hash = hash(key);
    let tag = (hash >> 32) as u32;
    let mut at = hash as usize & (capacity - 1);
    for _ in 0..capacity {
        let (Some(found), Some(ordinal)) = (u32_at(slots, at * SLOT), u32_at(slots, at * SLOT + 4)) else {
            return Err(DbError::Corrupt("slot table"));
        };
        match ordinal.checked_sub(1) {
            None => return Ok(None),
            Some(ordinal) if found == tag && matches(ordinal)? => return Ok(Some(ordinal)),
            Some(_) => at = (at + 1) & (capacity - 1),
        }
    }
    Ok(None)
}
