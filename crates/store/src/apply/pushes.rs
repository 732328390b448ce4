//! Pushes, manifests and inventories of one transaction, together: a statement for all of them rather than several for
//! each.
//!
//! What they say commutes, so that rows are written kind by kind. Holders are touched in the order of the facts, so that each is
//! judged with the last of its causes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use plimsoll_inventory::base::chain;
use plimsoll_model::digest::push_hex;
use plimsoll_model::fact::{ImageFact, ImagePushed, ManifestFact, ManifestKind};
use plimsoll_model::{Fact, FactBody};

use super::components::{SetOf, Written, releases};
use super::registry::Said;
use super::{Work, list};
use crate::error::{StoreError, encode, signed};

/// What a fact touches.
enum Touched<'f> {
    Repository(i64),
    Digest(&'f str),
    Components(Vec<i64>),
}

impl Work<'_> {
    /// Applies facts that are pushes, manifests or inventories.
    pub(super) async fn pushes(&mut self, facts: &[&Fact]) -> Result<(), StoreError> {
        let mut places: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut pushed: Vec<(usize, &ImagePushed)> = Vec::new();
        let mut manifests: Vec<(usize, &ManifestFact)> = Vec::new();
        let mut images: Vec<(usize, &Fact, &ImageFact)> = Vec::new();
        let mut causes = Vec::with_capacity(facts.len());
        for (place, fact) in facts.iter().enumerate() {
            let what = match &fact.body {
                FactBody::ImagePushed(one) => {
                    places.insert((&one.registry, &one.repository));
                    pushed.push((place, one));
                    let name = format!("{}/{}", one.registry, one.repository);
                    match &one.tag {
                        Some(tag) => format!("{name}:{tag} was pushed"),
                        None => format!("{name}@sha256:{} was pushed", one.digest.short()),
                    }
                }
                FactBody::Manifest(one) => {
                    places.insert((&one.registry, &one.repository));
                    manifests.push((place, one));
                    let (name, short) = (&one.repository, one.digest.short());
                    format!("the manifest {}/{name}@sha256:{short} was read", one.registry)
                }
                FactBody::Image(one) => {
                    images.push((place, fact, one));
                    format!("image sha256:{} ({}) was inventoried", one.digest.short(), one.platform)
                }
                _ => continue,
            };
            causes.push((place, self.cause_of(fact, "push", what)));
        }
        self.load_repositories(&places).await?;
        let any: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM failures)")
            .fetch_one(&mut *self.connection)
            .await?;
        let failures = any != 0;
        let mut touched: BTreeMap<usize, Vec<Touched<'_>>> = BTreeMap::new();
        self.push_tags(&pushed, &mut touched).await?;
        self.read_manifests(&manifests, failures, &mut touched).await?;
        let causes: HashMap<usize, usize> = causes.into_iter().collect();
        self.inventories(&images, &causes, failures, &mut touched).await?;
        self.touch_all(touched, &causes).await
    }

    async fn touch_all(
        &mut self,
        touched: BTreeMap<usize, Vec<Touched<'_>>>,
        causes: &HashMap<usize, usize>,
    ) -> Result<(), StoreError> {
        let digests: BTreeSet<&str> = touched
            .values()
            .flatten()
            .filter_map(|one| match one {
                Touched::Digest(digest) => Some(*digest),
                _ => None,
            })
            .collect();
        let behind = self.behind_digests(&digests.into_iter().collect::<Vec<_>>()).await?;
        for (place, things) in touched {
            let Some(cause) = causes.get(&place).copied() else { continue };
            for thing in things {
                match thing {
                    Touched::Repository(repository) => self.touch_repository(repository, cause),
                    Touched::Components(changed) => self.touch_components(&changed, cause),
                    Touched::Digest(digest) => {
                        for (repository, container) in behind.get(digest).into_iter().flatten() {
                            self.touch_place(*repository, *container, cause);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn push_tags(
        &mut self,
        pushed: &[(usize, &ImagePushed)],
        touched: &mut BTreeMap<usize, Vec<Touched<'_>>>,
    ) -> Result<(), StoreError> {
        // Of one tag one statement at a time: each is compared with what the one before left.
        let mut left: Vec<(usize, Said<'_>)> = Vec::with_capacity(pushed.len());
        for (place, one) in pushed {
            let repository = self.repository(&one.registry, &one.repository).await?;
            let tag = one.tag.clone().unwrap_or_else(|| format!("@{}", one.digest));
            left.push((*place, (repository, tag, Some(one.digest.as_str()), signed(one.seq))));
        }
        while !left.is_empty() {
            let mut keys: HashSet<(i64, String)> = HashSet::new();
            let (now, rest): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(_, said)| keys.insert((said.0, said.1.clone())));
            left = rest;
            let (places, said): (Vec<usize>, Vec<Said<'_>>) = now.into_iter().unzip();
            let news = self.set_tags(&said).await?;
            for ((place, said), _) in places.into_iter().zip(&said).zip(news).filter(|(_, news)| *news) {
                touched.entry(place).or_default().push(Touched::Repository(said.0));
            }
        }
        Ok(())
    }

    async fn read_manifests<'f>(
        &mut self,
        manifests: &[(usize, &'f ManifestFact)],
        failures: bool,
        touched: &mut BTreeMap<usize, Vec<Touched<'f>>>,
    ) -> Result<(), StoreError> {
        if manifests.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<(&str, i64, String)> = Vec::with_capacity(manifests.len());
        for (_, one) in manifests {
            let repository = self.repository(&one.registry, &one.repository).await?;
            rows.push((one.digest.as_str(), repository, encode("manifests", &one.kind)?));
        }
        let rows_json = list(&rows)?;
        let seen: Vec<(String, i64)> = sqlx::query_as(
            "INSERT INTO sightings (digest, repo) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING digest, repo",
        )
        .bind(&rows_json)
        .fetch_all(&mut *self.connection)
        .await?;
        let read: Vec<String> = sqlx::query_scalar(
            "INSERT INTO manifests (digest, kind) SELECT value->>0, value->>2 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING digest",
        )
        .bind(&rows_json)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut seen: HashSet<(String, i64)> = seen.into_iter().collect();
        let mut read: HashSet<String> = read.into_iter().collect();
        let mut parents: Vec<(&str, &str)> = Vec::new();
        for ((place, one), (digest, repository, _)) in manifests.iter().zip(&rows) {
            let first = read.remove(*digest);
            if !seen.remove(&((*digest).to_owned(), *repository)) && !first {
                continue;
            }
            let things = touched.entry(*place).or_default();
            if let ManifestKind::Index { children } = &one.kind {
                let children = children.iter().map(|(_, child)| child.as_str());
                if first {
                    parents.extend(children.clone().map(|child| (child, *digest)));
                }
                // Statements may name what is held by another digest through this index.
                if self.statements.needs_digests() {
                    things.extend(children.map(Touched::Digest));
                }
            }
            things.push(Touched::Digest(one.digest.as_str()));
            if failures {
                self.manifest_was_read(*repository, digest).await?;
            }
        }
        if !parents.is_empty() {
            sqlx::query(
                "INSERT INTO parents (child, parent) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(list(&parents)?)
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }

    async fn inventories<'f>(
        &mut self,
        images: &[(usize, &'f Fact, &'f ImageFact)],
        causes: &HashMap<usize, usize>,
        failures: bool,
        touched: &mut BTreeMap<usize, Vec<Touched<'f>>>,
    ) -> Result<(), StoreError> {
        if images.is_empty() {
            return Ok(());
        }
        let sets: Vec<SetOf<'_>> = images
            .iter()
            .map(|(place, _, image)| SetOf {
                components: &image.components,
                matches: &image.matches,
                cause: causes.get(place).copied().unwrap_or_default(),
            })
            .collect();
        let written = self.store_matches(&sets).await?;
        let new = self.insert_images(images, &written).await?;
        for ((place, fact, image), stored) in images.iter().zip(written) {
            let digest = image.digest.as_str();
            let other = if new.get(digest) == Some(place) {
                if failures {
                    self.was_scanned(digest).await?;
                }
                true
            } else {
                self.renew_image(fact, image, &stored).await?
            };
            let things = touched.entry(*place).or_default();
            things.push(Touched::Components(stored.changed));
            if other || stored.added {
                things.push(Touched::Digest(digest));
            }
        }
        Ok(())
    }

    /// Inserts the images that are not known yet. By digest: the place of the fact that its row is from.
    async fn insert_images<'f>(
        &mut self,
        images: &[(usize, &'f Fact, &'f ImageFact)],
        written: &[Written],
    ) -> Result<HashMap<&'f str, usize>, StoreError> {
        let mut rows = Vec::with_capacity(images.len());
        let mut first: HashMap<&str, (usize, &ImageFact, &Written)> = HashMap::with_capacity(images.len());
        for ((place, fact, image), stored) in images.iter().zip(written) {
            let digest = image.digest.as_str();
            if first.contains_key(digest) {
                continue;
            }
            first.insert(digest, (*place, image, stored));
            rows.push((
                digest,
                encode("images", &image.platform)?,
                list(&image.layers)?,
                &image.sbom,
                list(&stored.ids)?,
                signed(image.matches.db_seq),
                list(&image.partial)?,
                list(&image.matches.uncovered)?,
                fact.at.0,
                &fact.id,
                chain(&image.layers),
                stored.introduced(image).map(|layers| hex(&layers)),
            ));
        }
        let added: Vec<(i64, String)> = sqlx::query_as(
            "INSERT INTO images (digest, platform, layers, sbom, components, db_seq, partial, uncovered, at, fact, chain, introduced) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, value->>9, value->>10, unhex(value->>11) FROM json_each(?) WHERE true ON CONFLICT (digest) DO NOTHING RETURNING id, digest",
        )
        .bind(list(&rows)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut pairs: Vec<(i64, i64)> = Vec::new();
        let mut new = HashMap::with_capacity(added.len());
        let (mut inside, mut of_releases) = (Vec::new(), Vec::new());
        for (id, digest) in added {
            let Some((digest, (place, image, stored))) = first.get_key_value(digest.as_str()) else {
                continue;
            };
            pairs.extend(stored.ids.iter().map(|component| (*component, id)));
            if !image.inside.is_empty() {
                inside.push((id, *image, *stored));
            }
            of_releases.extend(releases(id, image));
            new.insert(*digest, *place);
        }
        self.join_components(pairs).await?;
        self.save_releases(&of_releases).await?;
        for (id, image, stored) in inside {
            self.save_inside(id, image, stored).await?;
        }
        Ok(new)
    }

    /// Puts repositories into the cache, new ones into the store.
    async fn load_repositories(&mut self, places: &BTreeSet<(&str, &str)>) -> Result<(), StoreError> {
        let missing: Vec<&(&str, &str)> = places
            .iter()
            .filter(|(registry, name)| {
                !self.cache.repositories.contains_key(&((*registry).to_owned(), (*name).to_owned()))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = list(&missing)?;
        sqlx::query(
            "INSERT INTO repositories (registry, repository) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(&missing)
        .execute(&mut *self.connection)
        .await?;
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT r.id, r.registry, r.repository FROM json_each(?) j CROSS JOIN repositories r ON r.registry = j.value->>0 AND r.repository = j.value->>1",
        )
        .bind(&missing)
        .fetch_all(&mut *self.connection)
        .await?;
        self.cache.repositories.extend(rows.into_iter().map(|(id, registry, name)| ((registry, name), id)));
        Ok(())
    }
}

/// Bytes as the text that `unhex` reads.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}
