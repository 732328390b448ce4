//! Statements (VEX, ignore rules): the set that holds, what its change touches, and what time ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use plimsoll_findings::Statements;
use plimsoll_model::exposure::WorkloadName;
use plimsoll_model::finding::Cause;
use plimsoll_model::vex::{StatementKind, is_network};
use plimsoll_model::{Holder, Statement};

use super::{Caused, Work, list};
use crate::error::{StoreError, decode, encode, signed};
use crate::rows::hash_of;
use crate::store::StatementSet;

/// What happened to a statement.
#[derive(Clone, Copy)]
enum Turn {
    Came,
    Went,
    Expired,
}

impl Work<'_> {
    /// The statements that hold.
    pub(crate) async fn load_statements(&mut self) -> Result<(), StoreError> {
        if let Some((statements, hash)) = &self.cache.statements {
            (self.statements, self.statements_hash) = (statements.clone(), *hash);
            return Ok(());
        }
        let rows: Vec<String> = sqlx::query_scalar("SELECT body FROM statements WHERE live = 1 ORDER BY id")
            .fetch_all(&mut *self.connection)
            .await?;
        let all: Vec<Statement> =
            rows.iter().map(|body| decode("statements", body)).collect::<Result<_, _>>()?;
        let ids: Vec<&str> = all.iter().map(|statement| statement.id.as_str()).collect();
        self.statements_hash = hash_of(&ids);
        self.statements = Arc::new(Statements::new(all));
        self.cache.statements = Some((self.statements.clone(), self.statements_hash));
        Ok(())
    }

    /// Replaces the set by a newer one and judges what the difference names.
    pub(crate) async fn replace_statements(&mut self, set: &StatementSet) -> Result<(), StoreError> {
        let held: i64 = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'statements_seq'")
            .fetch_one(&mut *self.connection)
            .await?;
        if held >= signed(set.seq) {
            return Ok(());
        }
        self.expire().await?;
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT id, live, body FROM statements").fetch_all(&mut *self.connection).await?;
        let mut old: HashMap<String, (bool, String)> =
            rows.into_iter().map(|(id, live, body)| (id, (live == 1, body))).collect();
        let mut changed: Vec<(Turn, Statement)> = Vec::new();
        let mut fresh: BTreeMap<&str, &Statement> = BTreeMap::new();
        for statement in &set.statements {
            if old.remove(&statement.id).is_none() {
                fresh.insert(&statement.id, statement);
            }
        }
        for (id, statement) in fresh {
            let live = statement.is_live(self.now);
            sqlx::query("INSERT INTO statements (id, expires, live, body) VALUES (?, ?, ?, ?)")
                .bind(id)
                .bind(statement.expires.map(|at| at.0))
                .bind(i64::from(live))
                .bind(encode("statements", statement)?)
                .execute(&mut *self.connection)
                .await?;
            if live {
                changed.push((Turn::Came, statement.clone()));
            }
        }
        let mut gone: Vec<String> = old.keys().cloned().collect();
        gone.sort();
        for id in &gone {
            if let Some((true, body)) = old.get(id) {
                changed.push((Turn::Went, decode("statements", body)?));
            }
        }
        sqlx::query("DELETE FROM statements WHERE id IN (SELECT value FROM json_each(?))")
            .bind(list(&gone)?)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query("UPDATE meta SET value = ? WHERE key = 'statements_seq'")
            .bind(signed(set.seq))
            .execute(&mut *self.connection)
            .await?;
        self.turned(changed).await
    }

    /// Ends the statements whose time has come; what they suppressed is judged again.
    pub(crate) async fn expire(&mut self) -> Result<(), StoreError> {
        let rows: Vec<String> = sqlx::query_scalar(
            "UPDATE statements SET live = 0 WHERE live = 1 AND expires IS NOT NULL AND expires <= ? RETURNING body",
        )
        .bind(self.now.0)
        .fetch_all(&mut *self.connection)
        .await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut expired = Vec::with_capacity(rows.len());
        for body in rows {
            expired.push((Turn::Expired, decode::<Statement>("statements", &body)?));
        }
        self.turned(expired).await
    }

    /// Judges what these statements may name, each with its own cause.
    async fn turned(&mut self, changed: Vec<(Turn, Statement)>) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        self.cache.statements = None;
        self.load_statements().await?;
        let ids: BTreeSet<&str> = changed
            .iter()
            .flat_map(|(_, statement)| statement.vulnerabilities.iter().map(String::as_str))
            .collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        // Of all the vulnerabilities that are named only those that something here has.
        let rows: Vec<(String, String)> = sqlx::query_as(
            "WITH said (id, known) AS (SELECT value, value FROM json_each(?1) UNION SELECT a.alias, a.id FROM json_each(?1) j CROSS JOIN aliases a ON a.alias = j.value)
             SELECT id, known FROM said WHERE EXISTS (SELECT 1 FROM matched m WHERE m.vulnerability = said.known)",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut known: HashMap<String, Vec<String>> = HashMap::new();
        for (id, canonical) in rows {
            known.entry(id).or_default().push(canonical);
        }
        let pods = self.pods_about(&ids).await?;
        for (turn, statement) in changed {
            let named: Vec<i64> = statement
                .vulnerabilities
                .iter()
                .filter_map(|id| pods.get(id))
                .flatten()
                .filter(|(_, workload)| statement.scope.names_workload(workload))
                .map(|(pod, _)| *pod)
                .collect();
            if !named.is_empty() {
                let (trace, at) = (String::new(), self.now);
                let cause = self.cause(Caused { cause: explain(turn, &statement), trace, at });
                self.pending.pods.extend(named.into_iter().map(|pod| (pod, cause)));
            }
            let named: BTreeSet<&String> =
                statement.vulnerabilities.iter().filter_map(|id| known.get(id)).flatten().collect();
            if named.is_empty() {
                continue;
            }
            let named: Vec<&String> = named.into_iter().collect();
            let components: Vec<i64> = sqlx::query_scalar(
                "SELECT DISTINCT m.component FROM json_each(?) j CROSS JOIN matched m ON m.vulnerability = j.value",
            )
            .bind(list(&named)?)
            .fetch_all(&mut *self.connection)
            .await?;
            let cause =
                self.cause(Caused { cause: explain(turn, &statement), trace: String::new(), at: self.now });
            self.touch_components(&components, cause);
        }
        self.settle().await
    }

    /// By code of findings about network policy: the workloads that have one, open or accepted.
    async fn pods_about(
        &mut self,
        ids: &[&str],
    ) -> Result<HashMap<String, Vec<(i64, WorkloadName)>>, StoreError> {
        let codes: Vec<&str> = ids.iter().copied().filter(|id| is_network(id)).collect();
        let mut pods: HashMap<String, Vec<(i64, WorkloadName)>> = HashMap::new();
        if codes.is_empty() {
            return Ok(pods);
        }
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT DISTINCT f.vulnerability, p.workload, h.key FROM json_each(?) j CROSS JOIN findings f ON f.vulnerability = j.value AND f.state IN (0, 2) CROSS JOIN pods p ON p.holder = f.holder CROSS JOIN holders h ON h.id = p.holder ORDER BY p.workload",
        )
        .bind(list(&codes)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (code, pod, key) in rows {
            if let Holder::Workload { workload, .. } = decode("holders", &key)? {
                pods.entry(code).or_default().push((pod, workload));
            }
        }
        Ok(pods)
    }
}

fn explain(turn: Turn, statement: &Statement) -> Cause {
    let what = statement.sentence();
    let sentence = match turn {
        Turn::Came => format!("{what} ({})", statement.document),
        Turn::Went => format!("withdrawn: {what} ({})", statement.document),
        Turn::Expired => format!("expired: {what} ({})", statement.document),
    };
    let kind = match statement.kind {
        StatementKind::Vex => "vex",
        StatementKind::Ignore => "ignore",
    };
    Cause { kind: kind.to_owned(), id: statement.id.clone(), sentence }
}
