//! Packages of PEAR and PECL: `.registry/**/*.reg`, a serialized PHP value each.

use std::collections::BTreeMap;

use super::{File, Selector, Trigger, Want};

/// Keeps a JSON object with `name`, `channel`, `version`, `license`, as far as they are stated.
pub struct Pear;

const MAX: u64 = 4 << 20;
/// Arrays in arrays in …
const MAX_DEPTH: usize = 16;
const MAX_TEXT: usize = 512;

/// Where in the value the texts of interest are, keys from the outside joined by dots.
const PATHS: &[(&str, &str)] = &[
    ("name", "name"),
    ("package", "name"), // PEAR 1.0
    ("channel", "channel"),
    ("version.release", "version"),
    ("version", "version"), // PEAR 1.0
    ("license._content", "license"),
    ("license", "license"),
];

impl Selector for Pear {
    fn name(&self) -> &'static str {
        "pear"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("reg")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.path.split('/').any(|part| part == ".registry") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader { rest: bytes, path: Vec::new(), kept: BTreeMap::new() };
        // What was found before something unknown still holds.
        let _ = reader.value();
        (reader.kept.contains_key("name") && reader.kept.contains_key("version"))
            .then(|| serde_json::to_vec(&reader.kept).ok())?
    }
}

/// PHP's serialization format: `s:3:"abc";`, `i:1;`, `a:2:{key value key value}` and the like.
struct Reader<'a> {
    rest: &'a [u8],
    path: Vec<&'a str>,
    kept: BTreeMap<&'static str, String>,
}

impl<'a> Reader<'a> {
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().take(64).position(|byte| *byte == end)?;
        let (text, rest) = self.rest.split_at_checked(at)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length: usize = std::str::from_utf8(self.until(b':')?).ok()?.parse().ok()?;
        let text = self.rest.strip_prefix(b"\"")?.get(..length)?;
        self.rest = self.rest.get(length + 1..)?.strip_prefix(b"\";")?;
        Some(text)
    }

    /// A text or number, as text; other values are passed over.
    fn value(&mut self) -> Option<&'a [u8]> {
        let kind = *self.rest.first()?;
        self.rest = self.rest.get(1..)?;
        if kind == b'N' {
            self.rest = self.rest.strip_prefix(b";")?;
            return Some(&[]);
        }
        self.rest = self.rest.strip_prefix(b":")?;
        match kind {
            b's' => self.text(),
            b'i' | b'b' | b'd' => self.until(b';'),
            b'a' => {
                let count: usize = std::str::from_utf8(self.until(b':')?).ok()?.parse().ok()?;
                self.rest = self.rest.strip_prefix(b"{")?;
                if self.path.len() >= MAX_DEPTH {
                    return None;
                }
                // Each round takes bytes, or ends: the count needs no bound.
                for _ in 0..count {
                    let key = std::str::from_utf8(self.value()?).ok()?;
                    self.path.push(key);
                    let value = self.value();
                    self.keep(value?);
                    self.path.pop();
                }
                self.rest = self.rest.strip_prefix(b"}")?;
                Some(&[])
            }
            _ => None,
        }
    }

    fn keep(&mut self, value: &[u8]) {
        if value.is_empty() || value.len() > MAX_TEXT || self.path.len() > 2 {
            return;
        }
        let path = self.path.join(".");
        if let Some((_, field)) = PATHS.iter().find(|(known, _)| *known == path)
            && let Ok(text) = std::str::from_utf8(value)
        {
            self.kept.entry(field).or_insert_with(|| text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REG: &str = r#"a:6:{s:4:"name";s:4:"Mail";s:7:"channel";s:12:"pear.php.net";s:4:"lead";a:1:{i:0;a:1:{s:4:"name";s:1:"x";}}s:7:"version";a:2:{s:7:"release";s:5:"1.6.0";s:3:"api";s:5:"1.3.0";}s:7:"license";a:2:{s:7:"attribs";N;s:8:"_content";s:12:"BSD-3-Clause";}s:5:"dirty";b:0;}"#;

    fn reduce(bytes: &[u8]) -> Option<String> {
        let file = File { path: "usr/share/php/.registry/mail.reg", size: bytes.len() as u64, mode: 0o644 };
        assert_ne!(Pear.wants(&file), Want::No);
        Pear.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn keeps_identities() {
        assert_eq!(
            reduce(REG.as_bytes()).as_deref(),
            Some(r#"{"channel":"pear.php.net","license":"BSD-3-Clause","name":"Mail","version":"1.6.0"}"#)
        );
        assert_eq!(reduce(br#"a:1:{s:4:"name";s:4:"Mail";}"#), None);
        assert_eq!(reduce(&[b"a:1:{i:0;".repeat(1_000), b"N;".to_vec()].concat()), None);
        assert_eq!(reduce(b"a:18446744073709551615:{"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at in 0..REG.len(), byte: u8, noise in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = REG.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = reduce(&bytes);
            let _ = reduce(&noise);
        }
    }
}
