//! Warm pushes: every layer is known, every manifest is new, every repository gets findings. All roles run in one
//! process beside nats-server; the registry and the load are this process, on the same cores.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plimsoll_bus::tail::From;
use plimsoll_bus::{Bus, Settings, subjects};
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_testkit::image::content::{dpkg_status, npm_package_json, os_release};
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, Layer, LayerBlob, MANIFEST};
use plimsoll_testkit::nats::{NatsOptions, NatsServer};
use plimsoll_testkit::process::Guarded;
use plimsoll_testkit::registry::{FakeRegistry, Options as RegistryOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::measure::{at_least, at_most, cpu_of, figure, note, percentile, title};
use super::{Mode, PushArguments};
use crate::LoadError;
use crate::crash::observe::{ask, streams};
use crate::crash::scenario::write_feeds;
use crate::fleet::{self, TOKEN};
use crate::http::Client;

/// Connections over which notifications come.
const CONNECTIONS: usize = 8;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures each mode.
pub(super) async fn run(program: &Path, arguments: &PushArguments) -> Result<(), LoadError> {
    for mode in [Mode::R1, Mode::R1Always] {
        if arguments.mode.is_none_or(|wanted| wanted == mode) {
            measure(program, mode, arguments).await?;
        }
    }
    Ok(())
}

/// When findings of a repository were heard: how many messages, and the last of them.
type Heard = Arc<Mutex<HashMap<String, (u32, Instant)>>>;

/// A deployment under load.
struct Load {
    nats: NatsServer,
    registry: FakeRegistry,
    gateway: SocketAddr,
    layers: Vec<LayerBlob>,
    heard: Heard,
    next: usize,
    up: Guarded,
    _folder: tempfile::TempDir,
}

async fn measure(program: &Path, mode: Mode, arguments: &PushArguments) -> Result<(), LoadError> {
    let (name, budget) = match mode {
        Mode::R1 => ("r1", 500.0),
        Mode::R1Always => ("r1-always", 60.0),
    };
    title(&format!("warm pushes, whole pipeline, {name}"));
    let mut load = Load::start(program, mode).await?;
    // The first push reads the layers, and tells how many messages a push gives.
    let first = load.prepare(1)?;
    load.send(&first, None).await?;
    load.settled().await?;
    let each = load.messages(&first);
    if each == 0 {
        return Err(LoadError::Other("the first push gave no finding".into()));
    }
    let warm = load.prepare(50)?;
    load.send(&warm, None).await?;
    load.await_all(&warm, each).await?;

    let count = if mode == Mode::R1 { arguments.pushes } else { arguments.pushes / 4 };
    let pushes = load.prepare(count)?;
    load.settled().await?;
    let before = load.writes().await;
    let spent_before = load.cpu();
    let began = Instant::now();
    load.send(&pushes, None).await?;
    let posted = began.elapsed().as_secs_f64();
    let last = load.await_all(&pushes, each).await?;
    let spent = last.duration_since(began).as_secs_f64();
    let cpu = load.cpu();
    load.settled().await?;
    let after = load.writes().await;
    let by_stream: Vec<(&String, f64)> = after
        .iter()
        .map(|(name, last)| {
            (name, (last - before.get(name).copied().unwrap_or(0).min(*last)) as f64 / count as f64)
        })
        .filter(|(_, writes)| *writes >= 0.005)
        .collect();
    let writes: f64 = by_stream.iter().map(|(_, writes)| writes).sum();
    let listed: Vec<String> = by_stream.iter().map(|(name, writes)| format!("{name} {writes:.2}")).collect();
    note("pushes", &format!("{count}, {each} messages of findings each; taken in {} s", figure(posted)));
    at_least(&format!("pushes a second, {name}"), count as f64 / spent, budget, "/s");
    at_most(&format!("broker writes a push, {name}"), writes, 10.0, "");
    note("of which", &listed.join(", "));
    let a_push = |now: f64, before: f64| figure((now - before) * 1e3 / count as f64);
    note(
        &format!("processor time a push, {name}"),
        &format!(
            "plimsoll {} ms, nats-server {} ms",
            a_push(cpu.0, spent_before.0),
            a_push(cpu.1, spent_before.1)
        ),
    );

    for &rate in &arguments.rates {
        let count = usize::try_from(rate * arguments.seconds).unwrap_or(0).max(1);
        let pushes = load.prepare(count)?;
        load.settled().await?;
        let sent = load.send(&pushes, Some(rate)).await?;
        load.await_all(&pushes, each).await?;
        let heard = load.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut times: Vec<f64> = pushes
            .iter()
            .zip(&sent)
            .filter_map(|(push, at)| {
                Some(heard.get(&push.repository)?.1.duration_since(*at).as_secs_f64() * 1e3)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let what = |share: &str| format!("event → findings at {rate}/s, {share}, {name}");
        // The budget is one of r1; the other mode is held to the same.
        at_most(&what("p50"), percentile(&times, 0.5), 25.0, "ms");
        at_most(&what("p99"), percentile(&times, 0.99), 100.0, "ms");
    }
    Ok(())
}

/// A push that is to come.
struct Push {
    repository: String,
    envelope: Vec<u8>,
}

impl Load {
    async fn start(program: &Path, mode: Mode) -> Result<Self, LoadError> {
        let folder = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
        let options = NatsOptions { sync_always: mode == Mode::R1Always, ..NatsOptions::default() };
        let nats = NatsServer::start_with(options).await?;
        let registry =
            FakeRegistry::start(RegistryOptions { max_requests: 0, ..RegistryOptions::default() }).await?;
        let port = plimsoll_testkit::ports::free(1)?.into_iter().next().unwrap_or(0);
        let gateway = SocketAddr::from(([127, 0, 0, 1], port));
        let feeds = folder.path().join("advisories");
        write_feeds(&feeds)?;
        let durability = if mode == Mode::R1Always { "durability: r1-always\n" } else { "" };
        let path = folder.path().join("plimsoll.yaml");
        std::fs::write(&path, fleet::configuration(gateway, &registry.host(), &feeds, durability))
            .map_err(LoadError::io("write the configuration"))?;
        let mut command = Command::new(program);
        command.args(["up", "--data"]).arg(folder.path().join("data")).arg("--config").arg(&path);
        command.env("NATS_URL", nats.url());
        let up = Guarded::spawn(command, &folder.path().join("up.log"))?;
        let bus =
            Bus::connect(Settings::new(nats.url(), "load"), Metrics::default(), Health::default()).await?;
        let began = Instant::now();
        while ask(&bus, "counts", Value::Null)
            .await
            .is_none_or(|c| c.get("db_seq").and_then(Value::as_u64) == Some(0))
        {
            if began.elapsed() > PATIENCE {
                return Err(LoadError::Other(format!("it does not come up: {}", up.log_tail())));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let heard = Heard::default();
        tokio::spawn(listen(bus, Arc::clone(&heard)));
        Ok(Self { nats, registry, gateway, layers: layers()?, heard, next: 0, up, _folder: folder })
    }

    /// Puts images of the known layers into the registry, each in a repository of its own, and tells nobody.
    fn prepare(&mut self, count: usize) -> Result<Vec<Push>, LoadError> {
        (0..count)
            .map(|_| {
                self.next += 1;
                let repository = format!("load/r{}", self.next);
                let builder = ImageBuilder::new().label("number", &self.next.to_string());
                let builder =
                    self.layers.iter().fold(builder, |builder, layer| builder.raw_layer(layer.clone()));
                let image = builder.build()?;
                self.registry.put_image(&repository, "1", &image);
                let envelope = self.envelope(&repository, &image).to_string().into_bytes();
                Ok(Push { repository, envelope })
            })
            .collect()
    }

    fn envelope(&self, repository: &str, image: &BuiltImage) -> Value {
        json!({"events": [{
            "id": format!("push-{repository}"), "action": "push",
            "target": {
                "mediaType": MANIFEST, "digest": image.digest(), "repository": repository, "tag": "1",
                "size": image.root().size(),
            },
            "request": {"host": self.registry.host()},
        }]})
    }

    /// Sends notifications: at a rate, or as fast as they are taken. Gives the times at which they were due.
    async fn send(&self, pushes: &[Push], rate: Option<u64>) -> Result<Vec<Instant>, LoadError> {
        let (give, take) = mpsc::unbounded_channel::<Vec<u8>>();
        let take = Arc::new(tokio::sync::Mutex::new(take));
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (take, gateway) = (Arc::clone(&take), self.gateway);
                tokio::spawn(async move {
                    let mut client = Client::new(gateway, TOKEN);
                    loop {
                        let envelope = take.lock().await.recv().await;
                        let Some(envelope) = envelope else { return Ok::<(), LoadError>(()) };
                        let headers = [("content-type", plimsoll_testkit::registry::EVENTS)];
                        client.insist("/v1/webhooks/distribution", &headers, &envelope, PATIENCE).await?;
                    }
                })
            })
            .collect();
        let began = Instant::now();
        let mut due = Vec::with_capacity(pushes.len());
        for (number, push) in pushes.iter().enumerate() {
            let mut at = Instant::now();
            if let Some(rate) = rate {
                // By the clock and not by the answers: a slow answer delays nobody's due time.
                at = began + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(at.into()).await;
            }
            due.push(at);
            give.send(push.envelope.clone()).map_err(LoadError::other)?;
        }
        drop(give);
        for worker in workers {
            worker.await.map_err(LoadError::other)??;
        }
        Ok(due)
    }

    fn messages(&self, pushes: &[Push]) -> u32 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.iter().filter_map(|push| heard.get(&push.repository)).map(|(count, _)| *count).sum()
    }

    /// Waits until every push has given its messages; the time of the last one.
    async fn await_all(&self, pushes: &[Push], each: u32) -> Result<Instant, LoadError> {
        let began = Instant::now();
        let wanted = each * u32::try_from(pushes.len()).unwrap_or(u32::MAX);
        while self.messages(pushes) < wanted {
            if began.elapsed() > PATIENCE {
                return Err(LoadError::Timeout {
                    what: format!("{} of {wanted} messages", self.messages(pushes)),
                    seconds: PATIENCE.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = pushes.iter().filter_map(|push| heard.get(&push.repository)).map(|(_, at)| *at).max();
        Ok(last.unwrap_or_else(Instant::now))
    }

    /// Waits until the broker has nothing left to deliver.
    async fn settled(&self) -> Result<(), LoadError> {
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < 3 {
            let waiting = streams(&self.nats).await.map_or(1, |streams| streams.waiting);
            quiet = if waiting == 0 { quiet + 1 } else { 0 };
            if began.elapsed() > PATIENCE {
                return Err(LoadError::Timeout { what: "rest".into(), seconds: PATIENCE.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        Ok(())
    }

    /// Processor time so far, in seconds: of the roles, and of nats-server.
    fn cpu(&self) -> (f64, f64) {
        (cpu_of(self.up.pid()), self.nats.pid().map_or(f64::NAN, cpu_of))
    }

    /// Messages that every stream and bucket has taken so far.
    async fn writes(&self) -> BTreeMap<String, u64> {
        streams(&self.nats).await.map(|streams| streams.last).unwrap_or_default()
    }
}

/// Notes when findings come.
async fn listen(bus: Bus, heard: Heard) {
    let Ok(mut tail) = bus.tail(subjects::FINDINGS, &["findings.v1.>".to_owned()], From::Beginning).await
    else {
        return;
    };
    while let Some(Ok(line)) = tail.next().await {
        let now = Instant::now();
        let Ok(message) = serde_json::from_slice::<Value>(&line.payload) else { continue };
        let repository = message.pointer("/holder/repository/repository").and_then(Value::as_str);
        if let Some(repository) = repository {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = heard.entry(repository.to_owned()).or_insert((0, now));
            *entry = (entry.0 + 1, now);
        }
    }
}

/// A base with 120 Debian packages, and an application with 60 npm packages; a few of both are vulnerable.
fn layers() -> Result<Vec<LayerBlob>, LoadError> {
    let others: Vec<String> = (0..117).map(|number| format!("libother{number}")).collect();
    let mut packages = vec![
        ("libc6", "2.36-9+deb12u1", "glibc", "amd64"),
        ("libssl3", "3.0.9-1", "openssl", "amd64"),
        ("curl", "7.88.1-10+deb12u1", "curl", "amd64"),
    ];
    packages.extend(others.iter().map(|name| (name.as_str(), "1.2.3-4", "", "amd64")));
    let base = Layer::new()
        .file("etc/os-release", os_release("debian", "12"))
        .file("var/lib/dpkg/status", dpkg_status(&packages));
    let package = |layer: Layer, name: &str, version: &str| {
        layer.file(format!("app/node_modules/{name}/package.json"), npm_package_json(name, version))
    };
    let app = (0..57).fold(Layer::new(), |layer, number| package(layer, &format!("other-{number}"), "1.0.0"));
    let app = [("lodash", "4.17.11"), ("minimist", "1.2.0"), ("express", "4.16.0")]
        .iter()
        .fold(app, |layer, (name, version)| package(layer, name, version));
    Ok(vec![base.blob(Compression::Gzip)?, app.blob(Compression::Gzip)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_two_and_always_the_same() {
        let digests = || layers().map(|layers| layers.into_iter().map(|l| l.blob.digest).collect::<Vec<_>>());
        let (first, second) = (digests().unwrap_or_default(), digests().unwrap_or_default());
        assert_eq!(first.len(), 2);
        assert_eq!(first, second);
    }
}
