//! CNCF Distribution as a child, as Debian packages it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Endpoint, RegistryError};
use crate::ports;
use crate::process::Guarded;

/// Longest wait for the registry to answer.
const READY: Duration = Duration::from_secs(30);
/// Longest copy by skopeo.
const COPY: Duration = Duration::from_secs(300);
/// Starts on fresh ports before a collision is an error.
const COLLISIONS: u32 = 5;

/// What a registry is started with. The default: a temporary directory, no notifications, no credentials.
#[derive(Debug, Clone, Default)]
pub struct RealOptions {
    /// Where content, configuration and log go; made if absent. Without one, a temporary directory.
    pub dir: Option<PathBuf>,
    /// Who is told of pushes, pulls and deletes.
    pub endpoints: Vec<Endpoint>,
    /// User and password that every request needs (htpasswd with bcrypt).
    pub credentials: Option<(String, String)>,
}

/// A running registry; killed on drop.
#[derive(Debug)]
pub struct RealRegistry {
    port: u16,
    credentials: Option<(String, String)>,
    child: Guarded,
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl RealRegistry {
    /// The program, or [`RegistryError::NotInstalled`].
    pub fn find() -> Result<PathBuf, RegistryError> {
        on_path(&["docker-registry", "registry"])
            .ok_or(RegistryError::NotInstalled { program: "docker-registry", package: "docker-registry" })
    }

    /// Starts a registry on a free loopback port and waits until it answers.
    pub async fn start(options: RealOptions) -> Result<Self, RegistryError> {
        let program = Self::find()?;
        let (dir, temporary) = match options.dir.clone() {
            Some(dir) => (dir, None),
            None => {
                let made = tempfile::Builder::new().prefix("plimsoll-registry-").tempdir();
                let made =
                    made.map_err(|source| RegistryError::Write { path: std::env::temp_dir(), source })?;
                (made.path().to_owned(), Some(made))
            }
        };
        std::fs::create_dir_all(&dir).map_err(|source| RegistryError::Write { path: dir.clone(), source })?;
        let mut tries = 0;
        loop {
            let port = ports::free(1)?.into_iter().next().unwrap_or(0);
            write(&dir.join("config.yml"), &config(&dir, port, &options)?)?;
            let mut command = Command::new(&program);
            command.arg("serve").arg(dir.join("config.yml"));
            let mut child = Guarded::spawn(command, &dir.join("registry.log"))?;
            match ready(&mut child, port).await {
                Ok(()) => {
                    let credentials = options.credentials.clone();
                    return Ok(Self { port, credentials, child, dir, _temporary: temporary });
                }
                Err(RegistryError::NotReady { log, .. })
                    if tries < COLLISIONS && log.contains("address already in use") =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `127.0.0.1:<port>`, as an image reference has it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Where content, configuration and log are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The end of the registry's log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    /// Copies `tag` of the OCI layout in `layout` to `target` (`repository:tag`), every platform of an index and
    /// without changing a digest.
    pub async fn skopeo_push(&self, layout: &Path, tag: &str, target: &str) -> Result<(), RegistryError> {
        let skopeo = on_path(&["skopeo"])
            .ok_or(RegistryError::NotInstalled { program: "skopeo", package: "skopeo" })?;
        let mut command = tokio::process::Command::new(skopeo);
        command
            .args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"])
            .kill_on_drop(true);
        match &self.credentials {
            Some((user, password)) => command.arg(format!("--dest-creds={user}:{password}")),
            None => command.arg("--dest-no-creds"),
        };
        command
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/{target}", self.host()));
        let failed = |status: String, said: String| RegistryError::Failed { program: "skopeo", status, said };
        let output = tokio::time::timeout(COPY, command.output())
            .await
            .map_err(|_| failed("too slow".to_owned(), format!("no end after {COPY:?}")))?
            .map_err(|error| failed("not started".to_owned(), error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(output.status.to_string(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

async fn ready(child: &mut Guarded, port: u16) -> Result<(), RegistryError> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let start = Instant::now();
    while start.elapsed() < READY {
        if let Some(status) = child.exited() {
            let log = child.log_tail();
            return Err(RegistryError::NotReady { why: format!("it ended with {status}"), log });
        }
        if let Ok(answer) = http.get(format!("http://127.0.0.1:{port}/v2/")).send().await
            && answer.headers().contains_key("docker-distribution-api-version")
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(RegistryError::NotReady { why: format!("no answer after {READY:?}"), log: child.log_tail() })
}

/// The configuration as JSON, which YAML includes.
fn config(dir: &Path, port: u16, options: &RealOptions) -> Result<Vec<u8>, RegistryError> {
    let endpoints: Vec<Value> = options
        .endpoints
        .iter()
        .enumerate()
        .map(|(number, endpoint)| {
            let headers: serde_json::Map<String, Value> =
                endpoint.headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
            json!({
                "name": format!("endpoint-{number}"),
                "url": endpoint.url,
                "headers": headers,
                "timeout": "5s",
                "threshold": 5,
                "backoff": "200ms",
            })
        })
        .collect();
    let mut document = json!({
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": dir.join("content")},
            "delete": {"enabled": true},
            "maintenance": {"uploadpurging": {"enabled": false}},
        },
        "http": {"addr": format!("127.0.0.1:{port}"), "secret": "only for tests"},
        "notifications": {"endpoints": endpoints},
    });
    if let (Some((user, password)), Some(fields)) = (&options.credentials, document.as_object_mut()) {
        let hash = bcrypt::hash(password, 4).map_err(|error| RegistryError::Password(error.to_string()))?;
        let path = dir.join("htpasswd");
        // Go's bcrypt takes the 2a and 2y prefixes.
        write(&path, format!("{user}:{}\n", hash.replacen("$2b$", "$2y$", 1)).as_bytes())?;
        fields.insert("auth".to_owned(), json!({"htpasswd": {"realm": "plimsoll-testkit", "path": path}}));
    }
    Ok(document.to_string().into_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    std::fs::write(path, bytes).map_err(|source| RegistryError::Write { path: path.to_owned(), source })
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).collect();
    names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .find(|candidate| candidate.is_file())
}
