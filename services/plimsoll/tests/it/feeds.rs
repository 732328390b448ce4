//! Feeds from an upstream over HTTP: `db update` without a broker, the feeds role with one; a Db through a registry.

use std::path::Path;

use plimsoll_testkit::image::Blob;
use plimsoll_testkit::registry::{Pusher, RealOptions, RealRegistry, RegistryError};
use plimsoll_testkit::upstream::Upstream;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Setup, folder, until};
use crate::offline::{Done, command, finish};

/// Records 0 to `count` of npm packages `p0`, `p1`, …, one a line.
fn lines(count: usize, day: &str) -> String {
    (0..count)
        .map(|n| {
            format!(
                "{{\"id\":\"GHSA-{n:04}\",\"modified\":\"{day}T00:00:00Z\",\"affected\":[{{\"package\":{{\"ecosystem\":\"npm\",\"name\":\"p{n}\"}},\"ranges\":[{{\"type\":\"SEMVER\",\"events\":[{{\"introduced\":\"0\"}},{{\"fixed\":\"1.2.0\"}}]}}]}}]}}\n"
            )
        })
        .collect()
}

const KEV: &str = r#"{"title":"CISA","catalogVersion":"2026.01.01","dateReleased":"2026-01-01T00:00:00Z","count":1,"vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10","knownRansomwareCampaignUse":"Known"}]}"#;

/// Runs the command line beside the servers of this runtime.
async fn run(words: &[&str]) -> Done {
    let command = command(words.iter().copied());
    tokio::task::spawn_blocking(move || finish(command, "")).await.unwrap()
}

async fn info(file: &str) -> Value {
    let done = run(&["db", "info", file, "-o", "json"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    done.json()
}

/// The state of a source in the table that `db update` prints.
fn state<'a>(table: &'a str, source: &str) -> &'a str {
    let line =
        table.lines().find(|line| line.contains(source)).unwrap_or_else(|| panic!("{source}: {table}"));
    line.split_whitespace().nth(1).unwrap()
}

#[test]
fn db_update_fetches_what_changed_and_holds_what_shrinks() {
    crate::fleet::run(async {
        let upstream = Upstream::start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (cache, db) = (at("cache"), at("a.db"));
        let (osv, kev) = (format!("{}/osv.jsonl", upstream.url()), format!("{}/kev.json", upstream.url()));
        let words = ["db", "update", "--cache", &cache, "--out", &db, "--from", &osv, &kev];
        // Nothing can be read: no Db.
        let none = run(&words).await;
        assert_eq!(none.code, 2);
        assert!(none.err.starts_with("error db_empty: "), "{}", none.err);
        upstream.put("/osv.jsonl", lines(200, "2026-01-01"));
        upstream.put("/kev.json", KEV);
        upstream.asked();
        let first = run(&words).await;
        assert_eq!(first.code, 0, "{}", first.err);
        assert_eq!(upstream.asked(), ["/osv.jsonl 200", "/kev.json 200"]);
        let built = info(&db).await;
        assert_eq!((&built["seq"], &built["advisories"]), (&json!(1), &json!(200)));

        // Unchanged: asked conditionally, nothing fetched, and the Db says the same.
        let again = run(&words).await;
        assert_eq!(upstream.asked(), ["/osv.jsonl 304", "/kev.json 304"]);
        assert_eq!((state(&again.out, "osv.jsonl"), state(&again.out, "kev.json")), ("current", "current"));
        let same = info(&db).await;
        assert_eq!((&same["seq"], &same["advisories"]), (&json!(2), &json!(200)));
        let changes = run(&["db", "diff", &db, &db, "-o", "json"]).await.json();
        assert_eq!(changes["packages"], json!([]));

        // One source shrinks, the other fails: the first is held, the second stale, and a Db of both is built.
        upstream.put("/osv.jsonl", lines(50, "2026-01-02"));
        upstream.remove("/kev.json");
        let held = run(&words).await;
        assert_eq!(held.code, 0, "{}", held.err);
        assert_eq!((state(&held.out, "osv.jsonl"), state(&held.out, "kev.json")), ("held", "stale"));
        assert!(held.out.contains("50 records, 200 before"), "{}", held.out);
        let kept = info(&db).await;
        assert_eq!(kept["advisories"], json!(200));
        let feed = |info: &Value, name: &str| -> Value {
            let feeds = info["feeds"].as_array().unwrap();
            let found = feeds.iter().find(|f| f["provenance"]["name"].as_str().unwrap().ends_with(name));
            found.unwrap_or_else(|| panic!("{name}: {info}"))["provenance"].clone()
        };
        assert_eq!(
            (&feed(&kept, "osv.jsonl")["held"], &feed(&kept, "osv.jsonl")["stale"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(feed(&kept, "kev.json")["stale"], json!(true));
        let query = |name: &'static str| {
            let (db, purl) = (db.clone(), format!("pkg:npm/{name}@1.0.0"));
            async move { run(&["db", "query", &db, &purl, "-o", "json"]).await.json()["matches"].clone() }
        };
        assert_eq!(query("p199").await.as_array().unwrap().len(), 1);

        // Taken by a person.
        let unknown = run(&[&words[..], &["--accept", "nothing"]].concat()).await;
        assert!(unknown.err.starts_with("error feed_source_unknown: "), "{}", unknown.err);
        let taken = run(&[&words[..], &["--accept", &osv]].concat()).await;
        assert_eq!((taken.code, state(&taken.out, "osv.jsonl")), (0, "current"), "{}", taken.err);
        assert_eq!(info(&db).await["advisories"], json!(50));
        assert!(query("p199").await.as_array().unwrap().is_empty());
        let twice = run(&[&words[..], &["--accept", &osv]].concat()).await;
        assert!(twice.err.starts_with("error feed_not_held: "), "{}", twice.err);

        // All upstreams down: the last good copies make the same Db.
        upstream.broken(true);
        let down = run(&words).await;
        assert_eq!((down.code, state(&down.out, "osv.jsonl")), (0, "stale"), "{}", down.err);
        assert_eq!(info(&db).await["advisories"], json!(50));
    });
}

/// What `plimsoll feeds status --json` says of a source, once it is so.
async fn status(fleet: &Fleet, source: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let output = fleet.cli(&["feeds", "status", "--json"]).await;
        let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let all = all.as_array()?.clone();
        all.into_iter().find(|feed| feed["name"] == source && is(feed))
    })
    .await
}

#[test]
fn the_role_holds_what_shrinks_until_it_is_accepted() {
    crate::fleet::run(async {
        let upstream = Upstream::start().await.unwrap();
        let (osv, kev) = (format!("{}/osv.jsonl", upstream.url()), format!("{}/kev.json", upstream.url()));
        upstream.put("/osv.jsonl", lines(200, "2026-01-01"));
        upstream.put("/kev.json", KEV);
        let setup = Setup { feeds: vec![(&osv).into(), (&kev).into()], ..Setup::default() };
        let mut fleet = Fleet::up("feeds", &setup).await;
        status(&fleet, &osv, "the first copy", |feed| feed["records"] == 200).await;
        fleet.stop("up").await;
        upstream.put("/osv.jsonl", lines(50, "2026-01-02"));
        upstream.remove("/kev.json");
        upstream.asked();
        fleet.restart().await;
        let held = status(&fleet, &osv, "the source is held", |feed| feed["held"].is_object()).await;
        assert_eq!((&held["records"], &held["held"]["records"]), (&json!(200), &json!(50)), "{held}");
        let stale = status(&fleet, &kev, "the other is stale", |feed| feed["stale"] == true).await;
        assert_eq!((&stale["code"], &stale["records"]), (&json!("feed_missing"), &json!(1)), "{stale}");
        let table = fleet.says(&["feeds", "status"]).await;
        assert!(table.contains("held") && table.contains("50 records, 200 before"), "{table}");
        let (code, body) = fleet.get("/v1/feeds").await;
        assert_eq!(code, 200, "{body}");
        let output = fleet.cli(&["feeds", "accept", &kev]).await;
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error feed_not_held: "));
        fleet.says(&["feeds", "accept", &osv]).await;
        let taken = status(&fleet, &osv, "it is taken", |feed| feed["records"] == 50).await;
        assert_eq!((&taken["held"], &taken["stale"]), (&Value::Null, &json!(false)), "{taken}");
    });
}

/// A registry as a child, and the configuration that allows it; `None` where it is not installed.
async fn registry(dir: &Path) -> Option<(RealRegistry, String)> {
    let registry = match RealRegistry::start(RealOptions::default()).await {
        Ok(registry) => registry,
        Err(RegistryError::NotInstalled { .. }) if std::env::var_os("CI").is_none() => return None,
        Err(error) => panic!("{error}"),
    };
    let config = dir.join("plimsoll.yaml");
    let text = format!("registries:\n  - {{host: \"{}\", plain_http: true}}\n", registry.host());
    std::fs::write(&config, text).unwrap();
    Some((registry, config.display().to_string()))
}

/// Puts a file under a tag as `db push` would, without looking at it.
async fn put(pusher: &Pusher, tag: &str, bytes: &[u8], format: Option<&str>) {
    let file = Blob::new("application/vnd.plimsoll.db.file.v1", bytes.to_vec());
    let empty = Blob::new("application/vnd.oci.empty.v1+json", "{}");
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.plimsoll.db.v1", "config": empty.descriptor(), "layers": [file.descriptor()],
    });
    if let Some(format) = format {
        manifest["annotations"] = json!({"dev.plimsoll.db.format": format});
    }
    for part in [&file, &empty] {
        pusher.blob("plimsoll/db", part).await.unwrap();
    }
    let manifest = Blob::new("application/vnd.oci.image.manifest.v1+json", manifest.to_string());
    pusher.manifest("plimsoll/db", tag, &manifest).await.unwrap();
}

#[test]
fn a_db_goes_through_a_registry_and_a_damaged_one_is_refused() {
    crate::fleet::run(async {
        let (here, there) = (folder("db-here"), folder("db-there"));
        let Some((registry, config)) = registry(&here).await else { return };
        let at = |dir: &Path, name: &str| dir.join(name).display().to_string();
        std::fs::write(here.join("osv.jsonl"), lines(20, "2026-01-01")).unwrap();
        let (built, pulled) = (at(&here, "a.db"), at(&there, "b.db"));
        let words = [
            "db",
            "update",
            "--cache",
            &at(&here, "cache"),
            "--out",
            &built,
            "--from",
            &at(&here, "osv.jsonl"),
        ];
        assert_eq!(run(&words).await.code, 0);
        let reference = format!("{}/plimsoll/db:1", registry.host());
        let pushed = run(&["db", "push", &built, &reference, "--config", &config]).await;
        assert_eq!(pushed.code, 0, "{}", pushed.err);
        let pull = |reference: String| {
            let (pulled, config) = (pulled.clone(), config.clone());
            async move { run(&["db", "pull", &reference, "--out", &pulled, "--config", &config]).await }
        };
        let done = pull(reference).await;
        assert_eq!(done.code, 0, "{}", done.err);
        assert_eq!(info(&built).await, info(&pulled).await);
        // By digest, too.
        let done = pull(pushed.out.trim().to_owned()).await;
        assert_eq!(done.code, 0, "{}", done.err);

        // What is wrong is refused by name, and what was there stays.
        let good = std::fs::read(&built).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 0x20;
        let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/vuln/tests/data/format-1.db");
        let old = std::fs::read(old).unwrap();
        let pusher = Pusher::new(registry.url(), None).unwrap();
        for (tag, bytes, format, code) in [
            ("truncated", &good[..good.len() - 7], None, "db_truncated"),
            ("header", &good[..30], None, "db_truncated"),
            ("flipped", &flipped[..], None, "db_corrupt"),
            ("old", &old[..], None, "db_format"),
            // Said beforehand, so that it is not fetched.
            ("said", &good[..], Some("1"), "db_format"),
            ("other", b"<html>not a database, and longer than a header is</html>", None, "db_format"),
        ] {
            put(&pusher, tag, bytes, format).await;
            let done = pull(format!("{}/plimsoll/db:{tag}", registry.host())).await;
            assert_eq!(done.code, 2, "{tag}");
            assert!(done.err.starts_with(&format!("error {code}: ")), "{tag}: {}", done.err);
            assert_eq!(std::fs::read(&pulled).unwrap(), good, "{tag}: the one before stays");
            // Nor is it pushed or scanned with.
            if format.is_none() {
                let file = at(&here, "damaged.db");
                std::fs::write(&file, bytes).unwrap();
                let target = format!("{}/plimsoll/db:never", registry.host());
                let done = run(&["db", "push", &file, &target, "--config", &config]).await;
                assert!(done.err.starts_with(&format!("error {code}: ")), "{tag}: {}", done.err);
            }
        }
        let done = pull(format!("{}/plimsoll/db:never", registry.host())).await;
        assert_eq!((done.code, done.err.starts_with("error not_found: ")), (2, true), "{}", done.err);
        let done = pull("elsewhere.example.com/db:1".to_owned()).await;
        assert!(done.err.starts_with("error registry_not_configured: "), "{}", done.err);
    });
}
