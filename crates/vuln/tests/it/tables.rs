//! One row a rule of an ecosystem or a distribution: what its advisory calls affected, and beside it what it does not.
//! Ids, packages and versions are those of the advisory named; rows marked so are of its format's shape alone.

use plimsoll_model::package::Ecosystem::{self, *};
use plimsoll_model::sbom::{Component, Confidence, Sbom};
use plimsoll_model::vulnerability::{MatchStatus, Severity};

use crate::support::*;

/// Events of one range: `0 <1.2.0 2.0.0 <2.1.0` is introduced, fixed, introduced, fixed; `<=` is last affected.
fn events(text: &str) -> String {
    let event = |word: &str| match (word.strip_prefix("<="), word.strip_prefix('<')) {
        (Some(last), _) => format!(r#"{{"last_affected":"{last}"}}"#),
        (None, Some(fixed)) => format!(r#"{{"fixed":"{fixed}"}}"#),
        (None, None) => format!(r#"{{"introduced":"{word}"}}"#),
    };
    text.split(' ').map(event).collect::<Vec<_>>().join(",")
}

fn record(id: &str, ecosystem: &str, name: &str, ranges: &[&str]) -> String {
    let ranges: Vec<String> = ranges
        .iter()
        .map(|range| format!(r#"{{"type":"ECOSYSTEM","events":[{}]}}"#, events(range)))
        .collect();
    format!(
        r#"{{"id":"{id}","modified":"2024-01-01T00:00:00Z","upstream":["CVE-2024-0001"],"affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},"ranges":[{}]}}]}}"#,
        ranges.join(",")
    )
}

/// An advisory of a language, a name as an image has it, versions that are affected, and versions that are not.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    Ecosystem,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

#[rustfmt::skip]
const LANGUAGES: &[Row] = &[
    // Several pairs in one range; a fourth number; a gap between the branches is affected by none.
    ("RUBYSEC-RACK-2022-30123", "RubyGems", "rack", &["0 <2.0.9.1 2.1 <2.1.4.1 2.2 <2.2.3.1"], Gem, "rack",
        &["1.6.0", "2.0.9", "2.1.4", "2.2.3", "2.2.3.pre1"], &["2.0.9.1", "2.1.4.1", "2.2.3.1", "3.0.0"]),
    // Case does not count, and a fourth number of zero is none.
    ("GHSA-5crp-9r3c-p9vr", "NuGet", "Newtonsoft.Json", &["0 <13.0.1"], Nuget, "newtonsoft.json",
        &["12.0.3", "13.0.1-beta1"], &["13.0.1", "13.0.1.0", "13.0.3"]),
    // One range a branch; installed versions have a "v".
    ("FOP-symfony-http-kernel-CVE-2014-5245", "Packagist", "symfony/http-kernel",
        &["2.0.0 <2.1.0", "2.1.0 <2.2.0", "2.2.0 <2.3.0", "2.3.0 <2.3.19", "2.4.0 <2.4.9", "2.5.0 <2.5.4"], Composer,
        "symfony/http-kernel", &["v2.3.18", "2.1.9", "v2.5.3", "2.5.4-RC1"], &["v2.3.19", "2.4.9", "v2.5.4", "v2.6.0", "1.9.0"]),
    ("GHSA-2q6v-32mr-8p8x", "Hex", "plug", &["1.3.0 <1.3.2", "1.2.0 <1.2.3", "1.1.0 <1.1.7", "0 <1.0.4"], Hex, "plug",
        &["1.0.3", "1.3.1", "1.1.6"], &["1.0.4", "1.3.2", "1.2.3", "1.4.0"]),
    ("GHSA-fmj7-7gfw-64pg", "Pub", "agent_dart", &["0 <1.0.0-dev.29"], Pub, "agent_dart",
        &["0.1.0", "1.0.0-dev.9"], &["1.0.0-dev.29", "1.0.0-dev.30", "1.0.0"]),
    ("GHSA-qppj-fm5r-hxr3", "SwiftURL", "github.com/apple/swift-nio-http2", &["0 <1.28.0"], Swift,
        "github.com/apple/swift-nio-http2", &["1.27.0"], &["1.28.0"]),
    ("RUSTSEC-2021-0072", "crates.io", "tokio", &["0.3.0 <1.5.1 1.6.0 <1.6.3 1.7.0 <1.7.2 1.8.0 <1.8.1"], Cargo, "tokio",
        &["0.3.0", "1.5.0", "1.6.2", "1.8.0"], &["0.2.25", "1.5.1", "1.6.3", "1.7.2", "1.8.1", "2.0.0"]),
    // Qualifiers: a release is no pre-release of itself.
    ("GHSA-36p3-wjmg-h94x", "Maven", "org.springframework:spring-beans", &["0 <5.2.20.RELEASE", "5.3.0 <5.3.18"], Maven,
        "org.springframework:spring-beans", &["5.2.19.RELEASE", "5.3.17", "5.3.18-SNAPSHOT"], &["5.2.20.RELEASE", "5.3.18"]),
    ("GHSA-36p3-wjmg-h94x", "Maven", "org.springframework:spring-beans", &["0 <5.2.20.RELEASE"], Maven,
        "org.example:spring-beans", &[], &["5.2.19.RELEASE"]),
    // A major version is a module of its own.
    ("GO-2021-0051", "Go", "github.com/labstack/echo/v4", &["0 <4.1.18-0.20201215153152-4422e3b66b9f"], Golang,
        "github.com/labstack/echo/v4", &["v4.1.17"], &["v4.1.18-0.20201215153152-4422e3b66b9f", "v4.2.0"]),
    ("GO-2021-0051", "Go", "github.com/labstack/echo/v4", &["0 <4.1.18-0.20201215153152-4422e3b66b9f"], Golang,
        "github.com/labstack/echo", &[], &["v3.3.10+incompatible"]),
    ("GO-2020-0017", "Go", "github.com/dgrijalva/jwt-go", &["0.0.0-20150717181359-44718f8a89b0"], Golang,
        "github.com/dgrijalva/jwt-go", &["v3.2.0+incompatible"], &["v0.0.0-20140101000000-000000000000"]),
    ("GHSA-cxww-7g56-2vh6", "GitHub Actions", "actions/download-artifact", &["4.0.0 <4.1.7"], Github,
        "actions/download-artifact", &["4.1.6", "v4.0.0"], &["4.1.7", "v4.1.7", "3.0.2"]),
    // Of the shape alone.
    ("HSEC-0000-0001", "Hackage", "aeson", &["0.4.0.0 <2.0.1.0"], Hackage, "aeson", &["1.5.6.0", "2.0.0"], &["0.3.9", "2.0.1.0"]),
    ("RSEC-0000-0001", "CRAN", "commonmark", &["0.2 <1.8"], Cran, "commonmark", &["1.7", "1.7-1"], &["0.1", "1.8", "1.8-1"]),
    ("GHSA-cccc-0000-0001", "ConanCenter", "zlib", &["0 <1.2.12"], Conan, "zlib", &["1.2.11"], &["1.2.12", "1.3.0"]),
];

#[test]
fn languages() {
    for (id, osv_name, name, ranges, ecosystem, asked, affected, not) in LANGUAGES {
        let db = osv(&[&record(id, osv_name, name, ranges)]);
        for version in *affected {
            let found = db.match_component(&language(*ecosystem, asked, version)).unwrap();
            assert_eq!(found.len(), 1, "{id}: {asked} {version} is affected");
            assert_eq!(found[0].advisory, *id);
        }
        for version in *not {
            assert_eq!(
                found(&db, &language(*ecosystem, asked, version)),
                [""; 0],
                "{id}: {asked} {version} is not"
            );
        }
    }
}

/// An advisory of a distribution in OSV, a release and package with its source, affected versions and others.
type Packaged = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    (&'static str, &'static str),
    (&'static str, &'static str),
    &'static [&'static str],
    &'static [&'static str],
);

#[rustfmt::skip]
const DISTRIBUTIONS: &[Packaged] = &[
    // Binary packages, an epoch of zero written out, point releases.
    ("RLSA-2023:3220", "Rocky Linux:8", "firefox", "0 <0:102.11.0-2.el8_7", ("rocky", "8.7"), ("firefox", "firefox"),
        &["102.10.0-1.el8_7"], &["102.11.0-2.el8_7", "1:102.10.0-1.el8_7"]),
    ("RLSA-2023:3220", "Rocky Linux:8", "firefox", "0 <0:102.11.0-2.el8_7", ("rocky", "9.2"), ("firefox", "firefox"),
        &[], &["102.10.0-1.el9_2"]),
    // Rolling: whatever day os-release says, there is one release. (Of the shape alone.)
    ("openSUSE-SU-0000:0001-1", "openSUSE:Tumbleweed", "curl", "0 <8.4.0-1.1", ("opensuse-tumbleweed", "20231005"),
        ("libcurl4", "curl"), &["8.3.0-1.2"], &["8.4.0-1.1"]),
    ("openSUSE-SU-0000:0002-1", "openSUSE:Leap 15.5", "curl", "0 <8.0.1-150400.5.32.1", ("opensuse-leap", "15.5"),
        ("libcurl4", "curl"), &["8.0.1-150400.5.26.1"], &["8.0.1-150400.5.32.1"]),
    ("openSUSE-SU-0000:0002-1", "openSUSE:Leap 15.5", "curl", "0 <8.0.1-150400.5.32.1", ("opensuse-leap", "15.4"),
        ("libcurl4", "curl"), &[], &["8.0.1-150400.5.26.1"]),
    ("MGASA-0000-0001", "Mageia:9", "curl", "0 <7.88.1-3.1.mga9", ("mageia", "9"), ("libcurl4", "curl"),
        &["7.88.1-3.mga9"], &["7.88.1-3.1.mga9"]),
    // A derivative that builds Debian's sources and marks its builds.
    ("DSA-5514-1", "Debian:12", "glibc", "0 <2.36-9+deb12u3", ("raspbian", "12"), ("libc6", "glibc"),
        &["2.36-9+deb12u2", "2.36-9+rpt2+deb12u2"], &["2.36-9+deb12u3", "2.36-9+rpt2+deb12u3"]),
];

#[test]
fn distributions() {
    for (id, ecosystem, name, range, release, (package, source), affected, not) in DISTRIBUTIONS {
        let db = osv(&[&record(id, ecosystem, name, &[range])]);
        let kind = match ecosystem.split(':').next().unwrap() {
            "Debian" => Deb,
            _ => Rpm,
        };
        let of = |version: &str| packaged(kind, *release, (package, version), Some((source, version)));
        for version in *affected {
            assert_eq!(
                found(&db, &of(version)).len(),
                1,
                "{id}: {release:?} {package} {version} is affected"
            );
        }
        for version in *not {
            assert_eq!(found(&db, &of(version)), [""; 0], "{id}: {release:?} {package} {version} is not");
        }
    }
}

/// Alpine edge, Wolfi and Chainguard roll: one release each, by origin. Versions are of CVE-2023-38545 and CVE-2023-23914.
#[test]
fn rolling_distributions_of_secdb() {
    let secdb = |prefix: &str, release: &str, packages: &str| {
        format!(
            r#"{{"apkurl":"x","archs":["x86_64"],"reponame":"main","urlprefix":"{prefix}",{release}"packages":[{packages}]}}"#
        )
    };
    let wolfi = r#"{"pkg":{"name":"curl","secfixes":{"0":["CGA-gq23-vx26-4c6j","CVE-2023-52071"],"8.4.0-r0":["CGA-prv4-p5wj-wmm6","CVE-2023-38545","GHSA-7xw9-w465-6x42"]}}}"#;
    // More GHSA ids than CVE ids: one of them is a vulnerability of its own.
    let own = r#",{"pkg":{"name":"own","secfixes":{"1.1-r0":["CVE-2024-0002","GHSA-aaaa-aaaa-aaaa","GHSA-bbbb-bbbb-bbbb"]}}}"#;
    let edge =
        r#"{"pkg":{"name":"curl","secfixes":{"7.88.0-r0":["CVE-2023-23914"],"0":["CVE-2021-22897"]}}}"#;
    let db = db_of(&[
        ("wolfi.json", &secdb("https://packages.wolfi.dev", "", &format!("{wolfi}{own}"))),
        ("chainguard.json", &secdb("https://packages.cgr.dev", "", wolfi)),
        ("edge.json", &secdb("https://dl-cdn.alpinelinux.org/alpine", r#""distroversion":"edge","#, edge)),
    ]);
    for (id, release, version, expected) in [
        ("wolfi", "20230201", "8.3.0-r0", &["CVE-2023-38545"][..]),
        ("wolfi", "20230201", "8.4.0-r0", &[]),
        ("chainguard", "20230214", "8.3.0-r0", &["CVE-2023-38545"]),
        ("chainguard", "20230214", "8.4.0-r0", &[]),
        ("alpine", "3.19_alpha20230901", "7.87.0-r2", &["CVE-2023-23914"]),
        ("alpine", "edge", "7.88.0-r0", &[]),
        // A release is not edge, and edge is none of its business.
        ("alpine", "3.18.4", "7.87.0-r2", &[]),
    ] {
        let component = packaged(Apk, (id, release), ("libcurl", version), Some(("curl", version)));
        let matches = db.match_component(&component).unwrap();
        let ids: Vec<&str> = matches.iter().map(|m| m.vulnerability.as_str()).collect();
        assert_eq!(ids, expected, "{id} {release} {version}");
    }
    let own = packaged(Apk, ("wolfi", "20230201"), ("own", "1.0-r0"), Some(("own", "1.0-r0")));
    assert_eq!(db.match_component(&own).unwrap().len(), 3, "nothing is lost");
}

/// The tracker's states and urgencies, in its own words.
#[test]
fn states_and_urgencies_of_debians_tracker() {
    let releases = |status: &str| {
        format!(r#"{{"releases":{{"bookworm":{{"repositories":{{"bookworm":"1.0-1"}},{status}}}}}}}"#)
    };
    for (status, version, expected) in [
        (r#""status":"open","urgency":"high**""#, "1.0-1", Some((MatchStatus::Affected, Severity::High))),
        (
            r#""status":"open","urgency":"unimportant""#,
            "1.0-1",
            Some((MatchStatus::Affected, Severity::Negligible)),
        ),
        (
            r#""status":"open","urgency":"low","nodsa":"Minor issue","nodsa_reason":"postponed""#,
            "1.0-1",
            Some((MatchStatus::Affected, Severity::Low)),
        ),
        (
            r#""status":"open","urgency":"low","nodsa":"Minor issue","nodsa_reason":"ignored""#,
            "1.0-1",
            Some((MatchStatus::WontFix, Severity::Low)),
        ),
        (
            r#""status":"resolved","urgency":"medium","fixed_version":"1.0-2""#,
            "1.0-1",
            Some((MatchStatus::Affected, Severity::Medium)),
        ),
        (r#""status":"resolved","urgency":"medium","fixed_version":"1.0-2""#, "1.0-2", None),
        (r#""status":"resolved","urgency":"medium","fixed_version":"0""#, "1.0-1", None),
        (r#""status":"undetermined","urgency":"not yet assigned""#, "1.0-1", None),
    ] {
        let tracker = format!(r#"{{"p":{{"CVE-2024-0001":{}}}}}"#, releases(status));
        let db = db_of(&[("tracker.json", &tracker)]);
        // The binary was built again; the source is what counts.
        let component = packaged(Deb, ("debian", "12"), ("libp", "1.0-2+b1"), Some(("p", version)));
        let found = db.match_component(&component).unwrap();
        assert_eq!(found.first().map(|m| m.status), expected.map(|(status, _)| status), "{status}");
        if let Some((_, severity)) = expected {
            assert_eq!(db.vulnerability("CVE-2024-0001").unwrap().unwrap().severity, severity, "{status}");
        }
    }
}

/// A language package that a distribution package owns is matched as that package: backports have other versions.
#[test]
fn what_a_distribution_package_owns_is_that_package() {
    let db = osv(&[
        &record("PYSEC-2023-192", "PyPI", "urllib3", &["0 <1.26.17 2.0.0 <2.0.6"]),
        &record("DEBIAN-CVE-2024-0001", "Debian:12", "python-urllib3", &["0 <1.26.12-1+deb12u1"]),
    ]);
    let component = |key, owned: bool| Component {
        purl: String::new(),
        display_name: String::new(),
        key,
        locations: Vec::new(),
        licenses: Vec::new(),
        owned_by: owned.then(|| "pkg:deb/debian/python3-urllib3".to_owned()),
        confidence: Confidence::High,
        supplier: String::new(),
        found_by: String::new(),
        introduced: None,
        depends_on: Vec::new(),
    };
    let deb = |version| {
        packaged(Deb, ("debian", "12"), ("python3-urllib3", version), Some(("python-urllib3", version)))
    };
    let wheel = language(Pypi, "urllib3", "1.26.12");
    for (parts, expected) in [
        // Fixed by a backport: the version of the wheel says nothing.
        (vec![component(deb("1.26.12-1+deb12u1"), false), component(wheel.clone(), true)], &[][..]),
        (vec![component(deb("1.26.12-1"), false), component(wheel.clone(), true)], &["python3-urllib3"]),
        // Not owned: another copy.
        (vec![component(deb("1.26.12-1+deb12u1"), false), component(wheel, false)], &["urllib3"]),
    ] {
        let sbom = Sbom {
            image: None,
            name: "test".into(),
            platform: None,
            distribution: None,
            layers: Vec::new(),
            components: parts,
            anomalies: Vec::new(),
            partial: Vec::new(),
            labels: Vec::new(),
            base: None,
            secrets: Vec::new(),
        };
        let matches = db.match_sbom(&sbom).unwrap().matches;
        let names: Vec<&str> = matches.iter().map(|m| m.component.package.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}
