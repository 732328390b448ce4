//! A directory of manifests becomes a cluster state. The one place of this crate that reads files.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walkdir::WalkDir;

use crate::locate::line_of;
use crate::objects::{
    AdminFlavor, Format, Object, ObjectKey, ParseError, ParseOptions, parse_documents_each,
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

/// As [`load`]; `each` sees every object with the document that it was read from.
pub(crate) fn load_with(
    root: &Path,
    options: ParseOptions,
    each: &mut dyn FnMut(&Object, &serde_json::Value),
) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let mut undecoded = None;
    let mut files = 0;
    let mut baseline = None;
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            LoadError::Read { path, source: error.into() }
        })?;
        let path = entry.path();
        let wanted = path.extension().and_then(|extension| extension.to_str());
        let named = entry.depth() == 0;
        if !path.is_file() || !(named || matches!(wanted, Some("yaml" | "yml" | "json"))) {
            continue;
        }
        files += 1;
        if files > MAX_FILES {
            return Err(LoadError::TooManyFiles { path: root.to_owned(), limit: MAX_FILES });
        }
        let source = path.display().to_string();
        let failed = |source| LoadError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
            let limit = MAX_FILE_BYTES as usize;
            return Err(ParseError::TooLarge { source_name: Some(source), limit, unit: "bytes" }.into());
        }
        let bytes = fs::read(path).map_err(failed)?;
        // JSON is a subset of YAML, but not the other way round.
        let format = if wanted == Some("json") { Format::Json } else { Format::Yaml };
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
    files: BTreeMap<String, Option<String>>,
}

impl Lines {
    /// The line of an object in a file, 1-based; None where the file is gone, is no text or does not name it.
    pub fn find(&mut self, file: &str, key: &ObjectKey) -> Option<usize> {
        let read = || {
            let size = fs::metadata(file).ok()?.len();
            if size > MAX_FILE_BYTES { None } else { fs::read_to_string(file).ok() }
        };
        let text = self.files.entry(file.to_owned()).or_insert_with(read);
        line_of(text.as_deref()?, key)
    }
}
