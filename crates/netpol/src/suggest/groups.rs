//! Selectors that pick exactly the pods of one workload.
//!
//! Labels that a controller selects its pods by stay for good, so they come first. Where they also fit pods of
//! another workload, labels are added that tell the two apart, or the absence of one. Workloads that no label tells
//! apart share a group and thus a policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Connectivity, Endpoint};
use crate::selector::{Labels, Operator, Requirement, Selector};

use super::declared::Declared;

/// Labels that differ between pods of one workload, or from one rollout to the next.
const VOLATILE: [&str; 13] = [
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "job-name",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Labels that an upgrade changes; used only where nothing else tells workloads apart.
const UPGRADED: [&str; 6] = [
    "helm.sh/chart",
    "chart",
    "heritage",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "security.istio.io/tlsMode",
];

/// Labels by which people name workloads, best first.
const PREFERRED: [&str; 9] = [
    "app.kubernetes.io/name",
    "app",
    "k8s-app",
    "app.kubernetes.io/component",
    "component",
    "role",
    "tier",
    "app.kubernetes.io/instance",
    "release",
];

/// Workloads that one selector stands for; mostly one.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) namespace: String,
    /// Indexes of workloads.
    pub(super) members: Vec<usize>,
    /// Matches the pods of the members and no other pod in view.
    pub(super) selector: Selector,
    /// All its pods use the node's network, so that no NetworkPolicy governs them.
    pub(super) host_network: bool,
}

/// Every workload in a group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    /// Group of a workload by its index.
    of: BTreeMap<usize, usize>,
}

/// True for a label that may stand in a selector.
pub(super) fn is_stable(key: &str) -> bool {
    !VOLATILE.contains(&key)
}

fn rank(key: &str) -> (usize, &str) {
    let place = PREFERRED.iter().position(|preferred| *preferred == key).unwrap_or(PREFERRED.len());
    (if UPGRADED.contains(&key) { usize::MAX } else { place }, key)
}

/// What is known of the labels of a workload.
struct Pods {
    /// Label sets of its pods, without volatile ones.
    variants: Vec<Labels>,
    /// Labels that every pod has.
    common: Labels,
    /// What a selector begins with.
    start: Labels,
}

fn stable(labels: &Labels) -> Labels {
    labels.iter().filter(|(key, _)| is_stable(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut all = sets.next().cloned().unwrap_or_default();
    for set in sets {
        all.retain(|key, value| set.get(key) == Some(value));
    }
    all
}

impl Pods {
    fn of(endpoint: &Endpoint, declared: &Declared) -> Self {
        let variants: Vec<Labels> = endpoint.pod_labels.iter().map(stable).collect();
        let common = common(variants.iter());
        let selector = endpoint.objects.iter().filter_map(|key| declared.selectors.get(key));
        let mut start: Labels = selector
            .flatten()
            .filter(|(key, value)| common.get(*key) == Some(*value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if start.is_empty() {
            start = common.clone();
            start.retain(|key, _| !UPGRADED.contains(&key.as_str()));
        }
        Self { variants, common, start }
    }

    fn merged(parts: &[&Self]) -> Self {
        Self {
            variants: parts.iter().flat_map(|part| part.variants.iter().cloned()).collect(),
            common: common(parts.iter().map(|part| &part.common)),
            start: common(parts.iter().map(|part| &part.start)),
        }
    }

    /// A requirement that these pods meet and those of `other` do not.
    fn apart(&self, other: &Labels) -> Option<Requirement> {
        let differs = |key: &&String| self.common.get(*key) != other.get(*key);
        let mut keys: Vec<&String> = self.common.keys().filter(differs).collect();
        keys.sort_by_key(|key| rank(key));
        if let Some((key, value)) = keys.first().and_then(|key| self.common.get_key_value(*key)) {
            return Some(Requirement { key: key.clone(), operator: Operator::In(vec![value.clone()]) });
        }
        let absent = |key: &&String| self.variants.iter().all(|labels| !labels.contains_key(*key));
        let mut keys: Vec<&String> = other.keys().filter(absent).collect();
        keys.sort_by_key(|key| rank(key));
        keys.first().map(|key| Requirement { key: (*key).clone(), operator: Operator::DoesNotExist })
    }
}

/// Where the pods of a namespace have which labels.
#[derive(Default)]
struct Index {
    by_label: BTreeMap<(String, String), BTreeSet<usize>>,
    all: BTreeSet<usize>,
}

impl Index {
    /// Workloads that may have a pod with all labels.
    fn candidates(&self, labels: &Labels) -> &BTreeSet<usize> {
        static NONE: BTreeSet<usize> = BTreeSet::new();
        let holders = |(key, value): (&String, &String)| {
            self.by_label.get(&(key.clone(), value.clone())).unwrap_or(&NONE)
        };
        labels.iter().map(holders).min_by_key(|holders| holders.len()).unwrap_or(&self.all)
    }
}

impl Groups {
    /// Groups the workloads of a connectivity; assumed peers are left out.
    pub(super) fn of(connectivity: &Connectivity, declared: &Declared) -> Self {
        let mut found = Self::default();
        let mut namespaces: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, endpoint) in connectivity.endpoints().iter().enumerate() {
            if !endpoint.assumed {
                namespaces.entry(&endpoint.namespace).or_default().push(index);
            }
        }
        for (namespace, mut members) in namespaces {
            members.sort_by_key(|index| connectivity.endpoints().get(*index).map(ToString::to_string));
            let pods: BTreeMap<usize, Pods> = members
                .iter()
                .filter_map(|index| Some((*index, Pods::of(connectivity.endpoints().get(*index)?, declared))))
                .collect();
            for (members, selector) in partition(&members, &pods) {
                let host = |index: &usize| {
                    connectivity.endpoints().get(*index).is_some_and(|endpoint| endpoint.host_network)
                };
                let group = found.groups.len();
                found.of.extend(members.iter().map(|member| (*member, group)));
                found.groups.push(Group {
                    namespace: namespace.to_owned(),
                    host_network: members.iter().all(host),
                    members,
                    selector,
                });
            }
        }
        found
    }

    /// The group of a workload.
    pub(super) fn group_of(&self, workload: usize) -> Option<usize> {
        self.of.get(&workload).copied()
    }

    /// A group by number.
    pub(super) fn get(&self, group: usize) -> Option<&Group> {
        self.groups.get(group)
    }
}

/// The workloads of one namespace as groups with their selectors.
fn partition(members: &[usize], pods: &BTreeMap<usize, Pods>) -> Vec<(Vec<usize>, Selector)> {
    let mut index = Index::default();
    for (workload, known) in pods {
        index.all.insert(*workload);
        for (key, value) in known.variants.iter().flatten() {
            index.by_label.entry((key.clone(), value.clone())).or_default().insert(*workload);
        }
    }
    // What looks the same to every selector cannot be told apart.
    let mut alike: BTreeMap<BTreeSet<&Labels>, Vec<usize>> = BTreeMap::new();
    for member in members {
        let variants = pods.get(member).into_iter().flat_map(|pods| &pods.variants).collect();
        alike.entry(variants).or_default().push(*member);
    }
    let places: BTreeMap<usize, usize> =
        members.iter().enumerate().map(|(place, member)| (*member, place)).collect();
    let mut open: Vec<Vec<usize>> = alike.into_values().collect();
    let mut done: Vec<(Vec<usize>, Selector)> = Vec::new();
    while let Some(group) = open.pop() {
        let parts: Vec<&Pods> = group.iter().filter_map(|member| pods.get(member)).collect();
        let merged = Pods::merged(&parts);
        match select(&merged, &group, pods, &index) {
            Ok(selector) => done.push((group, selector)),
            // Joined with whatever cannot be told apart, and tried again; each time there is one group less.
            Err(other) => {
                let mut joined = group;
                let holds = |group: &Vec<usize>| group.contains(&other);
                if let Some(at) = open.iter().position(holds) {
                    joined.extend(open.remove(at));
                } else if let Some(at) = done.iter().position(|(group, _)| holds(group)) {
                    joined.extend(done.remove(at).0);
                } else {
                    continue;
                }
                joined.sort_by_key(|member| places.get(member).copied());
                open.push(joined);
            }
        }
    }
    done.sort_by_key(|(group, _)| group.first().and_then(|first| places.get(first)).copied());
    done
}

/// The selector of a group, or a workload that cannot be told from it.
fn select(
    own: &Pods,
    group: &[usize],
    pods: &BTreeMap<usize, Pods>,
    index: &Index,
) -> Result<Selector, usize> {
    let mut selector = Selector::of_labels(own.start.clone());
    let inside: BTreeSet<usize> = group.iter().copied().collect();
    for other in index.candidates(&own.start).difference(&inside) {
        for labels in pods.get(other).into_iter().flat_map(|pods| &pods.variants) {
            if !selector.matches(labels) {
                continue;
            }
            match own.apart(labels) {
                Some(Requirement { key, operator: Operator::In(values) }) => {
                    selector.match_labels.extend(values.into_iter().map(|value| (key.clone(), value)));
                }
                Some(requirement) => selector.match_expressions.push(requirement),
                None => return Err(*other),
            }
        }
    }
    selector.match_expressions.sort();
    selector.match_expressions.dedup();
    Ok(selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn shown(sets: &[&str]) -> Vec<(Vec<usize>, String)> {
        let pods = |text: &&str| {
            let common = stable(&labels(text));
            Pods { variants: vec![common.clone()], start: common.clone(), common }
        };
        let known: BTreeMap<usize, Pods> = sets.iter().map(pods).enumerate().collect();
        let members: Vec<usize> = known.keys().copied().collect();
        partition(&members, &known)
            .into_iter()
            .map(|(group, selector)| {
                for (index, pods) in &known {
                    assert_eq!(selector.matches(&pods.common), group.contains(index), "{selector}");
                }
                (group, selector.to_string())
            })
            .collect()
    }

    #[test]
    fn selectors_are_exact() {
        let found = shown(&["app=a,pod-template-hash=1", "app=a,tier=db", "", "x=y", "app=a"]);
        let absent = |key: &str| format!("{{Key:{key},Operator:DoesNotExist,Values:[],}}");
        let expected = [
            (vec![0, 4], format!("app=a,{}", absent("tier"))),
            (vec![1], "app=a,tier=db".to_owned()),
            (vec![2], format!("{},{}", absent("app"), absent("x"))),
            (vec![3], "x=y".to_owned()),
        ];
        assert_eq!(found, expected);
    }

    proptest::proptest! {
        #[test]
        fn any_labels(sets in proptest::collection::vec(proptest::collection::btree_map("[abc]", "[12]", 0..4), 1..9)) {
            let texts: Vec<String> = sets.iter().map(|set| {
                set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
            }).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = shown(&texts);
            proptest::prop_assert_eq!(found.iter().map(|(group, _)| group.len()).sum::<usize>(), sets.len());
        }
    }
}
