//! A damaged Db is an error or answers as before; it never panics.

use plimsoll_model::package::ComponentKey;
use plimsoll_model::package::Ecosystem::*;
use plimsoll_vuln::Db;
use proptest::prelude::*;

use crate::support::*;

fn sample() -> Vec<u8> {
    build_of(&[(
        "records.jsonl",
        &[
            r#"{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2021-06-09T00:00:00Z","aliases":["CVE-2021-0001"],"affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"},{"introduced":"2.0.0"},{"last_affected":"2.3.0"}]}],"versions":["5.0.0","odd"]}]}"#,
            r#"{"id":"DSA-1","modified":"2021-06-09T00:00:00Z","upstream":["CVE-2021-0001","CVE-2021-0002"],"affected":[{"package":{"ecosystem":"Debian:12","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2"}]}]}]}"#,
        ]
        .join("\n"),
    )])
    .0
}

fn components() -> Vec<ComponentKey> {
    vec![
        language(Npm, "p", "1.0.0"),
        language(Npm, "p", "2.2.0"),
        language(Npm, "p", "odd"),
        packaged(Deb, ("debian", "12"), ("b", "1"), Some(("p", "1"))),
    ]
}

/// Asks everything; only that it returns matters.
fn ask_all(db: &Db) {
    let _ = db.info();
    let _ = db.match_keys(&components());
    for component in components() {
        for key in plimsoll_vuln::LookupKey::of(&component) {
            let _ = db.query(&key);
        }
    }
    for id in ["CVE-2021-0001", "CVE-2021-0002", "DSA-1", "GHSA-aaaa-aaaa-aaaa", "none"] {
        let _ = db.vulnerabilities(id);
        let _ = db.lookup_keys_of(id);
    }
    if let Ok(other) = Db::from_bytes(sample()) {
        let _ = plimsoll_vuln::diff(db, &other);
        let _ = plimsoll_vuln::diff(&other, db);
    }
}

#[test]
fn every_single_byte_is_covered_by_a_checksum() {
    let bytes = sample();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        match Db::from_bytes(damaged) {
            Err(error) => {
                assert!(["db_corrupt", "db_truncated", "db_format"].contains(&error.code()), "{at}")
            }
            Ok(db) => {
                ask_all(&db);
                assert_eq!(db.verify().unwrap_err().code(), "db_corrupt", "{at}");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let code = Db::from_bytes(bytes[..length].to_vec()).unwrap_err().code();
        assert_eq!(code, "db_truncated", "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Db::from_bytes(longer).unwrap_err().code(), "db_corrupt");
}

#[test]
fn other_files_and_other_formats_are_told_apart() {
    let mut newer = sample();
    newer[8] = 3;
    let error = Db::from_bytes(newer).unwrap_err();
    assert_eq!(error.code(), "db_format");
    assert!(error.to_string().contains("of format 3"), "{error}");
    assert_eq!(Db::from_bytes(b"SQLite format 3\0 and so on".to_vec()).unwrap_err().code(), "db_format");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    assert_eq!(Db::open(&path).unwrap_err().code(), "db_unreadable");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(Db::open(&path).unwrap_err().code(), "db_truncated");
    std::fs::write(&path, sample()).unwrap();
    let mapped = Db::open(&path).unwrap();
    mapped.verify().unwrap();
    assert_eq!(
        mapped.match_keys(&components()).unwrap(),
        Db::from_bytes(sample()).unwrap().match_keys(&components()).unwrap()
    );
}

/// A file of each format that ever was, as that version wrote it: this one reads its own and refuses the others by
/// name. What wrote format 1 refuses this one's in the same words: the number stands in the same place.
#[test]
fn files_of_every_format() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for format in 1..=plimsoll_vuln::db::FORMAT {
        let path = folder.join(format!("format-{format}.db"));
        if format < plimsoll_vuln::db::FORMAT {
            let error = Db::open(&path).unwrap_err();
            assert_eq!(error.code(), "db_format");
            assert!(error.to_string().contains(&format!("of format {format}")), "{error}");
            continue;
        }
        // What is written now is what was written when the format was new.
        let record = r#"{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2021-06-09T00:00:00Z","aliases":["CVE-2021-0001"],"affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]}]}]}"#;
        let directory = directory(&[("r.jsonl", record)]);
        let (bytes, _) = plimsoll_vuln::build(&[directory.path().join("r.jsonl")], &OPTIONS).unwrap();
        if std::env::var_os("PLIMSOLL_WRITE_FORMAT").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the records changed, and the format did not");
        let db = Db::open(&path).unwrap();
        db.verify().unwrap();
        assert_eq!(found(&db, &language(Npm, "p", "1.0.0")), ["CVE-2021-0001 >= 0, < 1.2.0 fixed 1.2.0"]);
        assert_eq!(db.info().unwrap().format, format);
    }
}

proptest! {
    /// Several bytes of the content at once, beyond what the checksums are for.
    #[test]
    fn random_damage_never_panics(damage in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..40)) {
        let mut bytes = sample();
        for (at, value) in damage {
            let length = bytes.len();
            bytes[300 + at % (length - 300)] = value;
        }
        if let Ok(db) = Db::from_bytes(bytes) {
            ask_all(&db);
        }
    }
}
