//! The runtime of a fold.

use std::time::Duration;

use plimsoll_bus::subjects::cluster_changed;
use plimsoll_bus::{Bus, fold};
use plimsoll_proto::v1;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::kills::{folded, tape};
use crate::support::{Worker, log_file, place, until};
use crate::toy::Tape;

fn run(bus: Bus, quiet_ms: u64) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let task = tokio::spawn(async move {
        fold::run(bus, Tape, token, fold::Settling::after(Duration::from_millis(quiet_ms))).await.unwrap();
    });
    (stop, task)
}

async fn end((stop, task): (CancellationToken, JoinHandle<()>)) {
    stop.cancel();
    task.await.unwrap();
}

/// Two runners compete for three keys: each event is folded once, in order, in each chain of checkpoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_fold_each_key_in_order() {
    let place = place(2000).await;
    let runners = [run(place.bus.clone(), 0), run(place.other(2000).await, 0)];
    for n in 0..30 {
        for key in ["a", "b", "c"] {
            place.send(&cluster_changed(key), &format!("{key}-{n}")).await;
        }
    }
    for key in ["a", "b", "c"] {
        let expected: Vec<String> = (0..30).map(|n| format!("{key}-{n}")).collect();
        assert_eq!(folded(&place, key, 30).await, expected);
    }
    // Of each chain, only the state of its last checkpoint is kept.
    let artifacts = place.bus.artifacts();
    until("three states", || async { artifacts.list("state").await.is_ok_and(|n| n.len() == 3) }).await;
    until("acknowledged events", || async {
        let mut stream = place.js.get_stream("EVENTS").await.unwrap();
        stream.info().await.unwrap();
        let info = stream.consumer_info("fold-tape").await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
    for runner in runners {
        end(runner).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_settled_once() {
    let place = place(5000).await;
    let runner = run(place.bus.clone(), 1000);
    for n in 0..20 {
        place.send(&cluster_changed("a"), &format!("a-{n}")).await;
    }
    let expected: Vec<String> = (0..20).map(|n| format!("a-{n}")).collect();
    assert_eq!(folded(&place, "a", 20).await, expected);
    let facts = place.facts().await.len();
    assert!(facts <= 3, "a burst of 20 events was published {facts} times");
    end(runner).await;
}

/// More than is read at once, by an owner that finds it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_told_once() {
    let place = place(30_000).await;
    let expected: Vec<String> = (0..2_300).map(|n| format!("a-{n}")).collect();
    for text in &expected {
        place.send(&cluster_changed("a"), text).await;
    }
    let runner = run(place.bus.clone(), 0);
    assert_eq!(folded(&place, "a", expected.len()).await, expected);
    assert_eq!(place.facts().await.len(), 1);
    end(runner).await;
}

/// Two keys with the same content must not share a state that each deletes for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_with_equal_states_do_not_share_them() {
    let place = place(2000).await;
    let first = run(place.bus.clone(), 0);
    for key in ["x", "y"] {
        place.send(&cluster_changed(key), "same-0").await;
    }
    until("both", || async { place.facts().await.len() >= 2 }).await;
    place.send(&cluster_changed("x"), "x-1").await;
    until("the next", || async { place.facts().await.len() >= 3 }).await;
    end(first).await;
    // A new process loads the state of the other key.
    let second = run(place.other(2000).await, 0);
    place.send(&cluster_changed("y"), "y-1").await;
    until("the last", || async {
        place.facts().await.last().is_some_and(|fact| fact.ends_with("same-0,y-1"))
    })
    .await;
    end(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisonous_events_are_passed_over() {
    let place = place(2000).await;
    let texts = ["a-0", "bad", "a-1", "panic", "bad again", "a-2"];
    for text in texts {
        place.send(&cluster_changed("a"), text).await;
    }
    let runner = run(place.bus.clone(), 0);
    assert_eq!(folded(&place, "a", 3).await, ["a-0", "a-1", "a-2"]);
    let dead = place.stored("DEAD").await;
    let letters: Vec<&str> = dead.iter().map(|letter| letter.text.as_str()).collect();
    assert_eq!(letters, ["bad", "panic", "bad again"]);
    assert!(dead.iter().all(|letter| letter.subject == "dead.tape"));
    end(runner).await;
}

/// The owner is killed with the lease in its hand: another takes over when it ends, with the next fence, and starts
/// from the checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_owners_key_is_taken_over_from_the_checkpoint() {
    let place = place(1000).await;
    place.send(&cluster_changed("a"), "a-0").await;
    let mut owner = Worker::start(&place.url, "fold", "claim", &log_file("fold-owner"), "tape.leased:2");
    folded(&place, "a", 1).await;
    place.send(&cluster_changed("a"), "a-1").await;
    owner.died().await;
    let record = place.bus.records("clusters").get("tape.a").await.unwrap().unwrap();
    let held: v1::FoldRecord = record.decode().unwrap();
    assert!(held.lease_ms > 0 && held.owner != place.bus.owner());
    let runner = run(place.bus.clone(), 0);
    assert_eq!(folded(&place, "a", 2).await, ["a-0", "a-1"]);
    until("the checkpoint", || async {
        let record = place.bus.records("clusters").get("tape.a").await.unwrap().unwrap();
        let now: v1::FoldRecord = record.decode().unwrap();
        now.fence > held.fence && now.through_seq == 2 && now.owner == place.bus.owner()
    })
    .await;
    end(runner).await;
}

#[test]
#[should_panic(expected = "skipped")]
fn the_reader_of_facts_sees_a_gap() {
    tape(&["0 1 a-0".into(), "2 3 a-0,a-1".into()], "a");
}
