//! From an object of the API to what is told of it.

use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Part};

/// Identity of an object: its kind by number, its namespace (empty for what has none), its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: u16,
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl Key {
    /// The identity in metadata; none without a name.
    pub fn of(kind: u16, meta: &ObjectMeta) -> Option<Self> {
        let name = meta.name.as_deref().filter(|name| !name.is_empty())?;
        Some(Self {
            kind,
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: name.into(),
        })
    }
}

/// An object without what nobody reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    pub key: Key,
    pub uid: Box<str>,
    pub version: Box<str>,
    /// JSON behind uid and resourceVersion, which are the first two fields of the metadata: what equal objects share.
    tail: Box<[u8]>,
}

impl Reduced {
    /// True when the two say the same, whatever their uid and version.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.tail == other.tail
    }

    /// Bytes of its JSON, about.
    pub fn size(&self) -> usize {
        self.tail.len() + self.uid.len() + self.version.len() + 48
    }

    /// Writes its JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        let text = |text: &str| Value::from(text).to_string();
        out.extend_from_slice(b"{\"metadata\":{\"uid\":");
        out.extend_from_slice(text(&self.uid).as_bytes());
        out.extend_from_slice(b",\"resourceVersion\":");
        out.extend_from_slice(text(&self.version).as_bytes());
        out.extend_from_slice(&self.tail);
    }
}

/// What is told of an object; none for what runs nothing: a pod that ended or has not begun, a finished Job, an old
/// revision, and the revisions of a Deployment, which says the same itself.
pub fn reduce(kind: &Kind, number: u16, version: &str, object: DynamicObject) -> Option<Reduced> {
    let DynamicObject { metadata, data, .. } = object;
    let key = Key::of(number, &metadata)?;
    let mut data = match &kind.part {
        Part::Fields(fields) => fields.keep(data),
        Part::Name => Value::Null,
    };
    if runs_nothing(kind, &metadata, &data) {
        return None;
    }
    // It was asked for to know whether anything runs.
    match (kind.kind, &mut data) {
        ("Job", Value::Object(fields)) => drop(fields.remove("status")),
        ("Pod", Value::Object(fields)) => {
            fields.get_mut("status").and_then(Value::as_object_mut).map(|status| status.remove("phase"));
        }
        _ => {}
    }
    let mut body = match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    body.insert("apiVersion".to_owned(), version.into());
    body.insert("kind".to_owned(), kind.kind.into());
    let mut tail = Vec::with_capacity(256);
    // Opened by `write`.
    for (name, value) in &meta(kind, &metadata) {
        tail.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    tail.push(b'}');
    for (name, value) in &body {
        tail.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    tail.push(b'}');
    Some(Reduced {
        key,
        uid: metadata.uid.unwrap_or_default().into(),
        version: metadata.resource_version.unwrap_or_default().into(),
        tail: tail.into(),
    })
}

/// What is kept of the metadata beside uid and resourceVersion.
fn meta(kind: &Kind, metadata: &ObjectMeta) -> Map<String, Value> {
    let mut kept = Map::new();
    kept.insert("name".to_owned(), metadata.name.as_deref().unwrap_or_default().into());
    if let Some(namespace) = &metadata.namespace {
        kept.insert("namespace".to_owned(), namespace.as_str().into());
    }
    if kind.part == Part::Name && kind.kind != "Namespace" {
        return kept;
    }
    if let Some(labels) = metadata.labels.as_ref().filter(|labels| !labels.is_empty()) {
        kept.insert("labels".to_owned(), json!(labels));
    }
    if let Some(owners) = metadata.owner_references.as_ref().filter(|owners| !owners.is_empty()) {
        let owner = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| json!({ "kind": owner.kind, "name": owner.name, "controller": owner.controller.unwrap_or(false) });
        kept.insert("ownerReferences".to_owned(), owners.iter().map(owner).collect());
    }
    if kind.balancers
        && let Some(annotations) = &metadata.annotations
    {
        let asked: Map<String, Value> = annotations
            .iter()
            .filter(|(name, _)| name.contains("load-balancer"))
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        if !asked.is_empty() {
            kept.insert("annotations".to_owned(), asked.into());
        }
    }
    kept
}

/// Pods whose containers have not begun or are over, Jobs that are over, old revisions.
fn runs_nothing(kind: &Kind, metadata: &ObjectMeta, data: &Value) -> bool {
    let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
    let entries = |pointer: &str| data.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let controlled =
        || metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match (kind.group, kind.kind) {
        ("", "Pod") => match text("/status/phase") {
            Some("Succeeded" | "Failed") => true,
            // Its controller tells what it will run.
            Some("Pending") => {
                let begun = ["/status/containerStatuses", "/status/initContainerStatuses"];
                let mut statuses = begun.into_iter().flat_map(entries);
                let id = |status: &Value| {
                    status.get("imageID").and_then(Value::as_str).is_some_and(|id| !id.is_empty())
                };
                controlled().is_some() && !statuses.any(id)
            }
            _ => false,
        },
        ("batch", "Job") => {
            text("/status/completionTime").is_some()
                || entries("/status/conditions").any(|condition| {
                    let field = |name: &str| condition.get(name).and_then(Value::as_str);
                    matches!(field("type"), Some("Complete" | "Failed")) && field("status") == Some("True")
                })
        }
        ("apps", "ReplicaSet") => {
            let none = data.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0);
            controlled().is_some_and(|owner| none || owner.kind == "Deployment")
        }
        _ => false,
    }
}
