//! What the Db is asked about a component: under which keys, and which version is compared there.

use std::borrow::Cow;

use plimsoll_model::package::{ComponentKey, Ecosystem};

use crate::names::{LookupKey, PRO};
use crate::{builds, classified};

/// One question to the Db: a key, and the version that is compared there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe<'a> {
    pub(crate) key: LookupKey,
    pub(crate) version: Cow<'a, str>,
    /// Later questions are asked only when the Db does not cover this one's release.
    pub(crate) sole: bool,
    /// A fix that the version has silences other records; nothing here makes a match.
    pub(crate) fixes: bool,
}

impl<'a> Probe<'a> {
    fn of(key: LookupKey, version: &'a str) -> Self {
        Self { key, version: Cow::Borrowed(version), sole: false, fixes: false }
    }
}

/// The questions about `component`, most specific first.
pub(crate) fn probes(component: &ComponentKey) -> Vec<Probe<'_>> {
    let package = &component.package;
    let release = package.release.as_ref();
    let own = (package.name.as_str(), component.version.as_str());
    let (name, version) = match (&component.source, release) {
        (Some(source), Some(release))
            if !source.name.is_empty() && names_sources(package.ecosystem, &release.id) =>
        {
            let version = if source.version.is_empty() { own.1 } else { source.version.as_str() };
            (source.name.as_str(), version)
        }
        _ => own,
    };
    let key = LookupKey::new(package.ecosystem, release, name);
    let version = bare_version(package.ecosystem, version);
    if key.distribution == "ubuntu" && (version.contains("+esm") || version.contains("~esm")) {
        let channel = LookupKey { version: format!("{}{PRO}", key.version), ..key.clone() };
        let sole = |key| Probe { sole: true, ..Probe::of(key, version) };
        return vec![sole(channel), sole(key)];
    }
    match package.ecosystem {
        Ecosystem::Rpm => rpm_probes(component, key, version),
        Ecosystem::Generic => program_probes(key, version),
        Ecosystem::Deb if key.distribution == "debian" => {
            vec![Probe { key, version: debian_version(version), sole: true, fixes: false }]
        }
        _ => vec![Probe { sole: true, ..Probe::of(key, version) }],
    }
}

fn rpm_probes<'a>(component: &'a ComponentKey, key: LookupKey, version: &'a str) -> Vec<Probe<'a>> {
    let mut asked = Vec::with_capacity(6);
    let source = component.source.as_ref().filter(|source| !source.name.is_empty()).map(|source| {
        (source.name.as_str(), if source.version.is_empty() { version } else { source.version.as_str() })
    });
    let with_stream = |key: LookupKey, version: &'a str, fixes: bool, asked: &mut Vec<Probe<'a>>| {
        if !component.stream.is_empty() {
            asked.push(Probe { fixes, ..Probe::of(key.clone().of_stream(&component.stream), version) });
        }
        asked.push(Probe { fixes, ..Probe::of(key, version) });
    };
    if key.distribution == "rhel"
        && let Some(minor) = builds::minor(version)
    {
        with_stream(key.clone().of_minor(&minor), version, true, &mut asked);
    }
    let (is_rhel, is_sle) = (key.distribution == "rhel", is_sle(&key.distribution));
    let own = key.name == component.package.name;
    let by_source =
        source.map(|(name, version)| (LookupKey { name: name.to_owned(), ..key.clone() }, version));
    // OSV names SUSE's source packages, OVAL its binary ones.
    if (is_sle || key.distribution.starts_with("opensuse")) && !own {
        asked.push(Probe::of(
            LookupKey { name: component.package.name.clone(), ..key.clone() },
            &component.version,
        ));
    }
    with_stream(key, version, false, &mut asked);
    if let (true, Some((source, version))) = (is_rhel, by_source) {
        with_stream(source.source(), version, false, &mut asked);
    }
    asked
}

/// A program that is found by its content, under all names that feeds have for it.
fn program_probes(key: LookupKey, version: &str) -> Vec<Probe<'_>> {
    let (products, bitnami) = classified::names(&key.name);
    let mut asked: Vec<Probe<'_>> = products
        .iter()
        .map(|product| LookupKey { name: classified::cpe_name(product), ..key.clone() })
        .map(|key| Probe::of(key, version))
        .collect();
    if let Some(name) = bitnami {
        asked.push(Probe::of(LookupKey::new(Ecosystem::Bitnami, None, name), version));
    }
    asked.insert(0, Probe::of(key, version));
    asked
}

/// The version of Debian's that a version of Raspberry Pi OS or Raspbian stands for: they build Debian's sources and add a
/// mark (`2.36-9+rpt2+deb12u10`, `5.2.15-2+rpi1`), which is higher than any of Debian's own fixes.
fn debian_version(version: &str) -> Cow<'_, str> {
    if !version.contains("+rp") {
        return Cow::Borrowed(version);
    }
    let mut plain = String::with_capacity(version.len());
    for (n, part) in version.split("+rp").enumerate() {
        match part.strip_prefix(['t', 'i']) {
            _ if n == 0 => plain.push_str(part),
            Some(marked) => plain.push_str(marked.trim_start_matches(|c: char| c.is_ascii_digit())),
            None => {
                plain.push_str("+rp");
                plain.push_str(part);
            }
        }
    }
    Cow::Owned(plain)
}

/// Versions as advisories write them: Go modules without `v`, the Go standard library without `go`.
fn bare_version(ecosystem: Ecosystem, version: &str) -> &str {
    if ecosystem != Ecosystem::Golang {
        return version;
    }
    version.strip_prefix("go").or_else(|| version.strip_prefix('v')).unwrap_or(version)
}

/// True where the advisories of a distribution name source packages. AlmaLinux, Rocky Linux and Red Hat name
/// binary packages.
fn names_sources(ecosystem: Ecosystem, distribution: &str) -> bool {
    match ecosystem {
        Ecosystem::Deb | Ecosystem::Apk => true,
        Ecosystem::Rpm => {
            is_sle(distribution)
                || distribution.starts_with("opensuse")
                || matches!(
                    distribution,
                    "suse" | "mageia" | "openeuler" | "photon" | "azurelinux" | "mariner"
                )
        }
        _ => false,
    }
}

/// SUSE Linux Enterprise and what it became: `sles`, `sle-micro`, `sl-micro`.
fn is_sle(distribution: &str) -> bool {
    distribution.starts_with("sle") || distribution == "sl-micro"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_raspberry_pi() {
        for (version, expected) in [
            ("2.36-9+rpt2+deb12u10", "2.36-9+deb12u10"),
            ("1:9.2p1-2+deb12u3+rpt1", "1:9.2p1-2+deb12u3"),
            ("5.2.15-2+rpi1", "5.2.15-2"),
            ("1-1+rpi1+rpt2", "1-1"),
            ("1-1+rp1", "1-1+rp1"),
            ("", ""),
            ("2.36-9+deb12u10", "2.36-9+deb12u10"),
        ] {
            assert_eq!(debian_version(version), expected, "{version}");
        }
    }
}
