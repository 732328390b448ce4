//! The runtime of a fold: something whose order matters.
//!
//! Events are a log; a delivered event only says "there is news of this key". One leased owner folds the log from the
//! key's checkpoint on, publishes, moves the checkpoint by compare-and-set, and only then acknowledges. The state stays
//! resident and is used again while nobody else moved the checkpoint. A taken-over key starts from the checkpoint, so
//! what the old owner published and did not checkpoint is published again, with the same base and at least the same
//! target: readers take a fact only if its target is newer than theirs.
//!
//! The log is read from the stream's leader, message by message: a replica that lags would end it too early, and the
//! events behind that end would be acknowledged without having been folded.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::RawMessageErrorKind;
use async_trait::async_trait;
use futures::FutureExt;
use plimsoll_proto::v1;
use plimsoll_telemetry::trace;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::batches::{Batches, Received, last_of};
use crate::claims::lease_left;
use crate::connection::{ARTIFACT_HEADER, Bus, BusError, Outgoing, message_id};
use crate::dead::{self, Letter};
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
    /// Folds one event in. On an error (or a panic) the state is thrown away and the log folded again from the
    /// checkpoint; an event that fails three times is passed over and becomes a dead letter.
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

/// Failures of one event until it is passed over.
const POISON: u32 = 3;

struct Resident<S> {
    state: S,
    through_seq: u64,
    artifact: String,
}

/// What advancing a key came to.
enum Advanced {
    /// The checkpoint is at the end of the log.
    Done,
    /// Another owner has the key for about this long.
    Busy(Duration),
}

/// How long a fold may finish what it is at after it was asked to stop. What it leaves is folded by the next owner.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a fold until `stop`.
pub async fn run<F: Fold>(
    bus: Bus,
    fold: F,
    stop: CancellationToken,
    quiet: Duration,
) -> Result<(), BusError> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = drive(bus, fold, stop.clone(), quiet) => ended,
        // A broker that went away with the request to stop would otherwise be waited for.
        () = late => Ok(()),
    }
}

async fn drive<F: Fold>(bus: Bus, fold: F, stop: CancellationToken, quiet: Duration) -> Result<(), BusError> {
    let batches = Batches::open(&bus, F::STREAM, &format!("fold-{}", F::NAME), &[F::SUBJECTS]).await?;
    let retry = bus.settings().retry_step;
    let mut runner = Runner {
        records: bus.records("clusters"),
        bus,
        fold,
        resident: HashMap::new(),
        failures: HashMap::new(),
    };
    let mut waiting: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    while !stop.is_cancelled() {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = batches.next(256, Duration::from_secs(1)) => received,
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
            let newest = messages.iter().map(|m| m.stream_seq).max().unwrap_or(0);
            let again = match runner.advance(&subject, newest, &messages).instrument(span).await {
                Ok(Advanced::Done) => {
                    for message in messages {
                        if let Err(error) = message.done().await {
                            tracing::warn!(fold = F::NAME, %error, "cannot acknowledge an event");
                        }
                    }
                    continue;
                }
                // The messages come again and find the checkpoint behind them, or the lease free.
                Ok(Advanced::Busy(left)) => left,
                Err(error) => {
                    tracing::warn!(fold = F::NAME, %error, "a fold failed and will be repeated");
                    runner.resident.remove(&subject);
                    retry
                }
            };
            for message in &messages {
                if let Err(error) = message.later(again).await {
                    tracing::warn!(fold = F::NAME, %error, "cannot put an event off");
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

/// The lease on a key, and its record as this owner wrote it last.
struct Lease {
    records: Records,
    key: String,
    record: v1::FoldRecord,
    revision: u64,
}

impl Lease {
    /// Writes the record again. False when another owner has it.
    async fn write(&mut self) -> Result<bool, BusError> {
        let value = self.record.encode_to_vec();
        loop {
            if let Some(revision) = self.records.update(&self.key, &value, self.revision).await? {
                self.revision = revision;
                return Ok(true);
            }
            // Taken over, unless an earlier write of ours was stored and its acknowledgement lost.
            let Some(stored) = self.records.get(&self.key).await? else { return Ok(false) };
            let record: v1::FoldRecord = stored.decode()?;
            if record.owner != self.record.owner || record.fence != self.record.fence {
                return Ok(false);
            }
            self.revision = stored.revision;
        }
    }
}

struct Runner<F: Fold> {
    bus: Bus,
    records: Records,
    fold: F,
    resident: HashMap<String, Resident<F::State>>,
    /// Failures of events after a subject's checkpoint, by sequence.
    failures: HashMap<String, BTreeMap<u64, u32>>,
}

impl<F: Fold> Runner<F> {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.bus.settings().ack_wait.as_millis()).unwrap_or(30_000) * 2
    }

    /// Brings one key to the end of its log, which is at `newest` or beyond.
    async fn advance(
        &mut self,
        subject: &str,
        newest: u64,
        messages: &[Received],
    ) -> Result<Advanced, BusError> {
        let key = format!("{}.{}", F::NAME, subject.rsplit('.').next().unwrap_or("="));
        let mut lease = match self.acquire(&key, newest).await? {
            Ok(lease) => lease,
            Err(done) => return Ok(done),
        };
        fault::point(F::NAME, "leased");
        let held = lease.record.clone();
        let mut resident = self.resident_at(subject, &key, &held).await?;
        let fenced = Ok(Advanced::Busy(self.bus.settings().ack_wait));
        let renewals = Duration::from_millis(self.lease_ms()) / 6;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + renewals, renewals);
        let outputs = {
            let work = self.fold_log(subject, newest, &mut resident);
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    outputs = &mut work => break outputs?,
                    _ = ticks.tick() => {
                        if !lease.write().await? {
                            return fenced;
                        }
                        for message in messages {
                            message.keep().await?;
                        }
                    }
                }
            }
        };
        self.failures.remove(subject);
        let target = resident.through_seq;
        // Just before publishing, so that an owner that was away for long does not publish beside the new one.
        if !lease.write().await? {
            return fenced;
        }
        for (index, output) in outputs.iter().enumerate() {
            let id = message_id(&[
                output.subject.as_bytes(),
                key.as_bytes(),
                &target.to_le_bytes(),
                &(index as u64).to_le_bytes(),
                &lease.record.fence.to_le_bytes(),
            ]);
            match self.bus.publish(output, &id, &[]).await {
                // The fence is of this run alone, so the id is ours.
                Ok(_) | Err(BusError::Duplicate { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        fault::point(F::NAME, "published");
        lease.record.artifact.clone_from(&resident.artifact);
        lease.record.through_seq = target;
        lease.record.lease_ms = 0;
        if !lease.write().await? {
            // The new owner started from the old checkpoint and publishes the same.
            return fenced;
        }
        fault::point(F::NAME, "checkpointed");
        self.resident.insert(subject.to_owned(), resident);
        if !held.artifact.is_empty() && held.artifact != lease.record.artifact {
            self.bus.artifacts().delete(&held.artifact).await?;
        }
        Ok(Advanced::Done)
    }

    /// Folds what is new, settles and saves. The log is read while the lease is held and renewed.
    async fn fold_log(
        &mut self,
        subject: &str,
        newest: u64,
        resident: &mut Resident<F::State>,
    ) -> Result<Vec<Outgoing>, BusError> {
        let base = resident.through_seq;
        // The leader knows the end; older events may have left the log by its limits.
        let target = last_of(&self.bus, F::STREAM, subject).await?.max(newest);
        let mut next = base + 1;
        while next <= target {
            let Some((event, raw)) = self.event(subject, next).await? else { break };
            next = event.seq + 1;
            let failures = self.failures.get(subject).and_then(|f| f.get(&event.seq));
            if failures.is_some_and(|&count| count >= POISON) {
                tracing::warn!(fold = F::NAME, seq = event.seq, "an event was passed over");
                continue;
            }
            let applied = match raw {
                Ok(()) => {
                    let apply = AssertUnwindSafe(self.fold.apply(&mut resident.state, &event));
                    apply.catch_unwind().await.unwrap_or_else(|_| Err("the fold panicked".to_owned()))
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = applied {
                return Err(self.failed(subject, &event, &reason).await?);
            }
        }
        fault::point(F::NAME, "applied");
        let trace = trace::current();
        let settle = self.fold.settle(&mut resident.state, base, target, &trace);
        let outputs = AssertUnwindSafe(settle)
            .catch_unwind()
            .await
            .map_err(|_| BusError::Other("the fold panicked when it settled".into()))?;
        let bytes = self.fold.save(&resident.state).map_err(BusError::other)?;
        // Named by key and target too: two keys with the same state must not share what each deletes by itself.
        let name = message_id(&[subject.as_bytes(), F::NAME.as_bytes(), &target.to_le_bytes(), &bytes]);
        resident.artifact = format!("state.{name}");
        self.bus.artifacts().put_named(&resident.artifact, &bytes).await?;
        resident.through_seq = target;
        Ok(outputs)
    }

    /// Counts the failure of an event; the last one makes it a dead letter.
    async fn failed(&mut self, subject: &str, event: &LogEvent, reason: &str) -> Result<BusError, BusError> {
        let counted = self.failures.get(subject).and_then(|f| f.get(&event.seq)).copied().unwrap_or(0) + 1;
        if counted >= POISON {
            let letter = Letter {
                stage: F::NAME,
                subject,
                payload: &event.payload,
                artifact: None,
                code: "bad_message",
                detail: reason,
                trace: &event.trace,
                cause: &format!("{}/{}", F::STREAM, event.seq),
            };
            dead::write(&self.bus, &letter).await?;
        }
        self.failures.entry(subject.to_owned()).or_default().insert(event.seq, counted);
        Ok(BusError::Other(format!("event {} of {subject}: {reason}", event.seq)))
    }

    /// The lease, or why there is nothing to do.
    async fn acquire(&self, key: &str, newest: u64) -> Result<Result<Lease, Advanced>, BusError> {
        loop {
            let current = self.records.get(key).await?;
            let mut record: v1::FoldRecord =
                current.as_ref().map(crate::Record::decode).transpose()?.unwrap_or_default();
            if record.through_seq >= newest {
                return Ok(Err(Advanced::Done));
            }
            if let Some(current) = &current
                && record.owner != self.bus.owner()
                && record.lease_ms > 0
            {
                let now = self.records.server_time().await?;
                let left = lease_left(current.written, record.lease_ms, now);
                if left > 0 {
                    return Ok(Err(Advanced::Busy(Duration::from_millis(left))));
                }
            }
            record.owner = self.bus.owner().to_owned();
            record.fence += 1;
            record.lease_ms = self.lease_ms();
            let value = record.encode_to_vec();
            let written = match &current {
                None => self.records.create(key, &value).await?,
                Some(current) => self.records.update(key, &value, current.revision).await?,
            };
            if let Some(revision) = written {
                let (records, key) = (self.records.clone(), key.to_owned());
                return Ok(Ok(Lease { records, key, record, revision }));
            }
        }
    }

    /// The state at the checkpoint: the resident one if nobody moved the checkpoint since, else from its artifact.
    async fn resident_at(
        &mut self,
        subject: &str,
        key: &str,
        record: &v1::FoldRecord,
    ) -> Result<Resident<F::State>, BusError> {
        if let Some(resident) = self.resident.remove(subject)
            && resident.through_seq == record.through_seq
            && resident.artifact == record.artifact
        {
            return Ok(resident);
        }
        let bytes = match record.artifact.as_str() {
            "" => None,
            name => {
                let bytes = self.bus.artifacts().get(name).await?;
                Some(bytes.ok_or_else(|| BusError::MissingArtifact(name.into()))?)
            }
        };
        let name = key.rsplit('.').next().unwrap_or_default();
        let state = self.fold.load(name, bytes.as_deref()).map_err(BusError::other)?;
        Ok(Resident { state, through_seq: record.through_seq, artifact: record.artifact.clone() })
    }

    /// The first event of a subject at or after a sequence, from the leader. With it the reason why it cannot be read,
    /// where its payload is an artifact that is missing.
    async fn event(
        &self,
        subject: &str,
        from: u64,
    ) -> Result<Option<(LogEvent, Result<(), String>)>, BusError> {
        let stream = self.bus.context().get_stream_no_info(F::STREAM).await.map_err(BusError::other)?;
        let message = match stream.raw_message_builder().sequence(from).next_by_subject(subject).send().await
        {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(BusError::other(error)),
        };
        let trace = message.headers.get(trace::HEADER).map_or("", async_nats::HeaderValue::as_str).to_owned();
        let (payload, read) = match self.bus.payload(Some(&message.headers), &message.payload).await {
            Ok(payload) => (payload, Ok(())),
            Err(error @ (BusError::MissingArtifact(_) | BusError::BadArtifact { .. } | BusError::Key(_))) => {
                let name = message.headers.get(ARTIFACT_HEADER).map_or("", async_nats::HeaderValue::as_str);
                (message.payload.clone(), Err(format!("{error} ({name})")))
            }
            Err(error) => return Err(error),
        };
        Ok(Some((LogEvent { subject: subject.to_owned(), seq: message.sequence, payload, trace }, read)))
    }
}
