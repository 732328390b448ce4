//! Real manifests with fields dropped, doubled, renamed and replaced, through every answer in every form: refused with
//! a place, or answered, but never a crash. More cases: `PROPTEST_CASES=20000 cargo test -p plimsoll-netpol mutated`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use plimsoll_netpol::engine::{BlockPods, Options};
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::load::LoadError;
use plimsoll_netpol::objects::ParseError;
use plimsoll_netpol::report::{
    Accept, ConnectionsOptions, DiffFormat, DiffOptions, LintFormat, ReportError, connections, diff_dirs,
    explain, lint,
};
use plimsoll_netpol::suggest::{Basis, SuggestError, SuggestFormat, SuggestOptions, suggest_dir};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// An application with something of everything that is read.
const SAMPLE: &str = include_str!("sample.yaml");
/// A flow in each form.
const FLOWS: &str = include_str!("flows.json");

/// Applications, each the documents of one directory.
static APPLICATIONS: LazyLock<Vec<Vec<Value>>> = LazyLock::new(|| {
    let mut found = vec![documents(SAMPLE)];
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol");
    for part in ["np-guard/tests", "suggest", "cluster-network-policy"] {
        let Ok(entries) = fs::read_dir(shared.join(part)) else { continue };
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        for folder in folders {
            let mut all = Vec::new();
            let Ok(files) = fs::read_dir(&folder) else { continue };
            let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml")) {
                all.extend(fs::read_to_string(file).ok().into_iter().flat_map(|text| documents(&text)));
            }
            // Large ones add time, not kinds of fields.
            if !all.is_empty() && all.len() <= 40 {
                found.push(all);
            }
        }
    }
    found
});

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(text).unwrap_or_default()
}

#[derive(Debug, Clone)]
enum Change {
    Drop,
    Double,
    Rename(String),
    Replace(Value),
    /// Takes the place of another value of the same application.
    Copy(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let values = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {}, [], "x"])),
        Just(json!("")),
        Just(json!("$(A)$(B)${A}$")),
        Just(json!("x".repeat(70_000))),
        Just(json!("http://[::1]:99999/@:@//")),
        Just(json!({"matchLabels": {"": "", "a": null}})),
        Just(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a", "a"]}]})),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|flag| json!(flag)),
        "\\PC{0,12}".prop_map(|text| json!(text)),
        "[a-z0-9.:/-]{0,16}".prop_map(|text| json!(text)),
    ];
    let names = prop_oneof![
        Just("labels".to_owned()),
        Just("namespace".to_owned()),
        Just("spec".to_owned()),
        Just("ports".to_owned()),
        Just("items".to_owned()),
        Just("name".to_owned()),
        "[a-zA-Z]{0,8}",
    ];
    prop_oneof![
        2 => Just(Change::Drop),
        2 => Just(Change::Double),
        2 => names.prop_map(Change::Rename),
        4 => values.prop_map(Change::Replace),
        2 => any::<Index>().prop_map(Change::Copy),
    ]
}

/// Every place of a value, as JSON pointers.
fn places(value: &Value, path: &str, out: &mut Vec<String>) {
    out.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{index}"), out);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        _ => {}
    }
}

fn apply(root: &mut Value, at: &Index, change: &Change) {
    let mut all = Vec::new();
    places(root, "", &mut all);
    let path = at.get(&all).clone();
    let copied =
        |root: &Value, from: &Index| root.pointer(from.get::<String>(&all)).cloned().unwrap_or_default();
    let Some((parent, last)) = path.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match change {
        Change::Replace(value) => *root.pointer_mut(&path).unwrap() = value.clone(),
        Change::Copy(from) => *root.pointer_mut(&path).unwrap() = copied(root, from),
        Change::Drop | Change::Double | Change::Rename(_) => match root.pointer_mut(parent).unwrap() {
            Value::Array(items) => {
                let index: usize = last.parse().unwrap();
                if matches!(change, Change::Drop) {
                    items.remove(index);
                } else {
                    items.insert(index, items[index].clone());
                }
            }
            Value::Object(fields) => {
                let value = if matches!(change, Change::Double) {
                    fields[&last].clone()
                } else {
                    fields.remove(&last).unwrap()
                };
                match change {
                    Change::Rename(name) => drop(fields.insert(name.clone(), value)),
                    Change::Double => drop(fields.insert(format!("{last}2"), value)),
                    _ => {}
                }
            }
            _ => {}
        },
    }
}

/// An error says what is wrong with which object and field.
fn refused(error: &LoadError) {
    match error {
        LoadError::Parse(ParseError::InvalidObject { source_name, object, field, message }) => {
            assert!(
                source_name.is_some() && !object.is_empty() && !field.is_empty() && !message.is_empty(),
                "{error}"
            );
        }
        LoadError::Parse(_) | LoadError::Nothing { .. } | LoadError::SecondBaseline { .. } => {}
        other => panic!("{other}"),
    }
}

fn judged(result: Result<plimsoll_netpol::report::Report, ReportError>) -> bool {
    match result {
        Ok(_) | Err(ReportError::NoSuchWorkload { .. } | ReportError::SeveralWorkloads { .. }) => true,
        Err(error @ ReportError::NoWorkload { .. }) => panic!("{error}"),
        Err(ReportError::Load(error)) => {
            refused(&error);
            false
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, documents: &[Value]) -> Self {
        let path = std::env::temp_dir().join(format!("plimsoll-mutated-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
        fs::write(path.join("all.yaml"), text.join("\n---\n")).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const FORMATS: [&str; 6] = ["txt", "json", "csv", "md", "dot", "svg"];
const DIFFS: [DiffFormat; 8] = [
    DiffFormat::Rows(OutputFormat::Txt),
    DiffFormat::Rows(OutputFormat::Json),
    DiffFormat::Rows(OutputFormat::Csv),
    DiffFormat::Rows(OutputFormat::Md),
    DiffFormat::Rows(OutputFormat::Dot),
    DiffFormat::Rows(OutputFormat::Svg),
    DiffFormat::Comment,
    DiffFormat::Sarif,
];

fn every_answer(before: &Folder, after: &Folder, flows: &Path) {
    for np_guard in [false, true] {
        let block_pods = if np_guard { BlockPods::Never } else { BlockPods::Match };
        let engine = Options { np_guard, block_pods, all_nodes: true };
        for format in FORMATS.into_iter().filter_map(OutputFormat::parse) {
            let options = ConnectionsOptions {
                engine: engine.clone(),
                format,
                exposure: true,
                ..ConnectionsOptions::default()
            };
            if !judged(connections(&after.0, &options)) {
                break;
            }
        }
        for format in DIFFS {
            let (engine, accept) = (engine.clone(), Accept::default());
            let options = DiffOptions { engine, format, judge: true, drift: np_guard, accept };
            judged(diff_dirs(&before.0, &after.0, &options));
        }
        for format in [LintFormat::Txt, LintFormat::Json, LintFormat::Sarif] {
            judged(lint(&after.0, format, &engine, &Accept::default()));
        }
        for json in [false, true] {
            judged(explain(&after.0, "web", "10.0.0.1", json, &engine));
        }
    }
    for basis in [Basis::Both, Basis::Flows, Basis::Declared] {
        let options = SuggestOptions { basis, external: true, ..SuggestOptions::default() };
        for format in [SuggestFormat::Yaml, SuggestFormat::Json, SuggestFormat::Md] {
            match suggest_dir(&after.0, Some(flows), &options, format) {
                Ok(report) => assert!(!report.text.is_empty()),
                Err(SuggestError::Load(error)) => return refused(&error),
                Err(SuggestError::Parse(error)) => panic!("what is suggested cannot be read: {error}"),
                Err(_) => {}
            }
        }
    }
}

/// Few cases, each of which asks for everything, unless the environment wants more.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 48 };
    ProptestConfig { cases, max_shrink_iters: 400, ..asked }
}

#[test]
fn samples_are_answered() {
    let folder = Folder::new("sample", &documents(SAMPLE));
    let flows = folder.0.join("flows.txt");
    fs::write(&flows, FLOWS).unwrap();
    every_answer(&folder, &folder, &flows);
    let report = connections(&folder.0, &ConnectionsOptions::default()).unwrap();
    assert!(report.text.contains("shop/web[Deployment]"), "{}", report.text);
    suggest_dir(&folder.0, Some(&flows), &SuggestOptions::default(), SuggestFormat::Yaml).unwrap();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mutated_manifests(which in any::<Index>(), changes in proptest::collection::vec((any::<Index>(), change()), 1..5)) {
        let original = which.get(&APPLICATIONS);
        let mut root = Value::Array(original.clone());
        for (at, change) in &changes {
            apply(&mut root, at, change);
        }
        let Value::Array(changed) = root else { return Ok(()) };
        let (before, after) = (Folder::new("before", original), Folder::new("after", &changed));
        let flows = before.0.join("flows.txt");
        fs::write(&flows, FLOWS).unwrap();
        every_answer(&before, &after, &flows);
    }

    #[test]
    fn mutated_flows(changes in proptest::collection::vec((any::<Index>(), change()), 1..6), cut in any::<Index>()) {
        let lines: Vec<Value> = FLOWS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut root = Value::Array(lines);
        for (at, change) in &changes {
            apply(&mut root, at, change);
        }
        let Value::Array(lines) = root else { return Ok(()) };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes.len().saturating_sub(cut.index(bytes.len() + 1) / 8));
        let folder = Folder::new("flows", &documents(SAMPLE));
        let flows = folder.0.join("flows.txt");
        fs::write(&flows, bytes).unwrap();
        for basis in [Basis::Both, Basis::Flows] {
            let options = SuggestOptions { basis, ..SuggestOptions::default() };
            match suggest_dir(&folder.0, Some(&flows), &options, SuggestFormat::Yaml) {
                Ok(report) => prop_assert!(!report.text.is_empty()),
                Err(SuggestError::Flows { source, .. }) => prop_assert!(matches!(source.code(), "flow_invalid" | "no_flows" | "too_large")),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
