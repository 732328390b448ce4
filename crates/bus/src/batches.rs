//! Pulling messages in batches, for consumers that commit many at once.

use std::time::Duration;

use async_nats::HeaderValue;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use bytes::Bytes;
use futures::StreamExt;
use plimsoll_model::time::Timestamp;

use crate::connection::{ARTIFACT_HEADER, Bus, BusError, patiently};
use crate::dead::{self, Letter};

/// When an answer to a pull that should come at once counts as lost.
const LOST: Duration = Duration::from_secs(5);
/// Deliveries of a message whose artifact is missing, after which it is a dead letter.
const UNREADABLE: i64 = 6;
/// How long a replay waits for a message that the leader has.
const LAGGING: Duration = Duration::from_secs(30);

/// A durable consumer that is read in batches.
pub struct Batches {
    bus: Bus,
    name: String,
    consumer: PullConsumer,
}

/// A message of a batch; un-acknowledged it comes again.
pub struct Received {
    pub subject: String,
    pub payload: Bytes,
    pub stream_seq: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// The server's time of its publishing.
    pub published: Timestamp,
    pub trace: String,
    message: async_nats::jetstream::Message,
}

impl Received {
    /// Acknowledges, and waits for the server to say that it knows.
    pub async fn done(self) -> Result<(), BusError> {
        self.message.double_ack().await.map_err(BusError::other)
    }

    /// Acknowledges without waiting.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.message.ack().await.map_err(BusError::other)
    }

    /// Gives it back, to be delivered again after `wait`.
    pub async fn later(&self, wait: Duration) -> Result<(), BusError> {
        self.message.ack_with(AckKind::Nak(Some(wait))).await.map_err(BusError::other)
    }

    /// Keeps it for another `ack_wait`.
    pub async fn keep(&self) -> Result<(), BusError> {
        self.message.ack_with(AckKind::Progress).await.map_err(BusError::other)
    }

    pub(crate) async fn from_message(
        bus: &Bus,
        message: async_nats::jetstream::Message,
    ) -> Result<Self, BusError> {
        let payload = bus.payload(message.headers.as_ref(), &message.payload).await?;
        let info = message.info().map_err(BusError::other)?;
        let trace = message
            .headers
            .as_ref()
            .and_then(|h| h.get(plimsoll_telemetry::trace::HEADER))
            .map_or("", HeaderValue::as_str)
            .to_owned();
        Ok(Self {
            subject: message.subject.to_string(),
            payload,
            stream_seq: info.stream_sequence,
            delivered: u64::try_from(info.delivered).unwrap_or(0),
            published: Timestamp(
                i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            ),
            trace,
            message: message.clone(),
        })
    }
}

impl Batches {
    /// Opens (and creates) the durable consumer `name` on `stream` for the subjects of `filters`.
    pub async fn open(bus: &Bus, stream: &str, name: &str, filters: &[&str]) -> Result<Self, BusError> {
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subjects: filters.iter().map(|&f| f.to_owned()).collect(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: bus.settings().ack_wait,
            deliver_policy: DeliverPolicy::All,
            max_ack_pending: 10_000,
            ..Default::default()
        };
        let consumer = patiently(name, || async {
            let handle = bus.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
            handle.create_consumer(config.clone()).await.map_err(BusError::other)
        })
        .await?;
        Ok(Self { bus: bus.clone(), name: name.to_owned(), consumer })
    }

    /// Up to `max` messages: what is there now, or, when there is nothing, the next one within `wait`. A message whose
    /// artifact stays missing or corrupt is passed over and becomes a dead letter.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Received>, BusError> {
        let received = self.there(max).await?;
        if !received.is_empty() || wait.is_zero() {
            return Ok(received);
        }
        let batch = self.consumer.batch().max_messages(1).expires(wait).messages().await;
        let mut received = self.collect(&mut batch.map_err(BusError::other)?, wait + LOST).await?;
        if !received.is_empty() && max > 1 {
            match self.there(max - 1).await {
                Ok(more) => received.extend(more),
                Err(error) => tracing::warn!(%error, consumer = self.name, "cannot read the rest of a batch"),
            }
        }
        Ok(received)
    }

    async fn there(&self, max: usize) -> Result<Vec<Received>, BusError> {
        let batch = self.consumer.fetch().max_messages(max).messages().await;
        self.collect(&mut batch.map_err(BusError::other)?, LOST).await
    }

    /// What arrived before an error is kept: it would not come again before `ack_wait`.
    async fn collect(&self, batch: &mut pull::Batch, lost: Duration) -> Result<Vec<Received>, BusError> {
        let mut received = Vec::new();
        let failed = loop {
            let message = match tokio::time::timeout(lost, batch.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(None) => return Ok(received),
                Ok(Some(Err(error))) => break BusError::other(error),
                Err(_) => break BusError::Other("a pull was not answered".into()),
            };
            match Received::from_message(&self.bus, message.clone()).await {
                Ok(message) => received.push(message),
                Err(
                    error @ (BusError::MissingArtifact(_) | BusError::BadArtifact { .. } | BusError::Key(_)),
                ) => self.unreadable(&message, &error).await?,
                Err(error) => break error,
            }
        };
        if received.is_empty() { Err(failed) } else { Ok(received) }
    }

    async fn unreadable(
        &self,
        message: &async_nats::jetstream::Message,
        error: &BusError,
    ) -> Result<(), BusError> {
        let info = message.info().map_err(BusError::other)?;
        tracing::warn!(%error, consumer = self.name, seq = info.stream_sequence, "a message cannot be read");
        if info.delivered < UNREADABLE {
            let wait = self.bus.settings().retry_step;
            return message.ack_with(AckKind::Nak(Some(wait))).await.map_err(BusError::other);
        }
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(HeaderValue::as_str);
        let letter = Letter {
            stage: &self.name,
            subject: &message.subject,
            payload: &message.payload,
            artifact: header(ARTIFACT_HEADER),
            code: error.code(),
            detail: &error.to_string(),
            trace: header(plimsoll_telemetry::trace::HEADER).unwrap_or_default(),
            cause: &format!("{}/{}", info.stream, info.stream_sequence),
        };
        dead::write(&self.bus, &letter).await?;
        message.double_ack().await.map_err(BusError::other)
    }
}

/// Reads all messages of a stream after a sequence, once, without a durable consumer: for rebuilding. Returns how
/// many. The end is what the leader has when it begins; a replica that lags behind it is waited for.
pub async fn replay(
    bus: &Bus,
    stream: &str,
    filters: &[&str],
    after: u64,
    mut each: impl AsyncFnMut(Received) -> Result<(), BusError>,
) -> Result<u64, BusError> {
    let last = last_of_all(bus, stream, filters).await?;
    if last <= after {
        return Ok(0);
    }
    let config = pull::Config {
        filter_subjects: filters.iter().map(|&f| f.to_owned()).collect(),
        ack_policy: AckPolicy::None,
        deliver_policy: match after {
            0 => DeliverPolicy::All,
            after => DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        },
        inactive_threshold: Duration::from_secs(300),
        ..Default::default()
    };
    let handle = bus.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
    let consumer: PullConsumer = handle.create_consumer(config).await.map_err(BusError::other)?;
    let (mut count, mut moved) = (0, std::time::Instant::now());
    loop {
        let batch = consumer.batch().max_messages(500).expires(Duration::from_secs(1)).messages().await;
        let mut batch = batch.map_err(BusError::other)?;
        while let Some(message) = batch.next().await {
            let received = Received::from_message(bus, message.map_err(BusError::other)?).await?;
            let seq = received.stream_seq;
            if seq <= last {
                count += 1;
                each(received).await?;
            }
            moved = std::time::Instant::now();
            if seq >= last {
                return Ok(count);
            }
        }
        if moved.elapsed() > LAGGING {
            // Nothing more comes: the last messages were removed by the stream's limits meanwhile, or the replica is
            // too far behind to be of use.
            if last_of_all(bus, stream, filters).await? < last {
                return Ok(count);
            }
            return Err(BusError::Other(format!("{stream} was not read to {last} within {LAGGING:?}")));
        }
    }
}

async fn last_of_all(bus: &Bus, stream: &str, filters: &[&str]) -> Result<u64, BusError> {
    let mut last = 0;
    for filter in filters {
        last = last.max(last_of(bus, stream, filter).await?);
    }
    Ok(last)
}

/// Sequence of the last message of a subject (wildcards allowed), from the leader; 0 when there is none.
pub(crate) async fn last_of(bus: &Bus, stream: &str, subject: &str) -> Result<u64, BusError> {
    use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
    let stream = bus.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(message.sequence),
        Err(error) if error.kind() == Kind::NoMessageFound => Ok(0),
        Err(error) => Err(BusError::other(error)),
    }
}

/// The stream sequence through which a durable consumer has acknowledged everything; 0 when there is no such
/// consumer.
pub async fn acknowledged(bus: &Bus, stream: &str, durable: &str) -> Result<u64, BusError> {
    let handle = bus.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
    // Without the consumer nothing was ever acknowledged; any other failure shows with the next use of the stream.
    Ok(handle.consumer_info(durable).await.map_or(0, |info| info.ack_floor.stream_sequence))
}
