//! What goes wrong, as an HTTP answer: a status, a stable code, a detail, and what to do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_bus::BusError;
use plimsoll_bus::service::Refusal;

/// An answer that is no success. `docs/errors.md` has a line for each code.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub hint: &'static str,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self { status, code, detail: detail.to_string(), hint: "" }
    }

    /// A request that cannot be understood.
    pub fn bad(code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Adds what to do about it.
    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// JetStream is away.
    pub fn unavailable(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "broker_unavailable", detail)
            .hint("send the same request again after the time that Retry-After names")
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Header => Self::bad("bad_header", error),
            other => Self::unavailable(other),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code.as_str() {
            "not_found" => Self::new(StatusCode::NOT_FOUND, "not_found", refusal.detail),
            "bad_request" => Self::bad("bad_request", refusal.detail),
            "bad_cursor" => Self::bad("bad_cursor", refusal.detail),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", refusal.detail),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code, "detail": self.detail, "hint": self.hint });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Any other path.
pub async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such route")
}

/// Reads a body, which the route's limit bounds.
pub fn body(
    body: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<bytes::Bytes, ApiError> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is larger than the configured limit",
            )
        } else {
            ApiError::bad("bad_body", rejection.body_text())
        }
    })
}

/// The query string as `T`; one that does not parse is `bad_request` like every other error.
pub struct Params<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::bad("bad_request", rejection.body_text())),
        }
    }
}
