//! The sbom role: the Extracts of an image become its Sbom.
//!
//! The Sbom artifact's name is made of the image and of what its layers came to, so its being there says that the
//! work is done; it needs no claim.

use std::sync::Arc;

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::recent::Recent;
use plimsoll_bus::subjects::{self, Lane, layer_record, token};
use plimsoll_bus::{Cx, Emit, Failure, Guard, Limits, Outgoing, Records, Source, Stage, fault, stage};
use plimsoll_cpu::Pool;
use plimsoll_model::digest::Digest;
use plimsoll_model::extract::{Extract, Partial};
use plimsoll_model::fact::{Fact, FactBody, ScanFailed};
use plimsoll_model::sbom::{Base, LayerInfo};
use plimsoll_process::{GRACE, ProcessError, Role};
use plimsoll_proto::v1;
use plimsoll_sbom::{Content, ImageMeta};
use prost::Message;

/// Annotations of an image about what it is built on (OCI image specification, "Pre-Defined Annotation Keys").
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Bytes, as stored, of the Extracts that are kept at hand: base layers come again and again.
const RECENT: usize = 24 << 20;
/// Children of an index among which a base image is looked for.
const MAX_CHILDREN: usize = 50;

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let stage = SbomStage {
        scans: role.bus.records("scans"),
        layers: role.bus.records("layers"),
        pool: role.pool.clone(),
        profile: role.config.limits.layer_profile.clone(),
        recent: Recent::new(RECENT),
        catalogued: Recent::new(RECENT),
    };
    let running = stage::start(role.bus.clone(), stage, role.stop.clone(), GRACE).await?;
    role.bus.health().ready("sbom");
    running.drained().await;
    Ok(())
}

struct SbomStage {
    scans: Records,
    layers: Records,
    pool: Pool,
    profile: String,
    recent: Recent<Extract>,
    /// By the layers and the names of their Extracts.
    catalogued: Recent<Content>,
}

/// What this role may publish.
enum Out {
    Scan(v1::ScanJob),
    /// An Extract was collected meanwhile: the image is planned anew.
    Replan(v1::ManifestJob),
    Failed(Box<v1::Fact>),
}

impl Emit for Out {
    fn messages(&self, lane: Lane) -> Vec<Outgoing> {
        let message = match self {
            Self::Scan(job) => {
                Outgoing { subject: subjects::job("scan", lane), payload: job.encode_to_vec() }
            }
            Self::Replan(job) => {
                Outgoing { subject: subjects::job("manifest", lane), payload: job.encode_to_vec() }
            }
            Self::Failed(fact) => {
                Outgoing { subject: subjects::FACT_IMAGE.to_owned(), payload: fact.encode_to_vec() }
            }
        };
        vec![message]
    }
}

/// What one layer came to.
enum Layer {
    Ready(String),
    Failed { code: String, detail: String },
}

#[async_trait]
impl Stage for SbomStage {
    const NAME: &'static str = "sbom";
    const REVISION: u32 = 2;
    type In = v1::SbomJob;
    type Out = Out;

    fn sources(&self) -> Vec<Source> {
        vec![
            Source::log(subjects::FACTS, Self::NAME, &[subjects::FACT_READY], Lane::Hot),
            Source::jobs(Self::NAME, Lane::Hot),
            Source::jobs(Self::NAME, Lane::Bulk),
        ]
    }

    fn decode(&self, subject: &str, payload: &[u8]) -> Result<v1::SbomJob, String> {
        if subject != subjects::FACT_READY {
            return v1::SbomJob::decode(payload).map_err(|e| e.to_string());
        }
        match v1::Fact::decode(payload).map_err(|e| e.to_string())?.body {
            Some(v1::fact::Body::Manifest(v1::ManifestFact { sbom: Some(job), .. })) => Ok(job),
            _ => Err("not the fact of a manifest with its job".into()),
        }
    }

    fn key(&self, job: &v1::SbomJob) -> WorkKey {
        WorkKey::of(&[Self::NAME, &Self::REVISION.to_string(), &job.digest])
    }

    fn limits(&self) -> Limits {
        Limits { slots: 16, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, job: &v1::SbomJob) -> Result<Out, Failure> {
        let digest: Digest = job.digest.parse().map_err(|e| Failure::permanent("invalid_digest", e))?;
        let Some(record) = self.scans.get(&token(&job.digest)).await? else {
            return Err(Failure::Superseded);
        };
        let record: v1::ScanRecord = record.decode()?;
        if record.state != "image" {
            return Err(Failure::Superseded);
        }
        let layers = self.layers(cx, job, &record).await?;
        if !layers.is_empty() && layers.iter().all(|layer| matches!(layer, Layer::Failed { .. })) {
            return failed(cx, &digest, &record, &layers);
        }
        let name = artifact(&digest, &layers);
        let new = job.fresh && cx.attempt() == 1;
        if new || !cx.artifacts().exists(&name).await? {
            let key = content_key(&record, &layers);
            let extracts = match self.catalogued.get(&key) {
                Some(known) => Ok(Read::Before(known)),
                None => self.extracts(cx, &record, &layers).await?.map(Read::Now),
            };
            let read = match extracts {
                Ok(read) => read,
                Err(lost) => {
                    return Ok(Out::Replan(v1::ManifestJob {
                        source: job.source.clone(),
                        tag: String::new(),
                        digest: job.digest.clone(),
                        at: record.at,
                        lost,
                    }));
                }
            };
            let bytes = self.build(cx, &digest, &record, (key, read), &layers).await?;
            cx.artifacts().put_named(&name, &bytes).await?;
            fault::point(Self::NAME, "stored");
        }
        let scan = v1::ImageScan { digest: job.digest.clone(), sbom: name, db_seq: 0 };
        Ok(Out::Scan(v1::ScanJob { what: Some(v1::scan_job::What::Image(scan)) }))
    }

    async fn failed(&self, cx: &Cx, job: &v1::SbomJob, code: &str, detail: &str) -> Option<Out> {
        let source = job.source.clone().unwrap_or_default();
        let body = ScanFailed {
            digest: job.digest.parse().ok(),
            registry: source.registry,
            repository: source.repository,
            tag: None,
            stage: Self::NAME.into(),
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        failure_fact(cx, body).ok()
    }
}

/// The content of an image's layers.
enum Read {
    Now(Vec<Arc<Extract>>),
    /// Of another image with the same layers, a moment ago.
    Before(Arc<Content>),
}

/// What the content of an image's layers follows from: the layers, and what each came to.
fn content_key(record: &v1::ScanRecord, layers: &[Layer]) -> String {
    let mut key = String::new();
    for (planned, layer) in record.layers.iter().zip(layers) {
        let extract = match layer {
            Layer::Ready(name) => name.as_str(),
            Layer::Failed { .. } => "",
        };
        key.extend([planned.digest.as_str(), " ", extract, "\n"]);
    }
    key
}

/// The name of an Sbom: the image, the revision, and what each layer came to.
fn artifact(digest: &Digest, layers: &[Layer]) -> String {
    let revision = SbomStage::REVISION.to_string();
    let mut parts = vec!["sbom", &revision, digest.as_str()];
    for layer in layers {
        match layer {
            Layer::Ready(artifact) => parts.push(artifact),
            Layer::Failed { code, .. } => parts.push(code),
        }
    }
    format!("sbom.{}.{}", token(digest.as_str()), WorkKey::of(&parts).as_str())
}

fn failure_fact(cx: &Cx, body: ScanFailed) -> Result<Out, Failure> {
    let digest = body.digest.as_ref().map(ToString::to_string).unwrap_or_default();
    let id = WorkKey::of(&["failed", &body.stage, &digest, &body.registry, &body.repository, &body.code]);
    let fact = Fact {
        id: id.as_str().to_owned(),
        at: cx.published(),
        trace: cx.trace().to_owned(),
        body: FactBody::ScanFailed(body),
    };
    Ok(Out::Failed(Box::new(fact.try_into()?)))
}

/// Nothing of the image could be read: a visible failure with the first layer's code, never an empty Sbom.
fn failed(cx: &Cx, digest: &Digest, record: &v1::ScanRecord, layers: &[Layer]) -> Result<Out, Failure> {
    let first = layers.iter().find_map(|layer| match layer {
        Layer::Failed { code, detail } => Some((code.clone(), detail.clone())),
        Layer::Ready(_) => None,
    });
    let (code, detail) = first.unwrap_or_default();
    let source = record.sources.first().cloned().unwrap_or_default();
    failure_fact(
        cx,
        ScanFailed {
            digest: Some(digest.clone()),
            registry: source.registry,
            repository: source.repository,
            tag: (!source.tag.is_empty()).then_some(source.tag),
            stage: "layer".into(),
            code,
            detail,
        },
    )
}

impl SbomStage {
    /// What the layers came to: as the planner saw them, if all were there; for a job that comes again, as they are now.
    async fn layers(
        &self,
        cx: &Cx,
        job: &v1::SbomJob,
        record: &v1::ScanRecord,
    ) -> Result<Vec<Layer>, Failure> {
        if cx.attempt() == 1 && job.extracts.len() == record.layers.len() {
            return Ok(job.extracts.iter().cloned().map(Layer::Ready).collect());
        }
        let mut layers = Vec::with_capacity(record.layers.len());
        for layer in &record.layers {
            layers.push(self.layer(&layer.digest).await?);
        }
        Ok(layers)
    }

    async fn layer(&self, digest: &str) -> Result<Layer, Failure> {
        let key = layer_record(&self.profile, digest);
        let record: v1::LayerRecord = match self.layers.get(&key).await? {
            Some(record) => record.decode()?,
            None => return Err(Failure::transient("layer_not_ready", digest)),
        };
        match record.state.as_str() {
            "ready" => Ok(Layer::Ready(record.artifact)),
            "failed" => Ok(Layer::Failed { code: record.code, detail: record.detail }),
            _ => Err(Failure::transient("layer_not_ready", digest)),
        }
    }

    /// The Extracts of the layers that are ready, oldest first, or the layers whose Extracts were collected.
    async fn extracts(
        &self,
        cx: &Cx,
        record: &v1::ScanRecord,
        layers: &[Layer],
    ) -> Result<Result<Vec<Arc<Extract>>, Vec<String>>, Failure> {
        let (mut extracts, mut lost) = (Vec::with_capacity(layers.len()), Vec::new());
        for (planned, layer) in record.layers.iter().zip(layers) {
            let Layer::Ready(name) = layer else { continue };
            if let Some(known) = self.recent.get(name) {
                extracts.push(known);
                continue;
            }
            let Some(bytes) = cx.artifacts().get(name).await? else {
                lost.push(planned.digest.clone());
                continue;
            };
            let size = bytes.len();
            let message =
                v1::Extract::decode(bytes).map_err(|e| Failure::permanent("artifact_corrupt", e))?;
            let extract = Arc::new(Extract::try_from(message)?);
            self.recent.put(name, size, Arc::clone(&extract));
            extracts.push(extract);
            cx.progress();
        }
        Ok(if lost.is_empty() { Ok(extracts) } else { Err(lost) })
    }

    /// The image that this one names as its base (`org.opencontainers.image.base.digest`), if it is known here and
    /// its layers are indeed the oldest of this one. Nothing is fetched for it.
    async fn base(&self, record: &v1::ScanRecord, layers: &[LayerInfo]) -> Result<Option<Base>, Failure> {
        let label = |name: &str| {
            record.labels.iter().find(|label| label.name == name).map_or("", |label| label.value.as_str())
        };
        let Ok(digest) = label(BASE_DIGEST).parse::<Digest>() else { return Ok(None) };
        let Some(named) = self.scan(digest.as_str()).await? else { return Ok(None) };
        let mut candidates = Vec::new();
        match named.state.as_str() {
            "image" => candidates.push(named),
            "index" => {
                for child in named.children.iter().take(MAX_CHILDREN) {
                    candidates.extend(self.scan(child).await?.filter(|child| child.state == "image"));
                }
            }
            _ => {}
        }
        for known in candidates {
            let theirs: Vec<Digest> = known.layers.iter().filter_map(|l| l.digest.parse().ok()).collect();
            let source = known.sources.first().cloned().unwrap_or_default();
            let name = match label(BASE_NAME) {
                "" => format!("{}/{}", source.registry, source.repository),
                name => name.to_owned(),
            };
            let Ok(digest) = known.digest.parse::<Digest>() else { continue };
            let found = plimsoll_sbom::base::find(layers, [(name.as_str(), &digest, theirs.as_slice())]);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn scan(&self, digest: &str) -> Result<Option<v1::ScanRecord>, Failure> {
        match self.scans.get(&token(digest)).await? {
            Some(record) => Ok(Some(record.decode()?)),
            None => Ok(None),
        }
    }

    async fn build(
        &self,
        cx: &Cx,
        digest: &Digest,
        record: &v1::ScanRecord,
        (key, read): (String, Read),
        layers: &[Layer],
    ) -> Result<Vec<u8>, Failure> {
        let source = record.sources.first().cloned().unwrap_or_default();
        let mut infos = Vec::with_capacity(record.layers.len());
        let mut partial = Vec::new();
        for (planned, layer) in record.layers.iter().zip(layers) {
            let info = planned.digest.parse().map_err(|e| Failure::permanent("invalid_digest", e))?;
            match layer {
                Layer::Ready(_) => {}
                Layer::Failed { code, detail } => partial.push(Partial {
                    code: code.clone(),
                    detail: format!("layer {}: {detail}", planned.digest),
                }),
            }
            infos.push(LayerInfo { digest: info, created_by: planned.created_by.clone() });
        }
        let base = self.base(record, &infos).await?;
        let meta = ImageMeta {
            base,
            image: Some(digest.clone()),
            name: format!("{}/{}", source.registry, source.repository),
            platform: record.platform.clone().map(Into::into),
            layers: infos,
            labels: record.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect(),
            partial,
        };
        let kept = self.catalogued.clone();
        let work = move |_: &_| {
            let content = match read {
                Read::Before(known) => known,
                Read::Now(extracts) => Arc::new(Content::of(&meta.layers, &extracts)),
            };
            let bytes = v1::Sbom::from(Content::clone(&content).into_sbom(meta)).encode_to_vec();
            // In memory it is some three times as large as encoded.
            kept.put(&key, bytes.len() * 3, content);
            bytes
        };
        let _gate = cx.gate();
        self.pool.run("sbom.build", work).await.map_err(|e| Failure::transient("cpu", e))
    }
}
