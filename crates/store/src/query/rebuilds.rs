//! What a rebuild on the newer base would end.
//!
//! A newer base is what a tag points at now that pointed at the base before. A finding of an application ends with it if
//! everything that is affected came with the base in each image that has it, and the newer base is not affected: what
//! an application brings itself, or what is not known, stays.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use plimsoll_findings::RebuildCandidate;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::{Digest, Ecosystem, Finding, Platform};

use super::bases::{Bases, Introduced};
use crate::apply::list;
use crate::error::{StoreError, decode};
use crate::reader::Reader;
use crate::view::{Snapshot, component_key, parse};

/// Findings whose components are looked up in one statement.
const BATCH: usize = 2_000;
/// Newer bases of one image that are compared.
const MOST_NEWER: usize = 16;

/// What images of one platform are affected by, wherever the package comes from: a newer release of the distribution
/// has other package keys for the same.
type Has = HashSet<(String, Ecosystem, String)>;

/// An image of an application, with what its base is by now.
struct Built {
    bases: Bases,
    /// By `registry/repository:tag`.
    newer: BTreeMap<String, usize>,
}

impl Reader {
    /// Rebuilds that end some of these findings, each with its holder and place (`registry/repository`).
    pub(crate) async fn rebuilds(
        &self,
        findings: &[(i64, Finding, String)],
    ) -> Result<Vec<RebuildCandidate>, StoreError> {
        let moved: i64 =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM moved)").fetch_one(&self.pool).await?;
        if moved == 0 {
            return Ok(Vec::new());
        }
        let holders: BTreeSet<i64> =
            findings.iter().filter(|(_, _, place)| !place.is_empty()).map(|(holder, ..)| *holder).collect();
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT d.holder, i.id, i.layers, i.platform FROM json_each(?) j CROSS JOIN held d ON d.holder = j.value CROSS JOIN images i ON i.id = d.image",
        )
        .bind(list(&holders.into_iter().collect::<Vec<_>>())?)
        .fetch_all(&self.pool)
        .await?;
        let mut images: HashMap<i64, Vec<Digest>> = HashMap::new();
        let mut platforms: HashMap<i64, Platform> = HashMap::new();
        let mut by_holder: HashMap<i64, Vec<i64>> = HashMap::new();
        for (holder, image, layers, platform) in rows {
            by_holder.entry(holder).or_default().push(image);
            if let Entry::Vacant(entry) = images.entry(image) {
                entry.insert(decode("images", &layers)?);
                platforms.insert(image, decode("images", &platform)?);
            }
        }
        let (built, newer) = self.newer(self.bases_of(&images).await?, &platforms).await?;
        if built.is_empty() {
            return Ok(Vec::new());
        }
        let introduced = self.introduced(&built.keys().copied().collect::<Vec<_>>()).await?;
        // Only findings all of whose holder's images that have it are built on something that is newer by now.
        let concerned: Vec<&(i64, Finding, String)> = findings
            .iter()
            .filter(|(holder, _, _)| {
                by_holder.get(holder).is_some_and(|images| images.iter().any(|i| built.contains_key(i)))
            })
            .collect();
        let mut ends: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
        for batch in concerned.chunks(BATCH) {
            for ((_, finding, place), pairs) in batch.iter().zip(self.pairs(batch).await?) {
                for base in ended_by(finding, place, &pairs, &built, &newer, &introduced) {
                    ends.entry((base, place)).or_default().push(finding.id.clone());
                }
            }
        }
        let candidate = |((base, scope), ends): ((String, &str), Vec<String>)| RebuildCandidate {
            base,
            scope: scope.to_owned(),
            ends,
        };
        Ok(ends.into_iter().map(candidate).collect())
    }

    /// By finding, the images of its holder with the affected components in them.
    async fn pairs(&self, findings: &[&(i64, Finding, String)]) -> Result<Vec<Vec<(i64, i64)>>, StoreError> {
        let wanted: Vec<(usize, i64, &str, &str)> = findings
            .iter()
            .enumerate()
            .map(|(n, (holder, f, _))| {
                (n, *holder, f.key.vulnerability.as_str(), f.key.package.name.as_str())
            })
            .collect();
        let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT j.value->>0, c.key, d.image, c.id FROM json_each(?) j CROSS JOIN held d ON d.holder = j.value->>1 CROSS JOIN matched m ON m.vulnerability = j.value->>2 CROSS JOIN image_components ic ON ic.component = m.component AND ic.image = d.image CROSS JOIN components c ON c.id = m.component AND c.name = j.value->>3",
        )
        .bind(list(&wanted)?)
        .fetch_all(&self.pool)
        .await?;
        let mut pairs = vec![Vec::new(); findings.len()];
        for (n, key, image, component) in rows {
            let place = usize::try_from(n).ok();
            let (Some((_, finding, _)), Some(of)) =
                (place.and_then(|n| findings.get(n)), place.and_then(|n| pairs.get_mut(n)))
            else {
                continue;
            };
            let key = component_key(&key)?;
            if key.package == finding.key.package && finding.versions.contains(&key.version) {
                of.push((image, component));
            }
        }
        Ok(pairs)
    }

    /// The images whose base has a successor, and what the successors are affected by. Only successors that a Db has
    /// judged, and whose inventory is whole, count.
    async fn newer(
        &self,
        bases: HashMap<i64, Bases>,
        platforms: &HashMap<i64, Platform>,
    ) -> Result<(HashMap<i64, Built>, Vec<Has>), StoreError> {
        let digests: BTreeSet<&Digest> = bases.values().flat_map(|bases| &bases.digests).collect();
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "WITH RECURSIVE up (image, digest) AS (SELECT value, value FROM json_each(?) UNION SELECT up.image, p.parent FROM up JOIN parents p ON p.child = up.digest)
             SELECT DISTINCT up.image, r.registry || '/' || r.repository || ':' || t.tag, t.digest FROM up CROSS JOIN moved m ON m.digest = up.digest CROSS JOIN tags t ON t.repo = m.repo AND t.tag = m.tag AND t.digest <> m.digest CROSS JOIN repositories r ON r.id = t.repo WHERE NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = t.repo AND d.digest = t.digest AND d.seq > t.seq) ORDER BY 1, 2",
        )
        .bind(list(&digests.into_iter().collect::<Vec<_>>())?)
        .fetch_all(&self.pool)
        .await?;
        let mut now: BTreeMap<Digest, BTreeMap<String, Digest>> = BTreeMap::new();
        for (base, name, digest) in rows {
            now.entry(parse(&base)?).or_default().insert(name, parse(&digest)?);
        }
        if now.is_empty() {
            return Ok((HashMap::new(), Vec::new()));
        }
        let wanted: BTreeSet<Digest> = now.values().flat_map(|tags| tags.values().cloned()).collect();
        let mut connection = self.pool.acquire().await?;
        let snapshot = Snapshot::load(&mut connection, wanted, &mut HashMap::new()).await?;
        drop(connection);
        let ids: Vec<i64> = snapshot.images.values().map(|row| row.id).collect();
        let partial: Vec<i64> = sqlx::query_scalar(
            "SELECT i.id FROM json_each(?) j CROSS JOIN images i ON i.id = j.value WHERE i.partial <> '[]'",
        )
        .bind(list(&ids)?)
        .fetch_all(&self.pool)
        .await?;
        let partial: HashSet<i64> = partial.into_iter().collect();
        let mut places: HashMap<Digest, Option<usize>> = HashMap::new();
        let mut all: Vec<Has> = Vec::new();
        let mut built = HashMap::new();
        for (image, bases) in bases {
            let Some(platform) = platforms.get(&image) else { continue };
            let tags: BTreeMap<&String, &Digest> =
                bases.digests.iter().filter_map(|digest| now.get(digest)).flatten().collect();
            let mut newer = BTreeMap::new();
            for (name, digest) in tags.into_iter().take(MOST_NEWER) {
                let behind = snapshot.images_behind(digest);
                let Some((_, child)) = behind.into_iter().find(|(theirs, _)| theirs == platform) else {
                    continue;
                };
                let place = places.entry(child.clone()).or_insert_with(|| {
                    let row = snapshot.images.get(&child)?;
                    if row.db_seq == 0 || partial.contains(&row.id) {
                        return None;
                    }
                    let affected = snapshot.matches(&child);
                    let affected = affected.filter(|held| held.matched.status != MatchStatus::NotAffected);
                    all.push(
                        affected
                            .map(|held| {
                                let package = &held.matched.component.package;
                                let name = package.name.clone();
                                (held.matched.vulnerability.clone(), package.ecosystem, name)
                            })
                            .collect(),
                    );
                    Some(all.len() - 1)
                });
                newer.extend(place.map(|place| (name.clone(), place)));
            }
            if !newer.is_empty() {
                built.insert(image, Built { bases, newer });
            }
        }
        Ok((built, all))
    }
}

/// The newer bases on which a rebuild ends a finding.
fn ended_by(
    finding: &Finding,
    place: &str,
    pairs: &[(i64, i64)],
    built: &HashMap<i64, Built>,
    newer: &[Has],
    introduced: &HashMap<i64, Introduced>,
) -> BTreeSet<String> {
    let key = &finding.key;
    let about = (key.vulnerability.clone(), key.package.ecosystem, key.package.name.clone());
    let mut common: Option<BTreeSet<String>> = None;
    for (image, component) in pairs {
        let Some(one) = built.get(image) else { return BTreeSet::new() };
        let layer = introduced.get(image).and_then(|layers| *layers.get(component)?);
        if layer.is_none_or(|layer| layer >= one.bases.layers) {
            return BTreeSet::new();
        }
        let ends = |place: &usize| newer.get(*place).is_some_and(|has| !has.contains(&about));
        // A repository is not rebuilt on itself.
        let other = |name: &str| name.rsplit_once(':').is_none_or(|(repository, _)| repository != place);
        let names = one.newer.iter().filter(|(name, place)| ends(place) && other(name));
        let names: BTreeSet<String> = names.map(|(name, _)| name.clone()).collect();
        common = Some(match common {
            None => names,
            Some(common) => common.intersection(&names).cloned().collect(),
        });
    }
    common.unwrap_or_default()
}
