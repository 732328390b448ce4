//! Dependencies that `cargo auditable` puts into programs: zlib-compressed JSON in the section `.dep-v0`.

use std::io::Read;

use object::{Object, ObjectSection};
use serde::{Deserialize, Serialize};

use super::rust_scan::RustScan;
use super::scan::{Headed, Program};

/// Keeps a JSON array of [`Crate`], build dependencies included.
pub static RUST_BINARY: Program = Program {
    name: "rust-binary",
    revision: 2,
    scan: || Box::new(Headed::<RustScan>::default()),
    reduce: |bytes| {
        let program = object::File::parse(bytes).ok()?;
        let section = program.section_by_name(".dep-v0")?;
        let packed = section.data().ok().filter(|packed| packed.len() <= MAX_COMPRESSED)?;
        let mut json = Vec::new();
        flate2::bufread::ZlibDecoder::new(packed).take(MAX_JSON + 1).read_to_end(&mut json).ok()?;
        if json.len() as u64 > MAX_JSON {
            return None;
        }
        crates(&json)
    },
};

pub(super) const MAX_COMPRESSED: usize = 8 << 20;
/// What the format's own reader takes by default.
pub(super) const MAX_JSON: u64 = 8 << 20;

/// A crate that was built into the program (the auditable format, version 0).
#[derive(Debug, Serialize, Deserialize)]
pub struct Crate {
    name: String,
    version: String,
    /// `crates.io`, `git`, `local`, `registry` or something else.
    #[serde(default)]
    source: String,
    /// `build` for what only ran while the program was built.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    kind: String,
    /// Indices into the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<usize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    root: bool,
}

#[derive(Deserialize)]
struct Document {
    packages: Vec<Crate>,
}

/// What is kept of the document.
pub(super) fn crates(json: &[u8]) -> Option<Vec<u8>> {
    let document: Document = serde_json::from_slice(json).ok()?;
    serde_json::to_vec(&document.packages).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::scan::Scanned;
    use super::super::{File, Selector};
    use super::*;

    /// A 64-bit ELF file with one section of content, named.
    pub(crate) fn program(name: &str, content: &[u8]) -> Vec<u8> {
        let names = format!("\0{name}\0.shstrtab\0");
        let (content_at, names_at) = (64, 64 + content.len());
        let sections_at = (names_at + names.len()).next_multiple_of(8);
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        file.extend([0; 16]);
        file.extend((sections_at as u64).to_le_bytes());
        file.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        file.extend(content);
        file.extend(names.as_bytes());
        file.resize(sections_at + 64, 0);
        for (name, kind, at, size) in [
            (1_u32, 1_u32, content_at, content.len()),
            (2 + u32::try_from(name.len()).unwrap(), 3, names_at, names.len()),
        ] {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend([0; 16]);
            file.extend((at as u64).to_le_bytes());
            file.extend((size as u64).to_le_bytes());
            file.extend([0; 24]);
        }
        file.resize(file.len().max(512), 0);
        file
    }

    fn packed(json: &str) -> Vec<u8> {
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(json.as_bytes()).unwrap();
        writer.finish().unwrap()
    }

    fn reduce(bytes: &[u8]) -> Option<String> {
        let file = File { path: "usr/bin/x", size: bytes.len() as u64, mode: 0o755 };
        RUST_BINARY.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    const JSON: &str = r#"{"packages":[{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build","features":["x"]},{"name":"x","version":"0.1.0","source":"local","dependencies":[0],"root":true}]}"#;

    #[test]
    fn keeps_the_crates() {
        assert_eq!(
            reduce(&program(".dep-v0", &packed(JSON))).unwrap(),
            r#"[{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},{"name":"x","version":"0.1.0","source":"local","dependencies":[0],"root":true}]"#
        );
        assert_eq!(reduce(&program(".text", &packed(JSON))), None);
        assert_eq!(reduce(&program(".dep-v0", b"no zlib")), None);
        assert_eq!(reduce(&program(".dep-v0", &packed("[]"))), None);
        // What inflates to more than the limit is refused.
        let bomb = format!("{{\"packages\":[],\"x\":\"{}\"}}", " ".repeat(MAX_JSON as usize));
        assert_eq!(reduce(&program(".dep-v0", &packed(&bomb))), None);
    }

    fn scanned(bytes: &[u8], cuts: &[usize]) -> Scanned {
        let file = File { path: "usr/bin/x", size: bytes.len() as u64, mode: 0o755 };
        let mut scan = RUST_BINARY.scan(&file).unwrap();
        let mut rest = bytes;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            if !scan.piece(piece) {
                break;
            }
            rest = after;
        }
        scan.finish()
    }

    fn either(kept: Option<String>) -> Scanned {
        kept.map_or(Scanned::Nothing, |text| Scanned::Kept(text.into_bytes()))
    }

    #[test]
    fn a_pe_file_names_the_section_in_its_headers() {
        let mut file = b"MZ".to_vec();
        file.resize(0x3c, 0);
        file.extend(0x80_u32.to_le_bytes());
        file.resize(0x80, 0);
        file.extend(b"PE\0\0\x64\x86\x01\0");
        file.resize(0x98, 0);
        file[0x94] = 240;
        file.extend(0x20b_u16.to_le_bytes());
        file.resize(0x98 + 240, 0);
        file.extend(b".dep-v0\0");
        let content = packed(JSON);
        for value in [content.len() as u32, 0x1000, content.len() as u32, 0x400, 0, 0, 0, 0x4000_0040] {
            file.extend(value.to_le_bytes());
        }
        file.resize(0x400, 0);
        file.extend(content);
        file.resize(2048, 0);
        let expected = reduce(&file);
        assert!(expected.is_some());
        assert_eq!(scanned(&file, &[100, 5000]), either(expected));
    }

    proptest! {
        /// As the bytes pass, however they are cut, the same is found as in the whole.
        #[test]
        fn pieces_make_no_difference(
            before in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x78), Just(0x9c)], 0..3000),
            many in 1..2000_usize,
            cuts in proptest::collection::vec(1..900_usize, 0..60),
            long: bool,
        ) {
            let list: Vec<String> = (0..many)
                .map(|n| format!(r#"{{"name":"crate-{n}","version":"{}.{}.1","source":"crates.io"}}"#, n % 7, n % 13))
                .collect();
            let document = format!("{{\"packages\":[{}]}}", list.join(","));
            // What only looks like the document, before the section or as a part of it.
            let lie = packed("{\"packages\":[]}");
            let content = packed(&document);
            let mut bytes = program(".dep-v0", &content);
            let at = if long { bytes.len() } else { 64 };
            prop_assert_eq!(scanned(&bytes, &cuts), either(reduce(&bytes)));
            bytes.splice(at..at, before.iter().chain(&lie).copied());
            if long {
                bytes.resize(bytes.len() + (80 << 10), 0x78);
            } else {
                // Everything moved: the section with the names, the table, and where it points to.
                let moved = (before.len() + lie.len()) as u64;
                let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) + moved;
                bytes[40..48].copy_from_slice(&table.to_le_bytes());
                for section in 1..3 {
                    let field = usize::try_from(table).unwrap() + section * 64 + 24;
                    let offset = u64::from_le_bytes(bytes[field..field + 8].try_into().unwrap()) + moved;
                    bytes[field..field + 8].copy_from_slice(&offset.to_le_bytes());
                }
            }
            let expected = reduce(&bytes);
            prop_assert!(expected.is_some());
            prop_assert_eq!(scanned(&bytes, &cuts), either(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..200), changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
            let _ = reduce(&noise);
            let mut bytes = program(".dep-v0", &packed(JSON));
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            let _ = (reduce(&bytes), scanned(&bytes, &[7, 100]), scanned(&noise, &[7]));
        }
    }
}
