#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bases;
mod orders;
mod outbox;
mod questions;
mod scenarios;
mod statements;
mod support;
