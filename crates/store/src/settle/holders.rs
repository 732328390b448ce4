//! The present state of touched holders.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_model::exposure::Exposure;
use plimsoll_model::fact::WorkloadFact;
use plimsoll_model::{Digest, Holder, PackageKey, Platform, Timestamp};
use plimsoll_risk::Deployment;

use crate::apply::{Scope, Touch, Work, list};
use crate::error::{StoreError, decode, encode};
use crate::rows::from_row;
use crate::view::{CurrentDigests, Snapshot, current_digests, parse};

/// What a holder is and has now.
pub(crate) struct HolderState {
    pub(crate) id: i64,
    pub(crate) holder: Holder,
    /// The repository, or that of what the container runs (or ran, when it is gone).
    pub(crate) repository: Option<i64>,
    pub(crate) cause: usize,
    /// What is to be judged.
    pub(crate) scope: Scope,
    pub(crate) exposure: Option<Exposure>,
    pub(crate) deployment: Deployment,
    /// The digests that are behind the images: current ones, or the one that runs.
    pub(crate) digests: Vec<Digest>,
    /// Inventoried images.
    pub(crate) images: Vec<Digest>,
    pub(crate) covered: BTreeSet<(String, PackageKey)>,
    /// `registry/repository` of the images, where known.
    pub(crate) place: Option<String>,
    /// Code and reference of a container whose image could not be resolved.
    pub(crate) unresolved: Option<(String, String)>,
}

struct ContainerRow {
    id: i64,
    key: String,
    digest: Option<String>,
    repo: Option<i64>,
    code: Option<String>,
    image: Option<String>,
    body: Option<String>,
    as_of: Option<i64>,
    place: Option<String>,
}

from_row!(ContainerRow { id, key, digest, repo, code, image, body, as_of, place });

impl Work<'_> {
    pub(super) async fn load_holders(
        &mut self,
        repositories: &BTreeMap<i64, Touch>,
        containers: &BTreeMap<i64, Touch>,
    ) -> Result<(Vec<HolderState>, Snapshot), StoreError> {
        let mut states = Vec::new();
        if !containers.is_empty() {
            self.load_containers(containers, &mut states).await?;
        }
        let ids: Vec<i64> = repositories.keys().copied().collect();
        let current = current_digests(self.connection, &ids, &self.settings.tracking).await?;
        let covering = self.covering(repositories).await?;
        let digests: BTreeSet<Digest> = states
            .iter()
            .flat_map(|s| s.digests.iter().cloned())
            .chain(current.values().flat_map(|c| c.digests.iter().chain(&c.waiting)).cloned())
            .chain(covering.values().flatten().cloned())
            .collect();
        let snapshot = Snapshot::load(self.connection, digests, &mut self.cache.rows).await?;
        for state in &mut states {
            for digest in &state.digests {
                for (_, image) in snapshot.images_behind(digest) {
                    if snapshot.images.contains_key(&image) {
                        state.images.push(image);
                    }
                }
            }
        }
        if !repositories.is_empty() {
            self.repository_holders(repositories, &current, &covering, &snapshot, &mut states).await?;
        }
        Ok((states, snapshot))
    }

    pub(super) async fn load_containers(
        &mut self,
        containers: &BTreeMap<i64, Touch>,
        states: &mut Vec<HolderState>,
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = containers.keys().copied().collect();
        let rows: Vec<ContainerRow> = sqlx::query_as(
            "SELECT h.id, h.key, c.digest, c.repo, c.code, c.image, w.body, cl.as_of, r.registry || '/' || r.repository AS place FROM json_each(?) j CROSS JOIN holders h ON h.id = j.value LEFT JOIN containers c ON c.holder = h.id LEFT JOIN workloads w ON w.id = c.workload AND w.live = 1 LEFT JOIN clusters cl ON cl.name = c.cluster LEFT JOIN repositories r ON r.id = c.repo ORDER BY h.id",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for row in rows {
            let workload: Option<WorkloadFact> =
                row.body.as_deref().map(|body| decode("workloads", body)).transpose()?;
            let (privileged, replicas) = workload.as_ref().map_or((false, 1), |w| (w.privileged, w.replicas));
            let exposure = workload.map(|w| {
                // The whole cluster was looked at then, also where nothing changed.
                let as_of = w.exposure.as_of.max(Timestamp(row.as_of.unwrap_or(i64::MIN)));
                Exposure { as_of, ..w.exposure }
            });
            let code = row.code.filter(|code| !code.is_empty());
            let touch = containers.get(&row.id).cloned().unwrap_or_default();
            states.push(HolderState {
                id: row.id,
                holder: decode("holders", &row.key)?,
                repository: row.repo.or_else(|| self.departed.get(&row.id).copied()),
                cause: touch.cause,
                scope: touch.scope,
                exposure,
                deployment: Deployment::Workload { privileged, replicas },
                digests: row.digest.as_deref().map(parse).transpose()?.into_iter().collect(),
                images: Vec::new(),
                covered: BTreeSet::new(),
                place: row.place,
                unresolved: code.zip(row.image),
            });
        }
        Ok(())
    }

    /// What workloads run out of these repositories.
    async fn covering(
        &mut self,
        repositories: &BTreeMap<i64, Touch>,
    ) -> Result<BTreeMap<i64, BTreeSet<Digest>>, StoreError> {
        let mut covering: BTreeMap<i64, BTreeSet<Digest>> = BTreeMap::new();
        let ids: Vec<i64> = repositories.keys().copied().collect();
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT DISTINCT c.repo, c.digest FROM json_each(?) j CROSS JOIN containers c ON c.repo = j.value WHERE c.digest IS NOT NULL",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (repository, digest) in rows {
            covering.entry(repository).or_default().insert(parse(&digest)?);
        }
        Ok(covering)
    }

    async fn repository_holders(
        &mut self,
        repositories: &BTreeMap<i64, Touch>,
        current: &BTreeMap<i64, CurrentDigests>,
        covering: &BTreeMap<i64, BTreeSet<Digest>>,
        snapshot: &Snapshot,
        states: &mut Vec<HolderState>,
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = repositories.keys().copied().collect();
        let names: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT r.id, r.registry, r.repository FROM json_each(?) j CROSS JOIN repositories r ON r.id = j.value",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let known: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT h.repo, h.id, h.key FROM json_each(?) j CROSS JOIN holders h ON h.repo = j.value",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut holders: BTreeMap<i64, BTreeSet<Platform>> = BTreeMap::new();
        for (repository, id, key) in known {
            let holder: Holder = decode("holders", &key)?;
            if let Holder::Repository { platform, .. } = &holder {
                holders.entry(repository).or_default().insert(platform.clone());
            }
            self.cache.holders.insert(holder, id);
        }
        let from = states.len();
        for (repository, registry, name) in names {
            let mut by_platform: BTreeMap<Platform, (BTreeSet<Digest>, BTreeSet<Digest>)> = BTreeMap::new();
            for digest in current.get(&repository).into_iter().flat_map(|c| &c.digests) {
                for (platform, image) in snapshot.images_behind(digest) {
                    let (digests, images) = by_platform.entry(platform).or_default();
                    digests.insert(digest.clone());
                    digests.insert(image.clone());
                    if snapshot.images.contains_key(&image) {
                        images.insert(image);
                    }
                }
            }
            for digest in current.get(&repository).into_iter().flat_map(|c| &c.waiting) {
                for (platform, image) in snapshot.images_behind(digest) {
                    by_platform.entry(platform).or_default().0.extend([digest.clone(), image]);
                }
            }
            // A platform that is gone has nothing: its findings end.
            for platform in holders.remove(&repository).unwrap_or_default() {
                by_platform.entry(platform).or_default();
            }
            let mut covered: HashMap<Platform, BTreeSet<(String, PackageKey)>> = HashMap::new();
            for digest in covering.get(&repository).into_iter().flatten() {
                for (platform, image) in snapshot.images_behind(digest) {
                    covered.entry(platform).or_default().extend(snapshot.affected(&image));
                }
            }
            let touch = repositories.get(&repository).cloned().unwrap_or_default();
            for (platform, (digests, images)) in by_platform {
                let covered = covered.get(&platform).cloned().unwrap_or_default();
                let holder =
                    Holder::Repository { registry: registry.clone(), repository: name.clone(), platform };
                states.push(HolderState {
                    // Given below, for all of them.
                    id: 0,
                    holder,
                    repository: Some(repository),
                    cause: touch.cause,
                    scope: touch.scope.clone(),
                    exposure: None,
                    deployment: Deployment::Repository,
                    digests: digests.into_iter().collect(),
                    images: images.into_iter().collect(),
                    covered,
                    place: Some(format!("{registry}/{name}")),
                    unresolved: None,
                });
            }
        }
        let new = states.get_mut(from..).unwrap_or_default();
        self.insert_holders(new).await?;
        for state in new {
            state.id = self.holder(&state.holder).await?;
        }
        Ok(())
    }

    /// Puts those holders of repositories into store and cache that are not known yet.
    async fn insert_holders(&mut self, states: &[HolderState]) -> Result<(), StoreError> {
        let mut new: BTreeMap<String, &Holder> = BTreeMap::new();
        let mut rows = Vec::new();
        for state in states.iter().filter(|state| !self.cache.holders.contains_key(&state.holder)) {
            let Holder::Repository { registry, repository, .. } = &state.holder else { continue };
            let key = encode("holders", &state.holder)?;
            rows.push((key.clone(), state.repository, registry, repository));
            new.insert(key, &state.holder);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let added: Vec<(i64, String)> = sqlx::query_as(
            "INSERT INTO holders (key, repo, registry, repository) SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING id, key",
        )
        .bind(list(&rows)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (id, key) in added {
            if let Some(holder) = new.get(&key) {
                self.cache.holders.insert((*holder).clone(), id);
            }
        }
        Ok(())
    }
}
