//! From component keys to purls and back: the one place that knows how each ecosystem writes its names.

use plimsoll_model::package::SourcePackage;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey, Release};

use crate::purl::{Purl, pep503};

/// The canonical purl of a component: distribution packages carry `arch`, `distro` (`debian-12`) and, where the
/// source package differs, `upstream` (`name` or `name@version`), as Syft writes them.
pub fn purl(key: &ComponentKey) -> Purl {
    let name = key.package.name.as_str();
    let ecosystem = key.package.ecosystem;
    let kind = ecosystem.purl_type();
    if ecosystem.is_distribution() {
        return distribution_purl(key);
    }
    let (namespace, name) = match ecosystem {
        Ecosystem::Maven => name.split_once(':').unwrap_or(("", name)),
        Ecosystem::Npm if !name.starts_with('@') => ("", name),
        Ecosystem::Pypi | Ecosystem::Cargo | Ecosystem::Gem | Ecosystem::Nuget => ("", name),
        _ => name.rsplit_once('/').unwrap_or(("", name)),
    };
    Purl::new(kind, namespace, name, &key.version)
}

fn distribution_purl(key: &ComponentKey) -> Purl {
    let release = key.package.release.as_ref();
    let namespace = match (key.package.ecosystem, release.map_or("", |release| release.id.as_str())) {
        // As the purl specification and Syft name vendors.
        (Ecosystem::Rpm, "rhel") => "redhat",
        (Ecosystem::Rpm, id) if id.starts_with("opensuse") => "opensuse",
        (_, id) => id,
    };
    let (epoch, version) = match key.version.split_once(':') {
        // An rpm purl's version has no epoch; it is a qualifier.
        Some((epoch, rest)) if key.package.ecosystem == Ecosystem::Rpm => (epoch, rest),
        _ => ("", key.version.as_str()),
    };
    let distro = release.map_or(String::new(), |release| match release.version.as_str() {
        "" => release.id.clone(),
        version => format!("{}-{version}", release.id),
    });
    let upstream = match &key.source {
        // The source package's file, whose name has no epoch.
        Some(source) if key.package.ecosystem == Ecosystem::Rpm => {
            let stated = source.version.split_once(':').map_or(source.version.as_str(), |(_, rest)| rest);
            if (source.name.as_str(), stated) == (key.package.name.as_str(), version) {
                String::new()
            } else {
                format!("{}-{stated}.src.rpm", source.name)
            }
        }
        Some(source) if source.version != key.version => format!("{}@{}", source.name, source.version),
        Some(source) if source.name != key.package.name => source.name.clone(),
        _ => String::new(),
    };
    Purl::new(key.package.ecosystem.purl_type(), namespace, &key.package.name, version)
        .with("arch", &key.arch)
        .with("distro", &distro)
        .with("epoch", if epoch == "0" { "" } else { epoch })
        .with("rpmmod", &key.stream)
        .with("upstream", &upstream)
}

/// The component that a purl names, whoever wrote it (Plimsoll, Syft, Trivy); `None` where the ecosystem is not
/// known. A distribution package without `upstream` is its own source. `distribution` stands in for a purl without
/// a release.
pub fn component(purl: &Purl, distribution: Option<&Release>) -> Option<ComponentKey> {
    let ecosystem: Ecosystem = purl.kind.parse().ok()?;
    let mut version = purl.version.clone().unwrap_or_default();
    if !ecosystem.is_distribution() {
        let name = match ecosystem {
            Ecosystem::Pypi => pep503(&purl.name),
            Ecosystem::Maven if !purl.namespace.is_empty() => format!("{}:{}", purl.namespace, purl.name),
            // Syft splits long module paths into name and subpath.
            Ecosystem::Golang if !purl.subpath.is_empty() => format!("{}/{}", purl.full_name(), purl.subpath),
            _ => purl.full_name(),
        };
        let package = PackageKey { ecosystem, release: None, name };
        return Some(ComponentKey {
            package,
            version,
            source: None,
            arch: String::new(),
            stream: String::new(),
        });
    }
    if ecosystem == Ecosystem::Rpm && !version.contains(':') {
        match purl.qualifier("epoch") {
            "" | "0" => {}
            epoch => version = format!("{epoch}:{version}"),
        }
    }
    let source = source(ecosystem, purl, &version);
    Some(ComponentKey {
        package: PackageKey {
            ecosystem,
            release: release(purl).or_else(|| distribution.cloned()),
            name: purl.name.clone(),
        },
        version,
        source: Some(source),
        arch: purl.qualifier("arch").to_owned(),
        stream: stream(purl.qualifier("rpmmod")).to_owned(),
    })
}

/// Module and stream of a modularity label: `nodejs:18:8080020231025202232:63b34585` is `nodejs:18`.
pub(crate) fn stream(label: &str) -> &str {
    let end = label.match_indices(':').nth(1).map_or(label.len(), |(at, _)| at);
    label.get(..end).unwrap_or("")
}

/// `upstream`: `name`, `name@version`, or for rpm the file name of the source package.
fn source(ecosystem: Ecosystem, purl: &Purl, version: &str) -> SourcePackage {
    let upstream = purl.qualifier("upstream");
    let (name, stated) = match ecosystem {
        Ecosystem::Rpm => source_rpm(upstream).unwrap_or((upstream, "")),
        _ => upstream.split_once('@').unwrap_or((upstream, "")),
    };
    let stated = match version.split_once(':') {
        // A source package has the epoch of what is built from it.
        Some((epoch, _)) if ecosystem == Ecosystem::Rpm && !stated.is_empty() && !stated.contains(':') => {
            format!("{epoch}:{stated}")
        }
        _ => stated.to_owned(),
    };
    SourcePackage {
        name: if name.is_empty() { purl.name.clone() } else { name.to_owned() },
        version: if stated.is_empty() { version.to_owned() } else { stated },
    }
}

/// Name and `version-release` of `openssl-3.0.7-1.el9.src.rpm`.
pub(crate) fn source_rpm(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let (rest, _) = stem.rsplit_once('-')?;
    let (name, _) = rest.rsplit_once('-')?;
    Some((name, stem.get(name.len() + 1..)?))
}

/// The release that `distro` names: `debian-12`, `debian-12.5` (Trivy), `3.19.1` under namespace `alpine`, `bookworm`.
fn release(purl: &Purl) -> Option<Release> {
    let distro = purl.qualifier("distro").to_lowercase();
    if distro.is_empty() {
        return None;
    }
    let (id, version) = if distro.starts_with(|c: char| c.is_ascii_digit()) {
        (purl.namespace.as_str(), distro.as_str())
    } else if let Some(version) = debian_version(&distro) {
        ("debian", version)
    } else if let Some(version) = ubuntu_version(&distro).filter(|_| purl.namespace == "ubuntu") {
        ("ubuntu", version)
    } else {
        // Ids may hold dashes (`opensuse-leap-15.5`): the version is what follows the last one, if it is one.
        match distro.rsplit_once('-') {
            Some((id, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => (id, version),
            _ => (distro.as_str(), ""),
        }
    };
    if id.is_empty() {
        return None;
    }
    Some(canonical(id, version))
}

/// A release as os-release names it: Debian's `VERSION_ID` is the major number alone.
pub(crate) fn canonical(id: &str, version: &str) -> Release {
    let version = match id {
        "debian" => version.split('.').next().unwrap_or(version),
        _ => version,
    };
    Release { id: id.to_owned(), version: version.to_owned() }
}

/// The number of a Debian release, from its codename.
pub(crate) fn debian_version(codename: &str) -> Option<&'static str> {
    Some(match codename {
        "jessie" => "8",
        "stretch" => "9",
        "buster" => "10",
        "bullseye" => "11",
        "bookworm" => "12",
        "trixie" => "13",
        "forky" => "14",
        _ => return None,
    })
}

/// The number of an Ubuntu release, from its codename.
fn ubuntu_version(codename: &str) -> Option<&'static str> {
    Some(match codename {
        "trusty" => "14.04",
        "xenial" => "16.04",
        "bionic" => "18.04",
        "focal" => "20.04",
        "jammy" => "22.04",
        "kinetic" => "22.10",
        "lunar" => "23.04",
        "mantic" => "23.10",
        "noble" => "24.04",
        "oracular" => "24.10",
        "plucky" => "25.04",
        "questing" => "25.10",
        "resolute" => "26.04",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id_of(text: &str) -> String {
        component(&text.parse().unwrap(), None).unwrap().id()
    }

    #[test]
    fn purls_of_others() {
        for (text, id) in [
            (
                "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12&upstream=zlib",
                "deb|debian|12|zlib1g|1:1.2.13.dfsg-1|zlib|1:1.2.13.dfsg-1|amd64",
            ),
            (
                "pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&distro=debian-12.5&upstream=glibc%402.36-9",
                "deb|debian|12|libc6|2.36-9+b1|glibc|2.36-9|amd64",
            ),
            ("pkg:deb/debian/apt@2.6.1?distro=bookworm", "deb|debian|12|apt|2.6.1|apt|2.6.1|"),
            ("pkg:deb/ubuntu/apt@2.6.1?distro=jammy", "deb|ubuntu|22.04|apt|2.6.1|apt|2.6.1|"),
            ("pkg:deb/ubuntu/apt@2.6.1?distro=ubuntu-22.04", "deb|ubuntu|22.04|apt|2.6.1|apt|2.6.1|"),
            (
                "pkg:apk/alpine/libssl3@3.1.4-r5?arch=x86_64&distro=3.19.1",
                "apk|alpine|3.19.1|libssl3|3.1.4-r5|libssl3|3.1.4-r5|x86_64",
            ),
            (
                "pkg:apk/wolfi/libssl3@3.1.4-r5?distro=wolfi-20230201&upstream=openssl",
                "apk|wolfi|20230201|libssl3|3.1.4-r5|openssl|3.1.4-r5|",
            ),
            (
                "pkg:rpm/redhat/openssl-libs@3.0.7-1.el9?arch=x86_64&epoch=1&upstream=openssl-3.0.7-1.el9.src.rpm&distro=rhel-9.2",
                "rpm|rhel|9.2|openssl-libs|1:3.0.7-1.el9|openssl|1:3.0.7-1.el9|x86_64",
            ),
            ("pkg:rpm/opensuse/x@1-1?distro=opensuse-leap-15.5", "rpm|opensuse-leap|15.5|x|1-1|x|1-1|"),
            ("pkg:npm/%40babel/core@7.0.0", "npm|||@babel/core|7.0.0|||"),
            ("pkg:pypi/Zope_Interface@5", "pypi|||zope-interface|5|||"),
            ("pkg:maven/org.x/y@1", "maven|||org.x:y|1|||"),
            ("pkg:golang/github.com/nats-io/jwt@v2.8.2#v2", "golang|||github.com/nats-io/jwt/v2|v2.8.2|||"),
            ("pkg:golang/stdlib@1.27.2", "golang|||stdlib|1.27.2|||"),
        ] {
            assert_eq!(id_of(text), id, "{text}");
        }
        assert_eq!(component(&"pkg:unheardof/x@1".parse().unwrap(), None), None);
    }

    #[test]
    fn the_documents_distribution_stands_in() {
        let debian = Release { id: "debian".into(), version: "12".into() };
        let key = component(&"pkg:deb/debian/apt@2.6.1".parse().unwrap(), Some(&debian)).unwrap();
        assert_eq!(key.package.release, Some(debian));
    }

    proptest! {
        #[test]
        fn distribution_keys_survive(name in "[a-z][a-z0-9+.-]{0,9}", version in "([0-9]:)?[0-9][0-9a-z.+~-]{0,8}",
                                     source in "[a-z][a-z0-9+.-]{0,9}", source_version in proptest::option::of("[0-9][0-9a-z.+~-]{0,8}"),
                                     release in "[0-9]{1,2}", arch in "[a-z0-9]{0,5}") {
            let key = ComponentKey {
                package: PackageKey { ecosystem: Ecosystem::Deb, release: Some(Release { id: "debian".into(), version: release }), name },
                source: Some(SourcePackage { name: source, version: source_version.unwrap_or_else(|| version.clone()) }),
                version, arch, stream: String::new(),
            };
            let text = purl(&key).to_string();
            prop_assert_eq!(component(&text.parse().unwrap(), None), Some(key), "{}", text);
        }

        #[test]
        fn rpm_keys_survive(name in "[a-z][a-z0-9+-]{0,9}", epoch in proptest::option::of(1u32..9), version in "[0-9][0-9a-z.~]{0,5}-[0-9][a-z0-9.]{0,5}",
                            source in "[a-z][a-z0-9-]{0,9}", source_version in "[0-9][0-9a-z.~]{0,5}-[0-9][a-z0-9.]{0,5}", arch in "[a-z0-9_]{0,5}",
                            stream in "(nodejs:[1-9]{0,2})?", rest in "(:80[0-9]{3}:[0-9a-f]{4})?") {
            let evr = |version: String| match epoch {
                Some(epoch) => format!("{epoch}:{version}"),
                None => version,
            };
            let key = ComponentKey {
                package: PackageKey { ecosystem: Ecosystem::Rpm, release: Some(Release { id: "rhel".into(), version: "9.2".into() }), name },
                source: Some(SourcePackage { name: source, version: evr(source_version) }),
                version: evr(version), arch, stream,
            };
            let label = if key.stream.is_empty() { String::new() } else { format!("{}{rest}", key.stream) };
            let text = purl(&key).with("rpmmod", &label).to_string();
            prop_assert!(text.starts_with("pkg:rpm/redhat/"));
            prop_assert_eq!(component(&text.parse().unwrap(), None), Some(key), "{}", text);
        }

        #[test]
        fn language_keys_survive(n in 0usize..6, name in "[a-z][a-z0-9]{0,5}", scope in "[a-z]{1,4}", version in "[0-9][0-9a-z.+-]{0,8}") {
            let (ecosystem, name) = match n {
                0 => (Ecosystem::Npm, name),
                1 => (Ecosystem::Npm, format!("@{scope}/{name}")),
                2 => (Ecosystem::Pypi, format!("{scope}-{name}")),
                3 => (Ecosystem::Golang, format!("example.com/{scope}/{name}/v2")),
                4 => (Ecosystem::Maven, format!("org.{scope}:{name}")),
                _ => (Ecosystem::Composer, format!("{scope}/{name}")),
            };
            let key = ComponentKey { package: PackageKey { ecosystem, release: None, name }, version, source: None, arch: String::new(), stream: String::new() };
            let text = purl(&key).to_string();
            prop_assert_eq!(component(&text.parse().unwrap(), None), Some(key), "{}", text);
        }
    }
}
