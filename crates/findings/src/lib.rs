//! The identity and life of a finding, and the plan of actions. Pure: what is there × what should be there -> changes.
//!
//! | module | what |
//! |---|---|
//! | [`id`] | a finding's key -> its stable id |
//! | [`mod@desired`] | what a holder has now -> the findings that should be open for it |
//! | [`suppress`] | statements (VEX, ignore rules) -> whether a match stands |
//! | [`mod@network`] | what changes of a cluster brought about for connections -> findings |
//! | [`mod@transition`] | one finding × what should be -> the finding and its change, if any |
//! | [`rollup`] | changes of one cause -> messages, and the subjects they are published under |
//! | [`mod@plan`] | open findings -> the actions that remove most risk first |
//!
//! Invariant: the findings that should be open are a function of the present state; how it came about only decides
//! times, revisions and which changes were told.

pub mod desired;
pub mod id;
pub mod network;
pub mod plan;
pub mod rollup;
pub mod suppress;
pub mod transition;

pub use desired::{Desired, Desires, HeldMatch, HolderView, desired};
pub use id::finding_id;
pub use plan::{PlanFinding, RebuildCandidate, RolloutCandidate, plan};
pub use rollup::{MAX_CHANGES, Part, advisory_sentence, encode_token, roll_up, subject, subject_of};
pub use suppress::Statements;
pub use transition::{Gone, Origin, Outcome, Transition, transition};
