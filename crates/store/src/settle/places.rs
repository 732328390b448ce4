//! How statements may name the images of holders.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_model::vex::ImagePlace;
use plimsoll_model::{ComponentKey, Digest};

use super::HolderState;
use crate::apply::{Work, list};
use crate::error::StoreError;
use crate::view::{Snapshot, component_key, parse};

/// What statements ask of images beside their own digest, as far as some statement asks it.
#[derive(Default)]
pub(super) struct Names {
    /// Indexes that have an image.
    indexes: HashMap<Digest, BTreeSet<Digest>>,
    /// By id of an image: components with matches, and what they are inside of.
    inside: HashMap<i64, BTreeMap<ComponentKey, Vec<ComponentKey>>>,
}

impl Names {
    /// The indexes that have an image.
    pub(super) fn indexes(&self, image: &Digest) -> Option<&BTreeSet<Digest>> {
        self.indexes.get(image)
    }
}

impl Work<'_> {
    pub(super) async fn names(
        &mut self,
        states: &[HolderState],
        snapshot: &Snapshot,
    ) -> Result<Names, StoreError> {
        let mut names = Names::default();
        let images: BTreeSet<&Digest> = states.iter().flat_map(|state| &state.images).collect();
        if images.is_empty() {
            return Ok(names);
        }
        if self.statements.needs_digests() {
            let digests: Vec<&Digest> = images.iter().copied().collect();
            let rows: Vec<(String, String)> = sqlx::query_as(
                "WITH RECURSIVE up (image, digest) AS (SELECT value, value FROM json_each(?) UNION SELECT up.image, p.parent FROM up JOIN parents p ON p.child = up.digest) SELECT image, digest FROM up WHERE image <> digest",
            )
            .bind(list(&digests)?)
            .fetch_all(&mut *self.connection)
            .await?;
            for (image, digest) in rows {
                names.indexes.entry(parse(&image)?).or_default().insert(parse(&digest)?);
            }
        }
        if self.statements.needs_inside() {
            let ids: Vec<i64> =
                images.iter().filter_map(|image| Some(snapshot.images.get(image)?.id)).collect();
            let rows: Vec<(i64, String, String)> = sqlx::query_as(
                "SELECT x.image, c.key, o.key FROM json_each(?) j CROSS JOIN inside x ON x.image = j.value CROSS JOIN components c ON c.id = x.component AND c.matches IS NOT NULL CROSS JOIN components o ON o.id = x.outer ORDER BY x.image, c.key, o.key",
            )
            .bind(list(&ids)?)
            .fetch_all(&mut *self.connection)
            .await?;
            for (image, component, outer) in rows {
                let parts = names.inside.entry(image).or_default();
                parts.entry(component_key(&component)?).or_default().push(component_key(&outer)?);
            }
        }
        Ok(names)
    }

    /// The images of a holder as statements may name them.
    pub(super) fn places(
        &self,
        state: &HolderState,
        snapshot: &Snapshot,
        names: &Names,
    ) -> BTreeMap<Digest, ImagePlace> {
        let mut places: BTreeMap<Digest, ImagePlace> = BTreeMap::new();
        if self.statements.is_empty() {
            return places;
        }
        for image in &state.images {
            let mut digests: BTreeSet<Digest> = [image.clone()].into();
            digests.extend(names.indexes(image).into_iter().flatten().cloned());
            let inside = snapshot.images.get(image).and_then(|row| names.inside.get(&row.id));
            let place = ImagePlace {
                digests,
                repositories: state.place.iter().cloned().collect(),
                inside: inside.cloned().unwrap_or_default(),
            };
            places.insert(image.clone(), place);
        }
        places
    }
}
