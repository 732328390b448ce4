//! The present state of holders of which only some packages' findings are to be judged: what they hold is what was
//! saved when they were judged whole, so that the costs are those of the packages, not of the images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_model::{Digest, Holder, Platform};
use plimsoll_risk::Deployment;

use super::holders::HolderState;
use crate::apply::{Scope, Touch, Work, list};
use crate::error::{StoreError, decode};
use crate::view::{ImageRow, Snapshot, parse};

impl Work<'_> {
    /// As [`Work::load_holders`], with just the components in scope. Every touch has a scope.
    pub(super) async fn load_scoped(
        &mut self,
        repositories: &BTreeMap<i64, Touch>,
        containers: &BTreeMap<i64, Touch>,
    ) -> Result<(Vec<HolderState>, Snapshot), StoreError> {
        let mut states = Vec::new();
        if !containers.is_empty() {
            self.load_containers(containers, &mut states).await?;
            for state in &mut states {
                state.unresolved = None;
            }
        }
        // Holders that run something out of a repository: what they are affected by is theirs, not the repository's.
        let mut covering: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        if !repositories.is_empty() {
            self.saved_repositories(repositories, &mut states).await?;
            let ids: Vec<i64> = repositories.keys().copied().collect();
            let rows: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT c.repo, c.holder FROM json_each(?) j CROSS JOIN containers c ON c.repo = j.value WHERE c.digest IS NOT NULL",
            )
            .bind(list(&ids)?)
            .fetch_all(&mut *self.connection)
            .await?;
            for (repository, holder) in rows {
                covering.entry(repository).or_default().push(holder);
            }
        }
        let mut wanted: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        let scopes = states.iter().map(|state| (state.id, &state.scope));
        let of_others = covering.iter().flat_map(|(repository, holders)| {
            let scope = repositories.get(repository).map(|touch| &touch.scope);
            holders.iter().filter_map(move |holder| Some((*holder, scope?)))
        });
        for (holder, scope) in scopes.chain(of_others) {
            let names: &Scope = scope;
            wanted.entry(holder).or_default().extend(names.iter().flat_map(|n| n.iter().map(String::as_str)));
        }
        let held = self.held_components(&wanted).await?;
        let snapshot = self.snapshot_of(&held).await?;
        let digests: HashMap<i64, &Digest> =
            snapshot.images.iter().map(|(digest, row)| (row.id, digest)).collect();
        let images_of = |holder: i64| {
            held.get(&holder).into_iter().flatten().filter_map(|(image, _)| digests.get(image).copied())
        };
        for state in &mut states {
            state.images = images_of(state.id).cloned().collect();
            let (Holder::Repository { platform, .. }, Some(repository)) = (&state.holder, state.repository)
            else {
                continue;
            };
            for holder in covering.get(&repository).into_iter().flatten() {
                for image in images_of(*holder) {
                    if snapshot.images.get(image).is_some_and(|row| row.platform == *platform) {
                        state.covered.extend(snapshot.affected(image));
                    }
                }
            }
        }
        Ok((states, snapshot))
    }

    /// The holders of repositories, as saved.
    async fn saved_repositories(
        &mut self,
        repositories: &BTreeMap<i64, Touch>,
        states: &mut Vec<HolderState>,
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = repositories.keys().copied().collect();
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT h.id, h.repo, h.key FROM json_each(?) j CROSS JOIN holders h ON h.repo = j.value ORDER BY h.id",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (id, repository, key) in rows {
            let holder: Holder = decode("holders", &key)?;
            let place = match &holder {
                Holder::Repository { registry, repository, .. } => Some(format!("{registry}/{repository}")),
                Holder::Workload { .. } => None,
            };
            let touch = repositories.get(&repository).cloned().unwrap_or_default();
            states.push(HolderState {
                id,
                holder,
                repository: Some(repository),
                cause: touch.cause,
                scope: touch.scope,
                exposure: None,
                deployment: Deployment::Repository,
                digests: Vec::new(),
                images: Vec::new(),
                covered: BTreeSet::new(),
                place,
                unresolved: None,
            });
        }
        Ok(())
    }

    /// By holder: its images, and in each the matched components of the wanted names.
    async fn held_components(
        &mut self,
        wanted: &BTreeMap<i64, BTreeSet<&str>>,
    ) -> Result<HashMap<i64, BTreeMap<i64, Vec<i64>>>, StoreError> {
        let wanted: Vec<(i64, &BTreeSet<&str>)> = wanted.iter().map(|(id, names)| (*id, names)).collect();
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT h.holder, h.image, c.id FROM json_each(?) j CROSS JOIN json_each(j.value, '$[1]') n CROSS JOIN components c ON c.name = n.value AND c.matches IS NOT NULL CROSS JOIN held h ON h.holder = j.value->>0 CROSS JOIN image_components ic ON ic.component = c.id AND ic.image = h.image",
        )
        .bind(list(&wanted)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut held: HashMap<i64, BTreeMap<i64, Vec<i64>>> = HashMap::new();
        for (holder, image, component) in rows {
            held.entry(holder).or_default().entry(image).or_default().push(component);
        }
        Ok(held)
    }

    async fn snapshot_of(
        &mut self,
        held: &HashMap<i64, BTreeMap<i64, Vec<i64>>>,
    ) -> Result<Snapshot, StoreError> {
        let mut components: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for (image, ids) in held.values().flatten() {
            components.entry(*image).or_default().extend(ids);
        }
        let ids: Vec<i64> = components.keys().copied().collect();
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT i.id, i.digest, i.platform FROM json_each(?) j CROSS JOIN images i ON i.id = j.value",
        )
        .bind(list(&ids)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut platforms: HashMap<String, Platform> = HashMap::new();
        let mut images = HashMap::with_capacity(rows.len());
        for (id, digest, text) in rows {
            let platform = match platforms.get(&text) {
                Some(platform) => platform.clone(),
                None => platforms.entry(text.clone()).or_insert(decode("images", &text)?).clone(),
            };
            let of_image = components.remove(&id).into_iter().flatten().collect();
            images.insert(parse(&digest)?, ImageRow { id, platform, components: of_image, db_seq: 0 });
        }
        Snapshot::of_images(self.connection, images, &mut self.cache.rows).await
    }
}
