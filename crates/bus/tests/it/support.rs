//! One server for all tests, an account for each, and looking into streams.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Bus, Outgoing, stage};
use plimsoll_testkit::nats::{NatsOptions, NatsServer};
use plimsoll_testkit::wait;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::toy::{self, Toy};

/// Longest wait for anything; a test that works never comes near it.
pub const BOUND: Duration = Duration::from_secs(90);
const ACCOUNTS: usize = 90;

fn scratch() -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // What earlier runs left: a server in a static is killed with us, its directory is not removed.
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("bus-").and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    base.join(format!("bus-{}", std::process::id()))
}

async fn server() -> &'static NatsServer {
    static SERVER: OnceCell<NatsServer> = OnceCell::const_new();
    let start = || async {
        let mut accounts = String::from("accounts {\n");
        for n in 0..ACCOUNTS {
            writeln!(accounts, "  T{n}: {{ jetstream: enabled, users: [{{ user: t{n}, password: t{n} }}] }}")
                .unwrap();
        }
        accounts.push('}');
        let dir = Some(scratch().join("nats"));
        NatsServer::start_with(NatsOptions { dir, extra_config: accounts, ..Default::default() })
            .await
            .unwrap()
    };
    SERVER.get_or_init(start).await
}

/// An account of its own on the shared server.
pub struct Place {
    pub url: String,
    pub bus: Bus,
    pub js: Context,
}

/// A fresh account, connected with an `ack_wait` of that many milliseconds.
pub async fn place(ack_wait_ms: u64) -> Place {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    assert!(n < ACCOUNTS, "more accounts are needed");
    let url = format!("nats://t{n}:t{n}@127.0.0.1:{}", server().await.port());
    Place::at(&url, ack_wait_ms).await
}

/// What a stream holds.
#[derive(Debug, Clone)]
pub struct Stored {
    pub subject: String,
    pub text: String,
    pub headers: async_nats::HeaderMap,
}

impl Stored {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.as_str())
    }
}

impl Place {
    pub async fn at(url: &str, ack_wait_ms: u64) -> Self {
        let bus = toy::connect(toy::settings(url, "test", Duration::from_millis(ack_wait_ms))).await;
        Self::of(url, bus).await
    }

    pub async fn of(url: &str, bus: Bus) -> Self {
        let servers: Vec<String> = url.split(',').map(str::to_owned).collect();
        let address: async_nats::ServerAddr = servers[0].parse().unwrap();
        let mut options = async_nats::ConnectOptions::new();
        if let (Some(user), Some(password)) = (address.username(), address.password()) {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        let client = options.connect(servers).await.unwrap();
        Self { url: url.to_owned(), bus, js: jetstream::new(client) }
    }

    pub async fn push(&self, lane: Lane, payload: &str) {
        self.send(&subjects::job("toy", lane), payload).await;
    }

    pub async fn send(&self, subject: &str, payload: &str) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("push-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let message = Outgoing { subject: subject.to_owned(), payload: payload.as_bytes().to_vec() };
        self.bus.publish(&message, &id, &[]).await.unwrap();
    }

    /// All messages of a stream.
    pub async fn stored(&self, stream: &str) -> Vec<Stored> {
        self.try_stored(stream).await.unwrap()
    }

    /// All messages of a stream, or nothing while it cannot be read.
    pub async fn try_stored(&self, stream: &str) -> Option<Vec<Stored>> {
        let stream = self.js.get_stream(stream).await.ok()?;
        let state = &stream.cached_info().state;
        let mut all = Vec::new();
        if state.messages == 0 {
            return Some(all);
        }
        for seq in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(seq).await else { continue };
            all.push(Stored {
                subject: message.subject.to_string(),
                text: String::from_utf8_lossy(&message.payload).into_owned(),
                headers: message.headers,
            });
        }
        Some(all)
    }

    /// Texts of `facts.toy`, in order.
    pub async fn facts(&self) -> Vec<String> {
        self.stored("FACTS").await.into_iter().map(|m| m.text).collect()
    }

    /// Messages that the work queue still holds.
    pub async fn queued(&self) -> Option<u64> {
        Some(self.js.get_stream("JOBS").await.ok()?.cached_info().state.messages)
    }

    pub async fn idle(&self) {
        until("an empty queue", || async { self.queued().await == Some(0) }).await;
    }

    /// Waits for all of these facts, and for an empty queue.
    pub async fn done(&self, expected: &[String]) {
        let expected: BTreeSet<&String> = expected.iter().collect();
        until("the facts", || async {
            let Some(stored) = self.try_stored("FACTS").await else { return false };
            let texts: BTreeSet<String> = stored.into_iter().map(|m| m.text).collect();
            expected.iter().all(|text| texts.contains(*text))
        })
        .await;
        self.idle().await;
    }

    pub async fn start(&self, toy: Toy) -> Stage {
        let stop = CancellationToken::new();
        let running =
            stage::start(self.bus.clone(), toy, stop.clone(), Duration::from_secs(90)).await.unwrap();
        Stage { stop, running }
    }

    /// A second process as the broker sees it, in the same account.
    pub async fn other(&self, ack_wait_ms: u64) -> Bus {
        toy::connect(toy::settings(&self.url, "other", Duration::from_millis(ack_wait_ms))).await
    }
}

pub struct Stage {
    pub stop: CancellationToken,
    pub running: stage::Running,
}

impl Stage {
    pub async fn drain(self) {
        self.stop.cancel();
        tokio::time::timeout(BOUND, self.running.drained()).await.expect("drained");
    }
}

pub async fn until<F: Future<Output = bool>>(what: &str, check: impl FnMut() -> F) {
    wait::until(what, BOUND, check).await.unwrap();
}

/// The worker of `examples/worker.rs` as a child that is killed on drop.
pub struct Worker {
    child: Child,
}

impl Worker {
    pub fn start(url: &str, role: &str, guard: &str, log: &Path, kill_at: &str) -> Self {
        Self::start_with(url, role, guard, log, kill_at, 1000)
    }

    pub fn start_with(
        url: &str,
        role: &str,
        guard: &str,
        log: &Path,
        kill_at: &str,
        ack_wait_ms: u64,
    ) -> Self {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/worker");
        assert!(program.exists(), "run the tests with cargo, which builds {}", program.display());
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        let child = Command::new(program)
            .args([url, role, guard])
            .arg(log)
            .arg(ack_wait_ms.to_string())
            .env("PLIMSOLL_KILL_AT", kill_at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Waits until it has died.
    pub async fn died(&mut self) {
        let child = std::sync::Mutex::new(&mut self.child);
        until("the worker's death", || {
            let dead = child.lock().unwrap().try_wait().unwrap().is_some();
            async move { dead }
        })
        .await;
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file for a worker's log.
pub fn log_file(name: &str) -> PathBuf {
    scratch().join(format!("{name}.log"))
}

/// How often a line is in a worker's log.
pub fn runs(log: &Path, input: &str) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().lines().filter(|line| *line == input).count()
}
