//! Hints: layers that a registry announces before their manifest. They are read in the lowest lane, within a byte
//! budget for each repository and hour; what turns out to be no layer is dropped in silence.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::subjects::{self, Lane};
use plimsoll_bus::{Cx, Failure, Guard, Limits, Source, Stage};
use plimsoll_proto::v1;

use crate::out::{One, Planned};
use crate::records::Records;

const HOUR: i64 = 3_600_000;
/// Repositories whose budgets are remembered at once.
const MAX_REPOSITORIES: usize = 10_000;
/// Smaller blobs are configurations and signatures, or layers that are read at once anyhow.
const SMALLEST: u64 = 4 << 10;

/// Turns announcements into hint jobs.
pub struct HintStage {
    records: Records,
    bytes: u64,
    spent: Mutex<HashMap<String, (i64, u64)>>,
}

impl HintStage {
    pub fn new(records: Records, bytes: u64) -> Self {
        Self { records, bytes, spent: Mutex::default() }
    }

    /// Takes `size` out of the repository's budget of this hour, if it is there.
    fn spend(&self, repository: String, hour: i64, size: u64) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= MAX_REPOSITORIES {
            spent.retain(|_, (known, _)| *known == hour);
        }
        let (known, used) = spent.entry(repository).or_insert((hour, 0));
        if *known != hour {
            (*known, *used) = (hour, 0);
        }
        match used.checked_add(size).filter(|&total| total <= self.bytes) {
            Some(total) => {
                *used = total;
                true
            }
            None => false,
        }
    }
}

#[async_trait]
impl Stage for HintStage {
    const NAME: &'static str = "hint";
    const REVISION: u32 = 1;
    type In = v1::LayerPushed;
    type Out = Planned;

    fn sources(&self) -> Vec<Source> {
        vec![Source::log(subjects::EVENTS, "hint", &[subjects::LAYER_PUSHED], Lane::Hint)]
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<v1::LayerPushed, String> {
        serde_json::from_slice(payload).map_err(|e| e.to_string())
    }

    fn key(&self, event: &v1::LayerPushed) -> WorkKey {
        WorkKey::of(&[Self::NAME, &event.registry, &event.repository, &event.digest])
    }

    fn limits(&self) -> Limits {
        Limits { slots: 8, attempts: 2, guard: Guard::Effect, ..Limits::default() }
    }

    async fn run(&self, cx: &Cx, event: &v1::LayerPushed) -> Result<Planned, Failure> {
        if event.size < SMALLEST || event.media_type.contains("json") {
            return Err(Failure::Superseded);
        }
        let known = self.records.layer(&event.digest).await?;
        if known.is_some_and(|record| matches!(record.state.as_str(), "ready" | "running")) {
            return Err(Failure::Superseded);
        }
        if !self.spend(
            format!("{}/{}", event.registry, event.repository),
            cx.published().0 / HOUR,
            event.size,
        ) {
            return Err(Failure::Superseded);
        }
        Ok(Planned(vec![One::Layer(v1::LayerJob {
            digest: event.digest.clone(),
            // An announcement's size and type are not those of a descriptor.
            size: 0,
            media_type: String::new(),
            sources: vec![v1::Source {
                registry: event.registry.clone(),
                repository: event.repository.clone(),
            }],
            hint: true,
        })]))
    }
}
