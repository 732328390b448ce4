//! A directory as if it were the only layer of an image.
//!
//! Only files that selectors want are read, and of those only what they need. Symbolic links are recorded and
//! not followed, neither on the way nor at the end. `proc`, `sys` and `dev` below the root are passed over where
//! they are mounts.

use std::collections::BTreeMap;
use std::fs::{self, File as Handle, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use plimsoll_cpu::{Cancel, RunError};
use plimsoll_model::extract::{Anomaly, Entry, EntryKind, Extract, Partial, Selected};

use super::error::SourceError;
use crate::layer::Limits;
use crate::registry::verify::Hasher;
use crate::select::scan::{Scanned, Scans};
use crate::select::{File, Table, Want};

/// Enough to know an executable by.
const SNIFF: u64 = 16;
/// Bytes that are shown to scans at a time.
const SHOWN: u64 = 256 << 10;
/// Directories below each other.
const MAX_DEPTH: usize = 256;

/// Reads a directory. Blocks; asks `cancel` between entries. The Extract's layer digest is that of its own
/// content, so that equal directories give equal Extracts.
pub fn extract(root: &Path, limits: &Limits, table: &Table, cancel: &Cancel) -> Result<Extract, SourceError> {
    let failed = |source| SourceError::Io { path: root.to_owned(), source };
    let metadata = fs::metadata(root).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(SourceError::Corrupt { path: root.to_owned(), detail: "not a directory".into() });
    }
    // A root that cannot be listed is an error; what lies below it makes the reading partial.
    fs::read_dir(root).map_err(failed)?;
    let mut walk = Walk {
        limits,
        table,
        device: metadata.dev(),
        entries: Vec::new(),
        selected: Vec::new(),
        anomalies: Vec::new(),
        partial: BTreeMap::new(),
        names: 0,
        kept: 0,
        read: 0,
        full: false,
    };
    let mut pending = vec![(root.to_owned(), String::new(), 0)];
    while let Some((path, name, depth)) = pending.pop() {
        for (path, name) in walk.directory(&path, &name, cancel)? {
            if depth < MAX_DEPTH {
                pending.push((path, name, depth + 1));
            } else {
                walk.incomplete("nesting", format!("{name} is more than {MAX_DEPTH} directories deep"));
            }
        }
        if walk.full {
            break;
        }
    }
    Ok(walk.finish(limits, table))
}

struct Walk<'a> {
    limits: &'a Limits,
    table: &'a Table,
    device: u64,
    entries: Vec<Entry>,
    selected: Vec<Selected>,
    anomalies: Vec<Anomaly>,
    /// By code: how often, and the first detail.
    partial: BTreeMap<&'static str, (u64, String)>,
    names: u64,
    kept: u64,
    read: u64,
    /// A limit on the whole is reached.
    full: bool,
}

impl Walk<'_> {
    /// Takes the entries of one directory and gives the directories among them.
    fn directory(
        &mut self,
        path: &Path,
        parent: &str,
        cancel: &Cancel,
    ) -> Result<Vec<(PathBuf, String)>, SourceError> {
        let mut below = Vec::new();
        let listing = match fs::read_dir(path) {
            Ok(listing) => listing,
            Err(error) => {
                self.incomplete("unreadable", format!("{parent}: {error}"));
                return Ok(below);
            }
        };
        // Sorted, so that what a limit leaves out does not depend on the file system.
        let mut listed: Vec<_> =
            listing.take(usize::try_from(self.limits.entries).unwrap_or(usize::MAX)).collect();
        listed.sort_by_cached_key(|entry| entry.as_ref().map(|entry| entry.file_name()).ok());
        for entry in listed {
            cancel.check().map_err(|_| RunError::Cancelled { name: "directory" })?;
            if self.full {
                break;
            }
            let Ok(entry) = entry else {
                self.incomplete("unreadable", parent.to_owned());
                continue;
            };
            let written = entry.file_name();
            let shown = written.to_string_lossy();
            let name = if parent.is_empty() { shown.to_string() } else { format!("{parent}/{shown}") };
            if written.to_str().is_none() {
                self.anomaly("path_not_utf8", &name);
            }
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
                self.incomplete("unreadable", name);
                continue;
            };
            let kind = metadata.file_type();
            if kind.is_dir() && parent.is_empty() && self.is_system_mount(&name, &metadata) {
                continue;
            }
            let recorded = if kind.is_dir() {
                below.push((entry.path(), name.clone()));
                EntryKind::Directory
            } else if kind.is_file() {
                EntryKind::File
            } else if kind.is_symlink() {
                match fs::read_link(entry.path()) {
                    Ok(target) => EntryKind::Symlink(target.to_string_lossy().into_owned()),
                    Err(_) => EntryKind::Other,
                }
            } else {
                EntryKind::Other
            };
            let is_file = recorded == EntryKind::File;
            if !self.record(&name, recorded) {
                continue;
            }
            if is_file && metadata.len() > 0 {
                self.file(&entry.path(), &name, &metadata);
            }
        }
        Ok(below)
    }

    fn is_system_mount(&self, name: &str, metadata: &Metadata) -> bool {
        matches!(name, "proc" | "sys" | "dev") && metadata.dev() != self.device
    }

    fn record(&mut self, name: &str, kind: EntryKind) -> bool {
        if name.len() > self.limits.path_bytes {
            self.incomplete("path_length", name.chars().take(128).collect());
            return false;
        }
        let entries = usize::try_from(self.limits.entries).unwrap_or(usize::MAX);
        self.names = self.names.saturating_add(u64::try_from(name.len()).unwrap_or(u64::MAX));
        if self.entries.len() >= entries {
            self.incomplete("entries", format!("more than {entries} entries"));
            self.full = true;
            return false;
        }
        if self.names > self.limits.name_bytes {
            self.incomplete("names", format!("more than {} bytes of names", self.limits.name_bytes));
            self.full = true;
            return false;
        }
        self.entries.push(Entry { path: name.to_owned(), kind });
        true
    }

    /// Lets selectors look at a file.
    fn file(&mut self, path: &Path, name: &str, metadata: &Metadata) {
        let file = File { path: name, size: metadata.len(), mode: metadata.permissions().mode() & 0o7777 };
        let mut wants = Vec::new();
        self.table.by_path(&file, |index, want| wants.push((index, want)));
        let mut reader = match open(path, metadata) {
            Ok(reader) => reader,
            Err(error) => return self.incomplete("unreadable", format!("{name}: {error}")),
        };
        if let Err(error) = self.reduce(&mut reader, &file, wants) {
            self.incomplete("unreadable", format!("{name}: {error}"));
        }
    }

    fn reduce(
        &mut self,
        reader: &mut Handle,
        file: &File<'_>,
        mut wants: Vec<(usize, Want)>,
    ) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        self.append(reader, &mut bytes, SNIFF)?;
        self.table.by_content(file, &bytes, |index, want| wants.push((index, want)));
        let most = self.limits.entry_bytes;
        let mut need = 0;
        let mut scans = Scans::default();
        let mut too_large = false;
        wants.retain(|(index, want)| match want {
            Want::Head { max } => {
                need = need.max(file.size.min(*max).min(most));
                true
            }
            Want::Whole { max } | Want::WholeIfFits { max } | Want::WholeOrScan { max }
                if file.size <= *max && file.size <= most =>
            {
                need = file.size;
                true
            }
            Want::WholeOrScan { .. } => {
                if let Some(selector) = self.table.get(*index) {
                    scans.add(*index, selector, file);
                }
                false
            }
            Want::Whole { .. } => {
                too_large = true;
                false
            }
            Want::WholeIfFits { .. } | Want::No => false,
        });
        let had = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.append(reader, &mut bytes, need.saturating_sub(had))?;
        for (index, want) in &wants {
            let Some(selector) = self.table.get(*index) else { continue };
            let end = match want {
                Want::Head { max } => usize::try_from(*max).unwrap_or(usize::MAX).min(bytes.len()),
                _ => bytes.len(),
            };
            if let Some(kept) = selector.reduce(file, bytes.get(..end).unwrap_or(&[])) {
                self.keep(file, selector.name(), kept);
            }
        }
        let mut left = file.size;
        let mut more = !scans.is_empty();
        while more && !bytes.is_empty() {
            more = scans.piece(&bytes);
            left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            bytes.clear();
            self.append(reader, &mut bytes, SHOWN.min(left))?;
        }
        for (index, scanned) in scans.finish() {
            match (scanned, self.table.get(index)) {
                (Scanned::Kept(kept), Some(selector)) => self.keep(file, selector.name(), kept),
                (Scanned::Missed, _) => too_large = true,
                _ => {}
            }
        }
        if too_large {
            self.incomplete("entry_bytes", format!("{} has {} bytes", file.path, file.size));
        }
        Ok(())
    }

    fn append(&mut self, reader: &mut Handle, bytes: &mut Vec<u8>, count: u64) -> std::io::Result<()> {
        let read = reader.take(count).read_to_end(bytes)?;
        self.read = self.read.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(())
    }

    fn keep(&mut self, file: &File<'_>, selector: &str, bytes: Vec<u8>) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let total = self.kept.saturating_add(length);
        if total > self.limits.kept_bytes {
            return self.incomplete("kept_bytes", format!("no room for {length} bytes of {selector}"));
        }
        self.kept = total;
        let (path, selector) = (file.path.to_owned(), selector.to_owned());
        self.selected.push(Selected { path, selector, size: file.size, bytes });
    }

    fn anomaly(&mut self, code: &str, path: &str) {
        if self.anomalies.len() < self.limits.anomalies {
            let path = path.chars().take(512).collect();
            self.anomalies.push(Anomaly { code: code.to_owned(), path, detail: String::new() });
        }
    }

    fn incomplete(&mut self, code: &'static str, detail: String) {
        if let Some((count, _)) = self.partial.get_mut(code) {
            *count += 1;
        } else {
            self.partial.insert(code, (1, detail.chars().take(512).collect()));
        }
    }

    fn finish(mut self, limits: &Limits, table: &Table) -> Extract {
        self.entries.sort();
        self.selected.sort_by(|a, b| (&a.path, &a.selector).cmp(&(&b.path, &b.selector)));
        self.anomalies.sort();
        let mut hasher = Hasher::sha256();
        for entry in &self.entries {
            // Lengths before texts: no two listings hash alike.
            for text in [entry.path.as_str(), &format!("{:?}", entry.kind)] {
                hasher.update(&text.len().to_be_bytes());
                hasher.update(text.as_bytes());
            }
        }
        for selected in &self.selected {
            for bytes in [selected.path.as_bytes(), selected.selector.as_bytes(), &selected.bytes] {
                hasher.update(&bytes.len().to_be_bytes());
                hasher.update(bytes);
            }
        }
        let partial = self.partial.into_iter().map(|(code, (count, detail))| {
            let detail = if count > 1 { format!("{detail} (and {} more)", count - 1) } else { detail };
            Partial { code: code.to_owned(), detail }
        });
        Extract {
            layer: hasher.sha256_digest(),
            profile: limits.profile.clone(),
            selectors: table.revisions(),
            entries: self.entries.into_iter().collect(),
            selected: self.selected,
            anomalies: self.anomalies,
            partial: partial.collect(),
            compressed_size: self.read,
            uncompressed_size: self.read,
        }
    }
}

/// Opens the file that was looked at, not what has taken its place since.
fn open(path: &Path, looked_at: &Metadata) -> std::io::Result<Handle> {
    let file = Handle::open(path)?;
    let found = file.metadata()?;
    if (found.dev(), found.ino()) == (looked_at.dev(), looked_at.ino()) {
        return Ok(file);
    }
    Err(std::io::Error::other("it changed while it was read"))
}
