//! The objects of one cluster, as far as they are known.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::objects::{Container, Object, ObjectKey, Workload};
use crate::paged::SortedPages;
use crate::selector::Labels;

/// Label that names the tool or release which owns an object, for [`Scope::Owner`].
pub const OWNER_LABEL: &str = "app.kubernetes.io/instance";

/// Labels of namespaces as vendors of ingress controllers make them: namespace, key, value.
const VENDOR_LABELS: [(&str, &str, &str); 4] = [
    ("ingress-nginx", "app.kubernetes.io/name", "ingress-nginx"),
    ("ingress-nginx", "app.kubernetes.io/instance", "ingress-nginx"),
    ("openshift-ingress", "network.openshift.io/policy-group", "ingress"),
    ("openshift-ingress", "policy-group.network.openshift.io/ingress", ""),
];

/// What a declared replacement speaks for: everything of the scope that it does not name is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Every object of the cluster.
    Cluster,
    /// Every object inside the namespace, and the namespace itself.
    Namespace(String),
    /// Every object whose [`OWNER_LABEL`] has this value.
    Owner(String),
}

impl Scope {
    fn covers(&self, object: &Object) -> bool {
        let meta = object.meta();
        match self {
            Self::Cluster => true,
            Self::Namespace(name) => {
                meta.namespace == *name || matches!(object, Object::Namespace(_)) && meta.name == *name
            }
            Self::Owner(value) => meta.labels.get(OWNER_LABEL) == Some(value),
        }
    }
}

/// The objects of one cluster by identity; a value that can be kept and compared. A copy shares what is not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Object>")]
pub struct ClusterState {
    objects: SortedPages<ObjectKey, Object>,
    /// See [`ClusterState::has_all_nodes`]; not among what is written.
    all_nodes: bool,
}

impl From<Vec<Object>> for ClusterState {
    fn from(objects: Vec<Object>) -> Self {
        let objects = SortedPages::of(objects.into_iter().map(|object| (object.key(), object)));
        Self { objects, all_nodes: false }
    }
}

/// As a list of its objects.
impl Serialize for ClusterState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.objects())
    }
}

/// True when `new` is an older version of the same object.
fn is_older(new: &Object, known: &Object) -> bool {
    let (new, known) = (new.meta(), known.meta());
    if new.uid.is_none() || new.uid != known.uid {
        return false;
    }
    let number = |version: &Option<String>| version.as_ref().and_then(|version| version.parse::<u64>().ok());
    match (number(&new.resource_version), number(&known.resource_version)) {
        (Some(new), Some(known)) => new < known,
        _ => false,
    }
}

impl ClusterState {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an object in, created or changed. Gives true when the analysis may change; an older resourceVersion of
    /// the same uid is ignored.
    pub fn apply(&mut self, object: Object) -> bool {
        let key = object.key();
        match self.objects.get(&key) {
            Some(known) if is_older(&object, known) => false,
            Some(known) => {
                let changed = object.differs_from(known);
                self.objects.insert(key, object);
                changed
            }
            None => {
                self.objects.insert(key, object);
                true
            }
        }
    }

    /// Takes an object out. Gives true when it was there.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        self.objects.remove(key).is_some()
    }

    /// Makes the scope consist of `objects`: what it had besides is gone. Objects outside the scope are applied.
    /// Gives true when anything changed.
    pub fn replace(&mut self, scope: &Scope, objects: Vec<Object>) -> bool {
        let keys: std::collections::BTreeSet<_> = objects.iter().map(Object::key).collect();
        let gone = self.gone(scope, &keys);
        let mut changed = !gone.is_empty();
        if *scope == Scope::Cluster {
            let all_nodes = objects.iter().any(|object| matches!(object, Object::Node(_)));
            changed |= std::mem::replace(&mut self.all_nodes, all_nodes) != all_nodes;
        }
        for key in &gone {
            self.objects.remove(key);
        }
        for object in objects {
            changed |= self.apply(object);
        }
        changed
    }

    /// True when the cluster was replaced as a whole, and nodes were among what it was replaced by: nodes that are not in
    /// view are then none of the cluster's. Single nodes that come and go afterwards are taken for the cluster's own
    /// changes.
    pub fn has_all_nodes(&self) -> bool {
        self.all_nodes
    }

    /// Says again what [`ClusterState::has_all_nodes`] said of a state that was written and read.
    pub fn declare_all_nodes(&mut self, all: bool) {
        self.all_nodes = all;
    }

    /// Objects of a scope that are not among `keys`.
    pub(crate) fn gone(&self, scope: &Scope, keys: &std::collections::BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let left_out =
            |(key, object): &(&ObjectKey, &Arc<Object>)| !keys.contains(*key) && scope.covers(object);
        self.objects.iter().filter(left_out).map(|(key, _)| key.clone()).collect()
    }

    /// The object of an identity.
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key).map(Arc::as_ref)
    }

    /// The object of an identity, to be kept.
    pub(crate) fn share(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    /// Every object, by identity.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(|(_, object)| object.as_ref())
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.objects.len() == 0
    }

    /// Every workload, pods included, with its containers' images.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.objects().filter_map(|object| match object {
            Object::Workload(workload) => Some(workload),
            _ => None,
        })
    }

    /// Images of every workload: the workload, and its container with reference and, where a pod's status tells it,
    /// the digest that runs.
    pub fn images(&self) -> impl Iterator<Item = (&Workload, &Container)> {
        self.workloads()
            .flat_map(|workload| workload.containers.iter().map(move |container| (workload, container)))
    }

    /// Labels of a namespace, `kubernetes.io/metadata.name` always among them, and whether its object is known. Of a
    /// namespace of an ingress controller that is not known, those with which its vendor makes it.
    pub fn namespace_labels(&self, name: &str) -> (Labels, bool) {
        let key = ObjectKey { kind: "Namespace".into(), namespace: String::new(), name: name.into() };
        let known = self.objects.get(&key);
        let mut labels = known.map(|object| object.meta().labels.clone()).unwrap_or_default();
        if known.is_none() {
            let vendor = VENDOR_LABELS.iter().filter(|(namespace, ..)| *namespace == name);
            labels.extend(vendor.map(|(_, key, value)| ((*key).to_owned(), (*value).to_owned())));
        }
        labels.entry("kubernetes.io/metadata.name".into()).or_insert_with(|| name.to_owned());
        (labels, known.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Format, parse_documents};

    fn pod(name: &str, app: &str, version: u32) -> Object {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, uid: u-{name}, resourceVersion: \
             '{version}', labels: {{app: {app}, {OWNER_LABEL}: {app}}}}}\n"
        );
        parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid").remove(0)
    }

    #[test]
    fn older_versions_are_ignored_and_no_ops_are_not_changes() {
        let mut state = ClusterState::new();
        assert!(state.apply(pod("a", "one", 5)));
        assert!(!state.apply(pod("a", "two", 4)), "older");
        assert!(!state.apply(pod("a", "one", 6)), "same content");
        assert!(state.apply(pod("a", "two", 7)));
        assert!(!state.apply(pod("a", "one", 6)), "older again");
        let kept: ClusterState =
            serde_json::from_str(&serde_json::to_string(&state).expect("json")).expect("state");
        assert_eq!(kept, state);
    }

    #[test]
    fn replace_removes_what_the_scope_no_longer_names() {
        let mut state = ClusterState::new();
        state.apply(pod("a", "one", 1));
        state.apply(pod("b", "two", 1));
        assert!(state.replace(&Scope::Owner("one".into()), vec![pod("c", "one", 1)]));
        let names: Vec<_> = state.objects().map(|object| object.meta().name.clone()).collect();
        assert_eq!(names, ["b", "c"]);
        assert!(
            !state.replace(&Scope::Namespace("shop".into()), vec![pod("b", "two", 1), pod("c", "one", 1)])
        );
        assert!(state.replace(&Scope::Cluster, Vec::new()) && state.is_empty());
    }
}
