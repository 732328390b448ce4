//! What differs between two Sboms, by package.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::package::SourcePackage;
use plimsoll_model::{ComponentKey, PackageKey, Release, Sbom};
use serde::Serialize;

/// The difference of two Sboms; each list is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The distributions, if they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distributions>,
    /// Components whose package the first Sbom has not.
    pub added: Vec<ComponentKey>,
    /// Components whose package the second Sbom has not.
    pub removed: Vec<ComponentKey>,
    /// Packages that both have, in other versions (or with another source or architecture).
    pub changed: Vec<Change>,
}

/// Two distributions, or one and none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distributions {
    pub before: Option<Release>,
    pub after: Option<Release>,
}

/// One package whose components differ. Components that are in both are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Without its release.
    pub package: PackageKey,
    pub before: Vec<ComponentKey>,
    pub after: Vec<ComponentKey>,
}

impl Diff {
    /// True if the same components of the same distribution are in both.
    pub fn is_empty(&self) -> bool {
        self.distribution.is_none()
            && self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
    }
}

/// What the second Sbom has that the first has not, and the reverse. Distribution packages are compared without
/// their release, so that an upgraded base image reads as changes, and a package that stayed as it was is none.
pub fn diff(before: &Sbom, after: &Sbom) -> Diff {
    let mut packages: BTreeMap<PackageKey, (Vec<ComponentKey>, Vec<ComponentKey>)> = BTreeMap::new();
    for (sbom, second) in [(before, false), (after, true)] {
        for component in &sbom.components {
            let package = PackageKey { release: None, ..component.key.package.clone() };
            let sides = packages.entry(package).or_default();
            if second { sides.1.push(component.key.clone()) } else { sides.0.push(component.key.clone()) }
        }
    }
    let release = |sbom: &Sbom| sbom.distribution.as_ref().map(|distribution| distribution.release.clone());
    let (was, is) = (release(before), release(after));
    let mut found = Diff {
        distribution: (was != is).then_some(Distributions { before: was, after: is }),
        ..Diff::default()
    };
    for (package, (mut before, mut after)) in packages {
        before.sort();
        after.sort();
        match (before.is_empty(), after.is_empty()) {
            (true, _) => found.added.append(&mut after),
            (_, true) => found.removed.append(&mut before),
            _ => {
                let missing = |from: &[ComponentKey], other: &[ComponentKey]| -> Vec<ComponentKey> {
                    let known: BTreeSet<_> = other.iter().map(told).collect();
                    from.iter().filter(|key| !known.contains(&told(key))).cloned().collect()
                };
                let (lost, new) = (missing(&before, &after), missing(&after, &before));
                if !lost.is_empty() || !new.is_empty() {
                    found.changed.push(Change { package, before: lost, after: new });
                }
            }
        }
    }
    found
}

/// What of a key counts beside the package.
fn told(key: &ComponentKey) -> (&str, Option<&SourcePackage>, &str, &str) {
    (&key.version, key.source.as_ref(), &key.arch, &key.stream)
}
