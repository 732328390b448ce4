//! Which known image another one is built on, and what of it came with that.
//!
//! The base of an image is the known one whose whole list of layers begins its own and is the longest such list. That
//! follows from the set of inventoried images, whichever came first, so it is asked and never stored: what is kept is a
//! number for each image's list of layers, under which an index finds it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_inventory::base::{chains, is_base};
use plimsoll_model::Digest;

use crate::apply::list;
use crate::error::{StoreError, decode};
use crate::reader::Reader;
use crate::view::parse;

/// Numbers of layer lists in one statement.
const BATCH: usize = 5_000;

/// The image that another one is built on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseImage {
    /// `registry/repository:tag` where a tag points at it, else `registry/repository`.
    pub name: String,
    pub digest: Digest,
    /// How many layers, from the oldest, are its.
    pub layers: u32,
}

/// Where the affected components of a finding came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// All of them with the base: a rebuild on a newer one is what changes them.
    Base(BaseImage),
    /// None with the base.
    Application,
    /// Some with the base.
    Both(BaseImage),
}

impl Origin {
    /// `base`, `application` or `both`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Base(_) => "base",
            Self::Application => "application",
            Self::Both(_) => "both",
        }
    }

    /// The base, of what came with it.
    pub fn base(&self) -> Option<&BaseImage> {
        match self {
            Self::Base(base) | Self::Both(base) => Some(base),
            Self::Application => None,
        }
    }
}

/// Known images of one list of layers.
#[derive(Debug, Clone)]
pub(crate) struct Bases {
    pub(crate) layers: usize,
    /// Never empty; sorted.
    pub(crate) digests: Vec<Digest>,
}

/// By component of an image, the newest layer that brought it in, where that is known.
pub(crate) type Introduced = HashMap<i64, Option<usize>>;

/// A layer that is not known, in the stored form: one byte for each component, in the order of their ids.
pub(crate) const UNKNOWN_LAYER: u8 = u8::MAX;

impl Reader {
    /// The bases of images, by any key; images without a known base are left out.
    pub(crate) async fn bases_of<K: Copy + Eq + std::hash::Hash>(
        &self,
        images: &HashMap<K, Vec<Digest>>,
    ) -> Result<HashMap<K, Bases>, StoreError> {
        let mut wanted: BTreeSet<i64> = BTreeSet::new();
        for layers in images.values() {
            let mut numbers = chains(layers);
            numbers.pop();
            wanted.extend(numbers);
        }
        let wanted: Vec<i64> = wanted.into_iter().collect();
        let mut known: HashMap<i64, BTreeMap<Vec<Digest>, Vec<Digest>>> = HashMap::new();
        for batch in wanted.chunks(BATCH) {
            let rows: Vec<(i64, String, String)> = sqlx::query_as(
                "SELECT i.chain, i.digest, i.layers FROM json_each(?) j CROSS JOIN images i ON i.chain = j.value ORDER BY i.digest",
            )
            .bind(list(batch)?)
            .fetch_all(&self.pool)
            .await?;
            for (chain, digest, layers) in rows {
                let layers: Vec<Digest> = decode("images", &layers)?;
                known.entry(chain).or_default().entry(layers).or_default().push(parse(&digest)?);
            }
        }
        let longest = |own: &[Digest]| {
            let numbers = chains(own);
            numbers.iter().rev().skip(1).find_map(|number| {
                let (layers, digests) = known.get(number)?.iter().find(|(theirs, _)| is_base(theirs, own))?;
                Some(Bases { layers: layers.len(), digests: digests.clone() })
            })
        };
        Ok(images.iter().filter_map(|(key, own)| Some((*key, longest(own)?))).collect())
    }

    /// Names for bases: of all the known images of a list the one that a tag points at, then the first by name and digest.
    pub(crate) async fn named<K: Copy + Eq + std::hash::Hash>(
        &self,
        bases: &HashMap<K, Bases>,
    ) -> Result<HashMap<K, BaseImage>, StoreError> {
        let digests: BTreeSet<&Digest> = bases.values().flat_map(|bases| &bases.digests).collect();
        if digests.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "WITH RECURSIVE up (image, digest) AS (SELECT value, value FROM json_each(?) UNION SELECT up.image, p.parent FROM up JOIN parents p ON p.child = up.digest)
             SELECT up.image, r.registry || '/' || r.repository, t.tag FROM up CROSS JOIN tags t ON t.digest = up.digest AND t.bare = 0 JOIN repositories r ON r.id = t.repo WHERE NOT EXISTS (SELECT 1 FROM deleted d WHERE d.repo = t.repo AND d.digest = t.digest AND d.seq > t.seq)
             UNION SELECT up.image, r.registry || '/' || r.repository, NULL FROM up CROSS JOIN sightings s ON s.digest = up.digest JOIN repositories r ON r.id = s.repo",
        )
        .bind(list(&digests.into_iter().collect::<Vec<_>>())?)
        .fetch_all(&self.pool)
        .await?;
        let mut names: HashMap<Digest, (bool, String)> = HashMap::new();
        for (digest, place, tag) in rows {
            let name = match &tag {
                Some(tag) => (false, format!("{place}:{tag}")),
                None => (true, place),
            };
            let known = names.entry(parse(&digest)?).or_insert_with(|| name.clone());
            *known = name.min(known.clone());
        }
        let nameless = (true, String::new());
        let pick = |bases: &Bases| {
            let name = |digest: &Digest| names.get(digest).unwrap_or(&nameless).clone();
            // Without a name last: it was seen nowhere.
            let best = bases.digests.iter().map(|digest| {
                let (untagged, name) = name(digest);
                (untagged, name.is_empty(), name, digest)
            });
            let (_, _, name, digest) = best.min()?;
            let layers = u32::try_from(bases.layers).unwrap_or(u32::MAX);
            Some(BaseImage { name, digest: digest.clone(), layers })
        };
        Ok(bases.iter().filter_map(|(key, bases)| Some((*key, pick(bases)?))).collect())
    }

    /// The layers of images, oldest first, by id.
    pub(crate) async fn layers_of(&self, images: &[i64]) -> Result<HashMap<i64, Vec<Digest>>, StoreError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT i.id, i.layers FROM json_each(?) j CROSS JOIN images i ON i.id = j.value")
                .bind(list(images)?)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(id, layers)| Ok((id, decode("images", &layers)?))).collect()
    }

    /// Which layer brought each component of these images in.
    pub(crate) async fn introduced(&self, images: &[i64]) -> Result<HashMap<i64, Introduced>, StoreError> {
        let rows: Vec<(i64, String, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT i.id, i.components, i.introduced FROM json_each(?) j CROSS JOIN images i ON i.id = j.value",
        )
        .bind(list(images)?)
        .fetch_all(&self.pool)
        .await?;
        let mut all = HashMap::with_capacity(rows.len());
        for (id, components, layers) in rows {
            let components: Vec<i64> = decode("images", &components)?;
            let layers = layers.unwrap_or_default();
            let layer = |at: usize| layers.get(at).filter(|l| **l != UNKNOWN_LAYER).map(|l| usize::from(*l));
            all.insert(id, components.into_iter().enumerate().map(|(at, c)| (c, layer(at))).collect());
        }
        Ok(all)
    }

    /// Where the components of findings came from. `held` has, by finding, images with the affected components in them.
    /// A finding of which that is not known of all of them has no answer.
    pub(crate) async fn origins(&self, held: &[Vec<(i64, i64)>]) -> Result<Vec<Option<Origin>>, StoreError> {
        let images: BTreeSet<i64> = held.iter().flatten().map(|(image, _)| *image).collect();
        let bases = self.bases_of(&self.layers_of(&images.into_iter().collect::<Vec<_>>()).await?).await?;
        let names = self.named(&bases).await?;
        let introduced = self.introduced(&bases.keys().copied().collect::<Vec<_>>()).await?;
        let one = |pairs: &Vec<(i64, i64)>| {
            let (mut of_base, mut of_application): (Option<&BaseImage>, bool) = (None, false);
            for (image, component) in pairs {
                let base = names.get(image)?;
                let layer = (*introduced.get(image)?.get(component)?)?;
                if u32::try_from(layer).is_ok_and(|layer| layer < base.layers) {
                    of_base = Some(of_base.map_or(base, |known| known.min(base)));
                } else {
                    of_application = true;
                }
            }
            match (of_base, of_application) {
                (Some(base), false) => Some(Origin::Base(base.clone())),
                (Some(base), true) => Some(Origin::Both(base.clone())),
                (None, true) => Some(Origin::Application),
                (None, false) => None,
            }
        };
        Ok(held.iter().map(one).collect())
    }
}
