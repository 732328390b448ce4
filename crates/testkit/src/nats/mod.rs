//! A real `nats-server` as a child, with JetStream, on the loopback address.

mod binary;
mod cluster;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports::{self, PortsError};
use crate::process::{Guarded, ProcessError};
use crate::wait;

pub use binary::{check, find};
pub use cluster::NatsCluster;

/// Longest wait for a server to be ready. A pyenv shim on a loaded machine takes seconds.
const READY: Duration = Duration::from_secs(30);
/// Longest wait for a server that was asked to end.
const STOP: Duration = Duration::from_secs(20);
/// Starts on fresh ports before a collision is an error.
const COLLISIONS: u32 = 5;

/// A server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// There is no server to run.
    #[error(
        "find nats-server 2.14 or newer: set NATS_SERVER, or run ./justw, which installs one into .tools"
    )]
    NotInstalled,
    /// The server is older than what the bus relies on.
    #[error("use {path}: nats-server {version} is older than {}", binary::OLDEST)]
    TooOld {
        /// Which program.
        path: PathBuf,
        /// What it says it is.
        version: semver::Version,
    },
    /// The program does not say its version.
    #[error("ask {path} for its version: {said:?}")]
    Version {
        /// Which program.
        path: PathBuf,
        /// What it said instead.
        said: String,
    },
    /// A directory or file could not be written.
    #[error("prepare {path}")]
    Prepare {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The client for the monitoring endpoints could not be made.
    #[error("build an HTTP client")]
    Client(#[source] reqwest::Error),
    /// No port was free.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// The child could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The server ended before it was ready.
    #[error("start nats-server: it ended with {status}; its log ends with:\n{log}")]
    Exited {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The server did not become ready.
    #[error("start nats-server: not ready after {bound:?} ({what}); its log ends with:\n{log}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
        /// The end of its log.
        log: String,
    },
    /// The server is not running.
    #[error("use nats-server: it is not running")]
    NotRunning,
}

/// What a server is started with. The default: a temporary directory, free ports, default sync.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// Where state, configuration and log go; made if absent. Without one, a temporary directory that is
    /// removed on drop.
    pub dir: Option<PathBuf>,
    /// Port for clients. Without one, a free port, which stays the same over [`NatsServer::restart`].
    pub port: Option<u16>,
    /// `sync_interval: always`: every write reaches the disk before it is acknowledged.
    pub sync_always: bool,
    /// Lines added to the configuration at top level.
    pub extra_config: String,
    /// The program. Without one, what [`find`] finds.
    pub program: Option<PathBuf>,
}

/// A running server; killed on drop.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    plan: Plan,
    child: Option<Guarded>,
    http: reqwest::Client,
    _temporary: Option<tempfile::TempDir>,
}

/// Everything that a start needs, and that a restart repeats.
#[derive(Debug, Clone)]
struct Plan {
    dir: PathBuf,
    name: String,
    port: u16,
    monitor: u16,
    sync_always: bool,
    extra: String,
    routing: Option<Routing>,
}

/// A member's place in a cluster.
#[derive(Debug, Clone)]
struct Routing {
    port: u16,
    peers: Vec<u16>,
}

impl NatsServer {
    /// A server with the defaults, ready for clients.
    pub async fn start() -> Result<Self, NatsError> {
        Self::start_with(NatsOptions::default()).await
    }

    /// A server with these options, ready for clients. When the port was not fixed, a collision with another
    /// process is tried again on fresh ports.
    pub async fn start_with(options: NatsOptions) -> Result<Self, NatsError> {
        let program = match &options.program {
            Some(program) => {
                check(program)?;
                program.clone()
            }
            None => find()?,
        };
        let (dir, temporary) = directory(options.dir)?;
        let mut tries = 0;
        loop {
            let mut free = ports::free(2)?.into_iter();
            let (Some(first), Some(monitor)) = (free.next(), free.next()) else {
                return Err(NatsError::NotRunning);
            };
            let plan = Plan {
                dir: dir.clone(),
                name: "n1".to_owned(),
                port: options.port.unwrap_or(first),
                monitor,
                sync_always: options.sync_always,
                extra: options.extra_config.clone(),
                routing: None,
            };
            let mut server = Self::planned(program.clone(), plan)?;
            match server.launch().await {
                Ok(()) => {
                    server._temporary = temporary;
                    return Ok(server);
                }
                Err(error) if tries < COLLISIONS && options.port.is_none() && collided(&error) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn planned(program: PathBuf, plan: Plan) -> Result<Self, NatsError> {
        Ok(Self { program, plan, child: None, http: client()?, _temporary: None })
    }

    /// `nats://127.0.0.1:<port>`; stays the same over a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.plan.port)
    }

    /// Port for clients.
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// `http://127.0.0.1:<port>` of the monitoring endpoints (`/varz`, `/jsz`, `/healthz`).
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.monitor)
    }

    /// Where state, configuration (`nats.conf`) and log (`nats.log`) are.
    pub fn dir(&self) -> &Path {
        &self.plan.dir
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Guarded::pid)
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        self.child.as_ref().map(Guarded::log_tail).unwrap_or_default()
    }

    /// Kills the server with SIGKILL, as a crash would. State stays; [`Self::restart`] brings it back.
    pub fn kill(&mut self) -> Result<(), NatsError> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
        }
        Ok(())
    }

    /// Ends the server with SIGTERM and waits for it, twenty seconds at most.
    pub async fn stop(&mut self) -> Result<(), NatsError> {
        if let Some(mut child) = self.child.take() {
            child.stop(STOP).await?;
        }
        Ok(())
    }

    /// Starts the server again on the same ports and state, after killing it if it still runs.
    pub async fn restart(&mut self) -> Result<(), NatsError> {
        self.kill()?;
        let mut tries = 0;
        loop {
            match self.launch().await {
                Err(error) if tries < COLLISIONS && collided(&error) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
    }

    /// The JSON of a monitoring endpoint, such as `/varz` or `/jsz?accounts=true`.
    pub async fn monitor(&self, path: &str) -> Result<serde_json::Value, NatsError> {
        self.get(path).await.ok_or(NatsError::NotRunning)
    }

    async fn launch(&mut self) -> Result<(), NatsError> {
        self.spawn()?;
        self.ready().await
    }

    fn spawn(&mut self) -> Result<(), NatsError> {
        let config = self.plan.dir.join("nats.conf");
        std::fs::write(&config, self.plan.config())
            .map_err(|source| NatsError::Prepare { path: config.clone(), source })?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&config);
        self.child = Some(Guarded::spawn(command, &self.plan.dir.join("nats.log"))?);
        Ok(())
    }

    /// Polls `/healthz`, which answers once JetStream has recovered its streams.
    async fn ready(&mut self) -> Result<(), NatsError> {
        let start = std::time::Instant::now();
        while start.elapsed() < READY {
            let Some(child) = self.child.as_mut() else { return Err(NatsError::NotRunning) };
            if let Some(status) = child.exited() {
                let log = child.log_tail();
                self.child = None;
                return Err(NatsError::Exited { status: status.to_string(), log });
            }
            // The name guards against another process's server on a port that we lost.
            let path = if self.plan.routing.is_some() { "/varz" } else { "/healthz" };
            if self.get(path).await.is_some() {
                let ours = self.get("/varz").await;
                let pid =
                    ours.as_ref().and_then(|varz| varz.get("server_name")).and_then(|name| name.as_str());
                if pid == Some(self.plan.name.as_str()) && self.listening() {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.not_ready("its health", READY))
    }

    /// Whether this very child has said that it is ready: a stranger on our port would not be in our log.
    fn listening(&self) -> bool {
        self.child
            .as_ref()
            .and_then(|child| std::fs::read_to_string(child.log()).ok())
            .is_some_and(|log| log.contains("Server is ready"))
    }

    fn not_ready(&self, what: &str, bound: Duration) -> NatsError {
        NatsError::NotReady { what: what.to_owned(), bound, log: self.log_tail() }
    }

    async fn get(&self, path: &str) -> Option<serde_json::Value> {
        let answer = self.http.get(format!("{}{path}", self.monitor_url())).send().await.ok()?;
        let answer = answer.error_for_status().ok()?;
        answer.json().await.ok()
    }
}

impl Plan {
    /// The configuration file. Strings are JSON-quoted, which is a subset of what the server reads.
    fn config(&self) -> String {
        let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
        let store = self.dir.join("jetstream");
        let mut out = String::new();
        let sync = if self.sync_always { "\n  sync_interval: always" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "server_name: {}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
             jetstream {{\n  store_dir: {}\n  max_memory_store: 256MB\n  max_file_store: 64GB{sync}\n}}\n",
            quoted(&self.name),
            self.port,
            self.monitor,
            quoted(&store.to_string_lossy()),
        );
        if let Some(routing) = &self.routing {
            let routes: Vec<String> =
                routing.peers.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
            let _ = write!(
                out,
                "cluster {{\n  name: plimsoll\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n\
                 accounts {{\n  SYS {{ users: [{{ user: sys, password: sys }}] }}\n  \
                 APP {{ jetstream: enabled, users: [{{ user: app, password: app }}] }}\n}}\n\
                 system_account: SYS\nno_auth_user: app\n",
                routing.port,
                routes.join(", "),
            );
        }
        out.push_str(&self.extra);
        out.push('\n');
        out
    }
}

/// Whether a start failed because somebody else has the port.
fn collided(error: &NatsError) -> bool {
    matches!(error, NatsError::Exited { log, .. } if log.contains("address already in use"))
}

fn directory(wanted: Option<PathBuf>) -> Result<(PathBuf, Option<tempfile::TempDir>), NatsError> {
    match wanted {
        Some(path) => {
            std::fs::create_dir_all(&path)
                .map_err(|source| NatsError::Prepare { path: path.clone(), source })?;
            Ok((path, None))
        }
        None => {
            let temporary = tempfile::Builder::new()
                .prefix("plimsoll-nats-")
                .tempdir()
                .map_err(|source| NatsError::Prepare { path: std::env::temp_dir(), source })?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn client() -> Result<reqwest::Client, NatsError> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().map_err(NatsError::Client)
}

/// Waits for `check` of a server, and says the end of its log when it does not come.
async fn settled<F, Fut>(server: &NatsServer, what: &str, bound: Duration, check: F) -> Result<(), NatsError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait::until(what, bound, check).await.map_err(|_| server.not_ready(what, bound))
}
