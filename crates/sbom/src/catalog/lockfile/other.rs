//! Rust, Ruby, PHP, .NET, Go, Gradle, Dart, Elixir, Swift, Conan.

use plimsoll_model::Ecosystem;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Packages, members, text};
use crate::catalog::File;
use crate::catalog::documents::composer_package;

/// `Cargo.lock`: `[[package]]`, with dependencies as `name` or `name version (source)`.
pub(super) fn cargo(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: toml::Table = lock.parse().map_err(|why: toml::de::Error| why.message().to_owned())?;
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let value = |name: &str| package.get(name).and_then(toml::Value::as_str).unwrap_or("");
        let depends = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        let names = depends.filter_map(|one| one.as_str()?.split(' ').next().map(str::to_owned)).collect();
        packages.add(Ecosystem::Cargo, value("name"), value("version"), names);
    }
    Ok(())
}

/// `Gemfile.lock`: under `specs:`, four blanks before a gem, six before what it depends on.
pub(super) fn gemfile(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let mut section = "";
    let mut gem: Option<(&str, &str, Vec<String>)> = None;
    for line in lock.lines().chain(["END"]) {
        let indent = line.len() - line.trim_start().len();
        let entry = line.trim();
        let (name, version) =
            entry.split_once(" (").map_or((entry, ""), |(n, v)| (n, v.trim_end_matches(')')));
        if indent == 6
            && let Some((_, _, depends)) = &mut gem
        {
            depends.push(name.to_owned());
            continue;
        }
        if let Some((name, version, depends)) = gem.take() {
            packages.add(Ecosystem::Gem, name, version, depends);
        }
        if indent == 0 {
            section = entry;
        } else if indent == 4 && matches!(section, "GEM" | "GIT") && !version.is_empty() {
            // `1.15.4-x86_64-linux`: the platform is no part of the version.
            gem = Some((name, version.split('-').next().unwrap_or(version), Vec::new()));
        }
    }
    Ok(())
}

pub(super) fn composer(lock: &str, file: &File<'_>, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    for section in ["packages", "packages-dev"] {
        for package in lock.get(section).and_then(Value::as_array).into_iter().flatten() {
            if let Some(about) = package.as_object()
                && let Some(mut component) = composer_package(about, file)
            {
                component.found_by = "lockfile".to_owned();
                let requires = members(package, "require").map(|(name, _)| name.clone()).collect();
                packages.found.push((component, requires));
            }
        }
    }
    Ok(())
}

/// `packages.lock.json`: dependencies by target framework.
pub(super) fn nuget(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    for (_, target) in members(&lock, "dependencies") {
        for (name, package) in target.as_object().into_iter().flatten() {
            let depends = members(package, "dependencies").map(|(name, _)| name.clone()).collect();
            packages.add(Ecosystem::Nuget, name, text(package, "resolved"), depends);
        }
    }
    Ok(())
}

/// `go.mod`: what is required, and replaced by another module (not by a directory).
pub(super) fn go(file: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let mut block = "";
    let mut required: Vec<(&str, &str)> = Vec::new();
    let mut replaced: FxHashMap<&str, (Option<&str>, &str, &str)> = FxHashMap::default();
    for line in file.lines() {
        let line = line.split("//").next().unwrap_or("").trim();
        let mut words = line.split_whitespace().peekable();
        let directive = if block.is_empty() { words.next().unwrap_or("") } else { block };
        match words.peek().copied() {
            Some("(") if block.is_empty() => {
                block = directive;
                continue;
            }
            Some(")") => {
                block = "";
                continue;
            }
            _ => {}
        }
        let words: Vec<&str> = words.map(|word| word.trim_matches('"')).collect();
        match (directive, words.as_slice()) {
            ("require", [path, version, ..]) => required.push((path, version)),
            ("replace", [path, "=>", to, version, ..]) => {
                replaced.insert(path, (None, to, version));
            }
            ("replace", [path, from, "=>", to, version, ..]) => {
                replaced.insert(path, (Some(from), to, version));
            }
            _ => {}
        }
    }
    for (path, version) in required {
        let (path, version) = match replaced.get(path) {
            Some((from, to, by)) if from.is_none_or(|from| from == version) => (*to, *by),
            _ => (path, version),
        };
        packages.add(Ecosystem::Golang, path, version, Vec::new());
    }
    Ok(())
}

/// `group:artifact:version=configurations`.
pub(super) fn gradle(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((module, _)) = line.split_once('=') else { continue };
        if let Some((name, version)) = module.rsplit_once(':').filter(|(name, _)| name.contains(':')) {
            packages.add(Ecosystem::Maven, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `pubspec.lock`: under `packages:`, two blanks before a name and four before its `version` and `source`.
pub(super) fn pub_lock(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let (mut in_packages, mut name, mut version, mut hosted) = (false, "", "", false);
    for line in lock.lines().chain(["end:"]) {
        let indent = line.len() - line.trim_start().len();
        let (field, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        let value = value.trim().trim_matches('"');
        if indent <= 2 && !line.trim().is_empty() {
            if hosted {
                packages.add(Ecosystem::Pub, name, version, Vec::new());
            }
            (name, version, hosted) = (field.trim_matches('"'), "", false);
            if indent == 0 {
                in_packages = field == "packages";
            }
        } else if indent == 4 && in_packages {
            match field {
                "version" => version = value,
                "source" => hosted = value == "hosted",
                _ => {}
            }
        }
    }
    Ok(())
}

/// `mix.lock`: `"name": {:hex, :package, "1.2.3", …}`.
pub(super) fn mix(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let Some((_, tuple)) = line.split_once("{:hex, :") else { continue };
        let mut fields = tuple.splitn(3, ',').map(|field| field.trim().trim_matches('"'));
        if let (Some(name), Some(version)) = (fields.next(), fields.next()) {
            packages.add(Ecosystem::Hex, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `Package.resolved`: pins with a place and a version; those of a branch or a commit have none.
pub(super) fn swift(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    let pins = lock.get("pins").or_else(|| lock.get("object")?.get("pins"));
    for pin in pins.and_then(Value::as_array).into_iter().flatten() {
        let place = Some(text(pin, "location")).filter(|place| !place.is_empty());
        let place = place.unwrap_or_else(|| text(pin, "repositoryURL"));
        // `https://host/owner/name.git` and `git@host:owner/name` name the same.
        let name = place.split_once("://").map_or(place, |(_, rest)| rest);
        let name = name.split_once('@').map_or(name, |(_, rest)| rest).replace(':', "/");
        let name = name.trim_end_matches('/').trim_end_matches(".git");
        let version = pin.get("state").map_or("", |state| text(state, "version"));
        if name.contains('/') {
            packages.add(Ecosystem::Swift, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `conan.lock`: references `name/1.0@user/channel#revision%time` (2), or those of `graph_lock` (1).
pub(super) fn conan(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    let lists = ["requires", "build_requires", "python_requires"];
    let listed =
        lists.iter().filter_map(|list| lock.get(*list)?.as_array()).flatten().filter_map(Value::as_str);
    let nodes = lock.get("graph_lock").map(|graph| members(graph, "nodes")).into_iter().flatten();
    for reference in listed.chain(nodes.map(|(_, node)| text(node, "ref"))) {
        let bare = reference.split(['@', '#', '%']).next().unwrap_or("");
        if let Some((name, version)) = bare.split_once('/') {
            packages.add(Ecosystem::Conan, name, version, Vec::new());
        }
    }
    Ok(())
}
