//! One attempt at one message: claim, run under watch, record, publish, acknowledge.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::HeaderValue;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use plimsoll_telemetry::metrics::{Lane as LaneLabel, Outcome};
use plimsoll_telemetry::trace;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Cx, Emit, Failure, Guard, Limits, Stage};
use crate::claims::{Claimed, Claims, Held, WorkKey};
use crate::connection::{ARTIFACT_HEADER, Bus, BusError, INLINE_LIMIT, Outgoing, message_id};
use crate::dead::{self, Letter};
use crate::fault;
use crate::subjects::Lane;

/// Longest delayed NAK; longer waits are scheduled messages, which do not fill `max_ack_pending`.
const LONGEST_NAK: Duration = Duration::from_secs(60);
/// Wait before an attempt that comes after the short ones.
const LONG_WAIT: Duration = Duration::from_secs(300);

pub(super) struct Attempt<S: Stage> {
    pub(super) bus: Bus,
    pub(super) stage: Arc<S>,
    pub(super) claims: Claims,
    pub(super) lane: Lane,
    pub(super) give_up: CancellationToken,
}

/// A message with what is read off it once.
struct Job {
    message: Message,
    payload: Bytes,
    artifact: Option<String>,
    trace: String,
    stream: String,
    stream_seq: u64,
    delivered: u64,
    published: Timestamp,
}

impl Job {
    /// Identity of the message itself.
    fn cause(&self) -> String {
        format!("{}/{}", self.stream, self.stream_seq)
    }
}

/// How handling ended, for metrics.
type End = Result<&'static str, BusError>;

impl<S: Stage> Attempt<S> {
    pub(super) async fn handle(self, message: Message) {
        let label = LaneLabel { stage: S::NAME.to_owned(), lane: self.lane.to_string() };
        let metrics = self.bus.metrics().clone();
        metrics.received.get_or_create(&label).inc();
        metrics.in_flight.get_or_create(&label).inc();
        let began = Instant::now();
        let outcome = match self.job(message).await {
            Ok(job) => {
                let waited = Timestamp::now().since(job.published).max(0);
                metrics.oldest_age.get_or_create(&label).set(waited);
                let span = tracing::info_span!("stage", otel.name = S::NAME, stage = S::NAME, lane = %self.lane, delivered = job.delivered, code = tracing::field::Empty);
                trace::continue_from(&span, &job.trace);
                let end = self.work(&job).instrument(span.clone()).await;
                span.record("code", end.as_ref().map_or_else(|e| e.code(), |code| *code));
                end
            }
            Err(error) => Err(error),
        };
        let code = outcome.unwrap_or_else(|error| {
            // The message stays un-acknowledged and comes again after ack_wait.
            tracing::warn!(stage = S::NAME, %error, "the broker failed during an attempt");
            error.code()
        });
        metrics.in_flight.get_or_create(&label).dec();
        metrics.duration.get_or_create(&label).observe(began.elapsed().as_secs_f64());
        metrics.outcome.get_or_create(&Outcome { stage: S::NAME.to_owned(), outcome: code.to_owned() }).inc();
    }

    async fn job(&self, message: Message) -> Result<Job, BusError> {
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(HeaderValue::as_str);
        let artifact = header(ARTIFACT_HEADER).map(str::to_owned);
        let trace = header(trace::HEADER).unwrap_or_default().to_owned();
        let info = message.info().map_err(BusError::other)?;
        let (stream, stream_seq) = (info.stream.to_owned(), info.stream_sequence);
        let delivered = u64::try_from(info.delivered).unwrap_or(1);
        let published =
            Timestamp(i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0));
        let payload = self.bus.payload(message.headers.as_ref(), &message.payload).await?;
        Ok(Job { message, payload, artifact, trace, stream, stream_seq, delivered, published })
    }

    async fn work(&self, job: &Job) -> End {
        fault::point(S::NAME, "received");
        let input = match self.stage.decode(&job.message.subject, &job.payload) {
            Ok(input) => Arc::new(input),
            Err(reason) => {
                self.bury(job, "bad_message", &reason).await?;
                self.ack(job).await?;
                return Ok("bad_message");
            }
        };
        let key = self.stage.key(&input);
        let limits = self.stage.limits();
        let mut held = None;
        let attempt = match limits.guard {
            Guard::Effect => u32::try_from(job.delivered).unwrap_or(u32::MAX),
            Guard::Claim => match self.claims.claim(&key, &job.trace).await? {
                Claimed::Ours(ours) => {
                    let attempts = ours.claim.attempts;
                    held = Some(ours);
                    attempts
                }
                Claimed::Busy { left_ms } => {
                    let wait = Duration::from_millis(left_ms).min(LONGEST_NAK);
                    self.nak(job, wait).await?;
                    return Ok("busy");
                }
                Claimed::Done(outputs) => {
                    self.emit(job, &key, &outputs).await?;
                    self.ack(job).await?;
                    return Ok("done_before");
                }
            },
        };
        fault::point(S::NAME, "claimed");
        let cx = Cx::new(&self.bus, self.lane, job.published, job.stream_seq, attempt, trace::current());
        if attempt > limits.attempts {
            let code = held.as_ref().map(|h| h.claim.code.clone()).filter(|c| !c.is_empty());
            let detail = format!(
                "gave up after {} attempts{}",
                attempt - 1,
                code.map(|c| format!("; the last failed with {c}")).unwrap_or_default()
            );
            return self.fail(job, &cx, &key, &input, held, "attempts_exhausted", &detail).await;
        }
        match self.run(job, &cx, &input, &limits, &mut held).await {
            Ok(out) => self.succeed(job, &key, held, &out).await,
            Err(Failure::Superseded) => {
                if let Some(held) = held {
                    self.claims.forget(&held).await?;
                }
                self.ack(job).await?;
                Ok("superseded")
            }
            Err(Failure::Permanent { code, detail }) => {
                self.fail(job, &cx, &key, &input, held, code, &detail).await
            }
            Err(Failure::Transient { code, detail }) if attempt >= limits.attempts => {
                let detail = format!("gave up after {attempt} attempts: {detail}");
                self.fail(job, &cx, &key, &input, held, code, &detail).await
            }
            Err(Failure::Transient { code, detail }) => {
                tracing::warn!(
                    stage = S::NAME,
                    code,
                    detail,
                    attempt,
                    "an attempt failed and will be repeated"
                );
                if let Some(mut held) = held {
                    self.claims.release(&mut held, code).await?;
                }
                self.later(job, &key, attempt).await?;
                Ok(code)
            }
        }
    }

    /// Runs the stage under watch: heartbeat and lease while progress moves, deadline, stall, cancellation, panic.
    async fn run(
        &self,
        job: &Job,
        cx: &Cx,
        input: &Arc<S::In>,
        limits: &Limits,
        held: &mut Option<Held>,
    ) -> Result<S::Out, Failure> {
        let (stage, input, inner) = (Arc::clone(&self.stage), Arc::clone(input), cx.clone());
        let mut task =
            tokio::spawn(async move { stage.run(&inner, &input).await }.instrument(tracing::Span::current()));
        let beat = (self.bus.settings().ack_wait / 3).max(Duration::from_millis(20));
        let mut beats = tokio::time::interval(beat);
        beats.tick().await;
        let began = Instant::now();
        let (mut seen, mut moved) = (0, Instant::now());
        let failure = loop {
            tokio::select! {
                done = &mut task => return match done {
                    Ok(result) => result,
                    Err(error) if error.is_panic() && cx.attempt() > 1 => Err(Failure::permanent("panic", "the stage panicked again")),
                    Err(error) if error.is_panic() => Err(Failure::transient("panic", "the stage panicked")),
                    Err(_) => Err(Failure::transient("cancelled", "the attempt was cancelled")),
                },
                () = self.give_up.cancelled() => break Failure::transient("draining", "the process is stopping"),
                _ = beats.tick() => {
                    let now = cx.progress.load(Ordering::Relaxed);
                    if now != seen || cx.gates.load(Ordering::Relaxed) > 0 {
                        (seen, moved) = (now, Instant::now());
                    }
                    if moved.elapsed() > limits.stall {
                        break Failure::transient("stalled", format!("no progress for {:?}", limits.stall));
                    }
                    if began.elapsed() > limits.deadline {
                        break Failure::transient("deadline", format!("not done within {:?}", limits.deadline));
                    }
                    if let Err(error) = job.message.ack_with(AckKind::Progress).await {
                        tracing::warn!(stage = S::NAME, %error, "a heartbeat failed");
                    }
                    if let Some(held) = held.as_mut() {
                        match self.claims.renew(held).await {
                            Ok(true) => {}
                            Ok(false) => break Failure::Superseded,
                            Err(error) => tracing::warn!(stage = S::NAME, %error, "a lease could not be renewed"),
                        }
                    }
                }
            }
        };
        cx.cancel.cancel();
        task.abort();
        // The task owns nothing that outlives it; its end is awaited so that no two attempts overlap here.
        let _ = task.await;
        if failure == Failure::Superseded {
            // Another owner has the work and the message; this one must touch neither.
            *held = None;
        }
        Err(failure)
    }

    async fn succeed(&self, job: &Job, key: &WorkKey, held: Option<Held>, out: &S::Out) -> End {
        fault::point(S::NAME, "ran");
        let mut outputs = Vec::new();
        for message in out.messages(self.lane) {
            outputs.push(if held.is_some() && message.payload.len() > INLINE_LIMIT {
                let artifact = self.bus.artifacts().put("spill", &message.payload).await?;
                v1::ClaimOutput { subject: message.subject, payload: Vec::new(), artifact }
            } else {
                v1::ClaimOutput {
                    subject: message.subject,
                    payload: message.payload,
                    artifact: String::new(),
                }
            });
        }
        if let Some(mut held) = held
            && !self.claims.finish(&mut held, outputs.clone()).await?
        {
            // Taken over while we finished: the new owner publishes, and effects are the same.
            self.nak(job, Duration::from_secs(1)).await?;
            return Ok("fenced");
        }
        fault::point(S::NAME, "recorded");
        self.emit(job, key, &outputs).await?;
        fault::point(S::NAME, "published");
        self.ack(job).await?;
        fault::point(S::NAME, "acked");
        Ok("ok")
    }

    /// Dead letter first, then the facts that make it visible, then the claim is forgotten: failure is keyed by
    /// source and time, so the same content may be asked for again.
    #[allow(
        clippy::too_many_arguments,
        reason = "one private call chain; a struct would only rename the arguments"
    )]
    async fn fail(
        &self,
        job: &Job,
        cx: &Cx,
        key: &WorkKey,
        input: &S::In,
        held: Option<Held>,
        code: &str,
        detail: &str,
    ) -> End {
        tracing::warn!(stage = S::NAME, code, detail, "work failed for good");
        self.bury(job, code, detail).await?;
        fault::point(S::NAME, "buried");
        if let Some(out) = self.stage.failed(cx, input, code, detail).await {
            let outputs: Vec<v1::ClaimOutput> = out
                .messages(self.lane)
                .into_iter()
                .map(|m| v1::ClaimOutput { subject: m.subject, payload: m.payload, artifact: String::new() })
                .collect();
            self.emit(job, key, &outputs).await?;
        }
        if let Some(held) = held {
            self.claims.forget(&held).await?;
        }
        self.ack(job).await?;
        Ok("failed")
    }

    /// Publishes outputs; ids are made of subject, work key, cause and the number of this delivery, so a
    /// publication that is repeated on purpose is no duplicate of the first.
    async fn emit(&self, job: &Job, key: &WorkKey, outputs: &[v1::ClaimOutput]) -> Result<(), BusError> {
        let (cause, trace) = (job.cause(), trace::current());
        for (index, output) in outputs.iter().enumerate() {
            let mut payload = output.payload.clone();
            if !output.artifact.is_empty() {
                let spilled = self.bus.artifacts().get(&output.artifact).await?;
                payload = spilled.ok_or_else(|| BusError::MissingArtifact(output.artifact.clone()))?.to_vec();
            }
            let message = Outgoing { subject: output.subject.clone(), payload };
            let mut n = job.delivered;
            loop {
                let id = message_id(&[
                    message.subject.as_bytes(),
                    key.as_str().as_bytes(),
                    cause.as_bytes(),
                    &(index as u64).to_le_bytes(),
                    &n.to_le_bytes(),
                ]);
                match self.bus.publish_traced(&message, &id, &[], &trace).await {
                    // An earlier delivery with the same number: a process died before its message was redelivered.
                    Err(BusError::Duplicate { .. }) if n < job.delivered + 1000 => n += 1000,
                    other => {
                        other?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn bury(&self, job: &Job, code: &str, detail: &str) -> Result<(), BusError> {
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

    async fn ack(&self, job: &Job) -> Result<(), BusError> {
        job.message.double_ack().await.map_err(BusError::other)
    }

    async fn nak(&self, job: &Job, wait: Duration) -> Result<(), BusError> {
        job.message.ack_with(AckKind::Nak(Some(wait))).await.map_err(BusError::other)
    }

    /// Puts the work off. Short waits are delayed NAKs; a wait of more than a minute is a scheduled message,
    /// published before the old one is acknowledged.
    async fn later(&self, job: &Job, key: &WorkKey, attempt: u32) -> Result<(), BusError> {
        let step = Duration::from_secs(1) * 4u32.saturating_pow(attempt.saturating_sub(1)).min(300);
        // Jitter of a quarter, from the work key, so that no clock decides in tests.
        let seed = u64::from_str_radix(key.as_str().get(..8).unwrap_or("0"), 16).unwrap_or(0);
        let wait = step.mul_f64(0.875 + (seed % 256) as f64 / 1024.0);
        if wait <= LONGEST_NAK
            || self.stage.limits().guard == Guard::Effect
            || job.stream != crate::subjects::JOBS
        {
            return self.nak(job, wait.min(LONGEST_NAK)).await;
        }
        let server = self.bus.records("control").server_time().await?;
        let at = Timestamp(server.0 + i64::try_from(LONG_WAIT.as_millis()).unwrap_or(300_000));
        let cause = format!("{}/{attempt}", job.cause());
        let id = message_id(&[b"later", key.as_str().as_bytes(), cause.as_bytes()]);
        let message = Outgoing { subject: format!("schedule.{id}"), payload: job.payload.to_vec() };
        let schedule = format!("@at {at}");
        let headers = [("Nats-Schedule", schedule.as_str()), ("Nats-Schedule-Target", &job.message.subject)];
        match self.bus.publish_traced(&message, &id, &headers, &job.trace).await {
            Ok(_) | Err(BusError::Duplicate { .. }) => self.ack(job).await,
            Err(error) => Err(error),
        }
    }
}
