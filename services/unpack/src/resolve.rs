//! Deploys: the digests that references mean now. What runs is what a tag meant when the deploy was handled; a
//! later push that moves the tag does not change it.

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Failure, Guard, Limits, Source, Stage};
use plimsoll_image::registry::Registries;
use plimsoll_model::fact::{FactBody, Resolution, ResolvedFact};
use plimsoll_model::reference::Reference;
use plimsoll_proto::v1;

use crate::out::{One, Planned, fact};
use crate::records::Records;

/// Attempts after which a reference that cannot be resolved is reported as such.
const ATTEMPTS: u32 = 5;

/// Resolves the references of deploy events.
pub struct ResolveStage {
    registries: Registries,
    records: Records,
}

impl ResolveStage {
    pub fn new(registries: Registries, records: Records) -> Self {
        Self { registries, records }
    }
}

#[async_trait]
impl Stage for ResolveStage {
    const NAME: &'static str = "resolve";
    const REVISION: u32 = 1;
    type In = v1::ClusterChanged;
    type Out = Planned;

    fn sources(&self) -> Vec<Source> {
        vec![Source::log(subjects::EVENTS, "resolve", &[subjects::CLUSTERS_CHANGED], Lane::Hot)]
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<v1::ClusterChanged, String> {
        serde_json::from_slice(payload).map_err(|e| e.to_string())
    }

    fn key(&self, event: &v1::ClusterChanged) -> WorkKey {
        WorkKey::of(&[Self::NAME, &event.cluster, &event.objects, &event.mode, &event.at.to_string()])
    }

    fn limits(&self) -> Limits {
        Limits { slots: 4, attempts: ATTEMPTS, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, event: &v1::ClusterChanged) -> Result<Planned, Failure> {
        if event.mode == "delete" || event.images.is_empty() {
            return Err(Failure::Superseded);
        }
        let mut references = Vec::new();
        let mut out = Vec::new();
        for image in &event.images {
            let (resolution, transient) = self.resolve(cx, image).await;
            if transient && cx.attempt() < ATTEMPTS {
                return Err(Failure::transient("unavailable", format!("{image}: {}", resolution.code)));
            }
            if let Some(digest) = &resolution.digest
                && self.records.scan(digest.as_str()).await?.is_none_or(|record| record.state == "failed")
            {
                out.push(One::Manifest(v1::ManifestJob {
                    source: Some(v1::Source {
                        registry: resolution.registry.clone(),
                        repository: resolution.repository.clone(),
                    }),
                    tag: String::new(),
                    digest: digest.to_string(),
                    at: event.at,
                    lost: Vec::new(),
                }));
            }
            references.push(resolution);
            cx.progress();
        }
        let seq = cx.stream_seq();
        let body = FactBody::Resolved(ResolvedFact { cluster: event.cluster.clone(), seq, references });
        let told = fact(cx, &["resolved", &event.cluster, &seq.to_string()], body)?;
        out.insert(0, One::Fact(subjects::FACT_RESOLVED, told));
        Ok(Planned(out))
    }
}

impl ResolveStage {
    async fn resolve(&self, cx: &Cx, image: &str) -> (Resolution, bool) {
        let unresolved = |registry: &str, repository: &str, code: &str| Resolution {
            reference: image.to_owned(),
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            digest: None,
            code: code.to_owned(),
        };
        let Ok(reference) = image.parse::<Reference>() else {
            return (unresolved("", "", "invalid_reference"), false);
        };
        let reference = match self.registries.canonical(&reference) {
            Ok(reference) => reference,
            Err(error) => {
                return (unresolved(&reference.registry, &reference.repository, error.code()), false);
            }
        };
        let known = match &reference.digest {
            Some(digest) => Ok(digest.clone()),
            None => {
                let _gate = cx.gate();
                self.registries.resolve(&reference).await.map(|resolved| resolved.digest)
            }
        };
        match known {
            Ok(digest) => {
                let resolution = Resolution {
                    reference: image.to_owned(),
                    registry: reference.registry,
                    repository: reference.repository,
                    digest: Some(digest),
                    code: String::new(),
                };
                (resolution, false)
            }
            Err(error) => {
                (unresolved(&reference.registry, &reference.repository, error.code()), error.transient())
            }
        }
    }
}
