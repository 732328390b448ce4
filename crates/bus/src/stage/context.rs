//! What a stage is given beside its input.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use plimsoll_model::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::connection::Bus;
use crate::subjects::Lane;

/// Context of one attempt: artifacts, progress, cancellation. It can neither publish nor acknowledge.
#[derive(Clone)]
pub struct Cx {
    pub(crate) artifacts: Artifacts,
    pub(crate) lane: Lane,
    pub(crate) progress: Arc<AtomicU64>,
    pub(crate) gates: Arc<AtomicUsize>,
    pub(crate) cancel: CancellationToken,
    pub(crate) published: Timestamp,
    pub(crate) stream_seq: u64,
    pub(crate) attempt: u32,
    pub(crate) trace: String,
}

impl Cx {
    pub(crate) fn new(
        bus: &Bus,
        lane: Lane,
        published: Timestamp,
        stream_seq: u64,
        attempt: u32,
        trace: String,
    ) -> Self {
        Self {
            artifacts: bus.artifacts(),
            lane,
            progress: Arc::default(),
            gates: Arc::default(),
            cancel: CancellationToken::new(),
            published,
            stream_seq,
            attempt,
            trace,
        }
    }

    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// Lane of the work; what it causes goes into the same.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The server's time of the message that asked for the work.
    pub fn published(&self) -> Timestamp {
        self.published
    }

    /// Sequence of that message in its stream.
    pub fn stream_seq(&self) -> u64 {
        self.stream_seq
    }

    /// Number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// W3C `traceparent` of the attempt's span.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Says that work moved on. Without it for the stall limit, the attempt ends.
    pub fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// The counter behind [`Cx::progress`], for threads that outlive a borrow.
    pub fn progress_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Declares a wait at a known gate (CPU queue, byte budget, rate limit) while the guard lives.
    pub fn gate(&self) -> Gate {
        self.gates.fetch_add(1, Ordering::Relaxed);
        Gate(Arc::clone(&self.gates))
    }

    /// Ends when the attempt is given up.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }
}

/// A wait at a known gate; it counts as progress.
pub struct Gate(Arc<AtomicUsize>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
