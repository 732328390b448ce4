//! A resident cluster against a cold build: after any sequence of changes the two are the same, and so are the
//! differences that they tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_netpol::conn::{ConnSet, Protocol};
use plimsoll_netpol::diff::{
    ChangeKind, ConnDiff, DiffRow, Snapshot, diff_snapshots, diff_snapshots_at_most,
};
use plimsoll_netpol::effects::{Effect, Judged, effects, effects_of};
use plimsoll_netpol::engine::{BlockPods, Connectivity, Direction, Options, Peer};
use plimsoll_netpol::exposure::{WorkloadExposure, exposures};
use plimsoll_netpol::live::{Change, Delta, Live};
use plimsoll_netpol::objects::{
    BackendPort, Ingress, IngressBackend, Meta, Object, ObjectKey, Other, OwnerRef, Service, ServicePort,
    ServiceType, WorkloadKind,
};
use plimsoll_netpol::state::{ClusterState, Scope};
use proptest::prelude::*;

use crate::oracle::{PORTS, SPACES, admin_policy, labels, namespace, network_policy, node, pod};

/// The pods of a Deployment through a ReplicaSet, each of the three in view or not.
fn nested() -> impl Strategy<Value = Object> {
    (pod(9), 0usize..4, labels()).prop_map(|(object, what, labels)| {
        let Object::Workload(mut workload) = object else { unreachable!() };
        let owner = |kind: &str, name: &str| {
            vec![OwnerRef { kind: kind.into(), name: name.into(), controller: true }]
        };
        let (kind, name, owners) = match what {
            0 => (WorkloadKind::Deployment, "web", Vec::new()),
            1 => (WorkloadKind::ReplicaSet, "web-abc", owner("Deployment", "web")),
            2 => (WorkloadKind::Pod, "web-abc-x", owner("ReplicaSet", "web-abc")),
            _ => (WorkloadKind::Pod, "web-abc-y", owner("ReplicaSet", "web-abc")),
        };
        workload.meta = Meta { namespace: "red".into(), name: name.into(), owners, ..Meta::default() };
        workload.kind = kind;
        workload.pod_labels.extend(labels);
        if kind == WorkloadKind::Pod {
            workload.pod_labels.insert("pod-template-hash".into(), "abc".into());
        }
        Object::Workload(workload)
    })
}

pub(crate) fn controller() -> impl Strategy<Value = Object> {
    pod(8).prop_map(|object| {
        let Object::Workload(mut workload) = object else { unreachable!() };
        workload.meta.namespace = "ingress-nginx".into();
        workload.pod_labels.insert("app.kubernetes.io/name".into(), "ingress-nginx".into());
        Object::Workload(workload)
    })
}

pub(crate) fn service(index: usize) -> impl Strategy<Value = Object> {
    let kind = proptest::sample::select(
        [ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer].as_slice(),
    );
    (
        proptest::sample::select(SPACES.as_slice()),
        labels(),
        kind,
        any::<bool>(),
        proptest::sample::select(PORTS.as_slice()),
    )
        .prop_map(move |(namespace, selector, kind, local_traffic, port)| {
            Object::Service(Service {
                meta: Meta { namespace: namespace.into(), name: format!("svc{index}"), ..Meta::default() },
                selector,
                ports: vec![ServicePort {
                    name: None,
                    protocol: Protocol::Tcp,
                    port,
                    target: None,
                    node_port: None,
                }],
                kind,
                external_ips: Vec::new(),
                local_traffic,
                source_ranges: Vec::new(),
                internal: false,
                alias: None,
            })
        })
}

fn ingress() -> impl Strategy<Value = Object> {
    (proptest::sample::select(SPACES.as_slice()), proptest::collection::vec(0usize..3, 1..3)).prop_map(
        |(namespace, services)| {
            let backends = services
                .into_iter()
                .map(|index| IngressBackend { service: format!("svc{index}"), port: BackendPort::Any });
            Object::Ingress(Ingress {
                meta: Meta { namespace: namespace.into(), name: "ing".into(), ..Meta::default() },
                class: None,
                hosts: Vec::new(),
                tls: false,
                backends: backends.collect(),
            })
        },
    )
}

/// An object as the API server would give it.
fn parsed(yaml: &str) -> Object {
    use plimsoll_netpol::objects::{Format, parse_documents};
    parse_documents(yaml.as_bytes(), Format::Yaml).unwrap().remove(0)
}

/// A gateway, routes to it, and leave to name Services of another namespace.
fn gateway() -> impl Strategy<Value = Object> {
    let space = || proptest::sample::select(SPACES.as_slice());
    let from = proptest::sample::select(
        ["Same", "All", "Selector, selector: {matchLabels: {kubernetes.io/metadata.name: red}}"].as_slice(),
    );
    let kind = proptest::sample::select(["HTTPRoute", "GRPCRoute", "TCPRoute"].as_slice());
    prop_oneof![
        2 => (space(), from).prop_map(|(space, from)| parsed(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gate, namespace: {space}}}, spec: \
             {{gatewayClassName: any, listeners: [{{name: web, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: \
             {{from: {from}}}}}}}]}}}}"
        ))),
        3 => (kind, space(), space(), space(), 0usize..3).prop_map(|(kind, own, gate, of, service)| {
            let version = if kind == "TCPRoute" { "v1alpha2" } else { "v1" };
            parsed(&format!(
                "{{apiVersion: gateway.networking.k8s.io/{version}, kind: {kind}, metadata: {{name: route, namespace: {own}}}, \
                 spec: {{parentRefs: [{{name: gate, namespace: {gate}}}], rules: [{{backendRefs: [{{name: svc{service}, \
                 namespace: {of}, port: 80}}]}}]}}}}"
            ))
        }),
        1 => (space(), space()).prop_map(|(own, from)| parsed(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {{name: grant, namespace: \
             {own}}}, spec: {{from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {from}}}], to: \
             [{{group: '', kind: Service}}]}}}}"
        ))),
    ]
}

/// Ways in that need no controller: a port of the node, an address that a Service claims, a restricted balancer.
fn direct() -> impl Strategy<Value = Object> {
    let space = || proptest::sample::select(SPACES.as_slice());
    let port = proptest::sample::select(PORTS.as_slice());
    let node = (pod(7), port).prop_map(|(object, port)| {
        let Object::Workload(mut workload) = object else { unreachable!() };
        for container in &mut workload.containers {
            container.ports.iter_mut().for_each(|known| known.host_port = Some(port));
        }
        Object::Workload(workload)
    });
    // Other names of Services, of each other too, and Services that lead nobody knows where.
    let alias = (service(3), 0usize..4, space(), any::<bool>());
    let alias = alias.prop_map(|(object, of, space, loose)| {
        let Object::Service(mut service) = object else { unreachable!() };
        service.meta.name = format!("svc{}", if loose { 0 } else { 1 });
        service.selector.clear();
        if !loose {
            service.kind = ServiceType::ExternalName;
            service.alias = Some((space.into(), format!("svc{of}")));
        }
        Object::Service(service)
    });
    let service = (service(2), space(), any::<bool>(), any::<bool>(), any::<bool>());
    let service = service.prop_map(|(object, space, external, ranges, internal)| {
        let Object::Service(mut service) = object else { unreachable!() };
        service.meta.namespace = space.into();
        service.internal = internal;
        if external {
            service.external_ips = vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
        }
        if ranges {
            service.source_ranges = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        }
        Object::Service(service)
    });
    let route = (space(), 0usize..3).prop_map(|(space, service)| {
        parsed(&format!(
            "{{apiVersion: route.openshift.io/v1, kind: Route, metadata: {{name: shift, namespace: {space}}}, spec: {{to: \
             {{kind: Service, name: svc{service}}}}}}}"
        ))
    });
    prop_oneof![1 => node, 2 => service, 1 => route, 1 => alias]
}

fn foreign_policy() -> impl Strategy<Value = Object> {
    Just(Object::Other(Other {
        kind: "cilium.io/CiliumNetworkPolicy".into(),
        meta: Meta { namespace: "red".into(), name: "l7".into(), ..Meta::default() },
        policy: true,
    }))
}

pub(crate) fn object() -> BoxedStrategy<Object> {
    prop_oneof![
        6 => (1usize..5).prop_flat_map(pod),
        3 => nested(),
        1 => controller(),
        7 => (0usize..4).prop_flat_map(network_policy),
        4 => (0usize..3).prop_flat_map(admin_policy),
        2 => proptest::sample::select(SPACES.as_slice()).prop_flat_map(namespace),
        2 => (0usize..3).prop_flat_map(service),
        1 => ingress(),
        3 => gateway(),
        2 => direct(),
        1 => foreign_policy(),
        3 => (1usize..4).prop_flat_map(node),
    ]
    .boxed()
}

/// What to do next; an index picks from what is there.
#[derive(Debug, Clone)]
enum Step {
    Apply(Object),
    Delete(usize),
    Namespace(&'static str, Vec<Object>),
    /// The cluster is what it is, with other objects among it or, without them, said once more.
    Whole(Vec<Object>),
    Several(Vec<Object>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => object().prop_map(Step::Apply),
        3 => any::<usize>().prop_map(Step::Delete),
        1 => (proptest::sample::select(SPACES.as_slice()), proptest::collection::vec(object(), 0..5))
            .prop_map(|(name, objects)| Step::Namespace(name, objects)),
        1 => proptest::collection::vec(object(), 0..3).prop_map(Step::Whole),
        1 => (proptest::collection::vec(object(), 1..6), any::<usize>())
            .prop_map(|(objects, gone)| Step::Several(objects, gone)),
    ]
}

fn pick(state: &ClusterState, index: usize) -> Option<ObjectKey> {
    let count = state.len().max(1);
    state.objects().nth(index % count).map(Object::key)
}

fn changes(step: Step, state: &ClusterState) -> Vec<Change> {
    match step {
        Step::Apply(object) => vec![Change::Apply(object)],
        Step::Delete(index) => pick(state, index).map(Change::Delete).into_iter().collect(),
        Step::Namespace(name, objects) => vec![Change::Replace(Scope::Namespace(name.into()), objects)],
        Step::Whole(objects) => {
            let all = state.objects().cloned().chain(objects).collect();
            vec![Change::Replace(Scope::Cluster, all)]
        }
        Step::Several(objects, gone) => {
            let gone = pick(state, gone).map(Change::Delete);
            gone.into_iter().chain(objects.into_iter().map(Change::Apply)).collect()
        }
    }
}

type Named = BTreeMap<(String, String), ConnSet>;

fn names(connectivity: &Connectivity) -> BTreeSet<String> {
    let real = connectivity.endpoints().iter().filter(|endpoint| !endpoint.assumed);
    real.map(ToString::to_string).collect()
}

fn rows(connectivity: &Connectivity) -> Named {
    let name = |peer: Peer| match peer {
        Peer::Workload(index) => connectivity.endpoints()[index].to_string(),
        Peer::Range(range) => range.to_string(),
    };
    let rows = connectivity.rows();
    rows.iter().map(|(source, destination, conn)| ((name(source), name(destination)), conn.clone())).collect()
}

fn ways(snapshot: &Snapshot) -> BTreeMap<String, ConnSet> {
    let name = |index: &usize| snapshot.connectivity.endpoints()[*index].to_string();
    snapshot.ingress.iter().map(|(index, conn)| (name(index), conn.clone())).collect()
}

fn by_name(exposures: Vec<WorkloadExposure>) -> BTreeMap<String, WorkloadExposure> {
    exposures
        .into_iter()
        .map(|exposure| (format!("{}/{}[{}]", exposure.namespace, exposure.name, exposure.kind), exposure))
        .collect()
}

fn selected(connectivity: &Connectivity) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (index, endpoint) in connectivity.endpoints().iter().enumerate().filter(|(_, e)| !e.assumed) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let keys = connectivity.selected_by(index, direction).iter().map(ToString::to_string).collect();
            found.insert(format!("{endpoint} {direction:?}"), keys);
        }
    }
    found
}

fn same(live: &Live, cold: &Snapshot, options: &Options) -> Result<(), TestCaseError> {
    let now = live.snapshot();
    let (ours, theirs) = (now.connectivity(), cold.connectivity.as_ref());
    prop_assert_eq!(&now.snapshot.state, &cold.state);
    prop_assert_eq!(names(ours), names(theirs));
    for direction in [Direction::Ingress, Direction::Egress] {
        prop_assert_eq!(ours.ranges(direction), theirs.ranges(direction));
    }
    prop_assert_eq!(rows(ours), rows(theirs));
    prop_assert_eq!(selected(ours), selected(theirs));
    prop_assert_eq!(ours.warnings(), theirs.warnings());
    prop_assert_eq!(ways(&now.snapshot), ways(cold));
    prop_assert_eq!(now.exposures(), exposures(&cold.state, theirs, options));
    Ok(())
}

/// The delta against the difference of two cold builds, and of the two snapshots that it stands between.
fn exact(delta: &Delta, before: &Snapshot, after: &Snapshot, options: &Options) -> Result<(), TestCaseError> {
    let told = delta.connections();
    prop_assert_eq!(&told, &diff_snapshots(before, after, false));
    prop_assert_eq!(&told, &diff_snapshots(&delta.before().snapshot, &delta.after().snapshot, false));
    let of = |snapshot: &Snapshot| by_name(exposures(&snapshot.state, &snapshot.connectivity, options));
    let (old, new) = (of(before), of(after));
    let (changed, recounted) = (delta.exposures(), delta.recounted());
    let listed: BTreeMap<String, (Option<WorkloadExposure>, Option<WorkloadExposure>)> = changed
        .into_iter()
        .chain(recounted)
        .map(|change| (change.name(), (change.before, change.after)))
        .collect();
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let expected: BTreeMap<String, (Option<WorkloadExposure>, Option<WorkloadExposure>)> = keys
        .into_iter()
        .map(|name| (name.clone(), (old.get(name).cloned(), new.get(name).cloned())))
        .filter(|(_, (old, new))| old != new)
        .collect();
    prop_assert_eq!(listed, expected);
    for most in [0, 1, 7, 40] {
        limited(delta, &told, most)?;
    }
    // What is told of a change is what two cold builds say of it.
    let (old, new) = [before, after].map(|s| exposures(&s.state, &s.connectivity, options)).into();
    let judged = |snapshot, exposures| Judged { snapshot, exposures };
    let mut cold = effects(judged(before, &old), judged(after, &new), &told);
    let of_workload = |effect: &Effect| {
        ["host network", "plugin"].contains(&effect.detail.as_str()) || effect.detail.starts_with("block ")
    };
    cold.retain(|effect| effect.code != "NETPOL020" || !of_workload(effect));
    prop_assert_eq!(effects_of(delta, &told), cold);
    Ok(())
}

/// A list that is cut says how much it leaves out, and what follows from the change does not depend on it.
fn limited(delta: &Delta, told: &ConnDiff, most: usize) -> Result<(), TestCaseError> {
    let ends = |row: &DiffRow| (row.source.clone(), row.destination.clone());
    let all: BTreeMap<_, &DiffRow> = told.rows.iter().map(|row| (ends(row), row)).collect();
    let consequences = |listed: &ConnDiff| -> Vec<Effect> {
        effects_of(delta, listed).into_iter().filter(|effect| effect.code != "NETPOL005").collect()
    };
    let complete = consequences(told);
    let (before, after) = (&delta.before().snapshot, &delta.after().snapshot);
    for (listed, unlisted) in [delta.connections_at_most(most), diff_snapshots_at_most(before, after, most)] {
        prop_assert!(listed.rows.len() <= most);
        prop_assert!(listed.rows.iter().all(|row| all.get(&ends(row)) == Some(&row)), "{:?}", listed.rows);
        prop_assert!(unlisted.is_none() || listed.rows.len() + 11 >= most, "{} of {most}", listed.rows.len());
        for (kind, left) in [
            (ChangeKind::Added, unlisted.added),
            (ChangeKind::Removed, unlisted.removed),
            (ChangeKind::Changed, unlisted.changed),
        ] {
            let count = |diff: &ConnDiff| diff.of_kind(kind).count() as u64;
            prop_assert_eq!(count(&listed) + left, count(told));
        }
        prop_assert!(!unlisted.at_least);
        prop_assert_eq!(&listed.workloads_added, &told.workloads_added);
        prop_assert_eq!(&listed.workloads_removed, &told.workloads_removed);
        prop_assert_eq!(&consequences(&listed), &complete);
    }
    Ok(())
}

fn run(first: Vec<Object>, steps: Vec<Step>, options: &Options) -> Result<(), TestCaseError> {
    let mut live = Live::new(ClusterState::from(first), options);
    let mut before = Snapshot::new(Arc::new(live.snapshot().snapshot.state.as_ref().clone()), options);
    same(&live, &before, options)?;
    for step in steps {
        let state = Arc::clone(&live.snapshot().snapshot.state);
        let delta = live.changes(changes(step, &state));
        let state = live.snapshot().snapshot.state.as_ref().clone();
        let after = Snapshot::new(Arc::new(state), options);
        same(&live, &after, options)?;
        exact(&delta, &before, &after, options)?;
        before = after;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_gives_what_a_cold_build_gives(
        first in proptest::collection::vec(object(), 0..12),
        steps in proptest::collection::vec(step(), 1..14),
        mode in 0usize..6,
    ) {
        let block_pods = [BlockPods::Never, BlockPods::Match, BlockPods::Unknown][mode % 3];
        run(first, steps, &Options { block_pods, np_guard: mode == 3, all_nodes: mode > 2 })?;
    }
}

#[test]
fn a_kept_snapshot_does_not_change() {
    let options = Options::default();
    let pod = |name: &str, app: &str| {
        let yaml = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}}}"
        );
        plimsoll_netpol::objects::parse_documents(yaml.as_bytes(), plimsoll_netpol::objects::Format::Yaml)
            .unwrap()
            .remove(0)
    };
    let mut live = Live::new(ClusterState::from(vec![pod("a", "one"), pod("b", "two")]), &options);
    let kept = live.snapshot();
    let known = rows(kept.connectivity());
    let delta = live.change(Change::Delete(pod("b", "two").key()));
    assert_eq!(delta.connections().workloads_removed, ["shop/b[Pod]"]);
    assert!(live.change(Change::Apply(pod("a", "one"))).is_empty(), "the same again");
    let same_class = live.change(Change::Apply(pod("c", "one")));
    assert!(!same_class.is_empty());
    assert_eq!(rows(kept.connectivity()), known);
}
