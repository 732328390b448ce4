//! The client of the gateway's `POST /v1/deploys`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_telemetry::chain;
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, StatusCode, Url};
use serde_json::Value;

/// Longest time that one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Most bytes that are read of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Why something could not be told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    #[error("the token in {path:?} cannot be read: {source}")]
    Token { path: PathBuf, source: std::io::Error },
    #[error("the gateway does not answer: {0}")]
    Away(String),
    #[error("the gateway has no time: {status}: {detail}")]
    Busy { status: u16, detail: String, after: Option<Duration> },
    #[error("the gateway does not take the token: {detail}")]
    Unauthorized { detail: String },
    #[error("the document is larger than the gateway takes")]
    TooLarge,
    #[error("the gateway refuses the document: {code}: {detail}")]
    Refused { code: String, detail: String },
    #[error("the answer is none of a gateway: {status}: {detail}")]
    NoGateway { status: u16, detail: String },
}

impl TellError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token_unreadable",
            Self::Away(_) | Self::Busy { .. } => "gateway_unavailable",
            Self::Unauthorized { .. } => "unauthorized",
            Self::TooLarge => "too_large",
            Self::Refused { .. } => "objects_refused",
            Self::NoGateway { .. } => "bad_answer",
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url:?} is no http or https address")]
    Url { url: String },
    #[error("cannot read certificates in {path:?}: {detail}")]
    Certificates { path: PathBuf, detail: String },
    #[error("no HTTP client: {0}")]
    Http(#[source] reqwest::Error),
}

impl ClientError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "bad_url",
            Self::Certificates { .. } => "bad_certificates",
            Self::Http(_) => "http",
        }
    }
}

/// Where a token comes from.
#[derive(Clone)]
pub enum Token {
    Text(String),
    /// Read with each request, so that it may change.
    File(PathBuf),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Token {
    async fn read(&self) -> Result<String, TellError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(source) => Err(TellError::Token { path: path.clone(), source }),
            },
        }
    }
}

/// How a document is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Apply,
    Delete,
    /// All that the cluster has, or all that a namespace has.
    Replace {
        namespace: Option<Box<str>>,
    },
}

/// A gateway, a token, and the cluster that is spoken of.
#[derive(Debug, Clone)]
pub struct Gateway {
    http: Client,
    deploys: Url,
    cluster: String,
    token: Token,
}

impl Gateway {
    /// The client of the gateway at `server`; `authorities` has further certificates to trust, in PEM.
    ///
    /// # Errors
    /// No such address; certificates that cannot be read.
    pub fn new(
        server: &str,
        cluster: &str,
        token: Token,
        authorities: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url { url: server.to_owned() };
        let mut deploys = Url::parse(server).map_err(|_| wrong())?;
        if !matches!(deploys.scheme(), "http" | "https") || deploys.host().is_none() {
            return Err(wrong());
        }
        let path = format!("{}/v1/deploys", deploys.path().trim_end_matches('/'));
        deploys.set_path(&path);
        deploys.set_query(None);
        deploys.set_fragment(None);
        let mut certificates = Vec::new();
        if let Some(path) = authorities {
            let unread = |detail: String| ClientError::Certificates { path: path.to_owned(), detail };
            let pem = std::fs::read(path).map_err(|error| unread(error.to_string()))?;
            certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unread(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unread("there is no certificate in it".to_owned()));
            }
        }
        let builder = || {
            // The token is for this address alone.
            let nowhere_else = reqwest::redirect::Policy::none();
            Client::builder()
                .connect_timeout(Duration::from_secs(10))
                .timeout(REQUEST_TIMEOUT)
                .redirect(nowhere_else)
        };
        // A machine without certificate authorities can still speak to a gateway in the clear, or with its own.
        let http = builder()
            .tls_certs_merge(certificates.clone())
            .build()
            .or_else(|_| builder().tls_certs_only(certificates).build())
            .map_err(ClientError::Http)?;
        Ok(Self { http, deploys, cluster: cluster.to_owned(), token })
    }

    /// Tells the gateway; what was answered with success is recorded. `complete` is false where not all of the cluster
    /// can be seen.
    ///
    /// # Errors
    /// As [`TellError`]; nothing says whether what was not answered was recorded.
    pub async fn tell(&self, mode: &Mode, complete: bool, document: Vec<u8>) -> Result<(), TellError> {
        let mut url = self.deploys.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("cluster", &self.cluster);
            match mode {
                Mode::Apply => query.append_pair("mode", "apply"),
                Mode::Delete => query.append_pair("mode", "delete"),
                Mode::Replace { namespace } => {
                    query.append_pair("mode", "replace");
                    match namespace {
                        Some(namespace) => query.append_pair("scope", &format!("namespace={namespace}")),
                        None => query.append_pair("scope", "cluster"),
                    }
                }
            };
            if !complete {
                query.append_pair("complete", "false");
            }
        }
        let token = self.token.read().await?;
        let request =
            self.http.post(url).bearer_auth(token).header("content-type", "application/json").body(document);
        let answer = request.send().await.map_err(|error| TellError::Away(chain(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|after| after.to_str().ok())
            .and_then(|after| after.parse().ok());
        let after = after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let (code, detail) = explained(answer).await;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TellError::Unauthorized { detail },
            StatusCode::PAYLOAD_TOO_LARGE => TellError::TooLarge,
            StatusCode::BAD_REQUEST if !code.is_empty() => TellError::Refused { code, detail },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                TellError::Busy { status: status.as_u16(), detail, after }
            }
            status if status.is_server_error() => TellError::Busy { status: status.as_u16(), detail, after },
            status => TellError::NoGateway { status: status.as_u16(), detail },
        })
    }
}

/// Code and detail of an answer that is no success, as far as it is one of a gateway.
async fn explained(mut answer: reqwest::Response) -> (String, String) {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            break;
        }
    }
    let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("code"), text("detail"))
}
