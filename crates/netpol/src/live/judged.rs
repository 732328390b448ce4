//! Exposures kept up to date: only workloads that a change could have touched are judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_model::exposure::ExposureLevel;

use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet};
use crate::engine::{
    Block, Cells, Changed, Connectivity, Direction, Engine, Options, PairChange, Peer, Subject, Touch,
    Warning,
};
use crate::entries::{ByNamespace, Source, Ways, by_namespace, controllers, ingress_of, is_controller};
use crate::exposure::{Callers, Consulted, Judge, Outside, WorkloadExposure, is_doubt};
use crate::nodes::Nodes;
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
    /// Workloads whose exposure depends on what addresses nodes have among others, and on single nodes.
    by_outside: BTreeSet<u32>,
    by_place: BTreeSet<u32>,
    nodes: Arc<Nodes>,
    /// Ingress controllers in view.
    in_view: BTreeSet<u32>,
    controllers: Vec<Peer>,
    doubts: Vec<Warning>,
    /// Numbers of the assumed peers; they never change.
    assumed: Vec<u32>,
    outside: Outside,
    /// The change at hand made it another one.
    outside_differs: bool,
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
            by_outside: BTreeSet::new(),
            by_place: BTreeSet::new(),
            outside_differs: false,
            nodes: Arc::clone(connectivity.nodes()),
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
            let Consulted { outside, places } = judge.consulted();
            for (depends, ids) in [(outside, &mut self.by_outside), (places, &mut self.by_place)] {
                if found.is_some() && depends {
                    ids.insert(id);
                } else {
                    ids.remove(&id);
                }
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
        let outside = Outside::of(connectivity, &self.assumed);
        self.outside_differs = outside != self.outside;
        self.outside = outside;
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
        let ends = Ends::of(&changed.cells, after);
        let recounted = self.count(&ends, &changed.cells);
        self.callers(&ends, &changed.cells, after, &mut again);
        if !changed.before.shares_warnings(after) {
            let doubts = doubts(after);
            if doubts != self.doubts {
                self.doubts = doubts;
                again.extend(after.order());
            }
        }
        let controllers = self.current_controllers(after);
        // A controller on the node's network may have come to another node.
        if controllers != self.controllers || changed.described.iter().any(|id| self.in_view.contains(id)) {
            self.controllers = controllers;
            again.extend(&self.routed);
        }
        let outside_differs = std::mem::take(&mut self.outside_differs);
        if !Arc::ptr_eq(&self.nodes, after.nodes()) {
            if outside_differs || !self.nodes.tell_alike(after.nodes()) {
                again.extend(&self.by_outside);
            }
            again.extend(&self.by_place);
            self.nodes = Arc::clone(after.nodes());
        }
        let mut called: BTreeSet<u32> = changed.judged.difference(&again).copied().collect();
        let mut selected: Vec<(u32, Arc<WorkloadExposure>)> = Vec::new();
        for &id in &changed.relinked {
            if again.contains(&id) || called.contains(&id) {
                continue;
            }
            match self.selected_anew(id, after) {
                Some(exposure) => selected.extend(exposure.map(|exposure| (id, exposure))),
                None => {
                    called.insert(id);
                }
            }
        }
        again.extend(&called);
        let mut rejudged = self.judge(&again, &called, state, after, options, engine);
        for (id, exposure) in selected {
            self.judged.put(id as usize, Some(exposure), || None);
            rejudged.insert(id);
        }
        Touched { rejudged, recounted }
    }

    /// The exposure of a workload that other policies select, where no more than their number can differ: what they
    /// allow is looked at by itself. Some of none where it is as it was, and none where it must be judged.
    fn selected_anew(&self, id: u32, after: &Connectivity) -> Option<Option<Arc<WorkloadExposure>>> {
        let known = self.judged.get(id as usize)?.as_ref()?;
        let counts = [Direction::Ingress, Direction::Egress]
            .map(|direction| after.selected_count(id as usize, direction));
        let [ingress, egress] = counts;
        // What isolates a workload is told by name; who calls one that nothing selects does not matter.
        if known.level == ExposureLevel::Isolated || (ingress == 0) != (known.ingress_policies == 0) {
            return None;
        }
        if counts == [known.ingress_policies, known.egress_policies] {
            return Some(None);
        }
        let mut exposure = known.as_ref().clone();
        (exposure.ingress_policies, exposure.egress_policies) = (ingress, egress);
        Some(Some(Arc::new(exposure)))
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
    fn count(&mut self, ends: &[Ends<'_>], cells: &Cells) -> BTreeSet<u32> {
        let mut delta: Vec<i64> = Vec::new();
        let mut add = |source: u32, step: i64| {
            let index = source as usize;
            if delta.len() <= index {
                delta.resize(index + 1, 0);
            }
            if let Some(known) = delta.get_mut(index) {
                *known += step;
            }
        };
        let step = |before: ConnId, after: ConnId| match (before == ConnId::NONE, after == ConnId::NONE) {
            (true, false) => 1,
            (false, true) => -1,
            _ => 0,
        };
        for ends in ends {
            let step = step(ends.before, ends.after);
            if step == 0 {
                continue;
            }
            // A workload is no other to itself.
            let mut both = Bits::default();
            if let (Some(sources), Some(destinations)) = (ends.source_classes, ends.destination_classes)
                && sources.meets(destinations)
            {
                ends.destinations.iter().for_each(|id| both.set(*id as usize));
            }
            let others = ends.destinations.len() as i64;
            for &source in &ends.sources {
                add(source, step * (others - i64::from(both.has(source as usize))));
            }
        }
        for pair in &cells.pairs {
            add(pair.source, step(pair.before, pair.after));
        }
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
    fn callers(&self, ends: &[Ends<'_>], cells: &Cells, after: &Connectivity, again: &mut BTreeSet<u32>) {
        // Peers whose word every workload's exposure may depend on.
        let mut special = Bits::default();
        for assumed in &self.assumed {
            after.classes_at(*assumed as usize).iter().for_each(|class| special.set(*class as usize));
        }
        for block in cells.blocks.iter().filter(|block| block.direction == Direction::Egress) {
            if let Subject::Classes(classes) = &block.subject
                && classes.meets(&special)
            {
                again.extend(block.others.iter().flat_map(|class| after.members(class)));
            }
        }
        let mut found = Bits::default();
        again.iter().for_each(|id| found.set(*id as usize));
        let apart = &cells.apart;
        let pair = |pair: &PairChange| Ends {
            sources: vec![pair.source],
            destinations: vec![pair.destination],
            source_classes: None,
            destination_classes: None,
            before: pair.before,
            after: pair.after,
        };
        let pairs: Vec<Ends<'_>> = cells.pairs.iter().map(pair).collect();
        // Places in order of name, by workload.
        let mut places: Vec<u32> = Vec::new();
        if !ends.is_empty() || !pairs.is_empty() {
            places.resize(after.endpoints().len(), u32::MAX);
            for (place, id) in (0..).zip(after.order()) {
                if let Some(slot) = places.get_mut(*id as usize) {
                    *slot = place;
                }
            }
        }
        for ends in ends.iter().chain(&pairs) {
            let mut sources = None;
            for &destination in &ends.destinations {
                if found.has(destination as usize) {
                    continue;
                }
                let Some(watch) = self.watches.get(destination as usize) else { continue };
                let sources =
                    sources.get_or_insert_with(|| Sources::of(ends, &places, after, &self.in_view, apart));
                if sources.controller
                    || apart.contains(&destination)
                    || watch.selected
                        && sources.matter(destination, watch.callers, ends, (self, &places), after, apart)
                {
                    found.set(destination as usize);
                    again.insert(destination);
                }
            }
        }
    }
}

/// The workloads of a block.
struct Ends<'a> {
    sources: Vec<u32>,
    destinations: Vec<u32>,
    /// Their classes; none for workloads that are told one by one.
    source_classes: Option<&'a Bits>,
    destination_classes: Option<&'a Bits>,
    before: ConnId,
    after: ConnId,
}

impl<'a> Ends<'a> {
    /// Of every block.
    fn of(cells: &'a Cells, after: &Connectivity) -> Vec<Self> {
        let mut apart = Bits::default();
        cells.apart.iter().for_each(|id| apart.set(*id as usize));
        let members = |classes: &Bits| -> Vec<u32> {
            let mut found = Vec::new();
            for class in classes.iter() {
                for &id in after.members(class) {
                    if !apart.has(id as usize) {
                        found.push(id);
                    }
                }
            }
            found
        };
        let of = |block: &'a Block| {
            let (subjects, classes) = match &block.subject {
                Subject::Workload(workload) => (vec![*workload], None),
                Subject::Classes(classes) => (members(classes), Some(classes)),
            };
            let (ours, theirs) = ((subjects, classes), (members(&block.others), Some(&block.others)));
            let ((sources, source_classes), (destinations, destination_classes)) = match block.direction {
                Direction::Ingress => (theirs, ours),
                Direction::Egress => (ours, theirs),
            };
            let (before, after) = (block.before, block.after);
            Self { sources, destinations, source_classes, destination_classes, before, after }
        };
        cells.blocks.iter().map(of).collect()
    }

    /// True for one of the sources.
    fn has_source(&self, id: u32, after: &Connectivity, apart: &BTreeSet<u32>) -> bool {
        match self.source_classes {
            Some(classes) => {
                let own = after.classes_at(id as usize);
                own.iter().any(|class| classes.has(*class as usize)) && !apart.contains(&id)
            }
            None => self.sources.contains(&id),
        }
    }
}

/// What of the sources of a block decides whether callers of its destinations differ.
struct Sources {
    /// An ingress controller is one of them.
    controller: bool,
    /// The first by name, and the first of another namespace than that one.
    first: [Option<u32>; 2],
}

impl Sources {
    fn of(
        ends: &Ends<'_>,
        places: &[u32],
        after: &Connectivity,
        in_view: &BTreeSet<u32>,
        apart: &BTreeSet<u32>,
    ) -> Self {
        let controller = in_view.iter().any(|id| ends.has_source(*id, after, apart));
        let mut first: [Option<u32>; 2] = [None, None];
        if ends.after != ConnId::NONE {
            let place = |id: &u32| places.get(*id as usize).copied().unwrap_or(u32::MAX);
            let namespace = |id: u32| after.endpoints().get(id as usize).map(|endpoint| &endpoint.namespace);
            first[0] = ends.sources.iter().copied().min_by_key(place);
            let own = first[0].map(namespace);
            let others = ends.sources.iter().copied().filter(|id| Some(namespace(*id)) != own);
            first[1] = others.min_by_key(place);
        }
        Self { controller, first }
    }

    /// True when the first callers of a destination may be others now.
    fn matter(
        &self,
        destination: u32,
        Callers { far, near }: Callers,
        ends: &Ends<'_>,
        (judged, places): (&Judgements, &[u32]),
        after: &Connectivity,
        apart: &BTreeSet<u32>,
    ) -> bool {
        if [far, near].into_iter().flatten().any(|known| ends.has_source(known, after, apart)) {
            return true;
        }
        if ends.after == ConnId::NONE {
            return false;
        }
        let named = |id: u32| after.endpoints().get(id as usize);
        let Some(to) = named(destination) else { return false };
        let place = |id: u32| places.get(id as usize).copied().unwrap_or(u32::MAX);
        let before = |id: u32, known: Option<u32>| known.is_none_or(|known| place(id) < place(known));
        let from = self.first.into_iter().flatten();
        let afar = from.into_iter().find(|id| named(*id).is_some_and(|from| from.namespace != to.namespace));
        if afar.is_some_and(|id| before(id, far)) {
            return true;
        }
        let close = judged.neighbours.get(&to.namespace).into_iter().flatten();
        far.is_none()
            && close
                .into_iter()
                .any(|id| *id != destination && before(*id, near) && ends.has_source(*id, after, apart))
    }
}
