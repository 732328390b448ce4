//! The Db of this machine. The record `db` of the bucket `control` says which Db is current; its artifact is
//! fetched, verified once, renamed into place and mapped. A Db that is not what it should be is refused, and the
//! one before it stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use plimsoll_bus::{Bus, Failure};
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_vuln::{Db, DbError};
use tokio_util::sync::CancellationToken;

/// How often the current Db is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// Dbs that stay on disk: the current one and the one that a difference starts from.
const KEPT: usize = 2;

/// The Db that is open now, if there is one. Clones share it.
#[derive(Clone)]
pub struct Installed {
    bus: Bus,
    folder: Arc<Path>,
    current: Arc<RwLock<Option<Arc<Db>>>>,
    installing: Arc<tokio::sync::Mutex<()>>,
}

/// Why a Db is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    Bus(#[from] plimsoll_bus::BusError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("cannot write {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the Db says that it is {found}, the record says {expected}")]
    Sequence { expected: u64, found: u64 },
    #[error("the install task ended without a result")]
    Lost,
}

impl InstallError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bus(error) => error.code(),
            Self::Db(error) => error.code(),
            Self::Io { .. } => "io",
            Self::Sequence { .. } => "db_sequence",
            Self::Lost => "internal",
        }
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        Self::transient(error.code(), error)
    }
}

impl Installed {
    /// Opens the current Db, if there is one, keeping files in `folder`.
    pub async fn open(bus: Bus, folder: &Path) -> Result<Self, ProcessError> {
        std::fs::create_dir_all(folder).map_err(ProcessError::io(format!("create {}", folder.display())))?;
        let installed =
            Self { bus, folder: folder.into(), current: Arc::default(), installing: Arc::default() };
        if let Err(error) = installed.refresh().await {
            tracing::warn!(code = error.code(), %error, "the current Db could not be installed");
        }
        Ok(installed)
    }

    /// The Db that is open now.
    pub fn current(&self) -> Option<Arc<Db>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The path of an installed Db.
    pub fn path(&self, seq: u64) -> PathBuf {
        self.folder.join(format!("{seq}.db"))
    }

    /// What the control record names.
    pub async fn pointer(&self) -> Result<v1::DbPointer, InstallError> {
        let record = self.bus.records("control").get("db").await?;
        Ok(record.map(|record| record.decode()).transpose()?.unwrap_or_default())
    }

    /// Installs the Db that the control record names, unless it is open already. Gives the open Db.
    pub async fn refresh(&self) -> Result<Option<Arc<Db>>, InstallError> {
        let pointer = self.pointer().await?;
        if pointer.seq == 0 {
            return Ok(None);
        }
        let _one = self.installing.lock().await;
        if let Some(db) = self.current().filter(|db| db.seq() >= pointer.seq) {
            return Ok(Some(db));
        }
        let db = self.install(&pointer).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&db));
        tracing::info!(seq = pointer.seq, "Db opened");
        self.sweep(pointer.seq);
        Ok(Some(db))
    }

    async fn install(&self, pointer: &v1::DbPointer) -> Result<Arc<Db>, InstallError> {
        let path = self.path(pointer.seq);
        // A file under its final name was verified before it got the name.
        if let Ok(db) = Db::open(&path)
            && db.seq() == pointer.seq
        {
            return Ok(Arc::new(db));
        }
        let bytes = self.bus.artifacts().get(&pointer.artifact).await?;
        let bytes = bytes.ok_or_else(|| plimsoll_bus::BusError::MissingArtifact(pointer.artifact.clone()))?;
        let expected = pointer.seq;
        let install = move || -> Result<Arc<Db>, InstallError> {
            let part = path.with_extension(format!("part-{}", std::process::id()));
            let io = |source| InstallError::Io { path: part.clone(), source };
            std::fs::write(&part, &bytes).map_err(io)?;
            if let Err(error) = check(&part, expected) {
                if let Err(error) = std::fs::remove_file(&part) {
                    tracing::debug!(%error, "a Db that was refused could not be removed");
                }
                return Err(error);
            }
            std::fs::rename(&part, &path).map_err(io)?;
            Ok(Arc::new(Db::open(&path)?))
        };
        tokio::task::spawn_blocking(install).await.map_err(|_| InstallError::Lost)?
    }

    /// Removes files of Dbs that are neither current nor the one before.
    fn sweep(&self, current: u64) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut known: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".db")?.parse().ok())
            .filter(|&seq| seq <= current)
            .collect();
        known.sort_unstable();
        for seq in known.iter().rev().skip(KEPT) {
            if let Err(error) = std::fs::remove_file(self.path(*seq)) {
                tracing::debug!(%error, seq, "an old Db could not be removed");
            }
        }
    }

    /// Keeps the open Db current until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        let mut failed = 0u64;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            match self.refresh().await {
                Ok(_) => failed = 0,
                Err(error) => {
                    failed += 1;
                    if failed == 1 {
                        tracing::warn!(code = error.code(), %error, "the current Db could not be installed");
                    }
                }
            }
        }
    }
}

/// Reads a Db whole: that it is one, undamaged, and the one that is expected.
fn check(path: &Path, expected: u64) -> Result<(), InstallError> {
    let db = Db::open(path)?;
    db.verify()?;
    if db.seq() != expected {
        return Err(InstallError::Sequence { expected, found: db.seq() });
    }
    Ok(())
}
