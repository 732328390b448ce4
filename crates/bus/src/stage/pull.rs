//! Pulling: one outstanding pull per worker for exactly its free slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::settle::requeue;
use super::{Guard, Source, Stage};
use crate::claims::Claims;
use crate::connection::{Bus, BusError, patiently};
use crate::subjects::{JOBS, Lane};

/// Deliveries after which the server gives up; the claims' attempts end work long before.
const MAX_DELIVER: i64 = 64;
/// How long a pull waits for work while a slot is kept for it.
const EXPIRES: Duration = Duration::from_millis(500);
/// When an answer to a pull that should come at once counts as lost.
const LOST: Duration = Duration::from_secs(5);

/// A stage that runs.
pub struct Running {
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Waits for the stage to drain after its token was cancelled.
    pub async fn drained(self) {
        // A panic of the loop has been logged by the runtime; there is nothing left to drain then.
        let _ = self.task.await;
    }
}

/// Creates the durables of a stage and starts pulling. Cancelling `stop` ends pulling; work in hand is finished
/// within `grace`, after which it is given back.
pub async fn start<S: Stage>(
    bus: Bus,
    stage: S,
    stop: CancellationToken,
    grace: Duration,
) -> Result<Running, BusError> {
    let stage = Arc::new(stage);
    let limits = stage.limits();
    let mut lanes: Vec<(Source, PullConsumer)> = Vec::new();
    for source in stage.sources() {
        let consumer = patiently(&source.durable, || consumer(&bus, &source)).await?;
        lanes.push((source, consumer));
    }
    lanes.sort_by_key(|(source, _)| source.lane);
    let waits = vec![false; lanes.len()];
    let lease_ms = u64::try_from(bus.settings().ack_wait.as_millis()).unwrap_or(30_000);
    let claims = Claims::new(&bus, S::NAME, lease_ms);
    let puller = Puller {
        slots: Arc::new(Semaphore::new(limits.slots.max(1))),
        total: limits.slots.max(1),
        bus,
        stage,
        claims,
        lanes,
        work: JoinSet::new(),
        waiting: JoinSet::new(),
        waits,
        give_up: CancellationToken::new(),
        rounds: 0,
        bulk: Arc::default(),
    };
    if limits.guard == Guard::Claim && puller.lanes.iter().any(|(source, _)| source.stream == JOBS) {
        tokio::spawn(requeue(puller.bus.clone(), S::NAME, stop.clone()));
    }
    let task = tokio::spawn(puller.run(stop, grace));
    Ok(Running { task })
}

async fn consumer(bus: &Bus, source: &Source) -> Result<PullConsumer, BusError> {
    let config = pull::Config {
        durable_name: Some(source.durable.clone()),
        filter_subjects: source.filters.clone(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: bus.settings().ack_wait,
        max_deliver: MAX_DELIVER,
        deliver_policy: DeliverPolicy::All,
        // The fleet's cap. Long waits are scheduled messages, so that they do not fill it.
        max_ack_pending: 20_000,
        ..Default::default()
    };
    let stream = bus.context().get_stream_no_info(source.stream).await.map_err(BusError::other)?;
    stream.create_consumer(config).await.map_err(BusError::other)
}

struct Puller<S: Stage> {
    bus: Bus,
    stage: Arc<S>,
    claims: Claims,
    lanes: Vec<(Source, PullConsumer)>,
    slots: Arc<Semaphore>,
    total: usize,
    work: JoinSet<()>,
    /// Pulls that wait for a message, each with the slot that the message will take.
    waiting: JoinSet<Waited>,
    /// Which sources have such a pull.
    waits: Vec<bool>,
    give_up: CancellationToken,
    rounds: usize,
    /// Bulk work in hand.
    bulk: Arc<AtomicUsize>,
}

/// What a waiting pull came to.
struct Waited {
    index: usize,
    slot: OwnedSemaphorePermit,
    message: Result<Option<Message>, BusError>,
}

/// Work in hand of one lane; counted down also when the work panics.
struct InHand(Arc<AtomicUsize>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Stage> Puller<S> {
    async fn run(mut self, stop: CancellationToken, grace: Duration) {
        while !stop.is_cancelled() {
            while self.work.try_join_next().is_some() {}
            match self.fill(&stop).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => {
                    self.trouble(&error, &stop).await;
                    continue;
                }
            }
            self.wait_for_more();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(waited) = self.waiting.join_next(), if !self.waiting.is_empty() => {
                    if let Err(error) = self.arrived(waited) {
                        self.trouble(&error, &stop).await;
                    }
                }
                _ = self.work.join_next(), if !self.work.is_empty() => {}
            }
        }
        self.drain(grace).await;
    }

    /// Takes what is there for the free slots: bulk up to its reserved share, then hot, then bulk and hints with what
    /// is left.
    async fn fill(&mut self, stop: &CancellationToken) -> Result<usize, BusError> {
        if self.slots.available_permits() == 0 {
            return Ok(0);
        }
        self.rounds = self.rounds.wrapping_add(1);
        // Where a pull waits, nothing was there, and what comes goes to it.
        let idle = |(_, waits): &(&(Source, PullConsumer), &bool)| !**waits;
        let lanes = self.lanes.iter().zip(&self.waits).filter(idle);
        let lanes: Vec<(Lane, PullConsumer)> = lanes.map(|((s, c), _)| (s.lane, c.clone())).collect();
        // One slot in eight; with fewer slots, one round in eight.
        let share = if self.total >= 8 { self.total / 8 } else { usize::from(self.rounds.is_multiple_of(8)) };
        let reserved = share.saturating_sub(self.bulk.load(Ordering::Relaxed));
        let mut taken = 0;
        for (lane, consumer) in lanes.iter().filter(|(lane, _)| *lane == Lane::Bulk) {
            taken += self.fetch(*lane, consumer, reserved.min(self.slots.available_permits())).await?;
        }
        for (lane, consumer) in &lanes {
            if stop.is_cancelled() {
                break;
            }
            let free = self.slots.available_permits();
            let free = if *lane == Lane::Hint { free.saturating_sub(self.total / 8) } else { free };
            let got = self.fetch(*lane, consumer, free).await?;
            taken += got;
            if got > 0 && got == free {
                // There may be more of it, and slots that became free meanwhile are not for less urgent work.
                break;
            }
        }
        Ok(taken)
    }

    async fn fetch(&mut self, lane: Lane, consumer: &PullConsumer, max: usize) -> Result<usize, BusError> {
        if max == 0 {
            return Ok(0);
        }
        let mut batch = consumer.fetch().max_messages(max).messages().await.map_err(BusError::other)?;
        let mut taken = 0;
        // A pull without expiry has no time-out of its own: a request that was lost with its connection would
        // otherwise be waited for without end.
        while let Some(message) = tokio::time::timeout(LOST, batch.next())
            .await
            .map_err(|_| BusError::Other("a pull was not answered".into()))?
        {
            let message = message.map_err(BusError::other)?;
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            self.spawn(lane, message, slot);
            taken += 1;
        }
        Ok(taken)
    }

    /// Nothing is there: one pull a source waits for the next message, in the order of sources, for as many as there
    /// are free slots. Each holds its slot, so never more is asked for than can be worked on.
    fn wait_for_more(&mut self) {
        for index in 0..self.lanes.len() {
            let Some((source, consumer)) = self.lanes.get(index) else { continue };
            if self.waits.get(index).copied().unwrap_or(true) {
                continue;
            }
            // With few slots, waiting for hints would keep urgent work out.
            if source.lane == Lane::Hint && self.slots.available_permits() <= self.total / 8 {
                continue;
            }
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
            let consumer = consumer.clone();
            self.waiting.spawn(async move { Waited { index, slot, message: next(&consumer).await } });
            if let Some(waits) = self.waits.get_mut(index) {
                *waits = true;
            }
        }
    }

    fn arrived(&mut self, waited: Result<Waited, tokio::task::JoinError>) -> Result<(), BusError> {
        let waited = match waited {
            Ok(waited) => waited,
            Err(error) => {
                // It cannot say which it was; all may be asked anew.
                self.waits.fill(false);
                return Err(BusError::other(error));
            }
        };
        if let Some(waits) = self.waits.get_mut(waited.index) {
            *waits = false;
        }
        if let (Some(message), Some((source, _))) = (waited.message?, self.lanes.get(waited.index)) {
            let lane = source.lane;
            self.spawn(lane, message, waited.slot);
        }
        Ok(())
    }

    /// The broker failed: a pause, and the durables again, in case they are gone.
    async fn trouble(&mut self, error: &BusError, stop: &CancellationToken) {
        tracing::warn!(stage = S::NAME, %error, "cannot pull");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRES) => {}
        }
        for (source, held) in &mut self.lanes {
            let made = tokio::select! {
                () = stop.cancelled() => return,
                made = consumer(&self.bus, source) => made,
            };
            match made {
                Ok(made) => *held = made,
                Err(error) => tracing::warn!(stage = S::NAME, %error, "cannot make a durable"),
            }
        }
    }

    fn spawn(&mut self, lane: Lane, message: Message, slot: OwnedSemaphorePermit) {
        let attempt = Attempt {
            bus: self.bus.clone(),
            stage: Arc::clone(&self.stage),
            claims: self.claims.clone(),
            lane,
            give_up: self.give_up.clone(),
        };
        let bulk = (lane == Lane::Bulk).then(|| {
            self.bulk.fetch_add(1, Ordering::Relaxed);
            InHand(Arc::clone(&self.bulk))
        });
        self.work.spawn(async move {
            attempt.handle(message).await;
            drop((bulk, slot));
        });
    }

    /// Finishes what is in hand within `grace`, then gives it back. What still arrives is given back at once.
    async fn drain(mut self, grace: Duration) {
        let late = async {
            while let Some(waited) = self.waiting.join_next().await {
                if let Ok(Waited { message: Ok(Some(message)), .. }) = waited
                    && let Err(error) = message.ack_with(AckKind::Nak(None)).await
                {
                    tracing::warn!(stage = S::NAME, %error, "cannot give a message back");
                }
            }
        };
        let work = &mut self.work;
        let finish = async { while work.join_next().await.is_some() {} };
        let (_, finished) = tokio::join!(
            tokio::time::timeout(EXPIRES + Duration::from_secs(1), late),
            tokio::time::timeout(grace, finish)
        );
        if finished.is_err() {
            self.give_up.cancel();
            while self.work.join_next().await.is_some() {}
        }
    }
}

/// The next message of a consumer, if one comes before the pull expires.
async fn next(consumer: &PullConsumer) -> Result<Option<Message>, BusError> {
    let mut batch =
        consumer.batch().max_messages(1).expires(EXPIRES).messages().await.map_err(BusError::other)?;
    batch.next().await.transpose().map_err(BusError::other)
}
