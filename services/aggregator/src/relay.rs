//! The relay: the outbox, in order of sequence, onto FINDINGS.
//!
//! On start it reads the last message of FINDINGS: its headers say how far an earlier relay came, so a crash between
//! a publication and its mark publishes nothing twice.

use std::time::Duration;

use plimsoll_bus::{BusError, Outgoing, fault, subjects};
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_store::OutboxRow;
use plimsoll_telemetry::trace;
use tracing::Instrument;

use crate::{Aggregator, store_failed};

const EPOCH: &str = "Plimsoll-Epoch";
const SEQ: &str = "Plimsoll-Seq";
/// Rows that are read at a time.
const PAGE: u32 = 256;

/// The epoch and sequence of the last message on FINDINGS, if there is one.
pub(crate) async fn high_water(aggregator: &plimsoll_bus::Bus) -> Result<Option<(u64, u64)>, BusError> {
    let last = aggregator.last_message(subjects::FINDINGS, "findings.v1.>").await?;
    Ok(last
        .and_then(|(headers, _)| Some((headers.get(EPOCH)?.parse().ok()?, headers.get(SEQ)?.parse().ok()?))))
}

/// Publishes until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let reader = aggregator.store.reader();
    // Without it nothing may be published, so a broker that is away is waited for.
    let told = loop {
        match high_water(&aggregator.role.bus).await {
            Ok(told) => break told,
            Err(error) => tracing::warn!(%error, "cannot read how far FINDINGS is"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    };
    if let Some((epoch, seq)) = told {
        aggregator.store.outbox_published(epoch, seq).await.map_err(store_failed)?;
    }
    let mut after = 0;
    while !stop.is_cancelled() {
        let rows = reader.outbox_after(after, PAGE).await.map_err(store_failed)?;
        if rows.is_empty() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = aggregator.outbox.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
            continue;
        }
        let mut done = None;
        for row in rows {
            if let Err(error) = publish(&aggregator, &row).await {
                tracing::warn!(%error, "cannot publish findings");
                tokio::time::sleep(Duration::from_millis(500)).await;
                break;
            }
            fault::point("relay", "published");
            after = row.seq;
            done = Some((row.epoch, row.seq));
        }
        if let Some((epoch, seq)) = done {
            aggregator.store.outbox_published(epoch, seq).await.map_err(store_failed)?;
            fault::point("relay", "marked");
        }
    }
    Ok(())
}

async fn publish(aggregator: &Aggregator, row: &OutboxRow) -> Result<(), BusError> {
    let (epoch, seq) = (row.epoch.to_string(), row.seq.to_string());
    let at = row.message.at.to_string();
    let cause = row.message.trace.clone();
    let message = v1::RollUp::from(row.message.clone());
    let payload = serde_json::to_vec(&message).map_err(|error| BusError::Other(error.to_string()))?;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", row.id.as_str()),
        ("ce-type", "dev.plimsoll.findings.v1"),
        ("ce-source", "/plimsoll/aggregator"),
        ("ce-time", &at),
        ("content-type", "application/json"),
        (EPOCH, &epoch),
        (SEQ, &seq),
    ];
    let span = tracing::info_span!("relay", otel.name = "relay", changes = row.message.changes.len());
    trace::continue_from(&span, &cause);
    let traceparent = trace::parent_of(&span);
    let outgoing = Outgoing { subject: row.subject.clone(), payload };
    let id = format!("findings-{}", row.id);
    match aggregator.role.bus.publish_whole(&outgoing, &id, &headers, &traceparent).instrument(span).await {
        // The server knows it already: an earlier relay died before it could mark it.
        Ok(_) | Err(BusError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
