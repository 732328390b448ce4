//! What manifests declare beyond the objects of the analysis: variables, arguments, configuration, selectors, and
//! who is called by the API server. Kept for the length of one suggestion; contents of Secrets are never read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::objects::{Object, ObjectKey};
use crate::selector::Labels;

use super::address::normal;

/// Most bytes of an argument or of a value that is expanded.
const MAX_VALUE: usize = 64 << 10;

/// Namespace and name.
pub(super) type Name = (String, String);

/// Where the value of a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Text(String),
    ConfigKey(String, String),
    /// Every key of a ConfigMap, with a prefix, as variables.
    ConfigVariables(String, String),
    /// Every key of a ConfigMap as a file.
    ConfigFiles(String),
    Secret(String),
}

#[derive(Debug, Clone)]
struct Raw {
    key: String,
    source: Source,
    place: String,
    container: usize,
}

/// A value that may name addresses.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// [`normal`] name; empty where there is none.
    pub(super) key: String,
    pub(super) text: String,
    /// Where it stands, in words, such as `env DB_HOST of container web`.
    pub(super) place: String,
    pub(super) container: usize,
}

/// A value that cannot be read here.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    pub(super) key: String,
    pub(super) place: String,
    /// `Secret shop/db` or `ConfigMap shop/settings`.
    pub(super) holder: String,
}

/// What a Service says beyond ports and selector.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceFacts {
    pub(super) headless: bool,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) external_name: Option<String>,
}

/// A Service that the API server calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hook {
    pub(super) service: Name,
    pub(super) port: u16,
    pub(super) place: String,
}

/// Everything that a directory declares about needs.
#[derive(Debug, Default)]
pub(super) struct Declared {
    raw: BTreeMap<ObjectKey, Vec<Raw>>,
    configs: BTreeMap<Name, BTreeMap<String, String>>,
    pub(super) services: BTreeMap<Name, ServiceFacts>,
    /// `spec.selector.matchLabels` of controllers: what their pods keep for good.
    pub(super) selectors: BTreeMap<ObjectKey, Labels>,
    pub(super) hooks: BTreeSet<Hook>,
    /// Workloads with `prometheus.io/scrape`, and the port where they name one.
    pub(super) scraped: BTreeMap<ObjectKey, Option<u16>>,
    /// Service accounts that a RoleBinding or ClusterRoleBinding names, with its words.
    pub(super) accounts: BTreeMap<Name, String>,
    /// Addresses of the API server, from the Endpoints of `default/kubernetes`.
    pub(super) api_server: BTreeSet<(IpNet, u16)>,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(*name))
}

fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

impl Declared {
    /// Takes one object in, with the document that it came from.
    pub(super) fn take(&mut self, object: &Object, value: &Value) {
        let key = object.key();
        match object {
            Object::Workload(_) => self.workload(key, value),
            Object::Service(_) => self.service(key, value),
            Object::Other(other) => {
                let namespace = word(value, &["metadata", "namespace"]);
                let namespace = if namespace.is_empty() { "default" } else { namespace }.to_owned();
                let name = other.meta.name.clone();
                match other.kind.as_str() {
                    "ConfigMap" => {
                        let fields = value.get("data").and_then(Value::as_object);
                        let pairs = fields.into_iter().flatten();
                        let data = pairs.filter_map(|(key, value)| Some((key.clone(), text(value)?)));
                        self.configs.insert((namespace, name), data.collect());
                    }
                    "admissionregistration.k8s.io/ValidatingWebhookConfiguration"
                    | "admissionregistration.k8s.io/MutatingWebhookConfiguration" => {
                        for hook in items(value, &["webhooks"]) {
                            self.hook(at(hook, &["clientConfig", "service"]), &other.kind, &name);
                        }
                    }
                    "apiextensions.k8s.io/CustomResourceDefinition" => {
                        let path = ["spec", "conversion", "webhook", "clientConfig", "service"];
                        self.hook(at(value, &path), &other.kind, &name);
                    }
                    "apiregistration.k8s.io/APIService" => {
                        self.hook(at(value, &["spec", "service"]), &other.kind, &name);
                    }
                    "rbac.authorization.k8s.io/RoleBinding"
                    | "rbac.authorization.k8s.io/ClusterRoleBinding" => {
                        for subject in items(value, &["subjects"]) {
                            if word(subject, &["kind"]) == "ServiceAccount" {
                                let own = word(subject, &["namespace"]);
                                let own = if own.is_empty() { namespace.clone() } else { own.to_owned() };
                                let kind = other.kind.rsplit('/').next().unwrap_or_default();
                                let account = (own, word(subject, &["name"]).to_owned());
                                self.accounts.entry(account).or_insert_with(|| format!("{kind} {name}"));
                            }
                        }
                    }
                    "Endpoints" if namespace == "default" && name == "kubernetes" => self.endpoints(value),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn hook(&mut self, service: Option<&Value>, kind: &str, name: &str) {
        let Some(service) = service else { return };
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let kind = kind.rsplit('/').next().unwrap_or_default();
        self.hooks.insert(Hook {
            service: (word(service, &["namespace"]).to_owned(), word(service, &["name"]).to_owned()),
            port: port.filter(|port| *port != 0).unwrap_or(443),
            place: format!("{kind} {name}"),
        });
    }

    fn endpoints(&mut self, value: &Value) {
        for subset in items(value, &["subsets"]) {
            for address in items(subset, &["addresses"]) {
                let Ok(address) = word(address, &["ip"]).parse::<IpAddr>() else { continue };
                for port in items(subset, &["ports"]) {
                    let port =
                        port.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
                    if let Some(port) = port.filter(|port| *port != 0) {
                        self.api_server.insert((IpNet::from(address), port));
                    }
                }
            }
        }
    }

    fn service(&mut self, key: ObjectKey, value: &Value) {
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let single = spec.get("clusterIP").into_iter();
        let texts: Vec<&str> =
            single.chain(items(spec, &["clusterIPs"])).filter_map(|address| address.as_str()).collect();
        let external = word(spec, &["externalName"]);
        let facts = ServiceFacts {
            headless: texts.contains(&"None"),
            addresses: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            external_name: (word(spec, &["type"]) == "ExternalName" && !external.is_empty())
                .then(|| external.to_ascii_lowercase()),
        };
        self.services.insert((key.namespace, key.name), facts);
    }

    fn workload(&mut self, key: ObjectKey, value: &Value) {
        let template: &[&str] = match key.kind.as_str() {
            "Pod" => &[],
            "batch/CronJob" => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        };
        let Some(template) = at(value, template) else { return };
        let labels = match key.kind.as_str() {
            "ReplicationController" => at(value, &["spec", "selector"]),
            "Pod" | "batch/CronJob" | "batch/Job" => None,
            _ => at(value, &["spec", "selector", "matchLabels"]),
        };
        if let Some(labels) = labels.and_then(Value::as_object) {
            let labels: Labels =
                labels.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect();
            self.selectors.insert(key.clone(), labels);
        }
        let notes = at(template, &["metadata", "annotations"]);
        let note = |name: &str| notes.and_then(|notes| notes.get(name)).and_then(text);
        if note("prometheus.io/scrape").as_deref() == Some("true") {
            let port = note("prometheus.io/port").and_then(|port| super::address::number(&port));
            self.scraped.insert(key.clone(), port);
        }
        let Some(pod) = template.get("spec") else { return };
        let mut raw = Vec::new();
        let containers = items(pod, &["initContainers"]).iter().chain(items(pod, &["containers"]));
        for (index, container) in containers.enumerate() {
            of_container(container, index, &mut raw);
        }
        for volume in items(pod, &["volumes"]) {
            let projected = items(volume, &["projected", "sources"]).iter();
            for source in projected.chain([volume]).filter_map(|source| source.get("configMap")) {
                let name = word(source, &["name"]).to_owned();
                let volume = word(volume, &["name"]);
                raw.push(Raw {
                    key: String::new(),
                    place: format!("volume {volume}"),
                    source: Source::ConfigFiles(name),
                    container: usize::MAX,
                });
            }
        }
        self.raw.insert(key, raw);
    }

    /// The values of a workload, and those that cannot be read. `expand` gives what a variable that no container
    /// sets stands for.
    pub(super) fn values(
        &self,
        key: &ObjectKey,
        expand: &dyn Fn(&str) -> Option<String>,
    ) -> (Vec<Setting>, Vec<Unread>) {
        let (mut values, mut unread) = (Vec::new(), Vec::new());
        let config = |name: &str| self.configs.get(&(key.namespace.clone(), name.to_owned()));
        for raw in self.raw.get(key).into_iter().flatten() {
            let holder = |kind: &str, name: &str| format!("{kind} {}/{name}", key.namespace);
            let mut missing = |holder: String| {
                unread.push(Unread { key: normal(&raw.key), place: raw.place.clone(), holder });
            };
            let mut push = |key: &str, text: &str, place: String| {
                values.push(Setting {
                    key: normal(key),
                    text: text.to_owned(),
                    place,
                    container: raw.container,
                });
            };
            match &raw.source {
                Source::Text(text) => push(&raw.key, text, raw.place.clone()),
                Source::Secret(name) => missing(holder("Secret", name)),
                Source::ConfigKey(name, field) => match config(name).and_then(|data| data.get(field)) {
                    Some(text) => push(&raw.key, text, format!("{} (ConfigMap {name})", raw.place)),
                    None => missing(holder("ConfigMap", name)),
                },
                Source::ConfigVariables(name, prefix) => match config(name) {
                    Some(data) => {
                        for (field, text) in data {
                            let place = format!("{field} of ConfigMap {name}, {}", raw.place);
                            push(&format!("{prefix}{field}"), text, place);
                        }
                    }
                    None => missing(holder("ConfigMap", name)),
                },
                Source::ConfigFiles(name) => match config(name) {
                    Some(data) => {
                        for (field, text) in data {
                            push(field, text, format!("{field} of ConfigMap {name}, {}", raw.place));
                        }
                    }
                    None => missing(holder("ConfigMap", name)),
                },
            }
        }
        let known: BTreeMap<(usize, String), String> =
            values.iter().map(|value| ((value.container, value.key.clone()), value.text.clone())).collect();
        for value in &mut values {
            let container = value.container;
            let lookup = |name: &str| known.get(&(container, normal(name))).cloned().or_else(|| expand(name));
            value.text = expanded(&value.text, &lookup);
        }
        (values, unread)
    }
}

fn of_container(container: &Value, index: usize, raw: &mut Vec<Raw>) {
    let name = word(container, &["name"]);
    for entry in items(container, &["env"]) {
        let key = word(entry, &["name"]).to_owned();
        let place = format!("env {key} of container {name}");
        let of = |from: &str| at(entry, &["valueFrom", from]);
        let source = if let Some(config) = of("configMapKeyRef") {
            Source::ConfigKey(word(config, &["name"]).to_owned(), word(config, &["key"]).to_owned())
        } else if let Some(secret) = of("secretKeyRef") {
            Source::Secret(word(secret, &["name"]).to_owned())
        } else if let Some(value) = entry.get("value").and_then(text) {
            Source::Text(value)
        } else {
            continue;
        };
        raw.push(Raw { key, source, place, container: index });
    }
    for entry in items(container, &["envFrom"]) {
        let place = format!("envFrom of container {name}");
        if let Some(config) = entry.get("configMapRef") {
            let prefix = word(entry, &["prefix"]).to_owned();
            let source = Source::ConfigVariables(word(config, &["name"]).to_owned(), prefix);
            raw.push(Raw { key: String::new(), source, place, container: index });
        } else if let Some(secret) = entry.get("secretRef") {
            let source = Source::Secret(word(secret, &["name"]).to_owned());
            raw.push(Raw { key: String::new(), source, place, container: index });
        }
    }
    for (field, label) in [("command", "command"), ("args", "arguments")] {
        let words: Vec<String> = items(container, &[field]).iter().filter_map(text).collect();
        let place = format!("{label} of container {name}");
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            let flag = word.starts_with('-') && !word.contains(char::is_whitespace);
            let (key, value) = match word.split_once('=') {
                Some((key, value)) if flag => (key, value),
                None if flag => match rest.next_if(|next| !next.starts_with('-')) {
                    Some(value) => (word.as_str(), value.as_str()),
                    None => continue,
                },
                _ => ("", word.as_str()),
            };
            let source = Source::Text(value.chars().take(MAX_VALUE).collect());
            raw.push(Raw { key: key.to_owned(), source, place: place.clone(), container: index });
        }
    }
}

/// `$(NAME)`, `${NAME}` and `$NAME` replaced once; what is not known stays.
fn expanded(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let closed = |close: char| after.get(1..).and_then(|inside| inside.split_once(close));
        let (name, left) = match after.chars().next() {
            Some('(') => closed(')').unwrap_or(("", after)),
            Some('{') => closed('}').unwrap_or(("", after)),
            _ => {
                let end = after.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
                after.split_at(end.unwrap_or(after.len()))
            }
        };
        match lookup(name).filter(|_| !name.is_empty() && out.len() < MAX_VALUE) {
            Some(value) => {
                out.push_str(&value);
                rest = left;
            }
            None => {
                // A character that no name has, so that its neighbours do not become part of an address.
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_references_once() {
        let lookup = |name: &str| match name {
            "HOST" => Some("db".to_owned()),
            "LOOP" => Some("$(LOOP)$(LOOP)".to_owned()),
            _ => None,
        };
        assert_eq!(expanded("tcp://$(HOST):${PORT}/$HOST", &lookup), "tcp://db:${PORT}/db");
        assert_eq!(expanded("$(LOOP)", &lookup), "$(LOOP)$(LOOP)");
        assert_eq!(expanded("$", &lookup), "$");
        assert_eq!(expanded("$(", &lookup), "$(");
    }
}
