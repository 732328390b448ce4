//! Which keys change from one Db to the next.

use plimsoll_vuln::{Db, diff};

use crate::support::*;

fn record(id: &str, cve: &str, package: &str, fixed: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"2021-06-09T00:00:00Z","aliases":["{cve}"],"affected":[{{"package":{{"ecosystem":"npm","name":"{package}"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]}}]}}]}}"#
    )
}

fn db(records: &[String], epss: &str) -> Db {
    db_of(&[("r.jsonl", &records.join("\n")), ("e.csv", &format!("cve,epss,percentile\n{epss}"))])
}

#[test]
fn only_what_changed() {
    let a = record("GHSA-aaaa-aaaa-aaaa", "CVE-2021-0001", "a", "1.0.0");
    let b = record("GHSA-bbbb-bbbb-bbbb", "CVE-2021-0002", "b", "1.0.0");
    let c = record("GHSA-cccc-cccc-cccc", "CVE-2021-0003", "c", "1.0.0");
    let old = db(&[a.clone(), b.clone()], "CVE-2021-0001,0.1,0.5\n");
    // Another record before the others moves every number of the Db, and no content.
    let before = record("GHSA-0000-0000-0000", "CVE-2020-0001", "0", "1.0.0");
    let newer_b = record("GHSA-bbbb-bbbb-bbbb", "CVE-2021-0002", "b", "2.0.0");
    let new = db(&[before, a.clone(), newer_b, c], "CVE-2021-0001,0.9,0.5\n");
    let found = diff(&old, &new).unwrap();
    let names =
        |keys: &[plimsoll_vuln::LookupKey]| -> Vec<String> { keys.iter().map(|k| k.to_string()).collect() };
    assert_eq!(names(&found.keys), ["npm/0", "npm/b", "npm/c"]);
    assert_eq!(names(&found.intelligence), ["npm/a"]);
    assert_eq!(found.vulnerabilities, ["CVE-2020-0001", "CVE-2021-0001", "CVE-2021-0003"]);
    assert_eq!(found.all().len(), 4);
    assert_eq!(diff(&new, &old).unwrap().keys, found.keys);
    let same = diff(&old, &db(&[b, a], "CVE-2021-0001,0.1,0.5\n")).unwrap();
    assert_eq!(same, Default::default());
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let a = record("GHSA-aaaa-aaaa-aaaa", "CVE-2021-0001", "a", "1.0.0");
    let b = record("GHSA-bbbb-bbbb-bbbb", "CVE-2021-0002", "b", "1.0.0");
    let files = [("a.json", a.as_str()), ("b.json", b.as_str())];
    // The directory's own name is in the description of the feeds.
    let directory = directory(&files);
    let build = || plimsoll_vuln::build(&[directory.path().to_owned()], &OPTIONS).unwrap().0;
    assert_eq!(build(), build());
}
