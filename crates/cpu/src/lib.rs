//! The bridge between tokio and rayon, and the byte budget.
//!
//! Work that burns processor time never runs on a runtime thread: it goes through one named function,
//! [`Pool::run`], which carries the caller's span along, counts what waits and what runs, drops work whose
//! caller has left before it starts, and turns a panic into an error. A stream that has to block between
//! reads gets a thread of its own ([`thread::run`]) and hands whole in-memory entries to the pool
//! ([`Pool::submit`]). Memory is bounded by [`ByteBudget`].
//!
//! Work given to the pool must not block on input and must not hold a lock.

pub mod budget;
pub mod cancel;
pub mod pool;
pub mod thread;

pub use budget::{BudgetError, ByteBudget, Permit};
pub use cancel::{Cancel, Cancelled};
pub use pool::{Gauges, Pool, PoolError, RunError, Ticket};
