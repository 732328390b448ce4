//! Lockfiles, by the file's name. What one names is a component with what it depends on, where the file says so.

mod node;
mod other;
mod project;
mod python;

use plimsoll_model::Ecosystem;
use plimsoll_model::sbom::Component;

use super::documents::{key, related};
use super::{Context, File, Interpreted, component, last};
use crate::purl::Purl;

/// Packages of one file.
#[derive(Default)]
struct Packages<'f, 'b> {
    file: Option<&'f File<'b>>,
    found: Vec<(Component, Vec<String>)>,
}

impl Packages<'_, '_> {
    /// Adds a package with the names of what it depends on, if name and version can be ones.
    fn add(&mut self, ecosystem: Ecosystem, name: &str, version: &str, depends: Vec<String>) {
        let Some(file) = self.file else { return };
        let fits = |text: &str| {
            !text.is_empty()
                && text.len() <= 512
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if !fits(name) || !fits(version) {
            return;
        }
        let found = component(key(ecosystem, name, version), name, file, "lockfile");
        // What its package URL cannot say, an empty part of a name for instance, names no package.
        let said = found.purl.parse::<Purl>().ok().and_then(|purl| crate::identity::component(&purl, None));
        if said.as_ref() == Some(&found.key) {
            self.found.push((found, depends));
        }
    }
}

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let text = file.text();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut packages = Packages { file: Some(file), found: Vec::new() };
        let read = match last(file.path) {
            "package-lock.json" | "npm-shrinkwrap.json" => node::npm(text, &mut packages),
            "yarn.lock" => node::yarn(text, &mut packages),
            "pnpm-lock.yaml" => node::pnpm(text, &mut packages),
            "bun.lock" => node::bun(text, &mut packages),
            "Pipfile.lock" => python::pipfile(text, &mut packages),
            "poetry.lock" | "uv.lock" | "pdm.lock" => python::toml(text, "package", &mut packages),
            "pylock.toml" => python::toml(text, "packages", &mut packages),
            name if name.ends_with(".txt") && name != "conanfile.txt" => {
                python::requirements(text, &mut packages)
            }
            "Cargo.lock" => other::cargo(text, &mut packages),
            "conanfile.txt" => project::conanfile(text, &mut packages),
            "deno.lock" => node::deno(text, &mut packages),
            "rebar.lock" => project::rebar(text, &mut packages),
            "Podfile.lock" => project::podfile(text, &mut packages),
            "Cartfile.resolved" => project::cartfile(text, &mut packages),
            "stack.yaml.lock" => project::stack(text, &mut packages),
            "cabal.project.freeze" => project::cabal(text, &mut packages),
            "renv.lock" => project::renv(text, &mut packages),
            "cpanfile.snapshot" => project::cpanfile(text, &mut packages),
            "Manifest.toml" => project::julia(text, &mut packages),
            ".terraform.lock.hcl" => project::terraform(text, &mut packages),
            "build.sbt.lock" => project::sbt(text, &mut packages),
            "pom.xml" => project::maven(text, &mut packages),
            "packages.config" | "Directory.Packages.props" => project::nuget(text, &mut packages),
            name if name.ends_with("proj") => project::nuget(text, &mut packages),
            name if name.ends_with(".opam.locked") => project::opam(text, &mut packages),
            name if name.ends_with(".yml") || name.ends_with(".yaml") => {
                project::actions(text, &mut packages)
            }
            "Gemfile.lock" | "gems.locked" => other::gemfile(text, &mut packages),
            "composer.lock" => other::composer(text, file, &mut packages),
            "packages.lock.json" => other::nuget(text, &mut packages),
            "go.mod" => other::go(text, &mut packages),
            "gradle.lockfile" | "buildscript-gradle.lockfile" => other::gradle(text, &mut packages),
            "pubspec.lock" => other::pub_lock(text, &mut packages),
            "mix.lock" => other::mix(text, &mut packages),
            "Package.resolved" => other::swift(text, &mut packages),
            "conan.lock" => other::conan(text, &mut packages),
            _ => Ok(()),
        };
        if let Err(why) = read {
            found.unreadable("lockfile_unreadable", file, why);
        }
        found.components.extend(related(packages.found));
    }
    found
}

/// The key of an object's member that is an object, or an empty list of members.
fn members<'v>(
    value: &'v serde_json::Value,
    name: &str,
) -> impl Iterator<Item = (&'v String, &'v serde_json::Value)> {
    value.get(name).and_then(serde_json::Value::as_object).into_iter().flatten()
}

/// A member's text; empty if it has none.
fn text<'v>(value: &'v serde_json::Value, name: &str) -> &'v str {
    value.get(name).and_then(serde_json::Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests;
