//! Files that are looked at while their bytes pass, because they are too large to be held.

use memchr::memmem::Finder;

use super::{File, Selector, Trigger, Want};

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

/// A selector of programs that say inside what they are made of, wherever in the file.
pub struct Program {
    pub(super) name: &'static str,
    pub(super) revision: u32,
    pub(super) scan: fn() -> Box<dyn Scan>,
    pub(super) reduce: fn(&[u8]) -> Option<Vec<u8>>,
}

/// Larger programs are not held.
const MAX_HELD: u64 = 4 << 20;
/// Fewer bytes are no program.
const MIN: u64 = 512;

impl Selector for Program {
    fn name(&self) -> &'static str {
        self.name
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Executable] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.size < MIN { Want::No } else { Want::WholeOrScan { max: MAX_HELD } }
    }

    fn scan(&self, _file: &File<'_>) -> Option<Box<dyn Scan>> {
        Some((self.scan)())
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        (self.reduce)(bytes)
    }
}

/// What looks at a file whose beginning says how.
pub(super) trait Look {
    /// Reads the headers in the first 64 KiB. False if the file is of no interest.
    fn begin(&mut self, head: &[u8]) -> bool;
    /// The file's bytes in order, those of the head first.
    fn look(&mut self, bytes: &[u8]);
    /// What is kept, after the last byte.
    fn end(self) -> Scanned;
}

/// Bytes that hold all headers of an executable.
const HEAD: usize = 64 << 10;

/// Gathers the head for a [`Look`].
#[derive(Default)]
pub(super) struct Headed<L> {
    head: Vec<u8>,
    begun: bool,
    inner: L,
}

impl<L: Look> Headed<L> {
    fn begin(&mut self) -> bool {
        let head = std::mem::take(&mut self.head);
        self.begun = self.inner.begin(&head);
        if self.begun {
            self.inner.look(&head);
        }
        self.begun
    }
}

impl<L: Look> Scan for Headed<L> {
    fn piece(&mut self, bytes: &[u8]) -> bool {
        if self.begun {
            self.inner.look(bytes);
            return true;
        }
        let (more, rest) = bytes.split_at(bytes.len().min(HEAD.saturating_sub(self.head.len())));
        self.head.extend_from_slice(more);
        if self.head.len() < HEAD {
            return true;
        }
        let begun = self.begin();
        if begun {
            self.inner.look(rest);
        }
        begun
    }

    fn finish(mut self: Box<Self>) -> Scanned {
        if self.begun || self.begin() { self.inner.end() } else { Scanned::Nothing }
    }
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
    pub fn add(&mut self, index: usize, selector: &dyn Selector, file: &File<'_>) {
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
