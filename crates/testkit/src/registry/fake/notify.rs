//! Notifications in the shape of CNCF Distribution 2.8 (`notifications/event.go`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::registry::{EVENTS, Endpoint};

/// Tries for an envelope before it is given up.
const TRIES: u32 = 30;
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Envelopes of one registry, on their way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) queued: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// One queue and one task for each endpoint, so that a slow one does not hold another back. Order is kept.
#[derive(Debug)]
pub(super) struct Notifier {
    queues: Vec<mpsc::UnboundedSender<Value>>,
    tasks: Vec<JoinHandle<()>>,
    pub(super) counts: Arc<Counts>,
}

impl Notifier {
    pub(super) fn start(endpoints: &[Endpoint], http: &reqwest::Client) -> Self {
        let counts = Arc::new(Counts::default());
        let mut notifier = Self { queues: Vec::new(), tasks: Vec::new(), counts: Arc::clone(&counts) };
        for endpoint in endpoints {
            let (queue, envelopes) = mpsc::unbounded_channel();
            notifier.queues.push(queue);
            let task = deliver(endpoint.clone(), http.clone(), envelopes, Arc::clone(&counts));
            notifier.tasks.push(tokio::spawn(task));
        }
        notifier
    }

    /// Sends one envelope with these events to every endpoint.
    pub(super) fn send(&self, events: &[Value]) {
        let envelope = json!({"events": events});
        for queue in &self.queues {
            self.counts.queued.fetch_add(1, Ordering::SeqCst);
            if queue.send(envelope.clone()).is_err() {
                self.counts.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn deliver(
    endpoint: Endpoint,
    http: reqwest::Client,
    mut envelopes: mpsc::UnboundedReceiver<Value>,
    counts: Arc<Counts>,
) {
    while let Some(envelope) = envelopes.recv().await {
        let mut pause = Duration::from_millis(20);
        let mut delivered = false;
        for _ in 0..TRIES {
            let mut request = http
                .post(&endpoint.url)
                .header("Content-Type", EVENTS)
                .timeout(Duration::from_secs(10))
                .body(envelope.to_string());
            for (name, value) in &endpoint.headers {
                request = request.header(name, value);
            }
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                delivered = true;
                break;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        let counter = if delivered { &counts.delivered } else { &counts.failed };
        counter.fetch_add(1, Ordering::SeqCst);
        if !delivered {
            tracing::warn!(url = %endpoint.url, "notification given up");
        }
    }
}

/// What happened to what, for one event.
pub(super) struct Happened<'a> {
    pub(super) action: &'a str,
    pub(super) repository: &'a str,
    /// Empty for a tag that was deleted.
    pub(super) digest: &'a str,
    pub(super) media_type: &'a str,
    /// Bytes; absent for a delete.
    pub(super) size: Option<u64>,
    pub(super) tag: Option<&'a str>,
    pub(super) from: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) user_agent: &'a str,
    /// User of the actor; empty without authentication.
    pub(super) user: &'a str,
    /// Peer address.
    pub(super) client: &'a str,
    /// This registry's `host:port`.
    pub(super) host: &'a str,
}

impl Happened<'_> {
    pub(super) fn event(&self) -> Value {
        let part = if is_manifest(self.media_type) { "manifests" } else { "blobs" };
        let mut target = json!({"repository": self.repository});
        if let Some(fields) = target.as_object_mut() {
            if !self.digest.is_empty() {
                fields.insert("digest".to_owned(), json!(self.digest));
            }
            if let Some(size) = self.size {
                fields.insert("mediaType".to_owned(), json!(self.media_type));
                fields.insert("size".to_owned(), json!(size));
                fields.insert("length".to_owned(), json!(size));
                let url = format!("http://{}/v2/{}/{part}/{}", self.host, self.repository, self.digest);
                fields.insert("url".to_owned(), json!(url));
            }
            if let Some(tag) = self.tag {
                fields.insert("tag".to_owned(), json!(tag));
            }
            if let Some(from) = self.from {
                fields.insert("fromRepository".to_owned(), json!(from));
            }
        }
        let actor = if self.user.is_empty() { json!({}) } else { json!({"name": self.user}) };
        let now = time::OffsetDateTime::now_utc();
        json!({
            "id": uuid(),
            "timestamp": now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
            "action": self.action,
            "target": target,
            "request": {
                "id": uuid(),
                "addr": self.client,
                "host": self.host,
                "method": self.method,
                "useragent": self.user_agent,
            },
            "actor": actor,
            "source": {"addr": self.host, "instanceID": "plimsoll-testkit"},
        })
    }
}

/// Whether a media type is a manifest's or an index's.
pub(super) fn is_manifest(media_type: &str) -> bool {
    media_type.contains("manifest") || media_type.contains("image.index")
}

/// `count` random bytes in hexadecimal.
pub(super) fn random_hex(count: usize) -> String {
    let mut bytes = vec![0_u8; count];
    if aws_lc_rs::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("no random bytes");
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid() -> String {
    let hex = random_hex(16);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
