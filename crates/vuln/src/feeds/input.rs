//! Files, directories and archives: what they hold, and their documents one by one.
//!
//! Limits: a record 16 MiB, a whole JSON document 1 GiB, an input 32 GiB unpacked, 4 million files or archive entries,
//! directories 16 deep. Symbolic links are not followed inside a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest as hash;
use plimsoll_model::digest::Digest;

use super::{FeedReport, Format, Sink, document, epss};
use crate::advisory::Record;

const MAX_RECORD: u64 = 16 << 20;
const MAX_DOCUMENT: u64 = 1 << 30;
const MAX_INPUT: u64 = 32 << 30;
const MAX_FILES: usize = 4_000_000;
const MAX_DEPTH: usize = 16;
/// So much of a file's beginning tells its format.
const HEAD: u64 = 128 << 10;

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

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Whole,
    Lines,
    Zip,
    Csv,
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
            newest: None,
            checksum: Digest::from_sha256(&[0; 32]),
        });
        let relative = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        let place = if relative.is_empty() { report.source.clone() } else { relative.clone() };
        read_file(&file, &place, format, shape, &mut Sink { out: &mut *out, report })?;
        sums.entry(format).or_default().push((relative, sha256(&file)?));
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
            if entry.file_name().to_string_lossy().starts_with('.') {
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

/// The content of a file, decompressed where its first bytes say gzip or zstd.
fn open(path: &Path) -> Result<Box<dyn BufRead>, FeedError> {
    let mut file = BufReader::with_capacity(64 << 10, File::open(path).map_err(FeedError::io(path))?);
    let head = file.fill_buf().map_err(FeedError::io(path))?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(64 << 10, flate2::bufread::MultiGzDecoder::new(file)))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(file).map_err(FeedError::io(path))?;
        // 128 MiB: what `zstd --long` writes.
        decoder.window_log_max(27).map_err(FeedError::io(path))?;
        Box::new(BufReader::with_capacity(64 << 10, decoder))
    } else {
        Box::new(file)
    })
}

fn detect_file(path: &Path) -> Result<Option<(Format, Shape)>, FeedError> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_ascii_lowercase());
    let stem = [".gz", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
    let shape = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("zip") => Shape::Zip,
        Some("csv") => Shape::Csv,
        Some("jsonl" | "ndjson") => Shape::Lines,
        Some("json") | None => Shape::Whole,
        Some(_) => return Ok(None),
    };
    let mut head = Vec::new();
    if shape == Shape::Zip {
        let mut archive = archive(path)?;
        for index in 0..archive.len().min(64) {
            let Ok(entry) = archive.by_index(index) else { continue };
            if entry.name().is_ok_and(|name| name.ends_with(".json")) {
                // An entry that does not decompress says nothing of the format.
                if entry.take(HEAD).read_to_end(&mut head).is_ok() {
                    break;
                }
                head.clear();
            }
        }
    } else {
        let read = open(path)?.take(HEAD).read_to_end(&mut head);
        if read.is_err() && head.is_empty() {
            return Ok(None);
        }
    }
    Ok(match shape {
        Shape::Csv if head.starts_with(b"#model_version") || head.starts_with(b"cve,epss") => {
            Some((Format::Epss, shape))
        }
        Shape::Csv => None,
        _ => sniff(&head).map(|format| (format, shape)),
    })
}

/// The format of a JSON document by the members in its beginning. Quotes inside strings are escaped in JSON, so that
/// `"name":` is always a member.
fn sniff(head: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(head);
    let first = text.trim_start_matches('\u{feff}').trim_start().chars().next();
    if !matches!(first, Some('{' | '[')) {
        return None;
    }
    let has = |name: &str| {
        let quoted = format!("\"{name}\"");
        text.match_indices(&quoted).any(|(at, _)| {
            let after = text.get(at + quoted.len()..).unwrap_or("").trim_start();
            after.starts_with(':')
        })
    };
    if has("csaf_version") {
        return Some(Format::Csaf);
    }
    // OpenVEX and CycloneDX documents have vulnerabilities and products too; they are statements, not feeds.
    if has("@context") || has("bomFormat") {
        return None;
    }
    if has("dateAdded") && has("cveID") {
        Some(Format::Kev)
    } else if has("cveMetadata") || (has("cveId") && (has("cisaAdp") || has("cna"))) {
        Some(Format::Vulnrichment)
    } else if has("secfixes") || (has("packages") && (has("distroversion") || has("urlprefix"))) {
        Some(Format::Secdb)
    } else if has("id") && (has("affected") || has("modified") || has("withdrawn")) {
        Some(Format::Osv)
    } else if has("releases") && has("repositories") {
        Some(Format::Debian)
    } else {
        None
    }
}

fn archive(path: &Path) -> Result<zip::ZipArchive<BufReader<File>>, FeedError> {
    let file = BufReader::new(File::open(path).map_err(FeedError::io(path))?);
    let archive =
        zip::ZipArchive::new(file).map_err(|source| FeedError::Archive { path: path.to_owned(), source })?;
    if archive.len() > MAX_FILES {
        return Err(FeedError::TooLarge { path: path.to_owned(), what: "too many entries" });
    }
    Ok(archive)
}

fn read_file(
    path: &Path,
    place: &str,
    format: Format,
    shape: Shape,
    sink: &mut Sink<'_>,
) -> Result<(), FeedError> {
    match shape {
        Shape::Zip => read_zip(path, format, sink),
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

fn read_zip(path: &Path, format: Format, sink: &mut Sink<'_>) -> Result<(), FeedError> {
    let mut archive = archive(path)?;
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
        if !entry.is_file() || !name.ends_with(".json") {
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

fn sha256(path: &Path) -> Result<[u8; 32], FeedError> {
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
