//! The rules of matching, each with what it finds and what it must not find. Ids, packages and versions are facts of
//! the advisories named.

use plimsoll_model::package::Ecosystem::*;
use plimsoll_model::vulnerability::MatchStatus;

use crate::support::*;

#[test]
fn debian_matches_source_package_and_release() {
    let db = osv(&[
        r#"{"id":"DEBIAN-CVE-2023-4911","modified":"2024-01-01T00:00:00Z","upstream":["CVE-2023-4911"],"affected":[
            {"package":{"ecosystem":"Debian:12","name":"glibc"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.36-9+deb12u3"}]}]}]}"#
            .replace('\n', " ")
            .as_str(),
    ]);
    let libc = |release, source_version| {
        packaged(Deb, ("debian", release), ("libc6", "2.36-9+b1"), Some(("glibc", source_version)))
    };
    assert_eq!(
        found(&db, &libc("12", "2.36-9+deb12u2")),
        ["CVE-2023-4911 >= 0, < 2.36-9+deb12u3 fixed 2.36-9+deb12u3"]
    );
    // Point releases of os-release are the same release.
    assert_eq!(found(&db, &libc("12.5", "2.36-9+deb12u2")).len(), 1);
    // The fixed source version, another release, and the binary's name alone: nothing.
    assert_eq!(found(&db, &libc("12", "2.36-9+deb12u3")), Vec::<String>::new());
    assert_eq!(found(&db, &libc("11", "2.36-9+deb12u2")), Vec::<String>::new());
    assert_eq!(found(&db, &packaged(Deb, ("debian", "12"), ("libc6", "2.36-9"), None)), Vec::<String>::new());
    assert_eq!(
        found(&db, &packaged(Deb, ("ubuntu", "12"), ("libc6", "2.36-9"), Some(("glibc", "2.36-9")))),
        Vec::<String>::new()
    );
}

#[test]
fn epochs_count() {
    let db = osv(&[
        r#"{"id":"DLA-1396-1","modified":"2018-06-26T00:00:00Z","upstream":["CVE-2018-11218","CVE-2018-11219"],"affected":[{"package":{"ecosystem":"Debian:8","name":"redis"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2:2.8.17-1+deb8u6"}]}]}]}"#,
    ]);
    let redis = |version| packaged(Deb, ("debian", "8"), ("redis-server", version), Some(("redis", version)));
    // One advisory that names two CVEs is two vulnerabilities.
    assert_eq!(found(&db, &redis("2:2.8.17-1+deb8u5")).len(), 2);
    // Without an epoch the version is lower than any with one.
    assert_eq!(found(&db, &redis("5.0.0-1")).len(), 2);
    assert_eq!(found(&db, &redis("2:2.8.17-1+deb8u6")).len(), 0);
    assert!(db.vulnerability("CVE-2018-11218").unwrap().unwrap().aliases.is_empty());
    let both: Vec<String> = db.vulnerabilities("DLA-1396-1").unwrap().into_iter().map(|v| v.id).collect();
    assert_eq!(both, ["CVE-2018-11218", "CVE-2018-11219"]);
}

#[test]
fn ubuntu_releases_and_extended_support() {
    let db = osv(&[
        r#"{"id":"UBUNTU-CVE-2022-3602","modified":"2022-11-01T00:00:00Z","upstream":["CVE-2022-3602"],"severity":[{"type":"Ubuntu","score":"high"}],"affected":[{"package":{"ecosystem":"Ubuntu:22.04:LTS","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"3.0.2-0ubuntu1.7"}]}]},{"package":{"ecosystem":"Ubuntu:Pro:18.04:LTS","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.1.1-1ubuntu2.1~18.04.23+esm3"}]}]},{"package":{"ecosystem":"Ubuntu:18.04:LTS","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#,
    ]);
    let openssl = |release, version| {
        packaged(Deb, ("ubuntu", release), ("libssl3", version), Some(("openssl", version)))
    };
    assert_eq!(found(&db, &openssl("22.04", "3.0.2-0ubuntu1.6")).len(), 1);
    assert_eq!(found(&db, &openssl("22.04", "3.0.2-0ubuntu1.7")).len(), 0);
    // The plain channel never fixes it; the extended one does.
    assert_eq!(found(&db, &openssl("18.04", "1.1.1-1ubuntu2.1~18.04.23")), ["CVE-2022-3602 >= 0 fixed -"]);
    assert_eq!(found(&db, &openssl("18.04", "1.1.1-1ubuntu2.1~18.04.23+esm3")).len(), 0);
    assert_eq!(found(&db, &openssl("18.04", "1.1.1-1ubuntu2.1~18.04.23+esm2")).len(), 1);
    let vulnerability = db.vulnerability("UBUNTU-CVE-2022-3602").unwrap().unwrap();
    assert_eq!((vulnerability.id.as_str(), vulnerability.severity.as_str()), ("CVE-2022-3602", "high"));
    assert_eq!(vulnerability.severity_source, "ubuntu");
}

#[test]
fn alpine_origin_release_and_never_affected() {
    let secdb = r#"{"distroversion":"v3.17","reponame":"main","urlprefix":"https://dl-cdn.alpinelinux.org/alpine","packages":[
        {"pkg":{"name":"openssl","secfixes":{"3.0.7-r0":["CVE-2022-3602","CVE-2022-3786"],"0":["CVE-2022-1292"]}}},
        {"pkg":{"name":"xen","secfixes":{"4.10.1-r0":["CVE-2018-7540 XSA-252"]}}}]}"#;
    let db = db_of(&[("main.json", secdb)]);
    let openssl = |release, version| {
        packaged(Apk, ("alpine", release), ("libssl3", version), Some(("openssl", version)))
    };
    assert_eq!(
        found(&db, &openssl("3.17.3", "3.0.5-r1")),
        ["CVE-2022-3602 >= 0, < 3.0.7-r0 fixed 3.0.7-r0", "CVE-2022-3786 >= 0, < 3.0.7-r0 fixed 3.0.7-r0"]
    );
    assert_eq!(found(&db, &openssl("3.17.3", "3.0.7-r0")).len(), 0);
    assert_eq!(found(&db, &openssl("3.18.0", "3.0.5-r1")).len(), 0);
    // "0" is kept as a statement, and silences.
    let key = plimsoll_vuln::LookupKey::of(&openssl("3.17", "1-r0")).pop().unwrap();
    let statements = db.query(&key).unwrap();
    assert!(
        statements
            .iter()
            .any(|s| s.status == MatchStatus::NotAffected && s.vulnerabilities == ["CVE-2022-1292"])
    );
    assert_eq!(db.vulnerability("XSA-252").unwrap().unwrap().id, "CVE-2018-7540");
}

#[test]
fn not_affected_silences_other_records_of_the_package() {
    let tracker = r#"{"curl":{"CVE-2023-38545":{"releases":{
        "bookworm":{"status":"resolved","repositories":{"bookworm":"7.88.1-10+deb12u4"},"fixed_version":"0","urgency":"not yet assigned"},
        "trixie":{"status":"open","repositories":{"trixie":"8.3.0-2"},"urgency":"high**"},
        "sid":{"status":"open","nodsa":"Minor issue","nodsa_reason":"ignored","repositories":{},"urgency":"unimportant"},
        "bullseye":{"status":"undetermined","repositories":{},"urgency":"not yet assigned"}}}}}"#;
    let record = r#"{"id":"DSA-5523-1","modified":"2023-10-11T00:00:00Z","upstream":["CVE-2023-38545"],"affected":[{"package":{"ecosystem":"Debian:12","name":"curl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"7.88.1-10+deb12u4"}]}]}]}"#;
    let curl =
        |release, version| packaged(Deb, ("debian", release), ("libcurl4", version), Some(("curl", version)));
    let alone = osv(&[record]);
    assert_eq!(found(&alone, &curl("12", "7.88.1-10")).len(), 1);
    let db = db_of(&[("tracker.json", tracker), ("dsa.json", record)]);
    assert_eq!(found(&db, &curl("12", "7.88.1-10")).len(), 0);
    assert_eq!(found(&db, &curl("13", "8.3.0-2")), ["CVE-2023-38545 >= 0 fixed -"]);
    // A distribution without VERSION_ID is unstable; the vendor will not fix it.
    let sid = db.match_component(&curl("", "8.3.0-2")).unwrap();
    assert_eq!(sid[0].status, MatchStatus::WontFix);
    assert_eq!(found(&db, &curl("11", "7.74.0-1")).len(), 0);
}

#[test]
fn almalinux_names_binaries_and_modules_apart() {
    let db = osv(&[
        r#"{"id":"ALSA-2023:6679","modified":"2023-11-07T00:00:00Z","related":["CVE-2023-38546"],"affected":[{"package":{"ecosystem":"AlmaLinux:9","name":"libcurl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"7.76.1-26.el9_3.2"}]}]}]}"#,
        r#"{"id":"ALSA-2021:0551","modified":"2021-02-16T00:00:00Z","related":["CVE-2020-8265","CVE-2020-8287"],"affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"npm"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:6.14.10-1.14.15.4.2.module_el8.4.0+2522+3bd42762"}]}]},{"package":{"ecosystem":"AlmaLinux:8","name":"npm"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:6.14.10-1.14.15.4.2.module_el8.5.0+2618+8d46dafd"}]}]}]}"#,
        r#"{"id":"ALBA-2019:0987","modified":"2022-04-28T12:47:02Z","related":[],"affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"Judy"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.0.5-18.module_el8.6.0+2867+72759d2f"}]}]}]}"#,
    ]);
    let rpm = |release, name, version| {
        packaged(Rpm, ("almalinux", release), (name, version), Some(("source", "9-9")))
    };
    assert_eq!(found(&db, &rpm("9.2", "libcurl", "7.76.1-23.el9")).len(), 1);
    assert_eq!(found(&db, &rpm("9.2", "libcurl", "7.76.1-26.el9_3.2")).len(), 0);
    assert_eq!(found(&db, &rpm("8.9", "libcurl", "7.76.1-23.el9")).len(), 0);
    assert_eq!(found(&db, &rpm("8", "npm", "1:6.14.8-1.module_el8.3.0+1")).len(), 2);
    // Either rebuild of the module has the fix; a build outside of the module is none of its business.
    assert_eq!(found(&db, &rpm("8", "npm", "1:6.14.10-1.14.15.4.2.module_el8.4.0+2522+3bd42762")).len(), 0);
    assert_eq!(found(&db, &rpm("8", "npm", "1:6.14.8-1.el8")).len(), 0);
    // A bug-fix update is no vulnerability.
    assert_eq!(found(&db, &rpm("8", "Judy", "1.0.5-1.module_el8.5.0+1")).len(), 0);
}

#[test]
fn python_names_and_lists_of_versions() {
    let db = osv(&[
        r#"{"id":"PYSEC-2023-192","modified":"2023-10-05T00:00:00Z","aliases":["CVE-2023-43804","GHSA-v845-jxx5-vc9f"],"affected":[{"package":{"ecosystem":"PyPI","name":"urllib3"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.26.17"},{"introduced":"2.0.0"},{"fixed":"2.0.6"}]}],"versions":["1.26.0","2.0.0"]}]}"#,
        r#"{"id":"PYSEC-2020-96","modified":"2020-03-24T00:00:00Z","aliases":["CVE-2020-1747"],"affected":[{"package":{"ecosystem":"PyPI","name":"Py.YAML"},"versions":["5.3","5.1","what is this"]}]}"#,
    ]);
    assert_eq!(
        found(&db, &language(Pypi, "urllib3", "1.26.5")),
        ["CVE-2023-43804 >= 0, < 1.26.17 fixed 1.26.17"]
    );
    assert_eq!(
        found(&db, &language(Pypi, "urllib3", "2.0.5")),
        ["CVE-2023-43804 >= 2.0.0, < 2.0.6 fixed 2.0.6"]
    );
    assert_eq!(found(&db, &language(Pypi, "urllib3", "1.26.17")).len(), 0);
    // A pre-release is lower than its release (PEP 440).
    assert_eq!(found(&db, &language(Pypi, "urllib3", "1.26.17rc1")).len(), 1);
    for name in ["py-yaml", "Py_YAML", "PY.-YAML"] {
        assert_eq!(found(&db, &language(Pypi, name, "5.3")), ["CVE-2020-1747 = 5.3 fixed -"], "{name}");
    }
    // Equal in PEP 440, another text.
    assert_eq!(found(&db, &language(Pypi, "py-yaml", "5.3.0")).len(), 1);
    assert_eq!(found(&db, &language(Pypi, "py-yaml", "5.2")).len(), 0);
    assert_eq!(found(&db, &language(Pypi, "py-yaml", "what is this")).len(), 1);
    assert_eq!(found(&db, &language(Pypi, "pyyaml", "5.3")).len(), 0);
}

#[test]
fn npm_scopes_case_and_several_entries_for_one_package() {
    let db = osv(&[
        r#"{"id":"GHSA-67hx-6x53-jw92","modified":"2023-10-12T00:00:00Z","aliases":["CVE-2023-45133"],"database_specific":{"severity":"CRITICAL"},"affected":[{"package":{"ecosystem":"npm","name":"@babel/traverse"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"7.23.2"}]}]},{"package":{"ecosystem":"npm","name":"@babel/traverse"},"ranges":[{"type":"SEMVER","events":[{"introduced":"8.0.0-alpha.0"},{"fixed":"8.0.0-alpha.4"}]}]}]}"#,
    ]);
    let traverse = |version| language(Npm, "@babel/traverse", version);
    assert_eq!(found(&db, &traverse("7.0.0")), ["CVE-2023-45133 >= 0, < 7.23.2 fixed 7.23.2"]);
    assert_eq!(found(&db, &traverse("8.0.0-alpha.3")).len(), 1);
    assert_eq!(found(&db, &traverse("7.23.2")).len(), 0);
    assert_eq!(found(&db, &traverse("8.0.0-alpha.4")).len(), 0);
    assert_eq!(found(&db, &language(Npm, "traverse", "7.0.0")).len(), 0);
    assert_eq!(found(&db, &language(Npm, "@Babel/Traverse", "7.0.0")).len(), 0);
    let vulnerability = db.vulnerability("GHSA-67hx-6x53-jw92").unwrap().unwrap();
    assert_eq!(
        (vulnerability.severity.as_str(), vulnerability.severity_source.as_str()),
        ("critical", "ghsa")
    );
}

#[test]
fn go_modules_standard_library_and_pseudo_versions() {
    let db = osv(&[
        r#"{"id":"GO-2023-2102","modified":"2023-10-11T00:00:00Z","aliases":["CVE-2023-39325","GHSA-4374-p667-p6c8"],"related":["CVE-2023-44487"],"affected":[{"package":{"ecosystem":"Go","name":"stdlib"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.20.10"},{"introduced":"1.21.0-0"},{"fixed":"1.21.3"}]}]},{"package":{"ecosystem":"Go","name":"golang.org/x/net"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.17.0"}]}]}]}"#,
        r#"{"id":"GO-2020-0004","modified":"2024-05-20T16:03:47Z","aliases":["CVE-2020-36569"],"affected":[{"package":{"ecosystem":"Go","name":"github.com/nanobox-io/golang-nanoauth"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0.0.0-20160722212129-ac0cc4484ad4"},{"fixed":"0.0.0-20200131131040-063a3fb69896"}]}]}]}"#,
    ]);
    for (name, version, count) in [
        ("stdlib", "1.21.2", 1),
        ("stdlib", "go1.21.2", 1),
        ("stdlib", "1.21.3", 0),
        ("stdlib", "1.20.9", 1),
        ("stdlib", "1.20.10", 0),
        ("toolchain", "1.20.9", 0),
        ("golang.org/x/net", "v0.16.0", 1),
        ("golang.org/x/net", "v0.17.0", 0),
        ("golang.org/X/net", "v0.16.0", 0),
        ("golang.org/x/net", "(devel)", 0),
        ("github.com/nanobox-io/golang-nanoauth", "v0.0.0-20180101000000-aaaaaaaaaaaa", 1),
        ("github.com/nanobox-io/golang-nanoauth", "v0.0.0-20200131131040-063a3fb69896", 0),
        ("github.com/nanobox-io/golang-nanoauth", "v0.0.0-20150101000000-aaaaaaaaaaaa", 0),
    ] {
        assert_eq!(found(&db, &language(Golang, name, version)).len(), count, "{name} {version}");
    }
    // Related ids of Go are other vulnerabilities.
    assert!(db.vulnerability("CVE-2023-44487").unwrap().is_none());
}

#[test]
fn withdrawn_last_affected_and_limits() {
    let db = osv(&[
        r#"{"id":"GHSA-269q-hmxg-m83q","modified":"2022-05-10T00:00:00Z","aliases":["CVE-2022-24823"],"affected":[{"package":{"ecosystem":"Maven","name":"io.netty:netty-common"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"last_affected":"4.1.76.Final"}]}]}]}"#,
        r#"{"id":"PYSEC-2021-1","modified":"2021-01-01T00:00:00Z","withdrawn":"2022-01-01T00:00:00Z","aliases":["CVE-2021-0001"],"affected":[{"package":{"ecosystem":"PyPI","name":"gone"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#,
        r#"{"id":"RUSTSEC-2016-0003","modified":"2023-06-13T13:10:24Z","aliases":["CVE-2016-10933"],"affected":[{"package":{"ecosystem":"crates.io","name":"portaudio"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0.0.0-0"},{"limit":"0.7.0"}]}]}]}"#,
    ]);
    let netty = |version| language(Maven, "io.netty:netty-common", version);
    assert_eq!(found(&db, &netty("4.1.76.Final")), ["CVE-2022-24823 >= 0, <= 4.1.76.Final fixed -"]);
    assert_eq!(found(&db, &netty("4.1.77.Final")).len(), 0);
    assert_eq!(found(&db, &language(Maven, "netty-common", "4.1.0.Final")).len(), 0);
    assert_eq!(found(&db, &language(Pypi, "gone", "1.0")).len(), 0);
    assert!(db.vulnerability("CVE-2021-0001").unwrap().is_none());
    assert_eq!(
        found(&db, &language(Cargo, "portaudio", "0.6.9")),
        ["CVE-2016-10933 >= 0.0.0-0, < 0.7.0 fixed -"]
    );
    assert_eq!(found(&db, &language(Cargo, "portaudio", "0.7.0")).len(), 0);
}

#[test]
fn a_newer_withdrawal_takes_an_older_copy_back() {
    let affected = r#""affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]"#;
    let old = format!(r#"{{"id":"GHSA-xxxx-xxxx-xxxx","modified":"2021-01-01T00:00:00Z",{affected}}}"#);
    let new = format!(
        r#"{{"id":"GHSA-xxxx-xxxx-xxxx","modified":"2022-01-01T00:00:00Z","withdrawn":"2022-01-01T00:00:00Z",{affected}}}"#
    );
    assert_eq!(found(&osv(&[&old]), &language(Npm, "p", "1.0.0")).len(), 1);
    assert_eq!(found(&osv(&[&old, &new]), &language(Npm, "p", "1.0.0")).len(), 0);
    assert_eq!(found(&osv(&[&new, &old]), &language(Npm, "p", "1.0.0")).len(), 0);
}

#[test]
fn twins_are_one_vulnerability_with_the_best_sources() {
    let db = db_of(&[
        ("osv.jsonl", &[
            r#"{"id":"GHSA-5j2h-h5hg-3wf8","modified":"2021-06-09T00:00:00Z","aliases":["CVE-2010-4536"],"summary":"From GitHub","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N"}],"database_specific":{"severity":"MODERATE"},"affected":[{"package":{"ecosystem":"PyPI","name":"django"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.2.24"}]}]}]}"#,
            r#"{"id":"PYSEC-2021-98","modified":"2021-06-09T00:00:00Z","aliases":["GHSA-5j2h-h5hg-3wf8"],"affected":[{"package":{"ecosystem":"PyPI","name":"Django"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#,
        ].join("\n")),
        ("kev.json", r#"{"catalogVersion":"1","dateReleased":"2026-01-01T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2010-4536","dateAdded":"2022-03-03","knownRansomwareCampaignUse":"Known"},{"cveID":"nonsense","dateAdded":"2022-03-03"}]}"#),
        ("epss.csv", "#model_version:v2026,score_date:2026-08-16T00:00:00+0000\ncve,epss,percentile\nCVE-2010-4536,0.25,0.9\nCVE-2010-4537,7,0.9\n"),
        ("ssvc.jsonl", r#"{"cveId":"CVE-2010-4536","state":"PUBLISHED","cna":{"description":"x"},"cisaAdp":{"ssvc":{"Exploitation":"PoC","Automatable":"No"}}}"#),
    ]);
    let component = language(Pypi, "Django", "2.2");
    assert_eq!(found(&db, &component), ["CVE-2010-4536 >= 0, < 2.2.24 fixed 2.2.24"]);
    let set = db.match_keys(std::slice::from_ref(&component)).unwrap();
    let [vulnerability] = set.vulnerabilities.as_slice() else { panic!("{set:?}") };
    assert_eq!(vulnerability.aliases, ["GHSA-5j2h-h5hg-3wf8", "PYSEC-2021-98"]);
    assert_eq!((vulnerability.summary.as_str(), vulnerability.severity.as_str()), ("From GitHub", "medium"));
    let intelligence = &vulnerability.intelligence;
    assert_eq!(intelligence.epss, Some(0.25));
    assert!(intelligence.kev.as_ref().unwrap().ransomware);
    assert_eq!(format!("{:?}", intelligence.exploit), "Poc");
    // CISA's label where it gives one, else what the vector says.
    let automatable = intelligence.automatable.as_ref().unwrap();
    assert_eq!((automatable.value, automatable.source.as_str()), (false, "vulnrichment"));
    let total = intelligence.total_impact.as_ref().unwrap();
    assert_eq!((total.value, total.source.as_str()), (true, "cvss"));
    for id in ["CVE-2010-4536", "GHSA-5j2h-h5hg-3wf8", "PYSEC-2021-98"] {
        assert_eq!(db.vulnerability(id).unwrap().unwrap().id, "CVE-2010-4536");
        assert_eq!(db.lookup_keys_of(id).unwrap().len(), 1);
    }
}

#[test]
fn the_least_fixed_version_is_not_affected_itself() {
    let db = osv(&[
        r#"{"id":"GHSA-vv3r-5xjv-qvmr","modified":"2021-06-09T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.5.0"}]},{"type":"SEMVER","events":[{"introduced":"1.2.0"},{"fixed":"3.0.0"}]},{"type":"SEMVER","events":[{"introduced":"4.0.0"},{"fixed":"4.1.0"}]}]}]}"#,
    ]);
    for (version, fixed) in
        [("1.0.0", Some("3.0.0")), ("2.0.0", Some("3.0.0")), ("4.0.5", Some("4.1.0")), ("3.5.0", None)]
    {
        let matches = db.match_component(&language(Npm, "p", version)).unwrap();
        assert_eq!(matches.first().and_then(|m| m.fixed.as_deref()), fixed, "{version}");
    }
}

#[test]
fn what_no_feed_covers_is_named() {
    let db = osv(&[
        r#"{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2021-06-09T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}"#,
    ]);
    let components = [
        language(Npm, "q", "1.0.0"),
        language(Cargo, "p", "1.0.0"),
        packaged(Deb, ("debian", "4"), ("p", "1"), None),
        packaged(Apk, ("alpine", "3.9.1"), ("p", "1-r0"), None),
    ];
    let set = db.match_keys(&components).unwrap();
    assert_eq!(set.uncovered, ["apk:alpine:3.9", "cargo", "deb:debian:4"]);
    assert_eq!((set.db_seq, set.matches.len()), (7, 0));
}

#[test]
fn unmaintained_notices_are_no_vulnerabilities() {
    let record = |informational: &str| {
        format!(
            r#"{{"id":"RUSTSEC-2020-0001","modified":"2021-06-09T00:00:00Z","affected":[{{"package":{{"ecosystem":"crates.io","name":"p"}},"database_specific":{{"informational":{informational}}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0.0.0-0"}}]}}]}}]}}"#
        )
    };
    assert_eq!(found(&osv(&[&record("\"unmaintained\"")]), &language(Cargo, "p", "1.0.0")).len(), 0);
    assert_eq!(found(&osv(&[&record("\"unsound\"")]), &language(Cargo, "p", "1.0.0")).len(), 1);
    assert_eq!(found(&osv(&[&record("null")]), &language(Cargo, "p", "1.0.0")).len(), 1);
}

#[test]
fn names_fold_as_each_ecosystem_does() {
    for (ecosystem, osv_name, written, asked, count) in [
        (Nuget, "NuGet", "jQuery", "JQUERY", 1),
        (Composer, "Packagist", "adodb/adodb-php", "ADOdb/ADOdb-php", 1),
        (Gem, "RubyGems", "actionpack", "ActionPack", 0),
        (Hex, "Hex", "ejabberd", "Ejabberd", 1),
        (
            Swift,
            "SwiftURL",
            "github.com/sparkle-project/Sparkle",
            "https://github.com/sparkle-project/sparkle.git",
            1,
        ),
        (Bitnami, "Bitnami", "activemq", "activemq", 1),
        (Pub, "Pub", "agent_dart", "agent_dart", 1),
    ] {
        let db = osv(&[&format!(
            r#"{{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2021-06-09T00:00:00Z","affected":[{{"package":{{"ecosystem":"{osv_name}","name":"{written}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"2.0.0"}}]}}]}}]}}"#
        )]);
        assert_eq!(found(&db, &language(ecosystem, asked, "1.0.0")).len(), count, "{osv_name}");
        assert_eq!(found(&db, &language(ecosystem, asked, "2.0.0")).len(), 0, "{osv_name}");
    }
}

/// A document in the shape of Red Hat's, cut to a few products.
const VEX: &str = r#"{"document":{"category":"csaf_vex","csaf_version":"2.0","title":"curl: SOCKS5","tracking":{"id":"CVE-2023-38545","current_release_date":"2025-11-21T14:31:32+00:00","initial_release_date":"2023-10-11T06:00:00+00:00"}},
"product_tree":{"branches":[{"category":"vendor","name":"Red Hat","branches":[
 {"product":{"product_id":"BaseOS-9","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
 {"product":{"product_id":"rhel8","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:8"}}},
 {"product":{"product_id":"rhel7","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:7"}}},
 {"product":{"product_id":"satellite","product_identification_helper":{"cpe":"cpe:/a:redhat:satellite:6.14::el8"}}},
 {"product":{"product_id":"libcurl-7.x86_64","product_identification_helper":{"purl":"pkg:rpm/redhat/libcurl@7.76.1-26.el9_3.2?arch=x86_64"}}},
 {"product":{"product_id":"curl-7.src","product_identification_helper":{"purl":"pkg:rpm/redhat/curl@7.76.1-26.el9_3.2?arch=src"}}},
 {"product":{"product_id":"node","product_identification_helper":{"purl":"pkg:rpm/redhat/nodejs?arch=src&rpmmod=nodejs:18"}}},
 {"product":{"product_id":"curl","product_identification_helper":{"purl":"pkg:rpm/redhat/curl?arch=src"}}}]}],
"relationships":[
 {"category":"default_component_of","product_reference":"node","relates_to_product_reference":"rhel8","full_product_name":{"name":"","product_id":"rhel8:nodejs:18/nodejs"}},
 {"category":"default_component_of","product_reference":"libcurl-7.x86_64","relates_to_product_reference":"BaseOS-9","full_product_name":{"name":"","product_id":"BaseOS-9:libcurl-7.x86_64"}},
 {"category":"default_component_of","product_reference":"curl-7.src","relates_to_product_reference":"BaseOS-9","full_product_name":{"name":"","product_id":"BaseOS-9:curl-7.src"}},
 {"category":"default_component_of","product_reference":"curl","relates_to_product_reference":"rhel8","full_product_name":{"name":"","product_id":"rhel8:curl"}},
 {"category":"default_component_of","product_reference":"curl","relates_to_product_reference":"rhel7","full_product_name":{"name":"","product_id":"rhel7:curl"}},
 {"category":"default_component_of","product_reference":"curl","relates_to_product_reference":"satellite","full_product_name":{"name":"","product_id":"satellite:curl"}}]},
"vulnerabilities":[{"cve":"CVE-2023-38545","product_status":{"fixed":["BaseOS-9:libcurl-7.x86_64","BaseOS-9:curl-7.src"],"known_affected":["rhel7:curl","satellite:curl","rhel8:nodejs:18/nodejs"],"known_not_affected":["rhel8:curl"]},
 "remediations":[{"category":"no_fix_planned","details":"Out of support scope","product_ids":["rhel7:curl"]}],
 "threats":[{"category":"impact","details":"Important","product_ids":["rhel7:curl","BaseOS-9:libcurl-7.x86_64"]}],
 "scores":[{"cvss_v3":{"vectorString":"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}}]}]}"#;

#[test]
fn red_hat_fixes_name_binaries_and_the_rest_names_sources() {
    let (bytes, report) = build_of(&[("cve-2023-38545.json", VEX)]);
    assert_eq!(report.rejected(), 0, "{report:?}");
    assert_eq!(report.feeds[0].unsupported.get("satellite"), Some(&1));
    // A module's package is said of its stream.
    assert_eq!(report.feeds[0].unsupported.get("module"), None);
    let db = plimsoll_vuln::Db::from_bytes(bytes).unwrap();
    let libcurl = |distribution, release, version| {
        packaged(Rpm, (distribution, release), ("libcurl", version), Some(("curl", version)))
    };
    let fixed = ["CVE-2023-38545 >= 0, < 7.76.1-26.el9_3.2 fixed 7.76.1-26.el9_3.2"];
    assert_eq!(found(&db, &libcurl("rhel", "9.2", "7.76.1-23.el9")), fixed);
    assert_eq!(found(&db, &libcurl("centos", "9", "7.76.1-23.el9")).len(), 0);
    assert_eq!(found(&db, &libcurl("rhel", "9.4", "7.76.1-29.el9_4")).len(), 0);
    assert_eq!(found(&db, &libcurl("centos", "7", "7.29.0-59.el7")), ["CVE-2023-38545 >= 0 fixed -"]);
    // Not affected, by its source; will not be fixed, by its source.
    assert_eq!(found(&db, &libcurl("rhel", "8.9", "7.61.1-33.el8")).len(), 0);
    let old = db.match_component(&libcurl("rhel", "7.9", "7.29.0-59.el7")).unwrap();
    assert_eq!((old[0].status, old[0].fixed.as_deref()), (MatchStatus::WontFix, None));
    assert_eq!(found(&db, &libcurl("almalinux", "9.2", "7.76.1-23.el9")).len(), 0);
    let vulnerability = db.vulnerability("CVE-2023-38545").unwrap().unwrap();
    assert_eq!((vulnerability.severity.as_str(), vulnerability.severity_source.as_str()), ("high", "redhat"));
}
