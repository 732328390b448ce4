//! Questions and answers between roles: JSON over NATS request and reply, one queue group a service.

use std::time::Duration;

use async_nats::header::HeaderMap;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::connection::{Bus, BusError};

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Stable code, e.g. `not_found`.
    pub code: String,
    pub detail: String,
}

impl Refusal {
    pub fn new(code: &str, detail: impl std::fmt::Display) -> Self {
        Self { code: code.to_owned(), detail: detail.to_string() }
    }
}

/// What an answer is inside its message. A large one is an artifact.
#[derive(Serialize, Deserialize)]
enum Answer {
    Inline(Result<serde_json::Value, Refusal>),
    Artifact(String),
}

const INLINE: usize = 900 << 10;
/// Questions that are answered at once; more wait.
const AT_ONCE: usize = 8;

impl Bus {
    /// Asks `query.v1.<name>` and waits at most `bound`; not at all while the broker is away.
    pub async fn ask(
        &self,
        name: &str,
        question: &serde_json::Value,
        bound: Duration,
    ) -> Result<Result<serde_json::Value, Refusal>, BusError> {
        let subject = format!("query.v1.{name}");
        let failed = |reason: String| BusError::Request { subject: format!("query.v1.{name}"), reason };
        if self.client().connection_state() != async_nats::connection::State::Connected {
            // The client would keep the question until it is connected again, or the bound has passed.
            return Err(failed("not connected".to_owned()));
        }
        let payload = serde_json::to_vec(question).map_err(|e| failed(e.to_string()))?;
        let request =
            async_nats::Request::new().payload(payload.into()).headers(HeaderMap::new()).timeout(Some(bound));
        let answer = self.client().send_request(subject, request).await.map_err(|e| failed(e.to_string()))?;
        match serde_json::from_slice(&answer.payload).map_err(|e| failed(e.to_string()))? {
            Answer::Inline(answer) => Ok(answer),
            Answer::Artifact(name) => {
                let bytes = self.artifacts().get(&name).await?.ok_or(BusError::MissingArtifact(name))?;
                serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))
            }
        }
    }

    /// Answers `query.v1.*` until `stop`, a few questions at once.
    pub async fn answer(
        &self,
        stop: CancellationToken,
        answer: impl AsyncFn(&str, serde_json::Value) -> Result<serde_json::Value, Refusal>,
    ) -> Result<(), BusError> {
        let mut questions = self
            .client()
            .queue_subscribe("query.v1.*", "aggregator".into())
            .await
            .map_err(BusError::other)?;
        let answer = &answer;
        let mut under_way = FuturesUnordered::new();
        loop {
            let question = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(()) = under_way.next() => continue,
                question = questions.next(), if under_way.len() < AT_ONCE => question,
            };
            let Some(question) = question else { return Ok(()) };
            let Some(reply) = question.reply.clone() else { continue };
            under_way.push(async move {
                let name = question.subject.rsplit('.').next().unwrap_or_default();
                let result = match serde_json::from_slice(&question.payload) {
                    Ok(value) => answer(name, value).await,
                    Err(error) => Err(Refusal::new("bad_request", error)),
                };
                // One answer that cannot be sent is its asker's loss, and he asks again.
                if let Err(error) = self.reply(reply, result).await {
                    tracing::warn!(%error, name, "an answer was not sent");
                }
            });
        }
    }

    async fn reply(
        &self,
        to: async_nats::Subject,
        result: Result<serde_json::Value, Refusal>,
    ) -> Result<(), BusError> {
        let answer = Answer::Inline(result);
        let mut body = serde_json::to_vec(&answer).map_err(BusError::other)?;
        if let (true, Answer::Inline(result)) = (body.len() > INLINE, answer) {
            // The artifact holds the inner result, as `ask` expects.
            let bytes = serde_json::to_vec(&result).map_err(BusError::other)?;
            let name = self.artifacts().put("answer", &bytes).await?;
            body = serde_json::to_vec(&Answer::Artifact(name)).map_err(BusError::other)?;
        }
        self.client().publish(to, Bytes::from(body)).await.map_err(BusError::other)
    }
}
