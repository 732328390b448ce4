//! What leaves the cluster says all that is read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use plimsoll_netpol::objects::{Format, Object, parse_documents};
use plimsoll_watch_service::kinds::{self, Kind};
use plimsoll_watch_service::reduce::reduce;
use serde_json::Value;

/// The reduced object as the gateway reads it, and the whole one; none for what runs nothing or is not watched.
fn both(kinds: &[Kind], document: &Value) -> Option<(Object, Object)> {
    let version = document["apiVersion"].as_str()?;
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let at = kinds.iter().position(|kind| kind.group == group && document["kind"] == kind.kind)?;
    // What Kubernetes refuses is in no cluster.
    let whole = parse_documents(document.to_string().as_bytes(), Format::Json).ok()?.into_iter().next()?;
    let object: DynamicObject = serde_json::from_value(document.clone()).ok()?;
    let reduced = reduce(&kinds[at], u16::try_from(at).unwrap(), version, object)?;
    let mut json = Vec::new();
    reduced.write(&mut json);
    let read = parse_documents(&json, Format::Json).unwrap_or_else(|error| panic!("{error}: {document}"));
    Some((read.into_iter().next().unwrap(), whole))
}

/// Every document of a file, lists flattened.
fn documents(text: &str) -> Vec<Value> {
    let Ok(documents) = serde_saphyr::from_multiple::<Value>(text) else { return Vec::new() };
    let mut all = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => all.extend(items.iter().cloned()),
            None => all.push(document),
        }
    }
    all
}

fn check(kinds: &[Kind], text: &str) -> usize {
    let mut checked = 0;
    for document in documents(text) {
        if let Some((mut reduced, mut whole)) = both(kinds, &document) {
            // The namespace of an object without one is made up on both sides.
            reduced.set_source("");
            whole.set_source("");
            assert!(!reduced.differs_from(&whole), "{reduced:#?}\nis not\n{whole:#?}");
            checked += 1;
        }
    }
    checked
}

const SAMPLES: &str = include_str!("samples.yaml");

#[test]
fn reduced_objects_are_read_as_whole_ones() {
    let kinds = kinds::all();
    let samples = documents(SAMPLES);
    let unread: Vec<&Value> = samples.iter().filter(|sample| both(&kinds, sample).is_none()).collect();
    assert!(unread.is_empty() && samples.len() > kinds.len() / 3, "not told, or not read: {unread:#?}");
    let checked = check(&kinds, SAMPLES);
    // Every manifest there is, where the corpus is at hand.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol");
    let mut open = vec![corpus];
    let mut of_corpus = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
                && entry.metadata().is_ok_and(|metadata| metadata.len() < 1 << 20)
            {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.contains("apiVersion") {
                    of_corpus += check(&kinds, &text);
                }
            }
        }
    }
    println!("{checked} samples, {of_corpus} objects of the corpus");
}

#[test]
fn every_kind_is_one_that_counts() {
    let kinds = kinds::all();
    let samples = documents(SAMPLES);
    for kind in &kinds {
        let sample = samples.iter().find(|sample| {
            let group = sample["apiVersion"]
                .as_str()
                .and_then(|version| version.split_once('/'))
                .map_or("", |(group, _)| group);
            group == kind.group && sample["kind"] == kind.kind
        });
        let version = if kind.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", kind.group) };
        let named = serde_json::json!({ "apiVersion": version, "kind": kind.kind, "metadata": { "name": "a", "namespace": "b" } });
        let read = parse_documents(sample.unwrap_or(&named).to_string().as_bytes(), Format::Json).unwrap();
        match read.first().unwrap() {
            Object::Other(other) => {
                assert!(other.policy, "{} takes no part", kind.printed())
            }
            _ => assert!(
                sample.is_some() || !matches!(kind.part, kinds::Part::Fields(_)),
                "no sample of {}",
                kind.printed()
            ),
        }
    }
}

/// The rights that the Helm chart grants, by group: what is listed and watched, and nothing else.
#[test]
fn the_chart_grants_what_is_watched() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm/plimsoll/templates");
    let helpers = std::fs::read_to_string(chart.join("_helpers.tpl")).unwrap();
    let rules =
        helpers.split("define \"plimsoll.watched\" -}}").nth(1).unwrap().split("{{- end -}}").next().unwrap();
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in documents(&format!("items:\n{rules}")) {
        assert_eq!(rule["verbs"], serde_json::json!(["list", "watch"]));
        let resources = rule["resources"].as_array().unwrap().iter();
        let group = rule["apiGroups"][0].as_str().unwrap();
        granted
            .entry(group.to_owned())
            .or_default()
            .extend(resources.map(|name| name.as_str().unwrap().to_owned()));
    }
    let mut watched: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for kind in kinds::all() {
        // Granted apart, because they are in no namespace.
        if kind.group.is_empty() && matches!(kind.kind, "Namespace" | "Node") {
            continue;
        }
        let plural = match kind.kind {
            // Its singular is no word of its own.
            "ServiceIntentions" => "serviceintentions".to_owned(),
            _ => ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group, "v1", kind.kind)).plural,
        };
        watched.entry(kind.group.to_owned()).or_default().insert(plural);
    }
    assert_eq!(granted, watched);
}
