//! Questions that need one or two statements: outbox, counters, components, roots.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::finding::RollUp;
use plimsoll_model::{Class, ComponentKey, Digest, Ecosystem, Release, Timestamp};
use sqlx::sqlite::SqlitePool;

use crate::apply::list;
use crate::error::{StoreError, decode, signed, unsigned};
use crate::view::{component_key, parse};

/// Answers from snapshots of the store. Cheap to clone; never blocks the writer, never waits for it.
#[derive(Clone)]
pub struct Reader {
    pub(crate) pool: SqlitePool,
}

/// A message that waits for the relay.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub epoch: u64,
    pub seq: u64,
    pub subject: String,
    /// `epoch-seq`: equal ids are the same message.
    pub id: String,
    pub message: RollUp,
}

/// Numbers for metrics and the front page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open findings by class, most urgent first; every class is present.
    pub open: BTreeMap<Class, u64>,
    pub images: u64,
    /// Inventoried before there was a Db: not clean, not affected, unmatched.
    pub unmatched: u64,
    pub partial: u64,
    /// Failures that stand.
    pub failed: u64,
    pub components: u64,
    pub workloads: u64,
    pub clusters: u64,
    pub outbox: u64,
    /// Components that wait for matches from a newer Db.
    pub catch_up: u64,
    /// Components that changed and whose holders are to be found.
    pub backlog_components: u64,
    /// Holders that wait to be judged because their components changed.
    pub backlog_holders: u64,
    pub db_seq: u64,
    pub epoch: u64,
}

/// What the garbage collector must keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Images that a tracked tag or a workload has, and digests that lead to them.
    pub images: BTreeSet<Digest>,
    /// Their layers.
    pub layers: BTreeSet<Digest>,
    /// Names of their Sbom artifacts.
    pub sboms: BTreeSet<String>,
}

impl Reader {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    async fn counter(&self, statement: &'static str) -> Result<u64, StoreError> {
        let value: i64 = sqlx::query_scalar(statement).fetch_one(&self.pool).await?;
        Ok(unsigned(value))
    }

    /// The epoch of the outbox.
    ///
    /// # Errors
    /// [`StoreError`], as everything here.
    pub async fn epoch(&self) -> Result<u64, StoreError> {
        self.counter("SELECT value FROM meta WHERE key = 'epoch'").await
    }

    /// The Db that the store was last told is current; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn db_seq(&self) -> Result<u64, StoreError> {
        self.counter("SELECT value FROM meta WHERE key = 'db_seq'").await
    }

    /// The set of statements that holds; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statements_seq(&self) -> Result<u64, StoreError> {
        self.counter("SELECT value FROM meta WHERE key = 'statements_seq'").await
    }

    /// When the next statement that holds expires.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statements_expire(&self) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT MIN(expires) FROM statements WHERE live = 1 AND expires IS NOT NULL")
                .fetch_one(&self.pool)
                .await?;
        Ok(next.map(Timestamp))
    }

    /// The last sequence of the outbox that the relay reported as published, in this epoch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn published(&self) -> Result<u64, StoreError> {
        self.counter("SELECT value FROM meta WHERE key = 'published'").await
    }

    /// The EVENTS sequence through which all that happened to a cluster is known; `None` for an unknown cluster.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cluster_seq(&self, cluster: &str) -> Result<Option<u64>, StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT target_seq FROM clusters WHERE name = ?")
            .bind(cluster)
            .fetch_optional(&self.pool)
            .await?;
        Ok(seq.map(unsigned))
    }

    /// Up to `limit` messages after `seq` that are not published yet, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outbox_after(&self, seq: u64, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let rows: Vec<(i64, i64, String, String, String)> = sqlx::query_as(
            "SELECT epoch, seq, subject, id, payload FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(signed(seq))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(epoch, seq, subject, id, payload)| {
                let message = decode("outbox", &payload)?;
                Ok(OutboxRow { epoch: unsigned(epoch), seq: unsigned(seq), subject, id, message })
            })
            .collect()
    }

    /// Up to `limit` components that wait for matches from a newer Db, after the given id of the last page (0 at first), with their
    /// ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pending_catch_up(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, ComponentKey)>, StoreError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT c.id, c.key FROM catch_up u JOIN components c ON c.id = u.component WHERE u.component > ? ORDER BY u.component LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|(id, key)| Ok((id, component_key(&key)?))).collect()
    }

    /// A page of the components that advisories with these names can be about: by name, or by source package; a release of `None` means
    /// any. Names are as the Db has them: in lower case where the ecosystem does not tell case apart. Sorted by id; the
    /// next page starts after the last id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn components_named(
        &self,
        names: &[(Ecosystem, Option<Release>, String)],
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, ComponentKey)>, StoreError> {
        let names: Vec<(&str, Option<String>, &str)> = names
            .iter()
            .map(|(ecosystem, release, name)| {
                (ecosystem.purl_type(), release.as_ref().map(ToString::to_string), name.as_str())
            })
            .collect();
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "WITH wanted (ecosystem, release, name) AS (SELECT value->>0, value->>1, value->>2 FROM json_each(?1))
             SELECT id, key FROM (
               SELECT c.id, c.key FROM wanted w CROSS JOIN components c ON c.ecosystem = w.ecosystem AND c.name = w.name WHERE (w.release IS NULL OR c.release = w.release) AND c.id > ?2
               UNION SELECT c.id, c.key FROM wanted w CROSS JOIN components c INDEXED BY components_folded ON c.ecosystem = w.ecosystem AND lower(c.name) = w.name WHERE c.ecosystem IN ('nuget', 'swift') AND (w.release IS NULL OR c.release = w.release) AND c.id > ?2
               UNION SELECT c.id, c.key FROM wanted w CROSS JOIN components c ON c.ecosystem = w.ecosystem AND c.source = w.name AND c.source <> '' WHERE (w.release IS NULL OR c.release = w.release) AND c.id > ?2
             ) ORDER BY id LIMIT ?3",
        )
        .bind(list(&names)?)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|(id, key)| Ok((id, component_key(&key)?))).collect()
    }

    /// A page of all components, to match everything again after a gap in Db versions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn components(&self, after: i64, limit: u32) -> Result<Vec<(i64, ComponentKey)>, StoreError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, key FROM components WHERE id > ? ORDER BY id LIMIT ?")
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(id, key)| Ok((id, component_key(&key)?))).collect()
    }

    /// Numbers for metrics.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let mut connection = self.pool.begin().await?;
        let mut one = async |statement: &'static str| -> Result<u64, StoreError> {
            let value: i64 = sqlx::query_scalar(statement).fetch_one(&mut *connection).await?;
            Ok(unsigned(value))
        };
        let mut counts = Counts {
            open: BTreeMap::new(),
            images: one("SELECT COUNT(*) FROM images").await?,
            unmatched: one(UNMATCHED_COUNT).await?,
            partial: one("SELECT COUNT(*) FROM images WHERE partial <> '[]'").await?,
            failed: one("SELECT COUNT(*) FROM failures").await?,
            components: one("SELECT COUNT(*) FROM components").await?,
            workloads: one("SELECT COUNT(DISTINCT workload) FROM containers").await?,
            clusters: one("SELECT COUNT(*) FROM clusters").await?,
            outbox: one("SELECT COUNT(*) FROM outbox").await?,
            catch_up: one("SELECT COUNT(*) FROM catch_up").await?,
            backlog_components: one("SELECT COUNT(*) FROM backlog_components").await?,
            backlog_holders: one("SELECT COUNT(DISTINCT holder) FROM backlog_holders").await?,
            db_seq: one("SELECT value FROM meta WHERE key = 'db_seq'").await?,
            epoch: one("SELECT value FROM meta WHERE key = 'epoch'").await?,
        };
        for (class, statement) in Class::ALL.into_iter().zip([
            "SELECT COUNT(*) FROM findings WHERE state = 0 AND class = 0",
            "SELECT COUNT(*) FROM findings WHERE state = 0 AND class = 1",
            "SELECT COUNT(*) FROM findings WHERE state = 0 AND class = 2",
            "SELECT COUNT(*) FROM findings WHERE state = 0 AND class = 3",
            "SELECT COUNT(*) FROM findings WHERE state = 0 AND class = 4",
        ]) {
            counts.open.insert(class, one(statement).await?);
        }
        Ok(counts)
    }

    /// What is in use: the roots from which the garbage collector marks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn roots(&self) -> Result<Roots, StoreError> {
        let mut roots = Roots::default();
        let held: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT i.digest, i.layers, i.sbom FROM images i WHERE EXISTS (SELECT 1 FROM held h WHERE h.image = i.id)",
        )
        .fetch_all(&self.pool)
        .await?;
        for (digest, layers, sbom) in held {
            roots.images.insert(parse(&digest)?);
            roots.layers.extend(decode::<Vec<Digest>>("images", &layers)?);
            roots.sboms.insert(sbom);
        }
        // What is about to be held: manifests behind tags and containers, whether or not they are inventoried.
        let wanted: Vec<(String, Option<String>)> = sqlx::query_as(
            "WITH RECURSIVE down (digest) AS (SELECT digest FROM tags WHERE digest IS NOT NULL UNION SELECT digest FROM containers WHERE digest IS NOT NULL UNION SELECT p.child FROM down JOIN parents p ON p.parent = down.digest) SELECT down.digest, m.kind FROM down LEFT JOIN manifests m ON m.digest = down.digest WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = down.digest)",
        )
        .fetch_all(&self.pool)
        .await?;
        for (digest, kind) in wanted {
            roots.images.insert(parse(&digest)?);
            if let Some(kind) = kind
                && let plimsoll_model::fact::ManifestKind::Image { layers, .. } = decode("manifests", &kind)?
            {
                roots.layers.extend(layers);
            }
        }
        Ok(roots)
    }
}

/// Images that have a component which no Db has judged, or that have none and were scanned without a Db.
const UNMATCHED_COUNT: &str = "SELECT COUNT(*) FROM images i WHERE i.db_seq = 0 AND (i.components = '[]' OR EXISTS (SELECT 1 FROM json_each(i.components) j JOIN components c ON c.id = j.value WHERE c.db_seq = 0))";
