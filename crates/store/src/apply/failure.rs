//! Scans that failed: kept until the image is scanned, told once for each (holder, code).

use plimsoll_model::Fact;
use plimsoll_model::fact::ScanFailed;

use super::Work;
use crate::error::StoreError;

impl Work<'_> {
    pub(super) async fn failed(&mut self, fact: &Fact, failed: &ScanFailed) -> Result<(), StoreError> {
        let repository = self.repository(&failed.registry, &failed.repository).await?;
        let digest = failed.digest.as_ref().map_or("", |d| d.as_str());
        let tag = failed.tag.as_deref().unwrap_or("");
        if self.is_late(repository, failed).await? {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO failures (repo, tag, digest, stage, code, detail, at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repo, tag, digest, code) DO UPDATE SET stage = excluded.stage, detail = excluded.detail, at = excluded.at WHERE excluded.at > failures.at",
        )
        .bind(repository)
        .bind(tag)
        .bind(digest)
        .bind(&failed.stage)
        .bind(&failed.code)
        .bind(&failed.detail)
        .bind(fact.at.0)
        .execute(&mut *self.connection)
        .await?;
        let name = format!("{}/{}", failed.registry, failed.repository);
        let what = match (&failed.tag, &failed.digest) {
            (Some(tag), _) => format!("{name}:{tag}"),
            (None, Some(digest)) => format!("{name}@sha256:{}", digest.short()),
            (None, None) => name,
        };
        let sentence = format!("{what} could not be scanned: {} in stage {}", failed.code, failed.stage);
        let cause = self.cause_of(fact, "failure", sentence);
        self.touch_repository(repository, cause);
        let containers: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT holder, repo FROM containers WHERE repo = ?1 AND digest IS NULL AND (?2 = '' OR tag = ?2)",
        )
        .bind(repository)
        .bind(tag)
        .fetch_all(&mut *self.connection)
        .await?;
        for (holder, repository) in containers {
            self.touch_container(holder, repository, cause);
        }
        if digest.is_empty() { Ok(()) } else { self.touch_digest(digest, cause).await }
    }

    /// True when what failed has succeeded since: the fact of an earlier attempt came late. A manifest that cannot be read
    /// from one repository stays a failure there, also when another repository gave the image.
    async fn is_late(&mut self, repository: i64, failed: &ScanFailed) -> Result<bool, StoreError> {
        let late: i64 = match (&failed.digest, &failed.tag) {
            (Some(digest), _) if failed.stage == "manifest" => {
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sightings WHERE digest = ? AND repo = ?)")
                    .bind(digest.as_str())
                    .bind(repository)
                    .fetch_one(&mut *self.connection)
                    .await?
            }
            (Some(digest), _) => {
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM images WHERE digest = ?)")
                    .bind(digest.as_str())
                    .fetch_one(&mut *self.connection)
                    .await?
            }
            (None, Some(tag)) => {
                sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM tags t JOIN sightings s ON s.digest = t.digest AND s.repo = t.repo WHERE t.repo = ? AND t.tag = ?)",
                )
                .bind(repository)
                .bind(tag)
                .fetch_one(&mut *self.connection)
                .await?
            }
            (None, None) => 0,
        };
        Ok(late != 0)
    }

    /// The image was inventoried: failures to do so are over, and a later one is told again.
    pub(super) async fn was_scanned(&mut self, digest: &str) -> Result<(), StoreError> {
        let any: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM failures)")
            .fetch_one(&mut *self.connection)
            .await?;
        if any == 0 {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM notices WHERE (holder, code) IN (SELECT h.id, f.code FROM failures f JOIN holders h ON h.repo = f.repo WHERE f.digest = ?1 AND f.stage <> 'manifest' UNION SELECT c.holder, f.code FROM failures f JOIN containers c ON c.digest = f.digest WHERE f.digest = ?1 AND f.stage <> 'manifest')",
        )
        .bind(digest)
        .execute(&mut *self.connection)
        .await?;
        sqlx::query("DELETE FROM failures WHERE digest = ? AND stage <> 'manifest'")
            .bind(digest)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// The manifest was read from this repository.
    pub(super) async fn manifest_was_read(
        &mut self,
        repository: i64,
        digest: &str,
    ) -> Result<(), StoreError> {
        let codes: Vec<String> = sqlx::query_scalar(
            "DELETE FROM failures WHERE repo = ?1 AND stage = 'manifest' AND (digest = ?2 OR (digest = '' AND tag IN (SELECT tag FROM tags WHERE repo = ?1 AND digest = ?2))) RETURNING code",
        )
        .bind(repository)
        .bind(digest)
        .fetch_all(&mut *self.connection)
        .await?;
        for code in codes {
            sqlx::query(
                "DELETE FROM notices WHERE code = ?2 AND holder IN (SELECT id FROM holders WHERE repo = ?1 UNION SELECT holder FROM containers WHERE repo = ?1)",
            )
            .bind(repository)
            .bind(code)
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
