//! The part of a Kubernetes API server that lists and watches need: discovery, lists in pages, watches with bookmarks,
//! what expires, what is forbidden, kinds that come and go. Objects are changed by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The server could not be had.
#[derive(Debug, thiserror::Error)]
#[error("listen on 127.0.0.1")]
pub struct ApiServerError(#[from] std::io::Error);

/// Kinds that every cluster has: group, version, kind, plural, whether they are in namespaces.
const BUILT_IN: [(&str, &str, &str, &str, bool); 13] = [
    ("", "v1", "Namespace", "namespaces", false),
    ("", "v1", "Node", "nodes", false),
    ("", "v1", "Pod", "pods", true),
    ("", "v1", "Secret", "secrets", true),
    ("", "v1", "Service", "services", true),
    ("apps", "v1", "DaemonSet", "daemonsets", true),
    ("apps", "v1", "Deployment", "deployments", true),
    ("apps", "v1", "ReplicaSet", "replicasets", true),
    ("apps", "v1", "StatefulSet", "statefulsets", true),
    ("batch", "v1", "CronJob", "cronjobs", true),
    ("batch", "v1", "Job", "jobs", true),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", true),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true),
];

/// A kind that is served.
#[derive(Debug, Clone)]
struct Resource {
    group: String,
    version: String,
    kind: String,
    namespaced: bool,
}

impl Resource {
    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// What happened to an object.
#[derive(Debug, Clone)]
struct Happened {
    version: u64,
    plural: String,
    kind: &'static str,
    object: Value,
}

#[derive(Debug, Default)]
struct Held {
    version: u64,
    /// By plural name; one group each.
    resources: BTreeMap<String, Resource>,
    /// By plural name, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    log: Vec<Happened>,
    /// Nothing can be watched from before this version.
    oldest: u64,
    /// Lists and watches of these are answered with this status.
    refused: BTreeMap<String, u16>,
    /// Groups that do not say what they serve.
    silent: BTreeSet<String>,
    asked: Vec<String>,
}

/// An API server on a free loopback port. It ends on drop.
#[derive(Debug)]
pub struct FakeApiServer {
    addr: SocketAddr,
    held: Arc<Mutex<Held>>,
    news: watch::Sender<u64>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    held: Arc<Mutex<Held>>,
    news: watch::Receiver<u64>,
}

impl FakeApiServer {
    /// The bearer token that it takes.
    pub const TOKEN: &str = "token-of-the-cluster";

    /// Starts with the kinds that every cluster has, and without objects.
    pub async fn start() -> Result<Self, ApiServerError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let held: Arc<Mutex<Held>> = Arc::default();
        for (group, version, kind, plural, namespaced) in BUILT_IN {
            install(&mut lock(&held), group, version, kind, plural, namespaced);
        }
        let (news, receiver) = watch::channel(0);
        let shared = Shared { held: Arc::clone(&held), news: receiver };
        let router = Router::new().fallback(answer).with_state(shared);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "API server ended");
            }
        });
        Ok(Self { addr, held, news, task })
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "fake", "cluster": { "server": format!("http://{}", self.addr) } }],
            "users": [{ "name": "reader", "user": { "token": Self::TOKEN } }],
            "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "reader" } }],
            "current-context": "fake",
        })
        .to_string()
    }

    /// Serves a further kind.
    pub fn install(&self, group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) {
        install(&mut lock(&self.held), group, version, kind, plural, namespaced);
    }

    /// Ceases to serve a kind; its objects are gone.
    pub fn uninstall(&self, plural: &str) {
        let mut held = lock(&self.held);
        held.resources.remove(plural);
        held.objects.retain(|(known, ..), _| known != plural);
        drop(held);
        self.tell();
    }

    /// Creates or changes an object, which says its apiVersion and kind. False where no such kind is served.
    pub fn put(&self, object: Value) -> bool {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let mut held = lock(&self.held);
        let plural = held
            .resources
            .iter()
            .find(|(_, known)| known.kind == kind && known.api_version() == api_version)
            .map(|(plural, _)| plural.clone());
        let Some(plural) = plural else { return false };
        held.version += 1;
        let version = held.version;
        let key = (plural.clone(), text("/metadata/namespace"), text("/metadata/name"));
        let known = held.objects.get(&key).and_then(|known| known.pointer("/metadata/uid")).cloned();
        let happened = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let mut object = object;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".to_owned(), known.unwrap_or_else(|| format!("uid-{version}").into()));
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
            metadata.insert(
                "managedFields".to_owned(),
                json!([{ "manager": "test", "fieldsV1": { "f:spec": {} } }]),
            );
        }
        held.objects.insert(key, object.clone());
        held.log.push(Happened { version, plural, kind: happened, object });
        drop(held);
        self.tell();
        true
    }

    /// Deletes an object. False where there is none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let mut held = lock(&self.held);
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = held.objects.remove(&key) else { return false };
        held.version += 1;
        let version = held.version;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
        }
        held.log.push(Happened { version, plural: plural.to_owned(), kind: "DELETED", object });
        drop(held);
        self.tell();
        true
    }

    /// Forgets what happened: watches from before are answered with 410, those that are open end so.
    pub fn compact(&self) {
        let mut held = lock(&self.held);
        held.version += 1;
        held.oldest = held.version;
        held.log.clear();
        drop(held);
        self.tell();
    }

    /// Sends a bookmark to every open watch.
    pub fn bookmark(&self) {
        let mut held = lock(&self.held);
        held.version += 1;
        let happened =
            Happened { version: held.version, plural: String::new(), kind: "BOOKMARK", object: Value::Null };
        held.log.push(happened);
        drop(held);
        self.tell();
    }

    /// Answers lists and watches of a kind with a status from now on, 200 meaning as usual. Open watches end.
    pub fn answer(&self, plural: &str, status: u16) {
        let mut held = lock(&self.held);
        match status {
            200 => held.refused.remove(plural),
            status => held.refused.insert(plural.to_owned(), status),
        };
        drop(held);
        self.tell();
    }

    /// A group no longer says what it serves (503), or does so again.
    pub fn silence(&self, group: &str, silent: bool) {
        let mut held = lock(&self.held);
        if silent {
            held.silent.insert(group.to_owned())
        } else {
            held.silent.remove(group)
        };
    }

    /// What was asked so far: paths with their queries.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.held).asked.clone()
    }

    /// The objects there are, by plural name, namespace and name.
    pub fn objects(&self) -> BTreeMap<(String, String, String), Value> {
        lock(&self.held).objects.clone()
    }

    fn tell(&self) {
        self.news.send_modify(|generation| *generation += 1);
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(held: &mut Held, group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) {
    let resource =
        Resource { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned(), namespaced };
    held.resources.insert(plural.to_owned(), resource);
}

fn failed(status: u16, reason: &str) -> (u16, Value) {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": status });
    (status, body)
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let asked = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    lock(&shared.held).asked.push(asked);
    let expected = format!("Bearer {}", FakeApiServer::TOKEN);
    if headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) != Some(&expected) {
        return respond(failed(401, "Unauthorized"));
    }
    let query: BTreeMap<String, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        .collect();
    let path: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest): (&str, &str, &[&str]) = match path.as_slice() {
        ["apis"] => return respond((200, groups(&lock(&shared.held)))),
        ["api", version, rest @ ..] => ("", version, rest),
        ["apis", group, version, rest @ ..] => (group, version, rest),
        _ => return respond(failed(404, "NotFound")),
    };
    let (namespace, plural) = match rest {
        [] => return respond(resources(&lock(&shared.held), group, version)),
        [plural] => (None, *plural),
        ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), *plural),
        _ => return respond(failed(404, "NotFound")),
    };
    let metadata_only = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("as=PartialObjectMetadata"));
    let question = Question {
        plural: plural.to_owned(),
        namespace,
        name: query
            .get("fieldSelector")
            .and_then(|selector| selector.strip_prefix("metadata.name="))
            .map(str::to_owned),
        metadata_only,
    };
    {
        let held = lock(&shared.held);
        let known = held.resources.get(plural);
        if known.is_none_or(|known| known.group != group || known.version != version) {
            return respond(failed(404, "NotFound"));
        }
        match held.refused.get(plural) {
            Some(403) => return respond(failed(403, "Forbidden")),
            Some(status) => return respond(failed(*status, "InternalError")),
            None => {}
        }
    }
    if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
        let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
        return follow(shared, question, since, Duration::from_secs(seconds));
    }
    let listed = list(&lock(&shared.held), &question, &query);
    respond(listed)
}

fn respond((status, body): (u16, Value)) -> Response<Body> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).unwrap_or_default()
}

fn groups(held: &Held) -> Value {
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for resource in held.resources.values().filter(|resource| !resource.group.is_empty()) {
        groups.entry(&resource.group).or_default().insert(&resource.version);
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
                .collect();
            json!({ "name": name, "preferredVersion": versions.last(), "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn resources(held: &Held, group: &str, version: &str) -> (u16, Value) {
    if held.silent.contains(group) {
        return failed(503, "ServiceUnavailable");
    }
    let mut found = Vec::new();
    for (plural, resource) in &held.resources {
        if resource.group == group && resource.version == version {
            let verbs = ["delete", "get", "list", "watch"];
            found.push(json!({ "name": plural, "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": verbs }));
            found.push(json!({ "name": format!("{plural}/status"), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": ["get"] }));
        }
    }
    if found.is_empty() {
        return failed(404, "NotFound");
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (
        200,
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found }),
    )
}

/// What of a kind is asked for.
#[derive(Debug, Clone)]
struct Question {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    metadata_only: bool,
}

impl Question {
    fn covers(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref().is_none_or(|asked| asked == namespace)
            && self.name.as_deref().is_none_or(|asked| asked == name)
    }

    fn shown(&self, object: &Value) -> Value {
        if self.metadata_only {
            json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata") })
        } else {
            object.clone()
        }
    }
}

/// One page; `continue` is the version of the first page and how many objects came before.
fn list(held: &Held, question: &Question, query: &BTreeMap<String, String>) -> (u16, Value) {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let (version, offset) = match query.get("continue").and_then(|token| token.split_once('-')) {
        Some((version, offset)) => (version.parse().unwrap_or(0), offset.parse().unwrap_or(0)),
        None => (held.version.max(1), 0),
    };
    if version < held.oldest {
        return failed(410, "Expired");
    }
    let all: Vec<Value> = held
        .objects
        .iter()
        .filter(|((plural, namespace, name), _)| {
            *plural == question.plural && question.covers(namespace, name)
        })
        .map(|(_, object)| question.shown(object))
        .collect();
    let items: Vec<Value> = all.iter().skip(offset).take(limit.unwrap_or(usize::MAX)).cloned().collect();
    let next = offset + items.len();
    let more = if next < all.len() { format!("{version}-{next}") } else { String::new() };
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": more });
    let (kind, api_version) = match held.resources.get(&question.plural) {
        Some(resource) => (format!("{}List", resource.kind), resource.api_version()),
        None => ("List".to_owned(), "v1".to_owned()),
    };
    (200, json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items }))
}

/// A watch: one event a line.
fn follow(shared: Shared, question: Question, since: u64, at_most: Duration) -> Response<Body> {
    let ends = tokio::time::Instant::now() + at_most;
    let events = futures::stream::unfold(
        (shared, question, since, false),
        move |(shared, question, since, over)| async move {
            if over {
                return None;
            }
            let Shared { held, mut news } = shared;
            loop {
                news.mark_unchanged();
                let step = step(&lock(&held), &question, since);
                match step {
                    Step::Lines(lines, version) => {
                        let line: Result<Bytes, Infallible> = Ok(lines.into());
                        return Some((line, (Shared { held, news }, question, version, false)));
                    }
                    Step::Last(line) => {
                        return Some((Ok(line.into()), (Shared { held, news }, question, since, true)));
                    }
                    Step::Over => return None,
                    Step::Wait => {
                        if tokio::time::timeout_at(ends, news.changed()).await.is_err() {
                            return None;
                        }
                    }
                }
            }
        },
    );
    let response =
        Response::builder().status(StatusCode::OK).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from_stream(events)).unwrap_or_default()
}

enum Step {
    /// Events up to a version.
    Lines(String, u64),
    /// The last event.
    Last(String),
    Over,
    Wait,
}

fn step(held: &Held, question: &Question, since: u64) -> Step {
    let Some(resource) = held.resources.get(&question.plural) else { return Step::Over };
    if held.refused.contains_key(&question.plural) {
        return Step::Over;
    }
    if since < held.oldest {
        let (_, status) = failed(410, "Expired");
        return Step::Last(format!("{}\n", json!({ "type": "ERROR", "object": status })));
    }
    let mut lines = String::new();
    for happened in held.log.iter().filter(|happened| happened.version > since) {
        let metadata = happened.object.get("metadata");
        let text = |name: &str| metadata.and_then(|all| all.get(name)?.as_str()).unwrap_or_default();
        let object = if happened.kind == "BOOKMARK" {
            json!({ "kind": resource.kind, "apiVersion": resource.api_version(),
                "metadata": { "resourceVersion": happened.version.to_string() } })
        } else if happened.plural == question.plural && question.covers(text("namespace"), text("name")) {
            question.shown(&happened.object)
        } else {
            continue;
        };
        lines.push_str(&json!({ "type": happened.kind, "object": object }).to_string());
        lines.push('\n');
    }
    if lines.is_empty() { Step::Wait } else { Step::Lines(lines, held.version) }
}
