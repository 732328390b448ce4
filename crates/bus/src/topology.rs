//! Configuration of streams and buckets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::connection::{BusError, Settings};
use crate::subjects::{ADVISORIES, DEAD, EVENTS, FACTS, FINDINGS, JOBS, LATER};

const DAY: Duration = Duration::from_secs(86_400);

/// What survives what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// One copy, default sync: survives `kill -9` of anything; a power cut may cost two minutes.
    #[default]
    R1,
    /// One copy, synced on every write (`sync_interval: always` in the server's configuration).
    R1Always,
    /// Three copies.
    R3,
}

impl Durability {
    /// Copies of each stream.
    pub fn replicas(self) -> usize {
        if self == Self::R3 { 3 } else { 1 }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::R1 => "r1",
            Self::R1Always => "r1-always",
            Self::R3 => "r3",
        })
    }
}

/// A word that names no durability mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown durability {0:?}: one of r1, r1-always, r3")]
pub struct UnknownDurability(pub String);

impl FromStr for Durability {
    type Err = UnknownDurability;
    fn from_str(text: &str) -> Result<Self, UnknownDurability> {
        match text {
            "r1" => Ok(Self::R1),
            "r1-always" => Ok(Self::R1Always),
            "r3" => Ok(Self::R3),
            other => Err(UnknownDurability(other.chars().take(20).collect())),
        }
    }
}

fn stream(name: &str, subjects: &[&str], durability: Durability) -> Config {
    Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
        storage: StorageType::File,
        num_replicas: durability.replicas(),
        max_message_size: 1 << 20,
        duplicate_window: Duration::from_secs(120),
        allow_direct: false,
        ..Default::default()
    }
}

/// Creates what is missing and brings what is there to this configuration.
pub(crate) async fn ensure(context: &Context, settings: &Settings) -> Result<(), BusError> {
    let durability = settings.durability;
    let limits = |name, subjects: &[&str], age| Config { max_age: age, ..stream(name, subjects, durability) };
    let configs = [
        limits(
            EVENTS,
            &["events.image.*", "events.layer.*", "events.cluster.*", "events.db.*"],
            settings.events_age,
        ),
        Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: settings.queue_bytes,
            ..stream(JOBS, &["jobs.*.*"], durability)
        },
        // Work that waits. A stream with schedules cannot refuse new messages, so it is not JOBS itself.
        Config {
            retention: RetentionPolicy::WorkQueue,
            allow_message_schedules: true,
            allow_message_ttl: true,
            ..stream(LATER, &["schedule.*", "later.*.*"], durability)
        },
        limits(FACTS, &["facts.*"], settings.facts_age),
        limits(FINDINGS, &["findings.v1.>"], settings.facts_age),
        limits(DEAD, &["dead.*"], settings.facts_age),
        limits(
            ADVISORIES,
            &[
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS.*",
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.EVENTS.*",
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FACTS.*",
            ],
            7 * DAY,
        ),
    ];
    for config in configs {
        context.create_or_update_stream(config).await?;
    }
    for bucket in ["scans", "layers", "claims", "clusters", "control", "blobs"] {
        // The layout of a key-value bucket (ADR-8), with reads from the leader only: a lagging replica must not
        // answer a compare-and-set's read.
        let config = Config {
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            deny_delete: true,
            allow_rollup: true,
            allow_message_ttl: true,
            max_message_size: 1 << 20,
            ..stream(&format!("KV_{bucket}"), &[&format!("$KV.{bucket}.>")], durability)
        };
        context.create_or_update_stream(config).await?;
    }
    let objects = async_nats::jetstream::object_store::Config {
        bucket: "artifacts".to_owned(),
        num_replicas: durability.replicas(),
        ..Default::default()
    };
    if context.get_object_store("artifacts").await.is_err() {
        context.create_object_store(objects).await.map_err(BusError::other)?;
    }
    // The client creates object stores with direct gets, which a lagging replica may answer with "not found".
    let store = context.get_stream("OBJ_artifacts").await.map_err(BusError::other)?;
    let config = &store.cached_info().config;
    if config.allow_direct {
        context
            .update_stream(Config { allow_direct: false, ..config.clone() })
            .await
            .map_err(BusError::other)?;
    }
    Ok(())
}
