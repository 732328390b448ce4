//! The planner's records: one for each image, one for each layer and limits profile.

use plimsoll_bus::subjects::{layer_record, token};
use plimsoll_bus::{Bus, BusError};
use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use prost::Message;

/// How long a failure of a source holds that may pass by itself (credentials, absence).
const FAILURE_HOLDS: i64 = 10 * 60 * 1000;
/// Images that one record remembers as waiting.
const MAX_WAITERS: usize = 8000;

/// What the record of a layer says to an image that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerState {
    /// Its Extract is there, by the name that is given.
    Ready(String),
    /// It cannot be had from this image's sources.
    Failed { code: String },
    /// It is being read, or should be.
    Awaited,
}

/// Scan and layer records.
#[derive(Clone)]
pub struct Records {
    scans: plimsoll_bus::Records,
    layers: plimsoll_bus::Records,
    profile: String,
}

impl Records {
    pub fn new(bus: &Bus, profile: &str) -> Self {
        Self { scans: bus.records("scans"), layers: bus.records("layers"), profile: profile.to_owned() }
    }

    /// The limits profile of the layer records.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The record of an image.
    pub async fn scan(&self, digest: &str) -> Result<Option<v1::ScanRecord>, BusError> {
        self.scans.get(&token(digest)).await?.map(|record| record.decode()).transpose()
    }

    /// Writes what a manifest says, or only adds the source where the record stands already. Gives the record.
    pub async fn plan(&self, record: &v1::ScanRecord) -> Result<v1::ScanRecord, BusError> {
        self.scans
            .change(&token(&record.digest), |current: Option<v1::ScanRecord>| {
                let Some(mut known) = current.filter(|known| known.state != "failed") else {
                    return (Some(record.clone()), record.clone());
                };
                let new: Vec<v1::PlannedSource> =
                    record.sources.iter().filter(|s| !known.sources.contains(s)).cloned().collect();
                if new.is_empty() && known.state == record.state {
                    return (None, known);
                }
                known.sources.extend(new);
                known.sources.truncate(64);
                (Some(known.clone()), known)
            })
            .await
    }

    /// [`Records::plan`] for an image that had no record a moment ago. True when this wrote its first one.
    pub async fn plan_new(&self, record: v1::ScanRecord) -> Result<(v1::ScanRecord, bool), BusError> {
        let created = self.scans.create(&token(&record.digest), &record.encode_to_vec()).await?;
        if created.is_some() {
            return Ok((record, true));
        }
        Ok((self.plan(&record).await?, false))
    }

    /// Marks an image that could not even be planned, unless it is planned from elsewhere.
    pub async fn plan_failed(&self, record: &v1::ScanRecord) -> Result<(), BusError> {
        self.scans
            .change(&token(&record.digest), |current: Option<v1::ScanRecord>| match current {
                Some(known) if known.state != "failed" => (None, ()),
                _ => (Some(record.clone()), ()),
            })
            .await
    }

    /// Reads the state of a layer for an image, and makes the image wait for it if it is awaited.
    pub async fn wait_for(
        &self,
        layer: &str,
        image: &str,
        sources: &[v1::PlannedSource],
    ) -> Result<LayerState, BusError> {
        let now = Timestamp::now().0;
        self.layers
            .change(&layer_record(&self.profile, layer), |current: Option<v1::LayerRecord>| {
                let mut record = current.unwrap_or_else(|| v1::LayerRecord {
                    state: "running".into(),
                    at: now,
                    ..Default::default()
                });
                if record.state == "ready" {
                    return (None, LayerState::Ready(record.artifact));
                }
                let state = seen_by(&record, sources, now);
                if record.waiters.iter().any(|w| w == image) || record.waiters.len() >= MAX_WAITERS {
                    return (None, state);
                }
                record.waiters.push(image.to_owned());
                (Some(record), state)
            })
            .await
    }

    /// Takes a layer that is recorded as ready with `artifact`, which is gone, back to being awaited.
    pub async fn lose(&self, layer: &str, artifact: &str) -> Result<(), BusError> {
        self.layers
            .change(&layer_record(&self.profile, layer), |current: Option<v1::LayerRecord>| match current {
                Some(mut record) if record.state == "ready" && record.artifact == artifact => {
                    record.state = "running".into();
                    record.artifact.clear();
                    (Some(record), ())
                }
                _ => (None, ()),
            })
            .await
    }

    /// The state of a layer for an image that waits already.
    pub async fn state_of(&self, layer: &str, sources: &[v1::PlannedSource]) -> Result<LayerState, BusError> {
        let record = self.layers.get(&layer_record(&self.profile, layer)).await?;
        let record: Option<v1::LayerRecord> = record.map(|r| r.decode()).transpose()?;
        Ok(record.map_or(LayerState::Awaited, |record| seen_by(&record, sources, Timestamp::now().0)))
    }

    /// The record of a layer as it is.
    pub async fn layer(&self, layer: &str) -> Result<Option<v1::LayerRecord>, BusError> {
        self.layers.get(&layer_record(&self.profile, layer)).await?.map(|r| r.decode()).transpose()
    }

    /// Takes in what became of a layer, and gives the images that wait. They stay in the record, so that a planner
    /// that dies before its jobs are published finds them again.
    pub async fn settle(&self, fact: &v1::LayerFact) -> Result<Vec<String>, BusError> {
        let now = Timestamp::now().0;
        self.layers
            .change(&layer_record(&self.profile, &fact.digest), |current: Option<v1::LayerRecord>| {
                let mut record = current.unwrap_or_default();
                let waiters = record.waiters.clone();
                if fact.state == "ready" {
                    if record.state == "ready" && record.artifact == fact.artifact {
                        return (None, waiters);
                    }
                    record.state = "ready".into();
                    record.artifact.clone_from(&fact.artifact);
                    record.failed.clear();
                    (record.code, record.detail) = (String::new(), String::new());
                } else {
                    if record.state == "ready" {
                        return (None, Vec::new());
                    }
                    record.state = "failed".into();
                    record.code.clone_from(&fact.code);
                    record.detail = fact.detail.chars().take(500).collect();
                    let until = if passes(&fact.code) { now + FAILURE_HOLDS } else { 0 };
                    record.failed.retain(|f| f.registry != fact.registry || f.repository != fact.repository);
                    record.failed.push(v1::FailedSource {
                        registry: fact.registry.clone(),
                        repository: fact.repository.clone(),
                        code: fact.code.clone(),
                        until,
                    });
                }
                record.at = now;
                (Some(record), waiters)
            })
            .await
    }
}

/// Codes of failures that may pass without anybody pushing anything.
fn passes(code: &str) -> bool {
    !matches!(
        code,
        "corrupt_digest"
            | "corrupt_gzip"
            | "corrupt_zstd"
            | "corrupt_tar"
            | "too_large"
            | "unsupported"
            | "truncated"
            | "not_a_layer"
    )
}

/// Success is keyed by content, failure by source: an image fails with a layer only if every source that it may
/// use has failed.
fn seen_by(record: &v1::LayerRecord, sources: &[v1::PlannedSource], now: i64) -> LayerState {
    if record.state == "ready" {
        return LayerState::Ready(record.artifact.clone());
    }
    let failed = |source: &v1::PlannedSource| {
        record.failed.iter().find(|f| {
            f.registry == source.registry
                && f.repository == source.repository
                && (f.until == 0 || f.until > now)
        })
    };
    match sources.iter().map(failed).collect::<Option<Vec<_>>>() {
        Some(failures) => match failures.first() {
            Some(first) => LayerState::Failed { code: first.code.clone() },
            None => LayerState::Awaited,
        },
        None => LayerState::Awaited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(repository: &str) -> v1::PlannedSource {
        v1::PlannedSource { registry: "r".into(), repository: repository.into(), tag: String::new() }
    }

    #[test]
    fn a_layer_fails_only_when_every_source_failed() {
        let failed = |repository: &str, until| v1::FailedSource {
            registry: "r".into(),
            repository: repository.into(),
            code: "auth".into(),
            until,
        };
        let record = v1::LayerRecord {
            state: "failed".into(),
            failed: vec![failed("a", 0), failed("b", 100)],
            ..Default::default()
        };
        assert_eq!(seen_by(&record, &[source("a")], 50), LayerState::Failed { code: "auth".into() });
        assert_eq!(
            seen_by(&record, &[source("a"), source("b")], 50),
            LayerState::Failed { code: "auth".into() }
        );
        assert_eq!(
            seen_by(&record, &[source("a"), source("b")], 200),
            LayerState::Awaited,
            "b's failure has passed"
        );
        assert_eq!(
            seen_by(&record, &[source("a"), source("c")], 50),
            LayerState::Awaited,
            "c was never tried"
        );
        let ready = v1::LayerRecord {
            state: "ready".into(),
            artifact: "extract.1".into(),
            failed: record.failed,
            ..Default::default()
        };
        assert_eq!(seen_by(&ready, &[source("a")], 50), LayerState::Ready("extract.1".into()));
    }
}
