//! Build information of Go programs that are too large to be held: of what passes, only what it can be in is retained.
//!
//! Since Go 1.18 the header is followed by the texts themselves. Before, it points to two string headers in the data
//! segment behind it, and those to texts in the read-only data before it: there the version begins with `go1.` or
//! `devel `, and the module information with a marker.

use memchr::memmem::{self, Finder};

use super::executable::{Image, Segment};
use super::go_binary::{ALIGN, Bytes, HEADER, MAGIC, Program, integer};
use super::scan::{Look, RETAINED, Scanned, Window};

/// Headers of build information that are looked at; a program has one, and may have its like in other data.
const MAX_FOUND: usize = 64;
/// Texts of old programs that are retained.
const MAX_TEXTS: usize = 4_096;
/// Longest version text of an old program.
const VERSION: usize = 64;
/// Longest text that is believed.
const MAX_TEXT: usize = 4 << 20;
/// Longest varint.
const VARINT: usize = 10;
/// What stands before and behind the module information.
const BEGIN: &[u8] = b"\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6";
const END: &[u8] = b"\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2";

/// Parts of a file.
#[derive(Default)]
pub(super) struct Retained {
    parts: Vec<Part>,
    bytes: u64,
}

struct Part {
    offset: u64,
    bytes: Vec<u8>,
    until: Until,
}

/// How far a part goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Length(usize),
    /// The end of build information, as far as it is known.
    Info,
    /// The marker behind module information.
    Marker,
    /// It is whole.
    End,
}

impl Part {
    fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let rest = self.bytes.get(start..)?;
        Some(rest.get(..length).unwrap_or(rest))
    }
}

impl Retained {
    /// The bytes at an offset, at most `length` of them; `None` if none are retained.
    pub(super) fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.parts
            .iter()
            .filter_map(|part| part.at(offset, length))
            .max_by_key(|bytes| bytes.len())
            .filter(|bytes| !bytes.is_empty())
    }

    fn add(&mut self, offset: u64, until: Until) {
        self.parts.push(Part { offset, bytes: Vec::new(), until });
    }

    /// Takes of the window what is wanted.
    fn take(&mut self, window: &Window) {
        for part in self.parts.iter_mut().filter(|part| part.until != Until::End) {
            let mut next = part.offset.saturating_add(part.bytes.len() as u64);
            let Some(mut rest) = window.from(next) else {
                part.until = Until::End; // it has passed
                continue;
            };
            while part.until != Until::End && !rest.is_empty() && self.bytes < RETAINED {
                let missing = match part.until {
                    Until::Length(length) => length.saturating_sub(part.bytes.len()),
                    Until::Info => needed(&part.bytes).saturating_sub(part.bytes.len()),
                    Until::Marker | Until::End => 4 << 10,
                };
                let (taken, after) = rest.split_at(missing.min(rest.len()));
                let before = part.bytes.len();
                part.bytes.extend_from_slice(taken);
                self.bytes += taken.len() as u64;
                next = next.saturating_add(taken.len() as u64);
                rest = after;
                let whole = match part.until {
                    Until::Length(length) => part.bytes.len() >= length,
                    Until::Info => part.bytes.len() >= needed(&part.bytes),
                    Until::Marker | Until::End => {
                        let fresh = part.bytes.get(before.saturating_sub(END.len())..).unwrap_or(&[]);
                        part.bytes.len() >= MAX_TEXT || memmem::find(fresh, END).is_some()
                    }
                };
                if whole {
                    part.until = Until::End;
                }
            }
        }
    }
}

/// How many bytes of build information there must be, judged by those that there are.
fn needed(bytes: &[u8]) -> usize {
    let text = |at: usize| -> Result<usize, usize> {
        let varint = bytes.get(at..).unwrap_or(&[]);
        let mut length = 0_u64;
        for (index, byte) in varint.iter().take(VARINT).enumerate() {
            length |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(u64::MAX);
            if byte & 0x80 == 0 {
                let length = usize::try_from(length).unwrap_or(MAX_TEXT).min(MAX_TEXT);
                return Ok(at.saturating_add(index + 1).saturating_add(length));
            }
        }
        Err(if varint.len() >= VARINT { at } else { at + varint.len() + 1 })
    };
    match bytes.get(15) {
        None => HEADER,
        Some(flags) if flags & 2 == 0 => HEADER,
        Some(_) => text(HEADER).and_then(text).unwrap_or_else(|needed| needed),
    }
}

/// A scan for build information.
pub(super) struct GoScan {
    image: Option<Image>,
    window: Window,
    /// The linker's own mark is in the head.
    is_go: bool,
    magic: Finder<'static>,
    /// Texts of programs before Go 1.18.
    texts: [(Finder<'static>, Until); 3],
    texts_found: usize,
    found: Vec<u64>,
    /// So many of `found` were asked for what they point to.
    asked: usize,
    /// String headers that are to come: offset, size of a word, byte order.
    strings: Vec<(u64, usize, bool)>,
    retained: Retained,
}

impl Default for GoScan {
    fn default() -> Self {
        Self {
            image: None,
            window: Window::default(),
            is_go: false,
            magic: Finder::new(MAGIC),
            texts: [
                (Finder::new(b"go1."), Until::Length(VERSION)),
                (Finder::new(b"devel "), Until::Length(VERSION)),
                (Finder::new(BEGIN), Until::Marker),
            ],
            texts_found: 0,
            found: Vec::new(),
            asked: 0,
            strings: Vec::new(),
            retained: Retained::default(),
        }
    }
}

impl Look for GoScan {
    fn begin(&mut self, head: &[u8]) -> bool {
        let data = |image: &Image| image.segments.iter().any(|segment| !segment.code);
        let Some(image) = Image::parse(head).filter(data) else { return false };
        // An ELF note, or a text at the beginning of the code in other formats.
        let marks: [&[u8]; 3] = [b"\x04\0\0\0Go\0\0", b"\0\0\0\x04Go\0\0", b"\xff Go build ID:"];
        self.is_go = marks.iter().any(|mark| memmem::find(head, mark).is_some());
        self.image = Some(image);
        true
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some(image) = &self.image else { return };
        self.window.push(bytes);
        let (from, to) =
            (self.window.end().saturating_sub((bytes.len() + MAGIC.len()) as u64), self.window.end());
        let data = |from: u64, to: u64| {
            let holds = |s: &Segment| !s.code && s.offset < to && from < s.offset.saturating_add(s.stored);
            image.segments.iter().any(holds)
        };
        if data(from, to) {
            let room = MAX_FOUND.saturating_sub(self.found.len());
            let found = self.window.find(&self.magic).filter(|at| data(*at, at.saturating_add(1)));
            for at in found.take(room) {
                self.found.push(at);
                self.retained.add(at, Until::Info);
            }
        }
        if self.is_go {
            for (text, until) in &self.texts {
                for at in self.window.find(text).take(MAX_TEXTS.saturating_sub(self.texts_found)) {
                    self.texts_found += 1;
                    self.retained.add(at, *until);
                }
            }
        }
        self.retained.take(&self.window);
        while self.follow() {
            self.retained.take(&self.window);
        }
    }

    fn end(self) -> Scanned {
        let Self { image: Some(image), found, retained, .. } = self else { return Scanned::Nothing };
        // Where Go's own reader looks; other places count only if what is there can be nothing else.
        let first = image.build_info.or_else(|| image.data.map(|data| (data.address, data.memory)));
        let mut places: Vec<(bool, u64)> = found
            .iter()
            .filter_map(|offset| address(&image, *offset))
            .filter(|address| address.is_multiple_of(ALIGN))
            .map(|address| {
                let inside =
                    |(start, size): (u64, u64)| address.checked_sub(start).is_some_and(|at| at < size);
                (!first.is_some_and(inside), address)
            })
            .collect();
        places.sort_unstable();
        let program = Program { image, bytes: Bytes::Parts(&retained) };
        let mut missed = false;
        for (elsewhere, address) in places {
            match program.build_info(address) {
                Some(kept) if !elsewhere || kept.starts_with(b"go1.") || kept.starts_with(b"devel ") => {
                    return Scanned::Kept(kept);
                }
                _ => missed |= !elsewhere,
            }
        }
        if missed { Scanned::Missed } else { Scanned::Nothing }
    }
}

impl GoScan {
    /// What old build information points to is wanted too, once it is there itself: string headers, and the texts
    /// that these point to, if they are still to come. False if nothing new is wanted.
    fn follow(&mut self) -> bool {
        let Some(image) = &self.image else { return false };
        let before = self.retained.parts.len();
        let whole =
            |offset: u64, length: usize| self.retained.at(offset, length).filter(|b| b.len() == length);
        let mut wanted = Vec::new();
        while let Some(header) = self.found.get(self.asked).and_then(|at| whole(*at, HEADER)) {
            self.asked += 1;
            let (size, flags) = (header.get(14).copied(), header.get(15).copied().unwrap_or(0));
            let (Some(size @ (4 | 8)), 0) = (size, flags & 2) else { continue };
            let (size, big) = (usize::from(size), flags & 1 != 0);
            let words = [header.get(16..), header.get(16 + size..)];
            for to in words.into_iter().flatten().filter_map(|word| integer(word, size == 8, big)) {
                let Some((_, offset)) = image.locate(to) else { continue };
                wanted.push((offset, 2 * size));
                self.strings.push((offset, size, big));
            }
        }
        self.strings.retain(|(at, size, big)| {
            let Some(header) = whole(*at, 2 * size) else { return true };
            let text = integer(header, *size == 8, *big).and_then(|to| image.locate(to));
            let length = header.get(*size..).and_then(|word| integer(word, *size == 8, *big));
            let length = length.and_then(|length| usize::try_from(length).ok());
            if let (Some((_, offset)), Some(length)) = (text, length.filter(|length| *length <= MAX_TEXT)) {
                wanted.push((offset, length));
            }
            false
        });
        for (offset, length) in wanted {
            self.retained.add(offset, Until::Length(length));
        }
        self.retained.parts.len() > before
    }
}

/// The address at which an offset of the file is loaded.
fn address(image: &Image, offset: u64) -> Option<u64> {
    image.segments.iter().filter(|s| !s.code).find_map(|s| {
        let inside = offset.checked_sub(s.offset).filter(|inside| *inside < s.stored)?;
        s.address.checked_add(inside)
    })
}
