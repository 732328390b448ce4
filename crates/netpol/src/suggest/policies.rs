//! Needs become policies: one for each workload that needs anything, and a default deny for each namespace.

use std::collections::{BTreeMap, BTreeSet};

use crate::conn::{ConnSet, Protocol};
use crate::engine::Connectivity;
use crate::ip::Family;
use crate::objects::{NetworkPolicy, Object};
use crate::selector::{Labels, Operator, Selector};
use crate::state::ClusterState;

use super::document::Doc;
use super::groups::Groups;
use super::needs::{End, Needs, Shown};

/// Label of the policies that are suggested, and its value.
const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "plimsoll");
/// Name of a namespace's default deny.
const DEFAULT_DENY: &str = "default-deny";
/// Most comments above a rule.
const MAX_COMMENTS: usize = 6;

/// A policy that is suggested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) document: Doc,
}

/// Peers and ports of a rule, with what shows them.
type Rules = BTreeMap<ConnKey, (BTreeSet<End>, BTreeSet<String>)>;

/// Ports in the order in which rules stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ConnKey(Vec<(Protocol, u16, u16)>);

impl ConnKey {
    fn of(ports: &ConnSet) -> Self {
        let ranges = |protocol: Protocol| {
            ports
                .ports(protocol)
                .ranges()
                .iter()
                .map(move |(low, high)| (protocol, *low, *high))
                .collect::<Vec<_>>()
        };
        Self([Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().flat_map(ranges).collect())
    }

    fn document(&self) -> Doc {
        let port = |(protocol, low, high): &(Protocol, u16, u16)| {
            let mut fields = vec![("protocol", Doc::text(protocol.as_str()))];
            if (*low, *high) != (1, u16::MAX) {
                fields.push(("port", Doc::Number(*low)));
                if low != high {
                    fields.push(("endPort", Doc::Number(*high)));
                }
            }
            Doc::map(fields)
        };
        Doc::list(self.0.iter().map(port))
    }
}

/// True for a policy that an earlier suggestion made.
pub(super) fn is_suggested(policy: &NetworkPolicy) -> bool {
    policy.meta.labels.get(MANAGED.0).is_some_and(|value| value == MANAGED.1)
}

fn existing(state: &ClusterState) -> impl Iterator<Item = &NetworkPolicy> {
    state.objects().filter_map(|object| match object {
        Object::NetworkPolicy(policy) => Some(policy),
        _ => None,
    })
}

/// The policies, by namespace and name; default denies first.
pub(super) fn policies(
    needs: &Needs,
    groups: &Groups,
    connectivity: &Connectivity,
    state: &ClusterState,
    is_subject: &dyn Fn(&str) -> bool,
) -> Vec<Policy> {
    let mut rules: BTreeMap<usize, [BTreeMap<End, Shown>; 2]> = BTreeMap::new();
    for ((from, to), shown) in &needs.map {
        for (side, own, other) in [(0, to, from), (1, from, to)] {
            if let End::Group(group) = own
                && let Some(side) = rules.entry(*group).or_default().get_mut(side)
            {
                side.insert(other.clone(), shown.clone());
            }
        }
    }
    let mut taken: BTreeSet<(String, String)> = existing(state)
        .filter(|policy| !is_suggested(policy))
        .map(|policy| (policy.meta.namespace.clone(), policy.meta.name.clone()))
        .collect();
    let mut found = Vec::new();
    let namespaces: BTreeSet<&str> = groups
        .groups
        .iter()
        .filter(|group| !group.host_network && is_subject(&group.namespace))
        .map(|group| group.namespace.as_str())
        .collect();
    for namespace in namespaces {
        let denies = |policy: &NetworkPolicy| {
            let nothing = |rules: &Option<Vec<_>>| rules.as_ref().is_some_and(Vec::is_empty);
            policy.meta.namespace == namespace
                && !is_suggested(policy)
                && policy.pods.is_empty()
                && nothing(&policy.ingress)
                && nothing(&policy.egress)
        };
        if !existing(state).any(denies) {
            let name = unique(namespace, DEFAULT_DENY, "", &mut taken);
            let document = document(namespace, &name, &Selector::default(), None, None);
            found.push(Policy { namespace: namespace.to_owned(), name, document });
        }
    }
    for (index, group) in groups.groups.iter().enumerate() {
        if group.host_network || !is_subject(&group.namespace) {
            continue;
        }
        let Some([ingress, egress]) = rules.get(&index) else { continue };
        let first = group.members.first().and_then(|member| connectivity.endpoints().get(*member));
        let Some(first) = first else { continue };
        let name = unique(&group.namespace, &format!("{}-allow", first.name), &first.kind, &mut taken);
        let side = |peers: &BTreeMap<End, Shown>, field: &'static str| {
            let entries = merged(peers).into_iter().map(|(ports, (peers, comments))| {
                let mut fields = Vec::new();
                if !peers.contains(&End::Anyone) {
                    let peers = peers.iter().flat_map(|peer| peer_documents(peer, &group.namespace, groups));
                    fields.push((field, Doc::list(peers)));
                }
                if ports != ConnKey::of(&ConnSet::all()) {
                    fields.push(("ports", ports.document()));
                }
                let more = comments.len().saturating_sub(MAX_COMMENTS);
                let mut comments: Vec<String> = comments.into_iter().take(MAX_COMMENTS).collect();
                if more > 0 {
                    comments.push(format!("and {more} more"));
                }
                (comments, Doc::map(fields))
            });
            let entries: Vec<_> = entries.collect();
            (!entries.is_empty()).then_some(Doc::List(entries))
        };
        let document =
            document(&group.namespace, &name, &group.selector, side(ingress, "from"), side(egress, "to"));
        found.push(Policy { namespace: group.namespace.clone(), name, document });
    }
    found
}

/// Peers with the same ports in one rule; what a wider peer has already is left out.
fn merged(peers: &BTreeMap<End, Shown>) -> Rules {
    let of = |end: End| peers.get(&end).map(|shown| shown.ports.clone()).unwrap_or_default();
    let (anyone, any_pod) = (of(End::Anyone), of(End::AnyPod));
    let mut rules = Rules::new();
    for (peer, shown) in peers {
        let mut ports = shown.ports.clone();
        if *peer != End::Anyone {
            ports = ports.subtract(&anyone);
        }
        if matches!(peer, End::Group(_) | End::Pods { .. }) {
            ports = ports.subtract(&any_pod);
        }
        if !ports.is_empty() {
            // A rule for anyone names no peers, so that it stands alone.
            let (peers, comments) = rules.entry(ConnKey::of(&ports)).or_default();
            peers.insert(peer.clone());
            comments.extend(shown.evidence.iter().cloned());
        }
    }
    rules
}

fn unique(namespace: &str, name: &str, kind: &str, taken: &mut BTreeSet<(String, String)>) -> String {
    let valid = |char: char| {
        let char = char.to_ascii_lowercase();
        if char.is_ascii_lowercase() || char.is_ascii_digit() || char == '.' { char } else { '-' }
    };
    let base: String = name.chars().map(valid).collect();
    let trim = |text: &str| text.trim_matches(|char| char == '-' || char == '.').to_owned();
    // Room for what tells names apart.
    let base = trim(&base.chars().take(220).collect::<String>());
    let kind: String = kind.chars().map(valid).take(20).collect();
    let candidates = [base.clone(), trim(&format!("{base}-{kind}"))].into_iter();
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    for name in candidates.chain(numbered) {
        let full = (namespace.to_owned(), name);
        if !taken.contains(&full) {
            taken.insert(full.clone());
            return full.1;
        }
    }
    base
}

fn document(namespace: &str, name: &str, pods: &Selector, ingress: Option<Doc>, egress: Option<Doc>) -> Doc {
    let labels = Doc::Map(vec![(MANAGED.0.to_owned(), Doc::text(MANAGED.1))]);
    let metadata =
        Doc::map([("name", Doc::text(name)), ("namespace", Doc::text(namespace)), ("labels", labels)]);
    let types = Doc::list(["Ingress", "Egress"].map(Doc::text));
    let mut spec = vec![("podSelector", selector(pods)), ("policyTypes", types)];
    spec.extend(ingress.map(|rules| ("ingress", rules)));
    spec.extend(egress.map(|rules| ("egress", rules)));
    Doc::map([
        ("apiVersion", Doc::text("networking.k8s.io/v1")),
        ("kind", Doc::text("NetworkPolicy")),
        ("metadata", metadata),
        ("spec", Doc::map(spec)),
    ])
}

fn labels(labels: &Labels) -> Doc {
    Doc::Map(labels.iter().map(|(key, value)| (key.clone(), Doc::text(value.as_str()))).collect())
}

fn selector(selector: &Selector) -> Doc {
    let mut fields = Vec::new();
    if !selector.match_labels.is_empty() {
        fields.push(("matchLabels", labels(&selector.match_labels)));
    }
    let expression = |requirement: &crate::selector::Requirement| {
        let (word, values) = match &requirement.operator {
            Operator::In(values) => ("In", values.as_slice()),
            Operator::NotIn(values) => ("NotIn", values.as_slice()),
            Operator::Exists => ("Exists", [].as_slice()),
            Operator::DoesNotExist => ("DoesNotExist", [].as_slice()),
        };
        let mut fields = vec![("key", Doc::text(requirement.key.as_str())), ("operator", Doc::text(word))];
        if !values.is_empty() {
            fields.push(("values", Doc::list(values.iter().map(|value| Doc::text(value.as_str())))));
        }
        Doc::map(fields)
    };
    if !selector.match_expressions.is_empty() {
        fields.push(("matchExpressions", Doc::list(selector.match_expressions.iter().map(expression))));
    }
    Doc::map(fields)
}

fn peer_documents(peer: &End, own: &str, groups: &Groups) -> Option<Doc> {
    let namespaces = |name: &str| {
        let key = "kubernetes.io/metadata.name".to_owned();
        selector(&Selector::of_labels([(key, name.to_owned())].into()))
    };
    let block = |cidr: &str, except: &[&str]| {
        let mut fields = vec![("cidr", Doc::text(cidr))];
        if !except.is_empty() {
            fields.push(("except", Doc::list(except.iter().map(|block| Doc::text(*block)))));
        }
        Doc::map([("ipBlock", Doc::map(fields))])
    };
    let document = match peer {
        End::Group(group) => {
            let group = groups.get(*group)?;
            let pods = ("podSelector", selector(&group.selector));
            if group.namespace == own {
                Doc::map([pods])
            } else {
                Doc::map([("namespaceSelector", namespaces(&group.namespace)), pods])
            }
        }
        End::Pods { namespace, pods } => Doc::map([
            ("namespaceSelector", Doc::map([("matchLabels", labels(namespace))])),
            ("podSelector", Doc::map([("matchLabels", labels(pods))])),
        ]),
        End::AnyPod => Doc::map([("namespaceSelector", Doc::map([]))]),
        End::Block(net) => block(&net.trunc().to_string(), &[]),
        End::World(Family::V4) => block(
            "0.0.0.0/0",
            &[
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.168.0.0/16",
            ],
        ),
        End::World(Family::V6) => block("::/0", &["fc00::/7", "fe80::/10"]),
        End::Anyone => return None,
    };
    Some(document)
}
