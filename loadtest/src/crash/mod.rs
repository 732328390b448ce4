//! Crash runs: a scripted day of a registry and a cluster, during which roles and the broker are killed as the seed
//! says. At rest the open findings must equal those of the undisturbed run, and every change must have been published
//! once; then the store is deleted, and the rebuilt one must say the same and publish nothing.

pub mod observe;
pub mod plan;
pub mod scenario;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use plimsoll_bus::{Bus, Settings, subjects};
use plimsoll_proto::v1;
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_testkit::nats::NatsServer;
use plimsoll_testkit::registry::{Endpoint, FakeRegistry, Options as RegistryOptions};
use tokio::sync::Mutex;

use crate::LoadError;
use crate::fleet::{self, Fleet, ROLES, TOKEN};
use observe::{Standing, difference};
use plan::{Plan, Whom};
use scenario::{Images, STEPS, World};

/// Longest wait for rest after the last step.
const REST: Duration = Duration::from_secs(120);
/// Findings that the undisturbed run has at least; fewer would prove nothing.
const FINDINGS: usize = 30;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    pub program: PathBuf,
    pub seeds: Vec<u64>,
    /// Runs at once.
    pub jobs: usize,
    /// Print each run.
    pub verbose: bool,
    /// Keep the folders of failed runs.
    pub keep: bool,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub seed: u64,
    pub point: String,
    /// Whether somebody died where the seed says.
    pub reached: bool,
    /// Deaths, by whatever cause.
    pub deaths: usize,
    /// Processes that ended with an error of the broker's while it was away.
    pub gave_up: usize,
    pub took: Duration,
    /// What was wrong; empty for a good run.
    pub faults: Vec<String>,
}

/// All runs.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub runs: Vec<Run>,
    /// Open findings of the undisturbed run.
    pub findings: usize,
    pub took: Duration,
}

impl Report {
    /// Runs with faults.
    pub fn failed(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.faults.is_empty())
    }

    /// A line for each point: runs, reached, ok, failed seeds.
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<&str, (usize, usize, Vec<u64>)> = BTreeMap::new();
        for run in &self.runs {
            let row = rows.entry(&run.point).or_default();
            row.0 += 1;
            row.1 += usize::from(run.reached);
            if !run.faults.is_empty() {
                row.2.push(run.seed);
            }
        }
        let mut out =
            format!("{:24} {:>5} {:>8} {:>5}  failed seeds\n", "killed at", "runs", "reached", "ok");
        for (point, (runs, reached, failed)) in rows {
            let seeds: Vec<String> = failed.iter().map(u64::to_string).collect();
            out.push_str(&format!(
                "{point:24} {runs:>5} {reached:>8} {:>5}  {}\n",
                runs - failed.len(),
                seeds.join(" ")
            ));
        }
        let failed = self.failed().count();
        let deaths: usize = self.runs.iter().map(|run| run.deaths).sum();
        let gave_up: usize = self.runs.iter().map(|run| run.gave_up).sum();
        out.push_str(&format!(
            "{} seeds, {} ok, {failed} failed; {} kills, {gave_up} processes gave up while the broker was away; \
             {} open findings each; {:.0} s\n",
            self.runs.len(),
            self.runs.len() - failed,
            deaths - gave_up,
            self.findings,
            self.took.as_secs_f64()
        ));
        out
    }
}

/// Runs the undisturbed scenario and then the seeds.
pub async fn run(options: &Options) -> Result<Report, LoadError> {
    let began = Instant::now();
    let images = Images::build()?;
    let (reference, faults) = live(options, &images, &Plan::undisturbed(), "undisturbed", None).await?.into();
    let Some(reference) = reference else {
        return Err(LoadError::Other(format!("the undisturbed run failed: {}", faults.join("; "))));
    };
    if reference.open.len() < FINDINGS || !faults.is_empty() {
        return Err(LoadError::Other(format!(
            "the undisturbed run has {} open findings, {FINDINGS} are wanted; {}",
            reference.open.len(),
            faults.join("; ")
        )));
    }
    if !reference.open.values().any(|seen| seen.what.starts_with("NETPOL001 ")) {
        return Err(LoadError::Other("the undisturbed run does not show what its deploy opened".into()));
    }
    let (reference, images) = (&reference, &images);
    let mut runs: Vec<Run> = stream::iter(options.seeds.iter().copied())
        .map(|seed| async move {
            let plan = Plan::of(seed);
            let began = Instant::now();
            let name = format!("seed-{seed}");
            let run = match live(options, images, &plan, &name, Some(reference)).await {
                Ok(life) => Run {
                    seed,
                    reached: life.reached,
                    deaths: life.deaths,
                    gave_up: life.gave_up,
                    point: plan.point,
                    took: began.elapsed(),
                    faults: life.faults,
                },
                Err(error) => Run {
                    seed,
                    reached: false,
                    deaths: 0,
                    gave_up: 0,
                    point: plan.point,
                    took: began.elapsed(),
                    faults: vec![error.to_string()],
                },
            };
            if options.verbose || !run.faults.is_empty() {
                let verdict = if run.faults.is_empty() { "ok" } else { "FAILED" };
                eprintln!(
                    "seed {seed} {} {verdict}, {} deaths, {:.1} s",
                    run.point,
                    run.deaths,
                    run.took.as_secs_f64()
                );
                run.faults.iter().for_each(|fault| eprintln!("    {fault}"));
            }
            run
        })
        .buffer_unordered(options.jobs.max(1))
        .collect()
        .await;
    runs.sort_by_key(|run| run.seed);
    Ok(Report { runs, findings: reference.open.len(), took: began.elapsed() })
}

/// What came of one run.
struct Life {
    standing: Option<Standing>,
    faults: Vec<String>,
    reached: bool,
    deaths: usize,
    gave_up: usize,
}

impl From<Life> for (Option<Standing>, Vec<String>) {
    fn from(life: Life) -> Self {
        (life.standing, life.faults)
    }
}

/// A gateway that nobody's restart moves: its port is chosen before it starts.
fn address() -> Result<SocketAddr, LoadError> {
    let port = plimsoll_testkit::ports::free(1)?.into_iter().next().unwrap_or(0);
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn live(
    options: &Options,
    images: &Images,
    plan: &Plan,
    name: &str,
    reference: Option<&Standing>,
) -> Result<Life, LoadError> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("plimsoll-crash-{name}-"))
        .tempdir()
        .map_err(LoadError::io("create a folder"))?;
    let gateway = address()?;
    let webhook = format!("http://{gateway}/v1/webhooks/distribution");
    let registry = FakeRegistry::start(RegistryOptions {
        endpoints: vec![Endpoint::authorized(webhook, format!("Bearer {TOKEN}"))],
        ..RegistryOptions::default()
    })
    .await?;
    let feeds = folder.path().join("advisories");
    scenario::write_feeds(&feeds)?;
    let configuration = fleet::configuration(gateway, &registry.host(), &feeds, "");
    std::fs::write(folder.path().join("plimsoll.yaml"), configuration)
        .map_err(LoadError::io("write the configuration"))?;
    let nats = NatsServer::start().await?;
    let url = nats.url();
    let nats = Arc::new(Mutex::new(nats));
    let fleet = Fleet::start(
        fleet::Plan {
            program: options.program.clone(),
            folder: folder.path().to_owned(),
            nats: url.clone(),
            ends: plan.ends.clone(),
        },
        &ROLES,
    )?;
    let bus = Bus::connect(Settings::new(url, "crash"), Metrics::default(), Health::default()).await?;
    let world = World { fleet: &fleet, registry: &registry, gateway, feeds: &feeds, images, bus: &bus };
    let lived = act(&world, &nats, plan).await;
    let outcome = match lived {
        Ok(()) => judge(&world, &nats, reference, folder.path()).await,
        Err(error) => Err(error),
    };
    let (standing, mut faults) = match outcome {
        Ok((standing, faults)) => (Some(standing), faults),
        Err(error) => (None, vec![error.to_string()]),
    };
    let deaths = fleet.deaths();
    // A process that starts while the broker is away may end with an error, and is started again. A panic is never
    // right, and without an outage no end is.
    let outage = plan.strikes.iter().any(|strike| matches!(strike.whom, Whom::Broker(_)));
    let excused = |death: &&fleet::Death| outage && death.code == Some(2) && death.said.contains("broker_");
    let gave_up = deaths.iter().filter(excused).count();
    for death in deaths.iter().filter(|death| !death.wanted && !excused(death)) {
        let end: Vec<&str> = death.said.lines().rev().take(3).collect();
        faults.push(format!("{} ended by itself in life {}: {}", death.role, death.life, end.join(" | ")));
    }
    if !faults.is_empty() && options.verbose {
        eprintln!("{}", fleet.logs());
    }
    let reached = if plan.strikes.iter().any(|strike| match strike.whom {
        Whom::Role(role) => plan.point.ends_with(role),
        Whom::Broker(_) => plan.point.ends_with("nats-server"),
    }) {
        true
    } else {
        deaths.iter().any(|death| {
            death.wanted && death.label.as_deref().and_then(|l| l.split(':').next()) == Some(&plan.point)
        })
    };
    drop(fleet);
    if !faults.is_empty() && options.keep {
        let kept = folder.keep();
        eprintln!("{name}: the files are in {}", kept.display());
    }
    Ok(Life { standing, faults, reached, deaths: deaths.len(), gave_up })
}

/// The steps, with the strikes beside them.
async fn act(world: &World<'_>, nats: &Arc<Mutex<NatsServer>>, plan: &Plan) -> Result<(), LoadError> {
    for step in 0..STEPS {
        let strikes = plan.strikes.iter().filter(|strike| strike.step == step).map(|strike| async move {
            tokio::time::sleep(Duration::from_millis(strike.after)).await;
            match strike.whom {
                Whom::Role(role) => world.fleet.kill(role),
                Whom::Broker(down) => {
                    let mut nats = nats.lock().await;
                    nats.kill()?;
                    tokio::time::sleep(Duration::from_millis(down)).await;
                    Ok(nats.restart().await?)
                }
            }
        });
        let pause = plan.pauses.get(step).copied().unwrap_or(0);
        let outside = async {
            world.step(step).await?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok::<(), LoadError>(())
        };
        let (done, struck) = tokio::join!(outside, futures::future::join_all(strikes));
        done?;
        struck.into_iter().collect::<Result<(), LoadError>>()?;
    }
    world.registry.flushed(REST).await.map_err(LoadError::other)
}

/// Waits for rest and compares; then deletes the store and does so again.
async fn judge(
    world: &World<'_>,
    nats: &Arc<Mutex<NatsServer>>,
    reference: Option<&Standing>,
    folder: &std::path::Path,
) -> Result<(Standing, Vec<String>), LoadError> {
    let nats = nats.lock().await;
    let bus = world.bus;
    let mut faults = Vec::new();
    let (_, lost) = world.registry.notified();
    if lost > 0 {
        faults.push(format!("the registry gave up {lost} notifications"));
    }
    let streams = observe::rest(bus, &nats, 2, REST).await?;
    let standing = observe::standing(bus).await?;
    if let Some(reference) = reference {
        faults.extend(difference(&reference.open, &standing.open));
        if reference.failures != standing.failures {
            faults.push(format!("failures {:?}, wanted {:?}", standing.failures, reference.failures));
        }
        if reference.images != standing.images {
            faults.push(format!("images {:?}, wanted {:?}", standing.images, reference.images));
        }
    }
    let last = streams.last.get(subjects::FINDINGS).copied().unwrap_or(0);
    let heard = observe::heard(bus, last).await?;
    faults.extend(heard.faults);
    faults.extend(difference(&standing.open, &heard.open).iter().map(|line| format!("subscribers: {line}")));
    faults.extend(announced(bus).await?);

    world.fleet.rest("aggregator")?;
    let store = folder.join("aggregator");
    for file in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        match std::fs::remove_file(store.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LoadError::io("remove the store")(error));
            }
            _ => {}
        }
    }
    world.fleet.raise("aggregator")?;
    let streams = observe::rest(bus, &nats, 2, REST).await?;
    let rebuilt = observe::standing(bus).await?;
    faults.extend(difference(&standing.open, &rebuilt.open).iter().map(|line| format!("rebuilt: {line}")));
    let now = streams.last.get(subjects::FINDINGS).copied().unwrap_or(0);
    if now != last {
        faults.push(format!("the rebuilt store published: FINDINGS went from {last} to {now}"));
    }
    Ok((standing, faults))
}

/// The newest Db must have been announced, whoever died in between.
async fn announced(bus: &Bus) -> Result<Option<String>, LoadError> {
    let current = match bus.records("control").get("db").await? {
        Some(record) => record.decode::<v1::DbPointer>()?.seq,
        None => 0,
    };
    let last = bus.last_message(subjects::EVENTS, subjects::DB_UPDATED).await?;
    let told = last
        .and_then(|(_, payload)| serde_json::from_slice::<v1::DbUpdated>(&payload).ok())
        .map_or(0, |event| event.seq);
    Ok((told != current).then(|| format!("Db {current} is current, and {told} was announced last")))
}
