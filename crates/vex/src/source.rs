//! Files, directories and VEX repositories.
//!
//! A directory with an `index.json` of the VEX Repository Specification
//! (<https://github.com/aquasecurity/vex-repo-spec>) is read through it: each document counts for the package under which
//! it is filed, and for no other. So is such a directory in a `.tar.gz`. Any other directory is read file by file.
//!
//! Limits: a document 64 MiB, 100,000 files, directories 16 deep, an archive 1 GiB unpacked. Symbolic links are not
//! followed inside a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::document::{Collected, MAX_DOCUMENT, Trust, list, read_only, text};
use crate::error::VexError;

const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 16;
const MAX_ARCHIVE: u64 = 1 << 30;

/// Reads one source into `out`. `source` says for people where it comes from.
///
/// # Errors
/// [`VexError`] where the source itself cannot be read; documents inside of a directory that cannot be used are
/// counted.
pub fn load(path: &Path, trust: &Trust, out: &mut Collected) -> Result<(), VexError> {
    let metadata = std::fs::metadata(path).map_err(VexError::io(path))?;
    if metadata.is_dir() {
        let index = path.join("index.json");
        if index.is_file()
            && let Some(packages) = index_of(&bytes(&index)?)
        {
            return hub(&packages, trust, out, |place| {
                let file = path.join(place);
                std::fs::symlink_metadata(&file).is_ok_and(|m| m.is_file()).then(|| bytes(&file)).transpose()
            });
        }
        for file in files(path)? {
            let place = file.strip_prefix(path).unwrap_or(&file).display().to_string();
            match bytes(&file) {
                Ok(bytes) => {
                    if !read_only(&bytes, &place, trust, None, out) {
                        out.report.leave("format_unknown", &place);
                    }
                }
                Err(VexError::TooLarge { .. }) => out.report.leave("document_too_large", &place),
                Err(error) => return Err(error),
            }
        }
        return Ok(());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        return archive(path, trust, out);
    }
    if read_only(&bytes(path)?, &name, trust, None, out) {
        Ok(())
    } else {
        Err(VexError::Unknown(path.to_owned()))
    }
}

/// Reads several sources, each with its own trust.
///
/// # Errors
/// As [`load`], with the first source that fails.
pub fn load_all<'s>(sources: impl Iterator<Item = (&'s Path, &'s Trust)>) -> Result<Collected, VexError> {
    let mut out = Collected::default();
    for (path, trust) in sources {
        load(path, trust, &mut out)?;
    }
    out.finish();
    Ok(out)
}

fn bytes(path: &Path) -> Result<Vec<u8>, VexError> {
    let file = File::open(path).map_err(VexError::io(path))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(VexError::io(path))?;
    if bytes.len() > MAX_DOCUMENT {
        return Err(VexError::TooLarge { path: path.to_owned(), what: "a document of 64 MiB" });
    }
    Ok(bytes)
}

/// The JSON files below a directory, sorted.
fn files(root: &Path) -> Result<Vec<PathBuf>, VexError> {
    let mut found = Vec::new();
    let mut pending = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        for entry in std::fs::read_dir(&folder).map_err(VexError::io(&folder))? {
            let entry = entry.map_err(VexError::io(&folder))?;
            let kind = entry.file_type().map_err(VexError::io(&folder))?;
            let path = entry.path();
            let json = path.extension().is_some_and(|e| e == "json" || e == "jsonl");
            if kind.is_dir() && depth < MAX_DEPTH {
                pending.push((path, depth + 1));
            } else if kind.is_file() && json {
                found.push(path);
            }
            if found.len() > MAX_FILES {
                return Err(VexError::TooLarge { path: root.to_owned(), what: "100,000 files" });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Package and place of each document of a repository's index.
fn index_of(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let index: Value = serde_json::from_slice(bytes).ok()?;
    index.get("packages")?.as_array()?;
    let entry = |package: &Value| (text(package, "id").to_owned(), text(package, "location").to_owned());
    Some(list(&index, "packages").iter().map(entry).collect())
}

/// A path inside of the repository and nowhere else.
fn inside(place: &str) -> bool {
    !place.is_empty() && Path::new(place).components().all(|part| matches!(part, Component::Normal(_)))
}

fn hub(
    packages: &[(String, String)],
    trust: &Trust,
    out: &mut Collected,
    read: impl Fn(&str) -> Result<Option<Vec<u8>>, VexError>,
) -> Result<(), VexError> {
    for (id, place) in packages.iter().take(MAX_FILES) {
        if !inside(place) {
            out.report.leave("hub_location", place);
            continue;
        }
        match read(place)? {
            None => out.report.leave("hub_document_missing", place),
            Some(bytes) => {
                if !read_only(&bytes, place, trust, Some(id), out) {
                    out.report.leave("format_unknown", place);
                }
            }
        }
    }
    Ok(())
}

/// A repository in a compressed archive, below at most one folder.
fn archive(path: &Path, trust: &Trust, out: &mut Collected) -> Result<(), VexError> {
    let broken = |reason: String| VexError::Archive { path: path.to_owned(), reason };
    let file = File::open(path).map_err(VexError::io(path))?;
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(MAX_ARCHIVE));
    let mut documents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in archive.entries().map_err(|e| broken(e.to_string()))? {
        let mut entry = entry.map_err(|e| broken(e.to_string()))?;
        let name = entry.path().map_err(|e| broken(e.to_string()))?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() || !name.ends_with(".json") {
            continue;
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX);
        entry.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(|e| broken(e.to_string()))?;
        documents.insert(name, bytes);
        if documents.len() > MAX_FILES {
            return Err(VexError::TooLarge { path: path.to_owned(), what: "100,000 files" });
        }
    }
    let found =
        documents.iter().filter(|(name, _)| name.ends_with("index.json")).find_map(|(name, bytes)| {
            let base = name.strip_suffix("index.json").filter(|base| base.matches('/').count() <= 1)?;
            Some((base.to_owned(), index_of(bytes)?))
        });
    let Some((base, packages)) = found else {
        return Err(broken("it has no index.json".to_owned()));
    };
    hub(&packages, trust, out, |place| Ok(documents.get(&format!("{base}{place}")).cloned()))
}
