//! The crate from outside: feeds on disk become a Db, and components are matched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod channels;
mod damage;
mod demo;
mod difference;
mod feeds;
mod formats;
mod rules;
mod shared;
mod support;
mod tables;
