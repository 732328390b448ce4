//! What clusters run: `POST /v1/deploys`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use plimsoll_bus::connection::message_id;
use plimsoll_bus::fold::Publication;
use plimsoll_bus::{BusError, Outgoing, fault, subjects};
use plimsoll_config::Scope;
use plimsoll_model::time::Timestamp;
use plimsoll_model::{Digest, Reference};
use plimsoll_netpol::objects::{Container, Format, Object, parse_documents};
use plimsoll_netpol::state::Scope as ReplacedScope;
use plimsoll_netpol_service::resident::{Outcome, Resident};
use plimsoll_netpol_service::state::{Cluster, Policy, encode_objects, scope};
use plimsoll_proto::v1;
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::auth::require;
use crate::error::{ApiError, Params, body};
use crate::webhooks::cloud_event;

/// What the query string says.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// Name of the cluster.
    cluster: String,
    /// `apply` (default), `delete` or `replace`.
    mode: Option<String>,
    /// What a replace replaces: `cluster` (default), `namespace=NAME` or `owner=NAME`.
    scope: Option<String>,
    /// Sequence of the cluster's event that this one builds on; 409 when there is a newer one.
    base: Option<u64>,
    /// Answer the difference and record nothing.
    #[serde(default)]
    dry_run: bool,
    /// `false`: the sender cannot see all of the cluster, so that its view is complete no longer.
    #[serde(default = "yes")]
    complete: bool,
}

fn yes() -> bool {
    true
}

/// `POST /v1/deploys?cluster=NAME`: Kubernetes objects as YAML or JSON documents.
///
/// 202 with the event's sequence once it is in JetStream. `Idempotency-Key` makes a repetition within two minutes
/// the same event; later ones change nothing either, because objects that are equal are no change.
pub async fn deploy(
    State(app): State<App>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
    bytes: Result<bytes::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    let actor = require(&app, &headers, Scope::Deploys)?;
    let bytes = body(bytes)?;
    if asked.cluster.is_empty() || asked.cluster.len() > 253 || asked.cluster.chars().any(char::is_control) {
        return Err(ApiError::bad("bad_request", "cluster is no name of 1 to 253 characters"));
    }
    let mode = asked.mode.as_deref().unwrap_or("apply");
    if !matches!(mode, "apply" | "delete" | "replace") {
        return Err(ApiError::bad("bad_request", "mode is one of apply, delete, replace"));
    }
    let scope_text = asked.scope.as_deref().unwrap_or("cluster");
    let replaced = scope(scope_text).map_err(|error| ApiError::bad("bad_request", error))?;
    let input = bytes.clone();
    let parsed = app.pool.run("deploy.parse", move |_: &_| parse_documents(&input, Format::Yaml)).await;
    let objects = parsed.map_err(ApiError::unavailable)?.map_err(|error| {
        ApiError::bad(error.code(), error).hint("nothing was recorded; correct the object and send all again")
    })?;
    if objects.is_empty() && mode != "replace" {
        return Err(ApiError::bad("no_objects", "the body has no Kubernetes object"));
    }
    let lines = encode_objects(&objects).map_err(|error| ApiError::bad("bad_body", error))?;
    let mut event = v1::ClusterChanged {
        cluster: asked.cluster.clone(),
        mode: mode.to_owned(),
        scope: scope_text.to_owned(),
        objects: String::new(),
        count: u32::try_from(objects.len()).unwrap_or(u32::MAX),
        actor,
        at: Timestamp::now().0,
        images: images(&objects),
        // What is complete no longer concerns all of the cluster.
        namespaces: if asked.complete { namespaces(mode, &replaced, &objects) } else { Vec::new() },
        partial: !asked.complete,
    };
    if asked.dry_run {
        return dry_run(&app, &event, lines).await;
    }
    event.objects = app.bus.artifacts().put("objects", &lines).await?;
    let payload = serde_json::to_vec(&event).map_err(|error| ApiError::bad("bad_body", error))?;
    let key = headers.get("idempotency-key").map(|v| v.as_bytes().to_vec());
    let id = match &key {
        Some(key) => message_id(&[b"deploy", event.actor.as_bytes(), event.cluster.as_bytes(), key]),
        None => message_id(&[b"deploy", &payload]),
    };
    let mut headers = cloud_event(&id, "cluster.changed", "deploys");
    if let Some(base) = asked.base {
        headers.push(("Nats-Expected-Last-Subject-Sequence", base.to_string()));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let message = Outgoing { subject: subjects::cluster_changed(&event.cluster), payload };
    let seq = match app.bus.publish(&message, &id, &headers).await {
        Ok(seq) => Some(seq),
        Err(BusError::Duplicate { .. }) => None,
        Err(BusError::Publish { source, .. }) if source.to_string().contains("wrong last sequence") => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "base_conflict",
                "the cluster has a newer event than base",
            )
            .hint("read the cluster's state again and send the change on top of it"));
        }
        Err(error) => return Err(error.into()),
    };
    fault::point("gateway", "deployed");
    let answer = json!({
        "cluster": event.cluster, "mode": event.mode, "objects": event.count, "images": event.images, "seq": seq,
        "duplicate": seq.is_none(),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// References that the objects run, distinct and sorted. Where the status of a pod says which digest runs, that one: what
/// the tag means by now need not be asked.
fn images(objects: &[Object]) -> Vec<String> {
    let mut images: Vec<String> = objects
        .iter()
        .filter_map(|object| match object {
            Object::Workload(workload) => Some(workload),
            _ => None,
        })
        .flat_map(|workload| workload.containers.iter().map(running))
        .filter(|image| !image.is_empty() && image.len() <= 1024)
        .collect();
    images.sort();
    images.dedup();
    images
}

/// Namespaces that an event names at most; above, it counts as touching any.
const MAX_NAMESPACES: usize = 64;

/// Namespaces that a change touches, distinct and sorted; none where it may touch any: the cluster as a whole, objects of
/// an owner, which may be anywhere, and objects that are in no namespace. A Namespace is in itself.
fn namespaces(mode: &str, scope: &ReplacedScope, objects: &[Object]) -> Vec<String> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    match scope {
        ReplacedScope::Namespace(name) if mode == "replace" => {
            names.insert(name);
        }
        _ if mode == "replace" => return Vec::new(),
        _ => {}
    }
    for object in objects {
        let meta = object.meta();
        names.insert(if matches!(object, Object::Namespace(_)) { &meta.name } else { &meta.namespace });
    }
    if names.contains("") || names.len() > MAX_NAMESPACES {
        return Vec::new();
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The reference of a container, by digest where it is known.
fn running(container: &Container) -> String {
    let digest = container.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok());
    match (container.image.parse::<Reference>(), digest) {
        (Ok(reference), Some(digest)) if reference.digest.is_none() => {
            format!("{}/{}@{digest}", reference.registry, reference.repository)
        }
        _ => container.image.clone(),
    }
}

/// The difference that the event would make to the newest checkpoint of its cluster.
async fn dry_run(app: &App, event: &v1::ClusterChanged, lines: Vec<u8>) -> Result<Response, ApiError> {
    let key = format!("netpol.{}", subjects::token(&event.cluster));
    let record: v1::FoldRecord = match app.bus.records("clusters").get(&key).await? {
        Some(record) => record.decode()?,
        None => v1::FoldRecord::default(),
    };
    let checkpoint = match record.artifact.as_str() {
        "" => None,
        name => app.bus.artifacts().get(name).await?,
    };
    let (event, policy) = (event.clone(), Policy::of(&app.config, &event.cluster));
    // What is told waits for quiet: events that are newer than the base may be in the checkpoint already.
    let (through, newest) =
        (record.through_seq, record.ahead.iter().copied().fold(record.through_seq, u64::max));
    let work = move |_: &_| -> Result<_, String> {
        let cluster = checkpoint.as_deref().map_or_else(|| Ok(Cluster::default()), Cluster::decode)?;
        let mut resident = Resident::new(cluster);
        resident.apply(&event, &lines, newest + 1)?;
        let publication = Publication { base_seq: newest, target_seq: newest + 1, ..Publication::default() };
        let Outcome { fact, effects } = resident.settle(&policy, &publication);
        Ok((effects, fact))
    };
    let (effects, fact) = app
        .pool
        .run("deploy.dry_run", work)
        .await
        .map_err(ApiError::unavailable)?
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "dry_run_failed", error))?;
    let workloads: Vec<_> = fact
        .workloads
        .iter()
        .map(|w| json!({ "workload": w.name.to_string(), "exposure": w.exposure.level.as_str(), "paths": w.exposure.paths }))
        .collect();
    Ok(Json(json!({
        "dry_run": true,
        "base": through,
        "connections": fact.changes,
        "unlisted": fact.unlisted,
        "effects": effects
            .iter()
            .map(|e| {
                json!({
                    "code": e.code, "urgency": e.urgency, "subject": e.subject, "message": e.message,
                    "decided_by": e.decided_by,
                })
            })
            .collect::<Vec<_>>(),
        "workloads": workloads,
        "removed": fact.removed.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
    .into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_event_names_the_namespaces_that_it_touches() {
        const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}";
        const BARE: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web}}";
        const SPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: bank}}";
        const WIDE: &str = "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: wide}, \
            spec: {priority: 1, subject: {namespaces: {}}}}";
        let cases: [(&str, &str, &[&str], &[&str]); 10] = [
            ("apply", "cluster", &[POD, POD], &["shop"]),
            ("apply", "cluster", &[POD, BARE], &["default", "shop"]),
            ("delete", "cluster", &[POD, SPACE], &["bank", "shop"]),
            ("apply", "cluster", &[POD, WIDE], &[]),
            // An apply has no scope.
            ("apply", "owner=ci", &[POD], &["shop"]),
            ("replace", "namespace=bank", &[], &["bank"]),
            ("replace", "namespace=bank", &[POD], &["bank", "shop"]),
            ("replace", "cluster", &[POD], &[]),
            ("replace", "owner=ci", &[POD], &[]),
            ("replace", "namespace=bank", &[WIDE], &[]),
        ];
        for (mode, text, documents, expected) in cases {
            let objects = parse_documents(documents.join("\n---\n").as_bytes(), Format::Yaml).unwrap();
            assert_eq!(
                namespaces(mode, &scope(text).unwrap(), &objects),
                expected,
                "{mode} {text} {documents:?}"
            );
        }
        let pod = |n: usize| POD.replace("shop", &format!("shop-{n}"));
        let many: Vec<String> = (0..=MAX_NAMESPACES).map(pod).collect();
        let parse = |pods: &[String]| parse_documents(pods.join("\n---\n").as_bytes(), Format::Yaml).unwrap();
        assert_eq!(namespaces("apply", &ReplacedScope::Cluster, &parse(&many)), Vec::<String>::new());
        assert_eq!(namespaces("apply", &ReplacedScope::Cluster, &parse(&many[1..])).len(), MAX_NAMESPACES);
    }
}
