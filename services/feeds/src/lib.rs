//! The feeds role: upstream advisories become a Db, an artifact that the control record `db` names.
//!
//! Invariant: a source that fails, or a build that fails, leaves the Db that is there.

pub mod fetch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_bus::connection::message_id;
use plimsoll_bus::{Bus, BusError, Outgoing, fault, subjects};
use plimsoll_config::Feed;
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_proto::v1;
use plimsoll_vuln::{BuildOptions, BuildReport};

/// How often the sources are looked at.
const EVERY: Duration = Duration::from_secs(600);

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    role.bus.health().ready("feeds");
    let mut wait = Duration::ZERO;
    while !role.stop.is_cancelled() {
        tokio::select! {
            () = role.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if role.config.feeds.is_empty() {
            continue;
        }
        let paths = local(&role).await;
        if paths.len() < role.config.feeds.len() && paths.is_empty() {
            tracing::warn!("no feed can be read; the Db stays as it is");
            continue;
        }
        match publish(&role.bus, &paths).await {
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
    Ok(())
}

/// The feeds as files: those that are addresses are fetched, and the last good copy serves while they fail.
async fn local(role: &Role) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for feed in &role.config.feeds {
        match feed {
            Feed::Path(path) => paths.push(path.clone()),
            Feed::Url(url) => match fetch::fetch(url, &role.data.join("feeds")).await {
                Ok(path) => paths.push(path),
                Err(error) => {
                    tracing::warn!(feed = url, code = error.code(), %error, "a feed could not be fetched");
                    if let Some(path) = fetch::last_good(url, &role.data.join("feeds")) {
                        paths.push(path);
                    }
                }
            },
        }
    }
    paths
}

/// Names, sizes and times of the files below the inputs.
fn fingerprint(paths: &[PathBuf]) -> Result<String, ProcessError> {
    fn walk(path: &Path, out: &mut Vec<String>) -> std::io::Result<()> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
            entries.sort();
            for entry in entries {
                walk(&entry, out)?;
            }
            return Ok(());
        }
        let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        out.push(format!("{}:{}:{}", path.display(), metadata.len(), modified.as_nanos()));
        Ok(())
    }
    let mut parts = Vec::new();
    for path in paths {
        walk(path, &mut parts).map_err(ProcessError::io(format!("read the feed {}", path.display())))?;
    }
    let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
    Ok(message_id(&parts))
}

/// Builds a Db of the inputs and makes it current, unless the current one was built of the same.
pub async fn publish(bus: &Bus, paths: &[PathBuf]) -> Result<Option<(u64, BuildReport)>, ProcessError> {
    let records = bus.records("control");
    let current: v1::DbPointer = match records.get("db").await? {
        Some(record) => record.decode()?,
        None => v1::DbPointer::default(),
    };
    // Who made it current may have died before he told of it.
    announce(bus, &current).await?;
    let inputs = fingerprint(paths)?;
    if current.inputs == inputs {
        return Ok(None);
    }
    let seq = current.seq + 1;
    let sources = paths.to_vec();
    let build = move || plimsoll_vuln::build(&sources, &BuildOptions { seq, built_at: Timestamp::now() });
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
