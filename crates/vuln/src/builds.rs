//! What the version of an RPM build says of how it was built.

/// Builds of one package that have advisories of their own: a fix in one says nothing of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    #[default]
    Ordinary,
    /// Part of a module (`.module+el8…`, `.module_el8…`).
    Module,
    /// Oracle's live-patched user space (`.ksplice1.`).
    Ksplice,
    /// Oracle's validated cryptography (`_fips`).
    Fips,
}

impl Flavour {
    pub(crate) const ALL: [Self; 4] = [Self::Ordinary, Self::Module, Self::Ksplice, Self::Fips];

    /// The flavour of a version with its release.
    pub fn of(version: &str) -> Self {
        if version.contains(".module") {
            Self::Module
        } else if version.contains(".ksplice") {
            Self::Ksplice
        } else if version.contains("_fips") {
            Self::Fips
        } else {
            Self::Ordinary
        }
    }
}

/// The minor release of Red Hat Enterprise Linux that a build is for: `7.76.1-23.el9_2.4` is for `9.2`. A build without
/// one (`.el9`) was made when the next major release was, or between minor ones.
pub fn minor(version: &str) -> Option<String> {
    version.match_indices("el").find_map(|(at, tag)| {
        let before = version.get(..at)?.chars().next_back()?;
        let (major, rest) = version.get(at + tag.len()..)?.split_once('_')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let minor = rest.get(..end)?;
        let number =
            |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        (matches!(before, '.' | '+') && number(major) && number(minor)).then(|| format!("{major}.{minor}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dist_tags() {
        for (version, expected) in [
            ("7.76.1-23.el9_2.4", Some("9.2")),
            ("1:2.4.6-99.el7_9.1", Some("7.9")),
            ("7.76.1-23.el9", None),
            ("1.0-1.module_el8.5.0+1", None),
            ("1.0-1.fc40", None),
            ("kernel_1", None),
        ] {
            assert_eq!(minor(version).as_deref(), expected, "{version}");
        }
        assert_eq!(Flavour::of("16.1-3.module+el8.7.0+17465+1a1abd74"), Flavour::Module);
        assert_eq!(Flavour::of("2:2.28-189.ksplice1.el8"), Flavour::Ksplice);
        assert_eq!(Flavour::of("10:3.6.16-4.0.1.el8_fips"), Flavour::Fips);
        assert_eq!(Flavour::of("3.6.16-4.el8"), Flavour::Ordinary);
    }
}
