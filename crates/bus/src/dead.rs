//! Dead letters, and the sweeper behind `max_deliver`.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::connection::{ARTIFACT_HEADER, Bus, BusError, Outgoing, message_id, patiently};
use crate::subjects::{ADVISORIES, EVENTS, FACTS, JOBS, dead};

/// A piece of work that was given up.
#[derive(Debug, Clone)]
pub(crate) struct Letter<'a> {
    pub(crate) stage: &'a str,
    /// Subject of the job.
    pub(crate) subject: &'a str,
    pub(crate) payload: &'a Bytes,
    pub(crate) artifact: Option<&'a str>,
    pub(crate) code: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) trace: &'a str,
    /// What makes this letter the same when it is written again.
    pub(crate) cause: &'a str,
}

/// Header texts keep to one line and a bounded length.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(char::is_ascii).take(1000).collect()
}

/// Writes a dead letter. One that was written before for the same cause is not written again.
pub(crate) async fn write(bus: &Bus, letter: &Letter<'_>) -> Result<(), BusError> {
    let message = Outgoing { subject: dead(letter.stage), payload: letter.payload.to_vec() };
    let id = message_id(&[b"dead", letter.stage.as_bytes(), letter.cause.as_bytes()]);
    let (code, detail, subject) = (line(letter.code), line(letter.detail), line(letter.subject));
    let mut headers =
        vec![("Plimsoll-Code", code.as_str()), ("Plimsoll-Detail", &detail), ("Plimsoll-Subject", &subject)];
    if let Some(artifact) = letter.artifact {
        headers.push((ARTIFACT_HEADER, artifact));
    }
    match bus.publish_traced(&message, &id, &headers, letter.trace).await {
        Ok(_) | Err(BusError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Advisory {
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: u64,
}

/// Moves messages that reached `max_deliver` from JOBS to DEAD, until `stop`; those of EVENTS and FACTS, which are
/// logs, are copied. The server's advisory about such a
/// message is kept in a stream of its own, so none is lost while no sweeper runs.
pub async fn sweep(bus: Bus, stop: CancellationToken) -> Result<(), BusError> {
    let stream = bus.context().get_stream_no_info(ADVISORIES).await.map_err(BusError::other)?;
    let config = pull::Config {
        durable_name: Some("sweeper".into()),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let consumer: PullConsumer = patiently("sweeper", || async {
        stream.create_consumer(config.clone()).await.map_err(BusError::other)
    })
    .await?;
    loop {
        let batch = consumer.batch().max_messages(16).expires(Duration::from_secs(5)).messages();
        let mut batch = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            batch = batch => match batch {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(%error, "cannot read advisories");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            },
        };
        while let Some(message) = batch.next().await {
            let Ok(message) = message else { break };
            if let Err(error) = bury(&bus, &message.payload).await {
                tracing::warn!(%error, "cannot move an undeliverable job to the dead letters");
                continue;
            }
            if let Err(error) = message.double_ack().await {
                tracing::warn!(%error, "cannot acknowledge an advisory");
            }
        }
        if stop.is_cancelled() {
            return Ok(());
        }
    }
}

async fn bury(bus: &Bus, advisory: &[u8]) -> Result<(), BusError> {
    let Ok(advisory) = serde_json::from_slice::<Advisory>(advisory) else { return Ok(()) };
    if ![JOBS, EVENTS, FACTS].contains(&advisory.stream.as_str()) {
        return Ok(());
    }
    let stream = bus.context().get_stream_no_info(&advisory.stream).await.map_err(BusError::other)?;
    let message = match stream.get_raw_message(advisory.stream_seq).await {
        Ok(message) => message,
        Err(error)
            if error.kind() == async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound =>
        {
            return Ok(());
        }
        Err(error) => return Err(BusError::other(error)),
    };
    let stage = advisory.consumer.rsplit_once('-').map_or(advisory.consumer.as_str(), |(stage, _)| stage);
    write(
        bus,
        &Letter {
            stage,
            subject: &message.subject,
            payload: &message.payload,
            artifact: message.headers.get(ARTIFACT_HEADER).map(async_nats::HeaderValue::as_str),
            code: "max_deliver",
            detail: &format!("delivered {} times without an end", advisory.deliveries),
            trace: message
                .headers
                .get(plimsoll_telemetry::trace::HEADER)
                .map_or("", async_nats::HeaderValue::as_str),
            cause: &format!("{}/{}", advisory.stream, advisory.stream_seq),
        },
    )
    .await?;
    if advisory.stream == JOBS {
        stream.delete_message(advisory.stream_seq).await.map_err(BusError::other)?;
    }
    Ok(())
}
