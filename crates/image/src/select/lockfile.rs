//! Lockfiles: what a project asks for, which in an image need not be there. Part of [`super::LOCKFILES`] only.

use serde::Serialize;

use super::xml::{Event, walk};
use super::{File, Selector, Trigger, Want};

/// Keeps the files whole; of `pom.xml` a [`pom::Project`](super::pom::Project), of .NET's project files
/// [`References`], both as JSON.
pub struct Lockfile;

const MAX: u64 = 16 << 20;

impl Selector for Lockfile {
    fn name(&self) -> &'static str {
        "lockfile"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Name("package-lock.json"),
                Trigger::Name("npm-shrinkwrap.json"),
                Trigger::Name("yarn.lock"),
                Trigger::Name("pnpm-lock.yaml"),
                Trigger::Name("bun.lock"),
                Trigger::Name("Cargo.lock"),
                Trigger::Name("Gemfile.lock"),
                Trigger::Name("composer.lock"),
                Trigger::Name("packages.lock.json"),
                Trigger::Name("Pipfile.lock"),
                Trigger::Name("poetry.lock"),
                Trigger::Name("uv.lock"),
                Trigger::Name("pdm.lock"),
                Trigger::Name("pylock.toml"),
                Trigger::Name("go.mod"),
                Trigger::Name("gradle.lockfile"),
                Trigger::Name("pubspec.lock"),
                Trigger::Name("mix.lock"),
                Trigger::Name("Package.resolved"),
                Trigger::Name("conan.lock"),
                Trigger::Extension("txt"),
                Trigger::Name("deno.lock"),
                Trigger::Name("rebar.lock"),
                Trigger::Name("Podfile.lock"),
                Trigger::Name("Cartfile.resolved"),
                Trigger::Name("stack.yaml.lock"),
                Trigger::Name("cabal.project.freeze"),
                Trigger::Name("renv.lock"),
                Trigger::Name("cpanfile.snapshot"),
                Trigger::Name("Manifest.toml"),
                Trigger::Name(".terraform.lock.hcl"),
                Trigger::Name("buildscript-gradle.lockfile"),
                Trigger::Name("build.sbt.lock"),
                Trigger::Name("gems.locked"),
                Trigger::Name("pom.xml"),
                Trigger::Name("packages.config"),
                Trigger::Name("Directory.Packages.props"),
                Trigger::Extension("csproj"),
                Trigger::Extension("fsproj"),
                Trigger::Extension("vbproj"),
                Trigger::Extension("locked"),
                Trigger::Parent("workflows"),
                Trigger::Name("action.yml"),
                Trigger::Name("action.yaml"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let name = file.name();
        let fits = if name.ends_with(".txt") {
            name.contains("requirements") || file.parent() == "requirements" || name == "conanfile.txt"
        } else if file.parent() == "workflows" {
            file.path.contains(".github/workflows/") && (name.ends_with(".yml") || name.ends_with(".yaml"))
        } else {
            !name.ends_with(".locked") || name == "gems.locked" || name.ends_with(".opam.locked")
        };
        // What a package was developed with is in its archive, and nowhere else.
        let of_others =
            file.path.split('/').any(|part| matches!(part, "node_modules" | "vendor" | "site-packages"));
        if fits && !of_others { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = || String::from_utf8_lossy(bytes);
        match file.name() {
            "pom.xml" => serde_json::to_vec(&super::pom::read(&text())?).ok(),
            "packages.config" | "Directory.Packages.props" => references(&text()),
            name if name.ends_with("proj") => references(&text()),
            _ => Some(bytes.to_vec()),
        }
    }
}

/// Packages that a .NET project refers to, by a version that is one.
#[derive(Debug, Serialize)]
pub struct References {
    /// Name and version.
    pub packages: Vec<(String, String)>,
}

const MAX_REFERENCES: usize = 10_000;

/// `<package id="…" version="…"/>`, `<PackageReference Include="…" Version="…"/>`, `<PackageVersion …/>`; the version
/// may be an element inside.
fn references(text: &str) -> Option<Vec<u8>> {
    let mut packages: Vec<(String, String)> = Vec::new();
    walk(text, |path, event| match (path, event) {
        ([.., "package" | "PackageReference" | "PackageVersion"], Event::Open(attributes))
            if packages.len() < MAX_REFERENCES =>
        {
            let name = attributes.get("id").or_else(|| attributes.get("Include")).unwrap_or_default();
            let version = attributes.get("version").or_else(|| attributes.get("Version")).unwrap_or_default();
            packages.push((name, version));
        }
        ([.., "PackageReference" | "PackageVersion", "Version"], Event::Text(text)) => {
            if let Some((_, version)) = packages.last_mut() {
                *version = text;
            }
        }
        _ => {}
    });
    // A property, a range or a floating version is none.
    packages.retain(|(name, version)| {
        !name.is_empty()
            && version.starts_with(|c: char| c.is_ascii_digit())
            && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    });
    if packages.is_empty() { None } else { serde_json::to_vec(&References { packages }).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Table;

    #[test]
    fn lockfiles_are_selected_in_directories_only() {
        for (path, wanted) in [
            ("app/package-lock.json", true),
            ("requirements.txt", true),
            ("app/requirements-dev.txt", true),
            ("app/notes.txt", false),
            ("app/node_modules/x/yarn.lock", false),
            ("app/Cargo.lock", true),
            ("app/requirements/dev.txt", true),
            ("app/conanfile.txt", true),
            ("app/.github/workflows/ci.yml", true),
            ("app/workflows/ci.yml", false),
            ("app/fmt.opam.locked", true),
            ("app/x.locked", false),
            ("app/src/App.csproj", true),
        ] {
            let file = File { path, size: 1, mode: 0o644 };
            for (table, expected) in [(Table::all(), false), (Table::with_lockfiles(), wanted)] {
                let mut found = false;
                table.by_path(&file, |index, _| found |= table.get(index).unwrap().name() == "lockfile");
                assert_eq!(found, expected, "{path}");
            }
        }
    }

    #[test]
    fn every_name_is_documented() {
        let page = include_str!("../../../../docs/sboms.md");
        for trigger in Lockfile.triggers() {
            if let Trigger::Name(name) = trigger {
                let name = if *name == "action.yaml" { "action.yml" } else { name };
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
        }
    }

    #[test]
    fn references_of_dotnet_projects() {
        let reduce = |path, text: &str| {
            let file = File { path, size: 1, mode: 0o644 };
            Lockfile.reduce(&file, text.as_bytes()).map(|kept| String::from_utf8(kept).unwrap())
        };
        let project = "<Project Sdk=\"x\"><ItemGroup><PackageReference Include=\"Serilog\" Version=\"2.10.0\" /><PackageReference Include=\"NLog\"><Version>5.0.1</Version></PackageReference><PackageReference Include=\"A\" Version=\"$(A)\"/><PackageReference Include=\"B\" Version=\"1.*\"/><PackageReference Include=\"C\"/></ItemGroup></Project>";
        assert_eq!(
            reduce("a/x.csproj", project).as_deref(),
            Some(r#"{"packages":[["Serilog","2.10.0"],["NLog","5.0.1"]]}"#)
        );
        let config =
            "<packages><package id=\"jQuery\" version=\"3.6.0\" targetFramework=\"net48\"/></packages>";
        assert_eq!(
            reduce("packages.config", config).as_deref(),
            Some(r#"{"packages":[["jQuery","3.6.0"]]}"#)
        );
        assert_eq!(reduce("a.fsproj", "<Project/>"), None);
    }
}
