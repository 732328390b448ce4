//! Inventories and matches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use plimsoll_inventory::base::chain;
use plimsoll_model::fact::ImageFact;
use plimsoll_model::vulnerability::Match;
use plimsoll_model::{ComponentKey, Ecosystem, Fact, FactBody, MatchSet, Release};

use super::{Work, list};
use crate::error::{StoreError, decode, encode, signed};
use crate::query::bases::UNKNOWN_LAYER;
use crate::rows::{
    CachedComponent, CachedVulnerability, hash_of, matched_ids, matches_hash, matches_of, matches_text,
};
use crate::view::component_key;

/// Components with their matches, and the cause of what follows.
pub(super) struct SetOf<'f> {
    pub(super) components: &'f [ComponentKey],
    pub(super) matches: &'f MatchSet,
    pub(super) cause: usize,
}

/// What a set of matches changed.
#[derive(Default)]
pub(super) struct Written {
    /// Ids of all components, sorted.
    pub(super) ids: Vec<i64>,
    /// Ids of the listed components, in the order of the list.
    places: Vec<i64>,
    /// Those that were known and whose matches are other than before.
    pub(super) changed: Vec<i64>,
    /// True when a row is new.
    pub(super) added: bool,
}

impl Written {
    /// A byte for each of the ids: the newest layer that brought the component in. `None` where the fact does not tell.
    pub(super) fn introduced(&self, image: &ImageFact) -> Option<Vec<u8>> {
        if image.introduced.len() != self.places.len() || self.ids.is_empty() {
            return None;
        }
        let layer = |layer: &u32| u8::try_from(*layer).unwrap_or(UNKNOWN_LAYER);
        let layers: HashMap<i64, u8> =
            self.places.iter().copied().zip(image.introduced.iter().map(layer)).collect();
        Some(self.ids.iter().map(|id| layers.get(id).copied().unwrap_or(UNKNOWN_LAYER)).collect())
    }
}

/// The releases of distributions of which an image has packages, each with its id.
pub(super) fn releases(id: i64, image: &ImageFact) -> Vec<(String, i64)> {
    let releases = image
        .components
        .iter()
        .filter_map(|key| Some((key.package.ecosystem, key.package.release.as_ref()?)));
    let releases: BTreeSet<(Ecosystem, &Release)> = releases.collect();
    releases
        .into_iter()
        .map(|(ecosystem, release)| (format!("{}:{release}", ecosystem.purl_type()), id))
        .collect()
}

/// The matches of one set by their components, sorted.
type Grouped<'f> = HashMap<&'f ComponentKey, Vec<&'f Match>>;

/// What a known component becomes.
struct Update {
    db_seq: i64,
    matches: Option<String>,
    named: BTreeSet<String>,
    /// The matches differ from those in the store.
    differs: bool,
    /// There were some.
    had: bool,
}

impl Work<'_> {
    /// An inventory of an image that is known: the later event's counts, because a newer cataloger may have seen more. True when
    /// the components are other ones.
    pub(super) async fn renew_image(
        &mut self,
        fact: &Fact,
        image: &ImageFact,
        stored: &Written,
    ) -> Result<bool, StoreError> {
        let ids = list(&stored.ids)?;
        let known: Option<(i64, String, i64, String, i64)> =
            sqlx::query_as("SELECT id, components, at, fact, db_seq FROM images WHERE digest = ?")
                .bind(image.digest.as_str())
                .fetch_optional(&mut *self.connection)
                .await?;
        match known {
            Some((id, components, at, by, _)) if (fact.at.0, &fact.id) > (at, &by) => {
                sqlx::query(
                    "UPDATE images SET platform = ?, layers = ?, sbom = ?, components = ?, db_seq = MAX(db_seq, ?), partial = ?, uncovered = ?, at = ?, fact = ?, chain = ?, introduced = ? WHERE id = ?",
                )
                .bind(encode("images", &image.platform)?)
                .bind(list(&image.layers)?)
                .bind(&image.sbom)
                .bind(&ids)
                .bind(signed(image.matches.db_seq))
                .bind(list(&image.partial)?)
                .bind(list(&image.matches.uncovered)?)
                .bind(fact.at.0)
                .bind(&fact.id)
                .bind(chain(&image.layers))
                .bind(stored.introduced(image))
                .bind(id)
                .execute(&mut *self.connection)
                .await?;
                sqlx::query("DELETE FROM inside WHERE image = ?")
                    .bind(id)
                    .execute(&mut *self.connection)
                    .await?;
                self.save_inside(id, image, stored).await?;
                if components != ids {
                    sqlx::query("DELETE FROM image_components WHERE image = ? AND component IN (SELECT value FROM json_each(?))")
                        .bind(id)
                        .bind(&components)
                        .execute(&mut *self.connection)
                        .await?;
                    self.join_components(stored.ids.iter().map(|component| (*component, id)).collect())
                        .await?;
                    sqlx::query("DELETE FROM image_releases WHERE image = ?")
                        .bind(id)
                        .execute(&mut *self.connection)
                        .await?;
                    self.save_releases(&releases(id, image)).await?;
                    return Ok(true);
                }
            }
            Some((id, _, _, _, db_seq)) if signed(image.matches.db_seq) > db_seq => {
                sqlx::query("UPDATE images SET db_seq = ? WHERE id = ?")
                    .bind(signed(image.matches.db_seq))
                    .bind(id)
                    .execute(&mut *self.connection)
                    .await?;
            }
            _ => {}
        }
        Ok(false)
    }

    /// Keeps the way from components to images. The order of the pairs is that of the table, so that neighbours are written
    /// together; and each is one number, because reading a pair out of a list costs more than writing it.
    pub(super) async fn join_components(&mut self, mut pairs: Vec<(i64, i64)>) -> Result<(), StoreError> {
        pairs.sort_unstable();
        let pack = |(component, image): (i64, i64)| {
            let (high, low) = (u32::try_from(component).ok()?, u32::try_from(image).ok()?);
            i64::try_from((u64::from(high) << 32) | u64::from(low)).ok()
        };
        let packed: Vec<i64> = pairs.into_iter().map(pack).collect::<Option<_>>().ok_or_else(|| {
            StoreError::Corrupt { table: "image_components", what: "an id beyond 2^31".to_owned() }
        })?;
        sqlx::query(
            "INSERT INTO image_components (component, image) SELECT value >> 32, value & 4294967295 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(list(&packed)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Keeps the releases of distributions of which images have packages.
    pub(super) async fn save_releases(&mut self, rows: &[(String, i64)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO image_releases (release, image) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(list(rows)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Keeps what is inside of what in an image.
    pub(super) async fn save_inside(
        &mut self,
        id: i64,
        image: &ImageFact,
        stored: &Written,
    ) -> Result<(), StoreError> {
        if image.inside.is_empty() {
            return Ok(());
        }
        let row = |place: u32| stored.places.get(usize::try_from(place).ok()?).copied();
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

    pub(super) async fn matched(&mut self, facts: &[&Fact]) -> Result<(), StoreError> {
        let mut sets = Vec::with_capacity(facts.len());
        for fact in facts {
            let FactBody::Match(matched) = &fact.body else { continue };
            let what = if matched.reason.is_empty() {
                format!("Db {}", matched.matches.db_seq)
            } else {
                matched.reason.clone()
            };
            let cause = self.cause_of(fact, "advisory", format!("advisories changed: {what}"));
            sets.push(SetOf { components: &matched.components, matches: &matched.matches, cause });
        }
        for (stored, set) in self.store_matches(&sets).await?.into_iter().zip(&sets) {
            self.touch_components(&stored.changed, set.cause);
        }
        Ok(())
    }

    /// Touches what has these components, as settled; what is not settled yet is touched already.
    pub(super) fn touch_components(&mut self, components: &[i64], cause: usize) {
        self.pending.components.extend(components.iter().map(|id| (*id, cause)));
    }

    /// Saves components, their matches and the vulnerabilities, set by set; only what is as new as what is there.
    pub(super) async fn store_matches(&mut self, sets: &[SetOf<'_>]) -> Result<Vec<Written>, StoreError> {
        self.store_vulnerabilities(sets).await?;
        let grouped: Vec<Grouped<'_>> = sets.iter().map(|set| group(&set.matches.matches)).collect();
        let mut written: Vec<Written> = sets.iter().map(|_| Written::default()).collect();
        for place in self.insert_missing(sets, &grouped).await? {
            if let Some(one) = written.get_mut(place) {
                one.added = true;
            }
        }
        let mut updates: BTreeMap<i64, Update> = BTreeMap::new();
        let mut text = String::new();
        for ((set, matches), out) in sets.iter().zip(&grouped).zip(&mut written) {
            let db_seq = signed(set.matches.db_seq);
            let mut late = Vec::new();
            out.ids.reserve(set.components.len());
            for key in keys(set, matches) {
                key.write_id(&mut text);
                let Some(known) = self.cache.components.get_mut(text.as_str()) else { continue };
                out.ids.push(known.id);
                if known.db_seq > db_seq {
                    continue;
                }
                if db_seq < self.db_seq {
                    late.push((known.id, key));
                }
                let found = matches.get(key).map_or(&[][..], Vec::as_slice);
                let hash = matches_hash(found.iter().copied());
                if known.db_seq == db_seq && known.hash == hash {
                    continue;
                }
                let update = updates.entry(known.id).or_insert_with(|| Update {
                    db_seq,
                    matches: None,
                    named: BTreeSet::new(),
                    differs: false,
                    had: known.hash != 0,
                });
                update.db_seq = db_seq;
                update.matches = matches_text(found)?;
                update.named = found.iter().map(|m| m.vulnerability.clone()).collect();
                // Equal matches from a newer Db touch nobody: that would judge the whole fleet again for a number. Findings take
                // the newer sequence when something else touches them.
                if known.hash != hash {
                    update.differs = true;
                    out.changed.push(known.id);
                }
                (known.db_seq, known.hash) = (db_seq, hash);
                self.cache.rows.remove(&known.id);
            }
            out.places = out.ids.get(..set.components.len()).unwrap_or_default().to_vec();
            out.ids.sort_unstable();
            out.ids.dedup();
            self.catch_up(&out.ids, db_seq, late).await?;
        }
        self.update_components(updates).await?;
        Ok(written)
    }

    /// Puts the components of these sets into the cache, and those that are new into the store as the first set has them; gives the
    /// places of these sets.
    async fn insert_missing(
        &mut self,
        sets: &[SetOf<'_>],
        grouped: &[Grouped<'_>],
    ) -> Result<BTreeSet<usize>, StoreError> {
        let mut missing: BTreeMap<String, (usize, &ComponentKey)> = BTreeMap::new();
        let mut text = String::new();
        for (place, (set, matches)) in sets.iter().zip(grouped).enumerate() {
            for key in keys(set, matches) {
                key.write_id(&mut text);
                if !self.cache.components.contains_key(text.as_str()) && !missing.contains_key(text.as_str())
                {
                    missing.insert(text.clone(), (place, key));
                }
            }
        }
        if missing.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.load_components(missing.keys()).await?;
        missing.retain(|id, _| !self.cache.components.contains_key(id.as_str()));
        let mut rows = Vec::with_capacity(missing.len());
        let mut hashes: HashMap<&str, (i64, u64, BTreeSet<&str>)> = HashMap::with_capacity(missing.len());
        for (id, (place, key)) in &missing {
            let Some((set, matches)) = sets.get(*place).zip(grouped.get(*place)) else { continue };
            let found = matches.get(key).map_or(&[][..], Vec::as_slice);
            let db_seq = signed(set.matches.db_seq);
            rows.push((
                id,
                key.package.ecosystem.purl_type(),
                key.package.release.as_ref().map(ToString::to_string).unwrap_or_default(),
                &key.package.name,
                key.source.as_ref().map_or("", |s| s.name.as_str()),
                db_seq,
                matches_text(found)?,
            ));
            let named = found.iter().map(|m| m.vulnerability.as_str()).collect();
            hashes.insert(id, (db_seq, matches_hash(found.iter().copied()), named));
        }
        if rows.is_empty() {
            return Ok(BTreeSet::new());
        }
        let added: Vec<(i64, String)> = sqlx::query_as(
            "INSERT INTO components (key, ecosystem, release, name, source, db_seq, matches) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?) RETURNING id, key",
        )
        .bind(list(&rows)?)
        .fetch_all(&mut *self.connection)
        .await?;
        let mut named: Vec<(&str, i64)> = Vec::new();
        let mut places = BTreeSet::new();
        for (id, key) in added {
            let Some((db_seq, hash, of)) = hashes.get(key.as_str()) else { continue };
            named.extend(of.iter().map(|vulnerability| (*vulnerability, id)));
            places.extend(missing.get(&key).map(|(place, _)| *place));
            self.cache.rows.remove(&id);
            let cached = CachedComponent { id, db_seq: *db_seq, hash: *hash };
            self.cache.components.insert(key.into_boxed_str(), cached);
        }
        self.index_matches(&named).await?;
        Ok(places)
    }

    async fn update_components(&mut self, updates: BTreeMap<i64, Update>) -> Result<(), StoreError> {
        if updates.is_empty() {
            return Ok(());
        }
        let had: Vec<i64> =
            updates.iter().filter(|(_, update)| update.differs && update.had).map(|(id, _)| *id).collect();
        let mut gone: Vec<(String, i64)> = Vec::new();
        if !had.is_empty() {
            let rows: Vec<(i64, String)> = sqlx::query_as(
                "SELECT c.id, c.matches FROM json_each(?) j CROSS JOIN components c ON c.id = j.value WHERE c.matches IS NOT NULL",
            )
            .bind(list(&had)?)
            .fetch_all(&mut *self.connection)
            .await?;
            for (id, old) in rows {
                let Some(update) = updates.get(&id) else { continue };
                let old = matched_ids(&old)?.into_iter().filter(|v| !update.named.contains(v));
                gone.extend(old.map(|vulnerability| (vulnerability, id)));
            }
        }
        let rows: Vec<(i64, i64, Option<&str>)> =
            updates.iter().map(|(id, update)| (*id, update.db_seq, update.matches.as_deref())).collect();
        sqlx::query(
            "UPDATE components SET db_seq = j.value->>1, matches = j.value->>2 FROM json_each(?) j WHERE components.id = j.value->>0",
        )
        .bind(list(&rows)?)
        .execute(&mut *self.connection)
        .await?;
        if !gone.is_empty() {
            sqlx::query(
                "DELETE FROM matched WHERE (vulnerability, component) IN (SELECT value->>0, value->>1 FROM json_each(?))",
            )
            .bind(list(&gone)?)
            .execute(&mut *self.connection)
            .await?;
        }
        let named: Vec<(&str, i64)> = updates
            .iter()
            .filter(|(_, update)| update.differs)
            .flat_map(|(id, update)| update.named.iter().map(|vulnerability| (vulnerability.as_str(), *id)))
            .collect();
        self.index_matches(&named).await
    }

    /// Keeps the way from vulnerabilities to components.
    async fn index_matches(&mut self, named: &[(&str, i64)]) -> Result<(), StoreError> {
        if named.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO matched (vulnerability, component) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(list(named)?)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Remembers components that were matched with an older Db than the store's, forgets those that have caught up.
    async fn catch_up(
        &mut self,
        ids: &[i64],
        db_seq: i64,
        late: Vec<(i64, &ComponentKey)>,
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
        self.outcome.catch_up.extend(late.into_iter().map(|(_, key)| key.clone()));
        Ok(())
    }

    async fn load_components(&mut self, keys: impl Iterator<Item = &String>) -> Result<(), StoreError> {
        let keys: Vec<&String> = keys.collect();
        let rows: Vec<(String, i64, i64, Option<String>)> = sqlx::query_as(
            "SELECT c.key, c.id, c.db_seq, c.matches FROM json_each(?) j CROSS JOIN components c ON c.key = j.value",
        )
        .bind(list(&keys)?)
        .fetch_all(&mut *self.connection)
        .await?;
        for (key, id, db_seq, matches) in rows {
            let hash = match matches {
                Some(text) => matches_hash(matches_of(&component_key(&key)?, &text)?.iter()),
                None => 0,
            };
            self.cache.components.insert(key.into_boxed_str(), CachedComponent { id, db_seq, hash });
        }
        Ok(())
    }

    async fn store_vulnerabilities(&mut self, sets: &[SetOf<'_>]) -> Result<(), StoreError> {
        let ids: BTreeSet<&str> =
            sets.iter().flat_map(|set| set.matches.vulnerabilities.iter().map(|v| v.id.as_str())).collect();
        self.load_vulnerabilities(&ids.into_iter().collect::<Vec<_>>()).await?;
        let mut rows: BTreeMap<&str, (&str, i64, String)> = BTreeMap::new();
        let mut aliases: Vec<(&str, &str)> = Vec::new();
        let mut changed: BTreeMap<&str, usize> = BTreeMap::new();
        for set in sets {
            let db_seq = signed(set.matches.db_seq);
            for vulnerability in &set.matches.vulnerabilities {
                let id = vulnerability.id.as_str();
                let known = self.cache.vulnerabilities.get(id);
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
                if differs {
                    aliases.extend(vulnerability.aliases.iter().map(|alias| (alias.as_str(), id)));
                    if known.is_some() {
                        changed.insert(id, set.cause);
                    }
                }
                let body = encode("vulnerabilities", vulnerability)?;
                let hash = hash_of(&body);
                rows.insert(id, (id, db_seq, body));
                let cached = CachedVulnerability { db_seq, hash, value: Arc::new(vulnerability.clone()) };
                self.cache.vulnerabilities.insert(id.to_owned(), cached);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO vulnerabilities (id, db_seq, body) SELECT value->>0, value->>1, value->>2 FROM json_each(?) WHERE true ON CONFLICT (id) DO UPDATE SET db_seq = excluded.db_seq, body = excluded.body",
        )
        .bind(list(&rows.into_values().collect::<Vec<_>>())?)
        .execute(&mut *self.connection)
        .await?;
        if !aliases.is_empty() {
            sqlx::query(
                "INSERT INTO aliases (alias, id) SELECT value->>0, value->>1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(list(&aliases)?)
            .execute(&mut *self.connection)
            .await?;
        }
        if !changed.is_empty() {
            let ids: Vec<&str> = changed.keys().copied().collect();
            let found: Vec<(String, i64)> = sqlx::query_as(
                "SELECT m.vulnerability, m.component FROM json_each(?) j CROSS JOIN matched m ON m.vulnerability = j.value",
            )
            .bind(list(&ids)?)
            .fetch_all(&mut *self.connection)
            .await?;
            for (vulnerability, component) in found {
                if let Some(cause) = changed.get(vulnerability.as_str()) {
                    self.touch_components(&[component], *cause);
                }
            }
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

fn group(matches: &[Match]) -> Grouped<'_> {
    let mut grouped: Grouped<'_> = HashMap::new();
    for matched in matches {
        grouped.entry(&matched.component).or_default().push(matched);
    }
    for of_component in grouped.values_mut() {
        of_component.sort();
    }
    grouped
}

/// The components of a set: those that it lists, and those that only its matches name.
fn keys<'f>(set: &SetOf<'f>, matches: &Grouped<'f>) -> Vec<&'f ComponentKey> {
    let mut keys: Vec<&ComponentKey> = set.components.iter().collect();
    // Lists are sorted, as a rule.
    let listed =
        |key: &ComponentKey| set.components.binary_search(key).is_ok() || set.components.contains(key);
    keys.extend(matches.keys().filter(|key| !listed(key)).copied());
    keys
}
