//! Package databases that are one JSON document: Composer's `installed.json`, `conda-meta`, Bitnami's SPDX
//! files.

use std::collections::BTreeMap;

use plimsoll_model::sbom::Component;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::{Context, File, Interpreted, component, last};
use crate::purl::Purl;
use crate::{identity, license};

/// PHP: a list of packages (Composer 1), or an object with it (Composer 2).
pub(super) fn composer(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let Some(document) = read(file, &mut found) else { continue };
        let packages = match &document {
            Value::Array(packages) => packages.as_slice(),
            Value::Object(members) => {
                members.get("packages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
            }
            _ => &[],
        };
        let components = packages.iter().filter_map(Value::as_object).filter_map(|package| {
            let component = composer_package(package, file)?;
            let requires = package.get("require").and_then(Value::as_object);
            Some((component, requires.into_iter().flat_map(|names| names.keys().cloned()).collect()))
        });
        found.components.extend(related(components.collect()));
    }
    found
}

/// A package of `installed.json` or `composer.lock`.
pub(super) fn composer_package(package: &Map<String, Value>, file: &File<'_>) -> Option<Component> {
    let (name, version) = (text(package, "name"), text(package, "version"));
    if !name.contains('/') || version.is_empty() {
        return None;
    }
    // Packagist compares names without case.
    let key = key(Ecosystem::Composer, &name.to_lowercase(), version);
    let mut component = component(key, name, file, "composer");
    component.licenses = match package.get("license") {
        Some(Value::Array(licenses)) => {
            licenses.iter().filter_map(Value::as_str).filter_map(license::stated).collect()
        }
        Some(Value::String(license)) => license::stated(license).into_iter().collect(),
        _ => Vec::new(),
    };
    let author = package.get("authors").and_then(Value::as_array).and_then(|authors| authors.first());
    component.supplier =
        author.and_then(Value::as_object).map_or("", |author| text(author, "name")).to_owned();
    Some(component)
}

/// conda: a file for each package.
pub(super) fn conda(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut environments: BTreeMap<&str, Vec<(Component, Vec<String>)>> = BTreeMap::new();
    for file in files {
        let Some(Value::Object(package)) = read(file, &mut found) else { continue };
        let (name, version) = (text(&package, "name"), text(&package, "version"));
        if name.is_empty() || version.is_empty() || name.contains('/') {
            continue;
        }
        let mut component = component(key(Ecosystem::Conda, name, version), name, file, "conda");
        component.licenses = license::stated(text(&package, "license")).into_iter().collect();
        let channel = text(&package, "channel").trim_end_matches('/');
        component.supplier =
            channel.trim_end_matches(text(&package, "subdir")).trim_end_matches('/').to_owned();
        let depends = package.get("depends").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let names = depends.iter().filter_map(Value::as_str).filter_map(|one| one.split_whitespace().next());
        let environment = file.path.strip_suffix(last(file.path)).unwrap_or("");
        environments.entry(environment).or_default().push((component, names.map(str::to_owned).collect()));
    }
    for (_, components) in environments {
        found.components.extend(related(components));
    }
    found
}

/// Bitnami: the package URLs that the SPDX file of an application lists.
pub(super) fn bitnami(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let Some(document) = read(file, &mut found) else { continue };
        let packages = document.get("packages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for package in packages.iter().filter_map(Value::as_object) {
            let references = package.get("externalRefs").and_then(Value::as_array).into_iter().flatten();
            let purl = references
                .filter_map(Value::as_object)
                .filter(|reference| text(reference, "referenceType") == "purl")
                .find_map(|reference| text(reference, "referenceLocator").parse::<Purl>().ok());
            let Some(key) = purl.and_then(|purl| identity::component(&purl, None)) else { continue };
            if key.version.is_empty() {
                continue;
            }
            let name = text(package, "name").to_owned();
            let mut component = component(key, &name, file, "bitnami");
            component.licenses = license::stated(text(package, "licenseDeclared"))
                .filter(|license| license != "NOASSERTION")
                .into_iter()
                .collect();
            found.components.push(component);
        }
    }
    found
}

pub(super) fn read(file: &File<'_>, found: &mut Interpreted) -> Option<Value> {
    serde_json::from_slice(file.bytes).map_err(|why| found.unreadable("json_unreadable", file, why)).ok()
}

pub(super) fn text<'v>(object: &'v Map<String, Value>, name: &str) -> &'v str {
    object.get(name).and_then(Value::as_str).unwrap_or("").trim()
}

pub(super) fn key(ecosystem: Ecosystem, name: &str, version: &str) -> ComponentKey {
    // These compare names without case, and their package URLs have none.
    let name = match ecosystem {
        Ecosystem::Composer | Ecosystem::Github | Ecosystem::Hex | Ecosystem::Pub | Ecosystem::Bitnami => {
            name.to_lowercase()
        }
        _ => name.to_owned(),
    };
    ComponentKey {
        package: PackageKey { ecosystem, release: None, name },
        version: version.to_owned(),
        source: None,
        arch: String::new(),
        stream: String::new(),
    }
}

/// Components that name each other as dependencies, without regard to case.
pub(super) fn related(components: Vec<(Component, Vec<String>)>) -> Vec<Component> {
    let mut by_name: FxHashMap<String, String> = FxHashMap::default();
    for (component, _) in &components {
        let name = component.key.package.name.to_lowercase();
        let purl = by_name.entry(name).or_insert_with(|| component.purl.clone());
        if component.purl < *purl {
            purl.clone_from(&component.purl);
        }
    }
    let resolve = |(mut component, names): (Component, Vec<String>)| {
        component
            .depends_on
            .extend(names.iter().filter_map(|name| by_name.get(&name.to_lowercase()).cloned()));
        component
    };
    components.into_iter().map(resolve).collect()
}
