//! Liveness, readiness, metrics.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use plimsoll_telemetry::metrics::Route;
use tracing::Instrument;

use crate::App;

/// 200 when every part is ready, else 503 with the reasons.
pub async fn ready(State(app): State<App>) -> Response {
    plimsoll_process::health::ready(app.bus.health())
}

/// The page for Prometheus.
pub async fn metrics(State(app): State<App>) -> Response {
    plimsoll_process::health::metrics(app.bus.metrics())
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
