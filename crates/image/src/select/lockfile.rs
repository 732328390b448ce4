//! Lockfiles: what a project asks for, which in an image need not be there. Part of [`super::LOCKFILES`] only.

use super::{File, Selector, Trigger, Want};

/// Keeps the files whole.
pub struct Lockfile;

const MAX: u64 = 16 << 20;

impl Selector for Lockfile {
    fn name(&self) -> &'static str {
        "lockfile"
    }

    fn revision(&self) -> u32 {
        1
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
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let name = file.name();
        let requirements = !name.ends_with(".txt") || name.contains("requirements");
        // What a package was developed with is in its archive, and nowhere else.
        let of_others =
            file.path.split('/').any(|part| matches!(part, "node_modules" | "vendor" | "site-packages"));
        if requirements && !of_others { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }
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
        ] {
            let file = File { path, size: 1, mode: 0o644 };
            for (table, expected) in [(Table::all(), false), (Table::with_lockfiles(), wanted)] {
                let mut found = false;
                table.by_path(&file, |index, _| found |= table.get(index).unwrap().name() == "lockfile");
                assert_eq!(found, expected, "{path}");
            }
        }
    }
}
