//! The clauses of "Runtime of a stage" and "Runtime of a fold", each against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod attempts;
mod claims;
mod folds;
mod kills;
mod lanes;
mod outage;
mod parts;
mod publishing;
mod support;
mod sweeping;
mod toy;
