//! PAX extended header records (POSIX.1-2001), as far as they decide name, link, size and sparseness.

use super::header::BadField;

/// The records of one extended header. `None` and empty text both leave the header's own value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Vec<u8>,
    pub(super) linkpath: Vec<u8>,
    pub(super) size: Option<i64>,
    pub(super) sparse: PaxSparse,
}

/// `GNU.sparse.*`, formats 0.0 (turned into 0.1), 0.1 and 1.0.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) major: Vec<u8>,
    pub(super) minor: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) size: Vec<u8>,
    pub(super) real_size: Vec<u8>,
    pub(super) blocks: Vec<u8>,
    pub(super) map: Vec<u8>,
}

impl Pax {
    /// Reads all records; the last of equal keys stands. Anything that Go's reader refuses is an error.
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, BadField> {
        const BAD: BadField = BadField("pax record");
        let mut pax = Self::default();
        let (mut uid, mut gid, mut size): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let (mut atime, mut mtime, mut ctime): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let mut pairs: Vec<u8> = Vec::new();
        let mut pair_values = 0_usize;
        while !text.is_empty() {
            let (key, value, rest) = record(text).ok_or(BAD)?;
            text = rest;
            match key {
                b"path" => pax.path = value.to_vec(),
                b"linkpath" => pax.linkpath = value.to_vec(),
                b"size" => size = value,
                b"uid" => uid = value,
                b"gid" => gid = value,
                b"atime" => atime = value,
                b"mtime" => mtime = value,
                b"ctime" => ctime = value,
                b"GNU.sparse.major" => pax.sparse.major = value.to_vec(),
                b"GNU.sparse.minor" => pax.sparse.minor = value.to_vec(),
                b"GNU.sparse.name" => pax.sparse.name = value.to_vec(),
                b"GNU.sparse.size" => pax.sparse.size = value.to_vec(),
                b"GNU.sparse.realsize" => pax.sparse.real_size = value.to_vec(),
                b"GNU.sparse.numblocks" => pax.sparse.blocks = value.to_vec(),
                b"GNU.sparse.map" => pax.sparse.map = value.to_vec(),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    let expected: &[u8] = if pair_values.is_multiple_of(2) {
                        b"GNU.sparse.offset"
                    } else {
                        b"GNU.sparse.numbytes"
                    };
                    if key != expected || value.contains(&b',') {
                        return Err(BAD);
                    }
                    if pair_values > 0 {
                        pairs.push(b',');
                    }
                    pairs.extend_from_slice(value);
                    pair_values += 1;
                }
                _ => {}
            }
        }
        if pair_values > 0 {
            pax.sparse.map = pairs;
        }
        for (name, value) in [("pax uid", uid), ("pax gid", gid)] {
            if !value.is_empty() && decimal(value).is_none() {
                return Err(BadField(name));
            }
        }
        for (name, value) in [("pax atime", atime), ("pax mtime", mtime), ("pax ctime", ctime)] {
            if !value.is_empty() && !is_time(value) {
                return Err(BadField(name));
            }
        }
        if !size.is_empty() {
            pax.size = Some(decimal(size).ok_or(BadField("pax size"))?);
        }
        Ok(pax)
    }

    /// Whether a record would change what an entry is; global headers with such records are read differently by
    /// different readers.
    pub(super) fn changes_entries(&self) -> bool {
        *self != Self::default()
    }
}

/// Signed decimal text in 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_time(text: &[u8]) -> bool {
    let (seconds, fraction) = text
        .iter()
        .position(|byte| *byte == b'.')
        .map_or((text, &b""[..]), |dot| (text.get(..dot).unwrap_or(&[]), text.get(dot + 1..).unwrap_or(&[])));
    decimal(seconds).is_some() && fraction.iter().all(u8::is_ascii_digit)
}

/// Splits `LENGTH KEY=VALUE\n` off the front.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(text.get(..space)?)?).ok()?;
    if length < 5 || length > text.len() {
        return None;
    }
    let (whole, rest) = text.split_at_checked(length)?;
    let body = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (body.get(..equals)?, body.get(equals + 1..)?);
    let textual = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let without_nul = if textual { value } else { key };
    (!key.is_empty() && !without_nul.contains(&0)).then_some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_and_refuses_what_go_refuses() {
        let pax = Pax::parse(b"12 path=abc\n6 a=b\n13 size=4096\n12 path=xyz\n").unwrap();
        assert_eq!((pax.path.as_slice(), pax.size), (&b"xyz"[..], Some(4096)));
        for bad in [
            &b"11 path=abc\n"[..],
            b"12 path=abc ",
            b"4 =\n",
            b"99 path=abc\n",
            b"x path=abc\n",
            b"12 path=a\0c\n",
            b"9 size=x\n",
            b"11 mtime=x\n",
            b"6 a_b\n",
            b"5 =b\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
