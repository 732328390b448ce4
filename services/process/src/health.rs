//! Liveness, readiness and metrics over HTTP, for the gateway and for processes without one.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use plimsoll_telemetry::{Health, Metrics};

/// `/healthz`: 200 while the process serves at all.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `/readyz`: 200 when every part is ready, else 503 with the reasons.
pub fn ready(health: &Health) -> Response {
    let missing = health.not_ready();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let missing: serde_json::Map<String, serde_json::Value> =
        missing.into_iter().map(|(part, reason)| (part, reason.into())).collect();
    (status, Json(serde_json::json!({ "ready": status == StatusCode::OK, "not_ready": missing })))
        .into_response()
}

/// `/metrics`: the page for Prometheus.
pub fn metrics(metrics: &Metrics) -> Response {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, metrics.page()).into_response()
}

/// The three routes.
pub fn router(health: Health, registry: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(move || async move { ready(&health) }))
        .route("/metrics", get(move || async move { metrics(&registry) }))
}
