//! A bound on the bytes that are in memory at once, over all streams.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cancel::{Cancel, Cancelled};

/// The budget counts in units of this many bytes.
const UNIT: u64 = 1024;

/// A reservation that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// More than the whole budget: waiting would never end.
    #[error("{wanted} bytes are more than the whole budget of {capacity}")]
    TooLarge { wanted: u64, capacity: u64 },
    /// Cancelled while waiting.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// So many bytes, shared fairly in order of asking. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    capacity: u32,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    inner: OwnedSemaphorePermit,
}

impl Permit {
    /// Bytes reserved, rounded up to whole KiB.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.inner.num_permits()).unwrap_or(u64::MAX).saturating_mul(UNIT)
    }
}

impl ByteBudget {
    /// A budget of `bytes`, rounded up to whole KiB; at most 4 TiB.
    pub fn new(bytes: u64) -> Self {
        let capacity = units(bytes).unwrap_or(u32::MAX);
        // 32 bits of permits are far below the semaphore's own limit on 64-bit machines.
        let permits = usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(permits)), capacity }
    }

    /// The whole budget in bytes.
    pub fn capacity(&self) -> u64 {
        u64::from(self.capacity).saturating_mul(UNIT)
    }

    /// Bytes that nobody has reserved.
    pub fn available(&self) -> u64 {
        u64::try_from(self.free.available_permits()).unwrap_or(u64::MAX).saturating_mul(UNIT)
    }

    /// Waits until `bytes` are free and reserves them. Whoever already holds a permit and waits for another
    /// may wait for itself: reserve a stream's window once and its entries one at a time.
    pub async fn reserve(&self, bytes: u64) -> Result<Permit, BudgetError> {
        let units = self.checked(bytes)?;
        match Arc::clone(&self.free).acquire_many_owned(units).await {
            Ok(inner) => Ok(Permit { inner }),
            Err(_) => Err(BudgetError::Cancelled(Cancelled)),
        }
    }

    /// Reserves `bytes` if they are free now.
    pub fn try_reserve(&self, bytes: u64) -> Option<Permit> {
        let units = self.checked(bytes).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(units).ok().map(|inner| Permit { inner })
    }

    /// As [`ByteBudget::reserve`], blocking a plain thread; gives up when `cancel` is cancelled.
    pub fn reserve_blocking(&self, bytes: u64, cancel: &Cancel) -> Result<Permit, BudgetError> {
        block_on(async {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(BudgetError::Cancelled(Cancelled)),
                permit = self.reserve(bytes) => permit,
            }
        })
    }

    fn checked(&self, bytes: u64) -> Result<u32, BudgetError> {
        match units(bytes) {
            Some(units) if units <= self.capacity => Ok(units),
            _ => Err(BudgetError::TooLarge { wanted: bytes, capacity: self.capacity() }),
        }
    }
}

fn units(bytes: u64) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT)).ok()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread. The futures here wait on semaphores and tokens only, which need no reactor.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
