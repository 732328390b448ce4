//! Webhooks of Azure Container Registry
//! (<https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference>): one event, in the form of
//! CNCF Distribution's. They are not signed; a custom header carries the token.

use axum::response::Response;

use super::Notice;
use crate::error::ApiError;

/// `POST /v1/webhooks/acr`: `push` and `delete` count; `chart_push`, `quarantine`, `ping` and others are ignored.
///
/// 202, also for what is ignored; 4xx when the body is no event or the event is refused; 503 when JetStream is away.
pub async fn receive(notice: Notice) -> Result<Response, ApiError> {
    notice.accept(&[notice.read()?]).await
}
