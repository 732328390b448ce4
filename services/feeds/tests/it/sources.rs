use std::io::Write;
use std::path::Path;

use plimsoll_feeds_service::source::{DEFAULT, Kind, Source};
use plimsoll_feeds_service::state::State;
use plimsoll_feeds_service::update::{fingerprint, inputs, update};
use plimsoll_model::Timestamp;
use plimsoll_testkit::upstream::Upstream;
use plimsoll_vuln::{Db, build_sources};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn record(id: &str, modified: &str, package: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"{modified}","affected":[{{"package":{{"ecosystem":"npm","name":"{package}"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}}]}}]}}]}}"#
    )
}

/// Records 0 to `count`, one a line.
fn lines(count: usize, day: &str) -> String {
    (0..count)
        .map(|n| record(&format!("GHSA-{n:04}"), &format!("{day}T00:00:00Z"), &format!("p{n}")) + "\n")
        .collect()
}

fn zip(files: &[(&str, String)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

async fn once(source: &Source, folder: &Path, now: Timestamp) -> State {
    update(std::slice::from_ref(source), folder, now).await.unwrap().remove(0)
}

/// The packages that a Db of the copy that counts knows, of `names`.
fn known(source: &Source, state: &State, folder: &Path, names: &[&str]) -> Vec<String> {
    let inputs = inputs(std::slice::from_ref(source), std::slice::from_ref(state), folder);
    let (bytes, _) = build_sources(&inputs, 1, |_| NOW).unwrap();
    let db = Db::from_bytes(bytes).unwrap();
    let has = |name: &&&str| {
        let key = plimsoll_vuln::LookupKey::new(plimsoll_model::Ecosystem::Npm, None, name);
        !db.query(&key).unwrap().is_empty()
    };
    names.iter().filter(has).map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_file_is_asked_for_conditionally_and_its_last_good_copy_kept() {
    let upstream = Upstream::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Source::parse(&format!("{}/all.jsonl", upstream.url())).unwrap();
    // Nothing there yet: stale, and nothing to build of.
    let state = once(&source, folder.path(), NOW).await;
    assert_eq!(state.failure.as_ref().unwrap().code, "feed_missing");
    assert!(inputs(std::slice::from_ref(&source), std::slice::from_ref(&state), folder.path()).is_empty());
    upstream.put("/all.jsonl", lines(100, "2026-01-01"));
    let first = once(&source, folder.path(), NOW).await;
    assert_eq!((first.current.as_ref().unwrap().records, &first.failure), (100, &None));
    assert_eq!(first.current.as_ref().unwrap().terms, ["CC-BY-4.0"]);
    upstream.asked();
    let again = once(&source, folder.path(), Timestamp(NOW.0 + 1)).await;
    assert_eq!(upstream.asked(), ["/all.jsonl 304"]);
    assert_eq!((again.current, again.checked), (first.current.clone(), Some(Timestamp(NOW.0 + 1))));
    // An upstream that is down, and one that answers with something else.
    upstream.broken(true);
    let down = once(&source, folder.path(), Timestamp(NOW.0 + 2)).await;
    assert_eq!(down.failure.as_ref().unwrap().code, "feed_unavailable");
    assert!(down.provenance().stale && down.current == first.current);
    upstream.broken(false);
    for (body, code) in [("<html>sorry</html>", "feed_empty"), ("{not json\n", "feed_empty")] {
        upstream.put("/all.jsonl", body);
        let wrong = once(&source, folder.path(), Timestamp(NOW.0 + 3)).await;
        let failure = wrong.failure.clone().unwrap();
        assert_eq!((failure.code.as_str(), failure.since), (code, Timestamp(NOW.0 + 2)));
        assert_eq!(wrong.current, first.current);
        assert_eq!(known(&source, &wrong, folder.path(), &["p7"]), ["p7"]);
    }
    // It comes back.
    upstream.put("/all.jsonl", lines(101, "2026-01-02"));
    let back = once(&source, folder.path(), Timestamp(NOW.0 + 4)).await;
    assert_eq!((back.current.as_ref().unwrap().records, &back.failure), (101, &None));
    assert_ne!(fingerprint(&[back]), fingerprint(&[first]));
}

#[tokio::test]
async fn a_source_that_shrinks_or_goes_back_is_held() {
    let upstream = Upstream::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Source::parse(&format!("{}/all.jsonl", upstream.url())).unwrap();
    upstream.put("/all.jsonl", lines(100, "2026-01-02"));
    once(&source, folder.path(), NOW).await;
    // A few of a hundred may go.
    upstream.put("/all.jsonl", lines(98, "2026-01-02"));
    let fewer = once(&source, folder.path(), NOW).await;
    assert_eq!((fewer.current.as_ref().unwrap().records, &fewer.held), (98, &None));
    for (body, reason) in [(lines(80, "2026-01-03"), "records"), (lines(99, "2026-01-01"), "newest record")] {
        upstream.put("/all.jsonl", body);
        let held = once(&source, folder.path(), NOW).await;
        let why = held.held.clone().unwrap();
        assert!(why.reason.contains(reason), "{why:?}");
        assert_eq!(held.current.as_ref().unwrap().records, 98);
        // What counts is built of, and says that it is held.
        assert_eq!(known(&source, &held, folder.path(), &["p97"]), ["p97"]);
        assert!(held.provenance().held && !held.provenance().stale);
        // Asked again: still held, and not fetched again.
        upstream.asked();
        assert_eq!(once(&source, folder.path(), NOW).await.held, held.held);
        assert_eq!(upstream.asked(), ["/all.jsonl 304"]);
    }
    let place = folder.path().join(source.folder());
    let mut state = State::load(&place, &source).unwrap();
    assert!(state.accept());
    state.save(&place).unwrap();
    let accepted = once(&source, folder.path(), NOW).await;
    assert_eq!((accepted.current.as_ref().unwrap().records, &accepted.held), (99, &None));
    // A server's date that goes back is held, too.
    upstream.put("/all.jsonl", lines(100, "2026-01-04"));
    upstream.date("/all.jsonl", "Sun, 04 Jan 2026 00:00:00 GMT");
    assert!(once(&source, folder.path(), NOW).await.held.is_none());
    upstream.put("/all.jsonl", lines(101, "2026-01-04"));
    upstream.date("/all.jsonl", "Sat, 03 Jan 2026 00:00:00 GMT");
    assert!(once(&source, folder.path(), NOW).await.held.unwrap().reason.contains("its date"));
    // Copies that nobody needs are gone.
    let copies = std::fs::read_dir(&place).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(copies, 2);
}

#[tokio::test]
async fn osv_is_fetched_whole_once_and_then_by_its_changes() {
    let upstream = Upstream::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Source::parse(&format!("osv+{}/npm/", upstream.url())).unwrap();
    let old = "2026-01-01T00:00:00Z";
    let files: Vec<(String, String)> = (0..60)
        .map(|n| (format!("GHSA-{n:04}.json"), record(&format!("GHSA-{n:04}"), old, &format!("p{n}"))))
        .collect();
    let named: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    upstream.put("/npm/all.zip", zip(&named));
    let list: String = (0..60).map(|n| format!("{old},GHSA-{n:04}\n")).collect();
    upstream.put("/npm/modified_id.csv", list.clone());
    let first = once(&source, folder.path(), NOW).await;
    assert_eq!(first.current.as_ref().unwrap().records, 60, "{first:?}");
    assert_eq!(upstream.asked(), ["/npm/modified_id.csv 200", "/npm/all.zip 200"]);
    once(&source, folder.path(), NOW).await;
    assert_eq!(upstream.asked(), ["/npm/modified_id.csv 304"]);
    // One changed, one new, one gone.
    let later = "2026-02-01T00:00:00.5Z";
    upstream.put("/npm/GHSA-0001.json", record("GHSA-0001", later, "moved"));
    upstream.put("/npm/GHSA-9999.json", record("GHSA-9999", later, "new"));
    upstream.put(
        "/npm/modified_id.csv",
        format!("{later},GHSA-9999\n{later},GHSA-0001\n{later},GHSA-0002\n{later},../..\n{list}"),
    );
    let second = once(&source, folder.path(), NOW).await;
    let mut asked = upstream.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "/npm/GHSA-0001.json 200",
            "/npm/GHSA-0002.json 404",
            "/npm/GHSA-9999.json 200",
            "/npm/modified_id.csv 200"
        ]
    );
    assert_eq!(second.current.as_ref().unwrap().records, 60);
    assert_eq!(
        known(&source, &second, folder.path(), &["p0", "p1", "p2", "moved", "new"]),
        ["p0", "moved", "new"]
    );
    // A list that names a record which cannot be fetched leaves all as it was, and the next time tries again.
    upstream.put("/npm/modified_id.csv", format!("2026-03-01T00:00:00Z,GHSA-0003\n{list}"));
    upstream.put("/npm/GHSA-0003.json", vec![b' '; (16 << 20) + 1]);
    let failed = once(&source, folder.path(), NOW).await;
    assert_eq!(
        (failed.failure.as_ref().unwrap().code.as_str(), &failed.current),
        ("too_large", &second.current)
    );
    upstream.put("/npm/GHSA-0003.json", record("GHSA-0003", "2026-03-01T00:00:00Z", "third"));
    let third = once(&source, folder.path(), NOW).await;
    assert_eq!(known(&source, &third, folder.path(), &["p3", "third", "moved", "p2"]), ["third", "moved"]);
    upstream.asked();
    // After a week the archive is fetched anew.
    once(&source, folder.path(), Timestamp(NOW.0 + 8 * 86_400_000)).await;
    assert!(upstream.asked().contains(&"/npm/all.zip 200".to_owned()));
}

fn vex(cve: &str, modified: &str, package: &str) -> String {
    format!(
        r#"{{"document":{{"csaf_version":"2.0","title":"x","tracking":{{"id":"{cve}","current_release_date":"{modified}"}}}},
"product_tree":{{"branches":[{{"product":{{"product_id":"r","product_identification_helper":{{"cpe":"cpe:/o:redhat:enterprise_linux:9"}}}}}},{{"product":{{"product_id":"p","product_identification_helper":{{"purl":"pkg:rpm/redhat/{package}?arch=src"}}}}}}],
"relationships":[{{"product_reference":"p","relates_to_product_reference":"r","full_product_name":{{"product_id":"r:p"}}}}]}},
"vulnerabilities":[{{"cve":"{cve}","product_status":{{"known_affected":["r:p"]}}}}]}}"#
    )
}

#[tokio::test]
async fn red_hats_archive_its_changes_and_its_deletions() {
    let upstream = Upstream::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Source::parse(&format!("csaf+{}/vex", upstream.url())).unwrap();
    let old = "2026-01-01T00:00:00+00:00";
    let mut archive = Vec::new();
    for n in 0..60 {
        let content = vex(&format!("CVE-2025-{n:04}"), old, &format!("p{n}"));
        // A tar entry by hand: name, size, checksum.
        let mut header = [0u8; 512];
        let name = format!("2025/cve-2025-{n:04}.json");
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content.as_bytes());
        archive.resize(archive.len().div_ceil(512) * 512, 0);
    }
    archive.resize(archive.len() + 1024, 0);
    upstream.put("/vex/archive_latest.txt", "csaf_vex_2026-01-10.tar\n");
    upstream.put("/vex/csaf_vex_2026-01-10.tar", archive.clone());
    upstream.put("/vex/csaf_vex_2026-01-10.tar.sha256", "00ff  csaf_vex_2026-01-10.tar\n");
    let changes = "\"2025/cve-2025-0005.json\",\"2026-01-11T08:00:00+00:00\"\n\"2025/cve-2025-0006.json\",\"2026-01-01T00:00:00+00:00\"\n";
    upstream.put("/vex/changes.csv", changes);
    upstream.put("/vex/deletions.csv", "\"2025/cve-2025-0007.json\",\"2026-01-12T00:00:00+00:00\"\n");
    upstream.put("/vex/2025/cve-2025-0005.json", vex("CVE-2025-0005", "2026-01-11T08:00:00+00:00", "moved"));
    let damaged = once(&source, folder.path(), NOW).await;
    assert_eq!(damaged.failure.unwrap().code, "feed_checksum");
    upstream.remove("/vex/csaf_vex_2026-01-10.tar.sha256");
    let first = once(&source, folder.path(), NOW).await;
    assert_eq!(first.failure, None);
    // What changed after the archive is there, what was deleted is not, and what is older was not asked for.
    assert_eq!(first.current.as_ref().unwrap().records, 59);
    assert!(!upstream.asked().iter().any(|path| path.contains("0006")));
    upstream.put(
        "/vex/changes.csv",
        format!("\"2025/cve-2025-0008.json\",\"2026-01-13T00:00:00+00:00\"\n{changes}"),
    );
    upstream.put("/vex/2025/cve-2025-0008.json", vex("CVE-2025-0008", "2026-01-13T00:00:00+00:00", "eighth"));
    upstream.asked();
    let second = once(&source, folder.path(), NOW).await;
    assert_eq!(second.current.as_ref().unwrap().records, 59, "{second:?}");
    let asked = upstream.asked();
    assert!(!asked.iter().any(|path| path.contains(".tar")), "{asked:?}");
    let inputs = inputs(std::slice::from_ref(&source), std::slice::from_ref(&second), folder.path());
    let db = Db::from_bytes(build_sources(&inputs, 1, |_| NOW).unwrap().0).unwrap();
    let names = |id: &str| db.lookup_keys_of(id).unwrap().iter().map(|k| k.name.clone()).collect::<Vec<_>>();
    assert_eq!(names("CVE-2025-0005"), ["src:moved"]);
    assert_eq!(names("CVE-2025-0008"), ["src:eighth"]);
    assert_eq!(names("CVE-2025-0007"), Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_of_this_machine_is_a_source_like_others() {
    let (folder, feeds) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = Source::parse(&feeds.path().display().to_string()).unwrap();
    std::fs::create_dir(feeds.path().join("a")).unwrap();
    std::fs::write(feeds.path().join("a/all.jsonl"), lines(100, "2026-01-01")).unwrap();
    let first = once(&source, folder.path(), NOW).await;
    assert_eq!(first.current.as_ref().unwrap().records, 100);
    assert_eq!(once(&source, folder.path(), NOW).await.current, first.current);
    std::fs::write(feeds.path().join("a/all.jsonl"), lines(10, "2026-01-02")).unwrap();
    let held = once(&source, folder.path(), NOW).await;
    assert_eq!((held.current.as_ref().unwrap().records, held.held.is_some()), (100, true));
    // The folder is gone: the copy serves.
    std::fs::remove_dir_all(feeds.path()).unwrap();
    let gone = once(&source, folder.path(), NOW).await;
    assert_eq!(gone.failure.as_ref().unwrap().code, "io");
    assert_eq!(known(&source, &gone, folder.path(), &["p99"]), ["p99"]);
}

#[test]
fn sources_by_name() {
    for (text, name, kind) in [
        ("upstream:kev", "kev", "File"),
        ("upstream:osv/Rocky Linux", "osv/Rocky Linux", "Osv"),
        ("upstream:redhat", "redhat", "Csaf"),
        ("upstream:alpine/v3.20/main", "alpine/v3.20/main", "File"),
        ("upstream:nvd/2026", "nvd/2026", "File"),
        ("csaf+https://mirror.example.com/vex/", "csaf+https://mirror.example.com/vex/", "Csaf"),
        ("advisories/", "advisories/", "Path"),
    ] {
        let source = Source::parse(text).unwrap();
        assert_eq!(source.name, name);
        assert!(format!("{:?}", source.kind).starts_with(kind), "{source:?}");
    }
    for text in [
        "upstream:nothing",
        "upstream:osv/../x",
        "upstream:alpine/v3.20",
        "upstream:nvd/26",
        "upstream:nvd/../x",
    ] {
        assert_eq!(Source::parse(text).unwrap_err().code(), "feed_source_unknown", "{text}");
    }
    let mut folders: Vec<String> = DEFAULT.iter().map(|text| Source::parse(text).unwrap().folder()).collect();
    // Under terms that have to be agreed to: never by default.
    assert!(!DEFAULT.iter().any(|text| text.contains("wolfi") || text.contains("chainguard")));
    folders.sort();
    folders.dedup();
    assert_eq!(folders.len(), DEFAULT.len());
    assert_eq!(
        Source::parse("upstream:osv/Azure Linux").unwrap().kind,
        Kind::Osv("https://osv-vulnerabilities.storage.googleapis.com/Azure%20Linux".to_owned())
    );
}
