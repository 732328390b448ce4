//! What can be seen of a deployment from outside: whether it is at rest, its open findings, what subscribers heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use plimsoll_bus::tail::From;
use plimsoll_bus::{Bus, subjects};
use plimsoll_proto::v1;
use plimsoll_testkit::nats::NatsServer;
use serde_json::{Value, json};

use crate::LoadError;

/// What is compared of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub class: String,
    pub versions: Vec<String>,
    pub fixed: String,
    /// For people who look at a difference.
    pub what: String,
}

/// Open findings by id.
pub type Open = BTreeMap<String, Seen>;

/// What a deployment says at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub open: Open,
    /// Scans that failed: repository, stage, code.
    pub failures: BTreeSet<(String, String, String)>,
    /// Scanned images: digest, state, number of components.
    pub images: BTreeSet<(String, String, u64)>,
}

/// A number that proto3 JSON may write as text.
fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(value) => value.as_u64().unwrap_or(0),
        None => 0,
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn seen(finding: &Value) -> Seen {
    let id = ["/vulnerabilityId", "/vulnerability_id"].map(|pointer| text(finding, pointer)).concat();
    let holder = finding.get("holder").cloned().unwrap_or(Value::Null);
    let mut versions: Vec<String> =
        items(finding, "versions").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    versions.sort();
    Seen {
        class: text(finding, "/class"),
        versions,
        fixed: text(finding, "/fixed"),
        what: format!("{id} {} {holder}", text(finding, "/package/name")),
    }
}

/// Asks the aggregator; it may be away for a moment.
pub async fn ask(bus: &Bus, name: &str, question: Value) -> Option<Value> {
    bus.ask(name, &question, Duration::from_secs(5)).await.ok()?.ok()
}

/// Sums and last sequences of the streams, as the server sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streams {
    /// Last sequence by stream.
    pub last: BTreeMap<String, u64>,
    /// Messages that consumers have not acknowledged, those they have not seen, and jobs that wait.
    pub waiting: u64,
    /// Which ones.
    pub where_: Vec<String>,
}

/// Looks at every stream and consumer; `None` while the server is away.
pub async fn streams(nats: &NatsServer) -> Option<Streams> {
    let info = nats.monitor("/jsz?accounts=true&streams=true&consumers=true").await.ok()?;
    let mut out = Streams::default();
    for account in items(&info, "account_details") {
        for stream in items(account, "stream_detail") {
            let name = text(stream, "/name");
            out.last.insert(name.clone(), number(stream.pointer("/state/last_seq")));
            if [subjects::JOBS, subjects::LATER].contains(&name.as_str()) {
                let waiting = number(stream.pointer("/state/messages"));
                if waiting > 0 {
                    out.where_.push(format!("{name} has {waiting}"));
                }
                out.waiting += waiting;
            }
            for consumer in items(stream, "consumer_detail") {
                let pending = number(consumer.get("num_pending"));
                let unacked = number(consumer.get("num_ack_pending"));
                if pending + unacked > 0 {
                    out.where_.push(format!(
                        "{name}/{} {pending} unseen, {unacked} unacknowledged",
                        text(consumer, "/name")
                    ));
                }
                out.waiting += pending + unacked;
            }
        }
    }
    Some(out)
}

/// Waits until nothing waits, nothing is in hand, the outbox is empty, and the Db `db_seq` was followed.
pub async fn rest(bus: &Bus, nats: &NatsServer, db_seq: u64, bound: Duration) -> Result<Streams, LoadError> {
    let began = Instant::now();
    let mut before: Option<Streams> = None;
    let mut why = String::from("nothing was looked at");
    while began.elapsed() < bound {
        let now = streams(nats).await;
        let counts = ask(bus, "counts", Value::Null).await;
        let followed = match bus.records("control").get("rematched").await {
            Ok(Some(record)) => record.decode::<v1::DbPointer>().map(|db| db.seq).unwrap_or(0),
            _ => 0,
        };
        let quiet = match (&now, &counts) {
            (Some(now), Some(counts)) => {
                let left = |name| number(counts.get(name));
                why = format!(
                    "{:?}, outbox {}, catch-up {}, Db {} of {db_seq}, followed {followed}",
                    now.where_,
                    left("outbox"),
                    left("catch_up"),
                    left("db_seq"),
                );
                now.waiting == 0
                    && left("outbox") == 0
                    && left("catch_up") == 0
                    && left("db_seq") >= db_seq
                    && followed >= db_seq
            }
            _ => {
                why = "the broker or the aggregator is away".into();
                false
            }
        };
        if quiet && now == before {
            return Ok(now.unwrap_or_default());
        }
        before = if quiet { now } else { None };
        tokio::time::sleep(Duration::from_millis(if quiet { 250 } else { 100 })).await;
    }
    Err(LoadError::Timeout { what: format!("rest; {why}"), seconds: bound.as_secs() })
}

/// The open findings, failures and images as the aggregator answers them.
pub async fn standing(bus: &Bus) -> Result<Standing, LoadError> {
    let mut open = Open::new();
    let mut cursor = Value::Null;
    loop {
        let question = json!({ "limit": 1000, "cursor": cursor });
        let answer =
            bus.ask("findings", &question, Duration::from_secs(20)).await?.map_err(LoadError::other)?;
        for finding in items(&answer, "findings") {
            open.insert(text(finding, "/id"), seen(finding));
        }
        cursor = answer.get("next").cloned().unwrap_or(Value::Null);
        if cursor.is_null() {
            break;
        }
    }
    let answer = bus.ask("images", &Value::Null, Duration::from_secs(20)).await?.map_err(LoadError::other)?;
    let failures = items(&answer, "failures")
        .iter()
        .map(|f| (text(f, "/repository"), text(f, "/stage"), text(f, "/code")))
        .collect();
    let images = items(&answer, "images")
        .iter()
        .map(|i| (text(i, "/digest"), text(i, "/state"), number(i.get("components"))))
        .collect();
    Ok(Standing { open, failures, images })
}

/// What subscribers heard, from the first message on.
#[derive(Debug, Default)]
pub struct Heard {
    /// Open findings, as somebody who only listens knows them.
    pub open: Open,
    pub messages: u64,
    /// What was heard twice, or out of order.
    pub faults: Vec<String>,
}

/// Reads FINDINGS through sequence `last`.
pub async fn heard(bus: &Bus, last: u64) -> Result<Heard, LoadError> {
    let mut heard = Heard::default();
    if last == 0 {
        return Ok(heard);
    }
    let mut tail = bus.tail(subjects::FINDINGS, &["findings.v1.>".to_owned()], From::Beginning).await?;
    let (mut places, mut revisions) = (BTreeSet::new(), BTreeSet::new());
    let mut before = (0, 0);
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), tail.next()).await;
        let Ok(Some(line)) = next else {
            return Err(LoadError::Timeout { what: format!("message {last} of FINDINGS"), seconds: 20 });
        };
        let line = line?;
        let message: Value = serde_json::from_slice(&line.payload).map_err(LoadError::other)?;
        heard.messages += 1;
        let place = (number(message.get("epoch")), number(message.get("seq")));
        if !places.insert(place) {
            heard.faults.push(format!("outbox row {place:?} was published twice"));
        } else if place < before {
            heard.faults.push(format!("outbox row {place:?} was published after {before:?}"));
        } else if place.0 == before.0 && place.1 != before.1 + 1 {
            heard.faults.push(format!("outbox row {place:?} follows {before:?}: one is missing"));
        }
        before = place;
        for change in items(&message, "changes") {
            let Some(finding) = change.get("finding") else { continue };
            let id = text(finding, "/id");
            let revision = number(finding.get("revision"));
            if !revisions.insert((id.clone(), revision)) {
                heard
                    .faults
                    .push(format!("revision {revision} of {} was published twice", seen(finding).what));
            }
            if text(finding, "/state") == "open" {
                heard.open.insert(id, seen(finding));
            } else {
                heard.open.remove(&id);
            }
        }
        if line.seq >= last {
            return Ok(heard);
        }
    }
}

/// What differs between two sets of open findings, a few lines of it.
pub fn difference(wanted: &Open, is: &Open) -> Vec<String> {
    let mut out = Vec::new();
    for (id, seen) in wanted {
        match is.get(id) {
            None => out.push(format!("lost: {seen:?}")),
            Some(other) if other != seen => out.push(format!("differs: {seen:?} is {other:?}")),
            Some(_) => {}
        }
    }
    out.extend(
        is.iter().filter(|(id, _)| !wanted.contains_key(*id)).map(|(_, seen)| format!("extra: {seen:?}")),
    );
    let more = out.len().saturating_sub(6);
    out.truncate(6);
    if more > 0 {
        out.push(format!("… and {more} more"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_is_lost_extra_and_other() {
        let one = |class: &str| Seen {
            class: class.into(),
            versions: vec!["1".into()],
            fixed: String::new(),
            what: "x".into(),
        };
        let wanted: Open = [("a".into(), one("3d")), ("b".into(), one("3d"))].into();
        let is: Open = [("b".into(), one("14d")), ("c".into(), one("3d"))].into();
        let lines = difference(&wanted, &is);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().any(|l| l.starts_with("lost")));
        assert!(lines.iter().any(|l| l.starts_with("differs")));
        assert!(lines.iter().any(|l| l.starts_with("extra")));
        assert!(difference(&wanted, &wanted).is_empty());
    }
}
