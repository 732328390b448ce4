//! Minimal ELF files that carry what catalogers look for, written without a compiler.

use std::io::Write as _;

use super::ImageError;

/// Where the one loaded segment starts.
const BASE: u64 = 0x40_0000;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;

/// What Go's linker puts around the module information (`runtime/debug/mod.go` of Go).
const INFO_START: [u8; 16] =
    [0x30, 0x77, 0xaf, 0x0c, 0x92, 0x74, 0x08, 0x02, 0x41, 0xe1, 0xc1, 0x07, 0xe6, 0xd6, 0x18, 0xe6];
const INFO_END: [u8; 16] =
    [0xf9, 0x32, 0x43, 0x31, 0x86, 0x18, 0x20, 0x72, 0x00, 0x82, 0x42, 0x10, 0x41, 0x16, 0xd8, 0xf2];

/// An ELF64 little-endian x86-64 executable whose sections (`.name`, content) lie in one loaded segment.
pub fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let start = HEADER.saturating_add(PROGRAM_HEADER);
    let mut headers = vec![[0_u8; SECTION_HEADER]];
    let mut names = vec![0_u8];
    let table = [(".shstrtab", &[][..])];
    for (number, (name, content)) in sections.iter().chain(&table).enumerate() {
        let name_at = names.len();
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let is_table = number == sections.len();
        // Sixteen is what Go's build information needs.
        while !start.saturating_add(body.len()).is_multiple_of(16) {
            body.push(0);
        }
        let offset = start.saturating_add(body.len());
        let content = if is_table { names.as_slice() } else { content };
        body.extend_from_slice(content);
        let (kind, flags, address) =
            if is_table { (3, 0, 0) } else { (1, 3, BASE.saturating_add(wide(offset))) };
        headers.push(section_header(name_at, kind, flags, address, offset, content.len()));
    }
    let table_at = start.saturating_add(body.len());
    let mut out = file_header(table_at, headers.len());
    out.extend(program_header(table_at));
    out.extend(body);
    for header in headers {
        out.extend_from_slice(&header);
    }
    out
}

/// A Go executable as far as `go version -m` can tell: `.go.buildinfo` in the inline format since Go 1.18.
/// `version` is as `go1.22.4`, `modinfo` as [`super::content::go_modinfo`] makes it.
pub fn go_binary(version: &str, modinfo: &str) -> Vec<u8> {
    let mut framed = INFO_START.to_vec();
    framed.extend_from_slice(modinfo.as_bytes());
    framed.extend_from_slice(&INFO_END);
    let mut info = b"\xff Go buildinf:".to_vec();
    // Pointer size, and the flag that strings follow in line; the rest of the 32-byte header is unused.
    info.extend_from_slice(&[8, 2]);
    info.resize(32, 0);
    for text in [version.as_bytes(), &framed] {
        info.extend(uvarint(wide(text.len())));
        info.extend_from_slice(text);
    }
    elf(&[(".text", &[0xc3]), (".go.buildinfo", &info)])
}

/// A Rust executable with the audit data of cargo-auditable: zlib-compressed JSON in `.dep-v0`. Packages are
/// `(name, version)`, the first being the root.
pub fn rust_auditable(packages: &[(&str, &str)]) -> Result<Vec<u8>, ImageError> {
    let packages: Vec<_> = packages
        .iter()
        .enumerate()
        .map(|(number, (name, version))| {
            let mut package = serde_json::json!({"name": name, "version": version, "source": "crates.io"});
            if let (0, Some(fields)) = (number, package.as_object_mut()) {
                fields.insert("root".to_owned(), true.into());
                fields.insert("source".to_owned(), "local".into());
            }
            package
        })
        .collect();
    let document = serde_json::to_vec(&serde_json::json!({"packages": packages}))?;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&document).map_err(ImageError::Compress)?;
    let data = encoder.finish().map_err(ImageError::Compress)?;
    Ok(elf(&[(".text", &[0xc3]), (".dep-v0", &data)]))
}

fn file_header(sections_at: usize, sections: usize) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\x00".to_vec();
    out.resize(16, 0);
    out.extend(2_u16.to_le_bytes()); // executable
    out.extend(62_u16.to_le_bytes()); // x86-64
    out.extend(1_u32.to_le_bytes());
    out.extend(BASE.saturating_add(wide(HEADER.saturating_add(PROGRAM_HEADER))).to_le_bytes()); // entry
    out.extend(wide(HEADER).to_le_bytes()); // program headers
    out.extend(wide(sections_at).to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    for field in [HEADER, PROGRAM_HEADER, 1, SECTION_HEADER, sections, sections.saturating_sub(1)] {
        out.extend(u16::try_from(field).unwrap_or(u16::MAX).to_le_bytes());
    }
    out
}

/// One readable and writable segment over the whole file: Go looks for its information in a writable one.
fn program_header(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(1_u32.to_le_bytes()); // PT_LOAD
    out.extend(7_u32.to_le_bytes()); // rwx
    for field in [0, BASE, BASE, wide(length), wide(length), 0x1000] {
        out.extend(field.to_le_bytes());
    }
    out
}

fn section_header(
    name: usize,
    kind: u32,
    flags: u64,
    address: u64,
    offset: usize,
    size: usize,
) -> [u8; SECTION_HEADER] {
    let mut out = Vec::with_capacity(SECTION_HEADER);
    out.extend(u32::try_from(name).unwrap_or(0).to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend(address.to_le_bytes());
    out.extend(wide(offset).to_le_bytes());
    out.extend(wide(size).to_le_bytes());
    out.extend(0_u64.to_le_bytes()); // link, info
    out.extend(16_u64.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.try_into().unwrap_or([0; SECTION_HEADER])
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Little-endian base 128, as Go's `binary.PutUvarint`.
fn uvarint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
    out
}
