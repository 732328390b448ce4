//! A cluster of servers on one machine, for what only replication shows.

use std::path::PathBuf;
use std::time::Duration;

use super::{COLLISIONS, NatsError, NatsServer, Plan, Routing, collided, directory, find, settled};
use crate::ports;

/// Longest wait for a meta leader that every member agrees on.
const LEADER: Duration = Duration::from_secs(60);

/// A JetStream cluster with full routes, a system account `SYS` (user and password `sys`), and clients without
/// credentials in the account `APP`.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    _temporary: Option<tempfile::TempDir>,
}

impl NatsCluster {
    /// `size` servers (three is the useful number), each ready and agreed on a meta leader.
    pub async fn start(size: usize) -> Result<Self, NatsError> {
        Self::start_with(size, None, false).await
    }

    /// As [`Self::start`], with state under `dir` (one directory a member) and the chosen sync.
    pub async fn start_with(size: usize, dir: Option<PathBuf>, sync_always: bool) -> Result<Self, NatsError> {
        let program = find()?;
        let (dir, temporary) = directory(dir)?;
        let mut tries = 0;
        loop {
            let free = ports::free(size.saturating_mul(3))?;
            let routes: Vec<u16> = free.chunks_exact(3).filter_map(|ports| ports.get(2).copied()).collect();
            let mut servers = Vec::new();
            for (number, ports) in free.chunks_exact(3).enumerate() {
                let [port, monitor, route] = ports else { continue };
                let name = format!("n{}", number.saturating_add(1));
                let (dir, _) = directory(Some(dir.join(&name)))?;
                let peers = routes.iter().copied().filter(|peer| peer != route).collect();
                let plan = Plan {
                    dir,
                    name,
                    port: *port,
                    monitor: *monitor,
                    sync_always,
                    extra: String::new(),
                    routing: Some(Routing { port: *route, peers }),
                };
                servers.push(NatsServer::planned(program.clone(), plan)?);
            }
            let mut cluster = Self { servers, _temporary: None };
            match cluster.launch().await {
                Ok(()) => {
                    cluster._temporary = temporary;
                    return Ok(cluster);
                }
                Err(error) if tries < COLLISIONS && collided(&error) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The members, in the order of their names `n1`, `n2`, …
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    /// A member to kill, stop or restart; counted from 0.
    pub fn server_mut(&mut self, index: usize) -> Option<&mut NatsServer> {
        self.servers.get_mut(index)
    }

    /// Every member's URL, separated by commas.
    pub fn url(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// Index of the meta leader, if those who run agree on one that runs.
    pub async fn leader(&self) -> Option<usize> {
        let mut agreed: Option<String> = None;
        for server in self.servers.iter().filter(|server| server.child.is_some()) {
            let jsz = server.get("/jsz").await?;
            let leader = jsz.pointer("/meta_cluster/leader")?.as_str().filter(|name| !name.is_empty())?;
            if agreed.as_deref().is_some_and(|other| other != leader) {
                return None;
            }
            agreed = Some(leader.to_owned());
        }
        let agreed = agreed?;
        self.servers.iter().position(|server| server.plan.name == agreed && server.child.is_some())
    }

    /// Waits until the running members agree on a leader and report themselves healthy.
    pub async fn ready(&self) -> Result<(), NatsError> {
        let Some(first) = self.servers.first() else { return Err(NatsError::NotRunning) };
        settled(first, "a meta leader and healthy members", LEADER, || async {
            if self.leader().await.is_none() {
                return false;
            }
            for server in self.servers.iter().filter(|server| server.child.is_some()) {
                if server.get("/healthz").await.is_none() {
                    return false;
                }
            }
            true
        })
        .await
    }

    /// Ends every member with SIGTERM.
    pub async fn stop(&mut self) -> Result<(), NatsError> {
        for server in &mut self.servers {
            server.stop().await?;
        }
        Ok(())
    }

    async fn launch(&mut self) -> Result<(), NatsError> {
        // All first, then wait: no member is healthy before it has peers.
        for server in &mut self.servers {
            server.spawn()?;
        }
        for server in &mut self.servers {
            server.ready().await?;
        }
        self.ready().await
    }
}
