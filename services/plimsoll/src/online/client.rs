//! A small client of the gateway's HTTP interface.

use std::time::Duration;

use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use serde_json::Value;

use super::Gateway;
use crate::error::CliError;

/// A gateway and a token.
pub struct Client {
    http: Http,
    base: String,
    token: String,
}

impl Client {
    /// The client of what the command line names.
    pub fn new(gateway: &Gateway) -> Result<Self, CliError> {
        let read = |name: &str| {
            std::fs::read_to_string(gateway.data.join(name))
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|t| !t.is_empty())
        };
        let base = gateway.url.clone().or_else(|| read("url")).ok_or_else(|| {
            CliError::new("no_gateway", "no gateway is known")
                .hint("start one with `plimsoll up`, or name one with --url or PLIMSOLL_URL")
        })?;
        let token = gateway.token.clone().or_else(|| read("token")).ok_or_else(|| {
            CliError::new("no_token", "no token is known").hint("give one with --token or PLIMSOLL_TOKEN")
        })?;
        Self::of(&base, &token)
    }

    /// A client of a URL and a token.
    pub fn of(base: &str, token: &str) -> Result<Self, CliError> {
        let http = Http::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(None)
            .build()
            .map_err(|error| CliError::new("http", error))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    /// `GET` with query parameters; the answer is JSON.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CliError> {
        json(self.send(self.request(reqwest::Method::GET, path, query).timeout(Duration::from_secs(60)))?)
    }

    /// `GET` whose answer is read while it comes.
    pub fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response, CliError> {
        self.send(self.request(reqwest::Method::GET, path, query))
    }

    /// `POST` of a body; the answer is JSON.
    pub fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
        kind: &str,
        body: Vec<u8>,
    ) -> Result<Value, CliError> {
        let request =
            self.request(reqwest::Method::POST, path, query).header("content-type", kind).body(body);
        json(self.send(request.timeout(Duration::from_secs(120)))?)
    }

    fn request(&self, method: reqwest::Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = format!("{}{path}", self.base);
        for (n, (name, value)) in query.iter().enumerate() {
            url.push(if n == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&escape(value));
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().map_err(|error| {
            CliError::new("gateway_unavailable", format!("{} does not answer: {error}", self.base))
                .hint("is `plimsoll up` running? --url or PLIMSOLL_URL name another gateway")
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().unwrap_or(Value::Null);
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = if text("code").is_empty() { format!("http_{}", status.as_u16()) } else { text("code") };
        let error =
            CliError::new(code, if text("detail").is_empty() { status.to_string() } else { text("detail") });
        Err(if text("hint").is_empty() { error } else { error.hint(text("hint")) })
    }
}

fn json(response: Response) -> Result<Value, CliError> {
    response.json().map_err(|error| CliError::new("bad_answer", error))
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
