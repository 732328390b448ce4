//! `os-release(5)`: which distribution an image is.

use plimsoll_model::sbom::Distribution;

use crate::identity;
use crate::merge::Merged;

/// The paths of os-release, in the order in which they count (os-release(5)).
const PATHS: &[&str] = &["etc/os-release", "usr/lib/os-release"];

/// The distribution that the visible os-release names.
pub(crate) fn distribution(merged: &Merged<'_>) -> Option<Distribution> {
    let mut files: Vec<_> =
        merged.files.iter().filter(|file| file.selected.selector == "os-release").collect();
    files.sort_by_key(|file| PATHS.iter().position(|path| *path == file.path).unwrap_or(PATHS.len()));
    files.iter().find_map(|file| parse(&String::from_utf8_lossy(&file.selected.bytes)))
}

/// Reads os-release; `None` without an `ID`.
///
/// Debian's testing and unstable state no `VERSION_ID`: their codename's number stands in.
pub(crate) fn parse(text: &str) -> Option<Distribution> {
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| unquote(value))
            .next_back()
            .unwrap_or_default()
    };
    let id = value("ID").to_lowercase();
    if id.is_empty() {
        return None;
    }
    let codename = value("VERSION_CODENAME");
    let mut version = value("VERSION_ID");
    if version.is_empty() && id == "debian" {
        version = identity::debian_version(&codename).unwrap_or("").to_owned();
    }
    Some(Distribution {
        release: identity::canonical(&id, &version),
        codename,
        pretty_name: value("PRETTY_NAME"),
        like: value("ID_LIKE").split_whitespace().map(str::to_owned).collect(),
    })
}

/// A value as a shell would read it: quotes off, `\` escapes `"$`\` and itself.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote).map(|rest| rest.strip_suffix(quote).unwrap_or(rest));
    let (inner, escapes) = match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => (inner, true),
        (_, Some(inner)) => (inner, false),
        _ => (value, true),
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if escapes => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                "debian:12",
            ),
            ("ID=debian\nVERSION_CODENAME=trixie\n", "debian:13"),
            ("ID=alpine\nVERSION_ID=3.19.1\n", "alpine:3.19.1"),
            ("ID='wolfi'\nVERSION_ID=\"20230201\"", "wolfi:20230201"),
            ("ID=arch\n", "arch"),
            ("# comment\nID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.2\"", "rhel:9.2"),
        ];
        for (text, release) in cases {
            assert_eq!(parse(text).unwrap().release.to_string(), release);
        }
        assert_eq!(
            parse("ID=rocky\nID_LIKE=\"rhel centos fedora\"").unwrap().like,
            ["rhel", "centos", "fedora"]
        );
        assert_eq!(parse("ID=x\nPRETTY_NAME=\"a \\\"b\\\"\"").unwrap().pretty_name, "a \"b\"");
        assert!(parse("NAME=x").is_none());
    }
}
