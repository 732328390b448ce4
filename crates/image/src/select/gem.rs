//! Ruby gems as installed: `specifications/*.gemspec`.

use super::{File, Selector, Trigger, Want};

/// Keeps the lines that name, version, license and attribute a gem, and those that state dependencies.
pub struct Gem;

const MAX: u64 = 1 << 20;

/// What the lines of interest assign or call: `s.NAME…`.
const MEMBERS: &[&str] = &[
    "name",
    "version",
    "license",
    "licenses",
    "authors",
    "author",
    "homepage",
    "platform",
    "add_runtime_dependency",
    "add_dependency",
];

impl Selector for Gem {
    fn name(&self) -> &'static str {
        "gem"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("gemspec")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let installed = file.path.rsplit_once('/').is_some_and(|(directory, _)| {
            let directory = File { path: directory, ..*file };
            directory.is("specifications") || directory.is("specifications/default")
        });
        if installed { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.starts_with(b"# stub: ") || is_member(line) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        (!kept.is_empty()).then_some(kept)
    }
}

/// `s.NAME` with whatever follows, `s` being any identifier.
fn is_member(line: &[u8]) -> bool {
    let Some(dot) = line.iter().position(|byte| *byte == b'.') else { return false };
    let (variable, rest) = line.split_at(dot);
    let rest = rest.get(1..).unwrap_or(&[]);
    let end =
        rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
    variable.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && rest.get(..end).is_some_and(|name| MEMBERS.iter().any(|member| member.as_bytes() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_lines_of_interest() {
        let text = b"# -*- encoding: utf-8 -*-\n# stub: rake 13.0.6 ruby lib\n\nGem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  s.version = \"13.0.6\"\n  s.description = \"long\"\n  s.add_runtime_dependency(%q<a>.freeze, [\">= 1\"])\n  s.add_development_dependency(%q<b>)\n  if s.respond_to? :x then\nend\n";
        let file = File { path: "specifications/rake-13.0.6.gemspec", size: 1, mode: 0o644 };
        let kept = Gem.reduce(&file, text).unwrap();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "# stub: rake 13.0.6 ruby lib\ns.name = \"rake\".freeze\ns.version = \"13.0.6\"\ns.add_runtime_dependency(%q<a>.freeze, [\">= 1\"])\n"
        );
        assert_eq!(Gem.reduce(&file, b"puts 1\n.\n"), None);
        for (path, wanted) in [
            ("var/lib/gems/3.1.0/specifications/rake-13.0.6.gemspec", true),
            ("usr/lib/ruby/gems/specifications/default/json-2.gemspec", true),
            ("srv/app/app.gemspec", false),
        ] {
            assert_eq!(Gem.wants(&File { path, ..file }) != Want::No, wanted, "{path}");
        }
    }
}
