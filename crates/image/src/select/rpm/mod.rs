//! The database of rpm in each of its forms: Berkeley DB (hash, B-tree), NDB, SQLite; and the manifest that stands
//! for it in CBL-Mariner's distroless images.

mod berkeley;
mod bytes;
mod header;
mod ndb;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::dpkg_files::matters;
use super::{File, Selector, Trigger, Want};
use header::Header;

/// Keeps a JSON array of [`Package`], sorted; the manifest whole.
pub struct Rpm;

const MAX: u64 = 64 << 20;
const MAX_MANIFEST: u64 = 4 << 20;
/// Packages of one database.
const MAX_PACKAGES: usize = 100_000;
/// Bytes of texts that are kept of one database, and of names that relations are resolved with.
const MAX_KEPT: usize = 32 << 20;
const MAX_NAMES: usize = 128 << 20;
const MAX_TEXT: usize = 4_096;
/// Bytes of paths that are joined: a short name in a long directory costs much more than its bytes.
const MAX_WORK: usize = 1 << 30;

/// What is kept of a package.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    pub name: String,
    /// Absent where the package states none, which is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    pub version: String,
    pub release: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// File name of the source package.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// `NAME:STREAM:VERSION:CONTEXT` of the module that the package belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub module: String,
    /// Relative paths of files in which another selector could find a package.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Names of packages that provide what this one requires, sorted.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
}

impl Selector for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Name("Packages"),
                Trigger::Name("Packages.db"),
                Trigger::Name("rpmdb.sqlite"),
                Trigger::Name("container-manifest-2"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.name() == "container-manifest-2" {
            let here = file.is("var/lib/rpmmanifest/container-manifest-2");
            return if here { Want::Whole { max: MAX_MANIFEST } } else { Want::No };
        }
        let Some((directory, _)) = file.path.rsplit_once('/') else { return Want::No };
        let directory = File { path: directory, ..*file };
        let here = ["var/lib/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm"];
        if here.iter().any(|known| directory.is(known)) { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        if file.name() == "container-manifest-2" {
            return Some(bytes.to_vec());
        }
        let mut reading = Reading::default();
        let mut take = |value: &[u8]| reading.take(value);
        if sqlite::is(bytes) {
            sqlite::values(bytes, &mut take);
        } else if ndb::is(bytes) {
            ndb::values(bytes, &mut take);
        } else if berkeley::is(bytes) {
            berkeley::values(bytes, &mut take);
        }
        let packages = reading.finish();
        if packages.is_empty() { None } else { serde_json::to_vec(&packages).ok() }
    }
}

/// A database while it is read.
#[derive(Default)]
struct Reading {
    packages: Vec<(Package, Vec<Vec<u8>>)>,
    /// Which packages provide a name.
    providers: FxHashMap<Vec<u8>, Vec<usize>>,
    kept: usize,
    names: usize,
    work: usize,
}

impl Reading {
    /// Takes a value, if it is a package's header; false once there is no room.
    fn take(&mut self, value: &[u8]) -> bool {
        let Some(header) = Header::open(value) else { return true };
        let text = |tag| {
            let mut text = header.text(tag);
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text
        };
        let mut package = Package {
            name: text(header::NAME),
            epoch: header.numbers(header::EPOCH).next(),
            version: text(header::VERSION),
            release: text(header::RELEASE),
            arch: text(header::ARCH),
            source: text(header::SOURCE_RPM),
            vendor: text(header::VENDOR),
            license: text(header::LICENSE),
            module: text(header::MODULARITY_LABEL),
            ..Package::default()
        };
        for absent in [&mut package.source, &mut package.vendor, &mut package.module, &mut package.arch] {
            if absent == "(none)" {
                absent.clear();
            }
        }
        if package.name.is_empty() || package.version.is_empty() {
            return true;
        }
        let index = self.packages.len();
        self.kept +=
            package.name.len() + package.version.len() + package.release.len() + package.license.len();
        self.kept += package.source.len() + package.vendor.len() + package.module.len() + 64;
        self.files(&header, &mut package);
        for name in header.texts(header::PROVIDE_NAME) {
            self.names += name.len() + 32;
            if self.names < MAX_NAMES {
                self.providers.entry(name.to_vec()).or_default().push(index);
            }
        }
        let mut requires = Vec::new();
        for name in header.texts(header::REQUIRE_NAME).filter(|name| !name.starts_with(b"rpmlib(")) {
            self.names += name.len() + 32;
            if self.names < MAX_NAMES {
                requires.push(name.to_vec());
            }
        }
        self.packages.push((package, requires));
        self.packages.len() < MAX_PACKAGES && self.kept < MAX_KEPT
    }

    /// Files that matter, and programs as something that is provided: packages require those by their paths.
    fn files(&mut self, header: &Header<'_>, package: &mut Package) {
        let index = self.packages.len();
        let directories: Vec<&[u8]> = header.texts(header::DIR_NAMES).collect();
        let names = header.texts(header::BASE_NAMES).zip(header.numbers(header::DIR_INDEXES));
        let whole = header.texts(header::OLD_FILE_NAMES).map(<[u8]>::to_vec);
        let joined = names.filter_map(|(name, directory)| {
            let directory = directories.get(usize::try_from(directory).ok()?)?;
            Some([directory, name].concat())
        });
        for path in joined.chain(whole) {
            self.work += path.len() + 32;
            if self.work > MAX_WORK {
                return;
            }
            if path.len() > MAX_TEXT {
                continue;
            }
            if path.windows(5).any(|part| part == b"/bin/") || path.windows(6).any(|part| part == b"/sbin/") {
                self.names += path.len() + 32;
                if self.names < MAX_NAMES {
                    self.providers.entry(path.clone()).or_default().push(index);
                }
            }
            let Ok(path) = std::str::from_utf8(&path) else { continue };
            let path = path.trim_start_matches('/');
            if !path.is_empty() && matters(path) && self.kept < MAX_KEPT {
                self.kept += path.len() + 4;
                package.files.push(path.to_owned());
            }
        }
    }

    fn finish(self) -> Vec<Package> {
        let names: Vec<String> = self.packages.iter().map(|(package, _)| package.name.clone()).collect();
        let mut packages: Vec<Package> = Vec::with_capacity(self.packages.len());
        for (index, (mut package, requires)) in self.packages.into_iter().enumerate() {
            for name in requires {
                // Of several providers any will do; a package that provides it itself needs none.
                let Some(providers) = self.providers.get(&name) else { continue };
                if providers.contains(&index) {
                    continue;
                }
                let provider = providers.iter().filter_map(|provider| names.get(*provider)).min();
                package.requires.extend(provider.cloned());
            }
            package.files.sort_unstable();
            packages.push(package);
        }
        packages.sort();
        packages
    }
}
