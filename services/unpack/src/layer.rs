//! Layer jobs: stream, verify, decompress, walk, reduce to an Extract.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Failure, Guard, Limits, Source, Stage, fault};
use plimsoll_config::Config;
use plimsoll_cpu::budget::Permit;
use plimsoll_cpu::{ByteBudget, Cancel};
use plimsoll_image::layer::{self, Hooks, LayerError, LayerMedia, LayerSource, Progress, StreamError};
use plimsoll_image::registry::{Registries, RegistryError};
use plimsoll_image::select::Table;
use plimsoll_model::digest::Digest;
use plimsoll_model::extract::Extract;
use plimsoll_proto::v1;
use prost::Message;

use crate::out::{One, Planned};

/// Reads layers.
pub struct LayerStage {
    registries: Registries,
    limits: layer::Limits,
    slots: usize,
    budget: Arc<ByteBudget>,
    table: &'static Table,
    /// Hash of the selectors and their revisions.
    selectors: String,
}

impl LayerStage {
    pub fn new(registries: Registries, config: &Config, slots: usize, budget: Arc<ByteBudget>) -> Self {
        let limits = layer::Limits {
            profile: config.limits.layer_profile.clone(),
            compressed_bytes: config.limits.blob.0,
            ..layer::Limits::default()
        };
        let table = Table::of(false, config.secrets);
        let revisions: Vec<String> =
            table.revisions().iter().map(|s| format!("{}={}", s.name, s.revision)).collect();
        let revisions: Vec<&str> = revisions.iter().map(String::as_str).collect();
        let selectors = WorkKey::of(&revisions).as_str().to_owned();
        Self { registries, limits, slots, budget, table, selectors }
    }

    fn artifact(&self, digest: &str) -> String {
        let (profile, selectors) = (subjects::token(&self.limits.profile), &self.selectors);
        format!("extract.{profile}.{selectors}.{}", subjects::token(digest))
    }
}

/// What a reading thread tells the runtime.
struct Watch {
    cx: Cx,
    budget: Arc<ByteBudget>,
    cancel: Cancel,
}

impl Hooks for Watch {
    fn progress(&self, _: &Progress) -> ControlFlow<()> {
        self.cx.progress();
        if self.cx.cancelled().is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn reserve(&self, bytes: u64) -> Option<Permit> {
        let _gate = self.cx.gate();
        self.budget.reserve_blocking(bytes, &self.cancel).ok()
    }
}

#[async_trait]
impl Stage for LayerStage {
    const NAME: &'static str = "layer";
    const REVISION: u32 = 1;
    type In = v1::LayerJob;
    type Out = Planned;

    fn sources(&self) -> Vec<Source> {
        [Lane::Hot, Lane::Bulk, Lane::Hint].map(|lane| Source::jobs(Self::NAME, lane)).to_vec()
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<v1::LayerJob, String> {
        v1::LayerJob::decode(payload).map_err(|e| e.to_string())
    }

    fn key(&self, job: &v1::LayerJob) -> WorkKey {
        let revision = Self::REVISION.to_string();
        WorkKey::of(&[Self::NAME, &revision, &self.limits.profile, &self.selectors, &job.digest])
    }

    fn limits(&self) -> Limits {
        Limits {
            slots: self.slots,
            deadline: self.limits.time + std::time::Duration::from_secs(3600),
            guard: Guard::Claim,
            ..Limits::default()
        }
    }

    async fn run(&self, cx: &Cx, job: &v1::LayerJob) -> Result<Planned, Failure> {
        let digest: Digest = job.digest.parse().map_err(|e| Failure::permanent("invalid_digest", e))?;
        let artifact = self.artifact(&job.digest);
        if !cx.artifacts().exists(&artifact).await? {
            let extract = self.read_any(cx, job, &digest).await?;
            let message = v1::Extract::from(extract);
            cx.artifacts().put_named(&artifact, &message.encode_to_vec()).await?;
            fault::point(Self::NAME, "stored");
        }
        Ok(Planned(vec![One::LayerFact(v1::LayerFact {
            digest: job.digest.clone(),
            state: "ready".into(),
            artifact,
            hint: job.hint,
            ..Default::default()
        })]))
    }

    async fn stands(&self, cx: &Cx, job: &v1::LayerJob) -> Result<bool, Failure> {
        Ok(cx.artifacts().exists(&self.artifact(&job.digest)).await?)
    }

    async fn failed(&self, _cx: &Cx, job: &v1::LayerJob, code: &str, detail: &str) -> Option<Planned> {
        if job.hint {
            return None;
        }
        let told = |source: &v1::Source| {
            One::LayerFact(v1::LayerFact {
                digest: job.digest.clone(),
                state: "failed".into(),
                code: code.to_owned(),
                detail: detail.to_owned(),
                registry: source.registry.clone(),
                repository: source.repository.clone(),
                ..Default::default()
            })
        };
        Some(Planned(job.sources.iter().map(told).collect()))
    }
}

impl LayerStage {
    /// Reads the layer from the first source that gives it. A source that fails for good is passed over; the work
    /// fails with the last one, and is tried again if any of them may recover.
    async fn read_any(&self, cx: &Cx, job: &v1::LayerJob, digest: &Digest) -> Result<Extract, Failure> {
        if LayerMedia::parse(&job.media_type).is_some_and(|media| media.foreign) {
            return Ok(layer::foreign(digest.clone(), &self.limits, self.table));
        }
        let mut failures = Vec::new();
        for source in &job.sources {
            match self.read(cx, job, source, digest).await {
                Ok(extract) => return Ok(extract),
                Err(failure) => failures.push(failure),
            }
        }
        if job.hint {
            // Nobody waits: no failure is recorded against a digest that was only announced.
            return Err(Failure::Superseded);
        }
        let transient = failures.iter().position(|f| matches!(f, Failure::Transient { .. }));
        let last = failures.len().checked_sub(1);
        match transient.or(last) {
            Some(index) => Err(failures.swap_remove(index)),
            None => Err(Failure::permanent("not_found", "no source is known for the layer")),
        }
    }

    async fn read(
        &self,
        cx: &Cx,
        job: &v1::LayerJob,
        source: &v1::Source,
        digest: &Digest,
    ) -> Result<Extract, Failure> {
        let stream = {
            let _gate = cx.gate();
            self.registries
                .blob(&source.registry, &source.repository, digest, self.limits.compressed_bytes)
                .await
                .map_err(|e| crate::out::failure(&e))?
        };
        let layer = LayerSource {
            digest: digest.clone(),
            size: (job.size > 0).then_some(job.size),
            media_type: job.media_type.clone(),
        };
        let cancel = Cancel::new();
        let hooks =
            Arc::new(Watch { cx: cx.clone(), budget: Arc::clone(&self.budget), cancel: cancel.clone() });
        let read = layer::read_stream(stream, layer, self.limits.clone(), self.table, hooks, &cancel).await;
        read.map_err(|error| match error {
            StreamError::Transfer(error) => transfer_failure(&error),
            StreamError::Layer(error) => layer_failure(&error),
        })
    }
}

fn transfer_failure(error: &RegistryError) -> Failure {
    crate::out::failure(error)
}

fn layer_failure(error: &LayerError) -> Failure {
    match error {
        LayerError::Input(_) | LayerError::Thread(_) | LayerError::Lost | LayerError::Cancelled => {
            Failure::transient(error.code(), error)
        }
        _ => Failure::permanent(error.code(), error),
    }
}
