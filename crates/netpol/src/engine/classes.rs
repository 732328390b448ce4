//! Classes by what distinguishes them, and by label.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::atoms::PodAtom;

/// Everything that distinguishes pods to a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassKey {
    pub(super) namespace: u32,
    /// Labels whose keys selectors read, in order of key.
    pub(super) labels: Vec<(String, String)>,
    pub(super) ports: u32,
    pub(super) host_network: bool,
    /// Atoms of the blocks that may match pods.
    pub(super) addresses: Vec<PodAtom>,
}

/// The classes in use. A class keeps its number while it has a pod; numbers that became free are given out again only
/// after [`Classes::settle`], so that within one change a number means one class.
#[derive(Debug, Default)]
pub(super) struct Classes {
    keys: Vec<Option<Arc<ClassKey>>>,
    ids: FxHashMap<Arc<ClassKey>, u32>,
    /// Workloads and assumed peers, by class.
    users: Vec<Vec<u32>>,
    by_label: FxHashMap<String, FxHashMap<String, Vec<u32>>>,
    free: Vec<u32>,
    freed: Vec<u32>,
}

impl Classes {
    pub(super) fn key(&self, class: u32) -> Option<&Arc<ClassKey>> {
        self.keys.get(class as usize)?.as_ref()
    }

    pub(super) fn find(&self, key: &ClassKey) -> Option<u32> {
        self.ids.get(key).copied()
    }

    pub(super) fn users(&self, class: u32) -> &[u32] {
        self.users.get(class as usize).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn users_mut(&mut self, class: u32) -> Option<&mut Vec<u32>> {
        self.users.get_mut(class as usize)
    }

    /// Classes with a label.
    pub(super) fn labelled(&self, key: &str, value: &str) -> &[u32] {
        let found = self.by_label.get(key).and_then(|by_value| by_value.get(value));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// A number for a new class, without users.
    pub(super) fn add(&mut self, key: ClassKey) -> u32 {
        let key = Arc::new(key);
        let class = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            self.users.push(Vec::new());
            self.keys.len() as u32 - 1
        });
        self.index(&key, class);
        self.ids.insert(Arc::clone(&key), class);
        if let Some(slot) = self.keys.get_mut(class as usize) {
            *slot = Some(key);
        }
        class
    }

    fn index(&mut self, key: &ClassKey, class: u32) {
        for (label, value) in &key.labels {
            let by_value = match self.by_label.get_mut(label) {
                Some(by_value) => by_value,
                None => self.by_label.entry(label.clone()).or_default(),
            };
            match by_value.get_mut(value) {
                Some(list) => list.push(class),
                None => {
                    by_value.insert(value.clone(), vec![class]);
                }
            }
        }
    }

    fn forget(&mut self, key: &ClassKey, class: u32) {
        for (label, value) in &key.labels {
            let Some(by_value) = self.by_label.get_mut(label) else { continue };
            let Some(list) = by_value.get_mut(value) else { continue };
            if let Some(at) = list.iter().position(|known| *known == class) {
                list.swap_remove(at);
            }
            if list.is_empty() {
                by_value.remove(value);
            }
        }
    }

    /// Takes a class out.
    pub(super) fn remove(&mut self, class: u32) {
        let Some(key) = self.keys.get_mut(class as usize).and_then(Option::take) else { return };
        self.forget(&key, class);
        self.ids.remove(&key);
        self.freed.push(class);
    }

    /// Gives a class another key; nothing may have the new one.
    pub(super) fn rename(&mut self, class: u32, key: ClassKey) {
        let Some(old) = self.keys.get_mut(class as usize).and_then(Option::take) else { return };
        self.ids.remove(&old);
        let key = Arc::new(key);
        if key.labels != old.labels {
            self.forget(&old, class);
            self.index(&key, class);
        }
        self.ids.insert(Arc::clone(&key), class);
        if let Some(slot) = self.keys.get_mut(class as usize) {
            *slot = Some(key);
        }
    }

    /// Numbers that became free may be given out again.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }
}
