//! The netpol role: one fold per cluster, from deploy events to exposure.
//!
//! Events are folded in when the namespaces that they touch are quiet. Those of different namespaces touch different
//! objects, so that the objects, connections and exposures do not depend on which came first; what a change brought
//! about may, where it depends on what was there before.
//!
//! Invariant: the state of a cluster is a function of its events in the order in which they were folded in, however they
//! were told; what is published for a checkpoint is a function of the states before and after it.

pub mod resident;
pub mod state;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use plimsoll_bus::fold::{self, Fold, LogEvent, Parts, Publication, Settling};
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
    fold::run(role.bus.clone(), fold, role.stop.clone(), Settling::after(quiet)).await?;
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

    fn parts(&self, payload: &[u8]) -> Parts {
        match serde_json::from_slice::<v1::ClusterChanged>(payload) {
            Ok(changed) if !changed.namespaces.is_empty() => Parts::Of(changed.namespaces),
            _ => Parts::All,
        }
    }

    async fn load(&self, _key: &str, checkpoint: Option<Bytes>, beyond: bool) -> Result<Held, String> {
        let decode =
            move |_: &_| checkpoint.map_or_else(|| Ok(Cluster::default()), |bytes| Cluster::decode(&bytes));
        let cluster = self.pool.run("netpol.load", decode).await.map_err(|e| e.to_string())??;
        Ok(Held(Some(if beyond { Resident::taken_over(cluster) } else { Resident::new(cluster) })))
    }

    async fn save(&self, state: &mut Held) -> Result<Vec<u8>, String> {
        let resident = state.take()?;
        let encode = move |_: &_| (resident.cluster().encode(), resident);
        let (encoded, resident) = self.pool.run("netpol.save", encode).await.map_err(|e| e.to_string())?;
        state.0 = Some(resident);
        encoded
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

    async fn settle(&self, state: &mut Held, publication: &Publication) -> Vec<Outgoing> {
        let Ok(mut resident) = state.take() else { return Vec::new() };
        let policy = Policy::of(&self.config, &resident.cluster().name);
        let asked = publication.clone();
        let work = move |_: &_| {
            let outcome = resident.settle(&policy, &asked);
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
            &publication.base_seq.to_le_bytes(),
            &publication.target_seq.to_le_bytes(),
            &publication.number.to_le_bytes(),
        ]);
        let fact = Fact {
            id,
            at: Timestamp(cluster.as_of),
            trace: publication.trace.clone(),
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
