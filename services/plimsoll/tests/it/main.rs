//! The program as people call it, and a whole deployment of it as child processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod apart;
mod attested;
mod clusters;
mod commands;
mod feeds;
mod fleet;
mod hostile;
mod input;
mod offline;
mod push;
mod rescan;
mod sboms;
mod scenarios;
mod seeds;
mod vex;
mod watch;
mod world;
