//! Rust: the crates that `cargo auditable` lists in a program.

use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use serde::Deserialize;

use super::{Context, File, Interpreted, component};

/// A crate as the selector keeps it.
#[derive(Debug, Deserialize)]
struct Crate {
    name: String,
    version: String,
    /// `build` for what is not in the program.
    #[serde(default)]
    kind: String,
    /// Indices into the list.
    #[serde(default)]
    dependencies: Vec<usize>,
}

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let crates = match serde_json::from_slice::<Vec<Crate>>(file.bytes) {
            Ok(crates) => crates,
            Err(why) => {
                found.unreadable("rust_audit_unreadable", file, why);
                continue;
            }
        };
        let mut components: Vec<Option<_>> = crates
            .iter()
            .map(|one| {
                if one.kind == "build" || one.name.is_empty() || one.version.is_empty() {
                    return None;
                }
                let key = ComponentKey {
                    package: PackageKey {
                        ecosystem: Ecosystem::Cargo,
                        release: None,
                        name: one.name.clone(),
                    },
                    version: one.version.clone(),
                    source: None,
                    arch: String::new(),
                    stream: String::new(),
                };
                Some(component(key, &one.name, file, "rust-binary"))
            })
            .collect();
        let purls: Vec<Option<String>> =
            components.iter().map(|one| one.as_ref().map(|component| component.purl.clone())).collect();
        for (component, one) in components.iter_mut().zip(&crates) {
            if let Some(component) = component {
                let purl = |index: &usize| purls.get(*index).cloned().flatten();
                component.depends_on = one.dependencies.iter().filter_map(purl).collect();
            }
        }
        found.components.extend(components.into_iter().flatten());
    }
    found
}
