//! A gateway that keeps what it is told, folds it as the real one does, and refuses what the test wants refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_testkit::kubernetes::FakeApiServer;
use plimsoll_testkit::wait;
use plimsoll_watch_service::agent::{self, Settings};
use plimsoll_watch_service::source::Pace;
use plimsoll_watch_service::tell::{Gateway, Token};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Kind, namespace and name.
pub(crate) type Name = (String, String, String);

/// One request that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) mode: String,
    pub(crate) scope: String,
    pub(crate) complete: bool,
    pub(crate) objects: Vec<Value>,
}

impl Told {
    pub(crate) fn is_everything(&self) -> bool {
        self.mode == "replace"
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.objects.iter().map(|object| text(object, "/metadata/name")).collect()
    }
}

pub(crate) fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) told: Vec<Told>,
    pub(crate) model: BTreeMap<Name, Value>,
    /// Whether the view is complete, as the fold of the real one has it.
    pub(crate) complete: bool,
    /// Answers to the next requests, which are not taken: status and `Retry-After`.
    pub(crate) refusals: VecDeque<(u16, Option<u64>)>,
    /// Requests that were refused.
    pub(crate) refused: Vec<u16>,
    /// Answered with this status while it is set.
    pub(crate) down: Option<u16>,
    pub(crate) max_body: Option<usize>,
    /// Names of objects that make a document invalid.
    pub(crate) invalid: BTreeSet<String>,
    pub(crate) token: String,
    /// Everything that came, as it came.
    pub(crate) bytes: String,
}

#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) url: String,
    held: Arc<Mutex<Held>>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let held = Arc::new(Mutex::new(Held { token: "secret".into(), ..Held::default() }));
        let router = Router::new()
            .fallback(receive)
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, held }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap())
    }

    pub(crate) async fn until(&self, what: &str, mut check: impl FnMut(&mut Held) -> bool) {
        let waited = wait::until(what, Duration::from_secs(60), || {
            let holds = self.with(&mut check);
            async move { holds }
        })
        .await;
        if let Err(error) = waited {
            panic!(
                "{error}: {:#?}",
                self.with(|held| (held.told.clone(), held.model.keys().cloned().collect::<Vec<_>>()))
            );
        }
    }
}

async fn receive(
    State(held): State<Arc<Mutex<Held>>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut held = held.lock().unwrap();
    held.bytes.push_str(&body);
    let said = |held: &mut Held, status: u16, code: &str, after: Option<u64>| {
        held.refused.push(status);
        let mut response =
            (StatusCode::from_u16(status).unwrap(), json!({ "code": code, "detail": "no" }).to_string())
                .into_response();
        if let Some(after) = after {
            response.headers_mut().insert("retry-after", after.into());
        }
        response
    };
    if headers["authorization"] != format!("Bearer {}", held.token).as_str() {
        return said(&mut held, 401, "unauthorized", None);
    }
    if let Some(status) = held.down {
        return said(&mut held, status, "broker_unavailable", None);
    }
    if let Some((status, after)) = held.refusals.pop_front() {
        return said(&mut held, status, "broker_unavailable", after);
    }
    if held.max_body.is_some_and(|most| body.len() > most) {
        return said(&mut held, 413, "too_large", None);
    }
    let document: Value = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
    let objects = document["items"].as_array().cloned().unwrap_or_default();
    plimsoll_netpol::objects::parse_documents(body.as_bytes(), plimsoll_netpol::objects::Format::Yaml)
        .unwrap();
    if objects.iter().any(|object| held.invalid.contains(&text(object, "/metadata/name"))) {
        return said(&mut held, 400, "invalid_object", None);
    }
    let told = Told {
        mode: query["mode"].clone(),
        scope: query.get("scope").cloned().unwrap_or_default(),
        complete: query.get("complete").is_none_or(|complete| complete != "false"),
        objects,
    };
    assert_eq!(query["cluster"], "east");
    held.complete |= told.mode == "replace" && told.scope == "cluster";
    held.complete &= told.complete;
    let name = |object: &Value| {
        (text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
    };
    if told.is_everything() {
        let inside = told.scope.strip_prefix("namespace=");
        held.model.retain(|(kind, namespace, name), _| {
            inside.is_some_and(|inside| namespace != inside && !(kind == "Namespace" && name == inside))
        });
    }
    for object in &told.objects {
        if told.mode == "delete" {
            held.model.remove(&name(object));
        } else {
            held.model.insert(name(object), object.clone());
        }
    }
    held.told.push(told);
    StatusCode::ACCEPTED.into_response()
}

/// Times that no test has to wait for.
pub(crate) fn quick() -> Settings {
    Settings {
        gather: Duration::from_millis(5),
        heartbeat: Duration::from_secs(3600),
        resend: Duration::from_secs(3600),
        discover: Duration::from_millis(50),
        patience: Duration::from_secs(3600),
        retry: (Duration::from_millis(5), Duration::from_millis(20)),
        pace: Pace {
            backoff: (Duration::from_millis(5), Duration::from_millis(20)),
            going: Duration::from_millis(300),
            forbidden: Duration::from_millis(30),
            page: 2,
            ..Pace::default()
        },
        ..Settings::default()
    }
}

/// An agent that ends when it is dropped.
pub(crate) struct Running {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn start_with(
    api: &FakeApiServer,
    recorder: &Recorder,
    settings: Settings,
    token: Token,
) -> Running {
    let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).unwrap();
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // As `plimsoll_watch_service::connect` has it.
    config.default_retry = false;
    let client = kube::Client::try_from(config).unwrap();
    let gateway = Gateway::new(&recorder.url, "east", token, None).unwrap();
    let running =
        Running { health: Health::default(), metrics: Metrics::default(), stop: CancellationToken::new() };
    let (metrics, health, stop) = (running.metrics.clone(), running.health.clone(), running.stop.clone());
    tokio::spawn(agent::run(client, gateway, settings, metrics, health, stop));
    running
}

pub(crate) async fn start(api: &FakeApiServer, recorder: &Recorder, settings: Settings) -> Running {
    start_with(api, recorder, settings, Token::Text("secret".into())).await
}

// Objects, with what must not leave the cluster in them.

pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "team": name } } })
}

pub(crate) fn deployment(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name }, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "hunter2", "note": "hunter2" } },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name }, "annotations": { "vault": "hunter2" } }, "spec": {
                "serviceAccountName": name,
                "containers": [{ "name": "app", "image": image, "args": ["--password=hunter2"],
                    "env": [{ "name": "PASSWORD", "value": "hunter2" }], "ports": [{ "containerPort": 8080 }] }],
                "volumes": [{ "name": "v", "secret": { "secretName": "hunter2" } }],
            } },
        },
        "status": { "replicas": 2 },
    })
}

pub(crate) fn policy(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    })
}

pub(crate) fn pod(
    namespace: &str,
    name: &str,
    owner: Option<&str>,
    phase: &str,
    digest: Option<&str>,
) -> Value {
    let owners: Vec<Value> = owner
        .iter()
        .map(|owner| json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true }))
        .collect();
    let statuses: Vec<Value> = digest
        .iter()
        .map(|digest| json!({ "name": "app", "imageID": format!("registry.test/app@{digest}"), "restartCount": 3, "ready": true }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": "web" }, "ownerReferences": owners },
        "spec": { "containers": [{ "name": "app", "image": "registry.test/app:1", "env": [{ "name": "K", "value": "hunter2" }] }] },
        "status": { "phase": phase, "podIP": "10.0.0.7", "containerStatuses": statuses },
    })
}
