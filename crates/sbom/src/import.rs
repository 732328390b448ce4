//! What every reader of documents ends with.

use plimsoll_model::extract::Partial;
use plimsoll_model::sbom::Component;
use plimsoll_model::{ComponentKey, Sbom};
use rustc_hash::FxHashMap;

/// The package URL of an owner, if it is written as one: no spaces, nothing beyond ASCII.
pub(crate) fn owner(purl: &str) -> Option<String> {
    (purl.starts_with("pkg:") && purl.bytes().all(|byte| byte.is_ascii_graphic())).then(|| purl.to_owned())
}

/// Puts components into an Sbom as [`crate::build`] would: one for one key, lists sorted.
pub(crate) fn finish(sbom: &mut Sbom, components: Vec<Component>, nameless: usize) {
    let mut index: FxHashMap<ComponentKey, usize> = FxHashMap::default();
    for mut component in components {
        match index.get(&component.key).and_then(|&at| sbom.components.get_mut(at)) {
            Some(known) => {
                known.locations.append(&mut component.locations);
                known.licenses.append(&mut component.licenses);
                known.depends_on.append(&mut component.depends_on);
                known.confidence = known.confidence.max(component.confidence);
            }
            None => {
                index.insert(component.key.clone(), sbom.components.len());
                sbom.components.push(component);
            }
        }
    }
    for component in &mut sbom.components {
        component.locations.sort();
        component.locations.dedup();
        component.licenses.sort();
        component.licenses.dedup();
        component.depends_on.sort();
        component.depends_on.dedup();
    }
    sbom.components.sort_by(|a, b| (&a.purl, &a.locations, &a.key).cmp(&(&b.purl, &b.locations, &b.key)));
    if nameless > 0 {
        sbom.partial.push(Partial {
            code: "component_without_purl".to_owned(),
            detail: format!("{nameless} components have no usable package URL"),
        });
    }
    sbom.partial.sort();
    sbom.partial.dedup();
    sbom.anomalies.sort();
    sbom.anomalies.dedup();
    sbom.labels.sort();
}
