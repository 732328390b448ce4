//! Scans that failed, told to the holders once.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::finding::Cause;
use plimsoll_model::{Holder, Platform};

use super::Judged;
use crate::apply::{Touch, Work, list};
use crate::error::StoreError;
use crate::rows::from_row;

/// A failure to tell.
pub(crate) struct Failure {
    pub(crate) holder: Holder,
    pub(crate) cause: usize,
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl Failure {
    /// The cause, which may be an older fact than the failure's own.
    pub(crate) fn explain(&self, cause: &Cause) -> Cause {
        if cause.kind == "failure" {
            return cause.clone();
        }
        let sentence = format!("{}; its image could not be scanned: {}", cause.sentence, self.code);
        Cause { kind: "failure".to_owned(), id: cause.id.clone(), sentence }
    }
}

/// The platform of a repository's holder while no manifest says which there are.
fn unknown_platform() -> Platform {
    Platform { os: "unknown".into(), architecture: "unknown".into(), variant: None }
}

struct Row {
    repo: i64,
    digest: String,
    code: String,
    stage: String,
    detail: String,
}

from_row!(Row { repo, digest, code, stage, detail });

impl Work<'_> {
    /// Failures of these holders that nobody was told of yet; they count as told from here on.
    pub(super) async fn failures(
        &mut self,
        judged: &[Judged],
        repositories: &BTreeMap<i64, Touch>,
    ) -> Result<Vec<Failure>, StoreError> {
        let any: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM failures)")
            .fetch_one(&mut *self.connection)
            .await?;
        let mut found: Vec<(Holder, i64, usize, String, String)> = Vec::new();
        for one in judged {
            if let Some((code, reference)) = &one.state.unresolved {
                let detail = format!("the reference {reference} could not be resolved");
                found.push((one.state.holder.clone(), one.state.id, one.state.cause, code.clone(), detail));
            }
        }
        if any != 0 {
            self.find_failures(judged, repositories, &mut found).await?;
        }
        let mut failures = Vec::new();
        for (holder, id, cause, code, detail) in found {
            let told = sqlx::query("INSERT INTO notices (holder, code) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(id)
                .bind(&code)
                .execute(&mut *self.connection)
                .await?;
            if told.rows_affected() > 0 {
                failures.push(Failure { holder, cause, code, detail });
            }
        }
        Ok(failures)
    }

    async fn find_failures(
        &mut self,
        judged: &[Judged],
        repositories: &BTreeMap<i64, Touch>,
        found: &mut Vec<(Holder, i64, usize, String, String)>,
    ) -> Result<(), StoreError> {
        let mut digests: BTreeSet<&str> = BTreeSet::new();
        let mut places: BTreeSet<i64> = repositories.keys().copied().collect();
        for one in judged {
            digests.extend(one.state.digests.iter().map(|d| d.as_str()));
            places.extend(one.state.repository);
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT repo, digest, code, stage, detail FROM failures WHERE digest <> '' AND digest IN (SELECT value FROM json_each(?1)) UNION SELECT repo, digest, code, stage, detail FROM failures WHERE repo IN (SELECT value FROM json_each(?2))",
        )
        .bind(list(&digests.into_iter().collect::<Vec<_>>())?)
        .bind(list(&places.into_iter().collect::<Vec<_>>())?)
        .fetch_all(&mut *self.connection)
        .await?;
        for row in rows {
            let detail = if row.detail.is_empty() {
                format!("stage {}", row.stage)
            } else {
                format!("stage {}: {}", row.stage, row.detail)
            };
            let mut at_repository = false;
            for one in judged {
                let by_digest = !row.digest.is_empty()
                    && one.state.digests.iter().any(|d| d.as_str() == row.digest)
                    && (row.stage != "manifest" || one.state.repository == Some(row.repo));
                // A tag that could not be read: the workload that wants it has no digest either.
                let by_tag = row.digest.is_empty()
                    && one.state.digests.is_empty()
                    && one.state.repository == Some(row.repo)
                    && matches!(one.state.holder, Holder::Workload { .. });
                if by_digest || by_tag {
                    at_repository |= matches!(one.state.holder, Holder::Repository { .. })
                        && one.state.repository == Some(row.repo);
                    let state = &one.state;
                    found.push((
                        state.holder.clone(),
                        state.id,
                        state.cause,
                        row.code.clone(),
                        detail.clone(),
                    ));
                }
            }
            if !at_repository && let Some(touch) = repositories.get(&row.repo) {
                let holder = self.unknown_holder(row.repo).await?;
                let id = self.holder(&holder).await?;
                found.push((holder, id, touch.cause, row.code.clone(), detail));
            }
        }
        Ok(())
    }

    async fn unknown_holder(&mut self, repository: i64) -> Result<Holder, StoreError> {
        let (registry, repository): (String, String) =
            sqlx::query_as("SELECT registry, repository FROM repositories WHERE id = ?")
                .bind(repository)
                .fetch_one(&mut *self.connection)
                .await?;
        Ok(Holder::Repository { registry, repository, platform: unknown_platform() })
    }
}
