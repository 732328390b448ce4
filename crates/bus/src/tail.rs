//! Reading a stream from a point on, for subscribers that come and go.

use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use bytes::Bytes;
use futures::StreamExt;

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

/// An ordered view of a stream; it repairs itself when the connection breaks.
pub struct Tail {
    bus: Bus,
    messages: Ordered,
}

impl Bus {
    /// Opens a tail of `stream` for one subject filter.
    pub async fn tail(&self, stream: &str, filters: &[String], from: From) -> Result<Tail, BusError> {
        let handle = self.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
        let config = OrderedConfig {
            filter_subjects: filters.to_vec(),
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: match from {
                From::After(seq) => DeliverPolicy::ByStartSequence { start_sequence: seq + 1 },
                From::Beginning => DeliverPolicy::All,
                From::Now => DeliverPolicy::New,
            },
            ..Default::default()
        };
        let consumer = handle.create_consumer(config).await.map_err(BusError::other)?;
        let messages = consumer.messages().await.map_err(BusError::other)?;
        Ok(Tail { bus: self.clone(), messages })
    }
}

impl Tail {
    /// The next message; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<Result<Line, BusError>> {
        let message = match self.messages.next().await? {
            Ok(message) => message,
            Err(error) => return Some(Err(BusError::other(error))),
        };
        let line = async {
            let payload = self.bus.payload(message.headers.as_ref(), &message.payload).await?;
            let seq = message.info().map_err(BusError::other)?.stream_sequence;
            Ok(Line { seq, subject: message.subject.to_string(), payload })
        };
        Some(line.await)
    }
}
