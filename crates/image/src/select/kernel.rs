//! Linux: the version in the header of a kernel's image ("The Linux/x86 Boot Protocol"), and what modules say of
//! themselves in their section `.modinfo`.

use std::io::Read;

use object::{Object, ObjectSection};

use super::executable::View;
use super::{File, Selector, Trigger, Want};

/// Keeps lines `NAME=VALUE`: `release` and `build` of a kernel, the fields in [`FIELDS`] of a module.
pub struct Kernel;

/// The version lies within the setup code.
const HEAD: u64 = 64 << 10;
const MAX_MODULE: u64 = 32 << 20;
/// A packed module that is larger is not held when it is unpacked, but unpacked once for each part that is looked at.
const MAX_HELD: u64 = 4 << 20;
/// How far into a packed module.
const MAX_UNPACKED: u64 = 256 << 20;
/// What unpacking xz may hold; modules are packed with dictionaries of 2 MiB at most.
const MAX_DICTIONARY_KIB: u32 = 32 << 10;
/// The section table, and the names of sections.
const MAX_TABLE: u64 = 1 << 20;
const MAX_MODINFO: usize = 1 << 20;
const MAX_VALUE: usize = 256;

/// Fields of `.modinfo` that are kept.
pub const FIELDS: &[&str] = &["name", "version", "license", "author", "vermagic", "srcversion", "intree"];

impl Selector for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Name("vmlinuz"),
                Trigger::Name("bzImage"),
                Trigger::Parent("boot"),
                Trigger::Extension("ko"),
                Trigger::Extension("gz"),
                Trigger::Extension("xz"),
                Trigger::Extension("zst"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let name = file.name();
        if module(name) {
            Want::WholeIfFits { max: MAX_MODULE }
        } else if name.starts_with("vmlinuz") || name == "bzImage" {
            Want::Head { max: HEAD }
        } else {
            Want::No
        }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        if !module(file.name()) {
            return image(bytes);
        }
        if bytes.starts_with(b"\x1f\x8b") {
            return packed(|| Some(flate2::bufread::MultiGzDecoder::new(bytes)));
        }
        if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
            return packed(|| {
                let mut reader = zstd::stream::read::Decoder::with_buffer(bytes).ok()?;
                reader.window_log_max(25).ok()?;
                Some(reader)
            });
        }
        if bytes.starts_with(b"\xfd7zXZ\0") {
            return packed(|| Some(lzma_rust2::XzReader::new_mem_limit(bytes, true, MAX_DICTIONARY_KIB)));
        }
        let object = object::File::parse(bytes).ok()?;
        modinfo(object.section_by_name(".modinfo")?.data().ok()?)
    }
}

/// What a packed module says of itself; `open` begins to unpack it.
fn packed<R: Read>(open: impl Fn() -> Option<R>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open()?.take(MAX_HELD + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 <= MAX_HELD {
        let object = object::File::parse(bytes.as_slice()).ok()?;
        return modinfo(object.section_by_name(".modinfo")?.data().ok()?);
    }
    drop(bytes);
    modinfo(&section(&open, b".modinfo")?)
}

/// A section of a packed ELF file.
fn section<R: Read>(open: &impl Fn() -> Option<R>, wanted: &[u8]) -> Option<Vec<u8>> {
    let part = |offset: u64, length: u64, most: u64| {
        let fits = length <= most && offset.checked_add(length)? <= MAX_UNPACKED;
        let mut reader = open().filter(|_| fits)?;
        let passed = std::io::copy(&mut reader.by_ref().take(offset), &mut std::io::sink()).ok()?;
        let mut bytes = Vec::new();
        reader.take(length).read_to_end(&mut bytes).ok()?;
        (passed == offset && bytes.len() as u64 == length).then_some(bytes)
    };
    let head = part(0, 64, 64).filter(|head| head.starts_with(b"\x7fELF"))?;
    let (wide, big) = (*head.get(4)? == 2, *head.get(5)? == 2);
    let header = View::new(&head, big);
    let (table, counts) = if wide { (40, 58) } else { (32, 46) };
    let [size, count, names] = [0, 2, 4].map(|at| header.u16(counts + at).map(u64::from));
    let (size, count) = (size?, count?);
    let table = part(header.word(wide, table)?, size * count, MAX_TABLE)?;
    let table = View::new(&table, big);
    let (at, length) = if wide { (24, 32) } else { (16, 20) };
    let place =
        |index: u64| Some((table.word(wide, index * size + at)?, table.word(wide, index * size + length)?));
    let (names_at, names_length) = place(names?)?;
    let names = part(names_at, names_length, MAX_TABLE)?;
    let index = (0..count).find(|index| {
        let name = table.u32(index * size).and_then(|at| names.get(usize::try_from(at).ok()?..));
        name.is_some_and(|name| name.split(|byte| *byte == 0).next() == Some(wanted))
    })?;
    let (offset, length) = place(index)?;
    part(offset, length, MAX_MODINFO as u64)
}

fn module(name: &str) -> bool {
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|end| name.ends_with(end))
}

/// `6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP …`.
fn image(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let pointer = u16::from_le_bytes(*bytes.get(0x20e..)?.first_chunk()?);
    let text = bytes.get(usize::from(pointer) + 0x200..)?;
    let text = text.split(|byte| *byte == 0).next().filter(|text| text.len() <= MAX_VALUE)?;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.contains(char::is_control))?;
    let (release, build) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    release
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| format!("release={release}\nbuild={build}\n").into_bytes())
}

/// The fields of interest of a section `.modinfo`.
fn modinfo(section: &[u8]) -> Option<Vec<u8>> {
    if section.len() > MAX_MODINFO {
        return None;
    }
    let mut kept = String::new();
    for field in section.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok()) {
        let Some((name, value)) = field.split_once('=') else { continue };
        let fits = FIELDS.contains(&name) && value.len() <= MAX_VALUE && !value.contains(char::is_control);
        let named = |line: &str| line.split_once('=').is_some_and(|(known, _)| known == name);
        if fits && !kept.lines().any(named) {
            kept.push_str(field);
            kept.push('\n');
        }
    }
    (!kept.is_empty()).then(|| kept.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::select::rust_binary::tests::program;

    fn reduce(path: &str, bytes: &[u8]) -> Option<String> {
        let file = File { path, size: bytes.len() as u64, mode: 0o644 };
        Kernel.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    fn kernel() -> Vec<u8> {
        let mut bytes = vec![0; 0x3000];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x2e00_u16.to_le_bytes());
        let text = b"6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.76-1\0";
        bytes.splice(0x3000.., text.iter().copied());
        bytes
    }

    const MODINFO: &[u8] = b"\0license=GPL v2\0author=A\0author=B\0parm=x\0name=zfs\0version=2.1.11-1\0vermagic=6.1.0-18-amd64 SMP mod_unload\0";

    #[test]
    fn kernels_and_modules() {
        assert_eq!(
            reduce("boot/vmlinuz-6.1.0-18-amd64", &kernel()).as_deref(),
            Some("release=6.1.0-18-amd64\nbuild=(debian-kernel@lists.debian.org) #1 SMP Debian 6.1.76-1\n")
        );
        assert_eq!(reduce("boot/vmlinuz", &kernel()[..0x300]), None);
        let module = program(".modinfo", MODINFO);
        let expected = Some(
            "license=GPL v2\nauthor=A\nname=zfs\nversion=2.1.11-1\nvermagic=6.1.0-18-amd64 SMP mod_unload\n",
        );
        assert_eq!(reduce("lib/modules/6.1/zfs.ko", &module).as_deref(), expected);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&module).unwrap();
        assert_eq!(reduce("lib/modules/6.1/zfs.ko.gz", &gzip.finish().unwrap()).as_deref(), expected);
        let packed = zstd::encode_all(&module[..], 1).unwrap();
        assert_eq!(reduce("lib/modules/6.1/zfs.ko.zst", &packed).as_deref(), expected);
        let xz = |dictionary: u32| {
            let mut options = lzma_rust2::XzOptions::with_preset(0);
            options.lzma_options.dict_size = dictionary;
            let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            xz.write_all(&module).unwrap();
            xz.finish().unwrap()
        };
        assert_eq!(reduce("lib/modules/6.1/zfs.ko.xz", &xz(2 << 20)).as_deref(), expected);
        assert_eq!(
            reduce("lib/modules/6.1/zfs.ko.xz", &xz(64 << 20)),
            None,
            "a dictionary that nobody needs"
        );
        // Too large to be held unpacked: the section lies behind what is held.
        let large = program(".modinfo", &[&vec![0; 5 << 20][..], MODINFO].concat());
        let at = large.windows(4).position(|four| four == b"GPL ").unwrap() as u64 - 9;
        let mut large = large;
        let table = usize::try_from(u64::from_le_bytes(large[40..48].try_into().unwrap())).unwrap();
        large[table + 64 + 24..table + 64 + 32].copy_from_slice(&at.to_le_bytes());
        large[table + 64 + 32..table + 64 + 40].copy_from_slice(&(MODINFO.len() as u64).to_le_bytes());
        let packed = zstd::encode_all(&large[..], 1).unwrap();
        assert_eq!(reduce("lib/modules/6.1/zfs.ko.zst", &packed).as_deref(), expected);
        assert_eq!(reduce("lib/modules/6.1/zfs.ko.zst", &packed[..packed.len() / 2]), None);
        let wants = |path| Kernel.wants(&File { path, size: 1, mode: 0o644 }) != Want::No;
        assert!(wants("boot/vmlinuz-6.1") && wants("lib/modules/6.1/vmlinuz") && wants("x.ko.zst"));
        assert!(!wants("boot/grub") && !wants("x.gz"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
            for (path, mut bytes) in [("boot/vmlinuz", kernel()), ("a.ko", program(".modinfo", MODINFO)), ("a.ko.zst", zstd::encode_all(MODINFO, 1).unwrap()), ("a.ko.xz", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01".to_vec())] {
                for (at, byte) in &changes {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] = *byte;
                }
                let _ = reduce(path, &bytes);
            }
        }
    }
}
