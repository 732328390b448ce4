//! Formats, containers, and content that means harm.

use std::io::Write;

use plimsoll_model::package::Ecosystem::Npm;
use plimsoll_vuln::{Format, build, detect};

use crate::support::*;

const RECORD: &str = r#"{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2021-06-09T00:00:00Z","aliases":null,"affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}"#;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_same_record_in_every_container() {
    let zip = {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("GHSA-aaaa-aaaa-aaaa.json", options).unwrap();
        writer.write_all(RECORD.as_bytes()).unwrap();
        writer.finish().unwrap().into_inner()
    };
    let lines = format!("{RECORD}\n\n");
    for (name, content) in [
        ("a.json", RECORD.as_bytes().to_vec()),
        ("a.jsonl", lines.as_bytes().to_vec()),
        ("a.json.gz", gzip(RECORD.as_bytes())),
        ("a.jsonl.zst", zstd::encode_all(lines.as_bytes(), 1).unwrap()),
        ("list.json", format!("[{RECORD},{{\"id\":7}}]").into_bytes()),
        ("all.zip", zip),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_eq!(detect(&path).unwrap(), [Format::Osv], "{name}");
        let (bytes, report) = build(&[path], &OPTIONS).unwrap();
        assert_eq!((report.records(), report.rejected()), (1, u64::from(name == "list.json")), "{name}");
        let db = plimsoll_vuln::Db::from_bytes(bytes).unwrap();
        assert_eq!(found(&db, &language(Npm, "p", "1.0.0")).len(), 1, "{name}");
    }
}

#[test]
fn a_directory_may_hold_several_formats() {
    let directory = directory(&[
        ("README.md", "# not a feed"),
        ("notes.json", "{\"nothing\": 1}"),
        ("a.json", RECORD),
        (
            "kev.json",
            r#"{"catalogVersion":"1","vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10"}]}"#,
        ),
        ("epss.csv", "cve,epss,percentile\nCVE-2021-44228,0.9,0.99\n"),
    ]);
    assert_eq!(detect(directory.path()).unwrap(), [Format::Osv, Format::Kev, Format::Epss]);
    let (_, report) = build(&[directory.path().to_owned()], &OPTIONS).unwrap();
    assert_eq!(report.feeds.len(), 3);
    assert!(report.feeds.iter().all(|feed| feed.records == 1));
    let error = build(&[directory.path().join("notes.json")], &OPTIONS).unwrap_err();
    assert_eq!(error.code(), "feed_format_unknown");
}

#[test]
fn a_bad_record_is_named_and_the_rest_goes_on() {
    let event = |version: &str| {
        format!(
            r#"{{"id":"NSWG-ECO-11","modified":"2021-06-09T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"q"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"{version}"}}]}}]}}]}}"#
        )
    };
    let huge = format!(r#"{{"id":"X-1","details":"{}"}}"#, "x".repeat(17 << 20));
    let deep = format!(r#"{{"id":"X-2","affected":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let lines = [
        RECORD,
        "{not json",
        &event("2.0.x"),
        r#"{"id":"bad id","affected":[]}"#,
        r#"{"id":"X-3","modified":"2021-06-09T00:00:00Z","affected":[]}"#,
        &huge,
        &deep,
        r#"{"id":"OSV-2021-1","modified":"2021-06-09T00:00:00Z","affected":[{"package":{"ecosystem":"OSS-Fuzz","name":"x"},"versions":["1"]}]}"#,
        RECORD,
    ]
    .join("\n");
    let (bytes, report) = build_of(&[("r.jsonl", &lines)]);
    let feed = &report.feeds[0];
    let rejects: Vec<String> = feed.rejects.iter().map(|r| format!("{} {}", r.id, r.reason)).collect();
    assert_eq!(
        rejects,
        [
            "line 2 json_invalid",
            "NSWG-ECO-11 version_invalid",
            "bad id id_invalid",
            "X-3 nothing_affected",
            "line 6 record_too_large",
            "line 7 json_invalid"
        ]
    );
    assert_eq!((feed.records, feed.ignored), (2, 1));
    assert_eq!(feed.unsupported.get("OSS-Fuzz"), Some(&1));
    let db = plimsoll_vuln::Db::from_bytes(bytes).unwrap();
    assert_eq!(db.info().unwrap().advisories, 1);
}

#[test]
fn a_damaged_container_ends_the_feed_and_not_the_build() {
    let lines = format!("{RECORD}\n").repeat(2000);
    let mut packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    packed.truncate(packed.len() - 9);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.jsonl.zst"), packed).unwrap();
    let (_, report) = build(&[directory.path().to_owned()], &OPTIONS).unwrap();
    assert!(report.feeds.iter().all(|feed| feed.rejected > 0), "{report:?}");
}

#[test]
fn whole_cve_records_give_their_ssvc() {
    let cve = r#"{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{"cveId":"CVE-2024-3094","state":"PUBLISHED","datePublished":"2024-03-29T16:51:12","dateUpdated":"2024-08-19T07:47:59Z"},"containers":{"cna":{"title":"xz: malicious code","metrics":[{"cvssV3_1":{"vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}}]},"adp":[{"providerMetadata":{"shortName":"CISA-ADP"},"metrics":[{"other":{"type":"ssvc","content":{"options":[{"Exploitation":"none"},{"Automatable":"Yes"},{"Technical Impact":"total"}]}}}]},{"providerMetadata":{"shortName":"other"},"metrics":[{"other":{"type":"ssvc","content":{"options":[{"Automatable":"no"}]}}}]}]}}"#;
    let tracker = r#"{"xz-utils":{"CVE-2024-3094":{"releases":{"sid":{"status":"resolved","repositories":{"sid":"5.6.1+really5.4.5-1"},"fixed_version":"5.6.1+really5.4.5-1","urgency":"high"}}}}}"#;
    let db = db_of(&[("CVE-2024-3094.json", cve), ("tracker.json", tracker)]);
    let v = db.vulnerability("CVE-2024-3094").unwrap().unwrap();
    assert_eq!(v.summary, "xz: malicious code");
    assert_eq!((v.severity.as_str(), v.severity_source.as_str()), ("high", "debian"));
    let automatable = v.intelligence.automatable.unwrap();
    assert_eq!((automatable.value, automatable.source.as_str()), (true, "vulnrichment"));
    assert_eq!(v.published.unwrap().to_string(), "2024-03-29T16:51:12Z");
}

/// A tar archive of (name, content).
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn archives_of_red_hat_and_ubuntu() {
    use lzma_rust2::{XzOptions, XzWriter};
    let bomb = format!(r#"{{"id":"X-1","details":"{}"}}"#, " ".repeat(20 << 20));
    let tar = tar(&[
        ("osv/README.md", "no record"),
        ("osv/2021/GHSA-aaaa-aaaa-aaaa.json", RECORD),
        ("osv/bomb.json", &bomb),
    ]);
    let mut xz = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    xz.write_all(&tar).unwrap();
    let bz2 = {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(&tar).unwrap();
        writer.finish().unwrap()
    };
    for (name, content) in [
        ("all.tar.xz", xz.finish().unwrap()),
        ("all.tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
        ("all.tar.bz2", bz2),
        ("all.tar", tar.clone()),
        // What follows a damaged place is lost, and said to be.
        ("cut.tar", tar[..tar.len() / 2].to_vec()),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let (bytes, report) = build(&[path], &OPTIONS).unwrap();
        let reasons: Vec<&str> = report.feeds[0].rejects.iter().map(|r| r.reason.as_str()).collect();
        let expected = if name == "cut.tar" { "entry_unreadable" } else { "record_too_large" };
        assert_eq!((report.records(), reasons.as_slice()), (1, &[expected][..]), "{name}");
        let db = plimsoll_vuln::Db::from_bytes(bytes).unwrap();
        assert_eq!(found(&db, &language(Npm, "p", "1.0.0")).len(), 1, "{name}");
    }
}

#[test]
fn an_archive_and_what_changed_since() {
    let record = |id: &str, modified: &str, package: &str| {
        RECORD
            .replace("GHSA-aaaa-aaaa-aaaa", id)
            .replace("2021-06-09", modified)
            .replace("\"p\"", &format!("\"{package}\""))
    };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let base = tar(&[
        ("a/GHSA-1111-1111-1111.json", &record("GHSA-1111-1111-1111", "2021-01-01", "one")),
        ("a/GHSA-2222-2222-2222.json", &record("GHSA-2222-2222-2222", "2021-01-01", "two")),
        ("a/GHSA-3333-3333-3333.json", &record("GHSA-3333-3333-3333", "2021-01-01", "three")),
    ]);
    std::fs::write(root.join("base.tar"), base).unwrap();
    let changes = root.join("changes");
    std::fs::create_dir(&changes).unwrap();
    // The record moved to another package: the old statement is gone, not added to.
    std::fs::write(
        changes.join("GHSA-2222-2222-2222.json"),
        record("GHSA-2222-2222-2222", "2022-01-01", "other"),
    )
    .unwrap();
    let plain = build(&[root.to_owned()], &OPTIONS).unwrap().1;
    assert_eq!(plain.records(), 4, "without layered.json every file counts");
    let mut layers = plimsoll_vuln::Layers {
        base: "base.tar".into(),
        changes: "changes".into(),
        deleted: Default::default(),
    };
    layers.write(root).unwrap();
    let (bytes, report) = build(&[root.to_owned()], &OPTIONS).unwrap();
    assert_eq!((report.feeds.len(), report.records(), report.rejected()), (1, 3, 0));
    let db = plimsoll_vuln::Db::from_bytes(bytes).unwrap();
    for (package, count) in [("one", 1), ("two", 0), ("other", 1), ("three", 1)] {
        assert_eq!(found(&db, &language(Npm, package, "1.0.0")).len(), count, "{package}");
    }
    let before = report.feeds[0].checksum.clone();
    layers.deleted.insert("GHSA-3333-3333-3333.json".to_owned());
    layers.write(root).unwrap();
    let (bytes, report) = build(&[root.to_owned()], &OPTIONS).unwrap();
    assert_eq!(report.records(), 2);
    assert_ne!(report.feeds[0].checksum, before, "what is deleted is part of what is read");
    assert_eq!(
        found(&plimsoll_vuln::Db::from_bytes(bytes).unwrap(), &language(Npm, "three", "1.0.0")).len(),
        0
    );
    std::fs::write(root.join("layered.json"), r#"{"base":"../../etc/passwd","changes":"x"}"#).unwrap();
    assert_eq!(build(&[root.to_owned()], &OPTIONS).unwrap_err().code(), "feed_format_unknown");
}
