//! Python distributions as installed: core metadata (packaging.python.org, "Core metadata specifications").

use super::{File, Selector, Trigger, Want};

/// Keeps the header fields of metadata, without the description that follows the first empty line.
pub struct Python;

const HEADER_MAX: u64 = 1 << 20;
const URL_MAX: u64 = 64 << 10;

impl Selector for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Name("METADATA"),
                Trigger::Name("PKG-INFO"),
                Trigger::Name("direct_url.json"),
                Trigger::Extension("egg-info"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let below = |suffix: &str| ends_with_ignore_case(file.parent(), suffix);
        match file.name() {
            "METADATA" if below("dist-info") => Want::Head { max: HEADER_MAX },
            "PKG-INFO" if below("egg-info") => Want::Head { max: HEADER_MAX },
            "direct_url.json" if below(".dist-info") => Want::Whole { max: URL_MAX },
            name if name.ends_with(".egg-info") => Want::Head { max: HEADER_MAX },
            _ => Want::No,
        }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        if file.name() == "direct_url.json" {
            return Some(bytes.to_vec());
        }
        let mut end = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                break;
            }
            end += line.len();
        }
        bytes.get(..end).filter(|header| !header.is_empty()).map(<[u8]>::to_vec)
    }
}

fn ends_with_ignore_case(text: &str, suffix: &str) -> bool {
    text.len()
        .checked_sub(suffix.len())
        .and_then(|start| text.as_bytes().get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_header() {
        let file = File { path: "x/a-1.dist-info/METADATA", size: 1, mode: 0o644 };
        let keep =
            |text: &str| Python.reduce(&file, text.as_bytes()).map(|kept| String::from_utf8(kept).unwrap());
        assert_eq!(keep("Name: a\nVersion: 1\n\nlong").as_deref(), Some("Name: a\nVersion: 1\n"));
        assert_eq!(keep("Name: a\r\nVersion: 1\r\n\r\nlong").as_deref(), Some("Name: a\r\nVersion: 1\r\n"));
        assert_eq!(keep("Name: a").as_deref(), Some("Name: a"));
        assert_eq!(keep("\nName: a"), None);
    }

    #[test]
    fn wants_metadata_in_its_directories_only() {
        for (path, wanted) in [
            ("x/a-1.dist-info/METADATA", true),
            ("x/a-1.DIST-INFO/METADATA", true),
            ("x/a-1.egg/EGG-INFO/PKG-INFO", true),
            ("x/a.egg-info/PKG-INFO", true),
            ("x/a.egg-info", true),
            ("x/PKG-INFO", false),
            ("METADATA", false),
            ("x/direct_url.json", false),
            ("x/a-1.dist-info/direct_url.json", true),
        ] {
            assert_eq!(Python.wants(&File { path, size: 1, mode: 0o644 }) != Want::No, wanted, "{path}");
        }
    }
}
