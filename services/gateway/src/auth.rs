//! Who may do what: a token in `Authorization: Bearer …`, or as the password of `Basic`, for registries that can
//! send nothing else.

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use plimsoll_config::Scope;

use crate::App;
use crate::error::ApiError;

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name of the token that allows `scope`.
pub fn require(app: &App, headers: &HeaderMap, scope: Scope) -> Result<String, ApiError> {
    let unauthorized = |detail: &str| {
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .hint("send a token of the configuration as Authorization: Bearer TOKEN")
    };
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .ok_or_else(|| unauthorized("no token"))?;
    let presented = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().to_owned(),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("basic") => {
            let text = LENIENT.decode(token.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            match text.as_deref().and_then(|text| text.split_once(':')) {
                Some((_, password)) => password.to_owned(),
                None => return Err(unauthorized("the Basic credentials do not decode")),
            }
        }
        _ => return Err(unauthorized("neither Bearer nor Basic")),
    };
    let token = app.config.token(&presented).ok_or_else(|| unauthorized("the token is not known"))?;
    if token.allows(scope) {
        Ok(token.name.clone())
    } else {
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the token {} has no scope {}", token.name, scope.as_str()),
        ))
    }
}
