//! Parts of a fold's state that settle for themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use plimsoll_bus::fold::{self, Settling};
use plimsoll_bus::subjects::cluster_changed;
use tokio_util::sync::CancellationToken;

use crate::support::{Place, Worker, log_file, place, until};
use crate::toy::{Ledger, QUIET_MS};

const QUIET: i64 = QUIET_MS as i64;

/// A fact of the ledger.
#[derive(Debug, Clone)]
struct Said {
    number: u64,
    base: u64,
    target: u64,
    through: u64,
    all: bool,
    texts: Vec<String>,
}

fn said(fact: &str) -> Said {
    let words: Vec<&str> = fact.split_terminator(' ').collect();
    let number = |index: usize| words[index].parse().unwrap();
    Said {
        number: number(0),
        base: number(1),
        target: number(2),
        through: number(3),
        all: words[4] == "all",
        texts: words[5..].iter().map(|&word| word.to_owned()).collect(),
    }
}

/// The facts in the order in which they were published, and what a reader holds who takes those that are newer than what
/// it has.
async fn heard(place: &Place) -> (Vec<Said>, Vec<String>) {
    let facts: Vec<Said> =
        place.try_stored("FACTS").await.unwrap_or_default().iter().map(|m| said(&m.text)).collect();
    let (mut held, mut texts) = ((0, 0), Vec::new());
    for fact in &facts {
        if (fact.target, fact.number) <= held {
            continue;
        }
        assert!(fact.base <= held.0, "a checkpoint was skipped: {facts:?}");
        assert!(fact.through <= fact.target);
        held = (fact.target, fact.number);
        if fact.all {
            texts.clear();
        }
        texts.extend(fact.texts.iter().cloned());
    }
    (facts, texts)
}

/// When the events of a key were stored, by their texts.
async fn stored_at(place: &Place, key: &str) -> BTreeMap<String, i64> {
    let mut stream = place.js.get_stream("EVENTS").await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut times = BTreeMap::new();
    for seq in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(seq).await.unwrap();
        if message.subject.as_str() == cluster_changed(key) {
            let at = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap();
            times.insert(String::from_utf8_lossy(&message.payload).into_owned(), at);
        }
    }
    times
}

/// Sends events so that each is stored some milliseconds after the one before.
async fn send(place: &Place, key: &str, texts: &[&str]) -> BTreeMap<String, i64> {
    for text in texts {
        place.send(&cluster_changed(key), text).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    stored_at(place, key).await
}

async fn wait_for(place: &Place, text: &str) {
    until(text, || async { heard(place).await.1.iter().any(|known| known == text) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_part_is_told_while_another_is_busy() {
    let place = place(5000).await;
    let (clock, stop) = (Arc::new(AtomicI64::new(0)), CancellationToken::new());
    let settling = Settling::after(Duration::from_millis(QUIET_MS)).with_clock(Arc::clone(&clock));
    let running = tokio::spawn(fold::run(place.bus.clone(), Ledger, stop.clone(), settling));
    let set = |time: i64| clock.store(time, Ordering::SeqCst);

    let at = send(&place, "x", &["a:1", "b:1"]).await;
    set(at["b:1"] + QUIET - 1);
    wait_for(&place, "a:1").await;
    // `b` goes on; `c` came in between, and another cluster has nothing to do with either.
    let at = send(&place, "x", &["c:1", "b:2"]).await;
    let other = send(&place, "y", &["d:1"]).await;
    set(at["b:2"] + QUIET - 1);
    wait_for(&place, "c:1").await;
    set(at["b:2"] + QUIET);
    wait_for(&place, "b:2").await;
    set(other["d:1"] + QUIET);
    wait_for(&place, "d:1").await;
    // Busy for too long.
    let longest = i64::try_from(fold::LONGEST_BURST.as_millis()).unwrap();
    let at = send(&place, "x", &["b:3"]).await;
    set(at["b:3"] + QUIET - 1);
    let later = send(&place, "x", &["e:1", "*:1", "b:4"]).await;
    assert!(later["b:4"] < at["b:3"] + longest);
    set(later["*:1"] + QUIET);
    wait_for(&place, "*:1").await;
    set(later["b:4"] + QUIET);
    wait_for(&place, "b:4").await;

    let (facts, _) = heard(&place).await;
    let texts: Vec<String> = facts.iter().map(|fact| fact.texts.join(" ")).collect();
    let x: Vec<&str> = texts.iter().map(String::as_str).filter(|text| *text != "d:1").collect();
    assert_eq!(x, ["a:1", "c:1", "b:1 b:2", "b:3 e:1 *:1", "b:4"]);
    let through: Vec<(u64, u64, u64)> = facts
        .iter()
        .filter(|fact| fact.texts != ["d:1"])
        .map(|fact| (fact.base, fact.target, fact.through))
        .collect();
    // Sequences of x: 1 to 4, 6 to 9.
    assert_eq!(through, [(0, 1, 1), (1, 3, 1), (3, 4, 4), (4, 8, 8), (8, 9, 9)]);
    until("acknowledged events", || async {
        let stream = place.js.get_stream("EVENTS").await.unwrap();
        let info = stream.consumer_info("fold-ledger").await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
    assert!(facts.iter().all(|fact| !fact.all));
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// A checkpoint lists what is in it ahead of what waits. The list does not grow for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_passed_a_thousand_times_at_most() {
    let place = place(30_000).await;
    let (clock, stop) = (Arc::new(AtomicI64::new(0)), CancellationToken::new());
    let mut settling = Settling::after(Duration::from_millis(QUIET_MS)).with_clock(Arc::clone(&clock));
    settling.longest = Duration::from_secs(86_400);
    let running = tokio::spawn(fold::run(place.bus.clone(), Ledger, stop.clone(), settling));
    send(&place, "x", &["b:0"]).await;
    for (round, others) in [(1, 600), (2, 600), (3, 1)] {
        for n in 0..others {
            place.send(&cluster_changed("x"), &format!("a:{round}-{n}")).await;
        }
        let busy = format!("b:{round}");
        let at = send(&place, "x", &[&format!("a:{round}"), &busy]).await;
        clock.store(at[&busy] + QUIET - 1, Ordering::SeqCst);
        wait_for(&place, &format!("a:{round}")).await;
        let waited = heard(&place).await.1.iter().filter(|text| text.starts_with("b:")).count();
        assert_eq!(waited, if round < 3 { 0 } else { 4 });
    }
    until("a checkpoint of everything", || async {
        let record = place.bus.records("clusters").get("ledger.x").await.unwrap().unwrap();
        let record: plimsoll_proto::v1::FoldRecord = record.decode().unwrap();
        record.ahead.is_empty() && record.through_seq == 1 + 602 + 602 + 3
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Killed with one part told, or about to be, and another that waits: nothing is lost and nothing told twice.
async fn ledger_survives(label: &'static str) {
    let place = place(1000).await;
    let file = log_file(&format!("ledger-{label}"));
    let set = |path: &Path, time: i64| std::fs::write(path, time.to_string()).unwrap();
    let at = send(&place, "x", &["a:1", "b:1", "a:2", "b:2"]).await;
    let mut first = Worker::start(&place.url, "ledger", "claim", &file, &format!("ledger.{label}"));
    set(&file, at["b:2"] + QUIET - 1);
    first.died().await;
    let second = Worker::start(&place.url, "ledger", "claim", &file, "");
    if label == "checkpointed" {
        // The checkpoint is all that was told: what waits goes on waiting, with another owner too.
        assert_eq!(heard(&place).await.1, ["a:1", "a:2"]);
        let at = send(&place, "x", &["c:1", "b:3"]).await;
        set(&file, at["b:3"] + QUIET - 1);
        wait_for(&place, "c:1").await;
        assert_eq!(heard(&place).await.1, ["a:1", "a:2", "c:1"]);
        set(&file, at["b:3"] + QUIET);
        wait_for(&place, "b:3").await;
        assert_eq!(heard(&place).await.1, ["a:1", "a:2", "c:1", "b:1", "b:2", "b:3"]);
    } else {
        // What the dead owner told beyond its checkpoint is not known: everything is told, as a whole.
        wait_for(&place, "b:2").await;
        assert_eq!(heard(&place).await.1, ["a:1", "b:1", "a:2", "b:2"]);
        let at = send(&place, "x", &["b:3"]).await;
        set(&file, at["b:3"] + QUIET);
        wait_for(&place, "b:3").await;
        assert_eq!(heard(&place).await.1, ["a:1", "b:1", "a:2", "b:2", "b:3"]);
    }
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_survives_a_kill_at_each_point() {
    let labels = ["leased", "applied", "published", "checkpointed"];
    let cases = labels.map(|label| tokio::spawn(ledger_survives(label)));
    futures::future::join_all(cases).await.into_iter().for_each(|done| done.unwrap());
}

/// Two runners compete, and each is told of some of the events only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_fold_each_part_in_order() {
    let place = place(2000).await;
    let stop = CancellationToken::new();
    let runner =
        |bus| tokio::spawn(fold::run(bus, Ledger, stop.clone(), Settling::after(Duration::from_millis(20))));
    let runners = [runner(place.bus.clone()), runner(place.other(2000).await)];
    let parts = ["a", "b", "c", "a,b", "*"];
    let texts: Vec<String> = (0..60).map(|n| format!("{}:{n}", parts[n * 7 % 11 % 5])).collect();
    for text in &texts {
        place.send(&cluster_changed("x"), text).await;
    }
    until("all events", || async { heard(&place).await.1.len() >= texts.len() }).await;
    let (_, heard) = heard(&place).await;
    for part in ["a", "b", "c"] {
        let touches = |text: &&String| {
            let (parts, _) = text.split_once(':').unwrap();
            parts == "*" || parts.split(',').any(|one| one == part)
        };
        let (ours, expected): (Vec<_>, Vec<_>) =
            (heard.iter().filter(touches).collect(), texts.iter().filter(touches).collect());
        assert_eq!(ours, expected, "{part}");
    }
    stop.cancel();
    for runner in runners {
        runner.await.unwrap().unwrap();
    }
}
