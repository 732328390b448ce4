//! npm: the `package.json` of installed packages.

use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Context, File, Interpreted, component};
use crate::license;

/// Longest name that the registry takes (`validate-npm-package-name`).
const MAX_NAME: usize = 214;

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut manifests: Vec<(&str, Vec<String>)> = Vec::new();
    for file in files {
        let manifest = match serde_json::from_slice::<Value>(file.bytes) {
            Ok(Value::Object(manifest)) => manifest,
            Ok(_) => continue,
            Err(why) => {
                found.unreadable("npm_manifest_unreadable", file, why);
                continue;
            }
        };
        let text = |name: &str| manifest.get(name).and_then(Value::as_str).unwrap_or("").trim();
        let (name, version) = (text("name"), text("version"));
        if !valid_name(name) || !valid_version(version) {
            continue;
        }
        let key = ComponentKey {
            package: PackageKey { ecosystem: Ecosystem::Npm, release: None, name: name.to_owned() },
            version: version.trim_start_matches(['v', '=']).to_owned(),
            source: None,
            arch: String::new(),
            stream: String::new(),
        };
        let mut component = component(key, name, file, "npm");
        component.supplier = person(manifest.get("author"));
        component.licenses = licenses(&manifest);
        let depends = ["dependencies", "optionalDependencies", "peerDependencies"]
            .iter()
            .filter_map(|field| manifest.get(*field)?.as_object())
            .flat_map(|names| names.keys().cloned())
            .collect();
        manifests.push((file.path, depends));
        found.components.push(component);
    }

    // Where Node looks for a package: node_modules beside the manifest, then in each directory above.
    let purls: Vec<String> = found.components.iter().map(|component| component.purl.clone()).collect();
    let mut at: FxHashMap<&str, &str> = FxHashMap::default();
    for ((path, _), purl) in manifests.iter().zip(&purls) {
        at.insert(directory(path), purl);
    }
    for (component, (path, depends)) in found.components.iter_mut().zip(&manifests) {
        for name in depends {
            let mut from = directory(path);
            loop {
                let beside = if from.is_empty() {
                    format!("node_modules/{name}")
                } else {
                    format!("{from}/node_modules/{name}")
                };
                if let Some(purl) = at.get(beside.as_str()) {
                    component.depends_on.push((*purl).to_owned());
                    break;
                }
                if from.is_empty() {
                    break;
                }
                from = directory(from);
            }
        }
    }
    found
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// What `validate-npm-package-name` takes for packages that exist: templates and placeholders are no packages.
fn valid_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '_'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c))
    };
    let valid = match name.strip_prefix('@') {
        Some(rest) => rest.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    };
    valid && name.len() <= MAX_NAME && !matches!(name, "node_modules" | "favicon.ico")
}

/// A version as `semver` parses it loosely: begins with a number, and has no blank.
fn valid_version(version: &str) -> bool {
    version.len() <= 256
        && version.trim_start_matches(['v', '=']).starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || "-+._=~".contains(c))
}

/// `license` and the older `licenses`: a text, an object with `type`, or a list of them.
fn licenses(manifest: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut open: Vec<&Value> =
        ["license", "licenses"].iter().filter_map(|name| manifest.get(*name)).collect();
    let mut stated = Vec::new();
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => stated.extend(license::stated(text)),
            Value::Object(fields) => open.extend(fields.get("type").or_else(|| fields.get("name"))),
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    stated
}

/// `author`: `Name <mail> (url)` or an object.
fn person(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Object(fields)) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("").trim();
            match (text("name"), text("email")) {
                (name, "") => name.to_owned(),
                ("", mail) => mail.to_owned(),
                (name, mail) => format!("{name} <{mail}>"),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        for name in ["lodash", "@babel/core", "JSONStream", "a.b_c-d"] {
            assert!(valid_name(name), "{name}");
        }
        for name in [
            "",
            ".bin",
            "_x",
            "<%= name %>",
            "{{name}}",
            "@/x",
            "@a",
            "a/b",
            "a b",
            "node_modules",
            &"x".repeat(215),
        ] {
            assert!(!valid_name(name), "{name}");
        }
        for version in ["1.0.0", "v1.2.3", "0.0.0-development", "1.0.0+build.1", "1.0"] {
            assert!(valid_version(version), "{version}");
        }
        for version in ["", "<%= version %>", "VERSION", "1.0.0 || 2", "latest"] {
            assert!(!valid_version(version), "{version}");
        }
    }
}
