//! The schemes by name, parsed versions, and the dispatch to the modules.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::semver_core::{self, Dialect};
use crate::{
    apk, cran, dart, dpkg, go, hackage, hex, maven, npm, nuget, packagist, pypi, rpm, rubygems, semver,
};

/// The longest version, in bytes; anything longer is refused before it is looked at.
pub const MAX_LENGTH: usize = 1024;

/// How much of a refused version an error keeps, in bytes.
const MAX_QUOTED: usize = 128;

/// An order of versions, by the ecosystem that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// Debian and Ubuntu packages.
    Dpkg,
    /// RPM packages.
    Rpm,
    /// Alpine, Wolfi and Chainguard packages.
    Apk,
    /// Semantic Versioning: crates.io, Swift, Bitnami.
    Semver,
    /// npm packages.
    Npm,
    /// Python packages.
    Pypi,
    /// Maven artifacts.
    Maven,
    /// Ruby gems.
    Rubygems,
    /// Composer packages.
    Packagist,
    /// NuGet packages.
    Nuget,
    /// Go modules and toolchains.
    Go,
    /// Dart and Flutter packages.
    Pub,
    /// Elixir and Erlang packages.
    Hex,
    /// R packages.
    Cran,
    /// Haskell packages.
    Hackage,
}

/// A text that is no version in its scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {scheme} version {version:?}: {reason}")]
pub struct InvalidVersion {
    /// The scheme that refused it.
    pub scheme: Scheme,
    /// The text; only its first 128 bytes where it is longer.
    pub version: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl InvalidVersion {
    /// The stable code of this failure.
    pub fn code(&self) -> &'static str {
        "invalid_version"
    }
}

/// A name that stands for no scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown version scheme {0:?}, expected one of {names}", names = Scheme::names())]
pub struct UnknownScheme(pub String);

impl UnknownScheme {
    /// The stable code of this failure.
    pub fn code(&self) -> &'static str {
        "unknown_scheme"
    }
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Scheme; 15] = [
        Scheme::Dpkg,
        Scheme::Rpm,
        Scheme::Apk,
        Scheme::Semver,
        Scheme::Npm,
        Scheme::Pypi,
        Scheme::Maven,
        Scheme::Rubygems,
        Scheme::Packagist,
        Scheme::Nuget,
        Scheme::Go,
        Scheme::Pub,
        Scheme::Hex,
        Scheme::Cran,
        Scheme::Hackage,
    ];

    /// The scheme's name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Dpkg => "dpkg",
            Scheme::Rpm => "rpm",
            Scheme::Apk => "apk",
            Scheme::Semver => "semver",
            Scheme::Npm => "npm",
            Scheme::Pypi => "pypi",
            Scheme::Maven => "maven",
            Scheme::Rubygems => "rubygems",
            Scheme::Packagist => "packagist",
            Scheme::Nuget => "nuget",
            Scheme::Go => "go",
            Scheme::Pub => "pub",
            Scheme::Hex => "hex",
            Scheme::Cran => "cran",
            Scheme::Hackage => "hackage",
        }
    }

    fn names() -> String {
        Scheme::ALL.map(Scheme::name).join(", ")
    }

    /// Compares two versions.
    ///
    /// White space around a version does not count. Allocates only for PyPI, for Maven where a version is more than
    /// dotted numbers, and for errors.
    ///
    /// # Errors
    ///
    /// The first of the two that is no version in this scheme, is empty, is longer than [`MAX_LENGTH`] bytes, or has
    /// white space or control characters inside.
    pub fn compare(self, a: &str, b: &str) -> Result<Ordering, InvalidVersion> {
        let (a, b) = (self.clean(a)?, self.clean(b)?);
        if self == Scheme::Maven
            && let Some(order) = maven::compare_plain(a, b)
        {
            return Ok(order);
        }
        let parts_a = self.parts(a)?;
        if a == b {
            return Ok(Ordering::Equal);
        }
        let parts_b = self.parts(b)?;
        Ok(self.order(a, &parts_a, b, &parts_b))
    }

    /// Parses a version, to be compared more than once.
    ///
    /// # Errors
    ///
    /// As [`Scheme::compare`].
    pub fn parse(self, text: &str) -> Result<Version, InvalidVersion> {
        let text = self.clean(text)?;
        Ok(Version { scheme: self, parts: self.parts(text)?, text: text.into() })
    }

    /// Checks the limits that hold for every scheme and takes off white space at the ends.
    fn clean(self, text: &str) -> Result<&str, InvalidVersion> {
        if text.len() > MAX_LENGTH {
            return Err(self.invalid(text, "longer than 1024 bytes"));
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(self.invalid(text, "empty"));
        }
        let bad = |b: u8| b <= b' ' || b == 0x7f || !b.is_ascii();
        if text.bytes().any(bad) && text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(self.invalid(text, "white space or control character inside"));
        }
        Ok(text)
    }

    fn invalid(self, text: &str, reason: &'static str) -> InvalidVersion {
        InvalidVersion {
            scheme: self,
            version: text.get(..text.floor_char_boundary(MAX_QUOTED)).unwrap_or("").to_owned(),
            reason,
        }
    }

    fn parts(self, text: &str) -> Result<Parts, InvalidVersion> {
        match self {
            Scheme::Dpkg => dpkg::parse(text).map(Parts::Dpkg),
            Scheme::Rpm => rpm::parse(text).map(Parts::Rpm),
            Scheme::Apk => apk::parse(text).map(|()| Parts::Text),
            Scheme::Pypi => pypi::parse(text).map(Parts::Pypi),
            Scheme::Maven => maven::parse(text).map(Parts::Maven),
            Scheme::Rubygems => rubygems::parse(text).map(Parts::Rubygems),
            Scheme::Packagist => packagist::parse(text).map(Parts::Packagist),
            Scheme::Cran => cran::parse(text).map(|()| Parts::Text),
            Scheme::Hackage => hackage::parse(text).map(|()| Parts::Text),
            Scheme::Go => go::parse(text).map(Parts::Semver),
            Scheme::Semver | Scheme::Npm | Scheme::Nuget | Scheme::Pub | Scheme::Hex => {
                semver_core::parse(text, self.dialect()).map(Parts::Semver)
            }
        }
        .map_err(|reason| self.invalid(text, reason))
    }

    /// The dialect of the schemes that are Semantic Versioning at heart.
    fn dialect(self) -> &'static Dialect {
        match self {
            Scheme::Npm => &npm::DIALECT,
            Scheme::Nuget => &nuget::DIALECT,
            Scheme::Pub => &dart::DIALECT,
            Scheme::Hex => &hex::DIALECT,
            Scheme::Go => &go::DIALECT,
            _ => &semver::DIALECT,
        }
    }

    fn order(self, a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
        match (pa, pb) {
            (Parts::Dpkg(pa), Parts::Dpkg(pb)) => dpkg::compare(a, pa, b, pb),
            (Parts::Rpm(pa), Parts::Rpm(pb)) => rpm::compare(a, pa, b, pb),
            (Parts::Semver(pa), Parts::Semver(pb)) => semver_core::compare(a, pa, b, pb, self.dialect()),
            (Parts::Pypi(pa), Parts::Pypi(pb)) => pypi::compare(pa, pb),
            (Parts::Maven(pa), Parts::Maven(pb)) => maven::compare(a, pa, b, pb),
            (Parts::Rubygems(pa), Parts::Rubygems(pb)) => rubygems::compare(a, pa, b, pb),
            (Parts::Packagist(pa), Parts::Packagist(pb)) => packagist::compare(a, pa, b, pb),
            _ => match self {
                Scheme::Apk => apk::compare(a, b),
                Scheme::Cran => cran::compare(a, b),
                Scheme::Hackage => hackage::compare(a, b),
                // Two versions of one scheme always have parts of one kind.
                _ => a.cmp(b),
            },
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.name() == name)
            .ok_or_else(|| UnknownScheme(name.chars().take(MAX_QUOTED).collect()))
    }
}

/// A parsed version of one scheme.
///
/// `==` and `<` mean the order of the scheme, so that `1.0` equals `1.0.0` where the scheme says so; versions of
/// different schemes are neither equal nor ordered.
#[derive(Clone, Debug)]
pub struct Version {
    scheme: Scheme,
    parts: Parts,
    text: Box<str>,
}

/// What parsing a version found out, beside its text.
#[derive(Clone, Debug)]
enum Parts {
    Dpkg(dpkg::Parts),
    Rpm(rpm::Parts),
    Semver(semver_core::Parts),
    Pypi(pypi::Parts),
    Maven(maven::Parts),
    Rubygems(rubygems::Parts),
    Packagist(packagist::Parts),
    /// The text says it all: apk, CRAN, Hackage.
    Text,
}

impl Version {
    /// The scheme that it was parsed in.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The text that was parsed, without white space around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compares two versions of the same scheme, without allocating; none if the schemes differ.
    pub fn cmp_same(&self, other: &Version) -> Option<Ordering> {
        (self.scheme == other.scheme)
            .then(|| self.scheme.order(&self.text, &self.parts, &other.text, &other.parts))
    }

    /// Compares this version with a text, which is parsed in this version's scheme.
    ///
    /// # Errors
    ///
    /// As [`Scheme::compare`], for `other`.
    pub fn cmp_str(&self, other: &str) -> Result<Ordering, InvalidVersion> {
        let other = self.scheme.clean(other)?;
        if *self.text == *other {
            return Ok(Ordering::Equal);
        }
        let parts = self.scheme.parts(other)?;
        Ok(self.scheme.order(&self.text, &self.parts, other, &parts))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp_same(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        self.cmp_same(other)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
