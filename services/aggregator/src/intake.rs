//! Events and facts into the store, in batches: one transaction a batch, acknowledged after the commit.

use std::time::Duration;

use plimsoll_bus::batches::{Batches, Received};
use plimsoll_bus::connection::message_id;
use plimsoll_bus::{fault, subjects};
use plimsoll_model::digest::Digest;
use plimsoll_model::fact::{Fact, FactBody, ImageDeleted, ImagePushed};
use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_proto::{Invalid, v1};
use plimsoll_telemetry::trace;
use prost::Message;
use tracing::Instrument;

use crate::Aggregator;

/// Facts of one transaction at most.
const BATCH: usize = 256;
/// Name of the durable consumers.
pub(crate) const DURABLE: &str = "aggregator";
/// The facts that the store takes.
pub(crate) const FACTS: [&str; 6] = [
    subjects::FACT_MANIFEST,
    subjects::FACT_READY,
    subjects::FACT_RESOLVED,
    subjects::FACT_IMAGE,
    subjects::FACT_EXPOSURE,
    subjects::FACT_MATCH,
];
/// The events that the store takes.
pub(crate) const EVENTS: [&str; 2] = [subjects::IMAGE_PUSHED, subjects::IMAGE_DELETED];

/// Takes facts until the role ends.
pub async fn facts(aggregator: Aggregator) -> Result<(), ProcessError> {
    pump(aggregator, subjects::FACTS, &FACTS).await
}

/// Takes what registries announced until the role ends.
pub async fn events(aggregator: Aggregator) -> Result<(), ProcessError> {
    pump(aggregator, subjects::EVENTS, &EVENTS).await
}

async fn pump(aggregator: Aggregator, stream: &'static str, filters: &[&str]) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let batches = Batches::open(&aggregator.role.bus, stream, DURABLE, filters).await?;
    while !stop.is_cancelled() {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = batches.next(BATCH, Duration::from_secs(5)) => received,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(stream, %error, "cannot read facts");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        if received.is_empty() {
            continue;
        }
        let mut facts = Vec::with_capacity(received.len());
        for message in &received {
            match decode(message) {
                Ok(fact) => facts.push(fact),
                // It will not decode the next time either; the stream keeps it for whoever looks.
                Err(error) => {
                    tracing::error!(stream, seq = message.stream_seq, %error, "a fact was passed over")
                }
            }
        }
        fault::point("aggregator", "received");
        let span = tracing::info_span!("commit", otel.name = "aggregator", facts = facts.len());
        if let Some(first) = facts.iter().find(|fact| !fact.trace.is_empty()) {
            trace::continue_from(&span, &first.trace);
        }
        match commit(&aggregator, &facts).instrument(span).await {
            Ok(()) => {}
            Err(error) => {
                // Un-acknowledged, the batch comes again after ack_wait.
                tracing::error!(stream, %error, "a batch of facts could not be committed");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        }
        fault::point("aggregator", "committed");
        for message in &received {
            if let Err(error) = message.ack().await {
                tracing::warn!(stream, %error, "cannot acknowledge a fact; it will be known when it comes again");
            }
        }
        fault::point("aggregator", "acked");
    }
    Ok(())
}

async fn commit(aggregator: &Aggregator, facts: &[Fact]) -> Result<(), plimsoll_store::StoreError> {
    let outcome = aggregator.store.commit(facts, &aggregator.settings, Timestamp::now()).await?;
    aggregator.committed(outcome);
    Ok(())
}

fn bad(field: &'static str, reason: impl std::fmt::Display) -> Invalid {
    Invalid { field, reason: reason.to_string() }
}

/// A message of FACTS or EVENTS as a fact.
pub(crate) fn decode(message: &Received) -> Result<Fact, Invalid> {
    let digest = |text: &str| text.parse::<Digest>().map_err(|error| bad("digest", error));
    let body = match message.subject.as_str() {
        subjects::IMAGE_PUSHED => {
            let event: v1::ImagePushed =
                serde_json::from_slice(&message.payload).map_err(|e| bad("event", e))?;
            FactBody::ImagePushed(ImagePushed {
                registry: event.registry,
                repository: event.repository,
                tag: (!event.tag.is_empty()).then_some(event.tag),
                digest: digest(&event.digest)?,
                seq: message.stream_seq,
            })
        }
        subjects::IMAGE_DELETED => {
            let event: v1::ImageDeleted =
                serde_json::from_slice(&message.payload).map_err(|e| bad("event", e))?;
            FactBody::ImageDeleted(ImageDeleted {
                registry: event.registry,
                repository: event.repository,
                tag: (!event.tag.is_empty()).then_some(event.tag),
                digest: if event.digest.is_empty() { None } else { Some(digest(&event.digest)?) },
                seq: message.stream_seq,
            })
        }
        _ => return Fact::try_from(v1::Fact::decode(message.payload.clone()).map_err(|e| bad("fact", e))?),
    };
    // An event's identity is its place in the log.
    let id = message_id(&[message.subject.as_bytes(), &message.stream_seq.to_le_bytes(), &message.payload]);
    Ok(Fact { id, at: message.published, trace: message.trace.clone(), body })
}
