//! Pictures, SARIF, the comment on a pull request, and explanations, from directories of manifests.

use std::fs;
use std::path::PathBuf;

use plimsoll_netpol::effects::Urgency;
use plimsoll_netpol::engine::Options;
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::report::{
    Accept, ConnectionsOptions, DiffFormat, DiffOptions, LintFormat, Report, connections, diff_dirs, explain,
    lint,
};
use serde_json::Value;

/// A folder with one file, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, yaml: &str) -> Self {
        let path = std::env::temp_dir().join(format!("plimsoll-netpol-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("sub dir")).unwrap();
        fs::write(path.join("sub dir/all.yaml"), yaml).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pods(count: usize) -> String {
    let pod = |index| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{index:03}, namespace: n{}, labels: {{app: p{index:03}}}}}\nspec: \
             {{containers: [{{name: c, image: i}}]}}\n",
            index % 3
        )
    };
    (0..count).map(pod).collect()
}

const CLOSED: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: closed
  namespace: n0
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

/// Elements are closed in order, and nothing but known text stands between; enough for what the pictures use.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{}", &rest[..at]);
        let end = at + rest[at..].find('>').expect("closed");
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
}

fn picture(folder: &Folder) -> String {
    let options = ConnectionsOptions { format: OutputFormat::Svg, exposure: true, ..Default::default() };
    let report = connections(&folder.0, &options).unwrap();
    assert_eq!(report.text, connections(&folder.0, &options).unwrap().text, "the same bytes each time");
    well_formed(&report.text);
    report.text
}

#[test]
fn pictures() {
    let small = picture(&Folder::new("small", &(pods(3) + CLOSED)));
    assert!(small.contains("marker-end") && small.contains("p001[Pod]"), "a graph");
    let large = picture(&Folder::new("large", &pods(40)));
    assert!(!large.contains("marker-end") && large.contains("rotate(-60)"), "a matrix");
    let huge = picture(&Folder::new("huge", &pods(200)));
    assert!(huge.contains("by namespace") && huge.len() < 200_000, "{}", huge.len());
    let hostile = pods(2).replace("p001", "'p<001>&\"\\u0007'");
    let hostile = hostile.replace("labels: {app: 'p<001>&\"\\u0007'}", "labels: {}");
    picture(&Folder::new("hostile", &hostile));
}

fn diff(name: &str, before: &str, after: &str, format: DiffFormat, drift: bool) -> Report {
    let (before, after) =
        (Folder::new(&format!("{name}-b"), before), Folder::new(&format!("{name}-a"), after));
    let options = DiffOptions { format, drift, judge: true, ..Default::default() };
    diff_dirs(&before.0, &after.0, &options).unwrap()
}

#[test]
fn differences_as_pictures() {
    let report = diff("svg", &(pods(4) + CLOSED), &pods(4), DiffFormat::Rows(OutputFormat::Svg), false);
    well_formed(&report.text);
    assert!(report.text.contains("#15803d") && report.differs && report.worst == Some(Urgency::High));
    let none = diff("none", &pods(4), &pods(4), DiffFormat::Rows(OutputFormat::Svg), false);
    assert!(none.text.is_empty() && !none.differs && none.worst.is_none());
}

#[test]
fn sarif() {
    let report = diff("sarif", &(pods(4) + CLOSED), &pods(4), DiffFormat::Sarif, false);
    let log: Value = serde_json::from_str(&report.text).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let (rules, results) = (&log["runs"][0]["tool"]["driver"]["rules"], &log["runs"][0]["results"]);
    assert!(rules.as_array().unwrap().len() >= 14);
    let mut prints = Vec::new();
    for result in results.as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("file:///") && uri.ends_with("sub%20dir/all.yaml"), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 3, "{place}");
        prints.push(result["partialFingerprints"]["netpol/v1"].as_str().unwrap().to_owned());
    }
    let codes: Vec<&str> =
        results.as_array().unwrap().iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert!(codes.contains(&"NETPOL003") && codes.contains(&"NETPOL005"), "{codes:?}");
    let count = prints.len();
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), count, "no two findings have one fingerprint");
    let again = diff("sarif2", &(pods(4) + CLOSED), &pods(4), DiffFormat::Sarif, false);
    for print in prints {
        assert!(again.text.contains(&print), "other folders, the same fingerprints");
    }
    let empty: Value =
        serde_json::from_str(&diff("sarif3", &pods(1), &pods(1), DiffFormat::Sarif, false).text).unwrap();
    assert_eq!(empty["runs"][0]["results"], serde_json::json!([]), "a log without results closes old alerts");
    // Readers refuse logs that are too large: connections are cut, and their number is said.
    let large = diff("sarif8", &(pods(60) + CLOSED), &pods(60), DiffFormat::Sarif, false).text;
    let large: Value = serde_json::from_str(&large).unwrap();
    let run = &large["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.iter().filter(|result| result["ruleId"] == "NETPOL005").count(), 1000);
    let note = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap();
    assert!(note.contains("more connections differ"), "{note}");
}

/// Against the schema of SARIF 2.1.0 where it is at hand: `PLIMSOLL_SARIF_SCHEMA` names its file (npm's
/// `@microsoft/jest-sarif` has one), Python with `jsonschema` does the checking.
#[test]
fn sarif_is_valid_by_its_schema() {
    use std::io::Write as _;
    const CHECK: &str = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.validators.validator_for(schema)(schema).validate(json.load(sys.stdin))
";
    let python = std::env::var("PLIMSOLL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let Ok(schema) = std::env::var("PLIMSOLL_SARIF_SCHEMA") else {
        eprintln!("skipped: PLIMSOLL_SARIF_SCHEMA names no schema");
        return;
    };
    let odd = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: idle, namespace: shop}\nspec:\n  podSelector: \
               {matchLabels: {app: nobody}}\n---\n";
    let logs = [
        diff("sarif4", &(pods(4) + CLOSED), &pods(4), DiffFormat::Sarif, false).text,
        diff("sarif5", &(pods(4) + CLOSED), &(pods(6) + odd), DiffFormat::Sarif, false).text,
        diff("sarif6", &(pods(4) + CLOSED), &pods(4), DiffFormat::Sarif, true).text,
        diff("sarif7", &pods(1), &pods(1), DiffFormat::Sarif, false).text,
    ];
    let valid = |log: &str| {
        let mut child = std::process::Command::new(&python)
            .args(["-c", CHECK, &schema])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
        child.wait().unwrap().success()
    };
    for log in &logs {
        assert!(valid(log), "{log}");
    }
    assert!(!valid(&logs[0].replace("\"startLine\": ", "\"startLine\": -")), "the schema is looked at");
}

#[test]
fn comments() {
    let report = diff("md", &(pods(4) + CLOSED), &pods(4), DiffFormat::Comment, false);
    let lines: Vec<&str> = report.text.lines().collect();
    assert!(
        lines[0].starts_with("**Network policy:** ") && lines[0].contains("connections differ"),
        "{}",
        lines[0]
    );
    assert!(lines.iter().any(|line| line.starts_with("- **high** `NETPOL003` ")), "{}", report.text);
    assert_eq!(report.text.matches("<details>").count(), 1);
    assert!(report.text.trim_end().ends_with("</details>"));
    assert!(report.text.len() < 65_536);
    let odd = diff("md2", &pods(1), &(pods(1) + CLOSED + &pods(150)), DiffFormat::Comment, false);
    assert!(odd.text.contains("more") && odd.text.len() < 65_536, "{}", odd.text.len());
    assert!(diff("md3", &pods(2), &pods(2), DiffFormat::Comment, false).text.is_empty());
    let drift = diff("md4", &(pods(4) + CLOSED), &pods(4), DiffFormat::Comment, true);
    assert!(drift.text.contains("NETPOL030"), "{}", drift.text);
}

#[test]
fn remarks_and_explanations_as_json() {
    let folder = Folder::new("json", &(pods(2) + CLOSED));
    let report = lint(&folder.0, LintFormat::Json, &Options::default(), &Accept::default()).unwrap();
    let found: Value = serde_json::from_str(&report.text).unwrap();
    let first = &found[0];
    assert_eq!(
        (first["code"].as_str(), first["urgency"].as_str()),
        (Some("NETPOL006"), Some("low")),
        "{found}"
    );
    assert!(first["places"][0]["line"].is_u64() && first["fingerprint"].as_str().unwrap().len() == 32);
    let words = lint(&folder.0, LintFormat::Txt, &Options::default(), &Accept::default()).unwrap().text;
    assert!(
        words.starts_with("NETPOL006 low no policy selects a workload of namespace n")
            && words.contains("all.yaml:"),
        "{words}"
    );
    let why = explain(&folder.0, "p001", "n0/p000", true, &Options::default()).unwrap();
    let why: Value = serde_json::from_str(&why.text).unwrap();
    assert_eq!(why["conn"], "No Connections");
    assert_eq!(why["ingress"]["decisions"][0]["policy"], "closed");
    assert!(why["caveats"][0].as_str().unwrap().contains("own node"), "{why}");
    assert!(explain(&folder.0, "8.8.8.8", "p001", true, &Options::default()).is_ok());
    let error = explain(&folder.0, "nobody", "p001", true, &Options::default()).unwrap_err();
    assert_eq!(error.code(), "no_such_workload");
    let error = explain(&folder.0, "8.8.8.8", "9.9.9.9", true, &Options::default()).unwrap_err();
    assert_eq!(error.code(), "no_workload");
    // A name that several have is nobody's.
    let twins = ["a", "b"].map(|space| {
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: twin, namespace: {space}}}, spec: {{containers: []}}}}\n")
    });
    fs::write(folder.0.join("twins.yaml"), twins.join("---\n")).unwrap();
    let error = explain(&folder.0, "twin", "p001", false, &Options::default()).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("several_workloads", "twin may be a/twin[Pod] or b/twin[Pod]")
    );
    let why = explain(&folder.0, "b/twin[Pod]", "8.8.8.8", false, &Options::default()).unwrap();
    assert!(why.text.starts_with("b/twin[Pod] => 8.8.8.8 : All Connections"), "{}", why.text);
    let own = explain(&folder.0, "a/twin", "8.8.8.8", false, &Options::default()).unwrap();
    assert!(own.text.starts_with("a/twin[Pod] => 8.8.8.8"), "{}", own.text);
}
