//! How an attempt ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{Failure, Guard, Limits, Outgoing, Settings};
use plimsoll_proto::v1;
use tokio::sync::Notify;

use crate::support::{BOUND, Place, place, until};
use crate::toy::{self, Toy, fact, limits};

const GUARDS: [Guard; 2] = [Guard::Claim, Guard::Effect];

fn counter() -> (Arc<AtomicU32>, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    (Arc::clone(&count), count)
}

#[tokio::test]
async fn a_message_that_does_not_decode_is_a_dead_letter_and_the_worker_goes_on() {
    let place = place(2000).await;
    for job in ["bad\r\nNats-Msg-Id: injected", "decode-panic", "good"] {
        place.push(Lane::Hot, job).await;
    }
    let toy = Toy::new(limits(Guard::Effect), |_, input| async move { Ok(vec![fact(input)]) });
    let stage = place.start(toy).await;
    place.done(&["good".into()]).await;
    stage.drain().await;
    let mut dead: Vec<(String, String)> = place
        .stored("DEAD")
        .await
        .iter()
        .map(|m| (m.header("Plimsoll-Code").to_owned(), m.text.clone()))
        .collect();
    dead.sort();
    let expected = [("bad_message", "bad\r\nNats-Msg-Id: injected"), ("panic", "decode-panic")];
    assert_eq!(dead, expected.map(|(code, text)| (code.to_owned(), text.to_owned())));
    // The reason came from the message, and stayed on its line.
    let letters = place.stored("DEAD").await;
    let letter = letters.iter().find(|m| m.header("Plimsoll-Code") == "bad_message").unwrap();
    assert!(letter.header("Plimsoll-Detail").contains("Nats-Msg-Id: injected"));
    assert_ne!(letter.header("Nats-Msg-Id"), "injected");
    assert_eq!(letter.headers.iter().count(), 4, "{:?}", letter.headers);
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_later_and_later() {
    for guard in GUARDS {
        let place = place(2000).await;
        let times = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        place.push(Lane::Hot, "job").await;
        let toy = Toy::new(limits(guard), move |cx, _| {
            let times = Arc::clone(&seen);
            async move {
                times.lock().unwrap().push((cx.attempt(), Instant::now()));
                if cx.attempt() < 4 {
                    return Err(Failure::transient("unavailable", "as asked"));
                }
                Ok(vec![fact("done")])
            }
        });
        let stage = place.start(toy).await;
        place.done(&["done".into()]).await;
        stage.drain().await;
        let times = times.lock().unwrap().clone();
        assert_eq!(times.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2, 3, 4], "{guard:?}");
        // 20, 80 and 320 ms with a jitter of an eighth; only the least is promised.
        for (pair, least) in times.windows(2).zip([17, 70, 280]) {
            let waited = pair[1].1 - pair[0].1;
            assert!(waited >= Duration::from_millis(least), "{guard:?}: {waited:?} is less than {least} ms");
        }
        assert!(place.stored("DEAD").await.is_empty());
    }
}

#[tokio::test]
async fn attempts_end_with_the_last_code() {
    for guard in GUARDS {
        let place = place(2000).await;
        place.push(Lane::Hot, "job").await;
        let (count, seen) = counter();
        let toy = Toy::new(limits(guard), move |_, _| {
            seen.fetch_add(1, Ordering::SeqCst);
            async { Err(Failure::transient("unavailable", "as asked")) }
        });
        let stage = place.start(toy).await;
        place.done(&["failed job unavailable".into()]).await;
        stage.drain().await;
        assert_eq!(count.load(Ordering::SeqCst), 4);
        assert_eq!(place.stored("DEAD").await[0].header("Plimsoll-Code"), "unavailable");
        // The failure is not recorded against the content: asked anew, it is tried anew.
        assert!(place.bus.records("claims").get(&claim_key("job")).await.unwrap().is_none());
    }
}

pub fn claim_key(input: &str) -> String {
    format!("toy.{}", plimsoll_bus::claims::WorkKey::of(&["toy", "1", input]).as_str())
}

#[tokio::test]
async fn a_panic_is_one_transient_then_permanent() {
    for guard in GUARDS {
        let place = place(2000).await;
        place.push(Lane::Hot, "always").await;
        place.push(Lane::Hot, "once").await;
        place.push(Lane::Hot, "failed-panic").await;
        let (count, seen) = counter();
        let toy = Toy::new(limits(guard), move |cx, input| {
            let seen = Arc::clone(&seen);
            async move {
                if input == "always" {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                assert!(input == "once" && cx.attempt() > 1, "as asked");
                Ok(vec![fact("recovered")])
            }
        });
        let stage = place.start(toy).await;
        place.done(&["failed always panic".into(), "recovered".into()]).await;
        stage.drain().await;
        assert_eq!(count.load(Ordering::SeqCst), 2, "{guard:?}");
        assert_eq!(place.stored("DEAD").await.len(), 2);
    }
}

#[tokio::test]
async fn superseded_work_ends_without_a_trace() {
    for guard in GUARDS {
        let place = place(2000).await;
        place.push(Lane::Hot, "old").await;
        let stage = place.start(Toy::new(limits(guard), |_, _| async { Err(Failure::Superseded) })).await;
        place.idle().await;
        stage.drain().await;
        assert!(place.facts().await.is_empty());
        assert!(place.stored("DEAD").await.is_empty());
        assert!(place.bus.records("claims").get(&claim_key("old")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn stalls_and_deadlines_end_attempts() {
    for (code, bounds) in [
        ("stalled", Limits { stall: Duration::from_millis(300), attempts: 2, ..limits(Guard::Claim) }),
        ("deadline", Limits { deadline: Duration::from_millis(300), attempts: 2, ..limits(Guard::Effect) }),
    ] {
        let place = place(1000).await;
        place.push(Lane::Hot, "stuck").await;
        let toy = Toy::new(bounds, |cx, _| async move {
            let _gate = (cx.attempt() > 100).then(|| cx.gate());
            std::future::pending().await
        });
        let stage = place.start(toy).await;
        place.done(&[format!("failed stuck {code}")]).await;
        stage.drain().await;
    }
}

/// Work that says that it moves, or that it waits at a gate, goes on for many times the stall limit and `ack_wait`,
/// and its message is not delivered again.
#[tokio::test]
async fn progress_and_gates_keep_work_and_message() {
    for guard in GUARDS {
        let place = place(1000).await;
        place.push(Lane::Hot, "moving").await;
        place.push(Lane::Hot, "gated").await;
        let bounds = Limits { stall: Duration::from_millis(900), ..limits(guard) };
        let (count, seen) = counter();
        let toy = Toy::new(bounds, move |cx, input| {
            seen.fetch_add(1, Ordering::SeqCst);
            async move {
                let gate = (input == "gated").then(|| cx.gate());
                for _ in 0..30 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if gate.is_none() {
                        cx.progress();
                    }
                }
                Ok(vec![fact(input)])
            }
        });
        let stage = place.start(toy).await;
        place.done(&["moving".into(), "gated".into()]).await;
        stage.drain().await;
        assert_eq!(count.load(Ordering::SeqCst), 2, "{guard:?}: delivered again");
        assert_eq!(place.facts().await.len(), 2);
    }
}

#[tokio::test]
async fn a_long_wait_is_a_scheduled_message_that_the_server_delivers() {
    let place = place(2000).await;
    let settings = Settings {
        retry_step: Duration::from_secs(3),
        longest_nak: Duration::from_millis(500),
        ..toy::settings(&place.url, "test", Duration::from_secs(2))
    };
    let place = Place::of(&place.url.clone(), toy::connect(settings).await).await;
    // Large, so that the scheduled message carries a reference.
    let payload = "long ".repeat(20_000);
    place.push(Lane::Bulk, &payload).await;
    let expected = payload.clone();
    let toy = Toy::new(limits(Guard::Claim), move |cx, input| {
        assert_eq!(input, expected);
        async move {
            if cx.attempt() == 1 {
                return Err(Failure::transient("unavailable", "as asked"));
            }
            assert_eq!(cx.lane(), Lane::Bulk);
            Ok(vec![fact(format!("attempt {}", cx.attempt()))])
        }
    });
    let stage = place.start(toy).await;
    until("the scheduled message", || async {
        let stored = place.stored("LATER").await;
        place.queued().await == Some(0)
            && stored.len() == 1
            && stored[0].subject.starts_with("schedule.")
            && stored[0].header("Nats-Schedule-Target") == "later.toy.bulk"
            && !stored[0].header("Plimsoll-Artifact").is_empty()
    })
    .await;
    let jobs = place.js.get_stream("JOBS").await.unwrap();
    let consumer = jobs.consumer_info("toy-bulk").await.unwrap();
    assert_eq!(consumer.num_ack_pending, 0, "a long wait does not fill max_ack_pending");
    place.done(&["attempt 2".into()]).await;
    stage.drain().await;
    assert!(place.stored("LATER").await.is_empty());
}

#[tokio::test]
async fn draining_finishes_what_is_in_hand() {
    let place = place(2000).await;
    place.push(Lane::Hot, "in hand").await;
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (began, release) = (Arc::clone(&started), Arc::clone(&go));
    let toy = Toy::new(limits(Guard::Claim), move |_, input| {
        let (began, release) = (Arc::clone(&began), Arc::clone(&release));
        async move {
            began.notify_one();
            release.notified().await;
            Ok(vec![fact(input)])
        }
    });
    let stage = place.start(toy).await;
    started.notified().await;
    stage.stop.cancel();
    place.push(Lane::Hot, "later").await;
    // Only now may it end: draining waits for it.
    go.notify_one();
    stage.drain().await;
    assert_eq!(place.facts().await, ["in hand"]);
    assert_eq!(place.queued().await, Some(1));
}

/// Grace over: the work is given back at once and costs no attempt.
#[tokio::test]
async fn draining_gives_back_what_does_not_end() {
    for guard in GUARDS {
        // With this ack_wait, only a give-back brings the message again within the bound.
        let place = place(600_000).await;
        place.push(Lane::Hot, "endless").await;
        let started = Arc::new(Notify::new());
        let began = Arc::clone(&started);
        let toy = Toy::new(limits(guard), move |_, _| {
            began.notify_one();
            std::future::pending()
        });
        let stop = tokio_util::sync::CancellationToken::new();
        let grace = Duration::from_millis(100);
        let running = plimsoll_bus::stage::start(place.bus.clone(), toy, stop.clone(), grace).await.unwrap();
        started.notified().await;
        if guard == Guard::Claim {
            let claim: v1::Claim = place
                .bus
                .records("claims")
                .get(&claim_key("endless"))
                .await
                .unwrap()
                .unwrap()
                .decode()
                .unwrap();
            assert_eq!((claim.attempts, claim.fence), (1, 1));
        }
        stop.cancel();
        tokio::time::timeout(BOUND, running.drained()).await.unwrap();
        let toy = Toy::new(limits(guard), |cx, _| async move { Ok(vec![fact(cx.attempt().to_string())]) });
        let stage = place.start(toy).await;
        let attempt = if guard == Guard::Claim { "1" } else { "2" };
        place.done(&[attempt.to_owned()]).await;
        stage.drain().await;
        assert!(place.stored("DEAD").await.is_empty());
    }
}

/// Outputs that nobody takes are waited for, and no attempt is spent.
#[tokio::test]
async fn a_full_queue_holds_the_stage_that_fills_it() {
    let place = place(1000).await;
    let settings =
        Settings { queue_bytes: 300_000, ..toy::settings(&place.url, "test", Duration::from_secs(1)) };
    let place = Place::of(&place.url.clone(), toy::connect(settings).await).await;
    let filler = "x".repeat(40_000);
    while place
        .bus
        .publish(
            &Outgoing { subject: "jobs.other.hot".into(), payload: filler.clone().into_bytes() },
            &format!("fill-{}", place.queued().await.unwrap()),
            &[],
        )
        .await
        .is_ok()
    {}
    // Nothing large fits, but the small job does.
    place.push(Lane::Hot, "job").await;
    let (count, seen) = counter();
    let body = filler.clone();
    let toy = Toy::new(limits(Guard::Effect), move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
        let message = Outgoing { subject: "jobs.next.hot".into(), payload: body.clone().into_bytes() };
        async { Ok(vec![message, fact("through")]) }
    });
    let stage = place.start(toy).await;
    until("the attempt", || async { count.load(Ordering::SeqCst) > 0 }).await;
    // More than ack_wait: the heartbeat holds the message meanwhile.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(place.facts().await.is_empty());
    let jobs = place.js.get_stream("JOBS").await.unwrap();
    jobs.purge().filter("jobs.other.hot").await.unwrap();
    until("the outputs", || async { place.facts().await == ["through"] }).await;
    stage.drain().await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
