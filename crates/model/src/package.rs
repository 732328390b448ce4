//! Package identities: ecosystem, distribution release, name, version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! ecosystems {
    ($($variant:ident $purl:literal),* $(,)?) => {
        /// A package ecosystem, named by its purl type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Ecosystem { $($variant),* }

        impl Ecosystem {
            /// Every ecosystem, in declaration order.
            pub const ALL: &'static [Ecosystem] = &[$(Ecosystem::$variant),*];

            /// The purl type (<https://github.com/package-url/purl-spec>).
            pub fn purl_type(self) -> &'static str {
                match self { $(Ecosystem::$variant => $purl),* }
            }
        }

        impl FromStr for Ecosystem {
            type Err = UnknownEcosystem;
            fn from_str(text: &str) -> Result<Self, UnknownEcosystem> {
                match text {
                    $($purl => Ok(Ecosystem::$variant),)*
                    _ => Err(UnknownEcosystem(text.chars().take(64).collect())),
                }
            }
        }
    };
}

ecosystems! {
    Deb "deb", Apk "apk", Rpm "rpm", Alpm "alpm", Opkg "opkg", Npm "npm", Pypi "pypi", Golang "golang", Maven "maven",
    Cargo "cargo", Gem "gem", Composer "composer", Nuget "nuget", Pub "pub", Hex "hex", Swift "swift", Conan "conan",
    Conda "conda", Bitnami "bitnami", Github "github", Generic "generic", Ebuild "ebuild", Cran "cran", Luarocks "luarocks",
    Hackage "hackage", Opam "opam", Cpan "cpan", Cocoapods "cocoapods", Otp "otp", Pear "pear", Pecl "pecl", Nix "nix",
    Brew "brew", Snap "snap", Wordpress "wordpress-plugin", Terraform "terraform", Julia "julia",
}

/// A purl type that Plimsoll does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown package type {0:?}")]
pub struct UnknownEcosystem(pub String);

impl Ecosystem {
    /// True where packages belong to a release of a distribution.
    pub fn is_distribution(self) -> bool {
        matches!(self, Self::Deb | Self::Apk | Self::Rpm | Self::Alpm | Self::Opkg)
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.purl_type())
    }
}

impl TryFrom<String> for Ecosystem {
    type Error = UnknownEcosystem;
    fn try_from(text: String) -> Result<Self, UnknownEcosystem> {
        text.parse()
    }
}

impl From<Ecosystem> for String {
    fn from(ecosystem: Ecosystem) -> Self {
        ecosystem.purl_type().to_owned()
    }
}

/// A distribution release as os-release names it: `ID` and `VERSION_ID`, e.g. `debian` `12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    pub id: String,
    /// Empty for rolling distributions.
    pub version: String,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.version.is_empty() {
            f.write_str(&self.id)
        } else {
            write!(f, "{}:{}", self.id, self.version)
        }
    }
}

/// A package without its version: what a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageKey {
    pub ecosystem: Ecosystem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The name as the ecosystem normalises it (PEP 503 for Python, `@scope/name`, `group:artifact`, Go module path).
    pub name: String,
}

impl fmt::Display for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ecosystem)?;
        if let Some(release) = &self.release {
            write!(f, ":{release}")?;
        }
        write!(f, "/{}", self.name)
    }
}

/// All that matching reads of a component. Equal keys have equal matches in one Db.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentKey {
    pub package: PackageKey,
    pub version: String,
    /// Source package and its version, where the ecosystem has them (dpkg, rpm, apk origin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePackage>,
    /// Architecture of a distribution package; empty elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Module and stream that an RPM package was built for (`nodejs:18`); empty for all others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stream: String,
}

/// The source package that a distribution package was built from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourcePackage {
    pub name: String,
    pub version: String,
}

impl ComponentKey {
    /// The stable text of this key: fields percent-encoded, joined by `|`, a stream only where there is one. Its order is
    /// no version order.
    pub fn id(&self) -> String {
        let mut text = String::with_capacity(96);
        self.write_id(&mut text);
        text
    }

    /// Replaces `text` by [`ComponentKey::id`], for those who need many of them for a moment each.
    pub fn write_id(&self, text: &mut String) {
        let source = self.source.as_ref();
        let release = self.package.release.as_ref();
        let fields = [
            self.package.ecosystem.purl_type(),
            release.map_or("", |r| r.id.as_str()),
            release.map_or("", |r| r.version.as_str()),
            &self.package.name,
            &self.version,
            source.map_or("", |s| s.name.as_str()),
            source.map_or("", |s| s.version.as_str()),
            &self.arch,
            &self.stream,
        ];
        let fields = fields
            .split_last()
            .map_or(&fields[..], |(last, rest)| if last.is_empty() { rest } else { &fields });
        text.clear();
        for (n, field) in fields.iter().enumerate() {
            if n > 0 {
                text.push('|');
            }
            if field.bytes().any(|c| matches!(c, b'|' | b'%')) {
                text.push_str(&field.replace('%', "%25").replace('|', "%7C"));
            } else {
                text.push_str(field);
            }
        }
    }

    /// Reads [`ComponentKey::id`] back.
    pub fn from_id(id: &str) -> Option<Self> {
        let mut fields = id.split('|').map(|field| field.replace("%7C", "|").replace("%25", "%"));
        let ecosystem = fields.next()?.parse().ok()?;
        let (release_id, release_version) = (fields.next()?, fields.next()?);
        let (name, version) = (fields.next()?, fields.next()?);
        let (source_name, source_version, arch) = (fields.next()?, fields.next()?, fields.next()?);
        let stream = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return None;
        }
        let release =
            (!release_id.is_empty()).then_some(Release { id: release_id, version: release_version });
        let source =
            (!source_name.is_empty()).then_some(SourcePackage { name: source_name, version: source_version });
        Some(Self { package: PackageKey { ecosystem, release, name }, version, source, arch, stream })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn component_ids_round_trip(name in ".{1,20}", version in ".{1,20}", source in proptest::option::of((".{1,9}", ".{0,9}")), arch in "[a-z0-9%|]{0,5}", stream in "[a-z0-9:|]{0,5}") {
            let key = ComponentKey {
                package: PackageKey { ecosystem: Ecosystem::Deb, release: Some(Release { id: "debian".into(), version: "12".into() }), name },
                version, source: source.map(|(name, version)| SourcePackage { name, version }), arch, stream,
            };
            prop_assert_eq!(ComponentKey::from_id(&key.id()), Some(key));
        }
    }

    #[test]
    fn purl_types_round_trip() {
        for &ecosystem in Ecosystem::ALL {
            assert_eq!(ecosystem.purl_type().parse::<Ecosystem>(), Ok(ecosystem));
        }
    }
}
