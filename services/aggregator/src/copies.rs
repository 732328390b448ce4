//! Copies of the store in the broker: what a rebuild starts from, because the streams keep events and facts for days and a tag
//! may be older.

use std::path::Path;

use plimsoll_bus::{Bus, batches, subjects};
use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_store::Store;

use crate::intake::DURABLE;
use crate::rebuild::remove;
use crate::{Aggregator, store_failed};

/// The record that names the newest copy.
const RECORD: &str = "store";

/// Makes a copy if the last one is older than `retention.copy_every`. True when one was made.
pub async fn refresh(aggregator: &Aggregator, now: Timestamp) -> Result<bool, ProcessError> {
    let bus = &aggregator.role.bus;
    let last = newest(bus).await?;
    let taken = last.as_ref().map_or(i64::MIN, |copy| i64::try_from(copy.taken_ms).unwrap_or(i64::MAX));
    if now.0.saturating_sub(taken) < aggregator.role.config.retention.copy_every.as_millis() {
        return Ok(false);
    }
    // What is acknowledged before the copy is in it.
    let facts_seq = batches::acknowledged(bus, subjects::FACTS, DURABLE).await?;
    let events_seq = batches::acknowledged(bus, subjects::EVENTS, DURABLE).await?;
    let path = aggregator.role.data.join("copy.sqlite");
    remove(&path)?;
    aggregator.store.backup(&path).await.map_err(store_failed)?;
    let artifact = format!("store.{}", now.0);
    let stored = bus.artifacts().put_file(&artifact, &path).await;
    remove(&path)?;
    stored?;
    let taken_ms = u64::try_from(now.0).unwrap_or_default();
    let copy = v1::StoreCopy { artifact, facts_seq, events_seq, taken_ms };
    let told = |_: Option<v1::StoreCopy>| (Some(copy.clone()), ());
    bus.records("control").change(RECORD, told).await?;
    if let Some(last) = last {
        bus.artifacts().delete(&last.artifact).await?;
    }
    tracing::info!(facts_seq, events_seq, "the store was copied to the broker");
    Ok(true)
}

pub(crate) async fn newest(bus: &Bus) -> Result<Option<v1::StoreCopy>, ProcessError> {
    match bus.records("control").get(RECORD).await? {
        Some(record) => Ok(Some(record.decode()?)),
        None => Ok(None),
    }
}

/// Puts the newest copy at `path`, if there is one that is whole. A copy that is not is passed over: the streams
/// still have what they keep.
pub async fn fetch(bus: &Bus, path: &Path) -> Result<Option<v1::StoreCopy>, ProcessError> {
    let Some(copy) = newest(bus).await? else { return Ok(None) };
    let whole = async {
        if !bus.artifacts().get_file(&copy.artifact, path).await? {
            return Err(ProcessError::role("artifact_missing", &copy.artifact));
        }
        let store = Store::open(path).await.map_err(store_failed)?;
        store.check().await.map_err(store_failed)
    };
    match whole.await {
        Ok(()) => {
            tracing::info!(copy.artifact, "a copy of the store is the start");
            Ok(Some(copy))
        }
        Err(error) => {
            tracing::warn!(copy.artifact, %error, "the copy of the store cannot be used");
            remove(path)?;
            Ok(None)
        }
    }
}
