//! Notifications of CNCF Distribution and what embeds it
//! (<https://distribution.github.io/distribution/about/notifications/>): the envelope of versions 1 and 2.

use axum::response::Response;
use serde::Deserialize;

use super::{Event, Notice};
use crate::error::ApiError;

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Event>,
}

/// `POST /v1/webhooks/distribution`
///
/// 202 when every event that counts is in JetStream; events that are refused alone are named in the answer.
/// 4xx when the body is no envelope or all of its events are refused; 503 when JetStream is away.
pub async fn receive(notice: Notice) -> Result<Response, ApiError> {
    let Envelope { events } = notice.read()?;
    notice.accept(&events).await
}
