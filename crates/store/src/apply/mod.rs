//! One fact -> rows, and the holders that it touches.

mod cluster;
mod components;
mod failure;
mod pushes;
mod registry;
mod statements;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use plimsoll_findings::Statements;
use plimsoll_model::finding::Cause;
use plimsoll_model::{Fact, FactBody, Holder, Timestamp};
use sqlx::SqliteConnection;

use crate::error::{StoreError, encode, signed, unsigned};
use crate::rows::{Cache, hash_of};
use crate::store::{CommitOutcome, Emit, Settings, write_outbox};

/// A transaction under way.
pub(crate) struct Work<'a> {
    pub(crate) connection: &'a mut SqliteConnection,
    pub(crate) cache: &'a mut Cache,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Timestamp,
    pub(crate) emit: Emit,
    pub(crate) pending: Pending,
    /// Repositories of containers that are gone: what the workload held may be the repository's again.
    pub(crate) departed: HashMap<i64, i64>,
    pub(crate) outcome: CommitOutcome,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) db_seq: i64,
    pub(crate) settings_hash: u64,
    pub(crate) statements: Arc<Statements>,
    /// Of the ids of the statements.
    pub(crate) statements_hash: u64,
    /// True when some component waits for a newer Db.
    pub(crate) waiting: bool,
}

/// Holders to be judged again, each with the last cause that touched it.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) causes: Vec<Caused>,
    pub(crate) repositories: BTreeMap<i64, Touch>,
    /// Holders that are containers.
    pub(crate) containers: BTreeMap<i64, Touch>,
    /// Workloads by id, each with its last cause: what is told of them as a whole.
    pub(crate) pods: BTreeMap<i64, usize>,
    /// Components whose holders are to be found, with the last cause.
    pub(crate) components: BTreeMap<i64, usize>,
}

/// Names of the packages whose findings are to be judged; `None` for all of them.
pub(crate) type Scope = Option<Arc<BTreeSet<String>>>;

/// That something changed for a holder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touch {
    /// Index of the last cause.
    pub(crate) cause: usize,
    pub(crate) scope: Scope,
}

impl Touch {
    pub(crate) fn add(touches: &mut BTreeMap<i64, Self>, id: i64, cause: usize, scope: &Scope) {
        match touches.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(Self { cause, scope: scope.clone() });
            }
            Entry::Occupied(mut entry) => {
                let touch = entry.get_mut();
                touch.cause = cause;
                touch.scope = match (touch.scope.take(), scope) {
                    (Some(old), Some(new)) if old == *new => Some(old),
                    (Some(old), Some(new)) => Some(Arc::new(old.union(new).cloned().collect())),
                    _ => None,
                };
            }
        }
    }
}

/// Repository, container: at least one of them.
type Place = (Option<i64>, Option<i64>);

/// Why something changed.
#[derive(Debug, Clone)]
pub(crate) struct Caused {
    pub(crate) cause: Cause,
    pub(crate) trace: String,
    pub(crate) at: Timestamp,
}

/// Facts of one kind of cause are settled together; between kinds, what came before is settled first, so that each change
/// is told with its own cause.
fn group(body: &FactBody) -> u8 {
    match body {
        FactBody::ImagePushed(_) | FactBody::Manifest(_) | FactBody::Image(_) | FactBody::ScanFailed(_) => 0,
        FactBody::ImageDeleted(_) => 1,
        FactBody::Resolved(_) | FactBody::Exposure(_) => 2,
        FactBody::Match(_) => 3,
    }
}

/// Facts of which several are written together, by what writes them; `None` for those that are written one by one.
fn bulk(body: &FactBody) -> Option<u8> {
    match body {
        FactBody::ImagePushed(_) | FactBody::Manifest(_) | FactBody::Image(_) => Some(0),
        FactBody::Match(_) => Some(1),
        _ => None,
    }
}

/// Texts as a JSON array, for `json_each`.
pub(crate) fn list<T: serde::Serialize>(values: &[T]) -> Result<String, StoreError> {
    encode("json_each", values)
}

impl<'a> Work<'a> {
    pub(crate) async fn start(
        connection: &'a mut SqliteConnection,
        cache: &'a mut Cache,
        settings: &'a Settings,
        now: Timestamp,
        emit: Emit,
    ) -> Result<Self, StoreError> {
        cache.trim();
        let (epoch, seq, db_seq, waiting): (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT value FROM meta WHERE key = 'epoch'), (SELECT value FROM meta WHERE key = 'seq'), (SELECT value FROM meta WHERE key = 'db_seq'), EXISTS (SELECT 1 FROM catch_up)",
        )
        .fetch_one(&mut *connection)
        .await?;
        let mut work = Self {
            connection,
            cache,
            settings,
            now,
            emit,
            pending: Pending::default(),
            departed: HashMap::new(),
            outcome: CommitOutcome::default(),
            epoch: unsigned(epoch),
            seq: unsigned(seq),
            db_seq,
            settings_hash: hash_of(&format!("{:?}", settings.risk)),
            waiting: waiting != 0,
            statements: Arc::default(),
            statements_hash: 0,
        };
        work.load_statements().await?;
        Ok(work)
    }

    pub(crate) async fn facts(&mut self, facts: &[Fact]) -> Result<(), StoreError> {
        let ids: Vec<&str> = facts.iter().map(|f| f.id.as_str()).collect();
        let fresh: Vec<String> = sqlx::query_scalar(
            "INSERT INTO inbox (id, at) SELECT DISTINCT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(list(&ids)?)
        .bind(self.now.0)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut fresh: HashSet<String> = fresh.into_iter().collect();
        // What has expired is told with its own cause, not with that of the facts.
        self.expire().await?;
        let facts: Vec<&Fact> = facts.iter().filter(|fact| fresh.remove(&fact.id)).collect();
        self.outcome.applied += facts.len();
        for part in facts.chunk_by(|a, b| group(&a.body) == group(&b.body)) {
            for same in part.chunk_by(|a, b| bulk(&a.body).is_some() && bulk(&a.body) == bulk(&b.body)) {
                self.apply(same).await?;
            }
            self.settle().await?;
        }
        // Without any fact, what has expired is still to be told.
        self.settle().await
    }

    /// Applies facts that are written together, or one.
    async fn apply(&mut self, facts: &[&Fact]) -> Result<(), StoreError> {
        let Some(fact) = facts.first() else { return Ok(()) };
        match &fact.body {
            FactBody::ImagePushed(_) | FactBody::Manifest(_) | FactBody::Image(_) => self.pushes(facts).await,
            FactBody::Match(_) => self.matched(facts).await,
            FactBody::ImageDeleted(deleted) => self.deleted(fact, deleted).await,
            FactBody::ScanFailed(failed) => self.failed(fact, failed).await,
            FactBody::Resolved(resolved) => self.resolved(fact, resolved).await,
            FactBody::Exposure(exposure) => self.exposure(fact, exposure).await,
        }
    }

    /// Judges again what statements suppressed that have expired, and the clusters whose views crossed the age limit.
    pub(crate) async fn age(&mut self) -> Result<(), StoreError> {
        self.expire().await?;
        let clusters: Vec<(String, i64, i64)> = sqlx::query_as("SELECT name, as_of, stale FROM clusters")
            .fetch_all(&mut *self.connection)
            .await?;
        for (name, as_of, was) in clusters {
            let sentence = format!("the view of cluster {name} is too old to prove anything");
            let cause = crate::store::cause("policy", &sentence, self.now);
            let at = self.now;
            self.refresh_staleness(&name, as_of, was, || Caused { cause, trace: String::new(), at }).await?;
        }
        self.settle().await
    }

    /// Judges every holder again.
    pub(crate) async fn all(&mut self, cause: Cause) -> Result<(), StoreError> {
        let cause = self.cause(Caused { cause, trace: String::new(), at: self.now });
        let holders: Vec<i64> =
            sqlx::query_scalar("SELECT holder FROM containers").fetch_all(&mut *self.connection).await?;
        let repositories: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM repositories").fetch_all(&mut *self.connection).await?;
        for holder in holders {
            self.touch_container(holder, None, cause);
        }
        for repository in repositories {
            self.touch_repository(repository, cause);
        }
        // Containers bring the workloads that they are of; policies have none.
        let pods: Vec<i64> =
            sqlx::query_scalar("SELECT workload FROM pods").fetch_all(&mut *self.connection).await?;
        self.pending.pods.extend(pods.into_iter().map(|workload| (workload, cause)));
        self.settle().await
    }

    /// Writes the outbox and the counters.
    pub(crate) async fn finish(self) -> Result<CommitOutcome, StoreError> {
        if !self.outcome.roll_ups.is_empty() {
            write_outbox(self.connection, &self.outcome.roll_ups).await?;
            sqlx::query("UPDATE meta SET value = ? WHERE key = 'seq'")
                .bind(signed(self.seq))
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(self.outcome)
    }

    pub(crate) fn cause(&mut self, caused: Caused) -> usize {
        self.pending.causes.push(caused);
        self.pending.causes.len() - 1
    }

    fn cause_of(&mut self, fact: &Fact, kind: &str, sentence: String) -> usize {
        self.cause(Caused {
            cause: Cause { kind: kind.to_owned(), id: fact.id.clone(), sentence },
            trace: fact.trace.clone(),
            at: fact.at.min(self.now),
        })
    }

    fn touch_repository(&mut self, repository: i64, cause: usize) {
        Touch::add(&mut self.pending.repositories, repository, cause, &None);
    }

    fn touch_container(&mut self, holder: i64, repository: Option<i64>, cause: usize) {
        self.touch_container_for(holder, repository, cause, &None);
    }

    pub(crate) fn touch_container_for(
        &mut self,
        holder: i64,
        repository: Option<i64>,
        cause: usize,
        scope: &Scope,
    ) {
        Touch::add(&mut self.pending.containers, holder, cause, scope);
        // What the workload holds covers the findings of its repository.
        if let Some(repository) = repository {
            Touch::add(&mut self.pending.repositories, repository, cause, scope);
        }
    }

    /// Touches everything that has this digest, by itself or through an index.
    async fn touch_digest(&mut self, digest: &str, cause: usize) -> Result<(), StoreError> {
        let behind = self.behind_digests(&[digest]).await?;
        for (repository, container) in behind.into_values().flatten() {
            self.touch_place(repository, container, cause);
        }
        Ok(())
    }

    fn touch_place(&mut self, repository: Option<i64>, container: Option<i64>, cause: usize) {
        match (container, repository) {
            (Some(holder), repository) => self.touch_container(holder, repository, cause),
            (None, Some(repository)) => self.touch_repository(repository, cause),
            (None, None) => {}
        }
    }

    /// By digest, what has it by itself or through an index: repositories, and containers with their repositories.
    async fn behind_digests(&mut self, digests: &[&str]) -> Result<HashMap<String, Vec<Place>>, StoreError> {
        let mut behind: HashMap<String, Vec<Place>> = HashMap::new();
        if digests.is_empty() {
            return Ok(behind);
        }
        let rows: Vec<(String, Option<i64>, Option<i64>)> = sqlx::query_as(
            "WITH RECURSIVE up (root, digest) AS (SELECT value, value FROM json_each(?) UNION SELECT up.root, p.parent FROM up CROSS JOIN parents p ON p.child = up.digest) SELECT up.root, t.repo, NULL FROM up CROSS JOIN tags t ON t.digest = up.digest UNION SELECT up.root, e.repo, NULL FROM up CROSS JOIN earlier e ON e.digest = up.digest UNION SELECT up.root, c.repo, c.holder FROM up CROSS JOIN containers c ON c.digest = up.digest",
        )
        .bind(list(digests)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (digest, repository, container) in rows {
            behind.entry(digest).or_default().push((repository, container));
        }
        Ok(behind)
    }

    /// The id of a repository.
    pub(crate) async fn repository(&mut self, registry: &str, repository: &str) -> Result<i64, StoreError> {
        let key = (registry.to_owned(), repository.to_owned());
        if let Some(id) = self.cache.repositories.get(&key) {
            return Ok(*id);
        }
        sqlx::query("INSERT INTO repositories (registry, repository) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(registry)
            .bind(repository)
            .execute(&mut *self.connection)
            .await?;
        let id: i64 = sqlx::query_scalar("SELECT id FROM repositories WHERE registry = ? AND repository = ?")
            .bind(registry)
            .bind(repository)
            .fetch_one(&mut *self.connection)
            .await?;
        self.cache.repositories.insert(key, id);
        Ok(id)
    }

    /// The id of a holder.
    pub(crate) async fn holder(&mut self, holder: &Holder) -> Result<i64, StoreError> {
        if let Some(id) = self.cache.holders.get(holder) {
            return Ok(*id);
        }
        let key = encode("holders", holder)?;
        let known: Option<i64> = sqlx::query_scalar("SELECT id FROM holders WHERE key = ?")
            .bind(&key)
            .fetch_optional(&mut *self.connection)
            .await?;
        let id = match known {
            Some(id) => id,
            None => {
                let (repo, cluster, namespace, registry, repository) = match holder {
                    Holder::Workload { workload, .. } => {
                        (None, Some(&workload.cluster), Some(&workload.namespace), None, None)
                    }
                    Holder::Repository { registry, repository, .. } => {
                        let id = self.repository(registry, repository).await?;
                        (Some(id), None, None, Some(registry), Some(repository))
                    }
                };
                sqlx::query_scalar(
                    "INSERT INTO holders (key, repo, cluster, namespace, registry, repository) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
                )
                .bind(&key)
                .bind(repo)
                .bind(cluster)
                .bind(namespace)
                .bind(registry)
                .bind(repository)
                .fetch_one(&mut *self.connection)
                .await?
            }
        };
        self.cache.holders.insert(holder.clone(), id);
        Ok(id)
    }
}
