//! Reading a stream from a point on, for subscribers that come and go.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::watch;

use crate::connection::{Bus, BusError};

/// Where a tail starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After the message with this sequence.
    After(u64),
    /// At the first message that the stream still has.
    Beginning,
    /// With what comes next.
    Now,
}

/// A message of a tail.
#[derive(Debug, Clone)]
pub struct Line {
    pub seq: u64,
    pub subject: String,
    pub payload: Bytes,
}

/// An ordered view of a stream; it goes on where it was when the connection breaks.
pub struct Tail {
    bus: Bus,
    stream: String,
    filters: Vec<String>,
    /// The first sequence that is still to come.
    next: u64,
    messages: Ordered,
    /// Of the connection: a consumer that was made before would be repaired only when its heartbeats are missed.
    connected: watch::Receiver<u64>,
}

/// Between attempts to go on after the connection broke.
const AGAIN: Duration = Duration::from_millis(250);

impl Bus {
    /// Opens a tail of `stream` for these subject filters.
    pub async fn tail(&self, stream: &str, filters: &[String], from: From) -> Result<Tail, BusError> {
        let connected = self.connected();
        let next = match from {
            From::After(seq) => seq.saturating_add(1),
            From::Beginning => 1,
            // The place of now, so that nothing is missed when the connection breaks before the first message.
            From::Now => {
                let stream = self.context().get_stream(stream).await.map_err(BusError::other)?;
                stream.cached_info().state.last_sequence.saturating_add(1)
            }
        };
        let messages = self.ordered(stream, filters, next).await?;
        let (stream, filters) = (stream.to_owned(), filters.to_vec());
        Ok(Tail { bus: self.clone(), stream, filters, next, messages, connected })
    }

    async fn ordered(&self, stream: &str, filters: &[String], next: u64) -> Result<Ordered, BusError> {
        let handle = self.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
        let config = OrderedConfig {
            filter_subjects: filters.to_vec(),
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: match next {
                0 | 1 => DeliverPolicy::All,
                start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
            },
            ..Default::default()
        };
        let consumer = handle.create_consumer(config).await.map_err(BusError::other)?;
        consumer.messages().await.map_err(BusError::other)
    }
}

impl Tail {
    /// The next message; `None` when the connection is closed for good. What it waits for may be dropped at any time.
    pub async fn next(&mut self) -> Option<Result<Line, BusError>> {
        let message = loop {
            tokio::select! {
                biased;
                changed = self.connected.changed() => {
                    changed.ok()?;
                    self.go_on().await;
                }
                message = self.messages.next() => match message? {
                    Ok(message) => break message,
                    Err(error) => return Some(Err(BusError::other(error))),
                },
            }
        };
        let line = async {
            let seq = message.info().map_err(BusError::other)?.stream_sequence;
            let payload = self.bus.payload(message.headers.as_ref(), &message.payload).await?;
            self.next = seq.saturating_add(1);
            Ok(Line { seq, subject: message.subject.to_string(), payload })
        };
        Some(line.await)
    }

    async fn go_on(&mut self) {
        loop {
            match self.bus.ordered(&self.stream, &self.filters, self.next).await {
                Ok(messages) => {
                    self.messages = messages;
                    return;
                }
                // JetStream may need a moment after the connection is there.
                Err(error) => {
                    tracing::debug!(stream = self.stream, %error, "a tail cannot go on yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}
