//! Reading, resolving and checking the file.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::{budget, options};

use crate::registry::{Registry, valid_host};
use crate::section::{
    Durability, Exposure, Feed, Limits, Nats, Retention, Telemetry, TrackedTags, VexSource, Workers,
};
use crate::token::{Entry, Token, parse_sha256};
use crate::value::Secret;

/// Largest configuration file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Shortest secret that notifications are signed with, in bytes.
const LEAST_SECRET: usize = 16;
/// Largest file with a password or token, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address that the HTTP interface listens on.
    pub listen: SocketAddr,
    pub registries: Vec<Registry>,
    pub tokens: Vec<Token>,
    pub limits: Limits,
    pub workers: Workers,
    pub exposure: Exposure,
    pub tracked_tags: TrackedTags,
    pub retention: Retention,
    pub durability: Durability,
    pub nats: Nats,
    pub telemetry: Telemetry,
    /// Sources of advisories.
    pub feeds: Vec<Feed>,
    /// Sources of VEX documents.
    pub vex: Vec<VexSource>,
    /// The file of rules that say which findings are ignored.
    pub ignore: Option<PathBuf>,
    /// Whether layers are looked at for keys and credentials.
    pub secrets: bool,
    /// Images that others are built on, as the command line takes them: told apart in SBOMs.
    pub base_images: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("{field}: cannot read {}: {source}", path.display())]
    Read { field: String, path: PathBuf, source: std::io::Error },
    /// The file, or one that it names, is larger than it may be.
    #[error("{field}: {} is larger than {limit} bytes", path.display())]
    TooLarge { field: String, path: PathBuf, limit: u64 },
    /// It is no YAML of the expected shape; the message has line, column and field.
    #[error("the configuration is not valid: {0}")]
    Syntax(String),
    /// A value is out of range or contradicts another.
    #[error("{field}: {reason}")]
    Invalid { field: String, reason: String },
}

impl ConfigError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "config_unreadable",
            Self::TooLarge { .. } => "config_too_large",
            Self::Syntax(_) => "config_syntax",
            Self::Invalid { .. } => "config_invalid",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: String,
    registries: Vec<Registry>,
    tokens: Vec<Entry>,
    limits: Limits,
    workers: Workers,
    exposure: Exposure,
    tracked_tags: TrackedTags,
    retention: Retention,
    durability: Durability,
    nats: Nats,
    telemetry: Telemetry,
    feeds: Vec<Feed>,
    vex: Vec<VexSource>,
    ignore: Option<PathBuf>,
    secrets: bool,
    base_images: Vec<String>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            registries: Vec::new(),
            tokens: Vec::new(),
            limits: Limits::default(),
            workers: Workers::default(),
            exposure: Exposure::default(),
            tracked_tags: TrackedTags::default(),
            retention: Retention::default(),
            durability: Durability::default(),
            nats: Nats::default(),
            telemetry: Telemetry::default(),
            feeds: Vec::new(),
            vex: Vec::new(),
            ignore: None,
            secrets: false,
            base_images: Vec::new(),
        }
    }
}

impl Default for Config {
    /// What holds without a file: loopback only, no registry allowed, no token.
    fn default() -> Self {
        let file = File::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            registries: file.registries,
            tokens: Vec::new(),
            limits: file.limits,
            workers: file.workers,
            exposure: file.exposure,
            tracked_tags: file.tracked_tags,
            retention: file.retention,
            durability: file.durability,
            nats: file.nats,
            telemetry: file.telemetry,
            feeds: file.feeds,
            vex: file.vex,
            ignore: file.ignore,
            secrets: file.secrets,
            base_images: file.base_images,
        }
    }
}

impl Config {
    /// Reads a file, or gives the defaults without one. Files that it names are read too.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = read("configuration", path, MAX_FILE)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&text, base)
    }

    /// Parses a text whose relative paths are relative to `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
            return Err(invalid("configuration", format!("longer than {MAX_FILE} bytes")));
        }
        // An empty document (or one of comments alone) is all defaults.
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let file = if text.lines().all(blank) { File::default() } else { deserialize(text)? };
        check(file, base)
    }

    /// A commented file with every field, which [`Config::parse`] accepts.
    pub fn example() -> &'static str {
        include_str!("example.yaml")
    }

    /// The token whose text was presented. Every token is compared, whichever matches.
    pub fn token(&self, presented: &str) -> Option<&Token> {
        self.tokens
            .iter()
            .fold(None, |found, token| if token.matches(presented) { Some(token) } else { found })
    }
}

fn deserialize(text: &str) -> Result<File, ConfigError> {
    let options = options! {
        budget: budget! {
            max_events: 50_000,
            max_depth: 16,
            max_documents: 1,
            max_nodes: 25_000,
            max_aliases: 100,
            max_anchors: 100,
            max_merge_keys: 100,
        },
        strict_booleans: true,
        // A snippet would show the lines around the error, and those may hold secrets.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::Syntax(error.to_string().chars().take(1_000).collect()))
}

fn invalid(field: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field: field.into(), reason: reason.into() }
}

fn read(field: &str, path: &Path, limit: u64) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { field: field.to_owned(), path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(ConfigError::TooLarge { field: field.to_owned(), path: path.to_owned(), limit });
    }
    Ok(text)
}

fn read_secret(field: &str, path: &Path) -> Result<Secret, ConfigError> {
    let text = read(field, path, MAX_SECRET)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(invalid(field, format!("{} is empty", path.display())));
    }
    Ok(Secret::new(text))
}

fn check(mut file: File, base: &Path) -> Result<Config, ConfigError> {
    let listen = file
        .listen
        .parse()
        .map_err(|_| invalid("listen", format!("{:?} is not ADDRESS:PORT", file.listen)))?;
    check_registries(&mut file.registries, base)?;
    let tokens = check_tokens(file.tokens, base)?;
    check_sections(&file.limits, &file.exposure, &file.tracked_tags, &file.retention)?;
    check_nats(&mut file.nats, base)?;
    let telemetry = &file.telemetry;
    if !(0.0..=1.0).contains(&telemetry.sample) {
        return Err(invalid("telemetry.sample", "must be from 0 to 1"));
    }
    if telemetry.otlp_endpoint.as_ref().is_some_and(|url| !is_http(url)) {
        return Err(invalid("telemetry.otlp_endpoint", "must start with http:// or https://"));
    }
    for (n, feed) in file.feeds.iter_mut().enumerate() {
        check_feed(feed, base, || format!("feeds[{n}]"))?;
    }
    for (n, source) in file.vex.iter_mut().enumerate() {
        check_feed(&mut source.from, base, || format!("vex[{n}].from"))?;
        for key in &mut source.keys {
            *key = base.join(&key);
        }
    }
    if let Some(path) = file.ignore.as_mut() {
        *path = base.join(&path);
    }
    if let Some(n) = file.base_images.iter().position(|name| name.trim().is_empty()) {
        return Err(invalid(format!("base_images[{n}]"), "is empty"));
    }
    Ok(Config {
        listen,
        registries: file.registries,
        tokens,
        limits: file.limits,
        workers: file.workers,
        exposure: file.exposure,
        tracked_tags: file.tracked_tags,
        retention: file.retention,
        durability: file.durability,
        nats: file.nats,
        telemetry: file.telemetry,
        feeds: file.feeds,
        vex: file.vex,
        ignore: file.ignore,
        secrets: file.secrets,
        base_images: file.base_images,
    })
}

fn check_feed(feed: &mut Feed, base: &Path, field: impl Fn() -> String) -> Result<(), ConfigError> {
    match feed {
        Feed::Path(path) if path.as_os_str().is_empty() => Err(invalid(field(), "is empty")),
        Feed::Path(path) => {
            *path = base.join(&path);
            Ok(())
        }
        Feed::Url(_) => Ok(()),
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn check_registries(registries: &mut [Registry], base: &Path) -> Result<(), ConfigError> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (n, registry) in registries.iter_mut().enumerate() {
        let at = |field: &str| format!("registries[{n}].{field}");
        registry.host.make_ascii_lowercase();
        for host in registry.aliases.iter_mut().chain(&mut registry.mirrors) {
            host.make_ascii_lowercase();
        }
        let own = std::iter::once(("host", &registry.host))
            .chain(registry.aliases.iter().map(|alias| ("aliases", alias)));
        for (field, host) in own {
            if !valid_host(host) {
                return Err(invalid(at(field), format!("{host:?} is not HOST or HOST:PORT")));
            }
            if let Some(other) = names.insert(host.clone(), n) {
                return Err(invalid(at(field), format!("{host:?} is also a name of registries[{other}]")));
            }
        }
        let patterns = registry.redirect_hosts.iter().map(|host| ("redirect_hosts", host));
        let hosts = registry.token_hosts.iter().map(|host| ("token_hosts", host));
        let endpoint = registry.endpoint.iter().map(|host| ("endpoint", host));
        for (field, host) in patterns.chain(hosts).chain(endpoint) {
            let plain =
                if field == "redirect_hosts" { host.strip_prefix("*.").unwrap_or(host) } else { host };
            if !valid_host(plain) {
                return Err(invalid(at(field), format!("{host:?} is not HOST or HOST:PORT")));
            }
        }
        if let Some(path) = registry.ca_file.as_mut() {
            *path = base.join(&path);
        }
        let ways = [registry.password.is_some(), registry.password_file.is_some()];
        if ways == [true, true] {
            return Err(invalid(at("password_file"), "cannot stand beside password"));
        }
        if registry.username.is_some() && ways == [false, false] {
            return Err(invalid(at("username"), "needs password or password_file"));
        }
        if registry.username.is_none() && ways != [false, false] {
            return Err(invalid(at("password"), "needs username"));
        }
        let kinds = [registry.username.is_some(), registry.token.is_some(), registry.docker_config];
        if kinds.into_iter().filter(|&given| given).count() > 1 {
            return Err(invalid(
                format!("registries[{n}]"),
                "credentials come from one of username, token and docker_config",
            ));
        }
        if let Some(path) = &registry.password_file {
            registry.password = Some(read_secret(&at("password_file"), &base.join(path))?);
        }
        if registry.webhook_secret.is_some() && registry.webhook_secret_file.is_some() {
            return Err(invalid(at("webhook_secret_file"), "cannot stand beside webhook_secret"));
        }
        if let Some(path) = &registry.webhook_secret_file {
            registry.webhook_secret = Some(read_secret(&at("webhook_secret_file"), &base.join(path))?);
        }
        if registry.webhook_secret.as_ref().is_some_and(|secret| secret.expose().len() < LEAST_SECRET) {
            return Err(invalid(at("webhook_secret"), "must have at least 16 characters"));
        }
        if registry.max_concurrent == 0 || registry.max_concurrent > 1_024 {
            return Err(invalid(at("max_concurrent"), "must be from 1 to 1024"));
        }
        if registry.requests_per_second == Some(0) {
            return Err(invalid(at("requests_per_second"), "must be at least 1"));
        }
    }
    for (n, registry) in registries.iter().enumerate() {
        for mirror in &registry.mirrors {
            match names.get(mirror) {
                None => {
                    return Err(invalid(
                        format!("registries[{n}].mirrors"),
                        format!("{mirror:?} needs an entry of its own in registries"),
                    ));
                }
                Some(other) if *other == n => {
                    return Err(invalid(format!("registries[{n}].mirrors"), "names the registry itself"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn check_tokens(entries: Vec<Entry>, base: &Path) -> Result<Vec<Token>, ConfigError> {
    let mut tokens: Vec<Token> = Vec::with_capacity(entries.len());
    for (n, entry) in entries.into_iter().enumerate() {
        let at = |field: &str| format!("tokens[{n}].{field}");
        if entry.name.trim().is_empty() {
            return Err(invalid(at("name"), "is empty"));
        }
        if entry.scopes.is_empty() {
            return Err(invalid(at("scopes"), "allows nothing"));
        }
        let token = match (entry.token, entry.token_sha256, entry.token_file) {
            (Some(text), None, None) if text.expose().is_empty() => {
                return Err(invalid(at("token"), "is empty"));
            }
            (Some(text), None, None) => Token::new(entry.name, text.expose(), entry.scopes),
            (None, Some(hex), None) => match parse_sha256(&hex) {
                Some(hash) => Token::from_sha256(entry.name, hash, entry.scopes),
                None => return Err(invalid(at("token_sha256"), "is not 64 hexadecimal digits")),
            },
            (None, None, Some(path)) => {
                let text = read_secret(&at("token_file"), &base.join(path))?;
                Token::new(entry.name, text.expose(), entry.scopes)
            }
            _ => {
                return Err(invalid(
                    format!("tokens[{n}]"),
                    "needs exactly one of token, token_sha256 and token_file",
                ));
            }
        };
        if let Some(other) = tokens.iter().find(|other| other.name == token.name || other.same_text(&token)) {
            return Err(invalid(format!("tokens[{n}]"), format!("repeats the token {:?}", other.name)));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn check_sections(
    limits: &Limits,
    exposure: &Exposure,
    tracked: &TrackedTags,
    retention: &Retention,
) -> Result<(), ConfigError> {
    for (field, size) in [
        ("limits.webhook_body", limits.webhook_body),
        ("limits.deploy_body", limits.deploy_body),
        ("limits.blob", limits.blob),
    ] {
        if size.0 == 0 {
            return Err(invalid(field, "must be more than 0"));
        }
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if limits.layer_profile.is_empty() || !limits.layer_profile.bytes().all(word) {
        return Err(invalid("limits.layer_profile", "must be one word"));
    }
    for (n, cluster) in exposure.clusters.iter().enumerate() {
        let field = format!("exposure.clusters[{n}].name");
        if cluster.name.is_empty() {
            return Err(invalid(field, "is empty"));
        }
        if exposure.clusters.iter().take(n).any(|other| other.name == cluster.name) {
            return Err(invalid(field, format!("{:?} is named twice", cluster.name)));
        }
    }
    for (n, tag) in tracked.always.iter().enumerate() {
        if !plimsoll_model::reference::valid_tag(tag) {
            return Err(invalid(format!("tracked_tags.always[{n}]"), format!("{tag:?} is not a tag")));
        }
    }
    for (field, span) in [
        ("retention.unmarked", retention.unmarked),
        ("retention.events", retention.events),
        ("retention.facts", retention.facts),
        ("retention.collect_every", retention.collect_every),
        ("retention.copy_every", retention.copy_every),
        ("exposure.max_age", exposure.max_age),
    ] {
        if span.0.is_zero() {
            return Err(invalid(field, "must be more than 0"));
        }
    }
    // What lies between two copies is replayed from the streams.
    if retention.copy_every.0 * 2 > retention.events.0.min(retention.facts.0) {
        return Err(invalid(
            "retention.copy_every",
            "must be at most half of retention.events and retention.facts",
        ));
    }
    Ok(())
}

fn check_nats(nats: &mut Nats, base: &Path) -> Result<(), ConfigError> {
    for (n, url) in nats.urls.iter().enumerate() {
        let known = ["nats://", "tls://", "ws://", "wss://"].iter().any(|scheme| url.starts_with(scheme));
        if !known {
            return Err(invalid(format!("nats.urls[{n}]"), "must start with nats:// or tls://"));
        }
    }
    if nats.password.is_some() && nats.password_file.is_some() {
        return Err(invalid("nats.password_file", "cannot stand beside password"));
    }
    if nats.cert_file.is_some() != nats.key_file.is_some() {
        return Err(invalid("nats.cert_file", "and key_file stand together"));
    }
    for path in [
        &mut nats.creds_file,
        &mut nats.nkey_file,
        &mut nats.password_file,
        &mut nats.ca_file,
        &mut nats.cert_file,
        &mut nats.key_file,
    ]
    .into_iter()
    .flatten()
    {
        *path = base.join(&path);
    }
    if let Some(path) = &nats.password_file {
        nats.password = Some(read_secret("nats.password_file", path)?);
    }
    Ok(())
}
