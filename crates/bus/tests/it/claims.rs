//! Who does the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll_bus::claims::{Claimed, Claims, WorkKey};
use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{Guard, Records};
use plimsoll_proto::v1;
use prost::Message;
use tokio::sync::Notify;

use crate::attempts::claim_key;
use crate::support::{place, until};
use crate::toy::{Toy, fact, limits};

#[tokio::test]
async fn the_same_work_queued_in_bulk_and_pushed_hot_is_done_once() {
    let place = place(2000).await;
    for n in 0..5 {
        place.push(Lane::Bulk, &format!("digest {n}")).await;
        place.push(Lane::Hot, &format!("digest {n}")).await;
        place.push(Lane::Hot, &format!("digest {n}")).await;
    }
    let count = Arc::new(AtomicU32::new(0));
    let act = {
        let count = Arc::clone(&count);
        move |_, input: String| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(vec![fact(input)])
            }
        }
    };
    let here = place.start(Toy::new(limits(Guard::Claim), act.clone())).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let there = plimsoll_bus::stage::start(
        place.other(2000).await,
        Toy::new(limits(Guard::Claim), act),
        stop.clone(),
        Duration::from_secs(5),
    )
    .await
    .unwrap();
    let expected: Vec<String> = (0..5).map(|n| format!("digest {n}")).collect();
    place.done(&expected).await;
    here.drain().await;
    stop.cancel();
    there.drained().await;
    assert_eq!(count.load(Ordering::SeqCst), 5, "work was done twice");
}

fn ours(claimed: Claimed) -> plimsoll_bus::claims::Held {
    match claimed {
        Claimed::Ours(held) => held,
        other => panic!("not ours: {other:?}"),
    }
}

#[tokio::test]
async fn a_claim_whose_owner_died_is_taken_over_after_its_lease() {
    let place = place(2000).await;
    let other = place.other(2000).await;
    let key = WorkKey::of(&["work"]);
    // This owner never renews: it is dead.
    let dead = Claims::new(&place.bus, "toy", 1000);
    let mut lost = ours(dead.claim(&key, "").await.unwrap());
    assert_eq!((lost.claim.fence, lost.claim.attempts), (1, 1));
    let alive = Claims::new(&other, "toy", 60_000);
    match alive.claim(&key, "").await.unwrap() {
        Claimed::Busy { left_ms } => assert!((1..=1000).contains(&left_ms), "{left_ms}"),
        // The machine was busy for a second.
        Claimed::Ours(_) => return,
        Claimed::Done(_) => panic!("nothing is done"),
    }
    until("the take-over", || {
        let claim = alive.claim(&key, "");
        async move { matches!(claim.await, Ok(Claimed::Ours(_))) }
    })
    .await;
    let record: v1::Claim =
        other.records("claims").get(&alive.record_key(&key)).await.unwrap().unwrap().decode().unwrap();
    assert_eq!((record.fence, record.attempts, record.owner.as_str()), (2, 2, other.owner()));
    // The old owner is fenced, whatever it tries.
    assert!(!dead.renew(&mut lost).await.unwrap());
    assert!(!dead.finish(&mut lost, vec![]).await.unwrap());
    assert!(!dead.release(&mut lost, "late").await.unwrap());
    assert!(!dead.forget(&lost).await.unwrap());
}

/// A write whose acknowledgement was lost is not a take-over.
#[tokio::test]
async fn an_owner_knows_its_own_write_again() {
    let place = place(2000).await;
    let claims = Claims::new(&place.bus, "toy", 60_000);
    let mut held = ours(claims.claim(&WorkKey::of(&["work"]), "").await.unwrap());
    let mut behind = held.clone();
    assert!(claims.renew(&mut held).await.unwrap());
    assert!(claims.renew(&mut behind).await.unwrap());
    let outputs = vec![v1::ClaimOutput { subject: "facts.toy".into(), ..Default::default() }];
    assert!(claims.finish(&mut held, outputs.clone()).await.unwrap());
    assert!(claims.finish(&mut behind, outputs).await.unwrap());
}

#[tokio::test]
async fn exactly_one_of_many_claims() {
    let place = place(2000).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let claims = Claims::new(&place.bus, "toy", 60_000);
        tasks.spawn(async move {
            let key = WorkKey::of(&["work", &(n % 2).to_string()]);
            matches!(claims.claim(&key, "").await.unwrap(), Claimed::Ours(_))
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|&ours| ours).count(), 2);
}

async fn steal(records: &Records, key: &str) {
    let record = records.get(key).await.unwrap().unwrap();
    let mut claim: v1::Claim = record.decode().unwrap();
    claim.owner = "thief".into();
    claim.fence += 1;
    claim.lease_ms = 600_000;
    // The rightful owner may renew in between.
    if records.update(key, &claim.encode_to_vec(), record.revision).await.unwrap().is_none() {
        Box::pin(steal(records, key)).await;
    }
}

/// An owner that lost its lease publishes nothing and leaves the message alone; when the new owner is done, the
/// message brings the recorded outputs.
#[tokio::test]
async fn a_lost_lease_stops_the_old_owner() {
    // Lost while it runs, and lost at the very end.
    for at_the_end in [false, true] {
        let place = place(1000).await;
        place.push(Lane::Hot, "work").await;
        let records = place.bus.records("claims");
        let (stolen, cancelled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let toy = {
            let (records, stolen, cancelled) = (records.clone(), Arc::clone(&stolen), Arc::clone(&cancelled));
            Toy::new(limits(Guard::Claim), move |cx, _| {
                let (records, stolen, cancelled) =
                    (records.clone(), Arc::clone(&stolen), Arc::clone(&cancelled));
                async move {
                    steal(&records, &claim_key("work")).await;
                    stolen.notify_one();
                    if !at_the_end {
                        let token = cx.cancelled().clone();
                        tokio::spawn(async move {
                            token.cancelled().await;
                            cancelled.notify_one();
                        });
                        std::future::pending::<()>().await;
                    }
                    Ok(vec![fact("the old owner's")])
                }
            })
        };
        let stage = place.start(toy).await;
        stolen.notified().await;
        if !at_the_end {
            cancelled.notified().await;
        }
        // The new owner finishes.
        let record = records.get(&claim_key("work")).await.unwrap().unwrap();
        let mut claim: v1::Claim = record.decode().unwrap();
        assert_eq!(claim.owner, "thief");
        claim.state = "done".into();
        claim.outputs = vec![v1::ClaimOutput {
            subject: "facts.toy".into(),
            payload: b"the new owner's".to_vec(),
            artifact: String::new(),
        }];
        assert!(
            records
                .update(&claim_key("work"), &claim.encode_to_vec(), record.revision)
                .await
                .unwrap()
                .is_some()
        );
        place.done(&["the new owner's".into()]).await;
        stage.drain().await;
        assert_eq!(place.facts().await, ["the new owner's"]);
    }
}

#[tokio::test]
async fn outputs_beyond_a_record_are_kept_aside() {
    let place = place(2000).await;
    place.push(Lane::Hot, "wide").await;
    place.push(Lane::Bulk, "wide").await;
    let toy = Toy::new(limits(Guard::Claim), |_, _| async {
        Ok((0..60).map(|n| fact(format!("{n} {}", "x".repeat(30_000)))).collect())
    });
    let stage = place.start(toy).await;
    place.idle().await;
    stage.drain().await;
    let facts = place.facts().await;
    assert_eq!(facts.len(), 120);
    for half in facts.chunks(60) {
        for (n, fact) in half.iter().enumerate() {
            assert!(fact.starts_with(&format!("{n} x")), "the order is the stage's");
        }
    }
}
