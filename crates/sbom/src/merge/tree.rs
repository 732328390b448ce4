//! The merged file system: an arena of nodes, each with the latest layer that put something in its subtree. Layers
//! count from 1 here; the root is of layer 0. What is removed stays in the arena, where no name leads to it.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use super::fold::{Child, Fold, Folding};
use super::{MAX_LINKS, MAX_NODES, MAX_PARTS, MAX_WORK};

/// Index of a node.
pub(super) type Id = u32;

pub(super) const ROOT: Id = 0;
const NONE: Id = Id::MAX;

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It leads through more symlinks than are followed: most likely a loop.
    TooManyLinks,
    /// There is no room for further nodes.
    Full,
    /// It leads by a symlink into a fold of its own layer, of which the order would matter now.
    Alias,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Directory,
    Symlink(&'a str),
    /// A file, device and the like; the index of its kept content.
    File(Option<u32>),
    /// A directory, and where in the list of folds what is in it.
    Folded(u32),
}

#[derive(Debug)]
struct Node<'a> {
    name: &'a str,
    parent: Id,
    /// The latest layer that has an entry here or below.
    touched: u32,
    /// The layer that has the entry itself.
    layer: u32,
    /// The newest child, and the child of the same parent that came before; what was removed is among them.
    last: Id,
    before: Id,
    kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// Nodes by parent and name.
    names: HashTable<Id>,
    folds: Vec<Fold<'a>>,
    /// Path segments that symlinks added so far.
    work: AtomicUsize,
}

/// What walking to a directory met.
pub(super) struct Walked {
    pub(super) directory: Id,
    /// What the path is below of was folded meanwhile, with the entry that was to be placed.
    pub(super) folded: bool,
    /// The directory is at the path as it is written.
    pub(super) literal: bool,
    /// Path of a symlink of a lower layer that was followed.
    pub(super) lower_symlink: Option<String>,
    /// Path of a file that gave way to a directory.
    pub(super) replaced: Option<String>,
}

/// What putting an entry did.
pub(super) struct Put {
    pub(super) node: Id,
    /// Nothing was there that stays.
    pub(super) new: bool,
    /// What was there came from the same layer.
    pub(super) conflict: bool,
    /// What was there was a directory or a symlink: paths lead elsewhere now.
    pub(super) moved: bool,
}

/// A directory that a path leads to.
enum Spot<'p, 'a> {
    Node(Id),
    /// In the fold of a node: the names below it, and what the directory there has.
    Inside {
        node: Id,
        names: Vec<&'p str>,
        fold: Option<Fold<'a>>,
    },
}

fn index(id: Id) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

fn hash(parent: Id, name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (parent, name).hash(&mut hasher);
    hasher.finish()
}

impl<'a> Tree<'a> {
    pub(super) fn new() -> Self {
        let root = Node {
            name: "",
            parent: ROOT,
            touched: 0,
            layer: 0,
            last: NONE,
            before: NONE,
            kind: Kind::Directory,
        };
        Self { nodes: vec![root], names: HashTable::new(), folds: Vec::new(), work: AtomicUsize::new(0) }
    }

    /// True once symlinks have used up the work that one image may cause: from then on none is followed.
    pub(super) fn exhausted(&self) -> bool {
        self.work.load(Ordering::Relaxed) > MAX_WORK
    }

    /// True once there is no room for more.
    pub(super) fn full(&self) -> bool {
        self.nodes.len() >= MAX_NODES
    }

    fn node(&self, id: Id) -> Option<&Node<'a>> {
        self.nodes.get(index(id))
    }

    pub(super) fn kind(&self, node: Id) -> Option<Kind<'a>> {
        self.node(node).map(|node| node.kind)
    }

    /// Whether a node is a folded directory of that very layer.
    pub(super) fn is_fold_of(&self, node: Id, layer: u32) -> bool {
        matches!(self.kind(node), Some(Kind::Folded(number)) if self.fold(number).is_some_and(|f| f.layer == layer))
    }

    pub(super) fn child(&self, directory: Id, name: &str) -> Option<Id> {
        let same = |id: &Id| self.node(*id).is_some_and(|node| node.parent == directory && node.name == name);
        self.names.find(hash(directory, name), same).copied()
    }

    /// The names and nodes in a directory, the newest first.
    fn children(&self, directory: Id) -> impl Iterator<Item = (Id, &Node<'a>)> {
        let mut next = self.node(directory).map_or(NONE, |node| node.last);
        std::iter::from_fn(move || {
            let id = next;
            let node = self.node(id)?;
            next = node.before;
            Some((id, node))
        })
        .filter(move |(id, node)| self.child(directory, node.name) == Some(*id))
    }

    fn fold(&self, number: u32) -> Option<Fold<'a>> {
        self.folds.get(index(number)).copied()
    }

    /// The path of a node.
    pub(super) fn path(&self, mut node: Id) -> String {
        let mut parts = Vec::new();
        while node != ROOT {
            let Some(found) = self.node(node) else { break };
            parts.push(found.name);
            node = found.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// Whether names lead from the root to a node.
    fn stands(&self, mut node: Id) -> bool {
        while node != ROOT {
            let Some(found) = self.node(node) else { return false };
            if self.child(found.parent, found.name) != Some(node) {
                return false;
            }
            node = found.parent;
        }
        true
    }

    /// The contents that names lead to, in the order in which they were put, each with its path.
    pub(super) fn contents(&self) -> impl Iterator<Item = (u32, String)> {
        self.nodes.iter().zip(0..).filter_map(|(node, id)| match node.kind {
            Kind::File(Some(content)) if self.stands(id) => Some((content, self.path(id))),
            _ => None,
        })
    }

    /// The directories in a directory, sorted by name, each with the layer that it is of.
    pub(super) fn directories(&self, path: &str) -> Vec<(&'a str, u32)> {
        let fold = match self.spot(path) {
            Ok(Some(Spot::Inside { fold, .. })) => fold,
            Ok(Some(Spot::Node(directory))) => match self.kind(directory) {
                Some(Kind::Folded(number)) => self.fold(number),
                _ => {
                    let is = |node: &Node<'_>| matches!(node.kind, Kind::Directory | Kind::Folded(_));
                    let all = self.children(directory).filter(|(_, node)| is(node));
                    let mut found: Vec<_> = all.map(|(_, node)| (node.name, node.layer)).collect();
                    found.sort_unstable();
                    return found;
                }
            },
            Ok(None) | Err(_) => None,
        };
        let Some(fold) = fold else { return Vec::new() };
        let all = fold.children().filter(|(_, child)| matches!(child, Child::Directory(_)));
        let mut found: Vec<(&'a str, u32)> = all.map(|(name, _)| (name, fold.layer)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The path without symlinks of what is at a path; the last part is not followed.
    pub(super) fn resolve(&self, parent: &str, name: &str) -> Option<String> {
        let (node, mut names, fold) = match self.spot(parent).ok()?? {
            Spot::Node(node) => match (self.child(node, name), self.kind(node)?) {
                (Some(child), _) => return Some(self.path(child)),
                (None, Kind::Folded(number)) => (node, Vec::new(), self.fold(number)),
                _ => return None,
            },
            Spot::Inside { node, names, fold } => (node, names, fold),
        };
        fold?.child(name)?;
        names.push(name);
        let above = self.path(node);
        let inner = names.join("/");
        Some(if above.is_empty() { inner } else { format!("{above}/{inner}") })
    }

    /// The directory at a path, symlinks followed; `None` if there is none.
    fn spot<'p>(&self, path: &'p str) -> Result<Option<Spot<'p, 'a>>, Lost>
    where
        'a: 'p,
    {
        let mut pending: Vec<&'p str> = path.rsplit('/').collect();
        let (mut at, mut steps) = (Spot::Node(ROOT), Steps::default());
        while let Some(part) = pending.pop() {
            at = match (at, part) {
                (at, "" | ".") => at,
                (Spot::Node(node), "..") => Spot::Node(self.node(node).map_or(ROOT, |node| node.parent)),
                (Spot::Inside { node, mut names, .. }, "..") => {
                    names.pop();
                    match self.inside(node, &names) {
                        Some(fold) if !names.is_empty() => Spot::Inside { node, names, fold },
                        _ => Spot::Node(node),
                    }
                }
                (Spot::Inside { node, mut names, fold }, name) => {
                    let Some(Child::Directory(fold)) = fold.and_then(|fold| fold.child(name)) else {
                        return Ok(None);
                    };
                    names.push(name);
                    Spot::Inside { node, names, fold }
                }
                (Spot::Node(node), name) => {
                    if let Some(Kind::Folded(number)) = self.kind(node) {
                        let child = self.fold(number).and_then(|fold| fold.child(name));
                        let Some(Child::Directory(fold)) = child else { return Ok(None) };
                        at = Spot::Inside { node, names: vec![name], fold };
                        continue;
                    }
                    let Some(child) = self.child(node, name) else { return Ok(None) };
                    match self.kind(child) {
                        Some(Kind::Directory | Kind::Folded(_)) => Spot::Node(child),
                        Some(Kind::Symlink(target)) => {
                            Spot::Node(steps.follow(&self.work, node, target, &mut pending)?)
                        }
                        _ => return Ok(None),
                    }
                }
            };
        }
        Ok(Some(at))
    }

    /// What is below a directory in the fold of a node: nothing, or a fold. `None` where it is no directory.
    fn inside(&self, node: Id, names: &[&str]) -> Option<Option<Fold<'a>>> {
        let Kind::Folded(number) = self.kind(node)? else { return None };
        let mut fold = self.fold(number);
        for name in names {
            let Child::Directory(inner) = fold?.child(name)? else { return None };
            fold = inner;
        }
        Some(fold)
    }

    /// The directory at a path, symlinks followed; `None` if there is none. A fold of `layer` itself counts as nothing,
    /// folds of others are unfolded.
    pub(super) fn find(&mut self, path: &str, layer: Option<u32>) -> Result<Option<Id>, Lost> {
        let mut pending: Vec<&str> = path.rsplit('/').collect();
        let (mut at, mut steps) = (ROOT, Steps::default());
        while let Some(part) = pending.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    at = self.node(at).map_or(ROOT, |node| node.parent);
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.child(at, part) else { return Ok(None) };
            match self.kind(child) {
                Some(Kind::Directory) => at = child,
                Some(Kind::Folded(number)) => {
                    if layer.is_some_and(|layer| self.is_fold_of(child, layer)) {
                        return Ok(None);
                    }
                    self.unfold(child, number)?;
                    at = child;
                }
                Some(Kind::Symlink(target)) => at = steps.follow(&self.work, at, target, &mut pending)?,
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The directory to put an entry into, symlinks followed, made where it is missing. What is made may take the entry
    /// with it, as part of a fold.
    pub(super) fn make_parents(
        &mut self,
        path: &'a str,
        layer: u32,
        mut folding: Option<&mut Folding<'a>>,
    ) -> Result<Walked, Lost> {
        let mut pending: Vec<&'a str> = path.rsplit('/').collect();
        let (mut at, mut steps) = (ROOT, Steps::default());
        let mut walked =
            Walked { directory: ROOT, folded: false, literal: true, lower_symlink: None, replaced: None };
        let mut length = 0;
        while let Some(part) = pending.pop() {
            match part {
                "" | "." => {
                    walked.literal &= path.is_empty();
                    continue;
                }
                ".." => {
                    walked.literal = false;
                    at = self.node(at).map_or(ROOT, |node| node.parent);
                    continue;
                }
                _ => {}
            }
            length += part.len() + usize::from(length > 0);
            let child = self.child(at, part);
            match child.and_then(|child| self.node(child)).map(|node| (node.kind, node.layer)) {
                Some((Kind::Directory, _)) => at = child.unwrap_or(ROOT),
                Some((Kind::Folded(number), _)) => {
                    at = child.unwrap_or(ROOT);
                    if folding.is_some() && self.is_fold_of(at, layer) {
                        return Err(Lost::Alias);
                    }
                    self.unfold(at, number)?;
                }
                Some((Kind::Symlink(target), placed)) => {
                    walked.literal = false;
                    if placed < layer && walked.lower_symlink.is_none() {
                        walked.lower_symlink = child.map(|child| self.path(child));
                    }
                    at = steps.follow(&self.work, at, target, &mut pending)?;
                }
                other => {
                    if other.is_some() {
                        walked.replaced = child.map(|child| self.path(child));
                    }
                    at = self.put(at, part, Kind::Directory, layer)?.node;
                    let made = path.get(..length).filter(|_| walked.literal);
                    let fold = folding.as_mut().zip(made).and_then(|(folding, made)| folding.fold(made));
                    if let Some(fold) = fold {
                        self.set_fold(at, fold);
                        walked.folded = true;
                        break;
                    }
                }
            }
        }
        walked.directory = at;
        Ok(walked)
    }

    /// Makes a new directory a folded one.
    pub(super) fn set_fold(&mut self, node: Id, fold: Fold<'a>) {
        let Ok(number) = u32::try_from(self.folds.len()) else { return };
        if let Some(node) = self.nodes.get_mut(index(node)) {
            node.kind = Kind::Folded(number);
            self.folds.push(fold);
        }
    }

    /// Gives what is directly in a folded directory nodes of its own.
    fn unfold(&mut self, node: Id, number: u32) -> Result<(), Lost> {
        let Some(fold) = self.fold(number) else { return Ok(()) };
        if let Some(node) = self.nodes.get_mut(index(node)) {
            node.kind = Kind::Directory;
        }
        for (name, child) in fold.children() {
            match child {
                Child::File => {
                    self.put(node, name, Kind::File(None), fold.layer)?;
                }
                Child::Directory(inner) => {
                    let made = self.put(node, name, Kind::Directory, fold.layer)?.node;
                    if let Some(inner) = inner {
                        self.set_fold(made, inner);
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts an entry into a directory, over what is there.
    pub(super) fn put(
        &mut self,
        directory: Id,
        name: &'a str,
        kind: Kind<'a>,
        layer: u32,
    ) -> Result<Put, Lost> {
        let old = self.child(directory, name);
        if let Some(old) = old
            && let Some(node) = self.nodes.get_mut(index(old))
            && matches!((node.kind, kind), (Kind::Directory | Kind::Folded(_), Kind::Directory))
        {
            node.layer = layer;
            self.touch(old, layer);
            return Ok(Put { node: old, new: false, conflict: false, moved: false });
        }
        let id = u32::try_from(self.nodes.len()).ok().filter(|_| !self.full()).ok_or(Lost::Full)?;
        let found = old.and_then(|old| self.node(old));
        let conflict = found.is_some_and(|old| old.touched == layer);
        let moved = found.is_some_and(|old| !matches!(old.kind, Kind::File(_)));
        self.forget(directory, name);
        let before =
            self.nodes.get_mut(index(directory)).map_or(NONE, |node| std::mem::replace(&mut node.last, id));
        self.nodes.push(Node { name, parent: directory, touched: layer, layer, last: NONE, before, kind });
        let nodes = &self.nodes;
        let hash_of = |id: &Id| nodes.get(index(*id)).map_or(0, |node| hash(node.parent, node.name));
        self.names.insert_unique(hash(directory, name), id, hash_of);
        self.touch(directory, layer);
        Ok(Put { node: id, new: true, conflict, moved })
    }

    /// Takes a name out of a directory.
    fn forget(&mut self, directory: Id, name: &str) {
        let nodes = &self.nodes;
        let same =
            |id: &Id| nodes.get(index(*id)).is_some_and(|node| node.parent == directory && node.name == name);
        if let Ok(found) = self.names.find_entry(hash(directory, name), same) {
            found.remove();
        }
    }

    /// Marks a node and its parents. A parent is never marked with an older layer than its child.
    fn touch(&mut self, mut node: Id, layer: u32) {
        while let Some(found) = self.nodes.get_mut(index(node)) {
            if found.touched >= layer {
                return;
            }
            found.touched = layer;
            node = found.parent;
        }
    }

    /// Removes what layers below `layer` put at a node, itself included if asked, and below it.
    pub(super) fn remove_lower(&mut self, node: Id, layer: u32, itself: bool) {
        let Some(found) = self.node(node) else { return };
        if itself && found.touched < layer {
            let (parent, name) = (found.parent, found.name);
            self.forget(parent, name);
            return;
        }
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            if let Some(Kind::Folded(number)) = self.kind(at) {
                let lower = self.fold(number).is_some_and(|fold| fold.layer < layer);
                if let Some(node) = self.nodes.get_mut(index(at)).filter(|_| lower) {
                    node.kind = Kind::Directory;
                }
                continue;
            }
            let children: Vec<(Id, &'a str, bool)> =
                self.children(at).map(|(id, node)| (id, node.name, node.touched < layer)).collect();
            for (id, name, lower) in children {
                if lower {
                    self.forget(at, name);
                } else {
                    open.push(id);
                }
            }
        }
    }
}

/// How much of a path's budget is used.
#[derive(Default)]
struct Steps {
    links: usize,
    parts: usize,
}

impl Steps {
    /// Puts a symlink's target before what is still to be walked; gives the directory to go on from.
    fn follow<'p, 'a: 'p>(
        &mut self,
        work: &AtomicUsize,
        at: Id,
        target: &'a str,
        pending: &mut Vec<&'p str>,
    ) -> Result<Id, Lost> {
        let before = pending.len();
        pending.extend(target.rsplit('/'));
        let added = pending.len() - before;
        self.links += 1;
        self.parts += added;
        let work = work.fetch_add(added, Ordering::Relaxed) + added;
        if self.links > MAX_LINKS || self.parts > MAX_PARTS || work > MAX_WORK {
            return Err(Lost::TooManyLinks);
        }
        Ok(if target.starts_with('/') { ROOT } else { at })
    }
}
