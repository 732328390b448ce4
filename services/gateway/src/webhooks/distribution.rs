//! Notifications of CNCF Distribution and what embeds it
//! (<https://distribution.github.io/distribution/about/notifications/>): the envelope of versions 1 and 2.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use plimsoll_config::Scope;
use serde::Deserialize;

use super::{Asked, Event, accept};
use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params, body};

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Event>,
}

/// `POST /v1/webhooks/distribution`
///
/// 202 when every event that counts is in JetStream; events that are refused alone are named in the answer.
/// 4xx when the body is no envelope or all of its events are refused; 503 when JetStream is away.
pub async fn receive(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    bytes: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Webhooks)?;
    let bytes = body(bytes)?;
    let envelope: Envelope =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::bad("bad_envelope", error))?;
    let registry = asked.identity(&app)?;
    accept(&app, &envelope.events, registry.as_deref()).await
}
