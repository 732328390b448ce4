//! The runtime of a fold: something whose order matters.
//!
//! Events are a log; a delivered event only says "there is news of this key". One leased owner keeps the state of a
//! key resident, folds the log from its checkpoint on, publishes, moves the checkpoint by compare-and-set, and only
//! then acknowledges. A taken-over key starts from the checkpoint, so what the old owner published and did not
//! checkpoint is published again with the same `target_seq`, and readers drop it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_trait::async_trait;
use futures::StreamExt;
use plimsoll_proto::v1;
use plimsoll_telemetry::trace;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::batches::{Batches, Received};
use crate::claims::lease_left;
use crate::connection::{Bus, BusError, Outgoing, message_id};
use crate::fault;
use crate::records::Records;

/// Quiet time after which a burst of events counts as settled.
pub const QUIET: Duration = Duration::from_millis(500);
/// Longest time that a burst may go on before its state is published anyhow.
pub const LONGEST_BURST: Duration = Duration::from_secs(5);

/// An event of the log.
#[derive(Debug, Clone)]
pub struct LogEvent {
    pub subject: String,
    pub seq: u64,
    pub payload: bytes::Bytes,
    pub trace: String,
}

/// A state that follows from a log.
#[async_trait]
pub trait Fold: Send + Sync + 'static {
    /// Durable, span and metric label.
    const NAME: &'static str;
    /// The stream of the log, and the subjects of all keys.
    const STREAM: &'static str;
    const SUBJECTS: &'static str;
    type State: Send + Sync;

    /// The state before any event, or what a checkpoint's artifact holds.
    fn load(&self, key: &str, checkpoint: Option<&[u8]>) -> Result<Self::State, String>;
    /// The artifact of a state.
    fn save(&self, state: &Self::State) -> Result<Vec<u8>, String>;
    /// Folds one event in. An event that does not decode is a problem of the event: it is reported and passed over.
    async fn apply(&self, state: &mut Self::State, event: &LogEvent) -> Result<(), String>;
    /// What the settled state says, compared with the state at `base_seq`. Called once per checkpoint.
    async fn settle(
        &self,
        state: &mut Self::State,
        base_seq: u64,
        target_seq: u64,
        trace: &str,
    ) -> Vec<Outgoing>;
}

struct Resident<S> {
    state: S,
    record: v1::FoldRecord,
    revision: u64,
}

/// Runs a fold until `stop`.
pub async fn run<F: Fold>(
    bus: Bus,
    fold: F,
    stop: CancellationToken,
    quiet: Duration,
) -> Result<(), BusError> {
    let batches = Batches::open(&bus, F::STREAM, &format!("fold-{}", F::NAME), &[F::SUBJECTS]).await?;
    let mut runner = Runner { records: bus.records("clusters"), bus, fold, resident: HashMap::new() };
    let mut waiting: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    while !stop.is_cancelled() {
        let wait = if waiting.is_empty() { Duration::from_secs(1) } else { Duration::ZERO };
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = batches.next(256, wait) => received,
        };
        match received {
            Ok(received) => {
                for message in received {
                    waiting.entry(message.subject.clone()).or_default().push(message);
                }
            }
            Err(error) => {
                tracing::warn!(fold = F::NAME, %error, "cannot read the log");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        }
        if waiting.is_empty() {
            continue;
        }
        settled(&batches, &mut waiting, quiet).await;
        for (subject, messages) in std::mem::take(&mut waiting) {
            let trace = messages.last().map(|m| m.trace.clone()).unwrap_or_default();
            let span =
                tracing::info_span!("fold", otel.name = F::NAME, fold = F::NAME, events = messages.len());
            trace::continue_from(&span, &trace);
            match runner.advance(&subject).instrument(span).await {
                Ok(true) => {
                    for message in messages {
                        if let Err(error) = message.done().await {
                            tracing::warn!(fold = F::NAME, %error, "cannot acknowledge an event");
                        }
                    }
                }
                // Another owner has the key: the messages come again and find the checkpoint behind them, or the
                // lease free.
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(fold = F::NAME, %error, "a fold failed and will be repeated");
                    runner.resident.remove(&subject);
                }
            }
        }
    }
    Ok(())
}

/// Waits until no event came for `quiet`, but not longer than [`LONGEST_BURST`].
async fn settled(batches: &Batches, waiting: &mut BTreeMap<String, Vec<Received>>, quiet: Duration) {
    let began = Instant::now();
    while began.elapsed() < LONGEST_BURST && !quiet.is_zero() {
        match batches.next(256, quiet).await {
            Ok(more) if more.is_empty() => return,
            Ok(more) => {
                for message in more {
                    waiting.entry(message.subject.clone()).or_default().push(message);
                }
            }
            Err(_) => return,
        }
    }
}

struct Runner<F: Fold> {
    bus: Bus,
    records: Records,
    fold: F,
    resident: HashMap<String, Resident<F::State>>,
}

impl<F: Fold> Runner<F> {
    /// Brings one key to the end of its log. False when another owner holds it.
    async fn advance(&mut self, subject: &str) -> Result<bool, BusError> {
        let key = format!("{}.{}", F::NAME, subject.rsplit('.').next().unwrap_or("="));
        let Some(mut resident) = self.acquire(subject, &key).await? else { return Ok(false) };
        fault::point(F::NAME, "leased");
        let base = resident.record.through_seq;
        let events = self.log(subject, base).await?;
        let Some(target) = events.last().map(|e| e.seq) else {
            self.release(&key, &mut resident).await?;
            self.resident.insert(subject.to_owned(), resident);
            return Ok(true);
        };
        for event in &events {
            if let Err(reason) = self.fold.apply(&mut resident.state, event).await {
                tracing::warn!(fold = F::NAME, seq = event.seq, reason, "an event was passed over");
            }
        }
        fault::point(F::NAME, "applied");
        let outputs = self.fold.settle(&mut resident.state, base, target, &trace::current()).await;
        let bytes = self.fold.save(&resident.state).map_err(BusError::other)?;
        let artifact = self.bus.artifacts().put("state", &bytes).await?;
        for (index, output) in outputs.iter().enumerate() {
            let id = message_id(&[
                output.subject.as_bytes(),
                key.as_bytes(),
                &target.to_le_bytes(),
                &index.to_le_bytes(),
                &resident.record.fence.to_le_bytes(),
            ]);
            match self.bus.publish(output, &id, &[]).await {
                Ok(_) | Err(BusError::Duplicate { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        fault::point(F::NAME, "published");
        let before = std::mem::replace(&mut resident.record.artifact, artifact);
        resident.record.through_seq = target;
        if !self.release(&key, &mut resident).await? {
            // Fenced: the new owner started from the old checkpoint and publishes the same.
            return Ok(false);
        }
        fault::point(F::NAME, "checkpointed");
        if !before.is_empty() && before != resident.record.artifact {
            self.bus.artifacts().delete(&before).await?;
        }
        self.resident.insert(subject.to_owned(), resident);
        Ok(true)
    }

    async fn acquire(&mut self, subject: &str, key: &str) -> Result<Option<Resident<F::State>>, BusError> {
        let lease_ms = u64::try_from(self.bus.settings().ack_wait.as_millis()).unwrap_or(30_000) * 2;
        loop {
            let current = self.records.get(key).await?;
            let mut record: v1::FoldRecord =
                current.as_ref().map(crate::Record::decode).transpose()?.unwrap_or_default();
            let revision = current.as_ref().map_or(0, |r| r.revision);
            if let Some(current) = &current
                && record.owner != self.bus.owner()
                && record.lease_ms > 0
                && lease_left(current.written, record.lease_ms, self.records.server_time().await?) > 0
            {
                return Ok(None);
            }
            let resident = self.resident.remove(subject);
            record.owner = self.bus.owner().to_owned();
            record.fence += 1;
            record.lease_ms = lease_ms;
            let value = record.encode_to_vec();
            let written = match revision {
                0 => self.records.create(key, &value).await?,
                _ => self.records.update(key, &value, revision).await?,
            };
            let Some(written) = written else { continue };
            // A resident state is good if nobody moved the checkpoint since.
            if let Some(resident) = resident
                && resident.record.through_seq == record.through_seq
                && resident.record.artifact == record.artifact
            {
                return Ok(Some(Resident { state: resident.state, record, revision: written }));
            }
            let bytes = match record.artifact.as_str() {
                "" => None,
                name => Some(
                    self.bus
                        .artifacts()
                        .get(name)
                        .await?
                        .ok_or_else(|| BusError::MissingArtifact(name.into()))?,
                ),
            };
            let name = key.rsplit('.').next().unwrap_or_default();
            let state = self.fold.load(name, bytes.as_deref()).map_err(BusError::other)?;
            return Ok(Some(Resident { state, record, revision: written }));
        }
    }

    /// Writes the record without a lease. False when another owner took it.
    async fn release(&self, key: &str, resident: &mut Resident<F::State>) -> Result<bool, BusError> {
        resident.record.lease_ms = 0;
        match self.records.update(key, &resident.record.encode_to_vec(), resident.revision).await? {
            Some(revision) => {
                resident.revision = revision;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The events of a subject after `through`.
    async fn log(&self, subject: &str, through: u64) -> Result<Vec<LogEvent>, BusError> {
        let stream = self.bus.context().get_stream_no_info(F::STREAM).await.map_err(BusError::other)?;
        let config = pull::Config {
            filter_subject: subject.to_owned(),
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: through + 1 },
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        };
        let consumer: PullConsumer = stream.create_consumer(config).await.map_err(BusError::other)?;
        let mut events = Vec::new();
        loop {
            let mut batch = consumer.fetch().max_messages(200).messages().await.map_err(BusError::other)?;
            let before = events.len();
            while let Some(message) = batch.next().await {
                let received = Received::from_message(&self.bus, message.map_err(BusError::other)?).await?;
                events.push(LogEvent {
                    subject: received.subject.clone(),
                    seq: received.stream_seq,
                    payload: received.payload.clone(),
                    trace: received.trace.clone(),
                });
            }
            if events.len() == before {
                break;
            }
        }
        let name = consumer.cached_info().name.clone();
        // It would end by itself after its inactivity; leaving it costs nothing but that.
        let _ = stream.delete_consumer(&name).await;
        Ok(events)
    }
}
