//! The relay: the outbox, in order of sequence, onto FINDINGS.
//!
//! On start, and after a publication that failed, it reads the last message of FINDINGS: its headers say how far an
//! earlier relay came, so a crash between a publication and its mark publishes nothing twice. Each message names the
//! sequence after which it is to stand, so that many are under way at once and none overtakes another.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use plimsoll_bus::connection::Next;
use plimsoll_bus::{BusError, Outgoing, fault, subjects};
use plimsoll_model::finding::RollUp;
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_store::OutboxRow;
use plimsoll_telemetry::trace;
use tokio::sync::Notify;

use crate::{Aggregator, store_failed};

const EPOCH: &str = "Plimsoll-Epoch";
const SEQ: &str = "Plimsoll-Seq";
/// Rows that are read, and messages that are under way, at a time.
const PAGE: u32 = 128;
/// Messages that wait in memory at most; the others are read from the store.
const WAITING: usize = 2_048;

/// What was committed for the outbox, as it was committed: the relay need not read it out of the store again.
#[derive(Default)]
pub struct Outbox {
    grown: Notify,
    waiting: Mutex<BTreeMap<u64, OutboxRow>>,
}

impl Outbox {
    /// Says what a commit added to the outbox.
    pub(crate) fn add(&self, added: Vec<(u64, String, RollUp)>) {
        if added.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (seq, subject, message) in added {
            if waiting.len() >= WAITING {
                break;
            }
            let (epoch, id) = (message.epoch, format!("{}-{seq}", message.epoch));
            waiting.insert(seq, OutboxRow { epoch, seq, subject, id, message });
        }
        drop(waiting);
        self.grown.notify_one();
    }

    /// Takes what follows `after` without a gap; the outbox may have more.
    fn take(&self, after: u64) -> Vec<OutboxRow> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        while let Some(entry) = waiting.first_entry() {
            if *entry.key() <= after {
                entry.remove();
            } else if *entry.key() == after + 1 + rows.len() as u64 && rows.len() < PAGE as usize {
                rows.push(entry.remove());
            } else {
                break;
            }
        }
        rows
    }
}

/// The epoch and sequence of the last message on FINDINGS, if there is one.
pub(crate) async fn high_water(aggregator: &plimsoll_bus::Bus) -> Result<Option<(u64, u64)>, BusError> {
    let last = aggregator.last_message(subjects::FINDINGS, "findings.v1.>").await?;
    Ok(last
        .and_then(|(headers, _)| Some((headers.get(EPOCH)?.parse().ok()?, headers.get(SEQ)?.parse().ok()?))))
}

/// How far FINDINGS is: the last sequence of the stream, and what the store is to mark as published.
async fn position(aggregator: &Aggregator) -> Result<(u64, Option<(u64, u64)>), BusError> {
    let bus = &aggregator.role.bus;
    let last = bus.last_sequence(subjects::FINDINGS).await?;
    Ok((last, high_water(bus).await?))
}

/// Publishes until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let reader = aggregator.store.reader();
    let epoch = reader.epoch().await.map_err(store_failed)?;
    let (mut last, mut after) = (None, 0);
    while !stop.is_cancelled() {
        // Without it nothing may be published, so a broker that is away is waited for.
        let stands = match last {
            Some(stands) => stands,
            None => match position(&aggregator).await {
                Ok((stands, told)) => {
                    if let Some((of, seq)) = told {
                        aggregator.store.outbox_published(of, seq).await.map_err(store_failed)?;
                        after = if of == epoch { seq.max(after) } else { after };
                    }
                    last = Some(stands);
                    stands
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read how far FINDINGS is");
                    pause(&aggregator).await;
                    continue;
                }
            },
        };
        let mut rows = aggregator.outbox.take(after);
        if rows.is_empty() {
            rows = reader.outbox_after(after, PAGE).await.map_err(store_failed)?;
        }
        if rows.is_empty() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = aggregator.outbox.grown.notified() => {}
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
            continue;
        }
        let ends: Vec<(u64, u64)> = rows.iter().map(|row| (row.epoch, row.seq)).collect();
        let (stored, failed) = publish(&aggregator, stands, rows).await;
        // The server knows it already: an earlier relay died before it could mark it.
        let known = usize::from(matches!(failed, Some(BusError::Duplicate { .. })));
        for _ in 0..stored {
            fault::point("relay", "published");
        }
        let through = (stored + known).checked_sub(1).and_then(|place| ends.get(place));
        if let Some((of, seq)) = through {
            after = *seq;
            last = Some(stands + stored as u64);
            aggregator.store.outbox_published(*of, *seq).await.map_err(store_failed)?;
            fault::point("relay", "marked");
        }
        if let Some(error) = failed {
            // Of what was under way it is not known what is stored.
            last = None;
            if known == 0 {
                tracing::warn!(%error, "cannot publish findings");
                pause(&aggregator).await;
            }
        }
    }
    Ok(())
}

async fn pause(aggregator: &Aggregator) {
    tokio::select! {
        () = aggregator.role.stop.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
    }
}

/// A message as it is published.
struct Ready {
    outgoing: Outgoing,
    id: String,
    event: String,
    at: String,
    epoch: String,
    seq: String,
    trace: String,
    _span: tracing::Span,
}

fn ready(row: OutboxRow) -> Result<Ready, BusError> {
    let span = tracing::info_span!("relay", otel.name = "relay", changes = row.message.changes.len());
    trace::continue_from(&span, &row.message.trace);
    let (at, trace) = (row.message.at.to_string(), trace::parent_of(&span));
    let message = v1::RollUp::from(row.message);
    let payload = serde_json::to_vec(&message).map_err(|error| BusError::Other(error.to_string()))?;
    Ok(Ready {
        outgoing: Outgoing { subject: row.subject, payload },
        id: format!("findings-{}", row.id),
        event: row.id,
        at,
        epoch: row.epoch.to_string(),
        seq: row.seq.to_string(),
        trace,
        _span: span,
    })
}

/// Publishes rows behind what FINDINGS has; how many are stored, and what went wrong with the next.
async fn publish(aggregator: &Aggregator, stands: u64, rows: Vec<OutboxRow>) -> (usize, Option<BusError>) {
    let rows = match rows.into_iter().map(ready).collect::<Result<Vec<_>, _>>() {
        Ok(rows) => rows,
        Err(error) => return (0, Some(error)),
    };
    let headers: Vec<[(&str, &str); 8]> = rows
        .iter()
        .map(|row| {
            [
                ("ce-specversion", "1.0"),
                ("ce-id", &row.event),
                ("ce-type", "dev.plimsoll.findings.v1"),
                ("ce-source", "/plimsoll/aggregator"),
                ("ce-time", &row.at),
                ("content-type", "application/json"),
                (EPOCH, &row.epoch),
                (SEQ, &row.seq),
            ]
        })
        .collect();
    let messages: Vec<Next<'_>> = rows
        .iter()
        .zip(&headers)
        .map(|(row, headers)| Next { message: &row.outgoing, id: &row.id, headers, traceparent: &row.trace })
        .collect();
    aggregator.role.bus.publish_next(stands, &messages).await
}
