//! Waiting for something to become true, with a bound and no fixed sleeps.

use std::future::Future;
use std::time::{Duration, Instant};

/// First pause between two looks; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The condition did not hold within its bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gave up waiting for {what} after {bound:?} and {looks} looks")]
pub struct WaitError {
    /// What was waited for, as the caller named it.
    pub what: String,
    /// The bound that was given.
    pub bound: Duration,
    /// How often the condition was looked at; at least one.
    pub looks: u32,
}

/// Looks at `check` until it says `true`, or fails once `bound` has passed.
///
/// The condition is looked at once at least, and once more after the bound has passed, so that a slow
/// machine fails only when the condition really does not hold. A single look is itself cut off at the
/// bound plus one second, so a `check` that hangs cannot hang the caller.
pub async fn until<F, Fut>(what: &str, bound: Duration, mut check: F) -> Result<(), WaitError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    until_some(what, bound, || {
        let look = check();
        async move { look.await.then_some(()) }
    })
    .await
}

/// As [`until`], for a condition that yields a value.
pub async fn until_some<T, F, Fut>(what: &str, bound: Duration, mut check: F) -> Result<T, WaitError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut looks = 0_u32;
    loop {
        let over = start.elapsed() >= bound;
        looks = looks.saturating_add(1);
        let rest = bound.saturating_sub(start.elapsed()).saturating_add(Duration::from_secs(1));
        if let Ok(Some(value)) = tokio::time::timeout(rest, check()).await {
            return Ok(value);
        }
        if over {
            return Err(WaitError { what: what.to_owned(), bound, looks });
        }
        tokio::time::sleep(pause.min(bound.saturating_sub(start.elapsed()))).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}
