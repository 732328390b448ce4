//! Erlang, CocoaPods, Carthage, Haskell, R, Perl, Julia, OCaml, Terraform, sbt, Conan's text form, GitHub workflows, and
//! project files of Maven and .NET as the selector reduces them.

use plimsoll_model::Ecosystem;
use serde_json::Value;

use super::{Packages, members, text};

/// `rebar.lock`: `{<<"name">>,{pkg,<<"package">>,<<"1.0.0">>},0}`.
pub(super) fn rebar(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let binary = |text: &str| -> Option<(String, usize)> {
        let start = text.find("<<\"")? + 3;
        let end = start + text.get(start..)?.find("\">>")?;
        Some((text.get(start..end)?.to_owned(), end))
    };
    for (at, _) in lock.match_indices("{pkg,") {
        let Some(rest) = lock.get(at..) else { continue };
        let Some((name, end)) = binary(rest) else { continue };
        if let Some((version, _)) = rest.get(end..).and_then(binary) {
            packages.add(Ecosystem::Hex, &name, &version, Vec::new());
        }
    }
    Ok(())
}

/// `Podfile.lock`: under `PODS:`, `  - Name/Part (1.0)` and `    - Other (~> 2)` below it.
pub(super) fn podfile(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let root = |text: &str| text.trim_matches('"').split([' ', '/']).next().unwrap_or("").to_owned();
    let mut in_pods = false;
    let mut pod: Option<(String, String, Vec<String>)> = None;
    for line in lock.lines().chain(["END:"]) {
        if let Some(depends) = line.strip_prefix("    - ").filter(|_| in_pods) {
            if let Some((name, _, names)) = &mut pod
                && root(depends) != *name
            {
                names.push(root(depends));
            }
            continue;
        }
        if let Some((name, version, depends)) = pod.take() {
            packages.add(Ecosystem::Cocoapods, &name, &version, depends);
        }
        if !line.starts_with(' ') && !line.is_empty() {
            in_pods = line == "PODS:";
        } else if let Some(entry) = line.strip_prefix("  - ").filter(|_| in_pods)
            && let Some((name, version)) = entry.trim_end_matches(':').trim_matches('"').split_once(" (")
        {
            pod = Some((root(name), version.trim_end_matches(')').to_owned(), Vec::new()));
        }
    }
    Ok(())
}

/// `Cartfile.resolved`: `github "owner/name" "1.0"`.
pub(super) fn cartfile(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let Some(rest) = line.trim().strip_prefix("github ") else { continue };
        let mut words = rest.split('"').skip(1).step_by(2);
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            packages.add(
                Ecosystem::Swift,
                &format!("github.com/{name}"),
                version.trim_start_matches('v'),
                Vec::new(),
            );
        }
    }
    Ok(())
}

/// Name and version of `name-1.2.3`.
fn dashed(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('-').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// `stack.yaml.lock`: `hackage: name-1.2.3@sha256:…`.
pub(super) fn stack(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let Some((_, entry)) = line.split_once("hackage: ") else { continue };
        if let Some((name, version)) = dashed(entry.split('@').next().unwrap_or("").trim()) {
            packages.add(Ecosystem::Hackage, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `cabal.project.freeze`: `any.name ==1.2.3,`.
pub(super) fn cabal(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let entry = line.split_once("any.").map_or("", |(_, entry)| entry);
        if let Some((name, version)) = entry.split_once("==") {
            packages.add(Ecosystem::Hackage, name.trim(), version.trim().trim_end_matches(','), Vec::new());
        }
    }
    Ok(())
}

/// `renv.lock`: `Packages`.
pub(super) fn renv(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    for (name, package) in members(&lock, "Packages") {
        let requires = package.get("Requirements").and_then(Value::as_array).into_iter().flatten();
        let depends = requires.filter_map(Value::as_str).map(str::to_owned).collect();
        packages.add(Ecosystem::Cran, name, text(package, "Version"), depends);
    }
    Ok(())
}

/// `cpanfile.snapshot`: two blanks before `Distribution-Name-1.2`.
pub(super) fn cpanfile(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let Some(entry) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) else { continue };
        if let Some((name, version)) = entry.trim().rsplit_once('-') {
            packages.add(Ecosystem::Cpan, name, version.trim_start_matches('v'), Vec::new());
        }
    }
    Ok(())
}

/// `Manifest.toml`: tables of lists, at the top (1) or in `deps` (2).
pub(super) fn julia(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: toml::Table = lock.parse().map_err(|why: toml::de::Error| why.message().to_owned())?;
    let deps = lock.get("deps").and_then(toml::Value::as_table).unwrap_or(&lock);
    for (name, versions) in deps {
        for package in versions.as_array().into_iter().flatten() {
            // What comes with Julia itself has no version.
            let version = package.get("version").and_then(toml::Value::as_str).unwrap_or("");
            let depends = package.get("deps").and_then(toml::Value::as_array).into_iter().flatten();
            let depends = depends.filter_map(toml::Value::as_str).map(str::to_owned).collect();
            packages.add(Ecosystem::Julia, name, version, depends);
        }
    }
    Ok(())
}

/// `.terraform.lock.hcl`: `provider "registry/owner/name" {` and `version = "1.0"` in it.
pub(super) fn terraform(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let mut provider = "";
    for line in lock.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("provider \"") {
            provider = rest.split('"').next().unwrap_or("");
        } else if line == "}" {
            provider = "";
        } else if let Some(value) =
            line.strip_prefix("version").map(str::trim_start).and_then(|rest| rest.strip_prefix('='))
            && !provider.is_empty()
        {
            packages.add(Ecosystem::Terraform, provider, value.trim().trim_matches('"'), Vec::new());
        }
    }
    Ok(())
}

/// `build.sbt.lock`: `dependencies`.
pub(super) fn sbt(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let lock: Value = serde_json::from_str(lock).map_err(|why| why.to_string())?;
    for package in lock.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
        let (org, name) = (text(package, "org"), text(package, "name"));
        if !org.is_empty() && !name.is_empty() {
            packages.add(Ecosystem::Maven, &format!("{org}:{name}"), text(package, "version"), Vec::new());
        }
    }
    Ok(())
}

/// `NAME.opam.locked`: `"name" {= "1.0"}`.
pub(super) fn opam(lock: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in lock.lines() {
        let mut words = line.split('"').map(str::trim);
        if let (Some(""), Some(name), Some("{="), Some(version)) =
            (words.next(), words.next(), words.next(), words.next())
        {
            packages.add(Ecosystem::Opam, name, version, Vec::new());
        }
    }
    Ok(())
}

/// `conanfile.txt`: `[requires]`, `name/1.0@user/channel`.
pub(super) fn conanfile(file: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    let mut required = false;
    for line in file.lines().map(str::trim) {
        if line.starts_with('[') {
            required = matches!(line, "[requires]" | "[build_requires]" | "[tool_requires]");
        } else if let Some((name, version)) =
            line.split_once('/').filter(|_| required && !line.starts_with('#'))
        {
            // A range is no version.
            let version = version.split(['@', '#']).next().unwrap_or("").trim();
            if !version.starts_with('[') {
                packages.add(Ecosystem::Conan, name, version, Vec::new());
            }
        }
    }
    Ok(())
}

/// Workflows and composite actions: `uses: owner/name/path@ref`.
pub(super) fn actions(file: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    for line in file.lines() {
        let line = line.trim().trim_start_matches("- ").trim_start();
        let Some(value) = line.strip_prefix("uses:") else { continue };
        let value = value.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']);
        let Some((action, version)) = value.split_once('@') else { continue };
        let mut parts = action.split('/');
        if let (Some(owner), Some(name)) = (parts.next(), parts.next())
            && !owner.is_empty()
            && !owner.contains([':', '.'])
        {
            packages.add(Ecosystem::Github, &format!("{owner}/{name}"), version, Vec::new());
        }
    }
    Ok(())
}

/// A project of Maven: what it names with a version.
pub(super) fn maven(project: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    pairs(project, "dependencies", Ecosystem::Maven, packages)
}

/// A project of .NET: what it refers to.
pub(super) fn nuget(project: &str, packages: &mut Packages<'_, '_>) -> Result<(), String> {
    pairs(project, "packages", Ecosystem::Nuget, packages)
}

fn pairs(
    document: &str,
    list: &str,
    ecosystem: Ecosystem,
    packages: &mut Packages<'_, '_>,
) -> Result<(), String> {
    let document: Value = serde_json::from_str(document).map_err(|why| why.to_string())?;
    for pair in document.get(list).and_then(Value::as_array).into_iter().flatten() {
        if let [Value::String(name), Value::String(version)] = pair.as_array().map_or(&[][..], Vec::as_slice)
        {
            packages.add(ecosystem, name, version, Vec::new());
        }
    }
    Ok(())
}
