//! Dependencies that `cargo auditable` puts into programs: zlib-compressed JSON in the section `.dep-v0`.

use std::io::Read;

use object::{Object, ObjectSection};
use serde::{Deserialize, Serialize};

use super::{File, Selector, Trigger, Want};

/// Keeps a JSON array of [`Crate`], build dependencies included.
pub struct RustBinary;

/// Larger programs are not looked at: the sections lie at the end of the file.
const MAX: u64 = 64 << 20;
const MIN: u64 = 512;
const MAX_COMPRESSED: usize = 8 << 20;
/// What the format's own reader takes by default.
const MAX_JSON: u64 = 8 << 20;

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

impl Selector for RustBinary {
    fn name(&self) -> &'static str {
        "rust-binary"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Executable] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if (MIN..=MAX).contains(&file.size) { Want::WholeIfFits { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let program = object::File::parse(bytes).ok()?;
        let section = program.section_by_name(".dep-v0")?;
        let packed = section.data().ok().filter(|packed| packed.len() <= MAX_COMPRESSED)?;
        let mut json = Vec::new();
        flate2::bufread::ZlibDecoder::new(packed).take(MAX_JSON + 1).read_to_end(&mut json).ok()?;
        if json.len() as u64 > MAX_JSON {
            return None;
        }
        let document: Document = serde_json::from_slice(&json).ok()?;
        serde_json::to_vec(&document.packages).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

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
        RustBinary.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
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

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..200), changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
            let _ = reduce(&noise);
            let mut bytes = program(".dep-v0", &packed(JSON));
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            let _ = reduce(&bytes);
        }
    }
}
