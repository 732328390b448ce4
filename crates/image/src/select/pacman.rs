//! pacman's local database: `var/lib/pacman/local/NAME-VERSION/desc` and the `files` beside it.

use super::dpkg_files::matters;
use super::{File, Selector, Trigger, Want};

/// Keeps the sections of `desc` in [`SECTIONS`]; of `files` the relative paths that matter to other selectors.
pub struct Pacman;

const MAX: u64 = 16 << 20;

/// Sections that are kept.
pub const SECTIONS: &[&str] =
    &["%NAME%", "%VERSION%", "%BASE%", "%ARCH%", "%PACKAGER%", "%LICENSE%", "%DEPENDS%", "%PROVIDES%"];

impl Selector for Pacman {
    fn name(&self) -> &'static str {
        "pacman"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("desc"), Trigger::Name("files")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let package = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let database = package.rsplit_once('/').map_or("", |(directory, _)| directory);
        let here = File { path: database, ..*file }.is("var/lib/pacman/local");
        if here { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::new();
        let mut section: &[u8] = b"";
        for line in bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.starts_with(b"%") && line.ends_with(b"%") && line.len() > 2 {
                section = line;
            }
            let wanted = if file.name() == "files" {
                section == b"%FILES%" && !line.ends_with(b"/") && std::str::from_utf8(line).is_ok_and(matters)
            } else {
                SECTIONS.iter().any(|known| known.as_bytes() == section)
            };
            if wanted && !line.is_empty() {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        (!kept.is_empty()).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_sections_and_files_that_matter() {
        let file = File { path: "var/lib/pacman/local/bash-5.2-1/desc", size: 1, mode: 0o644 };
        assert_ne!(Pacman.wants(&file), Want::No);
        assert_eq!(Pacman.wants(&File { path: "srv/desc", ..file }), Want::No);
        let desc =
            b"%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%DESC%\nThe shell\n\n%DEPENDS%\nreadline>=7\nglibc\n";
        assert_eq!(
            Pacman.reduce(&file, desc).unwrap(),
            b"%NAME%\nbash\n%VERSION%\n5.2-1\n%DEPENDS%\nreadline>=7\nglibc\n"
        );
        let files = File { path: "var/lib/pacman/local/bash-5.2-1/files", ..file };
        let list = b"%FILES%\nusr/\nusr/bin/\nusr/bin/bash\nusr/share/x\n\n%BACKUP%\nusr/bin/y\n";
        assert_eq!(Pacman.reduce(&files, list).unwrap(), b"usr/bin/bash\n");
    }
}
