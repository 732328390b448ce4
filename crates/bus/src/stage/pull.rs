//! Pulling: one outstanding pull per worker for exactly its free slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::{Source, Stage};
use crate::claims::Claims;
use crate::connection::{Bus, BusError};
use crate::subjects::Lane;

/// Deliveries after which the server gives up; the claims' attempts end work long before.
const MAX_DELIVER: i64 = 64;
/// How long a pull waits for hot work before bulk work is looked at again.
const EXPIRES: Duration = Duration::from_millis(500);

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
        let consumer = consumer(&bus, &source).await?;
        lanes.push((source, consumer));
    }
    lanes.sort_by_key(|(source, _)| source.lane);
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
        give_up: CancellationToken::new(),
        rounds: 0,
        bulk: Arc::default(),
    };
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
    give_up: CancellationToken,
    rounds: usize,
    /// Bulk work in hand.
    bulk: Arc<AtomicUsize>,
}

impl<S: Stage> Puller<S> {
    async fn run(mut self, stop: CancellationToken, grace: Duration) {
        while !stop.is_cancelled() {
            while self.work.try_join_next().is_some() {}
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&self.slots).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            drop(permit);
            let taken = tokio::select! {
                () = stop.cancelled() => break,
                taken = self.round() => taken,
            };
            if let Err(error) = taken {
                tracing::warn!(stage = S::NAME, %error, "cannot pull");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
            }
        }
        let finish = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, finish).await.is_err() {
            self.give_up.cancel();
            while self.work.join_next().await.is_some() {}
        }
    }

    /// Fills the free slots once: bulk up to its reserved share, then hot, then bulk and hints with what is left;
    /// when nothing is there, waits for work of the first source.
    async fn round(&mut self) -> Result<(), BusError> {
        self.rounds = self.rounds.wrapping_add(1);
        let lanes: Vec<(Lane, PullConsumer)> = self.lanes.iter().map(|(s, c)| (s.lane, c.clone())).collect();
        // One slot in eight; with fewer slots, one round in eight.
        let share = if self.total >= 8 { self.total / 8 } else { usize::from(self.rounds.is_multiple_of(8)) };
        let reserved = share.saturating_sub(self.bulk.load(Ordering::Relaxed));
        let mut taken = 0;
        for (lane, consumer) in lanes.iter().filter(|(lane, _)| *lane == Lane::Bulk) {
            taken += self.fetch(*lane, consumer, reserved.min(self.slots.available_permits())).await?;
        }
        for (lane, consumer) in &lanes {
            let free = self.slots.available_permits();
            let free = if *lane == Lane::Hint { free.saturating_sub(self.total / 8) } else { free };
            taken += self.fetch(*lane, consumer, free).await?;
        }
        if taken > 0 || self.slots.available_permits() == 0 {
            return Ok(());
        }
        let Some((lane, consumer)) = lanes.first() else { return Ok(()) };
        let mut batch =
            consumer.batch().max_messages(1).expires(EXPIRES).messages().await.map_err(BusError::other)?;
        while let Some(message) = batch.next().await {
            self.spawn(*lane, message.map_err(BusError::other)?).await;
        }
        Ok(())
    }

    async fn fetch(&mut self, lane: Lane, consumer: &PullConsumer, max: usize) -> Result<usize, BusError> {
        if max == 0 {
            return Ok(0);
        }
        let mut batch = consumer.fetch().max_messages(max).messages().await.map_err(BusError::other)?;
        let mut taken = 0;
        while let Some(message) = batch.next().await {
            self.spawn(lane, message.map_err(BusError::other)?).await;
            taken += 1;
        }
        Ok(taken)
    }

    async fn spawn(&mut self, lane: Lane, message: Message) {
        let Ok(slot): Result<OwnedSemaphorePermit, _> = Arc::clone(&self.slots).acquire_owned().await else {
            return;
        };
        let attempt = Attempt {
            bus: self.bus.clone(),
            stage: Arc::clone(&self.stage),
            claims: self.claims.clone(),
            lane,
            give_up: self.give_up.clone(),
        };
        let bulk = (lane == Lane::Bulk).then(|| Arc::clone(&self.bulk));
        if let Some(bulk) = &bulk {
            bulk.fetch_add(1, Ordering::Relaxed);
        }
        self.work.spawn(async move {
            attempt.handle(message).await;
            if let Some(bulk) = bulk {
                bulk.fetch_sub(1, Ordering::Relaxed);
            }
            drop(slot);
        });
    }
}
