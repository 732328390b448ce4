//! Files, directories and archives: what they hold, and their documents one by one.
//!
//! Limits: a record 16 MiB, a whole JSON document 1 GiB, an input 32 GiB unpacked, 4 million files or archive entries,
//! directories 16 deep. Symbolic links are not followed inside a directory.
//!
//! A directory with a file `layered.json` is an archive and what changed since: see [`Layers`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest as hash;
use plimsoll_model::digest::Digest;
use serde::{Deserialize, Serialize};

use super::container::{Shape, detect_file, open, zip_archive};
use super::{FeedReport, Format, Sink, document, epss, oval, updateinfo};
use crate::advisory::Record;

const MAX_RECORD: u64 = 16 << 20;
const MAX_DOCUMENT: u64 = 1 << 30;
const MAX_INPUT: u64 = 32 << 30;
pub(super) const MAX_FILES: usize = 4_000_000;
const MAX_DEPTH: usize = 16;
/// Names the layers of a directory.
const LAYERED: &str = "layered.json";

/// An archive and what changed since, as `layered.json` in a directory describes them: a record of the archive whose
/// file name is also in `changes`, or is in `deleted`, is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// File name of the archive.
    pub base: String,
    /// Name of the folder of changed records, one file each.
    pub changes: String,
    /// File names of records that are no more.
    #[serde(default)]
    pub deleted: BTreeSet<String>,
}

impl Layers {
    /// Reads `layered.json` of a directory; `None` where there is none.
    pub fn of(directory: &Path) -> Result<Option<Self>, FeedError> {
        let path = directory.join(LAYERED);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FeedError::io(&path)(error)),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(layers) if [&layers.base, &layers.changes].iter().all(|name| is_plain(name)) => {
                Ok(Some(layers))
            }
            _ => Err(FeedError::Unknown(path)),
        }
    }

    /// Writes `layered.json` into a directory.
    pub fn write(&self, directory: &Path) -> Result<(), FeedError> {
        let path = directory.join(LAYERED);
        let text = serde_json::to_vec(self).map_err(|error| FeedError::io(&path)(io::Error::other(error)))?;
        std::fs::write(&path, text).map_err(FeedError::io(&path))
    }
}

/// True for one component of a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

/// A source that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("read {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read the archive {path}")]
    Archive {
        path: PathBuf,
        #[source]
        source: zip::result::ZipError,
    },
    #[error("{0} is in no format that is known")]
    Unknown(PathBuf),
    #[error("{path} is larger than allowed: {what}")]
    TooLarge { path: PathBuf, what: &'static str },
}

impl FeedError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "feed_unreadable",
            Self::Archive { .. } => "feed_archive_invalid",
            Self::Unknown(_) => "feed_format_unknown",
            Self::TooLarge { .. } => "feed_too_large",
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The formats of a file (one) or of the files in a directory (any number), sorted.
pub fn detect(path: &Path) -> Result<Vec<Format>, FeedError> {
    let mut formats: Vec<Format> = Vec::new();
    for file in files(path)? {
        if let Some((format, _)) = detect_file(&file)?
            && !formats.contains(&format)
        {
            formats.push(format);
        }
    }
    formats.sort();
    Ok(formats)
}

pub(super) fn read(path: &Path, out: &mut dyn FnMut(Record)) -> Result<Vec<FeedReport>, FeedError> {
    let is_directory = path.is_dir();
    let passed_over = match Layers::of(path) {
        Ok(Some(layers)) => layers.passed_over(path)?,
        // A file has no file below it.
        Ok(None) | Err(FeedError::Io { .. }) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let mut sums: BTreeMap<Format, Vec<(String, [u8; 32])>> = BTreeMap::new();
    let mut reports: BTreeMap<Format, FeedReport> = BTreeMap::new();
    for file in files(path)? {
        let Some((format, shape)) = detect_file(&file)? else {
            if is_directory {
                continue;
            }
            return Err(FeedError::Unknown(file));
        };
        let report = reports.entry(format).or_insert_with(|| FeedReport {
            format,
            source: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            records: 0,
            rejected: 0,
            rejects: Vec::new(),
            ignored: 0,
            unsupported: BTreeMap::new(),
            feeds: BTreeMap::new(),
            provenance: None,
            newest: None,
            checksum: Digest::from_sha256(&[0; 32]),
        });
        let relative = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        let place = if relative.is_empty() { report.source.clone() } else { relative.clone() };
        read_file(&file, &place, format, shape, &passed_over, &mut Sink { out: &mut *out, report })?;
        sums.entry(format).or_default().push((relative, sha256(&file)?));
    }
    if !passed_over.is_empty() {
        // What is deleted is part of what was read.
        let mut context = hash::Context::new(&hash::SHA256);
        for name in &passed_over {
            context.update(name.as_bytes());
            context.update(&[0]);
        }
        let sum = array(context.finish().as_ref());
        sums.values_mut().for_each(|sums| sums.push((LAYERED.to_owned(), sum)));
    }
    for (format, report) in &mut reports {
        let sums = sums.remove(format).unwrap_or_default();
        report.checksum = match sums.as_slice() {
            [(name, sum)] if name.is_empty() => Digest::from_sha256(sum),
            sums => {
                let mut context = hash::Context::new(&hash::SHA256);
                for (name, sum) in sums {
                    context.update(name.as_bytes());
                    context.update(&[0]);
                    context.update(sum);
                }
                Digest::from_sha256(&array(context.finish().as_ref()))
            }
        };
    }
    Ok(reports.into_values().collect())
}

impl Layers {
    /// File names of the base's records that something newer stands for.
    fn passed_over(&self, directory: &Path) -> Result<BTreeSet<String>, FeedError> {
        let mut names = self.deleted.clone();
        let changes = directory.join(&self.changes);
        if changes.is_dir() {
            names.extend(
                files(&changes)?.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)),
            );
        }
        Ok(names)
    }
}

/// The last component of an entry's name.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The regular files of a directory, sorted by path; or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>, FeedError> {
    let metadata = std::fs::metadata(path).map_err(FeedError::io(path))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut pending = vec![(path.to_owned(), 0_usize)];
    while let Some((directory, depth)) = pending.pop() {
        for entry in std::fs::read_dir(&directory).map_err(FeedError::io(&directory))? {
            let entry = entry.map_err(FeedError::io(&directory))?;
            let kind = entry.file_type().map_err(FeedError::io(&directory))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || (depth == 0 && name == LAYERED) {
                continue;
            }
            if kind.is_dir() {
                if depth >= MAX_DEPTH {
                    return Err(FeedError::TooLarge { path: path.to_owned(), what: "directories too deep" });
                }
                pending.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                found.push(entry.path());
            }
            if found.len() > MAX_FILES {
                return Err(FeedError::TooLarge { path: path.to_owned(), what: "too many files" });
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(
    path: &Path,
    place: &str,
    format: Format,
    shape: Shape,
    passed_over: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) -> Result<(), FeedError> {
    match shape {
        Shape::Zip => read_zip(path, format, passed_over, sink),
        Shape::Tar => read_tar(path, format, passed_over, sink),
        Shape::Xml => {
            let input = io::BufReader::new(open(path)?.take(MAX_DOCUMENT));
            match format {
                Format::Oval => oval::read(place, input, sink),
                _ => updateinfo::read(place, input, sink),
            }
            Ok(())
        }
        Shape::Lines => read_lines(path, format, sink),
        Shape::Csv => {
            let mut reader = open(path)?.take(MAX_INPUT);
            epss::read(place, &mut reader, sink);
            Ok(())
        }
        Shape::Whole => {
            let mut bytes = Vec::new();
            match open(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes) {
                Err(_) => sink.reject(place, "entry_unreadable"),
                Ok(_) if bytes.len() as u64 > MAX_DOCUMENT => sink.reject(place, "record_too_large"),
                Ok(_) => document(format, place, &bytes, sink),
            }
            Ok(())
        }
    }
}

/// Reads the JSON files of a tar archive. What stands behind a damaged place is lost with it.
fn read_tar(
    path: &Path,
    format: Format,
    passed_over: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) -> Result<(), FeedError> {
    let too_large = |what| FeedError::TooLarge { path: path.to_owned(), what };
    let mut archive = tar::Archive::new(open(path)?.take(MAX_INPUT));
    let mut total = 0_u64;
    let mut bytes = Vec::new();
    // Raw: extended headers are passed over and not read into memory; names of records are short.
    for (number, entry) in archive.entries().map_err(FeedError::io(path))?.raw(true).enumerate() {
        if number >= MAX_FILES {
            return Err(too_large("too many entries"));
        }
        let Ok(entry) = entry else {
            sink.reject(&format!("entry {number}"), "entry_unreadable");
            break;
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        total = total.saturating_add(entry.size());
        if total > MAX_INPUT {
            return Err(too_large("unpacked size"));
        }
        if !entry.header().entry_type().is_file()
            || !name.ends_with(".json")
            || passed_over.contains(last(&name))
        {
            continue;
        }
        bytes.clear();
        let size = entry.size().min(MAX_RECORD + 1);
        match entry.take(MAX_RECORD + 1).read_to_end(&mut bytes) {
            Ok(read) if (read as u64) < size => {
                sink.reject(&name, "entry_unreadable");
                break;
            }
            Err(_) => {
                sink.reject(&name, "entry_unreadable");
                break;
            }
            Ok(_) if bytes.len() as u64 > MAX_RECORD => sink.reject(&name, "record_too_large"),
            Ok(_) => document(format, &name, &bytes, sink),
        }
    }
    Ok(())
}

fn read_zip(
    path: &Path,
    format: Format,
    passed_over: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) -> Result<(), FeedError> {
    let mut archive = zip_archive(path)?;
    let mut total = 0_u64;
    let mut bytes = Vec::new();
    for index in 0..archive.len() {
        let entry = match archive.by_index(index) {
            Ok(entry) => entry,
            Err(_) => {
                sink.reject(&format!("entry {index}"), "entry_unreadable");
                continue;
            }
        };
        let Ok(name) = entry.name().map(|name| name.into_owned()) else {
            sink.reject(&format!("entry {index}"), "entry_unreadable");
            continue;
        };
        if !entry.is_file() || !name.ends_with(".json") || passed_over.contains(last(&name)) {
            continue;
        }
        bytes.clear();
        match entry.take(MAX_RECORD + 1).read_to_end(&mut bytes) {
            Err(_) => sink.reject(&name, "entry_unreadable"),
            Ok(_) if bytes.len() as u64 > MAX_RECORD => sink.reject(&name, "record_too_large"),
            Ok(_) => document(format, &name, &bytes, sink),
        }
        total = total.saturating_add(bytes.len() as u64);
        if total > MAX_INPUT {
            return Err(FeedError::TooLarge { path: path.to_owned(), what: "unpacked size" });
        }
    }
    Ok(())
}

fn read_lines(path: &Path, format: Format, sink: &mut Sink<'_>) -> Result<(), FeedError> {
    let mut reader = open(path)?;
    let mut line = Vec::new();
    let mut total = 0_u64;
    for number in 1_u64.. {
        line.clear();
        let read = match reader.by_ref().take(MAX_RECORD + 1).read_until(b'\n', &mut line) {
            Ok(read) => read as u64,
            Err(_) => {
                // What follows a damaged block of a compressed file cannot be read either.
                sink.reject(&format!("line {number}"), "entry_unreadable");
                break;
            }
        };
        if read == 0 {
            break;
        }
        total = total.saturating_add(read);
        if total > MAX_INPUT {
            return Err(FeedError::TooLarge { path: path.to_owned(), what: "unpacked size" });
        }
        if read > MAX_RECORD {
            sink.reject(&format!("line {number}"), "record_too_large");
            skip_line(&mut reader, &mut total).map_err(FeedError::io(path))?;
            continue;
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            document(format, &format!("line {number}"), &line, sink);
        }
    }
    Ok(())
}

/// Passes over the rest of a line without keeping it.
fn skip_line(reader: &mut dyn BufRead, total: &mut u64) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() || *total > MAX_INPUT {
            return Ok(());
        }
        let end = buffer.iter().position(|&b| b == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        *total = total.saturating_add(used as u64);
        if end.is_some() {
            return Ok(());
        }
    }
}

pub(super) fn sha256(path: &Path) -> Result<[u8; 32], FeedError> {
    let mut file = File::open(path).map_err(FeedError::io(path))?;
    let mut context = hash::Context::new(&hash::SHA256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).map_err(FeedError::io(path))?;
        if read == 0 {
            return Ok(array(context.finish().as_ref()));
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
}

/// 32 bytes of a SHA-256 output.
pub(crate) fn array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}
