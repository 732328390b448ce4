//! Sparse maps: which parts of a file are stored, the rest being zeros.

use super::super::decode::Stop;
use super::header::{BadField, Block, field, numeric};
use super::pax::decimal;

/// One stored part: (offset in the file, length).
pub(super) type Part = (u64, u64);

/// A map that holds: parts in order, disjoint, inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SparseMap {
    pub(super) parts: Vec<Part>,
    pub(super) size: u64,
}

impl SparseMap {
    pub(super) fn new(parts: Vec<(i64, i64)>, size: i64) -> Result<Self, Stop> {
        let bad = || Stop::tar("sparse map out of order or out of the file");
        let size = u64::try_from(size).map_err(|_| bad())?;
        let mut before = 0;
        let mut checked = Vec::with_capacity(parts.len());
        for (offset, length) in parts {
            let offset = u64::try_from(offset).map_err(|_| bad())?;
            let length = u64::try_from(length).map_err(|_| bad())?;
            let end = offset.saturating_add(length);
            if end > size || end > i64::MAX.cast_unsigned() || offset < before {
                return Err(bad());
            }
            before = end;
            checked.push((offset, length));
        }
        Ok(Self { parts: checked, size })
    }

    /// Bytes stored in the archive.
    pub(super) fn stored(&self) -> u64 {
        self.parts.iter().map(|(_, length)| length).sum()
    }
}

/// Reads (offset, length) pairs of an old GNU sparse header or extension block, up to `entries`.
pub(super) fn old_gnu(
    block: &Block,
    at: usize,
    entries: usize,
    into: &mut Vec<(i64, i64)>,
) -> Result<(), BadField> {
    const BAD: BadField = BadField("sparse entry");
    for entry in 0..entries {
        let offset = field(block, at + entry * 24, 12);
        if offset.first().is_none_or(|first| *first == 0) {
            break;
        }
        let length = field(block, at + entry * 24 + 12, 12);
        into.push((numeric(offset).map_err(|()| BAD)?, numeric(length).map_err(|()| BAD)?));
    }
    Ok(())
}

/// The map of PAX formats 0.0 and 0.1, from records.
pub(super) fn pax_0(blocks: &[u8], map: &[u8]) -> Option<Vec<(i64, i64)>> {
    let entries = usize::try_from(decimal(blocks)?).ok()?;
    let mut numbers: Vec<&[u8]> = map.split(|byte| *byte == b',').collect();
    if numbers == [&b""[..]] {
        numbers.clear();
    }
    if Some(numbers.len()) != entries.checked_mul(2) {
        return None;
    }
    pairs(numbers.into_iter())
}

/// Pairs of decimal numbers.
pub(super) fn pairs<'a>(mut numbers: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(i64, i64)>> {
    let mut parts = Vec::new();
    while let Some(offset) = numbers.next() {
        parts.push((decimal(offset)?, decimal(numbers.next()?)?));
    }
    Some(parts)
}
