//! Credentials, challenges and tokens (RFC 7235; the distribution project's token authentication; OAuth 2.0
//! refresh tokens as Docker's identity tokens use them).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use plimsoll_config::{Registry, Secret};
use reqwest::Url;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::error::SetupError;

/// Largest answer of a token service, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 256 * 1024;
/// Most scopes whose tokens are remembered for one registry.
const MAX_SCOPES: usize = 10_000;

/// What we can prove to one registry.
#[derive(Clone)]
pub(super) enum Credentials {
    Anonymous,
    Password {
        username: String,
        password: Secret,
    },
    /// Sent as it is.
    Bearer(Secret),
    /// Exchanged for access tokens at the token service.
    Refresh(Secret),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "anonymous",
            Self::Password { .. } => "password",
            Self::Bearer(_) => "bearer",
            Self::Refresh(_) => "refresh",
        })
    }
}

impl Credentials {
    /// Reads a registry's credentials; runs Docker's credential helpers where the configuration asks for them.
    pub(super) fn of(registry: &Registry) -> Result<Self, SetupError> {
        if let Some(token) = &registry.token {
            return Ok(Self::Bearer(token.clone()));
        }
        if let (Some(username), Some(password)) = (&registry.username, &registry.password) {
            return Ok(Self::Password { username: username.clone(), password: password.clone() });
        }
        if registry.docker_config { from_docker(&registry.host) } else { Ok(Self::Anonymous) }
    }

    /// The value of a basic `Authorization` header.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
            }
            _ => None,
        }
    }
}

fn from_docker(host: &str) -> Result<Credentials, SetupError> {
    use docker_credential::{CredentialRetrievalError as E, DockerCredential as D};
    // Docker Hub's credentials are stored under the address of its first version.
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    match docker_credential::get_credential(server) {
        Ok(D::UsernamePassword(username, password)) => {
            Ok(Credentials::Password { username, password: Secret::new(password) })
        }
        Ok(D::IdentityToken(token)) => Ok(Credentials::Refresh(Secret::new(token))),
        Err(E::NoCredentialConfigured | E::ConfigNotFound) => Ok(Credentials::Anonymous),
        // A helper's output may hold secrets: it is not repeated.
        Err(E::HelperFailure { helper, .. }) => Err(SetupError::Invalid {
            host: host.to_owned(),
            reason: format!("docker_config: the credential helper {helper:?} failed"),
        }),
        Err(error) => {
            Err(SetupError::Invalid { host: host.to_owned(), reason: format!("docker_config: {error}") })
        }
    }
}

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The challenge that we can answer best: bearer before basic. `Err` says why there is none.
pub(super) fn challenge(headers: &HeaderMap) -> Result<Challenge, &'static str> {
    let mut basic = false;
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(8) {
        let Ok(text) = value.to_str() else { continue };
        let Ok(challenges) = http_auth::parse_challenges(text) else { continue };
        for challenge in challenges {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let param = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                let realm = param("realm").ok_or("its bearer challenge names no realm")?;
                return Ok(Challenge::Bearer { realm, service: param("service") });
            }
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
        }
    }
    if basic { Ok(Challenge::Basic) } else { Err("it sends no challenge that we can answer") }
}

/// A token with the time until which it may be used.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) header: Arc<str>,
    pub(super) usable_until: Instant,
}

/// One scope's token; the lock is held while a token is fetched, so that it is fetched once.
pub(super) type Slot = Arc<Mutex<Option<Token>>>;

/// What is remembered of a registry's way to authenticate.
#[derive(Default)]
pub(super) struct Memory {
    inner: std::sync::Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    challenge: Option<Challenge>,
    slots: FxHashMap<String, Slot>,
}

impl Memory {
    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // What is remembered is valid after any panic: each field is replaced whole.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The last challenge of the registry.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.lock().challenge.clone()
    }

    pub(super) fn set_challenge(&self, challenge: Challenge) {
        self.lock().challenge = Some(challenge);
    }

    /// The slot of a scope.
    pub(super) fn slot(&self, scope: &str) -> Slot {
        let mut inner = self.lock();
        if let Some(slot) = inner.slots.get(scope) {
            return Arc::clone(slot);
        }
        if inner.slots.len() >= MAX_SCOPES {
            // Forgetting costs a token request each; it keeps the memory bounded.
            inner.slots.clear();
        }
        Arc::clone(inner.slots.entry(scope.to_owned()).or_default())
    }
}

/// The answer of a token service.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Reads a token service's answer. A token without a lifetime lives 60 seconds, as the specification says;
/// a tenth of the lifetime is kept in reserve.
pub(super) fn read_token(bytes: &[u8], now: Instant) -> Option<Token> {
    let answer: TokenAnswer = serde_json::from_slice(bytes).ok()?;
    let text = answer.token.filter(|text| !text.is_empty()).or(answer.access_token)?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let lifetime = answer.expires_in.unwrap_or(60).clamp(1, 24 * 3_600);
    let usable = Duration::from_millis(lifetime.saturating_mul(900));
    Some(Token { header: format!("Bearer {text}").into(), usable_until: now.checked_add(usable)? })
}

/// The token service's address with service and scope.
pub(super) fn token_url(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", scope);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Challenge, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges() {
        let bearer = |service: Option<&str>| {
            Ok(Challenge::Bearer { realm: "https://a.example/t".into(), service: service.map(str::to_owned) })
        };
        assert_eq!(
            read(&["Bearer realm=\"https://a.example/t\",service=\"r, \\\"x\",scope=\"a:b:c\""]),
            bearer(Some("r, \"x"))
        );
        assert_eq!(read(&["Basic realm=\"x\"", "bearer realm=\"https://a.example/t\""]), bearer(None));
        assert_eq!(read(&["Basic realm=\"x\""]), Ok(Challenge::Basic));
        for bad in [&[][..], &["Negotiate"], &["Bearer service=\"x\""], &["\"", "Digest realm=\"x\""]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tokens_are_read_and_bounded() {
        let now = Instant::now();
        let token = |text: &str| read_token(text.as_bytes(), now);
        let plain = token(r#"{"token":"abc"}"#).unwrap();
        assert_eq!((&*plain.header, plain.usable_until), ("Bearer abc", now + Duration::from_secs(54)));
        let other = token(r#"{"token":"","access_token":"d","expires_in":300}"#).unwrap();
        assert_eq!((&*other.header, other.usable_until), ("Bearer d", now + Duration::from_secs(270)));
        for bad in ["{}", "[]", "", r#"{"token":"a\r\nb"}"#, r#"{"token":""}"#] {
            assert!(token(bad).is_none(), "{bad}");
        }
        assert!(
            token(r#"{"token":"x","expires_in":18446744073709551615}"#).unwrap().usable_until
                <= now + Duration::from_secs(86_400)
        );
    }

    #[test]
    fn service_and_scope_are_escaped() {
        let realm = Url::parse("https://a.example/t?x=1").unwrap();
        let url = token_url(&realm, Some("a&b=c"), "repository:a/b:pull");
        assert_eq!(url.as_str(), "https://a.example/t?x=1&service=a%26b%3Dc&scope=repository%3Aa%2Fb%3Apull");
    }
}
