//! Which distribution an image is: `os-release(5)`, else the files that came before it.

use plimsoll_model::sbom::Distribution;

use crate::identity;
use crate::merge::Merged;

/// The paths of os-release, in the order in which they count (os-release(5)), and of what came before it, the more
/// specific first: rebuilds of Red Hat's distribution carry its file too, Ubuntu Debian's.
const PATHS: &[&str] = &[
    "etc/os-release",
    "usr/lib/os-release",
    "etc/oracle-release",
    "etc/centos-release",
    "etc/fedora-release",
    "etc/enterprise-release",
    "etc/redhat-release",
    "etc/system-release",
    "etc/SuSE-release",
    "etc/alpine-release",
    "etc/gentoo-release",
    "etc/photon-release",
    "etc/lsb-release",
    "etc/debian_version",
];

/// The distribution that the visible os-release names.
pub(crate) fn distribution(merged: &Merged<'_>) -> Option<Distribution> {
    let mut files: Vec<_> =
        merged.files.iter().filter(|file| file.selected.selector == "os-release").collect();
    files.sort_by_key(|file| PATHS.iter().position(|path| *path == file.path).unwrap_or(PATHS.len()));
    files.iter().find_map(|file| {
        let text = String::from_utf8_lossy(&file.selected.bytes);
        parse(&text).or_else(|| legacy(&file.path, &text))
    })
}

/// Names at the beginning of a release file, and the ids that os-release has for them.
const NAMES: &[(&str, &str)] = &[
    ("AlmaLinux", "almalinux"),
    ("Amazon Linux", "amzn"),
    ("CentOS", "centos"),
    ("Enterprise Linux", "ol"),
    ("Fedora", "fedora"),
    ("Gentoo", "gentoo"),
    ("Oracle Linux", "ol"),
    ("Red Hat Enterprise Linux", "rhel"),
    ("Rocky Linux", "rocky"),
    ("SUSE Linux Enterprise Desktop", "sled"),
    ("SUSE Linux Enterprise Server", "sles"),
    ("Scientific Linux", "scientific"),
    ("VMware Photon", "photon"),
    ("openSUSE", "opensuse"),
];

/// Reads the files of distributions without os-release: `CentOS release 6.10 (Final)` and the like.
fn legacy(path: &str, text: &str) -> Option<Distribution> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        line.map(unquote).unwrap_or_default()
    };
    let first = text.lines().next().unwrap_or("").trim();
    let (id, version, codename) = match path {
        "etc/debian_version" => match first.split_once('/') {
            Some((codename, _)) => {
                ("debian".to_owned(), identity::debian_version(codename)?.to_owned(), codename.to_owned())
            }
            None => ("debian".to_owned(), first.to_owned(), String::new()),
        },
        "etc/alpine-release" => ("alpine".to_owned(), first.to_owned(), String::new()),
        "etc/lsb-release" => {
            (field("DISTRIB_ID").to_lowercase(), field("DISTRIB_RELEASE"), field("DISTRIB_CODENAME"))
        }
        "etc/SuSE-release" => {
            let (_, id) = NAMES.iter().find(|(name, _)| first.starts_with(name))?;
            let (version, patch) = (field("VERSION"), field("PATCHLEVEL"));
            let version =
                if matches!(patch.as_str(), "" | "0") { version } else { format!("{version}.{patch}") };
            ((*id).to_owned(), version, String::new())
        }
        _ => {
            let (_, id) = NAMES.iter().find(|(name, _)| first.starts_with(name))?;
            let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
            ((*id).to_owned(), first.split_whitespace().find(number)?.to_owned(), String::new())
        }
    };
    let fits = |text: &str| {
        text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~".contains(c))
    };
    let named =
        !id.is_empty() && fits(&id) && fits(&version) && version.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| Distribution {
        release: identity::canonical(&id, &version),
        codename,
        pretty_name: if path.ends_with("-release") && !first.contains('=') {
            first.to_owned()
        } else {
            String::new()
        },
        like: Vec::new(),
    })
}

/// Reads os-release; `None` without an `ID`.
///
/// Debian's testing and unstable state no `VERSION_ID`: their codename's number stands in.
pub(crate) fn parse(text: &str) -> Option<Distribution> {
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| unquote(value))
            .next_back()
            .unwrap_or_default()
    };
    let id = value("ID").to_lowercase();
    if id.is_empty() {
        return None;
    }
    let codename = value("VERSION_CODENAME");
    let mut version = value("VERSION_ID");
    if version.is_empty() && id == "debian" {
        version = identity::debian_version(&codename).unwrap_or("").to_owned();
    }
    Some(Distribution {
        release: identity::canonical(&id, &version),
        codename,
        pretty_name: value("PRETTY_NAME"),
        like: value("ID_LIKE").split_whitespace().map(str::to_owned).collect(),
    })
}

/// A value as a shell would read it: quotes off, `\` escapes `"$`\` and itself.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote).map(|rest| rest.strip_suffix(quote).unwrap_or(rest));
    let (inner, escapes) = match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => (inner, true),
        (_, Some(inner)) => (inner, false),
        _ => (value, true),
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if escapes => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_before_os_release() {
        for (path, text, release) in [
            (
                "etc/redhat-release",
                "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n",
                Some("rhel:6.10"),
            ),
            ("etc/centos-release", "CentOS release 6.10 (Final)", Some("centos:6.10")),
            (
                "etc/enterprise-release",
                "Enterprise Linux Enterprise Linux Server release 5.11 (Carthage)",
                Some("ol:5.11"),
            ),
            ("etc/system-release", "Amazon Linux AMI release 2018.03", Some("amzn:2018.03")),
            (
                "etc/SuSE-release",
                "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n",
                Some("sles:11.4"),
            ),
            ("etc/alpine-release", "3.3.3\n", Some("alpine:3.3.3")),
            ("etc/debian_version", "7.11\n", Some("debian:7")),
            ("etc/debian_version", "bookworm/sid\n", Some("debian:12")),
            (
                "etc/lsb-release",
                "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\nDISTRIB_CODENAME=precise\n",
                Some("ubuntu:12.04"),
            ),
            ("etc/redhat-release", "Something else release 1", None),
            ("etc/debian_version", "<script>", None),
            ("etc/redhat-release", "", None),
        ] {
            assert_eq!(
                legacy(path, text).map(|found| found.release.to_string()).as_deref(),
                release,
                "{text}"
            );
        }
    }

    #[test]
    fn releases() {
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                "debian:12",
            ),
            ("ID=debian\nVERSION_CODENAME=trixie\n", "debian:13"),
            ("ID=alpine\nVERSION_ID=3.19.1\n", "alpine:3.19.1"),
            ("ID='wolfi'\nVERSION_ID=\"20230201\"", "wolfi:20230201"),
            ("ID=arch\n", "arch"),
            ("# comment\nID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.2\"", "rhel:9.2"),
        ];
        for (text, release) in cases {
            assert_eq!(parse(text).unwrap().release.to_string(), release);
        }
        assert_eq!(
            parse("ID=rocky\nID_LIKE=\"rhel centos fedora\"").unwrap().like,
            ["rhel", "centos", "fedora"]
        );
        assert_eq!(parse("ID=x\nPRETTY_NAME=\"a \\\"b\\\"\"").unwrap().pretty_name, "a \"b\"");
        assert!(parse("NAME=x").is_none());
    }
}
