//! What the cluster has, as far as it was seen, and what of it the gateway has not been told.

use std::collections::{BTreeMap, BTreeSet};

use crate::reduce::{Key, Reduced};

/// A kind, everywhere or in one namespace: what one list and watch speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// Number of the kind.
    pub kind: u16,
    pub namespace: Option<Box<str>>,
}

impl Unit {
    /// True for objects that this unit lists. A namespace is inside of itself.
    pub fn covers(&self, key: &Key) -> bool {
        self.kind == key.kind && inside(self.namespace.as_deref(), key)
    }
}

fn inside(namespace: Option<&str>, key: &Key) -> bool {
    namespace.is_none_or(|namespace| {
        *key.namespace == *namespace || key.namespace.is_empty() && *key.name == *namespace
    })
}

/// An object, and whether the gateway may know of it.
#[derive(Debug)]
struct Entry {
    object: Reduced,
    told: bool,
}

/// The cluster as it was seen last. Objects are kept without what nobody reads, some hundred bytes each.
#[derive(Debug)]
pub struct View {
    objects: BTreeMap<Key, Entry>,
    /// To be told: created or changed.
    changed: BTreeSet<Key>,
    /// To be told: gone, as they were.
    gone: BTreeMap<Key, Reduced>,
    /// Refused by the gateway as they are.
    refused: BTreeSet<Key>,
    /// Namespaces that were ever seen.
    namespaces: BTreeSet<Box<str>>,
    /// Most changes that wait to be told one by one.
    most: usize,
    overflowed: bool,
}

impl View {
    /// An empty cluster, of which at most so many changes wait.
    pub fn new(most: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            changed: BTreeSet::new(),
            gone: BTreeMap::new(),
            refused: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            most,
            overflowed: false,
        }
    }

    /// Takes an object in, created or changed.
    pub fn apply(&mut self, object: Reduced) {
        let key = object.key.clone();
        let told = match self.objects.get(&key) {
            // What is told again in full stays the same bytes: only a new uid is news to whom orders by it.
            Some(known) if known.object.says_the_same(&object) => {
                if known.object.uid != object.uid {
                    let told = known.told;
                    self.objects.insert(key, Entry { object, told });
                }
                return;
            }
            Some(known) => known.told,
            None => self.gone.remove(&key).is_some(),
        };
        if !key.namespace.is_empty() && !self.namespaces.contains(&key.namespace) {
            self.namespaces.insert(key.namespace.clone());
        }
        self.refused.remove(&key);
        self.changed.insert(key.clone());
        self.objects.insert(key, Entry { object, told });
        self.bound();
    }

    /// Takes an object out.
    pub fn delete(&mut self, key: &Key) {
        let Some(entry) = self.objects.remove(key) else { return };
        self.changed.remove(key);
        let refused = self.refused.remove(key);
        if entry.told && !refused {
            self.gone.insert(key.clone(), entry.object);
        }
        self.bound();
    }

    /// Takes out what a unit has beside `seen`.
    pub fn retain(&mut self, unit: &Unit, seen: &BTreeSet<Key>) {
        let gone: Vec<Key> =
            self.keys_of(unit.kind).filter(|key| unit.covers(key) && !seen.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.delete(key));
    }

    fn keys_of(&self, kind: u16) -> impl Iterator<Item = &Key> {
        let first = Key { kind, namespace: "".into(), name: "".into() };
        self.objects.range(first..).map(|(key, _)| key).take_while(move |key| key.kind == kind)
    }

    /// Forgets what waits when that is too much: then all is told again. What is gone from no namespace is kept, since
    /// no telling of a namespace says so.
    fn bound(&mut self) {
        if self.changed.len() + self.gone.len() > self.most {
            self.changed.clear();
            self.gone.retain(|key, _| key.namespace.is_empty());
            self.overflowed = true;
        }
    }

    /// True, once, when changes were forgotten because too many waited.
    pub fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// True when something waits to be told.
    pub fn has_news(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// Changes that wait.
    pub fn waiting(&self) -> usize {
        self.changed.len() + self.gone.len()
    }

    /// Objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Objects that the gateway refused as they are.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Leaves an object out of what is told until it changes.
    pub fn refuse(&mut self, key: Key) {
        self.changed.remove(&key);
        self.refused.insert(key);
    }

    /// Takes the objects that changed off the list of what waits, in parts of about so many bytes.
    pub fn take_changed(&mut self, bytes: usize) -> Vec<Vec<Key>> {
        let changed = std::mem::take(&mut self.changed);
        self.parts(changed, bytes)
    }

    /// Every object, or every one of a namespace, in parts of about so many bytes.
    pub fn in_parts(&self, namespace: Option<&str>, bytes: usize) -> Vec<Vec<Key>> {
        self.parts(self.objects.keys().filter(|key| inside(namespace, key)).cloned(), bytes)
    }

    fn parts(&self, keys: impl IntoIterator<Item = Key>, bytes: usize) -> Vec<Vec<Key>> {
        let mut parts: Vec<Vec<Key>> = Vec::new();
        let mut left = 0;
        for key in keys {
            let size = self.objects.get(&key).map_or(0, |entry| entry.object.size());
            match parts.last_mut() {
                Some(part) if size <= left => {
                    part.push(key);
                    left -= size;
                }
                _ => {
                    parts.push(vec![key]);
                    left = bytes.saturating_sub(size);
                }
            }
        }
        parts
    }

    /// Objects that are gone and were told of, in parts of at most so many.
    pub fn gone(&self, most: usize) -> Vec<Vec<Key>> {
        let keys: Vec<Key> = self.gone.keys().cloned().collect();
        keys.chunks(most.max(1)).map(<[Key]>::to_vec).collect()
    }

    /// The document that tells these objects; none when all of them are gone or refused.
    pub fn document(&mut self, keys: &[Key]) -> Option<Vec<u8>> {
        let mut document = Document::default();
        for key in keys {
            if let Some(entry) = self.objects.get_mut(key).filter(|_| !self.refused.contains(key)) {
                entry.told = true;
                document.add(&entry.object);
            }
        }
        document.end()
    }

    /// The document that names objects that are gone; none when all of them are back.
    pub fn document_of_gone(&self, keys: &[Key]) -> Option<Vec<u8>> {
        let mut document = Document::default();
        keys.iter().filter_map(|key| self.gone.get(key)).for_each(|object| document.add(object));
        document.end()
    }

    /// These deletions were told.
    pub fn told_gone(&mut self, keys: &[Key]) {
        keys.iter().for_each(|key| drop(self.gone.remove(key)));
    }

    /// The document with everything, or with everything of a namespace: what waited of that no longer does.
    pub fn everything(&mut self, namespace: Option<&str>) -> Vec<u8> {
        let mut document = Document::default();
        for (key, entry) in &mut self.objects {
            if inside(namespace, key) && !self.refused.contains(key) {
                entry.told = true;
                document.add(&entry.object);
            }
        }
        self.changed.retain(|key| !inside(namespace, key));
        self.gone.retain(|key, _| !inside(namespace, key));
        document.end().unwrap_or_default()
    }

    /// About as many bytes as [`View::everything`] has, without a namespace.
    pub fn size(&self) -> usize {
        self.objects.values().map(|entry| entry.object.size()).sum()
    }

    /// Namespaces that have or had objects, or are one; and the objects that are in none, in parts of about so many
    /// bytes.
    pub fn namespaces(&self, namespace_kind: u16, bytes: usize) -> (BTreeSet<Box<str>>, Vec<Vec<Key>>) {
        let (mut names, mut outside) = (self.namespaces.clone(), Vec::new());
        for key in self.objects.keys().filter(|key| key.namespace.is_empty()) {
            if key.kind == namespace_kind {
                names.insert(key.name.clone());
            } else {
                outside.push(key.clone());
            }
        }
        (names, self.parts(outside, bytes))
    }

    /// The first object of a kind that is not refused.
    pub fn first(&self, kind: impl Fn(u16) -> bool) -> Option<Key> {
        self.objects.keys().find(|key| kind(key.kind) && !self.refused.contains(*key)).cloned()
    }
}

/// A List of objects.
#[derive(Default)]
struct Document(Vec<u8>);

impl Document {
    fn add(&mut self, object: &Reduced) {
        let before: &[u8] =
            if self.0.is_empty() { b"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[" } else { b"," };
        self.0.extend_from_slice(before);
        object.write(&mut self.0);
    }

    fn end(mut self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then(|| {
            self.0.extend_from_slice(b"]}");
            self.0
        })
    }
}
