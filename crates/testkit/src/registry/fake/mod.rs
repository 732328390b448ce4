//! An OCI registry in this process, with content in memory, that misbehaves on request.

mod auth;
mod fault;
mod notify;
mod route;
mod serve;
mod store;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Endpoint, RegistryError};
use crate::image::BuiltImage;
use crate::wait::{self, WaitError};
use auth::Tokens;
use notify::{Happened, Notifier};
use store::{Manifest, Store};

pub use auth::Auth;
pub use fault::{Behaviour, Fault, Kind};

/// What the registry is started with. The default: a free loopback port, no authentication, nobody told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 is a free one.
    pub listen: String,
    /// What clients must present.
    pub auth: Auth,
    /// Who is told of pushes, pulls, mounts and deletes.
    pub endpoints: Vec<Endpoint>,
    /// Whether pulls are told of, as Distribution does.
    pub notify_pulls: bool,
    /// Most tags or repositories in one page, whatever is asked for.
    pub page: usize,
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Requests that [`FakeRegistry::requests`] remembers; the oldest are forgotten first.
    pub max_requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            auth: Auth::None,
            endpoints: Vec::new(),
            notify_pulls: true,
            page: 1_000,
            max_body: 4 << 30,
            max_requests: 100_000,
        }
    }
}

/// A request as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, in capitals.
    pub method: String,
    /// Endpoint.
    pub kind: Kind,
    /// Repository; empty where there is none.
    pub repository: String,
    /// Tag, digest or upload; empty where there is none.
    pub reference: String,
    /// Path and query.
    pub uri: String,
    /// Status of the answer; a fault may have broken its body.
    pub status: u16,
    /// `Authorization`, as sent.
    pub authorization: Option<String>,
    /// `Range`, as sent.
    pub range: Option<String>,
    /// `User-Agent`, as sent.
    pub user_agent: Option<String>,
}

/// What handlers share.
#[derive(Debug)]
struct Shared {
    options: Options,
    addr: String,
    closed: AtomicBool,
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    behaviours: Mutex<Vec<Behaviour>>,
    requests: Mutex<VecDeque<Request>>,
    blob_gets: Mutex<HashMap<String, u64>>,
    notifier: Notifier,
}

/// A running registry; it stops answering on drop.
#[derive(Debug)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeRegistry {
    /// Listens and serves.
    pub async fn start(options: Options) -> Result<Self, RegistryError> {
        let listen = |source| RegistryError::Listen { addr: options.listen.clone(), source };
        let listener = tokio::net::TcpListener::bind(&options.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let notifier = Notifier::start(&options.endpoints, &http);
        let shared = Arc::new(Shared {
            options,
            addr: addr.to_string(),
            closed: AtomicBool::new(false),
            store: Mutex::default(),
            tokens: Mutex::default(),
            behaviours: Mutex::default(),
            requests: Mutex::default(),
            blob_gets: Mutex::default(),
            notifier,
        });
        let service = serve::router(Arc::clone(&shared)).into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::warn!(%error, "registry ended");
            }
        });
        Ok(Self { shared, addr, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `127.0.0.1:<port>`, as an image reference has it.
    pub fn host(&self) -> String {
        self.shared.addr.clone()
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.addr)
    }

    /// Holds an image under `repository:tag`, and tells nobody.
    pub fn put_image(&self, repository: &str, tag: &str, image: &BuiltImage) {
        self.hold(repository, tag, image, false);
    }

    /// Holds an image and tells the endpoints what a push of it would: each blob that the repository lacked, each
    /// manifest, the tagged one last.
    pub fn push_image(&self, repository: &str, tag: &str, image: &BuiltImage) {
        self.hold(repository, tag, image, true);
    }

    fn hold(&self, repository: &str, tag: &str, image: &BuiltImage, tell: bool) {
        let mut told = Vec::new();
        {
            let mut store = lock(&self.shared.store);
            for (digest, blob) in image.blobs() {
                if store.blob(repository, &digest).is_none() {
                    told.push((digest.clone(), "application/octet-stream".to_owned(), blob.size(), None));
                }
                store.put_blob(repository, &digest, blob.bytes);
            }
            let root = image.digest();
            for blob in image.manifests() {
                let tag = (blob.digest == root).then_some(tag);
                told.push((blob.digest.clone(), blob.media_type.clone(), blob.size(), tag));
                let manifest =
                    Manifest { media_type: blob.media_type, digest: blob.digest, bytes: blob.bytes };
                store.put_manifest(repository, tag, manifest);
            }
        }
        if !tell {
            return;
        }
        for (digest, media_type, size, tag) in told {
            let happened = Happened {
                action: "push",
                repository,
                digest: &digest,
                media_type: &media_type,
                size: Some(size),
                tag,
                from: None,
                method: "PUT",
                user_agent: concat!("plimsoll-testkit/", env!("CARGO_PKG_VERSION")),
                user: "",
                client: "127.0.0.1:0",
                host: &self.shared.addr,
            };
            self.shared.notifier.send(&[happened.event()]);
        }
    }

    /// Forgets a tag, or a manifest by digest; says whether there was one. Nobody is told.
    pub fn remove(&self, repository: &str, reference: &str) -> bool {
        lock(&self.shared.store).delete_manifest(repository, reference).is_some()
    }

    /// Tags of a repository, in order.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        lock(&self.shared.store).tags(repository).unwrap_or_default()
    }

    /// Digest that a tag points at.
    pub fn resolve(&self, repository: &str, tag: &str) -> Option<String> {
        lock(&self.shared.store).manifest(repository, tag).map(|manifest| manifest.digest)
    }

    /// Misbehaves from now on, in addition to what was asked before.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.shared.behaviours).push(behaviour);
    }

    /// Behaves again.
    pub fn calm(&self) {
        lock(&self.shared.behaviours).clear();
    }

    /// Ends every token that was given out.
    pub fn expire_tokens(&self) {
        lock(&self.shared.tokens).expire();
    }

    /// Sends one envelope of these events to the endpoints: duplicates, disorder, and other vendors' shapes.
    pub fn notify(&self, events: &[Value]) {
        self.shared.notifier.send(events);
    }

    /// Envelopes (delivered, given up) so far.
    pub fn notified(&self) -> (u64, u64) {
        let counts = &self.shared.notifier.counts;
        (counts.delivered.load(Ordering::SeqCst), counts.failed.load(Ordering::SeqCst))
    }

    /// Waits until every envelope has been delivered or given up.
    pub async fn flushed(&self, bound: Duration) -> Result<(), WaitError> {
        let counts = &self.shared.notifier.counts;
        wait::until("notifications to be delivered", bound, || async {
            let (delivered, failed) = self.notified();
            delivered.saturating_add(failed) >= counts.queued.load(Ordering::SeqCst)
        })
        .await
    }

    /// Requests answered so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).iter().cloned().collect()
    }

    /// How often a blob's content was asked for and served (200 or 206), in whatever repository. Redirects and
    /// refusals do not count.
    pub fn blob_gets(&self, digest: &str) -> u64 {
        lock(&self.shared.blob_gets).get(digest).copied().unwrap_or(0)
    }

    /// Every blob that was served, with its count.
    pub fn all_blob_gets(&self) -> HashMap<String, u64> {
        lock(&self.shared.blob_gets).clone()
    }

    /// Forgets requests and counts, not content.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
        lock(&self.shared.blob_gets).clear();
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        // Connections outlive the listener; a closed registry drops them at their next request.
        self.shared.closed.store(true, Ordering::SeqCst);
        self.task.abort();
    }
}

/// The lock, also after a panic elsewhere: every holder leaves the value whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
