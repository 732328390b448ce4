//! What holders have: digests -> images -> components -> matches, loaded in a few statements for many holders.
//!
//! Statements that join a list of keys with a table say `CROSS JOIN`, here and elsewhere: SQLite then keeps that order. Left to
//! itself it has put the table outside and read the list once for each of its rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use plimsoll_findings::HeldMatch;
use plimsoll_inventory::{Known, TagState, Tracking, current, images_behind};
use plimsoll_model::fact::ManifestKind;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::{ComponentKey, Digest, PackageKey, Platform};
use sqlx::SqliteConnection;

use crate::apply::list;
use crate::error::{StoreError, decode, signed, unsigned};
use crate::rows::{ComponentRow, ComponentRows, matches_hash, matches_of};

/// An image that was inventoried.
pub(crate) struct ImageRow {
    pub(crate) id: i64,
    pub(crate) platform: Platform,
    pub(crate) components: Vec<i64>,
    /// Sequence of the Db it was matched with first; 0 when there was none.
    pub(crate) db_seq: u64,
}

/// Everything behind some digests.
#[derive(Default)]
pub(crate) struct Snapshot {
    manifests: HashMap<Digest, ManifestKind>,
    pub(crate) images: HashMap<Digest, ImageRow>,
    /// Those with matches.
    pub(crate) components: HashMap<i64, Arc<ComponentRow>>,
}

impl Known for Snapshot {
    fn manifest(&self, digest: &Digest) -> Option<&ManifestKind> {
        self.manifests.get(digest)
    }

    fn image(&self, digest: &Digest) -> Option<&Platform> {
        self.images.get(digest).map(|row| &row.platform)
    }
}

/// Levels of indexes that are loaded; as many as inventory follows.
const MAX_DEPTH: usize = 4;

impl Snapshot {
    pub(crate) async fn load(
        connection: &mut SqliteConnection,
        digests: BTreeSet<Digest>,
        cache: &mut ComponentRows,
    ) -> Result<Self, StoreError> {
        let mut snapshot = Self::default();
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut wanted: Vec<Digest> = digests.into_iter().collect();
        for _ in 0..MAX_DEPTH {
            wanted.retain(|digest| seen.insert(digest.clone()));
            if wanted.is_empty() {
                break;
            }
            let digests = list(&wanted)?;
            let manifests: Vec<(String, String)> = sqlx::query_as(
                "SELECT m.digest, m.kind FROM json_each(?) j CROSS JOIN manifests m ON m.digest = j.value",
            )
            .bind(&digests)
            .fetch_all(&mut *connection)
            .await?;
            let images: Vec<(String, i64, String, String, i64)> = sqlx::query_as(
                "SELECT i.digest, i.id, i.platform, i.components, i.db_seq FROM json_each(?) j CROSS JOIN images i ON i.digest = j.value",
            )
            .bind(&digests)
            .fetch_all(&mut *connection)
            .await?;
            wanted.clear();
            for (digest, kind) in manifests {
                let kind: ManifestKind = decode("manifests", &kind)?;
                if let ManifestKind::Index { children } = &kind {
                    wanted.extend(children.iter().map(|(_, child)| child.clone()));
                }
                snapshot.manifests.insert(parse(&digest)?, kind);
            }
            for (digest, id, platform, components, db_seq) in images {
                let row = ImageRow {
                    id,
                    platform: decode("images", &platform)?,
                    components: decode("images", &components)?,
                    db_seq: unsigned(db_seq),
                };
                snapshot.images.insert(parse(&digest)?, row);
            }
        }
        snapshot.load_components(connection, cache).await?;
        Ok(snapshot)
    }

    /// Images with some of their components: those that matter.
    pub(crate) async fn of_images(
        connection: &mut SqliteConnection,
        images: HashMap<Digest, ImageRow>,
        cache: &mut ComponentRows,
    ) -> Result<Self, StoreError> {
        let mut snapshot = Self { images, ..Self::default() };
        snapshot.load_components(connection, cache).await?;
        Ok(snapshot)
    }

    /// Loads the components of its images, as far as they have matches.
    async fn load_components(
        &mut self,
        connection: &mut SqliteConnection,
        cache: &mut ComponentRows,
    ) -> Result<(), StoreError> {
        let mut components: Vec<i64> =
            self.images.values().flat_map(|image| image.components.iter().copied()).collect();
        components.sort_unstable();
        components.dedup();
        let missing: Vec<i64> = components.iter().filter(|id| !cache.contains_key(id)).copied().collect();
        if !missing.is_empty() {
            cache.extend(missing.iter().map(|id| (*id, None)));
            let rows: Vec<(i64, String, i64, String)> = sqlx::query_as(
                "SELECT c.id, c.key, c.db_seq, c.matches FROM json_each(?) j CROSS JOIN components c ON c.id = j.value WHERE c.matches IS NOT NULL",
            )
            .bind(list(&missing)?)
            .fetch_all(&mut *connection)
            .await?;
            for (id, key, db_seq, matches) in rows {
                let matches = matches_of(&component_key(&key)?, &matches)?;
                let hash = matches_hash(matches.iter());
                cache.insert(id, Some(Arc::new(ComponentRow { db_seq: unsigned(db_seq), hash, matches })));
            }
        }
        for id in components {
            if let Some(Some(row)) = cache.get(&id) {
                self.components.insert(id, row.clone());
            }
        }
        Ok(())
    }

    /// The inventoried images behind a digest with their platforms.
    pub(crate) fn images_behind(&self, digest: &Digest) -> Vec<(Platform, Digest)> {
        images_behind(digest, self)
    }

    /// The matches of an image.
    pub(crate) fn matches<'s>(&'s self, image: &'s Digest) -> impl Iterator<Item = HeldMatch<'s>> {
        let components = self.images.get(image).map_or(&[][..], |row| row.components.as_slice());
        components.iter().filter_map(|id| self.components.get(id)).flat_map(move |component| {
            component.matches.iter().map(move |matched| HeldMatch {
                image,
                matched,
                db_seq: component.db_seq,
            })
        })
    }

    /// What an image is affected by.
    pub(crate) fn affected(&self, image: &Digest) -> impl Iterator<Item = (String, PackageKey)> {
        self.matches(image)
            .filter(|h| h.matched.status != MatchStatus::NotAffected)
            .map(|h| (h.matched.vulnerability.clone(), h.matched.component.package.clone()))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

pub(crate) fn parse(digest: &str) -> Result<Digest, StoreError> {
    digest.parse().map_err(|_| StoreError::Corrupt { table: "digests", what: digest.to_owned() })
}

pub(crate) fn component_key(id: &str) -> Result<ComponentKey, StoreError> {
    ComponentKey::from_id(id).ok_or_else(|| StoreError::Corrupt { table: "components", what: id.to_owned() })
}

/// The last that was said about a tag: repository, tag, digest, sequence, sequence at which the digest was deleted.
type TagRow = (i64, String, Option<String>, i64, Option<i64>);

/// What a repository has now.
#[derive(Default)]
pub(crate) struct CurrentDigests {
    /// Of the tags that count, among those whose manifest was read from there.
    pub(crate) digests: Vec<Digest>,
    /// Of tags as new, whose content is not inventoried (yet): they have no findings, but their scans may have failed.
    pub(crate) waiting: Vec<Digest>,
}

/// Tags that are looked at beyond those that can be current, where some of these do not count.
const FURTHER: usize = 64;

/// The digests that are current in these repositories. A tag stands for the newest content that is known: while its newest is
/// not, for what it pointed at before; and one that never had known content takes no place among the newest, so that
/// nothing is fixed by a push that was not scanned, nor by a signature's tag.
///
/// Only the newest tags are loaded, as many as can be current (all, where none is live): the rule itself is
/// inventory's.
pub(crate) async fn current_digests(
    connection: &mut SqliteConnection,
    repositories: &[i64],
    tracking: &Tracking,
) -> Result<BTreeMap<i64, CurrentDigests>, StoreError> {
    let most = tracking.newest.saturating_add(tracking.always.len());
    let mut said = said(connection, repositories, tracking, most).await?;
    let mut counted = counted(connection, &said).await?;
    let short: Vec<i64> = said
        .iter()
        .filter(|(id, (states, _))| {
            states.len() >= most
                && states
                    .iter()
                    .any(|s| s.digest.as_ref().is_some_and(|d| !counted.contains(&(**id, d.clone()))))
        })
        .map(|(id, _)| *id)
        .collect();
    if !short.is_empty() {
        let further = self::said(connection, &short, tracking, most.saturating_add(FURTHER)).await?;
        counted.extend(self::counted(connection, &further).await?);
        said.extend(further);
    }
    let mut result: BTreeMap<i64, CurrentDigests> = BTreeMap::new();
    let mut waiting: BTreeSet<(i64, Digest)> = BTreeSet::new();
    for (repository, (states, deleted)) in &said {
        let counts = |state: &&TagState| {
            state.digest.as_ref().is_none_or(|digest| counted.contains(&(*repository, digest.clone())))
        };
        let counting: Vec<TagState> = states.iter().filter(counts).cloned().collect();
        // What counts is known, so its manifest was read from there.
        let now = current(&counting, deleted, tracking);
        let as_new =
            current(states, deleted, tracking).into_keys().filter(|digest| !now.contains_key(digest));
        waiting.extend(as_new.map(|digest| (*repository, digest)));
        result.entry(*repository).or_default().digests.extend(now.into_keys());
    }
    if waiting.is_empty() {
        return Ok(result);
    }
    let waiting: Vec<(i64, Digest)> = waiting.into_iter().collect();
    let seen: Vec<(i64, String)> = sqlx::query_as(
        "SELECT s.repo, s.digest FROM json_each(?) j CROSS JOIN sightings s ON s.digest = j.value->>1 AND s.repo = j.value->>0",
    )
    .bind(list(&waiting)?)
    .fetch_all(&mut *connection)
    .await?;
    for (repository, digest) in seen {
        result.entry(repository).or_default().waiting.push(parse(&digest)?);
    }
    Ok(result)
}

/// The newest of what was said of tags, at least `most` of them where there are as many, without what is not known yet.
async fn said(
    connection: &mut SqliteConnection,
    repositories: &[i64],
    tracking: &Tracking,
    most: usize,
) -> Result<Said, StoreError> {
    let rows: Vec<TagRow> = sqlx::query_as(
        "WITH said (repo, tag, digest, seq) AS (
           SELECT t.repo, t.tag, t.digest, t.seq FROM json_each(?1) j CROSS JOIN tags t ON t.repo = j.value AND t.bare = 0 AND t.seq >= COALESCE((SELECT MIN(n.seq) FROM (SELECT x.seq FROM tags x WHERE x.repo = j.value AND x.bare = 0 AND x.digest IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = x.repo AND d.digest = x.digest AND d.seq > x.seq) ORDER BY x.seq DESC LIMIT ?2) n), 0)
           UNION SELECT t.repo, t.tag, t.digest, t.seq FROM json_each(?1) j CROSS JOIN json_each(?3) a CROSS JOIN tags t ON t.repo = j.value AND t.tag = a.value
           UNION SELECT t.repo, t.tag, t.digest, t.seq FROM json_each(?1) j CROSS JOIN tags t ON t.repo = j.value AND t.bare = 1 AND NOT EXISTS (SELECT 1 FROM tags y WHERE y.repo = j.value AND y.bare = 0) AND t.seq >= COALESCE((SELECT MIN(n.seq) FROM (SELECT x.seq FROM tags x WHERE x.repo = j.value AND x.bare = 1 AND NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = x.repo AND d.digest = x.digest AND d.seq > x.seq) ORDER BY x.seq DESC LIMIT ?2) n), 0)
         ) SELECT said.repo, said.tag, said.digest, said.seq, d.seq FROM said LEFT JOIN deleted d ON d.repo = said.repo AND d.digest = said.digest",
    )
    .bind(list(repositories)?)
    .bind(signed(u64::try_from(most).unwrap_or(u64::MAX)))
    .bind(list(&tracking.always)?)
    .fetch_all(&mut *connection)
    .await?;
    let mut said: Said = BTreeMap::new();
    for (repository, tag, digest, seq, gone) in rows {
        let (states, deleted) = said.entry(repository).or_default();
        let digest = digest.as_deref().map(parse).transpose()?;
        if let (Some(digest), Some(gone)) = (&digest, gone) {
            deleted.insert(digest.clone(), unsigned(gone));
        }
        let tag = (!tag.starts_with('@')).then_some(tag);
        states.push(TagState { tag, digest, seq: unsigned(seq) });
    }
    fall_back(connection, repositories, &mut said).await?;
    Ok(said)
}

/// The digests that count: their content is known, and it is an image.
async fn counted(
    connection: &mut SqliteConnection,
    said: &Said,
) -> Result<BTreeSet<(i64, Digest)>, StoreError> {
    let asked: BTreeMap<i64, BTreeSet<Digest>> = said
        .iter()
        .map(|(id, (states, _))| (*id, states.iter().filter_map(|s| s.digest.clone()).collect()))
        .collect();
    let known = known(connection, &asked).await?;
    Ok(known.into_iter().filter(|(_, image)| *image).map(|(place, _)| place).collect())
}

/// What was said of repositories: the newest of each tag, and the sequences at which manifests were deleted.
type Said = BTreeMap<i64, (Vec<TagState>, BTreeMap<Digest, u64>)>;

/// Something that was said about a tag before: repository, tag, digest, sequence, sequence at which the digest was deleted.
type EarlierRow = (i64, String, Option<String>, i64, Option<i64>);

/// Puts what a tag pointed at before in the place of content that is not known yet. Where the newest is known, what came
/// before is forgotten.
async fn fall_back(
    connection: &mut SqliteConnection,
    repositories: &[i64],
    said: &mut Said,
) -> Result<(), StoreError> {
    let rows: Vec<EarlierRow> = sqlx::query_as(
        "SELECT e.repo, e.tag, e.digest, e.seq, d.seq FROM json_each(?) j CROSS JOIN earlier e ON e.repo = j.value LEFT JOIN deleted d ON d.repo = e.repo AND d.digest = e.digest ORDER BY e.seq DESC",
    )
    .bind(list(repositories)?)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    // By repository and tag, the newest first.
    let mut earlier: BTreeMap<(i64, String), Vec<Option<Digest>>> = BTreeMap::new();
    for (repository, tag, digest, seq, gone) in rows {
        // A manifest that was deleted since says as little as a tag that was.
        let digest = digest.filter(|_| gone.is_none_or(|gone| gone < seq));
        let digest = digest.as_deref().map(parse).transpose()?;
        earlier.entry((repository, tag)).or_default().push(digest);
    }
    let mut asked: BTreeMap<i64, BTreeSet<Digest>> = BTreeMap::new();
    for ((repository, _), statements) in &earlier {
        asked.entry(*repository).or_default().extend(statements.iter().flatten().cloned());
    }
    for (repository, (states, _)) in said.iter() {
        let told = states
            .iter()
            .filter(|s| s.tag.as_ref().is_some_and(|t| earlier.contains_key(&(*repository, t.clone()))));
        asked.entry(*repository).or_default().extend(told.filter_map(|s| s.digest.clone()));
    }
    let known = known(connection, &asked).await?;
    let is_known = |repository: i64, digest: &Option<Digest>| {
        digest.as_ref().is_none_or(|digest| known.contains_key(&(repository, digest.clone())))
    };
    let mut over: Vec<(i64, String)> = Vec::new();
    for (repository, (states, _)) in said.iter_mut() {
        for state in states.iter_mut() {
            let Some(tag) = state.tag.clone() else { continue };
            let key = (*repository, tag);
            let Some(statements) = earlier.get(&key) else { continue };
            if is_known(*repository, &state.digest) {
                over.push(key);
                continue;
            }
            // The place among the newest stays that of the push.
            if let Some(digest) = statements.iter().find(|digest| is_known(*repository, digest))
                && digest.is_some()
            {
                state.digest.clone_from(digest);
            }
        }
    }
    if !over.is_empty() {
        sqlx::query(
            "DELETE FROM earlier WHERE (repo, tag) IN (SELECT j.value->>0, j.value->>1 FROM json_each(?) j)",
        )
        .bind(list(&over)?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The digests among these whose content is known in their repository: scanned, or read and found to be no image. Of an
/// index, every child was scanned or failed to be, and not all of them failed. True for what is an image, or several.
async fn known(
    connection: &mut SqliteConnection,
    asked: &BTreeMap<i64, BTreeSet<Digest>>,
) -> Result<BTreeMap<(i64, Digest), bool>, StoreError> {
    let pairs: Vec<(i64, &Digest)> =
        asked.iter().flat_map(|(repository, digests)| digests.iter().map(|d| (*repository, d))).collect();
    let seen: Vec<(i64, String, Option<String>)> = sqlx::query_as(
        "SELECT s.repo, s.digest, m.kind FROM json_each(?) j CROSS JOIN sightings s ON s.digest = j.value->>1 AND s.repo = j.value->>0 LEFT JOIN manifests m ON m.digest = s.digest",
    )
    .bind(list(&pairs)?)
    .fetch_all(&mut *connection)
    .await?;
    let mut kinds = Vec::with_capacity(seen.len());
    let mut images: BTreeSet<Digest> = BTreeSet::new();
    for (repository, digest, kind) in seen {
        let digest = parse(&digest)?;
        let kind: Option<ManifestKind> = kind.as_deref().map(|k| decode("manifests", k)).transpose()?;
        match &kind {
            Some(ManifestKind::Index { children }) => images.extend(children.iter().map(|(_, c)| c.clone())),
            _ => {
                images.insert(digest.clone());
            }
        }
        kinds.push((repository, digest, kind));
    }
    let states: Vec<(String, i64)> = sqlx::query_as(
        "SELECT j.value, CASE WHEN EXISTS (SELECT 1 FROM images i WHERE i.digest = j.value) THEN 2 WHEN EXISTS (SELECT 1 FROM failures f WHERE f.digest = j.value) THEN 1 ELSE 0 END FROM json_each(?) j",
    )
    .bind(list(&images.into_iter().collect::<Vec<_>>())?)
    .fetch_all(&mut *connection)
    .await?;
    let states: HashMap<String, i64> = states.into_iter().collect();
    let state = |digest: &Digest| states.get(digest.as_str()).copied().unwrap_or(0);
    let done = |digest: &Digest, kind: &Option<ManifestKind>| match kind {
        Some(ManifestKind::NotAnImage { .. }) => true,
        Some(ManifestKind::Index { children }) => {
            children.is_empty()
                || children.iter().all(|(_, c)| state(c) > 0) && children.iter().any(|(_, c)| state(c) == 2)
        }
        _ => state(digest) == 2,
    };
    let image = |kind: &Option<ManifestKind>| !matches!(kind, Some(ManifestKind::NotAnImage { .. }));
    Ok(kinds
        .into_iter()
        .filter(|(_, digest, kind)| done(digest, kind))
        .map(|(repository, digest, kind)| ((repository, digest), image(&kind)))
        .collect())
}
