//! Directories of a layer that hold only directories and files that nobody selected, at a path where nothing was.
//! Each is kept as a range of the layer's sorted entries until something leads into it: most files are never looked
//! at again, and a node for each would cost more than reading it.

use std::cmp::Ordering;
use std::ops::Range;

use plimsoll_model::extract::{Entries, EntryKind, Extract};

/// The entries below one directory of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fold<'a> {
    entries: &'a Entries,
    /// The layer, from 1.
    pub(super) layer: u32,
    start: usize,
    end: usize,
    /// Length of the directory's path in its entries.
    prefix: usize,
}

/// What a directory in a fold has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Child<'a> {
    File,
    /// With the entries below it, if there are any.
    Directory(Option<Fold<'a>>),
}

impl<'a> Fold<'a> {
    /// What lies directly in the directory. One that has an entry and others below it may come twice.
    pub(super) fn children(self) -> impl Iterator<Item = (&'a str, Child<'a>)> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at).filter(|_| at < self.end)?;
            let rest = entry.path.get(self.prefix + 1..).unwrap_or("");
            let Some((name, _)) = rest.split_once('/') else {
                at += 1;
                return Some((rest, own(entry.kind)));
            };
            let prefix = self.prefix + 1 + name.len();
            let directory = entry.path.get(..prefix).unwrap_or("");
            let end = first(at..self.end, |n| side(self.entries.path(n), directory) == Ordering::Greater);
            let inner = Self { start: at, end: end.max(at + 1), prefix, ..self };
            at = inner.end;
            Some((name, Child::Directory(Some(inner))))
        })
    }

    /// What the directory has under a name.
    pub(super) fn child(self, name: &str) -> Option<Child<'a>> {
        let directory = self.entries.path(self.start).get(..self.prefix).filter(|_| self.start < self.end)?;
        let path = format!("{directory}/{name}");
        let at = first(self.start..self.end, |n| self.entries.path(n) >= path.as_str());
        let here = self.entries.get(at).filter(|entry| at < self.end && entry.path == path);
        let below = below(self.entries, at..self.end, &path);
        if below.is_empty() {
            return here.map(|entry| own(entry.kind));
        }
        let inner = Self { start: below.start, end: below.end, prefix: path.len(), ..self };
        Some(Child::Directory(Some(inner)))
    }
}

fn own<'a>(kind: EntryKind<&str>) -> Child<'a> {
    if kind == EntryKind::Directory { Child::Directory(None) } else { Child::File }
}

/// Which entries of a layer can stand in folds, and which do.
pub(super) struct Folding<'a> {
    entries: &'a Entries,
    layer: u32,
    /// Indexes of entries that need a place of their own, sorted.
    special: Vec<usize>,
    /// Entries that are in a fold.
    folded: Bits,
    /// Entries that were placed by themselves.
    placed: Bits,
}

impl<'a> Folding<'a> {
    pub(super) fn of(layer: &'a Extract, number: u32) -> Self {
        let entries = &layer.entries;
        let mut special = Vec::new();
        // Files whose path the current one begins with.
        let mut files: Vec<(&str, usize)> = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let path = entry.path;
            while files.last().is_some_and(|(file, _)| !path.starts_with(file)) {
                files.pop();
            }
            // A file with something below it, or two entries of one path.
            let above = |file: &str| matches!(path.as_bytes().get(file.len()), Some(b'/') | None);
            let before = special.len();
            special.extend(files.iter().filter(|(file, _)| above(file)).map(|(_, n)| *n));
            if special.len() > before {
                special.push(n);
            }
            match entry.kind {
                EntryKind::Directory => {}
                EntryKind::File | EntryKind::Other => files.push((path, n)),
                _ => special.push(n),
            }
        }
        for selected in &layer.selected {
            let at = entries.partition_point(|entry| entry.path < selected.path.as_str());
            // Where it is not listed, its neighbours keep its directory from being folded.
            special.extend((at < entries.len()).then_some(at));
            if entries.path(at) != selected.path {
                special.extend(at.checked_sub(1));
            }
        }
        special.sort_unstable();
        special.dedup();
        let (folded, placed) = (Bits::of(entries.len()), Bits::of(entries.len()));
        Self { entries, layer: number, special, folded, placed }
    }

    /// The fold of a directory of this path, if it has entries and all of them can be folded. They are from then on.
    pub(super) fn fold(&mut self, directory: &str) -> Option<Fold<'a>> {
        let side_of = |n: usize| side(self.entries.path(n), directory);
        let next = self.special.partition_point(|&n| side_of(n) == Ordering::Less);
        if self.special.get(next).is_some_and(|&n| side_of(n) == Ordering::Equal) {
            return None;
        }
        let Range { start, end } = below(self.entries, 0..self.entries.len(), directory);
        // One that came by a symlink before its directory was made anew is not placed again.
        if start == end || self.placed.any(start..end) {
            return None;
        }
        (start..end).for_each(|n| self.folded.set(n));
        Some(Fold { entries: self.entries, layer: self.layer, start, end, prefix: directory.len() })
    }

    /// Whether the entry is in a fold.
    pub(super) fn holds(&self, entry: usize) -> bool {
        self.folded.get(entry)
    }

    /// Notes that an entry is placed.
    pub(super) fn place(&mut self, entry: usize) {
        self.placed.set(entry);
    }
}

/// A bit for each entry.
struct Bits(Vec<u64>);

impl Bits {
    fn of(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn set(&mut self, n: usize) {
        if let Some(bits) = self.0.get_mut(n / 64) {
            *bits |= 1 << (n % 64);
        }
    }

    fn get(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|bits| bits >> (n % 64) & 1 == 1)
    }

    fn any(&self, range: Range<usize>) -> bool {
        let whole = self.0.get(range.start.div_ceil(64)..range.end / 64);
        whole.is_some_and(|bits| bits.iter().any(|bits| *bits != 0))
            || range.clone().take(64).chain(range.rev().take(64)).any(|n| self.get(n))
    }
}

/// The entries below a directory, which lie together.
fn below(entries: &Entries, among: Range<usize>, directory: &str) -> Range<usize> {
    let start = first(among.clone(), |n| side(entries.path(n), directory) != Ordering::Less);
    start..first(start..among.end, |n| side(entries.path(n), directory) == Ordering::Greater)
}

/// The first index of a range for which something is true, as it is for all behind it; else the range's end.
fn first(mut range: Range<usize>, mut found: impl FnMut(usize) -> bool) -> usize {
    while range.start < range.end {
        let middle = range.start.midpoint(range.end);
        if found(middle) {
            range.end = middle;
        } else {
            range.start = middle + 1;
        }
    }
    range.start
}

/// Where a path lies in the order of paths: before what is below a directory, below it, or behind that.
fn side(path: &str, directory: &str) -> Ordering {
    let (path, directory) = (path.as_bytes(), directory.as_bytes());
    match path.split_at_checked(directory.len()) {
        Some((start, rest)) => start.cmp(directory).then_with(|| match rest.first() {
            Some(next) => next.cmp(&b'/'),
            None => Ordering::Less,
        }),
        // A shorter path that the directory's begins with comes before it.
        None => path.cmp(directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_of_a_directory() {
        for (path, expected) in [
            ("", Ordering::Less),
            ("a", Ordering::Less),
            ("a/b", Ordering::Less),
            ("a/b-c", Ordering::Less),
            ("a/b/", Ordering::Equal),
            ("a/b/c", Ordering::Equal),
            ("a/b0", Ordering::Greater),
            ("a/c", Ordering::Greater),
            ("b", Ordering::Greater),
        ] {
            assert_eq!(side(path, "a/b"), expected, "{path}");
        }
    }

    use plimsoll_model::extract::{Entry, Selected};
    use proptest::prelude::*;

    use crate::merge::{Merged, apply};

    fn a_path() -> impl Strategy<Value = String> {
        let part = || prop::sample::select(vec!["a", "b", "a-b", "s"]);
        proptest::collection::vec(part(), 1..5).prop_map(|parts| parts.join("/"))
    }

    fn a_kind() -> impl Strategy<Value = EntryKind> {
        prop_oneof![
            20 => Just(EntryKind::File),
            8 => Just(EntryKind::Directory),
            1 => prop::sample::select(vec!["a", "b", "../a", "/a-b", ".", "a/../b", "nowhere/x"])
                .prop_map(|target| EntryKind::Symlink(target.to_owned())),
            1 => a_path().prop_map(EntryKind::Hardlink),
            1 => Just(EntryKind::Whiteout),
            1 => Just(EntryKind::Opaque),
        ]
    }

    fn layers() -> impl Strategy<Value = Vec<Extract>> {
        let entries = proptest::collection::btree_map(a_path(), (a_kind(), 0..12_u8), 0..14);
        let unlisted = proptest::option::weighted(0.05, a_path());
        proptest::collection::vec((entries, unlisted), 1..4).prop_map(|layers| {
            let one = |(entries, unlisted): (std::collections::BTreeMap<String, (EntryKind, u8)>, _)| {
                let kept = |(path, (kind, dice)): (&String, &(EntryKind, u8))| {
                    (*kind == EntryKind::File && *dice == 0).then(|| path.clone())
                };
                let mut paths: Vec<String> = entries.iter().filter_map(kept).chain(unlisted).collect();
                paths.sort();
                paths.dedup();
                let entries = entries.into_iter().map(|(path, (kind, _))| Entry { path, kind }).collect();
                extract(entries, paths)
            };
            layers.into_iter().map(one).collect()
        })
    }

    fn extract(entries: Vec<Entry>, paths: Vec<String>) -> Extract {
        let selected = |path: String| Selected { path, selector: "s".into(), size: 0, bytes: vec![] };
        Extract {
            layer: format!("sha256:{}", "00".repeat(32)).parse().unwrap(),
            profile: String::new(),
            selectors: Vec::new(),
            entries: entries.into_iter().collect(),
            selected: paths.into_iter().map(selected).collect(),
            anomalies: Vec::new(),
            partial: Vec::new(),
            compressed_size: 0,
            uncompressed_size: 0,
        }
    }

    /// A path of two thousand parts is a directory for each: a few megabytes of archive made gigabytes of them.
    #[test]
    fn deep_paths_are_bounded() {
        let path = |n: u8| format!("{n:03}/{}f", "d/".repeat(2_000));
        let plain = (0..100).map(|n| Entry { path: path(n), kind: EntryKind::File }).collect();
        assert_eq!(crate::merge::merge(&[extract(plain, vec![])]).partial, []);
        let links = (0..100).map(|n| Entry { path: path(n), kind: EntryKind::Symlink("x".into()) }).collect();
        let layers = [extract(links, vec![])];
        assert_eq!(crate::merge::merge(&layers).partial[0].code, "directories");
    }

    /// All that can be asked of what was merged.
    fn told(merged: &Merged<'_>, paths: &[String]) -> Vec<String> {
        let mut told: Vec<String> = merged
            .files
            .iter()
            .map(|file| format!("{} {} {} {:?}", file.path, file.layer, file.selected.path, file.links))
            .collect();
        told.extend(merged.anomalies.iter().map(|anomaly| format!("{anomaly:?}")));
        told.extend(merged.partial.iter().map(|partial| format!("{partial:?}")));
        for path in paths {
            told.push(format!("{path} {:?} {:?}", merged.resolve(path), merged.directories(path)));
        }
        told
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn folding_makes_no_difference(
            layers in layers(),
            asked in proptest::collection::vec(prop_oneof![a_path(), Just(String::new()), "(a|b|s|\\.\\.|/){1,5}"], 0..12),
        ) {
            let plain = apply(&layers, false).unwrap();
            if let Some(folded) = apply(&layers, true) {
                let mut paths = asked;
                paths.extend(layers.iter().flat_map(|layer| layer.entries.iter()).map(|entry| entry.path.to_owned()));
                prop_assert_eq!(told(&folded, &paths), told(&plain, &paths));
            }
        }
    }
}
