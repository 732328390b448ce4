//! Labelled points at which crash tests kill a process, as `kill -9` would.
//!
//! `PLIMSOLL_KILL_AT=<label>[:<n>]` makes the n-th passage (default: the first) of the point end the process at
//! once with SIGKILL's effect: no destructor runs, nothing is flushed. Without the variable a point costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plan {
    label: String,
    left: AtomicU64,
}

fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    PLAN.get_or_init(|| {
        let text = std::env::var("PLIMSOLL_KILL_AT").ok()?;
        let (label, count) = match text.rsplit_once(':') {
            Some((label, count)) => (label.to_owned(), count.parse().unwrap_or(1)),
            None => (text, 1),
        };
        (!label.is_empty()).then(|| Plan { label, left: AtomicU64::new(count) })
    })
    .as_ref()
}

/// A point named `<part>.<place>`, e.g. `layer.recorded`.
pub fn point(part: &str, place: &str) {
    let Some(plan) = plan() else { return };
    let here = plan.label.strip_prefix(part).and_then(|rest| rest.strip_prefix('.')) == Some(place);
    if here && plan.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        tracing::warn!(part, place, "killed at a labelled point");
        std::process::abort();
    }
}
