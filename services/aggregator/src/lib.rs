//! The aggregator role: the only process that opens the store.
//!
//! | module | what |
//! |---|---|
//! | [`intake`] | events and facts, in batches, into the store; acknowledged after the commit |
//! | [`relay`] | the outbox, in order, onto FINDINGS |
//! | [`rematch`] | a new Db: the components that it changes, as bulk scan jobs |
//! | [`statements`] | the current VEX statements and ignore rules into the store |
//! | [`backlog`] | the holders of components that changed for many, in slices between the commits of facts |
//! | [`answer`] | questions of the gateway and the command line |
//! | [`rebuild`] | a lost store, derived again from facts and events, in silence |
//! | [`copies`] | copies of the store in the broker, which a rebuild starts from |
//! | [`collect`] | artifacts that nothing leads to any more |
//!
//! Invariant: what is acknowledged is committed, and what is published was committed before.

pub mod answer;
pub mod backlog;
mod because;
pub mod collect;
pub mod copies;
mod ended;
pub mod intake;
pub mod rebuild;
pub mod relay;
pub mod rematch;
pub mod statements;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Assumption, Config};
use plimsoll_inventory::Tracking;
use plimsoll_model::finding::Class;
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_scan_service::installed::Installed;
use plimsoll_store::{CommitOutcome, Settings, Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The file of the store in the data folder.
pub fn store_path(data: &Path) -> PathBuf {
    data.join("store.sqlite")
}

/// The right to open the store of a data folder, which one process has at a time; `None` while another has it. It goes with
/// the file, also when the process is killed.
pub fn try_lock(data: &Path) -> Result<Option<std::fs::File>, ProcessError> {
    std::fs::create_dir_all(data).map_err(ProcessError::io(format!("create {}", data.display())))?;
    let path = data.join("store.lock");
    let failed = || ProcessError::io(format!("lock {}", path.display()));
    let file = std::fs::File::create(&path).map_err(failed())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed()(error)),
    }
}

/// Waits for the right to open the store: the aggregator before this one may still be stopping. `None` when the role ends
/// first.
async fn lock(role: &Role) -> Result<Option<std::fs::File>, ProcessError> {
    let mut told = false;
    loop {
        if let Some(file) = try_lock(&role.data)? {
            return Ok(Some(file));
        }
        if !told {
            tracing::warn!(data = %role.data.display(), "another process has the store; waiting for it");
            told = true;
        }
        tokio::select! {
            () = role.stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

/// What the parts of the role share.
#[derive(Clone)]
pub struct Aggregator {
    pub role: Role,
    pub store: Store,
    pub settings: Arc<Settings>,
    pub installed: Installed,
    /// What the relay is to publish.
    pub outbox: Arc<relay::Outbox>,
    /// Woken when components may wait for matches.
    pub catch_up: Arc<Notify>,
    /// Woken when holders may wait to be judged.
    pub backlog: Arc<Notify>,
}

impl Aggregator {
    /// Wakes those who go on with what a commit led to. True when holders are still to be judged.
    pub(crate) fn committed(&self, outcome: CommitOutcome) -> bool {
        self.outbox.add(outcome.roll_ups);
        if !outcome.catch_up.is_empty() {
            self.catch_up.notify_one();
        }
        if outcome.backlog {
            self.backlog.notify_one();
        }
        outcome.backlog
    }
}

/// The settings of a configuration.
pub fn settings(config: &Config) -> Result<Settings, ProcessError> {
    let mut risk =
        plimsoll_risk::Settings::standard().map_err(|error| ProcessError::role("class_table", error))?;
    risk.max_age_ms = config.exposure.max_age.as_millis();
    risk.undeployed_exposed = config.exposure.assume == Assumption::Exposed;
    let tracking = Tracking {
        newest: usize::try_from(config.tracked_tags.newest).unwrap_or(usize::MAX),
        always: config.tracked_tags.always.clone(),
    };
    Ok(Settings { risk, tracking, at_once: Settings::AT_ONCE })
}

pub(crate) fn store_failed(error: StoreError) -> ProcessError {
    ProcessError::role(error.code(), error)
}

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let health = role.bus.health().clone();
    health.starting("aggregator");
    let Some(_lock) = lock(&role).await? else { return Ok(()) };
    let path = store_path(&role.data);
    let settings = Arc::new(settings(&role.config)?);
    if !path.exists() {
        rebuild::if_lost(&role, &settings, &path).await?;
    }
    let durability = match role.config.durability {
        plimsoll_config::Durability::R1 => plimsoll_store::Durability::Process,
        _ => plimsoll_store::Durability::Power,
    };
    let store = Store::open_with(&path, durability).await.map_err(store_failed)?;
    let installed = Installed::open(role.bus.clone(), &role.data.join("aggregator-db")).await?;
    let aggregator = Aggregator {
        role: role.clone(),
        store,
        settings,
        installed,
        outbox: Arc::default(),
        catch_up: Arc::new(Notify::new()),
        backlog: Arc::new(Notify::new()),
    };
    let mut parts = JoinSet::new();
    parts.spawn(intake::facts(aggregator.clone()));
    parts.spawn(intake::events(aggregator.clone()));
    parts.spawn(relay::run(aggregator.clone()));
    parts.spawn(rematch::run(aggregator.clone()));
    parts.spawn(backlog::run(aggregator.clone()));
    parts.spawn(statements::run(aggregator.clone()));
    parts.spawn(tend(aggregator.clone()));
    parts.spawn(collect::run(aggregator.clone()));
    health.ready("aggregator");
    let answers = answer::run(aggregator.clone());
    let sweeper = plimsoll_bus::dead::sweep(role.bus.clone(), role.stop.clone());
    let served = async {
        let (answers, sweeper) = tokio::join!(answers, sweeper);
        answers?;
        Ok(sweeper?)
    };
    tokio::try_join!(whole(parts, &role.stop), served)?;
    Ok(())
}

/// Waits for the parts. One that ends before it should ends the role: an aggregator without its relay would look well
/// and tell nobody.
async fn whole(
    mut parts: JoinSet<Result<(), ProcessError>>,
    stop: &CancellationToken,
) -> Result<(), ProcessError> {
    while let Some(part) = parts.join_next().await {
        part.map_err(|error| ProcessError::role("internal", error))??;
        if !stop.is_cancelled() {
            return Err(ProcessError::role("internal", "a part of the aggregator ended by itself"));
        }
    }
    Ok(())
}

/// Ages exposure and counts, until the role ends.
async fn tend(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let mut ticks = 0u32;
    while !stop.is_cancelled() {
        let due = aggregator.store.reader().statements_expire().await.map_err(store_failed)?;
        if ticks.is_multiple_of(12) || due.is_some_and(|due| due <= Timestamp::now()) {
            let outcome = aggregator.store.reassess(&aggregator.settings, Timestamp::now()).await;
            aggregator.committed(outcome.map_err(store_failed)?);
        }
        count(&aggregator).await?;
        ticks = ticks.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
    Ok(())
}

async fn count(aggregator: &Aggregator) -> Result<(), ProcessError> {
    let counts = aggregator.store.reader().counts().await.map_err(store_failed)?;
    let metrics = aggregator.role.bus.metrics();
    let gauge = |name: &str, value: u64| metrics.set_state(name, i64::try_from(value).unwrap_or(i64::MAX));
    for class in Class::ALL {
        gauge(&format!("open_{class}"), counts.open.get(&class).copied().unwrap_or(0));
    }
    gauge("images", counts.images);
    gauge("images_unmatched", counts.unmatched);
    gauge("images_partial", counts.partial);
    gauge("scans_failed", counts.failed);
    gauge("components", counts.components);
    gauge("workloads", counts.workloads);
    gauge("outbox", counts.outbox);
    gauge("catch_up", counts.catch_up);
    gauge("backlog_components", counts.backlog_components);
    gauge("backlog_holders", counts.backlog_holders);
    gauge("db_seq", counts.db_seq);
    Ok(())
}
