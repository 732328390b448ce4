//! The runtime of a stage.
//!
//! A stage is values in, values out: it cannot publish and cannot acknowledge, so it cannot get the order wrong.
//! The runtime's order is: artifacts (by the stage, content-addressed), outputs recorded in the claim, outputs
//! published with the server's acknowledgement awaited, the message acknowledged and that confirmed.
//!
//! Recording the outputs and marking the claim done is one write: a message that comes again finds the claim done,
//! publishes the recorded outputs again and is acknowledged, which is what a separate state in between would do.

mod attempt;
mod context;
mod pull;
mod settle;

use std::time::Duration;

use async_trait::async_trait;

pub use context::Cx;
pub use pull::{Running, start};

use crate::claims::WorkKey;
use crate::connection::Outgoing;
use crate::subjects::Lane;

/// Where a stage takes its work from.
#[derive(Debug, Clone)]
pub struct Source {
    pub stream: &'static str,
    /// Name of the durable consumer.
    pub durable: String,
    /// Subjects of the consumer.
    pub filters: Vec<String>,
    pub lane: Lane,
}

impl Source {
    /// `jobs.<stage>.<lane>`, as the work queue has it.
    pub fn jobs(stage: &'static str, lane: Lane) -> Self {
        Self {
            stream: crate::subjects::JOBS,
            durable: format!("{stage}-{lane}"),
            filters: vec![crate::subjects::job(stage, lane)],
            lane,
        }
    }

    /// Subjects of another stream, in a lane.
    pub fn log(stream: &'static str, stage: &str, filters: &[&str], lane: Lane) -> Self {
        Self {
            stream,
            durable: format!("{stage}-{lane}"),
            filters: filters.iter().map(|&f| f.to_owned()).collect(),
            lane,
        }
    }
}

/// What guards the effect of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A leased claim: the work is dear, and no two workers should do it at once.
    Claim,
    /// The effect itself, which is idempotent and named by the work key (an artifact's name, a compare-and-set
    /// record, a fact's id): the work is cheap, and a claim would cost more writes than it saves.
    Effect,
}

/// Bounds of a stage.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Pieces of work at once in this process.
    pub slots: usize,
    /// Longest time of one attempt.
    pub deadline: Duration,
    /// Longest time without progress, outside of known gates.
    pub stall: Duration,
    /// Attempts until the work is a dead letter.
    pub attempts: u32,
    pub guard: Guard,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            slots: 8,
            deadline: Duration::from_secs(600),
            stall: Duration::from_secs(60),
            attempts: 6,
            guard: Guard::Effect,
        }
    }
}

/// How a piece of work fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed: the message comes back with a growing, jittered delay.
    Transient { code: &'static str, detail: String },
    /// No attempt can succeed: a dead letter with a stable code, then the facts that make it visible.
    Permanent { code: &'static str, detail: String },
    /// The work is not wanted any more; it ends without a trace.
    Superseded,
}

impl Failure {
    pub fn transient(code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Transient { code, detail: detail.to_string() }
    }

    pub fn permanent(code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Permanent { code, detail: detail.to_string() }
    }
}

impl From<crate::connection::BusError> for Failure {
    fn from(error: crate::connection::BusError) -> Self {
        match error {
            crate::connection::BusError::BadArtifact { .. } | crate::connection::BusError::Key(_) => {
                Self::permanent(error.code(), error)
            }
            other => Self::transient(other.code(), other),
        }
    }
}

impl From<plimsoll_proto::Invalid> for Failure {
    fn from(error: plimsoll_proto::Invalid) -> Self {
        Self::permanent("bad_message", error)
    }
}

/// What a stage may publish. The type is the permission.
pub trait Emit: Send + Sync + 'static {
    /// The messages, in order. `lane` is the lane of the work.
    fn messages(&self, lane: Lane) -> Vec<Outgoing>;
}

/// One stage.
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    /// Durable, span and metric label.
    const NAME: &'static str;
    /// Raised when the same input gives another output: earlier results are stale then.
    const REVISION: u32;
    /// Decoded work.
    type In: Send + Sync + 'static;
    /// The enum of all that this stage may publish.
    type Out: Emit;

    /// Where the work comes from; within a lane in this order.
    fn sources(&self) -> Vec<Source>;
    /// Decodes a message. The text of an error goes into the dead letter with the code `bad_message`.
    fn decode(&self, subject: &str, payload: &[u8]) -> Result<Self::In, String>;
    /// Identity of the work.
    fn key(&self, input: &Self::In) -> WorkKey;
    fn limits(&self) -> Limits;
    /// Does the work.
    async fn run(&self, cx: &Cx, input: &Self::In) -> Result<Self::Out, Failure>;
    /// Whether what an earlier attempt recorded still stands. Without it the claim is reopened and the work done
    /// anew: an artifact may have been collected since.
    async fn stands(&self, _cx: &Cx, _input: &Self::In) -> Result<bool, Failure> {
        Ok(true)
    }
    /// What makes a permanent failure visible; published after the dead letter.
    async fn failed(&self, _cx: &Cx, _input: &Self::In, _code: &str, _detail: &str) -> Option<Self::Out> {
        None
    }
}
