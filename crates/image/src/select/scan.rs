//! Files that are looked at while their bytes pass, because they are too large to be held.

use memchr::memmem::Finder;

use super::Selector;

/// Looks at a file's bytes in order. How they are cut into pieces makes no difference.
pub trait Scan {
    /// The next bytes; false once the rest is of no interest.
    fn piece(&mut self, bytes: &[u8]) -> bool;
    /// What is kept, after the last piece.
    fn finish(self: Box<Self>) -> Scanned;
}

/// What a scan ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    /// To be kept.
    Kept(Vec<u8>),
    /// Nothing of interest in the file.
    Nothing,
    /// The answer lies in bytes that were not retained: the Extract is partial.
    Missed,
}

/// Bytes that the scans of one file retain at most, together.
pub const RETAINED: u64 = 8 << 20;

/// The scans of one file, by index of their selectors.
#[derive(Default)]
pub struct Scans {
    running: Vec<(usize, Box<dyn Scan>)>,
    done: Vec<(usize, Box<dyn Scan>)>,
}

impl Scans {
    /// Adds the scan of a selector, if it has one.
    pub fn add(&mut self, index: usize, selector: &dyn Selector, file: &super::File<'_>) {
        if let Some(scan) = selector.scan(file) {
            self.running.push((index, scan));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.done.is_empty()
    }

    /// The next bytes, for every scan that wants more; false once none does.
    pub fn piece(&mut self, bytes: &[u8]) -> bool {
        let done = self.running.extract_if(.., |(_, scan)| !scan.piece(bytes));
        self.done.extend(done);
        !self.running.is_empty()
    }

    /// Results by index.
    pub fn finish(mut self) -> Vec<(usize, Scanned)> {
        self.running.append(&mut self.done);
        let mut found: Vec<_> =
            self.running.into_iter().map(|(index, scan)| (index, scan.finish())).collect();
        found.sort_by_key(|(index, _)| *index);
        found
    }
}

/// The newest bytes of a file, with the end of those before them: what lies across two pieces is in one window.
#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Where they begin in the file.
    offset: u64,
    /// So many were in the window before.
    known: usize,
}

/// Bytes that stay in a window: longer than every text that is looked for.
const STAY: usize = 64;

impl Window {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.known = self.bytes.len().min(STAY);
        let gone = self.bytes.len() - self.known;
        self.bytes.drain(..gone);
        self.offset = self.offset.saturating_add(gone as u64);
        self.bytes.extend_from_slice(piece);
    }

    /// The bytes at an offset in the file, to the end of the window; `None` if that offset has left it.
    pub(super) fn from(&self, offset: u64) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        Some(self.bytes.get(start..).unwrap_or(&[]))
    }

    /// The offset behind the window.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }

    /// Where in the file the text is that was not yet whole in the window before.
    pub(super) fn find(&self, text: &Finder<'_>) -> impl Iterator<Item = u64> {
        let start = (self.known + 1).saturating_sub(text.needle().len());
        let bytes = self.bytes.get(start..).unwrap_or(&[]);
        text.find_iter(bytes).map(move |at| self.offset + (start + at) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[ab]{0,300}", cuts in proptest::collection::vec(1..90_usize, 0..40)) {
            let finder = Finder::new(b"aab");
            let expected: Vec<u64> = finder.find_iter(text.as_bytes()).map(|at| at as u64).collect();
            let (mut window, mut found, mut rest) = (Window::default(), Vec::new(), text.as_bytes());
            for cut in cuts.into_iter().chain([300]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                window.push(piece);
                for at in window.find(&finder) {
                    prop_assert!(window.from(at).unwrap().starts_with(b"aab"));
                    found.push(at);
                }
                rest = after;
            }
            prop_assert_eq!(window.end(), text.len() as u64);
            prop_assert_eq!(found, expected);
        }
    }
}
