//! The collector: artifacts and records that nothing leads to any more.
//!
//! Roots are what tracked tags and workloads lead to, pinned images, the checkpoints of clusters, the newest two Dbs,
//! and what is younger than the streams that may name it. What is unmarked for `retention.unmarked` is swept: the
//! record first, by compare-and-set to absent, and the object after, so that nobody is sent to an object that is
//! gone. Whoever misses an artifact all the same plans the image anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use plimsoll_bus::subjects::{layer_record, token};
use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::{Aggregator, copies, store_failed};

/// Kinds of artifacts that are swept when no root leads to them.
const ROOTED: [&str; 6] = ["extract", "sbom", "state", "db", "statements", "store"];
/// Kinds of artifacts that only messages name: they outlive the longest stream.
const CARRIED: [&str; 2] = ["spill", "objects"];
/// Answers that were too large for a message: whoever asked has read them by then.
const ANSWERS: [&str; 1] = ["answer"];
/// How long answers are kept, in milliseconds.
const ANSWERS_KEPT: i64 = 3_600_000;
/// How long an upload may take, in milliseconds: chunks that no object claims by then are a dead writer's.
const UPLOADS_KEPT: i64 = 86_400_000;

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub marked: usize,
    pub unmarked: usize,
    pub swept: usize,
}

/// Collects from time to time until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let every = Duration::from_millis(
        u64::try_from(aggregator.role.config.retention.collect_every.as_millis()).unwrap_or(3_600_000),
    );
    let stop: CancellationToken = aggregator.role.stop.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        match collect(&aggregator, Timestamp::now()).await {
            Ok(swept) => tracing::info!(swept.marked, swept.unmarked, swept.swept, "collected"),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the collector failed and will run again")
            }
        }
        if let Err(error) = copies::refresh(&aggregator, Timestamp::now()).await {
            tracing::warn!(code = error.code(), %error, "the store could not be copied to the broker");
        }
        let before = Timestamp::now().0 - aggregator.role.config.retention.facts.as_millis();
        if let Err(error) = aggregator.store.prune(Timestamp(before)).await {
            tracing::warn!(%error, "old rows could not be dropped");
        }
    }
}

/// Names that were unmarked at the last run, with the time since when.
fn ledger(aggregator: &Aggregator) -> PathBuf {
    aggregator.role.data.join("unmarked.json")
}

/// Marks and sweeps once, as of `now`.
pub async fn collect(aggregator: &Aggregator, now: Timestamp) -> Result<Swept, ProcessError> {
    let path = ledger(aggregator);
    let known: BTreeMap<String, i64> = match std::fs::read(&path) {
        // A ledger that does not read is as good as none: everything unmarked starts to age now.
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => BTreeMap::new(),
    };
    let roots = marked(aggregator).await?;
    let artifacts = aggregator.role.bus.artifacts();
    let retention = &aggregator.role.config.retention;
    let carried =
        retention.facts.as_millis().max(retention.events.as_millis()).max(retention.unmarked.as_millis());
    let (mut swept, mut next) = (Swept::default(), BTreeMap::new());
    // Since when a name is unmarked, if that is not long enough.
    let waits = |name: &str, keep: i64| {
        let since = known.get(name).copied();
        (keep > 0 && since.is_none_or(|since| now.0 - since < keep)).then(|| since.unwrap_or(now.0))
    };
    for (kinds, keep) in [
        (ROOTED.as_slice(), retention.unmarked.as_millis()),
        (CARRIED.as_slice(), carried),
        (ANSWERS.as_slice(), ANSWERS_KEPT),
    ] {
        for kind in kinds {
            for name in artifacts.list(kind).await? {
                let last = name.rsplit('.').next().unwrap_or_default();
                if roots.names.contains(&name) || (*kind == "extract" && roots.layers.contains(last)) {
                    swept.marked += 1;
                    continue;
                }
                if let Some(since) = waits(&name, keep) {
                    swept.unmarked += 1;
                    next.insert(name, since);
                    continue;
                }
                forget(aggregator, &name).await?;
                artifacts.delete(&name).await?;
                swept.swept += 1;
            }
        }
    }
    for upload in artifacts.unfinished().await? {
        let name = format!("upload.{upload}");
        if let Some(since) = waits(&name, UPLOADS_KEPT) {
            next.insert(name, since);
            continue;
        }
        artifacts.discard(&upload).await?;
        swept.swept += 1;
    }
    let bytes = serde_json::to_vec(&next).map_err(|error| ProcessError::role("internal", error))?;
    std::fs::write(&path, bytes).map_err(ProcessError::io(format!("write {}", path.display())))?;
    Ok(swept)
}

struct Marked {
    /// Names of artifacts.
    names: BTreeSet<String>,
    /// Last tokens of the names of Extracts that are in use.
    layers: BTreeSet<String>,
}

async fn marked(aggregator: &Aggregator) -> Result<Marked, ProcessError> {
    let bus = &aggregator.role.bus;
    let roots = aggregator.store.reader().roots().await.map_err(store_failed)?;
    let mut names = roots.sboms;
    let mut layers: BTreeSet<String> = roots.layers.iter().map(|d| token(d.as_str())).collect();
    for pinned in &aggregator.role.config.retention.pinned {
        if let Some(image) = aggregator.store.reader().image(pinned).await.map_err(store_failed)? {
            names.insert(image.sbom);
            layers.extend(image.layers.iter().map(|d| token(d.as_str())));
        }
    }
    let clusters = bus.records("clusters");
    for key in clusters.keys("").await? {
        if let Some(record) = clusters.get(&key).await? {
            names.insert(record.decode::<v1::FoldRecord>()?.artifact);
        }
    }
    if let Some(record) = bus.records("control").get("db").await? {
        let current: v1::DbPointer = record.decode()?;
        names.insert(current.artifact);
    }
    // The Db before the current one: a difference starts from it.
    if let Some(record) = bus.records("control").get("db-before").await? {
        names.insert(record.decode::<v1::DbPointer>()?.artifact);
    }
    if let Some(copy) = copies::newest(bus).await? {
        names.insert(copy.artifact);
    }
    names.extend(crate::statements::artifacts(bus).await?);
    // Images that are planned and not yet inventoried wait for their layers.
    let scans = bus.records("scans");
    for digest in &roots.images {
        if let Some(record) = scans.get(&token(digest.as_str())).await? {
            let record: v1::ScanRecord = record.decode()?;
            layers.extend(record.layers.iter().map(|layer| token(&layer.digest)));
        }
    }
    Ok(Marked { names, layers })
}

/// Takes the records that name an artifact to absent.
async fn forget(aggregator: &Aggregator, name: &str) -> Result<(), ProcessError> {
    let Some(digest) = name.strip_prefix("extract.").and_then(|rest| rest.rsplit('.').next()) else {
        return Ok(());
    };
    // Tokens are percent-encoded digests: the record's key has the same token.
    let layers = aggregator.role.bus.records("layers");
    let profile = layer_record(&aggregator.role.config.limits.layer_profile, "");
    let key = format!("{}.{digest}", profile.split('.').next().unwrap_or_default());
    if let Some(record) = layers.get(&key).await?
        && record.decode::<v1::LayerRecord>()?.artifact == name
    {
        layers.delete(&key, record.revision).await?;
    }
    Ok(())
}
