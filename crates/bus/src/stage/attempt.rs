//! One attempt at one message: claim, run under watch, record, publish, acknowledge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::HeaderValue;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures::FutureExt;
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use plimsoll_telemetry::metrics::{Lane as LaneLabel, Metrics, Outcome};
use plimsoll_telemetry::trace;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Cx, Emit, Failure, Guard, Limits, Stage};
use crate::claims::{Claimed, Claims, Held, WorkKey};
use crate::connection::{ARTIFACT_HEADER, Bus, BusError, Outgoing};
use crate::fault;
use crate::subjects::Lane;

/// How long an attempt that was given up may take to end before it is left behind.
const UNWIND: Duration = Duration::from_secs(5);
/// Deliveries of a message whose work another has, after which it waits as a scheduled message: delayed NAKs count
/// towards `max_deliver`.
const MANY_DELIVERIES: u64 = 32;

pub(super) struct Attempt<S: Stage> {
    pub(super) bus: Bus,
    pub(super) stage: Arc<S>,
    pub(super) claims: Claims,
    pub(super) lane: Lane,
    pub(super) give_up: CancellationToken,
}

/// A message with what is read off it once.
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) payload: Bytes,
    pub(super) artifact: Option<String>,
    pub(super) trace: String,
    pub(super) stream: String,
    stream_seq: u64,
    pub(super) delivered: u64,
    published: Timestamp,
}

impl Job {
    fn read(message: Message) -> Result<Self, BusError> {
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(HeaderValue::as_str);
        let artifact = header(ARTIFACT_HEADER).map(str::to_owned);
        let trace = header(trace::HEADER).unwrap_or_default().to_owned();
        let info = message.info().map_err(BusError::other)?;
        let (stream, stream_seq) = (info.stream.to_owned(), info.stream_sequence);
        let delivered = u64::try_from(info.delivered).unwrap_or(1);
        let published =
            Timestamp(i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0));
        let payload = message.payload.clone();
        Ok(Self { message, payload, artifact, trace, stream, stream_seq, delivered, published })
    }

    /// Identity of the message itself.
    pub(super) fn cause(&self) -> String {
        format!("{}/{}", self.stream, self.stream_seq)
    }
}

/// How handling ended, for metrics.
pub(super) type End = Result<&'static str, BusError>;

/// What running a stage came to.
enum Ran {
    Outputs(Vec<Outgoing>),
    Failed(Failure),
    /// Another owner took the work over. It, or the next delivery, ends it; this one touches nothing any more.
    Lost,
    /// The process is stopping.
    GivenBack,
}

/// Counts the work in hand, also when handling panics.
struct InFlight(Metrics, LaneLabel);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.get_or_create(&self.1).dec();
    }
}

impl<S: Stage> Attempt<S> {
    pub(super) async fn handle(self, message: Message) {
        let label = LaneLabel { stage: S::NAME.to_owned(), lane: self.lane.to_string() };
        let metrics = self.bus.metrics().clone();
        metrics.received.get_or_create(&label).inc();
        metrics.in_flight.get_or_create(&label).inc();
        let in_flight = InFlight(metrics.clone(), label.clone());
        let began = Instant::now();
        let outcome = match Job::read(message) {
            Ok(mut job) => {
                let waited = Timestamp::now().since(job.published).max(0);
                metrics.oldest_age.get_or_create(&label).set(waited);
                let span = tracing::info_span!("stage", otel.name = S::NAME, stage = S::NAME, lane = %self.lane, delivered = job.delivered, code = tracing::field::Empty);
                trace::continue_from(&span, &job.trace);
                let message = job.message.clone();
                let end = self.beating(&message, self.work(&mut job)).instrument(span.clone()).await;
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
        drop(in_flight);
        metrics.duration.get_or_create(&label).observe(began.elapsed().as_secs_f64());
        metrics.outcome.get_or_create(&Outcome { stage: S::NAME.to_owned(), outcome: code.to_owned() }).inc();
    }

    /// A third of `ack_wait`: two heartbeats may be lost before the message is delivered again.
    fn beat(&self) -> tokio::time::Interval {
        let beat = (self.bus.settings().ack_wait / 3).max(Duration::from_millis(20));
        let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beats
    }

    /// Keeps the message ours while `work` goes on. Work without progress ends by itself, at the stall limit.
    async fn beating<T>(&self, message: &Message, work: impl Future<Output = T>) -> T {
        let mut beats = self.beat();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = beats.tick() => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::warn!(stage = S::NAME, %error, "a heartbeat failed");
                    }
                }
            }
        }
    }

    async fn work(&self, job: &mut Job) -> End {
        fault::point(S::NAME, "received");
        let limits = self.stage.limits();
        match self.bus.payload(job.message.headers.as_ref(), &job.message.payload).await {
            Ok(payload) => job.payload = payload,
            Err(error @ (BusError::MissingArtifact(_) | BusError::BadArtifact { .. } | BusError::Key(_))) => {
                return self.unreadable(job, &limits, error.code(), &error.to_string()).await;
            }
            Err(error) => return Err(error),
        }
        let job = &*job;
        // A decoder meets hostile bytes; its panic must not cost more than the message.
        let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let input = self.stage.decode(&job.message.subject, &job.payload)?;
            let key = self.stage.key(&input);
            Ok::<_, String>((Arc::new(input), key))
        }));
        let (input, key) = match decoded {
            Ok(Ok(decoded)) => decoded,
            Ok(Err(reason)) => {
                self.bury(job, "bad_message", &reason).await?;
                fault::point(S::NAME, "buried");
                self.ack(job).await?;
                return Ok("bad_message");
            }
            Err(_) => return self.unreadable(job, &limits, "panic", "the decoder panicked").await,
        };
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
                    let wait = Duration::from_millis(left_ms.max(1));
                    if job.delivered < MANY_DELIVERIES || !self.may_schedule(job, &limits) {
                        self.nak(job, Some(wait.min(self.bus.settings().longest_nak))).await?;
                    } else {
                        self.schedule(job, &key, wait).await?;
                    }
                    return Ok("busy");
                }
                Claimed::Done(outputs) => {
                    let cx =
                        Cx::new(&self.bus, self.lane, job.published, job.stream_seq, 0, trace::current());
                    if !self.stage.stands(&cx, &input).await.unwrap_or(true) {
                        self.claims.reopen(&key).await?;
                        self.nak(job, None).await?;
                        return Ok("reopened");
                    }
                    self.emit(job, &key, &outputs, &limits).await?;
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
        match self.run(&cx, &input, &limits, &mut held).await {
            Ran::Outputs(outputs) => self.succeed(job, &key, held, outputs, &limits).await,
            Ran::Lost => Ok("fenced"),
            Ran::GivenBack => {
                if let Some(mut held) = held {
                    self.claims.give_back(&mut held).await?;
                }
                self.nak(job, None).await?;
                Ok("given_back")
            }
            Ran::Failed(Failure::Superseded) => {
                if let Some(held) = held {
                    self.claims.forget(&held).await?;
                }
                self.ack(job).await?;
                Ok("superseded")
            }
            Ran::Failed(Failure::Permanent { code, detail }) => {
                self.fail(job, &cx, &key, &input, held, code, &detail).await
            }
            Ran::Failed(Failure::Transient { code, detail }) if attempt >= limits.attempts => {
                let detail = format!("gave up after {attempt} attempts: {detail}");
                self.fail(job, &cx, &key, &input, held, code, &detail).await
            }
            Ran::Failed(Failure::Transient { code, detail }) => {
                tracing::warn!(stage = S::NAME, code, detail, attempt, "an attempt failed; another follows");
                if let Some(mut held) = held
                    && !self.claims.release(&mut held, code).await?
                {
                    return Ok("fenced");
                }
                self.later(job, &key, attempt, &limits).await?;
                Ok(code)
            }
        }
    }

    /// Runs the stage under watch: lease, progress, deadline, end of the process, panic.
    async fn run(&self, cx: &Cx, input: &Arc<S::In>, limits: &Limits, held: &mut Option<Held>) -> Ran {
        let (stage, input, inner, lane) = (Arc::clone(&self.stage), Arc::clone(input), cx.clone(), self.lane);
        let attempt = async move { stage.run(&inner, &input).await.map(|out| out.messages(lane)) };
        let mut task = tokio::spawn(attempt.instrument(tracing::Span::current()));
        let mut beats = self.beat();
        let began = Instant::now();
        let (mut seen, mut moved) = (0, Instant::now());
        let end = loop {
            tokio::select! {
                biased;
                done = &mut task => return match done {
                    Ok(Ok(outputs)) => Ran::Outputs(outputs),
                    Ok(Err(failure)) => Ran::Failed(failure),
                    Err(error) if error.is_panic() => Ran::Failed(panicked(cx, held.as_ref())),
                    Err(_) => Ran::Failed(Failure::transient("cancelled", "the attempt was cancelled")),
                },
                () = self.give_up.cancelled() => break Ran::GivenBack,
                _ = beats.tick() => {
                    let now = cx.progress.load(Ordering::Relaxed);
                    if now != seen || cx.gates.load(Ordering::Relaxed) > 0 {
                        (seen, moved) = (now, Instant::now());
                    }
                    if moved.elapsed() > limits.stall {
                        break Ran::Failed(Failure::transient("stalled", format!("no progress for {:?}", limits.stall)));
                    }
                    if began.elapsed() > limits.deadline {
                        break Ran::Failed(Failure::transient("deadline", format!("not done within {:?}", limits.deadline)));
                    }
                    if let Some(held) = held.as_mut() {
                        match self.claims.renew(held).await {
                            Ok(true) => {}
                            Ok(false) => break Ran::Lost,
                            Err(error) => tracing::warn!(stage = S::NAME, %error, "a lease could not be renewed"),
                        }
                    }
                }
            }
        };
        cx.cancel.cancel();
        task.abort();
        // Its end is awaited so that no two attempts overlap here, but a thread that never yields is left behind.
        if tokio::time::timeout(UNWIND, task).await.is_err() {
            tracing::warn!(stage = S::NAME, "an attempt that was given up does not end");
        }
        end
    }

    async fn succeed(
        &self,
        job: &Job,
        key: &WorkKey,
        held: Option<Held>,
        messages: Vec<Outgoing>,
        limits: &Limits,
    ) -> End {
        fault::point(S::NAME, "ran");
        let outputs = match &held {
            Some(_) => self.recordable(messages).await?,
            None => messages.into_iter().map(inline).collect(),
        };
        if let Some(mut held) = held
            && !self.claims.finish(&mut held, outputs.clone()).await?
        {
            // Taken over while we finished: the new owner publishes, and effects are the same.
            return Ok("fenced");
        }
        fault::point(S::NAME, "recorded");
        self.emit(job, key, &outputs, limits).await?;
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
        let facts =
            async { self.stage.failed(cx, input, code, detail).await.map(|out| out.messages(self.lane)) };
        match AssertUnwindSafe(facts).catch_unwind().await {
            Ok(Some(messages)) => {
                let outputs: Vec<v1::ClaimOutput> = messages.into_iter().map(inline).collect();
                self.emit(job, key, &outputs, &self.stage.limits()).await?;
            }
            Ok(None) => {}
            Err(_) => tracing::error!(stage = S::NAME, code, "telling of a failure panicked"),
        }
        if let Some(held) = held {
            self.claims.forget(&held).await?;
        }
        self.ack(job).await?;
        Ok("failed")
    }
}

/// A panic is one transient failure, then a permanent one.
fn panicked(cx: &Cx, held: Option<&Held>) -> Failure {
    let again = match held {
        Some(held) => held.claim.code == "panic",
        None => cx.attempt() > 1,
    };
    if again {
        Failure::permanent("panic", "the stage panicked again")
    } else {
        Failure::transient("panic", "the stage panicked")
    }
}

pub(super) fn inline(message: Outgoing) -> v1::ClaimOutput {
    v1::ClaimOutput { subject: message.subject, payload: message.payload, artifact: String::new() }
}
