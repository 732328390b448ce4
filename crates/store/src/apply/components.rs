//! Inventories and matches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use plimsoll_inventory::base::chain;
use plimsoll_model::fact::{ImageFact, MatchFact};
use plimsoll_model::vulnerability::Match;
use plimsoll_model::{ComponentKey, Ecosystem, Fact, MatchSet, Release, Vulnerability};

use super::{Work, list};
use crate::error::{StoreError, decode, encode, signed};
use crate::query::bases::UNKNOWN_LAYER;
use crate::rows::{
    CachedComponent, CachedVulnerability, hash_of, matched_ids, matches_hash, matches_of, matches_text,
};
use crate::view::component_key;

/// What a set of matches changed.
struct Stored {
    /// Ids of all components, sorted.
    ids: Vec<i64>,
    /// Those that were known and whose matches are other than before.
    changed: Vec<i64>,
    /// True when a row is new.
    added: bool,
}

impl Work<'_> {
    pub(super) async fn image(&mut self, fact: &Fact, image: &ImageFact) -> Result<(), StoreError> {
        let platform = &image.platform;
        let what = format!("image sha256:{} ({platform}) was inventoried", image.digest.short());
        let cause = self.cause_of(fact, "push", what);
        let stored = self.store_matches(&image.components, &image.matches, cause).await?;
        let ids = list(&stored.ids)?;
        let known: Option<(i64, String, i64, String, i64)> =
            sqlx::query_as("SELECT id, components, at, fact, db_seq FROM images WHERE digest = ?")
                .bind(image.digest.as_str())
                .fetch_optional(&mut *self.connection)
                .await?;
        let mut touched = known.is_none();
        match known {
            None => {
                let id: i64 = sqlx::query_scalar(
                    "INSERT INTO images (digest, platform, layers, sbom, components, db_seq, partial, uncovered, at, fact, chain, introduced) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                )
                .bind(image.digest.as_str())
                .bind(encode("images", platform)?)
                .bind(list(&image.layers)?)
                .bind(&image.sbom)
                .bind(&ids)
                .bind(signed(image.matches.db_seq))
                .bind(list(&image.partial)?)
                .bind(list(&image.matches.uncovered)?)
                .bind(fact.at.0)
                .bind(&fact.id)
                .bind(chain(&image.layers))
                .bind(self.introduced(image, &stored.ids))
                .fetch_one(&mut *self.connection)
                .await?;
                self.join_components(id, &ids).await?;
                self.save_releases(id, image).await?;
                self.save_inside(id, image).await?;
                self.was_scanned(image.digest.as_str()).await?;
            }
            // The inventory of the later event counts: a newer cataloger may have seen more.
            Some((id, components, at, by, _)) if (fact.at.0, &fact.id) > (at, &by) => {
                sqlx::query(
                    "UPDATE images SET platform = ?, layers = ?, sbom = ?, components = ?, db_seq = MAX(db_seq, ?), partial = ?, uncovered = ?, at = ?, fact = ?, chain = ?, introduced = ? WHERE id = ?",
                )
                .bind(encode("images", platform)?)
                .bind(list(&image.layers)?)
                .bind(&image.sbom)
                .bind(&ids)
                .bind(signed(image.matches.db_seq))
                .bind(list(&image.partial)?)
                .bind(list(&image.matches.uncovered)?)
                .bind(fact.at.0)
                .bind(&fact.id)
                .bind(chain(&image.layers))
                .bind(self.introduced(image, &stored.ids))
                .bind(id)
                .execute(&mut *self.connection)
                .await?;
                self.save_inside(id, image).await?;
                if components != ids {
                    sqlx::query("DELETE FROM image_components WHERE image = ? AND component IN (SELECT value FROM json_each(?))")
                        .bind(id)
                        .bind(&components)
                        .execute(&mut *self.connection)
                        .await?;
                    self.join_components(id, &ids).await?;
                    sqlx::query("DELETE FROM image_releases WHERE image = ?")
                        .bind(id)
                        .execute(&mut *self.connection)
                        .await?;
                    self.save_releases(id, image).await?;
                    touched = true;
                }
            }
            Some((id, _, _, _, db_seq)) if signed(image.matches.db_seq) > db_seq => {
                sqlx::query("UPDATE images SET db_seq = ? WHERE id = ?")
                    .bind(signed(image.matches.db_seq))
                    .bind(id)
                    .execute(&mut *self.connection)
                    .await?;
            }
            Some(_) => {}
        }
        self.touch_components(&stored.changed, cause);
        if touched || stored.added {
            self.touch_digest(image.digest.as_str(), cause).await?;
        }
        Ok(())
    }

    async fn join_components(&mut self, image: i64, components: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO image_components (component, image) SELECT value, ?1 FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(image)
        .bind(components)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// A byte for each of the ids: the newest layer that brought the component in. `None` where the fact does not tell.
    fn introduced(&self, image: &ImageFact, ids: &[i64]) -> Option<Vec<u8>> {
        if image.introduced.len() != image.components.len() || ids.is_empty() {
            return None;
        }
        let layers = image.components.iter().zip(&image.introduced).filter_map(|(key, layer)| {
            Some((self.cache.components.get(&key.id())?.id, u8::try_from(*layer).unwrap_or(UNKNOWN_LAYER)))
        });
        let layers: HashMap<i64, u8> = layers.collect();
        Some(ids.iter().map(|id| layers.get(id).copied().unwrap_or(UNKNOWN_LAYER)).collect())
    }

    /// Keeps the releases of distributions of which an image has packages.
    async fn save_releases(&mut self, id: i64, image: &ImageFact) -> Result<(), StoreError> {
        let releases = image
            .components
            .iter()
            .filter_map(|key| Some((key.package.ecosystem, key.package.release.as_ref()?)));
        let releases: BTreeSet<(Ecosystem, &Release)> = releases.collect();
        let releases: BTreeSet<String> = releases
            .into_iter()
            .map(|(ecosystem, release)| format!("{}:{release}", ecosystem.purl_type()))
            .collect();
        for release in releases {
            sqlx::query("INSERT INTO image_releases (release, image) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(release)
                .bind(id)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }

    /// Keeps what is inside of what in an image.
    async fn save_inside(&mut self, id: i64, image: &ImageFact) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM inside WHERE image = ?").bind(id).execute(&mut *self.connection).await?;
        if image.inside.is_empty() {
            return Ok(());
        }
        let row = |place: u32| {
            let key = image.components.get(usize::try_from(place).ok()?)?;
            self.cache.components.get(&key.id()).map(|known| known.id)
        };
        let pairs: Vec<(i64, i64)> = image
            .inside
            .iter()
            .filter_map(|(component, outer)| Some((row(*component)?, row(*outer)?)))
            .collect();
        sqlx::query(
            "INSERT INTO inside (image, component, outer) SELECT ?1, value->>0, value->>1 FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(list(&pairs)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn matched(&mut self, fact: &Fact, matched: &MatchFact) -> Result<(), StoreError> {
        let what = if matched.reason.is_empty() {
            format!("Db {}", matched.matches.db_seq)
        } else {
            matched.reason.clone()
        };
        let cause = self.cause_of(fact, "advisory", format!("advisories changed: {what}"));
        let stored = self.store_matches(&matched.components, &matched.matches, cause).await?;
        self.touch_components(&stored.changed, cause);
        Ok(())
    }

    /// Touches what has these components, as settled; what is not settled yet is touched already.
    pub(super) fn touch_components(&mut self, components: &[i64], cause: usize) {
        self.pending.components.extend(components.iter().map(|id| (*id, cause)));
    }

    /// Saves components, their matches and the vulnerabilities; only what is as new as what is there.
    async fn store_matches(
        &mut self,
        components: &[ComponentKey],
        set: &MatchSet,
        cause: usize,
    ) -> Result<Stored, StoreError> {
        let db_seq = signed(set.db_seq);
        self.store_vulnerabilities(&set.vulnerabilities, db_seq, cause).await?;
        let mut by_component: HashMap<&ComponentKey, Vec<&Match>> = HashMap::new();
        for matched in &set.matches {
            by_component.entry(&matched.component).or_default().push(matched);
        }
        let keys: BTreeMap<String, &ComponentKey> =
            components.iter().chain(by_component.keys().copied()).map(|key| (key.id(), key)).collect();
        self.load_components(keys.keys()).await?;

        let mut stored = Stored { ids: Vec::with_capacity(keys.len()), changed: Vec::new(), added: false };
        let mut late = Vec::new();
        for (id, key) in &keys {
            let mut matches = by_component.remove(*key).unwrap_or_default();
            let known = self.cache.components.get(id).copied();
            if known.is_some_and(|known| known.db_seq > db_seq) {
                stored.ids.extend(known.map(|k| k.id));
                continue;
            }
            matches.sort();
            let hash = matches_hash(matches.iter().copied());
            if known.is_some_and(|known| known.db_seq == db_seq && known.hash == hash) {
                stored.ids.extend(known.map(|k| k.id));
                late.extend(known.filter(|_| db_seq < self.db_seq).map(|k| (k.id, (*key).clone())));
                continue;
            }
            let text = matches_text(&matches)?;
            let named: BTreeSet<String> = matches.iter().map(|m| m.vulnerability.clone()).collect();
            let row = match known {
                None => {
                    stored.added = true;
                    let row = self.insert_component(id, key, db_seq, text.as_deref()).await?;
                    self.index_matches(row, &named, None).await?;
                    row
                }
                Some(known) => {
                    let old: Option<String> = match known.hash {
                        0 => None,
                        _ => {
                            sqlx::query_scalar("SELECT matches FROM components WHERE id = ?")
                                .bind(known.id)
                                .fetch_one(&mut *self.connection)
                                .await?
                        }
                    };
                    sqlx::query("UPDATE components SET db_seq = ?, matches = ? WHERE id = ?")
                        .bind(db_seq)
                        .bind(text.as_deref())
                        .bind(known.id)
                        .execute(&mut *self.connection)
                        .await?;
                    // Equal matches from a newer Db touch nobody: that would judge the whole fleet again for a number. Findings take
                    // the newer sequence when something else touches them.
                    if known.hash != hash {
                        self.index_matches(known.id, &named, old.as_deref()).await?;
                        stored.changed.push(known.id);
                    }
                    known.id
                }
            };
            stored.ids.push(row);
            self.cache.rows.remove(&row);
            self.cache.components.insert(id.clone(), CachedComponent { id: row, db_seq, hash });
            if db_seq < self.db_seq {
                late.push((row, (*key).clone()));
            }
        }
        stored.ids.sort_unstable();
        self.catch_up(&stored.ids, db_seq, late).await?;
        Ok(stored)
    }

    /// Remembers components that were matched with an older Db than the store's, forgets those that have caught up.
    async fn catch_up(
        &mut self,
        ids: &[i64],
        db_seq: i64,
        late: Vec<(i64, ComponentKey)>,
    ) -> Result<(), StoreError> {
        if self.waiting && db_seq > 0 {
            sqlx::query(
                "DELETE FROM catch_up WHERE need <= ? AND component IN (SELECT value FROM json_each(?))",
            )
            .bind(db_seq)
            .bind(list(ids)?)
            .execute(&mut *self.connection)
            .await?;
        }
        if late.is_empty() {
            return Ok(());
        }
        self.waiting = true;
        let rows: Vec<i64> = late.iter().map(|(id, _)| *id).collect();
        sqlx::query(
            "INSERT INTO catch_up (component, need) SELECT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT (component) DO UPDATE SET need = excluded.need",
        )
        .bind(list(&rows)?)
        .bind(self.db_seq)
        .execute(&mut *self.connection)
        .await?;
        self.outcome.catch_up.extend(late.into_iter().map(|(_, key)| key));
        Ok(())
    }

    async fn load_components(&mut self, keys: impl Iterator<Item = &String>) -> Result<(), StoreError> {
        let missing: Vec<&String> = keys.filter(|key| !self.cache.components.contains_key(*key)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, i64, i64, Option<String>)> = sqlx::query_as(
            "SELECT c.key, c.id, c.db_seq, c.matches FROM json_each(?) j CROSS JOIN components c ON c.key = j.value",
        )
        .bind(list(&missing)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (key, id, db_seq, matches) in rows {
            let hash = match matches {
                Some(text) => matches_hash(matches_of(&component_key(&key)?, &text)?.iter()),
                None => 0,
            };
            self.cache.components.insert(key, CachedComponent { id, db_seq, hash });
        }
        Ok(())
    }

    async fn insert_component(
        &mut self,
        id: &str,
        key: &ComponentKey,
        db_seq: i64,
        matches: Option<&str>,
    ) -> Result<i64, StoreError> {
        let row = sqlx::query_scalar(
            "INSERT INTO components (key, ecosystem, release, name, source, db_seq, matches) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(id)
        .bind(key.package.ecosystem.purl_type())
        .bind(key.package.release.as_ref().map(ToString::to_string).unwrap_or_default())
        .bind(&key.package.name)
        .bind(key.source.as_ref().map_or("", |s| s.name.as_str()))
        .bind(db_seq)
        .bind(matches)
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(row)
    }

    /// Keeps the way from a vulnerability to its components.
    async fn index_matches(
        &mut self,
        component: i64,
        named: &BTreeSet<String>,
        old: Option<&str>,
    ) -> Result<(), StoreError> {
        if let Some(old) = old {
            let gone: Vec<String> = matched_ids(old)?.into_iter().filter(|v| !named.contains(v)).collect();
            if !gone.is_empty() {
                sqlx::query(
                    "DELETE FROM matched WHERE component = ? AND vulnerability IN (SELECT value FROM json_each(?))",
                )
                .bind(component)
                .bind(list(&gone)?)
                .execute(&mut *self.connection)
                .await?;
            }
        }
        if !named.is_empty() {
            let named: Vec<&String> = named.iter().collect();
            sqlx::query(
                "INSERT INTO matched (vulnerability, component) SELECT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(list(&named)?)
            .bind(component)
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }

    async fn store_vulnerabilities(
        &mut self,
        vulnerabilities: &[Vulnerability],
        db_seq: i64,
        cause: usize,
    ) -> Result<(), StoreError> {
        let ids: Vec<&str> = vulnerabilities.iter().map(|v| v.id.as_str()).collect();
        self.load_vulnerabilities(&ids).await?;
        for vulnerability in vulnerabilities {
            let known = self.cache.vulnerabilities.get(&vulnerability.id);
            let differs = match known {
                None => true,
                Some(known) if known.db_seq > db_seq => continue,
                Some(known) => {
                    let differs = *known.value != *vulnerability;
                    if !differs && known.db_seq == db_seq {
                        continue;
                    }
                    differs
                }
            };
            let new = known.is_none();
            let body = encode("vulnerabilities", vulnerability)?;
            let hash = hash_of(&body);
            sqlx::query(
                "INSERT INTO vulnerabilities (id, db_seq, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET db_seq = excluded.db_seq, body = excluded.body",
            )
            .bind(&vulnerability.id)
            .bind(db_seq)
            .bind(body)
            .execute(&mut *self.connection)
            .await?;
            if differs {
                sqlx::query(
                    "INSERT INTO aliases (alias, id) SELECT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING",
                )
                .bind(list(&vulnerability.aliases)?)
                .bind(&vulnerability.id)
                .execute(&mut *self.connection)
                .await?;
            }
            if differs && !new {
                let components: Vec<i64> =
                    sqlx::query_scalar("SELECT component FROM matched WHERE vulnerability = ?")
                        .bind(&vulnerability.id)
                        .fetch_all(&mut *self.connection)
                        .await?;
                self.touch_components(&components, cause);
            }
            let cached = CachedVulnerability { db_seq, hash, value: Arc::new(vulnerability.clone()) };
            self.cache.vulnerabilities.insert(vulnerability.id.clone(), cached);
        }
        Ok(())
    }

    /// Puts these vulnerabilities into the cache, where the store has them.
    pub(crate) async fn load_vulnerabilities(&mut self, ids: &[&str]) -> Result<(), StoreError> {
        let missing: Vec<&&str> =
            ids.iter().filter(|id| !self.cache.vulnerabilities.contains_key(**id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT v.id, v.db_seq, v.body FROM json_each(?) j CROSS JOIN vulnerabilities v ON v.id = j.value",
        )
        .bind(list(&missing)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (id, db_seq, body) in rows {
            let value = Arc::new(decode("vulnerabilities", &body)?);
            let cached = CachedVulnerability { db_seq, hash: hash_of(&body), value };
            self.cache.vulnerabilities.insert(id, cached);
        }
        Ok(())
    }
}
