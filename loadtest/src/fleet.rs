//! Every role as a process of its own, restarted when it dies, as an orchestrator would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plimsoll_testkit::process::Guarded;
use tokio::task::JoinHandle;

use crate::LoadError;

/// The roles, in the order in which they are started.
pub const ROLES: [&str; 7] = ["gateway", "aggregator", "unpack", "sbom", "scan", "netpol", "feeds"];
/// The token that the configuration of [`configuration`] knows.
pub const TOKEN: &str = "the-token-of-a-load-test";
/// The identity of the registry in [`configuration`], whatever port it has.
pub const REGISTRY: &str = "registry.example.com";
/// Ack wait of the roles in milliseconds: short, so that what a dead process held comes back soon.
const ACK_WAIT_MS: &str = "1000";
/// Quiet time before a cluster is judged.
const SETTLE_MS: &str = "100";
/// A process that dies more often than this without being killed is not started again.
const OWN_DEATHS: u32 = 20;

/// The configuration of a load test: one registry, one token, the clusters that it deploys to.
pub fn configuration(listen: SocketAddr, registry: &str, feeds: &Path, more: &str) -> String {
    format!(
        "listen: {listen}\n\
         registries:\n  - host: {REGISTRY}\n    aliases: [\"{registry}\"]\n    endpoint: {registry}\n    plain_http: true\n    max_concurrent: 64\n\
         tokens:\n  - name: load\n    token: {TOKEN}\n    scopes: [webhooks, images, deploys, read]\n\
         exposure:\n  clusters:\n    - name: harbour\n      enforcement_asserted: true\n\
         feeds:\n  - {}\n\
         telemetry:\n  log: warn\n{more}",
        feeds.display()
    )
}

/// What is started, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    pub program: PathBuf,
    /// Folder of configuration, data and logs.
    pub folder: PathBuf,
    pub nats: String,
    /// The label at which the given life of a role ends, first life 1: `layer.recorded:2`.
    pub ends: BTreeMap<(String, u32), String>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub role: String,
    pub life: u32,
    /// The label, where one was set for that life.
    pub label: Option<String>,
    /// True when it was killed at its label or by [`Fleet::kill`].
    pub wanted: bool,
    /// The exit status; none for who was killed.
    pub code: Option<i32>,
    /// The status, as text, and the end of the log, for those that were not.
    pub said: String,
}

struct Member {
    child: Option<Guarded>,
    life: u32,
    own_deaths: u32,
}

struct State {
    plan: Plan,
    members: BTreeMap<String, Member>,
    deaths: Vec<Death>,
    /// Members that are down on purpose and stay so.
    resting: Vec<String>,
}

/// The processes, and the task that restarts them.
pub struct Fleet {
    state: Arc<Mutex<State>>,
    keeper: JoinHandle<()>,
}

impl State {
    fn start(&mut self, role: &str) -> Result<(), LoadError> {
        let member =
            self.members.entry(role.to_owned()).or_insert(Member { child: None, life: 0, own_deaths: 0 });
        member.life += 1;
        // A role may run several times under names such as `unpack-2`.
        let name = role.split('-').next().unwrap_or(role);
        let data = self.plan.folder.join(role);
        let mut command = Command::new(&self.plan.program);
        command
            .args(["run", "--role", name, "--data"])
            .arg(&data)
            .arg("--config")
            .arg(self.plan.folder.join("plimsoll.yaml"))
            .env("NATS_URL", &self.plan.nats)
            .env("PLIMSOLL_ACK_WAIT_MS", ACK_WAIT_MS)
            .env("PLIMSOLL_SETTLE_MS", SETTLE_MS)
            .env_remove("PLIMSOLL_KILL_AT");
        if let Some(label) = self.plan.ends.get(&(role.to_owned(), member.life)) {
            command.env("PLIMSOLL_KILL_AT", label);
        }
        let log = self.plan.folder.join(format!("{role}.{}.log", member.life));
        member.child = Some(Guarded::spawn(command, &log)?);
        Ok(())
    }

    /// Starts again what has died.
    fn keep(&mut self) {
        let mut dead = Vec::new();
        for (role, member) in &mut self.members {
            let Some(child) = member.child.as_mut() else { continue };
            let Some(status) = child.exited() else { continue };
            let label = self.plan.ends.get(&(role.clone(), member.life)).cloned();
            // A labelled point aborts; a panic or an error ends with a status.
            let wanted = label.is_some() && status.code().is_none();
            let said = if wanted { String::new() } else { format!("{status}: {}", child.log_tail()) };
            member.own_deaths += u32::from(!wanted);
            dead.push((role.clone(), member.own_deaths));
            let (role, life, code) = (role.clone(), member.life, status.code());
            self.deaths.push(Death { role, life, label, wanted, code, said });
            member.child = None;
        }
        for (role, own_deaths) in dead {
            if own_deaths <= OWN_DEATHS
                && !self.resting.contains(&role)
                && let Err(error) = self.start(&role)
            {
                eprintln!("cannot start {role} again: {error}");
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Starts these roles. The configuration must be in the folder as `plimsoll.yaml`.
    pub fn start(plan: Plan, roles: &[&str]) -> Result<Self, LoadError> {
        let state = Arc::new(Mutex::new(State {
            plan,
            members: BTreeMap::new(),
            deaths: Vec::new(),
            resting: Vec::new(),
        }));
        for role in roles {
            lock(&state).start(role)?;
        }
        let kept = Arc::clone(&state);
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(15)).await;
                lock(&kept).keep();
            }
        });
        Ok(Self { state, keeper })
    }

    /// `kill -9` of a role; it is started again at once, with the next life's label if it has one.
    pub fn kill(&self, role: &str) -> Result<(), LoadError> {
        self.take_down(role)?;
        lock(&self.state).start(role)
    }

    /// `kill -9` of a role that stays down until [`Fleet::raise`].
    pub fn rest(&self, role: &str) -> Result<(), LoadError> {
        lock(&self.state).resting.push(role.to_owned());
        self.take_down(role)
    }

    /// Starts a role that rests.
    pub fn raise(&self, role: &str) -> Result<(), LoadError> {
        let mut state = lock(&self.state);
        state.resting.retain(|resting| resting != role);
        state.start(role)
    }

    fn take_down(&self, role: &str) -> Result<(), LoadError> {
        let mut state = lock(&self.state);
        state.keep();
        let Some(member) = state.members.get_mut(role) else { return Ok(()) };
        let Some(mut child) = member.child.take() else { return Ok(()) };
        child.kill()?;
        let life = member.life;
        state.deaths.push(Death {
            role: role.to_owned(),
            life,
            label: None,
            wanted: true,
            code: None,
            said: String::new(),
        });
        Ok(())
    }

    /// What died so far.
    pub fn deaths(&self) -> Vec<Death> {
        lock(&self.state).deaths.clone()
    }

    /// The ends of the logs of the newest lives, for reports of failures.
    pub fn logs(&self) -> String {
        let state = lock(&self.state);
        let tail = |(role, member): (&String, &Member)| {
            let text = member.child.as_ref().map(Guarded::log_tail).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("--- {role} (life {})\n{}\n", member.life, lines.join("\n"))
        };
        state.members.iter().map(tail).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.keeper.abort();
        // The children are killed when their handles drop; the keeper must not bring one back.
        lock(&self.state).members.clear();
    }
}
