//! One header block, field by field.
//!
//! Reads what Go's `archive/tar` reads, which is what containerd and Docker read: V7, ustar (POSIX.1-1988),
//! GNU and STAR headers. A header that it refuses is refused here.

/// One block of a tar stream.
pub(super) type Block = [u8; 512];

/// Which layout a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A field that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadField(pub(super) &'static str);

/// The part of a header block that matters here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) typeflag: u8,
    pub(super) size: i64,
    pub(super) mode: i64,
}

/// The layout of a block whose checksum is right.
pub(super) fn layout(block: &Block) -> Option<Layout> {
    let expected = octal(field(block, 148, 8)).ok()?;
    if expected != checksum(block) && expected != signed_checksum(block) {
        return None;
    }
    let magic = field(block, 257, 6);
    Some(if magic == b"ustar\0" && field(block, 508, 4) == b"tar\0" {
        Layout::Star
    } else if magic == b"ustar\0" {
        Layout::Ustar
    } else if magic == b"ustar " && field(block, 263, 2) == b" \0" {
        Layout::Gnu
    } else {
        Layout::V7
    })
}

/// Reads the fields into `into`, whose buffers are reused.
pub(super) fn parse(block: &Block, layout: Layout, into: &mut Fields) -> Result<(), BadField> {
    let number = |name, at, length| numeric(field(block, at, length)).map_err(|()| BadField(name));
    into.mode = number("mode", 100, 8)?;
    number("uid", 108, 8)?;
    number("gid", 116, 8)?;
    into.size = number("size", 124, 12)?;
    number("mtime", 136, 12)?;
    into.typeflag = block[156];
    let mut prefix: &[u8] = &[];
    if layout != Layout::V7 {
        number("devmajor", 329, 8)?;
        number("devminor", 337, 8)?;
        match layout {
            Layout::Ustar => prefix = string(field(block, 345, 155)),
            Layout::Star => {
                prefix = string(field(block, 345, 131));
                number("atime", 476, 12)?;
                number("ctime", 488, 12)?;
            }
            // Go before 1.8 wrote a prefix where GNU has times; Go reads it so where the times make no sense.
            _ if bad_time(field(block, 345, 12)) || bad_time(field(block, 357, 12)) => {
                prefix = Some(string(field(block, 345, 155))).filter(|text| text.is_ascii()).unwrap_or(&[]);
            }
            _ => {}
        }
    }
    into.name.clear();
    if !prefix.is_empty() {
        into.name.extend_from_slice(prefix);
        into.name.push(b'/');
    }
    into.name.extend_from_slice(string(field(block, 0, 100)));
    into.link.clear();
    into.link.extend_from_slice(string(field(block, 157, 100)));
    Ok(())
}

fn bad_time(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first != 0) && numeric(bytes).is_err()
}

pub(super) fn field(block: &Block, at: usize, length: usize) -> &[u8] {
    block.get(at..at + length).unwrap_or(&[])
}

/// The bytes before the first NUL.
pub(super) fn string(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(&[])
}

fn checksum(block: &Block) -> i64 {
    let all: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = field(block, 148, 8).iter().map(|byte| u32::from(*byte)).sum();
    i64::from(all) - i64::from(own) + 8 * 32
}

/// Some old tars summed signed bytes.
fn signed_checksum(block: &Block) -> i64 {
    let high = |bytes: &[u8]| bytes.iter().filter(|byte| **byte >= 128).count() as i64;
    checksum(block) - 256 * (high(block) - high(field(block, 148, 8)))
}

/// Octal text, or base-256 where the first bit is set (GNU): two's complement, big-endian.
pub(super) fn numeric(bytes: &[u8]) -> Result<i64, ()> {
    let Some(first) = bytes.first().copied().filter(|first| first & 0x80 != 0) else { return octal(bytes) };
    let inversion = if first & 0x40 != 0 { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let mut byte = byte ^ inversion;
        if at == 0 {
            byte &= 0x7f;
        }
        if value >> 56 != 0 {
            return Err(());
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| ())?;
    Ok(if inversion == 0 { value } else { !value })
}

fn octal(bytes: &[u8]) -> Result<i64, ()> {
    let padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let Some(start) = bytes.iter().position(|byte| !padding(byte)) else { return Ok(0) };
    let end = bytes.iter().rposition(|byte| !padding(byte)).map_or(start, |last| last + 1);
    let mut value: u64 = 0;
    for byte in bytes.get(start..end).unwrap_or(&[]) {
        match byte {
            b'0'..=b'7' if value >> 61 == 0 => value = value << 3 | u64::from(byte - b'0'),
            0 => break, // text ends at a NUL, and what follows is not looked at
            _ => return Err(()),
        }
    }
    Ok(value.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        for (bytes, expected) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b" 644 \0\0\0", Ok(0o644)),
            (b"\0\0\0\0", Ok(0)),
            (b"12\x0034 ", Ok(0o12)),
            (b"12 34", Err(())),
            (b"8", Err(())),
            (b"-1", Err(())),
            (b"\x80\0\0\0\0\0\0\0\0\0\x10\0", Ok(4096)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Ok(-1)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err(())),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Err(())),
        ] {
            assert_eq!(numeric(bytes), expected, "{bytes:?}");
        }
    }
}
