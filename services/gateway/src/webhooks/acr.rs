//! Webhooks of Azure Container Registry
//! (<https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference>): one event, in the form of
//! CNCF Distribution's. They are not signed; a custom header carries the token.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use plimsoll_config::Scope;

use super::{Asked, Event, accept};
use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params, body};

/// `POST /v1/webhooks/acr`: `push` and `delete` count; `chart_push`, `quarantine`, `ping` and others are ignored.
///
/// 202, also for what is ignored; 4xx when the body is no event or the event is refused; 503 when JetStream is away.
pub async fn receive(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    bytes: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Webhooks)?;
    let event: Event =
        serde_json::from_slice(&body(bytes)?).map_err(|error| ApiError::bad("bad_envelope", error))?;
    let registry = asked.identity(&app)?;
    accept(&app, &[event], registry.as_deref()).await
}
