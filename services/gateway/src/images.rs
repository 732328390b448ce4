//! Images: asking for one, where its scan is, its SBOM.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_bus::connection::message_id;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{BusError, Outgoing};
use plimsoll_config::Scope;
use plimsoll_model::digest::Digest;
use plimsoll_model::reference::Reference;
use plimsoll_model::sbom::{Base, Sbom};
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use plimsoll_sbom::cyclonedx::{self, SpecVersion};
use plimsoll_sbom::spdx;
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params, body};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission {
    reference: String,
    /// `hot` (default) or `bulk`.
    lane: Option<String>,
}

/// `POST /v1/images` with `{"reference": "registry/repository:tag"}`: read this image.
pub async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    bytes: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Images)?;
    let submission: Submission =
        serde_json::from_slice(&body(bytes)?).map_err(|error| ApiError::bad("bad_body", error))?;
    let reference: Reference =
        submission.reference.parse().map_err(|error| ApiError::bad("invalid_reference", error))?;
    let lane: Lane = submission
        .lane
        .as_deref()
        .unwrap_or("hot")
        .parse()
        .map_err(|error| ApiError::bad("bad_request", error))?;
    let Some(identity) = app.names.identity(&reference.registry) else {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "registry_not_configured",
            format!("no registry is known as {:?}", reference.registry),
        )
        .hint("add the host, or an alias, under registries: in the configuration"));
    };
    let job = v1::ManifestJob {
        source: Some(v1::Source { registry: identity.to_owned(), repository: reference.repository.clone() }),
        tag: reference.tag.clone().unwrap_or_default(),
        digest: reference.digest.clone().map(String::from).unwrap_or_default(),
        at: Timestamp::now().0,
        lost: Vec::new(),
    };
    // Asking twice within a second is one request.
    let second = (job.at / 1000).to_le_bytes();
    let id = message_id(&[b"submit", reference.to_string().as_bytes(), lane.as_str().as_bytes(), &second]);
    let message = Outgoing { subject: subjects::job("manifest", lane), payload: job.encode_to_vec() };
    match app.bus.publish(&message, &id, &[]).await {
        Ok(_) | Err(BusError::Duplicate { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let status = reference.digest.as_ref().map(|digest| format!("/v1/images/{digest}/status"));
    Ok((StatusCode::ACCEPTED, Json(json!({ "reference": reference.to_string(), "status": status })))
        .into_response())
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error| ApiError::bad("invalid_digest", error))
}

async fn record(app: &App, digest: &Digest) -> Result<v1::ScanRecord, ApiError> {
    let record = app.bus.records("scans").get(&subjects::token(digest.as_str())).await?;
    let record = record.ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("no manifest {digest} was announced or asked for"),
        )
    })?;
    Ok(record.decode()?)
}

/// `GET /v1/images/{digest}/status`: each stage's state, with codes and times.
pub async fn status(
    State(app): State<App>,
    headers: HeaderMap,
    Path(text): Path<String>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let digest = digest(&text)?;
    let record = record(&app, &digest).await?;
    let layers = app.bus.records("layers");
    let mut states = Vec::new();
    for layer in &record.layers {
        let key = format!(
            "{}.{}",
            subjects::token(&app.config.limits.layer_profile),
            subjects::token(&layer.digest)
        );
        let known: Option<v1::LayerRecord> = match layers.get(&key).await? {
            Some(known) => Some(known.decode()?),
            None => None,
        };
        let known = known.unwrap_or_else(|| v1::LayerRecord { state: "absent".into(), ..Default::default() });
        states.push(json!({
            "digest": layer.digest, "size": layer.size, "state": known.state, "code": known.code, "detail": known.detail,
        }));
    }
    let scanned = scanned(&app, &digest).await?.unwrap_or(Value::Null);
    let sbom = scanned.get("sbom").is_some();
    let sources: Vec<String> =
        record.sources.iter().map(|s| format!("{}/{}{}", s.registry, s.repository, tag(&s.tag))).collect();
    Ok(Json(json!({
        "digest": digest.as_str(),
        "state": record.state,
        "code": record.code,
        "detail": record.detail,
        "at": Timestamp(record.at).to_string(),
        "trace_id": plimsoll_telemetry::trace::trace_id(&record.trace),
        "sources": sources,
        "children": record.children,
        "layers": states,
        "sbom": if sbom { "ready" } else { "absent" },
        "scan": scanned,
    })))
}

/// What the aggregator knows of an image; `None` before it was scanned.
async fn scanned(app: &App, digest: &Digest) -> Result<Option<Value>, ApiError> {
    let question = json!({ "digest": digest.as_str() });
    match app.bus.ask("image", &question, std::time::Duration::from_secs(10)).await? {
        Ok(image) => Ok(Some(image)),
        Err(refusal) if refusal.code == "not_found" => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

fn tag(tag: &str) -> String {
    if tag.is_empty() { String::new() } else { format!(":{tag}") }
}

#[derive(Deserialize)]
pub struct SbomAsked {
    /// `cyclonedx-json` (default), `spdx-json`, `spdx-tag-value` or `json`.
    format: Option<String>,
    /// Of CycloneDX: `1.5`, `1.6` (default) or `1.7`.
    version: Option<String>,
}

/// `GET /v1/images/{digest}/sbom`: the SBOM, for images whose manifest was fetched from a registry of ours.
pub async fn sbom(
    State(app): State<App>,
    headers: HeaderMap,
    Path(text): Path<String>,
    Params(asked): Params<SbomAsked>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let sbom = stored(&app, &text).await?;
    let corrupt = |error: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "artifact_corrupt", error);
    let (kind, body) = match asked.format.as_deref().unwrap_or("cyclonedx-json") {
        "cyclonedx-json" => {
            let version = asked.version.as_deref().unwrap_or("1.6");
            let (kind, version) = match version {
                "1.5" => ("application/vnd.cyclonedx+json; version=1.5", SpecVersion::V1_5),
                "1.6" => ("application/vnd.cyclonedx+json; version=1.6", SpecVersion::V1_6),
                "1.7" => ("application/vnd.cyclonedx+json; version=1.7", SpecVersion::V1_7),
                other => {
                    let detail = format!("unknown version {other:?}: 1.5, 1.6 or 1.7");
                    return Err(ApiError::bad("bad_request", detail));
                }
            };
            let options = cyclonedx::Options { version, ..Default::default() };
            (kind, cyclonedx::write(&sbom, &options))
        }
        "spdx-json" => ("application/spdx+json", spdx::write(&sbom, None, false)),
        "spdx-tag-value" => ("text/spdx; charset=utf-8", spdx::write_tag_value(&sbom, None)),
        "json" => ("application/json", serde_json::to_vec(&sbom).map_err(|e| corrupt(e.to_string()))?),
        other => {
            return Err(ApiError::bad(
                "bad_request",
                format!("unknown format {other:?}: cyclonedx-json, spdx-json, spdx-tag-value or json"),
            ));
        }
    };
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// The Sbom of an image whose manifest was fetched from a registry of ours.
async fn stored(app: &App, digest_text: &str) -> Result<Sbom, ApiError> {
    let digest = digest(digest_text)?;
    let record = record(app, &digest).await?;
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("{digest} has no SBOM yet"));
    if record.sources.is_empty() {
        return Err(missing());
    }
    let scanned = scanned(app, &digest).await?.ok_or_else(missing)?;
    let name = scanned.get("sbom").and_then(Value::as_str).ok_or_else(missing)?;
    let bytes = app.bus.artifacts().get(name).await?.ok_or_else(missing)?;
    let corrupt = |error: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "artifact_corrupt", error);
    let message = v1::Sbom::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
    let mut sbom = Sbom::try_from(message).map_err(|error| corrupt(error.to_string()))?;
    // The base may have become known since, or a closer one.
    let known = scanned.get("base").and_then(|base| serde_json::from_value::<Base>(base.clone()).ok());
    if let Some(known) = known
        && sbom.base.as_ref().is_none_or(|base| base.layers < known.layers)
    {
        sbom.base = Some(known);
    }
    Ok(sbom)
}

/// `GET /v1/images/{digest}/secrets`: keys and credentials in the image's layers, without the secrets themselves.
pub async fn secrets(
    State(app): State<App>,
    headers: HeaderMap,
    Path(text): Path<String>,
) -> Result<Json<Value>, ApiError> {
    require(&app, &headers, Scope::Read)?;
    let sbom = stored(&app, &text).await?;
    Ok(Json(json!({ "looked": app.config.secrets, "secrets": sbom.secrets })))
}
