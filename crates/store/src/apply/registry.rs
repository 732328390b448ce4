//! Tags, and deletions.

use std::collections::HashSet;

use plimsoll_model::Fact;
use plimsoll_model::fact::ImageDeleted;

use super::{Work, list};
use crate::error::{StoreError, signed};

/// What was said of a tag: repository, tag (or `@digest` for a manifest without one), digest unless it was deleted, sequence.
pub(super) type Said<'f> = (i64, String, Option<&'f str>, i64);

impl Work<'_> {
    pub(super) async fn deleted(&mut self, fact: &Fact, deleted: &ImageDeleted) -> Result<(), StoreError> {
        let repository = self.repository(&deleted.registry, &deleted.repository).await?;
        let name = format!("{}/{}", deleted.registry, deleted.repository);
        let mut changed = false;
        let mut what = name.clone();
        if let Some(tag) = &deleted.tag {
            let said = self.set_tags(&[(repository, tag.clone(), None, signed(deleted.seq))]).await?;
            changed |= said.contains(&true);
            what = format!("{name}:{tag}");
        }
        if let Some(digest) = &deleted.digest {
            let done = sqlx::query(
                "INSERT INTO deleted (repo, digest, seq) VALUES (?, ?, ?) ON CONFLICT (repo, digest) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > deleted.seq",
            )
            .bind(repository)
            .bind(digest.as_str())
            .bind(signed(deleted.seq))
            .execute(&mut *self.connection)
            .await?;
            changed |= done.rows_affected() > 0;
            what = format!("{name}@sha256:{}", digest.short());
        }
        if changed {
            let cause = self.cause_of(fact, "delete", format!("{what} was deleted"));
            self.touch_repository(repository, cause);
        }
        Ok(())
    }

    /// What was said of tags, each once: true for what is news. What was said before is kept until the new content is known: a
    /// tag that moves to an image nobody has scanned yet fixes nothing.
    pub(super) async fn set_tags(&mut self, said: &[Said<'_>]) -> Result<Vec<bool>, StoreError> {
        let rows = list(said)?;
        let named = |said: &&Said<'_>| !said.1.starts_with('@');
        if said.iter().any(|said| named(&said)) {
            let moved: Vec<(i64, String)> = sqlx::query_as(
                "INSERT INTO earlier (repo, tag, seq, digest) SELECT t.repo, t.tag, t.seq, t.digest FROM json_each(?) j CROSS JOIN tags t ON t.repo = j.value->>0 AND t.tag = j.value->>1 WHERE t.bare = 0 AND t.seq < j.value->>3 AND t.digest IS NOT j.value->>2 ON CONFLICT DO NOTHING RETURNING repo, tag",
            )
            .bind(&rows)
            .fetch_all(&mut *self.connection)
            .await?;
            if !moved.is_empty() {
                // What images were built on may be what the tag pointed at.
                sqlx::query(
                    "INSERT INTO moved (digest, repo, tag) SELECT t.digest, t.repo, t.tag FROM json_each(?) j CROSS JOIN tags t ON t.repo = j.value->>0 AND t.tag = j.value->>1 WHERE t.digest IS NOT NULL ON CONFLICT DO NOTHING",
                )
                .bind(list(&moved)?)
                .execute(&mut *self.connection)
                .await?;
            }
        }
        let changed: Vec<(i64, String)> = sqlx::query_as(
            "INSERT INTO tags (repo, tag, bare, digest, seq) SELECT value->>0, value->>1, substr(value->>1, 1, 1) = '@', value->>2, value->>3 FROM json_each(?) WHERE true ON CONFLICT (repo, tag) DO UPDATE SET digest = excluded.digest, seq = excluded.seq WHERE excluded.seq > tags.seq RETURNING repo, tag",
        )
        .bind(&rows)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut news: HashSet<(i64, String)> = changed.into_iter().collect();
        let is_new =
            |news: &HashSet<(i64, String)>, said: &Said<'_>| news.contains(&(said.0, said.1.clone()));
        // The others come late, and are what the tag stands for if nothing newer is known.
        let late: Vec<&Said<'_>> = said.iter().filter(named).filter(|said| !is_new(&news, said)).collect();
        if !late.is_empty() {
            let kept: Vec<(i64, String)> = sqlx::query_as(
                "INSERT INTO earlier (repo, tag, seq, digest) SELECT t.repo, t.tag, j.value->>3, j.value->>2 FROM json_each(?) j CROSS JOIN tags t ON t.repo = j.value->>0 AND t.tag = j.value->>1 WHERE t.seq > j.value->>3 AND t.digest IS NOT j.value->>2 ON CONFLICT DO NOTHING RETURNING repo, tag",
            )
            .bind(list(&late)?)
            .fetch_all(&mut *self.connection)
            .await?;
            if !kept.is_empty() {
                let kept: HashSet<&(i64, String)> = kept.iter().collect();
                let moved: Vec<&&Said<'_>> =
                    late.iter().filter(|said| kept.contains(&(said.0, said.1.clone()))).collect();
                sqlx::query(
                    "INSERT INTO moved (digest, repo, tag) SELECT value->>2, value->>0, value->>1 FROM json_each(?) WHERE value->>2 IS NOT NULL ON CONFLICT DO NOTHING",
                )
                .bind(list(&moved)?)
                .execute(&mut *self.connection)
                .await?;
            }
            news.extend(kept);
        }
        Ok(said.iter().map(|said| is_new(&news, said)).collect())
    }
}
