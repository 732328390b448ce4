//! What differs between two Sboms, by package.

use std::collections::BTreeMap;

use plimsoll_model::{ComponentKey, PackageKey, Sbom};
use serde::Serialize;

/// The difference of two Sboms; each list is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Components whose package the first Sbom has not.
    pub added: Vec<ComponentKey>,
    /// Components whose package the second Sbom has not.
    pub removed: Vec<ComponentKey>,
    /// Packages that both have, in other versions (or with another source or architecture).
    pub changed: Vec<Change>,
}

/// One package whose components differ. Components that are in both are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub package: PackageKey,
    pub before: Vec<ComponentKey>,
    pub after: Vec<ComponentKey>,
}

impl Diff {
    /// True if the same components are in both.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What the second Sbom has that the first has not, and the reverse. Distribution packages are compared without
/// their release, so that an upgraded base image reads as changes.
pub fn diff(before: &Sbom, after: &Sbom) -> Diff {
    let mut packages: BTreeMap<PackageKey, (Vec<ComponentKey>, Vec<ComponentKey>)> = BTreeMap::new();
    for (sbom, second) in [(before, false), (after, true)] {
        for component in &sbom.components {
            let package = PackageKey { release: None, ..component.key.package.clone() };
            let sides = packages.entry(package).or_default();
            if second { sides.1.push(component.key.clone()) } else { sides.0.push(component.key.clone()) }
        }
    }
    let mut found = Diff::default();
    for (package, (mut before, mut after)) in packages {
        before.sort();
        after.sort();
        match (before.is_empty(), after.is_empty()) {
            (true, _) => found.added.append(&mut after),
            (_, true) => found.removed.append(&mut before),
            _ if before != after => {
                let lost = before.iter().filter(|key| !after.contains(key)).cloned().collect();
                let new = after.into_iter().filter(|key| !before.contains(key)).collect();
                found.changed.push(Change { package, before: lost, after: new });
            }
            _ => {}
        }
    }
    found
}
