//! Readiness of the parts of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The parts of this process and why those that are not ready are not. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Declares a part that is not ready yet.
    pub fn starting(&self, part: &str) {
        self.set(part, Some("starting".into()));
    }

    /// Says that a part is ready.
    pub fn ready(&self, part: &str) {
        self.set(part, None);
    }

    /// Says why a part is not ready.
    pub fn failing(&self, part: &str, reason: impl Into<String>) {
        self.set(part, Some(reason.into()));
    }

    fn set(&self, part: &str, state: Option<String>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), state);
    }

    /// The parts that are not ready, with their reasons; empty when all are.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter_map(|(part, state)| state.clone().map(|reason| (part.clone(), reason))).collect()
    }
}
