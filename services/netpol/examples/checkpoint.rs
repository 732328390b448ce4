//! What a publication of a cluster costs beside the engine: `checkpoint [WORKLOADS POLICIES [PUBLICATIONS]]`, 10,000 and
//! 5,000 by default. Folds one event at a time into a generated cluster, settles, encodes the checkpoint and stores it on a
//! nats-server of its own, as the runtime does. Not a test: figures depend on the machine; time on the processor is told
//! beside, that of nats-server not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../../../crates/netpol/examples/bench/cluster.rs"]
#[allow(dead_code, reason = "shared with the engine's bench")]
mod cluster;

use std::time::{Duration, Instant};

use cluster::{Size, cluster, deployment, pod};
use plimsoll_bus::fold::Publication;
use plimsoll_bus::{Bus, Settings};
use plimsoll_config::Completeness;
use plimsoll_netpol::objects::Object;
use plimsoll_netpol_service::resident::Resident;
use plimsoll_netpol_service::state::{Cluster, Policy, encode_objects};
use plimsoll_proto::v1;
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_testkit::nats::NatsServer;

const POLICY: Policy = Policy { enforced: true, complete: Completeness::Always, max_age: i64::MAX / 2 };

/// Time on the processor of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

#[derive(Default)]
struct Times(Vec<Duration>, Duration);

impl Times {
    fn add(&mut self, began: (Instant, Duration)) {
        self.0.push(began.0.elapsed());
        self.1 += cpu().saturating_sub(began.1);
    }

    fn say(mut self, what: &str) {
        self.0.sort();
        let mean = self.0.iter().sum::<Duration>() / u32::try_from(self.0.len().max(1)).unwrap();
        let each = self.1 / u32::try_from(self.0.len().max(1)).unwrap();
        println!(
            "{what:24} mean {mean:9.1?}  median {:9.1?}  worst {:9.1?}  on the processor {each:9.1?}",
            self.0[self.0.len() / 2],
            self.0.last().unwrap()
        );
    }
}

fn event(mode: &str, objects: &[Object], seq: u64) -> (v1::ClusterChanged, Vec<u8>) {
    let at = i64::try_from(seq).unwrap() * 1_000;
    let (cluster, mode, actor) = ("bench".to_owned(), mode.to_owned(), "ci".to_owned());
    let event =
        v1::ClusterChanged { cluster, mode, actor, at, scope: "cluster".into(), ..Default::default() };
    (event, encode_objects(objects).unwrap())
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let number = |index: usize, default: usize| numbers.get(index).copied().unwrap_or(default);
    let size = Size { workloads: number(0, 10_000), policies: number(1, 5_000) };
    let publications = number(2, 20);
    let server = NatsServer::start().await.unwrap();
    let bus = Bus::connect(Settings::new(server.url(), "bench"), Metrics::default(), Health::default())
        .await
        .unwrap();
    let artifacts = bus.artifacts();

    let objects: Vec<Object> = cluster(size).objects().cloned().collect();
    let mut resident = Resident::new(Cluster::default());
    let (first, lines) = event("replace", &objects, 1);
    println!(
        "{} workloads, {} policies, {} objects, {} bytes",
        size.workloads,
        size.policies,
        objects.len(),
        lines.len()
    );
    let began = Instant::now();
    resident.apply(&first, &lines, 1).unwrap();
    resident.settle(&POLICY, &Publication { target_seq: 1, ..Publication::default() });
    println!("first view, settled: {:.1?}", began.elapsed());

    let (mut folded, mut settled, mut encoded, mut stored) = <(Times, Times, Times, Times)>::default();
    let mut before = String::new();
    let mut bytes = Vec::new();
    for seq in 2..2 + publications as u64 {
        let index = usize::try_from(seq).unwrap() * 37 % size.workloads;
        let salt = usize::try_from(seq).unwrap();
        let (changed, lines) = event("apply", &[deployment(index, salt), pod(index, 0, salt)], seq);
        let now = || (Instant::now(), cpu());
        let began = now();
        resident.apply(&changed, &lines, seq).unwrap();
        folded.add(began);
        let began = now();
        let publication =
            Publication { base_seq: seq - 1, target_seq: seq, number: seq, ..Publication::default() };
        resident.settle(&POLICY, &publication);
        settled.add(began);
        let began = now();
        bytes = resident.cluster().encode().unwrap();
        encoded.add(began);
        let began = now();
        let name = format!("state.bench-{seq}");
        artifacts.put_named(&name, &bytes).await.unwrap();
        if !before.is_empty() {
            artifacts.delete(&before).await.unwrap();
        }
        before = name;
        stored.add(began);
    }
    let began = Instant::now();
    let read = artifacts.get(&before).await.unwrap().unwrap();
    let loaded = Cluster::decode(&read).unwrap();
    println!("read and decoded: {:.1?}", began.elapsed());
    assert_eq!(loaded.encode().unwrap(), bytes);
    println!(
        "checkpoint: {} bytes, stored as {}",
        bytes.len(),
        zstd::bulk::compress(&bytes, 1).unwrap().len()
    );
    folded.say("an event folded in");
    settled.say("settled");
    encoded.say("checkpoint encoded");
    stored.say("compressed and stored");
}
