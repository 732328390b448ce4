//! Layers become Extracts.

mod archive;
mod entries;
mod go_binaries;
mod hostile;
mod oracles;
mod streaming;
