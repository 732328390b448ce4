//! The roles in one process, and what is done to a store from outside.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use plimsoll_aggregator_service::rebuild::Basis;
use plimsoll_bus::{Bus, subjects};
use plimsoll_config::{Config, Durability, Scope, Token};
use plimsoll_cpu::Pool;
use plimsoll_process::{ProcessError, Role};
use plimsoll_testkit::nats::{NatsOptions, NatsServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::error::CliError;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Run every role in one process, with a nats-server of its own
    Up(UpArgs),
    /// Run some roles in one process, against NATS_URL
    Run(RunArgs),
    /// Derive the store again from events and facts; the aggregator must be stopped
    Rebuild(RebuildArgs),
    /// Copy the store while the aggregator runs
    Backup(BackupArgs),
    /// Put a copy in the store's place, in a new epoch; the aggregator must be stopped
    Restore(RestoreArgs),
}

#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Folder of the store, the Db and the broker's files
    #[arg(long, value_name = "DIR", env = "PLIMSOLL_DATA", default_value = ".plimsoll")]
    pub data: PathBuf,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    common: Common,
    /// Address of the HTTP interface; overrides the configuration
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// Role to run; may be given several times
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<Name>,
}

#[derive(Debug, Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    common: Common,
    /// Do not start from the copy of the store that the broker has
    #[arg(long)]
    from_streams: bool,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    common: Common,
    /// Name of the copy in the folder `backups` of the aggregator's data folder
    name: String,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    common: Common,
    /// The copy
    file: PathBuf,
    /// Replace a store that is there
    #[arg(long)]
    force: bool,
}

/// The roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    Gateway,
    Unpack,
    Sbom,
    Scan,
    Netpol,
    Aggregator,
    Feeds,
}

impl Name {
    const ALL: [Self; 7] =
        [Self::Aggregator, Self::Unpack, Self::Sbom, Self::Scan, Self::Netpol, Self::Feeds, Self::Gateway];
}

/// Runs a command.
pub fn run(what: What) -> Outcome {
    match what {
        What::Up(args) => up(args),
        What::Run(args) => run_roles(args),
        What::Rebuild(args) => rebuild(&args.common, !args.from_streams),
        What::Backup(args) => backup(&args),
        What::Restore(args) => restore(&args),
    }
}

/// A multi-threaded runtime.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::io("start the runtime"))
}

fn up(args: UpArgs) -> Outcome {
    let mut config = plimsoll_process::configuration(args.common.config.as_deref())?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    let pool = Pool::new(config.workers.threads).map_err(ProcessError::from)?;
    let telemetry = plimsoll_process::telemetry("plimsoll", &config)?;
    let result = runtime()?.block_on(async {
        let stop = plimsoll_process::stop_on_signal()?;
        let deployment = Deployment::start(config, pool, &args.common.data).await?;
        tracing::info!(url = deployment.url, data = %args.common.data.display(), "up");
        deployment.play(stop).await
    });
    telemetry.shutdown();
    result.map(|()| ExitCode::SUCCESS)
}

fn run_roles(args: RunArgs) -> Outcome {
    let config = Arc::new(plimsoll_process::configuration(args.common.config.as_deref())?);
    let pool = Pool::new(config.workers.threads).map_err(ProcessError::from)?;
    let telemetry = plimsoll_process::telemetry("plimsoll", &config)?;
    let result = runtime()?.block_on(async {
        let stop = plimsoll_process::stop_on_signal()?;
        let bus = plimsoll_process::connect("plimsoll", &config, None).await?;
        if !args.roles.contains(&Name::Gateway) {
            plimsoll_process::serve_health(&bus, &stop).await?;
        }
        let role = Role { bus: bus.clone(), pool, config, data: args.common.data, stop };
        let result = play(&args.roles, role, None).await;
        bus.close().await;
        result
    });
    telemetry.shutdown();
    result.map(|()| ExitCode::SUCCESS)
}

/// Runs roles until the token ends or one of them fails, which ends the others. Each role has a thread that drives
/// it; its tasks share the runtime.
async fn play(roles: &[Name], role: Role, mut listener: Option<TcpListener>) -> Result<(), CliError> {
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    for &name in roles {
        let (role, ended, runtime) = (role.clone(), ended.clone(), runtime.clone());
        let taken = if name == Name::Gateway { listener.take() } else { None };
        let drive = move || {
            let result = runtime.block_on(async {
                match name {
                    Name::Gateway => match taken {
                        Some(listener) => plimsoll_gateway_service::serve(role, listener).await,
                        None => plimsoll_gateway_service::run(role).await,
                    },
                    Name::Unpack => plimsoll_unpack_service::run(role).await,
                    Name::Sbom => plimsoll_sbom_service::run(role).await,
                    Name::Scan => plimsoll_scan_service::run(role).await,
                    Name::Netpol => plimsoll_netpol_service::run(role).await,
                    Name::Aggregator => plimsoll_aggregator_service::run(role).await,
                    Name::Feeds => plimsoll_feeds_service::run(role).await,
                }
            });
            // Whoever waited may have gone with the process.
            let _ = ended.send(result);
        };
        std::thread::Builder::new()
            .name(format!("{name:?}").to_lowercase())
            .spawn(drive)
            .map_err(CliError::io("start a role's thread"))?;
    }
    drop(ended);
    let mut first = Ok(());
    while let Some(result) = plimsoll_process::bounded(&role.stop, ends.recv()).await.flatten() {
        if !role.stop.is_cancelled() {
            if result.is_ok() {
                first = Err(CliError::new("internal", "a role ended by itself"));
            }
            role.stop.cancel();
        }
        if first.is_ok() {
            first = result.map_err(CliError::from);
        }
    }
    first
}

/// Everything in one process: a broker of its own (unless the configuration names one), every role, a listener.
pub struct Deployment {
    config: Arc<Config>,
    pool: Pool,
    data: PathBuf,
    listener: TcpListener,
    nats: Option<NatsServer>,
    bus: Bus,
    /// Base URL of the HTTP interface.
    pub url: String,
    _lock: std::fs::File,
}

impl Deployment {
    /// Starts the broker and binds the listener. `url`, `token` and `nats.url` are written to the data folder.
    pub async fn start(mut config: Config, pool: Pool, data: &Path) -> Result<Self, CliError> {
        std::fs::create_dir_all(data).map_err(CliError::io(format!("create {}", data.display())))?;
        let lock = lock(data)?;
        if config.tokens.is_empty() {
            let text = own_token(data)?;
            config.tokens = vec![Token::new(
                "local",
                &text,
                vec![Scope::Webhooks, Scope::Images, Scope::Deploys, Scope::Read],
            )];
        }
        let nats = broker(&config, data).await?;
        let url = nats.as_ref().map(NatsServer::url);
        if let Some(url) = &url {
            std::fs::write(data.join("nats.url"), url).map_err(CliError::io("write nats.url"))?;
        }
        let bus = plimsoll_process::connect("plimsoll", &config, url).await?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(CliError::io(format!("listen on {}", config.listen)))
            .map_err(|error| error.hint("another process has the address; choose one with --listen"))?;
        let address = listener.local_addr().map_err(CliError::io("read the listener's address"))?;
        let url = format!("http://{address}");
        std::fs::write(data.join("url"), &url).map_err(CliError::io("write url"))?;
        Ok(Self {
            config: Arc::new(config),
            pool,
            data: data.to_owned(),
            listener,
            nats,
            bus,
            url,
            _lock: lock,
        })
    }

    /// The connection to the broker.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Runs every role until the token ends, then stops the broker.
    pub async fn play(mut self, stop: CancellationToken) -> Result<(), CliError> {
        let role = Role {
            bus: self.bus.clone(),
            pool: self.pool.clone(),
            config: Arc::clone(&self.config),
            data: self.data.clone(),
            stop,
        };
        let result = play(&Name::ALL, role, Some(self.listener)).await;
        self.bus.close().await;
        if let Some(nats) = &mut self.nats
            && let Err(error) = nats.stop().await
        {
            tracing::warn!(%error, "the broker did not stop cleanly");
        }
        result
    }
}

/// Makes sure that one process at a time uses a data folder.
fn lock(data: &Path) -> Result<std::fs::File, CliError> {
    let path = data.join("lock");
    let file = std::fs::File::create(&path).map_err(CliError::io(format!("create {}", path.display())))?;
    file.try_lock().map_err(|_| {
        CliError::new("data_in_use", format!("another process uses {}", data.display()))
            .hint("stop it, or choose another folder with --data")
    })?;
    Ok(file)
}

/// Makes sure that no aggregator has the store, wherever it runs.
fn lock_store(data: &Path) -> Result<std::fs::File, CliError> {
    plimsoll_aggregator_service::try_lock(data)?.ok_or_else(|| {
        CliError::new("data_in_use", format!("an aggregator uses {}", data.display()))
            .hint("stop the aggregator first")
    })
}

/// The broker of a data folder, unless NATS_URL or the configuration names one.
async fn broker(config: &Config, data: &Path) -> Result<Option<NatsServer>, CliError> {
    let named = std::env::var("NATS_URL").is_ok_and(|url| !url.is_empty());
    if named || !config.nats.urls.is_empty() {
        return Ok(None);
    }
    let options = NatsOptions {
        dir: Some(data.join("nats")),
        sync_always: config.durability == Durability::R1Always,
        program: config.nats.server.clone(),
        ..NatsOptions::default()
    };
    let server = NatsServer::start_with(options).await.map_err(|error| {
        CliError::new("nats_server", error).hint(
            "install nats-server 2.14 or newer, set NATS_SERVER to its path, or NATS_URL to a running one",
        )
    })?;
    Ok(Some(server))
}

/// The token of a data folder, made at the first start and readable by its owner only.
fn own_token(data: &Path) -> Result<String, CliError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data.join("token");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        _ => {}
    }
    let mut random = [0u8; 24];
    let mut source = std::fs::File::open("/dev/urandom").map_err(CliError::io("read random bytes"))?;
    std::io::Read::read_exact(&mut source, &mut random).map_err(CliError::io("read random bytes"))?;
    let mut text = String::from("plm_");
    plimsoll_model::digest::push_hex(&mut text, &random);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(CliError::io(format!("create {}", path.display())))?;
    file.write_all(text.as_bytes()).map_err(CliError::io(format!("write {}", path.display())))?;
    Ok(text)
}

/// Connects to the broker that a data folder's process uses, or starts the folder's own.
async fn reach(common: &Common, config: &Config) -> Result<(Bus, Option<NatsServer>), CliError> {
    let nats = broker(config, &common.data).await?;
    let url = nats.as_ref().map(NatsServer::url);
    Ok((plimsoll_process::connect("plimsoll-store", config, url).await?, nats))
}

fn rebuild(common: &Common, copy: bool) -> Outcome {
    let config = plimsoll_process::configuration(common.config.as_deref())?;
    let pool = Pool::new(1).map_err(ProcessError::from)?;
    let path = plimsoll_aggregator_service::store_path(&common.data);
    let count = runtime()?.block_on(async {
        std::fs::create_dir_all(&common.data)
            .map_err(CliError::io(format!("create {}", common.data.display())))?;
        let _lock = (lock(&common.data)?, lock_store(&common.data)?);
        let (bus, nats) = reach(common, &config).await?;
        let settings = plimsoll_aggregator_service::settings(&config)?;
        let facts = plimsoll_bus::batches::acknowledged(&bus, subjects::FACTS, "aggregator").await?;
        let events = plimsoll_bus::batches::acknowledged(&bus, subjects::EVENTS, "aggregator").await?;
        let role = Role {
            bus,
            pool,
            config: Arc::new(config),
            data: common.data.clone(),
            stop: CancellationToken::new(),
        };
        let fresh = path.with_extension("fresh");
        plimsoll_aggregator_service::rebuild::remove(&fresh)?;
        let count = plimsoll_aggregator_service::rebuild::rebuild(
            &role,
            &settings,
            &fresh,
            Basis { facts, events, copy },
        )
        .await?;
        plimsoll_aggregator_service::rebuild::remove(&path)?;
        std::fs::rename(&fresh, &path).map_err(CliError::io("put the rebuilt store in place"))?;
        if let Some(mut nats) = nats {
            nats.stop().await.map_err(|error| CliError::new("nats_server", error))?;
        }
        Ok::<usize, CliError>(count)
    })?;
    crate::output::print(&format!("rebuilt {} from {count} facts; nothing was published", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The broker of a running installation: of the configuration, of NATS_URL, or of `plimsoll up` in the data folder.
pub async fn running(common: &Common, name: &str) -> Result<Bus, CliError> {
    let config = plimsoll_process::configuration(common.config.as_deref())?;
    let url = std::fs::read_to_string(common.data.join("nats.url")).ok().map(|url| url.trim().to_owned());
    let url = url.filter(|_| config.nats.urls.is_empty() && std::env::var("NATS_URL").is_err());
    Ok(plimsoll_process::connect(name, &config, url).await?)
}

fn backup(args: &BackupArgs) -> Outcome {
    let answer = runtime()?.block_on(async {
        let bus = running(&args.common, "plimsoll-backup").await?;
        let question = serde_json::json!({ "name": args.name });
        let answer = bus.ask("backup", &question, Duration::from_secs(600)).await?;
        answer.map_err(|refusal| CliError::new(refusal.code, refusal.detail))
    })?;
    crate::output::print(answer.get("path").and_then(serde_json::Value::as_str).unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

fn restore(args: &RestoreArgs) -> Outcome {
    let path = plimsoll_aggregator_service::store_path(&args.common.data);
    std::fs::create_dir_all(&args.common.data)
        .map_err(CliError::io(format!("create {}", args.common.data.display())))?;
    let _lock = (lock(&args.common.data)?, lock_store(&args.common.data)?);
    if path.exists() && !args.force {
        return Err(CliError::new("store_exists", format!("{} is there already", path.display()))
            .hint("give --force to replace it"));
    }
    let part = path.with_extension("restoring");
    plimsoll_aggregator_service::rebuild::remove(&part)?;
    std::fs::copy(&args.file, &part).map_err(CliError::io(format!("copy {}", args.file.display())))?;
    let epoch = runtime()?.block_on(async {
        let failed = |error: plimsoll_store::StoreError| CliError::new(error.code(), error);
        let store = plimsoll_store::Store::open(&part).await.map_err(failed)?;
        store.check().await.map_err(failed)?;
        store.new_epoch(0).await.map_err(failed)
    })?;
    plimsoll_aggregator_service::rebuild::remove(&path)?;
    for suffix in ["", "-wal", "-shm"] {
        let with = |base: &Path| {
            let mut name = base.to_owned().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        if with(&part).exists() {
            std::fs::rename(with(&part), with(&path)).map_err(CliError::io("put the store in place"))?;
        }
    }
    crate::output::print(&format!("restored {}; epoch {epoch}: subscribers resynchronise", path.display()));
    Ok(ExitCode::SUCCESS)
}
