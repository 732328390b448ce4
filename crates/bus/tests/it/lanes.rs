//! What is pulled, and in which order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{Guard, Limits};

use crate::support::{place, until};
use crate::toy::{Toy, limits};

async fn order(slots: usize, hot: usize, bulk: usize, hint: usize) -> Vec<Lane> {
    let place = place(5000).await;
    for (lane, count) in [(Lane::Hint, hint), (Lane::Bulk, bulk), (Lane::Hot, hot)] {
        for n in 0..count {
            place.push(lane, &format!("{lane} {n}")).await;
        }
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let toy = Toy::new(Limits { slots, ..limits(Guard::Effect) }, move |cx, _| {
        seen.lock().unwrap().push(cx.lane());
        async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(vec![])
        }
    });
    let stage = place.start(toy).await;
    place.idle().await;
    stage.drain().await;
    let order = order.lock().unwrap().clone();
    assert_eq!(order.len(), hot + bulk + hint);
    order
}

#[tokio::test]
async fn hot_work_is_first_and_bulk_is_never_starved() {
    for slots in [1, 8] {
        let order = order(slots, 64, 8, 4).await;
        let hot_ends = order.iter().rposition(|&lane| lane == Lane::Hot).unwrap();
        let bulk_before = order[..hot_ends].iter().filter(|&&lane| lane == Lane::Bulk).count();
        assert!(bulk_before >= 4, "{slots} slots: bulk waited for all hot work: {order:?}");
        let early = &order[..16];
        let hot_early = early.iter().filter(|&&lane| lane == Lane::Hot).count();
        assert!(hot_early >= 12, "{slots} slots: hot work is not first: {order:?}");
        let first_hint = order.iter().position(|&lane| lane == Lane::Hint).unwrap();
        assert!(first_hint + slots > hot_ends, "{slots} slots: a hint was before hot work: {order:?}");
    }
}

/// Neither the work in hand nor what the server believes to be delivered is ever more than the slots.
#[tokio::test]
async fn no_more_is_pulled_than_there_are_slots() {
    const SLOTS: usize = 3;
    let place = place(5000).await;
    for n in 0..30 {
        let lane = [Lane::Hot, Lane::Bulk, Lane::Hint][n % 3];
        place.push(lane, &format!("job {n}")).await;
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (working, peak) = (Arc::clone(&now), Arc::clone(&most));
    let toy = Toy::new(Limits { slots: SLOTS, ..limits(Guard::Effect) }, move |_, _| {
        let (now, most) = (Arc::clone(&working), Arc::clone(&peak));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(60)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(vec![])
        }
    });
    let stage = place.start(toy).await;
    let jobs = place.js.get_stream("JOBS").await.unwrap();
    let pending = AtomicUsize::new(0);
    until("an empty queue", || async {
        let mut sum = 0;
        for lane in ["toy-hot", "toy-bulk", "toy-hint"] {
            sum += jobs.consumer_info(lane).await.map_or(0, |info| info.num_ack_pending);
        }
        // The three are not read at one time: what was acknowledged meanwhile may be counted with what replaced it.
        pending.fetch_max(sum, Ordering::SeqCst);
        place.queued().await == Some(0)
    })
    .await;
    stage.drain().await;
    assert_eq!(most.load(Ordering::SeqCst), SLOTS);
    let pending = pending.load(Ordering::SeqCst);
    assert!(pending <= 2 * SLOTS, "{pending} messages were pulled for {SLOTS} slots");
}

/// With one source, what the server counts is exact.
#[tokio::test]
async fn pulled_messages_do_not_wait_in_the_client() {
    let place = place(5000).await;
    for n in 0..12 {
        place.push(Lane::Hot, &format!("job {n}")).await;
    }
    let mut toy = Toy::new(Limits { slots: 2, ..limits(Guard::Effect) }, |_, _| async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        Ok(vec![])
    });
    toy.lanes = vec![Lane::Hot];
    let stage = place.start(toy).await;
    let jobs = place.js.get_stream("JOBS").await.unwrap();
    until("an empty queue", || async {
        let pending = jobs.consumer_info("toy-hot").await.map_or(0, |info| info.num_ack_pending);
        assert!(pending <= 2, "{pending} messages were pulled for 2 slots");
        place.queued().await == Some(0)
    })
    .await;
    stage.drain().await;
}

/// An idle stage waits at every source, not at the first alone.
#[tokio::test]
async fn work_of_any_lane_wakes_an_idle_stage() {
    let place = place(5000).await;
    let toy = Toy::new(limits(Guard::Effect), |_, input| async { Ok(vec![crate::toy::fact(input)]) });
    let stage = place.start(toy).await;
    for lane in [Lane::Hint, Lane::Bulk, Lane::Hot] {
        place.push(lane, lane.as_str()).await;
        place.done(&[lane.as_str().to_owned()]).await;
    }
    stage.drain().await;
    assert_eq!(place.facts().await, ["hint", "bulk", "hot"]);
}
