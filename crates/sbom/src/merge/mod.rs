//! The layers of an image become one file system, of which only the selected files are kept.
//!
//! A layer's archive order is not part of an [`Extract`] (its entries are sorted, the last of duplicates stands), so
//! the order in which a layer is applied is defined here: directories, symlinks and whiteouts from the shallowest
//! path to the deepest, whiteouts first among equals; then files and devices; then hard links. For archives that
//! name parents before children, which all image builders write, that gives what applying them in order gives.
//!
//! * Symlinks among a path's parents are followed inside the root, as containerd's applier does: an entry below a
//!   path that is a symlink lands where the symlink points. Runtimes disagree when the symlink is in a lower layer
//!   (the overlay snapshotter writes a directory over it), so that is an anomaly too.
//! * An entry of any kind replaces what is at its path, with its subtree; a directory over a directory merges.
//! * A whiteout removes what lower layers put at its path, and an opaque mark what they put below it; entries of the
//!   same layer stay.
//! * A hard link is the file that it names: the file's bytes stay visible through it when the first name is removed.

mod tree;

use std::borrow::Borrow;
use std::collections::BTreeSet;

use plimsoll_model::extract::{Anomaly, Entry, EntryKind, Extract, Partial, Selected};
use rustc_hash::FxHashMap;

use tree::{Kind, Tree};

/// Symlinks followed for one path, as containerd counts them.
const MAX_LINKS: usize = 255;
/// Path segments that symlinks may add to one path.
const MAX_PARTS: usize = 8192;
/// Path segments that symlinks may add to all paths of an image. Ordinary images stay under a million.
const MAX_WORK: usize = 4 << 20;
/// Hard links that name hard links.
const MAX_HARDLINKS: usize = 64;
/// Anomalies that are reported for one image.
const MAX_ANOMALIES: usize = 1000;

/// The selected files that an image shows.
#[derive(Debug)]
pub struct Merged<'a> {
    /// Sorted by (path, selector). One entry for one kept content, however many names lead to it.
    pub files: Vec<VisibleFile<'a>>,
    /// What the layers do that readers may disagree about; at most 1,000.
    pub anomalies: Vec<Anomaly>,
    /// Why files may be missing: `symlink_work` when following symlinks took too much.
    pub partial: Vec<Partial>,
    tree: Tree<'a>,
}

/// A selected file that no later layer hides.
#[derive(Debug, Clone)]
pub struct VisibleFile<'a> {
    /// The path in the merged file system, symlinks among the parents resolved: the file's own if that is still
    /// there, else the first of the hard links to it.
    pub path: String,
    /// Index of the layer that holds the bytes, among the extracts given.
    pub layer: usize,
    pub selected: &'a Selected,
    /// Other names of the same file, sorted.
    pub links: Vec<String>,
}

/// Applies the layers, oldest first.
pub fn merge<E: Borrow<Extract>>(layers: &[E]) -> Merged<'_> {
    let entries = layers.iter().map(|layer| layer.borrow().entries.len()).sum();
    let tree = Tree::with_room_for(entries);
    let mut applier = Applier { tree, contents: Vec::new(), anomalies: BTreeSet::new(), last: None };
    for (n, layer) in layers.iter().enumerate() {
        applier.layer(n + 1, layer.borrow());
    }
    let Applier { tree, contents, anomalies, .. } = applier;
    let mut names: Vec<Vec<String>> = vec![Vec::new(); contents.len()];
    tree.each_content(|content, path| {
        if let Some(names) = names.get_mut(content) {
            names.push(path.to_owned());
        }
    });
    let mut files = Vec::new();
    for (content, mut names) in contents.iter().zip(names) {
        names.sort_unstable();
        let own = names.iter().position(|name| *name == content.path).unwrap_or(0);
        if names.is_empty() {
            continue;
        }
        let path = names.remove(own);
        for selected in content.selected {
            files.push(VisibleFile {
                path: path.clone(),
                layer: content.layer,
                selected,
                links: names.clone(),
            });
        }
    }
    files.sort_by(|a, b| {
        (&a.path, &a.selected.selector, a.layer).cmp(&(&b.path, &b.selected.selector, b.layer))
    });
    let partial = if tree.exhausted() {
        let detail = format!("symlinks add more than {MAX_WORK} segments to the paths of the layers");
        vec![Partial { code: "symlink_work".to_owned(), detail }]
    } else {
        Vec::new()
    };
    Merged { files, anomalies: anomalies.into_iter().collect(), partial, tree }
}

impl Merged<'_> {
    /// The path without symlinks of an existing entry, given any path to it (relative to the root); the entry
    /// itself may be a symlink and is not followed. `None` where nothing is.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = self.tree.find(parent).ok().flatten()?;
        let node = self.tree.child(parent, name)?;
        Some(self.tree.path(node))
    }
}

impl<'a> Merged<'a> {
    /// Names of the directories in a directory, sorted, each with the index of the layer that it is of.
    pub(crate) fn directories(&self, path: &str) -> Vec<(&'a str, usize)> {
        let Ok(Some(directory)) = self.tree.find(path) else { return Vec::new() };
        self.tree.directories(directory).map(|(name, layer)| (name, layer.saturating_sub(1))).collect()
    }
}

/// The kept bytes of one file.
struct Content<'a> {
    layer: usize,
    /// Where the file was put, parents resolved.
    path: String,
    selected: &'a [Selected],
}

struct Applier<'a> {
    tree: Tree<'a>,
    contents: Vec<Content<'a>>,
    anomalies: BTreeSet<Anomaly>,
    /// The parent of the last entry as it was written, and its node: most entries lie beside the one before them.
    last: Option<(&'a str, usize)>,
}

impl<'a> Applier<'a> {
    fn layer(&mut self, n: usize, layer: &'a Extract) {
        self.last = None;
        let (structure, files, links) = in_order(layer);
        for entry in structure {
            self.structure(n, entry);
        }
        let mut kept = by_path(&layer.selected);
        for entry in files {
            let selected = kept.remove(entry.path.as_str()).unwrap_or(&[]);
            self.file(n, &entry.path, selected);
        }
        self.hard_links(n, &links, &mut kept);
        // Bytes of a file whose entry is missing: the list of entries was cut short. The file is there.
        let listed =
            |path: &str| layer.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).is_ok();
        let mut rest: Vec<_> = kept.into_iter().filter(|(path, _)| !listed(path)).collect();
        rest.sort_unstable_by_key(|(path, _)| *path);
        for (path, selected) in rest {
            self.file(n, path, selected);
        }
    }

    fn structure(&mut self, n: usize, entry: &'a Entry) {
        let path = entry.path.as_str();
        match &entry.kind {
            EntryKind::Opaque => {
                self.last = None;
                if let Ok(Some(directory)) = self.tree.find(path) {
                    self.tree.remove_lower(directory, n, false);
                }
            }
            EntryKind::Whiteout => {
                self.last = None;
                let (parent, name) = split(path);
                if let Ok(Some(parent)) = self.tree.find(parent)
                    && let Some(node) = self.tree.child(parent, name)
                {
                    self.tree.remove_lower(node, n, true);
                }
            }
            EntryKind::Directory => self.place(n, path, Kind::directory()),
            EntryKind::Symlink(target) => self.place(n, path, Kind::Symlink(target)),
            EntryKind::File | EntryKind::Other | EntryKind::Hardlink(_) => {}
        }
    }

    fn file(&mut self, n: usize, path: &'a str, selected: &'a [Selected]) {
        if selected.is_empty() {
            self.place(n, path, Kind::File(None));
            return;
        }
        let content = self.contents.len();
        self.contents.push(Content { layer: n - 1, path: path.to_owned(), selected });
        if let Some(node) = self.put(n, path, Kind::File(Some(content))) {
            let real = self.tree.path(node);
            if let Some(content) = self.contents.get_mut(content) {
                content.path = real;
            }
        }
    }

    fn hard_links(
        &mut self,
        n: usize,
        links: &[(&'a str, &'a str)],
        kept: &mut FxHashMap<&'a str, &'a [Selected]>,
    ) {
        let targets: FxHashMap<&str, &str> = links.iter().copied().collect();
        // The first name of a chain that this layer does not link itself.
        let origin = |mut target: &'a str| {
            for _ in 0..MAX_HARDLINKS {
                match targets.get(target) {
                    Some(next) => target = next,
                    None => return Some(target),
                }
            }
            None
        };
        // All targets are looked up before a link is placed: links do not hide one another's files.
        let kinds: Vec<Option<Kind<'a>>> = links
            .iter()
            .map(|(_, target)| {
                let target = origin(target)?;
                let (parent, name) = split(target);
                let parent = self.tree.find(parent).ok().flatten()?;
                match self.tree.kind(self.tree.child(parent, name)?)? {
                    Kind::Directory(_) => None,
                    Kind::Symlink(target) => Some(Kind::Symlink(target)),
                    Kind::File(content) => Some(Kind::File(*content)),
                }
            })
            .collect();
        for ((path, target), kind) in links.iter().zip(kinds) {
            // A selector may have kept bytes under the link's own name: then they are the file's.
            match kept.remove(path) {
                Some(selected) => self.file(n, path, selected),
                None => {
                    if kind.is_none() {
                        self.note("dangling_hardlink", path, target);
                    }
                    self.place(n, path, kind.unwrap_or(Kind::File(None)));
                }
            }
        }
    }

    fn place(&mut self, n: usize, path: &'a str, kind: Kind<'a>) {
        self.put(n, path, kind);
    }

    fn put(&mut self, n: usize, path: &'a str, kind: Kind<'a>) -> Option<usize> {
        let (parent, name) = split(path);
        if name.is_empty() || matches!(name, "." | "..") {
            return None; // the root itself
        }
        let known = self.last.filter(|(text, _)| *text == parent).map(|(_, node)| node);
        let directory = match known {
            Some(node) => node,
            None => self.parents(n, path, parent)?,
        };
        let put = self.tree.put(directory, name, kind, n);
        // What stood here may have been above the directory, or a link on the way to it.
        self.last = (!put.moved).then_some((parent, directory));
        if put.conflict {
            self.note("ambiguous_path", path, "one layer names this file twice, by different paths");
        }
        Some(put.node)
    }

    /// The directory to put `path` into, made where it is missing.
    fn parents(&mut self, n: usize, path: &str, parent: &'a str) -> Option<usize> {
        let walked = match self.tree.make_parents(parent, n) {
            Ok(walked) => walked,
            Err(tree::TooManyLinks) => {
                self.note("symlink_loop", path, "");
                return None;
            }
        };
        if let Some(link) = walked.lower_symlink {
            self.note(
                "parent_is_symlink",
                &link,
                "a lower layer's symlink stands where a directory is expected",
            );
        }
        if let Some(file) = walked.replaced {
            self.note("parent_is_file", &file, "a file stands where a directory is expected");
        }
        Some(walked.directory)
    }

    fn note(&mut self, code: &str, path: &str, detail: &str) {
        if self.anomalies.len() < MAX_ANOMALIES {
            self.anomalies.insert(Anomaly {
                code: code.to_owned(),
                path: path.to_owned(),
                detail: detail.to_owned(),
            });
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.trim_matches('/').rsplit_once('/').unwrap_or(("", path.trim_matches('/')))
}

type Ordered<'a> = (Vec<&'a Entry>, Vec<&'a Entry>, Vec<(&'a str, &'a str)>);

/// The entries in the order that the module describes.
fn in_order(layer: &Extract) -> Ordered<'_> {
    let mut structure = Vec::new();
    let mut files = Vec::new();
    let mut links = Vec::new();
    for entry in &layer.entries {
        match &entry.kind {
            EntryKind::File | EntryKind::Other => files.push(entry),
            EntryKind::Hardlink(target) => links.push((entry.path.as_str(), target.as_str())),
            _ => structure.push(entry),
        }
    }
    structure.sort_by_cached_key(|entry| {
        let depth = entry.path.split('/').filter(|part| !part.is_empty()).count();
        match entry.kind {
            EntryKind::Whiteout => (depth, 0u8),
            // An opaque mark acts on the children.
            EntryKind::Opaque => (depth + 1, 0),
            _ => (depth, 1),
        }
    });
    (structure, files, links)
}

/// The runs of one path in a list sorted by path.
fn by_path(selected: &[Selected]) -> FxHashMap<&str, &[Selected]> {
    selected
        .chunk_by(|a, b| a.path == b.path)
        .filter_map(|run| Some((run.first()?.path.as_str(), run)))
        .collect()
}
