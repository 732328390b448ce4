//! A process is killed at each labelled point and started again: the effects are those of an undisturbed run.

use std::collections::BTreeSet;

use futures::StreamExt;
use plimsoll_bus::Artifacts;
use plimsoll_bus::subjects::{Lane, cluster_changed};

use crate::support::{Place, Worker, log_file, place, runs, until};

const JOBS: [&str; 3] = ["one", "two", "three"];

fn expected() -> Vec<String> {
    JOBS.iter().flat_map(|job| [format!("did {job}"), format!("also {job}")]).collect()
}

async fn stage_survives(guard: &str, label: &str) {
    let case = format!("{guard}-{label}");
    let place = place(1000).await;
    let log = log_file(&case);
    for job in JOBS {
        place.push(Lane::Hot, job).await;
    }
    let mut first = Worker::start(&place.url, "stage", guard, &log, &format!("toy.{label}"));
    first.died().await;
    let _second = Worker::start(&place.url, "stage", guard, &log, "");
    place.done(&expected()).await;

    let facts = place.facts().await;
    let effects: BTreeSet<String> = facts.iter().cloned().collect();
    assert_eq!(effects, expected().into_iter().collect(), "{case}");
    assert!(place.stored("DEAD").await.is_empty(), "{case}");
    for job in JOBS {
        let ran = runs(&log, job);
        // With four slots, all three may be in hand at the kill.
        assert!((1..=2).contains(&ran), "{case}: {job} ran {ran} times");
        let copies = facts.iter().filter(|f| **f == format!("did {job}")).count();
        assert!((1..=2).contains(&copies), "{case}: {job} was published {copies} times");
        if matches!(label, "received" | "claimed") {
            assert_eq!(copies, 1, "{case}: nothing was published before the kill");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_survives_a_kill_at_each_point() {
    let labels = ["received", "claimed", "ran", "recorded", "published", "acked"];
    let cases = ["claim", "effect"].into_iter().flat_map(|guard| labels.map(|label| (guard, label)));
    let cases = cases.map(|(guard, label)| tokio::spawn(stage_survives(guard, label)));
    futures::stream::iter(cases).buffer_unordered(4).for_each(async |done| done.unwrap()).await;
}

/// Once outputs are recorded, a restart publishes them and does not work again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_work_is_not_done_again() {
    for label in ["recorded", "published"] {
        let place = place(1000).await;
        let log = log_file(&format!("recorded-{label}"));
        place.push(Lane::Hot, "one").await;
        let mut first = Worker::start(&place.url, "stage", "claim", &log, &format!("toy.{label}"));
        first.died().await;
        let _second = Worker::start(&place.url, "stage", "claim", &log, "");
        place.done(&["did one".into(), "also one".into()]).await;
        assert_eq!(runs(&log, "one"), 1, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_after_the_dead_letter_makes_no_second_one() {
    for guard in ["claim", "effect"] {
        let place = place(1000).await;
        let log = log_file(&format!("buried-{guard}"));
        place.push(Lane::Hot, "hopeless").await;
        let mut first = Worker::start(&place.url, "stage", guard, &log, "toy.buried");
        first.died().await;
        let _second = Worker::start(&place.url, "stage", guard, &log, "");
        place.done(&["failed hopeless corrupt".into()]).await;
        let dead = place.stored("DEAD").await;
        assert_eq!(dead.len(), 1, "{guard}");
        assert_eq!(dead[0].header("Plimsoll-Code"), "corrupt");
        assert_eq!(dead[0].header("Plimsoll-Subject"), "jobs.toy.hot");
        assert_eq!((dead[0].subject.as_str(), dead[0].text.as_str()), ("dead.toy", "hopeless"));
    }
}

/// Attempts are counted before the work, so a job that kills its worker ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_worker_ends_as_a_dead_letter() {
    for guard in ["claim", "effect"] {
        let place = place(1000).await;
        let log = log_file(&format!("abort-{guard}"));
        place.push(Lane::Hot, "abort").await;
        for _ in 0..2 {
            Worker::start(&place.url, "stage", guard, &log, "").died().await;
        }
        let mut last = Worker::start(&place.url, "stage", guard, &log, "");
        place.done(&["failed abort attempts_exhausted".into()]).await;
        assert!(last.alive());
        assert_eq!(runs(&log, "abort"), 2);
        assert_eq!(place.stored("DEAD").await[0].header("Plimsoll-Code"), "attempts_exhausted");
    }
}

/// Reads `facts.tape` as the aggregator does: a fact is taken if its target is newer. Its base may lie before what we
/// hold, since an owner may die between publishing and its checkpoint, but never after it.
pub fn tape(facts: &[String], first: &str) -> Vec<String> {
    let (mut held, mut state) = (0u64, String::new());
    for fact in facts {
        let mut parts = fact.splitn(3, ' ');
        let base: u64 = parts.next().unwrap().parse().unwrap();
        let target: u64 = parts.next().unwrap().parse().unwrap();
        let said = parts.next().unwrap();
        if !said.starts_with(first) || target <= held {
            continue;
        }
        assert!(base <= held, "a checkpoint was skipped: {facts:?}");
        assert!(said.starts_with(&state), "events were lost or reordered: {facts:?}");
        (held, state) = (target, said.to_owned());
    }
    state.split(',').map(str::to_owned).collect()
}

/// Waits until the fold of `key` has come to `count` events.
pub async fn folded(place: &Place, first: &str, count: usize) -> Vec<String> {
    let last = format!("{first}-{}", count - 1);
    until("the fold", || async {
        let Some(facts) = place.try_stored("FACTS").await else { return false };
        facts.iter().any(|f| f.text.contains(&last))
    })
    .await;
    let facts: Vec<String> = place
        .stored("FACTS")
        .await
        .into_iter()
        .filter(|m| m.subject == "facts.tape")
        .map(|m| m.text)
        .collect();
    tape(&facts, first)
}

async fn fold_survives(label: &str) {
    let place = place(1000).await;
    let log = log_file(&format!("fold-{label}"));
    let expected: Vec<String> = (0..6).map(|n| format!("a-{n}")).collect();
    for text in &expected[..3] {
        place.send(&cluster_changed("a"), text).await;
    }
    let mut first = Worker::start(&place.url, "fold", "claim", &log, &format!("tape.{label}"));
    first.died().await;
    for text in &expected[3..] {
        place.send(&cluster_changed("a"), text).await;
    }
    let _second = Worker::start(&place.url, "fold", "claim", &log, "");
    assert_eq!(folded(&place, "a", 6).await, expected, "{label}");
    let artifacts: Artifacts = place.bus.artifacts();
    // A kill between the checkpoint and the deletion leaves one to the collector.
    until("one state", || async { artifacts.list("state").await.is_ok_and(|names| names.len() <= 2) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_survives_a_kill_at_each_point() {
    let cases = ["leased", "applied", "published", "checkpointed"].map(|l| tokio::spawn(fold_survives(l)));
    futures::future::join_all(cases).await.into_iter().for_each(|done| done.unwrap());
}
