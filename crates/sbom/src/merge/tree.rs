//! The merged file system: an arena of nodes, each with the latest layer that put something in its subtree. Layers
//! count from 1 here; the root is of layer 0.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{MAX_LINKS, MAX_PARTS, MAX_WORK};

pub(super) const ROOT: usize = 0;

/// A path leads through more symlinks than are followed: most likely a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyLinks;

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Directory(BTreeMap<&'a str, usize>),
    Symlink(&'a str),
    /// A file, device and the like; the index of its kept content.
    File(Option<usize>),
}

impl Kind<'_> {
    pub(super) fn directory() -> Self {
        Self::Directory(BTreeMap::new())
    }
}

#[derive(Debug)]
struct Node<'a> {
    name: &'a str,
    parent: usize,
    /// The latest layer that has an entry here or below.
    touched: usize,
    /// The layer that has the entry itself.
    layer: usize,
    kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// Path segments that symlinks added so far.
    work: AtomicUsize,
}

/// What walking to a directory met.
pub(super) struct Walked {
    pub(super) directory: usize,
    /// Path of a symlink of a lower layer that was followed.
    pub(super) lower_symlink: Option<String>,
    /// Path of a file that gave way to a directory.
    pub(super) replaced: Option<String>,
}

/// What putting an entry did.
pub(super) struct Put {
    pub(super) node: usize,
    /// What was there came from the same layer.
    pub(super) conflict: bool,
    /// What was there was a directory or a symlink: paths lead elsewhere now.
    pub(super) moved: bool,
}

impl<'a> Tree<'a> {
    /// An empty tree, with room for so many entries: growing by doubling would hold them three times over.
    pub(super) fn with_room_for(entries: usize) -> Self {
        let root = Node { name: "", parent: ROOT, touched: 0, layer: 0, kind: Kind::directory() };
        let mut nodes = Vec::with_capacity(entries + 1);
        nodes.push(root);
        Self { nodes, work: AtomicUsize::new(0) }
    }

    /// True once symlinks have used up the work that one image may cause: from then on none is followed.
    pub(super) fn exhausted(&self) -> bool {
        self.work.load(Ordering::Relaxed) > MAX_WORK
    }

    pub(super) fn kind(&self, node: usize) -> Option<&Kind<'a>> {
        self.nodes.get(node).map(|node| &node.kind)
    }

    pub(super) fn child(&self, directory: usize, name: &str) -> Option<usize> {
        match self.kind(directory)? {
            Kind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    /// The directories in a directory, sorted by name, each with the layer that it is of.
    pub(super) fn directories(&self, directory: usize) -> impl Iterator<Item = (&'a str, usize)> {
        let children = match self.kind(directory) {
            Some(Kind::Directory(children)) => Some(children),
            _ => None,
        };
        children.into_iter().flatten().filter_map(|(name, child)| {
            let node = self.nodes.get(*child)?;
            matches!(node.kind, Kind::Directory(_)).then_some((*name, node.layer))
        })
    }

    fn parent(&self, node: usize) -> usize {
        self.nodes.get(node).map_or(ROOT, |node| node.parent)
    }

    /// The path of a node that is in the tree.
    pub(super) fn path(&self, mut node: usize) -> String {
        let mut parts = Vec::new();
        while node != ROOT {
            let Some(found) = self.nodes.get(node) else { break };
            parts.push(found.name);
            node = found.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// The directory at a path, symlinks followed; `None` if there is none.
    pub(super) fn find(&self, path: &str) -> Result<Option<usize>, TooManyLinks> {
        let mut pending: Vec<&str> = path.rsplit('/').collect();
        let (mut at, mut steps) = (ROOT, Steps::default());
        while let Some(part) = pending.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    at = self.parent(at);
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.child(at, part) else { return Ok(None) };
            match self.kind(child) {
                Some(Kind::Directory(_)) => at = child,
                Some(Kind::Symlink(target)) => {
                    at = steps.follow(&self.work, at, target, &mut pending)?;
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The directory at a path, symlinks followed, made where it is missing.
    pub(super) fn make_parents(&mut self, path: &'a str, layer: usize) -> Result<Walked, TooManyLinks> {
        let mut pending: Vec<&'a str> = path.rsplit('/').collect();
        let (mut at, mut steps) = (ROOT, Steps::default());
        let (mut lower_symlink, mut replaced) = (None, None);
        while let Some(part) = pending.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    at = self.parent(at);
                    continue;
                }
                _ => {}
            }
            let child = self.child(at, part);
            match child.and_then(|child| self.nodes.get(child)).map(|node| (&node.kind, node.layer)) {
                Some((Kind::Directory(_), _)) => at = child.unwrap_or(ROOT),
                Some((Kind::Symlink(target), placed)) => {
                    let target = *target;
                    if placed < layer && lower_symlink.is_none() {
                        lower_symlink = child.map(|child| self.path(child));
                    }
                    at = steps.follow(&self.work, at, target, &mut pending)?;
                }
                Some((Kind::File(_), _)) => {
                    replaced = child.map(|child| self.path(child));
                    at = self.put(at, part, Kind::directory(), layer).node;
                }
                None => at = self.put(at, part, Kind::directory(), layer).node,
            }
        }
        Ok(Walked { directory: at, lower_symlink, replaced })
    }

    /// Puts an entry into a directory, over what is there.
    pub(super) fn put(&mut self, directory: usize, name: &'a str, kind: Kind<'a>, layer: usize) -> Put {
        let old = self.child(directory, name);
        if let Some(old) = old
            && let Some(node) = self.nodes.get_mut(old)
            && matches!((&node.kind, &kind), (Kind::Directory(_), Kind::Directory(_)))
        {
            node.layer = layer;
            self.touch(old, layer);
            return Put { node: old, conflict: false, moved: false };
        }
        let old = old.and_then(|old| self.nodes.get(old));
        let conflict = old.is_some_and(|old| old.touched == layer);
        let moved = old.is_some_and(|old| !matches!(old.kind, Kind::File(_)));
        let id = self.nodes.len();
        self.nodes.push(Node { name, parent: directory, touched: layer, layer, kind });
        if let Some(Node { kind: Kind::Directory(children), .. }) = self.nodes.get_mut(directory) {
            children.insert(name, id);
        }
        self.touch(directory, layer);
        Put { node: id, conflict, moved }
    }

    /// Marks a node and its parents. A parent is never marked with an older layer than its child.
    fn touch(&mut self, mut node: usize, layer: usize) {
        while let Some(found) = self.nodes.get_mut(node) {
            if found.touched >= layer {
                return;
            }
            found.touched = layer;
            node = found.parent;
        }
    }

    /// Removes what layers below `layer` put at a node, itself included if asked, and below it.
    pub(super) fn remove_lower(&mut self, node: usize, layer: usize, itself: bool) {
        let Some(found) = self.nodes.get(node) else { return };
        if itself && found.touched < layer {
            let (parent, name) = (found.parent, found.name);
            if let Some(Node { kind: Kind::Directory(children), .. }) = self.nodes.get_mut(parent) {
                children.remove(name);
            }
            return;
        }
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            let children = match self.nodes.get_mut(at) {
                Some(Node { kind: Kind::Directory(children), .. }) => std::mem::take(children),
                _ => continue,
            };
            let kept: BTreeMap<&str, usize> = children
                .into_iter()
                .filter(|(_, child)| self.nodes.get(*child).is_some_and(|child| child.touched >= layer))
                .collect();
            open.extend(kept.values());
            if let Some(node) = self.nodes.get_mut(at) {
                node.kind = Kind::Directory(kept);
            }
        }
    }

    /// Calls `found` with every kept content in the tree and its path.
    pub(super) fn each_content(&self, mut found: impl FnMut(usize, &str)) {
        let mut path = String::new();
        let mut open: Vec<(usize, usize)> = vec![(ROOT, 0)];
        while let Some((node, length)) = open.pop() {
            path.truncate(length);
            let Some(node) = self.nodes.get(node) else { continue };
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(node.name);
            match &node.kind {
                Kind::Directory(children) => {
                    open.extend(children.values().rev().map(|&child| (child, path.len())));
                }
                Kind::File(Some(content)) => found(*content, &path),
                Kind::File(None) | Kind::Symlink(_) => {}
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
        at: usize,
        target: &'a str,
        pending: &mut Vec<&'p str>,
    ) -> Result<usize, TooManyLinks> {
        let before = pending.len();
        pending.extend(target.rsplit('/'));
        let added = pending.len() - before;
        self.links += 1;
        self.parts += added;
        let work = work.fetch_add(added, Ordering::Relaxed) + added;
        if self.links > MAX_LINKS || self.parts > MAX_PARTS || work > MAX_WORK {
            return Err(TooManyLinks);
        }
        Ok(if target.starts_with('/') { ROOT } else { at })
    }
}
