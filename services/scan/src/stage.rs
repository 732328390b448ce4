//! Match jobs. They read only the Sbom, or component keys, and the Db, so that matching an Sbom again equals
//! matching the image again.

use std::sync::Arc;

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Emit, Failure, Guard, Limits, Outgoing, Source, Stage};
use plimsoll_cpu::Pool;
use plimsoll_model::fact::{Fact, FactBody, ImageFact, MatchFact, ScanFailed, UNKNOWN_LAYER};
use plimsoll_model::package::ComponentKey;
use plimsoll_model::sbom::Sbom;
use plimsoll_model::vulnerability::MatchSet;
use plimsoll_proto::v1;
use plimsoll_vuln::{Db, matchable_keys};
use prost::Message;

use crate::installed::Installed;

/// Matches.
pub struct ScanStage {
    installed: Installed,
    pool: Pool,
}

impl ScanStage {
    pub fn new(installed: Installed, pool: Pool) -> Self {
        Self { installed, pool }
    }
}

/// What this role may publish.
pub enum Out {
    Image(Box<v1::Fact>),
    Match(Box<v1::Fact>),
}

impl Emit for Out {
    fn messages(&self, _lane: Lane) -> Vec<Outgoing> {
        let (subject, fact) = match self {
            Self::Image(fact) => (subjects::FACT_IMAGE, fact),
            Self::Match(fact) => (subjects::FACT_MATCH, fact),
        };
        vec![Outgoing { subject: subject.to_owned(), payload: fact.encode_to_vec() }]
    }
}

#[async_trait]
impl Stage for ScanStage {
    const NAME: &'static str = "scan";
    const REVISION: u32 = 2;
    type In = v1::ScanJob;
    type Out = Out;

    fn sources(&self) -> Vec<Source> {
        vec![Source::jobs(Self::NAME, Lane::Hot), Source::jobs(Self::NAME, Lane::Bulk)]
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<v1::ScanJob, String> {
        v1::ScanJob::decode(payload).map_err(|e| e.to_string())
    }

    fn key(&self, job: &v1::ScanJob) -> WorkKey {
        let revision = Self::REVISION.to_string();
        match &job.what {
            Some(v1::scan_job::What::Image(image)) => {
                WorkKey::of(&[Self::NAME, &revision, &image.digest, &image.sbom, &image.db_seq.to_string()])
            }
            Some(v1::scan_job::What::Components(scan)) => {
                let content = plimsoll_bus::connection::message_id(&[&scan.encode_to_vec()]);
                WorkKey::of(&[Self::NAME, &revision, "components", &content])
            }
            None => WorkKey::of(&[Self::NAME, &revision, "nothing"]),
        }
    }

    fn limits(&self) -> Limits {
        // The fact's id is made of Sbom and Db, and the store takes each fact once.
        Limits { slots: 16, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, job: &v1::ScanJob) -> Result<Out, Failure> {
        match &job.what {
            Some(v1::scan_job::What::Image(image)) => self.image(cx, image).await,
            Some(v1::scan_job::What::Components(scan)) => self.components(cx, scan).await,
            None => Err(Failure::permanent("bad_message", "a scan job without an object")),
        }
    }

    async fn failed(&self, cx: &Cx, job: &v1::ScanJob, code: &str, detail: &str) -> Option<Out> {
        let Some(v1::scan_job::What::Image(image)) = &job.what else { return None };
        let body = ScanFailed {
            digest: image.digest.parse().ok(),
            registry: String::new(),
            repository: String::new(),
            tag: None,
            stage: Self::NAME.into(),
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        let id = WorkKey::of(&["failed", Self::NAME, &image.digest, &image.sbom, code]);
        fact(cx, &id, FactBody::ScanFailed(body)).ok().map(Out::Image)
    }
}

fn fact(cx: &Cx, id: &WorkKey, body: FactBody) -> Result<Box<v1::Fact>, Failure> {
    let fact = Fact { id: id.as_str().to_owned(), at: cx.published(), trace: cx.trace().to_owned(), body };
    Ok(Box::new(fact.try_into()?))
}

impl ScanStage {
    /// The Db, at least as new as a job asks for.
    async fn db(&self, cx: &Cx, at_least: u64) -> Result<Option<Arc<Db>>, Failure> {
        let mut db = self.installed.current();
        if db.is_none() || db.as_ref().is_some_and(|db| db.seq() < at_least) {
            let _gate = cx.gate();
            db = self.installed.refresh().await?;
        }
        match db {
            Some(db) if db.seq() < at_least => Err(Failure::transient(
                "db_not_ready",
                format!("Db {at_least} is asked for, {} is current", db.seq()),
            )),
            db => Ok(db),
        }
    }

    async fn matched(
        &self,
        cx: &Cx,
        db: Option<Arc<Db>>,
        keys: Vec<ComponentKey>,
    ) -> Result<MatchSet, Failure> {
        // Without a Db nothing is matched, and the sequence 0 says so: unmatched, never clean.
        let Some(db) = db else { return Ok(MatchSet::default()) };
        let _gate = cx.gate();
        let work = move |_: &_| db.match_keys(&keys);
        let matched = self.pool.run("scan.match", work).await.map_err(|e| Failure::transient("cpu", e))?;
        matched.map_err(|e| Failure::transient(e.code(), e))
    }

    async fn image(&self, cx: &Cx, image: &v1::ImageScan) -> Result<Out, Failure> {
        let Some(bytes) = cx.artifacts().get(&image.sbom).await? else {
            // Collected meanwhile: whoever needs the image plans it anew.
            return Err(Failure::Superseded);
        };
        let message = v1::Sbom::decode(bytes).map_err(|e| Failure::permanent("artifact_corrupt", e))?;
        let sbom = Sbom::try_from(message)?;
        let digest = sbom
            .image
            .clone()
            .ok_or_else(|| Failure::permanent("artifact_corrupt", "an Sbom without image"))?;
        let db = self.db(cx, image.db_seq).await?;
        let db_seq = db.as_ref().map_or(0, |db| db.seq());
        let components = matchable_keys(&sbom);
        let matches = self.matched(cx, db, components.clone()).await?;
        let place = |key: &ComponentKey| u32::try_from(components.binary_search(key).ok()?).ok();
        let mut inside: Vec<(u32, u32)> = Vec::new();
        for (component, outer) in sbom.inside() {
            let Some(component) = place(&component) else { continue };
            inside.extend(outer.iter().filter_map(place).map(|outer| (component, outer)));
        }
        let newest = sbom.newest_layers();
        let layer = |key: &ComponentKey| u32::try_from((*newest.get(key)?)?).ok();
        let introduced = components.iter().map(|key| layer(key).unwrap_or(UNKNOWN_LAYER)).collect();
        let body = FactBody::Image(ImageFact {
            digest: digest.clone(),
            platform: sbom.platform.clone().unwrap_or_default(),
            sbom: image.sbom.clone(),
            components,
            matches,
            partial: sbom.partial.clone(),
            layers: sbom.layers.iter().map(|l| l.digest.clone()).collect(),
            inside,
            introduced,
        });
        let id = WorkKey::of(&[
            "image",
            &Self::REVISION.to_string(),
            digest.as_str(),
            &image.sbom,
            &db_seq.to_string(),
        ]);
        fact(cx, &id, body).map(Out::Image)
    }

    async fn components(&self, cx: &Cx, scan: &v1::ComponentScan) -> Result<Out, Failure> {
        let components: Vec<ComponentKey> =
            scan.components.iter().cloned().map(ComponentKey::try_from).collect::<Result<_, _>>()?;
        let db = self.db(cx, scan.db_seq).await?;
        let db_seq = db.as_ref().map_or(0, |db| db.seq());
        let matches = self.matched(cx, db, components.clone()).await?;
        let content = plimsoll_bus::connection::message_id(&[&scan.encode_to_vec()]);
        let id = WorkKey::of(&["match", &content, &db_seq.to_string()]);
        fact(cx, &id, FactBody::Match(MatchFact { components, matches, reason: scan.reason.clone() }))
            .map(Out::Match)
    }
}
