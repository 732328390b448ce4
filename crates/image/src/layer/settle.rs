//! What stands at the end of a layer: duplicates, replaced directories, hard links.

use plimsoll_model::extract::EntryKind;
use rustc_hash::FxHashMap;

use super::collect::{Collector, Kept, Placed, class};
use crate::select::{File, Want};

/// An ancestor of the paths being looked at.
struct Ancestor {
    /// Length of its path.
    length: usize,
    /// The last sequence at which it, or one above it, removed what was below.
    wiped: u32,
    /// Whether it stands as something that has nothing below it.
    is_file: bool,
}

impl Collector<'_> {
    /// Finds what selectors kept, or should have, of files that hard links name. Wants `placed` sorted by
    /// (path, class, sequence).
    pub(super) fn follow_links(&mut self) -> Vec<Kept> {
        let mut by_sequence: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        for (at, kept) in self.kept.iter().enumerate() {
            by_sequence.entry(kept.sequence).or_default().push(at);
        }
        let mut linked = Vec::new();
        for at in 0..self.placed.len() {
            let Some(Placed { entry, sequence, .. }) = self.placed.get(at) else { break };
            let EntryKind::Hardlink(target) = &entry.kind else { continue };
            let (path, sequence) = (entry.path.clone(), *sequence);
            match self.resolve(target, sequence) {
                Target::Missing => {
                    let detail = format!("names {target:?}");
                    self.anomaly("hardlink_target_missing", &path, detail);
                    self.unread(&path, |_| false);
                }
                Target::TooDeep => self.partial("link_depth", path),
                Target::NotAFile => {}
                Target::File { path: target, sequence: of } => {
                    let kept = by_sequence.get(&of).map_or(&[][..], Vec::as_slice);
                    let file = File { path: &path, size: 1, mode: 0o644 };
                    let mut wanted = Vec::new();
                    self.table.by_path(&file, |index, _| wanted.push(index));
                    for kept in kept.iter().filter_map(|at| self.kept.get(*at)) {
                        if wanted.contains(&kept.selector) || self.table.looks_at_content(kept.selector) {
                            let (selector, size) = (kept.selector, kept.size);
                            linked.push(Kept { sequence, selector, size, bytes: kept.bytes.clone() });
                        }
                    }
                    // A selector that saw the target under its own path has decided already.
                    let mut asked = Vec::new();
                    let file = File { path: &target, size: 1, mode: 0o644 };
                    self.table.by_path(&file, |index, _| asked.push(index));
                    self.unread(&path, |index| asked.contains(&index));
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
    fn resolve(&self, target: &str, before: u32) -> Target {
        let (mut target, mut before) = (target, before);
        for _ in 0..=self.limits.link_depth {
            let end = self.placed.partition_point(|placed| {
                (placed.entry.path.as_str(), class(&placed.entry.kind), placed.sequence) < (target, 0, before)
            });
            let found = end.checked_sub(1).and_then(|at| self.placed.get(at));
            let Some(Placed { entry, sequence, .. }) =
                found.filter(|placed| placed.entry.path == target && class(&placed.entry.kind) == 0)
            else {
                return Target::Missing;
            };
            match &entry.kind {
                EntryKind::Hardlink(next) => (target, before) = (next, *sequence),
                EntryKind::File => {
                    return Target::File { path: entry.path.clone(), sequence: *sequence };
                }
                _ => return Target::NotAFile,
            }
        }
        Target::TooDeep
    }

    /// Leaves one entry for each path and class, and drops what later entries of the layer removed.
    pub(super) fn settle(&mut self) -> Vec<Placed> {
        let mut placed = std::mem::take(&mut self.placed);
        placed.dedup_by(|next, last| {
            if next.entry.path != last.entry.path {
                return false;
            }
            let file = class(&next.entry.kind) == 0;
            if class(&last.entry.kind) == class(&next.entry.kind) {
                let both = [&last.entry.kind, &next.entry.kind];
                if file && both.iter().any(|kind| **kind != EntryKind::Directory) {
                    self.anomaly("duplicate_entry", &next.entry.path, "the last one stands".to_owned());
                }
                let wiped = next.wiped.max(last.wiped);
                std::mem::swap(next, last);
                last.wiped = wiped;
                return true;
            }
            if next.entry.kind == EntryKind::Whiteout && class(&last.entry.kind) == 0 {
                self.anomaly("whiteout_of_own_entry", &next.entry.path, "hides lower layers only".to_owned());
            }
            false
        });
        let removed = self.removed(&placed);
        if !removed.is_empty() {
            let mut index = 0;
            placed.retain(|_| {
                index += 1;
                removed.binary_search(&(index - 1)).is_err()
            });
        }
        placed
    }

    /// Indexes of places that an ancestor removed after they were written.
    fn removed(&mut self, places: &[Placed]) -> Vec<usize> {
        let mut removed = Vec::new();
        let mut ancestors: Vec<Ancestor> = Vec::new();
        let mut parent = "";
        for (at, place) in places.iter().enumerate() {
            let path = place.entry.path.as_str();
            let own = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if own != parent {
                let shared = shared_parts(parent, own);
                while ancestors.last().is_some_and(|ancestor| ancestor.length > shared) {
                    ancestors.pop();
                }
                let mut from = ancestors.last().map_or(0, |ancestor| ancestor.length + 1);
                while from <= own.len() && !own.is_empty() {
                    let rest = own.get(from..).unwrap_or("");
                    let length = from + rest.find('/').unwrap_or(rest.len());
                    let name = own.get(..length).unwrap_or(own);
                    let above = ancestors.last().map_or(0, |ancestor| ancestor.wiped);
                    let found = places
                        .binary_search_by(|other| {
                            let other = &other.entry;
                            (other.path.as_str(), class(&other.kind)).cmp(&(name, 0))
                        })
                        .ok()
                        .and_then(|index| places.get(index));
                    ancestors.push(Ancestor {
                        length,
                        wiped: above.max(found.map_or(0, |place| place.wiped)),
                        is_file: found.is_some_and(|place| {
                            matches!(
                                place.entry.kind,
                                EntryKind::File | EntryKind::Other | EntryKind::Hardlink(_)
                            )
                        }),
                    });
                    from = length + 1;
                }
                parent = own;
            }
            let Some(ancestor) = ancestors.last().filter(|_| !own.is_empty()) else { continue };
            if place.sequence < ancestor.wiped && class(&place.entry.kind) == 0 {
                self.anomaly("entry_replaced", path, "a later entry replaces its directory".to_owned());
                removed.push(at);
            } else if ancestor.is_file {
                self.anomaly("parent_not_directory", path, "stands below a file".to_owned());
            }
        }
        removed
    }
}

enum Target {
    File { path: String, sequence: u32 },
    Missing,
    NotAFile,
    TooDeep,
}

/// Length of the longest common leading path, in whole parts.
fn shared_parts(a: &str, b: &str) -> usize {
    let mut shared = 0;
    let mut length = 0;
    for (left, right) in a.split('/').zip(b.split('/')) {
        if left != right || left.is_empty() {
            break;
        }
        length += left.len();
        shared = length;
        length += 1;
    }
    shared
}
