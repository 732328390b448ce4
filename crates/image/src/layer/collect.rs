//! From tar entries to an Extract.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use plimsoll_model::Digest;
use plimsoll_model::extract::{Anomaly, Entries, Entry, EntryKind, Extract, Partial, Selected};
use rustc_hash::FxHashMap;

use super::decode::Stop;
use super::limits::Limits;
use super::order::order;
use super::path::{self, Cleaned, Mark};
use super::tar::{Header, Tar};
use super::{Hooks, Permit};
use crate::secrets::Scanner;
use crate::select::scan::{RETAINED, Scanned, Scans};
use crate::select::{File, Table, Want};

/// Enough to know an executable by.
const SNIFF: u64 = 16;
/// More than this of one file is reserved with the caller first.
const RESERVE: u64 = 1 << 20;
/// The buffer for files stays up to this size: allocators give memory back late, so a new buffer for every executable
/// would add up.
const HELD: u64 = 4 << 20;

/// What a selector kept of an entry.
pub(super) struct Kept {
    /// Its index among the entries.
    pub(super) entry: u32,
    pub(super) selector: usize,
    pub(super) size: u64,
    pub(super) bytes: Vec<u8>,
}

/// Whether all that was wanted of a file could be looked at.
#[derive(PartialEq, Eq)]
enum Fit {
    Whole,
    TooLarge,
}

/// Collects until [`Collector::finish`].
pub(super) struct Collector<'a> {
    pub(super) limits: &'a Limits,
    pub(super) table: &'a Table,
    hooks: &'a dyn Hooks,
    /// In the order of the archive.
    entries: Entries,
    pub(super) kept: Vec<Kept>,
    seen: u32,
    name_bytes: u64,
    kept_bytes: u64,
    anomalies: Vec<Anomaly>,
    omitted: u64,
    /// By code: how often, and the first detail.
    partial: BTreeMap<String, (u64, String)>,
    wants: Vec<(usize, Want)>,
    buffer: Vec<u8>,
    /// Looks for secrets, where asked for, under this index of the table.
    scanner: Option<(usize, Scanner)>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(limits: &'a Limits, table: &'a Table, hooks: &'a dyn Hooks) -> Self {
        Self {
            limits,
            table,
            hooks,
            entries: Entries::default(),
            kept: Vec::new(),
            seen: 0,
            name_bytes: 0,
            kept_bytes: 0,
            anomalies: Vec::new(),
            omitted: 0,
            partial: BTreeMap::new(),
            wants: Vec::new(),
            buffer: Vec::new(),
            scanner: table.secrets().map(|index| (index, Scanner::default())),
        }
    }

    /// Entries seen.
    pub(super) fn seen(&self) -> u64 {
        u64::from(self.seen)
    }

    pub(super) fn anomaly(&mut self, code: &str, path: &str, detail: String) {
        if self.anomalies.len() < self.limits.anomalies {
            let path = truncate(path, 512);
            self.anomalies.push(Anomaly { code: code.to_owned(), path, detail });
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn partial(&mut self, code: &str, detail: String) {
        if let Some((count, _)) = self.partial.get_mut(code) {
            *count += 1;
        } else {
            self.partial.insert(code.to_owned(), (1, detail));
        }
    }

    /// Takes the current entry of `tar`, and of its content what selectors want.
    pub(super) fn entry<R: Read>(&mut self, tar: &mut Tar<'_, R>) -> Result<(), Stop> {
        if self.seen >= self.limits.entries {
            return Err(Stop::Limit {
                code: "entries",
                detail: format!("more than {} entries", self.limits.entries),
            });
        }
        self.seen += 1;
        let header = tar.take_header();
        let outcome = self.place(tar, &header);
        tar.give_back(header);
        outcome
    }

    fn place<R: Read>(&mut self, tar: &mut Tar<'_, R>, header: &Header) -> Result<(), Stop> {
        if header.name.len() > self.limits.path_bytes || header.link.len() > self.limits.path_bytes {
            let shown = truncate(&path::text(&header.name), 128);
            self.partial("path_length", format!("{shown}…"));
            return Ok(());
        }
        let Cleaned { path, oddities } = path::clean(&header.name);
        for code in oddities.codes().filter(|code| !(path.is_empty() && *code == "absolute_path")) {
            let detail = format!("written as {:?}", truncate(&path::text(&header.name), 512));
            self.anomaly(code, &path, detail);
        }
        let (path, kind) = match path::mark(&path) {
            Mark::Aufs => return Ok(()),
            Mark::Invalid => {
                self.anomaly("invalid_whiteout", &path, "hides nothing".to_owned());
                return Ok(());
            }
            Mark::Whiteout(hidden) => (Cow::Owned(hidden), EntryKind::Whiteout),
            Mark::Opaque(directory) => (Cow::Owned(directory.to_owned()), EntryKind::Opaque),
            Mark::None if path.is_empty() => return Ok(()), // the root itself
            Mark::None => {
                let kind = match header.typeflag {
                    b'0' => EntryKind::File,
                    b'5' => EntryKind::Directory,
                    b'2' => EntryKind::Symlink(path::text(&header.link)),
                    b'1' => EntryKind::Hardlink(path::clean(&header.link).path),
                    b'3' | b'4' | b'6' => EntryKind::Other,
                    other => {
                        let detail = format!("type {:?}", char::from(other));
                        self.anomaly("unhandled_type", &path, detail);
                        if matches!(other, b'7' | b'S') { EntryKind::File } else { EntryKind::Other }
                    }
                };
                (path, kind)
            }
        };
        let target = kind.target().map_or(0, str::len);
        self.name_bytes += (path.len() + target) as u64;
        let full = || Stop::Limit {
            code: "names",
            detail: format!("more than {} bytes of names", self.limits.name_bytes),
        };
        if self.name_bytes > self.limits.name_bytes {
            return Err(full());
        }
        let index = u32::try_from(self.entries.len()).map_err(|_| full())?;
        let is_file = matches!(kind, EntryKind::File);
        let entry = Entry { path, kind };
        if !self.entries.push(&entry) {
            return Err(full());
        }
        if is_file && header.size > 0 {
            let mode = u32::try_from(header.mode & 0o7777).unwrap_or(0);
            self.content(tar, &File { path: &entry.path, size: header.size, mode }, index)?;
        }
        Ok(())
    }

    /// Reads as much of the current file as selectors want, and keeps what they reduce it to.
    fn content<R: Read>(&mut self, tar: &mut Tar<'_, R>, file: &File<'_>, entry: u32) -> Result<(), Stop> {
        let mut wants = std::mem::take(&mut self.wants);
        let mut buffer = std::mem::take(&mut self.buffer);
        wants.clear();
        buffer.clear();
        let mut reduced = Vec::new();
        let mut scanner = self.scanner.take();
        if let Some((_, scanner)) = &mut scanner {
            scanner.begin(file.path);
        }
        // What passes by while selectors look at a large file passes the scanner too.
        let mut passed = false;
        let mut pass = |bytes: &[u8]| {
            if let Some((_, scanner)) = &mut scanner {
                scanner.feed(bytes);
                passed = true;
            }
        };
        let outcome = self.reduce(tar, file, &mut wants, &mut buffer, &mut reduced, &mut pass);
        let mut looked = Ok(());
        if let Some((index, scanner)) = &mut scanner
            && outcome.is_ok()
        {
            if !passed {
                scanner.feed(&buffer);
            }
            looked = tar.look(|bytes| scanner.feed(bytes));
            reduced.extend(scanner.end().map(|found| (*index, found)));
        }
        self.scanner = scanner;
        if buffer.capacity() as u64 > HELD {
            buffer = Vec::new(); // what was reserved is given back
        }
        self.wants = wants;
        self.buffer = buffer;
        for (selector, bytes) in reduced {
            self.keep(Kept { entry, selector, size: file.size, bytes });
        }
        if outcome? == Fit::TooLarge {
            self.partial("entry_bytes", format!("{} has {} bytes", file.path, file.size));
        }
        looked
    }

    fn reduce<R: Read>(
        &self,
        tar: &mut Tar<'_, R>,
        file: &File<'_>,
        wants: &mut Vec<(usize, Want)>,
        buffer: &mut Vec<u8>,
        reduced: &mut Vec<(usize, Vec<u8>)>,
        pass: &mut dyn FnMut(&[u8]),
    ) -> Result<Fit, Stop> {
        let size = file.size;
        self.table.by_path(file, |index, want| wants.push((index, want)));
        tar.append(buffer, SNIFF)?;
        self.table.by_content(file, buffer, |index, want| {
            // A selector that knows the file by its name too looks at it once.
            if wants.iter().all(|(known, _)| *known != index) {
                wants.push((index, want));
            }
        });
        if wants.is_empty() {
            return Ok(Fit::Whole);
        }
        let most = self.limits.entry_bytes;
        let (mut need, mut fit, mut scans) = (0, Fit::Whole, Scans::default());
        let endless = tar.is_sparse() && size > most;
        wants.retain(|(index, want)| {
            match want {
                Want::Head { max } => need = need.max(size.min(*max).min(most)),
                Want::Whole { max } | Want::WholeIfFits { max } | Want::WholeOrScan { max }
                    if size <= *max && size <= most =>
                {
                    need = size;
                }
                Want::WholeOrScan { .. } if !endless => {
                    if let Some(selector) = self.table.get(*index) {
                        scans.add(*index, selector, file);
                    }
                    return false;
                }
                Want::Whole { .. } | Want::WholeOrScan { .. } => {
                    fit = Fit::TooLarge;
                    return false;
                }
                Want::WholeIfFits { .. } | Want::No => return false,
            }
            true
        });
        let held = if scans.is_empty() { need } else { need + RETAINED.min(size) };
        let _permit: Option<Permit> = if held > RESERVE { self.hooks.reserve(held) } else { None };
        let missing = need.saturating_sub(buffer.len() as u64);
        make_room(buffer, missing);
        tar.append(buffer, missing)?;
        for (index, want) in wants.iter() {
            let Some(selector) = self.table.get(*index) else { continue };
            let end = match want {
                Want::Head { max } => usize::try_from(*max).unwrap_or(usize::MAX).min(buffer.len()),
                _ => buffer.len(),
            };
            let bytes = buffer.get(..end).unwrap_or(&[]);
            if let Some(bytes) = selector.reduce(file, bytes) {
                reduced.push((*index, bytes));
            }
        }
        if !scans.is_empty() && scans.piece(buffer) {
            pass(buffer);
            tar.show(&mut |bytes| {
                pass(bytes);
                scans.piece(bytes)
            })?;
        }
        for (index, scanned) in scans.finish() {
            match scanned {
                Scanned::Kept(bytes) => reduced.push((index, bytes)),
                Scanned::Nothing => {}
                Scanned::Missed => fit = Fit::TooLarge,
            }
        }
        Ok(fit)
    }

    pub(super) fn keep(&mut self, mut kept: Kept) {
        let total = self.kept_bytes + kept.bytes.len() as u64;
        if total > self.limits.kept_bytes {
            let selector = self.table.get(kept.selector).map_or("", |selector| selector.name());
            self.partial("kept_bytes", format!("no room for {} bytes of {selector}", kept.bytes.len()));
            return;
        }
        self.kept_bytes = total;
        kept.bytes.shrink_to_fit();
        self.kept.push(kept);
    }

    /// Settles duplicates and links, and sorts.
    pub(super) fn finish(mut self, layer: Digest, compressed_size: u64, uncompressed_size: u64) -> Extract {
        let mut entries = std::mem::take(&mut self.entries);
        let order = order(&entries);
        let linked = self.follow_links(&entries, &order);
        let standing = self.settle(&entries, order);
        let mut kept_of: FxHashMap<u32, Vec<Kept>> = FxHashMap::default();
        for kept in self.kept.drain(..).chain(linked) {
            kept_of.entry(kept.entry).or_default().push(kept);
        }
        let mut selected: Vec<Selected> = Vec::new();
        let entry_of = |index: u32| usize::try_from(index).ok().and_then(|index| entries.get(index));
        for index in &standing {
            for kept in kept_of.remove(index).into_iter().flatten() {
                selected.push(Selected {
                    path: entry_of(*index).map_or("", |entry| entry.path).to_owned(),
                    selector: self.table.get(kept.selector).map_or("", |selector| selector.name()).to_owned(),
                    size: kept.size,
                    bytes: kept.bytes,
                });
            }
        }
        selected.sort_by(|a, b| (&a.path, &a.selector).cmp(&(&b.path, &b.selector)));
        if self.omitted > 0 {
            let detail = format!("{} more", self.omitted);
            self.anomalies.push(Anomaly {
                code: "anomalies_omitted".to_owned(),
                path: String::new(),
                detail,
            });
        }
        self.anomalies.sort();
        let partial = std::mem::take(&mut self.partial).into_iter().map(|(code, (count, detail))| {
            let detail = if count > 1 { format!("{detail} (and {} more)", count - 1) } else { detail };
            Partial { code, detail }
        });
        if standing.len() != entries.len() || !standing.is_sorted() {
            let mut sorted = Entries::with_capacity(standing.len(), entries.text_len());
            for entry in standing.iter().filter_map(|index| entry_of(*index)) {
                sorted.push(&entry);
            }
            entries = sorted;
        }
        entries.shrink_to_fit();
        Extract {
            layer,
            profile: self.limits.profile.clone(),
            selectors: self.table.revisions(),
            selected,
            partial: partial.collect(),
            anomalies: self.anomalies,
            entries,
            compressed_size,
            uncompressed_size,
        }
    }
}

/// Files of any kind are one class: of them one stands for a path. Whiteouts and opaque marks stand beside.
pub(super) fn class<T>(kind: &EntryKind<T>) -> u8 {
    match kind {
        EntryKind::Whiteout => 1,
        EntryKind::Opaque => 2,
        _ => 0,
    }
}

/// Room for `bytes` more of a large file at once: growing by doubling would hold it three times over. The number is
/// a claim, bounded by [`Limits::entry_bytes`]; pages that no content follows into are never touched.
fn make_room(buffer: &mut Vec<u8>, bytes: u64) {
    if bytes <= RESERVE {
        return;
    }
    // One size for what stays, so that it is asked for once.
    let bytes = if bytes <= HELD - RESERVE { HELD - (64 << 10) } else { bytes };
    if let Ok(bytes) = usize::try_from(bytes) {
        // Without the room at once, appending asks for it piece by piece.
        let _ = buffer.try_reserve_exact(bytes);
    }
}

fn truncate(text: &str, bytes: usize) -> String {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("").to_owned()
}
