//! What every process of Plimsoll starts with: configuration, telemetry, the broker, signals.
//!
//! A role is an async function of a [`Role`]. The thin service binaries run one, `plimsoll up` all of them.
//!
//! Environment: `PLIMSOLL_CONFIG` names the configuration file; `NATS_URL` overrides its servers;
//! `PLIMSOLL_DATA` names the folder for the store and the Db (default `.plimsoll`);
//! `OTEL_EXPORTER_OTLP_ENDPOINT` overrides the collector; `PLIMSOLL_ACK_WAIT_MS` the broker's ack wait;
//! `PLIMSOLL_HEALTH_LISTEN` serves health and metrics of a process that has no gateway.

pub mod health;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_bus::{Bus, Durability, Login};
use plimsoll_config::{Config, LogFormat as Format};
use plimsoll_cpu::Pool;
use plimsoll_telemetry::{Health, LogFormat, Metrics, Settings, Telemetry};
use tokio_util::sync::CancellationToken;

/// jemalloc keeps the memory of a worker bounded over many layers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long work in hand may take after a signal to stop.
pub const GRACE: Duration = Duration::from_secs(25);

/// What a role is given.
#[derive(Clone)]
pub struct Role {
    pub bus: Bus,
    pub pool: Pool,
    pub config: Arc<Config>,
    /// Folder for the store and for Dbs that were fetched.
    pub data: PathBuf,
    /// Ends when the process is asked to stop.
    pub stop: CancellationToken,
}

/// Why a process does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Config(#[from] plimsoll_config::ConfigError),
    #[error(transparent)]
    Telemetry(#[from] plimsoll_telemetry::logs::InitError),
    #[error(transparent)]
    Bus(#[from] plimsoll_bus::BusError),
    #[error(transparent)]
    Pool(#[from] plimsoll_cpu::PoolError),
    #[error("cannot {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{code}: {detail}")]
    Role { code: &'static str, detail: String },
}

impl ProcessError {
    /// An error of a role.
    pub fn role(code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Role { code, detail: detail.to_string() }
    }

    /// A failure of the file system or the network.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Telemetry(_) => "telemetry",
            Self::Bus(error) => error.code(),
            Self::Pool(_) => "threads",
            Self::Io { .. } => "io",
            Self::Role { code, .. } => code,
        }
    }
}

/// Reads the configuration that `PLIMSOLL_CONFIG` (or `path`) names, or the defaults.
pub fn configuration(path: Option<&Path>) -> Result<Config, ProcessError> {
    let variable = std::env::var_os("PLIMSOLL_CONFIG").map(PathBuf::from);
    Ok(Config::load(path.or(variable.as_deref()))?)
}

/// The data folder of this process.
pub fn data_folder() -> PathBuf {
    std::env::var_os("PLIMSOLL_DATA").map_or_else(|| PathBuf::from(".plimsoll"), PathBuf::from)
}

/// Sets up logs and traces.
pub fn telemetry(service: &str, config: &Config) -> Result<Telemetry, ProcessError> {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|e| !e.is_empty());
    let settings = Settings {
        service: service.to_owned(),
        format: match config.telemetry.log_format {
            Format::Auto => LogFormat::Auto,
            Format::Json => LogFormat::Json,
            Format::Text => LogFormat::Text,
        },
        otlp_endpoint: endpoint.or_else(|| config.telemetry.otlp_endpoint.clone()),
        filter: Some(config.telemetry.log.clone()),
        sample: config.telemetry.sample,
    };
    Ok(plimsoll_telemetry::init(&settings)?)
}

/// Connects to the broker that `url`, `NATS_URL` or the configuration names.
pub async fn connect(name: &str, config: &Config, url: Option<String>) -> Result<Bus, ProcessError> {
    let url = url.or_else(|| std::env::var("NATS_URL").ok().filter(|u| !u.is_empty())).unwrap_or_else(|| {
        match config.nats.urls.as_slice() {
            [] => "nats://127.0.0.1:4222".to_owned(),
            urls => urls.join(","),
        }
    });
    let mut settings = plimsoll_bus::Settings::new(url, name);
    settings.credentials = config.nats.creds_file.clone();
    settings.login = login(&config.nats)?;
    settings.ca_file = config.nats.ca_file.clone();
    settings.client_certificate = config.nats.cert_file.clone().zip(config.nats.key_file.clone());
    settings.events_age = config.retention.events.0;
    settings.facts_age = config.retention.facts.0;
    settings.durability = match config.durability {
        plimsoll_config::Durability::R1 => Durability::R1,
        plimsoll_config::Durability::R1Always => Durability::R1Always,
        plimsoll_config::Durability::R3 => Durability::R3,
    };
    if let Some(wait) = std::env::var("PLIMSOLL_ACK_WAIT_MS").ok().and_then(|ms| ms.parse().ok()) {
        settings.ack_wait = Duration::from_millis(wait);
    }
    Ok(Bus::connect(settings, Metrics::default(), Health::default()).await?)
}

/// What the configuration says of who this process is.
fn login(nats: &plimsoll_config::Nats) -> Result<Login, ProcessError> {
    let read = |path: &Path| {
        let text =
            std::fs::read_to_string(path).map_err(ProcessError::io(format!("read {}", path.display())))?;
        Ok::<String, ProcessError>(text.trim().to_owned())
    };
    if let Some(path) = &nats.nkey_file {
        return Ok(Login::Nkey(read(path)?));
    }
    if let Some(token) = &nats.token {
        return Ok(Login::Token(token.expose().to_owned()));
    }
    let Some(user) = &nats.user else { return Ok(Login::Nothing) };
    let password = match (&nats.password, &nats.password_file) {
        (Some(password), _) => password.expose().to_owned(),
        (None, Some(path)) => read(path)?,
        (None, None) => String::new(),
    };
    Ok(Login::Password { user: user.clone(), password })
}

/// Serves `/healthz`, `/readyz` and `/metrics` of a process without a gateway, if `PLIMSOLL_HEALTH_LISTEN` names an
/// address.
pub async fn serve_health(bus: &Bus, stop: &CancellationToken) -> Result<(), ProcessError> {
    let Some(address) = std::env::var("PLIMSOLL_HEALTH_LISTEN").ok().filter(|a| !a.is_empty()) else {
        return Ok(());
    };
    serve_health_on(&address, bus.health(), bus.metrics(), stop).await
}

/// Serves `/healthz`, `/readyz` and `/metrics` on an address until `stop`.
///
/// # Errors
/// Nobody can listen there.
pub async fn serve_health_on(
    address: &str,
    health: &Health,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), ProcessError> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(ProcessError::io(format!("listen on {address}")))?;
    let router = health::router(health.clone(), metrics.clone());
    let stop = stop.clone();
    tokio::spawn(async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::warn!(%error, "the health page ended");
        }
    });
    Ok(())
}

/// Ends with `work`, or a little after the grace of its parts once `stop` was asked for.
pub async fn bounded<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE + Duration::from_secs(10)).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = late => {
            tracing::warn!("a part did not stop in time and was left; what it did is done again elsewhere");
            None
        }
    }
}

/// A token that ends on SIGINT or SIGTERM.
pub fn stop_on_signal() -> Result<CancellationToken, ProcessError> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::io("watch SIGINT"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::io("watch SIGTERM"))?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
    });
    Ok(stop)
}

/// The main function of a thin service binary: one role, by its name.
pub fn main_of<F>(name: &'static str, role: impl FnOnce(Role) -> F) -> ExitCode
where
    F: Future<Output = Result<(), ProcessError>>,
{
    match run(name, role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-{name}: {}: {error}", error.code());
            ExitCode::from(2)
        }
    }
}

fn run<F>(name: &'static str, role: impl FnOnce(Role) -> F) -> Result<(), ProcessError>
where
    F: Future<Output = Result<(), ProcessError>>,
{
    let config = Arc::new(configuration(None)?);
    // Before the runtime, so that no thread of the pool inherits its context.
    let pool = Pool::new(config.workers.threads)?;
    let telemetry = telemetry(&format!("plimsoll-{name}"), &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ProcessError::io("start the runtime"))?;
    let result = runtime.block_on(async {
        let stop = stop_on_signal()?;
        let bus = connect(name, &config, None).await?;
        serve_health(&bus, &stop).await?;
        let role = role(Role { bus: bus.clone(), pool, config, data: data_folder(), stop: stop.clone() });
        let result = bounded(&stop, role).await.unwrap_or(Ok(()));
        bus.close().await;
        result
    });
    // A part that was left must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry.shutdown();
    result
}
