//! One registry: its client, its addresses, and how a request is sent, retried, redirected and authorised.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use governor::DefaultDirectRateLimiter;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use plimsoll_config::Registry;
use reqwest::{Client, Response, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Options;
use super::auth::{self, Credentials, Memory};
use super::error::{RegistryError, SetupError, tame};
use super::known;
use super::retry::{Retry, random, retry_after};

/// Redirects that one request may take.
const MAX_REDIRECTS: usize = 5;

/// One registry of the allow-list.
pub(super) struct Host {
    /// Its name in references.
    pub(super) identity: String,
    pub(super) mirrors: Vec<String>,
    pub(super) retry: Retry,
    base: Url,
    pub(super) client: Client,
    pub(super) plain_http: bool,
    pub(super) credentials: Credentials,
    pub(super) token_hosts: Vec<String>,
    redirect_hosts: Vec<String>,
    /// Everything in flight.
    all: Arc<Semaphore>,
    /// Blob transfers in flight: fewer than all, so that manifests never wait behind layers alone.
    transfers: Arc<Semaphore>,
    pub(super) rate: Option<DefaultDirectRateLimiter>,
    /// Nobody asks before this moment: the registry said `Retry-After`.
    not_before: Mutex<Option<Instant>>,
    pub(super) memory: Memory,
    waiting: AtomicUsize,
    concurrent: usize,
}

/// What the requests to one registry are doing, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Requests that wait: for a place, for the rate, or because the registry asked for a pause.
    pub waiting: usize,
    /// Requests under way, their bodies included.
    pub active: usize,
}

/// Adds one to a gauge for as long as it lives.
struct Count<'a>(&'a AtomicUsize);

impl<'a> Count<'a> {
    fn up(gauge: &'a AtomicUsize) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Scope of the token that it needs.
    pub(super) scope: String,
    /// For messages.
    pub(super) what: String,
    pub(super) accept: Option<String>,
    /// First byte that is wanted.
    pub(super) from: Option<u64>,
    /// A blob whose body is read slowly.
    pub(super) transfer: bool,
    /// What is sent, for a request that writes.
    pub(super) put: Option<Put>,
    /// Not to be repeated as it is: an upload that broke begins anew.
    pub(super) once: bool,
}

/// The body of a request that writes. Redirects of such a request are followed within the registry only.
#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    /// First and last byte of the whole, for a part of it.
    pub(super) range: Option<(u64, u64)>,
}

impl Ask {
    /// A request that reads.
    pub(super) fn read(method: Method, url: Url, scope: String, what: String) -> Self {
        Self { method, url, scope, what, accept: None, from: None, transfer: false, put: None, once: false }
    }
}

/// Places in the registry's queues, held until the body is read.
#[derive(Debug)]
pub(super) struct Places {
    _all: OwnedSemaphorePermit,
    _transfer: Option<OwnedSemaphorePermit>,
}

enum Outcome {
    Done(Response),
    Unauthorized(HeaderMap),
    Again { after: Option<Duration>, error: RegistryError },
}

impl Host {
    pub(super) fn new(registry: &Registry, options: &Options) -> Result<Self, SetupError> {
        let known = known::known(&registry.host);
        let invalid = |reason: String| SetupError::Invalid { host: registry.host.clone(), reason };
        let endpoint = registry.endpoint.as_deref().or(known.and_then(|known| known.endpoint));
        let endpoint = endpoint.unwrap_or(&registry.host);
        let scheme = if registry.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{endpoint}/"))
            .map_err(|error| invalid(format!("{endpoint:?} is no address: {error}")))?;
        let client = client(registry, &base, options)?;
        let concurrent = usize::try_from(registry.max_concurrent.max(1)).unwrap_or(1);
        let per_second = registry.requests_per_second.and_then(std::num::NonZeroU32::new);
        // Behind another endpoint, a registry still speaks of itself by its own name.
        let mut token_hosts = registry.token_hosts.clone();
        let mut redirect_hosts = registry.redirect_hosts.clone();
        token_hosts.push(registry.host.clone());
        redirect_hosts.push(registry.host.clone());
        if let Some(known) = known {
            token_hosts.extend(known.token_hosts.iter().map(|&host| host.to_owned()));
            redirect_hosts.extend(known.redirect_hosts.iter().map(|&host| host.to_owned()));
        }
        Ok(Self {
            identity: registry.host.clone(),
            mirrors: registry.mirrors.clone(),
            retry: options.retry,
            base,
            client,
            plain_http: registry.plain_http,
            credentials: Credentials::of(registry)?,
            token_hosts,
            redirect_hosts,
            all: Arc::new(Semaphore::new(concurrent)),
            transfers: Arc::new(Semaphore::new((concurrent - concurrent / 4).max(1))),
            rate: per_second.map(|n| DefaultDirectRateLimiter::direct(governor::Quota::per_second(n))),
            not_before: Mutex::new(None),
            memory: Memory::default(),
            waiting: AtomicUsize::new(0),
            concurrent,
        })
    }

    /// The address of a path below `/v2/`, whose parts are valid names already.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// Sends a request until it succeeds, fails for good or is out of attempts. The places are to be held
    /// while the body is read.
    pub(super) async fn send(&self, ask: &Ask) -> Result<(Response, Places), RegistryError> {
        let mut attempt = 0;
        let mut refused: Option<Arc<str>> = None;
        loop {
            {
                let _waiting = Count::up(&self.waiting);
                self.wait().await;
            }
            let header = self.authorization(ask, refused.as_deref()).await?;
            let places = {
                let _waiting = Count::up(&self.waiting);
                let places = self.places(ask.transfer).await;
                if let Some(rate) = &self.rate {
                    rate.until_ready().await;
                }
                places
            };
            match self.once(ask, header.as_deref()).await? {
                Outcome::Done(response) => return Ok((response, places)),
                Outcome::Unauthorized(headers) => {
                    drop(places);
                    // One refusal of what we sent may mean that it expired; two mean that it is no good.
                    if refused.is_some() {
                        return Err(self.denied(ask, "it does not accept the token that it gave us"));
                    }
                    let challenge = auth::challenge(&headers).map_err(|why| self.denied(ask, why))?;
                    self.memory.set_challenge(challenge);
                    refused = header;
                }
                Outcome::Again { after, error } => {
                    drop(places);
                    attempt += 1;
                    if ask.once || attempt >= self.retry.attempts {
                        return Err(error);
                    }
                    tracing::debug!(
                        registry = self.identity,
                        attempt,
                        code = error.code(),
                        "request is repeated"
                    );
                    self.rest(attempt - 1, after).await;
                }
            }
        }
    }

    /// Sends a request and reads at most `limit` bytes of its body; a broken body counts as an attempt.
    pub(super) async fn fetch(
        &self,
        ask: &Ask,
        limit: usize,
    ) -> Result<(Bytes, HeaderMap, Url), RegistryError> {
        let mut attempt = 0;
        loop {
            let (mut response, _places) = self.send(ask).await?;
            match read_bounded(&mut response, limit).await {
                Body::Whole(bytes) => return Ok((bytes, response.headers().clone(), response.url().clone())),
                Body::TooLarge => {
                    return Err(RegistryError::TooLarge {
                        what: ask.what.clone(),
                        limit: u64::try_from(limit).unwrap_or(u64::MAX),
                    });
                }
                Body::Broken(error) => {
                    attempt += 1;
                    if attempt >= self.retry.attempts {
                        return Err(self.unavailable(ask, &reason(error)));
                    }
                }
            }
            drop(_places);
            self.rest(attempt - 1, None).await;
        }
    }

    /// Pauses after a failed attempt. What the registry asked for holds for every request to it.
    pub(super) async fn rest(&self, attempt: u32, asked: Option<Duration>) {
        let pause = self.retry.pause(attempt, asked, random());
        if asked.is_some()
            && let Some(until) = Instant::now().checked_add(pause)
        {
            let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            *not_before = Some(not_before.map_or(until, |earlier| earlier.max(until)));
        }
        let _waiting = Count::up(&self.waiting);
        tokio::time::sleep(pause).await;
    }

    /// What the requests to this registry are doing.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            waiting: self.waiting.load(Ordering::Relaxed),
            active: self.concurrent.saturating_sub(self.all.available_permits()),
        }
    }

    async fn wait(&self) {
        loop {
            let until = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            match until.and_then(|until| until.checked_duration_since(Instant::now())) {
                // A little jitter, or all who wait come back at once.
                Some(left) if !left.is_zero() => {
                    tokio::time::sleep(left + Duration::from_micros(random() % 1_000)).await;
                }
                _ => return,
            }
        }
    }

    async fn places(&self, transfer: bool) -> Places {
        let acquire = async |semaphore: &Arc<Semaphore>| {
            loop {
                // The semaphores are never closed.
                if let Ok(permit) = Arc::clone(semaphore).acquire_owned().await {
                    return permit;
                }
            }
        };
        let transfer = if transfer { Some(acquire(&self.transfers).await) } else { None };
        Places { _all: acquire(&self.all).await, _transfer: transfer }
    }

    async fn once(&self, ask: &Ask, authorization: Option<&str>) -> Result<Outcome, RegistryError> {
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let own = self.is_own(&url);
            let mut request = self.client.request(ask.method.clone(), url.clone());
            if let Some(accept) = &ask.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(from) = ask.from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            if own && let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some(put) = &ask.put {
                if !put.media_type.is_empty() {
                    request = request.header(CONTENT_TYPE, &put.media_type);
                }
                if let Some((first, last)) = put.range {
                    request = request.header(CONTENT_RANGE, format!("{first}-{last}"));
                }
                request = request.body(put.bytes.clone());
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => {
                    let error = self.unavailable(ask, &reason(error));
                    return Ok(Outcome::Again { after: None, error });
                }
            };
            let status = response.status();
            match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(Outcome::Done(response)),
                StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT if ask.put.is_some() => {
                    return Ok(Outcome::Done(response));
                }
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT if ask.put.is_some() => {
                    url = self.redirected(ask, &url, response.headers())?;
                    if !self.is_own(&url) {
                        return Err(RegistryError::NotConfigured { host: shown(&url), role: "upload" });
                    }
                }
                StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER
                    if ask.put.is_some() =>
                {
                    return Err(self.unsupported(ask, "a redirect that would drop what is sent".into()));
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    url = self.redirected(ask, &url, response.headers())?;
                }
                StatusCode::UNAUTHORIZED if own => {
                    return Ok(Outcome::Unauthorized(response.headers().clone()));
                }
                _ => return self.refused(ask, own, response).await,
            }
        }
        Err(self.unsupported(ask, format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn refused(&self, ask: &Ask, own: bool, response: Response) -> Result<Outcome, RegistryError> {
        let status = response.status();
        let after = retry_after(response.headers(), SystemTime::now());
        let what = || ask.what.clone();
        let registry = || self.identity.clone();
        match status.as_u16() {
            429 => {
                let error = RegistryError::RateLimited { registry: registry(), what: what() };
                Ok(Outcome::Again { after, error })
            }
            408 | 425 | 500 | 502 | 503 | 504 => {
                let error = self.unavailable(ask, status.as_str());
                Ok(Outcome::Again { after, error })
            }
            // A storage host that refuses mostly does so because its signed address has expired.
            401 | 403 if !own => {
                let error = self.unavailable(ask, "the storage that it redirects to refuses");
                Ok(Outcome::Again { after, error })
            }
            403 => Err(self.denied(ask, &detail(response).await)),
            404 | 410 => Err(RegistryError::NotFound { registry: registry(), what: what() }),
            400 => Err(RegistryError::InvalidReference(format!(
                "{} calls {} invalid: {}",
                self.identity,
                ask.what,
                detail(response).await
            ))),
            _ => Err(self.unsupported(ask, status.as_str().to_owned())),
        }
    }

    /// Where `Location` leads: the registry itself or a listed host.
    pub(super) fn redirected(
        &self,
        ask: &Ask,
        from: &Url,
        headers: &HeaderMap,
    ) -> Result<Url, RegistryError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| from.join(text).ok());
        let Some(target) = target else {
            return Err(self.unsupported(ask, "a redirect without an address".into()));
        };
        if self.is_own(&target) || listed(&target, &self.redirect_hosts, self.plain_http) {
            return Ok(target);
        }
        Err(RegistryError::NotConfigured { host: shown(&target), role: "redirect" })
    }

    /// True for the registry's own scheme, host and port.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && no_user(url)
    }

    pub(super) fn denied(&self, ask: &Ask, detail: &str) -> RegistryError {
        RegistryError::Auth {
            registry: self.identity.clone(),
            what: ask.what.clone(),
            detail: detail.to_owned(),
        }
    }

    pub(super) fn unavailable(&self, ask: &Ask, detail: &str) -> RegistryError {
        RegistryError::Unavailable {
            registry: self.identity.clone(),
            what: ask.what.clone(),
            detail: detail.to_owned(),
        }
    }

    pub(super) fn unsupported(&self, ask: &Ask, detail: String) -> RegistryError {
        RegistryError::Unsupported { registry: self.identity.clone(), what: ask.what.clone(), detail }
    }
}

fn no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// True if one of the patterns fits the address: `host` on the scheme's port, `host:port`, `*.domain`. HTTP in
/// the clear only where the registry itself is spoken to like that.
pub(super) fn listed(url: &Url, patterns: &[String], plain_http: bool) -> bool {
    let scheme = url.scheme() == "https" || (plain_http && url.scheme() == "http");
    let Some(host) = url.host_str() else { return false };
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let below =
        |domain: &str| host.strip_suffix(domain).is_some_and(|below| below.len() > 1 && below.ends_with('.'));
    scheme
        && no_user(url)
        && patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => below(domain),
            None => host == *pattern,
        })
}

/// Scheme, host and port of an address that is refused.
pub(super) fn shown(url: &Url) -> String {
    let host = tame(url.host_str().unwrap_or("an address without a host"));
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

fn client(registry: &Registry, base: &Url, options: &Options) -> Result<Client, SetupError> {
    let invalid = |reason: String| SetupError::Invalid { host: registry.host.clone(), reason };
    let mut certificates = Vec::new();
    if let Some(path) = &registry.ca_file {
        let pem = std::fs::read(path).map_err(|source| SetupError::Certificates {
            host: registry.host.clone(),
            path: path.clone(),
            source,
        })?;
        certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| invalid(format!("ca_file: {error}")))?;
        if certificates.is_empty() {
            return Err(invalid("ca_file: there is no certificate in it".into()));
        }
    }
    let has_authorities = !certificates.is_empty();
    let name = base.host_str().unwrap_or("");
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let loopback = name == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let builder = || {
        let builder = Client::builder()
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            // Every hop is checked against the allow-list first, so we follow redirects ourselves.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout);
        // A proxy's loopback is not ours.
        if loopback { builder.no_proxy() } else { builder }
    };
    let built = builder().tls_certs_merge(certificates.clone()).build();
    match built {
        Ok(client) => Ok(client),
        // A machine without certificate authorities can still speak to a registry in the clear, or to one
        // whose authority is given.
        Err(_) if registry.plain_http || has_authorities => builder()
            .tls_certs_only(certificates)
            .build()
            .map_err(|error| invalid(format!("no HTTP client: {}", reason(error)))),
        Err(error) => Err(invalid(format!("no HTTP client: {}", reason(error)))),
    }
}

/// An error's chain without the address, which may hold a signature.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    tame(&text)
}

pub(super) enum Body {
    Whole(Bytes),
    TooLarge,
    Broken(reqwest::Error),
}

pub(super) async fn read_bounded(response: &mut Response, limit: usize) -> Body {
    let claimed = response.content_length().and_then(|n| usize::try_from(n).ok());
    if claimed.is_some_and(|claimed| claimed > limit) {
        return Body::TooLarge;
    }
    let mut bytes = BytesMut::with_capacity(claimed.unwrap_or(0).min(64 * 1024));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len().saturating_add(chunk.len()) > limit => return Body::TooLarge,
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(bytes.freeze()),
            Err(error) => return Body::Broken(error),
        }
    }
}

/// The first message of a registry's error answer (distribution specification, "Error Codes").
async fn detail(mut response: Response) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let Body::Whole(bytes) = read_bounded(&mut response, 64 * 1024).await else { return status.to_string() };
    match serde_json::from_slice::<Answer>(&bytes).ok().and_then(|answer| answer.errors.into_iter().next()) {
        Some(first) => tame(&format!("{} {}", first.code, first.message)),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_listed_or_not() {
        let patterns = ["cdn.example", "*.pool.example", "127.0.0.1:5000"].map(str::to_owned);
        for (address, tls, plain) in [
            ("https://cdn.example/x", true, true),
            ("https://CDN.example:443/x", true, true),
            ("http://cdn.example/x", false, true),
            ("https://cdn.example:8443/x", false, false),
            ("https://x.cdn.example/x", false, false),
            ("https://a.pool.example/x", true, true),
            ("https://a.b.pool.example/x", true, true),
            ("https://pool.example/x", false, false),
            ("https://evilpool.example/x", false, false),
            ("https://.pool.example/x", false, false),
            ("https://cdn.example.evil.example/", false, false),
            ("https://cdn.example@evil.example/", false, false),
            ("https://me@cdn.example/", false, false),
            ("http://127.0.0.1:5000/", false, true),
            ("ftp://cdn.example/", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url = Url::parse(address).unwrap();
            assert_eq!(listed(&url, &patterns, false), tls, "{address}");
            assert_eq!(listed(&url, &patterns, true), plain, "{address} in the clear");
        }
    }
}
