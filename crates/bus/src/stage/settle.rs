//! What an attempt says to the broker: outputs, dead letters, acknowledgements, and "later".

use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use plimsoll_telemetry::trace;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, End, Job, inline};
use super::{Guard, Limits, Stage};
use crate::batches::Batches;
use crate::claims::WorkKey;
use crate::connection::{Bus, BusError, INLINE_LIMIT, Outgoing, message_id};
use crate::dead::{self, Letter};
use crate::subjects::LATER;

/// Bytes of outputs that a claim holds itself; what is beyond goes into artifacts, since a record has at most 1 MiB.
const RECORDED: usize = 256 << 10;
/// Added to the number of a publication whose id the server knows though this attempt has not used it.
const RESENT: u64 = 1000;
/// First and longest pause before an output is published again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl<S: Stage> Attempt<S> {
    /// Outputs as a claim records them: large ones by reference.
    pub(super) async fn recordable(&self, messages: Vec<Outgoing>) -> Result<Vec<v1::ClaimOutput>, BusError> {
        let (mut outputs, mut total) = (Vec::with_capacity(messages.len()), 0);
        for message in messages {
            let size = message.payload.len();
            if size > INLINE_LIMIT || (total + size > RECORDED && size > 256) {
                let artifact = self.bus.artifacts().put("spill", &message.payload).await?;
                outputs.push(v1::ClaimOutput { subject: message.subject, payload: Vec::new(), artifact });
            } else {
                total += size;
                outputs.push(inline(message));
            }
        }
        Ok(outputs)
    }

    /// Publishes outputs; ids are made of subject, work key, cause and the number of this delivery, so a
    /// publication that is repeated on purpose is no duplicate of the first.
    ///
    /// A broker that is away or full is waited for, up to the stage's deadline: the outputs are in hand, and a stage
    /// whose outputs nobody takes should not take more work.
    pub(super) async fn emit(
        &self,
        job: &Job,
        key: &WorkKey,
        outputs: &[v1::ClaimOutput],
        limits: &Limits,
    ) -> Result<(), BusError> {
        let (cause, began) = (job.cause(), Instant::now());
        for (index, output) in outputs.iter().enumerate() {
            let mut payload = output.payload.clone();
            if !output.artifact.is_empty() {
                let spilled = self.bus.artifacts().get(&output.artifact).await?;
                payload = spilled.ok_or_else(|| BusError::MissingArtifact(output.artifact.clone()))?.to_vec();
            }
            let message = Outgoing { subject: output.subject.clone(), payload };
            let id = |n: u64| {
                message_id(&[
                    message.subject.as_bytes(),
                    key.as_str().as_bytes(),
                    cause.as_bytes(),
                    &(index as u64).to_le_bytes(),
                    &n.to_le_bytes(),
                ])
            };
            let (mut n, mut sent, mut pause) = (job.delivered, false, PAUSES.0);
            loop {
                match self.bus.publish_traced(&message, &id(n), &[], &trace::current()).await {
                    Ok(_) => break,
                    // Ours: it was stored, and only the acknowledgement was lost.
                    Err(BusError::Duplicate { .. }) if sent => break,
                    // Not ours: a server that lost the count of deliveries, or an attempt that died with this number.
                    Err(BusError::Duplicate { .. }) if n < job.delivered + 3 * RESENT => n += RESENT,
                    Err(error) if error.passes() && began.elapsed() < limits.deadline => {
                        tracing::warn!(stage = S::NAME, %error, "an output waits to be published");
                        sent = true;
                        tokio::select! {
                            () = self.give_up.cancelled() => return Err(error),
                            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// A message that cannot even be read: put off a few times, in case the fault passes, then a dead letter.
    pub(super) async fn unreadable(
        &self,
        job: &Job,
        limits: &Limits,
        code: &'static str,
        detail: &str,
    ) -> End {
        let most = if code == "panic" { 1 } else { u64::from(limits.attempts) };
        if job.delivered <= most && code != "bad_key" {
            let attempt = u32::try_from(job.delivered).unwrap_or(u32::MAX);
            let wait = self.delay(0, attempt).min(self.bus.settings().longest_nak);
            self.nak(job, Some(wait)).await?;
        } else {
            self.bury(job, code, detail).await?;
            self.ack(job).await?;
        }
        Ok(code)
    }

    pub(super) async fn bury(&self, job: &Job, code: &str, detail: &str) -> Result<(), BusError> {
        let letter = Letter {
            stage: S::NAME,
            subject: &job.message.subject,
            payload: &job.message.payload,
            artifact: job.artifact.as_deref(),
            code,
            detail,
            trace: &job.trace,
            cause: &job.cause(),
        };
        dead::write(&self.bus, &letter).await
    }

    pub(super) async fn ack(&self, job: &Job) -> Result<(), BusError> {
        job.message.double_ack().await.map_err(BusError::other)
    }

    pub(super) async fn nak(&self, job: &Job, wait: Option<Duration>) -> Result<(), BusError> {
        job.message.ack_with(AckKind::Nak(wait)).await.map_err(BusError::other)
    }

    /// Wait before the attempt after this one, with a jitter of an eighth up or down from the seed, so that no clock
    /// decides in tests.
    fn delay(&self, seed: u32, attempt: u32) -> Duration {
        let step = self.bus.settings().retry_step * 4u32.saturating_pow(attempt.saturating_sub(1)).min(300);
        step.mul_f64(0.875 + f64::from(seed % 256) / 1024.0)
    }

    /// Puts the work off. Short waits are delayed NAKs; a longer wait is a scheduled message, published before the
    /// old one is acknowledged.
    pub(super) async fn later(
        &self,
        job: &Job,
        key: &WorkKey,
        attempt: u32,
        limits: &Limits,
    ) -> Result<(), BusError> {
        let seed = u32::from_str_radix(key.as_str().get(..8).unwrap_or("0"), 16).unwrap_or(0);
        let (wait, longest) = (self.delay(seed, attempt), self.bus.settings().longest_nak);
        if wait <= longest || !self.may_schedule(job, limits) {
            return self.nak(job, Some(wait.min(longest))).await;
        }
        self.schedule(job, key, wait).await
    }

    /// Deliveries are the count of attempts where there is no claim, and a new message would start it anew; and a log
    /// has no place to put a job back to.
    pub(super) fn may_schedule(&self, job: &Job, limits: &Limits) -> bool {
        limits.guard == Guard::Claim && job.stream == crate::subjects::JOBS
    }

    /// Publishes the job to LATER, whence it returns after `wait`, and acknowledges this delivery of it.
    pub(super) async fn schedule(&self, job: &Job, key: &WorkKey, wait: Duration) -> Result<(), BusError> {
        let server = self.bus.records("claims").server_time().await?;
        let at = Timestamp(server.0 + i64::try_from(wait.as_millis()).unwrap_or(300_000));
        let id = message_id(&[
            b"later",
            key.as_str().as_bytes(),
            job.cause().as_bytes(),
            &job.delivered.to_le_bytes(),
        ]);
        let message = Outgoing { subject: format!("schedule.{id}"), payload: job.payload.to_vec() };
        let schedule = format!("@at {at}");
        let target = crate::subjects::later(S::NAME, self.lane);
        let headers = [("Nats-Schedule", schedule.as_str()), ("Nats-Schedule-Target", &target)];
        match self.bus.publish_traced(&message, &id, &headers, &job.trace).await {
            // The id names this very delivery: an earlier publication was its own, un-acknowledged.
            Ok(_) | Err(BusError::Duplicate { .. }) => self.ack(job).await,
            Err(error) => Err(error),
        }
    }
}

/// Moves jobs of a stage whose time has come from LATER to the work queue, until `stop`.
pub(super) async fn requeue(bus: Bus, stage: &'static str, stop: CancellationToken) {
    let (name, filter) = (format!("{stage}-later"), format!("later.{stage}.*"));
    let mut batches = None;
    while !stop.is_cancelled() {
        let moved = tokio::select! {
            () = stop.cancelled() => return,
            moved = requeue_once(&bus, &mut batches, &name, &filter) => moved,
        };
        if let Err(error) = moved {
            tracing::warn!(stage, %error, "jobs whose time has come cannot be queued");
            batches = None;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSES.1) => {}
            }
        }
    }
}

async fn requeue_once(
    bus: &Bus,
    batches: &mut Option<Batches>,
    name: &str,
    filter: &str,
) -> Result<(), BusError> {
    if batches.is_none() {
        *batches = Some(Batches::open(bus, LATER, name, &[filter]).await?);
    }
    let Some(batches) = batches else { return Ok(()) };
    for due in batches.next(16, PAUSES.1).await? {
        let Some(job) = due.subject.strip_prefix("later.") else { continue };
        let id = message_id(&[b"due", &due.stream_seq.to_le_bytes(), &due.published.0.to_le_bytes()]);
        let message = Outgoing { subject: format!("jobs.{job}"), payload: due.payload.to_vec() };
        match bus.publish_traced(&message, &id, &[], &due.trace).await {
            // The id names the due message, so an earlier publication was of the same.
            Ok(_) | Err(BusError::Duplicate { .. }) => due.done().await?,
            Err(error) => {
                due.later(PAUSES.1).await?;
                return Err(error);
            }
        }
    }
    Ok(())
}
