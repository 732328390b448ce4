//! The planner: reads a manifest, writes the scan record, and joins each layer's waiters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Failure, Guard, Limits, Source, Stage};

use plimsoll_image::manifest::{Image, ImageConfig, Index, MAX_CONFIG_BYTES, Manifest};
use plimsoll_image::registry::Registries;
use plimsoll_model::digest::Digest;
use plimsoll_model::fact::{FactBody, ManifestFact, ManifestKind, ScanFailed};
use plimsoll_model::platform::Platform;
use plimsoll_model::reference::Reference;
use plimsoll_proto::v1;
use prost::Message;

use crate::out::{One, Planned, fact, failure};
use crate::records::{LayerState, Records};

/// Children of an index that are planned at most.
const MAX_CHILDREN: usize = 100;

/// Reads manifests.
pub struct ManifestStage {
    registries: Registries,
    records: Records,
}

impl ManifestStage {
    pub fn new(registries: Registries, records: Records) -> Self {
        Self { registries, records }
    }
}

/// A manifest to read, and who says so.
pub struct Asked {
    job: v1::ManifestJob,
    /// A registry announced it; its tag is known from the event.
    announced: bool,
    /// The event was published by a planner that plans the manifest itself.
    planned: bool,
}

#[async_trait]
impl Stage for ManifestStage {
    const NAME: &'static str = "manifest";
    const REVISION: u32 = 1;
    type In = Asked;
    type Out = Planned;

    fn sources(&self) -> Vec<Source> {
        vec![
            Source::log(subjects::EVENTS, "manifest", &[subjects::IMAGE_PUSHED], Lane::Hot),
            Source::jobs("manifest", Lane::Hot),
            Source::jobs("manifest", Lane::Bulk),
        ]
    }

    fn decode(&self, subject: &str, payload: &[u8]) -> Result<Asked, String> {
        if subject == subjects::IMAGE_PUSHED {
            let event: v1::ImagePushed = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
            let planned = event.lane == "planned";
            let job = v1::ManifestJob {
                source: Some(v1::Source { registry: event.registry, repository: event.repository }),
                tag: event.tag,
                digest: event.digest,
                at: event.at,
                lost: Vec::new(),
            };
            return Ok(Asked { job, announced: true, planned });
        }
        let job = v1::ManifestJob::decode(payload).map_err(|e| e.to_string())?;
        Ok(Asked { job, announced: false, planned: false })
    }

    fn key(&self, asked: &Asked) -> WorkKey {
        let job = &asked.job;
        let source = job.source.clone().unwrap_or_default();
        let revision = Self::REVISION.to_string();
        WorkKey::of(&[Self::NAME, &revision, &source.registry, &source.repository, &job.tag, &job.digest])
    }

    fn limits(&self) -> Limits {
        // The scan record is the effect, and it is compared and set.
        Limits { slots: 32, attempts: 12, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, asked: &Asked) -> Result<Planned, Failure> {
        let job = &asked.job;
        if asked.planned {
            return Err(Failure::Superseded);
        }
        let source = job.source.clone().unwrap_or_default();
        for layer in &job.lost {
            if let Some(known) = self.records.layer(layer).await?
                && !cx.artifacts().exists(&known.artifact).await?
            {
                self.records.lose(layer, &known.artifact).await?;
            }
        }
        let reference = reference(job)?;
        let fetched = {
            let _gate = cx.gate();
            self.registries.manifest_of(&reference).await.map_err(|e| failure(&e))?
        };
        cx.progress();
        let manifest = Manifest::parse(&fetched.bytes, &fetched.media_type)
            .map_err(|e| Failure::permanent(e.code(), e))?;
        let planned = v1::PlannedSource {
            registry: source.registry.clone(),
            repository: source.repository.clone(),
            tag: job.tag.clone(),
        };
        let record = v1::ScanRecord {
            digest: fetched.digest.to_string(),
            sources: vec![planned],
            at: cx.published().0,
            trace: cx.trace().to_owned(),
            lane: cx.lane().to_string(),
            ..Default::default()
        };
        let told = |kind: ManifestKind| -> Result<One, Failure> {
            let digest = fetched.digest.clone();
            let parts = ["manifest", &source.registry, &source.repository, digest.as_str()];
            let body = FactBody::Manifest(ManifestFact {
                registry: source.registry.clone(),
                repository: source.repository.clone(),
                digest: digest.clone(),
                kind,
            });
            Ok(One::Fact(subjects::FACT_MANIFEST, fact(cx, &parts, body)?))
        };
        let mut out = Vec::new();
        if !asked.announced && !job.tag.is_empty() {
            // A tag that was looked up is known as if its push had been announced.
            out.push(One::Pushed(v1::ImagePushed {
                registry: source.registry.clone(),
                repository: source.repository.clone(),
                tag: job.tag.clone(),
                digest: fetched.digest.to_string(),
                media_type: fetched.media_type.clone(),
                at: job.at,
                lane: "planned".into(),
            }));
        }
        match manifest {
            Manifest::NotAnImage { artifact_type } => {
                let record = v1::ScanRecord {
                    state: "not_an_image".into(),
                    artifact_type: artifact_type.clone(),
                    ..record
                };
                self.records.plan(&record).await?;
                out.push(told(ManifestKind::NotAnImage { artifact_type })?);
                Ok(Planned(out))
            }
            Manifest::Index(index) => {
                let children = children(&index);
                let state = v1::ScanRecord {
                    state: "index".into(),
                    children: children.iter().map(|(_, digest)| digest.to_string()).collect(),
                    ..record
                };
                self.records.plan(&state).await?;
                out.push(told(ManifestKind::Index { children: children.clone() })?);
                out.extend(children.into_iter().map(|(_, digest)| {
                    One::Manifest(v1::ManifestJob {
                        source: Some(source.clone()),
                        tag: String::new(),
                        digest: digest.into(),
                        at: job.at,
                        lost: Vec::new(),
                    })
                }));
                Ok(Planned(out))
            }
            Manifest::Image(image) => {
                let (record, platform, fresh) = self.image_record(cx, &source, &image, record).await?;
                let layers = image.layers.iter().map(|l| l.digest.clone()).collect();
                let One::Fact(subject, fact) = told(ManifestKind::Image { platform, layers })? else {
                    return Ok(Planned(out));
                };
                match self.join(&record).await? {
                    Joined::Known(extracts) => {
                        let source = Some(source.clone());
                        let job = v1::SbomJob { digest: record.digest, source, extracts, fresh };
                        out.push(One::Ready(fact, job));
                    }
                    Joined::Awaited(layers) => {
                        out.push(One::Fact(subject, fact));
                        out.extend(layers.into_iter().map(One::Layer));
                    }
                }
                Ok(Planned(out))
            }
        }
    }

    async fn failed(&self, cx: &Cx, asked: &Asked, code: &str, detail: &str) -> Option<Planned> {
        let job = &asked.job;
        let source = job.source.clone().unwrap_or_default();
        let digest: Option<Digest> = job.digest.parse().ok();
        if let Some(digest) = &digest {
            let record = v1::ScanRecord {
                digest: digest.to_string(),
                state: "failed".into(),
                code: code.to_owned(),
                detail: detail.chars().take(500).collect(),
                at: cx.published().0,
                trace: cx.trace().to_owned(),
                ..Default::default()
            };
            if let Err(error) = self.records.plan_failed(&record).await {
                tracing::warn!(%error, "a failed scan could not be recorded; the fact says it");
            }
        }
        let parts = ["failed", "manifest", &source.registry, &source.repository, &job.tag, &job.digest, code];
        let body = FactBody::ScanFailed(ScanFailed {
            digest,
            registry: source.registry.clone(),
            repository: source.repository.clone(),
            tag: (!job.tag.is_empty()).then(|| job.tag.clone()),
            stage: "manifest".into(),
            code: code.to_owned(),
            detail: detail.to_owned(),
        });
        Some(Planned(vec![One::Fact(subjects::FACT_IMAGE, fact(cx, &parts, body).ok()?)]))
    }
}

fn reference(job: &v1::ManifestJob) -> Result<Reference, Failure> {
    let source = job.source.clone().unwrap_or_default();
    let digest = match job.digest.as_str() {
        "" => None,
        text => Some(text.parse::<Digest>().map_err(|e| Failure::permanent("invalid_reference", e))?),
    };
    let tag = (!job.tag.is_empty()).then(|| job.tag.clone());
    if digest.is_none() && tag.is_none() {
        return Err(Failure::permanent("invalid_reference", "neither tag nor digest"));
    }
    Ok(Reference { registry: source.registry, repository: source.repository, tag, digest })
}

fn children(index: &Index) -> Vec<(Platform, Digest)> {
    let mut children: Vec<(Platform, Digest)> = index
        .children
        .iter()
        .filter(|child| child.runnable())
        .map(|child| (child.platform.clone().unwrap_or_default(), child.descriptor.digest.clone()))
        .take(MAX_CHILDREN)
        .collect();
    children.sort();
    children.dedup();
    children
}

impl ManifestStage {
    /// The record of an image: its own, where it is planned already, or one with the configuration read; and whether it is
    /// the first.
    async fn image_record(
        &self,
        cx: &Cx,
        source: &v1::Source,
        image: &Image,
        record: v1::ScanRecord,
    ) -> Result<(v1::ScanRecord, Platform, bool), Failure> {
        let known = self.records.scan(&record.digest).await?;
        let new = known.is_none();
        if let Some(known) = known.filter(|known| known.state == "image") {
            let platform = known.platform.clone().map(Platform::from).unwrap_or_default();
            let known = self.records.plan(&v1::ScanRecord { sources: record.sources, ..known }).await?;
            return Ok((known, platform, false));
        }
        let bytes = {
            let _gate = cx.gate();
            self.registries
                .blob_bytes(&source.registry, &source.repository, &image.config.digest, MAX_CONFIG_BYTES)
                .await
                .map_err(|e| failure(&e))?
        };
        let config =
            ImageConfig::parse(&bytes, image.layers.len()).map_err(|e| Failure::permanent(e.code(), e))?;
        let layers = image
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| v1::PlannedLayer {
                digest: layer.digest.to_string(),
                size: layer.size,
                media_type: layer.media_type.clone(),
                created_by: config.history.get(index).cloned().unwrap_or_default(),
            })
            .collect();
        let labels = config
            .labels
            .iter()
            .chain(image.annotations.iter().map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>().iter())
            .filter(|(name, _)| name.starts_with("org.opencontainers.image."))
            .map(|(name, value)| v1::Label { name: name.clone(), value: value.chars().take(500).collect() })
            .take(50)
            .collect();
        let record = v1::ScanRecord {
            state: "image".into(),
            platform: Some(config.platform.clone().into()),
            layers,
            labels,
            config: image.config.digest.to_string(),
            ..record
        };
        let (record, fresh) = if new {
            self.records.plan_new(record).await?
        } else {
            (self.records.plan(&record).await?, false)
        };
        Ok((record, config.platform, fresh))
    }

    /// Makes the image wait for its layers. The scan record is written by now, so whoever finishes a layer from
    /// here on finds the image.
    async fn join(&self, record: &v1::ScanRecord) -> Result<Joined, Failure> {
        let mut awaited = Vec::new();
        // By layer: the name of its Extract; none where it has failed.
        let mut seen: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for layer in &record.layers {
            if seen.contains_key(layer.digest.as_str()) {
                continue;
            }
            let extract = match self.records.wait_for(&layer.digest, &record.digest, &record.sources).await? {
                LayerState::Ready(extract) => Some(extract),
                LayerState::Failed { .. } => None,
                LayerState::Awaited => {
                    let source = |s: &v1::PlannedSource| v1::Source {
                        registry: s.registry.clone(),
                        repository: s.repository.clone(),
                    };
                    awaited.push(v1::LayerJob {
                        digest: layer.digest.clone(),
                        size: layer.size,
                        media_type: layer.media_type.clone(),
                        sources: record.sources.iter().map(source).collect(),
                        hint: false,
                    });
                    None
                }
            };
            seen.insert(&layer.digest, extract);
        }
        if !awaited.is_empty() {
            return Ok(Joined::Awaited(awaited));
        }
        let extracts = record.layers.iter().map(|layer| seen.get(layer.digest.as_str()).cloned().flatten());
        Ok(Joined::Known(extracts.collect::<Option<_>>().unwrap_or_default()))
    }
}

/// What becomes of an image's layers.
enum Joined {
    /// Ready or failed, each of them; the names of their Extracts, one for each, if none has failed.
    Known(Vec<String>),
    /// Those that are to be read.
    Awaited(Vec<v1::LayerJob>),
}
