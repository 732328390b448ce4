//! NATS JetStream: subjects, streams, claims, artifacts; the runtimes of stages and folds.
//!
//! | module | what it owns |
//! |---|---|
//! | [`subjects`] | the names of streams, subjects and buckets, and how tokens are encoded |
//! | [`topology`] | the configuration of streams and buckets, by durability mode |
//! | [`connection`] | the connection, publishing with de-duplication, requests |
//! | [`records`] | key-value records changed by compare-and-set, read from the leader |
//! | [`artifacts`] | content-addressed bytes of any size |
//! | [`recent`] | artifacts that were used a short time ago |
//! | [`claims`] | who does a piece of work |
//! | [`stage`] | the runtime of a stage: pull, claim, heartbeat, retry, dead letter |
//! | [`fold`] | the runtime of a fold: a log, a leased owner, a checkpoint |
//! | [`batches`] | pulling facts in batches, for the aggregator |
//! | [`tail`] | reading a stream from a point on, for subscribers |
//! | [`service`] | questions and answers between roles |
//! | [`dead`] | dead letters and the sweeper behind `max_deliver` |
//! | [`fault`] | labelled points at which tests kill a process |
//!
//! JetStream's measured behaviour, on which these rest: an un-acknowledged message returns after `ack_wait`;
//! de-duplication by `Nats-Msg-Id` is stream-wide and only a help; a work queue keeps a message that has reached
//! `max_deliver` and says so only with the next pull.

pub mod artifacts;
pub mod batches;
pub mod claims;
pub mod connection;
pub mod dead;
pub mod fault;
pub mod fold;
pub mod recent;
pub mod records;
pub mod service;
pub mod stage;
pub mod subjects;
pub mod tail;
pub mod topology;

pub use artifacts::Artifacts;
pub use connection::{Bus, BusError, Login, Outgoing, Settings};
pub use records::{Record, Records};
pub use stage::{Cx, Emit, Failure, Guard, Limits, Source, Stage};
pub use topology::Durability;
