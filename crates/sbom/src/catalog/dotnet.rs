//! .NET: the libraries that an application was published with (`*.deps.json`), and assemblies that no such document
//! lists, by their version resource.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::Ecosystem;
use plimsoll_model::sbom::{Component, Confidence};
use serde_json::Value;

use super::documents::{key, read, related, text};
use super::{Context, File, Interpreted, component, last};

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    // The assemblies that a document lists, by its directory.
    let mut listed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.selector == "dotnet") {
        let Some(document) = read(file, &mut found) else { continue };
        let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let runtime = object(document.get("runtimeTarget"));
        let targets = object(document.get("targets"));
        let target = object(targets.get(text(&runtime, "name")).or_else(|| targets.values().next()));
        let mut components = Vec::new();
        for (library, about) in &object(document.get("libraries")) {
            let Some((name, version)) = library.split_once('/') else { continue };
            if name.is_empty() || version.is_empty() || version.contains('/') {
                continue;
            }
            let mut component = component(key(Ecosystem::Nuget, name, version), name, file, "dotnet");
            // A project or a reference to a file has no package of this name to speak of.
            if about.get("type").and_then(Value::as_str) != Some("package") {
                component.confidence = Confidence::Low;
            }
            let depends = object(target.get(library).and_then(|library| library.get("dependencies")));
            components.push((component, depends.keys().cloned().collect()));
        }
        found.components.extend(related(components));
        let assemblies = targets.values().filter_map(Value::as_object).flat_map(|target| target.values());
        let assemblies =
            assemblies.filter_map(|library| library.get("runtime")?.as_object()).flat_map(|map| map.keys());
        listed
            .entry(directory(file.path))
            .or_default()
            .extend(assemblies.map(|path| last(path).to_lowercase()));
    }
    for file in files.iter().filter(|file| file.selector == "pe") {
        let name = last(file.path).to_lowercase();
        let known = ancestors(file.path)
            .any(|directory| listed.get(directory).is_some_and(|names| names.contains(&name)));
        if !known {
            found.components.extend(assembly(file));
        }
    }
    found
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The directories above a path, the root last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(directory(path)), |path| (!path.is_empty()).then(|| directory(path)))
}

/// An assembly is called by its file's name; that a package of this name has it is a convention.
fn assembly(file: &File<'_>) -> Option<Component> {
    let document: Value = serde_json::from_slice(file.bytes).ok()?;
    let texts = document.as_object()?;
    let (name, _) = last(file.path).rsplit_once('.')?;
    let version =
        [text(texts, "ProductVersion"), text(texts, "FileVersion")].into_iter().find_map(version)?;
    let mut component = component(key(Ecosystem::Nuget, name, version), name, file, "dotnet");
    component.confidence = Confidence::Low;
    component.supplier = text(texts, "CompanyName").to_owned();
    Some(component)
}

/// `8.0.1` of `8.0.1+bf5e279d92`, `4.7.4076.0` of `4.7.4076.0 built by: X`.
fn version(text: &str) -> Option<&str> {
    let version = text.split(['+', ' ', ',']).next()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    // `0.0.0.0` is what compilers write where nobody states one.
    let stated = version.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (stated
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.contains('.')
        && version.chars().all(fits))
    .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("13.0.3+0a2e291c", Some("13.0.3")),
            ("4.7.4076.0 built by: NET472REL1LAST_B", Some("4.7.4076.0")),
            ("8.0.0-rc.2.23479.6+0b25", Some("8.0.0-rc.2.23479.6")),
            ("1, 0, 0, 0", None),
            ("0.0.0.0", None),
            ("Release 73", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
        assert_eq!(ancestors("a/b/c.dll").collect::<Vec<_>>(), ["a/b", "a", ""]);
    }
}
