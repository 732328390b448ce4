//! Ecosystems, releases and names: as OSV writes them, as os-release writes them, and as the Db is asked.

use std::borrow::Cow;
use std::fmt;

use plimsoll_model::package::{ComponentKey, Ecosystem, PackageKey, Release};
use plimsoll_version::Scheme;

use crate::classified;
use crate::probes::probes;

/// The key under which the Db keeps what is said of a package: ecosystem, normalised release, normalised name.
/// Ordered by its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupKey {
    pub ecosystem: Ecosystem,
    /// Id of the distribution, empty for languages.
    pub distribution: String,
    /// Version of the distribution as advisories name it (`12`, `3.18`, `22.04`), empty for languages and for
    /// rolling distributions.
    pub version: String,
    pub name: String,
}

impl LookupKey {
    /// A key of a package key as an advisory names it; release and name are normalised here.
    pub fn new(ecosystem: Ecosystem, release: Option<&Release>, name: &str) -> Self {
        let (distribution, version) = release.map_or_else(Default::default, normal_release);
        Self { ecosystem, distribution, version, name: normal_name(ecosystem, name).into_owned() }
    }

    /// The keys under which the Db says something about `component`: distribution packages by their source name,
    /// where advisories of that distribution name sources, else by their own name. A Ubuntu version of an extended
    /// support channel (`+esm1`) has the channel's key first and the plain one after it; a Red Hat package has the keys
    /// of its binary and of its source package.
    pub fn of(component: &ComponentKey) -> Vec<Self> {
        probes(component).into_iter().map(|probe| probe.key).collect()
    }

    /// The key of a source package, in a distribution whose advisories otherwise name binary packages (Red Hat).
    pub fn source(mut self) -> Self {
        self.name.insert_str(0, SOURCE);
        self
    }

    /// The key of a package in one stream of a module (`nodejs:18`), where advisories tell streams.
    pub fn of_stream(mut self, stream: &str) -> Self {
        self.name = format!("{stream}{STREAM}{}", self.name);
        self
    }

    /// The key of a package's builds for one minor release (`9.2`), which have their own fixes: those of extended
    /// channels among them.
    pub fn of_minor(mut self, minor: &str) -> Self {
        self.version = format!("{minor}{MINOR}");
        self
    }

    /// True for a key of [`LookupKey::of_minor`].
    pub(crate) fn is_of_minor(&self) -> bool {
        self.version.ends_with(MINOR)
    }

    /// Ecosystems and names by which components may be known that this key speaks of, without what only keys have:
    /// a source package's mark, a module's stream, another name of the same program.
    pub fn component_names(&self) -> Vec<(Ecosystem, String)> {
        let name = match self.ecosystem {
            Ecosystem::Rpm => {
                let name = self.name.rsplit_once(STREAM).map_or(self.name.as_str(), |(_, name)| name);
                name.strip_prefix(SOURCE).unwrap_or(name)
            }
            _ => &self.name,
        };
        let mut names = Vec::new();
        if !(self.ecosystem == Ecosystem::Generic && name.starts_with("cpe:")) {
            names.push((self.ecosystem, name.to_owned()));
        }
        if matches!(self.ecosystem, Ecosystem::Generic | Ecosystem::Bitnami) {
            names.extend(classified::programs(name).map(|program| (Ecosystem::Generic, program.to_owned())));
        }
        names
    }

    /// The bytes that are hashed and compared in a Db: fields separated by NUL.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        for (n, field) in
            [self.ecosystem.purl_type(), &self.distribution, &self.version, &self.name].iter().enumerate()
        {
            if n > 0 {
                bytes.push(0);
            }
            bytes.extend_from_slice(field.as_bytes());
        }
        bytes
    }

    /// Reads [`LookupKey::to_bytes`] back.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(bytes).ok()?.splitn(4, '\0');
        let ecosystem = fields.next()?.parse().ok()?;
        let (distribution, version, name) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self {
            ecosystem,
            distribution: distribution.into(),
            version: version.into(),
            name: name.into(),
        })
    }

    /// The package key that findings use, with the release as advisories name it.
    pub fn package(&self) -> PackageKey {
        let release = (!self.distribution.is_empty())
            .then(|| Release { id: self.distribution.clone(), version: self.version.clone() });
        PackageKey { ecosystem: self.ecosystem, release, name: self.name.clone() }
    }

    /// Ecosystem and release without the name, `deb:debian:12`, `npm`.
    pub fn coverage(&self) -> String {
        coverage(self.ecosystem, &self.distribution, &self.version)
    }
}

impl fmt::Display for LookupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.coverage(), self.name)
    }
}

fn coverage(ecosystem: Ecosystem, distribution: &str, version: &str) -> String {
    let mut text = ecosystem.purl_type().to_owned();
    for part in [distribution, version] {
        if !part.is_empty() {
            text.push(':');
            text.push_str(part);
        }
    }
    text
}

/// What tells a source package's name from a binary package's; no package has a colon in its name.
const SOURCE: &str = "src:";

/// What ends the stream in the name of a key.
const STREAM: &str = "::";

/// What ends the version of the release in a key of a minor release.
const MINOR: &str = ":z";

/// Version of the release under which an extended support channel is kept.
pub(crate) const PRO: &str = ":pro";

/// A name as its ecosystem compares names.
pub fn normal_name(ecosystem: Ecosystem, name: &str) -> Cow<'_, str> {
    match ecosystem {
        Ecosystem::Pypi => {
            let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if clean {
                return Cow::Borrowed(name);
            }
            // PEP 503: lower case, runs of "-", "_" and "." become one "-".
            let mut normal = String::with_capacity(name.len());
            for c in name.chars() {
                match c {
                    '-' | '_' | '.' if normal.ends_with('-') => {}
                    '-' | '_' | '.' => normal.push('-'),
                    c => normal.extend(c.to_lowercase()),
                }
            }
            Cow::Owned(normal)
        }
        Ecosystem::Nuget | Ecosystem::Composer | Ecosystem::Hex | Ecosystem::Github | Ecosystem::Bitnami => {
            lower(name)
        }
        Ecosystem::Swift => {
            let name = name.strip_prefix("https://").unwrap_or(name);
            lower(name.strip_suffix(".git").unwrap_or(name))
        }
        _ => Cow::Borrowed(name),
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
}

/// Id and version of a release as advisories name it, from what os-release says: point releases are cut where
/// advisories are for the whole, rebuilds that follow Red Hat's versions exactly are Red Hat's.
fn normal_release(release: &Release) -> (String, String) {
    let id = release.id.to_ascii_lowercase();
    let version = release.version.trim();
    let major = || version.split(['.', '-', ' ']).next().unwrap_or("").to_owned();
    match id.as_str() {
        "debian" if version.is_empty() => (id, "sid".to_owned()),
        "debian" | "raspbian" if version.starts_with(|c: char| c.is_ascii_digit()) => {
            ("debian".to_owned(), major())
        }
        "almalinux" | "ol" | "azurelinux" | "mariner" | "photon" | "fedora" | "mageia" => (id, major()),
        "rocky" | "rocky-linux" => ("rocky".to_owned(), major()),
        // "2018.03" and before are the first Amazon Linux; "2", "2023" and what follows are releases.
        "amzn" if version.starts_with("201") => (id, "1".to_owned()),
        "amzn" => (id, major()),
        "rhel" | "redhat" => ("rhel".to_owned(), major()),
        // CentOS Linux rebuilt Red Hat's packages until 8; from 9 on there is only Stream, which runs ahead of them.
        "centos" if matches!(major().as_str(), "5" | "6" | "7" | "8") => ("rhel".to_owned(), major()),
        "alpine" => {
            let version = version.strip_prefix('v').unwrap_or(version);
            if version == "edge" || version.contains('_') {
                return (id, "edge".to_owned());
            }
            let mut parts = version.split('.');
            match (parts.next(), parts.next()) {
                (Some(major), Some(minor)) => (id, format!("{major}.{minor}")),
                _ => (id, version.to_owned()),
            }
        }
        "wolfi" | "chainguard" | "arch" | "minimos" | "opensuse-tumbleweed" => (id, String::new()),
        // "SLED" and the containers of "SLE" are Server to advisories.
        "sled" | "sle_hpc" | "sles_sap" => ("sles".to_owned(), version.to_owned()),
        _ => (id, version.to_owned()),
    }
}

/// An ecosystem that OSV names and Plimsoll does not match, or a text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ecosystem {0:?} is not supported")]
pub struct UnsupportedEcosystem(pub String);

/// Reads an OSV `package.ecosystem` (<https://ossf.github.io/osv-schema/#affectedpackage-field>).
pub fn osv_ecosystem(text: &str) -> Result<(Ecosystem, Option<Release>), UnsupportedEcosystem> {
    let (base, suffix) = text.split_once(':').unwrap_or((text, ""));
    let language = |ecosystem| Ok((ecosystem, None));
    let release = |ecosystem, id: &str, version: &str| {
        Ok((ecosystem, Some(Release { id: id.to_owned(), version: version.to_owned() })))
    };
    match base {
        "npm" => language(Ecosystem::Npm),
        "PyPI" => language(Ecosystem::Pypi),
        "Go" => language(Ecosystem::Golang),
        "Maven" => language(Ecosystem::Maven),
        "crates.io" => language(Ecosystem::Cargo),
        "RubyGems" => language(Ecosystem::Gem),
        "Packagist" => language(Ecosystem::Composer),
        "NuGet" => language(Ecosystem::Nuget),
        "Hex" => language(Ecosystem::Hex),
        "Pub" => language(Ecosystem::Pub),
        "SwiftURL" => language(Ecosystem::Swift),
        "ConanCenter" => language(Ecosystem::Conan),
        "GitHub Actions" => language(Ecosystem::Github),
        "CRAN" => language(Ecosystem::Cran),
        "Hackage" => language(Ecosystem::Hackage),
        "Bitnami" => language(Ecosystem::Bitnami),
        "Debian" if !suffix.is_empty() => release(Ecosystem::Deb, "debian", suffix),
        "Ubuntu" if !suffix.is_empty() => {
            // "22.04:LTS", "24.10", "Pro:18.04:LTS"; other channels ("Pro:FIPS:18.04:LTS") are no plain installation.
            let (channel, pro) = suffix.strip_prefix("Pro:").map_or((suffix, false), |rest| (rest, true));
            let version = channel.strip_suffix(":LTS").unwrap_or(channel);
            if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return Err(UnsupportedEcosystem(text.chars().take(64).collect()));
            }
            let version = if pro { format!("{version}{PRO}") } else { version.to_owned() };
            release(Ecosystem::Deb, "ubuntu", &version)
        }
        "Alpine" if !suffix.is_empty() => release(Ecosystem::Apk, "alpine", suffix),
        "Wolfi" => release(Ecosystem::Apk, "wolfi", ""),
        "Chainguard" => release(Ecosystem::Apk, "chainguard", ""),
        "MinimOS" => release(Ecosystem::Apk, "minimos", ""),
        "AlmaLinux" if !suffix.is_empty() => release(Ecosystem::Rpm, "almalinux", suffix),
        "Rocky Linux" if !suffix.is_empty() => release(Ecosystem::Rpm, "rocky", suffix),
        "Red Hat" => {
            // "Red Hat:enterprise_linux:9::baseos", "Red Hat:rhel_eus:9.2::appstream": only the former is the
            // channel of every installation.
            let mut parts = suffix.split(':');
            match (parts.next(), parts.next()) {
                (Some("enterprise_linux"), Some(version)) if !version.is_empty() => {
                    release(Ecosystem::Rpm, "rhel", version)
                }
                _ => Err(UnsupportedEcosystem(text.chars().take(64).collect())),
            }
        }
        "openSUSE" if suffix == "Tumbleweed" => release(Ecosystem::Rpm, "opensuse-tumbleweed", ""),
        "openSUSE" if suffix.starts_with("Leap ") => {
            release(Ecosystem::Rpm, "opensuse-leap", suffix.trim_start_matches("Leap "))
        }
        "SUSE" => match suse_release(suffix) {
            Some((id, version)) => release(Ecosystem::Rpm, id, &version),
            None => Err(UnsupportedEcosystem(text.chars().take(64).collect())),
        },
        "Mageia" if !suffix.is_empty() => release(Ecosystem::Rpm, "mageia", suffix),
        "Azure Linux" if !suffix.is_empty() => release(Ecosystem::Rpm, "azurelinux", suffix),
        _ => Err(UnsupportedEcosystem(text.chars().take(64).collect())),
    }
}

/// Id and version, as os-release writes them, of a product of SUSE as its advisories name it, without the "SUSE " before
/// it: a release of Server is made of modules, which share its service pack, and packages of all of them are in its
/// images. Channels that are paid for apart (LTSS, ESPOS, SAP) are `None`.
pub(crate) fn suse_release(product: &str) -> Option<(&'static str, String)> {
    let product = product.trim();
    let number = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    for (begin, id) in [("Linux Enterprise Micro ", "sle-micro"), ("Linux Micro ", "sl-micro")] {
        if let Some(version) = product.strip_prefix(begin) {
            let (major, minor) = version.split_once('.')?;
            return (number(major) && number(minor)).then(|| (id, version.to_owned()));
        }
    }
    let (name, version) = match product.rsplit_once(" SP") {
        Some((rest, pack)) => {
            let (name, major) = rest.rsplit_once(' ')?;
            (number(major) && number(pack)).then(|| (name, format!("{major}.{pack}")))?
        }
        None => {
            let (name, major) = product.rsplit_once(' ')?;
            number(major).then(|| (name, major.to_owned()))?
        }
    };
    let known = match name.strip_prefix("Linux Enterprise ") {
        Some("Server" | "Desktop" | "Workstation Extension" | "Software Development Kit") => true,
        Some(module) => module.strip_prefix("Module for ").is_some_and(|module| !module.is_empty()),
        None => name == "Package Hub",
    };
    known.then_some(("sles", version))
}

/// The version order of an ecosystem; `None` where it has none that advisories use.
///
/// Invariant: the Db's tables are sorted by this order, so that a change here needs a new format version of the Db.
pub fn scheme(ecosystem: Ecosystem) -> Option<Scheme> {
    Some(match ecosystem {
        Ecosystem::Deb | Ecosystem::Opkg => Scheme::Dpkg,
        Ecosystem::Apk => Scheme::Apk,
        Ecosystem::Rpm | Ecosystem::Alpm => Scheme::Rpm,
        Ecosystem::Npm => Scheme::Npm,
        Ecosystem::Pypi => Scheme::Pypi,
        Ecosystem::Golang => Scheme::Go,
        Ecosystem::Maven => Scheme::Maven,
        Ecosystem::Gem => Scheme::Rubygems,
        Ecosystem::Composer => Scheme::Packagist,
        Ecosystem::Nuget => Scheme::Nuget,
        Ecosystem::Pub => Scheme::Pub,
        Ecosystem::Hex => Scheme::Hex,
        Ecosystem::Cargo | Ecosystem::Swift | Ecosystem::Conan | Ecosystem::Bitnami | Ecosystem::Github => {
            Scheme::Semver
        }
        // Versions of programs have no common form: digits and letters in turn, as rpm compares them.
        Ecosystem::Generic => Scheme::Rpm,
        Ecosystem::Cran => Scheme::Cran,
        Ecosystem::Hackage => Scheme::Hackage,
        Ecosystem::Conda
        | Ecosystem::Ebuild
        | Ecosystem::Luarocks
        | Ecosystem::Opam
        | Ecosystem::Cpan
        | Ecosystem::Cocoapods
        | Ecosystem::Otp
        | Ecosystem::Pear
        | Ecosystem::Pecl
        | Ecosystem::Nix
        | Ecosystem::Brew
        | Ecosystem::Snap
        | Ecosystem::Wordpress
        | Ecosystem::Terraform
        | Ecosystem::Julia => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match osv_ecosystem(text) {
            Ok((ecosystem, release)) => LookupKey::new(ecosystem, release.as_ref(), "n").coverage(),
            Err(_) => "unsupported".to_owned(),
        }
    }

    #[test]
    fn ecosystems_as_osv_writes_them() {
        for (text, coverage) in [
            ("npm", "npm"),
            ("crates.io", "cargo"),
            ("Debian:12", "deb:debian:12"),
            ("Debian", "unsupported"),
            ("Ubuntu:22.04:LTS", "deb:ubuntu:22.04"),
            ("Ubuntu:24.10", "deb:ubuntu:24.10"),
            ("Ubuntu:Pro:18.04:LTS", "deb:ubuntu:18.04:pro"),
            ("Ubuntu:Pro:FIPS:18.04:LTS", "unsupported"),
            ("Alpine:v3.18", "apk:alpine:3.18"),
            ("Wolfi", "apk:wolfi"),
            ("AlmaLinux:9", "rpm:almalinux:9"),
            ("Rocky Linux:8", "rpm:rocky:8"),
            ("Red Hat:enterprise_linux:9::baseos", "rpm:rhel:9"),
            ("Red Hat:rhel_eus:9.2::appstream", "unsupported"),
            ("SUSE:Linux Enterprise Server 15 SP5", "rpm:sles:15.5"),
            ("SUSE:Linux Enterprise Server 12", "rpm:sles:12"),
            ("SUSE:Linux Enterprise Module for Basesystem 15 SP5", "rpm:sles:15.5"),
            ("SUSE:Linux Enterprise Module for Python 3 15 SP6", "rpm:sles:15.6"),
            ("SUSE:Linux Enterprise Desktop 15 SP7", "rpm:sles:15.7"),
            ("SUSE:Linux Enterprise Software Development Kit 12 SP5", "rpm:sles:12.5"),
            ("SUSE:Package Hub 15 SP5", "rpm:sles:15.5"),
            ("SUSE:Linux Enterprise Micro 5.3", "rpm:sle-micro:5.3"),
            ("SUSE:Linux Micro 6.0", "rpm:sl-micro:6.0"),
            ("SUSE:Linux Enterprise Server 12 SP5-LTSS", "unsupported"),
            ("SUSE:Linux Enterprise Server for SAP Applications 15 SP3", "unsupported"),
            ("SUSE:Linux Enterprise High Performance Computing 15 SP3-ESPOS", "unsupported"),
            ("SUSE:Linux Enterprise Module for 15 SP5", "unsupported"),
            ("SUSE:Manager Server 4.3", "unsupported"),
            ("openSUSE:Leap 15.5", "rpm:opensuse-leap:15.5"),
            ("openSUSE:Tumbleweed", "rpm:opensuse-tumbleweed"),
            ("Azure Linux:3", "rpm:azurelinux:3"),
            ("OSS-Fuzz", "unsupported"),
            ("", "unsupported"),
        ] {
            assert_eq!(read(text), coverage, "{text}");
        }
    }

    #[test]
    fn releases_as_os_release_writes_them() {
        for (ecosystem, id, version, coverage) in [
            (Ecosystem::Deb, "debian", "12.5", "deb:debian:12"),
            (Ecosystem::Deb, "debian", "", "deb:debian:sid"),
            (Ecosystem::Deb, "ubuntu", "22.04", "deb:ubuntu:22.04"),
            (Ecosystem::Apk, "alpine", "3.18.4", "apk:alpine:3.18"),
            (Ecosystem::Apk, "alpine", "3.19_alpha20230901", "apk:alpine:edge"),
            (Ecosystem::Apk, "wolfi", "20230201", "apk:wolfi"),
            (Ecosystem::Rpm, "almalinux", "9.3", "rpm:almalinux:9"),
            (Ecosystem::Rpm, "centos", "7", "rpm:rhel:7"),
            (Ecosystem::Rpm, "centos", "9", "rpm:centos:9"),
            (Ecosystem::Rpm, "sles", "15.5", "rpm:sles:15.5"),
            (Ecosystem::Rpm, "azurelinux", "3.0", "rpm:azurelinux:3"),
        ] {
            let release = Release { id: id.into(), version: version.into() };
            assert_eq!(LookupKey::new(ecosystem, Some(&release), "n").coverage(), coverage);
        }
    }

    #[test]
    fn pep_503() {
        for name in [
            "Friendly-Bard",
            "FRIENDLY-BARD",
            "friendly.bard",
            "friendly_bard",
            "friendly--bard",
            "FrIeNdLy-._.-bArD",
        ] {
            assert_eq!(normal_name(Ecosystem::Pypi, name), "friendly-bard");
        }
    }
}
