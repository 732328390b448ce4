//! The join: a layer is ready or failed, and the images that waited for it go on if it was the last.

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Failure, Guard, Limits, Source, Stage};
use plimsoll_proto::v1;
use prost::Message;

use crate::out::{One, Planned};
use crate::records::{LayerState, Records};

/// Takes in facts about layers.
pub struct JoinStage {
    records: Records,
}

impl JoinStage {
    pub fn new(records: Records) -> Self {
        Self { records }
    }
}

#[async_trait]
impl Stage for JoinStage {
    const NAME: &'static str = "join";
    const REVISION: u32 = 1;
    type In = v1::LayerFact;
    type Out = Planned;

    fn sources(&self) -> Vec<Source> {
        vec![Source::log(subjects::FACTS, "join", &[subjects::FACT_LAYER], Lane::Hot)]
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<v1::LayerFact, String> {
        match v1::Fact::decode(payload).map_err(|e| e.to_string())?.body {
            Some(v1::fact::Body::Layer(fact)) => Ok(fact),
            _ => Err("not a layer fact".into()),
        }
    }

    fn key(&self, fact: &v1::LayerFact) -> WorkKey {
        WorkKey::of(&[
            Self::NAME,
            self.records.profile(),
            &fact.digest,
            &fact.state,
            &fact.artifact,
            &fact.registry,
            &fact.repository,
        ])
    }

    fn limits(&self) -> Limits {
        Limits { slots: 16, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, fact: &v1::LayerFact) -> Result<Planned, Failure> {
        let waiters = self.records.settle(fact).await?;
        let mut out = Vec::new();
        for image in waiters {
            cx.progress();
            let Some(record) = self.records.scan(&image).await? else { continue };
            if self.complete(&record).await? {
                let source = record
                    .sources
                    .first()
                    .map(|s| v1::Source { registry: s.registry.clone(), repository: s.repository.clone() });
                out.push(One::Sbom(v1::SbomJob { digest: image, source, ..Default::default() }));
            }
        }
        Ok(Planned(out))
    }
}

impl JoinStage {
    async fn complete(&self, record: &v1::ScanRecord) -> Result<bool, Failure> {
        for layer in &record.layers {
            if self.records.state_of(&layer.digest, &record.sources).await? == LayerState::Awaited {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
