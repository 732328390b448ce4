//! Which layer brought a component in.
//!
//! A file's layer is the answer for whatever is found by its own files. A package database is one file that every
//! layer with a change of packages writes anew: there the versions of it are compared, from the newest down, and a
//! component came with the oldest of an unbroken run of them that have it.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use plimsoll_model::Digest;
use plimsoll_model::extract::{Extract, Selected};
use plimsoll_model::sbom::{Component, Distribution};
use rustc_hash::FxHashMap;

use crate::catalog;
use crate::merge::Merged;

/// Selectors of files that hold many packages and are written anew.
const DATABASES: &[&str] = &["apk", "dpkg", "opkg", "rpm"];

/// Sets [`Component::introduced`]. `reported` has the digest of each layer that was merged.
pub(crate) fn mark<E: Borrow<Extract>>(
    components: &mut [Component],
    extracts: &[E],
    reported: &[Option<Digest>],
    merged: &Merged<'_>,
    distribution: Option<&Distribution>,
) {
    let mut place: FxHashMap<&Digest, usize> = FxHashMap::default();
    for (n, digest) in reported.iter().enumerate() {
        if let Some(digest) = digest {
            place.entry(digest).or_insert(n);
        }
    }
    let mut introduced: Vec<Option<usize>> = components
        .iter()
        .map(|component| {
            let layers = component.locations.iter().filter_map(|location| location.layer.as_ref());
            layers.filter_map(|layer| place.get(layer).copied()).min()
        })
        .collect();
    for (path, versions) in versions(extracts) {
        let mut above = versions.iter().rev();
        let Some((mut upper, _)) = above.next().copied() else { continue };
        for (layer, selected) in above.copied() {
            let keys = catalog::keys(merged, selected, distribution);
            for (component, introduced) in components.iter().zip(&mut introduced) {
                let here = component.locations.iter().any(|location| location.path == path);
                if here && *introduced == Some(upper) && keys.contains(&component.key) {
                    *introduced = Some(layer);
                }
            }
            upper = layer;
        }
    }
    for (component, introduced) in components.iter_mut().zip(introduced) {
        component.introduced = introduced.and_then(|n| reported.get(n).cloned().flatten());
    }
}

/// The databases that several layers have, with the layers that have them, oldest first.
fn versions<E: Borrow<Extract>>(extracts: &[E]) -> BTreeMap<&str, Vec<(usize, &Selected)>> {
    let mut versions: BTreeMap<&str, Vec<(usize, &Selected)>> = BTreeMap::new();
    for (n, extract) in extracts.iter().enumerate() {
        for selected in &extract.borrow().selected {
            if DATABASES.contains(&selected.selector.as_str()) {
                versions.entry(&selected.path).or_default().push((n, selected));
            }
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}
