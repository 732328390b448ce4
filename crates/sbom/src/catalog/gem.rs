//! Ruby: the gemspecs of installed gems, as RubyGems writes them.

use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use rustc_hash::FxHashMap;

use super::{Context, File, Interpreted, component};
use crate::license;

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    let mut depends: Vec<Vec<String>> = Vec::new();
    for file in files {
        let text = file.text();
        let Some(gem) = Gem::read(&text) else { continue };
        let key = ComponentKey {
            package: PackageKey { ecosystem: Ecosystem::Gem, release: None, name: gem.name.clone() },
            version: gem.version,
            source: None,
            arch: String::new(),
            stream: String::new(),
        };
        let mut component = component(key, &gem.name, file, "gem");
        component.licenses = gem.licenses;
        component.supplier = gem.authors.join(", ");
        depends.push(gem.depends);
        found.components.push(component);
    }
    let mut by_name: FxHashMap<String, String> = FxHashMap::default();
    for component in &found.components {
        by_name.entry(component.key.package.name.clone()).or_insert_with(|| component.purl.clone());
    }
    for (component, names) in found.components.iter_mut().zip(depends) {
        component.depends_on = names.iter().filter_map(|name| by_name.get(name).cloned()).collect();
    }
    found
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Gem {
    name: String,
    version: String,
    licenses: Vec<String>,
    authors: Vec<String>,
    depends: Vec<String>,
}

impl Gem {
    /// What the assignments say; the comment `# stub: NAME VERSION PLATFORM PATHS` where they are computed.
    fn read(text: &str) -> Option<Self> {
        let mut gem = Self::default();
        let mut stub = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# stub: ") {
                stub = stub.or_else(|| {
                    let mut words = rest.split_whitespace();
                    Some((words.next()?, words.next()?))
                });
                continue;
            }
            let Some((_, member)) = line.split_once('.') else { continue };
            let end = member.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(member.len());
            let (name, value) = member.split_at(end);
            let mut strings = strings(value);
            match name {
                "name" if gem.name.is_empty() => gem.name = strings.next().unwrap_or("").to_owned(),
                "version" if gem.version.is_empty() => gem.version = strings.next().unwrap_or("").to_owned(),
                "license" | "licenses" => gem.licenses.extend(strings.filter_map(license::stated)),
                "author" | "authors" => gem.authors.extend(strings.map(str::to_owned)),
                "add_runtime_dependency" | "add_dependency" => {
                    gem.depends.extend(strings.next().map(str::to_owned));
                }
                _ => {}
            }
        }
        if let Some((name, version)) = stub {
            if !valid(&gem.name) {
                name.clone_into(&mut gem.name);
            }
            if !gem.version.starts_with(|c: char| c.is_ascii_digit()) || !valid(&gem.version) {
                version.clone_into(&mut gem.version);
            }
        }
        (valid(&gem.name) && valid(&gem.version)).then_some(gem)
    }
}

fn valid(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

/// The string literals of a line of Ruby: `"…"`, `'…'`, `%q<…>`.
fn strings(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find(['"', '\'', '%'])?;
        let (open, after) = rest.get(at..)?.split_at(1);
        let (close, body) = match open {
            "%" => match after.strip_prefix("q<") {
                Some(body) => (">", body),
                None => {
                    rest = after;
                    return Some("");
                }
            },
            quote => (quote, after),
        };
        let (string, more) = body.split_once(close)?;
        rest = more;
        Some(string)
    })
    .filter(|string| !string.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gemspecs() {
        let gem = Gem::read(
            "# stub: rake 13.0.6 ruby lib\ns.name = \"rake\".freeze\ns.version = \"13.0.6\"\ns.licenses = [\"MIT\".freeze, 'Ruby']\ns.authors = [\"A B\".freeze]\ns.add_runtime_dependency(%q<json>.freeze, [\">= 1\"])\ns.required_ruby_version = Gem::Requirement.new(\">= 2.2\".freeze)\n",
        )
        .unwrap();
        assert_eq!((gem.name.as_str(), gem.version.as_str()), ("rake", "13.0.6"));
        assert_eq!(
            (gem.licenses, gem.authors, gem.depends),
            (vec!["MIT".into(), "Ruby".into()], vec!["A B".into()], vec!["json".into()])
        );
        let computed =
            Gem::read("# stub: bundler 2.3.7 ruby lib\ns.name = \"bundler\"\ns.version = Bundler::VERSION\n")
                .unwrap();
        assert_eq!(computed.version, "2.3.7");
        assert_eq!(Gem::read("s.name = NAME\n"), None);
        assert_eq!(strings("[%q<a>, \"b\", 'c', %w[d], \"e").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
