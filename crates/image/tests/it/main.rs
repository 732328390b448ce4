#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fake;
mod layer;
mod manifest;
mod push;
mod registry;
mod source;
mod transfer;
