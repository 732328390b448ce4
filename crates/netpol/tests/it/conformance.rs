//! The expected outputs of np-guard, where they are at hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_netpol::engine::{Direction, Options};
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::report::{ConnectionsOptions, DiffFormat, DiffOptions, connections, diff_dirs};
use serde_json::Value;

fn root() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol/np-guard");
    root.join("cases.json").is_file().then_some(root)
}

fn strings(case: &Value, name: &str) -> Vec<String> {
    let list = case[name].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Lines as a set; JSON as a set of its objects.
fn lines(text: &str, format: &str) -> BTreeSet<String> {
    if format != "json" {
        return text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    }
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), serde_json::from_str::<Value>(text).unwrap_or(Value::Null))];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.into_iter().map(|item| (path.clone(), item))),
            Value::Object(fields) if fields.values().all(|field| field.is_string()) => {
                found.insert(format!("{path} {fields:?}"));
            }
            Value::Object(fields) => {
                open.extend(fields.into_iter().map(|(name, field)| (format!("{path}.{name}"), field)));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn np_guard_cases() {
    let Some(root) = root() else { return };
    let engine = Options { np_guard: true, ..Options::default() };
    let cases: Value = serde_json::from_str(&fs::read_to_string(root.join("cases.json")).unwrap()).unwrap();
    let mut failed = Vec::new();
    for case in cases.as_array().unwrap() {
        let tests = root.join("tests");
        let directory = |name: &str| tests.join(case[name].as_str().unwrap_or_default());
        if case["kind"] == "invalid" {
            // Without the reading of np-guard, an invalid object is refused with its file and field.
            match connections(&directory("dir"), &ConnectionsOptions::default()) {
                Err(error) => assert!(error.to_string().contains(".yaml"), "{error}"),
                Ok(_) => failed.push(format!("{} accepted", case["dir"])),
            }
            continue;
        }
        for name in strings(case, "formats") {
            let format = OutputFormat::parse(&name).unwrap();
            let expected = root.join(format!("{}{name}", case["expected"].as_str().unwrap()));
            let report = if case["kind"] == "diff" {
                let options = DiffOptions {
                    engine: engine.clone(),
                    format: DiffFormat::Rows(format),
                    ..DiffOptions::default()
                };
                diff_dirs(&directory("before"), &directory("after"), &options)
            } else {
                let options = ConnectionsOptions {
                    engine: engine.clone(),
                    format,
                    exposure: case["exposure"].as_bool().unwrap_or_default(),
                    focus: strings(case, "focus"),
                    focus_peers: strings(case, "focus_peers"),
                    focus_direction: match case["focus_direction"].as_str() {
                        Some("ingress") => Some(Direction::Ingress),
                        Some("egress") => Some(Direction::Egress),
                        _ => None,
                    },
                };
                connections(&directory("dir"), &options)
            };
            let expected = lines(&fs::read_to_string(expected).unwrap(), &name);
            match report {
                Ok(report) if lines(&report.text, &name) == expected => {}
                Ok(_) => failed.push(format!("{} {name} differs", case["expected"])),
                Err(error) => failed.push(format!("{} {name}: {error}", case["expected"])),
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
