//! Databases that rpm 4.18 (SQLite, NDB) and `db_load` of Berkeley DB 5.3 (hash, B-tree, pages of 512 bytes) wrote with
//! two packages that rpmbuild made.

use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FORMS: [(&str, &[u8]); 4] = [
    ("rpmdb.sqlite", include_bytes!("../../../tests/data/rpm/sqlite-rpmdb.sqlite.zst")),
    ("Packages", include_bytes!("../../../tests/data/rpm/hash-Packages.zst")),
    ("Packages", include_bytes!("../../../tests/data/rpm/btree-Packages.zst")),
    ("Packages.db", include_bytes!("../../../tests/data/rpm/ndb-Packages.db.zst")),
];

fn reduce(name: &str, bytes: &[u8]) -> Option<Value> {
    let path = format!("var/lib/rpm/{name}");
    let file = File { path: &path, size: bytes.len() as u64, mode: 0o644 };
    Rpm.reduce(&file, bytes).map(|kept| serde_json::from_slice(&kept).unwrap())
}

fn database(form: usize) -> (&'static str, Vec<u8>) {
    let (name, packed) = FORMS[form];
    (name, zstd::decode_all(packed).unwrap())
}

#[test]
fn every_form_holds_the_same_packages() {
    let source = "tool-1.4.0-3.module+el8.src.rpm";
    let expected = json!([
        {"name": "tool", "epoch": 2, "version": "1.4.0", "release": "3.module+el8", "arch": "noarch", "source": source,
         "vendor": "Example Vendor", "license": "MIT and ASL 2.0", "module": "tool:1:820:a1b2",
         "files": ["usr/bin/tool"], "requires": ["tool-libs"]},
        {"name": "tool-libs", "epoch": 2, "version": "1.4.0", "release": "3.module+el8", "arch": "noarch", "source": source,
         "vendor": "Example Vendor", "license": "MIT", "module": "tool:1:820:a1b2",
         "files": ["usr/lib/python3/dist-packages/Tool-1.egg-info"]},
    ]);
    for form in 0..FORMS.len() {
        let (name, bytes) = database(form);
        assert_eq!(reduce(name, &bytes), Some(expected.clone()), "form {form}");
        // The form is known by its content, whatever its name.
        assert_eq!(reduce("Packages", &bytes), Some(expected.clone()), "form {form}");
    }
    assert_eq!(reduce("Packages", b""), None);
    assert_eq!(reduce("Packages", &[0; 4096]), None);
}

/// rpm's own reading, where it and Debian's collection of real databases are installed.
#[test]
fn reads_what_rpm_reads() {
    let directory = "/usr/share/gocode/src/github.com/knqyf263/go-rpmdb/pkg/testdata";
    let Ok(samples) = std::fs::read_dir(directory) else { return };
    for sample in samples.map(|sample| sample.unwrap().path()) {
        let query = "%{NAME} %{EPOCH} %{VERSION} %{RELEASE} %{ARCH} %{SOURCERPM} %{MODULARITYLABEL}\n";
        let path = sample.to_str().unwrap();
        let asked = Command::new("rpm")
            .args(["--define", "_db_backend bdb_ro", "--dbpath", path, "-qa", "--qf", query])
            .output();
        let Ok(answer) = asked.map(|output| String::from_utf8(output.stdout).unwrap()) else { return };
        let mut expected: Vec<&str> = answer.lines().collect();
        expected.sort_unstable();
        let found = reduce("Packages", &std::fs::read(sample.join("Packages")).unwrap()).unwrap();
        let line = |package: &Value| {
            let text = |name: &str| package[name].as_str().unwrap_or("(none)").to_owned();
            let epoch = package["epoch"].as_u64().map_or("(none)".to_owned(), |epoch| epoch.to_string());
            let fields =
                [text("name"), epoch, text("version"), text("release"), text("arch"), text("source")];
            format!("{} {}", fields.join(" "), text("module"))
        };
        let mut found: Vec<String> = found.as_array().unwrap().iter().map(line).collect();
        found.sort_unstable();
        assert!(!found.is_empty());
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn lines_that_are_wanted() {
    for (path, wanted) in [
        ("var/lib/rpm/Packages", true),
        ("sysroot/usr/share/rpm/rpmdb.sqlite", true),
        ("usr/lib/sysimage/rpm/Packages.db", true),
        ("var/lib/rpmmanifest/container-manifest-2", true),
        ("var/lib/dpkg/Packages", false),
        ("Packages", false),
        ("container-manifest-2", false),
    ] {
        assert_eq!(Rpm.wants(&File { path, size: 1, mode: 0o644 }) != Want::No, wanted, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Broken databases end, without a panic, in no more packages than there is room for.
    #[test]
    fn any_change_is_read_or_refused(form in 0..FORMS.len(), changes in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..40), cut: u32) {
        let (name, mut bytes) = database(form);
        // Where the structure is dense.
        let dense = bytes.len().min(8 << 10);
        for (at, byte) in changes {
            bytes[at as usize % dense] = byte;
        }
        let _ = reduce(name, &bytes);
        bytes.truncate(cut as usize % bytes.len());
        let _ = reduce(name, &bytes);
    }

    #[test]
    fn any_header_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), entries in 0u8..5) {
        let mut reading = Reading::default();
        reading.take(&bytes);
        reading.take(&[&[0, 0, 0, entries, 0, 0, 0, 200], &bytes[..]].concat());
        prop_assert!(reading.finish().len() <= 2);
    }
}
