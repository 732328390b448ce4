//! A process for each role: traces across them, writes to the broker, outages, the store lost and found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Kept};

use axum::Router;
use axum::extract::State;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use plimsoll_proto::v1;
use plimsoll_testkit::image::{Compression, ImageBuilder};
use plimsoll_testkit::nats::NatsServer;
use plimsoll_testkit::ports;
use plimsoll_testkit::registry::{Auth, FakeRegistry};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::fleet::{Fleet, Heard, Setup, Sse, TOKEN, changes, folder, ids, run, until};
use crate::world::{LODASH, debian, image, npm, of_npm, registry};

/// The spans that a collector got: trace, name.
type Spans = Arc<Kept<Vec<(String, String)>>>;

struct Apart {
    fleet: Fleet,
    nats: NatsServer,
    registry: FakeRegistry,
    spans: Spans,
    feeds: PathBuf,
}

static APART: OnceCell<Mutex<Apart>> = OnceCell::const_new();

/// The deployment, for one test at a time.
async fn apart() -> MutexGuard<'static, Apart> {
    APART.get_or_init(async || Mutex::new(start().await)).await.lock().await
}

async fn start() -> Apart {
    let spans = Spans::default();
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let router = Router::new().fallback(collect).with_state(Arc::clone(&spans));
    tokio::spawn(async move { axum::serve(collector, router).await.unwrap() });
    let port = ports::free(1).unwrap()[0];
    let registry = registry(port, Auth::None).await;
    let feeds = folder("apart-feeds");
    advisory(&feeds, "GHSA-35jh-r3h4-6jhm", LODASH[1], "lodash", "4.17.21");
    let setup = Setup {
        registries: vec![format!("{{host: \"{}\", plain_http: true}}", registry.host())],
        feeds: vec![feeds.clone()],
        port,
        env: vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned())],
        ..Setup::default()
    };
    let nats = NatsServer::start().await.unwrap();
    let fleet = Fleet::apart("apart", &setup, nats.url()).await;
    let apart = Apart { fleet, nats, registry, spans, feeds };
    // The Db is there.
    let first = of_npm("first", "lodash", "4.17.11");
    apart.registry.push_image("first/app", "1", &first);
    apart.fleet.vulnerable("repository=first/app", &[LODASH[1]]).await;
    apart
}

async fn collect(State(spans): State<Spans>, body: bytes::Bytes) -> Vec<u8> {
    let request: ExportTraceServiceRequest = prost::Message::decode(body).unwrap();
    let mut spans = spans.lock().unwrap();
    for scope in request.resource_spans.iter().flat_map(|resource| &resource.scope_spans) {
        for span in &scope.spans {
            let trace: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            spans.push((trace, span.name.clone()));
        }
    }
    Vec::new()
}

/// Writes an OSV record of an npm package.
fn advisory(feeds: &std::path::Path, id: &str, cve: &str, package: &str, fixed: &str) {
    let record = json!({
        "id": id, "modified": "2026-01-01T00:00:00Z", "aliases": [cve], "summary": format!("{package}, below {fixed}"),
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{
            "package": {"ecosystem": "npm", "name": package},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
        }],
    });
    std::fs::write(feeds.join(format!("{id}.json")), record.to_string()).unwrap();
}

/// The last sequence of each stream: its number of writes so far.
async fn writes(fleet: &Fleet) -> BTreeMap<String, u64> {
    let context = async_nats::jetstream::new(fleet.client().await);
    let infos: Vec<_> = context.streams().try_collect().await.unwrap();
    infos.into_iter().map(|info| (info.config.name, info.state.last_sequence)).collect()
}

/// Waits until nothing is written any more, for as long as three looks.
async fn quiet(fleet: &Fleet) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    let mut same = 0;
    until("the streams to be quiet", async || {
        let now = writes(fleet).await;
        same = if now == seen { same + 1 } else { 0 };
        seen.clone_from(&now);
        (same >= 8).then_some(now)
    })
    .await
}

#[test]
fn one_trace_leads_from_the_webhook_to_the_finding() {
    run(async {
        let apart = apart().await;
        let app = image([debian(&[("traced", "1", "traced")]), npm("traced", &[("lodash", "4.17.11")])]);
        apart.registry.put_image("traced/app", "1", &app);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let body = json!({"events": [{
            "id": "traced", "action": "push",
            "target": {
                "mediaType": app.root().media_type, "repository": "traced/app", "tag": "1", "digest": app.digest(),
            },
            "request": {"host": apart.registry.host()},
        }]});
        let request = apart.fleet.http.post(format!("{}/v1/webhooks/distribution", apart.fleet.url));
        let request =
            request.bearer_auth(TOKEN).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        assert_eq!(request.body(body.to_string()).send().await.unwrap().status(), 202);
        apart.fleet.vulnerable("repository=traced/app", &[LODASH[1]]).await;
        let wanted: BTreeSet<&str> =
            ["/v1/webhooks/distribution", "manifest", "layer", "join", "sbom", "scan", "aggregator", "relay"]
                .into();
        let mut seen = BTreeSet::new();
        let spans = Arc::clone(&apart.spans);
        let complete = async || {
            let spans = spans.lock().unwrap();
            seen = spans.iter().filter(|(id, _)| id == trace).map(|(_, name)| name.clone()).collect();
            wanted.iter().all(|name| seen.contains(*name)).then_some(())
        };
        until(&format!("the spans {wanted:?} of one trace"), complete).await;
        let (_, status) = apart.fleet.get(&format!("/v1/images/{}/status", app.digest())).await;
        assert_eq!(status["trace_id"], trace);
        for role in ["unpack", "aggregator"] {
            let log = std::fs::read_to_string(apart.fleet.dir.join(format!("{role}.log"))).unwrap();
            assert!(!log.contains("panicked"), "{log}");
        }
    });
}

#[test]
fn a_warm_push_costs_five_writes_beside_what_is_announced_and_told() {
    run(async {
        let apart = apart().await;
        let layer = npm("warm", &[("lodash", "4.17.11")]);
        let build = |label: &str| {
            let builder = ImageBuilder::new().layer(layer.clone(), Compression::Gzip);
            builder.label("revision", label).build().unwrap()
        };
        let cold = build("cold");
        apart.registry.push_image("warm/app", "1", &cold);
        apart.fleet.vulnerable("repository=warm/app", &[LODASH[1]]).await;
        let before = quiet(&apart.fleet).await;
        let warm = build("warm");
        apart.registry.push_image("warm/other", "1", &warm);
        apart.fleet.vulnerable("repository=warm/other", &[LODASH[1]]).await;
        let after = quiet(&apart.fleet).await;
        let more: BTreeMap<&String, u64> = after
            .iter()
            .map(|(name, seq)| (name, seq - before.get(name).copied().unwrap_or(0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        // With the event of the manifest and findings of four classes that is ten. This registry announces its blobs, too.
        let of = |name: &str| more.get(&name.to_owned()).copied().unwrap_or(0);
        let findings = apart.fleet.findings("repository=warm/other").await;
        let classes: BTreeSet<String> = findings.iter().map(|finding| finding["class"].to_string()).collect();
        assert_eq!(of("FINDINGS"), classes.len() as u64, "{more:?}");
        assert_eq!(more.values().sum::<u64>() - of("EVENTS") - of("FINDINGS"), 5, "{more:?}");
    });
}

#[test]
fn a_broker_that_is_away_is_said_and_nothing_is_lost() {
    run(async {
        let mut apart = apart().await;
        let app = of_npm("outage", "lodash", "4.17.11");
        apart.registry.put_image("outage/app", "1", &app);
        let reference = format!("{}/outage/app:1", apart.registry.host());
        let body = json!({ "reference": reference }).to_string();
        let mut sse = Sse::open(&apart.fleet, None).await;
        let (first, _) = sse.next().await;
        apart.nats.stop().await.unwrap();
        let url = format!("{}/v1/images", apart.fleet.url);
        let ask = |body: String| apart.fleet.http.post(&url).bearer_auth(TOKEN).body(body).send();
        let answer = ask(body.clone()).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "broker_unavailable");
        let (status, body_of) = apart.fleet.get("/v1/findings").await;
        assert_eq!((status, &body_of["code"]), (503, &"broker_unavailable".into()));
        assert_eq!(apart.fleet.get("/healthz").await.0, 200);
        apart.nats.restart().await.unwrap();
        let url = format!("{}/v1/images", apart.fleet.url);
        until("the same request to be taken", async || {
            let request = apart.fleet.http.post(&url).bearer_auth(TOKEN).body(body.clone());
            (request.send().await.ok()?.status() == 202).then_some(())
        })
        .await;
        apart.fleet.vulnerable("repository=outage/app", &[LODASH[1]]).await;
        // Whoever listened all the time hears it on the same stream.
        let mut last = first;
        loop {
            let (id, body) = sse.next().await;
            assert!(id > last, "{id} after {last}");
            last = id;
            if body["holder"]["repository"]["repository"] == "outage/app" {
                break;
            }
        }
    });
}

/// Findings without what a derivation may tell anew.
fn essence(findings: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = findings
        .iter()
        .map(|f| {
            json!([
                f["id"],
                f["vulnerabilityId"],
                f["holder"],
                f["class"],
                f["state"],
                f["versions"],
                f["images"]
            ])
        })
        .collect();
    all.sort_by_key(ToString::to_string);
    all
}

#[test]
fn a_lost_store_is_derived_again_in_silence() {
    run(async {
        let apart = apart().await;
        let fleet = &apart.fleet;
        for (n, version) in ["4.17.11", "4.17.21", "4.17.19"].iter().enumerate() {
            apart.registry.push_image(&format!("lost/app{n}"), "1", &of_npm("lost", "lodash", version));
        }
        fleet.vulnerable("repository=lost/app0", &[LODASH[1]]).await;
        fleet.vulnerable("repository=lost/app2", &[LODASH[1]]).await;
        let published = quiet(fleet).await["FINDINGS"];
        let before = essence(&fleet.findings("").await);
        assert!(before.len() >= 3, "{before:?}");
        let remove = || {
            for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
                let path = fleet.dir.join(name);
                if path.exists() {
                    std::fs::remove_file(path).unwrap();
                }
            }
        };
        let same = async |what: &str| {
            until(&format!("the store {what}"), async || {
                let (status, _) = fleet.get("/v1/findings").await;
                (status == 200).then_some(())
            })
            .await;
            assert_eq!(essence(&fleet.findings("").await), before, "{what}");
            assert_eq!(quiet(fleet).await["FINDINGS"], published, "{what}: something was published");
        };

        // By itself, at the next start.
        fleet.stop("aggregator").await;
        remove();
        fleet.start("aggregator");
        same("that was lost").await;

        // On request, but not while an aggregator has it.
        for words in [&["rebuild"][..], &["restore", "/nowhere", "--force"]] {
            let refused = fleet.cli(words).await;
            let said = String::from_utf8(refused.stderr).unwrap();
            assert!(said.starts_with("error data_in_use: "), "{words:?}: {said}");
        }
        fleet.stop("aggregator").await;
        let said = fleet.says(&["rebuild"]).await;
        assert!(said.contains("nothing was published"), "{said}");
        fleet.start("aggregator");
        same("that was rebuilt").await;

        // From a copy that was made while it ran.
        let copy = fleet.says(&["backup", "copy"]).await;
        assert!(!fleet.cli(&["backup", "../copy"]).await.status.success());
        fleet.stop("aggregator").await;
        remove();
        std::fs::write(fleet.dir.join("store.sqlite"), "no store").unwrap();
        let refused = fleet.cli(&["restore", copy.trim()]).await;
        assert!(String::from_utf8_lossy(&refused.stderr).starts_with("error store_exists: "));
        fleet.says(&["restore", copy.trim(), "--force"]).await;
        fleet.start("aggregator");
        same("that was restored").await;

        // What comes after is told, in the new epoch.
        let heard = Heard::on(fleet, "findings.v1.>").await;
        apart.registry.push_image("lost/after", "1", &of_npm("lost", "lodash", "4.17.11"));
        until("the next finding", async || (!heard.of_repository("lost/after").is_empty()).then_some(()))
            .await;
        let told = heard.of_repository("lost/after");
        assert_eq!(changes(&told), [("opened".to_owned(), LODASH[1].to_owned())]);
        assert!(told[0].body["epoch"].as_str().unwrap().parse::<u64>().unwrap() > 1, "{told:?}");
    });
}

#[test]
fn a_db_that_is_swapped_while_pushes_run_is_everywhere_in_the_end() {
    run(async {
        let apart = apart().await;
        let fleet = &apart.fleet;
        let sequences = |findings: &[Value]| -> BTreeSet<u64> {
            findings.iter().map(|f| f["dbSeq"].as_str().unwrap().parse().unwrap()).collect()
        };
        let old = sequences(&fleet.findings("repository=first/app").await);
        let push = |n: usize| {
            let app = image([npm(&format!("swap{n}"), &[("lodash", "4.17.11"), ("swapped", "1.0.0")])]);
            apart.registry.push_image(&format!("swap/app{n}"), "1", &app);
        };
        for n in 0..6 {
            push(n);
        }
        advisory(&apart.feeds, "GHSA-swap-swap-swap", "CVE-2026-0001", "swapped", "2.0.0");
        fleet.stop("feeds").await;
        fleet.start("feeds");
        for n in 6..12 {
            push(n);
        }
        let wanted = [LODASH[1], "CVE-2026-0001"];
        for n in 0..12 {
            let findings = fleet.vulnerable(&format!("repository=swap/app{n}"), &wanted).await;
            let new: Vec<_> = findings.into_iter().filter(|f| f["vulnerabilityId"] == wanted[1]).collect();
            assert!(sequences(&new).iter().all(|seq| old.iter().all(|old| seq > old)), "{new:?}");
        }
        quiet(fleet).await;
        // A package that the change does not name keeps its findings as they are.
        assert_eq!(ids(&fleet.findings("repository=first/app").await), [LODASH[1]]);
        let (_, images) = fleet.get("/v1/images").await;
        assert!(
            images["images"].as_array().unwrap().iter().all(|image| image["state"] == "matched"),
            "{images}"
        );
    });
}

#[test]
fn one_process_stops_in_order_and_goes_on_where_it_was() {
    run(async {
        let port = ports::free(1).unwrap()[0];
        let registry = registry(port, Auth::None).await;
        let setup = Setup {
            registries: vec![format!("{{host: \"{}\", plain_http: true}}", registry.host())],
            feeds: vec![crate::world::demo_feeds()],
            clusters: vec!["again"],
            port,
            ..Setup::default()
        };
        let mut fleet = Fleet::up("again", &setup).await;
        let app = of_npm("again", "lodash", "4.17.11");
        registry.push_image("again/app", "1", &app);
        fleet.vulnerable("repository=again/app", &LODASH).await;
        let before = fleet.findings("").await;
        let refused = fleet.cli(&["up", "--listen", "127.0.0.1:0"]).await;
        assert!(String::from_utf8_lossy(&refused.stderr).starts_with("error data_in_use: "));
        let published = writes(&fleet).await["FINDINGS"];
        fleet.stop("up").await;
        assert_eq!(fleet.get("/healthz").await.0, 0);
        fleet.restart().await;
        assert_eq!(fleet.findings("").await, before);
        // What is pushed now is told, and nothing else was.
        registry.push_image("again/more", "1", &of_npm("more", "minimist", "1.2.0"));
        fleet.vulnerable("repository=again/more", &["CVE-2021-44906"]).await;
        assert_eq!(quiet(&fleet).await["FINDINGS"], published + 1);
        fleet.stop("up").await;
    });
}

/// The streams keep events and facts for days, tags are older: the broker has a copy of the store.
#[test]
fn what_is_older_than_the_streams_survives_a_lost_store() {
    run(async {
        let port = ports::free(1).unwrap()[0];
        let registry = registry(port, Auth::None).await;
        let setup = Setup {
            registries: vec![format!("{{host: \"{}\", plain_http: true}}", registry.host())],
            feeds: vec![crate::world::demo_feeds()],
            port,
            more: "retention: {collect_every: 1s, copy_every: 1s}",
            ..Setup::default()
        };
        let mut fleet = Fleet::up("older", &setup).await;
        registry.push_image("older/app", "1", &of_npm("older", "lodash", "4.17.11"));
        fleet.vulnerable("repository=older/app", &LODASH).await;
        let before = essence(&fleet.findings("").await);
        let context = async_nats::jetstream::new(fleet.client().await);
        let control = context.get_key_value("control").await.unwrap();
        // Acknowledged facts are in a copy that was begun after them.
        let reached = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        until("a copy of the store", async || {
            let copy = control.get("store").await.ok().flatten()?;
            let copy = v1::StoreCopy::decode(copy).unwrap();
            (u128::from(copy.taken_ms) > reached && copy.facts_seq > 0).then_some(())
        })
        .await;
        for stream in ["EVENTS", "FACTS"] {
            context.get_stream(stream).await.unwrap().purge().await.unwrap();
        }
        fleet.stop("up").await;
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
            let _ = std::fs::remove_file(fleet.dir.join(name));
        }
        fleet.restart().await;
        assert_eq!(essence(&fleet.findings("").await), before);
        fleet.stop("up").await;
    });
}
