//! Packages that say what they are in one small file, or by their path: a function for each kind.

mod path;

use plimsoll_model::sbom::{Component, Confidence};
use plimsoll_model::{ComponentKey, Ecosystem};
use serde_json::Value;

use super::documents::{key, related};
use super::headers::{first, stanzas};
use super::{Context, File, Interpreted, component, last};
use crate::license;

pub(super) use path::{homebrew, nix, opam, portage};

/// Text that can be a name or a version.
fn valid(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A component, if name and version can be ones.
fn found(ecosystem: Ecosystem, name: &str, version: &str, file: &File<'_>, by: &str) -> Option<Component> {
    (valid(name) && valid(version)).then(|| component(key(ecosystem, name, version), name, file, by))
}

/// R: `DESCRIPTION`. What comes with R itself (`Priority: base`) is R.
pub(super) fn r(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut packages = Vec::new();
    for file in files {
        let text = file.text();
        let Some(fields) = stanzas(&text).next() else { continue };
        let name = first(&fields, "Package");
        let Some(mut package) = found(Ecosystem::Cran, name, first(&fields, "Version"), file, "r") else {
            continue;
        };
        // `GPL-2 | file LICENSE`: alternatives.
        let stated = first(&fields, "License").split('|').map(str::trim);
        let stated: Vec<String> =
            stated.filter(|one| !one.starts_with("file ")).filter_map(license::stated).collect();
        let alternatives = stated.len() > 1 && stated.iter().all(|one| license::is_id(one));
        package.licenses = if alternatives { vec![stated.join(" OR ")] } else { stated };
        package.supplier = first(&fields, "Maintainer").replace('\n', " ");
        let requires =
            ["Depends", "Imports", "LinkingTo"].iter().flat_map(|field| first(&fields, field).split(','));
        let names =
            requires.map(|one| one.split(['(', '\n']).next().unwrap_or("").trim().to_owned()).collect();
        packages.push((package, names));
    }
    Interpreted { components: related(packages), ..Interpreted::default() }
}

/// LuaRocks: `package`, `version`, `license` and `dependencies` of a rockspec.
pub(super) fn lua(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut packages = Vec::new();
    for file in files {
        let text = file.text();
        let assigned = |name: &str| {
            text.lines().find_map(|line| {
                let value = line.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
                quoted(value)
            })
        };
        let (Some(name), Some(version)) = (assigned("package"), assigned("version")) else { continue };
        let Some(mut package) = found(Ecosystem::Luarocks, name, version, file, "lua") else { continue };
        package.licenses = assigned("license").and_then(license::stated).into_iter().collect();
        let list =
            text.split_once("dependencies").and_then(|(_, rest)| rest.split_once('{')?.1.split('}').next());
        let names =
            list.unwrap_or("").split(',').filter_map(|one| quoted(one.trim())?.split_whitespace().next());
        packages.push((package, names.map(str::to_owned).collect()));
    }
    Interpreted { components: related(packages), ..Interpreted::default() }
}

/// The text in quotes that a text begins with.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text.get(1..)?.split(quote).next()
}

/// Perl: `install.json` of cpanm, which names the distribution, and the `MYMETA.json` beside it, which licenses it.
pub(super) fn perl(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let directory = |path: &str| path.strip_suffix(last(path)).unwrap_or("").to_owned();
    let mut result = Interpreted::default();
    for file in files.iter().filter(|file| last(file.path) == "install.json") {
        let Some(document) = json(file, &mut result) else { continue };
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
        let version = text("version").trim_start_matches('v');
        // `Try-Tiny-0.31`: the distribution; `name` is its main module.
        let dist = text("dist")
            .rsplit_once('-')
            .map_or_else(|| text("name").replace("::", "-"), |(name, _)| name.to_owned());
        let Some(mut package) = found(Ecosystem::Cpan, &dist, version, file, "perl") else { continue };
        let beside = files
            .iter()
            .find(|other| last(other.path) == "MYMETA.json" && directory(other.path) == directory(file.path));
        if let Some(meta) = beside.and_then(|meta| json(meta, &mut result)) {
            let texts = |name: &str| -> Vec<String> {
                let list = meta.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            };
            package.licenses = texts("license").iter().filter_map(|text| perl_license(text)).collect();
            package.supplier = texts("author").into_iter().next().unwrap_or_default();
        }
        result.components.push(package);
    }
    result
}

/// A licence of `CPAN::Meta::Spec` as SPDX has it.
fn perl_license(text: &str) -> Option<String> {
    let id = match text {
        "perl_5" => "Artistic-1.0-Perl OR GPL-1.0-or-later",
        "apache_2_0" => "Apache-2.0",
        "artistic_2" => "Artistic-2.0",
        "bsd" => "BSD-3-Clause",
        "gpl_2" => "GPL-2.0-only",
        "gpl_3" => "GPL-3.0-only",
        "lgpl_2_1" => "LGPL-2.1-only",
        "lgpl_3_0" => "LGPL-3.0-only",
        "mit" => "MIT",
        "mozilla_2_0" => "MPL-2.0",
        "zlib" => "Zlib",
        other => return license::stated(other),
    };
    Some(id.to_owned())
}

/// PEAR and PECL: what the registry says.
pub(super) fn pear(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let Some(document) = json(file, &mut result) else { continue };
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
        let pecl = text("channel") == "pecl.php.net" || file.path.contains(".channel.pecl.php.net/");
        let ecosystem = if pecl { Ecosystem::Pecl } else { Ecosystem::Pear };
        let Some(mut package) = found(ecosystem, text("name"), text("version"), file, "pear") else {
            continue;
        };
        package.licenses = license::stated(text("license")).into_iter().collect();
        package.supplier = text("channel").to_owned();
        result.components.push(package);
    }
    result
}

/// WordPress: the header of a plugin; its name is that of its directory, as in the directory of plugins.
pub(super) fn wordpress(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let text = file.text();
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim()
        };
        let name = file.path.rsplit('/').nth(1).unwrap_or("");
        let Some(mut plugin) = found(Ecosystem::Wordpress, name, field("Version"), file, "wordpress") else {
            continue;
        };
        plugin.display_name = field("Plugin Name").to_owned();
        plugin.licenses = license::stated(field("License")).into_iter().collect();
        plugin.supplier = field("Author").to_owned();
        result.components.push(plugin);
    }
    result
}

/// snapd: `name` and `version` of a snap, or of the snap that a directory is built into.
pub(super) fn snap(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let text = file.text();
        let field = |name: &str| {
            let value =
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim();
            value.trim_matches(['\'', '"']).to_owned()
        };
        let Some(mut snap) = found(Ecosystem::Snap, &field("name"), &field("version"), file, "snap") else {
            continue;
        };
        snap.licenses = license::stated(&field("license")).into_iter().collect();
        result.components.push(snap);
    }
    result
}

/// Conan: a package in the cache, by its path, and what it was built with.
pub(super) fn conan(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        // `data/NAME/VERSION/USER/CHANNEL/package/ID/conaninfo.txt` (Conan 1).
        let parts: Vec<&str> = file.path.rsplit('/').take(7).collect();
        if let [_, _, "package", _, _, version, name] = parts.as_slice() {
            result.components.extend(found(Ecosystem::Conan, name, version, file, "conan"));
        }
        let mut section = "";
        for line in file.text().lines().map(str::trim) {
            if line.starts_with('[') {
                section = if line == "[full_requires]" { "requires" } else { "" };
            } else if section == "requires"
                && let Some((name, version)) = line.split_once('/')
            {
                let version = version.split([':', '@', '#']).next().unwrap_or("");
                result.components.extend(found(Ecosystem::Conan, name, version, file, "conan"));
            }
        }
    }
    result
}

/// Applications that come with Erlang/OTP or Elixir and are in no registry; sorted.
#[rustfmt::skip]
const OTP: &[&str] = &[
    "asn1", "common_test", "compiler", "crypto", "debugger", "dialyzer", "diameter", "edoc", "eex", "eldap",
    "erl_docgen", "erl_interface", "erts", "et", "eunit", "ex_unit", "ftp", "iex", "inets", "jinterface",
    "kernel", "logger", "megaco", "mix", "mnesia", "observer", "odbc", "os_mon", "parsetools", "public_key",
    "reltool", "runtime_tools", "sasl", "snmp", "ssh", "ssl", "stdlib", "syntax_tools", "tftp", "tools", "wx",
    "xmerl",
];

/// Erlang and Elixir: `{application, NAME, [… {vsn, "VERSION"} …]}`. What is not OTP's own is most likely from Hex.
pub(super) fn erlang(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut packages = Vec::new();
    for file in files {
        let text: String = file.text().lines().filter(|line| !line.trim_start().starts_with('%')).collect();
        let text: String = text.split_whitespace().collect();
        let Some(rest) = text.strip_prefix("{application,") else { continue };
        let name = rest.split(',').next().unwrap_or("").trim_matches('\'');
        let Some(version) = rest.split_once("{vsn,").and_then(|(_, value)| quoted(value)) else { continue };
        let (ecosystem, name) = match name {
            name if OTP.binary_search(&name).is_ok() => (Ecosystem::Otp, name),
            "rabbit" => (Ecosystem::Generic, "rabbitmq"),
            "elixir" => (Ecosystem::Generic, "elixir"),
            name => (Ecosystem::Hex, name),
        };
        let Some(mut application) = found(ecosystem, name, version, file, "erlang") else { continue };
        if ecosystem == Ecosystem::Hex {
            application.confidence = Confidence::Low; // an application of one's own looks the same
        }
        let list =
            rest.split_once("{applications,[").and_then(|(_, list)| list.split(']').next()).unwrap_or("");
        packages
            .push((application, list.split(',').map(|name| name.trim_matches('\'').to_owned()).collect()));
    }
    Interpreted { components: related(packages), ..Interpreted::default() }
}

/// Fields of a module, or of a kernel's image, `NAME=VALUE` a line.
pub(super) fn kernel(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let text = file.text();
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
        };
        let release = field("release");
        if !release.is_empty() {
            result.components.extend(found(Ecosystem::Generic, "linux-kernel", release, file, "kernel"));
            continue;
        }
        let name = match field("name") {
            "" => last(file.path).split('.').next().unwrap_or(""),
            name => name,
        };
        // Modules that were built with the kernel are the kernel, whatever version they state.
        if field("intree") == "Y" {
            continue;
        }
        let Some(mut module) = found(Ecosystem::Generic, name, field("version"), file, "kernel-module")
        else {
            continue;
        };
        module.licenses = license::stated(field("license")).into_iter().collect();
        module.supplier = field("author").to_owned();
        result.components.push(module);
    }
    result
}

fn json(file: &File<'_>, result: &mut Interpreted) -> Option<Value> {
    serde_json::from_slice(file.bytes).map_err(|why| result.unreadable("json_unreadable", file, why)).ok()
}

/// ELF: the package that a program says it is part of. A distribution's, where it names one.
pub(super) fn elf(context: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut result = Interpreted::default();
    for file in files {
        let Some(document) = json(file, &mut result) else { continue };
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
        let ecosystem =
            text("type").parse::<Ecosystem>().ok().filter(|ecosystem| ecosystem.is_distribution());
        let (name, version) = (text("name"), text("version"));
        if !valid(name) || !valid(version) || name.contains('/') {
            continue;
        }
        let name = match ecosystem {
            Some(Ecosystem::Deb | Ecosystem::Apk | Ecosystem::Alpm) => name.to_lowercase(),
            _ => name.to_owned(),
        };
        let mut parts = text("osCpe").split(':').skip(3);
        let (product, number) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let stated = |own: &str, cpe: &str| if own.is_empty() { cpe.to_owned() } else { own.to_owned() };
        let (id, number) = (stated(text("os"), product).to_lowercase(), stated(text("osVersion"), number));
        let key = match ecosystem {
            Some(ecosystem) => ComponentKey {
                package: plimsoll_model::PackageKey {
                    ecosystem,
                    release: if valid(&id) {
                        Some(crate::identity::canonical(&id, &number))
                    } else {
                        context.distribution.map(|distribution| distribution.release.clone())
                    },
                    name: name.clone(),
                },
                version: version.to_owned(),
                source: Some(plimsoll_model::package::SourcePackage {
                    name: name.clone(),
                    version: version.to_owned(),
                }),
                arch: text("architecture").to_owned(),
                stream: String::new(),
            },
            None => key(Ecosystem::Generic, &name, version),
        };
        result.components.push(component(key, &name, file, "elf-note"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otp_is_sorted() {
        assert!(OTP.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
