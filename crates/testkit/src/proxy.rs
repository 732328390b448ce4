//! A TCP proxy that breaks on request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes moved at a time.
const CHUNK: usize = 16 * 1024;
/// Bytes kept of each direction of a connection while capturing; the rest is counted only.
const CAPTURE: usize = 4 * 1024 * 1024;

/// The proxy could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No listener could be had.
    #[error("listen on the loopback address")]
    Listen(#[source] std::io::Error),
}

/// What happens to bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Live connections end, new ones end at once.
    Cut,
    /// Connections stay, bytes do not move.
    Stall,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    mode: Mode,
    delay: Duration,
    /// Bytes from the upstream, for each connection, after which it is cut.
    cut_after: Option<u64>,
    capture: bool,
}

/// What went over one connection while capturing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// From the client to the upstream; at most 4 MiB are kept.
    pub sent: Vec<u8>,
    /// From the upstream to the client; at most 4 MiB are kept.
    pub received: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    captures: Mutex<Vec<Capture>>,
    accepted: AtomicU64,
    live: AtomicU64,
    to_upstream: AtomicU64,
    to_client: AtomicU64,
}

/// A proxy in front of one host and port; its faults change at run time and hold for live connections too.
/// It ends, with its connections, on drop.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    rules: watch::Sender<Rules>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free loopback port in front of `upstream` (`host:port`), passing everything on.
    pub async fn start(upstream: impl Into<String>) -> Result<Self, ProxyError> {
        let upstream = upstream.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(ProxyError::Listen)?;
        let addr = listener.local_addr().map_err(ProxyError::Listen)?;
        let (rules, seen) = watch::channel(Rules {
            mode: Mode::Pass,
            delay: Duration::ZERO,
            cut_after: None,
            capture: false,
        });
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, upstream, seen, Arc::clone(&shared)));
        Ok(Self { addr, rules, shared, task })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `<scheme>://<addr>`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }

    /// Ends live connections and every new one, until [`Self::heal`].
    pub fn cut(&self) {
        self.rules.send_modify(|rules| rules.mode = Mode::Cut);
    }

    /// Stops the bytes but keeps the connections, until [`Self::heal`]. New connections are accepted.
    pub fn stall(&self) {
        self.rules.send_modify(|rules| rules.mode = Mode::Stall);
    }

    /// Holds each chunk of up to 16 KiB back for this long, in each direction. Zero turns it off.
    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    /// Cuts each connection once the upstream has sent this many bytes over it.
    pub fn cut_after(&self, bytes: u64) {
        self.rules.send_modify(|rules| rules.cut_after = Some(bytes));
    }

    /// Passes everything on again; capturing stays as it is.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| {
            rules.mode = Mode::Pass;
            rules.delay = Duration::ZERO;
            rules.cut_after = None;
        });
    }

    /// Starts or stops keeping what passes.
    pub fn capture(&self, on: bool) {
        self.rules.send_modify(|rules| rules.capture = on);
    }

    /// What was captured, in the order in which connections came.
    pub fn captured(&self) -> Vec<Capture> {
        self.shared.captures.lock().map(|captures| captures.clone()).unwrap_or_default()
    }

    /// Connections accepted so far, those cut at once included.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn live(&self) -> u64 {
        self.shared.live.load(Ordering::SeqCst)
    }

    /// Bytes passed on so far: (to the upstream, to clients).
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.to_upstream.load(Ordering::SeqCst), self.shared.to_client.load(Ordering::SeqCst))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, rules: watch::Receiver<Rules>, shared: Arc<Shared>) {
    // Dropped with this task, which takes every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let rules = rules.clone();
                if rules.borrow().mode == Mode::Cut {
                    continue;
                }
                connections.spawn(carry(client, upstream.clone(), rules, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, upstream: String, rules: watch::Receiver<Rules>, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let Some(slot) = open_capture(&shared) else { return };
    shared.live.fetch_add(1, Ordering::SeqCst);
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let up =
        pump(client_read, server_write, rules.clone(), Side { up: true, slot, shared: Arc::clone(&shared) });
    let down = pump(server_read, client_write, rules, Side { up: false, slot, shared: Arc::clone(&shared) });
    // A half that ends in order closes its direction only; a cut ends both.
    tokio::pin!(up, down);
    let (mut up_done, mut down_done) = (false, false);
    while !(up_done && down_done) {
        let end = tokio::select! {
            end = &mut up, if !up_done => { up_done = true; end }
            end = &mut down, if !down_done => { down_done = true; end }
        };
        if end == End::Cut {
            break;
        }
    }
    shared.live.fetch_sub(1, Ordering::SeqCst);
}

fn open_capture(shared: &Shared) -> Option<usize> {
    let mut captures = shared.captures.lock().ok()?;
    captures.push(Capture::default());
    Some(captures.len().saturating_sub(1))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Cut,
}

struct Side {
    up: bool,
    slot: usize,
    shared: Arc<Shared>,
}

impl Side {
    fn record(&self, bytes: &[u8], capture: bool) {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let counter = if self.up { &self.shared.to_upstream } else { &self.shared.to_client };
        counter.fetch_add(count, Ordering::SeqCst);
        if capture
            && let Ok(mut captures) = self.shared.captures.lock()
            && let Some(kept) = captures.get_mut(self.slot)
        {
            let into = if self.up { &mut kept.sent } else { &mut kept.received };
            into.extend(bytes.iter().take(CAPTURE.saturating_sub(into.len())));
        }
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut rules: watch::Receiver<Rules>,
    side: Side,
) -> End {
    let mut buffer = vec![0_u8; CHUNK];
    let mut moved = 0_u64;
    loop {
        let now = *rules.borrow_and_update();
        match now.mode {
            Mode::Cut => return End::Cut,
            Mode::Stall => {
                if rules.changed().await.is_err() {
                    return End::Cut;
                }
                continue;
            }
            Mode::Pass => {}
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = rules.changed() => {
                if changed.is_err() { return End::Cut; }
                continue;
            }
        };
        let Ok(count) = read else { return End::Cut };
        if count == 0 {
            let _ = to.shutdown().await;
            return End::Finished;
        }
        // What was read before a stall began still waits for its end.
        let now = match hold(&mut rules, now.delay).await {
            Some(now) => now,
            None => return End::Cut,
        };
        let mut chunk = buffer.get(..count).unwrap_or_default();
        let mut cut = false;
        if let (false, Some(limit)) = (side.up, now.cut_after) {
            let left = usize::try_from(limit.saturating_sub(moved)).unwrap_or(usize::MAX);
            cut = chunk.len() >= left;
            chunk = chunk.get(..left.min(chunk.len())).unwrap_or_default();
        }
        moved = moved.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        side.record(chunk, now.capture);
        let written = tokio::select! {
            written = to.write_all(chunk) => written.is_ok(),
            _ = rules.wait_for(|rules| rules.mode == Mode::Cut) => false,
        };
        if !written || cut {
            return End::Cut;
        }
    }
}

/// Waits out a delay and any stall; `None` when the connection is to be cut.
async fn hold(rules: &mut watch::Receiver<Rules>, delay: Duration) -> Option<Rules> {
    if !delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            cut = rules.wait_for(|rules| rules.mode == Mode::Cut) => { let _ = cut; return None; }
        }
    }
    match rules.wait_for(|rules| rules.mode != Mode::Stall).await {
        Ok(now) if now.mode == Mode::Pass => Some(*now),
        _ => None,
    }
}
