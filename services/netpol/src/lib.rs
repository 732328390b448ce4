//! The netpol role: one fold per cluster, from deploy events to exposure.
//!
//! Invariant: the state of a cluster is a function of its events alone; what is published for a checkpoint is a
//! function of the states before and after it.

pub mod state;

use std::sync::Arc;

use async_trait::async_trait;
use plimsoll_bus::fold::{self, Fold, LogEvent};
use plimsoll_bus::{Artifacts, Outgoing, subjects};
use plimsoll_config::Config;
use plimsoll_cpu::Pool;
use plimsoll_model::fact::{Fact, FactBody};
use plimsoll_model::time::Timestamp;
use plimsoll_netpol::diff::Snapshot;
use plimsoll_netpol::engine::Options;
use plimsoll_process::{ProcessError, Role};
use plimsoll_proto::v1;
use prost::Message;

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

/// A cluster in memory: what is checkpointed, and the analysed state that the next difference starts from.
pub struct Resident {
    cluster: Cluster,
    before: Option<Snapshot>,
}

#[async_trait]
impl Fold for NetpolFold {
    const NAME: &'static str = "netpol";
    const STREAM: &'static str = subjects::EVENTS;
    const SUBJECTS: &'static str = subjects::CLUSTERS_CHANGED;
    type State = Resident;

    fn load(&self, _key: &str, checkpoint: Option<&[u8]>) -> Result<Resident, String> {
        let cluster = checkpoint.map_or_else(|| Ok(Cluster::default()), Cluster::decode)?;
        Ok(Resident { cluster, before: None })
    }

    fn save(&self, state: &Resident) -> Result<Vec<u8>, String> {
        state.cluster.encode()
    }

    async fn apply(&self, state: &mut Resident, event: &LogEvent) -> Result<(), String> {
        if state.before.is_none() {
            state.before = Some(self.analyse(&state.cluster).await?);
        }
        let changed: v1::ClusterChanged =
            serde_json::from_slice(&event.payload).map_err(|e| e.to_string())?;
        let lines = self.artifacts.get(&changed.objects).await.map_err(|e| e.to_string())?;
        let lines = lines.ok_or_else(|| format!("the objects of event {} are gone", event.seq))?;
        state.cluster.apply(&changed, &lines, event.seq)
    }

    async fn settle(
        &self,
        state: &mut Resident,
        base_seq: u64,
        target_seq: u64,
        trace: &str,
    ) -> Vec<Outgoing> {
        let after = match self.analyse(&state.cluster).await {
            Ok(after) => after,
            Err(error) => {
                tracing::error!(error, "a cluster could not be analysed");
                return Vec::new();
            }
        };
        let policy = Policy::of(&self.config, &state.cluster.name);
        let before = state.before.replace(after.clone());
        let fact = state.cluster.settle(before.as_ref(), &after, &policy, base_seq, target_seq);
        let id = plimsoll_bus::connection::message_id(&[
            b"exposure",
            state.cluster.name.as_bytes(),
            &base_seq.to_le_bytes(),
            &target_seq.to_le_bytes(),
        ]);
        let fact = Fact {
            id,
            at: Timestamp(state.cluster.as_of),
            trace: trace.to_owned(),
            body: FactBody::Exposure(fact),
        };
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

impl NetpolFold {
    async fn analyse(&self, cluster: &Cluster) -> Result<Snapshot, String> {
        let objects = Arc::clone(&cluster.objects);
        let work = move |_: &_| Snapshot::new(objects, &Options::default());
        self.pool.run("netpol.build", work).await.map_err(|e| e.to_string())
    }
}
