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

mod fold;
mod tree;

use std::borrow::Borrow;
use std::collections::BTreeSet;

use plimsoll_model::extract::{Anomaly, Entry, EntryKind, Extract, Partial, Selected};
use rustc_hash::FxHashMap;

use fold::Folding;
use tree::{Id, Kind, Lost, Tree};

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
/// Files and directories that are held apart, of all layers together; some 60 bytes each. A path of many parts may make
/// as many directories. Ordinary images stay under half a million.
const MAX_NODES: usize = if cfg!(test) { 1 << 16 } else { 4 << 20 };

/// The selected files that an image shows.
#[derive(Debug)]
pub struct Merged<'a> {
    /// Sorted by (path, selector). One entry for one kept content, however many names lead to it.
    pub files: Vec<VisibleFile<'a>>,
    /// What the layers do that readers may disagree about; at most 1,000.
    pub anomalies: Vec<Anomaly>,
    /// Why files may be missing: `symlink_work` when following symlinks took too much, `directories` when paths make
    /// more directories than are held.
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
    // What is folded counts as applied at once. Where a symlink leads into it that would be too early: nothing is
    // folded then.
    apply(layers, true).or_else(|| apply(layers, false)).unwrap_or_else(|| finish(Applier::default()))
}

/// `None` where folding would make a difference.
fn apply<E: Borrow<Extract>>(layers: &[E], fold: bool) -> Option<Merged<'_>> {
    let mut applier = Applier::default();
    for (layer, n) in layers.iter().zip(1..) {
        applier.layer(n, layer.borrow(), fold);
        if applier.alias {
            return None;
        }
    }
    Some(finish(applier))
}

fn finish(applier: Applier<'_>) -> Merged<'_> {
    let Applier { tree, contents, anomalies, .. } = applier;
    let mut names: Vec<Vec<String>> = vec![Vec::new(); contents.len()];
    for (content, path) in tree.contents() {
        if let Some(names) = usize::try_from(content).ok().and_then(|content| names.get_mut(content)) {
            names.push(path);
        }
    }
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
    let mut partial = Vec::new();
    if tree.full() {
        let detail = format!("the paths of the layers make more than {MAX_NODES} files and directories");
        partial.push(Partial { code: "directories".to_owned(), detail });
    }
    if tree.exhausted() {
        let detail = format!("symlinks add more than {MAX_WORK} segments to the paths of the layers");
        partial.push(Partial { code: "symlink_work".to_owned(), detail });
    }
    Merged { files, anomalies: anomalies.into_iter().collect(), partial, tree }
}

impl Merged<'_> {
    /// The path without symlinks of an existing entry, given any path to it (relative to the root); the entry
    /// itself may be a symlink and is not followed. `None` where nothing is.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        self.tree.resolve(parent, name)
    }
}

impl<'a> Merged<'a> {
    /// Names of the directories in a directory, sorted, each with the index of the layer that it is of.
    pub(crate) fn directories(&self, path: &str) -> Vec<(&'a str, usize)> {
        let index = |layer: u32| usize::try_from(layer.saturating_sub(1)).unwrap_or(usize::MAX);
        self.tree.directories(path).into_iter().map(|(name, layer)| (name, index(layer))).collect()
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
    /// What may be folded of the layer that is applied.
    folding: Option<Folding<'a>>,
    /// Something was to be placed in a fold of its own layer.
    alias: bool,
    /// The parent of the last entry as it was written, its node, and whether that is at this very path: most entries
    /// lie beside the one before them.
    last: Option<(&'a str, Id, bool)>,
}

impl Default for Applier<'_> {
    fn default() -> Self {
        Self {
            tree: Tree::new(),
            contents: Vec::new(),
            anomalies: BTreeSet::new(),
            folding: None,
            alias: false,
            last: None,
        }
    }
}

impl<'a> Applier<'a> {
    fn layer(&mut self, n: u32, layer: &'a Extract, fold: bool) {
        self.last = None;
        self.folding = fold.then(|| Folding::of(layer, n));
        for index in structure(layer) {
            if let Some(entry) = layer.entries.get(index).filter(|_| !self.is_folded(index)) {
                self.structure(n, entry);
                self.placed(index);
            }
        }
        let mut kept = by_path(&layer.selected);
        let mut links = Vec::new();
        for (index, entry) in layer.entries.iter().enumerate() {
            match entry.kind {
                EntryKind::File | EntryKind::Other if !self.is_folded(index) => {
                    let selected = if kept.is_empty() { None } else { kept.remove(entry.path) };
                    self.file(n, entry.path, selected.unwrap_or(&[]));
                    self.placed(index);
                }
                EntryKind::Hardlink(target) => links.push((entry.path, target)),
                _ => {}
            }
        }
        self.folding = None;
        self.hard_links(n, &links, &mut kept);
        // Bytes of a file whose entry is missing: the list of entries was cut short. The file is there.
        let listed = |path: &str| {
            let at = layer.entries.partition_point(|entry| entry.path < path);
            layer.entries.get(at).is_some_and(|entry| entry.path == path)
        };
        let mut rest: Vec<_> = kept.into_iter().filter(|(path, _)| !listed(path)).collect();
        rest.sort_unstable_by_key(|(path, _)| *path);
        for (path, selected) in rest {
            self.file(n, path, selected);
        }
    }

    fn is_folded(&self, entry: usize) -> bool {
        self.folding.as_ref().is_some_and(|folding| folding.holds(entry))
    }

    fn placed(&mut self, entry: usize) {
        if let Some(folding) = &mut self.folding {
            folding.place(entry);
        }
    }

    fn structure(&mut self, n: u32, entry: Entry<&'a str>) {
        let path = entry.path;
        match entry.kind {
            EntryKind::Opaque => {
                self.last = None;
                if let Ok(Some(directory)) = self.tree.find(path, Some(n)) {
                    self.tree.remove_lower(directory, n, false);
                }
            }
            EntryKind::Whiteout => {
                self.last = None;
                let (parent, name) = split(path);
                if let Ok(Some(parent)) = self.tree.find(parent, Some(n))
                    && let Some(node) = self.tree.child(parent, name)
                {
                    self.tree.remove_lower(node, n, true);
                }
            }
            EntryKind::Directory => self.place(n, path, Kind::Directory),
            EntryKind::Symlink(target) => self.place(n, path, Kind::Symlink(target)),
            EntryKind::File | EntryKind::Other | EntryKind::Hardlink(_) => {}
        }
    }

    fn file(&mut self, n: u32, path: &'a str, selected: &'a [Selected]) {
        if selected.is_empty() {
            self.place(n, path, Kind::File(None));
            return;
        }
        let Ok(content) = u32::try_from(self.contents.len()) else { return };
        let layer = usize::try_from(n - 1).unwrap_or(usize::MAX);
        self.contents.push(Content { layer, path: path.to_owned(), selected });
        if let Some(node) = self.put(n, path, Kind::File(Some(content))) {
            let real = self.tree.path(node);
            if let Some(content) = self.contents.last_mut() {
                content.path = real;
            }
        }
    }

    fn hard_links(
        &mut self,
        n: u32,
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
                let parent = self.tree.find(parent, None).ok().flatten()?;
                let found = self.tree.child(parent, name)?;
                self.tree.kind(found).filter(|kind| !matches!(kind, Kind::Directory | Kind::Folded(_)))
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

    fn place(&mut self, n: u32, path: &'a str, kind: Kind<'a>) {
        self.put(n, path, kind);
    }

    fn put(&mut self, n: u32, path: &'a str, kind: Kind<'a>) -> Option<Id> {
        let (parent, name) = split(path);
        if name.is_empty() || matches!(name, "." | "..") {
            return None; // the root itself
        }
        let known = self.last.filter(|(text, ..)| *text == parent);
        let (directory, literal) = match known {
            Some((_, node, literal)) => (node, literal),
            None => self.parents(n, path, parent)?,
        };
        let old = self.tree.child(directory, name);
        let own_fold = old.is_some_and(|old| self.tree.is_fold_of(old, n));
        let put = self.tree.put(directory, name, kind, n).ok()?;
        // What this layer put below is to come after this, or before; hard links come after all else.
        if self.folding.is_some() && (own_fold || (put.conflict && put.moved)) {
            self.alias = true;
            return None;
        }
        if literal && put.new && matches!(kind, Kind::Directory) {
            let fold = self.folding.as_mut().and_then(|folding| folding.fold(path));
            if let Some(fold) = fold {
                self.tree.set_fold(put.node, fold);
            }
        }
        // What stood here may have been above the directory, or a link on the way to it.
        self.last = (!put.moved).then_some((parent, directory, literal));
        if put.conflict {
            self.note("ambiguous_path", path, "one layer names this file twice, by different paths");
        }
        Some(put.node)
    }

    /// The directory to put `path` into, made where it is missing, and whether it is at the path that names it. `None`
    /// where there is nothing more to do.
    fn parents(&mut self, n: u32, path: &str, parent: &'a str) -> Option<(Id, bool)> {
        let walked = match self.tree.make_parents(parent, n, self.folding.as_mut()) {
            Ok(walked) => walked,
            Err(Lost::TooManyLinks) => {
                self.note("symlink_loop", path, "");
                return None;
            }
            Err(Lost::Full) => return None,
            Err(Lost::Alias) => {
                self.alias = true;
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
        (!walked.folded).then_some((walked.directory, walked.literal))
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

/// Indexes of what makes the structure of a layer, in the order that the module describes.
fn structure(layer: &Extract) -> Vec<usize> {
    let mut structure: Vec<(usize, u8, usize)> = Vec::new();
    for (index, entry) in layer.entries.iter().enumerate() {
        let rank = match entry.kind {
            EntryKind::File | EntryKind::Other | EntryKind::Hardlink(_) => continue,
            // An opaque mark acts on the children.
            EntryKind::Opaque => (1, 0),
            EntryKind::Whiteout => (0, 0),
            EntryKind::Directory | EntryKind::Symlink(_) => (0, 1),
        };
        let depth = entry.path.split('/').filter(|part| !part.is_empty()).count();
        structure.push((depth + rank.0, rank.1, index));
    }
    structure.sort_unstable();
    structure.into_iter().map(|(_, _, index)| index).collect()
}

/// The runs of one path in a list sorted by path.
fn by_path(selected: &[Selected]) -> FxHashMap<&str, &[Selected]> {
    selected
        .chunk_by(|a, b| a.path == b.path)
        .filter_map(|run| Some((run.first()?.path.as_str(), run)))
        .collect()
}
