//! pacman: `desc` of each package of the local database, and the `files` beside it.

use plimsoll_model::package::SourcePackage;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;

use super::{Context, File, Interpreted, component, last};
use crate::license;

pub(super) fn interpret(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut depends: Vec<Vec<String>> = Vec::new();
    let mut providers: FxHashMap<String, String> = FxHashMap::default();
    let mut by_directory: FxHashMap<&str, String> = FxHashMap::default();
    for file in files.iter().filter(|file| last(file.path) == "desc") {
        let text = file.text();
        let values = |section: &str| values(&text, section).map(str::to_owned).collect::<Vec<_>>();
        let first = |section: &str| values(section).into_iter().next().unwrap_or_default();
        let (name, version, base) = (first("NAME"), first("VERSION"), first("BASE"));
        if name.is_empty() || version.is_empty() {
            continue;
        }
        let key = ComponentKey {
            package: PackageKey {
                ecosystem: Ecosystem::Alpm,
                release: context.distribution.map(|distribution| distribution.release.clone()),
                name: name.clone(),
            },
            version: version.clone(),
            source: Some(SourcePackage { name: if base.is_empty() { name.clone() } else { base }, version }),
            arch: first("ARCH"),
            stream: String::new(),
        };
        let mut component = component(key, &name, file, "pacman");
        component.supplier = first("PACKAGER");
        component.licenses = values("LICENSE").iter().filter_map(|text| license::stated(text)).collect();
        for provided in std::iter::once(name).chain(values("PROVIDES")) {
            providers.entry(bare(&provided).to_owned()).or_insert_with(|| component.purl.clone());
        }
        depends.push(values("DEPENDS"));
        by_directory.insert(directory(file.path), component.purl.clone());
        found.components.push(component);
    }
    for (component, names) in found.components.iter_mut().zip(depends) {
        component.depends_on = names.iter().filter_map(|name| providers.get(bare(name)).cloned()).collect();
    }
    for file in files.iter().filter(|file| last(file.path) == "files") {
        let Some(owner) = by_directory.get(directory(file.path)) else { continue };
        let text = file.text();
        for path in text.lines().filter_map(|line| context.wanted(line)) {
            found.owned.push((path, owner.clone()));
        }
    }
    found
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The lines of a section.
fn values<'t>(text: &'t str, section: &str) -> impl Iterator<Item = &'t str> {
    let is_header = |line: &str| line.len() > 2 && line.starts_with('%') && line.ends_with('%');
    let wanted = format!("%{section}%");
    text.lines()
        .map(str::trim)
        .skip_while(move |line| *line != wanted)
        .skip(1)
        .take_while(move |line| !is_header(line))
        .filter(|line| !line.is_empty())
}

/// A dependency or provision without its version constraint.
fn bare(text: &str) -> &str {
    text.split(['=', '<', '>', ':']).next().unwrap_or(text).trim()
}
