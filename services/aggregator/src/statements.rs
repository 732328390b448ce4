//! The current set of statements (VEX, ignore rules): into the store, and remembered for a rebuild.

use std::time::Duration;

use plimsoll_bus::Bus;
use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_proto::{statements, v1};
use plimsoll_store::{Emit, Settings, StatementSet, Store};

use crate::{Aggregator, store_failed};

/// The record of the set that is current.
const CURRENT: &str = "statements";
/// The record of the set that the store has told of.
const APPLIED: &str = "statements-applied";

/// Follows the record until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    while !stop.is_cancelled() {
        if let Err(error) = follow(&aggregator).await {
            tracing::warn!(code = error.code(), %error, "statements could not be followed yet");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(())
}

async fn pointer(bus: &Bus, key: &str) -> Result<Option<v1::StatementsPointer>, ProcessError> {
    Ok(match bus.records("control").get(key).await? {
        Some(record) => Some(record.decode()?),
        None => None,
    })
}

async fn set(bus: &Bus, pointer: &v1::StatementsPointer) -> Result<StatementSet, ProcessError> {
    let bytes = bus.artifacts().get(&pointer.artifact).await?;
    let bytes = bytes.ok_or_else(|| {
        ProcessError::role("artifact_corrupt", format!("the artifact {} is missing", pointer.artifact))
    })?;
    let statements =
        statements::decode(&bytes).map_err(|error| ProcessError::role("artifact_corrupt", error))?;
    Ok(StatementSet { seq: pointer.seq, statements })
}

async fn follow(aggregator: &Aggregator) -> Result<(), ProcessError> {
    let bus = &aggregator.role.bus;
    let Some(current) = pointer(bus, CURRENT).await? else { return Ok(()) };
    let held = aggregator.store.reader().statements_seq().await.map_err(store_failed)?;
    if held < current.seq {
        let set = set(bus, &current).await?;
        let count = set.statements.len();
        let (settings, now) = (&aggregator.settings, Timestamp::now());
        let outcome = aggregator.store.set_statements(&set, settings, now, Emit::Publish).await;
        let outcome = outcome.map_err(store_failed)?;
        tracing::info!(seq = current.seq, statements = count, "statements hold");
        aggregator.committed(outcome);
    }
    if pointer(bus, APPLIED).await?.is_none_or(|applied| applied.seq < current.seq) {
        let records = bus.records("control");
        records.change(APPLIED, |_: Option<v1::StatementsPointer>| (Some(current.clone()), ())).await?;
    }
    Ok(())
}

/// Gives a store that is being rebuilt the set that was told of; what is newer comes later, and is told.
pub(crate) async fn restore(bus: &Bus, store: &Store, settings: &Settings) -> Result<(), ProcessError> {
    let Some(applied) = pointer(bus, APPLIED).await? else { return Ok(()) };
    match set(bus, &applied).await {
        Ok(set) => {
            let outcome = store.set_statements(&set, settings, Timestamp::now(), Emit::Silent).await;
            outcome.map(|_| ()).map_err(store_failed)
        }
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "the store is rebuilt without statements");
            Ok(())
        }
    }
}

/// Names of the artifacts that are in use.
pub(crate) async fn artifacts(bus: &Bus) -> Result<Vec<String>, ProcessError> {
    let mut names = Vec::new();
    for key in [CURRENT, APPLIED] {
        names.extend(pointer(bus, key).await?.map(|pointer| pointer.artifact));
    }
    Ok(names)
}
