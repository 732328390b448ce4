//! Rows of findings, and of what holders have.

use std::collections::{BTreeSet, HashSet};

use plimsoll_model::Finding;
use serde::Serialize;

use super::Judged;
use crate::apply::{Work, list};
use crate::error::{StoreError, signed};
use crate::rows::{class_number, finding_body, state_number};
use crate::view::Snapshot;

/// Findings written by one statement.
const BATCH: usize = 500;

/// Columns in the order of the statement below.
#[derive(Serialize)]
struct Row<'a>(
    &'a str,
    i64,
    &'a str,
    String,
    &'a str,
    i64,
    i64,
    i64,
    f64,
    i64,
    Option<i64>,
    i64,
    i64,
    i64,
    String,
);

impl Work<'_> {
    pub(super) async fn save_findings(&mut self, findings: &[(i64, Finding)]) -> Result<(), StoreError> {
        for batch in findings.chunks(BATCH) {
            let rows = batch
                .iter()
                .map(|(holder, f)| {
                    Ok(Row(
                        &f.id,
                        *holder,
                        &f.key.vulnerability,
                        f.key.package.to_string(),
                        &f.key.package.name,
                        state_number(f.state),
                        class_number(f.assessment.class),
                        i64::from(!f.assessment.factors.assumed.is_empty()),
                        -f.assessment.rank,
                        f.opened_at.0,
                        f.due.map(|d| d.0),
                        signed(f.revision),
                        signed(f.db_seq),
                        self.now.0,
                        finding_body(f)?,
                    ))
                })
                .collect::<Result<Vec<_>, StoreError>>()?;
            sqlx::query(
                "INSERT INTO findings (id, holder, vulnerability, package, name, state, class, assumed, negative_rank, opened_at, due, revision, db_seq, changed_at, body)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, value->>9, value->>10, value->>11, value->>12, value->>13, value->>14 FROM json_each(?) WHERE true
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state, class = excluded.class, assumed = excluded.assumed, negative_rank = excluded.negative_rank, opened_at = excluded.opened_at, due = excluded.due, revision = excluded.revision, db_seq = excluded.db_seq, changed_at = excluded.changed_at, body = excluded.body",
            )
            .bind(list(&rows)?)
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }

    /// Keeps which images each holder has.
    pub(super) async fn save_held(
        &mut self,
        judged: &[Judged],
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        let holders: Vec<i64> = judged.iter().map(|j| j.state.id).collect();
        let before: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT h.image, h.holder FROM json_each(?) j CROSS JOIN held h ON h.holder = j.value",
        )
        .bind(list(&holders)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let before: HashSet<(i64, i64)> = before.into_iter().collect();
        let now: BTreeSet<(i64, i64)> = judged
            .iter()
            .flat_map(|j| j.state.images.iter().map(move |image| (image, j.state.id)))
            .filter_map(|(image, holder)| Some((snapshot.images.get(image)?.id, holder)))
            .collect();
        let gone: BTreeSet<(i64, i64)> = before.iter().filter(|pair| !now.contains(pair)).copied().collect();
        let added: Vec<(i64, i64)> = now.into_iter().filter(|pair| !before.contains(pair)).collect();
        if !gone.is_empty() {
            sqlx::query(
                "DELETE FROM held WHERE (image, holder) IN (SELECT value->>0, value->>1 FROM json_each(?))",
            )
            .bind(list(&gone.into_iter().collect::<Vec<_>>())?)
            .execute(&mut *self.connection)
            .await?;
        }
        if !added.is_empty() {
            sqlx::query(
                "INSERT INTO held (image, holder) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(list(&added)?)
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
