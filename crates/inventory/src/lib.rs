//! What runs what: tags, digests, platforms, holders, workloads. Values in, values out; the store loads the rows.
//!
//! | module | question |
//! |---|---|
//! | [`tags`] | which digests are current in a repository? |
//! | [`platforms`] | which images are behind a digest? |
//! | [`running`] | which digest does a container run, and how do we know? |
//! | [`base`] | which images are others built on? |
//!
//! Invariant: every answer is a function of the set of facts, not of their order: the latest sequence wins, and a deletion
//! stays known, so that an older push that arrives late does not undo it.

pub mod base;
pub mod platforms;
pub mod running;
pub mod tags;

pub use platforms::{Known, images_behind};
pub use running::{Basis, Running, rollout, running};
pub use tags::{TagState, Tracking, current};
