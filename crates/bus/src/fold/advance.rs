//! One key: its lease, its log, and one step from checkpoint to checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_nats::jetstream::stream::RawMessageErrorKind;
use futures::FutureExt;
use plimsoll_proto::v1;
use plimsoll_telemetry::trace;
use prost::Message as _;

use super::settling::{self, Clock, Parts};
use super::{Delivery, Fold, LogEvent, Publication, Runner};
use crate::batches::last_of;
use crate::claims::lease_left;
use crate::connection::{ARTIFACT_HEADER, BusError, Outgoing, message_id};
use crate::dead::{self, Letter};
use crate::fault;
use crate::records::Records;

/// Failures of one event until it is passed over.
const POISON: u32 = 3;
/// Events of a key that wait, or that are in its state ahead of those: above, the oldest are folded in without waiting.
const MOST_APART: usize = 1_000;

/// What a process keeps of a key while it has it.
pub(super) struct Held<S> {
    resident: Option<Resident<S>>,
    log: Log,
    /// Failures of events after the checkpoint, by sequence.
    failures: BTreeMap<u64, u32>,
}

impl<S> Default for Held<S> {
    fn default() -> Self {
        Self { resident: None, log: Log::default(), failures: BTreeMap::new() }
    }
}

impl<S> Held<S> {
    /// Lets go of all that can be read again.
    pub(super) fn forget(&mut self) {
        self.resident = None;
        self.log = Log::default();
    }
}

struct Resident<S> {
    state: S,
    artifact: String,
}

/// The events that are not folded in, from one sequence to another, as far as they were read.
#[derive(Default)]
struct Log {
    after: u64,
    to: u64,
    events: BTreeMap<u64, Entry>,
}

impl Log {
    fn waiting(&self) -> impl Iterator<Item = settling::Waiting<'_>> {
        let events = self.events.iter();
        events.map(|(seq, entry)| settling::Waiting { seq: *seq, parts: &entry.parts, at: entry.at })
    }
}

struct Entry {
    event: LogEvent,
    parts: Parts,
    /// When it was stored, in milliseconds.
    at: i64,
    /// Why it cannot be read.
    unreadable: Option<String>,
}

/// How far the state of a key has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Reached {
    through: u64,
    /// Sorted.
    ahead: Vec<u64>,
}

impl Reached {
    fn of(record: &v1::FoldRecord) -> Self {
        Self { through: record.through_seq, ahead: record.ahead.clone() }
    }

    /// True when an event is in the state.
    pub(super) fn has(&self, seq: u64) -> bool {
        seq <= self.through || self.ahead.binary_search(&seq).is_ok()
    }

    /// The newest event of the state.
    fn newest(&self) -> u64 {
        self.ahead.last().copied().unwrap_or(0).max(self.through)
    }
}

/// What advancing a key came to.
pub(super) enum Advanced {
    /// The checkpoint is here.
    To(Reached),
    /// Nothing is due before this time.
    NotBefore(i64),
    /// Another owner has the key for about this long.
    Busy(Duration),
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
        let record = &self.record;
        let ours = |stored: &v1::FoldRecord| stored.owner == record.owner && stored.fence == record.fence;
        let written = self.records.update_own(&self.key, record, self.revision, ours).await?;
        self.revision = written.unwrap_or(self.revision);
        Ok(written.is_some())
    }

    /// Gives the key back as it was.
    async fn release(mut self) -> Result<(), BusError> {
        self.record.lease_ms = 0;
        self.write().await.map(|_| ())
    }
}

/// A step that is made and not published yet.
struct Step {
    reached: Reached,
    outputs: Vec<Outgoing>,
}

impl<F: Fold> Runner<F> {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.bus.settings().ack_wait.as_millis()).unwrap_or(30_000) * 2
    }

    /// Folds in what is due of one key, of which `delivered` told.
    pub(super) async fn advance(
        &self,
        subject: &str,
        held: &mut Held<F::State>,
        delivered: &Delivery,
        clock: &Clock,
    ) -> Result<Advanced, BusError> {
        let key = format!("{}.{}", F::NAME, subject.rsplit('.').next().unwrap_or("="));
        let mut lease = match self.acquire(&key, delivered).await? {
            Ok(lease) => lease,
            Err(done) => return Ok(done),
        };
        fault::point(F::NAME, "leased");
        let before = lease.record.clone();
        let fenced = Ok(Advanced::Busy(self.bus.settings().ack_wait));
        let renewals = Duration::from_millis(self.lease_ms()) / 6;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + renewals, renewals);
        let step = {
            let work = self.step(subject, &before, held, delivered, clock);
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    step = &mut work => break Some(step),
                    _ = ticks.tick() => {
                        if !lease.write().await? {
                            break None;
                        }
                        for event in delivered.values() {
                            event.message.keep().await?;
                        }
                    }
                }
            }
        };
        let step = match step {
            None => {
                held.forget();
                return fenced;
            }
            Some(step) => step,
        };
        let step = match step {
            Ok(Ok(step)) => step,
            Ok(Err(next)) => {
                lease.release().await?;
                return Ok(Advanced::NotBefore(next));
            }
            Err(error) => {
                // Nothing was published: the next owner need not think that something was.
                let _ = lease.release().await;
                return Err(error);
            }
        };
        // Just before publishing, so that an owner that was away for long does not publish beside the new one.
        lease.record.publishing = true;
        if !lease.write().await? {
            held.forget();
            return fenced;
        }
        let target = step.reached.newest();
        for (index, output) in step.outputs.iter().enumerate() {
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
        let artifact = held.resident.as_ref().map(|resident| resident.artifact.clone()).unwrap_or_default();
        lease.record.artifact = artifact;
        lease.record.through_seq = step.reached.through;
        lease.record.ahead.clone_from(&step.reached.ahead);
        lease.record.lease_ms = 0;
        lease.record.publishing = false;
        if !lease.write().await? {
            // The new owner started from the old checkpoint and publishes the same.
            held.forget();
            return fenced;
        }
        fault::point(F::NAME, "checkpointed");
        held.failures.clear();
        if !before.artifact.is_empty() && before.artifact != lease.record.artifact {
            self.bus.artifacts().delete(&before.artifact).await?;
        }
        Ok(Advanced::To(step.reached))
    }

    /// Folds in what is due, settles and saves; or gives the time before which nothing is due. The log is read while the
    /// lease is held and renewed.
    async fn step(
        &self,
        subject: &str,
        record: &v1::FoldRecord,
        held: &mut Held<F::State>,
        delivered: &Delivery,
        clock: &Clock,
    ) -> Result<Result<Step, i64>, BusError> {
        let known = Reached::of(record);
        let newest = delivered.last_key_value().map_or(0, |(seq, _)| *seq);
        // The leader knows the end; older events may have left the log by its limits.
        let end = last_of(&self.bus, F::STREAM, subject).await?.max(newest);
        let name = subject.rsplit('.').next().unwrap_or_default();
        let mut resident: Option<Resident<F::State>> = None;
        let mut folded: Vec<u64> = known.ahead.clone();
        loop {
            let ended = self.read_log(subject, &known, end, &mut held.log).await?;
            // An owner that died may have told of events that would wait now.
            let wait = ended && !record.publishing && known.ahead.len() <= MOST_APART;
            let chosen: BTreeSet<u64> = if wait {
                let due = self.settling.due(held.log.waiting(), clock.now());
                if let (None, true, Some(next)) = (&resident, due.events.is_empty(), due.next) {
                    return Ok(Err(next));
                }
                due.events
            } else {
                held.log.events.keys().copied().collect()
            };
            let state = match &mut resident {
                Some(resident) => resident,
                None => resident.insert(self.resident_at(name, record, held).await?),
            };
            for seq in chosen {
                let Some(entry) = held.log.events.remove(&seq) else { continue };
                self.fold_in(subject, &entry, &mut state.state, &mut held.failures).await?;
                folded.push(seq);
            }
            if ended {
                break;
            }
        }
        let Some(mut resident) = resident else {
            return Err(BusError::Other("a fold has no state".into()));
        };
        fault::point(F::NAME, "applied");
        let through = held.log.events.keys().next().map_or(end, |waits| waits.saturating_sub(1));
        folded.retain(|seq| *seq > through);
        folded.sort_unstable();
        let reached = Reached { through, ahead: folded };
        let publication = Publication {
            base_seq: known.newest(),
            target_seq: reached.newest(),
            through_seq: through,
            number: record.fence,
            trace: trace::current(),
        };
        let settle = self.fold.settle(&mut resident.state, &publication);
        let outputs = AssertUnwindSafe(settle)
            .catch_unwind()
            .await
            .map_err(|_| BusError::Other("the fold panicked when it settled".into()))?;
        let bytes = self.fold.save(&mut resident.state).await.map_err(BusError::other)?;
        // Named by key and number too: two keys with the same state must not share what each deletes by itself.
        let name =
            message_id(&[subject.as_bytes(), F::NAME.as_bytes(), &publication.number.to_le_bytes(), &bytes]);
        resident.artifact = format!("state.{name}");
        self.bus.artifacts().put_named(&resident.artifact, &bytes).await?;
        held.resident = Some(resident);
        Ok(Ok(Step { reached, outputs }))
    }

    /// Folds one event in, unless it failed too often.
    async fn fold_in(
        &self,
        subject: &str,
        entry: &Entry,
        state: &mut F::State,
        failures: &mut BTreeMap<u64, u32>,
    ) -> Result<(), BusError> {
        let seq = entry.event.seq;
        if failures.get(&seq).is_some_and(|&count| count >= POISON) {
            tracing::warn!(fold = F::NAME, seq, "an event was passed over");
            return Ok(());
        }
        let applied = match &entry.unreadable {
            None => {
                let apply = AssertUnwindSafe(self.fold.apply(state, &entry.event));
                apply.catch_unwind().await.unwrap_or_else(|_| Err("the fold panicked".to_owned()))
            }
            Some(reason) => Err(reason.clone()),
        };
        match applied {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.failed(subject, &entry.event, &reason, failures).await?),
        }
    }

    /// Counts the failure of an event; the last one makes it a dead letter.
    async fn failed(
        &self,
        subject: &str,
        event: &LogEvent,
        reason: &str,
        failures: &mut BTreeMap<u64, u32>,
    ) -> Result<BusError, BusError> {
        let counted = failures.get(&event.seq).copied().unwrap_or(0) + 1;
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
        failures.insert(event.seq, counted);
        Ok(BusError::Other(format!("event {} of {subject}: {reason}", event.seq)))
    }

    /// The lease, or why there is nothing to do.
    async fn acquire(&self, key: &str, delivered: &Delivery) -> Result<Result<Lease, Advanced>, BusError> {
        loop {
            let current = self.records.get(key).await?;
            let mut record: v1::FoldRecord =
                current.as_ref().map(crate::Record::decode).transpose()?.unwrap_or_default();
            let reached = Reached::of(&record);
            if delivered.keys().all(|seq| reached.has(*seq)) {
                return Ok(Err(Advanced::To(reached)));
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
            // A lease that was not given back may be that of an owner which published; stays so until a checkpoint.
            record.publishing |= record.lease_ms > 0;
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
        &self,
        key: &str,
        record: &v1::FoldRecord,
        held: &mut Held<F::State>,
    ) -> Result<Resident<F::State>, BusError> {
        if let Some(resident) = held.resident.take()
            && resident.artifact == record.artifact
            && !record.publishing
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
        let state = self.fold.load(key, bytes, record.publishing).await.map_err(BusError::other)?;
        Ok(Resident { state, artifact: record.artifact.clone() })
    }

    /// Brings the log towards its end, with the events that are not folded in; true when it is there, false when
    /// [`MOST_APART`] are to be folded in before more are read.
    async fn read_log(
        &self,
        subject: &str,
        known: &Reached,
        end: u64,
        log: &mut Log,
    ) -> Result<bool, BusError> {
        if known.through < log.after {
            *log = Log::default();
        }
        log.after = known.through;
        log.to = log.to.max(known.through);
        log.events.retain(|seq, _| !known.has(*seq));
        while log.to < end {
            if log.events.len() >= MOST_APART {
                return Ok(false);
            }
            let Some((event, at, read)) = self.event(subject, log.to + 1).await? else { break };
            log.to = event.seq;
            if known.has(event.seq) {
                continue;
            }
            let parts = if read.is_ok() { self.parts(&event.payload) } else { Parts::All };
            log.events.insert(event.seq, Entry { event, parts, at, unreadable: read.err() });
        }
        Ok(true)
    }

    /// The first event of a subject at or after a sequence, from the leader, and when it was stored. With it the reason
    /// why it cannot be read, where its payload is an artifact that is missing.
    async fn event(
        &self,
        subject: &str,
        from: u64,
    ) -> Result<Option<(LogEvent, i64, Result<(), String>)>, BusError> {
        let stream = self.bus.context().get_stream_no_info(F::STREAM).await.map_err(BusError::other)?;
        let message = match stream.raw_message_builder().sequence(from).next_by_subject(subject).send().await
        {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(BusError::other(error)),
        };
        let trace = message.headers.get(trace::HEADER).map_or("", async_nats::HeaderValue::as_str).to_owned();
        let at = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let (payload, read) = match self.bus.payload(Some(&message.headers), &message.payload).await {
            Ok(payload) => (payload, Ok(())),
            Err(error @ (BusError::MissingArtifact(_) | BusError::BadArtifact { .. } | BusError::Key(_))) => {
                let name = message.headers.get(ARTIFACT_HEADER).map_or("", async_nats::HeaderValue::as_str);
                (message.payload.clone(), Err(format!("{error} ({name})")))
            }
            Err(error) => return Err(error),
        };
        Ok(Some((LogEvent { subject: subject.to_owned(), seq: message.sequence, payload, trace }, at, read)))
    }
}
