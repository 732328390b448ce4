//! Questions of the gateway and the command line, answered from snapshots of the store.

use std::collections::BTreeSet;
use std::path::PathBuf;

use plimsoll_bus::service::Refusal;
use plimsoll_model::digest::Digest;
use plimsoll_model::finding::FindingState;
use plimsoll_model::{Finding, Timestamp};
use plimsoll_process::ProcessError;
use plimsoll_proto::v1;
use plimsoll_store::{BaseImage, Filter, ImageFilter, ImageRecord, Origin, StoreError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::because::Because;
use crate::{Aggregator, ended};

/// Actions of one plan.
const ACTIONS: usize = 50;
/// Images of one answer.
const IMAGES: u32 = 1000;

/// Answers until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    let bus = aggregator.role.bus.clone();
    bus.answer(stop, async |name, question| answer(&aggregator, name, question).await).await?;
    Ok(())
}

async fn answer(aggregator: &Aggregator, name: &str, question: Value) -> Result<Value, Refusal> {
    match name {
        "findings" => findings(aggregator, question).await,
        "affected" => affected(aggregator, question).await,
        "actions" => actions(aggregator).await,
        "images" => images(aggregator, question).await,
        "image" => image(aggregator, question).await,
        "counts" => counts(aggregator).await,
        "backup" => backup(aggregator, question).await,
        other => Err(Refusal::new("bad_request", format!("there is no question {other:?}"))),
    }
}

fn failed(error: StoreError) -> Refusal {
    let code = if error.code() == "invalid_cursor" { "bad_cursor" } else { "store_failed" };
    tracing::warn!(%error, "a question could not be answered");
    Refusal::new(code, error)
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new("store_failed", error)
}

fn read<T: DeserializeOwned>(question: Value) -> Result<T, Refusal> {
    serde_json::from_value(question).map_err(|error| Refusal::new("bad_request", error))
}

#[derive(Deserialize)]
struct FindingsAsked {
    class: Option<String>,
    cluster: Option<String>,
    namespace: Option<String>,
    repository: Option<String>,
    vulnerability: Option<String>,
    package: Option<String>,
    state: Option<String>,
    #[serde(default)]
    suppressed: bool,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn findings(aggregator: &Aggregator, question: Value) -> Result<Value, Refusal> {
    let asked: FindingsAsked = read(question)?;
    let bad = |error: String| Refusal::new("bad_request", error);
    let state = match asked.state.as_deref() {
        None if asked.suppressed => Some(FindingState::Suppressed),
        None | Some("open") => Some(FindingState::Open),
        Some("fixed") => Some(FindingState::Fixed),
        Some("suppressed") => Some(FindingState::Suppressed),
        Some(other) => return Err(bad(format!("unknown state {other:?}: open, fixed or suppressed"))),
    };
    let class = asked
        .class
        .map(|c| c.parse())
        .transpose()
        .map_err(|e: plimsoll_model::finding::UnknownClass| bad(e.to_string()))?;
    let filter = Filter {
        class,
        state,
        cluster: asked.cluster,
        namespace: asked.namespace,
        repository: asked.repository,
        vulnerability: asked.vulnerability,
        package: asked.package,
    };
    let limit = asked.limit.unwrap_or(100).clamp(1, 1000);
    let reader = aggregator.store.reader();
    let page = reader.findings(&filter, asked.cursor.as_deref(), limit).await.map_err(failed)?;
    let now = Timestamp::now();
    let findings =
        page.findings.into_iter().zip(page.origins).map(|(f, origin)| finding_value(f, origin, now));
    let findings: Vec<Value> = findings.collect::<Result<_, _>>()?;
    Ok(json!({ "findings": findings, "next": page.next }))
}

/// A finding as in messages, with what follows from the other images that are known, and from today's date.
fn finding_value(finding: Finding, origin: Option<Origin>, now: Timestamp) -> Result<Value, Refusal> {
    let ended = ended::last_day(&finding.key.package, now);
    let mut value = serde_json::to_value(v1::Finding::from(finding)).map_err(internal)?;
    if let Some(fields) = value.as_object_mut() {
        if let Some(day) = ended {
            fields.insert("endOfLife".to_owned(), day.into());
        }
        if let Some(origin) = origin {
            fields.insert("origin".to_owned(), origin.as_str().into());
            fields.extend(origin.base().map(|base| ("base".to_owned(), base_value(base))));
        }
    }
    Ok(value)
}

fn base_value(base: &BaseImage) -> Value {
    json!({ "name": base.name, "digest": base.digest, "layers": base.layers })
}

#[derive(Deserialize)]
struct AffectedAsked {
    id: String,
}

async fn affected(aggregator: &Aggregator, question: Value) -> Result<Value, Refusal> {
    let asked: AffectedAsked = read(question)?;
    let db = aggregator.installed.current();
    let (mut known, mut packages) = (None, Vec::new());
    if let Some(db) = &db {
        known = db.vulnerability(&asked.id).map_err(internal)?;
        let keys = db.lookup_keys_of(&asked.id).map_err(internal)?;
        packages = keys.into_iter().map(|key| (key.ecosystem, key.name)).collect();
    }
    let answer = aggregator.store.reader().affected(&asked.id, &packages).await.map_err(failed)?;
    let now = Timestamp::now();
    let affected: Vec<Value> = answer
        .affected
        .into_iter()
        .map(|holder| {
            Ok(json!({
                "finding": finding_value(holder.finding, None, now)?,
                "exposure": holder.exposure.map(|e| json!({
                    "level": e.level.as_str(), "paths": e.paths, "caveats": e.caveats, "as_of": e.as_of.to_string(),
                    "complete": e.complete, "enforced": e.enforced,
                })),
                "repository": holder.repository,
                "reference": holder.reference.as_ref().map(|(reference, _)| reference),
                "basis": holder.reference.as_ref().map(|(_, basis)| basis),
            }))
        })
        .collect::<Result<_, Refusal>>()?;
    let mut unaffected = answer.unaffected;
    let canonical = answer.vulnerability.as_ref().or(known.as_ref()).map(|v| v.id.clone());
    if let (Some(db), Some(id)) = (&db, canonical) {
        let mut because = Because::new(db, id);
        for one in unaffected.iter_mut().filter(|u| u.because == plimsoll_store::UNMATCHED_VERSION) {
            if let Some(text) = because.of(&one.component).map_err(internal)? {
                one.because = text;
            }
        }
    }
    let unaffected: Vec<Value> = unaffected
        .into_iter()
        .map(|u| {
            json!({
                "holder": u.holder.to_string(), "package": u.component.package.to_string(),
                "version": u.component.version, "because": u.because,
                "suppressions": u.suppressions.into_iter().map(v1::Suppression::from).collect::<Vec<_>>(),
            })
        })
        .collect();
    let vulnerability = answer.vulnerability.or(known).map(v1::Vulnerability::from);
    Ok(json!({
        "id": asked.id, "vulnerability": vulnerability, "affected": affected, "not_affected": unaffected,
        "truncated": answer.truncated, "db_seq": db.map_or(0, |db| db.seq()),
    }))
}

async fn actions(aggregator: &Aggregator) -> Result<Value, Refusal> {
    let actions = aggregator.store.reader().actions(ACTIONS).await.map_err(failed)?;
    Ok(json!({ "actions": actions }))
}

fn image_value(image: ImageRecord, now: Timestamp) -> Value {
    let ended: BTreeSet<String> =
        image.releases.iter().filter_map(|release| ended::ended(release, now)).collect();
    json!({
        "digest": image.digest.as_str(),
        "platform": image.platform.to_string(),
        "sbom": image.sbom,
        "state": if image.is_unmatched() { "unmatched" } else { "matched" },
        "db_seq": image.db_seq,
        "components": image.components,
        "partial": image.partial.iter().map(|p| json!({ "code": p.code, "detail": p.detail })).collect::<Vec<_>>(),
        "uncovered": image.uncovered,
        "holders": image.holders.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "repositories": image.repositories,
        "end_of_life": ended,
        "base": image.base.as_ref().map(base_value),
        "came_with": image.came_with.map(|came| json!({
            "base": came.base, "application": came.application, "unknown": came.unknown,
        })),
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImagesAsked {
    /// Only those on releases that are past their support.
    eol: bool,
    limit: Option<u32>,
    /// The digest after which the answer goes on.
    after: Option<Digest>,
}

async fn images(aggregator: &Aggregator, question: Value) -> Result<Value, Refusal> {
    let asked: ImagesAsked = read::<Option<ImagesAsked>>(question)?.unwrap_or_default();
    let (reader, now) = (aggregator.store.reader(), Timestamp::now());
    let mut filter = ImageFilter::default();
    if asked.eol {
        let all = reader.releases().await.map_err(failed)?;
        filter.releases = Some(all.into_iter().filter(|r| ended::ended(r, now).is_some()).collect());
    }
    let limit = asked.limit.unwrap_or(IMAGES).clamp(1, IMAGES);
    let mut images =
        reader.images(&filter, asked.after.as_ref(), limit.saturating_add(1)).await.map_err(failed)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = images.len() > most;
    images.truncate(most);
    let next = images.last().filter(|_| more).map(|image| image.digest.clone());
    let failures = reader.failures(IMAGES).await.map_err(failed)?;
    let failures: Vec<Value> = failures
        .into_iter()
        .map(|f| {
            json!({
                "registry": f.registry, "repository": f.repository, "tag": f.tag, "digest": f.digest,
                "stage": f.stage, "code": f.code, "detail": f.detail, "at": f.at.to_string(),
            })
        })
        .collect();
    let images: Vec<Value> = images.into_iter().map(|image| image_value(image, now)).collect();
    Ok(json!({ "images": images, "failures": failures, "next": next }))
}

#[derive(Deserialize)]
struct ImageAsked {
    digest: Digest,
}

async fn image(aggregator: &Aggregator, question: Value) -> Result<Value, Refusal> {
    let asked: ImageAsked = read(question)?;
    let image = aggregator.store.reader().image(&asked.digest).await.map_err(failed)?;
    image
        .map(|image| image_value(image, Timestamp::now()))
        .ok_or_else(|| Refusal::new("not_found", format!("{} was not scanned", asked.digest)))
}

async fn counts(aggregator: &Aggregator) -> Result<Value, Refusal> {
    let counts = aggregator.store.reader().counts().await.map_err(failed)?;
    let open: serde_json::Map<String, Value> =
        counts.open.iter().map(|(class, count)| (class.to_string(), (*count).into())).collect();
    Ok(json!({
        "open": open, "images": counts.images, "unmatched": counts.unmatched, "partial": counts.partial,
        "failed": counts.failed, "components": counts.components, "workloads": counts.workloads,
        "clusters": counts.clusters, "outbox": counts.outbox, "catch_up": counts.catch_up,
        "db_seq": counts.db_seq, "epoch": counts.epoch,
    }))
}

#[derive(Deserialize)]
struct BackupAsked {
    name: String,
}

/// A copy of the store in the folder `backups` of the data folder. The name is a file name, not a path.
async fn backup(aggregator: &Aggregator, question: Value) -> Result<Value, Refusal> {
    let asked: BackupAsked = read(question)?;
    let plain = !asked.name.is_empty()
        && asked.name.len() <= 100
        && !asked.name.starts_with('.')
        && asked.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !plain {
        return Err(Refusal::new("bad_request", "the name of a backup is letters, digits, '-', '_' and '.'"));
    }
    let folder: PathBuf = aggregator.role.data.join("backups");
    std::fs::create_dir_all(&folder).map_err(internal)?;
    let path = folder.join(&asked.name);
    if path.exists() {
        return Err(Refusal::new("bad_request", format!("{} is there already", path.display())));
    }
    aggregator.store.backup(&path).await.map_err(failed)?;
    Ok(json!({ "path": path.to_string_lossy() }))
}
