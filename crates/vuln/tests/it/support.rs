//! Small Dbs from records written in the tests.

use std::path::{Path, PathBuf};

use plimsoll_model::package::{ComponentKey, Ecosystem, PackageKey, Release, SourcePackage};
use plimsoll_model::time::Timestamp;
use plimsoll_vuln::{BuildOptions, BuildReport, Db, build};
use tempfile::TempDir;

pub(crate) const OPTIONS: BuildOptions = BuildOptions { seq: 7, built_at: Timestamp(1_700_000_000_000) };

/// Files (name, content) in a directory.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

pub(crate) fn build_of(files: &[(&str, &str)]) -> (Vec<u8>, BuildReport) {
    let directory = directory(files);
    build(&[directory.path().to_owned()], &OPTIONS).unwrap()
}

pub(crate) fn db_of(files: &[(&str, &str)]) -> Db {
    Db::from_bytes(build_of(files).0).unwrap()
}

/// One OSV record a line.
pub(crate) fn osv(lines: &[&str]) -> Db {
    db_of(&[("records.jsonl", &lines.join("\n"))])
}

pub(crate) fn language(ecosystem: Ecosystem, name: &str, version: &str) -> ComponentKey {
    ComponentKey {
        stream: String::new(),
        package: PackageKey { ecosystem, release: None, name: name.into() },
        version: version.into(),
        source: None,
        arch: String::new(),
    }
}

/// A distribution package `name` built from `source`, both at their versions.
pub(crate) fn packaged(
    ecosystem: Ecosystem,
    release: (&str, &str),
    (name, version): (&str, &str),
    source: Option<(&str, &str)>,
) -> ComponentKey {
    ComponentKey {
        stream: String::new(),
        package: PackageKey {
            ecosystem,
            release: Some(Release { id: release.0.into(), version: release.1.into() }),
            name: name.into(),
        },
        version: version.into(),
        source: source.map(|(name, version)| SourcePackage { name: name.into(), version: version.into() }),
        arch: "amd64".into(),
    }
}

/// `vulnerability range fixed` of each match.
pub(crate) fn found(db: &Db, component: &ComponentKey) -> Vec<String> {
    db.match_component(component)
        .unwrap()
        .into_iter()
        .map(|m| format!("{} {} fixed {}", m.vulnerability, m.range, m.fixed.as_deref().unwrap_or("-")))
        .collect()
}

/// The shared advisories, where this checkout has them.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/advisories").join(path);
    path.exists().then_some(path)
}
