//! Findings, changes of findings, and questions about them. The store is the aggregator's; the gateway asks it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use plimsoll_bus::subjects;
use plimsoll_bus::tail::From;
use plimsoll_config::Scope;
use plimsoll_model::digest::Digest;
use plimsoll_model::finding::Class;
use serde::Deserialize;
use serde_json::Value;

use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params};

/// How long the aggregator may take to answer.
const BOUND: Duration = Duration::from_secs(20);

async fn ask(app: &App, name: &str, question: Value) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.bus.ask(name, &question, BOUND).await??))
}

/// Filters of `GET /v1/findings`; several are joined by "and".
#[derive(Debug, Deserialize, serde::Serialize)]
pub struct Filter {
    class: Option<String>,
    cluster: Option<String>,
    namespace: Option<String>,
    repository: Option<String>,
    vulnerability: Option<String>,
    package: Option<String>,
    state: Option<String>,
    /// Those that statements or advisories suppress, as `state=suppressed`.
    #[serde(default)]
    suppressed: bool,
    /// At most 1,000, by default 100.
    limit: Option<u32>,
    /// From the answer before.
    cursor: Option<String>,
}

/// `GET /v1/findings`: open findings in the order in which people should act.
pub async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    Params(filter): Params<Filter>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    if let Some(class) = &filter.class {
        class.parse::<Class>().map_err(|error| ApiError::bad("bad_request", error))?;
    }
    let question = serde_json::to_value(&filter).map_err(|error| ApiError::bad("bad_request", error))?;
    ask(&app, "findings", question).await
}

/// Filters of `GET /v1/images`.
#[derive(Debug, Deserialize, serde::Serialize)]
pub struct ImagesFilter {
    /// Only images with packages of releases that their distributions no longer support.
    #[serde(default)]
    eol: bool,
    /// At most 1,000, which is the default.
    limit: Option<u32>,
    /// `next` of the answer before.
    after: Option<Digest>,
}

/// `GET /v1/images`: the images that are known, with their state.
pub async fn images(
    State(app): State<App>,
    headers: HeaderMap,
    Params(filter): Params<ImagesFilter>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let question = serde_json::to_value(&filter).map_err(|error| ApiError::bad("bad_request", error))?;
    ask(&app, "images", question).await
}

/// `GET /v1/images/{digest}`: what is known of one image.
pub async fn image(
    State(app): State<App>,
    headers: HeaderMap,
    Path(digest): Path<String>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let digest: Digest = digest.parse().map_err(|error| ApiError::bad("invalid_digest", error))?;
    ask(&app, "image", serde_json::json!({ "digest": digest })).await
}

/// `GET /v1/affected/{id}`: where a vulnerability or package is, and whether it can be reached.
pub async fn affected(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    ask(&app, "affected", serde_json::json!({ "id": id })).await
}

/// `GET /v1/actions`: what to do first, and the share of risk that each step removes.
pub async fn actions(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    ask(&app, "actions", Value::Null).await
}

/// Filters of the stream.
#[derive(Debug, Deserialize)]
pub struct StreamFilter {
    /// Only changes that are published under this class.
    class: Option<String>,
    /// Only workloads of this cluster.
    cluster: Option<String>,
    /// `beginning`: all that is kept; default: what comes next. `Last-Event-ID` wins.
    from: Option<String>,
}

/// `GET /v1/findings/stream`: changes as server-sent events; `id` is the stream's sequence, and a client that sends
/// it back as `Last-Event-ID` misses nothing that is still kept (30 days).
pub async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
    Params(filter): Params<StreamFilter>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let class = match &filter.class {
        Some(class) => class.parse::<Class>().map_err(|error| ApiError::bad("bad_request", error))?.as_str(),
        None => "*",
    };
    let subject = match &filter.cluster {
        Some(cluster) => {
            format!("findings.v1.{class}.workload.{}.>", plimsoll_findings::encode_token(cluster))
        }
        None => format!("findings.v1.{class}.>"),
    };
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let from = match (last, filter.from.as_deref()) {
        (Some(last), _) => From::After(
            last.parse().map_err(|_| ApiError::bad("bad_request", "Last-Event-ID is no sequence"))?,
        ),
        (None, Some("beginning")) => From::Beginning,
        (None, Some(_)) => return Err(ApiError::bad("bad_request", "from is not \"beginning\"")),
        (None, None) => From::Now,
    };
    let mut tail = app.bus.tail(subjects::FINDINGS, &[subject], from).await?;
    let stop = app.stop.clone();
    let events = async_stream::stream! {
        loop {
            let line = tokio::select! {
                () = stop.cancelled() => break,
                line = tail.next() => line,
            };
            match line {
                Some(Ok(line)) => {
                    let data = String::from_utf8_lossy(&line.payload).into_owned();
                    yield Ok(Event::default().id(line.seq.to_string()).event("findings").data(data));
                }
                Some(Err(error)) => tracing::warn!(%error, "a subscriber's stream stumbled"),
                None => break,
            }
        }
    };
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
