//! Pulling messages in batches, for consumers that commit many at once.

use std::time::Duration;

use async_nats::HeaderValue;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use bytes::Bytes;
use futures::StreamExt;
use plimsoll_model::time::Timestamp;

use crate::connection::{Bus, BusError};

/// A durable consumer that is read in batches.
pub struct Batches {
    bus: Bus,
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
        let handle = bus.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subjects: filters.iter().map(|&f| f.to_owned()).collect(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: bus.settings().ack_wait,
            deliver_policy: DeliverPolicy::All,
            max_ack_pending: 10_000,
            ..Default::default()
        };
        let consumer = handle.create_consumer(config).await.map_err(BusError::other)?;
        Ok(Self { bus: bus.clone(), consumer })
    }

    /// Up to `max` messages: what is there now, or, when there is nothing, the next one within `wait`.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Received>, BusError> {
        let mut batch = self.consumer.fetch().max_messages(max).messages().await.map_err(BusError::other)?;
        let mut received = self.collect(&mut batch).await?;
        if received.is_empty() && !wait.is_zero() {
            let mut batch = self
                .consumer
                .batch()
                .max_messages(1)
                .expires(wait)
                .messages()
                .await
                .map_err(BusError::other)?;
            received = self.collect(&mut batch).await?;
            if !received.is_empty() && max > 1 {
                let more =
                    self.consumer.fetch().max_messages(max - 1).messages().await.map_err(BusError::other)?;
                let mut more = more;
                received.extend(self.collect(&mut more).await?);
            }
        }
        Ok(received)
    }

    async fn collect(&self, batch: &mut pull::Batch) -> Result<Vec<Received>, BusError> {
        let mut received = Vec::new();
        while let Some(message) = batch.next().await {
            let message = message.map_err(BusError::other)?;
            received.push(Received::from_message(&self.bus, message).await?);
        }
        Ok(received)
    }
}

/// Reads all messages of a stream from the first on, once, without a durable consumer: for rebuilding.
pub async fn replay(
    bus: &Bus,
    stream: &str,
    filters: &[&str],
    mut each: impl AsyncFnMut(Received) -> Result<(), BusError>,
) -> Result<u64, BusError> {
    let handle = bus.context().get_stream(stream).await.map_err(BusError::other)?;
    let last = handle.cached_info().state.last_sequence;
    let config = pull::Config {
        filter_subjects: filters.iter().map(|&f| f.to_owned()).collect(),
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        inactive_threshold: Duration::from_secs(60),
        ..Default::default()
    };
    let consumer: PullConsumer = handle.create_consumer(config).await.map_err(BusError::other)?;
    let mut count = 0;
    loop {
        let mut batch = consumer.fetch().max_messages(500).messages().await.map_err(BusError::other)?;
        let mut got = 0;
        while let Some(message) = batch.next().await {
            let received = Received::from_message(bus, message.map_err(BusError::other)?).await?;
            got += 1;
            if received.stream_seq <= last {
                count += 1;
                each(received).await?;
            }
        }
        if got == 0 {
            return Ok(count);
        }
    }
}
