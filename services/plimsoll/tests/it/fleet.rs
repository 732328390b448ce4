//! A deployment as child processes, and its clients: HTTP, server-sent events, a plain NATS subscription, the
//! command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::StreamExt;
use plimsoll_testkit::ports;
use plimsoll_testkit::process::Guarded;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Longest wait for one condition.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
/// Longest test.
const TEST: Duration = Duration::from_secs(240);

/// May do everything.
pub(crate) const TOKEN: &str = "a-token-that-may-do-everything";
/// May send notifications, and nothing else.
pub(crate) const HOOKS: &str = "a-token-of-a-registry";

pub(crate) const ROLES: [&str; 7] = ["aggregator", "unpack", "sbom", "scan", "netpol", "feeds", "gateway"];

/// One runtime for all tests: what they share outlives each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs a test, bounded.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    RUNTIME.block_on(async { tokio::time::timeout(TEST, test).await.expect("the test takes too long") })
}

/// Looks at a condition until it gives a value; panics with `what` once the bound has passed.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(began.elapsed() < BOUND, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A folder below the target directory. Those of runs that are over are removed.
pub(crate) fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleets");
    std::fs::create_dir_all(&root).unwrap();
    for entry in std::fs::read_dir(&root).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()).unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            // Another run may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let path = root.join(format!("{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// What a deployment is configured with.
#[derive(Default)]
pub(crate) struct Setup {
    /// Entries of `registries:`, one line of flow YAML each.
    pub(crate) registries: Vec<String>,
    pub(crate) feeds: Vec<PathBuf>,
    /// Clusters whose enforcement is asserted.
    pub(crate) clusters: Vec<&'static str>,
    /// Port of the gateway; 0 for any.
    pub(crate) port: u16,
    /// Further lines of the configuration.
    pub(crate) more: &'static str,
    /// Environment of the processes.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Setup {
    fn write(&self, dir: &Path, port: u16) -> PathBuf {
        let list = |items: Vec<String>| items.iter().map(|item| format!("  - {item}\n")).collect::<String>();
        let feeds = list(self.feeds.iter().map(|path| json!(path).to_string()).collect());
        let clusters: Vec<String> = self
            .clusters
            .iter()
            .map(|name| format!("{{name: {name}, enforcement_asserted: true}}"))
            .collect();
        let text = format!(
            "listen: 127.0.0.1:{port}\nsecrets: true\nregistries:\n{}tokens:\n{}limits: {{webhook_body: 64KiB, deploy_body: 1MiB}}\n\
             exposure: {{clusters: [{}]}}\ntelemetry: {{log: \"warn,plimsoll=info\", log_format: text}}\n{}{}\n",
            list(self.registries.clone()),
            list(vec![
                format!("{{name: all, token: {TOKEN}, scopes: [webhooks, images, deploys, read]}}"),
                format!("{{name: registry, token: {HOOKS}, scopes: [webhooks]}}"),
            ]),
            clusters.join(", "),
            if feeds.is_empty() { String::new() } else { format!("feeds:\n{feeds}") },
            self.more,
        );
        let text = if self.registries.is_empty() { text.replace("registries:\n", "") } else { text };
        let path = dir.join("plimsoll.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A deployment.
pub(crate) struct Fleet {
    pub(crate) dir: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) url: String,
    /// URL of its broker.
    pub(crate) nats: String,
    pub(crate) http: reqwest::Client,
    env: Vec<(&'static str, String)>,
    children: Mutex<Vec<(String, Guarded)>>,
}

impl Fleet {
    /// `plimsoll up`: one process, with a broker of its own.
    pub(crate) async fn up(name: &str, setup: &Setup) -> Self {
        let mut fleet = Self::prepare(name, setup);
        fleet.spawn("up", &["up"]);
        fleet.ready().await;
        fleet.nats = std::fs::read_to_string(fleet.dir.join("nats.url")).unwrap();
        fleet
    }

    /// Starts the one process again, on the same folder.
    pub(crate) async fn restart(&mut self) {
        self.spawn("up", &["up"]);
        self.ready().await;
        self.nats = std::fs::read_to_string(self.dir.join("nats.url")).unwrap();
    }

    /// A process for each role, against a broker that is there.
    pub(crate) async fn apart(name: &str, setup: &Setup, nats: String) -> Self {
        let mut fleet = Self::prepare(name, setup);
        fleet.env.push(("NATS_URL", nats.clone()));
        fleet.nats = nats;
        for role in ROLES {
            fleet.start(role);
        }
        fleet.ready().await;
        fleet
    }

    fn prepare(name: &str, setup: &Setup) -> Self {
        let dir = folder(name);
        let port = if setup.port == 0 { ports::free(1).unwrap()[0] } else { setup.port };
        let config = setup.write(&dir, port);
        Self {
            config,
            url: format!("http://127.0.0.1:{port}"),
            nats: String::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            env: setup.env.clone(),
            children: Mutex::default(),
            dir,
        }
    }

    /// Every process answers, and the aggregator through the gateway.
    async fn ready(&self) {
        until("the fleet", async || {
            for (name, child) in self.children.lock().unwrap().iter_mut() {
                if let Some(status) = child.exited() {
                    panic!("{name} ended with {status}: {}", child.log_tail());
                }
            }
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
            (self.get("/v1/images").await.0 == 200).then_some(())
        })
        .await;
    }

    /// The command line, as it is called for this deployment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        for name in
            ["NATS_URL", "RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT", "PLIMSOLL_DB", "SOURCE_DATE_EPOCH"]
        {
            command.env_remove(name);
        }
        command
            .args(words)
            .env("PLIMSOLL_DATA", &self.dir)
            .env("PLIMSOLL_CONFIG", &self.config)
            .env("PLIMSOLL_ACK_WAIT_MS", "2000")
            .env("PLIMSOLL_SETTLE_MS", "100")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn spawn(&self, name: &str, words: &[&str]) {
        let child = Guarded::spawn(self.command(words), &self.dir.join(format!("{name}.log"))).unwrap();
        self.children.lock().unwrap().push((name.to_owned(), child));
    }

    /// Starts the process of a role.
    pub(crate) fn start(&self, role: &str) {
        self.spawn(role, &["run", "--role", role]);
    }

    /// Ends the process of a role in order, with SIGTERM.
    pub(crate) async fn stop(&self, role: &str) {
        let child = {
            let mut children = self.children.lock().unwrap();
            let index = children.iter().position(|(name, _)| name == role).unwrap();
            children.remove(index).1
        };
        let mut child = child;
        let status = child.stop(BOUND).await.unwrap();
        assert!(status.success(), "{role} ended with {status}: {}", child.log_tail());
    }

    /// Runs the command line to its end.
    pub(crate) async fn cli(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        command.env("PLIMSOLL_URL", &self.url).env("PLIMSOLL_TOKEN", TOKEN);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// As [`Self::cli`], for a command that succeeds: what it prints.
    pub(crate) async fn says(&self, words: &[&str]) -> String {
        let output = self.cli(words).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(TOKEN);
        match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or_default()),
            Err(error) => (0, json!({ "detail": error.to_string() })),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Asks for an image.
    pub(crate) async fn submit(&self, reference: &str) {
        let (status, body) = self.post("/v1/images", json!({ "reference": reference }).to_string()).await;
        assert_eq!(status, 202, "{body}");
    }

    /// Sends manifests; gives the event's sequence.
    pub(crate) async fn deploy(&self, cluster: &str, mode: &str, manifests: &str) -> u64 {
        let path = format!("/v1/deploys?cluster={cluster}&mode={mode}");
        let (status, body) = self.post(&path, manifests.to_owned()).await;
        assert_eq!(status, 202, "{body}");
        body["seq"].as_u64().unwrap()
    }

    /// All findings of a filter (`cluster=…&state=…`).
    pub(crate) async fn findings(&self, filter: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            // After an outage the gateway may be back before the aggregator is.
            let body = until("the aggregator's answer", async || {
                let (status, body) = self.get(&format!("/v1/findings?limit=1000&{filter}{cursor}")).await;
                assert!(matches!(status, 200 | 503), "{status} {body}");
                (status == 200).then_some(body)
            })
            .await;
            all.extend(body["findings"].as_array().unwrap().iter().cloned());
            match body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Waits until the vulnerabilities of a filter's findings are these, sorted; gives the findings.
    pub(crate) async fn vulnerable(&self, filter: &str, wanted: &[&str]) -> Vec<Value> {
        let began = std::time::Instant::now();
        loop {
            let findings = self.findings(filter).await;
            let found = ids(&findings);
            if found == wanted {
                return findings;
            }
            assert!(began.elapsed() < BOUND, "{filter}: {found:?} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until an image is scanned; gives what the store says of it.
    pub(crate) async fn scanned(&self, digest: &str) -> Value {
        let began = std::time::Instant::now();
        loop {
            let (_, body) = self.get(&format!("/v1/images/{digest}/status")).await;
            if body["scan"]["state"] == "matched" {
                return body["scan"].clone();
            }
            assert!(began.elapsed() < BOUND, "{digest} is not scanned: {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The failures of a repository, as `GET /v1/images` lists them.
    pub(crate) async fn failures(&self, repository: &str) -> Vec<Value> {
        let (_, body) = self.get("/v1/images").await;
        let all = body["failures"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|failure| failure["repository"] == repository).collect()
    }

    /// Waits for a failure of a repository.
    pub(crate) async fn failed(&self, repository: &str) -> Value {
        let what = format!("a failure of {repository}");
        until(&what, async || self.failures(repository).await.into_iter().next()).await
    }

    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::connect(&self.nats).await.unwrap()
    }
}

/// The vulnerabilities of findings, sorted, each once.
pub(crate) fn ids(findings: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = findings.iter().map(|f| f["vulnerabilityId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A message of a plain subscription.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) code: String,
    pub(crate) body: Value,
}

/// What a plain subscription has heard so far.
#[derive(Clone)]
pub(crate) struct Heard(Arc<Mutex<Vec<Message>>>);

impl Heard {
    /// Subscribes, without JetStream: what is published from now on.
    pub(crate) async fn on(fleet: &Fleet, subject: &'static str) -> Self {
        let client = fleet.client().await;
        let mut messages = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let heard = Self(Arc::default());
        let kept = heard.clone();
        RUNTIME.spawn(async move {
            let _client = client;
            while let Some(message) = messages.next().await {
                let code = message.headers.as_ref().and_then(|h| h.get("Plimsoll-Code"));
                let message = Message {
                    subject: message.subject.to_string(),
                    code: code.map(ToString::to_string).unwrap_or_default(),
                    body: serde_json::from_slice(&message.payload).unwrap_or_default(),
                };
                kept.0.lock().unwrap().push(message);
            }
        });
        heard
    }

    pub(crate) fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap().clone()
    }

    /// What was told of a repository as holder.
    pub(crate) fn of_repository(&self, repository: &str) -> Vec<Message> {
        let of = |m: &Message| m.body["holder"]["repository"]["repository"] == repository;
        self.all().into_iter().filter(of).collect()
    }

    /// What was told of the workloads of a cluster.
    pub(crate) fn of_cluster(&self, cluster: &str) -> Vec<Message> {
        let of = |m: &Message| m.body["holder"]["workload"]["workload"]["cluster"] == cluster;
        self.all().into_iter().filter(of).collect()
    }
}

/// `(kind, vulnerability)` of each change in messages, in order.
pub(crate) fn changes(messages: &[Message]) -> Vec<(String, String)> {
    messages.iter().flat_map(|message| changes_of(&message.body)).collect()
}

/// As [`changes`], of one message.
pub(crate) fn changes_of(body: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = body["changes"].as_array().cloned().unwrap_or_default();
    changes.iter().map(|c| (text(&c["kind"]), text(&c["finding"]["vulnerabilityId"]))).collect()
}

/// A subscriber of `/v1/findings/stream`.
pub(crate) struct Sse {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

impl Sse {
    /// Subscribes from the beginning, or after an id.
    pub(crate) async fn open(fleet: &Fleet, last: Option<u64>) -> Self {
        let request = fleet.http.get(format!("{}/v1/findings/stream?from=beginning", fleet.url));
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last.to_string()),
            None => request,
        };
        let answer = request.bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        Self { answer, buffer: Vec::new() }
    }

    /// The next event: its id and its data.
    pub(crate) async fn next(&mut self) -> (u64, Value) {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                // A comment keeps the connection alive.
                if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                    return (id.parse().unwrap(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(BOUND, self.answer.chunk()).await.expect("nothing is told");
            self.buffer.extend(chunk.unwrap().expect("the stream ended"));
        }
    }

    /// Reads until an event satisfies `last`; gives everything read, that event included.
    pub(crate) async fn through(&mut self, last: impl Fn(u64, &Value) -> bool) -> Vec<(u64, Value)> {
        let mut all = Vec::new();
        loop {
            let (id, body) = self.next().await;
            all.push((id, body));
            if all.last().is_some_and(|(id, body)| last(*id, body)) {
                return all;
            }
        }
    }
}
