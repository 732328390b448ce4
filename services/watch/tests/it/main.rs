//! The agent against an API server that misbehaves on request and a gateway that keeps what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod faults;
mod gateway;
mod reduce;
