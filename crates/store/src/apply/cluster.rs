//! Resolutions of references, workloads and who can reach them.

use std::collections::BTreeMap;

use plimsoll_inventory::{Basis, running};
use plimsoll_model::exposure::WorkloadName;
use plimsoll_model::fact::{
    ConnectionChangeKind, ContainerFact, ExposureFact, Resolution, ResolvedFact, WorkloadFact,
};
use plimsoll_model::{Fact, Holder, Timestamp};

use super::{Caused, Work};
use crate::error::{StoreError, decode, encode, signed};

/// Holder, workload, name, stated digest, repository.
type Waiting = (i64, i64, String, Option<String>, Option<i64>);

/// Which of two facts of a cluster is the newer: the one with the newer target; of those with the same, the later
/// publication, which told what had waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    seq: i64,
    publication: i64,
}

impl Order {
    fn of(exposure: &ExposureFact) -> Self {
        Self { seq: signed(exposure.target_seq), publication: signed(exposure.publication) }
    }
}

impl Work<'_> {
    pub(super) async fn resolved(&mut self, fact: &Fact, resolved: &ResolvedFact) -> Result<(), StoreError> {
        let sentence = format!("a deploy to {} was resolved", resolved.cluster);
        let cause = self.cause_of(fact, "deploy", sentence);
        for resolution in &resolved.references {
            // Two resolutions of one deploy event: one that found something wins, then the greater fact id; any order gives the
            // same.
            let done = sqlx::query(
                "INSERT INTO resolutions (cluster, seq, reference, body, found, fact) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (cluster, seq, reference) DO UPDATE SET body = excluded.body, found = excluded.found, fact = excluded.fact WHERE (excluded.found, excluded.fact) > (resolutions.found, resolutions.fact)",
            )
            .bind(&resolved.cluster)
            .bind(signed(resolved.seq))
            .bind(&resolution.reference)
            .bind(encode("resolutions", resolution)?)
            .bind(i64::from(resolution.digest.is_some()))
            .bind(&fact.id)
            .execute(&mut *self.connection)
            .await?;
            if done.rows_affected() == 0 {
                continue;
            }
            let waiting: Vec<Waiting> = sqlx::query_as(
                "SELECT holder, workload, name, stated, repo FROM containers WHERE cluster = ? AND changed_seq = ? AND image = ?",
            )
            .bind(&resolved.cluster)
            .bind(signed(resolved.seq))
            .bind(&resolution.reference)
            .fetch_all(&mut *self.connection)
            .await?;
            for (holder, workload, name, stated, repository) in waiting {
                let container = ContainerFact {
                    name,
                    image: resolution.reference.clone(),
                    digest: stated.and_then(|d| d.parse().ok()),
                };
                let found = Some(resolution);
                let seq = resolved.seq;
                let now =
                    self.write_container(holder, workload, &resolved.cluster, &container, seq, found).await?;
                self.touch_container(holder, now, cause);
                if let Some(repository) = repository {
                    self.touch_repository(repository, cause);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn exposure(&mut self, fact: &Fact, exposure: &ExposureFact) -> Result<(), StoreError> {
        let seen = exposure.workloads.iter().map(|w| w.exposure.as_of).max().unwrap_or(fact.at);
        let full = self.cluster(fact, exposure, seen.max(fact.at)).await?;
        for workload in &exposure.workloads {
            self.workload(fact, exposure, workload, full).await?;
        }
        for name in &exposure.removed {
            let gone = self.remember_workload(name, Order::of(exposure), None, full).await?;
            if let Some((id, _)) = gone {
                let sentence = format!("{name} was removed{}", by(exposure));
                let cause = self.cause_of(fact, "delete", sentence);
                self.drop_containers(id, &[], cause).await?;
            }
        }
        Ok(())
    }

    /// Updates the cluster's row; gives the place of the newest full view.
    async fn cluster(
        &mut self,
        fact: &Fact,
        exposure: &ExposureFact,
        as_of: Timestamp,
    ) -> Result<Order, StoreError> {
        let full = if exposure.base_seq == 0 { Order::of(exposure) } else { Order::default() };
        // Older writers leave nothing out.
        let through = if exposure.through_seq == 0 { exposure.target_seq } else { exposure.through_seq };
        let stale = i64::from(self.is_stale(as_of.0));
        let (full_seq, full_publication, newest, was): (i64, i64, i64, i64) = sqlx::query_as(
            "INSERT INTO clusters (name, full_seq, full_publication, target_seq, as_of, stale) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET full_publication = CASE WHEN (excluded.full_seq, excluded.full_publication) > (full_seq, full_publication) THEN excluded.full_publication ELSE full_publication END, full_seq = MAX(full_seq, excluded.full_seq), target_seq = MAX(target_seq, excluded.target_seq), as_of = MAX(as_of, excluded.as_of) RETURNING full_seq, full_publication, as_of, stale",
        )
        .bind(&exposure.cluster)
        .bind(full.seq)
        .bind(full.publication)
        .bind(signed(through))
        .bind(as_of.0)
        .bind(stale)
        .fetch_one(&mut *self.connection)
        .await?;
        let caused = Caused {
            cause: plimsoll_model::finding::Cause {
                kind: "policy".to_owned(),
                id: fact.id.clone(),
                sentence: format!("cluster {} is in view again", exposure.cluster),
            },
            trace: fact.trace.clone(),
            at: fact.at.min(self.now),
        };
        self.refresh_staleness(&exposure.cluster, newest, was, || caused).await?;
        let newest_full = Order { seq: full_seq, publication: full_publication };
        if full > Order::default() && newest_full == full {
            let gone: Vec<i64> = sqlx::query_scalar(
                "UPDATE workloads SET live = 0 WHERE cluster = ? AND live = 1 AND (seq, publication) < (?, ?) RETURNING id",
            )
            .bind(&exposure.cluster)
            .bind(full.seq)
            .bind(full.publication)
            .fetch_all(&mut *self.connection)
            .await?;
            // Those that this fact lists come back below; the rest is gone.
            if !gone.is_empty() {
                let sentence = format!("cluster {} was replaced{}", exposure.cluster, by(exposure));
                let cause = self.cause_of(fact, "delete", sentence);
                for workload in gone {
                    self.drop_containers(workload, &[], cause).await?;
                }
            }
        }
        Ok(newest_full)
    }

    fn is_stale(&self, as_of: i64) -> bool {
        self.now.0.saturating_sub(as_of) > self.settings.risk.max_age_ms
    }

    /// Touches the cluster's holders when its view became too old, or fresh again, since they were judged.
    pub(super) async fn refresh_staleness(
        &mut self,
        cluster: &str,
        as_of: i64,
        was: i64,
        caused: impl FnOnce() -> Caused,
    ) -> Result<(), StoreError> {
        let stale = self.is_stale(as_of);
        if stale == (was != 0) {
            return Ok(());
        }
        sqlx::query("UPDATE clusters SET stale = ? WHERE name = ?")
            .bind(i64::from(stale))
            .bind(cluster)
            .execute(&mut *self.connection)
            .await?;
        let holders: Vec<i64> = sqlx::query_scalar("SELECT holder FROM containers WHERE cluster = ?")
            .bind(cluster)
            .fetch_all(&mut *self.connection)
            .await?;
        let cause = self.cause(caused());
        for holder in holders {
            self.touch_container(holder, None, cause);
        }
        Ok(())
    }

    /// Keeps the newest word on a workload. `None` when what is known is as new; else its id and what was known.
    async fn remember_workload(
        &mut self,
        name: &WorkloadName,
        order: Order,
        body: Option<&str>,
        full: Order,
    ) -> Result<Option<(i64, Option<String>)>, StoreError> {
        let live = i64::from(body.is_some() && order >= full);
        let known: Option<(i64, i64, i64, Option<String>)> = sqlx::query_as(
            "SELECT id, seq, publication, body FROM workloads WHERE cluster = ? AND namespace = ? AND kind = ? AND name = ?",
        )
        .bind(&name.cluster)
        .bind(&name.namespace)
        .bind(&name.kind)
        .bind(&name.name)
        .fetch_optional(&mut *self.connection)
        .await?;
        match known {
            Some((_, seq, publication, _)) if Order { seq, publication } >= order => Ok(None),
            Some((id, _, _, old)) => {
                sqlx::query("UPDATE workloads SET seq = ?, publication = ?, live = ?, body = ? WHERE id = ?")
                    .bind(order.seq)
                    .bind(order.publication)
                    .bind(live)
                    .bind(body)
                    .bind(id)
                    .execute(&mut *self.connection)
                    .await?;
                Ok(Some((id, old)))
            }
            None => {
                let id = sqlx::query_scalar(
                    "INSERT INTO workloads (cluster, namespace, kind, name, seq, publication, live, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                )
                .bind(&name.cluster)
                .bind(&name.namespace)
                .bind(&name.kind)
                .bind(&name.name)
                .bind(order.seq)
                .bind(order.publication)
                .bind(live)
                .bind(body)
                .fetch_one(&mut *self.connection)
                .await?;
                Ok(Some((id, None)))
            }
        }
    }

    async fn workload(
        &mut self,
        fact: &Fact,
        exposure: &ExposureFact,
        workload: &WorkloadFact,
        full: Order,
    ) -> Result<(), StoreError> {
        let body = encode("workloads", workload)?;
        let order = Order::of(exposure);
        let Some((id, old)) = self.remember_workload(&workload.name, order, Some(&body), full).await? else {
            return Ok(());
        };
        let old: Option<WorkloadFact> = old.as_deref().map(|t| decode("workloads", t)).transpose()?;
        let deployed = old
            .as_ref()
            .is_none_or(|o| o.changed_seq != workload.changed_seq || o.containers != workload.containers);
        let cause = if deployed {
            self.cause_of(fact, "deploy", format!("{} was deployed{}", workload.name, by(exposure)))
        } else {
            self.cause_of(fact, "policy", policy_sentence(exposure, workload))
        };
        if order < full {
            return self.drop_containers(id, &[], cause).await;
        }
        self.keep_pod(id, workload).await?;
        let names: Vec<&str> = workload.containers.iter().map(|c| c.name.as_str()).collect();
        self.drop_containers(id, &names, cause).await?;
        let cluster = &exposure.cluster;
        let changed = workload.changed_seq;
        for container in &workload.containers {
            let holder =
                Holder::Workload { workload: workload.name.clone(), container: container.name.clone() };
            let holder = self.holder(&holder).await?;
            let before: Option<Option<i64>> =
                sqlx::query_scalar("SELECT repo FROM containers WHERE holder = ?")
                    .bind(holder)
                    .fetch_optional(&mut *self.connection)
                    .await?;
            let resolution: Option<String> = sqlx::query_scalar(
                "SELECT body FROM resolutions WHERE cluster = ? AND seq = ? AND reference = ?",
            )
            .bind(cluster)
            .bind(signed(changed))
            .bind(&container.image)
            .fetch_optional(&mut *self.connection)
            .await?;
            let resolution: Option<Resolution> =
                resolution.as_deref().map(|text| decode("resolutions", text)).transpose()?;
            let now =
                self.write_container(holder, id, cluster, container, changed, resolution.as_ref()).await?;
            self.touch_container(holder, now, cause);
            if let Some(before) = before.flatten() {
                self.touch_repository(before, cause);
            }
        }
        Ok(())
    }

    /// Writes what a container runs; gives the repository that it comes from.
    async fn write_container(
        &mut self,
        holder: i64,
        workload: i64,
        cluster: &str,
        container: &ContainerFact,
        changed_seq: u64,
        resolution: Option<&Resolution>,
    ) -> Result<Option<i64>, StoreError> {
        let runs = running(container, changed_seq, resolution);
        let repository = match runs.repository.is_empty() {
            true => None,
            false => Some(self.repository(&runs.registry, &runs.repository).await?),
        };
        let code = match &runs.basis {
            Basis::Unresolved { code } => code.as_str(),
            _ => "",
        };
        sqlx::query(
            "INSERT OR REPLACE INTO containers (holder, workload, cluster, changed_seq, name, image, stated, digest, basis, code, repo, tag) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(holder)
        .bind(workload)
        .bind(cluster)
        .bind(signed(changed_seq))
        .bind(&container.name)
        .bind(&container.image)
        .bind(container.digest.as_ref().map(|d| d.as_str()))
        .bind(runs.digest.as_ref().map(|d| d.as_str()))
        .bind(runs.basis.as_str())
        .bind(code)
        .bind(repository)
        .bind(&runs.tag)
        .execute(&mut *self.connection)
        .await?;
        Ok(repository)
    }

    /// Forgets the containers of a workload that are not among `keep`.
    async fn drop_containers(
        &mut self,
        workload: i64,
        keep: &[&str],
        cause: usize,
    ) -> Result<(), StoreError> {
        self.pending.pods.insert(workload, cause);
        let rows: Vec<(i64, String, Option<i64>)> =
            sqlx::query_as("SELECT holder, name, repo FROM containers WHERE workload = ?")
                .bind(workload)
                .fetch_all(&mut *self.connection)
                .await?;
        for (holder, name, repository) in rows {
            if keep.contains(&name.as_str()) {
                continue;
            }
            sqlx::query("DELETE FROM containers WHERE holder = ?")
                .bind(holder)
                .execute(&mut *self.connection)
                .await?;
            self.departed.extend(repository.map(|repository| (holder, repository)));
            self.touch_container(holder, repository, cause);
        }
        Ok(())
    }
}

fn by(exposure: &ExposureFact) -> String {
    if exposure.actor.is_empty() { String::new() } else { format!(" by {}", exposure.actor) }
}

/// Most lines of a connectivity diff in a cause.
const MAX_LINES: usize = 3;

/// What the change of policy did to this workload.
fn policy_sentence(exposure: &ExposureFact, workload: &WorkloadFact) -> String {
    let WorkloadName { namespace, kind, name, .. } = &workload.name;
    let printed = format!("{namespace}/{name}[{kind}]");
    let mut lines: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for change in &exposure.changes {
        let (order, verb) = match change.kind {
            ConnectionChangeKind::Added => (0, "opened"),
            ConnectionChangeKind::Changed => (1, "changed"),
            ConnectionChangeKind::Removed => (2, "closed"),
        };
        // Who may reach the workload comes before whom it may reach.
        let (into, out) = (change.destination == printed, change.source == printed);
        if into || out {
            let order = if into { order } else { order + 3 };
            let after = match change.kind {
                ConnectionChangeKind::Removed => &change.before,
                ConnectionChangeKind::Added | ConnectionChangeKind::Changed => &change.after,
            };
            let because = match change.because.first() {
                Some(first) => format!(" ({first})"),
                None => String::new(),
            };
            let line = format!("{verb} {} -> {} {after}{because}", change.source, change.destination);
            lines.entry(order).or_default().push(line);
        }
    }
    let lines: Vec<String> = lines.into_values().flatten().collect();
    let more = lines.len().saturating_sub(MAX_LINES);
    let mut text = format!("a policy change in {}{}", exposure.cluster, by(exposure));
    if !lines.is_empty() {
        text.push_str(": ");
        let shown: Vec<&str> = lines.iter().take(MAX_LINES).map(String::as_str).collect();
        text.push_str(&shown.join("; "));
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if !exposure.unlisted.is_none() {
        text.push_str(&format!("; in the cluster {} are not listed", exposure.unlisted));
    }
    let transient = exposure.transient.iter().filter(|change| change.destination == printed).count();
    if transient > 0 {
        let what = if transient == 1 { "1 connection was" } else { &format!("{transient} connections were") };
        text.push_str(&format!("; {what} open for a moment in between"));
    }
    text
}
