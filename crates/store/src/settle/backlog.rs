//! From changed components to the holders that have them, at once or later.
//!
//! A transaction that changes matches costs what the components cost that it names. If few holders have them, those are judged
//! in the same transaction; if many do, the components are written down, and later transactions find the holders and judge
//! them, a slice each, so that pushes and deploys do not wait behind a change of advisories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_model::Timestamp;
use plimsoll_model::finding::Cause;
use serde::{Deserialize, Serialize};

use crate::apply::{Caused, Touch, Work, list};
use crate::error::{StoreError, decode, encode};

/// Holders of one slice; what a push waits for at most.
const SLICE: i64 = 1_000;
/// Pairs of holder and package after which holders are judged whole, so that the list stays bounded.
const MOST_PAIRS: i64 = 4_000_000;

/// Holders with a package's name each that have some components: repository or 0, holder, name, cause.
const PAIRS: &str =
    "SELECT COALESCE(o.repo, c.repo, 0) AS repo, h.holder AS holder, p.name AS name, b.cause AS cause
    FROM backlog_components b
    CROSS JOIN components p ON p.id = b.component
    CROSS JOIN image_components ic ON ic.component = b.component
    CROSS JOIN held h ON h.image = ic.image
    CROSS JOIN holders o ON o.id = h.holder
    LEFT JOIN containers c ON c.holder = h.holder";

#[derive(Serialize, Deserialize)]
struct Stored {
    kind: String,
    id: String,
    sentence: String,
    trace: String,
    at: i64,
}

impl Work<'_> {
    /// Finds the holders of components that changed, if they are few; otherwise leaves both for [`Work::backlog`].
    pub(super) async fn spread(&mut self, components: BTreeMap<i64, usize>) -> Result<(), StoreError> {
        if components.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = components.keys().copied().collect();
        let most = i64::try_from(self.settings.at_once).unwrap_or(i64::MAX);
        let pairs: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT h.holder, p.name, p.id FROM json_each(?1) j CROSS JOIN components p ON p.id = j.value CROSS JOIN image_components ic ON ic.component = p.id CROSS JOIN held h ON h.image = ic.image LIMIT ?2",
        )
        .bind(list(&ids)?)
        .bind(most.saturating_add(1))
        .fetch_all(&mut *self.connection)
        .await?;
        if pairs.len() <= self.settings.at_once {
            let mut touched: BTreeMap<i64, (BTreeSet<String>, usize)> = BTreeMap::new();
            for (holder, name, component) in pairs {
                let cause = components.get(&component).copied().unwrap_or_default();
                let touch = touched.entry(holder).or_default();
                touch.0.insert(name);
                touch.1 = touch.1.max(cause);
            }
            return self.touch_named(touched).await;
        }
        let mut stored: BTreeMap<usize, i64> = BTreeMap::new();
        let mut rows: Vec<(i64, i64)> = Vec::with_capacity(components.len());
        for (component, cause) in components {
            let number = match stored.get(&cause) {
                Some(number) => *number,
                None => {
                    let Some(caused) = self.pending.causes.get(cause).cloned() else { continue };
                    let number = self.store_cause(caused).await?;
                    stored.insert(cause, number);
                    number
                }
            };
            rows.push((component, number));
        }
        sqlx::query(
            "INSERT INTO backlog_components (component, cause) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT (component) DO UPDATE SET cause = excluded.cause",
        )
        .bind(list(&rows)?)
        .execute(&mut *self.connection)
        .await?;
        self.outcome.backlog = true;
        Ok(())
    }

    async fn touch_named(
        &mut self,
        touched: BTreeMap<i64, (BTreeSet<String>, usize)>,
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = touched.keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows: Vec<(i64, Option<i64>, Option<i64>)> = sqlx::query_as(
            "SELECT h.id, h.repo, c.repo FROM json_each(?) j CROSS JOIN holders h ON h.id = j.value LEFT JOIN containers c ON c.holder = h.id",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (holder, repository, runs) in rows {
            let Some((names, cause)) = touched.get(&holder) else { continue };
            // An empty name stands for all of them.
            let scope = (!names.contains("")).then(|| Arc::new(names.clone()));
            match repository {
                Some(repository) => Touch::add(&mut self.pending.repositories, repository, *cause, &scope),
                None => self.touch_container_for(holder, runs, *cause, &scope),
            }
        }
        Ok(())
    }

    async fn store_cause(&mut self, caused: Caused) -> Result<i64, StoreError> {
        let Caused { cause, trace, at } = caused;
        let Cause { kind, id, sentence } = cause;
        let body = encode("backlog_causes", &Stored { kind, id, sentence, trace, at: at.0 })?;
        // A cause of several transactions is one row.
        let known: Option<i64> = sqlx::query_scalar("SELECT id FROM backlog_causes WHERE body = ?")
            .bind(&body)
            .fetch_optional(&mut *self.connection)
            .await?;
        if let Some(known) = known {
            return Ok(known);
        }
        let number = sqlx::query_scalar("INSERT INTO backlog_causes (body) VALUES (?) RETURNING id")
            .bind(body)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(number)
    }

    /// Does a slice of what was left: finds the holders of the components that wait, or judges some of these holders.
    pub(crate) async fn backlog(&mut self) -> Result<(), StoreError> {
        let (holders, components): (i64, i64) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM backlog_holders), EXISTS (SELECT 1 FROM backlog_components)",
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match (holders, components) {
            (0, 0) => return Ok(()),
            (0, _) => self.find_waiting().await?,
            _ => self.judge_waiting().await?,
        }
        let more: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM backlog_holders) OR EXISTS (SELECT 1 FROM backlog_components)",
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.outcome.backlog = more != 0;
        if !self.outcome.backlog {
            sqlx::query("DELETE FROM backlog_causes").execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn find_waiting(&mut self) -> Result<(), StoreError> {
        let count = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM backlog_components b CROSS JOIN image_components ic ON ic.component = b.component CROSS JOIN held h ON h.image = ic.image LIMIT {})",
            MOST_PAIRS + 1
        );
        let pairs: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *self.connection).await?;
        let (name, group) =
            if pairs > MOST_PAIRS { ("''", "repo, holder") } else { ("name", "repo, holder, name") };
        let insert = format!(
            "INSERT INTO backlog_holders (repo, holder, name, cause) SELECT repo, holder, {name}, MAX(cause) FROM ({PAIRS}) WHERE true GROUP BY {group} ON CONFLICT (repo, holder, name) DO UPDATE SET cause = excluded.cause"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut *self.connection).await?;
        sqlx::query("DELETE FROM backlog_components").execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn judge_waiting(&mut self) -> Result<(), StoreError> {
        let (repo, holder): (i64, i64) = sqlx::query_as(
            "SELECT repo, holder FROM (SELECT DISTINCT repo, holder FROM backlog_holders ORDER BY repo, holder LIMIT ?) ORDER BY repo DESC, holder DESC LIMIT 1",
        )
        .bind(SLICE)
        .fetch_one(&mut *self.connection)
        .await?;
        // Of a repository all, so that it and what runs its images are judged together.
        let holder = if repo > 0 { i64::MAX } else { holder };
        let rows: Vec<(i64, String, i64)> =
            sqlx::query_as("SELECT holder, name, cause FROM backlog_holders WHERE (repo, holder) <= (?, ?)")
                .bind(repo)
                .bind(holder)
                .fetch_all(&mut *self.connection)
                .await?;
        let numbers: BTreeSet<i64> = rows.iter().map(|(_, _, cause)| *cause).collect();
        let numbers: Vec<i64> = numbers.into_iter().collect();
        let stored: Vec<(i64, String)> = sqlx::query_as(
            "SELECT b.id, b.body FROM json_each(?) j CROSS JOIN backlog_causes b ON b.id = j.value ORDER BY b.id",
        )
        .bind(list(&numbers)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut causes: BTreeMap<i64, usize> = BTreeMap::new();
        for (number, body) in stored {
            let Stored { kind, id, sentence, trace, at } = decode("backlog_causes", &body)?;
            let cause = Cause { kind, id, sentence };
            causes.insert(number, self.cause(Caused { cause, trace, at: Timestamp(at) }));
        }
        let mut touched: BTreeMap<i64, (BTreeSet<String>, usize)> = BTreeMap::new();
        for (holder, name, cause) in rows {
            let touch = touched.entry(holder).or_default();
            touch.0.insert(name);
            touch.1 = touch.1.max(causes.get(&cause).copied().unwrap_or_default());
        }
        self.touch_named(touched).await?;
        self.settle().await?;
        sqlx::query("DELETE FROM backlog_holders WHERE (repo, holder) <= (?, ?)")
            .bind(repo)
            .bind(holder)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
