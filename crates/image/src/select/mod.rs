//! Selectors: which files of a layer are kept, and reduced to what.
//!
//! A cataloger is two halves with a revision each: *select*, here, and *interpret*, which turns the kept bytes
//! into components. [`SELECTORS`] is the one table; each selector is a file of its own. Raise a selector's
//! revision whenever the same layer would give other bytes.
//!
//! | selector | files | kept |
//! |---|---|---|
//! | `os-release` | `etc/os-release`, `usr/lib/os-release`, `etc/*-release`, `etc/debian_version` | the file |
//! | `dpkg` | `lib/dpkg/status`, `lib/dpkg/status.d/*` anywhere | stanzas with the fields in [`dpkg::FIELDS`], in order |
//! | `dpkg-files` | `lib/dpkg/info/*.list`, `lib/dpkg/status.d/*.md5sums` | relative paths, one a line, of files that matter to other selectors |
//! | `dpkg-copyright` | `usr/share/doc/*/copyright`, machine-readable | the licences that files are under, one a line |
//! | `apk` | `lib/apk/db/installed` anywhere | the file |
//! | `rpm` | `Packages`, `Packages.db`, `rpmdb.sqlite` in rpm's directories; `container-manifest-2` | a JSON array of [`rpm::Package`]; the manifest whole |
//! | `npm` | `package.json` | a JSON object with the members in [`npm::MEMBERS`] |
//! | `python` | `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `*.egg-info`, `EGG-INFO/PKG-INFO`, `direct_url.json` | the header fields up to the first empty line; `direct_url.json` whole |
//! | `gem` | `specifications/*.gemspec` | lines that identify, license and relate the gem |
//! | `bitnami` | `opt/bitnami/**/.spdx-*.spdx` | packages with their external references |
//! | `composer` | `composer/installed.json` | the document without what does not identify packages |
//! | `dotnet` | `*.deps.json` | the same |
//! | `conda` | `conda-meta/*.json` | the same |
//! | `pacman` | `var/lib/pacman/local/*/desc`, `files` | sections of interest; paths of files that matter |
//! | `opkg` | `lib/opkg/status` | as `dpkg` |
//! | `binary` | programs with names that a classifier knows, `node/node_version.h`, Java's `release` | product, tab, version |
//! | `rust-binary` | executables of `cargo auditable` | a JSON array of [`rust_binary::Crate`] |
//! | `lockfile` | lockfiles of every kind that the selector names; only in [`LOCKFILES`] | the file |
//! | `portage` | `var/db/pkg/*/*/CONTENTS`, `LICENSE` | relative paths of files that matter; the licence |
//! | `pear` | `.registry/**/*.reg` | name, channel, version, licence |
//! | `elf-note` | ELF programs and libraries with the note `FDO` | the note's JSON |
//! | `pe` | .NET assemblies: `*.dll`, `*.exe` | texts of the version resource |
//! | `kernel` | `vmlinuz*`, `*.ko` | release; fields of `.modinfo` |
//! | `conan`, `erlang`, `homebrew`, `lua`, `opam`, `perl`, `r`, `snap`, `wordpress` | see [`metadata`] | see there |
//! | `java` | `*.jar`, `*.war`, `*.ear` and the like | a JSON object, [`java::Archive`] |
//! | `secrets` | every file, where asked for | what the scanner for keys and credentials notes: a JSON array of rule, line, excerpt |
//! | `go-binary` | ELF, PE, Mach-O executables with Go build information | the Go version, a newline, the module information |

pub mod apk;
pub mod binary;
pub mod dpkg;
pub mod dpkg_copyright;
pub mod dpkg_files;
pub mod elf_note;
pub mod executable;
pub mod gem;
pub mod go_binary;
mod go_scan;
pub mod java;
pub mod json;
pub mod kernel;
pub mod lockfile;
pub mod metadata;
pub mod npm;
pub mod opkg;
pub mod os_release;
pub mod pacman;
pub mod pe;
pub mod pear;
pub mod pom;
pub mod portage;
pub mod python;
pub mod rpm;
pub mod rust_binary;
mod rust_scan;
pub mod scan;
pub mod secrets;
pub mod xml;
pub mod zipped;

use std::sync::LazyLock;

use plimsoll_model::extract::SelectorRevision;
use rustc_hash::FxHashMap;

/// Selectors of what a project asks for rather than what is installed. Not used for images unless asked for.
pub static LOCKFILES: &[&dyn Selector] = &[&lockfile::Lockfile];

/// What looks for keys and credentials. Not used unless asked for.
pub static SECRETS: &[&dyn Selector] = &[&secrets::Secrets];

/// Every selector of what is installed, by name.
pub static SELECTORS: &[&dyn Selector] = &[
    &apk::Apk,
    &binary::Binary,
    &json::Bitnami,
    &json::Composer,
    &json::Conda,
    &json::Dotnet,
    &gem::Gem,
    &dpkg::Dpkg,
    &dpkg_copyright::DpkgCopyright,
    &dpkg_files::DpkgFiles,
    &elf_note::ElfNote,
    &go_binary::GO_BINARY,
    &java::Java,
    &kernel::Kernel,
    &metadata::CONAN,
    &metadata::ERLANG,
    &metadata::HOMEBREW,
    &metadata::LUA,
    &metadata::OPAM,
    &metadata::PERL_DISTRIBUTION,
    &metadata::R,
    &metadata::SNAP,
    &metadata::WORDPRESS,
    &npm::Npm,
    &opkg::Opkg,
    &os_release::OsRelease,
    &pacman::Pacman,
    &pe::Pe,
    &pear::Pear,
    &portage::Portage,
    &python::Python,
    &rpm::Rpm,
    &rust_binary::RUST_BINARY,
];

/// A regular file of a layer.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// As in [`Entry::path`](plimsoll_model::extract::Entry::path).
    pub path: &'a str,
    /// Bytes, holes included.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
}

impl<'a> File<'a> {
    /// The last part of the path.
    pub fn name(&self) -> &'a str {
        self.path.rsplit_once('/').map_or(self.path, |(_, name)| name)
    }

    /// The name of the directory that holds the file; empty at the root.
    pub fn parent(&self) -> &'a str {
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        directory.rsplit_once('/').map_or(directory, |(_, name)| name)
    }

    /// Whether the path is `suffix` or ends with `/suffix`.
    pub fn is(&self, suffix: &str) -> bool {
        self.path.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

/// What makes the table ask a selector at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The file's name.
    Name(&'static str),
    /// The text after the last dot of the file's name.
    Extension(&'static str),
    /// The name of the file's directory.
    Parent(&'static str),
    /// The first bytes of the file: an ELF, PE or Mach-O executable.
    Executable,
}

/// How much of a file a selector needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    No,
    /// All of it. A file of more than `max` bytes is left out and the Extract is partial.
    Whole {
        max: u64,
    },
    /// All of it; a file of more than `max` bytes, or than the limits let in, is not missed.
    WholeIfFits {
        max: u64,
    },
    /// The first bytes of it; more is not missed.
    Head {
        max: u64,
    },
    /// All of it up to `max` bytes; a larger file is given to [`Selector::scan`] as it passes.
    WholeOrScan {
        max: u64,
    },
}

/// The *select* half of a cataloger. Pure; content is hostile.
pub trait Selector: Sync {
    /// Name, as it stands in Extracts.
    fn name(&self) -> &'static str;
    /// Revision of the rules.
    fn revision(&self) -> u32;
    /// When to ask [`Selector::wants`].
    fn triggers(&self) -> &'static [Trigger];
    /// Whether this file is wanted, and how much of it. Asked for files that a trigger fits.
    fn wants(&self, file: &File<'_>) -> Want;
    /// For a file that is larger than [`Want::WholeOrScan`] allows: what looks at it while it passes.
    fn scan(&self, _file: &File<'_>) -> Option<Box<dyn scan::Scan>> {
        None
    }
    /// What is kept of the file, or of its beginning for [`Want::Head`]; `None` drops it.
    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>>;
}

/// Selectors, indexed by their triggers.
pub struct Table {
    selectors: Vec<&'static dyn Selector>,
    by_name: FxHashMap<&'static [u8], Vec<usize>>,
    by_extension: FxHashMap<&'static [u8], Vec<usize>>,
    by_parent: FxHashMap<&'static [u8], Vec<usize>>,
    executable: Vec<usize>,
    secrets: Option<usize>,
}

impl Table {
    /// An index over `selectors`.
    pub fn new(selectors: &[&'static dyn Selector]) -> Self {
        let mut table = Self {
            selectors: selectors.to_vec(),
            by_name: FxHashMap::default(),
            by_extension: FxHashMap::default(),
            by_parent: FxHashMap::default(),
            executable: Vec::new(),
            secrets: None,
        };
        table.selectors.sort_by_key(|selector| selector.name());
        table.secrets = table.selectors.iter().position(|selector| selector.name() == secrets::NAME);
        for (index, selector) in table.selectors.iter().enumerate() {
            for trigger in selector.triggers() {
                match trigger {
                    Trigger::Name(text) => table.by_name.entry(text.as_bytes()).or_default(),
                    Trigger::Extension(text) => table.by_extension.entry(text.as_bytes()).or_default(),
                    Trigger::Parent(text) => table.by_parent.entry(text.as_bytes()).or_default(),
                    Trigger::Executable => &mut table.executable,
                }
                .push(index);
            }
        }
        table
    }

    /// The table of [`SELECTORS`].
    pub fn all() -> &'static Self {
        static ALL: LazyLock<Table> = LazyLock::new(|| Table::new(SELECTORS));
        &ALL
    }

    /// The table of [`SELECTORS`] and [`LOCKFILES`]: for directories of sources.
    pub fn with_lockfiles() -> &'static Self {
        Self::of(true, false)
    }

    /// The table of [`SELECTORS`], with those of sources and the one of secrets where asked for.
    pub fn of(lockfiles: bool, secrets: bool) -> &'static Self {
        static LOCK: LazyLock<Table> = LazyLock::new(|| Table::new(&[SELECTORS, LOCKFILES].concat()));
        static SECRET: LazyLock<Table> = LazyLock::new(|| Table::new(&[SELECTORS, SECRETS].concat()));
        static BOTH: LazyLock<Table> =
            LazyLock::new(|| Table::new(&[SELECTORS, LOCKFILES, SECRETS].concat()));
        match (lockfiles, secrets) {
            (false, false) => Self::all(),
            (true, false) => &LOCK,
            (false, true) => &SECRET,
            (true, true) => &BOTH,
        }
    }

    /// The index of the selector of secrets, if the table has it.
    pub(crate) fn secrets(&self) -> Option<usize> {
        self.secrets
    }

    /// Names and revisions, sorted by name.
    pub fn revisions(&self) -> Vec<SelectorRevision> {
        let revision = |selector: &&dyn Selector| SelectorRevision {
            name: selector.name().to_owned(),
            revision: selector.revision(),
        };
        self.selectors.iter().map(revision).collect()
    }

    /// The selector at an index that [`Table::by_path`] gave.
    pub fn get(&self, index: usize) -> Option<&'static dyn Selector> {
        self.selectors.get(index).copied()
    }

    /// Calls `found` for each selector that wants the file by its path. Some nanoseconds where none does.
    pub fn by_path(&self, file: &File<'_>, mut found: impl FnMut(usize, Want)) {
        let bytes = file.path.as_bytes();
        let slash = bytes.iter().rposition(|byte| *byte == b'/');
        let name = slash.and_then(|at| bytes.get(at + 1..)).unwrap_or(bytes);
        let directory = slash.and_then(|at| bytes.get(..at)).unwrap_or(&[]);
        let parent = directory
            .iter()
            .rposition(|byte| *byte == b'/')
            .and_then(|at| directory.get(at + 1..))
            .unwrap_or(directory);
        let extension = name.iter().rposition(|byte| *byte == b'.').and_then(|at| name.get(at + 1..));
        let lists = [
            self.by_name.get(name),
            extension.and_then(|text| self.by_extension.get(text)),
            self.by_parent.get(parent),
        ];
        let mut asked: u64 = 0; // a selector with two fitting triggers is asked once
        for index in lists.into_iter().flatten().flatten().copied() {
            let bit = 1_u64.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
            if bit != 0 && asked & bit != 0 {
                continue;
            }
            asked |= bit;
            match self.get(index).map_or(Want::No, |selector| selector.wants(file)) {
                Want::No => {}
                want => found(index, want),
            }
        }
    }

    /// Calls `found` for each selector of executables, if `head` is the beginning of one.
    pub fn by_content(&self, file: &File<'_>, head: &[u8], mut found: impl FnMut(usize, Want)) {
        if self.executable.is_empty() || !executable::is_executable(head) {
            return;
        }
        for index in &self.executable {
            match self.get(*index).map_or(Want::No, |selector| selector.wants(file)) {
                Want::No => {}
                want => found(*index, want),
            }
        }
    }

    /// Whether a selector looks at content rather than paths.
    pub fn looks_at_content(&self, index: usize) -> bool {
        self.executable.contains(&index)
    }

    /// Whether the named selector could want a file with this path: what a back-fill asks of a shadow set.
    /// Content is unknown, so a selector of executables could want any file.
    pub fn could_select(&self, selector: &str, path: &str) -> bool {
        let Some(wanted) = self.selectors.iter().position(|known| known.name() == selector) else {
            return false;
        };
        let mut could = self.looks_at_content(wanted) || self.secrets == Some(wanted);
        self.by_path(&File { path, size: 1, mode: 0o644 }, |index, _| could |= index == wanted);
        could
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_table_finds_by_every_trigger() {
        let table = Table::all();
        let names: Vec<String> = table.revisions().into_iter().map(|revision| revision.name).collect();
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(names, unique);
        assert!(SELECTORS.len() + LOCKFILES.len() + SECRETS.len() <= 64);
        for (path, expected) in [
            ("var/lib/dpkg/status", &["dpkg"][..]),
            ("var/lib/dpkg/status.d/base", &["dpkg"]),
            ("var/lib/dpkg/status.d/base.md5sums", &["dpkg-files"]),
            ("var/lib/dpkg/info/base:amd64.list", &["dpkg-files"]),
            ("etc/os-release", &["os-release"]),
            ("srv/etc/os-release", &[]),
            ("app/node_modules/x/package.json", &["npm"]),
            ("package.json", &["npm"]),
            ("a/Foo-1.dist-info/METADATA", &["python"]),
            ("a/Foo-1.egg-info/PKG-INFO", &["python"]),
            ("a/Foo-1.egg-info", &["python"]),
            ("a/METADATA", &[]),
            ("lib/apk/db/installed", &["apk"]),
            ("usr/bin/python3", &[]),
            ("usr/share/java/a.jar", &["java"]),
            ("var/lib/rpm/Packages", &["rpm"]),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", &["rpm"]),
            ("srv/Packages", &[]),
            ("a/vendor/composer/installed.json", &["composer"]),
            ("a/conda-meta/x-1.json", &["conda"]),
            ("a/x.deps.json", &["dotnet"]),
            ("a/x.json", &[]),
            ("usr/lib/opkg/status", &["opkg"]),
            ("var/lib/pacman/local/x-1-1/desc", &["pacman"]),
            ("var/lib/gems/specifications/x-1.gemspec", &["gem"]),
        ] {
            let mut found = Vec::new();
            table.by_path(&File { path, size: 10, mode: 0o644 }, |index, _| {
                found.push(table.get(index).unwrap().name());
            });
            assert_eq!(found, expected, "{path}");
        }
        assert!(table.could_select("go-binary", "any/thing"));
        assert!(table.could_select("rust-binary", "any/thing"));
        assert!(!table.could_select("npm", "any/thing"));
    }
}
