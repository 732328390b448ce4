//! A named thread for one stream: it may block on a channel, which pool threads may not.

use tokio::sync::oneshot;
use tracing::Span;

use crate::cancel::{Cancel, CancelOnDrop};
use crate::pool::{RunError, guarded};

/// Runs `work` on a thread of its own called `name`, inside the caller's span. Cancelled with `parent`, and
/// when the returned future is dropped; the thread ends when `work` notices. The number of threads at once
/// is the caller's to bound (one for each slot).
pub async fn run<T, F>(name: &'static str, parent: &Cancel, work: F) -> Result<T, RunError>
where
    T: Send + 'static,
    F: FnOnce(&Cancel) -> T + Send + 'static,
{
    let cancel = parent.child();
    let caller = CancelOnDrop(cancel.clone());
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled { name });
    }
    let span = Span::current();
    let (answer, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || drop(answer.send(span.in_scope(|| guarded(name, &cancel, work)))))
        .map_err(|error| RunError::NoThread { name, message: error.to_string() })?;
    let outcome = result.await.unwrap_or(Err(RunError::Cancelled { name }));
    drop(caller);
    outcome
}
