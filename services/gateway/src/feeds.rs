//! `GET /v1/feeds`: what the feeds role last told of its sources.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use plimsoll_config::Scope;
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use serde_json::{Value, json};

use crate::App;
use crate::auth::require;
use crate::error::ApiError;

/// One source, as people read it.
pub fn json(feed: &v1::FeedState) -> Value {
    let at = |at: i64| (at > 0).then(|| Timestamp(at).to_string());
    let held = (!feed.held.is_empty()).then(|| {
        json!({
            "because": feed.held, "records": feed.held_records, "newest": at(feed.held_newest), "since": at(feed.held_since),
        })
    });
    json!({
        "name": feed.name,
        "address": feed.address,
        "records": feed.records,
        "newest": at(feed.newest),
        "checked": at(feed.checked),
        "checksum": feed.checksum,
        "terms": feed.terms,
        "stale": !feed.code.is_empty(),
        "code": feed.code,
        "detail": feed.detail,
        "held": held,
    })
}

/// `GET /v1/feeds`.
pub async fn list(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let record: v1::FeedsRecord = match app.bus.records("control").get("feeds").await? {
        Some(record) => record.decode()?,
        None => v1::FeedsRecord::default(),
    };
    let at = (record.at > 0).then(|| Timestamp(record.at).to_string());
    Ok(Json(json!({ "at": at, "feeds": record.feeds.iter().map(json).collect::<Vec<_>>() })))
}
