//! Small files in which packages say what they are, one selector for each kind; kept whole, or by their lines of
//! interest.
//!
//! | selector | files | kept |
//! |---|---|---|
//! | `conan` | `conaninfo.txt` | the file |
//! | `erlang` | `NAME/ebin/NAME.app` | the file |
//! | `homebrew` | `Cellar/NAME/VERSION/.brew/NAME.rb` | lines that state licences |
//! | `lua` | `*.rockspec` | the file |
//! | `opam` | `.opam-switch/packages/NAME.VERSION/opam` | fields that license and relate the package |
//! | `perl` | `.meta/DIST-VERSION/install.json`, `MYMETA.json` | the members in [`PERL`] |
//! | `r` | `DESCRIPTION` | the fields in [`R_FIELDS`] |
//! | `snap` | `meta/snap.yaml`, `snap/snapcraft.yaml` | lines that are not indented |
//! | `wordpress` | `wp-content/plugins/NAME/*.php` | the fields of the plugin's header |

use serde_json::Value;

use super::{File, Selector, Trigger, Want};

/// A selector of one kind of file.
pub struct Metadata {
    name: &'static str,
    revision: u32,
    triggers: &'static [Trigger],
    here: fn(&File<'_>) -> bool,
    want: Want,
    reduce: fn(&[u8]) -> Option<Vec<u8>>,
}

const SMALL: Want = Want::Whole { max: 1 << 20 };

/// What a Conan package was built as.
pub static CONAN: Metadata = Metadata {
    name: "conan",
    revision: 1,
    triggers: &[Trigger::Name("conaninfo.txt")],
    here: |_| true,
    want: SMALL,
    reduce: whole,
};

/// An application of Erlang or Elixir, compiled.
pub static ERLANG: Metadata = Metadata {
    name: "erlang",
    revision: 1,
    triggers: &[Trigger::Extension("app")],
    here: |file| file.parent() == "ebin",
    want: SMALL,
    reduce: whole,
};

/// A formula as Homebrew keeps it beside what it installed.
pub static HOMEBREW: Metadata = Metadata {
    name: "homebrew",
    revision: 1,
    triggers: &[Trigger::Parent(".brew")],
    here: |file| file.path.contains("Cellar/") && file.name().ends_with(".rb"),
    want: SMALL,
    // The path says the rest: an empty text is kept too.
    reduce: |bytes| {
        Some(lines(bytes, |line| line.trim_ascii_start().starts_with(b"license ")).unwrap_or_default())
    },
};

/// A rock of LuaRocks.
pub static LUA: Metadata = Metadata {
    name: "lua",
    revision: 1,
    triggers: &[Trigger::Extension("rockspec")],
    here: |_| true,
    want: SMALL,
    reduce: whole,
};

/// A package that opam installed.
pub static OPAM: Metadata = Metadata {
    name: "opam",
    revision: 1,
    triggers: &[Trigger::Name("opam")],
    here: |file| file.path.contains(".opam-switch/packages/"),
    want: SMALL,
    reduce: |bytes| Some(lines(bytes, |line| line.starts_with(b"license:")).unwrap_or_default()),
};

/// A distribution that cpanm installed.
pub static PERL_DISTRIBUTION: Metadata = Metadata {
    name: "perl",
    revision: 1,
    triggers: &[Trigger::Name("install.json"), Trigger::Name("MYMETA.json")],
    here: |file| file.path.contains("/.meta/") || file.path.starts_with(".meta/"),
    want: Want::Whole { max: 4 << 20 },
    reduce: perl,
};

/// A package of R, as installed.
pub static R: Metadata = Metadata {
    name: "r",
    revision: 1,
    triggers: &[Trigger::Name("DESCRIPTION")],
    here: |_| true,
    want: SMALL,
    reduce: r,
};

/// A snap, mounted or unpacked.
pub static SNAP: Metadata = Metadata {
    name: "snap",
    revision: 1,
    triggers: &[Trigger::Name("snap.yaml"), Trigger::Name("snapcraft.yaml")],
    here: |file| file.is("meta/snap.yaml") || file.is("snap/snapcraft.yaml"),
    want: SMALL,
    reduce: |bytes| {
        lines(bytes, |line| !line.starts_with(b" ") && !line.starts_with(b"#") && line.contains(&b':'))
    },
};

/// A plugin of WordPress.
pub static WORDPRESS: Metadata = Metadata {
    name: "wordpress",
    revision: 1,
    triggers: &[Trigger::Extension("php")],
    here: |file| {
        let mut parts = file.path.rsplit('/');
        parts.next();
        parts.next().is_some() && parts.next() == Some("plugins") && parts.next() == Some("wp-content")
    },
    // As much as WordPress itself looks at.
    want: Want::Head { max: 8 << 10 },
    reduce: wordpress,
};

/// Fields of `DESCRIPTION` that are kept, with their continuation lines.
pub const R_FIELDS: &[&str] = &[
    "Package",
    "Version",
    "License",
    "Maintainer",
    "Depends",
    "Imports",
    "LinkingTo",
    "Repository",
    "Priority",
];

/// Members of `install.json` and `MYMETA.json` that are kept.
pub const PERL: &[&str] = &["name", "version", "dist", "license", "author"];

impl Selector for Metadata {
    fn name(&self) -> &'static str {
        self.name
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn triggers(&self) -> &'static [Trigger] {
        self.triggers
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if (self.here)(file) { self.want } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        (self.reduce)(bytes)
    }
}

fn whole(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.trim_ascii().is_empty()).then(|| bytes.to_vec())
}

/// The lines that are of interest; `None` if no line is.
fn lines(bytes: &[u8], of_interest: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    for line in
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| of_interest(line))
    {
        kept.extend_from_slice(line);
        kept.push(b'\n');
    }
    (!kept.is_empty()).then_some(kept)
}

fn r(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut kept, mut open, mut named) = (Vec::new(), false, false);
    for line in bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|byte| *byte == b':').next().unwrap_or(&[]);
            open = R_FIELDS.iter().any(|field| field.as_bytes() == name);
            named |= name == b"Package";
        }
        if open {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    named.then_some(kept)
}

fn perl(bytes: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(bytes) else { return None };
    members.retain(|name, _| PERL.contains(&name.as_str()));
    members.contains_key("name").then(|| serde_json::to_vec(&members).ok())?
}

/// `Plugin Name: X` and the like, whatever stands before it in a comment.
fn wordpress(bytes: &[u8]) -> Option<Vec<u8>> {
    const FIELDS: &[&[u8]] = &[b"Plugin Name:", b"Version:", b"License:", b"Author:"];
    let mut kept = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n' || *byte == b'\r') {
        let start = line.iter().position(|byte| !b" \t/*#@".contains(byte)).unwrap_or(line.len());
        let line = line.get(start..).unwrap_or(&[]).trim_ascii();
        if FIELDS.iter().any(|field| line.starts_with(field)) {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    kept.windows(12).any(|part| part == b"Plugin Name:").then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(selector: &Metadata, path: &str, text: &str) -> Option<String> {
        let file = File { path, size: text.len() as u64, mode: 0o644 };
        if selector.wants(&file) == Want::No {
            return None;
        }
        selector.reduce(&file, text.as_bytes()).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn each_kind_is_kept_in_its_place() {
        for (selector, path, text, expected) in [
            (
                &R,
                "usr/lib/R/library/MASS/DESCRIPTION",
                "Package: MASS\nTitle: x\n y\nVersion: 7.3-60\nImports: stats,\n  utils\nSuggests: z\n",
                Some("Package: MASS\nVersion: 7.3-60\nImports: stats,\n  utils\n"),
            ),
            (&R, "srv/DESCRIPTION", "a text\n", None),
            (&LUA, "x/lpeg-1.1.0-1.rockspec", "package = \"lpeg\"\n", Some("package = \"lpeg\"\n")),
            (
                &ERLANG,
                "opt/rel/lib/cowlib-2.1/ebin/cowlib.app",
                "{application,cowlib,[]}.",
                Some("{application,cowlib,[]}."),
            ),
            (&ERLANG, "srv/x.app", "{application,x,[]}.", None),
            (
                &HOMEBREW,
                "home/linuxbrew/.linuxbrew/Cellar/jq/1.7.1/.brew/jq.rb",
                "class Jq < Formula\n  license \"MIT\"\n  url \"x\"\n",
                Some("  license \"MIT\"\n"),
            ),
            (&HOMEBREW, "Cellar/jq/1.7.1/.brew/jq.rb", "class Jq\n", Some("")),
            (
                &OPAM,
                "root/.opam/4.14/.opam-switch/packages/fmt.0.9.0/opam",
                "license: \"ISC\"\nmaintainer: \"x\"\n",
                Some("license: \"ISC\"\n"),
            ),
            (&OPAM, "usr/bin/opam", "x", None),
            (
                &PERL_DISTRIBUTION,
                "usr/local/lib/perl5/site_perl/5.36/x86_64-linux/.meta/Try-Tiny-0.31/install.json",
                "{\"name\":\"Try::Tiny\",\"version\":\"0.31\",\"dist\":\"Try-Tiny-0.31\",\"provides\":{\"Try::Tiny\":{}}}",
                Some("{\"dist\":\"Try-Tiny-0.31\",\"name\":\"Try::Tiny\",\"version\":\"0.31\"}"),
            ),
            (
                &SNAP,
                "meta/snap.yaml",
                "name: jq\n# x\nversion: 1.5\napps:\n  jq:\n    command: x\n",
                Some("name: jq\nversion: 1.5\napps:\n"),
            ),
            (
                &WORDPRESS,
                "var/www/html/wp-content/plugins/akismet/akismet.php",
                "<?php\n/**\n * Plugin Name: Akismet\r\n * Version: 5.3\n */\n$x = 1;",
                Some("Plugin Name: Akismet\nVersion: 5.3\n"),
            ),
            (&WORDPRESS, "var/www/html/wp-content/plugins/akismet/views/x.php", "Plugin Name: x", None),
            (&WORDPRESS, "var/www/html/wp-content/plugins/akismet/x.php", "<?php\nVersion: 1", None),
            (
                &CONAN,
                "root/.conan/data/zlib/1.3/_/_/package/1f/conaninfo.txt",
                "[settings]\n",
                Some("[settings]\n"),
            ),
        ] {
            assert_eq!(kept(selector, path, text).as_deref(), expected, "{path}");
        }
    }
}
