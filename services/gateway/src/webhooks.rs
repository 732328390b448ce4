//! What registries tell: each in its own format, read into [`Event`]s, and these into events of ours.
//!
//! | module | format |
//! |---|---|
//! | [`distribution`] | notifications of CNCF Distribution |
//! | [`harbor`] | webhooks of Harbor, in both of its payload formats |
//! | [`acr`] | webhooks of Azure Container Registry |
//! | [`github`] | webhooks of GitHub for packages in its container registry, signed |
//! | [`ecr`] | events of Amazon ECR, as EventBridge sends them |
//! | [`quay`] | webhooks of Quay |
//!
//! Pushes, mounts and deletions count; pulls, our own among them, are ignored. An address inside an event is never
//! connected to: the host that it names is looked up among the configured registries.

pub mod acr;
pub mod distribution;
pub mod ecr;
pub mod github;
pub mod harbor;
pub mod quay;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use plimsoll_bus::connection::message_id;
use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{BusError, Outgoing, fault, subjects};
use plimsoll_config::Scope;
use plimsoll_model::digest::Digest;
use plimsoll_model::reference::{valid_repository, valid_tag};
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use prost::Message as _;
use serde::Deserialize;

use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params, body};

/// Events of one request at most.
const MAX_EVENTS: usize = 1000;

/// One event, in the form of CNCF Distribution's notifications; other formats are read into it.
#[derive(Debug, Default, Deserialize)]
struct Event {
    #[serde(default)]
    id: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    request: Request,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    length: u64,
    /// The format tells of manifests only, and not of their media types.
    #[serde(skip)]
    manifest: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Request {
    #[serde(default)]
    host: String,
}

/// `?registry=NAME` says which configured registry sends, where the host in its events is of no use.
#[derive(Debug, Deserialize)]
pub struct Asked {
    registry: Option<String>,
}

impl Asked {
    /// The identity of the registry that is named.
    fn identity(&self, app: &App) -> Result<Option<String>, ApiError> {
        let Some(name) = &self.registry else { return Ok(None) };
        app.names.identity(name).map(|name| Some(name.to_owned())).ok_or_else(|| not_configured(name))
    }
}

/// A notification that came with a token which allows it.
pub struct Notice {
    app: App,
    registry: Option<String>,
    bytes: bytes::Bytes,
}

impl FromRequest<App> for Notice {
    type Rejection = ApiError;

    async fn from_request(request: axum::extract::Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, stream) = request.into_parts();
        let asked = Params::<Asked>::from_request_parts(&mut parts, app).await;
        let allowed = require(app, &parts.headers, Scope::Webhooks);
        // Read whatever comes of it: an answer before the end of a request is lost to some clients.
        let request = axum::extract::Request::from_parts(parts, stream);
        let bytes = bytes::Bytes::from_request(request, app).await;
        allowed?;
        let bytes = body(bytes)?;
        let registry = asked?.0.identity(app)?;
        Ok(Self { app: app.clone(), registry, bytes })
    }
}

impl Notice {
    /// The body in a format.
    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.bytes).map_err(|error| ApiError::bad("bad_envelope", error))
    }

    async fn accept(&self, events: &[Event]) -> Result<Response, ApiError> {
        accept(&self.app, events, self.registry.as_deref()).await
    }

    /// As [`Notice::accept`]; none: nothing that counts is told.
    async fn accept_any(&self, events: Option<Vec<Event>>) -> Result<Response, ApiError> {
        match events {
            Some(events) => self.accept(&events).await,
            None => Ok(ignored()),
        }
    }
}

/// What became of one event.
enum Fate {
    Publish(Outgoing, &'static str),
    /// The format does not tell what the tag points at: whoever plans it asks the registry.
    Ask(Outgoing),
    Ignored,
}

/// Publishes what counts of the events of one request. 202 when all of it is in JetStream; events that are refused alone
/// are named in the answer. 4xx when all of them are refused; 503 when JetStream is away.
async fn accept(app: &App, events: &[Event], registry: Option<&str>) -> Result<Response, ApiError> {
    if events.len() > MAX_EVENTS {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("more than {MAX_EVENTS} events"),
        ));
    }
    let (mut accepted, mut ignored, mut refused) = (0u32, 0u32, Vec::new());
    let mut last = None;
    for event in events {
        match fate(app, event, registry) {
            Ok(Fate::Publish(message, kind)) => {
                publish(app, event, &message, Some(kind)).await?;
                accepted += 1;
            }
            Ok(Fate::Ask(job)) => {
                publish(app, event, &job, None).await?;
                accepted += 1;
            }
            Ok(Fate::Ignored) => ignored += 1,
            Err(error) => {
                refused
                    .push(serde_json::json!({ "id": event.id, "code": error.code, "detail": error.detail }));
                last = Some(error);
            }
        }
    }
    fault::point("gateway", "published");
    match last {
        Some(error) if accepted == 0 && ignored == 0 => Err(error),
        _ => Ok((
            StatusCode::ACCEPTED,
            Json(serde_json::json!({ "accepted": accepted, "ignored": ignored, "refused": refused })),
        )
            .into_response()),
    }
}

/// A request that tells of nothing that counts.
fn ignored() -> Response {
    let body = serde_json::json!({ "accepted": 0, "ignored": 1, "refused": [] });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// The host of `host/repository…`, and the rest.
fn split_host(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty())
}

fn not_configured(name: &str) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "registry_not_configured",
        format!("no registry is known as {shown:?}"),
    )
    .hint("add the host, or an alias, under registries: in the configuration")
}

/// Publishes an event of a kind, or a job.
async fn publish(app: &App, event: &Event, message: &Outgoing, kind: Option<&str>) -> Result<(), ApiError> {
    // A registry sends an envelope again until it is answered; its event ids make the repetition known.
    let id = message_id(&[b"webhook", message.subject.as_bytes(), event.id.as_bytes(), &message.payload]);
    let headers = kind.map(|kind| cloud_event(&id, kind, "registry")).unwrap_or_default();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    match app.bus.publish(message, &id, &headers).await {
        Ok(_) | Err(BusError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Headers of CloudEvents 1.0 in binary mode.
pub fn cloud_event(id: &str, kind: &str, source: &str) -> Vec<(&'static str, String)> {
    vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", id.to_owned()),
        ("ce-type", format!("dev.plimsoll.{kind}.v1")),
        ("ce-source", format!("/plimsoll/gateway/{source}")),
        ("ce-time", Timestamp::now().to_string()),
        ("content-type", "application/json".to_owned()),
    ]
}

fn fate(app: &App, event: &Event, registry: Option<&str>) -> Result<Fate, ApiError> {
    let push = matches!(event.action.as_str(), "push" | "mount");
    if !push && event.action != "delete" {
        return Ok(Fate::Ignored);
    }
    let target = &event.target;
    let registry = match registry {
        Some(registry) => registry,
        None => app.names.identity(&event.request.host).ok_or_else(|| not_configured(&event.request.host))?,
    };
    if !valid_repository(&target.repository) {
        return Err(ApiError::bad("bad_event", "target.repository is no repository name"));
    }
    if !target.tag.is_empty() && !valid_tag(&target.tag) {
        return Err(ApiError::bad("bad_event", "target.tag is no tag"));
    }
    let digest = match target.digest.as_str() {
        "" => None,
        text => Some(
            text.parse::<Digest>()
                .map_err(|error| ApiError::bad("bad_event", format!("target.digest: {error}")))?,
        ),
    };
    let at = event.timestamp.parse().unwrap_or_else(|_| Timestamp::now()).0;
    let (registry, repository) = (registry.to_owned(), target.repository.clone());
    if event.action == "delete" {
        let tag = target.tag.clone();
        let digest = digest.map(String::from).unwrap_or_default();
        if tag.is_empty() && digest.is_empty() {
            return Err(ApiError::bad("bad_event", "a delete names neither tag nor digest"));
        }
        // Tags of the same digest go with it; a tag that is deleted alone leaves the manifest.
        let tag = if digest.is_empty() { tag } else { String::new() };
        let message = v1::ImageDeleted { registry, repository, tag, digest, at };
        return encode(subjects::IMAGE_DELETED, &message).map(|m| Fate::Publish(m, "image.deleted"));
    }
    let Some(digest) = digest else {
        if !target.manifest || target.tag.is_empty() {
            return Err(ApiError::bad("bad_event", "a push names no digest"));
        }
        let source = Some(v1::Source { registry, repository });
        let job = v1::ManifestJob { source, tag: target.tag.clone(), at, ..v1::ManifestJob::default() };
        let subject = subjects::job("manifest", Lane::Hot);
        return Ok(Fate::Ask(Outgoing { subject, payload: job.encode_to_vec() }));
    };
    if target.manifest || is_manifest(&target.media_type) {
        let message = v1::ImagePushed {
            registry,
            repository,
            tag: target.tag.clone(),
            digest: digest.into(),
            media_type: target.media_type.chars().take(200).collect(),
            at,
            lane: "hot".into(),
        };
        return encode(subjects::IMAGE_PUSHED, &message).map(|m| Fate::Publish(m, "image.pushed"));
    }
    let message = v1::LayerPushed {
        registry,
        repository,
        digest: digest.into(),
        media_type: target.media_type.chars().take(200).collect(),
        size: target.size.max(target.length),
        at,
    };
    encode(subjects::LAYER_PUSHED, &message).map(|m| Fate::Publish(m, "layer.pushed"))
}

fn encode(subject: &str, message: &impl serde::Serialize) -> Result<Outgoing, ApiError> {
    let payload = serde_json::to_vec(message)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error))?;
    Ok(Outgoing { subject: subject.to_owned(), payload })
}

fn is_manifest(media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    matches!(
        media_type,
        "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
            | "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws"
            | "application/vnd.oci.artifact.manifest.v1+json"
    )
}
