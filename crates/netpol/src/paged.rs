//! Persistent lists: a copy shares every page with its original, and a change copies one page.
//!
//! A snapshot of a cluster is a handful of these, so that taking one costs a few reference counts whatever its size.

use std::sync::Arc;

/// Elements of a page: few, because a change that is scattered copies a page for each element.
const PAGE: usize = 16;

/// A list by position.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: Arc<Vec<Arc<Vec<T>>>>,
    len: usize,
}

impl<T> Clone for Paged<T> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages), len: self.len }
    }
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Arc::default(), len: 0 }
    }
}

impl<T: Clone> FromIterator<T> for Paged<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

impl<T> Paged<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

impl<T: Clone> Paged<T> {
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at >= self.len {
            return None;
        }
        Arc::make_mut(Arc::make_mut(&mut self.pages).get_mut(at / PAGE)?).get_mut(at % PAGE)
    }

    pub(crate) fn push(&mut self, item: T) {
        let pages = Arc::make_mut(&mut self.pages);
        match pages.last_mut() {
            Some(page) if page.len() < PAGE => Arc::make_mut(page).push(item),
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                pages.push(Arc::new(page));
            }
        }
        self.len += 1;
    }

    /// Puts an item at a position, with `blank` in any gap before it.
    pub(crate) fn put(&mut self, at: usize, item: T, blank: impl Fn() -> T) {
        while self.len <= at {
            self.push(blank());
        }
        if let Some(slot) = self.get_mut(at) {
            *slot = item;
        }
    }
}

/// Entries of a map in order of their keys.
type Page<K, V> = Vec<(Arc<K>, Arc<V>)>;

/// A map in order of its keys.
#[derive(Debug)]
pub(crate) struct SortedPages<K, V> {
    /// Never empty pages, ascending.
    pages: Arc<Vec<Arc<Page<K, V>>>>,
    len: usize,
}

impl<K, V> Clone for SortedPages<K, V> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages), len: self.len }
    }
}

impl<K, V> Default for SortedPages<K, V> {
    fn default() -> Self {
        Self { pages: Arc::default(), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SortedPages<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.entries().eq(other.entries())
    }
}

impl<K: Eq, V: Eq> Eq for SortedPages<K, V> {}

impl<K, V> SortedPages<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn entries(&self) -> impl Iterator<Item = &(Arc<K>, Arc<V>)> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.entries().map(|(key, value)| (key.as_ref(), value))
    }
}

impl<K: Ord, V> SortedPages<K, V> {
    /// From entries in any order; of equal keys the last wins.
    pub(crate) fn of(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let sorted: std::collections::BTreeMap<K, V> = entries.into_iter().collect();
        let len = sorted.len();
        let mut entries = sorted.into_iter().map(|(key, value)| (Arc::new(key), Arc::new(value)));
        let mut pages = Vec::with_capacity(len.div_ceil(PAGE));
        loop {
            let page: Vec<_> = entries.by_ref().take(PAGE).collect();
            if page.is_empty() {
                return Self { pages: Arc::new(pages), len };
            }
            pages.push(Arc::new(page));
        }
    }

    /// The page in which a key is or belongs.
    fn page(&self, key: &K) -> usize {
        let after = self.pages.partition_point(|page| page.first().is_some_and(|(first, _)| **first <= *key));
        after.saturating_sub(1)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        let page = self.pages.get(self.page(key))?;
        let found = page.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        page.get(found).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let at = self.page(&key);
        let pages = Arc::make_mut(&mut self.pages);
        let Some(page) = pages.get_mut(at) else {
            pages.push(Arc::new(vec![(Arc::new(key), Arc::new(value))]));
            self.len += 1;
            return;
        };
        let page = Arc::make_mut(page);
        match page.binary_search_by(|(known, _)| known.as_ref().cmp(&key)) {
            Ok(found) => {
                if let Some(slot) = page.get_mut(found) {
                    slot.1 = Arc::new(value);
                }
            }
            Err(place) => {
                page.insert(place, (Arc::new(key), Arc::new(value)));
                self.len += 1;
                if page.len() > 2 * PAGE {
                    let rest = page.split_off(PAGE);
                    pages.insert(at + 1, Arc::new(rest));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        let at = self.page(key);
        let found = self.pages.get(at)?.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        let pages = Arc::make_mut(&mut self.pages);
        let page = Arc::make_mut(pages.get_mut(at)?);
        let (_, value) = page.remove(found);
        if page.is_empty() {
            pages.remove(at);
        }
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    proptest::proptest! {
        #[test]
        fn sorted_pages_are_a_map(
            first in proptest::collection::vec((0u16..400, 0u8..9), 0..300),
            changes in proptest::collection::vec((0u16..400, proptest::option::of(0u8..9)), 0..600),
        ) {
            let mut map: BTreeMap<u16, u8> = first.iter().copied().collect();
            let mut pages = SortedPages::of(first);
            let kept = pages.clone();
            let before: Vec<_> = kept.iter().map(|(key, value)| (*key, **value)).collect();
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        map.insert(key, value);
                        pages.insert(key, value);
                    }
                    None => proptest::prop_assert_eq!(map.remove(&key), pages.remove(&key).map(|value| *value)),
                }
            }
            let listed: Vec<_> = pages.iter().map(|(key, value)| (*key, **value)).collect();
            proptest::prop_assert_eq!(listed.len(), pages.len());
            proptest::prop_assert!((0..400).all(|key| pages.get(&key).map(|value| **value) == map.get(&key).copied()));
            proptest::prop_assert_eq!(listed, map.into_iter().collect::<Vec<_>>());
            proptest::prop_assert_eq!(before, kept.iter().map(|(key, value)| (*key, **value)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_copy_does_not_see_changes() {
        let mut list: Paged<u32> = (0..200).collect();
        let kept = list.clone();
        if let Some(slot) = list.get_mut(130) {
            *slot = 7;
        }
        list.put(260, 9, || 0);
        assert_eq!(
            (kept.get(130), list.get(130), list.get(259), list.get(260)),
            (Some(&130), Some(&7), Some(&0), Some(&9))
        );
        assert_eq!((kept.len(), list.len(), list.iter().count()), (200, 261, 261));
    }
}
