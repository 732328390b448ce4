//! The state of one cluster, and what a settled change of it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_config::{Completeness, Config};
use plimsoll_model::digest::Digest;
use plimsoll_model::exposure::{Exposure, WorkloadName};
use plimsoll_model::fact::{
    ConnectionChange, ConnectionChangeKind, ContainerFact, ExposureFact, WorkloadFact,
};
use plimsoll_model::reference::Reference;
use plimsoll_model::time::Timestamp;
use plimsoll_netpol::diff::{ChangeKind, DiffRow, Snapshot, diff_snapshots};
use plimsoll_netpol::effects::{Effect, Judged, effects};
use plimsoll_netpol::engine::Options;
use plimsoll_netpol::exposure::exposures;
use plimsoll_netpol::objects::{Object, ObjectKey};
use plimsoll_netpol::state::{ClusterState, Scope};
use plimsoll_proto::v1;
use serde::{Deserialize, Serialize};

/// Format of the checkpoint that this version writes; it reads the same.
const FORMAT: u32 = 1;
/// Connection changes that one fact carries at most.
const MAX_CHANGES: usize = 1000;

/// What a checkpoint holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    format: u32,
    pub name: String,
    pub objects: Arc<ClusterState>,
    /// EVENTS sequence at which each workload object last changed, by its printed key.
    changed: BTreeMap<String, u64>,
    /// A full replacement was declared at some time.
    declared_complete: bool,
    /// Milliseconds of the newest event.
    pub as_of: i64,
    actor: String,
    /// What was published of each workload.
    published: BTreeMap<String, WorkloadFact>,
    /// Time of the state that was published in full last.
    published_full: i64,
}

/// What the operator says of a cluster.
#[derive(Debug, Clone)]
pub struct Policy {
    pub enforced: bool,
    pub complete: Completeness,
    /// Age after which an exposure proves nothing any more, in milliseconds.
    pub max_age: i64,
}

impl Policy {
    /// The configuration's word on a cluster.
    pub fn of(config: &Config, cluster: &str) -> Self {
        let known = config.exposure.cluster(cluster);
        Self {
            enforced: known.enforcement_asserted,
            complete: known.complete,
            max_age: config.exposure.max_age.as_millis(),
        }
    }
}

/// The scope of an event as its text says it.
pub fn scope(text: &str) -> Result<Scope, String> {
    match text.split_once('=') {
        None if text == "cluster" => Ok(Scope::Cluster),
        Some(("namespace", name)) if !name.is_empty() => Ok(Scope::Namespace(name.to_owned())),
        Some(("owner", name)) if !name.is_empty() => Ok(Scope::Owner(name.to_owned())),
        _ => Err(format!("unknown scope {text:?}: cluster, namespace=NAME or owner=NAME")),
    }
}

/// The artifact of an event's objects: one JSON object a line.
pub fn encode_objects(objects: &[Object]) -> Result<Vec<u8>, String> {
    let mut lines = Vec::new();
    for object in objects {
        serde_json::to_writer(&mut lines, object).map_err(|e| e.to_string())?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn decode_objects(lines: &[u8]) -> Result<Vec<Object>, String> {
    serde_json::Deserializer::from_slice(lines)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())
}

impl Cluster {
    /// Reads a checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let cluster: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if cluster.format == FORMAT {
            Ok(cluster)
        } else {
            Err(format!("checkpoint format {} is not {FORMAT}", cluster.format))
        }
    }

    /// Writes a checkpoint.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&Self { format: FORMAT, ..self.clone() }).map_err(|e| e.to_string())
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &v1::ClusterChanged, lines: &[u8], seq: u64) -> Result<(), String> {
        let objects = decode_objects(lines)?;
        let scope = if event.scope.is_empty() { Scope::Cluster } else { scope(&event.scope)? };
        self.name.clone_from(&event.cluster);
        self.as_of = self.as_of.max(event.at);
        self.actor.clone_from(&event.actor);
        let workloads = |state: &ClusterState| -> BTreeMap<ObjectKey, Object> {
            state
                .objects()
                .filter(|o| matches!(o, Object::Workload(_)))
                .map(|o| (o.key(), o.clone()))
                .collect()
        };
        let before = workloads(&self.objects);
        let state = Arc::make_mut(&mut self.objects);
        match event.mode.as_str() {
            "apply" => {
                for object in objects {
                    state.apply(object);
                }
            }
            "delete" => {
                for object in objects {
                    state.delete(&object.key());
                }
            }
            "replace" => {
                state.replace(&scope, objects);
                self.declared_complete |= scope == Scope::Cluster;
            }
            other => return Err(format!("unknown mode {other:?}")),
        }
        let after = workloads(state);
        self.changed.retain(|key, _| after.keys().any(|known| known.to_string() == *key));
        for (key, object) in &after {
            if before.get(key).is_none_or(|old| object.differs_from(old)) {
                self.changed.insert(key.to_string(), seq);
            }
        }
        Ok(())
    }

    /// What the change from `before` to `after` says, in absolute exposures of the workloads that differ.
    pub fn settle(
        &mut self,
        before: Option<&Snapshot>,
        after: &Snapshot,
        policy: &Policy,
        base_seq: u64,
        target_seq: u64,
    ) -> ExposureFact {
        let current = self.workloads(after, policy);
        // Every workload is told again when its last word ages: what was seen again is not stale.
        let full = base_seq == 0 || self.as_of - self.published_full > policy.max_age / 4;
        let differs = |name: &String, fact: &WorkloadFact| {
            self.published.get(name).is_none_or(|known| {
                let mut known = known.clone();
                known.exposure.as_of = fact.exposure.as_of;
                known != *fact
            })
        };
        let workloads: Vec<WorkloadFact> = current
            .iter()
            .filter(|(name, fact)| full || differs(name, fact))
            .map(|(_, fact)| fact.clone())
            .collect();
        let removed = self
            .published
            .iter()
            .filter(|(name, _)| !current.contains_key(*name))
            .map(|(_, fact)| fact.name.clone())
            .collect();
        let changes = before.map(|before| connection_changes(before, after)).unwrap_or_default();
        if full {
            self.published_full = self.as_of;
        }
        self.published = current;
        ExposureFact {
            cluster: self.name.clone(),
            base_seq,
            target_seq,
            workloads,
            removed,
            changes,
            actor: self.actor.clone(),
        }
    }

    fn workloads(&self, snapshot: &Snapshot, policy: &Policy) -> BTreeMap<String, WorkloadFact> {
        let complete = match policy.complete {
            Completeness::Always => true,
            Completeness::Never => false,
            Completeness::Declared => self.declared_complete,
        };
        let mut facts = BTreeMap::new();
        for exposed in exposures(&snapshot.state, &snapshot.connectivity, &Options::default()) {
            let name = WorkloadName {
                cluster: self.name.clone(),
                namespace: exposed.namespace.clone(),
                kind: exposed.kind.clone(),
                name: exposed.name.clone(),
            };
            let mut containers = Vec::new();
            let (mut privileged, mut replicas, mut changed_seq) = (false, 0i64, 0);
            for key in &exposed.objects {
                let Some(Object::Workload(workload)) = snapshot.state.get(key) else { continue };
                changed_seq = changed_seq.max(self.changed.get(&key.to_string()).copied().unwrap_or(0));
                replicas = replicas.max(workload.replicas.unwrap_or(1));
                for container in &workload.containers {
                    privileged |= container.privileged;
                    let digest = container.digest.as_deref().and_then(|d| d.parse::<Digest>().ok());
                    let digest =
                        digest.or_else(|| container.image.parse::<Reference>().ok().and_then(|r| r.digest));
                    containers.push(ContainerFact {
                        name: container.name.clone(),
                        image: container.image.clone(),
                        digest,
                    });
                }
            }
            containers.sort();
            containers.dedup();
            // Pods beside their controller name the same container; what runs is what the pod's status says.
            containers.dedup_by(|later, earlier| {
                let same = later.name == earlier.name && later.image == earlier.image;
                if same && earlier.digest.is_none() {
                    earlier.digest.clone_from(&later.digest);
                }
                same
            });
            let exposure = Exposure {
                level: exposed.at_most,
                paths: exposed.paths,
                caveats: exposed.caveats,
                reaches: exposed.reaches,
                as_of: Timestamp(self.as_of),
                complete,
                enforced: policy.enforced,
            };
            let fact = WorkloadFact {
                name: name.clone(),
                exposure,
                changed_seq,
                containers,
                privileged,
                replicas: u32::try_from(replicas).unwrap_or(0),
            };
            facts.insert(name.to_string(), fact);
        }
        facts
    }
}

/// What a change means for people: NETPOL001 and the like, most urgent first.
pub fn effects_of(before: &Snapshot, after: &Snapshot) -> Vec<Effect> {
    let exposed =
        |snapshot: &Snapshot| exposures(&snapshot.state, &snapshot.connectivity, &Options::default());
    let (earlier, later) = (exposed(before), exposed(after));
    let diff = diff_snapshots(before, after, false);
    effects(
        Judged { snapshot: before, exposures: &earlier },
        Judged { snapshot: after, exposures: &later },
        &diff,
    )
}

/// The connections that differ, in words.
pub fn connection_changes(before: &Snapshot, after: &Snapshot) -> Vec<ConnectionChange> {
    let diff = diff_snapshots(before, after, false);
    diff.rows.iter().filter_map(connection_change).take(MAX_CHANGES).collect()
}

fn connection_change(row: &DiffRow) -> Option<ConnectionChange> {
    let kind = match row.kind {
        ChangeKind::Added => ConnectionChangeKind::Added,
        ChangeKind::Removed => ConnectionChangeKind::Removed,
        ChangeKind::Changed => ConnectionChangeKind::Changed,
        ChangeKind::Unchanged => return None,
    };
    let mut because: Vec<String> = row
        .decided_before
        .iter()
        .chain(&row.decided_after)
        .map(|decision| decision.policy.to_string())
        .collect();
    because.sort();
    because.dedup();
    Some(ConnectionChange {
        kind,
        source: row.source.to_string(),
        destination: row.destination.to_string(),
        before: row.before.to_string(),
        after: row.after.to_string(),
        because,
    })
}
