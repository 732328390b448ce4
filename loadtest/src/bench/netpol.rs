//! The policy engine on generated clusters: all tiers, IPv4 and IPv6 blocks; a cold build, then one change after the
//! other, each with its exact difference.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use plimsoll_netpol::diff::{Snapshot, diff_snapshots};
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::live::{Change, Live};
use plimsoll_netpol::objects::{Format, Object, parse_documents};
use plimsoll_netpol::state::ClusterState;
use serde_json::{Value, json};

use super::measure::{at_most, figure, mib, note, peak_of, percentile, title};
use super::{NetpolArguments, NetpolPart};
use crate::LoadError;
use crate::dice::Dice;

/// Workloads of a namespace.
const NAMESPACE: usize = 20;
/// Classes and policies of the budget.
const BUDGET: (usize, usize) = (10_000, 5_000);

/// Changes that are made by building anew, which takes long.
const ANEW: usize = 6;

/// Measures.
pub(super) fn run(arguments: &NetpolArguments) -> Result<(), LoadError> {
    let classes = ["1000", "3000", "10000"];
    let policies = ["500", "5000", "20000"];
    let table = classes.iter().flat_map(|classes| policies.iter().map(move |p| format!("{classes}x{p}")));
    let sizes = if arguments.sizes.is_empty() { table.collect() } else { arguments.sizes.clone() };
    for size in &sizes {
        if let Some(part) = arguments.here {
            let (classes, policies) = size
                .split_once('x')
                .and_then(|(classes, policies)| Some((classes.parse().ok()?, policies.parse().ok()?)))
                .ok_or_else(|| LoadError::Other(format!("{size:?} is not CLASSES×POLICIES")))?;
            measure(classes, policies, part, arguments.changes)?;
            continue;
        }
        // A process of its own, so that its peak of memory is its own.
        let own = std::env::current_exe().map_err(LoadError::io("find this program"))?;
        let changes = arguments.changes.to_string();
        for part in ["whole", "resident"] {
            let status = Command::new(&own)
                .args(["bench", "netpol", "--here", part, "--changes", &changes, size])
                .status()
                .map_err(LoadError::io("run a measurement"))?;
            if !status.success() {
                return Err(LoadError::Other(format!("the measurement of {size} failed: {status}")));
            }
        }
    }
    Ok(())
}

fn measure(classes: usize, policies: usize, part: NetpolPart, changes: usize) -> Result<(), LoadError> {
    let began = Instant::now();
    let objects = cluster(classes, policies)?;
    let loading = began.elapsed().as_secs_f64();
    let spare: Vec<Object> = objects
        .iter()
        .filter(|object| object.kind().ends_with("NetworkPolicy"))
        .take(changes)
        .cloned()
        .collect();
    let state = ClusterState::from(objects);
    let options = Options::default();
    // The budgets are for one size; larger and smaller ones are held to the same.
    let scale = if (classes, policies) == BUDGET { "" } else { " (budget of 10000x5000)" };
    match part {
        NetpolPart::Whole => {
            title(&format!("netpol: {classes} workloads × {policies} policies, all tiers, IPv6"));
            note("loading the objects", &format!("{} s", figure(loading)));
            whole(state, &spare, changes.min(ANEW), &options, scale);
        }
        NetpolPart::Resident => {
            resident(state, &spare, changes, &options, scale);
            let peak = mib(peak_of("self"));
            at_most(&format!("peak memory, objects and resident cluster{scale}"), peak, 300.0, "MiB");
        }
    }
    Ok(())
}

/// Cluster states as wholes.
fn whole(mut state: ClusterState, spare: &[Object], changes: usize, options: &Options, scale: &str) {
    let shared = Arc::new(state.clone());
    let began = Instant::now();
    let connectivity = Connectivity::build(&shared, options);
    let cold = began.elapsed().as_secs_f64();
    let (made, rows, sets) = connectivity.sizes();
    note("made", &format!("{made} classes, {rows} rows, {sets} connection sets"));
    at_most(&format!("cold build{scale}"), cold, 1.0, "s");
    let began = Instant::now();
    let connections = connectivity.rows().len();
    let took = figure(began.elapsed().as_secs_f64());
    note("full matrix", &format!("{took} s, {connections} connections"));
    drop(connectivity);
    let mut before = Snapshot::new(shared, options);
    let (mut times, mut differing) = (Vec::new(), 0);
    // Each policy goes and comes back: two changes.
    for object in spare.iter().flat_map(|object| [(object, false), (object, true)]).take(changes) {
        match object {
            (object, true) => state.apply(object.clone()),
            (object, false) => state.delete(&object.key()),
        };
        let changed = Arc::new(state.clone());
        let began = Instant::now();
        let after = Snapshot::new(changed, options);
        differing += diff_snapshots(&before, &after, false).rows.len();
        times.push(began.elapsed().as_secs_f64() * 1e3);
        before = after;
    }
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    note("one change by building anew", &format!("{} ms, {differing} rows differ in all", figure(mean)));
}

/// Changes to a cluster that is kept up to date by what depends on a change.
fn resident(state: ClusterState, spare: &[Object], changes: usize, options: &Options, scale: &str) {
    let began = Instant::now();
    let mut live = Live::new(state, options);
    note("resident, with every exposure", &format!("{} s", figure(began.elapsed().as_secs_f64())));
    let (mut times, mut told, mut differing) = (Vec::new(), Vec::new(), 0);
    for (object, back) in spare.iter().flat_map(|object| [(object, false), (object, true)]).take(changes) {
        let change = if back { Change::Apply(object.clone()) } else { Change::Delete(object.key()) };
        let began = Instant::now();
        let delta = live.change(change);
        times.push(began.elapsed().as_secs_f64() * 1e3);
        // The cells that differ are known now; names and deciding rules are for those who ask.
        let began = Instant::now();
        differing += delta.connections().rows.len();
        told.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len().max(1) as f64;
    let worst = |times: &[f64]| times.last().copied().unwrap_or(f64::NAN);
    times.sort_by(f64::total_cmp);
    told.sort_by(f64::total_cmp);
    note("changes", &format!("{}, {differing} rows differ in all", times.len()));
    at_most(&format!("one change with its difference as cells, mean{scale}"), mean(&times), 1.0, "ms");
    at_most(&format!("the same, p99{scale}"), percentile(&times, 0.99), 20.0, "ms");
    note("the same, worst", &format!("{} ms", figure(worst(&times))));
    note(
        "telling every row of it: mean, p99, worst",
        &format!(
            "{}, {}, {} ms: names, and the rules that decided before and after",
            figure(mean(&told)),
            figure(percentile(&told, 0.99)),
            figure(worst(&told))
        ),
    );
}

/// Objects as the API server would give them, parsed as any upload is.
fn cluster(classes: usize, policies: usize) -> Result<Vec<Object>, LoadError> {
    let mut dice = Dice::new(7);
    let namespaces = classes.div_ceil(NAMESPACE);
    let mut objects = Vec::with_capacity(classes + policies);
    let mut add = |document: &Value| -> Result<(), LoadError> {
        let bytes = serde_json::to_vec(document).map_err(LoadError::other)?;
        objects.extend(parse_documents(&bytes, Format::Json).map_err(LoadError::other)?);
        Ok(())
    };
    for number in 0..classes {
        add(&workload(number, &mut dice))?;
    }
    for number in 0..policies {
        let document = match number % 50 {
            0 => admin(number, &mut dice),
            1 if number == 1 => baseline(&mut dice),
            _ => policy(number, namespaces, &mut dice),
        };
        add(&document)?;
    }
    Ok(objects)
}

fn workload(number: usize, dice: &mut Dice) -> Value {
    let tier = ["web", "api", "db", "job"].get(dice.index(4)).copied().unwrap_or("web");
    let labels =
        json!({ "app": format!("app-{number}"), "tier": tier, "team": format!("team-{}", dice.roll(40)) });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": format!("app-{number}"), "namespace": format!("ns-{}", number / NAMESPACE) },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "c", "image": "registry.example.com/c:1" }] },
            },
        },
    })
}

fn port(dice: &mut Dice) -> Value {
    let low = 80 + dice.roll(2_000);
    let protocol = if dice.one_in(8) { "UDP" } else { "TCP" };
    json!({ "protocol": protocol, "port": low, "endPort": low + dice.roll(3) })
}

fn peer(namespace: usize, namespaces: usize, dice: &mut Dice) -> Value {
    match dice.roll(10) {
        0..=3 => {
            let app = namespace * NAMESPACE + dice.index(NAMESPACE);
            json!({ "podSelector": { "matchLabels": { "app": format!("app-{app}") } } })
        }
        4 | 5 => {
            let name = format!("ns-{}", dice.index(namespaces));
            json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
        }
        6 | 7 => json!({
            "namespaceSelector": {},
            "podSelector": { "matchLabels": { "team": format!("team-{}", dice.roll(40)) } },
        }),
        8 => json!({
            "podSelector": { "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["web", "api"] }] },
        }),
        _ => {
            let cidr = if dice.one_in(3) {
                format!("2001:db8:{:x}::/48", dice.roll(4_000))
            } else {
                format!("{}.{}.0.0/16", 11 + dice.roll(100), dice.roll(250))
            };
            json!({ "ipBlock": { "cidr": cidr } })
        }
    }
}

fn rules(side: &str, namespace: usize, namespaces: usize, dice: &mut Dice) -> Vec<Value> {
    let rule = |dice: &mut Dice| {
        let peers: Vec<Value> = (0..1 + dice.roll(3)).map(|_| peer(namespace, namespaces, dice)).collect();
        let ports: Vec<Value> = (0..dice.roll(3)).map(|_| port(dice)).collect();
        if ports.is_empty() { json!({ side: peers }) } else { json!({ side: peers, "ports": ports }) }
    };
    (0..1 + dice.roll(2)).map(|_| rule(dice)).collect()
}

fn policy(number: usize, namespaces: usize, dice: &mut Dice) -> Value {
    let namespace = dice.index(namespaces);
    let pods = match dice.roll(4) {
        0 => json!({}),
        1 => json!({ "matchLabels": { "tier": "web" } }),
        _ => {
            let app = namespace * NAMESPACE + dice.index(NAMESPACE);
            json!({ "matchLabels": { "app": format!("app-{app}") } })
        }
    };
    let mut spec = json!({
        "podSelector": pods,
        "policyTypes": ["Ingress"],
        "ingress": rules("from", namespace, namespaces, dice),
    });
    if dice.one_in(3)
        && let Some(fields) = spec.as_object_mut()
    {
        fields.insert("policyTypes".into(), json!(["Ingress", "Egress"]));
        fields.insert("egress".into(), json!(rules("to", namespace, namespaces, dice)));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": format!("p-{number}"), "namespace": format!("ns-{namespace}") },
        "spec": spec,
    })
}

fn admin(number: usize, dice: &mut Dice) -> Value {
    let action = ["Allow", "Deny", "Pass"].get(dice.index(3)).copied().unwrap_or("Pass");
    let team = |dice: &mut Dice| json!({ "pods": { "namespaceSelector": {}, "podSelector": { "matchLabels": { "team": format!("team-{}", dice.roll(40)) } } } });
    let low = 1_000 + dice.roll(2_000);
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
        "metadata": { "name": format!("admin-{number}") },
        "spec": {
            "priority": number / 50 % 1_000,
            "subject": team(dice),
            "ingress": [{
                "action": action, "from": [team(dice)],
                "ports": [{ "portRange": { "protocol": "TCP", "start": low, "end": low + 50 } }],
            }],
            "egress": [{ "action": action, "to": [{ "networks": [format!("2001:db8:{:x}::/48", dice.roll(4_000)), format!("{}.0.0.0/8", 11 + dice.roll(100))] }] }],
        },
    })
}

fn baseline(dice: &mut Dice) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "BaselineAdminNetworkPolicy",
        "metadata": { "name": "default" },
        "spec": {
            "subject": { "namespaces": {} },
            "ingress": [{
                "action": "Deny",
                "from": [{ "pods": { "namespaceSelector": {}, "podSelector": { "matchLabels": { "team": format!("team-{}", dice.roll(40)) } } } }],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_cluster_is_one_that_kubernetes_would_take() {
        let objects = cluster(100, 120).map(|objects| objects.len());
        assert!(matches!(objects, Ok(220)), "{objects:?}");
    }
}
