//! What cannot be delivered, or not be read.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;
use plimsoll_bus::batches::Batches;
use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{Guard, dead};
use tokio_util::sync::CancellationToken;

use crate::support::{place, until};
use crate::toy::{Toy, fact, limits};

#[tokio::test]
async fn the_sweeper_moves_what_reached_max_deliver() {
    let place = place(2000).await;
    place.push(Lane::Hot, "never ends").await;
    place.send("facts.toy", "a fact that never ends").await;
    for (stream, name, filter) in [("JOBS", "toy-hot", "jobs.toy.hot"), ("FACTS", "log-hot", "facts.toy")] {
        let config = pull::Config {
            durable_name: Some(name.into()),
            filter_subject: filter.into(),
            ack_policy: AckPolicy::Explicit,
            max_deliver: 2,
            ..Default::default()
        };
        let stream = place.js.get_stream(stream).await.unwrap();
        let consumer = stream.create_consumer(config).await.unwrap();
        let mut delivered = 0;
        while delivered < 2 {
            let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
            while let Some(message) = batch.next().await {
                message.unwrap().ack_with(AckKind::Nak(None)).await.unwrap();
                delivered += 1;
            }
        }
        // The advisory comes only with a later pull.
        let mut batch =
            consumer.batch().max_messages(1).expires(Duration::from_millis(500)).messages().await.unwrap();
        while batch.next().await.is_some() {}
    }
    place.push(Lane::Hot, "fine").await;
    let stop = CancellationToken::new();
    let sweeper = tokio::spawn(dead::sweep(place.bus.clone(), stop.clone()));
    until("the dead letters", || async { place.stored("DEAD").await.len() == 2 }).await;
    let mut letters = place.stored("DEAD").await;
    letters.sort_by(|a, b| b.subject.cmp(&a.subject));
    assert_eq!((letters[0].subject.as_str(), letters[0].text.as_str()), ("dead.toy", "never ends"));
    assert_eq!(letters[0].header("Plimsoll-Code"), "max_deliver");
    assert_eq!(letters[0].header("Plimsoll-Subject"), "jobs.toy.hot");
    assert_eq!(
        (letters[1].subject.as_str(), letters[1].text.as_str()),
        ("dead.log", "a fact that never ends")
    );
    until("the queue without it", || async { place.queued().await == Some(1) }).await;
    assert_eq!(place.stored("JOBS").await[0].text, "fine");
    assert_eq!(place.facts().await.len(), 1, "a log keeps its messages");
    stop.cancel();
    sweeper.await.unwrap().unwrap();
}

async fn without_payload(place: &crate::support::Place, subject: &str, artifact: &str) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Plimsoll-Artifact", artifact);
    place.js.publish_with_headers(subject.to_owned(), headers, "".into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn messages_whose_artifact_is_missing_end_as_dead_letters() {
    let place = place(2000).await;
    for artifact in ["spill.gone", "*", ">", "spill gone"] {
        without_payload(&place, "jobs.toy.hot", artifact).await;
        without_payload(&place, "facts.toy", artifact).await;
    }
    place.push(Lane::Hot, "fine").await;
    place.send("facts.toy", "fine").await;
    let toy = Toy::new(limits(Guard::Claim), |_, _| async { Ok(vec![fact("did it")]) });
    let stage = place.start(toy).await;
    place.done(&["did it".into()]).await;
    stage.drain().await;
    assert_eq!(place.stored("DEAD").await.len(), 4);

    let batches = Batches::open(&place.bus, "FACTS", "reader", &["facts.toy"]).await.unwrap();
    let mut read = Vec::new();
    let seen = std::sync::Mutex::new(&mut read);
    until("all dead letters", || async {
        for received in batches.next(10, Duration::from_millis(100)).await.unwrap() {
            seen.lock().unwrap().push(String::from_utf8_lossy(&received.payload).into_owned());
            received.done().await.unwrap();
        }
        place.stored("DEAD").await.len() == 8
    })
    .await;
    assert_eq!(read, ["fine", "did it"]);
    let codes: Vec<String> =
        place.stored("DEAD").await.iter().map(|m| m.header("Plimsoll-Code").to_owned()).collect();
    assert_eq!(codes.iter().filter(|code| *code == "artifact_missing").count(), 2);
    assert_eq!(codes.iter().filter(|code| *code == "bad_key").count(), 6);
}
