//! Where the addresses of an executable lie in its file: ELF, PE and Mach-O, as far as finding data needs.
//!
//! Offsets and counts are hostile: every access is checked, every loop is bounded by the bytes at hand.

/// Most program headers, sections or load commands that are looked at.
const MAX_HEADERS: usize = 4_096;

/// Whether the bytes begin as an ELF, PE, or Mach-O executable (thin or universal) does.
pub fn is_executable(head: &[u8]) -> bool {
    match head.first_chunk::<8>() {
        Some([0x7f, b'E', b'L', b'F', ..]) | Some([b'M', b'Z', ..]) => true,
        Some([0xfe, 0xed, 0xfa, 0xce | 0xcf, ..]) | Some([0xce | 0xcf, 0xfa, 0xed, 0xfe, ..]) => true,
        // Java class files share this magic; their version is no plausible number of architectures.
        Some([0xca, 0xfe, 0xba, 0xbe | 0xbf, 0, 0, 0, count]) => (1..=20).contains(count),
        _ => false,
    }
}

/// A range of addresses that is stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub address: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Offset in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub stored: u64,
    /// Whether it may be executed.
    pub code: bool,
}

impl Segment {
    fn holds(&self, address: u64) -> bool {
        self.stored > 0 && address.checked_sub(self.address).is_some_and(|inside| inside < self.stored)
    }
}

/// An executable's map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Stored segments, in the order of the headers.
    pub segments: Vec<Segment>,
    /// The first writable, non-executable segment: initialised data.
    pub data: Option<Segment>,
    /// Address and size of the section that holds Go's build information, if the sections are at hand.
    pub build_info: Option<(u64, u64)>,
    /// Offset in the file of the section with a Rust program's dependencies, in formats that name sections in their
    /// headers (not ELF).
    pub dependencies: Option<u64>,
}

impl Image {
    /// Reads the headers. `bytes` may be only the beginning of the file; sections may then be missing.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let view = View { bytes, big: false, base: 0 };
        match bytes.first_chunk::<4>()? {
            [0x7f, b'E', b'L', b'F'] => elf(bytes),
            [b'M', b'Z', ..] => pe(&view),
            [0xca, 0xfe, 0xba, wide @ (0xbe | 0xbf)] => {
                // A universal binary: the first architecture, as debug/buildinfo does.
                let view = View { bytes, big: true, base: 0 };
                let base = if *wide == 0xbf { view.u64(16)? } else { u64::from(view.u32(16)?) };
                macho(bytes, base)
            }
            _ => macho(bytes, 0),
        }
    }

    /// The segment that stores `address`, and the offset of `address` in the file.
    pub fn locate(&self, address: u64) -> Option<(Segment, u64)> {
        let segment = self.segments.iter().find(|segment| segment.holds(address))?;
        Some((*segment, segment.offset.checked_add(address - segment.address)?))
    }
}

/// Checked reads of integers.
pub(super) struct View<'a> {
    bytes: &'a [u8],
    big: bool,
    base: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(bytes: &'a [u8], big: bool) -> Self {
        Self { bytes, big, base: 0 }
    }

    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at.checked_add(self.base)?).ok()?;
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }

    pub(super) fn u16(&self, at: u64) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    pub(super) fn u32(&self, at: u64) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&self, at: u64) -> Option<u64> {
        let bytes = self.array(at)?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// An address or size of the file's class.
    pub(super) fn word(&self, wide: bool, at: u64) -> Option<u64> {
        if wide { self.u64(at) } else { self.u32(at).map(u64::from) }
    }

    fn text(&self, at: u64, max: usize) -> &[u8] {
        let at = at.checked_add(self.base).and_then(|at| usize::try_from(at).ok());
        let tail = at.and_then(|at| self.bytes.get(at..)).unwrap_or(&[]);
        let tail = tail.get(..max.min(tail.len())).unwrap_or(&[]);
        tail.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

fn elf(bytes: &[u8]) -> Option<Image> {
    let wide = *bytes.get(4)? == 2;
    let view = View { bytes, big: *bytes.get(5)? == 2, base: 0 };
    let (headers, sections, counts) = if wide { (32, 40, 54) } else { (28, 32, 42) };
    let headers = view.word(wide, headers)?;
    let sections = view.word(wide, sections)?;
    let header_size = u64::from(view.u16(counts)?);
    let header_count = usize::from(view.u16(counts + 2)?).min(MAX_HEADERS);
    let mut image = Image::default();
    for index in 0..header_count {
        let Some(at) = (index as u64).checked_mul(header_size).and_then(|at| at.checked_add(headers)) else {
            break;
        };
        let fields = if wide { [4, 8, 16, 32, 40] } else { [24, 4, 8, 16, 20] };
        let [flags, offset, address, stored, memory] = fields.map(|field| at.checked_add(field));
        let (Some(kind), Some(flags), Some(offset), Some(address), Some(stored), Some(memory)) = (
            view.u32(at),
            flags.and_then(|at| view.u32(at)),
            offset.and_then(|at| view.word(wide, at)),
            address.and_then(|at| view.word(wide, at)),
            stored.and_then(|at| view.word(wide, at)),
            memory.and_then(|at| view.word(wide, at)),
        ) else {
            break;
        };
        let segment = Segment { address, memory, offset, stored, code: flags & 1 != 0 };
        image.segments.push(segment);
        if kind == 1 && flags & 3 == 2 && image.data.is_none() {
            image.data = Some(segment);
        }
    }
    image.build_info = elf_section(&view, wide, sections, counts + 4, b".go.buildinfo");
    Some(image)
}

fn elf_section(view: &View<'_>, wide: bool, sections: u64, counts: u64, name: &[u8]) -> Option<(u64, u64)> {
    let size = u64::from(view.u16(counts)?);
    let count = u64::from(view.u16(counts + 2)?).min(MAX_HEADERS as u64);
    let names = u64::from(view.u16(counts + 4)?);
    let header = |index: u64| index.checked_mul(size).and_then(|at| at.checked_add(sections));
    let (address, offset, length) = if wide { (16, 24, 32) } else { (12, 16, 20) };
    let names = view.word(wide, header(names)?.checked_add(offset)?)?;
    for index in 0..count {
        let at = header(index)?;
        let text = names.checked_add(u64::from(view.u32(at)?))?;
        if view.text(text, name.len() + 1) == name {
            let address = view.word(wide, at.checked_add(address)?)?;
            return Some((address, view.word(wide, at.checked_add(length)?)?));
        }
    }
    None
}

fn pe(view: &View<'_>) -> Option<Image> {
    let header = u64::from(view.u32(0x3c)?);
    if view.array::<4>(header)? != *b"PE\0\0" {
        return None;
    }
    let count = usize::from(view.u16(header + 6)?).min(MAX_HEADERS);
    let optional_size = u64::from(view.u16(header + 20)?);
    let optional = header + 24;
    let base = match view.u16(optional)? {
        0x20b => view.u64(optional + 24)?,
        _ => u64::from(view.u32(optional + 28)?),
    };
    let mut image = Image::default();
    for index in 0..count {
        let at = optional + optional_size + index as u64 * 40;
        let (Some(memory), Some(address), Some(stored), Some(offset), Some(flags)) =
            (view.u32(at + 8), view.u32(at + 12), view.u32(at + 16), view.u32(at + 20), view.u32(at + 36))
        else {
            break;
        };
        let segment = Segment {
            address: base.wrapping_add(u64::from(address)),
            memory: u64::from(memory),
            offset: u64::from(offset),
            stored: u64::from(stored),
            code: flags & 0x2000_0000 != 0,
        };
        image.segments.push(segment);
        if view.text(at, 8) == b".dep-v0" {
            image.dependencies = Some(u64::from(offset));
        }
        // Initialised data, readable and writable, whatever its alignment.
        let data = flags & !0x60_0000 == 0xc000_0040;
        if data && address != 0 && stored != 0 && image.data.is_none() {
            image.data = Some(segment);
        }
    }
    Some(image)
}

fn macho(bytes: &[u8], base: u64) -> Option<Image> {
    let little = View { bytes, big: false, base };
    let big = View { bytes, big: true, base };
    let (view, wide) = match (little.u32(0)?, big.u32(0)?) {
        (0xfeed_face, _) => (little, false),
        (0xfeed_facf, _) => (little, true),
        (_, 0xfeed_face) => (big, false),
        (_, 0xfeed_facf) => (big, true),
        _ => return None,
    };
    let mut image = Image::default();
    let count = usize::try_from(view.u32(16)?).ok()?.min(MAX_HEADERS);
    let mut at: u64 = if wide { 32 } else { 28 };
    for _ in 0..count {
        let (Some(command), Some(length)) = (view.u32(at), at.checked_add(4).and_then(|at| view.u32(at)))
        else {
            break;
        };
        if (wide && command == 0x19) || (!wide && command == 1) {
            macho_segment(&view, wide, at, &mut image);
        }
        match at.checked_add(u64::from(length)) {
            Some(next) if length >= 8 => at = next,
            _ => break,
        }
    }
    Some(image)
}

fn macho_segment(view: &View<'_>, wide: bool, at: u64, image: &mut Image) -> Option<()> {
    let name = view.text(at + 8, 16);
    let word: u64 = if wide { 8 } else { 4 };
    let address = view.word(wide, at + 24)?;
    let memory = view.word(wide, at + 24 + word)?;
    let offset = view.word(wide, at + 24 + 2 * word)?.checked_add(view.base)?;
    let stored = view.word(wide, at + 24 + 3 * word)?;
    let after = at + 24 + 4 * word;
    let (max_protection, protection) = (view.u32(after)?, view.u32(after + 4)?);
    let sections = usize::try_from(view.u32(after + 8)?).ok()?.min(MAX_HEADERS);
    if name != b"__PAGEZERO" {
        let segment = Segment { address, memory, offset, stored, code: protection & 4 != 0 };
        image.segments.push(segment);
        if address != 0 && stored != 0 && protection == 3 && max_protection == 3 && image.data.is_none() {
            image.data = Some(segment);
        }
    }
    let size: u64 = if wide { 80 } else { 68 };
    for index in 0..sections {
        let section = after + 16 + index as u64 * size;
        if matches!(view.text(section, 16), b".dep-v0" | b"__dep-v0") {
            let offset = u64::from(view.u32(section + 32 + 2 * word)?);
            image.dependencies = offset.checked_add(view.base);
        }
        if image.build_info.is_none() && view.text(section, 16) == b"__go_buildinfo" {
            let address = view.word(wide, section + 32)?;
            image.build_info = Some((address, view.word(wide, section + 32 + word)?));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_classes_are_not_universal_binaries() {
        assert!(!is_executable(&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 52]));
        assert!(is_executable(&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2]));
        assert!(!is_executable(b"\x7fELF"));
        assert!(is_executable(b"\x7fELF\x02\x01\x01\x00"));
    }

    #[test]
    fn survives_any_bytes_after_a_magic() {
        use proptest::prelude::*;
        proptest!(|(magic in 0..6_usize, mut bytes in proptest::collection::vec(any::<u8>(), 0..600))| {
            let magics: [&[u8]; 6] = [b"\x7fELF\x02\x01", b"\x7fELF\x01\x02", b"MZ", b"\xcf\xfa\xed\xfe",
                b"\xfe\xed\xfa\xce", b"\xca\xfe\xba\xbe\0\0\0\x01"];
            bytes.splice(0..0, magics[magic].iter().copied());
            if magic == 2 && bytes.len() > 80 {
                bytes[0x3c..0x44].copy_from_slice(b"\x40\0\0\0PE\0\0");
                bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
            }
            if let Some(image) = Image::parse(&bytes) {
                for segment in &image.segments {
                    image.locate(segment.address);
                }
            }
        });
    }
}
