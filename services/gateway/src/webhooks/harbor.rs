//! Webhooks of Harbor
//! (<https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/>), in the payload
//! format `Default` and as `CloudEvents`. They are not signed; Harbor's "Auth Header" carries the token.

use axum::response::Response;
use plimsoll_model::time::Timestamp;
use serde::Deserialize;

use super::{Event, Notice, Request, Target, split_host};
use crate::error::ApiError;

/// Both formats: `Default` has `occur_at` and `event_data`, `CloudEvents` has `id`, `time` and `data`.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    occur_at: i64,
    #[serde(default)]
    event_data: Option<Data>,
    #[serde(default)]
    id: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    digest: String,
    /// The digest again where there is no tag.
    #[serde(default)]
    tag: String,
    /// `host/project/repository:tag`
    #[serde(default)]
    resource_url: String,
}

#[derive(Default, Deserialize)]
struct Repository {
    #[serde(default)]
    repo_full_name: String,
}

/// `POST /v1/webhooks/harbor`: artifacts that are pushed and deleted count; everything else is ignored.
///
/// 202, also for what is ignored; 4xx when the body is no payload of Harbor's or all of its resources are refused; 503 when
/// JetStream is away.
pub async fn receive(notice: Notice) -> Result<Response, ApiError> {
    notice.accept_any(events(&notice.bytes)?).await
}

/// The events of a payload; none for a kind that does not count.
fn events(bytes: &[u8]) -> Result<Option<Vec<Event>>, ApiError> {
    let payload: Payload =
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad("bad_envelope", error))?;
    let action = match payload.kind.as_str() {
        "PUSH_ARTIFACT" | "harbor.artifact.pushed" => "push",
        "DELETE_ARTIFACT" | "harbor.artifact.deleted" => "delete",
        _ => return Ok(None),
    };
    let data = payload
        .event_data
        .or(payload.data)
        .ok_or_else(|| ApiError::bad("bad_envelope", "neither event_data nor data"))?;
    let timestamp = match payload.time.is_empty() {
        true => Timestamp(payload.occur_at.saturating_mul(1000)).to_string(),
        false => payload.time,
    };
    let event = |resource: Resource| {
        let host = split_host(&resource.resource_url).map_or("", |(host, _)| host);
        let tag = if resource.tag.contains(':') { String::new() } else { resource.tag };
        Event {
            id: payload.id.clone(),
            timestamp: timestamp.clone(),
            action: action.to_owned(),
            request: Request { host: host.to_owned() },
            target: Target {
                digest: resource.digest,
                repository: data.repository.repo_full_name.clone(),
                tag,
                manifest: true,
                ..Target::default()
            },
        }
    };
    Ok(Some(data.resources.into_iter().map(event).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, String, String, String, String)> {
        let events = events(text.as_bytes()).unwrap().unwrap();
        let one = |e: Event| (e.action, e.request.host, e.target.repository, e.target.tag, e.target.digest);
        events.into_iter().map(one).collect()
    }

    #[test]
    fn both_formats() {
        let data = r#"{"resources": [{"digest": "sha256:ab", "tag": "1", "resource_url": "h.example.com:8443/lib/app:1"},
            {"digest": "sha256:cd", "tag": "sha256:cd", "resource_url": "h.example.com:8443/lib/app@sha256:cd"}],
            "repository": {"name": "app", "namespace": "lib", "repo_full_name": "lib/app", "repo_type": "private"}}"#;
        let own = format!(
            r#"{{"type": "PUSH_ARTIFACT", "occur_at": 1680501893, "operator": "ci", "event_data": {data}}}"#
        );
        let cloud = format!(
            r#"{{"specversion": "1.0", "id": "4b2f", "type": "harbor.artifact.deleted", "time": "2023-03-06T06:08:43Z", "data": {data}}}"#
        );
        for (text, action) in [(own, "push"), (cloud, "delete")] {
            let row = |tag: &str, digest: &str| {
                let [action, host, name] = [action, "h.example.com:8443", "lib/app"].map(str::to_owned);
                (action, host, name, tag.to_owned(), digest.to_owned())
            };
            assert_eq!(of(&text), [row("1", "sha256:ab"), row("", "sha256:cd")]);
        }
    }

    #[test]
    fn what_does_not_count_or_is_none() {
        for kind in ["PULL_ARTIFACT", "harbor.artifact.pulled", "SCANNING_COMPLETED", "harbor.tag.created"] {
            assert!(events(format!("{{\"type\": \"{kind}\"}}").as_bytes()).unwrap().is_none(), "{kind}");
        }
        for text in ["{}", "[]", "{\"type\": \"PUSH_ARTIFACT\"}", "x"] {
            assert_eq!(events(text.as_bytes()).unwrap_err().code, "bad_envelope", "{text}");
        }
    }
}
