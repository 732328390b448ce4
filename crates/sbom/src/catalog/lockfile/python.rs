//! requirements.txt, Pipfile.lock, and the TOML files of Poetry, uv, PDM and PEP 751.

use plimsoll_model::Ecosystem;
use serde_json::Value as Json;
use toml::Value;

use super::{Packages, members, text};
use crate::purl::pep503;

/// Lines that pin a version: `name[extras]==1.0 ; marker --hash=…`.
pub(super) fn requirements(lines: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lines.lines() {
        let line = line.split(" #").next().unwrap_or("").trim();
        if line.starts_with(['#', '-']) {
            continue;
        }
        let requirement = line.split(';').next().unwrap_or("");
        let Some((name, version)) = requirement.split_once("==") else { continue };
        let name = name.split('[').next().unwrap_or("").trim();
        let version = version.trim_start_matches('=').trim();
        let version = version.split([' ', '\t', '\\', ',']).next().unwrap_or("");
        if !version.contains('*') && named(name) {
            packages.add(Ecosystem::Pypi, &pep503(name), version, Vec::new());
        }
    }
    Ok(())
}

pub(super) fn pipfile(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Json = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    for section in ["default", "develop"] {
        for (name, package) in members(&lock, section) {
            if named(name) {
                let version = text(package, "version").trim_start_matches('=');
                packages.add(Ecosystem::Pypi, &pep503(name), version, Vec::new());
            }
        }
    }
    Ok(())
}

/// An array of tables with `name`, `version` and, in one of three forms, `dependencies`.
pub(super) fn toml(lock: &str, array: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: toml::Table = lock.parse().map_err(|why: toml::de::Error| why.message().to_owned())?;
    for package in lock.get(array).and_then(Value::as_array).into_iter().flatten() {
        let value = |name: &str| package.get(name).and_then(Value::as_str).unwrap_or("");
        // uv lists the project itself and its workspace.
        let source = package.get("source").and_then(Value::as_table);
        if source.is_some_and(|source| ["virtual", "editable"].iter().any(|kind| source.contains_key(*kind)))
        {
            continue;
        }
        let depends = match package.get("dependencies") {
            Some(Value::Table(names)) => names.keys().map(|name| pep503(name)).collect(),
            Some(Value::Array(list)) => list.iter().filter_map(dependency).collect(),
            _ => Vec::new(),
        };
        if named(value("name")) {
            packages.add(Ecosystem::Pypi, &pep503(value("name")), value("version"), depends);
        }
    }
    Ok(())
}

/// `{ name = "x" }` or `"x>=1; marker"`.
fn dependency(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Table(about) => about.get("name")?.as_str()?,
        _ => return None,
    };
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).unwrap_or(text.len());
    text.get(..end).map(pep503)
}

fn named(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
