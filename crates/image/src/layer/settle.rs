//! What stands at the end of a layer: duplicates, replaced directories, hard links.

use plimsoll_model::extract::{Entries, Entry, EntryKind};
use rustc_hash::FxHashMap;

use super::collect::{Collector, Kept, class};
use crate::select::{File, Want};

/// An entry that the path of the current one begins with.
struct Above<'a> {
    path: &'a str,
    /// The last index at which it removed what was below.
    wiped: Option<u32>,
    /// Whether it stands as something that has nothing below it.
    is_file: bool,
}

fn entry(entries: &Entries, index: u32) -> Entry<&str> {
    let found = usize::try_from(index).ok().and_then(|index| entries.get(index));
    found.unwrap_or(Entry { path: "", kind: EntryKind::Other })
}

impl Collector<'_> {
    /// Finds what selectors kept, or should have, of files that hard links name. Wants the indexes of the entries in
    /// order of (path, class, index).
    pub(super) fn follow_links(&mut self, entries: &Entries, order: &[u32]) -> Vec<Kept> {
        let mut by_entry: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        for (at, kept) in self.kept.iter().enumerate() {
            by_entry.entry(kept.entry).or_default().push(at);
        }
        let mut linked = Vec::new();
        for &index in order {
            let Entry { path, kind: EntryKind::Hardlink(target) } = entry(entries, index) else { continue };
            match self.resolve(entries, order, target, index) {
                Target::Missing => {
                    let detail = format!("names {target:?}");
                    self.anomaly("hardlink_target_missing", path, detail);
                    self.unread(path, |_| false);
                }
                Target::TooDeep => self.partial("link_depth", path.to_owned()),
                Target::NotAFile => {}
                Target::File { path: target, index: of } => {
                    let kept = by_entry.get(&of).map_or(&[][..], Vec::as_slice);
                    let file = File { path, size: 1, mode: 0o644 };
                    let mut wanted = Vec::new();
                    self.table.by_path(&file, |index, _| wanted.push(index));
                    for kept in kept.iter().filter_map(|at| self.kept.get(*at)) {
                        if wanted.contains(&kept.selector) || self.table.looks_at_content(kept.selector) {
                            let (selector, size) = (kept.selector, kept.size);
                            linked.push(Kept { entry: index, selector, size, bytes: kept.bytes.clone() });
                        }
                    }
                    // A selector that saw the target under its own path has decided already.
                    let mut asked = Vec::new();
                    let file = File { path: target, size: 1, mode: 0o644 };
                    self.table.by_path(&file, |index, _| asked.push(index));
                    self.unread(path, |index| asked.contains(&index));
                }
            }
        }
        let before = self.kept.len();
        for kept in linked {
            self.keep(kept);
        }
        self.kept.split_off(before)
    }

    fn unread(&mut self, path: &str, decided: impl Fn(usize) -> bool) {
        let mut missed = false;
        let file = File { path, size: 1, mode: 0o644 };
        self.table.by_path(&file, |index, want| missed |= want != Want::No && !decided(index));
        if missed {
            self.partial("hardlink_unread", path.to_owned());
        }
    }

    /// The file that a hard link written at `before` names.
    fn resolve<'e>(&self, entries: &'e Entries, order: &[u32], target: &'e str, before: u32) -> Target<'e> {
        let (mut target, mut before) = (target, before);
        for _ in 0..=self.limits.link_depth {
            let end = order.partition_point(|index| {
                let found = entry(entries, *index);
                (found.path, class(&found.kind), *index) < (target, 0, before)
            });
            let found = end.checked_sub(1).and_then(|at| order.get(at)).map(|at| (entry(entries, *at), *at));
            let Some((Entry { path, kind }, index)) =
                found.filter(|(found, _)| found.path == target && class(&found.kind) == 0)
            else {
                return Target::Missing;
            };
            match kind {
                EntryKind::Hardlink(next) => (target, before) = (next, index),
                EntryKind::File => return Target::File { path, index },
                _ => return Target::NotAFile,
            }
        }
        Target::TooDeep
    }

    /// Leaves one entry for each path and class, and drops what later entries of the layer removed.
    pub(super) fn settle(&mut self, entries: &Entries, mut order: Vec<u32>) -> Vec<u32> {
        // What entries removed that a later directory of their path stands for.
        let mut wiped: FxHashMap<u32, u32> = FxHashMap::default();
        let path = |index: u32| usize::try_from(index).map_or("", |index| entries.path(index));
        order.dedup_by(|next, last| {
            if path(*next) != path(*last) {
                return false;
            }
            let (old, new) = (entry(entries, *last), entry(entries, *next));
            if class(&old.kind) == class(&new.kind) {
                let both = [old.kind, new.kind];
                if class(&new.kind) == 0 && both.iter().any(|kind| *kind != EntryKind::Directory) {
                    self.anomaly("duplicate_entry", new.path, "the last one stands".to_owned());
                }
                let before = wiped.remove(last).or_else(|| wipes(old, *last));
                if let Some(before) = before.filter(|_| new.kind == EntryKind::Directory) {
                    wiped.insert(*next, before);
                }
                *last = *next;
                return true;
            }
            if new.kind == EntryKind::Whiteout && class(&old.kind) == 0 {
                self.anomaly("whiteout_of_own_entry", new.path, "hides lower layers only".to_owned());
            }
            false
        });
        self.remove(entries, &mut order, &wiped);
        order
    }

    /// Drops what an entry above removed after it was written.
    fn remove(&mut self, entries: &Entries, order: &mut Vec<u32>, wiped: &FxHashMap<u32, u32>) {
        let mut above: Vec<Above<'_>> = Vec::new();
        order.retain(|index| {
            let Entry { path, kind } = entry(entries, *index);
            while above.last().is_some_and(|above| !path.starts_with(above.path)) {
                above.pop();
            }
            let (mut last_wiped, mut below_file) = (None, false);
            for above in &above {
                // Longer names begin with its path too.
                let Some(rest) = path.get(above.path.len()..).and_then(|rest| rest.strip_prefix('/')) else {
                    continue;
                };
                last_wiped = last_wiped.max(above.wiped);
                below_file |= above.is_file && !rest.contains('/');
            }
            let wiped = wipes(Entry { path, kind }, *index).max(wiped.get(index).copied());
            if class(&kind) == 0 && wiped.is_some() {
                let is_file = matches!(kind, EntryKind::File | EntryKind::Other | EntryKind::Hardlink(_));
                above.push(Above { path, wiped, is_file });
            }
            if class(&kind) == 0 && last_wiped.is_some_and(|wiped| *index < wiped) {
                self.anomaly("entry_replaced", path, "a later entry replaces its directory".to_owned());
                return false;
            }
            if below_file {
                self.anomaly("parent_not_directory", path, "stands below a file".to_owned());
            }
            true
        });
    }
}

/// The index at which an entry removes what was below its path, if it does.
fn wipes(entry: Entry<&str>, index: u32) -> Option<u32> {
    (class(&entry.kind) == 0 && entry.kind != EntryKind::Directory).then_some(index)
}

enum Target<'e> {
    File { path: &'e str, index: u32 },
    Missing,
    NotAFile,
    TooDeep,
}
