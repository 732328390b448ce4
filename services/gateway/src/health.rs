//! Liveness, readiness, metrics.

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use plimsoll_telemetry::metrics::Route;
use tracing::Instrument;

use crate::App;

/// 200 while the process serves at all.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// 200 when every part is ready, else 503 with the reasons.
pub async fn ready(State(app): State<App>) -> Response {
    let missing = app.bus.health().not_ready();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let missing: serde_json::Map<String, serde_json::Value> =
        missing.into_iter().map(|(part, reason)| (part, reason.into())).collect();
    (status, Json(serde_json::json!({ "ready": status == StatusCode::OK, "not_ready": missing })))
        .into_response()
}

/// The page for Prometheus.
pub async fn metrics(State(app): State<App>) -> Response {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, app.bus.metrics().page()).into_response()
}

/// Counts every request by route, in a span that starts or continues the caller's trace.
pub async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("http", otel.name = %route, otel.kind = "server", route = %route, status = tracing::field::Empty);
    if let Some(parent) = request.headers().get("traceparent").and_then(|v| v.to_str().ok()) {
        plimsoll_telemetry::trace::continue_from(&span, parent);
    }
    let response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    app.bus.metrics().requests.get_or_create(&Route { route, status: response.status().as_u16() }).inc();
    response
}
