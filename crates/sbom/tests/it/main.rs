#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The crate from outside: merging against a reference, images as Extracts, documents out and in.

mod documents;
mod images;
mod layers;
mod native;
mod secrets;
mod xml;
