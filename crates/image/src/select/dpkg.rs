//! Debian's package database: `status`, and `status.d` of distroless and chisel images.

use super::{File, Selector, Trigger, Want};

/// Keeps the fields that identify, relate and attribute a package.
pub struct Dpkg;

const MAX: u64 = 64 << 20;

/// Fields that are kept, in whatever order the stanza has them (deb-control(5): names ignore case).
pub const FIELDS: &[&str] = &[
    "Package",
    "Status",
    "Version",
    "Source",
    "Architecture",
    "Maintainer",
    "Depends",
    "Pre-Depends",
    "Provides",
    "Multi-Arch",
    "Essential",
    "Homepage",
];

impl Selector for Dpkg {
    fn name(&self) -> &'static str {
        "dpkg"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("status"), Trigger::Parent("status.d")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let part = file.parent() == "status.d"
            && file.path.strip_suffix(file.name()).is_some_and(|directory| {
                let path = directory.trim_end_matches('/');
                File { path, ..*file }.is("lib/dpkg/status.d")
            })
            && !file.path.ends_with(".md5sums")
            && !file.path.ends_with(".list");
        if part || file.is("lib/dpkg/status") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let kept = reduce(bytes);
        (!kept.is_empty()).then_some(kept)
    }
}

/// The stanzas with the fields in [`FIELDS`].
pub(super) fn reduce(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len() / 3);
    let mut in_field = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let body = line.trim_ascii_end();
        let continues = line.first().is_some_and(|first| matches!(first, b' ' | b'\t')) && !body.is_empty();
        if body.is_empty() {
            in_field = false;
            if !kept.is_empty() && !kept.ends_with(b"\n\n") {
                kept.push(b'\n');
            }
            continue;
        }
        if !continues {
            let name = body.split(|byte| *byte == b':').next().unwrap_or(&[]);
            in_field = FIELDS.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name));
        }
        if in_field {
            kept.extend_from_slice(body);
            kept.push(b'\n');
        }
    }
    while kept.ends_with(b"\n\n") {
        kept.pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_fields_and_stanzas() {
        let text = b"Package: a\nStatus: install ok installed\nPriority: optional\nConffiles:\n /etc/a 0123\nDepends: b,\n c (>= 1)\nversion: 1\nDescription: x\n long\n .\n more\n\n\nPackage: b\r\nVersion: 2";
        let expected = "Package: a\nStatus: install ok installed\nDepends: b,\n c (>= 1)\nversion: 1\n\nPackage: b\nVersion: 2\n";
        assert_eq!(String::from_utf8(reduce(text)).unwrap(), expected);
        assert_eq!(reduce(expected.as_bytes()), expected.as_bytes());
        assert!(reduce(b"\n\n").is_empty());
    }

    #[test]
    fn wants_only_package_databases() {
        for (path, wanted) in [
            ("var/lib/dpkg/status", true),
            ("opt/root/var/lib/dpkg/status", true),
            ("var/lib/dpkg/status-old", false),
            ("proc/status", false),
            ("var/lib/dpkg/status.d/libc6", true),
            ("var/lib/dpkg/status.d/libc6.md5sums", false),
            ("other/status.d/libc6", false),
        ] {
            let want = Dpkg.wants(&File { path, size: 1, mode: 0o644 });
            assert_eq!(want != Want::No, wanted, "{path}");
        }
    }
}
