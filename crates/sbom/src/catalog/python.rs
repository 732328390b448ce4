//! Python: `METADATA` of wheels, `PKG-INFO` of eggs (the core metadata specifications, PEP 566 and later).

use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;

use super::headers::{all, first, stanzas};
use super::{Context, File, Interpreted, component, last};
use crate::license;
use crate::purl::pep503;

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut requires: Vec<(String, Vec<String>)> = Vec::new();
    for file in files.iter().filter(|file| last(file.path) != "direct_url.json") {
        let text = file.text();
        let Some(fields) = stanzas(&text).next() else { continue };
        let (name, version) = (first(&fields, "Name"), first(&fields, "Version"));
        if !valid_name(name) || version.is_empty() || version.contains(char::is_whitespace) {
            continue;
        }
        let key = ComponentKey {
            package: PackageKey { ecosystem: Ecosystem::Pypi, release: None, name: pep503(name) },
            version: version.to_owned(),
            source: None,
            arch: String::new(),
            stream: String::new(),
        };
        let mut component = component(key, name, file, "python");
        let known = |name: &str| Some(first(&fields, name)).filter(|text| !matches!(*text, "" | "UNKNOWN"));
        component.supplier = match (known("Author"), known("Author-email")) {
            (Some(author), Some(mail)) if !mail.contains('<') => format!("{author} <{mail}>"),
            (_, Some(mail)) if mail.contains('<') => mail.to_owned(),
            (author, mail) => author.or(mail).or(known("Maintainer")).unwrap_or("").to_owned(),
        }
        .replace('\n', " ");
        component.licenses =
            known("License-Expression").or(known("License")).and_then(license::stated).into_iter().collect();
        if component.licenses.is_empty() {
            // `License :: OSI Approved :: BSD License`: the last part.
            component.licenses = all(&fields, "Classifier")
                .filter_map(|classifier| classifier.strip_prefix("License :: "))
                .filter_map(|classifier| license::stated(classifier.rsplit(" :: ").next()?))
                .filter(|license| license != "OSI Approved")
                .collect();
        }
        requires
            .push((site(file.path).to_owned(), all(&fields, "Requires-Dist").filter_map(required).collect()));
        found.components.push(component);
    }

    let purls: Vec<(String, String)> =
        found.components.iter().map(|c| (c.key.package.name.clone(), c.purl.clone())).collect();
    let mut installed: FxHashMap<(&str, &str), &str> = FxHashMap::default();
    let mut anywhere: FxHashMap<&str, &str> = FxHashMap::default();
    for ((name, purl), (site, _)) in purls.iter().zip(&requires) {
        installed.entry((site, name)).or_insert(purl);
        anywhere.entry(name).or_insert(purl);
    }
    for (component, (site, names)) in found.components.iter_mut().zip(&requires) {
        let purl = |name: &String| -> Option<String> {
            let found = installed.get(&(site.as_str(), name.as_str()));
            found.or_else(|| anywhere.get(name.as_str())).map(|purl| (*purl).to_owned())
        };
        component.depends_on = names.iter().filter_map(purl).collect();
    }
    found
}

/// The directory in which the `*.dist-info` or `*.egg-info` lies.
fn site(path: &str) -> &str {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.ends_with(".egg-info") {
        return directory;
    }
    directory.rsplit_once('/').map_or("", |(site, _)| site)
}

/// A name as PEP 508 has it.
fn valid_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// The normalised name of a requirement (PEP 508), unless it belongs to an extra.
fn required(requirement: &str) -> Option<String> {
    let (specifier, marker) = requirement.split_once(';').unwrap_or((requirement, ""));
    if marker.contains("extra") {
        return None;
    }
    let end = specifier
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
        .unwrap_or(specifier.len());
    specifier.get(..end).filter(|name| !name.is_empty()).map(pep503)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements() {
        assert_eq!(required("urllib3 (<1.25,>=1.21.1)").as_deref(), Some("urllib3"));
        assert_eq!(required("Zope.Interface[x]>=2; python_version > '3'").as_deref(), Some("zope-interface"));
        assert_eq!(required("pyOpenSSL>=0.14 ; extra == 'secure'"), None);
        assert_eq!(required(""), None);
    }

    #[test]
    fn site_directories() {
        assert_eq!(
            site("usr/lib/python3/dist-packages/x-1.dist-info/METADATA"),
            "usr/lib/python3/dist-packages"
        );
        assert_eq!(site("usr/lib/python3/dist-packages/x-1.egg-info"), "usr/lib/python3/dist-packages");
        assert_eq!(site("x.egg-info/PKG-INFO"), "");
    }
}
