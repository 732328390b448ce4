//! Publishing, records, artifacts, questions.

use std::time::Duration;

use plimsoll_bus::batches::{Batches, replay};
use plimsoll_bus::connection::message_id;
use plimsoll_bus::service::Refusal;
use plimsoll_bus::subjects::Lane;
use plimsoll_bus::tail::From;
use plimsoll_bus::{BusError, Guard, Outgoing};
use plimsoll_proto::v1;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{BOUND, place};
use crate::toy::{Toy, fact, limits};

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

#[tokio::test]
async fn an_id_that_is_taken_is_an_error() {
    let place = place(2000).await;
    let message = fact("first");
    assert_eq!(place.bus.publish(&message, "one", &[]).await.unwrap(), 1);
    let again = place.bus.publish(&message, "one", &[]).await;
    assert!(matches!(again, Err(BusError::Duplicate { .. })), "{again:?}");
    assert_eq!(place.facts().await.len(), 1);
}

/// An output whose id the server knows from somebody else is published under another, and never lost.
#[tokio::test]
async fn an_output_is_not_taken_for_one_that_was_sent_before() {
    let place = place(2000).await;
    place.push(Lane::Hot, "job").await;
    let key = plimsoll_bus::claims::WorkKey::of(&["toy", "1", "job"]);
    let (index, delivered) = (0u64.to_le_bytes(), 1u64.to_le_bytes());
    let id = message_id(&[b"facts.toy", key.as_str().as_bytes(), b"JOBS/1", &index, &delivered]);
    place.bus.publish(&fact("somebody else's"), &id, &[]).await.unwrap();
    let toy = Toy::new(limits(Guard::Effect), |_, _| async { Ok(vec![fact("ours")]) });
    let stage = place.start(toy).await;
    place.idle().await;
    stage.drain().await;
    assert_eq!(place.facts().await, ["somebody else's", "ours"]);
}

#[tokio::test]
async fn hostile_text_cannot_inject() {
    let place = place(2000).await;
    let message = fact("x");
    for text in ["a\r\nNats-Rollup: all", "a\nb", "a\rb"] {
        let sent = place.bus.publish(&message, "id", &[("Plimsoll-Note", text)]).await;
        assert!(matches!(sent, Err(BusError::Header)), "{text:?}: {sent:?}");
        assert!(matches!(place.bus.publish(&message, text, &[]).await, Err(BusError::Header)));
        assert!(matches!(place.bus.publish(&message, "id", &[(text, "v")]).await, Err(BusError::Header)));
        let subject = Outgoing { subject: format!("facts.{text}"), payload: vec![] };
        assert!(place.bus.publish(&subject, "id", &[]).await.is_err());
    }
    let records = place.bus.records("control");
    for key in ["", ".", "a..b", "*", "a.>", "a b", "a\r\nPUB x 0", "é", "a/b", &"x".repeat(600)] {
        assert!(matches!(records.get(key).await, Err(BusError::Key(_))), "{key:?}");
        assert!(matches!(records.create(key, b"").await, Err(BusError::Key(_))), "{key:?}");
    }
    assert!(place.facts().await.is_empty());
}

#[tokio::test]
async fn artifacts_of_any_size() {
    let place = place(2000).await;
    let artifacts = place.bus.artifacts();
    for (size, bytes) in
        [(0, vec![]), (5, b"small".to_vec()), (3 << 20, vec![7; 3 << 20]), (2 << 20, noise(2 << 20))]
    {
        let name = artifacts.put("test", &bytes).await.unwrap();
        assert_eq!(artifacts.put("test", &bytes).await.unwrap(), name, "the name is the content's");
        assert!(artifacts.exists(&name).await.unwrap());
        assert_eq!(artifacts.get(&name).await.unwrap().unwrap(), bytes, "{size}");
    }
    let names = artifacts.list("test").await.unwrap();
    assert_eq!(names.len(), 4);
    for name in names {
        artifacts.delete(&name).await.unwrap();
        artifacts.delete(&name).await.unwrap();
        assert!(artifacts.get(&name).await.unwrap().is_none());
        assert!(!artifacts.exists(&name).await.unwrap());
    }
    assert!(artifacts.list("test").await.unwrap().is_empty());
    assert_eq!(place.js.get_stream("KV_blobs").await.unwrap().cached_info().state.messages, 0);
    assert_eq!(place.js.get_stream("OBJ_artifacts").await.unwrap().cached_info().state.messages, 0);
    // A name may be given again after it was deleted.
    for bytes in [b"small".to_vec(), noise(2 << 20)] {
        let name = artifacts.put("test", &bytes).await.unwrap();
        assert_eq!(artifacts.get(&name).await.unwrap().unwrap(), bytes);
    }
}

#[tokio::test]
async fn chunks_of_an_upload_that_was_cut_short_are_found() {
    let place = place(2000).await;
    let artifacts = place.bus.artifacts();
    let whole = artifacts.put("test", &noise(2 << 20)).await.unwrap();
    assert!(artifacts.unfinished().await.unwrap().is_empty());
    for chunk in [noise(1000), noise(2000)] {
        place.js.publish("$O.artifacts.C.cutshort", chunk.into()).await.unwrap().await.unwrap();
    }
    assert_eq!(artifacts.unfinished().await.unwrap(), ["cutshort"]);
    artifacts.discard("cutshort").await.unwrap();
    assert!(artifacts.unfinished().await.unwrap().is_empty());
    assert_eq!(artifacts.get(&whole).await.unwrap().unwrap(), noise(2 << 20));
}

#[tokio::test]
async fn files_are_stored_without_being_held() {
    let place = place(2000).await;
    let artifacts = place.bus.artifacts();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let bytes: Vec<u8> =
        (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&from, &bytes).unwrap();
    assert!(!artifacts.get_file("store.1", &to).await.unwrap());
    artifacts.put_file("store.1", &from).await.unwrap();
    assert!(artifacts.get_file("store.1", &to).await.unwrap());
    assert!(std::fs::read(&to).unwrap() == bytes);
    assert_eq!(artifacts.list("store").await.unwrap(), ["store.1"]);
    artifacts.delete("store.1").await.unwrap();
    assert!(!artifacts.get_file("store.1", &to).await.unwrap());
    // Nothing is left beside them.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn payloads_too_large_for_a_message_travel_as_artifacts() {
    for guard in [Guard::Claim, Guard::Effect] {
        let place = place(2000).await;
        let job = "j".repeat(60_000);
        place.push(Lane::Hot, &job).await;
        let expected = job.clone();
        let toy = Toy::new(limits(guard), move |_, input| {
            assert_eq!(input, expected);
            async { Ok(vec![fact("f".repeat(70_000))]) }
        });
        let stage = place.start(toy).await;
        place.idle().await;
        stage.drain().await;
        let stored = place.stored("FACTS").await;
        assert!(stored[0].text.is_empty() && !stored[0].header("Plimsoll-Artifact").is_empty());
        let batches = Batches::open(&place.bus, "FACTS", "reader", &["facts.>"]).await.unwrap();
        let received = batches.next(10, Duration::from_secs(10)).await.unwrap();
        assert_eq!((received.len(), received[0].payload.len()), (1, 70_000));
    }
}

#[tokio::test]
async fn compare_and_set_loses_no_update() {
    let place = place(2000).await;
    let other = place.other(2000).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let records = if n % 2 == 0 { place.bus.records("control") } else { other.records("control") };
        tasks.spawn(async move {
            for _ in 0..20 {
                let count = |old: Option<v1::DbPointer>| {
                    let old = old.unwrap_or_default();
                    (Some(v1::DbPointer { seq: old.seq + 1, ..old }), ())
                };
                records.change("counter", count).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let records = place.bus.records("control");
    let record = records.get("counter").await.unwrap().unwrap();
    assert_eq!(record.decode::<v1::DbPointer>().unwrap().seq, 160);

    assert!(records.create("counter", b"").await.unwrap().is_none());
    assert!(records.update("counter", b"", record.revision - 1).await.unwrap().is_none());
    assert!(!records.delete("counter", record.revision - 1).await.unwrap());
    assert!(records.delete("counter", record.revision).await.unwrap());
    assert!(records.get("counter").await.unwrap().is_none());
    let again = records.create("counter", b"").await.unwrap().unwrap();
    assert!(again > record.revision);
    assert_eq!(records.keys("").await.unwrap(), ["counter"]);
    let late = records.server_time().await.unwrap();
    assert!(late >= records.get("counter").await.unwrap().unwrap().written);
}

#[tokio::test]
async fn questions_and_answers() {
    let place = place(2000).await;
    let asker = place.other(2000).await;
    let stop = CancellationToken::new();
    let (server, token) = (place.bus.clone(), stop.clone());
    let task = tokio::spawn(async move {
        server
            .answer(token, async |name, question| match name {
                "echo" => Ok(question),
                "large" => Ok(json!("x".repeat(3 << 20))),
                _ => Err(Refusal::new("not_found", name)),
            })
            .await
    });
    // The subscription may come after the first question.
    plimsoll_testkit::wait::until("an answer", BOUND, || async {
        asker.ask("echo", &json!({"a": 1}), Duration::from_secs(5)).await.is_ok()
    })
    .await
    .unwrap();
    let echoed = asker.ask("echo", &json!({"a": 1}), BOUND).await.unwrap();
    assert_eq!(echoed, Ok(json!({"a": 1})));
    let refused = asker.ask("nothing", &json!(null), BOUND).await.unwrap();
    assert_eq!(refused, Err(Refusal::new("not_found", "nothing")));
    let large = asker.ask("large", &json!(null), BOUND).await.unwrap().unwrap();
    assert_eq!(large.as_str().unwrap().len(), 3 << 20);
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(matches!(
        asker.ask("echo", &json!(1), Duration::from_secs(2)).await,
        Err(BusError::Request { .. })
    ));
}

#[tokio::test]
async fn batches_and_replays_read_all() {
    let place = place(1000).await;
    for n in 0..25 {
        place.send("facts.toy", &n.to_string()).await;
    }
    place.send("facts.other", "not ours").await;
    let batches = Batches::open(&place.bus, "FACTS", "reader", &["facts.toy"]).await.unwrap();
    let mut read = Vec::new();
    let mut first = true;
    while read.len() < 25 {
        for received in batches.next(10, Duration::from_secs(20)).await.unwrap() {
            // One is not acknowledged, and comes again.
            if std::mem::take(&mut first) {
                continue;
            }
            read.push(String::from_utf8_lossy(&received.payload).into_owned());
            received.done().await.unwrap();
        }
    }
    read.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(read, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(batches.next(10, Duration::ZERO).await.unwrap().is_empty());

    let mut again = Vec::new();
    let count = replay(&place.bus, "FACTS", &["facts.toy"], 0, async |received| {
        again.push(received.stream_seq);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((count, &again), (25, &(1..=25).collect::<Vec<u64>>()));
    assert_eq!(replay(&place.bus, "FACTS", &["facts.none"], 0, async |_| Ok(())).await.unwrap(), 0);
    let mut late = Vec::new();
    let after = again[again.len() - 3];
    let few = async |received: plimsoll_bus::batches::Received| {
        late.push(received.stream_seq);
        Ok(())
    };
    assert_eq!(replay(&place.bus, "FACTS", &["facts.toy"], after, few).await.unwrap(), 2);
    assert!(late.iter().all(|seq| *seq > after), "{late:?}");
    assert_eq!(replay(&place.bus, "FACTS", &["facts.toy"], late[1], async |_| Ok(())).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tail_starts_where_it_is_told() {
    let place = place(2000).await;
    for n in 1..=5 {
        place.send("facts.toy", &n.to_string()).await;
    }
    let filters = ["facts.toy".to_owned()];
    for (from, expected) in [(From::Beginning, 1..=7), (From::After(3), 4..=7), (From::Now, 6..=7)] {
        let mut tail = place.bus.tail("FACTS", &filters, from).await.unwrap();
        if from == From::Now {
            place.send("facts.toy", "6").await;
            place.send("facts.toy", "7").await;
        }
        for n in expected {
            if n > 5 && from != From::Now {
                break;
            }
            let line = tokio::time::timeout(BOUND, tail.next()).await.unwrap().unwrap().unwrap();
            assert_eq!((line.seq, line.payload.as_ref()), (n, n.to_string().as_bytes()), "{from:?}");
        }
    }
}
