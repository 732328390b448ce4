//! The arrows between the crates, the owners of foreign crates, and the pages that must keep up with the code.
//!
//! ARCHITECTURE.md says what the arrows mean; this is what keeps it so. An arrow that is added fails here until it is
//! written into [`ARROWS`], which is the place to ask whether it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Values in, values out.
const DOMAIN: &[&str] =
    &["model", "version", "image", "sbom", "vex", "vuln", "netpol", "risk", "findings", "inventory"];

/// What a domain crate never depends on, whatever [`ARROWS`] says: I/O, other processes, their messages.
const EDGES: &[&str] = &["bus", "store", "proto", "telemetry", "process", "testkit"];

/// What each crate of the workspace depends on, tests aside. Names without `plimsoll-`.
const ARROWS: &[(&str, &[&str])] = &[
    // values in, values out
    ("model", &[]),
    ("version", &[]),
    ("risk", &["model"]),
    ("inventory", &["model"]),
    ("findings", &["model", "risk"]),
    ("sbom", &["model"]),
    ("netpol", &["model"]),
    // Products are package URLs, which are sbom's to read.
    ("vex", &["model", "sbom"]),
    ("vuln", &["model", "version"]),
    ("image", &["config", "cpu", "model"]),
    // tools
    ("cpu", &[]),
    ("telemetry", &[]),
    ("config", &["model"]),
    ("testkit", &[]),
    // what travels, and where it is kept
    ("proto", &["model"]),
    ("proto-generate", &[]),
    ("bus", &["cpu", "model", "proto", "telemetry"]),
    ("store", &["findings", "inventory", "model", "risk"]),
    // processes
    ("process", &["bus", "config", "cpu", "telemetry"]),
    ("unpack-service", &["bus", "config", "cpu", "image", "model", "process", "proto"]),
    ("sbom-service", &["bus", "cpu", "model", "process", "proto", "sbom"]),
    ("scan-service", &["bus", "cpu", "model", "process", "proto", "vuln"]),
    ("netpol-service", &["bus", "config", "cpu", "model", "netpol", "process", "proto"]),
    // A client of the gateway: what it reads of objects is what netpol reads of them.
    ("watch-service", &["netpol", "telemetry"]),
    ("feeds-service", &["bus", "config", "model", "process", "proto", "vex", "vuln"]),
    // The installed Db is scan's: the aggregator compares two of them.
    (
        "aggregator-service",
        &[
            "bus",
            "config",
            "inventory",
            "model",
            "process",
            "proto",
            "risk",
            "scan-service",
            "store",
            "telemetry",
            "vuln",
        ],
    ),
    // The state of a cluster is netpol's: a dry run folds one event into it.
    (
        "gateway-service",
        &[
            "bus",
            "config",
            "cpu",
            "findings",
            "model",
            "netpol",
            "netpol-service",
            "process",
            "proto",
            "sbom",
            "telemetry",
        ],
    ),
];

/// Glue: may depend on every crate of the workspace, and nothing depends on them.
const GLUE: &[&str] = &["plimsoll", "loadtest"];

/// Foreign crates, or families of them by prefix, with the only crates that may depend on them.
const OWNERS: &[(&str, &[&str])] = &[
    ("async-nats", &["bus"]),
    // The load test holds the Db's data in SQLite, to compare.
    ("sqlx", &["store", "loadtest"]),
    ("rayon", &["cpu"]),
    ("axum", &["gateway-service", "process", "testkit"]),
    // The command line is a client of the gateway, feeds one of its sources, the test kit one of everybody.
    ("reqwest", &["image", "feeds-service", "watch-service", "plimsoll", "testkit"]),
    ("memmap2", &["vuln"]),
    ("object", &["image"]),
    ("docker_credential", &["image"]),
    ("opentelemetry", &["telemetry"]),
    ("tracing-opentelemetry", &["telemetry"]),
    ("tracing-subscriber", &["telemetry"]),
    ("prometheus-client", &["telemetry"]),
    ("serde-saphyr", &["config", "netpol", "vex"]),
    ("tikv-jemallocator", &["process"]),
    ("prost-build", &["proto-generate"]),
    ("protox", &["proto-generate"]),
    ("clap", &["plimsoll", "loadtest"]),
    ("indicatif", &["plimsoll"]),
    ("comfy-table", &["plimsoll"]),
    ("kube", &["watch-service"]),
    ("k8s-openapi", &["watch-service"]),
    // An errors-of-everything crate and a second TLS have no owner.
    ("anyhow", &[]),
    ("openssl", &[]),
    ("ring", &[]),
];

/// The one crate with `unsafe`, for the mapped Db.
const UNSAFE: &str = "vuln";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn short(name: &str) -> &str {
    name.strip_prefix("plimsoll-").unwrap_or(name)
}

/// Dependencies that are built into the crate, with those of its build script.
fn dependencies(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|d| matches!(d.kind, DependencyKind::Normal | DependencyKind::Build))
        .map(|d| d.name.as_str())
}

/// The crates of the workspace that a package depends on.
fn arrows(package: &Package) -> BTreeSet<&str> {
    dependencies(package).filter(|name| name.starts_with("plimsoll")).map(short).collect()
}

#[test]
fn arrows_are_those_of_the_map() {
    let metadata = metadata();
    let map: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    assert_eq!(map.len(), ARROWS.len(), "a crate is named twice");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let from = short(&package.name);
        seen.insert(from);
        if GLUE.contains(&from) {
            continue;
        }
        let Some(allowed) = map.get(from) else {
            wrong.push(format!("{from} is not in the map"));
            continue;
        };
        let is = arrows(package);
        wrong.extend(is.difference(allowed).map(|to| format!("{from} -> {to} is new")));
        wrong.extend(allowed.difference(&is).map(|to| format!("{from} -> {to} is in the map alone")));
    }
    wrong.extend(map.keys().filter(|name| !seen.contains(*name)).map(|name| format!("{name} is gone")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_depends_on_the_glue() {
    for package in &metadata().packages {
        let onto: Vec<&str> = arrows(package).into_iter().filter(|to| GLUE.contains(to)).collect();
        assert!(onto.is_empty(), "{} -> {onto:?}", package.name);
    }
}

/// The map itself may be edited; this may not be edited away with it.
#[test]
fn domain_crates_do_not_reach_the_edges() {
    let metadata = metadata();
    let graph: BTreeMap<&str, BTreeSet<&str>> =
        metadata.packages.iter().map(|p| (short(&p.name), arrows(p))).collect();
    for domain in DOMAIN {
        let mut reached = BTreeSet::new();
        let mut next = vec![*domain];
        while let Some(name) = next.pop() {
            for to in &graph[name] {
                if reached.insert(*to) {
                    next.push(to);
                }
            }
        }
        let bad: Vec<_> =
            reached.iter().filter(|to| EDGES.contains(*to) || to.ends_with("-service")).collect();
        assert!(bad.is_empty(), "{domain} reaches {bad:?}");
    }
    for domain in DOMAIN {
        let package = metadata.packages.iter().find(|p| short(&p.name) == *domain).unwrap();
        let prost: Vec<_> = dependencies(package).filter(|d| *d == "prost" || *d == "pbjson").collect();
        assert!(prost.is_empty(), "{domain} knows the wire: {prost:?}");
    }
}

#[test]
fn foreign_crates_have_their_owner() {
    let mut wrong = Vec::new();
    for package in &metadata().packages {
        let name = short(&package.name);
        for dependency in dependencies(package) {
            for (foreign, owners) in OWNERS {
                let same = dependency == *foreign
                    || (*foreign == "opentelemetry" && dependency.starts_with("opentelemetry"));
                if same && !owners.contains(&name) {
                    wrong.push(format!("{name} depends on {dependency}, which is {owners:?}'s"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Rust files of the workspace's packages that are built into them; not tests, not generated code.
fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "gen") {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    for package in &metadata().packages {
        let mut files = Vec::new();
        walk(package.manifest_path.parent().unwrap().join("src").as_std_path(), &mut files);
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            out.push((short(&package.name).to_owned(), file, text));
        }
    }
    assert!(out.len() > 100, "the sources were not found");
    out
}

#[test]
fn unsafe_code_is_in_one_crate() {
    let allowing: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code"))
        .map(|(name, _, _)| name)
        .collect();
    assert_eq!(allowing, BTreeSet::from([UNSAFE.to_owned()]));
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"deny\""));
    for package in &metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            package.name
        );
    }
}

/// A stable code: lower case words joined by underscores.
fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The string literal that `text` starts with, after blanks.
fn literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next()
}

/// All string literals of `text`.
fn literals(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// What stands between the first brace of `text` and the one that closes it.
fn block(text: &str) -> &str {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[..at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The codes that a file gives to people: the bodies of `fn code`, and what is handed to the makers of errors.
fn codes(text: &str) -> BTreeSet<&str> {
    /// The code is the first argument.
    const MAKERS: &[&str] = &[
        "Failure::permanent(",
        "Failure::transient(",
        "ProcessError::role(",
        "CliError::new(",
        "ApiError::bad(",
        "Refusal::new(",
        "Self::permanent(",
        "Self::transient(",
        ".anomaly(",
        ".partial(",
        ".incomplete(",
        ".note(",
        ".unreadable(",
    ];
    let mut codes = BTreeSet::new();
    for body in text.split("fn code(&self)").skip(1) {
        codes.extend(literals(block(body)));
    }
    for maker in MAKERS {
        codes.extend(text.split(maker).skip(1).filter_map(literal));
    }
    for made in text.split("ApiError::new(").skip(1) {
        // A status, then the code.
        codes.extend(made.split_once(',').and_then(|(_, rest)| literal(rest)));
    }
    for field in text.split(" code: ").skip(1) {
        codes.extend(literal(field));
    }
    codes.retain(|code| is_code(code));
    codes
}

/// The codes that docs/errors.md has a row for.
fn documented(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('|'))
        .flat_map(|(cell, _)| cell.split('`').step_by(2))
        .map(str::trim)
        .filter(|code| is_code(code))
        .collect()
}

#[test]
fn every_code_has_a_row_in_the_page_of_errors() {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let documented = documented(&page);
    let sources = sources();
    let mut missing = Vec::new();
    let mut written = BTreeSet::new();
    for (_, file, text) in &sources {
        for code in codes(text) {
            if !documented.contains(code) {
                missing.push(format!("{code} ({})", file.strip_prefix(root()).unwrap().display()));
            }
        }
        written.extend(literals(text));
    }
    assert!(missing.is_empty(), "no row in docs/errors.md for {missing:#?}");
    let stale: Vec<_> = documented.iter().filter(|code| !written.contains(*code)).collect();
    assert!(stale.is_empty(), "docs/errors.md has rows for codes that nothing says: {stale:?}");
    assert!(documented.len() > 80, "the page was not read: {documented:?}");
}

#[test]
fn codes_are_found_where_they_are_written() {
    let text = r#"
        impl E { pub fn code(&self) -> &'static str { match self { Self::A { .. } => "a_code", Self::B(_) => "b" } } }
        fn f() { return Err(Failure::permanent("c_code", error)); }
        fn g() { ApiError::new(
            StatusCode::FORBIDDEN,
            "d_code", "No Code"); CliError::new(error.code(), "not_this") }
        const P: Partial = Partial { code: "e_code".to_owned() };
    "#;
    assert_eq!(codes(text), BTreeSet::from(["a_code", "b", "c_code", "d_code", "e_code"]));
    assert_eq!(documented("| `a`, `b_c` | meaning `d` |\nx `e`\n"), BTreeSet::from(["a", "b_c"]));
}

/// The text of every document that readers of the project are sent to, with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "deploy/README.md", "deploy/nats/README.md"]
            .iter()
            .map(|path| root.join(path))
            .collect();
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root.join("docs")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.sort();
    paths.extend(pages);
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(path.parent().unwrap().join(target).exists(), "{} links to {link}", path.display());
        }
    }
}

#[test]
fn the_page_of_metrics_names_every_metric() {
    let source = std::fs::read_to_string(root().join("crates/telemetry/src/metrics.rs")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let mut names: Vec<&str> = source.split("registry.register(").skip(1).filter_map(literal).collect();
    names.retain(|name| is_code(name));
    assert!(names.len() >= 8, "the metrics were not found: {names:?}");
    for name in names {
        assert!(page.contains(&format!("`plimsoll_{name}")), "docs/metrics.md lacks {name}");
    }
}

#[test]
fn the_page_of_the_interface_names_every_route() {
    let source = std::fs::read_to_string(root().join("services/gateway/src/lib.rs")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let routes: Vec<&str> = source.split(".route(").skip(1).filter_map(literal).collect();
    assert!(routes.len() >= 10, "the routes were not found: {routes:?}");
    for route in routes {
        let shown = route.replace("{*id}", "{id}");
        assert!(page.contains(&shown), "docs/api.md lacks {route}");
    }
}

#[test]
fn the_permissions_of_the_broker_are_those_that_are_written() {
    let script = root().join("deploy/nats/permissions.py");
    let output = std::process::Command::new("python3").arg(script).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
