//! The allow-list of registries. A host that is not in it is never connected to.

use std::path::PathBuf;

use serde::Deserialize;

use crate::value::Secret;

/// One registry that may be read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Its identity: the host name, with the port if there is one, as references write it.
    pub host: String,
    /// Other names of the same registry, for example an internal service name.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Host and port to connect to, where they differ from `host`.
    pub endpoint: Option<String>,
    /// HTTP in the clear instead of HTTPS.
    #[serde(default)]
    pub plain_http: bool,
    /// PEM bundle of certificate authorities trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Name for basic authentication and for token requests.
    pub username: Option<String>,
    /// The password of `username`.
    pub password: Option<Secret>,
    /// A file with the password; its last line break is dropped.
    pub password_file: Option<PathBuf>,
    /// The secret that the registry signs its notifications with, where it does (GitHub).
    pub webhook_secret: Option<Secret>,
    /// A file with it; its last line break is dropped.
    pub webhook_secret_file: Option<PathBuf>,
    /// A bearer token that is sent as it is, instead of asking the registry's token service for one.
    pub token: Option<Secret>,
    /// Take the credentials from Docker's configuration file (`~/.docker/config.json` or `$DOCKER_CONFIG`)
    /// and its credential helpers.
    #[serde(default)]
    pub docker_config: bool,
    /// Hosts that may serve the registry's tokens. The registry's own host always may.
    #[serde(default)]
    pub token_hosts: Vec<String>,
    /// Hosts that the registry may redirect blobs to, `*.example.com` for all below a domain. Credentials
    /// are never sent to them.
    #[serde(default)]
    pub redirect_hosts: Vec<String>,
    /// Registries that hold copies, asked first for content that is named by digest. Each is an entry of
    /// this list as well.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Requests and transfers at once.
    #[serde(default = "default_concurrent")]
    pub max_concurrent: u32,
    /// Requests a second; unlimited when absent.
    pub requests_per_second: Option<u32>,
}

fn default_concurrent() -> u32 {
    16
}

impl Registry {
    /// An entry for `host` without credentials. Loopback hosts are spoken to in the clear, as Docker does.
    pub fn anonymous(host: &str) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Self {
            host: host.to_ascii_lowercase(),
            aliases: Vec::new(),
            endpoint: None,
            plain_http: matches!(name, "localhost" | "127.0.0.1" | "[::1]"),
            ca_file: None,
            username: None,
            password: None,
            password_file: None,
            webhook_secret: None,
            webhook_secret_file: None,
            token: None,
            docker_config: false,
            token_hosts: Vec::new(),
            redirect_hosts: Vec::new(),
            mirrors: Vec::new(),
            max_concurrent: default_concurrent(),
            requests_per_second: None,
        }
    }
}

/// True for `name`, `name:port`, `[v6]` and `[v6]:port` in lower case.
pub(crate) fn valid_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, tail)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", if tail.is_empty() { None } else { Some(tail.strip_prefix(':').unwrap_or("x")) })
            }
            _ => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253
        && name.split('.').all(label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}
