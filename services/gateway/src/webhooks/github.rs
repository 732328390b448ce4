//! Webhooks of GitHub for packages in its container registry
//! (<https://docs.github.com/webhooks/webhook-events-and-payloads#package>, `registry_package` beside it): events `package` and
//! `registry_package`, actions `published` and `updated`.
//!
//! They carry no token but a signature of the body's bytes: HMAC-SHA-256 in `X-Hub-Signature-256`
//! (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>), whose key is `webhook_secret` of the
//! registry in the configuration. A body that is not signed with the secret of the registry that it tells of is refused.

use aws_lc_rs::hmac;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::{Asked, Event, Request, Target, accept, ignored, not_configured, split_host};
use crate::App;
use crate::error::{ApiError, Params, body};

const SIGNATURE: &str = "x-hub-signature-256";
const EVENT: &str = "x-github-event";
const DELIVERY: &str = "x-github-delivery";
/// Where packages are that do not say it.
const HOST: &str = "ghcr.io";

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    action: String,
    #[serde(alias = "registry_package")]
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    package_type: String,
    package_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    /// The digest of what was pushed.
    #[serde(default)]
    version: String,
    /// `ghcr.io/owner/name:tag`
    #[serde(default)]
    package_url: String,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    container_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    tag: Option<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: String,
}

/// `POST /v1/webhooks/github`
///
/// 202, also for what is ignored (`ping`, other packages, other events); 401 without a valid signature; 4xx when the body
/// is no payload of GitHub's or what it tells is refused; 503 when JetStream is away.
pub async fn receive(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    bytes: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    let bytes = body(bytes)?;
    let named = asked.identity(&app)?;
    let signed_by = signers(&app, &headers, &bytes)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !matches!(text(EVENT), "package" | "registry_package") {
        return Ok(ignored());
    }
    let Some(event) = event(&bytes, text(DELIVERY))? else { return Ok(ignored()) };
    let host = &event.request.host;
    let registry = match named {
        Some(named) => named,
        None => app.names.identity(host).ok_or_else(|| not_configured(host))?.to_owned(),
    };
    // The secret of one registry says nothing about another.
    if !signed_by.contains(&registry.as_str()) {
        return Err(unsigned("the signature is not that of the registry which the event names"));
    }
    accept(&app, &[event], Some(&registry)).await
}

fn unsigned(detail: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .hint("give the webhook the same secret as webhook_secret of the registry in the configuration")
}

/// The registries whose secret signed these bytes; never none.
fn signers<'a>(app: &'a App, headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<&'a str>, ApiError> {
    let presented = headers
        .get(SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| decode_hex(value.strip_prefix("sha256=")?))
        .ok_or_else(|| unsigned("no signature (X-Hub-Signature-256: sha256=…)"))?;
    let signed = |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::verify(&key, bytes, &presented).is_ok()
    };
    let registries = app.config.registries.iter();
    let by: Vec<&str> = registries
        .filter(|registry| registry.webhook_secret.as_ref().is_some_and(|secret| signed(secret.expose())))
        .map(|registry| registry.host.as_str())
        .collect();
    if by.is_empty() { Err(unsigned("no configured registry's secret made the signature")) } else { Ok(by) }
}

/// What a payload tells; none for what is no container image, or neither published nor updated.
fn event(bytes: &[u8], delivery: &str) -> Result<Option<Event>, ApiError> {
    let payload: Payload =
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad("bad_envelope", error))?;
    let package = payload.package.ok_or_else(|| ApiError::bad("bad_envelope", "no package"))?;
    let container = package.package_type.eq_ignore_ascii_case("container");
    let (true, true, Some(version)) =
        (container, matches!(payload.action.as_str(), "published" | "updated"), package.package_version)
    else {
        return Ok(None);
    };
    let tag = version.container_metadata.and_then(|metadata| metadata.tag);
    let (tag, digest) = tag.map_or((String::new(), String::new()), |tag| (tag.name, tag.digest));
    let digest = if digest.is_empty() { version.version } else { digest };
    let (host, repository) = match split_host(&version.package_url) {
        Some((host, rest)) => {
            let rest = rest.split_once('@').map_or(rest, |(name, _)| name);
            // A colon behind the last slash begins the tag.
            let name = match rest.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => rest,
            };
            (host.to_owned(), name.to_owned())
        }
        None => (HOST.to_owned(), format!("{}/{}", package.namespace, package.name)),
    };
    Ok(Some(Event {
        id: delivery.chars().take(200).collect(),
        timestamp: version.created_at,
        action: "push".to_owned(),
        request: Request { host },
        target: Target {
            digest,
            // GitHub shows owners as they are written, its registry knows them in lower case.
            repository: repository.to_ascii_lowercase(),
            tag,
            manifest: true,
            ..Target::default()
        },
    }))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:feed000000000000000000000000000000000000000000000000000000000000";

    fn payload(kind: &str, url: &str, tag: &str) -> String {
        serde_json::json!({ "action": "published", "package": {
            "name": "Demo", "namespace": "Example", "package_type": kind,
            "package_version": { "version": DIGEST, "package_url": url, "created_at": "2026-07-19T11:00:00Z",
                "container_metadata": { "tag": { "name": tag, "digest": DIGEST } } } } })
        .to_string()
    }

    #[test]
    fn packages_become_events() {
        for (url, tag, host, repository) in [
            ("ghcr.io/Example/demo:1.2", "1.2", "ghcr.io", "example/demo"),
            ("ghcr.io/example/team/demo", "", "ghcr.io", "example/team/demo"),
            ("containers.example.com:8443/o/demo:1", "1", "containers.example.com:8443", "o/demo"),
            ("ghcr.io/example/demo@sha256:00", "", "ghcr.io", "example/demo"),
            ("", "2", "ghcr.io", "example/demo"),
        ] {
            for key in ["\"package\"", "\"registry_package\""] {
                let text = payload("CONTAINER", url, tag).replacen("\"package\"", key, 1);
                let event = event(text.as_bytes(), "d-1").unwrap().unwrap();
                assert_eq!(
                    (event.request.host.as_str(), event.target.repository.as_str()),
                    (host, repository)
                );
                assert_eq!((event.target.tag.as_str(), event.target.digest.as_str()), (tag, DIGEST));
            }
        }
        assert!(event(payload("npm", "", "1").as_bytes(), "").unwrap().is_none());
        let deleted = payload("container", "", "1").replace("published", "deleted");
        assert!(event(deleted.as_bytes(), "").unwrap().is_none());
        assert_eq!(event(b"{}", "").unwrap_err().code, "bad_envelope");
    }

    #[test]
    fn hexadecimal_digits() {
        assert_eq!(decode_hex("00fF"), Some(vec![0, 255]));
        for text in ["0", "0g", "é"] {
            assert_eq!(decode_hex(text), None, "{text}");
        }
    }
}
