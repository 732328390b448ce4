//! The netpol role: one fold per cluster, from deploy events to exposure.
//!
//! Invariant: the state of a cluster is a function of its events alone; what is published for a checkpoint is a
//! function of the states before and after it.

pub mod resident;
pub mod state;

use std::sync::Arc;

use async_trait::async_trait;
use plimsoll_bus::fold::{self, Fold, LogEvent};
use plimsoll_bus::{Artifacts, Outgoing, subjects};
use plimsoll_config::Config;
use plimsoll_cpu::Pool;
use plimsoll_model::fact::{Fact, FactBody};
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_proto::v1;
use prost::Message;

use crate::resident::Resident;
use crate::state::{Cluster, Policy};

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let fold = NetpolFold {
        artifacts: role.bus.artifacts(),
        pool: role.pool.clone(),
        config: Arc::clone(&role.config),
    };
    let quiet = std::env::var("PLIMSOLL_SETTLE_MS")
        .ok()
        .and_then(|ms| ms.parse().ok())
        .map_or(fold::QUIET, std::time::Duration::from_millis);
    role.bus.health().ready("netpol");
    fold::run(role.bus.clone(), fold, role.stop.clone(), quiet).await?;
    Ok(())
}

struct NetpolFold {
    artifacts: Artifacts,
    pool: Pool,
    config: Arc<Config>,
}

/// A cluster in memory; empty after a failure, and then read again from the checkpoint.
pub struct Held(Option<Resident>);

impl Held {
    fn take(&mut self) -> Result<Resident, String> {
        self.0.take().ok_or_else(|| "the state of the cluster was lost".to_owned())
    }
}

#[async_trait]
impl Fold for NetpolFold {
    const NAME: &'static str = "netpol";
    const STREAM: &'static str = subjects::EVENTS;
    const SUBJECTS: &'static str = subjects::CLUSTERS_CHANGED;
    type State = Held;

    fn load(&self, _key: &str, checkpoint: Option<&[u8]>) -> Result<Held, String> {
        Ok(Held(Some(match checkpoint {
            Some(bytes) => Resident::taken_over(Cluster::decode(bytes)?),
            None => Resident::new(Cluster::default()),
        })))
    }

    fn save(&self, state: &Held) -> Result<Vec<u8>, String> {
        state.0.as_ref().ok_or("the state of the cluster was lost")?.cluster().encode()
    }

    async fn apply(&self, state: &mut Held, event: &LogEvent) -> Result<(), String> {
        let changed: v1::ClusterChanged =
            serde_json::from_slice(&event.payload).map_err(|e| e.to_string())?;
        let lines = self.artifacts.get(&changed.objects).await.map_err(|e| e.to_string())?;
        let lines = lines.ok_or_else(|| format!("the objects of event {} are gone", event.seq))?;
        let (mut resident, seq) = (state.take()?, event.seq);
        let work = move |_: &_| resident.apply(&changed, &lines, seq).map(|()| resident);
        let resident = self.pool.run("netpol.apply", work).await.map_err(|e| e.to_string())?;
        state.0 = Some(resident?);
        Ok(())
    }

    async fn settle(&self, state: &mut Held, base_seq: u64, target_seq: u64, trace: &str) -> Vec<Outgoing> {
        let Ok(mut resident) = state.take() else { return Vec::new() };
        let policy = Policy::of(&self.config, &resident.cluster().name);
        let work = move |_: &_| {
            let outcome = resident.settle(&policy, base_seq, target_seq);
            (resident, outcome.fact)
        };
        let (resident, fact) = match self.pool.run("netpol.settle", work).await {
            Ok(settled) => settled,
            Err(error) => {
                // Without a state there is no checkpoint: the runtime repeats the fold.
                tracing::error!(%error, "a cluster could not be settled");
                return Vec::new();
            }
        };
        let cluster = resident.cluster();
        let id = plimsoll_bus::connection::message_id(&[
            b"exposure",
            cluster.name.as_bytes(),
            &base_seq.to_le_bytes(),
            &target_seq.to_le_bytes(),
        ]);
        let fact = Fact {
            id,
            at: Timestamp(cluster.as_of),
            trace: trace.to_owned(),
            body: FactBody::Exposure(fact),
        };
        state.0 = Some(resident);
        match v1::Fact::try_from(fact) {
            Ok(message) => {
                vec![Outgoing {
                    subject: subjects::FACT_EXPOSURE.to_owned(),
                    payload: message.encode_to_vec(),
                }]
            }
            Err(error) => {
                tracing::error!(%error, "a fact could not be encoded");
                Vec::new()
            }
        }
    }
}
