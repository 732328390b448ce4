//! Cancellation that CPU-bound work looks at between entries.

use tokio_util::sync::CancellationToken;

/// The caller has left, or the process drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A handle that work asks whether it should stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// A handle that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that is cancelled with this one, and alone as well.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Cancels this handle, its clones and its children.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// True once cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// `Err` once cancelled; for `?` between entries.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Resolves once cancelled.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// The token underneath, for `select!` and for tying it to a job's own token.
    pub fn token(&self) -> &CancellationToken {
        &self.0
    }
}

impl From<CancellationToken> for Cancel {
    fn from(token: CancellationToken) -> Self {
        Self(token)
    }
}

/// Cancels when dropped: what makes work notice that its caller has left.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
