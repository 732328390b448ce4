//! Paths as a layer's reader places them inside the root.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A cleaned path and what was strange about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cleaned<'a> {
    /// Relative, `/`-separated, without `.`, `..` or empty parts; empty for the root.
    pub(super) path: Cow<'a, str>,
    /// Codes of anomalies: `absolute_path`, `path_escapes_root`, `path_not_utf8`.
    pub(super) oddities: Oddities,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oddities {
    pub(super) absolute: bool,
    pub(super) escapes: bool,
    pub(super) not_utf8: bool,
}

impl Oddities {
    pub(super) fn codes(self) -> impl Iterator<Item = &'static str> {
        [
            (self.absolute, "absolute_path"),
            (self.escapes, "path_escapes_root"),
            (self.not_utf8, "path_not_utf8"),
        ]
        .into_iter()
        .filter_map(|(set, code)| set.then_some(code))
    }
}

/// Cleans a path lexically and clamps it at the root, as containerd does.
pub(super) fn clean(raw: &[u8]) -> Cleaned<'_> {
    let mut oddities = Oddities::default();
    let text = text(raw);
    oddities.not_utf8 = matches!(text, Cow::Owned(_));
    let trimmed = |text: &str| {
        let start = if text.starts_with("./") { 2 } else { 0 };
        let end = if text.len() > start && text.ends_with('/') { text.len() - 1 } else { text.len() };
        (start, end)
    };
    let (start, end) = trimmed(&text);
    if is_clean(text.get(start..end).unwrap_or("").as_bytes()) {
        let path = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(start..end).unwrap_or("")),
            Cow::Owned(text) => Cow::Owned(text.get(start..end).unwrap_or("").to_owned()),
        };
        return Cleaned { path, oddities };
    }
    oddities.absolute = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => oddities.escapes |= parts.pop().is_none(),
            part => parts.push(part),
        }
    }
    Cleaned { path: Cow::Owned(parts.join("/")), oddities }
}

/// Bytes as text. Bytes that are not UTF-8 become U+FFFD and two hexadecimal digits, so that different names
/// stay different.
pub(super) fn text(raw: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(raw) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(raw.len() + 16);
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\u{fffd}{byte:02x}");
        }
    }
    Cow::Owned(text)
}

/// No empty, `.` or `..` part.
fn is_clean(path: &[u8]) -> bool {
    let mut part = 0_usize;
    let mut dots = 0_usize;
    for byte in path {
        match byte {
            b'/' => {
                if part == dots && part < 3 {
                    return false;
                }
                (part, dots) = (0, 0);
            }
            b'.' => (part, dots) = (part + 1, dots + 1),
            _ => part += 1,
        }
    }
    part != dots || part > 2
}

/// What a name says beyond itself (OCI image specification, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    None,
    /// `.wh.NAME`: the path that it hides.
    Whiteout(String),
    /// `.wh..wh..opq`: the directory.
    Opaque(&'a str),
    /// Other `.wh..wh.` names are aufs's own; nothing of the image.
    Aufs,
    /// A whiteout of nothing, of `.` or of `..`.
    Invalid,
}

/// Looks for a whiteout in a cleaned path.
pub(super) fn mark(path: &str) -> Mark<'_> {
    if path.starts_with(".wh..wh.") && path != ".wh..wh..opq" {
        return Mark::Aufs;
    }
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(hidden) = name.strip_prefix(".wh.") else { return Mark::None };
    match hidden {
        ".wh..opq" => Mark::Opaque(directory),
        _ if hidden.starts_with(".wh.") => Mark::Aufs,
        "" | "." | ".." => Mark::Invalid,
        _ if directory.is_empty() => Mark::Whiteout(hidden.to_owned()),
        _ => Mark::Whiteout(format!("{directory}/{hidden}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_inside_the_root() {
        for (raw, path, codes) in [
            (&b"usr/lib/x"[..], "usr/lib/x", &[][..]),
            (b"./usr/lib/", "usr/lib", &[]),
            (b"./", "", &[]),
            (b".", "", &[]),
            (b"", "", &[]),
            (b"/", "", &["absolute_path"]),
            (b"/etc/passwd", "etc/passwd", &["absolute_path"]),
            (b"a//b/./c", "a/b/c", &[]),
            (b"a/../../b", "b", &["path_escapes_root"]),
            (b"../../etc/shadow", "etc/shadow", &["path_escapes_root"]),
            (b"a/b/..", "a", &[]),
            (b"...", "...", &[]),
            (b"a/.../b", "a/.../b", &[]),
            (b".hidden/..data", ".hidden/..data", &[]),
            (b"a/\xff\xfe", "a/\u{fffd}ff\u{fffd}fe", &["path_not_utf8"]),
            (b"././a", "a", &[]),
            (b"a//", "a", &[]),
        ] {
            let cleaned = clean(raw);
            assert_eq!(cleaned.path, path, "{raw:?}");
            assert_eq!(cleaned.oddities.codes().collect::<Vec<_>>(), codes, "{raw:?}");
        }
    }

    #[test]
    fn knows_whiteouts() {
        assert_eq!(mark("a/.wh.b"), Mark::Whiteout("a/b".to_owned()));
        assert_eq!(mark(".wh.b"), Mark::Whiteout("b".to_owned()));
        assert_eq!(mark("a/.wh..wh..opq"), Mark::Opaque("a"));
        assert_eq!(mark(".wh..wh..opq"), Mark::Opaque(""));
        assert_eq!(mark(".wh..wh.plnk/1.2"), Mark::Aufs);
        assert_eq!(mark("a/.wh..wh.aufs"), Mark::Aufs);
        for invalid in ["a/.wh.", "a/.wh..", "a/.wh..."] {
            assert_eq!(mark(invalid), Mark::Invalid, "{invalid}");
        }
        assert_eq!(mark("a/b.wh.c"), Mark::None);
    }
}
