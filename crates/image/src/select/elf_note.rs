//! The package that an ELF program or library says it is part of: the note `FDO`, type `0xcafe1a7e`
//! (systemd, "Package Metadata for Executable Files").

use memchr::memmem;
use serde_json::{Map, Value};

use super::{File, Selector, Trigger, Want};

/// Keeps a JSON object with the members in [`MEMBERS`].
pub struct ElfNote;

/// Notes lie between the headers and the first code.
const HEAD: u64 = 1 << 20;
const MIN: u64 = 128;
const MAX_NOTE: usize = 8 << 10;
/// Type and name of the note; before them are the lengths of name and description.
const LITTLE: &[u8] = b"\x7e\x1a\xfe\xcaFDO\0";
const BIG: &[u8] = b"\xca\xfe\x1a\x7eFDO\0";

/// Members that are kept, where they are texts.
pub const MEMBERS: &[&str] = &["type", "os", "osVersion", "osCpe", "name", "version", "architecture"];

impl Selector for ElfNote {
    fn name(&self) -> &'static str {
        "elf-note"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Executable] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.size < MIN { Want::No } else { Want::Head { max: HEAD } }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let (marker, big) = if bytes.get(5) == Some(&2) { (BIG, true) } else { (LITTLE, false) };
        let at = memmem::find(bytes, marker)?;
        let length = bytes.get(at.checked_sub(4)?..)?.first_chunk::<4>()?;
        let length = if big { u32::from_be_bytes(*length) } else { u32::from_le_bytes(*length) };
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_NOTE)?;
        let note = bytes.get(at + marker.len()..)?.get(..length)?;
        let note = note.split(|byte| *byte == 0).next()?;
        let mut members: Map<String, Value> = serde_json::from_slice(note).ok()?;
        members.retain(|name, value| MEMBERS.contains(&name.as_str()) && value.is_string());
        (members.contains_key("name") && members.contains_key("version"))
            .then(|| serde_json::to_vec(&members).ok())?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn program(note: &[u8], big: bool) -> Vec<u8> {
        let length = u32::try_from(note.len()).unwrap();
        let (name, length) = if big {
            (4_u32.to_be_bytes(), length.to_be_bytes())
        } else {
            (4_u32.to_le_bytes(), length.to_le_bytes())
        };
        let magic: &[u8] = if big { b"\x7fELF\x02\x02" } else { b"\x7fELF\x02\x01" };
        [magic, &[0; 90], &name, &length, if big { BIG } else { LITTLE }, note, &[0; 90]].concat()
    }

    fn reduce(bytes: &[u8]) -> Option<String> {
        let file = File { path: "usr/bin/x", size: bytes.len() as u64, mode: 0o755 };
        ElfNote.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    const NOTE: &[u8] = br#"{"type":"rpm","name":"bash","version":"5.2-1.fc40","architecture":"x86_64","osCpe":"cpe:/o:fedoraproject:fedora:40","x":[1]}"#;

    #[test]
    fn keeps_the_note() {
        let expected = r#"{"architecture":"x86_64","name":"bash","osCpe":"cpe:/o:fedoraproject:fedora:40","type":"rpm","version":"5.2-1.fc40"}"#;
        for big in [false, true] {
            assert_eq!(reduce(&program(NOTE, big)).as_deref(), Some(expected));
            assert_eq!(reduce(&program(&[NOTE, b"\0\0"].concat(), big)).as_deref(), Some(expected));
        }
        assert_eq!(reduce(&program(br#"{"type":"rpm"}"#, false)), None);
        assert_eq!(reduce(&program(b"no note", false)), None);
        assert_eq!(reduce(&program(NOTE, false)[..150]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at in 0usize..200, byte: u8, end in 0usize..300) {
            let mut bytes = program(NOTE, false);
            bytes[at] = byte;
            bytes.truncate(end);
            let _ = reduce(&bytes);
        }
    }
}
