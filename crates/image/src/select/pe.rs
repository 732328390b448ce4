//! .NET assemblies: the version resource of PE files that have a CLR header (Microsoft, "PE Format", ".rsrc" and
//! "VS_VERSIONINFO").

use std::collections::BTreeMap;

use super::scan::{Headed, Look, Scan, Scanned};
use super::{File, Selector, Trigger, Want};

/// Keeps a JSON object with the texts in [`TEXTS`].
pub struct Pe;

/// Larger files are not held.
const MAX: u64 = 4 << 20;
/// Of the resources of a larger file so much is retained: icons and the like may follow the version.
const MAX_RESOURCES: usize = 4 << 20;
const MIN: u64 = 512;
const MAX_SECTIONS: usize = 96;
/// Entries of a resource directory, and blocks of a version resource, that are looked at.
const MAX_ENTRIES: usize = 1_024;
const MAX_RESOURCE: usize = 64 << 10;
const MAX_TEXT: usize = 512;
const RT_VERSION: u32 = 16;

/// Texts that are kept.
pub const TEXTS: &[&str] = &[
    "CompanyName",
    "FileDescription",
    "FileVersion",
    "InternalName",
    "OriginalFilename",
    "ProductName",
    "ProductVersion",
];

impl Selector for Pe {
    fn name(&self) -> &'static str {
        "pe"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("dll"), Trigger::Extension("exe")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        // `x.resources.dll` has the texts of `x.dll` in another language.
        let texts = file.name().ends_with(".resources.dll");
        if texts || file.size < MIN { Want::No } else { Want::WholeOrScan { max: MAX } }
    }

    fn scan(&self, _file: &File<'_>) -> Option<Box<dyn Scan>> {
        Some(Box::new(Headed::<PeScan>::default()))
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let view = View { head: bytes, part: &[], at: 0 };
        kept(&view, &Headers::read(&view)?)
    }
}

/// What of the headers leads to the version resource.
struct Headers {
    sections: Vec<Section>,
    /// Offset of the root of the resources.
    resources: u32,
}

impl Headers {
    /// `None` if the file is no assembly, or has no resources.
    fn read(view: &View<'_>) -> Option<Self> {
        if !view.head.starts_with(b"MZ") {
            return None;
        }
        let header = view.word(0x3c)?;
        if view.word(header)? != u32::from_le_bytes(*b"PE\0\0") {
            return None;
        }
        let sections = usize::from(view.half(header.checked_add(6)?)?).min(MAX_SECTIONS);
        let optional = header.checked_add(24)?;
        let table = optional.checked_add(u32::from(view.half(header.checked_add(20)?)?))?;
        let directories = optional.checked_add(if view.half(optional)? == 0x20b { 112 } else { 96 })?;
        let managed = view.word(directories.checked_add(14 * 8)?)? != 0;
        if !managed {
            return None;
        }
        let sections: Vec<Section> = (0..sections)
            .map_while(|n| Section::read(view, table.checked_add(u32::try_from(n).ok()? * 40)?))
            .collect();
        let address = view.word(directories.checked_add(2 * 8)?)?;
        let resources = sections.iter().find_map(|section| section.offset(address))?;
        Some(Self { sections, resources })
    }

    fn offset(&self, address: u32) -> Option<u32> {
        self.sections.iter().find_map(|section| section.offset(address))
    }
}

fn kept(view: &View<'_>, headers: &Headers) -> Option<Vec<u8>> {
    let base = headers.resources;
    // Type, name, language: of the latter two any will do.
    let names = entry(view, base, base, |id| id == RT_VERSION)?;
    let languages = entry(view, base, names, |_| true)?;
    let data = entry(view, base, languages, |_| true)?;
    let resource = view.from(headers.offset(view.word(data)?)?)?;
    let length = usize::try_from(view.word(data.checked_add(4)?)?).ok()?.min(MAX_RESOURCE);
    let texts = texts(resource.get(..length.min(resource.len()))?);
    (!texts.is_empty()).then(|| serde_json::to_vec(&texts).ok())?
}

/// Retains the head and the resources of a file that is too large to be held.
#[derive(Default)]
struct PeScan {
    head: Vec<u8>,
    headers: Option<Headers>,
    resources: Vec<u8>,
    /// Offset in the file of the next byte.
    next: u64,
}

impl Look for PeScan {
    fn begin(&mut self, head: &[u8]) -> bool {
        self.headers = Headers::read(&View { head, part: &[], at: 0 });
        self.head = head.to_vec();
        self.headers.is_some()
    }

    fn look(&mut self, bytes: &[u8]) {
        let wanted = self.headers.as_ref().map_or(0, |headers| u64::from(headers.resources));
        let behind = wanted.saturating_add(self.resources.len() as u64).saturating_sub(self.next);
        let room = MAX_RESOURCES.saturating_sub(self.resources.len());
        let rest = usize::try_from(behind).ok().and_then(|behind| bytes.get(behind..)).unwrap_or(&[]);
        self.resources.extend_from_slice(rest.get(..room.min(rest.len())).unwrap_or(&[]));
        self.next = self.next.saturating_add(bytes.len() as u64);
    }

    fn end(self) -> Scanned {
        let Some(headers) = self.headers else { return Scanned::Nothing };
        let at = usize::try_from(headers.resources).unwrap_or(usize::MAX);
        let view = View { head: &self.head, part: &self.resources, at };
        kept(&view, &headers).map_or(Scanned::Nothing, Scanned::Kept)
    }
}

/// Checked reads, little-endian.
struct View<'a> {
    /// The beginning of the file, or all of it.
    head: &'a [u8],
    /// Bytes from the offset `at` on.
    part: &'a [u8],
    at: usize,
}

impl<'a> View<'a> {
    fn from(&self, at: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(at).ok()?;
        let part = at.checked_sub(self.at).and_then(|inside| self.part.get(inside..));
        part.filter(|rest| !rest.is_empty()).or_else(|| self.head.get(at..))
    }

    fn half(&self, at: u32) -> Option<u16> {
        Some(u16::from_le_bytes(*self.from(at)?.first_chunk()?))
    }

    fn word(&self, at: u32) -> Option<u32> {
        Some(u32::from_le_bytes(*self.from(at)?.first_chunk()?))
    }
}

struct Section {
    address: u32,
    length: u32,
    offset: u32,
}

impl Section {
    fn read(view: &View<'_>, at: u32) -> Option<Self> {
        let word = |field: u32| view.word(at.checked_add(field)?);
        Some(Self { address: word(12)?, length: word(8)?.max(word(16)?), offset: word(20)? })
    }

    fn offset(&self, address: u32) -> Option<u32> {
        let inside = address.checked_sub(self.address).filter(|inside| *inside < self.length)?;
        self.offset.checked_add(inside)
    }
}

/// What the first fitting entry of a resource directory leads to: the offset of a directory or of a data entry.
fn entry(view: &View<'_>, base: u32, directory: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    let named = usize::from(view.half(directory.checked_add(12)?)?);
    let count = named + usize::from(view.half(directory.checked_add(14)?)?);
    let first = directory.checked_add(16)?;
    (0..count.min(MAX_ENTRIES)).find_map(|n| {
        let at = first.checked_add(u32::try_from(n).ok()?.checked_mul(8)?)?;
        let target = view.word(at.checked_add(4)?)? & 0x7fff_ffff;
        if fits(view.word(at)?) { base.checked_add(target) } else { None }
    })
}

/// A block of a version resource: length, length of the value, kind, key, value, blocks inside.
struct Block<'a> {
    key: String,
    /// The value's length as stated.
    value: usize,
    /// What follows the key, on a word boundary.
    rest: &'a [u8],
}

/// The blocks of a list, one after the other on word boundaries.
fn blocks(mut bytes: &[u8]) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes)?);
        let block = bytes.get(..length).filter(|block| block.len() >= 6)?;
        bytes = bytes.get(length.next_multiple_of(4).min(bytes.len())..)?;
        let (key, after) = wide(block.get(6..)?);
        let rest = block.get((6 + after).next_multiple_of(4).min(block.len())..)?;
        Some(Block { key, value: usize::from(half(block.get(2..)?)?), rest })
    })
    .take(MAX_ENTRIES)
}

fn half(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.first_chunk()?))
}

/// A text of 16-bit units up to a zero, and the bytes that it takes with it.
fn wide(bytes: &[u8]) -> (String, usize) {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| {
            u16::from_le_bytes([pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0)])
        })
        .take_while(|unit| *unit != 0)
        .take(MAX_TEXT)
        .collect();
    (String::from_utf16_lossy(&units), units.len() * 2 + 2)
}

/// The texts of interest of the first language that has any.
fn texts(resource: &[u8]) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    let Some(version) = blocks(resource).next().filter(|block| block.key == "VS_VERSION_INFO") else {
        return found;
    };
    let inside = version.rest.get(version.value.next_multiple_of(4)..).unwrap_or(&[]);
    for table in
        blocks(inside).filter(|block| block.key == "StringFileInfo").flat_map(|block| blocks(block.rest))
    {
        for text in blocks(table.rest) {
            if let Some(known) = TEXTS.iter().find(|known| **known == text.key) {
                let value = wide(text.rest).0.trim().to_owned();
                if !value.is_empty() {
                    found.entry(*known).or_insert(value);
                }
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(key: &str, value: &[u8], value_length: usize, inside: &[Vec<u8>]) -> Vec<u8> {
        let mut block = vec![0; 6];
        block.extend(key.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend(value);
        for one in inside {
            block.resize(block.len().next_multiple_of(4), 0);
            block.extend(one);
        }
        let length = u16::try_from(block.len()).unwrap().to_le_bytes();
        block[..2].copy_from_slice(&length);
        block[2..4].copy_from_slice(&u16::try_from(value_length).unwrap().to_le_bytes());
        block
    }

    fn text(key: &str, value: &str) -> Vec<u8> {
        let units: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        block(key, &units, value.len() + 1, &[])
    }

    /// An assembly with one section, of resources.
    fn assembly(managed: bool) -> Vec<u8> {
        let strings = [
            text("ProductVersion", "13.0.3+0a2e291c0d9c0c7675d445703e51750363a549ef"),
            text("InternalName", "Newtonsoft.Json.dll"),
            text("Secret", "x"),
        ];
        let version = block(
            "VS_VERSION_INFO",
            &[7; 52],
            52,
            &[block("StringFileInfo", &[], 0, &[block("040904b0", &[], 0, &strings)])],
        );
        let mut file = vec![0; 0x80];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x80;
        file.extend(b"PE\0\0\x64\x86\x01\0");
        file.resize(0x80 + 20, 0);
        file.extend([240, 0, 0, 0, 0x0b, 0x02]); // size of the optional header; PE32+
        let directories = 0x80 + 24 + 112;
        file.resize(directories + 16 * 8, 0);
        file[directories + 16..directories + 20].copy_from_slice(&0x2000_u32.to_le_bytes());
        file[directories + 14 * 8] = u8::from(managed);
        assert_eq!(file.len(), 0x80 + 24 + 240);
        let mut section = [0_u8; 40];
        section[8..12].copy_from_slice(&0x1000_u32.to_le_bytes());
        section[12..16].copy_from_slice(&0x2000_u32.to_le_bytes());
        section[16..20].copy_from_slice(&0x1000_u32.to_le_bytes());
        section[20..24].copy_from_slice(&0x200_u32.to_le_bytes());
        file.extend(section);
        file.resize(0x200, 0);
        let directory = |id: u32, target: u32| {
            let mut bytes = vec![0; 14];
            bytes.extend([1, 0]);
            bytes.extend(id.to_le_bytes());
            bytes.extend(target.to_le_bytes());
            bytes
        };
        file.extend(directory(RT_VERSION, 0x8000_0018));
        file.extend(directory(1, 0x8000_0030));
        file.extend(directory(1033, 0x48));
        file.extend(0x2058_u32.to_le_bytes());
        file.extend(u32::try_from(version.len()).unwrap().to_le_bytes());
        file.extend([0; 8]);
        file.extend(version);
        file.resize(0x1200, 0);
        file
    }

    fn reduce(bytes: &[u8]) -> Option<String> {
        let file = File { path: "app/Newtonsoft.Json.dll", size: bytes.len() as u64, mode: 0o644 };
        Pe.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    /// What a scan keeps of a file that comes in pieces of one size.
    fn scanned(bytes: &[u8], piece: usize) -> Option<String> {
        let mut scan = Pe.scan(&File { path: "x.dll", size: bytes.len() as u64, mode: 0o644 }).unwrap();
        let _ = bytes.chunks(piece).all(|piece| scan.piece(piece));
        match scan.finish() {
            Scanned::Kept(kept) => Some(String::from_utf8(kept).unwrap()),
            _ => None,
        }
    }

    /// The resources as the last section, far behind the head.
    #[test]
    fn a_large_assembly_is_not_held() {
        let small = assembly(true);
        let mut large = small.clone();
        let section = small.windows(4).position(|four| four == 0x200_u32.to_le_bytes()).unwrap();
        let moved = 6 << 20;
        large[section..section + 4].copy_from_slice(&u32::try_from(moved).unwrap().to_le_bytes());
        large.resize(moved, 0xcc);
        large.extend(&small[0x200..]);
        assert!(reduce(&large).is_some());
        for piece in [1000, 100_000, usize::MAX] {
            assert_eq!(scanned(&large, piece), reduce(&small));
        }
        let file = File { path: "x.dll", size: large.len() as u64, mode: 0o644 };
        assert_eq!(Pe.wants(&file), Want::WholeOrScan { max: MAX });
    }

    #[test]
    fn keeps_the_texts_of_assemblies() {
        assert_eq!(
            reduce(&assembly(true)).as_deref(),
            Some(
                r#"{"InternalName":"Newtonsoft.Json.dll","ProductVersion":"13.0.3+0a2e291c0d9c0c7675d445703e51750363a549ef"}"#
            )
        );
        assert_eq!(reduce(&assembly(false)), None);
        assert_eq!(reduce(b"MZ"), None);
        let file = |path| File { path, size: 1 << 20, mode: 0o644 };
        assert_eq!(Pe.wants(&file("app/de/x.resources.dll")), Want::No);
        assert_ne!(Pe.wants(&file("app/x.dll")), Want::No);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(changes in proptest::collection::vec((0usize..0x500, any::<u8>()), 0..8), end in 0usize..0x1200) {
            let mut bytes = assembly(true);
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            prop_assert_eq!(scanned(&bytes, 100), reduce(&bytes));
            bytes.truncate(end);
            prop_assert_eq!(scanned(&bytes, 7), reduce(&bytes));
        }
    }
}
