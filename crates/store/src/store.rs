//! Opening, commits, counters, backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_inventory::Tracking;
use plimsoll_model::finding::{Cause, RollUp};
use plimsoll_model::{ComponentKey, Fact, Statement, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::Mutex;

use crate::apply::Work;
use crate::error::{StoreError, encode, signed, unsigned};
use crate::reader::Reader;
use crate::rows::Cache;
use crate::schema;

/// What an operator decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub risk: plimsoll_risk::Settings,
    pub tracking: Tracking,
    /// Holders that changed components may have for their findings to change in the same transaction; where more have them,
    /// they follow in slices ([`Store::backlog`]).
    pub at_once: usize,
}

impl Settings {
    /// [`Settings::at_once`] unless something else is needed.
    pub const AT_ONCE: usize = 500;

    /// BOD 26-04, a day, exposed; newest three tags and `latest`.
    ///
    /// # Errors
    /// As [`plimsoll_risk::Settings::standard`].
    pub fn standard() -> Result<Self, plimsoll_risk::TableError> {
        Ok(Self {
            risk: plimsoll_risk::Settings::standard()?,
            tracking: Tracking::default(),
            at_once: Self::AT_ONCE,
        })
    }
}

/// All statements that hold, as of some number: sets are totally ordered, as Dbs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementSet {
    pub seq: u64,
    pub statements: Vec<Statement>,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process; a power cut may cost the last commits, which JetStream delivers again.
    #[default]
    Process,
    /// A power cut, too: every commit is synced.
    Power,
}

/// Whether changes are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emit {
    #[default]
    Publish,
    /// Nothing goes to the outbox: the store is being rebuilt from facts that were told before.
    Silent,
}

/// What a commit led to.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    /// Facts of the batch that were not known before.
    pub applied: usize,
    /// What was written to the outbox, in order: sequence, subject, message.
    pub roll_ups: Vec<(u64, String, RollUp)>,
    /// Components whose matches come from an older Db than the store's; they are also kept in the store
    /// ([`Reader::pending_catch_up`]) until they are matched again.
    pub catch_up: Vec<ComponentKey>,
    /// True when holders of changed components are still to be judged, by [`Store::backlog`].
    pub backlog: bool,
}

/// The one writer of a store. Clones share it; calls wait for one another.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Writer>,
    reader: Reader,
}

struct Writer {
    connection: SqliteConnection,
    cache: Cache,
    fence: i64,
    /// True while a transaction is under way: if it is found set, that transaction was dropped and the cache may lie.
    dirty: bool,
}

/// Connections for questions.
const READERS: u32 = 4;

impl Store {
    /// Opens the store at `path`, creates it if there is none, brings its schema up to date and takes over the writing: an
    /// earlier writer's next commit fails with [`StoreError::Fenced`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Durability::default()).await
    }

    /// [`Store::open`] with a chosen durability.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        let synchronous = match durability {
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Power => SqliteSynchronous::Full,
        };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(256)
            .pragma("cache_size", "-65536")
            .pragma("temp_store", "memory")
            .pragma("wal_autocheckpoint", "4000")
            .disable_statement_logging();
        let open = |source| StoreError::Open { path: path.clone(), source };
        let mut connection = options.clone().connect().await.map_err(open)?;
        schema::migrate(&mut connection).await?;
        let fence: i64 =
            sqlx::query_scalar("UPDATE meta SET value = value + 1 WHERE key = 'fence' RETURNING value")
                .fetch_one(&mut connection)
                .await?;
        let pool = readers(options).await.map_err(open)?;
        let writer = Mutex::new(Writer { connection, cache: Cache::default(), fence, dirty: false });
        Ok(Self { inner: Arc::new(Inner { path, writer, reader: Reader::new(pool) }) })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// For questions; cheap to clone, independent of the writer.
    pub fn reader(&self) -> Reader {
        self.inner.reader.clone()
    }

    /// Commits a batch of facts and the changes they lead to in one transaction. Facts that are known already are skipped. `now`
    /// judges the age of exposure; changes carry the time of the fact that made them (or `now`, if that is earlier).
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch is committed.
    pub async fn commit(
        &self,
        facts: &[Fact],
        settings: &Settings,
        now: Timestamp,
    ) -> Result<CommitOutcome, StoreError> {
        self.commit_as(facts, settings, now, Emit::Publish).await
    }

    /// [`Store::commit`], with [`Emit::Silent`] for a rebuild.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch is committed.
    pub async fn commit_as(
        &self,
        facts: &[Fact],
        settings: &Settings,
        now: Timestamp,
        emit: Emit,
    ) -> Result<CommitOutcome, StoreError> {
        self.transaction(settings, now, emit, Task::Facts(facts)).await
    }

    /// Judges again what time has changed: findings whose suppression has expired, and the holders of clusters whose view became
    /// too old to prove anything (or fresh again) since they were last judged. To be called from time to time.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is committed.
    pub async fn reassess(&self, settings: &Settings, now: Timestamp) -> Result<CommitOutcome, StoreError> {
        self.transaction(settings, now, Emit::Publish, Task::Age).await
    }

    /// Judges every holder again, after the settings changed.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is committed.
    pub async fn reassess_all(
        &self,
        settings: &Settings,
        now: Timestamp,
        emit: Emit,
    ) -> Result<CommitOutcome, StoreError> {
        self.transaction(settings, now, emit, Task::All).await
    }

    /// Does a slice of what earlier commits left: finds the holders of components that changed, or judges about a thousand of
    /// them. To be called while the outcome says that there is more.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is committed.
    pub async fn backlog(
        &self,
        settings: &Settings,
        now: Timestamp,
        emit: Emit,
    ) -> Result<CommitOutcome, StoreError> {
        self.transaction(settings, now, emit, Task::Backlog).await
    }

    /// Replaces the statements (VEX, ignore rules) by those of a newer set, and judges what the difference names. A set that is
    /// not newer changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is committed.
    pub async fn set_statements(
        &self,
        set: &StatementSet,
        settings: &Settings,
        now: Timestamp,
        emit: Emit,
    ) -> Result<CommitOutcome, StoreError> {
        self.transaction(settings, now, emit, Task::Statements(set)).await
    }

    async fn transaction(
        &self,
        settings: &Settings,
        now: Timestamp,
        emit: Emit,
        task: Task<'_>,
    ) -> Result<CommitOutcome, StoreError> {
        let mut guard = self.inner.writer.lock().await;
        let Writer { connection, cache, fence, dirty } = &mut *guard;
        if std::mem::replace(dirty, true) {
            *cache = Cache::default();
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        check_fence(&mut transaction, *fence).await?;
        let mut work = Work::start(&mut transaction, cache, settings, now, emit).await?;
        match task {
            Task::Facts(facts) => work.facts(facts).await?,
            Task::Age => work.age().await?,
            Task::Backlog => work.backlog().await?,
            Task::Statements(set) => work.replace_statements(set).await?,
            Task::All => work.all(cause("settings", "the settings changed", now)).await?,
        }
        let outcome = work.finish().await?;
        transaction.commit().await?;
        *dirty = false;
        tracing::debug!(
            applied = outcome.applied,
            messages = outcome.roll_ups.len(),
            catch_up = outcome.catch_up.len(),
            "committed"
        );
        Ok(outcome)
    }

    /// Tells the store which Db is current, before facts that use it arrive. Facts of an older one are then followed by
    /// catch-up. Never lowers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_db_seq(&self, seq: u64) -> Result<(), StoreError> {
        self.write("UPDATE meta SET value = MAX(value, ?) WHERE key = 'db_seq'", signed(seq)).await
    }

    /// Starts a new epoch, after a restore or a rebuild: subscribers are told to resynchronise, and what the outbox held is
    /// dropped. Gives the new epoch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn new_epoch(&self, at_least: u64) -> Result<u64, StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let fence = writer.fence;
        let mut transaction = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_fence(&mut transaction, fence).await?;
        let epoch: i64 = sqlx::query_scalar(
            "UPDATE meta SET value = MAX(value + 1, ?) WHERE key = 'epoch' RETURNING value",
        )
        .bind(signed(at_least))
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("UPDATE meta SET value = 0 WHERE key IN ('seq', 'published')")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM outbox").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(unsigned(epoch))
    }

    /// Forgets the outbox through `seq`: the relay has its PubAck. An `epoch` that is not the store's changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outbox_published(&self, epoch: u64, seq: u64) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let fence = writer.fence;
        let mut transaction = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_fence(&mut transaction, fence).await?;
        sqlx::query("DELETE FROM outbox WHERE epoch = ? AND seq <= ?")
            .bind(signed(epoch))
            .bind(signed(seq))
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE meta SET value = MAX(value, ?) WHERE key = 'published' AND (SELECT value FROM meta WHERE key = 'epoch') = ?",
        )
        .bind(signed(seq))
        .bind(signed(epoch))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drops what is not needed any more: inbox rows and closed findings older than `before`, resolutions that no
    /// workload uses, vulnerabilities that nothing names. Images stay: a tag may point at an old one again. `before` must be older than the streams' retention, or old facts would be
    /// applied again. Gives the number of rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let fence = writer.fence;
        writer.cache = Cache::default();
        let mut transaction = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_fence(&mut transaction, fence).await?;
        let mut gone = 0;
        for statement in
            ["DELETE FROM inbox WHERE at < ?", "DELETE FROM findings WHERE state <> 0 AND changed_at < ?"]
        {
            gone += sqlx::query(statement).bind(before.0).execute(&mut *transaction).await?.rows_affected();
        }
        for statement in [
            "DELETE FROM resolutions WHERE seq < (SELECT c.target_seq FROM clusters c WHERE c.name = resolutions.cluster) AND NOT EXISTS (SELECT 1 FROM containers c WHERE c.cluster = resolutions.cluster AND c.changed_seq = resolutions.seq AND c.image = resolutions.reference)",
            "DELETE FROM vulnerabilities WHERE NOT EXISTS (SELECT 1 FROM matched m WHERE m.vulnerability = vulnerabilities.id) AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.vulnerability = vulnerabilities.id)",
        ] {
            gone += sqlx::query(statement).execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(gone)
    }

    /// Writes a consistent copy of the store to `path`, which must not exist. Readers and later commits go on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        sqlx::query("VACUUM INTO ?")
            .bind(path.as_ref().to_string_lossy().into_owned())
            .execute(&mut writer.connection)
            .await?;
        Ok(())
    }

    /// Reads the whole file and compares its indexes with its tables.
    ///
    /// # Errors
    /// [`StoreError::Integrity`] with the first problem, or another.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let answer: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut writer.connection).await?;
        if answer == "ok" { Ok(()) } else { Err(StoreError::Integrity(answer)) }
    }

    async fn write(&self, statement: &'static str, value: i64) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let fence = writer.fence;
        let mut transaction = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_fence(&mut transaction, fence).await?;
        sqlx::query(statement).bind(value).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// A pool of connections that only read.
async fn readers(options: SqliteConnectOptions) -> Result<sqlx::SqlitePool, sqlx::Error> {
    let options = options.read_only(true).create_if_missing(false);
    SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await
}

impl Reader {
    /// Opens a store for questions only: the process that writes it goes on undisturbed.
    ///
    /// # Errors
    /// [`StoreError::Open`] when there is no store at `path`, or another.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let pool =
            readers(options).await.map_err(|source| StoreError::Open { path: path.to_path_buf(), source })?;
        Ok(Self::new(pool))
    }
}

enum Task<'a> {
    Facts(&'a [Fact]),
    Age,
    All,
    Backlog,
    Statements(&'a StatementSet),
}

async fn check_fence(connection: &mut SqliteConnection, fence: i64) -> Result<(), StoreError> {
    let now: i64 =
        sqlx::query_scalar("SELECT value FROM meta WHERE key = 'fence'").fetch_one(connection).await?;
    if now == fence { Ok(()) } else { Err(StoreError::Fenced) }
}

/// A cause that is no fact.
pub(crate) fn cause(kind: &str, sentence: &str, at: Timestamp) -> Cause {
    Cause { kind: kind.to_owned(), id: format!("{kind}:{}", at.0), sentence: sentence.to_owned() }
}

/// A row for the outbox.
pub(crate) async fn write_outbox(
    connection: &mut SqliteConnection,
    rows: &[(u64, String, RollUp)],
) -> Result<(), StoreError> {
    let rows = rows
        .iter()
        .map(|(seq, subject, message)| {
            let id = format!("{}-{seq}", message.epoch);
            Ok((signed(*seq), signed(message.epoch), subject, id, encode("outbox", message)?))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    sqlx::query(
        "INSERT INTO outbox (seq, epoch, subject, id, payload) SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
    )
    .bind(encode("outbox", &rows)?)
    .execute(&mut *connection)
    .await?;
    Ok(())
}
