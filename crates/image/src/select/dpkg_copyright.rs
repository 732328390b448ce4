//! Licences of Debian packages: machine-readable `usr/share/doc/PACKAGE/copyright` (Debian's "Machine-readable
//! debian/copyright file", DEP 5).

use std::collections::BTreeSet;

use super::{File, Selector, Trigger, Want};

/// Keeps the licences that files are under, as the package calls them, one a line, sorted.
pub struct DpkgCopyright;

const MAX: u64 = 4 << 20;
/// Longer statements are prose.
const MAX_STATEMENT: usize = 200;

impl Selector for DpkgCopyright {
    fn name(&self) -> &'static str {
        "dpkg-copyright"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("copyright")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let below = file.path.strip_prefix("usr/share/doc/");
        let here = below.is_some_and(|rest| rest.split('/').count() == 2);
        if here { Want::WholeIfFits { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(bytes);
        // The header names the format; other files are prose.
        let header = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let (name, format) = header.split_once(':')?;
        if !(name.eq_ignore_ascii_case("Format") || name.eq_ignore_ascii_case("Format-Specification"))
            || !format.to_ascii_lowercase().contains("copyright-format") && !format.contains("dep")
        {
            return None;
        }
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        let (mut files, mut license) = (false, None);
        // A paragraph with `Files` says what those are under; one with `License` alone gives a licence's text.
        for line in text.lines().chain([""]) {
            if line.trim().is_empty() {
                if let Some(license) = license.take().filter(|_| files) {
                    kept.insert(license);
                }
                files = false;
                continue;
            }
            let Some((field, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) else {
                continue;
            };
            if field.eq_ignore_ascii_case("Files") {
                files = true;
            } else if field.eq_ignore_ascii_case("License") {
                license =
                    Some(value.trim()).filter(|value| !value.is_empty() && value.len() <= MAX_STATEMENT);
            }
        }
        let mut lines = String::new();
        for license in kept {
            lines.push_str(license);
            lines.push('\n');
        }
        (!lines.is_empty()).then(|| lines.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_files_are_under() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: x\n\nFiles: *\nCopyright: A\nLicense: GPL-3+\n\nFiles:\n a\n b\nLicense: Expat or GPL-2\n The text:\n License: no\n\nLicense: GPL-3+\n This program\n .\n is free\n\nFiles: c\nLicense:\n none\n\nFiles: d\nLicense: Expat or GPL-2";
        let file = File { path: "usr/share/doc/x/copyright", size: 1, mode: 0o644 };
        let keep = |text: &str| {
            DpkgCopyright.reduce(&file, text.as_bytes()).map(|kept| String::from_utf8(kept).unwrap())
        };
        assert_eq!(keep(text).as_deref(), Some("Expat or GPL-2\nGPL-3+\n"));
        assert_eq!(keep(&text.replace('\n', "\r\n")).as_deref(), Some("Expat or GPL-2\nGPL-3+\n"));
        assert_eq!(keep("This package was debianized by\nLicense: GPL\n"), None);
        assert_eq!(keep(""), None);
        for (path, wanted) in [
            ("usr/share/doc/x/copyright", true),
            ("usr/share/doc/x/y/copyright", false),
            ("srv/copyright", false),
        ] {
            assert_eq!(DpkgCopyright.wants(&File { path, ..file }) != Want::No, wanted);
        }
    }
}
