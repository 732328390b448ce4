//! Exposures kept up to date: only workloads that a change could have touched are judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delta::{pairs, pairs_of};
use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet};
use crate::engine::{
    Cells, Changed, Connectivity, Direction, Engine, Options, Peer, Subject, Touch, Warning,
};
use crate::entries::{ByNamespace, Source, Ways, by_namespace, controllers, ingress_of, is_controller};
use crate::exposure::{Callers, Judge, Outside, WorkloadExposure, is_doubt};
use crate::objects::Object;
use crate::paged::Paged;
use crate::state::ClusterState;

/// What decides whether a change of one cell touches a workload's exposure.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// Some policy selects it for ingress; otherwise who calls does not matter.
    selected: bool,
    callers: Callers,
}

/// The exposure of every workload.
pub(super) struct Judgements {
    pub(super) judged: Paged<Option<Arc<WorkloadExposure>>>,
    pub(super) reaches: Paged<u32>,
    /// What ingress controllers may send, by workload.
    pub(super) ingress: Arc<BTreeMap<usize, ConnSet>>,
    ways: Ways,
    neighbours: ByNamespace,
    watches: Vec<Watch>,
    /// Workloads with a way in through a controller.
    routed: BTreeSet<u32>,
    /// Ingress controllers in view.
    in_view: BTreeSet<u32>,
    controllers: Vec<Peer>,
    doubts: Vec<Warning>,
    /// Numbers of the assumed peers; they never change.
    assumed: Vec<u32>,
    outside: Outside,
}

/// Workloads that a change touched.
pub(super) struct Touched {
    pub(super) rejudged: BTreeSet<u32>,
    pub(super) recounted: BTreeSet<u32>,
}

fn doubts(connectivity: &Connectivity) -> Vec<Warning> {
    connectivity.warnings().iter().filter(is_doubt).cloned().collect()
}

impl Judgements {
    pub(super) fn new(
        state: &ClusterState,
        connectivity: &Connectivity,
        options: &Options,
        engine: &mut Engine,
    ) -> Self {
        // The rows that counting needs are not kept.
        let assumed = connectivity.assumed();
        let reaches = connectivity.clone().reach().into_iter().collect();
        let mut judgements = Self {
            judged: Paged::default(),
            reaches,
            ingress: Arc::default(),
            ways: Ways::of(state),
            neighbours: by_namespace(connectivity),
            watches: Vec::new(),
            routed: BTreeSet::new(),
            in_view: BTreeSet::new(),
            controllers: Vec::new(),
            doubts: doubts(connectivity),
            outside: Outside::of(connectivity, &assumed),
            assumed,
        };
        let all: BTreeSet<u32> = connectivity.order().iter().copied().collect();
        judgements.in_view = judgements.controllers_among(&all, connectivity);
        judgements.controllers = judgements.current_controllers(connectivity);
        judgements.judge(&all, &BTreeSet::new(), state, connectivity, options, engine);
        judgements
    }

    fn controllers_among(&self, ids: &BTreeSet<u32>, connectivity: &Connectivity) -> BTreeSet<u32> {
        let endpoint = |id: &u32| connectivity.endpoints().get(*id as usize);
        let known = |id: &&u32| endpoint(id).is_some_and(|found| !found.assumed && is_controller(found));
        ids.iter().filter(known).copied().collect()
    }

    /// As [`crate::entries::controllers`], from what is known.
    fn current_controllers(&self, connectivity: &Connectivity) -> Vec<Peer> {
        if connectivity.options().np_guard {
            return controllers(connectivity).0;
        }
        let peers =
            |ids: &mut dyn Iterator<Item = &u32>| ids.map(|id| Peer::Workload(*id as usize)).collect();
        if self.in_view.is_empty() {
            peers(&mut self.assumed.iter())
        } else {
            peers(&mut self.in_view.iter())
        }
    }

    /// Judges workloads; those of `called` have the callers that they had. Gives those whose exposure differs.
    fn judge(
        &mut self,
        ids: &BTreeSet<u32>,
        called: &BTreeSet<u32>,
        state: &ClusterState,
        connectivity: &Connectivity,
        options: &Options,
        engine: &mut Engine,
    ) -> BTreeSet<u32> {
        let mut rejudged = BTreeSet::new();
        if ids.is_empty() {
            return rejudged;
        }
        let in_view = !connectivity.options().np_guard && !self.in_view.is_empty();
        let (controllers, outside) = (&self.controllers, &self.outside);
        let mut judge = Judge::new(connectivity, options, controllers, in_view, outside, engine.conns());
        for &id in ids {
            let index = id as usize;
            let entries = self.ways.entries(state, connectivity, index);
            let watch = self.watches.get(index).filter(|watch| watch.selected && called.contains(&id));
            let found = judge.judge(index, &entries, watch.map(|watch| watch.callers));
            let watch = found.as_ref().map(|(_, callers)| Watch {
                selected: connectivity.is_selected(index, Direction::Ingress),
                callers: *callers,
            });
            if self.watches.len() <= index {
                self.watches.resize(index + 1, Watch::default());
            }
            if let Some(slot) = self.watches.get_mut(index) {
                *slot = watch.unwrap_or_default();
            }
            if found.is_some() && entries.iter().any(|entry| entry.source == Source::Controller) {
                self.routed.insert(id);
            } else {
                self.routed.remove(&id);
            }
            let open = ingress_of(&entries, &self.controllers, connectivity).map(|(open, _)| open);
            let open = open.filter(|open| found.is_some() && !open.is_empty());
            if self.ingress.get(&index) != open.as_ref() {
                let ingress = Arc::make_mut(&mut self.ingress);
                match open {
                    Some(open) => {
                        ingress.insert(index, open);
                    }
                    None => {
                        ingress.remove(&index);
                    }
                }
            }
            let found = found.map(|(exposure, _)| exposure);
            if self.judged.get(index).and_then(Option::as_deref) != found.as_ref() {
                self.judged.put(index, found.map(Arc::new), || None);
                rejudged.insert(id);
            }
        }
        rejudged
    }

    /// Takes other columns of the outside in.
    pub(super) fn look_outside(&mut self, connectivity: &Connectivity) {
        self.outside = Outside::of(connectivity, &self.assumed);
    }

    /// Takes a change in.
    pub(super) fn change(
        &mut self,
        touches: &[Touch],
        changed: &Changed,
        state: &ClusterState,
        options: &Options,
        engine: &mut Engine,
    ) -> Touched {
        let after = &changed.after;
        let mut again: BTreeSet<u32> = changed.moved.clone();
        again.extend(&changed.described);
        self.meet(changed);
        for touch in touches {
            self.ways.change(&touch.key, touch.old.as_ref(), touch.new.as_ref());
        }
        let named = |touch: &Touch| {
            let object = touch.new.as_deref().or(touch.old.as_deref());
            !matches!(object, Some(Object::Workload(_) | Object::NetworkPolicy(_) | Object::Other(_)) | None)
        };
        for touch in touches.iter().filter(|touch| named(touch)) {
            for object in [&touch.old, &touch.new].into_iter().flatten() {
                self.ways.affected(&touch.key, object, state, after, &self.neighbours, &mut again);
            }
        }
        let recounted = self.count(&changed.cells, changed);
        self.callers(&changed.cells, changed, &mut again);
        let doubts = doubts(after);
        if doubts != self.doubts {
            self.doubts = doubts;
            again.extend(after.order());
        }
        let controllers = self.current_controllers(after);
        if controllers != self.controllers {
            self.controllers = controllers;
            again.extend(&self.routed);
        }
        let called: BTreeSet<u32> = changed.judged.difference(&again).copied().collect();
        again.extend(&called);
        let rejudged = self.judge(&again, &called, state, after, options, engine);
        Touched { rejudged, recounted }
    }

    /// Keeps up which workloads there are.
    fn meet(&mut self, changed: &Changed) {
        for &id in &changed.described {
            let endpoint = |view: &Connectivity| {
                view.endpoints()
                    .get(id as usize)
                    .filter(|endpoint| !endpoint.assumed)
                    .map(|endpoint| (endpoint.namespace.clone(), is_controller(endpoint)))
            };
            let (old, new) = (endpoint(&changed.before), endpoint(&changed.after));
            if let Some((namespace, _)) = &old
                && new.is_none()
                && let Some(ids) = self.neighbours.get_mut(namespace)
            {
                ids.remove(&id);
                if ids.is_empty() {
                    self.neighbours.remove(namespace);
                }
            }
            if let Some((namespace, _)) = &new
                && old.is_none()
            {
                self.neighbours.entry(namespace.clone()).or_default().insert(id);
            }
            if new.is_some_and(|(_, controller)| controller) {
                self.in_view.insert(id);
            } else {
                self.in_view.remove(&id);
            }
        }
    }

    /// Counts again how many workloads each reaches. Gives those whose number differs.
    fn count(&mut self, cells: &Cells, changed: &Changed) -> BTreeSet<u32> {
        let mut delta: Vec<i64> = Vec::new();
        let step = |before: ConnId, after: ConnId| match (before == ConnId::NONE, after == ConnId::NONE) {
            (true, false) => 1,
            (false, true) => -1,
            _ => 0,
        };
        let counts = |before, after| step(before, after) != 0;
        pairs_of(cells, &changed.after, counts, |(source, _, before, after)| {
            let index = source as usize;
            if delta.len() <= index {
                delta.resize(index + 1, 0);
            }
            if let Some(known) = delta.get_mut(index) {
                *known += step(before, after);
            }
        });
        let mut recounted = BTreeSet::new();
        for (index, change) in delta.into_iter().enumerate().filter(|(_, change)| *change != 0) {
            let known = self.reaches.get(index).copied().unwrap_or_default();
            let now = u32::try_from(i64::from(known) + change).unwrap_or_default();
            self.reaches.put(index, now, || 0);
            recounted.insert(index as u32);
        }
        recounted
    }

    /// Workloads whose callers may differ, of those whose own policies are the same.
    fn callers(&self, cells: &Cells, changed: &Changed, again: &mut BTreeSet<u32>) {
        let after = &changed.after;
        // Peers whose word every workload's exposure may depend on.
        let mut special = Bits::default();
        for assumed in &self.assumed {
            after.classes_at(*assumed as usize).iter().for_each(|class| special.set(*class as usize));
        }
        for block in cells.blocks.iter().filter(|block| block.direction == Direction::Egress) {
            if let Subject::Class(class) = block.subject
                && special.has(class as usize)
            {
                again.extend(block.others.iter().flat_map(|class| after.members(class)));
            }
        }
        let mut found = Bits::default();
        again.iter().for_each(|id| found.set(*id as usize));
        let (mut in_view, mut apart) = (Bits::default(), Bits::default());
        self.in_view.iter().for_each(|id| in_view.set(*id as usize));
        cells.apart.iter().for_each(|id| apart.set(*id as usize));
        let mut add = |destination: u32, found: &mut Bits| {
            found.set(destination as usize);
            again.insert(destination);
        };
        pairs(cells, after, |(source, destination, _, conn)| {
            if found.has(destination as usize) {
                return;
            }
            let Some(watch) = self.watches.get(destination as usize) else { return };
            if in_view.has(source as usize) || apart.has(destination as usize) {
                add(destination, &mut found);
                return;
            }
            if !watch.selected {
                return;
            }
            let Callers { far, near } = watch.callers;
            if far == Some(source) || near == Some(source) {
                add(destination, &mut found);
                return;
            }
            if conn == ConnId::NONE {
                return;
            }
            let endpoints = after.endpoints();
            let (from, to) = (&endpoints[source as usize], &endpoints[destination as usize]);
            let before = |known: u32| from.printed < endpoints[known as usize].printed;
            let matters = if from.namespace == to.namespace {
                far.is_none() && near.is_none_or(before)
            } else {
                far.is_none_or(before)
            };
            if matters {
                add(destination, &mut found);
            }
        });
    }
}
