//! What is kept of a cluster between two owners of its fold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_config::{Completeness, Config};
use plimsoll_model::digest::Digest;
use plimsoll_model::exposure::{Exposure, WorkloadName};
use plimsoll_model::fact::{ContainerFact, NetworkNote, WorkloadFact};
use plimsoll_model::reference::Reference;
use plimsoll_model::time::Timestamp;
use plimsoll_netpol::exposure::WorkloadExposure;
use plimsoll_netpol::live::{Change, LiveSnapshot};
use plimsoll_netpol::objects::{Object, ObjectKey};
use plimsoll_netpol::standing::Standing;
use plimsoll_netpol::state::{ClusterState, Scope};
use plimsoll_proto::v1;
use serde::{Deserialize, Serialize, Serializer};

/// Format of the checkpoint that this version writes; it reads the same.
const FORMAT: u32 = 1;

/// What a checkpoint holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    #[serde(serialize_with = "format")]
    format: u32,
    pub name: String,
    pub objects: Arc<ClusterState>,
    /// [`ClusterState::has_all_nodes`] of the objects, which they do not write themselves; checkpoints of older versions
    /// have read no nodes.
    #[serde(default)]
    all_nodes: bool,
    /// EVENTS sequence at which each workload object last changed, by its printed key.
    changed: BTreeMap<String, u64>,
    /// A full replacement was declared at some time, and nobody has said since that not everything can be seen.
    declared_complete: bool,
    /// Milliseconds of the newest event.
    pub as_of: i64,
    pub(crate) actor: String,
    /// What was published of each workload.
    pub(crate) published: BTreeMap<String, WorkloadFact>,
    /// Time of the state that was published in full last.
    pub(crate) published_full: i64,
    /// What changes brought about and still stands; checkpoints of older versions have none.
    #[serde(default)]
    pub(crate) standing: Vec<Standing>,
    /// What was published of policies that something is odd about.
    #[serde(default)]
    pub(crate) published_policies: BTreeMap<String, WorkloadFact>,
}

/// What is written is in the format of this version, whatever was read.
fn format<S: Serializer>(_: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(FORMAT)
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
        let mut cluster: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if cluster.format == FORMAT {
            Arc::make_mut(&mut cluster.objects).declare_all_nodes(cluster.all_nodes);
            Ok(cluster)
        } else {
            Err(format!("checkpoint format {} is not {FORMAT}", cluster.format))
        }
    }

    /// Writes a checkpoint.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    /// The changes that an event says, in order. `state` is what they are made to.
    ///
    /// # Errors
    /// An event or objects that are none.
    pub(crate) fn read(&mut self, event: &v1::ClusterChanged, lines: &[u8]) -> Result<Vec<Change>, String> {
        let objects = decode_objects(lines)?;
        let scope = if event.scope.is_empty() { Scope::Cluster } else { scope(&event.scope)? };
        let changes = match event.mode.as_str() {
            "apply" => objects.into_iter().map(Change::Apply).collect(),
            "delete" => objects.iter().map(|object| Change::Delete(object.key())).collect(),
            "replace" => vec![Change::Replace(scope.clone(), objects)],
            other => return Err(format!("unknown mode {other:?}")),
        };
        self.name.clone_from(&event.cluster);
        self.as_of = self.as_of.max(event.at);
        self.actor.clone_from(&event.actor);
        self.declared_complete |= event.mode == "replace" && scope == Scope::Cluster;
        self.declared_complete &= !event.partial;
        Ok(changes)
    }

    /// Takes the state after an event in, and notes which workload objects it changed.
    pub(crate) fn changed(
        &mut self,
        changes: &[ObjectKey],
        replaced: bool,
        after: &Arc<ClusterState>,
        seq: u64,
    ) {
        let before = std::mem::replace(&mut self.objects, Arc::clone(after));
        self.all_nodes = after.has_all_nodes();
        for key in changes {
            match after.get(key) {
                Some(object @ Object::Workload(_)) => {
                    if before.get(key).is_none_or(|old| object.differs_from(old)) {
                        self.changed.insert(key.to_string(), seq);
                    }
                }
                _ => {
                    self.changed.remove(&key.to_string());
                }
            }
        }
        if replaced {
            let workload = |object: &&Object| matches!(object, Object::Workload(_));
            let known: BTreeSet<String> =
                after.objects().filter(workload).map(|object| object.key().to_string()).collect();
            self.changed.retain(|key, _| known.contains(key));
        }
    }

    /// Whether the cluster is in view as a whole.
    pub(crate) fn is_complete(&self, policy: &Policy) -> bool {
        match policy.complete {
            Completeness::Always => true,
            Completeness::Never => false,
            Completeness::Declared => self.declared_complete,
        }
    }

    pub(crate) fn workload_name(&self, exposed: &WorkloadExposure) -> WorkloadName {
        exposed.workload_name(&self.name)
    }

    /// What is said of a workload in a state.
    pub(crate) fn fact(
        &self,
        snapshot: &LiveSnapshot,
        exposed: WorkloadExposure,
        notes: Vec<NetworkNote>,
        policy: &Policy,
    ) -> WorkloadFact {
        let name = self.workload_name(&exposed);
        let mut containers = Vec::new();
        let (mut privileged, mut replicas, mut changed_seq) = (false, 0i64, None);
        for key in &exposed.objects {
            let Some(Object::Workload(workload)) = snapshot.state().get(key) else { continue };
            // A pod whose status names its digests comes and goes without a deploy: nothing of it is to be resolved, and
            // its event does not resolve what the others run.
            if !workload.is_resolved() {
                changed_seq = changed_seq.max(self.changed.get(&key.to_string()).copied());
            }
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
        let changed_seq = changed_seq.unwrap_or_else(|| {
            let known = exposed.objects.iter().filter_map(|key| self.changed.get(&key.to_string()));
            known.copied().max().unwrap_or(0)
        });
        let exposure = Exposure {
            level: exposed.at_most,
            paths: exposed.paths,
            caveats: exposed.caveats,
            reaches: exposed.reaches,
            as_of: Timestamp(self.as_of),
            complete: self.is_complete(policy),
            enforced: policy.enforced,
        };
        WorkloadFact {
            name,
            exposure,
            changed_seq,
            containers,
            privileged,
            replicas: u32::try_from(replicas).unwrap_or(0),
            notes,
        }
    }
}
