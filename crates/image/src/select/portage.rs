//! Portage's database of installed packages: `var/db/pkg/CATEGORY/NAME-VERSION/CONTENTS` and `LICENSE` (Gentoo).

use super::dpkg_files::matters;
use super::{File, Selector, Trigger, Want};

/// Keeps of `CONTENTS` the relative paths that matter to other selectors, one a line, if only none; `LICENSE` whole.
pub struct Portage;

const MAX: u64 = 16 << 20;
const MAX_LICENSE: u64 = 64 << 10;

impl Selector for Portage {
    fn name(&self) -> &'static str {
        "portage"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("CONTENTS"), Trigger::Name("LICENSE")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let mut parts = file.path.rsplitn(4, '/').skip(3);
        let here = parts.next().is_some_and(|path| File { path, ..*file }.is("var/db/pkg"));
        match file.name() {
            "CONTENTS" if here => Want::Whole { max: MAX },
            "LICENSE" if here => Want::Whole { max: MAX_LICENSE },
            _ => Want::No,
        }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        if file.name() == "LICENSE" {
            return Some(bytes.to_vec());
        }
        let mut kept = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            // `obj /path md5 mtime`: the path may hold blanks.
            let Some(line) = line.strip_prefix(b"obj /") else { continue };
            let mut words = line.rsplitn(3, |byte| *byte == b' ').skip(2);
            let Some(path) = words.next().and_then(|path| std::str::from_utf8(path).ok()) else { continue };
            if matters(path) {
                kept.extend_from_slice(path.as_bytes());
                kept.push(b'\n');
            }
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_files_that_matter() {
        let file = File { path: "var/db/pkg/dev-libs/openssl-3.3.2-r1/CONTENTS", size: 1, mode: 0o644 };
        assert_ne!(Portage.wants(&file), Want::No);
        assert_ne!(Portage.wants(&File { path: "var/db/pkg/a/b-1/LICENSE", ..file }), Want::No);
        for path in ["srv/LICENSE", "CONTENTS", "var/db/pkg/CONTENTS", "x/var/db/package/a/b/CONTENTS"] {
            assert_eq!(Portage.wants(&File { path, ..file }), Want::No, "{path}");
        }
        let contents = b"dir /usr\nobj /usr/bin/openssl d41d8c 1700000000\nobj /usr/share/a b d41d8c 17\nsym /usr/lib/x -> y 17\nobj /usr/lib/python3/a b-1.egg-info d4 17\nobj\n";
        assert_eq!(
            Portage.reduce(&file, contents).unwrap(),
            b"usr/bin/openssl\nusr/lib/python3/a b-1.egg-info\n"
        );
    }
}
