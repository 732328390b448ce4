//! Merging against a reference that applies layers to a flat map of paths.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::Extract;
use plimsoll_model::extract::{Entry, EntryKind, Selected};
use plimsoll_sbom::merge;
use proptest::prelude::*;

pub(crate) fn layer(n: u8, entries: Vec<(String, EntryKind)>, selected: Vec<(&str, &str, &[u8])>) -> Extract {
    let mut entries: Vec<Entry> = entries.into_iter().map(|(path, kind)| Entry { path, kind }).collect();
    entries.sort();
    let mut selected: Vec<Selected> = selected
        .into_iter()
        .map(|(path, selector, bytes)| Selected {
            path: path.to_owned(),
            selector: selector.to_owned(),
            size: bytes.len() as u64,
            bytes: bytes.to_vec(),
        })
        .collect();
    selected.sort_by(|a, b| (&a.path, &a.selector).cmp(&(&b.path, &b.selector)));
    Extract {
        layer: format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap(),
        profile: "test".to_owned(),
        selectors: Vec::new(),
        entries: entries.into_iter().collect(),
        selected,
        anomalies: Vec::new(),
        partial: Vec::new(),
        compressed_size: 0,
        uncompressed_size: 0,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Thing {
    Directory,
    Symlink(String),
    /// A file with the (layer, path) of the entry that it came from.
    File(usize, String),
}

/// The file system as a flat map: path → (layer that put it there, what).
#[derive(Default, Debug)]
struct Reference {
    at: BTreeMap<String, (usize, Thing)>,
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn below(map: &BTreeMap<String, (usize, Thing)>, path: &str) -> Vec<String> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    map.keys().filter(|key| key.starts_with(&prefix)).cloned().collect()
}

impl Reference {
    /// The real path of a directory; made if asked. `Err` for loops.
    fn directory(&mut self, path: &str, make: Option<usize>) -> Result<Option<String>, ()> {
        let mut rest: Vec<String> = path.split('/').map(str::to_owned).collect();
        let mut real: Vec<String> = Vec::new();
        let mut links = 0;
        while !rest.is_empty() {
            let part = rest.remove(0);
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    real.pop();
                    continue;
                }
                _ => {}
            }
            let here = join(&real.join("/"), &part);
            match self.at.get(&here).map(|(_, thing)| thing.clone()) {
                Some(Thing::Directory) => real.push(part),
                Some(Thing::Symlink(target)) => {
                    links += 1;
                    if links > 255 {
                        return Err(());
                    }
                    if target.starts_with('/') {
                        real.clear();
                    }
                    let mut target: Vec<String> = target.split('/').map(str::to_owned).collect();
                    target.append(&mut rest);
                    rest = target;
                }
                found => {
                    let Some(layer) = make else { return Ok(None) };
                    if found.is_some() {
                        self.at.remove(&here);
                    }
                    self.at.insert(here, (layer, Thing::Directory));
                    real.push(part);
                }
            }
        }
        Ok(Some(real.join("/")))
    }

    fn put(&mut self, layer: usize, path: &str, thing: Thing) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Ok(Some(parent)) = self.directory(parent, Some(layer)) else { return };
        let path = join(&parent, name);
        let merges = thing == Thing::Directory && matches!(self.at.get(&path), Some((_, Thing::Directory)));
        if !merges {
            for key in below(&self.at, &path) {
                self.at.remove(&key);
            }
        }
        self.at.insert(path, (layer, thing));
    }

    /// Removes what is of lower layers, but directories that hold something of this one.
    fn remove(&mut self, layer: usize, paths: Vec<String>) {
        let mine: BTreeSet<String> =
            self.at.iter().filter(|(_, (of, _))| *of == layer).map(|(path, _)| path.clone()).collect();
        for path in paths {
            let holds = mine.iter().any(|key| *key == path || key.starts_with(&format!("{path}/")));
            if !holds {
                self.at.remove(&path);
            }
        }
    }

    fn apply(&mut self, layer: usize, extract: &Extract) {
        let depth = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
        let rank = |entry: &Entry| match &entry.kind {
            EntryKind::Whiteout => (0, depth(&entry.path), 0),
            EntryKind::Opaque => (0, depth(&entry.path) + 1, 0),
            EntryKind::Directory | EntryKind::Symlink(_) => (0, depth(&entry.path), 1),
            EntryKind::File | EntryKind::Other => (1, 0, 0),
            EntryKind::Hardlink(_) => (2, 0, 0),
        };
        let mut entries: Vec<Entry> = extract.entries.iter().map(|entry| entry.to_owned()).collect();
        entries.sort_by_key(|entry| rank(entry));
        let mut links = Vec::new();
        for entry in &entries {
            let path = entry.path.as_str();
            match &entry.kind {
                EntryKind::Directory => self.put(layer, path, Thing::Directory),
                EntryKind::Symlink(target) => self.put(layer, path, Thing::Symlink(target.clone())),
                EntryKind::File | EntryKind::Other => {
                    self.put(layer, path, Thing::File(layer, path.to_owned()))
                }
                EntryKind::Whiteout => {
                    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                    if let Ok(Some(parent)) = self.directory(parent, None) {
                        let gone = join(&parent, name);
                        let mut gone_too = below(&self.at, &gone);
                        gone_too.push(gone);
                        self.remove(layer, gone_too);
                    }
                }
                EntryKind::Opaque => {
                    if let Ok(Some(directory)) = self.directory(path, None) {
                        let gone = below(&self.at, &directory);
                        self.remove(layer, gone);
                    }
                }
                EntryKind::Hardlink(target) => {
                    // The generator's links name files that are no links themselves.
                    let (parent, name) = target.rsplit_once('/').unwrap_or(("", target));
                    let found = match self.directory(parent, None) {
                        Ok(Some(parent)) => self.at.get(&join(&parent, name)).map(|(_, thing)| thing.clone()),
                        _ => None,
                    };
                    links.push((path, found));
                }
            }
        }
        for (path, found) in links {
            let thing = match found {
                Some(Thing::Directory) | None => Thing::File(usize::MAX, String::new()),
                Some(thing) => thing,
            };
            self.put(layer, path, thing);
        }
    }

    /// (layer, entry's path) → the paths at which its bytes are.
    fn visible(&self) -> BTreeMap<(usize, String), BTreeSet<String>> {
        let mut found: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (path, (_, thing)) in &self.at {
            if let Thing::File(layer, entry) = thing {
                found.entry((*layer, entry.clone())).or_default().insert(path.clone());
            }
        }
        found
    }
}

/// Few and shallow paths, so that entries meet one another often.
fn a_path() -> impl Strategy<Value = String> {
    let part = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        3 => part().prop_map(str::to_owned),
        3 => (part(), part()).prop_map(|(a, b)| format!("{a}/{b}")),
        1 => (part(), part(), part()).prop_map(|(a, b, c)| format!("{a}/{b}/{c}")),
    ]
}

fn a_kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        6 => Just(EntryKind::File),
        3 => Just(EntryKind::Directory),
        3 => prop::sample::select(vec!["a", "b", "b/c", "../b", "/c", "/", ".", "../../a", "nowhere/x"])
            .prop_map(|target| EntryKind::Symlink(target.to_owned())),
        2 => a_path().prop_map(|path| EntryKind::Hardlink(format!("f/{path}"))),
        1 => Just(EntryKind::Other),
        3 => Just(EntryKind::Whiteout),
        2 => Just(EntryKind::Opaque),
    ]
}

/// Layers in which every second file has bytes that a cataloger wants.
fn layers() -> impl Strategy<Value = Vec<Extract>> {
    let entries =
        proptest::collection::btree_map((a_path(), any::<bool>()), (a_kind(), any::<bool>()), 0..12);
    // Files that only hard links name, some of them.
    let files = proptest::collection::btree_set(a_path(), 0..3);
    proptest::collection::vec((entries, files), 1..5).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (entries, files))| {
                let mut list: BTreeMap<(String, bool), EntryKind> = BTreeMap::new();
                let mut wanted: Vec<String> = Vec::new();
                for ((path, _), (kind, keep)) in entries {
                    // A path may have a mark and an entry, as `.wh.x` and `x` in an archive.
                    let mark = matches!(kind, EntryKind::Whiteout | EntryKind::Opaque);
                    if kind == EntryKind::File && keep {
                        wanted.push(path.clone());
                    }
                    if kind != EntryKind::File {
                        wanted.retain(|known| *known != path || mark);
                    } else if !keep {
                        wanted.retain(|known| *known != path);
                    }
                    list.insert((path, mark), kind);
                }
                for file in files {
                    let path = format!("f/{file}");
                    wanted.push(path.clone());
                    list.insert((path, false), EntryKind::File);
                }
                wanted.sort();
                wanted.dedup();
                let selected = wanted.iter().map(|path| (path.as_str(), "s", path.as_bytes())).collect();
                layer(n as u8, list.into_iter().map(|((path, _), kind)| (path, kind)).collect(), selected)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn merging_equals_applying(layers in layers()) {
        let mut reference = Reference::default();
        for (n, layer) in layers.iter().enumerate() {
            reference.apply(n, layer);
        }
        let expected: BTreeMap<(usize, String), BTreeSet<String>> = reference
            .visible()
            .into_iter()
            .filter(|((n, path), _)| layers.get(*n).is_some_and(|l| l.selected.iter().any(|s| s.path == *path)))
            .collect();
        let merged = merge::merge(&layers);
        let mut found: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
        for file in &merged.files {
            let names = found.entry((file.layer, file.selected.path.clone())).or_default();
            prop_assert!(names.is_empty());
            names.insert(file.path.clone());
            names.extend(file.links.iter().cloned());
            for name in names.iter() {
                prop_assert_eq!(merged.resolve(name), Some(name.clone()));
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_layer_changes_nothing(layers in layers()) {
        let names = |layers: &[Extract]| -> Vec<(String, Vec<String>)> {
            merge::merge(layers).files.into_iter().map(|file| (file.path, file.links)).collect()
        };
        let mut more = layers.clone();
        more.push(layer(99, Vec::new(), Vec::new()));
        prop_assert_eq!(names(&more), names(&layers));
    }
}

fn visible(layers: &[Extract]) -> Vec<String> {
    merge::merge(layers).files.into_iter().map(|file| format!("{}:{}", file.layer, file.path)).collect()
}

fn file(path: &str) -> (String, EntryKind) {
    (path.to_owned(), EntryKind::File)
}

fn entry(path: &str, kind: EntryKind) -> (String, EntryKind) {
    (path.to_owned(), kind)
}

#[test]
fn a_file_nobody_catalogs_hides_a_program() {
    let base = layer(1, vec![file("usr/bin/app")], vec![("usr/bin/app", "go-binary", b"x")]);
    for kind in [EntryKind::File, EntryKind::Other, EntryKind::Symlink("x".into()), EntryKind::Directory] {
        let upper = layer(2, vec![entry("usr/bin/app", kind)], vec![]);
        assert_eq!(visible(&[base.clone(), upper]), Vec::<String>::new());
    }
    let upper = layer(2, vec![file("usr")], vec![]);
    assert_eq!(visible(&[base.clone(), upper]), Vec::<String>::new());
    let upper = layer(2, vec![entry("usr/bin", EntryKind::Directory)], vec![]);
    assert_eq!(visible(&[base, upper]), ["0:usr/bin/app"]);
}

#[test]
fn whiteouts_reach_lower_layers_only() {
    let base = layer(1, vec![file("d/a"), file("d/b")], vec![("d/a", "s", b""), ("d/b", "s", b"")]);
    let whiteout = layer(2, vec![entry("d/a", EntryKind::Whiteout)], vec![]);
    assert_eq!(visible(&[base.clone(), whiteout]), ["0:d/b"]);
    let replaced = layer(2, vec![entry("d", EntryKind::Whiteout), file("d/c")], vec![("d/c", "s", b"")]);
    assert_eq!(visible(&[base.clone(), replaced]), ["1:d/c"]);
    let opaque = layer(2, vec![entry("d", EntryKind::Opaque), file("d/a")], vec![("d/a", "s", b"")]);
    assert_eq!(visible(&[base, opaque]), ["1:d/a"]);
}

#[test]
fn entries_land_where_lower_symlinks_point() {
    let base = layer(
        1,
        vec![
            entry("lib", EntryKind::Symlink("usr/lib".into())),
            file("usr/lib/x"),
            entry("out", EntryKind::Symlink("../../../../usr".into())),
        ],
        vec![("usr/lib/x", "s", b"")],
    );
    let upper = layer(2, vec![file("lib/x"), file("out/y")], vec![("lib/x", "s", b""), ("out/y", "s", b"")]);
    let layers = [base.clone(), upper];
    let merged = merge::merge(&layers);
    let paths: Vec<_> = merged.files.iter().map(|file| (file.layer, file.path.as_str())).collect();
    assert_eq!(paths, [(1, "usr/lib/x"), (1, "usr/y")]);
    assert!(merged.anomalies.iter().all(|anomaly| anomaly.code == "parent_is_symlink"));
    assert_eq!(merged.anomalies.len(), 2);
    assert_eq!(merged.resolve("lib/x").as_deref(), Some("usr/lib/x"));
    assert_eq!(merged.resolve("lib").as_deref(), Some("lib"));
    assert_eq!(merged.resolve("lib/z"), None);
    let whiteout = layer(2, vec![entry("lib/x", EntryKind::Whiteout)], vec![]);
    assert_eq!(visible(&[base, whiteout]), Vec::<String>::new());
}

#[test]
fn bytes_stay_reachable_through_a_hard_link() {
    let base = layer(
        1,
        vec![file("bin/a"), entry("bin/b", EntryKind::Hardlink("bin/a".into()))],
        vec![("bin/a", "go-binary", b"")],
    );
    let upper = layer(2, vec![entry("bin/a", EntryKind::Whiteout)], vec![]);
    assert_eq!(visible(&[base.clone(), upper]), ["0:bin/b"]);
    let layers = [base];
    assert_eq!(merge::merge(&layers).files[0].links, ["bin/b"]);
}

#[test]
fn loops_and_long_chains_end() {
    let mut entries = vec![
        entry("a", EntryKind::Symlink("b".into())),
        entry("b", EntryKind::Symlink("a".into())),
        file("a/x"),
        entry("bomb", EntryKind::Symlink("bomb/bomb/bomb/bomb".into())),
        file("bomb/x"),
    ];
    for n in 0..200 {
        entries.push(entry(&format!("l{n}"), EntryKind::Hardlink(format!("l{}", n + 1))));
    }
    let layers = [layer(1, entries, vec![("a/x", "s", b""), ("bomb/x", "s", b"")])];
    let merged = merge::merge(&layers);
    assert!(merged.files.is_empty());
    let codes: BTreeSet<&str> = merged.anomalies.iter().map(|anomaly| anomaly.code.as_str()).collect();
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["dangling_hardlink", "symlink_loop"]);
}

#[test]
fn hostile_symlinks_cost_a_bounded_amount_of_work() {
    let mut entries = vec![
        entry("m", EntryKind::Directory),
        entry("l", EntryKind::Symlink("m/../".repeat(2000) + "m")),
        file("usr/bin/app"),
    ];
    entries.extend((0..2_000).map(|n| file(&format!("l/{n}/x"))));
    let layers = [layer(1, entries, vec![("usr/bin/app", "go-binary", b"")])];
    let merged = merge::merge(&layers);
    assert_eq!(merged.files.len(), 1);
    assert_eq!(merged.partial[0].code, "symlink_work");
    let plain = [layer(1, vec![file("a")], vec![])];
    assert!(merge::merge(&plain).partial.is_empty());
}
