//! The demonstration: an embedded registry, real roles, sample images, two deploys, findings in order.

mod content;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args as Arguments;
use indicatif::{ProgressBar, ProgressStyle};
use plimsoll_bus::tail::From;
use plimsoll_bus::{Bus, subjects};
use plimsoll_config::{Config, Scope, Token};
use plimsoll_cpu::Pool;
use plimsoll_process::ProcessError;
use plimsoll_testkit::registry::{Endpoint, FakeRegistry, Options};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::error::CliError;
use crate::online::{Client, changes_of, print_actions, print_findings};
use crate::output::print;
use crate::up::{Deployment, runtime};

include!(concat!(env!("OUT_DIR"), "/demo.rs"));

/// Longest wait for one step of the demonstration.
const PATIENCE: Duration = Duration::from_secs(120);
const CLUSTER: &str = "harbour";
const TOKEN: &str = "demo-token-of-this-run-only";

#[derive(Debug, Arguments)]
pub struct Args {
    /// Folder for its files; default: one that is removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Stay up at the end, until interrupted
    #[arg(long)]
    keep: bool,
    /// Address of the HTTP interface
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
}

/// `plimsoll demo`
pub fn run(args: Args) -> Outcome {
    let temporary = tempfile::Builder::new()
        .prefix("plimsoll-demo-")
        .tempdir()
        .map_err(CliError::io("create a folder"))?;
    let data = args.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&data).map_err(CliError::io(format!("create {}", data.display())))?;
    let data = data.canonicalize().map_err(CliError::io(format!("open {}", data.display())))?;
    let pool = Pool::new(0).map_err(ProcessError::from)?;
    let mut config = Config::default();
    config.telemetry.log = "warn".into();
    let telemetry = plimsoll_process::telemetry("plimsoll-demo", &config)?;
    let result = runtime()?.block_on(demo(args, config, pool, &data));
    telemetry.shutdown();
    result.map(|()| ExitCode::SUCCESS)
}

/// A line that says what is waited for.
struct Steps {
    bar: ProgressBar,
}

impl Steps {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    fn doing(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// A line that stays.
    fn say(&self, line: &str) {
        self.bar.suspend(|| print(line));
    }
}

async fn demo(args: Args, mut config: Config, pool: Pool, data: &Path) -> Result<(), CliError> {
    let steps = Steps::new();
    steps.doing("starting the broker, the registry and every role");
    // The registry must know the gateway, and the gateway's configuration the registry: the gateway's port first.
    let listener = std::net::TcpListener::bind(args.listen)
        .map_err(CliError::io(format!("listen on {}", args.listen)))?;
    config.listen = listener.local_addr().map_err(CliError::io("read an address"))?;
    drop(listener);
    let webhook = format!("http://{}/v1/webhooks/distribution", config.listen);
    let options = Options {
        endpoints: vec![Endpoint::authorized(webhook, format!("Bearer {TOKEN}"))],
        ..Options::default()
    };
    let registry = FakeRegistry::start(options).await.map_err(|error| CliError::new("registry", error))?;
    let feeds = data.join("feeds");
    write_feeds(&feeds)?;
    let registries = format!(
        "registries:\n  - host: {}\n    plain_http: true\nexposure:\n  clusters:\n    - name: {CLUSTER}\n      enforcement_asserted: true\n",
        registry.host()
    );
    let parsed = Config::parse(&registries, data).map_err(ProcessError::from)?;
    config.registries = parsed.registries;
    config.exposure = parsed.exposure;
    config.feeds = vec![plimsoll_config::Feed::Path(feeds)];
    config.tokens =
        vec![Token::new("demo", TOKEN, vec![Scope::Webhooks, Scope::Images, Scope::Deploys, Scope::Read])];
    let deployment = Deployment::start(config, pool, data).await?;
    let (url, bus) = (deployment.url.clone(), deployment.bus().clone());
    std::fs::write(data.join("token"), TOKEN).map_err(CliError::io("write the token"))?;
    let stop = if args.keep { plimsoll_process::stop_on_signal()? } else { CancellationToken::new() };
    let roles = tokio::spawn(deployment.play(stop.clone()));
    let result = tokio::select! {
        result = show(&steps, &bus, &registry, &url) => result,
        () = stop.cancelled() => Ok(()),
    };
    steps.bar.finish_and_clear();
    if args.keep && result.is_ok() && !stop.is_cancelled() {
        print(&format!("\nup at {url}, data in {}; interrupt to stop. Try:", data.display()));
        print(&format!("  PLIMSOLL_DATA={} plimsoll findings", data.display()));
        stop.cancelled().await;
    }
    stop.cancel();
    let stopped = roles.await.map_err(|error| CliError::new("internal", error))?;
    result.and(stopped)
}

fn write_feeds(folder: &Path) -> Result<(), CliError> {
    for (name, bytes) in FEEDS {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(CliError::io(format!("create {}", parent.display())))?;
        }
        std::fs::write(&path, bytes).map_err(CliError::io(format!("write {}", path.display())))?;
    }
    Ok(())
}

async fn show(steps: &Steps, bus: &Bus, registry: &FakeRegistry, url: &str) -> Result<(), CliError> {
    wait("the advisories to become a Db", async || counts(bus).await.is_some_and(|c| at(&c, "db_seq") > 0))
        .await?;
    let mut findings = follow(bus).await?;
    let began = Instant::now();
    let images = content::images(&registry.host()).map_err(|error| CliError::new("images", error))?;
    let layers: usize = images.iter().map(|image| image.built.layers().len()).sum();
    steps.say(&format!("pushing {} images with {layers} layers to {}", images.len(), registry.host()));
    for image in &images {
        registry.push_image(image.repository, image.tag, &image.built);
    }
    steps.doing("reading layers and matching components");
    let wanted = images.len() as u64;
    wait("the images to be scanned", async || {
        counts(bus)
            .await
            .is_some_and(|c| at(&c, "images") >= wanted && at(&c, "unmatched") == 0 && at(&c, "outbox") == 0)
    })
    .await?;
    let gets = registry.all_blob_gets();
    let reads: u64 = images
        .iter()
        .flat_map(|image| image.built.layers())
        .map(|layer| layer.digest.clone())
        .collect::<std::collections::BTreeSet<_>>()
        .iter()
        .map(|digest| gets.get(digest).copied().unwrap_or(0))
        .sum();
    tell(steps, &mut findings, 6).await;
    steps.say(&format!(
        "\n{} images scanned {:.1} s after their first push; {layers} layers in manifests, {reads} read\n",
        images.len(),
        began.elapsed().as_secs_f64()
    ));

    steps.say(&format!("deploying the shop to the cluster {CLUSTER}: nothing is reachable from outside\n"));
    deploy(url, "replace", content::FIRST.replace("REGISTRY", &registry.host())).await?;
    steps.doing("proving who can reach what");
    wait("the cluster's workloads", async || {
        counts(bus).await.is_some_and(|c| at(&c, "workloads") >= content::WORKLOADS && at(&c, "outbox") == 0)
    })
    .await?;
    settle(bus).await?;
    tell(steps, &mut findings, 6).await;
    let before = top(bus, 8).await?;
    steps.say("\nwhat to act on first, with every path into the cluster closed:\n");
    steps.bar.suspend(|| print_findings(&before));

    steps.say("\ndeploying an Ingress for the shop's front end, and a policy that admits it\n");
    deploy(url, "apply", content::SECOND.replace("REGISTRY", &registry.host())).await?;
    steps.doing("ranking again what can be reached now");
    wait("the path to be seen", async || reclassified(bus).await).await?;
    settle(bus).await?;
    tell(steps, &mut findings, 40).await;
    let after = top(bus, 8).await?;
    steps.say("\nwhat to act on first now:\n");
    steps.bar.suspend(|| print_findings(&after));

    let actions = ask(bus, "actions", Value::Null).await?;
    let actions = actions.get("actions").and_then(Value::as_array).cloned().unwrap_or_default();
    steps.say("\nthe first actions, and the share of risk that each removes:\n");
    steps.bar.suspend(|| print_actions(actions.get(..8).unwrap_or(&actions)));
    Ok(())
}

/// Changes as they arrive on FINDINGS.
async fn follow(bus: &Bus) -> Result<mpsc::UnboundedReceiver<Vec<String>>, CliError> {
    let mut tail = bus.tail(subjects::FINDINGS, &["findings.v1.>".to_owned()], From::Beginning).await?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(line)) = tail.next().await {
            let Ok(message) = serde_json::from_slice::<Value>(&line.payload) else { continue };
            if sender.send(changes_of(&message)).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Prints what arrived, at most `most` lines of it.
async fn tell(steps: &Steps, findings: &mut mpsc::UnboundedReceiver<Vec<String>>, most: usize) {
    let mut lines = Vec::new();
    while let Ok(Some(more)) = tokio::time::timeout(Duration::from_millis(300), findings.recv()).await {
        lines.extend(more);
    }
    let rank = |line: &str| {
        ["3d-forensic", "3d", "14d", "60d"]
            .iter()
            .position(|c| line.contains(&format!(" {c} ")) || line.contains(&format!("→ {c}")))
            .unwrap_or(9)
    };
    lines.sort_by_key(|line| rank(line));
    let rest = lines.len().saturating_sub(most);
    for line in lines.iter().take(most) {
        steps.say(line);
    }
    if rest > 0 {
        steps.say(&format!("… and {rest} more changes"));
    }
}

async fn deploy(url: &str, mode: &str, manifests: String) -> Result<(), CliError> {
    let (url, mode) = (url.to_owned(), mode.to_owned());
    let send = move || {
        let client = Client::of(&url, TOKEN)?;
        let query = [("cluster", CLUSTER.to_owned()), ("mode", mode)];
        client.post("/v1/deploys", &query, "application/yaml", manifests.into_bytes())
    };
    tokio::task::spawn_blocking(send).await.map_err(|error| CliError::new("internal", error))??;
    Ok(())
}

async fn ask(bus: &Bus, name: &str, question: Value) -> Result<Value, CliError> {
    let answer = bus.ask(name, &question, Duration::from_secs(20)).await?;
    answer.map_err(|refusal| CliError::new(refusal.code, refusal.detail))
}

async fn counts(bus: &Bus) -> Option<Value> {
    // The aggregator may not be up yet; whoever waits asks again.
    ask(bus, "counts", Value::Null).await.ok()
}

fn at(counts: &Value, name: &str) -> u64 {
    counts.get(name).and_then(Value::as_u64).unwrap_or_default()
}

async fn top(bus: &Bus, limit: u32) -> Result<Vec<Value>, CliError> {
    let answer = ask(bus, "findings", json!({ "cluster": CLUSTER, "limit": limit })).await?;
    Ok(answer.get("findings").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// True once a finding of the cluster is proved to be reachable from outside.
async fn reclassified(bus: &Bus) -> bool {
    let Ok(answer) = ask(bus, "findings", json!({ "cluster": CLUSTER, "limit": 1000 })).await else {
        return false;
    };
    let findings = answer.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
    findings.iter().any(|f| f.pointer("/factors/level").and_then(Value::as_str) == Some("open"))
}

/// Waits until the outbox is empty and nothing waits for matches.
async fn settle(bus: &Bus) -> Result<(), CliError> {
    wait("the findings to settle", async || {
        counts(bus).await.is_some_and(|c| at(&c, "outbox") == 0 && at(&c, "catch_up") == 0)
    })
    .await
}

async fn wait(what: &str, mut done: impl AsyncFnMut() -> bool) -> Result<(), CliError> {
    let began = Instant::now();
    while !done().await {
        if began.elapsed() > PATIENCE {
            return Err(CliError::new("timeout", format!("waited {} s for {what}", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_parse_and_run_what_is_pushed() {
        use plimsoll_netpol::objects::{Format, Object, parse_documents};
        let pushed: Vec<String> = content::images("REGISTRY")
            .unwrap()
            .iter()
            .map(|image| format!("REGISTRY/{}:{}", image.repository, image.tag))
            .collect();
        let mut workloads = 0;
        for round in [content::FIRST, content::SECOND] {
            for object in parse_documents(round.as_bytes(), Format::Yaml).unwrap() {
                if let Object::Workload(workload) = object {
                    workloads += 1;
                    for container in &workload.containers {
                        assert!(pushed.contains(&container.image), "{}", container.image);
                    }
                }
            }
        }
        assert_eq!(workloads, content::WORKLOADS);
        assert!(FEEDS.len() > 30);
    }
}
