//! The entries of a layer in one piece of memory: a layer may have millions, and each by itself costs more than its
//! path does.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Entry, EntryKind};

/// Entries in the order in which they were pushed. At most 4 GiB of paths and targets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Each entry's path, and after it its target.
    text: String,
    places: Vec<Place>,
}

/// Where an entry's texts are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    path: u32,
    target: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    Other,
    Whiteout,
    Opaque,
}

impl Entries {
    /// Room for so many entries with so many bytes of paths and targets.
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), places: Vec::with_capacity(entries) }
    }

    /// Adds an entry at the end. False, and nothing added, if the texts would pass 4 GiB.
    pub fn push<T: AsRef<str>>(&mut self, entry: &Entry<T>) -> bool {
        let (path, target) = (entry.path.as_ref(), entry.kind.target().unwrap_or(""));
        let length = |text: &str| u32::try_from(text.len()).ok();
        let end = self.text.len().saturating_add(path.len()).saturating_add(target.len());
        let (Ok(start), Some(path_length), Some(target_length), Ok(_)) =
            (u32::try_from(self.text.len()), length(path), length(target), u32::try_from(end))
        else {
            return false;
        };
        let kind = match entry.kind {
            EntryKind::File => Kind::File,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink(_) => Kind::Symlink,
            EntryKind::Hardlink(_) => Kind::Hardlink,
            EntryKind::Other => Kind::Other,
            EntryKind::Whiteout => Kind::Whiteout,
            EntryKind::Opaque => Kind::Opaque,
        };
        self.text.push_str(path);
        self.text.push_str(target);
        self.places.push(Place { start, path: path_length, target: target_length, kind });
        true
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all paths and targets.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The entry at an index.
    pub fn get(&self, index: usize) -> Option<Entry<&str>> {
        self.places.get(index).map(|place| self.entry(place))
    }

    /// The path of the entry at an index; empty if there is none.
    pub fn path(&self, index: usize) -> &str {
        self.places.get(index).map_or("", |place| self.slice(place.start, place.path))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<&str>> + DoubleEndedIterator + Clone {
        self.places.iter().map(|place| self.entry(place))
    }

    /// The number of entries at the front for which `before` is true. Wants them partitioned by it.
    pub fn partition_point(&self, mut before: impl FnMut(Entry<&str>) -> bool) -> usize {
        self.places.partition_point(|place| before(self.entry(place)))
    }

    /// Gives back memory that further entries would take.
    pub fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn slice(&self, start: u32, length: u32) -> &str {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        self.text.get(start..end).unwrap_or("")
    }

    fn entry(&self, place: &Place) -> Entry<&str> {
        let target = || self.slice(place.start.saturating_add(place.path), place.target);
        let kind = match place.kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink => EntryKind::Symlink(target()),
            Kind::Hardlink => EntryKind::Hardlink(target()),
            Kind::Other => EntryKind::Other,
            Kind::Whiteout => EntryKind::Whiteout,
            Kind::Opaque => EntryKind::Opaque,
        };
        Entry { path: self.slice(place.start, place.path), kind }
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Entries beyond 4 GiB of texts are left out.
impl<T: AsRef<str>> FromIterator<Entry<T>> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry<T>>>(entries: I) -> Self {
        let mut all = Self::default();
        for entry in entries {
            if !all.push(&entry) {
                break;
            }
        }
        all.shrink_to_fit();
        all
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Entry>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_there() {
        let kinds = [
            EntryKind::File,
            EntryKind::Directory,
            EntryKind::Symlink("../ä".to_owned()),
            EntryKind::Hardlink(String::new()),
            EntryKind::Other,
            EntryKind::Whiteout,
            EntryKind::Opaque,
        ];
        let all: Vec<Entry> =
            kinds.into_iter().enumerate().map(|(n, kind)| Entry { path: format!("é/{n}"), kind }).collect();
        let entries: Entries = all.iter().cloned().collect();
        assert_eq!(entries.iter().map(|entry| entry.to_owned()).collect::<Vec<_>>(), all);
        assert_eq!((entries.len(), entries.path(2), entries.path(7)), (7, "é/2", ""));
        assert_eq!(entries.get(2).map(|entry| entry.kind), Some(EntryKind::Symlink("../ä")));
        assert_eq!(entries.partition_point(|entry| entry.path < "é/4"), 4);
        let json = serde_json::to_string(&entries).unwrap();
        assert_eq!(json, serde_json::to_string(&all).unwrap());
        assert_eq!(serde_json::from_str::<Entries>(&json).unwrap(), entries);
    }
}
