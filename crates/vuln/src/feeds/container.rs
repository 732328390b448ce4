//! Compression and archives, and what format they hold.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Format;
use super::input::{FeedError, MAX_FILES};

/// So much of a file's beginning tells its format.
const HEAD: u64 = 128 << 10;
/// Memory that an xz stream may ask for, KiB: what `xz -9` needs, and as much again.
const XZ_MEMORY: u32 = 128 << 10;

/// How a file holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Lines,
    Zip,
    Tar,
    Csv,
    Xml,
}

/// The content of a file, decompressed where its first bytes say gzip, zstd, xz or bzip2.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, FeedError> {
    const BUFFER: usize = 64 << 10;
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).map_err(FeedError::io(path))?);
    let head = file.fill_buf().map_err(FeedError::io(path))?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(file)))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(file).map_err(FeedError::io(path))?;
        // 128 MiB: what `zstd --long` writes.
        decoder.window_log_max(27).map_err(FeedError::io(path))?;
        Box::new(BufReader::with_capacity(BUFFER, decoder))
    } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        let decoder = lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY);
        Box::new(BufReader::with_capacity(BUFFER, decoder))
    } else if head.starts_with(b"BZh") {
        Box::new(BufReader::with_capacity(BUFFER, bzip2::bufread::MultiBzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// Format and shape of a file; `None` for a file that is no data.
pub(super) fn detect_file(path: &Path) -> Result<Option<(Format, Shape)>, FeedError> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_ascii_lowercase());
    if name.starts_with("security-support.deb") || name.starts_with("security-support-ended.deb") {
        return Ok(Some((Format::DebianSupport, Shape::Whole)));
    }
    let stem = [".gz", ".zst", ".xz", ".bz2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let shape = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("zip") => Shape::Zip,
        Some("tar" | "tgz" | "tzst" | "txz") => Shape::Tar,
        Some("csv") => Shape::Csv,
        Some("xml") => Shape::Xml,
        Some("jsonl" | "ndjson") => Shape::Lines,
        Some("json") | None => Shape::Whole,
        Some(_) => return Ok(None),
    };
    let head = match shape {
        Shape::Zip => zip_head(path)?,
        Shape::Tar => tar_head(path)?,
        _ => {
            let mut head = Vec::new();
            let read = open(path)?.take(HEAD).read_to_end(&mut head);
            if read.is_err() && head.is_empty() {
                return Ok(None);
            }
            head
        }
    };
    let format = match shape {
        Shape::Csv if head.starts_with(b"#model_version") || head.starts_with(b"cve,epss") => {
            Some(Format::Epss)
        }
        Shape::Csv => None,
        Shape::Xml => xml(&head),
        _ => sniff(&head),
    };
    Ok(format.map(|format| (format, shape)))
}

/// The beginning of the first record of a zip archive.
fn zip_head(path: &Path) -> Result<Vec<u8>, FeedError> {
    let mut archive = zip_archive(path)?;
    let mut head = Vec::new();
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
    Ok(head)
}

/// The beginning of the first record of a tar archive.
fn tar_head(path: &Path) -> Result<Vec<u8>, FeedError> {
    const ENTRIES: usize = 256;
    const UNPACKED: u64 = 256 << 20;
    let mut head = Vec::new();
    let mut archive = tar::Archive::new(open(path)?.take(UNPACKED));
    for entry in archive.entries().map_err(FeedError::io(path))?.raw(true).take(ENTRIES) {
        let Ok(entry) = entry else { break };
        if entry.header().entry_type().is_file() && entry.path_bytes().ends_with(b".json") {
            if entry.take(HEAD).read_to_end(&mut head).is_err() {
                head.clear();
            }
            break;
        }
    }
    Ok(head)
}

/// The format of an XML document by its root element.
fn xml(head: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(head);
    let root = text
        .match_indices('<')
        .map(|(at, _)| text.get(at + 1..).unwrap_or(""))
        .find(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let name = root.split(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').next()?;
    match name.rsplit(':').next()? {
        "oval_definitions" => Some(Format::Oval),
        "updates" => Some(Format::UpdateInfo),
        _ => None,
    }
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
    } else if has("resultsPerPage") && has("vulnerabilities") {
        Some(Format::Nvd)
    } else if has("cveMetadata") || (has("cveId") && (has("cisaAdp") || has("cna"))) {
        Some(Format::Vulnrichment)
    } else if has("secfixes") || (has("packages") && (has("distroversion") || has("urlprefix"))) {
        Some(Format::Secdb)
    } else if has("cve_id") && has("res_ver") {
        Some(Format::Photon)
    } else if has("vulnerable") && has("patched") && !has("affected") {
        Some(Format::NodeCore)
    } else if first == Some('[') && !has("affected") {
        // The Go database's index (`index/modules.json`, `index/vulns.json`) lists ids and dates.
        None
    } else if has("id") && (has("affected") || has("modified") || has("withdrawn")) {
        Some(Format::Osv)
    } else if has("releases") && has("repositories") {
        Some(Format::Debian)
    } else {
        None
    }
}

pub(super) fn zip_archive(path: &Path) -> Result<zip::ZipArchive<BufReader<File>>, FeedError> {
    let file = BufReader::new(File::open(path).map_err(FeedError::io(path))?);
    let archive =
        zip::ZipArchive::new(file).map_err(|source| FeedError::Archive { path: path.to_owned(), source })?;
    if archive.len() > MAX_FILES {
        return Err(FeedError::TooLarge { path: path.to_owned(), what: "too many entries" });
    }
    Ok(archive)
}
