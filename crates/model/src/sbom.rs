//! The components of one image.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::extract::{Anomaly, Partial};
use crate::package::{ComponentKey, Release};
use crate::platform::Platform;

/// What an image (or a directory, or an imported document) consists of. Byte-stable for equal content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sbom {
    /// Digest of the image manifest, where there is one.
    pub image: Option<Digest>,
    /// A name for people: reference, path, or the document's own.
    pub name: String,
    pub platform: Option<Platform>,
    /// The distribution, from os-release.
    pub distribution: Option<Distribution>,
    /// Layers, oldest first.
    pub layers: Vec<LayerInfo>,
    /// Sorted by (purl, first location); one component for one package.
    pub components: Vec<Component>,
    pub anomalies: Vec<Anomaly>,
    /// Reasons for which the list may be incomplete.
    pub partial: Vec<Partial>,
    /// Labels and annotations of interest (`org.opencontainers.image.*`), sorted.
    pub labels: Vec<(String, String)>,
    /// The known image that this one is built on, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Keys and credentials in the layers, where they were looked for; sorted. Documents of other formats leave
    /// them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

impl Sbom {
    /// Whether a component came with the base image: a layer of that brought it in. `None` where no base is known,
    /// or not which layer brought the component in.
    pub fn from_base(&self, component: &Component) -> Option<bool> {
        let base = self.base.as_ref()?;
        let layer = component.introduced.as_ref()?;
        let at = self.layers.iter().position(|known| known.digest == *layer)?;
        Some(u32::try_from(at).is_ok_and(|at| at < base.layers))
    }
}

impl Sbom {
    /// For each key of components the place of the newest layer that brought it in, where that is known of every place at
    /// which it was found. A distribution's package was brought in by the layer since which its database has it; what is
    /// found by its own files, by the newest layer that has one of them.
    pub fn newest_layers(&self) -> HashMap<&ComponentKey, Option<usize>> {
        let places: HashMap<&Digest, usize> =
            self.layers.iter().enumerate().rev().map(|(n, layer)| (&layer.digest, n)).collect();
        let mut newest: HashMap<&ComponentKey, Option<usize>> = HashMap::new();
        for component in &self.components {
            let place = |layer: &Option<Digest>| places.get(layer.as_ref()?).copied();
            let at = if component.key.package.ecosystem.is_distribution() || component.locations.is_empty() {
                place(&component.introduced)
            } else {
                let layers = component.locations.iter().map(|location| place(&location.layer));
                layers.collect::<Option<Vec<usize>>>().and_then(|all| all.into_iter().max())
            };
            newest
                .entry(&component.key)
                .and_modify(|known| *known = (*known).zip(at).map(|(a, b)| a.max(b)))
                .or_insert(at);
        }
        newest
    }
}

/// The image that the oldest layers are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// A reference, as it was configured.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// How many layers, from the oldest, are its.
    pub layers: u32,
}

/// Key material or a credential. The secret itself is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Secret {
    pub path: String,
    /// Where in the file, from 1; 0 in a file that is no text.
    pub line: u32,
    /// What it is, for example `private-key` or `github-token`.
    pub rule: String,
    /// What tells it, with `****` for the secret.
    pub excerpt: String,
    /// The layer that holds it, where layers are known.
    pub layer: Option<Digest>,
    /// A later layer removes or replaces the file: whoever has the image can read it all the same.
    pub hidden: bool,
}

/// Components that may be the whole of a file, at most; a list of more (a lockfile) has no whole.
const MAX_WHOLES: usize = 16;

impl Sbom {
    /// Components all of whose files are inside of another one's, by key, with those others: what is linked into a program
    /// whose main module the other is, what is in an archive or deeper in it (`app.jar!/lib/x.jar`). Distribution packages
    /// contain nothing here: their locations are their database.
    pub fn inside(&self) -> BTreeMap<ComponentKey, Vec<ComponentKey>> {
        let mut by_path: HashMap<&str, Vec<&Component>> = HashMap::new();
        let kept = |c: &&Component| !c.key.package.ecosystem.is_distribution();
        for component in self.components.iter().filter(kept) {
            for location in &component.locations {
                by_path.entry(&location.path).or_default().push(component);
            }
        }
        let wholes: HashMap<&str, Vec<&Component>> =
            by_path.iter().map(|(path, parts)| (*path, wholes(parts))).collect();
        // Paths with what each whole of them reaches, made where they are asked for.
        let mut reached: HashMap<(&str, &str), HashSet<&str>> = HashMap::new();
        let mut outer: BTreeMap<&ComponentKey, BTreeSet<&ComponentKey>> = BTreeMap::new();
        let mut seen: HashSet<&ComponentKey> = HashSet::new();
        for component in self.components.iter().filter(kept) {
            for location in &component.locations {
                let path = location.path.as_str();
                let mut here: BTreeSet<&ComponentKey> = BTreeSet::new();
                for whole in wholes.get(path).into_iter().flatten().filter(|w| w.purl != component.purl) {
                    let parts = by_path.get(path).map_or(&[][..], Vec::as_slice);
                    let reach =
                        reached.entry((path, whole.purl.as_str())).or_insert_with(|| reach(whole, parts));
                    if reach.contains(component.purl.as_str()) {
                        here.insert(&whole.key);
                    }
                }
                for (at, _) in path.match_indices("!/") {
                    let above = path.get(..at).and_then(|above| wholes.get(above));
                    here.extend(above.into_iter().flatten().map(|whole| &whole.key));
                }
                let all = outer.entry(&component.key).or_default();
                if seen.insert(&component.key) {
                    *all = here;
                } else {
                    all.retain(|key| here.contains(key));
                }
            }
        }
        outer
            .into_iter()
            .filter(|(_, outer)| !outer.is_empty())
            .map(|(key, outer)| (key.clone(), outer.into_iter().cloned().collect()))
            .collect()
    }
}

/// What no other component of the same file depends on.
fn wholes<'s>(parts: &[&'s Component]) -> Vec<&'s Component> {
    let needed: HashSet<&str> = parts.iter().flat_map(|p| p.depends_on.iter().map(String::as_str)).collect();
    let whole = |part: &&&Component| !needed.contains(part.purl.as_str());
    let wholes: Vec<&Component> = parts.iter().filter(whole).copied().collect();
    if wholes.len() > MAX_WHOLES { Vec::new() } else { wholes }
}

/// The purls that `whole` depends on, directly or through others of the same file.
fn reach<'s>(whole: &'s Component, parts: &[&'s Component]) -> HashSet<&'s str> {
    let by_purl: HashMap<&str, &'s Component> = parts.iter().map(|p| (p.purl.as_str(), *p)).collect();
    let mut reached: HashSet<&str> = HashSet::new();
    let mut pending: Vec<&'s Component> = vec![whole];
    while let Some(component) = pending.pop() {
        for purl in &component.depends_on {
            if reached.insert(purl) {
                pending.extend(by_purl.get(purl.as_str()));
            }
        }
    }
    reached
}

/// What os-release says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    pub release: Release,
    pub codename: String,
    pub pretty_name: String,
    /// `ID_LIKE`, split.
    pub like: Vec<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    pub digest: Digest,
    /// The `created_by` line of the image's history, where there is one.
    pub created_by: String,
}

/// One package, with every place where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    pub key: ComponentKey,
    /// The canonical package URL.
    pub purl: String,
    /// The name as the package writes it, for people; the normalised one is in `key`.
    pub display_name: String,
    /// Sorted.
    pub locations: Vec<Location>,
    /// Licences as stated, SPDX expressions where the statement is one; sorted.
    pub licenses: Vec<String>,
    /// Purl of the distribution package that owns the files of this one, if any: its fixes come from there.
    pub owned_by: Option<String>,
    pub confidence: Confidence,
    /// Maintainer or author, as stated.
    pub supplier: String,
    /// Cataloger that found it.
    pub found_by: String,
    /// The layer that brought it in, where layers are known. A package database is written anew by later layers, so
    /// this may be older than the layer of every location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<Digest>,
    /// Purls of components that this one names as dependencies and that are in the same Sbom; sorted.
    pub depends_on: Vec<String>,
}

/// Where a package was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    pub path: String,
    /// The layer that holds the path, where layers are known.
    pub layer: Option<Digest>,
}

/// How sure the evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A guess from a binary's content or a file's name.
    Low,
    /// The package's own statement.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Ecosystem, PackageKey};

    fn component(name: &str, paths: &[&str], depends_on: &[&str]) -> Component {
        let package = PackageKey { ecosystem: Ecosystem::Golang, release: None, name: name.into() };
        let mut key = ComponentKey::from_id("golang|||x|v1|||").unwrap();
        key.package = package;
        let location = |path: &&str| Location { path: (*path).into(), layer: None };
        Component {
            key,
            purl: name.into(),
            display_name: name.into(),
            locations: paths.iter().map(location).collect(),
            licenses: Vec::new(),
            owned_by: None,
            confidence: Confidence::High,
            supplier: String::new(),
            found_by: String::new(),
            introduced: None,
            depends_on: depends_on.iter().map(|d| (*d).into()).collect(),
        }
    }

    #[test]
    fn the_newest_layer_that_brought_something_in() {
        let layer = |n: u8| Digest::from_sha256(&[n; 32]);
        let at = |mut one: Component, layers: &[Option<u8>], introduced: Option<u8>| {
            for (location, n) in one.locations.iter_mut().zip(layers) {
                location.layer = n.map(layer);
            }
            one.introduced = introduced.map(layer);
            one
        };
        let mut dpkg = at(component("deb", &["status"], &[]), &[Some(2)], Some(0));
        dpkg.key.package.ecosystem = crate::Ecosystem::Deb;
        let components = vec![
            at(component("once", &["a"], &[]), &[Some(1)], Some(1)),
            at(component("twice", &["a", "b"], &[]), &[Some(0), Some(2)], Some(0)),
            at(component("unsure", &["a", "b"], &[]), &[Some(0), None], Some(0)),
            dpkg,
        ];
        let mut sbom = empty(components);
        sbom.layers = (0..3).map(|n| LayerInfo { digest: layer(n), created_by: String::new() }).collect();
        let newest = sbom.newest_layers();
        let of =
            |name: &str| *newest.iter().find(|(key, _)| key.package.name == name).map(|(_, at)| at).unwrap();
        assert_eq!([of("once"), of("twice"), of("unsure"), of("deb")], [Some(1), Some(2), None, Some(0)]);
    }

    fn inside(components: Vec<Component>) -> Vec<(String, Vec<String>)> {
        let sbom = empty(components);
        let name = |key: &ComponentKey| key.package.name.clone();
        sbom.inside().iter().map(|(key, outer)| (name(key), outer.iter().map(name).collect())).collect()
    }

    fn empty(components: Vec<Component>) -> Sbom {
        Sbom {
            image: None,
            name: String::new(),
            platform: None,
            distribution: None,
            layers: Vec::new(),
            components,
            anomalies: Vec::new(),
            partial: Vec::new(),
            labels: Vec::new(),
            base: None,
            secrets: Vec::new(),
        }
    }

    #[test]
    fn what_is_inside_of_what() {
        let own = |name: &str, outer: &[&str]| {
            (name.to_owned(), outer.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
        };
        // Two programs: `net` is in both, `text` in one; `crypto` needs `net` and is no whole.
        let components = vec![
            component("a", &["bin/a"], &["net", "text", "crypto"]),
            component("b", &["bin/b"], &["net"]),
            component("crypto", &["bin/a"], &["net"]),
            component("net", &["bin/a", "bin/b"], &[]),
            component("text", &["bin/a"], &[]),
        ];
        assert_eq!(inside(components), [own("crypto", &["a"]), own("text", &["a"])]);
        // The same main module in both files.
        let components = vec![
            component("a", &["bin/a", "bin/b"], &["net"]),
            component("net", &["bin/a", "bin/b"], &[]),
            component("other", &["bin/a"], &[]),
        ];
        assert_eq!(inside(components), [own("net", &["a"])]);
        // Archives in archives.
        let components = vec![
            component("app", &["app.jar"], &["lib"]),
            component("lib", &["app.jar!/lib/x.jar"], &["deep"]),
            component("deep", &["app.jar!/lib/x.jar!/y.jar"], &[]),
        ];
        assert_eq!(inside(components), [own("deep", &["app", "lib"]), own("lib", &["app"])]);
    }
}
