//! Commands without a broker.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_testkit::image::{Compression, ImageBuilder, Layer, content};
use serde_json::Value;
use tempfile::TempDir;

/// What a call came to.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

pub(crate) fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(words);
    for name in ["PLIMSOLL_CONFIG", "PLIMSOLL_DB", "PLIMSOLL_DATA", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn finish(mut command: Command, input: &str) -> Done {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Done {
    finish(command(words), "")
}

/// A folder with an image `app` of two layers, advisories, and a Db made of them.
struct Place {
    dir: TempDir,
    upper: String,
}

const LODASH: &str = r#"{"id":"GHSA-35jh-r3h4-6jhm","modified":"2024-04-17T19:00:00Z","aliases":["CVE-2021-23337"],
"summary":"Command injection in lodash","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H"}],
"affected":[{"package":{"ecosystem":"npm","name":"lodash"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"4.17.21"}]}]}]}"#;

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = Layer::new()
            .file("etc/os-release", content::os_release("debian", "12"))
            .file("var/lib/dpkg/status", content::dpkg_status(&[("bash", "5.2.15-2+b2", "bash", "amd64")]));
        let upper = Layer::new()
            .file("app/node_modules/lodash/package.json", content::npm_package_json("lodash", "4.17.20"));
        let image = ImageBuilder::new()
            .layer(base, Compression::Gzip)
            .layer(upper, Compression::Zstd)
            .build()
            .unwrap();
        image.to_layout(&dir.path().join("app"), "1").unwrap();
        std::fs::create_dir(dir.path().join("feeds")).unwrap();
        std::fs::write(dir.path().join("feeds/GHSA-35jh-r3h4-6jhm.json"), LODASH).unwrap();
        let place = Self { dir, upper: image.layers()[1].digest.clone() };
        let built = run(["db", "build", "--from", &place.at("feeds"), "--out", &place.at("a.db")]);
        assert_eq!(built.code, 0, "{}", built.err);
        place
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn image(&self) -> String {
        format!("oci:{}", self.at("app"))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.dir.path().join("app/blobs").join(digest.replacen(':', "/", 1))
    }

    fn scan(&self, more: &[&str]) -> Done {
        let (image, db) = (self.image(), self.at("a.db"));
        run(["scan", &image, "--db", &db].into_iter().chain(more.iter().copied()))
    }
}

#[test]
fn a_scan_names_class_version_and_fix() {
    let place = Place::new();
    let done = place.scan(&["-o", "json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let report = done.json();
    assert_eq!(report["packages"], 2);
    assert_eq!(report["uncovered"], serde_json::json!(["deb:debian:12"]));
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["vulnerability"]["id"], "CVE-2021-23337");
    assert_eq!(findings[0]["versions"], serde_json::json!(["4.17.20"]));
    assert_eq!(findings[0]["fixed"], "4.17.21");
    assert_eq!(findings[0]["components"][0]["purl"], "pkg:npm/lodash@4.17.20");
    assert_eq!(
        findings[0]["components"][0]["locations"][0]["layer"].as_str(),
        Some(place.upper.as_str()),
        "the layer that brought it"
    );
    let class = findings[0]["assessment"]["class"].as_str().unwrap();

    let table = place.scan(&[]);
    for word in ["CVE-2021-23337", "lodash", "4.17.20", "4.17.21", class, "deb:debian:12"] {
        assert!(table.out.contains(word), "{word} is not in {}", table.out);
    }
    assert_eq!(place.scan(&["--fail-on", class]).code, 1);
    assert_eq!(place.scan(&["--fail-on", "upgrade"]).code, 1, "a more urgent finding fails too");
    assert_eq!(place.scan(&["--fail-on", "3d-forensic"]).code, 0, "a less urgent one does not");
    assert_eq!(place.scan(&["--fail-on", "soon"]).code, 2);
    assert_eq!(place.scan(&["--platform", "linux/amd64"]).code, 0);
    let other = place.scan(&["--platform", "linux/arm64"]);
    assert!(other.code == 2 && other.err.contains("platform_not_found"), "{}", other.err);
}

#[test]
fn a_layer_that_cannot_be_read_is_never_silent() {
    let place = Place::new();
    std::fs::write(place.blob(&place.upper), b"something else").unwrap();
    let done = run(["sbom", &place.image(), "-o", "json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains(&place.upper), "{}", done.err);
    let sbom = done.json();
    assert_eq!(sbom["components"].as_array().unwrap().len(), 1);
    assert_eq!(sbom["partial"].as_array().unwrap().len(), 1);
    // What was not read cannot be vouched for.
    let gate = place.scan(&["--fail-on", "upgrade"]);
    assert_eq!(gate.code, 2);
    assert!(gate.err.contains("scan_incomplete"), "{}", gate.err);
    let gate = run(["sbom", "--diff", &place.image(), &place.image(), "--fail-on", "change"]);
    assert!(gate.code == 2 && gate.err.contains("scan_incomplete"), "{}", gate.err);
    // Nothing at all is an error, not an empty list.
    let blobs = place.dir.path().join("app/blobs/sha256");
    let manifest: Value = std::fs::read_dir(&blobs)
        .unwrap()
        .filter_map(|entry| {
            serde_json::from_slice::<Value>(&std::fs::read(entry.unwrap().path()).unwrap()).ok()
        })
        .find(|json| json.get("layers").is_some())
        .unwrap();
    let base = manifest["layers"][0]["digest"].as_str().unwrap();
    std::fs::write(place.blob(base), b"neither").unwrap();
    let done = run(["sbom", &place.image()]);
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
}

#[test]
fn sboms_come_out_as_they_went_in() {
    let place = Place::new();
    let file = place.at("app.cdx.json");
    for format in ["cyclonedx-json", "json"] {
        assert_eq!(run(["sbom", &place.image(), "-o", format, "--out", &file]).code, 0);
        let direct = run(["sbom", &place.image(), "-o", "cyclonedx-json"]);
        let again = run(["sbom", &format!("sbom:{file}"), "-o", "cyclonedx-json"]);
        assert_eq!(direct.out, again.out, "{format}");
        let same = run(["sbom", "--diff", &place.image(), &format!("sbom:{file}")]);
        assert_eq!(same.out, "no difference\n", "{format}");
    }
    let of_file = run(["scan", &format!("sbom:{file}"), "--db", &place.at("a.db"), "-o", "json"]);
    assert_eq!(of_file.json()["findings"], place.scan(&["-o", "json"]).json()["findings"]);
    let other = Layer::new()
        .file("x/node_modules/lodash/package.json", content::npm_package_json("lodash", "4.17.21"));
    ImageBuilder::new()
        .layer(other, Compression::Gzip)
        .build()
        .unwrap()
        .to_layout(&dir(&place, "other"), "1")
        .unwrap();
    let diff =
        run(["sbom", "--diff", &place.image(), &format!("oci:{}", place.at("other")), "-o", "json"]).json();
    assert_eq!(diff["removed"][0]["package"]["name"], "bash");
    assert_eq!(diff["changed"][0]["after"][0]["version"], "4.17.21");
    let table = run(["sbom", "--diff", &place.image(), &format!("oci:{}", place.at("other"))]).out;
    assert!(table.starts_with("distribution debian:12 → -\n"), "{table}");
    let upgraded = table.lines().find(|line| line.starts_with("upgraded")).unwrap();
    assert_eq!(
        upgraded.split_whitespace().collect::<Vec<_>>(),
        ["upgraded", "npm/lodash", "4.17.20", "4.17.21"]
    );
    assert!(table.trim_end().ends_with("1 upgraded"), "{table}");
    let gate = |other: &str| run(["sbom", "--diff", &place.image(), other, "--fail-on", "change"]);
    assert_eq!(gate(&format!("oci:{}", place.at("other"))).code, 1);
    assert_eq!(gate(&format!("sbom:{file}")).code, 0);
    assert_eq!(run(["sbom", &place.image(), "--fail-on", "change"]).code, 2);
    // Every form of one image.
    let archive = ImageBuilder::new()
        .layer(
            Layer::new().file("n/node_modules/a/package.json", content::npm_package_json("a", "1.0.0")),
            Compression::Gzip,
        )
        .build()
        .unwrap()
        .to_archive("1")
        .unwrap();
    std::fs::write(place.at("a.tar"), archive).unwrap();
    assert!(run(["sbom", &format!("oci-archive:{}", place.at("a.tar"))]).out.contains("1.0.0"));
}

fn dir(place: &Place, name: &str) -> PathBuf {
    place.dir.path().join(name)
}

#[test]
fn lockfiles_count_in_a_directory() {
    let folder = TempDir::new().unwrap();
    let lock = r#"{"name":"app","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"app","version":"1.0.0"},
        "node_modules/lodash":{"version":"4.17.11","resolved":"x","integrity":"y"}}}"#;
    std::fs::write(folder.path().join("package-lock.json"), lock).unwrap();
    let done = run(["sbom", &format!("dir:{}", folder.path().display()), "-o", "cyclonedx-json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let purls: Vec<String> = done.json()["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| Some(c["purl"].as_str()?.to_owned()))
        .collect();
    assert!(purls.contains(&"pkg:npm/lodash@4.17.11".to_owned()), "{purls:?}");
}

#[test]
fn hostile_names_do_not_reach_a_terminal() {
    let place = Place::new();
    let status = "Package: \u{1b}[2Jevil\u{202e}\nStatus: install ok installed\nVersion: 1\u{7}\nArchitecture: all\n\n";
    std::fs::create_dir_all(dir(&place, "root/var/lib/dpkg")).unwrap();
    std::fs::write(dir(&place, "root/var/lib/dpkg/status"), status).unwrap();
    std::fs::create_dir_all(dir(&place, "root/\u{1b}[31m/node_modules/a")).unwrap();
    std::fs::write(
        dir(&place, "root/\u{1b}[31m/node_modules/a/package.json"),
        content::npm_package_json("a", "1.0.0"),
    )
    .unwrap();
    let done = run(["sbom", &format!("dir:{}", place.at("root"))]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("1.0.0"), "{}", done.out);
    let text = format!("{}{}", done.out, done.err);
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
}

#[test]
fn a_db_is_made_of_its_feeds_alone() {
    let place = Place::new();
    let file = |name: &str| std::fs::read(place.at(name)).unwrap();
    assert_eq!(run(["db", "build", "--from", &place.at("feeds"), "--out", &place.at("b.db")]).code, 0);
    assert_eq!(file("a.db"), file("b.db"));
    let info = run(["db", "info", &place.at("a.db"), "-o", "json"]).json();
    assert_eq!(info["seq"], 1);
    assert_eq!(info["built_at"], 1_713_380_400_000_u64, "the newest date of the feeds");
    let mut dated =
        command(["db", "build", "--from", &place.at("feeds"), "--out", &place.at("b.db"), "--seq", "7"]);
    dated.env("SOURCE_DATE_EPOCH", "1000");
    assert_eq!(finish(dated, "").code, 0);
    let info = run(["db", "info", &place.at("b.db"), "-o", "json"]).json();
    assert_eq!((&info["seq"], &info["built_at"]), (&7.into(), &1_000_000.into()));

    std::fs::write(place.at("feeds/GHSA-35jh-r3h4-6jhm.json"), LODASH.replace("4.17.21", "4.17.22")).unwrap();
    assert_eq!(
        run(["db", "build", "--from", &place.at("feeds"), "--out", &place.at("b.db"), "--seq", "8"]).code,
        0
    );
    let changes = run(["db", "diff", &place.at("a.db"), &place.at("b.db"), "-o", "json"]).json();
    assert_eq!(changes["packages"], serde_json::json!(["npm/lodash"]));
    for (version, affected) in [("4.17.20", true), ("4.17.21", true), ("4.17.22", false)] {
        let answer =
            run(["db", "query", &place.at("b.db"), &format!("pkg:npm/lodash@{version}"), "-o", "json"]);
        assert_eq!(answer.json()["matches"].as_array().unwrap().len(), usize::from(affected), "{version}");
    }
    // A Db that was changed is not believed.
    let mut bytes = file("b.db");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(place.at("b.db"), bytes).unwrap();
    let done = run(["db", "info", &place.at("b.db")]);
    assert!(done.code == 2 && done.err.contains("db_corrupt"), "{} {}", done.code, done.err);
    // Nothing to match is no Db.
    std::fs::create_dir(place.at("none")).unwrap();
    std::fs::write(place.at("none/readme.json"), "{}").unwrap();
    assert_eq!(run(["db", "build", "--from", &place.at("none"), "--out", &place.at("c.db")]).code, 2);
    assert!(!Path::new(&place.at("c.db")).exists());
}

#[test]
fn versions_are_compared_by_line() {
    let done = finish(command(["db", "compare", "dpkg"]), "1.0~rc1-1 1.0-1\n1:1 2\n1.0 1.0-0\nalone\n");
    assert_eq!(done.code, 0, "{}", done.err);
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(&lines[..3], ["<", ">", "="]);
    assert!(lines[3].starts_with("! "));
}

#[test]
fn errors_say_what_to_do() {
    let place = Place::new();
    let missing = place.at("data");
    for (words, code, hint) in [
        (vec!["sbom", "nginx"], "registry_not_configured", "registries"),
        (vec!["sbom", "oci:/nowhere"], "unreadable", "oci-layout"),
        (vec!["sbom", missing.as_str()], "invalid_reference", "--help"),
        (vec!["sbom", env!("CARGO_MANIFEST_DIR")], "invalid_reference", "dir:"),
        (vec!["scan", "dir:/nowhere"], "db_missing", "plimsoll db build"),
        (vec!["scan", "dir:/nowhere", "--db", "/nowhere"], "db_missing", "plimsoll db build"),
        (vec!["db", "query", "/nowhere", "pkg:npm/a"], "db_unreadable", "/nowhere"),
        (vec!["db", "compare", "roman"], "scheme_unknown", "dpkg"),
        (vec!["netpol", "lint", "/nowhere"], "unreadable", "/nowhere"),
    ] {
        let mut command = command(&words);
        command.env("PLIMSOLL_DATA", &missing);
        let done = finish(command, "");
        assert_eq!(done.code, 2, "{words:?}: {}", done.err);
        assert!(done.err.starts_with(&format!("error {code}: ")), "{words:?}: {}", done.err);
        assert!(done.err.contains(hint), "{words:?}: {}", done.err);
        assert_eq!(done.out, "", "{words:?}");
    }
}

const WORKLOADS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: registry.example.com/web, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: registry.example.com/db, ports: [{containerPort: 5432}]}]}
";
const CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
";

#[test]
fn policies_are_compared() {
    let place = Place::new();
    for (name, text) in [("open", WORKLOADS.to_owned()), ("closed", format!("{WORKLOADS}---{CLOSED}"))] {
        std::fs::create_dir(place.at(name)).unwrap();
        std::fs::write(place.at(&format!("{name}/all.yaml")), text).unwrap();
    }
    let (open, closed) = (place.at("open"), place.at("closed"));
    let rows = run(["netpol", "connections", &open, "-o", "csv", "--focus", "shop/db"]);
    assert!(rows.out.contains("shop/web[Pod],shop/db[Pod],All Connections"), "{} {}", rows.out, rows.err);
    let diff = |before: &str, after: &str, more: &[&str]| {
        run(["netpol", "diff", "--before", before, "--after", after].into_iter().chain(more.iter().copied()))
    };
    let lost = diff(&open, &closed, &["-o", "csv"]);
    assert_eq!(lost.code, 0, "{}", lost.err);
    assert!(lost.out.contains("shop/web[Pod],shop/db[Pod]"), "{}", lost.out);
    assert_eq!(diff(&open, &closed, &["--fail-on", "change"]).code, 1);
    let same = diff(&open, &open, &["--fail-on", "change"]);
    assert_eq!((same.code, same.out.as_str()), (0, ""));
    assert_eq!(diff(&open, "/nowhere", &[]).code, 2);
    // A rule accepts what it names, on standard error and in the log, and nothing else.
    let fails = ["--fail-on", "medium"];
    let lost = diff(&closed, &open, &fails);
    assert_eq!(lost.code, 1, "{}", lost.err);
    let rule = |namespace: &str, code: &str, more: &str| {
        format!(
            "- {{id: {code}, namespace: {namespace}, workload: Pod/db, reason: a drill, expires: never{more}}}\n"
        )
    };
    let codes = ["NETPOL001", "NETPOL002", "NETPOL003", "NETPOL005"];
    for (file, namespace, more, code) in [
        ("all.yaml", "shop", "", 0),
        ("elsewhere.yaml", "bank", "", 1),
        ("cluster.yaml", "shop", ", cluster: east", 1),
    ] {
        let rules: String = codes.iter().map(|id| rule(namespace, id, more)).collect();
        std::fs::write(place.at(file), format!("rules:\n{rules}")).unwrap();
        let file = place.at(file);
        let done = diff(&closed, &open, &["--fail-on", "medium", "--ignore-file", &file]);
        assert_eq!(done.code, code, "{file}: {} {}", done.out, done.err);
        assert_eq!(done.out, lost.out, "connections are told as they are");
        assert_eq!(done.err.contains("accepted: NETPOL003") && done.err.contains("a drill"), code == 0);
    }
    let (all, cluster) = (place.at("all.yaml"), place.at("cluster.yaml"));
    let named = diff(&closed, &open, &["--fail-on", "low", "--ignore-file", &cluster, "--cluster", "east"]);
    assert_eq!(named.code, 0, "{}", named.err);
    let sarif = diff(&closed, &open, &["-o", "sarif", "--ignore-file", &all]).json();
    let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
    assert!(!results.is_empty());
    assert!(results.iter().all(|r| r["suppressions"][0]["justification"] == "a drill"), "{results:?}");
    let comment = diff(&closed, &open, &["-o", "md", "--ignore-file", &all]).out;
    assert!(
        comment.contains("no finding that matters") && comment.contains("- accepted `NETPOL003`"),
        "{comment}"
    );
    let odd = run(["netpol", "lint", &open, "--fail-on", "warning"]);
    assert_eq!(odd.code, 1);
    std::fs::write(place.at("lint.yaml"), "rules:\n- {id: NETPOL006, reason: r, expires: 2020-01-01}\n")
        .unwrap();
    let expired =
        run(["netpol", "lint", &open, "--fail-on", "warning", "--ignore-file", &place.at("lint.yaml")]);
    assert_eq!((expired.code, &expired.out), (1, &odd.out));
    let why = run(["netpol", "explain", &closed, "--from", "web", "--to", "shop/db"]);
    assert!(why.out.contains("No Connections") && why.out.contains("closed"), "{} {}", why.out, why.err);
    let unknown = run(["netpol", "explain", &closed, "--from", "nobody", "--to", "db"]);
    assert!(unknown.code == 2 && unknown.err.contains("no_such_workload"), "{}", unknown.err);
}

#[test]
fn statements_take_findings_off_the_list_and_say_why() {
    let place = Place::new();
    let vex = |version: &str| {
        serde_json::json!({ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Shop",
            "statements": [{ "vulnerability": { "name": "GHSA-35jh-r3h4-6jhm" }, "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path", "impact_statement": "templates are never compiled",
                "products": [{ "@id": format!("pkg:npm/lodash@{version}") }] }] })
        .to_string()
    };
    std::fs::write(place.at("vex.json"), vex("4.17.20")).unwrap();
    std::fs::write(place.at("other.json"), vex("4.17.19")).unwrap();
    let scan = |more: &[&str]| place.scan(more);

    let done = scan(&["-o", "json", "--vex", &place.at("vex.json"), "--fail-on", "upgrade"]);
    assert_eq!(done.code, 0, "what is suppressed fails nothing: {}", done.err);
    let report = done.json();
    assert_eq!(report["findings"], serde_json::json!([]));
    let suppressed = &report["suppressed"][0];
    assert_eq!(suppressed["vulnerability"]["id"], "CVE-2021-23337", "named by an alias");
    let by = &suppressed["suppressions"][0];
    assert_eq!((by["issuer"].as_str(), by["status"].as_str()), (Some("Shop"), Some("not_affected")));
    assert_eq!(by["document"], "https://example.com/vex/1");

    let table = scan(&["--vex", &place.at("vex.json")]);
    assert!(table.out.contains("Suppressed by statements: 1; --show-suppressed"), "{}", table.out);
    let table = scan(&["--vex", &place.at("vex.json"), "--show-suppressed"]);
    for word in ["CVE-2021-23337 in lodash 4.17.20", "not_affected by Shop", "templates are never compiled"] {
        assert!(table.out.contains(word), "{word} is not in {}", table.out);
    }
    let done = scan(&["-o", "json", "--vex", &place.at("other.json")]);
    assert_eq!(done.json()["findings"].as_array().unwrap().len(), 1, "another version is another product");

    // Rules, from the command line and from the configuration.
    let rule = |expires: &str| {
        format!(
            "rules:\n- id: CVE-2021-23337\n  package: lodash\n  reason: next week\n  expires: {expires}\n"
        )
    };
    std::fs::write(place.at("ignore.yaml"), rule("2999-01-01")).unwrap();
    std::fs::write(place.at("old.yaml"), rule("2020-01-01")).unwrap();
    std::fs::write(place.at("plimsoll.yaml"), "ignore: ignore.yaml\nvex: [{from: other.json}]\n").unwrap();
    for (arguments, open) in [
        (["--ignore-file", &place.at("ignore.yaml")], 0),
        (["--ignore-file", &place.at("old.yaml")], 1),
        (["--config", &place.at("plimsoll.yaml")], 0),
    ] {
        let done = scan(&[["-o", "json"].as_slice(), &arguments].concat());
        assert_eq!(done.json()["findings"].as_array().unwrap().len(), open, "{arguments:?} {}", done.err);
    }
    std::fs::write(place.at("wrong.yaml"), "rules:\n- id: CVE-1\n  expires: never\n").unwrap();
    let done = scan(&["--ignore-file", &place.at("wrong.yaml")]);
    assert!(
        done.code == 2 && done.err.contains("ignore_invalid") && done.err.contains("reason"),
        "{}",
        done.err
    );
    std::fs::write(place.at("none.json"), "{}").unwrap();
    let done = scan(&["--vex", &place.at("none.json")]);
    assert!(done.code == 2 && done.err.contains("vex_format_unknown"), "{}", done.err);
}
