//! Key-value records, changed by compare-and-set only and read from the stream's leader.

use async_nats::header::{HeaderMap, HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use plimsoll_model::time::Timestamp;
use prost::Message;

use crate::connection::{Bus, BusError, put};

/// How long the marker of a deleted record stays; each costs memory as a record does.
const MARKER_TTL: &str = "600s";

/// Records of one bucket. Keys are texts of subject tokens joined by `.`.
#[derive(Clone)]
pub struct Records {
    bus: Bus,
    bucket: &'static str,
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct Record {
    pub value: Bytes,
    /// What a compare-and-set compares.
    pub revision: u64,
    /// The server's time of the write.
    pub written: Timestamp,
}

impl Record {
    /// Decodes the value as a message.
    pub fn decode<M: Message + Default>(&self) -> Result<M, BusError> {
        M::decode(self.value.clone()).map_err(BusError::other)
    }
}

impl Records {
    pub(crate) fn new(bus: Bus, bucket: &'static str) -> Self {
        Self { bus, bucket }
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }

    /// The subject of one record. A wildcard in a key would read another record than the one that is named.
    fn record(&self, key: &str) -> Result<String, BusError> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'=');
        if key.len() <= 512 && key.split('.').all(|token| !token.is_empty() && token.bytes().all(good)) {
            Ok(self.subject(key))
        } else {
            Err(BusError::Key(key.chars().take(80).collect()))
        }
    }

    async fn stream(&self) -> Result<async_nats::jetstream::stream::Stream<()>, BusError> {
        let name = format!("KV_{}", self.bucket);
        self.bus.context().get_stream_no_info(name).await.map_err(BusError::other)
    }

    /// The record, from the leader; `None` when it is absent or deleted.
    pub async fn get(&self, key: &str) -> Result<Option<Record>, BusError> {
        Ok(self.read(key).await?.filter(|(_, deleted)| !deleted).map(|(record, _)| record))
    }

    async fn read(&self, key: &str) -> Result<Option<(Record, bool)>, BusError> {
        let subject = self.record(key)?;
        match self.stream().await?.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => {
                let deleted = message.headers.get("KV-Operation").is_some();
                let written =
                    Timestamp(i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0));
                Ok(Some((Record { value: message.payload, revision: message.sequence, written }, deleted)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(BusError::other(error)),
        }
    }

    /// Creates the record. `None` when there is one already.
    pub async fn create(&self, key: &str, value: &[u8]) -> Result<Option<u64>, BusError> {
        if let Some(revision) = self.write(key, value, 0, None).await? {
            return Ok(Some(revision));
        }
        // A deleted record leaves a marker whose revision must be named.
        match self.read(key).await? {
            Some((record, true)) => self.write(key, value, record.revision, None).await,
            _ => Ok(None),
        }
    }

    /// Replaces the record if it is at `revision`. `None` when it is not.
    pub async fn update(&self, key: &str, value: &[u8], revision: u64) -> Result<Option<u64>, BusError> {
        self.write(key, value, revision, None).await
    }

    /// [`Records::update`] of a record of which only its owner writes: one that stands there with `ours` is an earlier write
    /// whose acknowledgement was lost, and is written over. `None` when somebody else took it over.
    pub(crate) async fn update_own<M: Message + Default>(
        &self,
        key: &str,
        own: &M,
        mut revision: u64,
        ours: impl Fn(&M) -> bool,
    ) -> Result<Option<u64>, BusError> {
        let value = own.encode_to_vec();
        loop {
            if let Some(written) = self.update(key, &value, revision).await? {
                return Ok(Some(written));
            }
            let Some(stored) = self.get(key).await? else { return Ok(None) };
            if !ours(&stored.decode()?) {
                return Ok(None);
            }
            revision = stored.revision;
        }
    }

    /// Deletes the record if it is at `revision`. False when it is not.
    pub async fn delete(&self, key: &str, revision: u64) -> Result<bool, BusError> {
        Ok(self.write(key, &[], revision, Some("DEL")).await?.is_some())
    }

    /// Reads, changes and writes until no other writer comes between. `change` answers the new value, or `None`
    /// to leave the record as it is. Returns the value that it saw last and whether it wrote.
    pub async fn change<M, T>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<M>) -> (Option<M>, T),
    ) -> Result<T, BusError>
    where
        M: Message + Default,
    {
        loop {
            let record = self.get(key).await?;
            let current = record.as_ref().map(Record::decode::<M>).transpose()?;
            let (next, answer) = change(current);
            let Some(next) = next else { return Ok(answer) };
            let value = next.encode_to_vec();
            let written = match record {
                Some(record) => self.update(key, &value, record.revision).await?,
                None => self.create(key, &value).await?,
            };
            if written.is_some() {
                return Ok(answer);
            }
        }
    }

    /// Removes a record with all that reminds of it. For records whose content never changes; others are deleted by
    /// compare-and-set.
    pub(crate) async fn erase(&self, key: &str) -> Result<(), BusError> {
        let subject = self.record(key)?;
        self.stream().await?.purge().filter(subject).await.map_err(BusError::other)?;
        Ok(())
    }

    /// Keys that start with `prefix` (whole tokens), for collectors and people; not for decisions: a record that was
    /// deleted a short time ago may still be listed.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, BusError> {
        let filter =
            if prefix.is_empty() { self.subject(">") } else { format!("{}.>", self.subject(prefix)) };
        let mut pages = self.stream().await?.info_with_subjects(filter).await.map_err(BusError::other)?;
        let start = self.subject("").len();
        let mut keys = Vec::new();
        while let Some(next) = futures::StreamExt::next(&mut pages).await {
            let (subject, _) = next.map_err(BusError::other)?;
            keys.push(subject.get(start..).unwrap_or_default().to_owned());
        }
        keys.sort();
        Ok(keys)
    }

    async fn write(
        &self,
        key: &str,
        value: &[u8],
        expected: u64,
        operation: Option<&str>,
    ) -> Result<Option<u64>, BusError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expected));
        if let Some(operation) = operation {
            put(&mut headers, "KV-Operation", operation)?;
            put(&mut headers, "Nats-TTL", MARKER_TTL)?;
        }
        let subject = self.record(key)?;
        let failed = |source| BusError::Publish { subject: self.subject(key), source };
        let ack = self
            .bus
            .context()
            .publish_with_headers(subject, headers, Bytes::copy_from_slice(value))
            .await
            .map_err(failed)?
            .await;
        match ack {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The clock of the bucket's leader, which is the one that stamps its records.
    pub async fn server_time(&self) -> Result<Timestamp, BusError> {
        #[derive(serde::Deserialize)]
        struct Info {
            ts: Option<String>,
        }
        let subject = format!("STREAM.INFO.KV_{}", self.bucket);
        let info: Info =
            self.bus.context().request(subject, &serde_json::json!({})).await.map_err(BusError::other)?;
        let time = info.ts.and_then(|ts| ts.parse().ok());
        time.ok_or_else(|| BusError::Other("the server does not say its time".into()))
    }
}
