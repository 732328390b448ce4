//! Events of Amazon ECR (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>), "ECR Image Action", as
//! an API destination of EventBridge sends them, whole. The destination's connection carries the token, as the API key
//! `Authorization` with the value `Bearer TOKEN`.

use axum::response::Response;
use serde::Deserialize;

use super::{Event, Notice, Request, Target};
use crate::error::ApiError;

const IMAGE_ACTION: &str = "ECR Image Action";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    #[serde(default)]
    id: String,
    detail_type: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    detail: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    #[serde(default)]
    result: String,
    action_type: String,
    repository_name: String,
    #[serde(default)]
    image_digest: String,
    #[serde(default)]
    image_tag: String,
}

/// `POST /v1/webhooks/ecr`: images that were pushed and deleted count; everything else is ignored.
///
/// 202, also for what is ignored; 4xx when the body is no event of EventBridge's or it is refused; 503 when JetStream is away.
pub async fn receive(notice: Notice) -> Result<Response, ApiError> {
    notice.accept_any(event(&notice.bytes)?.map(|event| vec![event])).await
}

/// What an envelope tells; none for what does not count.
fn event(bytes: &[u8]) -> Result<Option<Event>, ApiError> {
    let bad = |error: serde_json::Error| ApiError::bad("bad_envelope", error);
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(bad)?;
    if envelope.detail_type != IMAGE_ACTION {
        return Ok(None);
    }
    let detail: Detail = serde_json::from_value(envelope.detail).map_err(bad)?;
    let action = match (detail.result.as_str(), detail.action_type.as_str()) {
        ("SUCCESS", "PUSH") => "push",
        ("SUCCESS", "DELETE") => "delete",
        _ => return Ok(None),
    };
    Ok(Some(Event {
        id: envelope.id.chars().take(200).collect(),
        timestamp: envelope.time,
        action: action.to_owned(),
        request: Request { host: host(&envelope.account, &envelope.region) },
        target: Target {
            digest: detail.image_digest,
            repository: detail.repository_name,
            tag: detail.image_tag,
            manifest: true,
            ..Target::default()
        },
    }))
}

/// The private registry of an account in a region.
fn host(account: &str, region: &str) -> String {
    let partition = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("{account}.dkr.ecr.{region}.amazonaws.com{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: &str, result: &str, action: &str) -> String {
        serde_json::json!({ "version": "0", "id": "13cde686", "detail-type": kind, "source": "aws.ecr",
            "account": "123456789012", "time": "2019-11-16T01:54:34Z", "region": "us-west-2", "resources": [],
            "detail": { "result": result, "repository-name": "team/app", "image-digest": "sha256:ab",
                "action-type": action, "image-tag": "latest" } })
        .to_string()
    }

    #[test]
    fn images_that_are_pushed_and_deleted() {
        for (action, ours) in [("PUSH", "push"), ("DELETE", "delete")] {
            let event = event(envelope(IMAGE_ACTION, "SUCCESS", action).as_bytes()).unwrap().unwrap();
            assert_eq!((event.action.as_str(), event.id.as_str()), (ours, "13cde686"));
            assert_eq!(event.request.host, "123456789012.dkr.ecr.us-west-2.amazonaws.com");
            let target = event.target;
            assert_eq!((target.repository.as_str(), target.tag.as_str()), ("team/app", "latest"));
            assert_eq!((target.digest.as_str(), target.manifest), ("sha256:ab", true));
        }
        assert_eq!(host("1", "cn-north-1"), "1.dkr.ecr.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_does_not_count_or_is_none() {
        for (kind, result, action) in [
            ("ECR Image Scan", "SUCCESS", "PUSH"),
            (IMAGE_ACTION, "FAILURE", "PUSH"),
            (IMAGE_ACTION, "SUCCESS", "REPLICATE"),
        ] {
            assert!(event(envelope(kind, result, action).as_bytes()).unwrap().is_none());
        }
        for text in ["{}", "x", r#"{"detail-type": "ECR Image Action"}"#] {
            assert_eq!(event(text.as_bytes()).unwrap_err().code, "bad_envelope", "{text}");
        }
    }
}
