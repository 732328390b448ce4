//! Berkeley DB files, hash and B-tree: the values of every record (`db_page.h` of Berkeley DB 4 and 5).

use super::bytes::View;

const HASH: u32 = 0x0006_1561;
const BTREE: u32 = 0x0005_3162;
/// Bytes before the items of a page.
const PAGE_HEADER: usize = 26;
const PAGE_HASH_UNSORTED: u8 = 2;
const PAGE_BTREE_LEAF: u8 = 5;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_HASH: u8 = 13;

/// Calls `found` with each value, in page order, until it says stop; false if the bytes are no such database.
pub(super) fn values(bytes: &[u8], found: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let Some(database) = Database::open(bytes) else { return false };
    // Pages of the chains that were followed; a value of its own for each page is all there can be.
    let mut left = bytes.len() / database.page_size + 1;
    for page in 1..bytes.len().div_ceil(database.page_size) {
        if !database.page(page, &mut left, found) {
            break;
        }
    }
    true
}

/// Whether the bytes begin as such a database does.
pub(super) fn is(bytes: &[u8]) -> bool {
    Database::open(bytes).is_some()
}

struct Database<'a> {
    bytes: &'a [u8],
    big: bool,
    page_size: usize,
    btree: bool,
}

impl<'a> Database<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        for big in [false, true] {
            let view = View { bytes, big };
            let magic = view.u32(12)?;
            if matches!(magic, HASH | BTREE) {
                let page_size = usize::try_from(view.u32(20)?).ok()?;
                let valid = page_size.is_power_of_two() && (512..=65_536).contains(&page_size);
                return valid.then_some(Self { bytes, big, page_size, btree: magic == BTREE });
            }
        }
        None
    }

    fn view(&self, page: usize) -> Option<View<'a>> {
        let start = page.checked_mul(self.page_size)?;
        Some(View { bytes: self.bytes.get(start..start.checked_add(self.page_size)?)?, big: self.big })
    }

    /// False once `found` says stop.
    fn page(&self, page: usize, left: &mut usize, found: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let Some(view) = self.view(page) else { return true };
        let kind = view.u8(25).unwrap_or(0);
        let fits =
            if self.btree { kind == PAGE_BTREE_LEAF } else { matches!(kind, PAGE_HASH | PAGE_HASH_UNSORTED) };
        if !fits {
            return true;
        }
        let entries = usize::from(view.u16(20).unwrap_or(0)).min((self.page_size - PAGE_HEADER) / 2);
        let offset = |entry: usize| view.u16(PAGE_HEADER + 2 * entry).map(usize::from);
        // Keys and values take turns.
        for entry in (1..entries).step_by(2) {
            let (Some(at), Some(before)) = (offset(entry), offset(entry - 1)) else { break };
            let value = if self.btree {
                self.leaf_item(view, at, left)
            } else {
                self.hash_item(view, at, before, left)
            };
            if let Some(value) = value
                && !found(&value)
            {
                return false;
            }
        }
        true
    }

    /// `HKEYDATA` to the item before it, or `HOFFPAGE`.
    fn hash_item(&self, view: View<'a>, at: usize, before: usize, left: &mut usize) -> Option<Vec<u8>> {
        match view.u8(at)? {
            1 => view.bytes.get(at + 1..before).map(<[u8]>::to_vec),
            3 => self.chain(view.u32(at + 4)?, view.u32(at + 8)?, left),
            _ => None,
        }
    }

    /// `BKEYDATA` or `BOVERFLOW`; the highest bit of the type marks what is deleted.
    fn leaf_item(&self, view: View<'a>, at: usize, left: &mut usize) -> Option<Vec<u8>> {
        match view.u8(at + 2)? {
            1 => view.bytes.get(at + 3..at + 3 + usize::from(view.u16(at)?)).map(<[u8]>::to_vec),
            3 => self.chain(view.u32(at + 4)?, view.u32(at + 8)?, left),
            _ => None,
        }
    }

    /// A value in a chain of overflow pages.
    fn chain(&self, first: u32, length: u32, left: &mut usize) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len())?;
        let mut value = Vec::with_capacity(length);
        let mut page = usize::try_from(first).ok()?;
        while value.len() < length {
            *left = left.checked_sub(1)?;
            let view = self.view(page).filter(|_| page != 0)?;
            if view.u8(25)? != PAGE_OVERFLOW {
                return None;
            }
            let held = usize::from(view.u16(22)?);
            let part = view.bytes.get(PAGE_HEADER..PAGE_HEADER.checked_add(held)?)?;
            value.extend_from_slice(part.get(..part.len().min(length - value.len()))?);
            page = usize::try_from(view.u32(16)?).ok()?;
        }
        Some(value)
    }
}
