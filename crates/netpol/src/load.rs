//! A directory of manifests becomes a cluster state. The one place of this crate that reads files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use walkdir::WalkDir;

use crate::locate::Index;
use crate::objects::{
    AdminFlavor, Format, Object, ObjectKey, ParseError, ParseOptions, parse_documents_each,
    parse_documents_with,
};
use crate::state::ClusterState;

/// Most files of one directory.
pub const MAX_FILES: usize = 100_000;
/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a directory was refused.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("failed to read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("{source_name}: only one BaselineAdminNetworkPolicy may exist in a cluster")]
    SecondBaseline { source_name: String },
    #[error("{path} has no Kubernetes objects", path = path.display())]
    Nothing { path: PathBuf },
    #[error("{path} has more than {limit} files", path = path.display())]
    TooManyFiles { path: PathBuf, limit: usize },
}

impl LoadError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::Parse(error) => error.code(),
            Self::SecondBaseline { .. } => "invalid_object",
            Self::Nothing { .. } => "no_objects",
            Self::TooManyFiles { .. } => "too_large",
        }
    }
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    pub state: ClusterState,
    /// Files that could not be decoded, in words.
    pub warnings: Vec<String>,
}

/// Reads every `*.yaml`, `*.yml` and `*.json` below `root`, or `root` itself when it is a file.
///
/// # Errors
/// An object that Kubernetes would refuse, a directory that cannot be read, or nothing to read. A file that is not
/// YAML at all is a warning unless nothing else loads.
pub fn load(root: &Path, options: ParseOptions) -> Result<Loaded, LoadError> {
    load_with(root, options, &mut |_, _| {})
}

/// Opens a file of another kind that stands beside manifests.
pub(crate) fn open(path: &Path) -> Result<BufReader<fs::File>, LoadError> {
    let file = fs::File::open(path);
    Ok(BufReader::new(file.map_err(|source| LoadError::Read { path: path.to_owned(), source })?))
}

/// Files of a path, in order of name: every `*.yaml`, `*.yml` and `*.json` below a directory, or the one that is named.
/// Links to directories are not followed.
fn files(root: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            let source = match error.io_error().map(std::io::Error::kind) {
                Some(kind) => kind.into(),
                None => error.into(),
            };
            LoadError::Read { path, source }
        })?;
        let wanted = entry.path().extension().and_then(|extension| extension.to_str());
        let named = entry.depth() == 0;
        // A manifest that a link promises is not left out silently.
        let lost = entry.path_is_symlink() && !entry.path().exists();
        if (named && !entry.path().is_dir())
            || (lost && matches!(wanted, Some("yaml" | "yml" | "json")))
            || (entry.path().is_file() && matches!(wanted, Some("yaml" | "yml" | "json")))
        {
            found.push(entry.into_path());
        }
        if found.len() > MAX_FILES {
            return Err(LoadError::TooManyFiles { path: root.to_owned(), limit: MAX_FILES });
        }
    }
    Ok(found)
}

/// The bytes of a file; never more than the limit, whatever its size says.
fn contents(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let mut limited = open(path)?.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let (source_name, limit) = (Some(path.display().to_string()), MAX_FILE_BYTES as usize);
        return Err(ParseError::TooLarge { source_name, limit, unit: "bytes" }.into());
    }
    Ok(bytes)
}

/// The manifests of several paths as one stream of YAML documents, each file checked, so that an error names it.
///
/// # Errors
/// As [`load`], and a file that is no YAML; no file at all is [`LoadError::Nothing`].
pub fn stream(paths: &[PathBuf]) -> Result<Vec<u8>, LoadError> {
    let mut out = Vec::new();
    let mut any = false;
    for root in paths {
        for path in files(root)? {
            any = true;
            let bytes = contents(&path)?;
            append(&bytes, &path.display().to_string(), &mut out)?;
        }
    }
    match paths.first().filter(|_| !any) {
        Some(path) => Err(LoadError::Nothing { path: path.clone() }),
        None => Ok(out),
    }
}

/// Adds one checked input to a stream of YAML documents.
///
/// # Errors
/// An object that Kubernetes would refuse, or what is no YAML; `source` names the input.
pub fn append(bytes: &[u8], source: &str, out: &mut Vec<u8>) -> Result<(), ParseError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    parse_documents_with(bytes, Format::Yaml, ParseOptions::default())
        .map_err(|error| error.in_source(source))?;
    // Between other documents, JSON is read as YAML, which not all of JSON is.
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) if value.is_object() => out.extend_from_slice(value.to_string().as_bytes()),
        _ => out.extend_from_slice(bytes),
    }
    out.extend_from_slice(b"\n---\n");
    Ok(())
}

/// As [`load`]; `each` sees every object with the document that it was read from.
pub(crate) fn load_with(
    root: &Path,
    options: ParseOptions,
    each: &mut dyn FnMut(&Object, &serde_json::Value),
) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let mut undecoded = None;
    let mut baseline = None;
    for path in files(root)? {
        let source = path.display().to_string();
        let bytes = contents(&path)?;
        let json = path.extension().is_some_and(|extension| extension == "json");
        // JSON is a subset of YAML, but not the other way round.
        let format = if json { Format::Json } else { Format::Yaml };
        match parse_documents_each(&bytes, format, options, each) {
            Ok(objects) => {
                for mut object in objects {
                    object.set_source(&source);
                    if let Object::BaselineAdminNetworkPolicy(policy) = &object
                        && policy.flavor == AdminFlavor::Baseline
                        && baseline.replace(source.clone()).is_some()
                    {
                        return Err(LoadError::SecondBaseline { source_name: source });
                    }
                    loaded.state.apply(object);
                }
            }
            Err(error @ ParseError::InvalidYaml { .. }) => {
                let error = error.in_source(&source);
                loaded.warnings.push(error.to_string());
                undecoded.get_or_insert(error);
            }
            Err(error) => return Err(error.in_source(&source).into()),
        }
    }
    if loaded.state.is_empty() {
        return Err(match undecoded {
            Some(error) => error.into(),
            None => LoadError::Nothing { path: root.to_owned() },
        });
    }
    Ok(loaded)
}

/// Looks the lines of objects up in the files that they came from; each file is read once.
#[derive(Debug, Default)]
pub struct Lines {
    files: BTreeMap<String, Option<Index>>,
}

impl Lines {
    /// The line of an object in a file, 1-based; None where the file is gone, is no text or does not name it.
    pub fn find(&mut self, file: &str, key: &ObjectKey) -> Option<usize> {
        let read = || {
            let size = fs::metadata(file).ok()?.len();
            let text = if size > MAX_FILE_BYTES { None } else { fs::read_to_string(file).ok() };
            text.map(|text| Index::of(&text))
        };
        self.files.entry(file.to_owned()).or_insert_with(read).as_ref()?.line(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_name_the_file_and_follow_no_links_to_folders() {
        let root = std::env::temp_dir().join(format!("plimsoll-stream-{}", std::process::id()));
        fs::create_dir_all(root.join("inner")).expect("folder");
        assert_eq!(stream(std::slice::from_ref(&root)).expect_err("nothing").code(), "no_objects");
        #[cfg(unix)]
        for name in ["a", "b"] {
            std::os::unix::fs::symlink(&root, root.join("inner").join(name)).expect("link");
        }
        let json = "\t{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"\\u0061\", \"labels\": {\"x\": \"\\ud83d\\ude00\"}}}";
        fs::write(root.join("a.json"), json).expect("file");
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n---\n";
        fs::write(root.join("b.yaml"), format!("\u{feff}{pod}")).expect("file");
        let bytes = stream(std::slice::from_ref(&root)).expect("manifests");
        let objects =
            parse_documents_with(&bytes, Format::Yaml, ParseOptions::default()).expect("one stream");
        assert_eq!(objects.len(), 2);
        fs::write(
            root.join("inner/c.yml"),
            format!("{pod}apiVersion: v1\nkind: Pod\nmetadata: {{name: 1}}\n"),
        )
        .expect("file");
        let said = stream(std::slice::from_ref(&root)).expect_err("refused").to_string();
        assert!(
            said.ends_with(
                "c.yml: Pod (document 2): metadata.name: must be a string, not 1; put it in quotes"
            ),
            "{said}"
        );
        fs::remove_dir_all(&root).expect("clean");
    }
}
