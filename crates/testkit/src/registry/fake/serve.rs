//! The endpoints of the OCI distribution specification 1.1, and the faults on their way out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request as Incoming, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::auth::Issued;
use super::fault::{Fault, Kind, met};
use super::notify::{Happened, random_hex};
use super::route::{Route, query};
use super::store::Manifest;
use super::{Request, Shared, lock};
use crate::image::{INDEX, MANIFEST, sha256};

/// Bytes of a body that may break that go out at a time.
const CHUNK: usize = 64 * 1024;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

/// An answer before faults.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(status: StatusCode, document: &Value) -> Self {
        let mut answer = Self::new(status).with("content-type", "application/json");
        answer.body = Bytes::from(document.to_string());
        answer
    }

    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let errors = json!([{"code": code, "message": message, "detail": null}]);
        Self::json(status, &json!({"errors": errors}))
    }

    fn unknown(code: &str) -> Self {
        Self::error(StatusCode::NOT_FOUND, code, "not known to this registry")
    }

    fn content(media_type: &str, digest: &str, bytes: Bytes) -> Self {
        let mut answer = Self::new(StatusCode::OK)
            .with("content-type", media_type)
            .with("docker-content-digest", digest)
            .with("etag", format!("\"{digest}\""));
        answer.body = bytes;
        answer
    }
}

/// A request's parts, as handlers need them.
pub(super) struct Asked<'a> {
    pub(super) shared: &'a Shared,
    pub(super) method: &'a Method,
    pub(super) route: &'a Route,
    query: Vec<(String, String)>,
    headers: &'a HeaderMap,
    client: String,
}

impl Asked<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn tell(&self, action: &str, digest: &str, media_type: &str, size: Option<usize>, more: More<'_>) {
        if self.shared.options.endpoints.is_empty() || (action == "pull" && !self.shared.options.notify_pulls)
        {
            return;
        }
        let user = match &self.shared.options.auth {
            super::Auth::Basic { user, .. } => user.as_str(),
            _ => "",
        };
        let happened = Happened {
            action,
            repository: &self.route.repository,
            digest,
            media_type,
            size: size.and_then(|size| u64::try_from(size).ok()),
            tag: more.tag,
            from: more.from,
            method: self.method.as_str(),
            user_agent: self.header(header::USER_AGENT).unwrap_or_default(),
            user,
            client: &self.client,
            host: &self.shared.addr,
        };
        self.shared.notifier.send(&[happened.event()]);
    }
}

#[derive(Default)]
struct More<'a> {
    tag: Option<&'a str>,
    from: Option<&'a str>,
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    incoming: Incoming,
) -> Response {
    let (parts, body) = incoming.into_parts();
    let route = Route::parse(parts.uri.path());
    if shared.closed.load(Ordering::SeqCst) {
        let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "closed");
        return respond(answer, &[Fault::DropAfter(0)]);
    }
    let faults = {
        let mut behaviours = lock(&shared.behaviours);
        met(&mut behaviours, &parts.method, route.kind, &route.repository, &route.reference)
    };
    for fault in &faults {
        if let Fault::Latency(latency) = fault {
            tokio::time::sleep(*latency).await;
        }
    }
    // Read in full before anything is answered: a client that is still sending would see a reset instead.
    let body = axum::body::to_bytes(body, shared.options.max_body).await;
    let asked = Asked {
        shared: &shared,
        method: &parts.method,
        route: &route,
        query: query(parts.uri.query()),
        headers: &parts.headers,
        client: client.to_string(),
    };
    let answer = match (refusal(&asked, &faults, parts.uri.path()), body) {
        (Some(refused), _) => refused,
        (None, Err(_)) => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "body too large"),
        (None, Ok(body)) => dispatch(&asked, body, &faults),
    };
    remember(&asked, &parts.uri.to_string(), answer.status);
    respond(answer, &faults)
}

/// The answer of a fault or of authentication, if the request gets no further.
fn refusal(asked: &Asked<'_>, faults: &[Fault], path: &str) -> Option<Answer> {
    let challenge = |value: String| {
        Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
            .with("www-authenticate", value)
    };
    for fault in faults {
        let answer = match fault {
            Fault::Unauthorized => {
                let auth = &asked.shared.options.auth;
                challenge(auth.challenge(asked.method, asked.route, &asked.shared.addr))
            }
            Fault::Challenge(value) => challenge(value.clone()),
            Fault::TooManyRequests { retry_after } => {
                let answer =
                    Answer::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests");
                match retry_after {
                    Some(value) => answer.with("retry-after", value.clone()),
                    None => answer,
                }
            }
            Fault::Status(status) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Answer::error(status, "UNKNOWN", "as was asked for")
            }
            Fault::Redirect(base) => Answer::new(StatusCode::TEMPORARY_REDIRECT)
                .with("location", format!("{}{path}", base.trim_end_matches('/'))),
            _ => continue,
        };
        return Some(answer);
    }
    let checked = asked.shared.options.auth.check(
        &lock(&asked.shared.tokens),
        asked.method,
        asked.route,
        asked.header(header::AUTHORIZATION),
        &asked.shared.addr,
    );
    checked.err().map(challenge)
}

fn dispatch(asked: &Asked<'_>, body: Bytes, faults: &[Fault]) -> Answer {
    let read = matches!(*asked.method, Method::GET | Method::HEAD);
    match asked.route.kind {
        Kind::Ping if read => Answer::json(StatusCode::OK, &json!({})),
        Kind::Token if read => token(asked),
        Kind::Catalog if read => {
            let names = lock(&asked.shared.store).catalog();
            page(asked, names, "/v2/_catalog", |names| json!({"repositories": names}))
        }
        Kind::Tags if read => match lock(&asked.shared.store).tags(&asked.route.repository) {
            None => Answer::unknown("NAME_UNKNOWN"),
            Some(tags) => {
                let name = &asked.route.repository;
                page(
                    asked,
                    tags,
                    &format!("/v2/{name}/tags/list"),
                    |tags| json!({"name": name, "tags": tags}),
                )
            }
        },
        Kind::Referrers if read => referrers(asked),
        Kind::Manifest => manifest(asked, body),
        Kind::Blob => blob(asked, faults.contains(&Fault::IgnoreRange)),
        Kind::Upload => upload(asked, &body),
        Kind::Other => Answer::unknown("NAME_INVALID"),
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed"),
    }
}

fn token(asked: &Asked<'_>) -> Answer {
    let mut tokens = lock(&asked.shared.tokens);
    match asked.shared.options.auth.issue(&mut tokens, &asked.query, asked.header(header::AUTHORIZATION)) {
        Issued::Refused => Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "no token for you"),
        Issued::Token { token, seconds } => Answer::json(
            StatusCode::OK,
            &json!({"token": token, "access_token": token, "expires_in": seconds}),
        ),
    }
}

/// Names after `last`, at most `n` of them, with a `Link` to the rest.
fn page(asked: &Asked<'_>, names: Vec<String>, path: &str, document: impl Fn(&[String]) -> Value) -> Answer {
    let limit = asked.parameter("n").and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let limit = limit.min(asked.shared.options.page);
    let last = asked.parameter("last").unwrap_or_default().to_owned();
    let mut rest = names.into_iter().filter(|name| last.is_empty() || *name > last).peekable();
    let taken: Vec<String> = rest.by_ref().take(limit).collect();
    let answer = Answer::json(StatusCode::OK, &document(&taken));
    match (rest.peek(), taken.last()) {
        (Some(_), Some(last)) => {
            answer.with("link", format!("<{path}?last={last}&n={}>; rel=\"next\"", taken.len()))
        }
        _ => answer,
    }
}

fn referrers(asked: &Asked<'_>) -> Answer {
    let wanted = asked.parameter("artifactType");
    let mut found = lock(&asked.shared.store).referrers(&asked.route.repository, &asked.route.reference);
    if let Some(wanted) = wanted {
        found.retain(|descriptor| descriptor.get("artifactType").and_then(Value::as_str) == Some(wanted));
    }
    let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": found});
    let mut answer = Answer::new(StatusCode::OK).with("content-type", INDEX);
    if wanted.is_some() {
        answer = answer.with("oci-filters-applied", "artifactType");
    }
    answer.body = Bytes::from(document.to_string());
    answer
}

fn manifest(asked: &Asked<'_>, body: Bytes) -> Answer {
    let Route { repository, reference, .. } = asked.route;
    match *asked.method {
        Method::GET | Method::HEAD => {
            let Some(found) = lock(&asked.shared.store).manifest(repository, reference) else {
                return Answer::unknown("MANIFEST_UNKNOWN");
            };
            // Distribution tells of a HEAD as of a pull.
            let tag = Some(reference.as_str()).filter(|reference| !reference.contains(':'));
            let more = More { tag, from: None };
            asked.tell("pull", &found.digest, &found.media_type, Some(found.bytes.len()), more);
            Answer::content(&found.media_type, &found.digest, found.bytes)
        }
        Method::PUT => put_manifest(asked, body),
        Method::DELETE => {
            let Some(deleted) = lock(&asked.shared.store).delete_manifest(repository, reference) else {
                return Answer::unknown("MANIFEST_UNKNOWN");
            };
            if let Some(digest) = &deleted.digest {
                asked.tell("delete", digest, MANIFEST, None, More::default());
            }
            // Then each tag that went with it, which has no digest.
            for tag in &deleted.tags {
                asked.tell("delete", "", MANIFEST, None, More { tag: Some(tag), from: None });
            }
            Answer::new(StatusCode::ACCEPTED)
        }
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed"),
    }
}

fn put_manifest(asked: &Asked<'_>, body: Bytes) -> Answer {
    let Route { repository, reference, .. } = asked.route;
    let bad = |code, message: &str| Answer::error(StatusCode::BAD_REQUEST, code, message);
    let Ok(document) = serde_json::from_slice::<Value>(&body) else {
        return bad("MANIFEST_INVALID", "not JSON");
    };
    let digest = sha256(&body);
    let by_digest = reference.contains(':');
    if by_digest && *reference != digest {
        return bad("DIGEST_INVALID", "the content has another digest");
    }
    let media_type = asked
        .header(header::CONTENT_TYPE)
        .or_else(|| document.get("mediaType").and_then(Value::as_str))
        .unwrap_or(MANIFEST)
        .to_owned();
    let tag = (!by_digest).then_some(reference.as_str());
    let size = body.len();
    {
        let mut store = lock(&asked.shared.store);
        let missing = store.missing(repository, &document);
        if !missing.is_empty() {
            return bad("MANIFEST_BLOB_UNKNOWN", &missing.join(" "));
        }
        let manifest = Manifest { media_type: media_type.clone(), digest: digest.clone(), bytes: body };
        store.put_manifest(repository, tag, manifest);
    }
    asked.tell("push", &digest, &media_type, Some(size), More { tag, from: None });
    let answer = Answer::new(StatusCode::CREATED)
        .with("location", format!("/v2/{repository}/manifests/{digest}"))
        .with("docker-content-digest", digest);
    match document.pointer("/subject/digest").and_then(Value::as_str) {
        Some(subject) => answer.with("oci-subject", subject),
        None => answer,
    }
}

fn blob(asked: &Asked<'_>, ignore_range: bool) -> Answer {
    let Route { repository, reference, .. } = asked.route;
    match *asked.method {
        Method::GET | Method::HEAD => {
            let Some(bytes) = lock(&asked.shared.store).blob(repository, reference) else {
                return Answer::unknown("BLOB_UNKNOWN");
            };
            let size = bytes.len();
            let answer = Answer::content("application/octet-stream", reference, bytes)
                .with("accept-ranges", if ignore_range { "none" } else { "bytes" });
            let range = asked.header(header::RANGE).filter(|_| !ignore_range && asked.method == Method::GET);
            let answer = match range {
                Some(range) => ranged(answer, range, size),
                None => answer,
            };
            if answer.status.is_success() {
                if asked.method == Method::GET {
                    let mut gets = lock(&asked.shared.blob_gets);
                    let count = gets.entry(reference.clone()).or_default();
                    *count = count.saturating_add(1);
                }
                // Distribution tells of a HEAD as of a pull.
                asked.tell("pull", reference, "application/octet-stream", Some(size), More::default());
            }
            answer
        }
        Method::DELETE => {
            if !lock(&asked.shared.store).delete_blob(repository, reference) {
                return Answer::unknown("BLOB_UNKNOWN");
            }
            asked.tell("delete", reference, "application/octet-stream", None, More::default());
            Answer::new(StatusCode::ACCEPTED)
        }
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed"),
    }
}

/// One `bytes=` range (RFC 9110, 14.1.2); several are answered in full, as is allowed.
fn ranged(mut answer: Answer, range: &str, size: usize) -> Answer {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return answer;
    };
    let last_byte = size.saturating_sub(1);
    let span = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => Some((first, last.min(last_byte))),
        (Ok(first), Err(_)) if last.is_empty() => Some((first, last_byte)),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => {
            Some((size.saturating_sub(suffix), last_byte))
        }
        _ => return answer,
    };
    match span.filter(|(first, last)| first <= last && *first < size) {
        Some((first, last)) => {
            answer.status = StatusCode::PARTIAL_CONTENT;
            answer.body = answer.body.slice(first..last.saturating_add(1));
            answer.with("content-range", format!("bytes {first}-{last}/{size}"))
        }
        None => Answer::error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "no such range")
            .with("content-range", format!("bytes */{size}")),
    }
}

fn upload(asked: &Asked<'_>, body: &Bytes) -> Answer {
    let Route { repository, reference, .. } = asked.route;
    let unknown = || Answer::unknown("BLOB_UPLOAD_UNKNOWN");
    let going = |status: StatusCode, id: &str, length: usize| {
        Answer::new(status)
            .with("location", format!("/v2/{repository}/blobs/uploads/{id}"))
            .with("docker-upload-uuid", id)
            .with("range", format!("0-{}", length.saturating_sub(1)))
    };
    match (asked.method, reference.is_empty()) {
        (&Method::POST, true) => {
            if let (Some(digest), Some(from)) = (asked.parameter("mount"), asked.parameter("from")) {
                let mounted = lock(&asked.shared.store).mount(from, repository, digest);
                if let Some(size) = mounted {
                    let more = More { tag: None, from: Some(from) };
                    let size = usize::try_from(size).ok();
                    asked.tell("mount", digest, "application/octet-stream", size, more);
                    return created(asked, digest);
                }
            }
            if let Some(digest) = asked.parameter("digest") {
                return finish(asked, digest, body.clone());
            }
            let id = random_hex(16);
            lock(&asked.shared.store).open(&id);
            going(StatusCode::ACCEPTED, &id, 0)
        }
        (&Method::PATCH, false) => {
            let mut store = lock(&asked.shared.store);
            let Some(length) = store.progress(reference) else { return unknown() };
            let start = asked.header(header::CONTENT_RANGE).and_then(|range| range.split('-').next());
            if start.is_some_and(|start| start.trim_start_matches("bytes ").parse() != Ok(length)) {
                return going(StatusCode::RANGE_NOT_SATISFIABLE, reference, length);
            }
            match store.append(reference, body) {
                Some(length) => going(StatusCode::ACCEPTED, reference, length),
                None => unknown(),
            }
        }
        (&Method::PUT, false) => {
            let Some(digest) = asked.parameter("digest") else {
                return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "no digest");
            };
            let whole = {
                let mut store = lock(&asked.shared.store);
                store.append(reference, body).and_then(|_| store.close(reference))
            };
            match whole {
                Some(bytes) => finish(asked, digest, bytes),
                None => unknown(),
            }
        }
        (&Method::GET, false) => match lock(&asked.shared.store).progress(reference) {
            Some(length) => going(StatusCode::NO_CONTENT, reference, length),
            None => unknown(),
        },
        (&Method::DELETE, false) => match lock(&asked.shared.store).close(reference) {
            Some(_) => Answer::new(StatusCode::NO_CONTENT),
            None => unknown(),
        },
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "method not allowed"),
    }
}

fn finish(asked: &Asked<'_>, digest: &str, bytes: Bytes) -> Answer {
    if sha256(&bytes) != digest {
        return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the content has another digest");
    }
    let size = bytes.len();
    lock(&asked.shared.store).put_blob(&asked.route.repository, digest, bytes);
    asked.tell("push", digest, "application/octet-stream", Some(size), More::default());
    created(asked, digest)
}

fn created(asked: &Asked<'_>, digest: &str) -> Answer {
    Answer::new(StatusCode::CREATED)
        .with("location", format!("/v2/{}/blobs/{digest}", asked.route.repository))
        .with("docker-content-digest", digest)
}

fn remember(asked: &Asked<'_>, uri: &str, status: StatusCode) {
    let text = |name| asked.header(name).map(str::to_owned);
    let request = Request {
        method: asked.method.to_string(),
        kind: asked.route.kind,
        repository: asked.route.repository.clone(),
        reference: asked.route.reference.clone(),
        uri: uri.to_owned(),
        status: status.as_u16(),
        authorization: text(header::AUTHORIZATION),
        range: text(header::RANGE),
        user_agent: text(header::USER_AGENT),
    };
    let mut requests = lock(&asked.shared.requests);
    if requests.len() >= asked.shared.options.max_requests {
        requests.pop_front();
    }
    requests.push_back(request);
}

/// Sends an answer, broken as was asked.
fn respond(mut answer: Answer, faults: &[Fault]) -> Response {
    let mut ending = None;
    for fault in faults {
        match fault {
            Fault::Truncate(length) => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                answer.body = answer.body.slice(..length.min(answer.body.len()));
            }
            Fault::Corrupt => {
                let mut bytes = answer.body.to_vec();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 0xff;
                }
                answer.body = bytes.into();
            }
            Fault::Replace(bytes) => answer.body = bytes.clone(),
            Fault::NoDigestHeader => answer.headers.retain(|(name, _)| *name != "docker-content-digest"),
            Fault::DropAfter(_) | Fault::StallAfter(_) => ending = Some(fault.clone()),
            _ => {}
        }
    }
    let mut response = Response::builder()
        .status(answer.status)
        .header("docker-distribution-api-version", "registry/2.0")
        .header(header::CONTENT_LENGTH, answer.body.len());
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = match ending {
        None => Body::from(answer.body),
        Some(fault) => broken(answer.body, &fault),
    };
    response.body(body).unwrap_or_else(|error| {
        tracing::warn!(%error, "answer not sent");
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}

/// The start of a body, then a reset or silence.
fn broken(bytes: Bytes, fault: &Fault) -> Body {
    let (after, stall) = match fault {
        Fault::StallAfter(after) => (*after, true),
        Fault::DropAfter(after) => (*after, false),
        _ => (u64::MAX, false),
    };
    let after = usize::try_from(after).unwrap_or(usize::MAX).min(bytes.len());
    let start = bytes.slice(..after);
    let chunks: Vec<std::io::Result<Bytes>> =
        (0..start.len()).step_by(CHUNK).map(|at| Ok(start.slice(at..start.len().min(at + CHUNK)))).collect();
    let end = async move {
        if stall {
            std::future::pending::<()>().await;
        }
        // Lets the server send what it has before it learns of the failure.
        tokio::task::yield_now().await;
        Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut, as was asked for"))
    };
    Body::from_stream(futures::stream::iter(chunks).chain(futures::stream::once(end)))
}
