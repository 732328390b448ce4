//! dpkg: `var/lib/dpkg/status`, the `status.d` of distroless and chiselled images, and the lists of owned files.

use plimsoll_model::package::SourcePackage;
use plimsoll_model::sbom::Component;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;

use super::headers::{first, stanzas};
use super::{Context, File, Interpreted, component, last};

pub(super) fn interpret(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut depends: Vec<String> = Vec::new();
    let mut provides: Vec<(String, usize)> = Vec::new();
    for file in files.iter().filter(|file| file.selector == "dpkg") {
        for fields in stanzas(&file.text()) {
            let Some(component) = package(context, &fields, file) else { continue };
            let n = found.components.len();
            provides.extend(names(first(&fields, "Provides")).flatten().map(|name| (name.to_owned(), n)));
            depends.push(format!("{},{}", first(&fields, "Pre-Depends"), first(&fields, "Depends")));
            found.components.push(component);
        }
    }

    // The directory may be a symlink to that of a package with the same source.
    let statements: FxHashMap<&str, &File<'_>> =
        files.iter().filter(|file| file.selector == "dpkg-copyright").map(|file| (file.path, file)).collect();
    for component in &mut found.components {
        let path = format!("usr/share/doc/{}/copyright", component.key.package.name);
        let real = context.merged.resolve(&path);
        if let Some(file) = real.and_then(|path| statements.get(path.as_str())) {
            component.licenses = file.text().lines().map(super::copyright::spdx).collect();
        }
    }

    // Names, and after them what packages provide.
    let mut by_name: FxHashMap<String, Vec<usize>> = FxHashMap::default();
    for (n, component) in found.components.iter().enumerate() {
        by_name.entry(component.key.package.name.clone()).or_default().push(n);
    }
    for (name, n) in provides {
        by_name.entry(name).or_default().push(n);
    }
    let depends_on: Vec<Vec<String>> = found
        .components
        .iter()
        .zip(&depends)
        .map(|(component, depends)| {
            let resolve = |mut alternatives: std::vec::IntoIter<&str>| {
                let arch = component.key.arch.as_str();
                alternatives.find_map(|name| pick(&found.components, by_name.get(name)?, arch))
            };
            names(depends).map(|group| group.collect::<Vec<_>>().into_iter()).filter_map(resolve).collect()
        })
        .collect();
    for (component, depends_on) in found.components.iter_mut().zip(depends_on) {
        component.depends_on = depends_on;
    }

    for file in files.iter().filter(|file| file.selector == "dpkg-files") {
        let (stem, _) = last(file.path).rsplit_once('.').unwrap_or((last(file.path), ""));
        let (name, arch) = stem.split_once(':').unwrap_or((stem, ""));
        let Some(owner) = by_name.get(name).and_then(|of_name| pick(&found.components, of_name, arch)) else {
            continue; // the list of a package that was removed, or whose status is hidden
        };
        for line in file.text().lines() {
            if let Some(path) = context.wanted(owned_path(line)) {
                found.owned.push((path, owner.clone()));
            }
        }
    }
    found
}

/// The package of a stanza, if it is installed.
pub(super) fn package(
    context: &Context<'_>,
    fields: &[(&str, String)],
    file: &File<'_>,
) -> Option<Component> {
    let (name, version) = (first(fields, "Package"), first(fields, "Version"));
    if name.is_empty() || version.is_empty() || !installed(first(fields, "Status")) {
        return None;
    }
    // `Source: NAME (VERSION)`; without it the package is its own source, with its own version.
    let source = first(fields, "Source");
    let (source_name, source_version) = source.split_once('(').unwrap_or((source, ""));
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let key = ComponentKey {
        stream: String::new(),
        package: PackageKey {
            ecosystem: Ecosystem::Deb,
            release: context.distribution.map(|distribution| distribution.release.clone()),
            name: name.to_owned(),
        },
        version: version.to_owned(),
        source: Some(SourcePackage {
            name: or(source_name.trim(), name),
            version: or(source_version.trim_end_matches(')').trim(), version),
        }),
        arch: first(fields, "Architecture").to_owned(),
    };
    let mut component = component(key, name, file, "dpkg");
    component.supplier = first(fields, "Maintainer").to_owned();
    Some(component)
}

/// `Status: WANT FLAG STATE` (dpkg(1)): whether the package's files are there. No field means a `status.d`.
fn installed(status: &str) -> bool {
    status.split_whitespace().nth(2).is_none_or(|state| !matches!(state, "not-installed" | "config-files"))
}

/// The groups of alternatives of a relationship field, names alone (Debian Policy 7.1).
pub(super) fn names(field: &str) -> impl Iterator<Item = impl Iterator<Item = &str>> {
    field.split(',').map(|group| {
        group.split('|').map(|one| {
            let name = one.trim().split([' ', '(', '[', '<', '\n']).next().unwrap_or("");
            name.split(':').next().unwrap_or("")
        })
    })
}

/// The purl of the candidate of an architecture, else of any.
fn pick(components: &[Component], candidates: &[usize], arch: &str) -> Option<String> {
    let of = |n: &usize| components.get(*n);
    let same = candidates.iter().filter_map(of).find(|c| c.key.arch == arch || c.key.arch == "all");
    same.or_else(|| candidates.iter().find_map(of)).map(|component| component.purl.clone())
}

/// The path of a line of a list; a line of `md5sums` has the digest before it.
fn owned_path(line: &str) -> &str {
    match line.split_once("  ") {
        Some((digest, path)) if digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()) => path,
        _ => line,
    }
}
