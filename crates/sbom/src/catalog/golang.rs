//! Go: the build information of binaries (`go version -m`; runtime/debug.BuildInfo).

use plimsoll_model::sbom::{Component, Confidence};
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};

use super::{Context, File, Interpreted, component};

/// What the main module's version is when nothing states it.
const DEVEL: &str = "(devel)";

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let text = file.text();
        let info = Info::read(&text);
        let mut modules: Vec<Component> = Vec::new();
        if let Some(version) = toolchain(info.go) {
            modules.push(module("stdlib", version, file));
        }
        for dep in &info.deps {
            modules.push(dep.component(file));
        }
        // The `go` command is what an installation of Go has.
        if info.path == "cmd/go"
            && let Some(version) = toolchain(info.go)
        {
            modules.push(component(
                super::documents::key(Ecosystem::Generic, "go", version),
                "go",
                file,
                "go-binary",
            ));
        }
        let name = if info.module.path.is_empty() { info.path } else { info.module.path };
        // What is built from files alone has no name.
        if !name.is_empty() && name != "command-line-arguments" {
            let mut main = module(name, &info.version(), file);
            main.depends_on = modules.iter().map(|component| component.purl.clone()).collect();
            modules.push(main);
        }
        found.components.append(&mut modules);
    }
    found
}

fn module(path: &str, version: &str, file: &File<'_>) -> Component {
    let key = ComponentKey {
        package: PackageKey { ecosystem: Ecosystem::Golang, release: None, name: path.to_owned() },
        version: version.to_owned(),
        source: None,
        arch: String::new(),
        stream: String::new(),
    };
    component(key, path, file, "go-binary")
}

/// A `mod`, `dep` or `=>` line.
#[derive(Debug, Default, Clone, Copy)]
struct Module<'a> {
    path: &'a str,
    version: &'a str,
}

impl<'a> Module<'a> {
    fn read(fields: &mut std::str::Split<'a, char>) -> Self {
        Self { path: fields.next().unwrap_or(""), version: fields.next().unwrap_or("") }
    }
}

#[derive(Debug)]
struct Dep<'a> {
    module: Module<'a>,
    replaced_by: Option<Module<'a>>,
}

impl Dep<'_> {
    /// What was compiled in: the replacement, unless that is a directory, which has no name elsewhere. The module's
    /// own identity is then a guess.
    fn component(&self, file: &File<'_>) -> Component {
        match self.replaced_by {
            Some(other) if other.path.starts_with(['.', '/']) || other.version.is_empty() => {
                let mut guess = module(self.module.path, self.module.version, file);
                guess.confidence = Confidence::Low;
                guess
            }
            Some(other) => module(other.path, other.version, file),
            None => module(self.module.path, self.module.version, file),
        }
    }
}

/// The build information of one binary.
#[derive(Debug, Default)]
struct Info<'a> {
    go: &'a str,
    path: &'a str,
    module: Module<'a>,
    deps: Vec<Dep<'a>>,
    settings: Vec<(&'a str, String)>,
}

impl<'a> Info<'a> {
    fn read(text: &'a str) -> Self {
        let mut lines = text.lines();
        let mut info = Self { go: lines.next().unwrap_or("").trim(), ..Self::default() };
        for line in lines {
            let mut fields = line.trim_start().split('\t');
            match fields.next() {
                Some("path") => info.path = fields.next().unwrap_or("").trim(),
                Some("mod") => info.module = Module::read(&mut fields),
                Some("dep") => {
                    let module = Module::read(&mut fields);
                    if !module.path.is_empty() {
                        info.deps.push(Dep { module, replaced_by: None });
                    }
                }
                Some("=>") => {
                    if let Some(dep) = info.deps.last_mut() {
                        dep.replaced_by = Some(Module::read(&mut fields));
                    }
                }
                Some("build") => {
                    let setting = fields.next().unwrap_or("");
                    if let Some((name, value)) = setting.split_once('=') {
                        info.settings.push((name, unquote(value)));
                    }
                }
                _ => {}
            }
        }
        info
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The main module's version: what the build states; for `(devel)`, the linker flags' (`-X main.version=1.2.3`),
    /// else a pseudo-version of the commit, else `(devel)`.
    fn version(&self) -> String {
        if !matches!(self.module.version, "" | DEVEL) {
            return self.module.version.to_owned();
        }
        if let Some(version) =
            self.setting("-ldflags").and_then(|flags| linked_version(flags, self.module.path))
        {
            return version;
        }
        let commit = self.setting("vcs.revision").and_then(|revision| revision.get(..12));
        let time: String =
            self.setting("vcs.time").unwrap_or("").chars().filter(char::is_ascii_digit).collect();
        match (commit, time.get(..14)) {
            (Some(commit), Some(time)) => format!("v0.0.0-{time}-{commit}"),
            _ => DEVEL.to_owned(),
        }
    }
}

/// A Go string literal's content; other text as it is.
fn unquote(value: &str) -> String {
    if let Some(raw) = value.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return raw.to_owned();
    }
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => {
            let mut text = String::with_capacity(inner.len());
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                if c == '\\' { text.extend(chars.next()) } else { text.push(c) }
            }
            text
        }
        None => value.to_owned(),
    }
}

/// The number of a released toolchain: `1.22.3` of `go1.22.3 X:boringcrypto`.
fn toolchain(go: &str) -> Option<&str> {
    let version = go.split_whitespace().next()?.strip_prefix("go")?;
    // Vendors append their own name: `1.22.3-fips`.
    let version = version.split(['-', '+']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// The version that a `-X` assignment gives to a variable called like one: `main.version` before those of the
/// module's packages before others.
fn linked_version(flags: &str, module: &str) -> Option<String> {
    let mut best: Option<(u8, String)> = None;
    let mut words =
        flags.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"')).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-X").or_else(|| word.strip_prefix("--X")) {
            Some("") => words.next().unwrap_or(""),
            Some(rest) => rest.strip_prefix('=').unwrap_or(rest),
            None => continue,
        };
        let Some((variable, value)) = assignment.split_once('=') else { continue };
        let (package, name) = variable.rsplit_once('.').unwrap_or(("", variable));
        let name = name.to_ascii_lowercase();
        let called_version = name.ends_with("version") || name.ends_with("ver") || name.ends_with("tag");
        if !called_version || name.ends_with("goversion") {
            continue;
        }
        let Some(version) = semantic(value) else { continue };
        let rank = match package {
            "main" => 0,
            _ if !module.is_empty() && package.starts_with(module) => 2,
            _ => 4,
        } + u8::from(name != "version");
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, version));
        }
    }
    best.map(|(_, version)| version)
}

/// `v1.2.3…` of a value such as `1.2.3`, `v1.2.3-rc1` or `refs/tags/v1.2.3`.
fn semantic(value: &str) -> Option<String> {
    let value = value.rsplit('/').next()?;
    let version = value.strip_prefix('v').unwrap_or(value);
    let numbers = version.split(['-', '+']).next()?;
    let three = numbers.split('.').count() == 3;
    let digits = numbers.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let clean = version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+_".contains(c));
    (three && digits && clean).then(|| format!("v{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases were compared with Syft 1.18.1 on binaries built with these flags.
    #[test]
    fn versions_of_main_modules() {
        let version = |settings: &str| {
            Info::read(&format!(
                "go1.26.8\npath\texample.com/me/app\nmod\texample.com/me/app\t(devel)\t\n{settings}"
            ))
            .version()
        };
        assert_eq!(version(""), "(devel)");
        assert_eq!(version("build\t-ldflags=\"-X main.version=1.2.3\""), "v1.2.3");
        assert_eq!(
            version("build\t-ldflags=\"-X main.Version=v2.3.4-rc1 -X example.com/x/version.gitTag=9.9.9\""),
            "v2.3.4-rc1"
        );
        assert_eq!(version("build\t-ldflags=\"-X main.ver=v7.0.0\""), "v7.0.0");
        assert_eq!(version("build\t-ldflags=\"-X main.appVersion=v7.1.0\""), "v7.1.0");
        assert_eq!(version("build\t-ldflags=\"-s -w -X 'main.version=refs/tags/v3.0.0'\""), "v3.0.0");
        assert_eq!(
            version("build\t-ldflags=\"-X=example.com/me/app/v.Version=1.0.0 -X a/b.Version=2.0.0\""),
            "v1.0.0"
        );
        assert_eq!(version("build\t-ldflags=\"-X main.goVersion=1.22.3 -X main.version=dev\""), "(devel)");
        assert_eq!(
            version("build\tvcs.revision=9f911407ba12aaaaaaaa\nbuild\tvcs.time=2026-11-22T02:17:29Z"),
            "v0.0.0-20261122021729-9f911407ba12"
        );
        assert_eq!(Info::read("go1.26.8\nmod\tx\tv1.0.0\th1:x").version(), "v1.0.0");
    }

    #[test]
    fn toolchains() {
        assert_eq!(toolchain("go1.22.3"), Some("1.22.3"));
        assert_eq!(toolchain("go1.22.3 X:boringcrypto"), Some("1.22.3"));
        assert_eq!(toolchain("go1.21rc2"), Some("1.21rc2"));
        assert_eq!(toolchain("devel go1.23-1234 Mon"), None);
        assert_eq!(toolchain(""), None);
    }
}
