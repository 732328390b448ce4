//! A webhook receiver that keeps what it is sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use tokio::task::JoinHandle;

use super::RegistryError;

/// One POST that arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null when that is not JSON.
    pub body: serde_json::Value,
}

#[derive(Debug, Default)]
struct Kept {
    deliveries: Mutex<Vec<Delivery>>,
    status: AtomicU16,
}

/// An HTTP server that answers each POST with a status of choice and keeps it. It ends on drop.
#[derive(Debug)]
pub struct WebhookSink {
    addr: SocketAddr,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

impl WebhookSink {
    /// Listens on a free loopback port and answers 200.
    pub async fn start() -> Result<Self, RegistryError> {
        let listen = |source| RegistryError::Listen { addr: "127.0.0.1:0".to_owned(), source };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let kept = Arc::new(Kept::default());
        kept.status.store(200, Ordering::SeqCst);
        let router = Router::new().fallback(receive).with_state(Arc::clone(&kept));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "webhook sink ended");
            }
        });
        Ok(Self { addr, kept, task })
    }

    /// Where to POST.
    pub fn url(&self) -> String {
        format!("http://{}/events", self.addr)
    }

    /// Answers this status from now on; what is refused is kept all the same.
    pub fn answer(&self, status: u16) {
        self.kept.status.store(status, Ordering::SeqCst);
    }

    /// What arrived so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.kept.deliveries.lock().map(|kept| kept.clone()).unwrap_or_default()
    }

    /// The events of every envelope that arrived so far, in order.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let deliveries = self.deliveries();
        deliveries
            .iter()
            .filter_map(|delivery| delivery.body.get("events")?.as_array())
            .flatten()
            .cloned()
            .collect()
    }
}

impl Drop for WebhookSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: bytes::Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    if let Ok(mut deliveries) = kept.deliveries.lock() {
        deliveries.push(Delivery { headers, body });
    }
    StatusCode::from_u16(kept.status.load(Ordering::SeqCst)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
