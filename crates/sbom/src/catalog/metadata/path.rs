//! Packages whose directories name them: Portage, Homebrew, opam, Nix.

use std::collections::BTreeMap;

use plimsoll_model::Ecosystem;
use plimsoll_model::sbom::{Component, Location};

use super::{found, quoted};
use crate::catalog::{Context, File, Interpreted, last};
use crate::license;

/// Gentoo: `var/db/pkg/CATEGORY/NAME-VERSION/`.
pub(in crate::catalog) fn portage(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    let mut licenses: BTreeMap<&str, String> = BTreeMap::new();
    for file in files.iter().filter(|file| last(file.path) == "LICENSE") {
        licenses.insert(directory(file.path), file.text().trim().to_owned());
    }
    for file in files.iter().filter(|file| last(file.path) == "CONTENTS") {
        let mut parts = directory(file.path).rsplit('/');
        let (Some(package), Some(category)) = (parts.next(), parts.next()) else { continue };
        let Some((name, version)) = package_version(package) else { continue };
        let name = format!("{category}/{name}");
        let Some(mut component) = found(Ecosystem::Ebuild, &name, version, file, "portage") else { continue };
        component.licenses =
            licenses.get(directory(file.path)).and_then(|text| license::stated(text)).into_iter().collect();
        for path in file.text().lines().filter_map(|line| context.wanted(line)) {
            result.owned.push((path, component.purl.clone()));
        }
        result.components.push(component);
    }
    result
}

/// `NAME-VERSION` or `NAME-VERSION-rN`: names may hold dashes and digits, versions begin with a digit (PMS, 3.1).
fn package_version(text: &str) -> Option<(&str, &str)> {
    let (head, tail) = text.rsplit_once('-')?;
    let revision =
        tail.strip_prefix('r').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let head = if revision { head.rsplit_once('-')?.0 } else { head };
    let version = text.get(head.len() + 1..)?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some((head, version))
}

/// Homebrew: `Cellar/NAME/VERSION/.brew/NAME.rb`.
pub(in crate::catalog) fn homebrew(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let mut parts = file.path.rsplit('/').skip(2);
        let (Some(version), Some(name)) = (parts.next(), parts.next()) else { continue };
        let Some(mut formula) = found(Ecosystem::Brew, name, version, file, "homebrew") else { continue };
        let text = file.text();
        formula.licenses = text
            .lines()
            .filter_map(|line| quoted(line.trim().strip_prefix("license ")?.trim()))
            .filter_map(license::stated)
            .collect();
        result.components.push(formula);
    }
    result
}

/// OCaml: `.opam-switch/packages/NAME.VERSION/opam`.
pub(in crate::catalog) fn opam(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let Some((name, version)) = last(directory(file.path)).split_once('.') else { continue };
        let Some(mut package) = found(Ecosystem::Opam, name, version, file, "opam") else { continue };
        let text = file.text();
        package.licenses = text
            .lines()
            .filter_map(|line| line.strip_prefix("license:"))
            .flat_map(|value| value.split('"').skip(1).step_by(2))
            .filter_map(license::stated)
            .collect();
        result.components.push(package);
    }
    result
}

/// Nix: `nix/store/HASH-NAME-VERSION`, one package with each of its outputs.
pub(in crate::catalog) fn nix(context: &Context<'_>, _: &[File<'_>]) -> Interpreted {
    const OUTPUTS: &[&str] =
        &["bin", "dev", "doc", "lib", "man", "out", "info", "static", "debug", "devdoc", "data"];
    let mut result = Interpreted::default();
    for (entry, layer) in context.merged.directories("nix/store") {
        let Some((hash, rest)) = entry.split_once('-') else { continue };
        if hash.len() != 32 || !hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        let rest =
            OUTPUTS.iter().find_map(|output| rest.strip_suffix(output)?.strip_suffix('-')).unwrap_or(rest);
        // The version begins at the first dash before a digit (`builtins.parseDrvName`).
        let dash = rest.match_indices('-').find(|(at, _)| {
            rest.get(at + 1..).is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        });
        let Some((at, _)) = dash else { continue };
        let (name, version) = (rest.get(..at).unwrap_or(""), rest.get(at + 1..).unwrap_or(""));
        let path = format!("nix/store/{entry}");
        let layer = context.layers.get(layer).and_then(Option::as_ref);
        let file = File { path: &path, links: Vec::new(), selector: "", bytes: &[], layer };
        let package: Option<Component> = found(Ecosystem::Nix, name, version, &file, "nix");
        result.components.extend(package.map(|package| Component {
            locations: vec![Location { path: path.clone(), layer: layer.cloned() }],
            ..package
        }));
    }
    result
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_names() {
        for (text, expected) in [
            ("openssl-3.3.2-r1", Some(("openssl", "3.3.2-r1"))),
            ("font-misc-100dpi-1.0.4", Some(("font-misc-100dpi", "1.0.4"))),
            ("gtk+-3.24.41-r2", Some(("gtk+", "3.24.41-r2"))),
            ("audio-0-r1", Some(("audio", "0-r1"))),
            ("openssl", None),
            ("a-b", None),
            ("-r1", None),
        ] {
            assert_eq!(package_version(text), expected, "{text}");
        }
    }
}
