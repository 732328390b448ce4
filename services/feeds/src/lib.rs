//! The feeds role: upstream advisories become a Db, an artifact that the control record `db` names; VEX documents and ignore
//! rules become a set of statements ([`statements`]).
//!
//! Invariant: a source that fails, or a build that fails, leaves the Db that is there.
//!
//! Invariant: a source that shrinks by more than 2 % of its records (see [`state::judge`] for short ones) or goes
//! backwards in date is held: the copy before counts until a person accepts (`plimsoll feeds accept`), or the source
//! repairs itself.

pub mod fetch;
pub mod source;
pub mod state;
pub mod statements;
pub mod update;

use std::time::Duration;

use plimsoll_bus::connection::message_id;
use plimsoll_bus::{Bus, BusError, Outgoing, fault, subjects};
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_proto::v1;
use plimsoll_vuln::{BuildReport, Input};

use crate::source::Source;
use crate::state::State;

/// How often the sources are looked at.
const EVERY: Duration = Duration::from_secs(600);
/// How often it is asked whether a held copy is accepted.
const ASK: Duration = Duration::from_secs(5);

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    role.bus.health().ready("feeds");
    tokio::try_join!(advisories(role.clone()), statements::run(role)).map(|_| ())
}

async fn advisories(role: Role) -> Result<(), ProcessError> {
    let sources: Vec<Source> = role.config.feeds.iter().map(Source::of).collect::<Result<_, _>>()?;
    while !role.stop.is_cancelled() {
        if !sources.is_empty() {
            match follow(&role, &sources).await {
                Ok(Some((seq, report))) => {
                    tracing::info!(
                        seq,
                        records = report.records(),
                        rejected = report.rejected(),
                        size = report.size,
                        "Db published"
                    );
                }
                Ok(None) => tracing::debug!("the feeds have nothing new"),
                Err(error) => {
                    tracing::error!(code = error.code(), %error, "no Db could be built; the one before stays")
                }
            }
        }
        wait(&role).await;
    }
    Ok(())
}

/// Waits until the sources are to be looked at, or something was accepted.
async fn wait(role: &Role) {
    let mut waited = Duration::ZERO;
    while waited < EVERY {
        tokio::select! {
            () = role.stop.cancelled() => return,
            () = tokio::time::sleep(ASK) => {}
        }
        waited += ASK;
        match role.bus.records("control").get(ACCEPT).await {
            Ok(Some(record))
                if record.decode::<v1::FeedsAccept>().is_ok_and(|asked| !asked.names.is_empty()) =>
            {
                return;
            }
            _ => {}
        }
    }
}

/// Brings the copies up to date, tells how they are, and publishes a Db if they changed.
async fn follow(role: &Role, sources: &[Source]) -> Result<Option<(u64, BuildReport)>, ProcessError> {
    let folder = role.data.join("feeds");
    accept_asked(&role.bus, sources, &folder).await?;
    let states = update::update(sources, &folder, Timestamp::now()).await?;
    tell(&role.bus, &states).await?;
    let inputs = update::inputs(sources, &states, &folder);
    if inputs.is_empty() {
        tracing::warn!("no feed can be read; the Db stays as it is");
        return Ok(None);
    }
    publish(&role.bus, inputs, update::fingerprint(&states)).await
}

const FEEDS: &str = "feeds";
const ACCEPT: &str = "feeds-accept";

/// Takes the held copies that people accepted.
async fn accept_asked(bus: &Bus, sources: &[Source], folder: &std::path::Path) -> Result<(), ProcessError> {
    let records = bus.records("control");
    let asked: Vec<String> = records
        .change(ACCEPT, |known: Option<v1::FeedsAccept>| match known {
            Some(known) if !known.names.is_empty() => (Some(v1::FeedsAccept::default()), known.names),
            _ => (None, Vec::new()),
        })
        .await?;
    for source in sources.iter().filter(|source| asked.contains(&source.name)) {
        let folder = folder.join(source.folder());
        let mut state = State::load(&folder, source)?;
        if state.accept() {
            tracing::info!(feed = source.name, "what was held is accepted");
            state.save(&folder)?;
        }
    }
    Ok(())
}

/// Asks the role to take the held copy of a source. `feed_source_unknown` for a source that it does not have,
/// `feed_not_held` where nothing waits.
pub async fn accept(bus: &Bus, name: &str) -> Result<(), ProcessError> {
    let known = status(bus).await?.feeds.into_iter().find(|feed| feed.name == name);
    let known = known
        .ok_or_else(|| ProcessError::role("feed_source_unknown", format!("no source is called {name:?}")))?;
    if known.held.is_empty() {
        return Err(ProcessError::role("feed_not_held", format!("nothing of {name:?} waits for acceptance")));
    }
    let add = |asked: Option<v1::FeedsAccept>| {
        let mut names = asked.unwrap_or_default().names;
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        (Some(v1::FeedsAccept { names }), ())
    };
    Ok(bus.records("control").change(ACCEPT, add).await?)
}

/// What the role last told of its sources.
pub async fn status(bus: &Bus) -> Result<v1::FeedsRecord, ProcessError> {
    Ok(match bus.records("control").get(FEEDS).await? {
        Some(record) => record.decode()?,
        None => v1::FeedsRecord::default(),
    })
}

/// Writes the record that `GET /v1/feeds` and `plimsoll feeds status` show, and the gauges.
async fn tell(bus: &Bus, states: &[State]) -> Result<(), ProcessError> {
    let now = Timestamp::now();
    let feeds: Vec<v1::FeedState> = states.iter().map(told).collect();
    let count = |of: fn(&v1::FeedState) -> bool| {
        i64::try_from(feeds.iter().filter(|feed| of(feed)).count()).unwrap_or(0)
    };
    let oldest =
        states.iter().map(|state| now.0 - state.checked.unwrap_or_default().0).max().unwrap_or_default();
    let metrics = bus.metrics();
    metrics.set_state("feeds", i64::try_from(feeds.len()).unwrap_or(0));
    metrics.set_state("feeds_stale", count(|feed| !feed.code.is_empty()));
    metrics.set_state("feeds_held", count(|feed| !feed.held.is_empty()));
    metrics.set_state("feeds_oldest_seconds", oldest / 1000);
    let record = v1::FeedsRecord { feeds, at: now.0 };
    Ok(bus.records("control").change(FEEDS, |_: Option<v1::FeedsRecord>| (Some(record.clone()), ())).await?)
}

/// A state as others read it.
pub fn told(state: &State) -> v1::FeedState {
    let at = |at: Option<Timestamp>| at.unwrap_or_default().0;
    let current = state.current.clone().unwrap_or_default();
    let failure = state.failure.as_ref();
    let held = state.held.as_ref();
    v1::FeedState {
        name: state.name.clone(),
        address: state.address.clone(),
        records: current.records,
        newest: at(current.newest.or(current.as_of)),
        checked: at(state.checked),
        checksum: current.checksum,
        terms: current.terms,
        code: failure.map_or_else(String::new, |failure| failure.code.clone()),
        detail: failure.map_or_else(String::new, |failure| failure.detail.clone()),
        held: held.map_or_else(String::new, |held| held.reason.clone()),
        held_records: held.map_or(0, |held| held.copy.records),
        held_newest: at(held.and_then(|held| held.copy.newest)),
        held_since: at(held.map(|held| held.since)),
    }
}

/// Builds a Db of the inputs and makes it current, unless the current one was built of the same.
async fn publish(
    bus: &Bus,
    sources: Vec<Input>,
    inputs: String,
) -> Result<Option<(u64, BuildReport)>, ProcessError> {
    let records = bus.records("control");
    let current: v1::DbPointer = match records.get("db").await? {
        Some(record) => record.decode()?,
        None => v1::DbPointer::default(),
    };
    // Who made it current may have died before he told of it.
    announce(bus, &current).await?;
    if current.inputs == inputs {
        return Ok(None);
    }
    let seq = current.seq + 1;
    let build = move || plimsoll_vuln::build_sources(&sources, seq, |_| Timestamp::now());
    let (bytes, report) = tokio::task::spawn_blocking(build)
        .await
        .map_err(|error| ProcessError::role("internal", error))?
        .map_err(|error| ProcessError::role(error.code(), error))?;
    let artifact = format!("db.{seq}.{}", message_id(&[&bytes]));
    bus.artifacts().put_named(&artifact, &bytes).await?;
    fault::point("feeds", "stored");
    let pointer = v1::DbPointer { seq, artifact, inputs };
    let before = current.clone();
    records.change("db-before", |_: Option<v1::DbPointer>| (Some(before.clone()), ())).await?;
    let won = records
        .change("db", |known: Option<v1::DbPointer>| match known {
            // Another builder was faster: its Db is as good.
            Some(known) if known.seq >= seq => (None, false),
            _ => (Some(pointer.clone()), true),
        })
        .await?;
    if !won {
        return Ok(None);
    }
    fault::point("feeds", "current");
    announce(bus, &pointer).await?;
    Ok(Some((seq, report)))
}

/// Tells of a Db that is current, unless EVENTS has told of it or of a newer one.
async fn announce(bus: &Bus, current: &v1::DbPointer) -> Result<(), ProcessError> {
    let last = bus.last_message(subjects::EVENTS, subjects::DB_UPDATED).await?;
    let told = last.and_then(|(_, payload)| serde_json::from_slice::<v1::DbUpdated>(&payload).ok());
    // Events are kept for days and the record is not: a Db whose event has aged away is told of again, to no harm.
    if current.seq == 0 || told.is_some_and(|event| event.seq >= current.seq) {
        return Ok(());
    }
    let event =
        v1::DbUpdated { seq: current.seq, artifact: current.artifact.clone(), at: Timestamp::now().0 };
    let payload = serde_json::to_vec(&event).map_err(|error| ProcessError::role("internal", error))?;
    let message = Outgoing { subject: subjects::DB_UPDATED.to_owned(), payload };
    let id = message_id(&[b"db", &current.seq.to_le_bytes()]);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", id.as_str()),
        ("ce-type", "dev.plimsoll.db.updated.v1"),
        ("ce-source", "/plimsoll/feeds"),
        ("content-type", "application/json"),
    ];
    match bus.publish(&message, &id, &headers).await {
        Ok(_) | Err(BusError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
