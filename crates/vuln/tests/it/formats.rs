//! Formats of distributions and of NVD, each in documents of the published shape. Ids, packages and versions are facts
//! of the advisories named.

use plimsoll_model::package::ComponentKey;
use plimsoll_model::package::Ecosystem::*;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_vuln::{Db, Format, build, detect};

use crate::support::*;

fn rpm(release: (&str, &str), name: &str, version: &str) -> ComponentKey {
    ComponentKey { arch: "x86_64".into(), ..packaged(Rpm, release, (name, version), Some((name, version))) }
}

const AMAZON: &str = r#"<?xml version="1.0" ?>
<updates><update author="linux-security@amazon.com" from="linux-security@amazon.com" status="final" type="security" version="1.4">
<id>ALAS2023-2023-356</id><title>Amazon Linux 2023 - ALAS2023-2023-356: important priority package update for curl</title>
<issued date="2023-09-27 22:44:32"/><updated date="2023-10-10 22:31:00"/><severity>important</severity><description>x &amp; y</description>
<references><reference href="https://cve.mitre.org/cgi-bin/cvename.cgi?name=CVE-2023-38039" id="CVE-2023-38039" title="" type="cve"/></references>
<pkglist><collection short="amazon-linux-2023"><name>Amazon Linux 2023</name>
<package arch="x86_64" epoch="0" name="libcurl" release="1.amzn2023.0.1" version="8.3.0"><filename>Packages/libcurl-8.3.0-1.amzn2023.0.1.x86_64.rpm</filename></package>
<package arch="aarch64" epoch="0" name="libcurl" release="1.amzn2023.0.1" version="8.3.0"><filename/></package>
<package arch="src" epoch="0" name="curl" release="1.amzn2023.0.1" version="8.3.0"><filename/></package>
</collection></pkglist></update>
<update type="bugfix"><id>ALAS2023-2023-001</id><title>no vulnerability</title><issued date="2023-03-01 00:00"/><severity>low</severity><references/><pkglist/></update>
<update type="security"><id>FEDORA-EPEL-2023-1</id><title>CVE-2023-0001</title><issued date="2023-03-01 00:00"/><references><reference id="CVE-2023-0001"/></references><pkglist/></update>
</updates>"#;

#[test]
fn updates_of_rpm_repositories() {
    let (bytes, report) = build_of(&[("updateinfo.xml", AMAZON)]);
    let feed = &report.feeds[0];
    assert_eq!(
        (feed.format, feed.records, feed.ignored, feed.rejected),
        (Format::UpdateInfo, 1, 1, 0),
        "{feed:?}"
    );
    assert_eq!(feed.newest.unwrap().to_string(), "2023-10-10T22:31:00Z");
    let db = Db::from_bytes(bytes).unwrap();
    let found = db.match_component(&rpm(("amzn", "2023"), "libcurl", "8.2.1-1.amzn2023.0.3")).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].advisory.as_str(), found[0].feed.as_str()), ("ALAS2023-2023-356", "amazon"));
    assert_eq!(found[0].fixed.as_deref(), Some("8.3.0-1.amzn2023.0.1"));
    assert_eq!(found[0].feed_date.unwrap().to_string(), "2023-10-10T22:31:00Z");
    assert!(
        db.match_component(&rpm(("amzn", "2023"), "libcurl", "8.3.0-1.amzn2023.0.1")).unwrap().is_empty()
    );
    // Another release, and an architecture that is not named.
    assert!(db.match_component(&rpm(("amzn", "2"), "libcurl", "7.1-1.amzn2")).unwrap().is_empty());
    let other =
        ComponentKey { arch: "ppc64le".into(), ..rpm(("amzn", "2023"), "libcurl", "8.2.1-1.amzn2023.0.3") };
    assert!(db.match_component(&other).unwrap().is_empty());
    assert_eq!(db.vulnerability("CVE-2023-38039").unwrap().unwrap().severity.as_str(), "high");
}

const ORACLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"><definitions>
<definition id="oval:com.oracle.elsa:def:20235763" version="501" class="patch"><metadata>
<title>ELSA-2023-5763:  curl security update (IMPORTANT)</title>
<affected family="unix"><platform>Oracle Linux 9</platform></affected>
<reference source="elsa" ref_id="ELSA-2023-5763" ref_url="https://linux.oracle.com/errata/ELSA-2023-5763.html"/>
<reference source="CVE" ref_id="CVE-2023-38545" ref_url="https://linux.oracle.com/cve/CVE-2023-38545.html"/>
<advisory><severity>IMPORTANT</severity><issued date="2023-10-17"/><cve>CVE-2023-38545</cve></advisory></metadata>
<criteria operator="AND"><criterion test_ref="oval:t:1" comment="Oracle Linux 9 is installed"/>
<criteria operator="OR"><criteria operator="AND"><criterion test_ref="oval:t:2" comment="Oracle Linux arch is x86_64"/>
<criteria operator="OR"><criteria operator="AND"><criterion test_ref="oval:t:3" comment="libcurl is earlier than 0:7.76.1-26.el9_2.4"/>
<criterion test_ref="oval:t:4" comment="libcurl is signed with the Oracle Linux 9 key"/></criteria></criteria></criteria></criteria></criteria></definition>
<definition id="oval:com.oracle.elsa:def:20231582" class="patch"><metadata><title>ELSA-2023-1582:  nodejs:18 security update (MODERATE)</title>
<affected family="unix"><platform>Oracle Linux 8</platform></affected><reference source="elsa" ref_id="ELSA-2023-1582"/>
<advisory><severity>MODERATE</severity><issued date="2023-04-05"/><cve>CVE-2023-23918</cve></advisory></metadata>
<criteria operator="AND"><criterion test_ref="oval:t:5" comment="Oracle Linux 8 is installed"/><criterion test_ref="oval:t:6" comment="Module nodejs:18 is enabled"/>
<criterion test_ref="oval:t:7" comment="nodejs is earlier than 1:18.14.2-2.module+el8.7.0+20945+52eb6e3e"/></criteria></definition>
</definitions><tests>
<rpminfo_test id="oval:t:1"><object object_ref="oval:o:9"/><state state_ref="oval:s:9"/></rpminfo_test>
<rpminfo_test id="oval:t:3"><object object_ref="oval:o:1"/><state state_ref="oval:s:1"/></rpminfo_test>
<rpminfo_test id="oval:t:4"><object object_ref="oval:o:1"/><state state_ref="oval:s:2"/></rpminfo_test>
<rpminfo_test id="oval:t:7"><object object_ref="oval:o:2"/><state state_ref="oval:s:3"/></rpminfo_test></tests>
<objects><rpminfo_object id="oval:o:1"><name>libcurl</name></rpminfo_object><rpminfo_object id="oval:o:2"><name>nodejs</name></rpminfo_object></objects>
<states><rpminfo_state id="oval:s:1"><evr datatype="evr_string" operation="less than">0:7.76.1-26.el9_2.4</evr></rpminfo_state>
<rpminfo_state id="oval:s:2"><signature_keyid operation="equals">bc4d06a08d8b756f</signature_keyid></rpminfo_state>
<rpminfo_state id="oval:s:3"><evr datatype="evr_string" operation="less than">1:18.14.2-2.module+el8.7.0+20945+52eb6e3e</evr></rpminfo_state>
<rpminfo_state id="oval:s:9"><version operation="pattern match">^9</version></rpminfo_state></states></oval_definitions>"#;

#[test]
fn oval_definitions_say_package_release_and_module() {
    let (bytes, report) = build_of(&[("com.oracle.elsa-all.xml", ORACLE)]);
    assert_eq!(
        (report.feeds[0].format, report.records(), report.rejected()),
        (Format::Oval, 2, 0),
        "{report:?}"
    );
    let db = Db::from_bytes(bytes).unwrap();
    assert_eq!(
        found(&db, &rpm(("ol", "9.2"), "libcurl", "7.76.1-23.el9")),
        ["CVE-2023-38545 >= 0, < 7.76.1-26.el9_2.4 fixed 7.76.1-26.el9_2.4"]
    );
    assert!(found(&db, &rpm(("ol", "9.2"), "libcurl", "7.76.1-26.el9_2.4")).is_empty());
    assert!(found(&db, &rpm(("ol", "8.8"), "libcurl", "7.61.1-1.el8")).is_empty());
    // Oracle's ksplice builds have advisories of their own.
    assert!(found(&db, &rpm(("ol", "9.2"), "libcurl", "2:7.76.1-23.ksplice1.el9")).is_empty());
    let node = |stream: &str, version: &str| ComponentKey {
        stream: stream.into(),
        ..rpm(("ol", "8"), "nodejs", version)
    };
    assert_eq!(found(&db, &node("nodejs:18", "1:18.12.1-2.module+el8.7.0+20895+8c9ad9d3")).len(), 1);
    assert!(found(&db, &node("nodejs:16", "1:16.19.1-1.module+el8.7.0+20935+5b8d9a31")).is_empty());
    assert!(found(&db, &node("nodejs:18", "1:18.14.2-2.module+el8.7.0+20945+52eb6e3e")).is_empty());
}

const SUSE: &str = r#"<oval_definitions><definitions><definition id="oval:org.opensuse.security:def:20234911" class="vulnerability"><metadata>
<title>CVE-2023-4911</title><affected family="unix"><platform>SUSE Linux Enterprise Server 15 SP4</platform><platform>SUSE Linux Enterprise Server 15 SP5</platform></affected>
<reference ref_id="Mitre CVE-2023-4911" source="CVE"/><advisory><severity>Important</severity></advisory></metadata>
<criteria operator="OR"><criteria operator="AND"><criteria operator="OR"><criterion test_ref="a" comment="SUSE Linux Enterprise Server 15 SP5 is installed"/></criteria>
<criteria operator="OR"><criterion test_ref="b" comment="glibc-2.31-150300.58.1 is installed"/></criteria></criteria></criteria></definition></definitions>
<tests><rpminfo_test id="b"><object object_ref="g"/><state state_ref="s"/></rpminfo_test></tests><objects><rpminfo_object id="g"><name>glibc</name></rpminfo_object></objects>
<states><rpminfo_state id="s"><evr datatype="evr_string" operation="less than">0:2.31-150300.58.1</evr></rpminfo_state></states></oval_definitions>"#;

#[test]
fn suse_speaks_of_the_release_that_stands_beside_the_test() {
    let db = db_of(&[("suse.xml", SUSE)]);
    let glibc = |release| {
        packaged(Rpm, ("sles", release), ("glibc", "2.31-150300.46.1"), Some(("glibc", "2.31-150300.46.1")))
    };
    assert_eq!(found(&db, &glibc("15.5")).len(), 1);
    assert_eq!(found(&db, &glibc("15.4")).len(), 0);
}

#[test]
fn modules_of_suse_are_the_server_they_belong_to() {
    // As OSV writes it, by source package; as OVAL does, by binary package, the server and its module side by side.
    let affected = |ecosystem: &str| {
        format!(
            r#"{{"package":{{"ecosystem":"{ecosystem}","name":"glibc"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"2.31-150300.58.1"}}]}}]}}"#
        )
    };
    let record = |ecosystems: &[&str]| {
        let all: Vec<String> = ecosystems.iter().map(|ecosystem| affected(ecosystem)).collect();
        format!(
            r#"{{"id":"SUSE-SU-2023:4110-1","modified":"2023-10-18T00:00:00Z","upstream":["CVE-2023-4911"],"affected":[{}]}}"#,
            all.join(",")
        )
    };
    let osv = record(&[
        "SUSE:Linux Enterprise Module for Basesystem 15 SP5",
        "SUSE:Linux Enterprise Module for Development Tools 15 SP5",
        "SUSE:Linux Enterprise Micro 5.5",
        "SUSE:Linux Enterprise Server 15 SP3-LTSS",
    ]);
    let beside = "<criterion test_ref=\"m\" comment=\"SUSE Linux Enterprise Module for Basesystem 15 SP5 is installed\"/><criterion test_ref=\"l\" comment=\"SUSE Linux Enterprise Server 15 SP3-LTSS is installed\"/></criteria>\n<criteria operator=\"OR\">";
    let oval = SUSE.replacen("</criteria>\n<criteria operator=\"OR\">", beside, 1);
    assert_ne!(oval, SUSE);
    for (name, content, of) in [("osv.json", osv, "osv"), ("suse.xml", oval, "oval")] {
        let db = db_of(&[(name, &content)]);
        let glibc = |id: &str, release: &str, version: &str| {
            let name = if of == "osv" { "glibc-locale-base" } else { "glibc" };
            found(&db, &packaged(Rpm, (id, release), (name, version), Some(("glibc", version))))
        };
        let expected = ["CVE-2023-4911 >= 0, < 2.31-150300.58.1 fixed 2.31-150300.58.1"];
        assert_eq!(glibc("sles", "15.5", "2.31-150300.46.1"), expected, "{of}");
        assert_eq!(glibc("sled", "15.5", "2.31-150300.46.1"), expected, "{of}");
        // The fix, another service pack, a channel that is paid for apart, and another distribution.
        assert!(glibc("sles", "15.5", "2.31-150300.58.1").is_empty(), "{of}");
        assert!(glibc("sles", "15.4", "2.31-150300.46.1").is_empty(), "{of}");
        assert!(glibc("sles", "15.3", "2.31-150300.46.1").is_empty(), "{of}");
        assert!(glibc("opensuse-leap", "15.5", "2.31-150300.46.1").is_empty(), "{of}");
        // Micro has releases of its own.
        assert_eq!(glibc("sle-micro", "5.5", "2.31-150300.46.1").len(), usize::from(of == "osv"));
        assert!(glibc("sle-micro", "5.4", "2.31-150300.46.1").is_empty(), "{of}");
        let key = plimsoll_vuln::LookupKey::new(
            Rpm,
            Some(&plimsoll_model::package::Release { id: "sles".into(), version: "15.5".into() }),
            "glibc",
        );
        if of == "oval" {
            assert_eq!(db.query(&key).unwrap().len(), 1, "said once");
        }
    }
}

#[test]
fn azure_and_photon_by_their_dist_tags() {
    let azure = SUSE
        .replace("SUSE Linux Enterprise Server 15 SP5 is installed", "x")
        .replace("<platform>SUSE Linux Enterprise Server 15 SP4</platform><platform>SUSE Linux Enterprise Server 15 SP5</platform>", "<platform>Azure Linux</platform>")
        .replace("0:2.31-150300.58.1", "0:2.38-11.azl3");
    let photon = r#"[{"cve_id":"CVE-2023-38545","pkg":"curl","cve_score":9.8,"aff_ver":"all versions before 8.1.2-4.ph5 are vulnerable","res_ver":"8.1.2-4.ph5"},
        {"cve_id":"CVE-2023-38546","pkg":"curl","cve_score":3.7,"aff_ver":"NA","res_ver":"NA"},{"cve_id":"x","pkg":"curl","res_ver":"1-1.ph5"}]"#;
    let (bytes, report) =
        build_of(&[("azurelinux-3.0-oval.xml", &azure), ("cve_data_photon5.0.json", photon)]);
    let by: Vec<_> = report.feeds.iter().map(|f| (f.format, f.records, f.rejected, f.ignored)).collect();
    assert_eq!(by, [(Format::Oval, 1, 0, 0), (Format::Photon, 1, 1, 1)]);
    let db = Db::from_bytes(bytes).unwrap();
    assert_eq!(db.info().unwrap().coverage, ["rpm:azurelinux:3", "rpm:photon:5"]);
    assert_eq!(found(&db, &rpm(("azurelinux", "3.0"), "glibc", "2.38-8.azl3")).len(), 1);
    assert_eq!(found(&db, &rpm(("azurelinux", "3.0"), "glibc", "2.38-11.azl3")).len(), 0);
    let curl = |version| packaged(Rpm, ("photon", "5.0"), ("curl-libs", version), Some(("curl", version)));
    assert_eq!(found(&db, &curl("8.1.2-3.ph5")), ["CVE-2023-38545 >= 0, < 8.1.2-4.ph5 fixed 8.1.2-4.ph5"]);
    assert_eq!(found(&db, &curl("8.1.2-4.ph5")).len(), 0);
}

const NVD: &str = r#"{"resultsPerPage":3,"startIndex":0,"totalResults":3,"format":"NVD_CVE","version":"2.0","timestamp":"2023-10-18T18:04:18.493","vulnerabilities":[
{"cve":{"id":"CVE-2022-0778","published":"2022-03-15T17:15:08.513","lastModified":"2023-02-23T18:55:38.273","vulnStatus":"Analyzed","descriptions":[{"lang":"en","value":"The BN_mod_sqrt() function"}],
 "metrics":{"cvssMetricV31":[{"cvssData":{"vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}]},
 "configurations":[{"nodes":[{"operator":"OR","negate":false,"cpeMatch":[
  {"vulnerable":true,"criteria":"cpe:2.3:a:openssl:openssl:*:*:*:*:*:*:*:*","versionStartIncluding":"1.1.1","versionEndExcluding":"1.1.1n"},
  {"vulnerable":true,"criteria":"cpe:2.3:a:openssl:openssl:3.0.0:beta1:*:*:*:*:*:*"}]}]},
  {"nodes":[{"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":true,"criteria":"cpe:2.3:o:debian:debian_linux:9.0:*:*:*:*:*:*:*"}]}]}]}},
{"cve":{"id":"CVE-2023-1111","vulnStatus":"Analyzed","configurations":[{"nodes":[{"operator":"OR","negate":false,"cpeMatch":[
  {"vulnerable":true,"criteria":"cpe:2.3:a:nodejs:node.js:*:*:*:*:lts:*:*:*","versionStartExcluding":"18.0.0","versionEndIncluding":"18.2.0"},
  {"vulnerable":true,"criteria":"cpe:2.3:a:someone:windows_thing:*:*:*:*:*:windows:*:*"}]}]}]}},
{"cve":{"id":"CVE-2023-2222","vulnStatus":"Rejected","configurations":[]}}]}"#;

#[test]
fn nvd_names_programs_without_a_package() {
    let node = r#"{"1":{"cve":["CVE-2017-1000381"],"vulnerable":"8.x || 4.x","patched":"^8.1.4 || ^4.8.4","description":"memory overread","severity":"high"},"2":{"vulnerable":"no range","patched":""}}"#;
    let bitnami = r#"{"schema_version":"1.5.0","id":"BIT-redis-2023-41056","modified":"2024-03-06T10:53:00Z","aliases":["CVE-2023-41056"],"affected":[{"package":{"ecosystem":"Bitnami","name":"redis"},"ranges":[{"type":"SEMVER","events":[{"introduced":"7.0.9"},{"fixed":"7.0.15"}]}]}]}"#;
    let (bytes, report) = build_of(&[("page.json", NVD), ("node.json", node), ("BIT-redis.json", bitnami)]);
    let by: Vec<_> = report.feeds.iter().map(|f| (f.format, f.records, f.rejected, f.ignored)).collect();
    assert_eq!(by, [(Format::Osv, 1, 0, 0), (Format::Nvd, 2, 0, 1), (Format::NodeCore, 1, 1, 0)]);
    let db = Db::from_bytes(bytes).unwrap();
    for (program, version, expected) in [
        ("openssl", "1.1.1k", Some("CVE-2022-0778")),
        ("openssl", "1.1.1n", None),
        ("openssl", "3.0.0beta1", Some("CVE-2022-0778")),
        ("openssl", "3.0.1", None),
        ("node", "18.1.0", Some("CVE-2023-1111")),
        // "Excluding" is: not this one.
        ("node", "18.0.0", None),
        ("node", "18.2.0", Some("CVE-2023-1111")),
        ("node", "18.2.1", None),
        ("node", "8.1.3", Some("CVE-2017-1000381")),
        ("node", "8.1.4", None),
        ("redis", "7.0.12", Some("CVE-2023-41056")),
        ("redis", "7.0.15", None),
        ("nothing-known", "1.0", None),
    ] {
        let matches = db.match_component(&language(Generic, program, version)).unwrap();
        let ids: Vec<&str> = matches.iter().map(|m| m.vulnerability.as_str()).collect();
        assert_eq!(ids, expected.into_iter().collect::<Vec<_>>(), "{program} {version}");
        assert!(matches.iter().all(|m| !m.confident), "a guess, always");
    }
    // A package of the name is no such program.
    assert!(found(&db, &language(Npm, "openssl", "1.1.1")).is_empty());
    // What a change names is found again by the program's own name.
    for key in db.lookup_keys_of("CVE-2022-0778").unwrap() {
        assert_eq!(key.component_names(), [(Generic, "openssl".to_owned())]);
    }
}

#[test]
fn packages_without_support_will_not_be_fixed() {
    let list = "# comment\nwpewebkit  non-supported  2.38.6-1  2023-05-09  https://bugs.debian.org/1035794\nphp-horde.*  non-supported 0 2025-03-22 x\nbinutils limited Only suitable for trusted content\n";
    let tracker = r#"{"wpewebkit":{"CVE-2023-32439":{"releases":{"bookworm":{"status":"open","repositories":{"bookworm":"2.38.6-1"},"urgency":"not yet assigned"},"trixie":{"status":"open","repositories":{},"urgency":"medium"}}}},
        "php-horde-form":{"CVE-2020-8866":{"releases":{"bookworm":{"status":"open","repositories":{},"urgency":"low"}}}},
        "binutils":{"CVE-2023-1579":{"releases":{"bookworm":{"status":"open","repositories":{},"urgency":"low"}}}}}"#;
    let directory = directory(&[("security-support.deb12", list), ("tracker.json", tracker)]);
    let at = |text: &str| plimsoll_vuln::BuildOptions {
        seq: 1,
        built_at: format!("{text}T00:00:00Z").parse().unwrap(),
    };
    let status = |options, source: &str, release| {
        let (bytes, report) = build(&[directory.path().to_owned()], &options).unwrap();
        assert_eq!(report.rejected(), 0, "{report:?}");
        let db = Db::from_bytes(bytes).unwrap();
        let matches = db
            .match_component(&packaged(Deb, ("debian", release), ("b", "1-1"), Some((source, "1-1"))))
            .unwrap();
        matches[0].status
    };
    assert_eq!(status(at("2024-01-01"), "wpewebkit", "12"), MatchStatus::WontFix);
    // Other releases, before the day, and limited support: as the tracker says.
    assert_eq!(status(at("2024-01-01"), "wpewebkit", "13"), MatchStatus::Affected);
    assert_eq!(status(at("2024-01-01"), "php-horde-form", "12"), MatchStatus::Affected);
    assert_eq!(status(at("2025-04-01"), "php-horde-form", "12"), MatchStatus::WontFix);
    assert_eq!(status(at("2025-04-01"), "binutils", "12"), MatchStatus::Affected);
}

#[test]
fn databases_as_their_repositories_are_laid_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = |path: &str, content: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    // github.com/github/advisory-database
    file(
        "advisories/github-reviewed/2021/02/GHSA-35jh-r3h4-6jhm/GHSA-35jh-r3h4-6jhm.json",
        r#"{"schema_version":"1.4.0","id":"GHSA-35jh-r3h4-6jhm","modified":"2025-01-01T00:00:00Z","aliases":["CVE-2021-23337"],"affected":[{"package":{"ecosystem":"npm","name":"lodash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"4.17.21"}]}]}],"database_specific":{"severity":"HIGH"}}"#,
    );
    file("README.md", "# GitHub Advisory Database");
    // vuln.go.dev
    file("index/db.json", r#"{"modified":"2026-08-21T00:00:00Z"}"#);
    file(
        "index/modules.json",
        r#"[{"path":"golang.org/x/net","vulns":[{"id":"GO-2023-2102","modified":"2024-05-20T16:03:47Z","fixed":"0.17.0"}]}]"#,
    );
    file(
        "index/vulns.json",
        r#"[{"id":"GO-2023-2102","modified":"2024-05-20T16:03:47Z","aliases":["CVE-2023-39325"]}]"#,
    );
    file(
        "ID/GO-2023-2102.json",
        r#"{"schema_version":"1.3.1","id":"GO-2023-2102","modified":"2024-05-20T16:03:47Z","aliases":["CVE-2023-39325","GHSA-4374-p667-p6c8"],"affected":[{"package":{"name":"golang.org/x/net","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.17.0"}]}]}]}"#,
    );
    // github.com/rustsec/advisory-db, branch osv
    file(
        "crates/RUSTSEC-2023-0052.json",
        r#"{"id":"RUSTSEC-2023-0052","modified":"2023-08-25T18:21:56Z","aliases":["CVE-2018-16875"],"affected":[{"package":{"ecosystem":"crates.io","name":"webpki"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0.0.0-0"},{"fixed":"0.22.2"}]}],"database_specific":{"informational":null}}]}"#,
    );
    let (bytes, report) = build(&[directory.path().to_owned()], &OPTIONS).unwrap();
    let feed = &report.feeds[0];
    assert_eq!((report.feeds.len(), feed.records, feed.rejected), (1, 3, 0), "{report:?}");
    let counts: Vec<_> = feed.feeds.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("ghsa", 1), ("go", 1), ("rustsec", 1)]);
    assert_eq!(plimsoll_vuln::feeds::licence::of_report(feed), ["CC-BY-4.0", "CC0-1.0"]);
    let db = Db::from_bytes(bytes).unwrap();
    assert_eq!(found(&db, &language(Npm, "lodash", "4.17.20")).len(), 1);
    assert_eq!(found(&db, &language(Golang, "golang.org/x/net", "v0.16.0")).len(), 1);
    assert_eq!(found(&db, &language(Cargo, "webpki", "0.22.1")).len(), 1);
    assert_eq!(found(&db, &language(Cargo, "webpki", "0.22.2")).len(), 0);
}

#[test]
fn hostile_xml_is_a_named_reject() {
    for (content, reason) in [
        (AMAZON.replace("</updates>", "<update>"), "xml_invalid"),
        (AMAZON.replace("1.amzn2023.0.1", "1.nobody"), "release_unknown"),
        (AMAZON.replace("<id>ALAS2023-2023-356</id>", "<id>not an id</id>"), "id_invalid"),
        (
            format!("<updates><update><id>ALAS2-1</id>{}</update></updates>", "<a>".repeat(200)),
            "record_too_large",
        ),
    ] {
        let (_, report) = build_of(&[("updateinfo.xml", &content)]);
        assert!(report.feeds[0].rejects.iter().any(|r| r.reason == reason), "{reason}: {report:?}");
    }
    let nested = tempfile::tempdir().unwrap();
    std::fs::write(nested.path().join("x.xml"), "<html/>").unwrap();
    assert!(detect(nested.path()).unwrap().is_empty());
}
