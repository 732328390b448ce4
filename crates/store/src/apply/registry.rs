//! Pushes, deletions, manifests.

use plimsoll_model::Fact;
use plimsoll_model::fact::{ImageDeleted, ImagePushed, ManifestFact, ManifestKind};

use super::Work;
use crate::error::{StoreError, encode, signed};

impl Work<'_> {
    pub(super) async fn pushed(&mut self, fact: &Fact, pushed: &ImagePushed) -> Result<(), StoreError> {
        let repository = self.repository(&pushed.registry, &pushed.repository).await?;
        let tag = pushed.tag.clone().unwrap_or_else(|| format!("@{}", pushed.digest));
        if self.set_tag(repository, &tag, Some(pushed.digest.as_str()), pushed.seq).await? {
            let name = format!("{}/{}", pushed.registry, pushed.repository);
            let what = match &pushed.tag {
                Some(tag) => format!("{name}:{tag} was pushed"),
                None => format!("{name}@sha256:{} was pushed", pushed.digest.short()),
            };
            let cause = self.cause_of(fact, "push", what);
            self.touch_repository(repository, cause);
        }
        Ok(())
    }

    pub(super) async fn deleted(&mut self, fact: &Fact, deleted: &ImageDeleted) -> Result<(), StoreError> {
        let repository = self.repository(&deleted.registry, &deleted.repository).await?;
        let name = format!("{}/{}", deleted.registry, deleted.repository);
        let mut changed = false;
        let mut what = name.clone();
        if let Some(tag) = &deleted.tag {
            changed |= self.set_tag(repository, tag, None, deleted.seq).await?;
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

    /// True when it is news. What was said before is kept until the new content is known: a tag that moves to an
    /// image nobody has scanned yet fixes nothing.
    async fn set_tag(
        &mut self,
        repository: i64,
        tag: &str,
        digest: Option<&str>,
        seq: u64,
    ) -> Result<bool, StoreError> {
        let bare = tag.starts_with('@');
        if !bare {
            let moved = sqlx::query(
                "INSERT INTO earlier (repo, tag, seq, digest) SELECT repo, tag, seq, digest FROM tags WHERE repo = ?1 AND tag = ?2 AND seq < ?3 AND digest IS NOT ?4 ON CONFLICT DO NOTHING",
            )
            .bind(repository)
            .bind(tag)
            .bind(signed(seq))
            .bind(digest)
            .execute(&mut *self.connection)
            .await?;
            if moved.rows_affected() > 0 {
                // What images were built on may be what the tag pointed at.
                sqlx::query(
                    "INSERT INTO moved (digest, repo, tag) SELECT digest, repo, tag FROM tags WHERE repo = ? AND tag = ? AND digest IS NOT NULL ON CONFLICT DO NOTHING",
                )
                .bind(repository)
                .bind(tag)
                .execute(&mut *self.connection)
                .await?;
            }
        }
        let done = sqlx::query(
            "INSERT INTO tags (repo, tag, bare, digest, seq) VALUES (?, ?, ?, ?, ?) ON CONFLICT (repo, tag) DO UPDATE SET digest = excluded.digest, seq = excluded.seq WHERE excluded.seq > tags.seq",
        )
        .bind(repository)
        .bind(tag)
        .bind(i64::from(bare))
        .bind(digest)
        .bind(signed(seq))
        .execute(&mut *self.connection)
        .await?;
        if done.rows_affected() > 0 || bare {
            return Ok(done.rows_affected() > 0);
        }
        // It comes late, and is what the tag stands for if nothing newer is known.
        let late = sqlx::query(
            "INSERT INTO earlier (repo, tag, seq, digest) SELECT repo, tag, ?3, ?4 FROM tags WHERE repo = ?1 AND tag = ?2 AND seq > ?3 AND digest IS NOT ?4 ON CONFLICT DO NOTHING",
        )
        .bind(repository)
        .bind(tag)
        .bind(signed(seq))
        .bind(digest)
        .execute(&mut *self.connection)
        .await?;
        if late.rows_affected() > 0 && digest.is_some() {
            sqlx::query("INSERT INTO moved (digest, repo, tag) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(digest)
                .bind(repository)
                .bind(tag)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(late.rows_affected() > 0)
    }

    pub(super) async fn manifest(&mut self, fact: &Fact, manifest: &ManifestFact) -> Result<(), StoreError> {
        let repository = self.repository(&manifest.registry, &manifest.repository).await?;
        let digest = manifest.digest.as_str();
        let seen = sqlx::query("INSERT INTO sightings (digest, repo) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(digest)
            .bind(repository)
            .execute(&mut *self.connection)
            .await?;
        let read = sqlx::query("INSERT INTO manifests (digest, kind) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(digest)
            .bind(encode("manifests", &manifest.kind)?)
            .execute(&mut *self.connection)
            .await?;
        if read.rows_affected() > 0
            && let ManifestKind::Index { children } = &manifest.kind
        {
            for (_, child) in children {
                sqlx::query("INSERT INTO parents (child, parent) VALUES (?, ?) ON CONFLICT DO NOTHING")
                    .bind(child.as_str())
                    .bind(digest)
                    .execute(&mut *self.connection)
                    .await?;
            }
        }
        if seen.rows_affected() + read.rows_affected() == 0 {
            return Ok(());
        }
        self.manifest_was_read(repository, digest).await?;
        let what = format!(
            "the manifest {}/{}@sha256:{} was read",
            manifest.registry,
            manifest.repository,
            manifest.digest.short()
        );
        let cause = self.cause_of(fact, "push", what);
        if self.statements.needs_digests()
            && let ManifestKind::Index { children } = &manifest.kind
        {
            // Statements may name what is held by another digest through this index.
            for (_, child) in children {
                self.touch_digest(child.as_str(), cause).await?;
            }
        }
        self.touch_digest(digest, cause).await
    }
}
