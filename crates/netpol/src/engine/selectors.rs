//! Selectors, each kept once, and the places that use it; namespaces, and which selectors match them.

use rustc_hash::FxHashMap;

use super::classes::{ClassKey, Classes};
use crate::bits::Bits;
use crate::selector::{Labels, Operator, Requirement, Selector};

/// The namespaces that a selector of pods is confined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// One namespace.
    Own(u32),
    /// Those that a selector of namespaces matches.
    Selected(u32),
}

/// Pods of some namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pods {
    pub(super) scope: Scope,
    /// Number of a selector of pods.
    pub(super) pods: u32,
    /// Pods on the node's network are left out.
    pub(super) no_host: bool,
}

/// Who uses a selector of pods, by the namespaces that each confines it to; and whether pods on the node's network are
/// left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses(FxHashMap<Scope, Vec<(u32, bool)>>);

impl Uses {
    pub(super) fn add(&mut self, user: u32, scope: Scope, no_host: bool) {
        self.0.entry(scope).or_default().push((user, no_host));
    }

    /// Takes one use out.
    pub(super) fn remove(&mut self, user: u32, scope: Scope, no_host: bool) {
        let Some(users) = self.0.get_mut(&scope) else { return };
        if let Some(at) = users.iter().position(|known| *known == (user, no_host)) {
            users.swap_remove(at);
        }
        if users.is_empty() {
            self.0.remove(&scope);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A selector of pods and who uses it.
#[derive(Debug, Clone, Default)]
pub(super) struct PodSelector {
    /// False for a number that is free.
    live: bool,
    pub(super) requirements: Vec<Requirement>,
    /// Sets of peers that use it, as often as they do.
    pub(super) sets: Uses,
    /// Policies whose subject it is.
    pub(super) policies: Uses,
}

impl PodSelector {
    pub(super) fn matches(&self, labels: &[(String, String)]) -> bool {
        self.requirements.iter().all(|requirement| meets(requirement, labels))
    }

    /// Values of a key, one of which every match has.
    fn anchor(&self) -> Option<(&str, &[String])> {
        self.requirements.iter().find_map(|requirement| match &requirement.operator {
            Operator::In(values) => Some((requirement.key.as_str(), values.as_slice())),
            _ => None,
        })
    }
}

/// As [`Requirement::matches`], over labels in order of key.
fn meets(requirement: &Requirement, labels: &[(String, String)]) -> bool {
    let found = labels.binary_search_by(|(key, _)| key.as_str().cmp(&requirement.key)).ok();
    let value = found.and_then(|at| labels.get(at)).map(|(_, value)| value);
    match &requirement.operator {
        Operator::In(values) => value.is_some_and(|value| values.contains(value)),
        Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

/// A selector of namespaces and who uses it.
#[derive(Debug, Clone, Default)]
pub(super) struct NamespaceSelector {
    pub(super) selector: Selector,
    pub(super) canonical: Vec<Requirement>,
    pub(super) matches: Bits,
    pub(super) sets: Vec<u32>,
    pub(super) policies: Vec<u32>,
    /// False for a number that is free.
    live: bool,
}

/// A namespace that some pod, policy or object names.
#[derive(Debug, Clone, Default)]
pub(super) struct NamespaceEntry {
    pub(super) name: String,
    pub(super) labels: Labels,
    /// Its object is in view.
    pub(super) known: bool,
    /// Classes of its pods.
    pub(super) classes: Vec<u32>,
    /// Number of its classes that have a workload.
    pub(super) real: u32,
    /// Selectors of namespaces that match it.
    pub(super) selectors: Bits,
}

/// Every selector in use, and every namespace.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    pub(super) pods: Vec<PodSelector>,
    pod_ids: FxHashMap<Vec<Requirement>, u32>,
    free_pods: Vec<u32>,
    /// Selectors that a label may satisfy: by key and value.
    anchored: FxHashMap<String, FxHashMap<String, Vec<u32>>>,
    /// Selectors that no label by itself leads to.
    loose: Vec<u32>,
    pub(super) of_namespaces: Vec<NamespaceSelector>,
    namespace_selector_ids: FxHashMap<Vec<Requirement>, u32>,
    free_namespace_selectors: Vec<u32>,
    pub(super) namespaces: Vec<NamespaceEntry>,
    namespace_ids: FxHashMap<String, u32>,
}

impl Selectors {
    /// The number of a selector of pods; `None` selects all.
    pub(super) fn pod_selector(&mut self, selector: Option<&Selector>) -> u32 {
        let requirements = selector.map(Selector::canonical).unwrap_or_default();
        if let Some(&id) = self.pod_ids.get(&requirements) {
            return id;
        }
        let id = self.free_pods.pop().unwrap_or(self.pods.len() as u32);
        let made = PodSelector { live: true, requirements: requirements.clone(), ..PodSelector::default() };
        match made.anchor() {
            Some((key, values)) => {
                let by_value = self.anchored.entry(key.to_owned()).or_default();
                values.iter().for_each(|value| by_value.entry(value.clone()).or_default().push(id));
            }
            None => self.loose.push(id),
        }
        self.pod_ids.insert(requirements, id);
        match self.pods.get_mut(id as usize) {
            Some(slot) => *slot = made,
            None => self.pods.push(made),
        }
        id
    }

    /// Frees a selector of pods that nobody uses.
    pub(super) fn sweep_pods(&mut self, id: u32) {
        let Some(selector) = self.pods.get_mut(id as usize) else { return };
        if !selector.live || !selector.sets.is_empty() || !selector.policies.is_empty() {
            return;
        }
        let gone = std::mem::take(selector);
        self.pod_ids.remove(&gone.requirements);
        match gone.anchor() {
            Some((key, values)) => {
                if let Some(by_value) = self.anchored.get_mut(key) {
                    for value in values {
                        let Some(list) = by_value.get_mut(value) else { continue };
                        list.retain(|known| *known != id);
                        if list.is_empty() {
                            by_value.remove(value);
                        }
                    }
                }
            }
            None => self.loose.retain(|known| *known != id),
        }
        self.free_pods.push(id);
    }

    /// The number of a selector of namespaces.
    pub(super) fn namespace_selector(&mut self, selector: &Selector) -> u32 {
        let canonical = selector.canonical();
        if let Some(&id) = self.namespace_selector_ids.get(&canonical) {
            return id;
        }
        let id = self.free_namespace_selectors.pop().unwrap_or(self.of_namespaces.len() as u32);
        let mut matches = Bits::default();
        for (index, namespace) in self.namespaces.iter_mut().enumerate() {
            if selector.matches(&namespace.labels) {
                matches.set(index);
                namespace.selectors.set(id as usize);
            }
        }
        let made = NamespaceSelector {
            selector: selector.clone(),
            canonical: canonical.clone(),
            matches,
            live: true,
            ..NamespaceSelector::default()
        };
        self.namespace_selector_ids.insert(canonical, id);
        match self.of_namespaces.get_mut(id as usize) {
            Some(slot) => *slot = made,
            None => self.of_namespaces.push(made),
        }
        id
    }

    /// Frees a selector of namespaces that nobody uses.
    pub(super) fn sweep_namespaces(&mut self, id: u32) {
        let Some(selector) = self.of_namespaces.get_mut(id as usize) else { return };
        if !selector.live || !selector.sets.is_empty() || !selector.policies.is_empty() {
            return;
        }
        let gone = std::mem::take(selector);
        self.namespace_selector_ids.remove(&gone.canonical);
        for namespace in gone.matches.iter() {
            if let Some(namespace) = self.namespaces.get_mut(namespace) {
                namespace.selectors.clear(id as usize);
            }
        }
        self.free_namespace_selectors.push(id);
    }

    /// The number of a namespace; `labels` are asked for when it is new.
    pub(super) fn namespace(&mut self, name: &str, labels: impl FnOnce() -> (Labels, bool)) -> u32 {
        if let Some(&id) = self.namespace_ids.get(name) {
            return id;
        }
        let id = self.namespaces.len() as u32;
        let (labels, known) = labels();
        self.namespaces.push(NamespaceEntry { name: name.to_owned(), known, ..NamespaceEntry::default() });
        self.namespace_ids.insert(name.to_owned(), id);
        self.relabel(id, labels, known);
        id
    }

    pub(super) fn namespace_id(&self, name: &str) -> Option<u32> {
        self.namespace_ids.get(name).copied()
    }

    /// Gives a namespace its labels. Gives the selectors that match it otherwise than before.
    pub(super) fn relabel(&mut self, id: u32, labels: Labels, known: bool) -> Vec<u32> {
        let mut toggled = Vec::new();
        let Some(namespace) = self.namespaces.get_mut(id as usize) else { return toggled };
        for (index, selector) in self.of_namespaces.iter_mut().enumerate() {
            let matches = selector.live && selector.selector.matches(&labels);
            if matches != namespace.selectors.has(index) {
                toggled.push(index as u32);
                if matches {
                    namespace.selectors.set(index);
                    selector.matches.set(id as usize);
                } else {
                    namespace.selectors.clear(index);
                    selector.matches.clear(id as usize);
                }
            }
        }
        (namespace.labels, namespace.known) = (labels, known);
        toggled
    }

    /// True when the namespace is in the scope.
    pub(super) fn holds(&self, scope: Scope, namespace: u32) -> bool {
        match scope {
            Scope::Own(own) => own == namespace,
            Scope::Selected(selector) => self
                .namespaces
                .get(namespace as usize)
                .is_some_and(|namespace| namespace.selectors.has(selector as usize)),
        }
    }

    /// Selectors of pods that match some labels.
    pub(super) fn matching(&self, labels: &[(String, String)]) -> Vec<u32> {
        let mut found = Vec::new();
        let mut consider = |ids: &[u32]| {
            let matches =
                |id: &&u32| self.pods.get(**id as usize).is_some_and(|selector| selector.matches(labels));
            found.extend(ids.iter().filter(matches));
        };
        consider(&self.loose);
        for (key, value) in labels {
            if let Some(ids) = self.anchored.get(key).and_then(|by_value| by_value.get(value)) {
                consider(ids);
            }
        }
        found
    }

    /// Policies whose subject holds classes of some key.
    pub(super) fn selecting(&self, key: &ClassKey) -> Vec<u32> {
        self.using(key, |selector| &selector.policies)
    }

    /// Users of the selectors that match a key, where they are not confined to other namespaces.
    pub(super) fn using(&self, key: &ClassKey, of: fn(&PodSelector) -> &Uses) -> Vec<u32> {
        let mut found = Vec::new();
        let namespace = self.namespaces.get(key.namespace as usize);
        let selected = namespace.into_iter().flat_map(|namespace| namespace.selectors.iter());
        let mut scopes: Vec<Scope> = vec![Scope::Own(key.namespace)];
        scopes.extend(selected.map(|selector| Scope::Selected(selector as u32)));
        let mut take = |users: &[(u32, bool)]| {
            let users = users.iter().filter(|(_, no_host)| !(*no_host && key.host_network));
            found.extend(users.map(|(user, _)| *user));
        };
        for selector in self.matching(&key.labels) {
            let Some(Uses(uses)) = self.pods.get(selector as usize).map(of) else { continue };
            if uses.len() < scopes.len() {
                let inside = uses.iter().filter(|(scope, _)| self.holds(**scope, key.namespace));
                inside.for_each(|(_, users)| take(users));
            } else {
                scopes.iter().filter_map(|scope| uses.get(scope)).for_each(|users| take(users));
            }
        }
        found
    }

    /// True when classes of a key are of some pods.
    pub(super) fn selects(&self, of: Pods, key: &ClassKey) -> bool {
        self.pods.get(of.pods as usize).is_some_and(|selector| selector.matches(&key.labels))
            && !(of.no_host && key.host_network)
            && self.holds(of.scope, key.namespace)
    }

    /// Adds the classes of some pods to a set.
    pub(super) fn select(&self, of: Pods, classes: &Classes, into: &mut Bits) {
        self.find(of, classes, |class| {
            into.set(class as usize);
            false
        });
    }

    /// Goes through the classes of some pods until `each` gives true; gives whether it did.
    pub(super) fn find(&self, of: Pods, classes: &Classes, mut each: impl FnMut(u32) -> bool) -> bool {
        let Some(selector) = self.pods.get(of.pods as usize) else { return false };
        let mut consider = |class: &u32, matches: bool| {
            classes.key(*class).is_some_and(|key| {
                (matches || selector.matches(&key.labels))
                    && !(of.no_host && key.host_network)
                    && self.holds(of.scope, key.namespace)
            }) && each(*class)
        };
        let in_namespace = |id: usize| self.namespaces.get(id).map(|namespace| namespace.classes.as_slice());
        let everyone = selector.requirements.is_empty();
        match of.scope {
            Scope::Own(id) => {
                in_namespace(id as usize).into_iter().flatten().any(|class| consider(class, everyone))
            }
            Scope::Selected(namespaces) => {
                let Some(namespaces) = self.of_namespaces.get(namespaces as usize) else { return false };
                let mut inside = namespaces.matches.iter().filter_map(in_namespace);
                if let Some((key, values)) = selector.anchor() {
                    // Whichever are fewer: classes with the label, or those of the namespaces.
                    let most: usize = values.iter().map(|value| classes.labelled(key, value).len()).sum();
                    let mut found = 0;
                    let many = inside.any(|classes| {
                        found += classes.len();
                        found > most
                    });
                    if many {
                        let alone = selector.requirements.len() == 1;
                        let mut labelled = values.iter().flat_map(|value| classes.labelled(key, value));
                        return labelled.any(|class| consider(class, alone));
                    }
                }
                let mut inside = namespaces.matches.iter().filter_map(in_namespace).flatten();
                inside.any(|class| consider(class, everyone))
            }
        }
    }
}
