//! A new Db: the components that it changes are matched again, and those whose facts came from an older Db.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use plimsoll_bus::connection::message_id;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{BusError, Outgoing};
use plimsoll_model::package::{ComponentKey, Ecosystem, Release};
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_vuln::{Db, LookupKey};
use prost::Message;

use crate::{Aggregator, store_failed};

/// Components of one job at most.
const CHUNK: u32 = 200;
/// Names of one question to the store.
const NAMES: usize = 500;
/// Time after which a component that still waits is asked for again.
const AGAIN: Duration = Duration::from_secs(300);
/// The record of the Db through which everything was matched again.
const DONE: &str = "rematched";

/// Sends jobs until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let mut asked: HashMap<i64, Instant> = HashMap::new();
    while !stop.is_cancelled() {
        if let Err(error) = follow_db(&aggregator).await {
            tracing::warn!(code = error.code(), %error, "a new Db could not be followed yet");
        }
        if let Err(error) = catch_up(&aggregator, &mut asked).await {
            tracing::warn!(code = error.code(), %error, "components that wait for matches could not be sent");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = aggregator.catch_up.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(())
}

async fn follow_db(aggregator: &Aggregator) -> Result<(), ProcessError> {
    let bus_failed =
        |error: plimsoll_scan_service::installed::InstallError| ProcessError::role(error.code(), error);
    let Some(db) = aggregator.installed.refresh().await.map_err(bus_failed)? else { return Ok(()) };
    let reader = aggregator.store.reader();
    let records = aggregator.role.bus.records("control");
    let done: u64 = match records.get(DONE).await? {
        Some(record) => record.decode::<v1::DbPointer>()?.seq,
        None => 0,
    };
    if reader.db_seq().await.map_err(store_failed)? < db.seq() {
        aggregator.store.set_db_seq(db.seq()).await.map_err(store_failed)?;
    }
    if done >= db.seq() {
        return Ok(());
    }
    let reason = format!("Db {}", db.seq());
    match Db::open(&aggregator.installed.path(done)) {
        Ok(old) if done > 0 && done + 1 == db.seq() => {
            let (old, new) = (std::sync::Arc::new(old), std::sync::Arc::clone(&db));
            let diff = tokio::task::spawn_blocking(move || plimsoll_vuln::diff(&old, &new))
                .await
                .map_err(|error| ProcessError::role("internal", error))?
                .map_err(|error| ProcessError::role(error.code(), error))?;
            let keys = diff.all();
            tracing::info!(seq = db.seq(), keys = keys.len(), "Db followed by its difference");
            for names in keys.chunks(NAMES) {
                let names: Vec<_> = names.iter().flat_map(names_of).collect();
                let mut after = 0;
                loop {
                    let page = reader.components_named(&names, after, CHUNK).await.map_err(store_failed)?;
                    let Some((last, _)) = page.last() else { break };
                    after = *last;
                    send(aggregator, db.seq(), &reason, page.into_iter().map(|(_, key)| key)).await?;
                }
            }
        }
        // No difference can be made over a gap: everything is matched again.
        _ => {
            tracing::info!(seq = db.seq(), "Db followed by matching everything again");
            let mut after = 0;
            loop {
                let page = reader.components(after, CHUNK).await.map_err(store_failed)?;
                let Some((last, _)) = page.last() else { break };
                after = *last;
                send(aggregator, db.seq(), &reason, page.into_iter().map(|(_, key)| key)).await?;
            }
        }
    }
    let pointer = v1::DbPointer { seq: db.seq(), ..Default::default() };
    records.change(DONE, |_: Option<v1::DbPointer>| (Some(pointer.clone()), ())).await?;
    Ok(())
}

/// The names that the store knows a lookup key by. Releases are not compared: the Db normalises them.
fn names_of(key: &LookupKey) -> Vec<(Ecosystem, Option<Release>, String)> {
    key.component_names().into_iter().map(|(ecosystem, name)| (ecosystem, None, name)).collect()
}

async fn catch_up(aggregator: &Aggregator, asked: &mut HashMap<i64, Instant>) -> Result<(), ProcessError> {
    let reader = aggregator.store.reader();
    let seq = reader.db_seq().await.map_err(store_failed)?;
    asked.retain(|_, at| at.elapsed() < AGAIN);
    if seq == 0 {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let page = reader.pending_catch_up(after, CHUNK).await.map_err(store_failed)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        let wanted: Vec<(i64, ComponentKey)> =
            page.into_iter().filter(|(id, _)| !asked.contains_key(id)).collect();
        if wanted.is_empty() {
            continue;
        }
        asked.extend(wanted.iter().map(|(id, _)| (*id, Instant::now())));
        send(aggregator, seq, &format!("Db {seq}"), wanted.into_iter().map(|(_, key)| key)).await?;
    }
}

async fn send(
    aggregator: &Aggregator,
    db_seq: u64,
    reason: &str,
    components: impl Iterator<Item = ComponentKey>,
) -> Result<(), ProcessError> {
    let components: Vec<v1::ComponentKey> = components.map(Into::into).collect();
    let scan = v1::ComponentScan { components, db_seq, reason: reason.to_owned() };
    let job = v1::ScanJob { what: Some(v1::scan_job::What::Components(scan)) };
    let payload = job.encode_to_vec();
    // Ten minutes is longer than the server remembers ids: what still waits then may be asked for again.
    let slot = (plimsoll_model::Timestamp::now().0 / 600_000).to_le_bytes();
    let id = message_id(&[b"rematch", &payload, &slot]);
    let message = Outgoing { subject: subjects::job("scan", Lane::Bulk), payload };
    match aggregator.role.bus.publish(&message, &id, &[]).await {
        Ok(_) | Err(BusError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
