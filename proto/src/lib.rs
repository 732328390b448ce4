//! What travels between processes and what is stored as an artifact.
//!
//! The messages are generated from `proto/plimsoll/v1` by `just gen` and committed. Their JSON is proto3 JSON
//! (<https://protobuf.dev/programming-guides/json/>). [`convert`] turns them into the values of
//! `plimsoll-model` and back; what does not convert is an [`Invalid`].

pub mod convert;
pub mod statements;

/// The generated messages.
#[allow(clippy::all, clippy::pedantic, clippy::indexing_slicing, unreachable_pub, rustdoc::all)]
pub mod v1 {
    include!("gen/plimsoll.v1.rs");
    include!("gen/plimsoll.v1.serde.rs");
}

pub use convert::Invalid;
