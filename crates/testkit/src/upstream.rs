//! An upstream of feeds: bodies by path with entity tags, answered conditionally; what it was asked is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Uri, header};
use tokio::task::JoinHandle;

/// An upstream could not be had.
#[derive(Debug, thiserror::Error)]
#[error("listen on 127.0.0.1")]
pub struct UpstreamError(#[from] std::io::Error);

#[derive(Debug, Default)]
struct Held {
    /// Body and entity tag by path.
    bodies: BTreeMap<String, (Bytes, String)>,
    /// `Last-Modified` by path.
    dates: BTreeMap<String, String>,
    /// Paths that were asked for, each with the status that was answered.
    asked: Vec<String>,
    broken: bool,
}

/// An HTTP server on a free loopback port, whose content can be changed while it runs. It ends on drop.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    held: Arc<Mutex<Held>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Starts without content: everything is 404.
    pub async fn start() -> Result<Self, UpstreamError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let held: Arc<Mutex<Held>> = Arc::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&held));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "upstream ended");
            }
        });
        Ok(Self { addr, held, task })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Puts a body at a path (`/a/b.json`, with its query if there is one). Equal bodies have equal entity tags.
    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        let body: Vec<u8> = body.into();
        let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let tag = format!("\"{}-{sum:x}\"", body.len());
        lock(&self.held).bodies.insert(path.to_owned(), (body.into(), tag));
    }

    /// Gives a path a `Last-Modified`.
    pub fn date(&self, path: &str, date: &str) {
        lock(&self.held).dates.insert(path.to_owned(), date.to_owned());
    }

    /// Removes what is at a path.
    pub fn remove(&self, path: &str) {
        lock(&self.held).bodies.remove(path);
    }

    /// Answers 503 to everything, or no longer.
    pub fn broken(&self, broken: bool) {
        lock(&self.held).broken = broken;
    }

    /// What was asked since the last time: `/path status`, in order.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.held).asked)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(held): State<Arc<Mutex<Held>>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let mut held = lock(&held);
    let (status, tag, body) = match held.bodies.get(&path) {
        _ if held.broken => (StatusCode::SERVICE_UNAVAILABLE, None, Bytes::new()),
        Some((_, tag)) if known == Some(tag) => (StatusCode::NOT_MODIFIED, Some(tag.clone()), Bytes::new()),
        Some((body, tag)) => (StatusCode::OK, Some(tag.clone()), body.clone()),
        None => (StatusCode::NOT_FOUND, None, Bytes::new()),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in [(header::ETAG, tag.as_ref()), (header::LAST_MODIFIED, held.dates.get(&path))] {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    held.asked.push(format!("{path} {}", status.as_u16()));
    // Tags and dates that are no header values are the test's own mistake: the answer is empty then.
    response.body(Body::from(body)).unwrap_or_default()
}
