//! Which files a dpkg package owns, as far as another selector could find a package in them, or the scanner for secrets
//! a private key.

use super::{File, SELECTORS, Selector, Table, Trigger, Want};
use std::sync::LazyLock;

/// Keeps relative paths, one a line, in the order of the list.
pub struct DpkgFiles;

const MAX: u64 = 32 << 20;

impl Selector for DpkgFiles {
    fn name(&self) -> &'static str {
        "dpkg-files"
    }

    /// Rises with every selector that is added: what matters to it is kept here.
    fn revision(&self) -> u32 {
        7
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("list"), Trigger::Extension("md5sums")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let Some((directory, name)) = file.path.rsplit_once('/') else { return Want::No };
        let directory = File { path: directory, ..*file };
        let list = name.ends_with(".list") && directory.is("lib/dpkg/info");
        let sums = name.ends_with(".md5sums") && directory.is("lib/dpkg/status.d");
        if list || sums { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let sums = file.path.ends_with(".md5sums");
        let mut kept = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            // md5sums: 32 digits, blanks, a path; list: an absolute path
            let path = if sums { line.get(32..).unwrap_or(&[]).trim_ascii() } else { line.trim_ascii_end() };
            let path = path.strip_prefix(b"./").unwrap_or(path);
            let path = path.strip_prefix(b"/").unwrap_or(path);
            let Ok(path) = std::str::from_utf8(path) else { continue };
            if !path.is_empty() && matters(path) {
                kept.extend_from_slice(path.as_bytes());
                kept.push(b'\n');
            }
        }
        (!kept.is_empty()).then_some(kept)
    }
}

/// Selectors whose packages a distribution's package may own.
static OTHERS: LazyLock<Table> = LazyLock::new(|| {
    let others: Vec<&'static dyn Selector> =
        SELECTORS.iter().copied().filter(|selector| !selector.name().starts_with("dpkg")).collect();
    Table::new(&others)
});

pub(super) fn matters(path: &str) -> bool {
    let mut wanted = false;
    OTHERS.by_path(&File { path, size: 1, mode: 0o644 }, |_, _| wanted = true);
    wanted || may_be_executable(path) || may_be_key(path)
}

/// Names that private keys have: those that a package ships are nobody's secret.
fn may_be_key(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("pem" | "key" | "p8" | "asc" | "ppk"))
        || name.starts_with("id_")
        || name.ends_with("_key")
}

/// Programs and shared libraries have no extension, or one of a few; the rest below `lib` is data.
fn may_be_executable(path: &str) -> bool {
    let Some((directory, name)) = path.rsplit_once('/') else { return false };
    let mut below_lib = false;
    for part in directory.split('/') {
        match part {
            "bin" | "sbin" => return true,
            "doc" | "man" | "locale" => return false,
            _ => below_lib |= part.starts_with("lib"),
        }
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    below_lib
        && (matches!(extension, None | Some("so" | "node" | "exe" | "dll" | "bin" | "elf"))
            || name.contains(".so."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_another_selector_could_find() {
        let list = b"/.\n/usr\n/usr/bin/foo\n/usr/lib/x/libfoo.so.1.2\n/usr/lib/x/data.txt\n/usr/share/doc/foo/copyright\n/usr/lib/python3/dist-packages/Foo-1.egg-info\n/usr/share/nodejs/foo/package.json\n/usr/libexec/helper\n/usr/share/foo/test.pem\n";
        let file = File { path: "var/lib/dpkg/info/foo.list", size: 1, mode: 0o644 };
        let kept = DpkgFiles.reduce(&file, list).unwrap();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "usr/bin/foo\nusr/lib/x/libfoo.so.1.2\nusr/lib/python3/dist-packages/Foo-1.egg-info\nusr/share/nodejs/foo/package.json\nusr/libexec/helper\nusr/share/foo/test.pem\n"
        );
        let sums = b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/foo\nd41d8cd98f00b204e9800998ecf8427e  usr/share/x\nshort\n";
        let file = File { path: "var/lib/dpkg/status.d/foo.md5sums", ..file };
        assert_eq!(DpkgFiles.reduce(&file, sums).unwrap(), b"usr/bin/foo\n");
        assert_eq!(DpkgFiles.reduce(&file, b""), None);
    }
}
