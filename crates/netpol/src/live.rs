//! A cluster that changes: connectivity and exposure kept up to date object by object.
//!
//! [`Live`] holds one cluster. A change gives a [`Delta`]: the exact difference of the states before and after, looked
//! for only where the change could have made one, and the exposures that it touched. States are immutable snapshots
//! that share what is equal, so that a reader keeps one without a lock while the next is made.
//!
//! ```
//! use plimsoll_netpol::engine::Options;
//! use plimsoll_netpol::live::{Change, Live};
//! use plimsoll_netpol::objects::{Format, parse_documents};
//! use plimsoll_netpol::state::ClusterState;
//!
//! let pods = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}}
//! ---
//! {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: shop}}";
//! let state = ClusterState::from(parse_documents(pods.as_bytes(), Format::Yaml)?);
//! let mut live = Live::new(state, &Options::default());
//! let closed = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: shop},
//!   spec: {podSelector: {}, policyTypes: [Ingress]}}";
//! let policy = parse_documents(closed.as_bytes(), Format::Yaml)?.remove(0);
//! let delta = live.change(Change::Apply(policy));
//! assert_eq!(delta.connections().rows.len(), 4, "each from the other, and from the world");
//! # Ok::<(), plimsoll_netpol::objects::ParseError>(())
//! ```

mod delta;
mod judged;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

pub use delta::{Delta, ExposureChange};
pub use window::{MAX_TOLD, Settled, Transient, Window};

use crate::diff::Snapshot;
use crate::engine::{Connectivity, Engine, Options, Touch};
use crate::exposure::WorkloadExposure;
use crate::objects::{Object, ObjectKey};
use crate::paged::Paged;
use crate::state::{ClusterState, Scope};
use delta::Content;
use judged::Judgements;

/// A change of the objects of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An object is created or changed; an older resourceVersion of the same uid is ignored.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectKey),
    /// The scope consists of these objects: what it had besides is gone.
    Replace(Scope, Vec<Object>),
}

/// A state with its connectivity and the exposure of its workloads; immutable and cheap to keep.
#[derive(Debug, Clone)]
pub struct LiveSnapshot {
    /// As [`Snapshot::new`] would give it, up to the numbers of workloads.
    pub snapshot: Snapshot,
    pub(crate) judged: Paged<Option<Arc<WorkloadExposure>>>,
    pub(crate) reaches: Paged<u32>,
}

impl LiveSnapshot {
    /// The exposure of a workload by its number in [`Connectivity::endpoints`]; none for an assumed peer.
    pub fn exposure(&self, workload: usize) -> Option<WorkloadExposure> {
        let mut exposure = self.judged.get(workload)?.as_deref()?.clone();
        exposure.reaches = self.reaches.get(workload).copied().unwrap_or_default();
        Some(exposure)
    }

    /// The exposure of every workload, by printed name, as [`crate::exposure::exposures`] gives it.
    pub fn exposures(&self) -> Vec<WorkloadExposure> {
        let order = self.snapshot.connectivity.order().iter();
        order.filter_map(|workload| self.exposure(*workload as usize)).collect()
    }

    /// The exposure of a workload by its printed name, such as `shop/web[Deployment]`.
    pub fn exposure_named(&self, printed: &str) -> Option<WorkloadExposure> {
        self.exposure(self.snapshot.connectivity.workload_named(printed)?)
    }

    /// Printed names of the workloads, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let connectivity = &self.snapshot.connectivity;
        let endpoint = |id: &u32| connectivity.endpoints().get(*id as usize);
        connectivity.order().iter().filter_map(endpoint).map(|endpoint| endpoint.printed.as_ref())
    }

    /// The objects of the state.
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.snapshot.state
    }

    /// The connectivity of the state.
    pub fn connectivity(&self) -> &Connectivity {
        &self.snapshot.connectivity
    }
}

/// One cluster, resident.
pub struct Live {
    options: Options,
    state: ClusterState,
    engine: Engine,
    judgements: Judgements,
    current: Arc<LiveSnapshot>,
}

impl Live {
    /// Reads a whole state.
    pub fn new(state: ClusterState, options: &Options) -> Self {
        let mut engine = Engine::new(&state, options);
        let connectivity = engine.connectivity();
        let judgements = Judgements::new(&state, &connectivity, options, &mut engine);
        engine.sweep_conns();
        let current = Self::snap(&state, connectivity, &judgements);
        Self { options: options.clone(), state, engine, judgements, current }
    }

    fn snap(
        state: &ClusterState,
        connectivity: Arc<Connectivity>,
        judgements: &Judgements,
    ) -> Arc<LiveSnapshot> {
        Arc::new(LiveSnapshot {
            snapshot: Snapshot {
                state: Arc::new(state.clone()),
                connectivity,
                ingress: Arc::clone(&judgements.ingress),
            },
            judged: judgements.judged.clone(),
            reaches: judgements.reaches.clone(),
        })
    }

    /// The state as it is.
    pub fn snapshot(&self) -> Arc<LiveSnapshot> {
        Arc::clone(&self.current)
    }

    /// Takes one change in.
    pub fn change(&mut self, change: Change) -> Delta {
        self.changes(vec![change])
    }

    /// Takes several changes in as one: the difference is that of the states before the first and after the last.
    pub fn changes(&mut self, changes: Vec<Change>) -> Delta {
        let all_nodes = self.state.has_all_nodes();
        let touches = self.take(changes);
        let before = Arc::clone(&self.current);
        if touches.is_empty() && self.state.has_all_nodes() != all_nodes {
            return self.found_again(before);
        }
        if touches.is_empty() {
            let mut current = (*self.current).clone();
            current.snapshot.state = Arc::new(self.state.clone());
            self.current = Arc::new(current);
            return Delta::nothing(before, Arc::clone(&self.current));
        }
        if self.engine.must_found(&touches) {
            return self.found_again(before);
        }
        let changed = self.engine.change(&touches, &self.state);
        if !changed.after.shares_outside(&before.snapshot.connectivity) {
            self.judgements.look_outside(&changed.after);
        }
        let touched =
            self.judgements.change(&touches, &changed, &self.state, &self.options, &mut self.engine);
        self.current = Self::snap(&self.state, Arc::clone(&changed.after), &self.judgements);
        let mut concerned = changed.governed;
        concerned.extend(changed.moved.iter().chain(&changed.described).chain(&changed.touched));
        Delta {
            concerned,
            content: Content::Cells { before: changed.before, cells: changed.cells, moved: changed.moved },
            rejudged: touched.rejudged,
            recounted: touched.recounted,
            before,
            after: Arc::clone(&self.current),
        }
    }

    /// Reads the state as a whole, and compares as wholes.
    fn found_again(&mut self, before: Arc<LiveSnapshot>) -> Delta {
        let state = std::mem::take(&mut self.state);
        let options = self.options.clone();
        *self = Self::new(state, &options);
        let after = Arc::clone(&self.current);
        Delta::of(Content::Whole(OnceLock::new()), before, after)
    }

    /// Changes the state. Gives the objects that differ in what the analysis reads.
    fn take(&mut self, changes: Vec<Change>) -> Vec<Touch> {
        let mut before: BTreeMap<ObjectKey, Option<Arc<Object>>> = BTreeMap::new();
        let mut note = |state: &ClusterState, key: &ObjectKey| {
            before.entry(key.clone()).or_insert_with(|| state.share(key));
        };
        for change in changes {
            match change {
                Change::Apply(object) => {
                    note(&self.state, &object.key());
                    self.state.apply(object);
                }
                Change::Delete(key) => {
                    note(&self.state, &key);
                    self.state.delete(&key);
                }
                Change::Replace(scope, objects) => {
                    let keys: BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
                    self.state.gone(&scope, &keys).iter().for_each(|key| note(&self.state, key));
                    keys.iter().for_each(|key| note(&self.state, key));
                    self.state.replace(&scope, objects);
                }
            }
        }
        let touch = |(key, old): (ObjectKey, Option<Arc<Object>>)| {
            let new = self.state.share(&key);
            let differs = match (&old, &new) {
                (Some(old), Some(new)) => {
                    !Arc::ptr_eq(old, new)
                        && (new.differs_from(old) || new.meta().source != old.meta().source)
                }
                (None, None) => false,
                _ => true,
            };
            differs.then_some(Touch { key, old, new })
        };
        before.into_iter().filter_map(touch).collect()
    }
}
