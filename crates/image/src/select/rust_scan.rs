//! The dependencies of Rust programs that are too large to be held.
//!
//! The section stands before the table that names it, so everything that can be it (zlib data that begins as the
//! document does) is inflated while it passes, and the table says at the end which of them it is.

use flate2::{Decompress, FlushDecompress, Status};
use memchr::memmem::Finder;

use super::executable::{Image, View};
use super::rust_binary::{MAX_COMPRESSED, MAX_JSON, crates};
use super::scan::{Look, Scanned, Window};

const NAME: &[u8] = b".dep-v0\0";
/// Places of the name that are remembered.
const MAX_NAMES: usize = 64;
/// Documents that are inflated at the same time.
const MAX_DOCUMENTS: usize = 16;
/// Sections that are looked at.
const MAX_TABLE: usize = 1 << 20;
/// The document's first member comes this early.
const OPENING: usize = 64;

/// A scan for the section `.dep-v0`.
pub(super) struct RustScan {
    format: Option<Format>,
    window: Window,
    name: Finder<'static>,
    zlib: Finder<'static>,
    names: Vec<u64>,
    documents: Vec<Document>,
    /// To try with, so that not every attempt asks for memory.
    spare: Option<Decompress>,
}

/// How the file says where the section is.
enum Format {
    Elf(Table),
    /// In its headers.
    Section(u64),
}

/// The section table of an ELF file.
struct Table {
    wide: bool,
    big: bool,
    offset: u64,
    entry: usize,
    /// Index of the section with the names.
    names: usize,
    length: usize,
    bytes: Vec<u8>,
}

/// What may be the section's content.
struct Document {
    offset: u64,
    inflate: Decompress,
    taken: u64,
    json: Vec<u8>,
    whole: bool,
}

impl Default for RustScan {
    fn default() -> Self {
        Self {
            format: None,
            window: Window::default(),
            name: Finder::new(NAME),
            zlib: Finder::new(b"\x78"),
            names: Vec::new(),
            documents: Vec::new(),
            spare: None,
        }
    }
}

impl Look for RustScan {
    fn begin(&mut self, head: &[u8]) -> bool {
        self.format = if head.starts_with(b"\x7fELF") {
            Table::of(head).map(Format::Elf)
        } else {
            Image::parse(head).and_then(|image| image.dependencies).map(Format::Section)
        };
        self.format.is_some()
    }

    fn look(&mut self, bytes: &[u8]) {
        for document in &mut self.documents {
            document.feed(bytes);
        }
        self.documents.retain(Document::plausible);
        self.window.push(bytes);
        self.names.extend(self.window.find(&self.name).take(MAX_NAMES.saturating_sub(self.names.len())));
        if let Some(Format::Elf(table)) = &mut self.format {
            table.take(&self.window);
        }
        // The first byte of zlib data with the window that every writer uses.
        let second = |at: &u64| self.window.from(at.saturating_add(1)).and_then(|rest| rest.first());
        let zlib = |at: &u64| matches!(second(at), None | Some(0x01 | 0x5e | 0x9c | 0xda));
        let places: Vec<u64> = self.window.find(&self.zlib).filter(zlib).collect();
        for at in places {
            if self.documents.len() < MAX_DOCUMENTS {
                self.try_at(at);
            }
        }
    }

    fn end(self) -> Scanned {
        let section = match &self.format {
            Some(Format::Elf(table)) => table.section(&self.names),
            Some(Format::Section(offset)) => Some(*offset),
            None => None,
        };
        let Some(section) = section else { return Scanned::Nothing };
        let document = self.documents.iter().find(|document| document.offset == section && document.whole);
        document.and_then(|document| crates(&document.json)).map_or(Scanned::Nothing, Scanned::Kept)
    }
}

impl RustScan {
    /// Begins a document at an offset if what is there can be one.
    fn try_at(&mut self, offset: u64) {
        let Some(bytes) = self.window.from(offset) else { return };
        let mut inflate = self.spare.take().unwrap_or_else(|| Decompress::new(true));
        inflate.reset(true);
        let mut document = Document { offset, inflate, taken: 0, json: Vec::new(), whole: false };
        document.feed(bytes);
        if document.plausible() {
            self.documents.push(document);
        } else {
            self.spare = Some(document.inflate);
        }
    }
}

impl Document {
    /// Inflates on, until the document is whole.
    fn feed(&mut self, mut bytes: &[u8]) {
        let mut room = [0_u8; 4 << 10];
        while !bytes.is_empty() && !self.whole {
            let (before, given) = (self.inflate.total_in(), self.inflate.total_out());
            // Most of what is tried is nothing; that shows in its first bytes.
            let most = if self.json.len() < OPENING { OPENING } else { room.len() };
            let Some(out) = room.get_mut(..most) else { return };
            let status = self.inflate.decompress(bytes, out, FlushDecompress::None);
            let taken = usize::try_from(self.inflate.total_in() - before).unwrap_or(usize::MAX);
            let given = usize::try_from(self.inflate.total_out() - given).unwrap_or(0);
            self.json.extend_from_slice(out.get(..given).unwrap_or(&[]));
            self.taken = self.inflate.total_in();
            bytes = bytes.get(taken..).unwrap_or(&[]);
            match status {
                Ok(Status::StreamEnd) => self.whole = true,
                Ok(_) if taken > 0 || given > 0 => {}
                Ok(_) if self.json.is_empty() || bytes.is_empty() => return,
                Ok(_) | Err(_) => return self.refuse(),
            }
            if !self.plausible() {
                return;
            }
        }
    }

    fn refuse(&mut self) {
        self.taken = u64::MAX;
    }

    /// Whether it may be, or become, the document.
    fn plausible(&self) -> bool {
        let begins = self.json.first().is_none_or(|byte| matches!(byte, b'{' | b' ' | b'\n'));
        let opens = self.json.len() < OPENING
            || memchr::memmem::find(self.json.get(..OPENING).unwrap_or(&[]), b"\"packages\"").is_some();
        begins && opens && self.taken <= MAX_COMPRESSED as u64 && self.json.len() as u64 <= MAX_JSON
    }
}

impl Table {
    fn of(head: &[u8]) -> Option<Self> {
        let wide = *head.get(4)? == 2;
        let big = *head.get(5)? == 2;
        let view = View::new(head, big);
        let (offset, counts) = if wide { (40, 58) } else { (32, 46) };
        let offset = view.word(wide, offset)?;
        let (entry, count, names) = (view.u16(counts)?, view.u16(counts + 2)?, view.u16(counts + 4)?);
        let length = usize::from(entry) * usize::from(count);
        let least = if wide { 64 } else { 40 };
        let sound = offset > 0 && usize::from(entry) >= least && names < count && length <= MAX_TABLE;
        sound.then(|| Self {
            wide,
            big,
            offset,
            entry: entry.into(),
            names: names.into(),
            length,
            bytes: Vec::new(),
        })
    }

    /// Takes of the window what belongs to the table.
    fn take(&mut self, window: &Window) {
        let missing = self.length.saturating_sub(self.bytes.len());
        let next = self.offset.saturating_add(self.bytes.len() as u64);
        if let Some(bytes) = window.from(next) {
            self.bytes.extend_from_slice(bytes.get(..missing.min(bytes.len())).unwrap_or(&[]));
        }
    }

    /// The offset of the section, given where in the file its name stands.
    fn section(&self, names: &[u64]) -> Option<u64> {
        let view = View::new(&self.bytes, self.big);
        let offset = if self.wide { 24 } else { 16 };
        let texts = view.word(self.wide, (self.names * self.entry) as u64 + offset)?;
        (0..self.length / self.entry).find_map(|index| {
            let at = (index * self.entry) as u64;
            let name = texts.checked_add(u64::from(view.u32(at)?))?;
            // A name may be the end of a longer one.
            names.contains(&name).then(|| view.word(self.wide, at + offset))?
        })
    }
}
