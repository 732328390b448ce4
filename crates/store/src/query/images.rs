//! Images: what was inventoried, what is unmatched, what failed.

use std::collections::HashMap;

use plimsoll_model::extract::Partial;
use plimsoll_model::fact::ManifestKind;
use plimsoll_model::{Digest, Holder, Platform};

use super::bases::BaseImage;
use crate::apply::list;
use crate::error::{StoreError, decode, unsigned};
use crate::reader::Reader;
use crate::view::parse;

/// An image that was inventoried.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    pub digest: Digest,
    pub platform: Platform,
    /// Oldest first.
    pub layers: Vec<Digest>,
    /// Name of the Sbom artifact.
    pub sbom: String,
    /// The oldest Db that any of its components was matched with; 0 means *unmatched*: not clean, not judged yet.
    pub db_seq: u64,
    pub components: u64,
    pub partial: Vec<Partial>,
    /// Ecosystems and releases that no feed covered.
    pub uncovered: Vec<String>,
    /// Who has it now.
    pub holders: Vec<Holder>,
    /// `registry/repository` whose manifest was read, sorted.
    pub repositories: Vec<String>,
    /// Releases of distributions, with their ecosystems (`deb:debian:12`), of which it has packages; sorted.
    pub releases: Vec<String>,
    /// The known image that it is built on.
    pub base: Option<BaseImage>,
    /// Of a single image with a base: how many of its components came with that, with the application, and from a layer
    /// that is not known.
    pub came_with: Option<CameWith>,
}

/// How many components came from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CameWith {
    pub base: u64,
    pub application: u64,
    pub unknown: u64,
}

/// Which images.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    /// Only those with packages of one of these releases (`deb:debian:12`).
    pub releases: Option<Vec<String>>,
}

impl ImageRecord {
    /// True when no Db has judged all of it.
    pub fn is_unmatched(&self) -> bool {
        self.db_seq == 0
    }
}

/// A scan that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFailure {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
    pub stage: String,
    pub code: String,
    pub detail: String,
    pub at: plimsoll_model::Timestamp,
}

type ImageColumns = (i64, String, String, String, String, i64, String, String, i64);
type FailureColumns = (String, String, String, String, String, String, String, i64);

macro_rules! select_images {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.digest, i.platform, i.layers, i.sbom, COALESCE((SELECT MIN(c.db_seq) FROM json_each(i.components) j JOIN components c ON c.id = j.value), MAX(i.db_seq, (SELECT value FROM meta WHERE key = 'db_seq'))), i.partial, i.uncovered, json_array_length(i.components) FROM images i ",
            $rest
        )
    };
}

impl Reader {
    /// A page of images after a digest (`None` at first), sorted by digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn images(
        &self,
        filter: &ImageFilter,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<ImageRecord>, StoreError> {
        let after = after.map_or("", Digest::as_str);
        let rows: Vec<ImageColumns> = match &filter.releases {
            None => {
                sqlx::query_as(select_images!("WHERE i.digest > ? ORDER BY i.digest LIMIT ?"))
                    .bind(after)
                    .bind(limit)
                    .fetch_all(&self.pool)
                    .await?
            }
            Some(releases) => {
                sqlx::query_as(select_images!(
                    "WHERE i.id IN (SELECT x.image FROM json_each(?) j CROSS JOIN image_releases x ON x.release = j.value) AND i.digest > ? ORDER BY i.digest LIMIT ?"
                ))
                .bind(list(releases)?)
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?
            }
        };
        let mut images = HashMap::with_capacity(rows.len());
        for row in &rows {
            images.insert(row.0, decode::<Vec<Digest>>("images", &row.3)?);
        }
        let mut bases = self.named(&self.bases_of(&images).await?).await?;
        let mut images = Vec::with_capacity(rows.len());
        for row in rows {
            let base = bases.remove(&row.0);
            images.push(self.image_of(row, base).await?);
        }
        Ok(images)
    }

    /// Every release of a distribution of which some image has packages, as in [`ImageRecord::releases`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn releases(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query_scalar("SELECT DISTINCT release FROM image_releases ORDER BY release");
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// One image (for an index: ask for its children, see [`Reader::children`]).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn image(&self, digest: &Digest) -> Result<Option<ImageRecord>, StoreError> {
        let row: Option<ImageColumns> = sqlx::query_as(select_images!("WHERE i.digest = ?"))
            .bind(digest.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = row.0;
        let images = HashMap::from([(id, decode::<Vec<Digest>>("images", &row.3)?)]);
        let base = self.named(&self.bases_of(&images).await?).await?.remove(&id);
        let mut image = self.image_of(row, base).await?;
        if let Some(base) = &image.base {
            let mut came_with = CameWith::default();
            for layer in self.introduced(&[id]).await?.remove(&id).unwrap_or_default().into_values() {
                let count = match layer.map(|layer| u32::try_from(layer).is_ok_and(|at| at < base.layers)) {
                    Some(true) => &mut came_with.base,
                    Some(false) => &mut came_with.application,
                    None => &mut came_with.unknown,
                };
                *count += 1;
            }
            image.came_with = Some(came_with);
        }
        Ok(Some(image))
    }

    /// The children of an index; empty for anything else.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn children(&self, digest: &Digest) -> Result<Vec<(Platform, Digest)>, StoreError> {
        let kind: Option<String> = sqlx::query_scalar("SELECT kind FROM manifests WHERE digest = ?")
            .bind(digest.as_str())
            .fetch_optional(&self.pool)
            .await?;
        match kind.as_deref().map(|k| decode("manifests", k)).transpose()? {
            Some(ManifestKind::Index { children }) => Ok(children),
            _ => Ok(Vec::new()),
        }
    }

    /// True when the manifest was read from this repository: only then may its readers see the Sbom.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sighted(
        &self,
        registry: &str,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let seen: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sightings s JOIN repositories r ON r.id = s.repo WHERE s.digest = ? AND r.registry = ? AND r.repository = ?)",
        )
        .bind(digest.as_str())
        .bind(registry)
        .bind(repository)
        .fetch_one(&self.pool)
        .await?;
        Ok(seen != 0)
    }

    /// What a tag points at, as far as pushes and deletions say.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tag(
        &self,
        registry: &str,
        repository: &str,
        tag: &str,
    ) -> Result<Option<Digest>, StoreError> {
        let digest: Option<Option<String>> = sqlx::query_scalar(
            "SELECT t.digest FROM tags t JOIN repositories r ON r.id = t.repo WHERE r.registry = ? AND r.repository = ? AND t.tag = ? AND NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = t.repo AND d.digest = t.digest AND d.seq > t.seq)",
        )
        .bind(registry)
        .bind(repository)
        .bind(tag)
        .fetch_optional(&self.pool)
        .await?;
        digest.flatten().as_deref().map(parse).transpose()
    }

    /// Failures that stand, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn failures(&self, limit: u32) -> Result<Vec<ImageFailure>, StoreError> {
        let rows: Vec<FailureColumns> = sqlx::query_as(
            "SELECT r.registry, r.repository, f.tag, f.digest, f.stage, f.code, f.detail, f.at FROM failures f JOIN repositories r ON r.id = f.repo ORDER BY f.at DESC, f.repo, f.tag, f.digest, f.code LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(registry, repository, tag, digest, stage, code, detail, at)| {
                Ok(ImageFailure {
                    registry,
                    repository,
                    tag: (!tag.is_empty()).then_some(tag),
                    digest: (!digest.is_empty()).then(|| parse(&digest)).transpose()?,
                    stage,
                    code,
                    detail,
                    at: plimsoll_model::Timestamp(at),
                })
            })
            .collect()
    }

    async fn image_of(&self, row: ImageColumns, base: Option<BaseImage>) -> Result<ImageRecord, StoreError> {
        let (id, digest, platform, layers, sbom, db_seq, partial, uncovered, components) = row;
        let holders: Vec<String> = sqlx::query_scalar(
            "SELECT h.key FROM held d JOIN holders h ON h.id = d.holder WHERE d.image = ? ORDER BY h.key",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await?;
        let repositories: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT r.registry || '/' || r.repository FROM sightings s JOIN repositories r ON r.id = s.repo WHERE s.digest = ? ORDER BY 1",
        )
        .bind(&digest)
        .fetch_all(&self.pool)
        .await?;
        let releases: Vec<String> =
            sqlx::query_scalar("SELECT release FROM image_releases WHERE image = ? ORDER BY release")
                .bind(id)
                .fetch_all(&self.pool)
                .await?;
        Ok(ImageRecord {
            digest: parse(&digest)?,
            platform: decode("images", &platform)?,
            layers: decode("images", &layers)?,
            sbom,
            db_seq: unsigned(db_seq),
            components: unsigned(components),
            partial: decode("images", &partial)?,
            uncovered: decode("images", &uncovered)?,
            holders: holders.iter().map(|h| decode("holders", h)).collect::<Result<_, _>>()?,
            repositories,
            releases,
            base,
            came_with: None,
        })
    }
}
