//! The orders against tables and against the laws of a total order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod laws;
mod lines;
mod maven;
mod tables;
