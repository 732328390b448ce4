//! A lost store, derived again: from the copy of it that the broker has, and what the streams kept since; without a copy, from
//! what the streams keep.
//!
//! Facts may be applied in any order and any number of times, and the open set is the same. Only what the durable
//! consumers have acknowledged is applied in silence: what they have not seen yet they will bring, and its changes
//! are told. The new store starts a new epoch.

use std::path::Path;

use plimsoll_bus::{BusError, batches, subjects};
use plimsoll_model::fact::Fact;
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_store::{Emit, Settings, Store};

use crate::intake::{DURABLE, EVENTS, FACTS, decode};
use crate::{copies, relay, store_failed};

/// Facts of one transaction.
const BATCH: usize = 2_000;

/// Rebuilds the store at `path` if the streams say that there was one.
pub async fn if_lost(role: &Role, settings: &Settings, path: &Path) -> Result<(), ProcessError> {
    let facts = batches::acknowledged(&role.bus, subjects::FACTS, DURABLE).await?;
    let events = batches::acknowledged(&role.bus, subjects::EVENTS, DURABLE).await?;
    if facts == 0 && events == 0 {
        return Ok(());
    }
    tracing::info!(facts, events, "the store is missing and is rebuilt");
    let count = rebuild(role, settings, path, Basis { facts, events, copy: true }).await?;
    tracing::info!(facts = count, "the store is rebuilt");
    Ok(())
}

/// What a store is derived from.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// The sequences through which FACTS and EVENTS count: what comes after, the consumers bring.
    pub facts: u64,
    pub events: u64,
    /// Whether the broker's copy of the store may be used; else only the streams are.
    pub copy: bool,
}

/// Builds a store at `path`. Gives the number of facts.
pub async fn rebuild(
    role: &Role,
    settings: &Settings,
    path: &Path,
    basis: Basis,
) -> Result<usize, ProcessError> {
    let part = path.with_extension("rebuilding");
    remove(&part)?;
    let copied = if basis.copy { copies::fetch(&role.bus, &part).await? } else { None };
    let copied = copied.unwrap_or_default();
    let store = Store::open(&part).await.map_err(store_failed)?;
    crate::statements::restore(&role.bus, &store, settings).await?;
    let mut count = 0;
    for (stream, filters, after, through) in [
        (subjects::EVENTS, EVENTS.as_slice(), copied.events_seq, basis.events),
        (subjects::FACTS, FACTS.as_slice(), copied.facts_seq, basis.facts),
    ] {
        let mut batch: Vec<Fact> = Vec::with_capacity(BATCH);
        batches::replay(&role.bus, stream, filters, after, async |message| {
            if message.stream_seq > through {
                return Ok(());
            }
            match decode(&message) {
                Ok(fact) => batch.push(fact),
                Err(error) => tracing::warn!(%error, seq = message.stream_seq, "a fact was passed over"),
            }
            if batch.len() >= BATCH {
                count += flush(&store, settings, &mut batch).await?;
            }
            Ok(())
        })
        .await?;
        count += flush(&store, settings, &mut batch).await?;
    }
    while store.backlog(settings, Timestamp::now(), Emit::Silent).await.map_err(store_failed)?.backlog {}
    let told = relay::high_water(&role.bus).await?.map_or(0, |(epoch, _)| epoch);
    store.new_epoch(told + 1).await.map_err(store_failed)?;
    store.check().await.map_err(store_failed)?;
    // The copy is whole when it appears under its name.
    let whole = path.with_extension("rebuilt");
    remove(&whole)?;
    store.backup(&whole).await.map_err(store_failed)?;
    drop(store);
    std::fs::rename(&whole, path).map_err(ProcessError::io("put the rebuilt store in place"))?;
    remove(&part)?;
    Ok(count)
}

async fn flush(store: &Store, settings: &Settings, batch: &mut Vec<Fact>) -> Result<usize, BusError> {
    let outcome = store.commit_as(batch, settings, Timestamp::now(), Emit::Silent).await;
    let outcome = outcome.map_err(|error| BusError::Other(error.to_string()))?;
    batch.clear();
    Ok(outcome.applied)
}

/// Removes a store's files, if they are there.
pub fn remove(path: &Path) -> Result<(), ProcessError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ProcessError::io(format!("remove {}", Path::new(&name).display()))(error));
            }
            _ => {}
        }
    }
    Ok(())
}
