//! opkg: stanzas as dpkg's, in `lib/opkg/status`.

use plimsoll_model::Ecosystem;
use rustc_hash::FxHashMap;

use super::dpkg::{names, package};
use super::headers::{first, stanzas};
use super::{Context, File, Interpreted};
use crate::identity;

pub(super) fn interpret(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut depends: Vec<String> = Vec::new();
    let mut providers: FxHashMap<String, String> = FxHashMap::default();
    for file in files {
        for fields in stanzas(&file.text()) {
            let Some(mut component) = package(context, &fields, file) else { continue };
            component.key.package.ecosystem = Ecosystem::Opkg;
            // A `Source` of opkg is a path in its build tree.
            component.key.source = None;
            component.purl = identity::purl(&component.key).to_string();
            component.found_by = "opkg".to_owned();
            let own = component.key.package.name.clone();
            let provides = names(first(&fields, "Provides")).flatten().map(str::to_owned).collect::<Vec<_>>();
            for name in std::iter::once(own).chain(provides) {
                providers.entry(name).or_insert_with(|| component.purl.clone());
            }
            depends.push(first(&fields, "Depends").to_owned());
            found.components.push(component);
        }
    }
    for (component, depends) in found.components.iter_mut().zip(&depends) {
        component.depends_on = names(depends)
            .filter_map(|mut group| group.find_map(|name| providers.get(name).cloned()))
            .collect();
    }
    found
}
