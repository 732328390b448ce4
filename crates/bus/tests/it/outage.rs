//! The server goes away, or one of three does.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll_bus::subjects::{Lane, cluster_changed};
use plimsoll_bus::tail::From;
use plimsoll_bus::{Durability, Guard, Settings, fold};
use plimsoll_proto::v1;
use plimsoll_testkit::nats::{NatsCluster, NatsServer};
use tokio_util::sync::CancellationToken;

use crate::kills::folded;
use crate::support::{BOUND, Place, Worker, log_file, until};
use crate::toy::{self, Tape, Toy, fact, limits};

fn slow() -> impl Fn(plimsoll_bus::Cx, String) -> toy::Done + Send + Sync + 'static {
    |_, input| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(vec![fact(input)])
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_restarted_loses_nothing() {
    for guard in [Guard::Claim, Guard::Effect] {
        let mut server = NatsServer::start().await.unwrap();
        let place = Place::at(&server.url(), 1000).await;
        let expected: Vec<String> = (0..40).map(|n| format!("job {n}")).collect();
        for job in &expected {
            place.push(Lane::Hot, job).await;
        }
        let bounds = plimsoll_bus::Limits { attempts: 30, ..limits(guard) };
        let stage = place.start(Toy::new(bounds, slow())).await;
        for killed_after in [5, 15] {
            until("some facts", || async {
                place.try_stored("FACTS").await.is_some_and(|facts| facts.len() >= killed_after)
            })
            .await;
            server.kill().unwrap();
            server.restart().await.unwrap();
        }
        place.done(&expected).await;
        stage.drain().await;
        assert!(place.stored("DEAD").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_goes_on_where_it_was_when_the_server_comes_back() {
    let mut server = NatsServer::start().await.unwrap();
    let place = Place::at(&server.url(), 1000).await;
    let filters = ["facts.toy".to_owned()];
    let mut tail = place.bus.tail("FACTS", &filters, From::Now).await.unwrap();
    let mut quiet = place.bus.tail("FACTS", &["facts.quiet".to_owned()], From::Now).await.unwrap();
    let mut next = 0;
    for _ in 0..2 {
        for n in next..next + 3 {
            place.send("facts.toy", &n.to_string()).await;
        }
        server.kill().unwrap();
        server.restart().await.unwrap();
        until("the server", || async { place.try_stored("FACTS").await.is_some() }).await;
        place.send("facts.toy", &(next + 3).to_string()).await;
        for n in next..next + 4 {
            let line = loop {
                // It may stumble; what counts is that it goes on.
                if let Ok(line) = tokio::time::timeout(BOUND, tail.next()).await.unwrap().unwrap() {
                    break line;
                }
            };
            assert_eq!(line.payload.as_ref(), n.to_string().as_bytes());
        }
        next += 4;
    }
    // One that had no message before the break misses none after it.
    place.send("facts.quiet", "said").await;
    let line = loop {
        if let Ok(line) = tokio::time::timeout(BOUND, quiet.next()).await.unwrap().unwrap() {
            break line;
        }
    };
    assert_eq!(line.payload.as_ref(), b"said");
}

fn signal(server: &NatsServer, signal: &str) {
    let group = format!("-{}", server.pid().unwrap());
    assert!(Command::new("kill").args(["-s", signal, "--", &group]).status().unwrap().success());
}

async fn leader(place: &Place, stream: &str) -> Option<usize> {
    let info = place.js.get_stream(stream).await.ok()?.cached_info().clone();
    let name = info.cluster?.leader?;
    name.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}

/// One cluster for all that only three nodes show, since it takes seconds to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes() {
    let mut cluster = NatsCluster::start(3).await.unwrap();
    let settings = Settings {
        durability: Durability::R3,
        ..toy::settings(&cluster.url(), "test", Duration::from_secs(2))
    };
    let place = Place::of(&cluster.url(), toy::connect(settings.clone()).await).await;

    nothing_is_read_from_a_replica(&place).await;
    a_lagging_replica_is_not_asked(&cluster, &place, &settings).await;
    leaders_die(&mut cluster, &place).await;
    workers_die(&cluster, &place).await;
}

async fn nothing_is_read_from_a_replica(place: &Place) {
    let mut streams = place.js.streams();
    let mut count = 0;
    while let Some(info) = futures::StreamExt::next(&mut streams).await {
        let config = info.unwrap().config;
        assert!(!config.allow_direct, "{}", config.name);
        assert_eq!(config.num_replicas, 3, "{}", config.name);
        count += 1;
    }
    assert_eq!(count, 14);
}

/// A follower is stopped while the others go on, then continued; whoever reads through it reads what the leader has.
async fn a_lagging_replica_is_not_asked(cluster: &NatsCluster, place: &Place, settings: &Settings) {
    let leads = leader(place, "KV_control").await.unwrap();
    let meta = cluster.leader().await.unwrap();
    let lagging = (0..3).find(|n| *n != leads && *n != meta).unwrap();
    let server = &cluster.servers()[lagging];
    let through = toy::connect(Settings { url: server.url(), ..settings.clone() }).await;
    let writer = Settings { url: cluster.servers()[leads].url(), ..settings.clone() };
    let writer = toy::connect(writer).await;
    let records = writer.records("control");
    let mut revision = records.create("lag", b"0").await.unwrap().unwrap();
    signal(server, "STOP");
    let mut artifacts = Vec::new();
    for n in 1..=50u32 {
        let value = n.to_string();
        let written = patient("a write", || records.update("lag", value.as_bytes(), revision)).await;
        // Nothing: a write whose answer was late is there already.
        revision = match written {
            Some(revision) => revision,
            None => patient("a read", || records.get("lag")).await.unwrap().revision,
        };
        if n % 10 == 0 {
            let bytes = noise(700_000 + n);
            artifacts
                .push(patient("an artifact", || async { writer.artifacts().put("lag", &bytes).await }).await);
        }
    }
    signal(server, "CONT");
    let read = plimsoll_testkit::wait::until_some("a read", crate::support::BOUND, || async {
        through.records("control").get("lag").await.ok().flatten()
    })
    .await
    .unwrap();
    assert_eq!((read.value.as_ref(), read.revision), (b"50".as_slice(), revision), "read from a replica");
    for name in artifacts {
        assert!(
            patient("an artifact", || async { through.artifacts().get(&name).await }).await.is_some(),
            "read from a replica"
        );
    }
}

/// What a request answers, once it does: streams that the stopped server led need a new leader first.
async fn patient<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, plimsoll_bus::BusError>>,
{
    plimsoll_testkit::wait::until_some(what, crate::support::BOUND, || {
        let asked = ask();
        async move { asked.await.ok() }
    })
    .await
    .unwrap()
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8 ^ (n.wrapping_mul(40_503) >> 7) as u8)
        .collect()
}

async fn leaders_die(cluster: &mut NatsCluster, place: &Place) {
    let expected: Vec<String> = (0..60).map(|n| format!("job {n}")).collect();
    for job in &expected {
        place.push(Lane::Hot, job).await;
    }
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    let act = slow();
    let bounds = plimsoll_bus::Limits { attempts: 30, ..limits(Guard::Claim) };
    let stage = place
        .start(Toy::new(bounds, move |cx, input| {
            count.fetch_add(1, Ordering::SeqCst);
            act(cx, input)
        }))
        .await;
    let stop = CancellationToken::new();
    let folding =
        tokio::spawn(fold::run(place.bus.clone(), Tape, stop.clone(), fold::Settling::after(Duration::ZERO)));
    for n in 0..5 {
        place.send(&cluster_changed("a"), &format!("a-{n}")).await;
    }
    for (stream, after) in [("KV_claims", 10), ("KV_clusters", 30)] {
        until("some work", || async { ran.load(Ordering::SeqCst) >= after }).await;
        let leads = plimsoll_testkit::wait::until_some("a leader", crate::support::BOUND, || async {
            leader(place, stream).await
        })
        .await
        .unwrap();
        cluster.server_mut(leads).unwrap().kill().unwrap();
        let n = if after == 10 { 5 } else { 6 };
        let message =
            plimsoll_bus::Outgoing { subject: cluster_changed("a"), payload: format!("a-{n}").into_bytes() };
        until("an event that is stored", || async {
            match place.bus.publish(&message, &format!("after-{n}"), &[]).await {
                Ok(_) | Err(plimsoll_bus::BusError::Duplicate { .. }) => true,
                Err(_) => false,
            }
        })
        .await;
        cluster.server_mut(leads).unwrap().restart().await.unwrap();
        cluster.ready().await.unwrap();
    }
    place.done(&expected).await;
    let events: Vec<String> = (0..7).map(|n| format!("a-{n}")).collect();
    assert_eq!(folded(place, "a", 7).await, events);
    stop.cancel();
    folding.await.unwrap().unwrap();
    stage.drain().await;
    assert!(place.stored("DEAD").await.is_empty());
}

/// The kills that matter most, on three nodes.
async fn workers_die(cluster: &NatsCluster, place: &Place) {
    for label in ["claimed", "recorded"] {
        let log = log_file(&format!("r3-{label}"));
        let job = format!("r3 {label}");
        place.push(Lane::Hot, &job).await;
        let url = cluster.url();
        let mut first = Worker::start_with(&url, "stage", "claim", &log, &format!("toy.{label}"), 2000);
        first.died().await;
        let claims = place.bus.records("claims");
        let claim: v1::Claim =
            claims.get(&crate::attempts::claim_key(&job)).await.unwrap().unwrap().decode().unwrap();
        assert_eq!(claim.state, if label == "claimed" { "running" } else { "done" });
        let _second = Worker::start_with(&url, "stage", "claim", &log, "", 2000);
        place.done(&[format!("did {job}"), format!("also {job}")]).await;
    }
}
