//! A package's header as the databases store it ("RPM V4 Package format", Header: index and store, no magic).

use super::bytes::View;

const ENTRY: usize = 16;
/// rpm's own limits (`lib/header.c`).
const MAX_ENTRIES: usize = 0xffff;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRINGS: u32 = 8;
const I18N: u32 = 9;

pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const VENDOR: u32 = 1011;
pub(super) const LICENSE: u32 = 1014;
pub(super) const ARCH: u32 = 1022;
pub(super) const OLD_FILE_NAMES: u32 = 1027;
pub(super) const SOURCE_RPM: u32 = 1044;
pub(super) const PROVIDE_NAME: u32 = 1047;
pub(super) const REQUIRE_NAME: u32 = 1049;
pub(super) const DIR_INDEXES: u32 = 1116;
pub(super) const BASE_NAMES: u32 = 1117;
pub(super) const DIR_NAMES: u32 = 1118;
pub(super) const MODULARITY_LABEL: u32 = 5096;

/// A header.
pub(super) struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let view = View { bytes, big: true };
        let entries =
            usize::try_from(view.u32(0)?).ok().filter(|entries| (1..=MAX_ENTRIES).contains(entries))?;
        let length = usize::try_from(view.u32(4)?).ok()?;
        let rest = bytes.get(8..)?;
        let index = rest.get(..entries * ENTRY)?;
        let store = rest.get(index.len()..)?;
        // What follows the stated length is no part of the header; a shorter store is still read.
        Some(Self { index, store: store.get(..length.min(store.len()))? })
    }

    /// Type, count and bytes to the end of the store, of the first entry with a tag.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| View { bytes: entry, big: true }.u32(0) == Some(tag))?;
        let entry = View { bytes: entry, big: true };
        let offset = usize::try_from(entry.u32(8)?).ok()?;
        Some((entry.u32(4)?, usize::try_from(entry.u32(12)?).ok()?, self.store.get(offset..)?))
    }

    /// A text, the first of several; empty if there is none.
    pub(super) fn text(&self, tag: u32) -> String {
        let text = self.texts(tag).next().unwrap_or(&[]);
        String::from_utf8_lossy(text.trim_ascii()).into_owned()
    }

    /// Every text of a tag.
    pub(super) fn texts(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (mut count, mut rest) = match self.find(tag) {
            Some((STRING, _, rest)) => (1, rest),
            Some((STRINGS | I18N, count, rest)) => (count, rest),
            _ => (0, &[][..]),
        };
        std::iter::from_fn(move || {
            count = count.checked_sub(1)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            let text = rest.get(..end)?;
            rest = rest.get(end + 1..)?;
            Some(text)
        })
    }

    /// The numbers of a tag.
    pub(super) fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> + use<'a> {
        let (count, rest) = match self.find(tag) {
            Some((INT32, count, rest)) => (count, rest),
            _ => (0, &[][..]),
        };
        rest.chunks_exact(4).take(count).filter_map(|number| View { bytes: number, big: true }.u32(0))
    }
}
