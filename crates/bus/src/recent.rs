//! Artifacts that were used a short time ago. Their names stand for their content, so that a copy is never stale.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was stored or read last, in any form, up to so many bytes. Clones share it.
#[derive(Debug)]
pub struct Recent<T> {
    kept: Arc<Mutex<Kept<T>>>,
    most: usize,
}

#[derive(Debug)]
struct Kept<T> {
    by_name: HashMap<String, (usize, Arc<T>)>,
    /// Names, the oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl<T> Clone for Recent<T> {
    fn clone(&self) -> Self {
        Self { kept: Arc::clone(&self.kept), most: self.most }
    }
}

impl<T> Recent<T> {
    /// Keeps up to `most` bytes; nothing that is larger than an eighth of them.
    pub fn new(most: usize) -> Self {
        let kept = Kept { by_name: HashMap::new(), order: VecDeque::new(), bytes: 0 };
        Self { kept: Arc::new(Mutex::new(kept)), most }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was kept under a name, if it is still there.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        self.lock().by_name.get(name).map(|(_, value)| Arc::clone(value))
    }

    /// Keeps a value that counts as `size` bytes; the oldest make room.
    pub fn put(&self, name: &str, size: usize, value: Arc<T>) {
        let mut kept = self.lock();
        if size > self.most / 8 || kept.by_name.contains_key(name) {
            return;
        }
        kept.by_name.insert(name.to_owned(), (size, value));
        kept.order.push_back(name.to_owned());
        kept.bytes += size;
        while kept.bytes > self.most {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some((size, _)) = kept.by_name.remove(&oldest) {
                kept.bytes -= size;
            }
        }
    }

    /// Forgets a name.
    pub fn forget(&self, name: &str) {
        let mut kept = self.lock();
        if let Some((size, _)) = kept.by_name.remove(name) {
            kept.bytes -= size;
            kept.order.retain(|known| known != name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let recent = Recent::new(80);
        for n in 0..12u64 {
            recent.put(&n.to_string(), 10, Arc::new(n));
        }
        assert_eq!(recent.get("3"), None);
        assert_eq!(recent.get("4").as_deref(), Some(&4));
        recent.put("large", 11, Arc::new(99));
        assert_eq!(recent.get("large"), None);
        recent.forget("11");
        assert_eq!(recent.get("11"), None);
        recent.put("12", 10, Arc::new(12));
        assert_eq!(recent.get("4").as_deref(), Some(&4), "there was room");
    }
}
