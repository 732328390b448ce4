//! Webhooks of Quay for the event "Push to Repository" (<https://docs.quay.io/guides/notifications.html>). They name tags
//! and no digests: what a tag points at is asked of the registry, by whoever plans the image. They are not signed; the
//! webhook's URL carries the token as the password of `https://plimsoll:TOKEN@…`.

use axum::response::Response;
use serde::Deserialize;

use super::{Event, Notice, Request, Target, split_host};
use crate::error::ApiError;

#[derive(Deserialize)]
struct Payload {
    /// `namespace/name`
    repository: String,
    /// `host/namespace/name`
    #[serde(default)]
    docker_url: String,
    #[serde(default)]
    updated_tags: Option<Vec<String>>,
}

/// `POST /v1/webhooks/quay`: pushes count; other notifications, which name no tags that were updated, are ignored.
///
/// 202, also for what is ignored; 4xx when the body is no payload of Quay's or all of its tags are refused; 503 when
/// JetStream is away.
pub async fn receive(notice: Notice) -> Result<Response, ApiError> {
    notice.accept_any(events(&notice.bytes)?).await
}

/// One event for each tag.
fn events(bytes: &[u8]) -> Result<Option<Vec<Event>>, ApiError> {
    let payload: Payload =
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad("bad_envelope", error))?;
    let Some(tags) = payload.updated_tags.filter(|tags| !tags.is_empty()) else { return Ok(None) };
    let host = split_host(&payload.docker_url).map_or("", |(host, _)| host);
    let event = |tag: String| Event {
        action: "push".to_owned(),
        request: Request { host: host.to_owned() },
        target: Target { repository: payload.repository.clone(), tag, manifest: true, ..Target::default() },
        ..Event::default()
    };
    Ok(Some(tags.into_iter().map(event).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_is_a_push() {
        let text = r#"{"name": "app", "repository": "lib/app", "namespace": "lib", "docker_url": "quay.example.com:8443/lib/app",
            "homepage": "https://quay.example.com/repository/lib/app", "updated_tags": ["latest", "1.2"]}"#;
        let told: Vec<_> = events(text.as_bytes())
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|e| (e.action, e.request.host, e.target.repository, e.target.tag, e.target.digest))
            .collect();
        let row = |tag: &str| {
            let [action, host, name] = ["push", "quay.example.com:8443", "lib/app"].map(str::to_owned);
            (action, host, name, tag.to_owned(), String::new())
        };
        assert_eq!(told, [row("latest"), row("1.2")]);
    }

    #[test]
    fn what_does_not_count_or_is_none() {
        for text in
            [r#"{"repository": "lib/app", "build_id": "b"}"#, r#"{"repository": "a", "updated_tags": []}"#]
        {
            assert!(events(text.as_bytes()).unwrap().is_none(), "{text}");
        }
        for text in ["{}", "[]", "x", r#"{"repository": "a", "updated_tags": "latest"}"#] {
            assert_eq!(events(text.as_bytes()).unwrap_err().code, "bad_envelope", "{text}");
        }
    }
}
