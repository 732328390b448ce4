//! Tests of the crate from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster_policies;
mod conformance;
mod e2e;
mod effects;
mod exposure;
mod features;
mod findings;
mod formats;
mod hostile;
mod judge;
mod live;
mod mutated;
mod nodes;
mod odd;
mod oracle;
mod semantics;
mod suggest;
