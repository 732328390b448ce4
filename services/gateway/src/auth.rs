//! Who may do what: a token in `Authorization: Bearer …`, or as the password of `Basic`, for registries that can
//! send nothing else.

use axum::http::{HeaderMap, StatusCode, header};
use plimsoll_config::Scope;

use crate::App;
use crate::error::ApiError;

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
            let text = decode_base64(token.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
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

/// Standard base64 (RFC 4648), padding optional.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.bytes().take_while(|&b| b != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, plain) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(decode_base64(text).unwrap(), plain.as_bytes());
        }
        assert!(decode_base64("Z!").is_none());
    }
}
