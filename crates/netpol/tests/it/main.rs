//! Tests of the crate from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster_policies;
mod conformance;
mod effects;
mod exposure;
mod hostile;
mod live;
mod oracle;
mod semantics;
mod suggest;
