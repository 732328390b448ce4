//! The `Packages` table of `rpmdb.sqlite` (SQLite's "Database File Format").
//!
//! What a write-ahead log beside the file holds is not read: rpm leaves none when it ends.

use super::bytes::View;

const MAGIC: &[u8] = b"SQLite format 3\0";
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// SQLite's own limit.
const MAX_DEPTH: usize = 20;

/// Whether the bytes begin as such a database does.
pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Calls `found` with the first blob of each row of `Packages`, by row, until it says stop.
pub(super) fn values(bytes: &[u8], found: &mut dyn FnMut(&[u8]) -> bool) {
    let Some(mut database) = Database::open(bytes) else { return };
    let mut root = None;
    database.table(1, 0, &mut |row| {
        // type, name, tbl_name, rootpage, sql
        if column(row, 0) == Some(Value::Bytes(b"table")) && column(row, 1) == Some(Value::Bytes(b"Packages"))
        {
            root = match column(row, 3) {
                Some(Value::Integer(page)) => u32::try_from(page).ok(),
                _ => None,
            };
        }
        root.is_none()
    });
    let Some(root) = root else { return };
    database.left = database.pages();
    database.table(root, 0, &mut |row| match column(row, 1) {
        Some(Value::Bytes(blob)) => found(blob),
        _ => true,
    });
}

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// Bytes of a page without the reserved ones at its end.
    usable: usize,
    /// Pages that may still be visited: each belongs to one tree or chain.
    left: usize,
}

impl<'a> Database<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let view = View { bytes, big: true };
        let page_size = match view.u16(16)? {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = page_size.checked_sub(usize::from(view.u8(20)?))?;
        if !page_size.is_power_of_two() || page_size < 512 || usable < 480 {
            return None;
        }
        let mut database = Self { bytes, page_size, usable, left: 0 };
        database.left = database.pages();
        Some(database)
    }

    fn pages(&self) -> usize {
        self.bytes.len().div_ceil(self.page_size)
    }

    /// A page, counted from 1.
    fn page(&mut self, number: u32) -> Option<View<'a>> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::try_from(number).ok()?.checked_sub(1)?.checked_mul(self.page_size)?;
        let bytes = self.bytes.get(start..start.checked_add(self.page_size)?)?;
        Some(View { bytes: bytes.get(..self.usable)?, big: true })
    }

    /// Calls `row` with the record of each cell below a page; false once it says stop.
    fn table(&mut self, number: u32, depth: usize, row: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let Some(page) = self.page(number).filter(|_| depth < MAX_DEPTH) else { return true };
        let header = if number == 1 { 100 } else { 0 };
        let kind = page.u8(header).unwrap_or(0);
        let cells = usize::from(page.u16(header + 3).unwrap_or(0)).min(self.usable / 2);
        let pointers = header + if kind == INTERIOR { 12 } else { 8 };
        for cell in 0..cells {
            let Some(at) = page.u16(pointers + 2 * cell).map(usize::from) else { break };
            let goes_on = match kind {
                INTERIOR => page.u32(at).is_none_or(|child| self.table(child, depth + 1, row)),
                LEAF => self.record(page, at).is_none_or(|record| row(&record)),
                _ => return true,
            };
            if !goes_on {
                return false;
            }
        }
        match page.u32(header + 8).filter(|_| kind == INTERIOR) {
            Some(right) => self.table(right, depth + 1, row),
            None => true,
        }
    }

    /// The payload of a leaf's cell, overflow pages included.
    fn record(&mut self, page: View<'a>, at: usize) -> Option<Vec<u8>> {
        let (length, after) = varint(page.bytes, at)?;
        let (_, start) = varint(page.bytes, after)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len())?;
        let most = self.usable - 35;
        if length <= most {
            return page.bytes.get(start..start.checked_add(length)?).map(<[u8]>::to_vec);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.usable - 4);
        let local = if fitting <= most { fitting } else { least };
        let mut payload = Vec::with_capacity(length);
        payload.extend_from_slice(page.bytes.get(start..start.checked_add(local)?)?);
        let mut next = page.u32(start + local)?;
        while payload.len() < length {
            let overflow = self.page(next)?;
            next = overflow.u32(0)?;
            let part = overflow.bytes.get(4..)?;
            payload.extend_from_slice(part.get(..part.len().min(length - payload.len()))?);
        }
        Some(payload)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Value<'r> {
    Integer(i64),
    /// Text or blob.
    Bytes(&'r [u8]),
    Other,
}

/// A column of a record.
fn column(record: &[u8], wanted: usize) -> Option<Value<'_>> {
    let (header, mut at) = varint(record, 0)?;
    let mut data = usize::try_from(header).ok()?;
    for index in 0.. {
        let (kind, next) = varint(record, at).filter(|_| (at as u64) < header)?;
        at = next;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            _ => usize::try_from(kind.checked_sub(12)? / 2).ok()?,
        };
        let end = data.checked_add(size)?;
        if index == wanted {
            let bytes = record.get(data..end)?;
            return Some(match kind {
                1..=6 => {
                    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                    let start = if negative { -1 } else { 0 };
                    Value::Integer(bytes.iter().fold(start, |value: i64, byte| value << 8 | i64::from(*byte)))
                }
                8 | 9 => Value::Integer(i64::from(kind == 9)),
                12.. => Value::Bytes(bytes),
                _ => Value::Other,
            });
        }
        data = end;
    }
    None
}

/// A variable-length integer of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for index in 0..9 {
        let byte = *bytes.get(at.checked_add(index)?)?;
        if index == 8 {
            return Some((value << 8 | u64::from(byte), at + 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}
