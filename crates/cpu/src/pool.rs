//! The rayon pool behind a bounded queue.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::{Semaphore, oneshot};
use tracing::Span;

use crate::cancel::{Cancel, CancelOnDrop, Cancelled};

/// Pieces of work that may be queued for each thread before callers wait.
const QUEUE_PER_THREAD: usize = 8;

/// Why work gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Its caller left or cancelled before it started.
    #[error("{name} was cancelled before it started")]
    Cancelled { name: &'static str },
    /// It panicked; the pool goes on.
    #[error("{name} panicked: {message}")]
    Panicked { name: &'static str, message: String },
    /// The operating system gave no thread.
    #[error("no thread for {name}: {message}")]
    NoThread { name: &'static str, message: String },
}

/// The pool could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the pool of {threads} threads could not be started: {message}")]
pub struct PoolError {
    threads: usize,
    message: String,
}

/// What the pool is doing, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Callers that wait for a place in the queue.
    pub waiting: usize,
    /// Queued and not started.
    pub queued: usize,
    /// Running on a thread.
    pub running: usize,
    /// Threads of the pool.
    pub threads: usize,
}

/// A pool of threads for CPU-bound work. Cheap to clone. Build it before the runtime, so that its threads
/// inherit no runtime context.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    rayon: rayon::ThreadPool,
    places: Arc<Semaphore>,
    threads: usize,
    waiting: AtomicUsize,
    queued: AtomicUsize,
    running: AtomicUsize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("gauges", &self.gauges()).finish()
    }
}

impl Pool {
    /// A pool of `threads` threads (0 means one for each processor), with a queue of eight places a thread.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        };
        Self::with_queue(threads, threads.saturating_mul(QUEUE_PER_THREAD))
    }

    /// A pool in which `queue` pieces of work may wait beside those that run.
    pub fn with_queue(threads: usize, queue: usize) -> Result<Self, PoolError> {
        let threads = threads.max(1);
        let rayon = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("cpu-{n}"))
            .build()
            .map_err(|error| PoolError { threads, message: error.to_string() })?;
        let places = threads.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            inner: Arc::new(Inner {
                rayon,
                places: Arc::new(Semaphore::new(places)),
                threads,
                waiting: AtomicUsize::new(0),
                queued: AtomicUsize::new(0),
                running: AtomicUsize::new(0),
            }),
        })
    }

    /// What waits and what runs, for metrics.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            waiting: self.inner.waiting.load(Ordering::Relaxed),
            queued: self.inner.queued.load(Ordering::Relaxed),
            running: self.inner.running.load(Ordering::Relaxed),
            threads: self.inner.threads,
        }
    }

    /// Runs `work` on the pool and gives its result. Waits while the queue is full. When the returned future
    /// is dropped, work that has not started never starts, and work that has is told through its [`Cancel`].
    pub async fn run<T, F>(&self, name: &'static str, work: F) -> Result<T, RunError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        self.run_under(name, &Cancel::new(), work).await
    }

    /// As [`Pool::run`], cancelled with `parent` as well.
    pub async fn run_under<T, F>(&self, name: &'static str, parent: &Cancel, work: F) -> Result<T, RunError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let cancel = parent.child();
        let caller = CancelOnDrop(cancel.clone());
        let place = {
            let _waiting = Count::up(&self.inner, |inner| &inner.waiting);
            tokio::select! {
                place = Arc::clone(&self.inner.places).acquire_owned() => place,
                () = parent.cancelled() => return Err(RunError::Cancelled { name }),
            }
        };
        // The semaphore is never closed; if it were, nobody could run anything.
        let Ok(place) = place else { return Err(RunError::Cancelled { name }) };
        let (answer, result) = oneshot::channel();
        self.inner.spawn(name, cancel, Some(place), work, move |outcome| {
            // The caller may have left, and then nobody wants the answer.
            drop(answer.send(outcome));
        });
        let outcome = result.await.unwrap_or(Err(RunError::Cancelled { name }));
        drop(caller);
        outcome
    }

    /// Hands one in-memory piece of work to the pool from a plain thread, without waiting: when the queue is
    /// full the work runs on the calling thread, which slows the producer down to what the pool can take.
    /// Dropping the ticket cancels work that has not started.
    pub fn submit<T, F>(&self, name: &'static str, parent: &Cancel, work: F) -> Ticket<T>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let cancel = parent.child();
        let (answer, result) = mpsc::sync_channel(1);
        let caller = CancelOnDrop(cancel.clone());
        let finish = move |outcome| drop(answer.send(outcome));
        match Arc::clone(&self.inner.places).try_acquire_owned() {
            Ok(place) => self.inner.spawn(name, cancel, Some(place), work, finish),
            Err(_) => finish(self.inner.work(name, &cancel, work)),
        }
        Ticket { name, result, _caller: caller }
    }
}

impl Inner {
    fn spawn<T, F>(
        self: &Arc<Self>,
        name: &'static str,
        cancel: Cancel,
        place: Option<tokio::sync::OwnedSemaphorePermit>,
        work: F,
        finish: impl FnOnce(Result<T, RunError>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let span = Span::current();
        let queued = Count::up(self, |inner| &inner.queued);
        let inner = Arc::clone(self);
        self.rayon.spawn(move || {
            drop(queued);
            let outcome = span.in_scope(|| inner.work(name, &cancel, work));
            // The place is given back first: whoever gets the answer sees the queue as it is then.
            drop(place);
            finish(outcome);
        });
    }

    fn work<T, F>(self: &Arc<Self>, name: &'static str, cancel: &Cancel, work: F) -> Result<T, RunError>
    where
        F: FnOnce(&Cancel) -> T,
    {
        if cancel.check() == Err(Cancelled) {
            return Err(RunError::Cancelled { name });
        }
        let _running = Count::up(self, |inner| &inner.running);
        guarded(name, cancel, work)
    }
}

/// Runs `work`, turning a panic into an error.
pub(crate) fn guarded<T, F>(name: &'static str, cancel: &Cancel, work: F) -> Result<T, RunError>
where
    F: FnOnce(&Cancel) -> T,
{
    catch_unwind(AssertUnwindSafe(|| work(cancel))).map_err(|payload| {
        let message = panic_message(payload.as_ref());
        tracing::error!(work = name, message, "work panicked");
        RunError::Panicked { name, message }
    })
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    text.chars().take(500).collect()
}

/// Work that was handed to the pool from a plain thread.
#[derive(Debug)]
pub struct Ticket<T> {
    name: &'static str,
    result: mpsc::Receiver<Result<T, RunError>>,
    _caller: CancelOnDrop,
}

impl<T> Ticket<T> {
    /// Blocks until the work is done. Never call it from a runtime thread or from the pool.
    pub fn wait(self) -> Result<T, RunError> {
        self.result.recv().unwrap_or(Err(RunError::Cancelled { name: self.name }))
    }
}

/// Adds one to a gauge for as long as it lives.
struct Count {
    inner: Arc<Inner>,
    which: fn(&Inner) -> &AtomicUsize,
}

impl Count {
    fn up(inner: &Arc<Inner>, which: fn(&Inner) -> &AtomicUsize) -> Self {
        which(inner).fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::clone(inner), which }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        (self.which)(&self.inner).fetch_sub(1, Ordering::Relaxed);
    }
}
