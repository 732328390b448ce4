//! rpm's own database (`Packages.db`; `lib/backend/ndb/rpmpkg.c` of rpm): slots that lead to blobs.

use super::bytes::View;

const MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB: u32 = u32::from_le_bytes(*b"BlbS");
const PAGE: usize = 4_096;
const SLOT_SIZE: usize = 16;
/// The unit of offsets.
const BLOCK: usize = 16;
const BLOB_HEADER: usize = 16;

/// Whether the bytes begin as such a database does.
pub(super) fn is(bytes: &[u8]) -> bool {
    View { bytes, big: false }.u32(0) == Some(MAGIC)
}

/// Calls `found` with each package's blob, in slot order, until it says stop.
pub(super) fn values(bytes: &[u8], found: &mut dyn FnMut(&[u8]) -> bool) {
    let view = View { bytes, big: false };
    let pages = view.u32(12).and_then(|pages| usize::try_from(pages).ok()).unwrap_or(0);
    let slots = bytes.get(..pages.saturating_mul(PAGE).min(bytes.len())).unwrap_or(&[]);
    // A value for each package, without overlap: together they cannot be more than the file.
    let mut left = bytes.len();
    for slot in slots.chunks_exact(SLOT_SIZE).skip(2) {
        let slot = View { bytes: slot, big: false };
        let (Some(SLOT), Some(package), Some(offset)) = (slot.u32(0), slot.u32(4), slot.u32(8)) else {
            continue;
        };
        if package == 0 || offset == 0 {
            continue;
        }
        let Some(blob) =
            usize::try_from(offset).ok().and_then(|offset| bytes.get(offset.checked_mul(BLOCK)?..))
        else {
            continue;
        };
        let header = View { bytes: blob, big: false };
        if header.u32(0) != Some(BLOB) || header.u32(4) != Some(package) {
            continue;
        }
        let length = header.u32(12).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let Some(value) = blob.get(BLOB_HEADER..).and_then(|blob| blob.get(..length)) else { continue };
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
        if !found(value) {
            return;
        }
    }
}
