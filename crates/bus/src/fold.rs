//! The runtime of a fold: something whose order matters.
//!
//! Events are a log; a delivered event only says "there is news of this key". One leased owner folds the log from the
//! key's checkpoint on, publishes, moves the checkpoint by compare-and-set, and only then acknowledges. The state stays
//! resident and is used again while nobody else moved the checkpoint. Keys do not wait for one another.
//!
//! What an event says is told when the parts of the state that it touches are quiet ([`settling`]). Until then it is not
//! folded in: a checkpoint is the sequence through which every event is in the state, and the later ones that are in it
//! too. What is told is therefore always the difference of two whole states, and what waits is in the log alone, where a
//! crash cannot lose it and nobody tells it twice.
//!
//! An owner that died may have published more than its checkpoint says. Who takes over from it folds the whole log at
//! once, so that its target is at least the dead owner's, and is told so, to say everything again. Publications of a
//! key are numbered by its fence: readers take a fact only if its target is newer than theirs, or its target is the same and its
//! number higher.
//!
//! The log is read from the stream's leader, message by message: a replica that lags would end it too early, and the
//! events behind that end would be acknowledged without having been folded.

mod advance;
pub mod settling;

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use plimsoll_telemetry::trace;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::batches::{Batches, Received};
use crate::connection::{Bus, BusError, Outgoing};
use crate::records::Records;
use advance::{Advanced, Held};
use settling::Clock;
pub use settling::{LONGEST_BURST, Parts, QUIET, Settling};

/// An event of the log.
#[derive(Debug, Clone)]
pub struct LogEvent {
    pub subject: String,
    pub seq: u64,
    pub payload: Bytes,
    pub trace: String,
}

/// A publication of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The newest event of the state that was published last; 0 when there is none.
    pub base_seq: u64,
    /// The newest event that is in the state now.
    pub target_seq: u64,
    /// Every event up to this one is in the state. Of those between it and `target_seq` some wait.
    pub through_seq: u64,
    /// Higher than that of any publication of the key before, whoever made it.
    pub number: u64,
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
    type State: Send + Sync + 'static;

    /// What an event touches. Events that touch no common part must come to the same state in either order.
    fn parts(&self, payload: &[u8]) -> Parts {
        let _ = payload;
        Parts::All
    }
    /// The state before any event, or what a checkpoint's artifact holds. `beyond`: an owner that died may have published
    /// more than the checkpoint says, and what that was is not known.
    async fn load(&self, key: &str, checkpoint: Option<Bytes>, beyond: bool) -> Result<Self::State, String>;
    /// The artifact of a state.
    async fn save(&self, state: &mut Self::State) -> Result<Vec<u8>, String>;
    /// Folds one event in. On an error (or a panic) the state is thrown away and the log folded again from the
    /// checkpoint; an event that fails three times is passed over and becomes a dead letter.
    async fn apply(&self, state: &mut Self::State, event: &LogEvent) -> Result<(), String>;
    /// What the state says, compared with that of `base_seq`. Called once per checkpoint.
    async fn settle(&self, state: &mut Self::State, publication: &Publication) -> Vec<Outgoing>;
}

/// How long a fold may finish what it is at after it was asked to stop. What it leaves is folded by the next owner.
const GRACE: Duration = Duration::from_secs(10);
/// How long the broker is left alone after it did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs a fold until `stop`.
pub async fn run<F: Fold>(
    bus: Bus,
    fold: F,
    stop: CancellationToken,
    settling: Settling,
) -> Result<(), BusError> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = drive(bus, fold, stop.clone(), settling) => ended,
        // A broker that went away with the request to stop would otherwise be waited for.
        () = late => Ok(()),
    }
}

/// What folds of all keys share.
struct Runner<F: Fold> {
    bus: Bus,
    records: Records,
    fold: F,
    settling: Settling,
}

/// An event that was delivered and is not acknowledged.
struct Delivered {
    message: Received,
    parts: Parts,
}

type Delivery = BTreeMap<u64, Delivered>;

/// A key of which this process was told.
struct Key<S> {
    waiting: Delivery,
    /// None while the key is advanced.
    held: Option<Held<S>>,
    /// Not looked at before this time.
    not_before: i64,
}

impl<S> Default for Key<S> {
    fn default() -> Self {
        Self { waiting: Delivery::new(), held: Some(Held::default()), not_before: i64::MIN }
    }
}

/// What became of a key.
struct Worked<S> {
    subject: String,
    held: Held<S>,
    waiting: Delivery,
    not_before: i64,
}

impl<S> Key<S> {
    /// When it is to be advanced, as far as the events that were delivered to this process say; none while it is being
    /// advanced or nothing waits.
    fn due(&self, settling: &Settling, now: i64) -> Option<i64> {
        self.held.as_ref()?;
        self.waiting.first_key_value()?;
        let due = settling.due(waiting(&self.waiting), now);
        let time = if due.events.is_empty() { due.next? } else { now };
        Some(time.max(self.not_before))
    }

    fn take(&mut self, delivered: Delivered) {
        self.waiting.insert(delivered.message.stream_seq, delivered);
    }

    fn give_back(&mut self, worked: Worked<S>) {
        for (seq, delivered) in worked.waiting {
            // One that was delivered again meanwhile is the one that the broker waits for.
            self.waiting.entry(seq).or_insert(delivered);
        }
        self.held = Some(worked.held);
        self.not_before = worked.not_before;
    }
}

fn waiting(delivered: &Delivery) -> impl Iterator<Item = settling::Waiting<'_>> {
    delivered.iter().map(|(seq, event)| settling::Waiting {
        seq: *seq,
        parts: &event.parts,
        at: event.message.published.0,
    })
}

async fn drive<F: Fold>(
    bus: Bus,
    fold: F,
    stop: CancellationToken,
    settling: Settling,
) -> Result<(), BusError> {
    let batches = Batches::open(&bus, F::STREAM, &format!("fold-{}", F::NAME), &[F::SUBJECTS]).await?;
    let runner = Arc::new(Runner { records: bus.records("clusters"), bus, fold, settling });
    let (sender, mut news) = mpsc::channel(1);
    let mut reading = JoinSet::new();
    reading.spawn(read(F::NAME, batches, sender, stop.clone()));
    let mut working: JoinSet<Worked<F::State>> = JoinSet::new();
    let mut keys: HashMap<String, Key<F::State>> = HashMap::new();
    let mut clock: Option<Clock> = None;
    loop {
        if clock.as_ref().is_none_or(Clock::is_old) {
            let time = tokio::select! {
                () = stop.cancelled() => break,
                time = runner.records.server_time() => time,
            };
            match time {
                Ok(time) => clock = Some(runner.settling.clock(time.0)),
                Err(error) => tracing::warn!(fold = F::NAME, %error, "the broker does not say its time"),
            }
        }
        let mut wake = PAUSE;
        for (subject, key) in &mut keys {
            let Some(clock) = &clock else { break };
            let now = clock.now();
            let Some(due) = key.due(&runner.settling, now) else { continue };
            if due > now {
                wake = wake.min(clock.until(due));
                continue;
            }
            let Some(held) = key.held.take() else { continue };
            let waiting = std::mem::take(&mut key.waiting);
            working.spawn(Arc::clone(&runner).work(subject.clone(), held, waiting, clock.clone()));
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(received) = news.recv() => {
                for message in received {
                    let parts = runner.parts(&message.payload);
                    keys.entry(message.subject.clone()).or_default().take(Delivered { message, parts });
                }
            }
            Some(worked) = working.join_next(), if !working.is_empty() => {
                if let Ok(worked) = worked {
                    keys.entry(worked.subject.clone()).or_default().give_back(worked);
                }
            }
            () = tokio::time::sleep(wake) => {}
        }
    }
    while let Some(worked) = working.join_next().await {
        if let Ok(worked) = worked {
            keys.entry(worked.subject.clone()).or_default().give_back(worked);
        }
    }
    // Another owner need not wait for them to come again.
    news.close();
    let mut left: Vec<Received> =
        keys.into_values().flat_map(|key| key.waiting.into_values()).map(|event| event.message).collect();
    while let Some(received) = news.recv().await {
        left.extend(received);
    }
    for message in left {
        let _ = message.later(Duration::ZERO).await;
    }
    Ok(())
}

/// Hands on what is delivered. A pull that is dropped half-way would lose messages until they come again.
async fn read(
    fold: &'static str,
    batches: Batches,
    news: mpsc::Sender<Vec<Received>>,
    stop: CancellationToken,
) {
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = batches.next(256, Duration::from_secs(1)) => received,
        };
        match received {
            Ok(received) => {
                if !received.is_empty() && news.send(received).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(fold, %error, "cannot read the log");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl<F: Fold> Runner<F> {
    /// What an event touches; any part where that is not to be known.
    fn parts(&self, payload: &[u8]) -> Parts {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.fold.parts(payload))).unwrap_or(Parts::All)
    }

    /// Advances a key and acknowledges what that made good. On a failure its events come again.
    async fn work(
        self: Arc<Self>,
        subject: String,
        mut held: Held<F::State>,
        mut waiting: Delivery,
        clock: Clock,
    ) -> Worked<F::State> {
        let trace = waiting.values().next_back().map(|last| last.message.trace.clone()).unwrap_or_default();
        let span = tracing::info_span!("fold", otel.name = F::NAME, fold = F::NAME, events = waiting.len());
        trace::continue_from(&span, &trace);
        let work = AssertUnwindSafe(self.advance(&subject, &mut held, &waiting, &clock)).catch_unwind();
        let advanced =
            work.instrument(span).await.unwrap_or_else(|_| Err(BusError::Other("the fold panicked".into())));
        let mut not_before = i64::MIN;
        let again = match advanced {
            Ok(Advanced::To(reached)) => {
                let good: Vec<Delivered> =
                    waiting.extract_if(.., |seq, _| reached.has(*seq)).map(|(_, event)| event).collect();
                for delivered in good {
                    if let Err(error) = delivered.message.done().await {
                        tracing::warn!(fold = F::NAME, %error, "cannot acknowledge an event");
                    }
                }
                None
            }
            Ok(Advanced::NotBefore(time)) => {
                not_before = time;
                None
            }
            // The messages come again and find the checkpoint behind them, or the lease free.
            Ok(Advanced::Busy(left)) => Some(left),
            Err(error) => {
                tracing::warn!(fold = F::NAME, %error, "a fold failed and will be repeated");
                held.forget();
                Some(self.bus.settings().retry_step)
            }
        };
        if let Some(again) = again {
            for delivered in std::mem::take(&mut waiting).into_values() {
                if let Err(error) = delivered.message.later(again).await {
                    tracing::warn!(fold = F::NAME, %error, "cannot put an event off");
                }
            }
        }
        Worked { subject, held, waiting, not_before }
    }
}
