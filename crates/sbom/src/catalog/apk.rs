//! apk: `lib/apk/db/installed` (Alpine, Wolfi, Chainguard), apk-tools' installed database v2.

use plimsoll_model::package::SourcePackage;
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;

use super::{Context, File, Interpreted, component};
use crate::license;

pub(super) fn interpret(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut depends: Vec<Vec<String>> = Vec::new();
    let mut providers: FxHashMap<String, String> = FxHashMap::default();
    for file in files {
        let text = file.text();
        for stanza in text.split("\n\n") {
            let field = |letter: char| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(letter)?.strip_prefix(':'))
                    .map(str::trim)
                    .unwrap_or("")
            };
            let (name, version, origin) = (field('P'), field('V'), field('o'));
            if name.is_empty() || version.is_empty() {
                continue;
            }
            let key = ComponentKey {
                package: PackageKey {
                    ecosystem: Ecosystem::Apk,
                    release: context.distribution.map(|distribution| distribution.release.clone()),
                    name: name.to_owned(),
                },
                version: version.to_owned(),
                source: Some(SourcePackage {
                    name: if origin.is_empty() { name } else { origin }.to_owned(),
                    version: version.to_owned(),
                }),
                arch: field('A').to_owned(),
                stream: String::new(),
            };
            let mut component = component(key, name, file, "apk");
            component.supplier = field('m').to_owned();
            component.licenses.extend(license::stated(field('L')));
            for provided in std::iter::once(name).chain(field('p').split_whitespace()) {
                providers.entry(bare(provided).to_owned()).or_insert_with(|| component.purl.clone());
            }
            depends.push(field('D').split_whitespace().map(|one| bare(one).to_owned()).collect());
            let mut directory = "";
            for line in stanza.lines() {
                if let Some(path) = line.strip_prefix("F:") {
                    directory = path;
                } else if let Some(name) = line.strip_prefix("R:")
                    && let Some(path) = context.wanted(&format!("{directory}/{name}"))
                {
                    found.owned.push((path, component.purl.clone()));
                }
            }
            found.components.push(component);
        }
    }
    for (component, depends) in found.components.iter_mut().zip(depends) {
        component.depends_on = depends.iter().filter_map(|name| providers.get(name).cloned()).collect();
    }
    found
}

/// A dependency or provision without its version constraint.
fn bare(text: &str) -> &str {
    text.split(['=', '<', '>', '~']).next().unwrap_or(text)
}
