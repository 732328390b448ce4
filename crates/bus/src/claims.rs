//! Claims: who does a piece of work, and what came of it.
//!
//! A claim has no TTL. It is changed only by compare-and-set, read from the leader, and judged by server time: a
//! lease ends `lease_ms` after the record was last written. A take-over raises the fence and the attempts.

use plimsoll_model::time::Timestamp;
use plimsoll_proto::v1;
use prost::Message;

use crate::connection::{Bus, BusError};
use crate::records::Records;

/// Identity of a piece of work: made from content digests, the stage's name and revision, limits and Db; never
/// from time or attempt. As a record key it is one token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkKey(String);

impl WorkKey {
    /// The key of the given parts.
    pub fn of(parts: &[&str]) -> Self {
        let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
        Self(crate::connection::message_id(&parts))
    }

    /// The hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A claim that this process holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub key: String,
    pub revision: u64,
    pub claim: v1::Claim,
}

/// What an attempt to claim came to.
#[derive(Debug)]
pub enum Claimed {
    /// The work is ours; attempts are counted already.
    Ours(Held),
    /// Another process holds it for at most this many milliseconds more.
    Busy { left_ms: u64 },
    /// It is done; these outputs were recorded.
    Done(Vec<v1::ClaimOutput>),
}

/// The claims of one stage.
#[derive(Clone)]
pub struct Claims {
    records: Records,
    owner: String,
    stage: &'static str,
    lease_ms: u64,
}

impl Claims {
    /// The claims of `stage`, leased for `lease_ms` at a time.
    pub fn new(bus: &Bus, stage: &'static str, lease_ms: u64) -> Self {
        Self { records: bus.records("claims"), owner: bus.owner().to_owned(), stage, lease_ms }
    }

    /// The record key of a piece of work.
    pub fn record_key(&self, key: &WorkKey) -> String {
        format!("{}.{}", self.stage, key.as_str())
    }

    /// Claims the work, takes over an expired lease, or says why not.
    pub async fn claim(&self, key: &WorkKey, trace: &str) -> Result<Claimed, BusError> {
        let key = self.record_key(key);
        loop {
            let Some(record) = self.records.get(&key).await? else {
                let claim = v1::Claim {
                    state: "running".into(),
                    owner: self.owner.clone(),
                    fence: 1,
                    attempts: 1,
                    lease_ms: self.lease_ms,
                    trace: trace.to_owned(),
                    ..Default::default()
                };
                if let Some(revision) = self.records.create(&key, &claim.encode_to_vec()).await? {
                    return Ok(Claimed::Ours(Held { key, revision, claim }));
                }
                continue;
            };
            let mut claim: v1::Claim = record.decode()?;
            if claim.state == "done" {
                return Ok(Claimed::Done(claim.outputs));
            }
            if claim.lease_ms > 0 {
                let now = self.records.server_time().await?;
                let left = lease_left(record.written, claim.lease_ms, now);
                if left > 0 {
                    return Ok(Claimed::Busy { left_ms: left });
                }
            }
            claim.owner = self.owner.clone();
            claim.fence += 1;
            claim.attempts += 1;
            claim.lease_ms = self.lease_ms;
            if let Some(revision) = self.records.update(&key, &claim.encode_to_vec(), record.revision).await?
            {
                return Ok(Claimed::Ours(Held { key, revision, claim }));
            }
        }
    }

    /// Forgets work that is done, because what came of it is gone. Work that is not done is left alone.
    pub async fn reopen(&self, key: &WorkKey) -> Result<(), BusError> {
        let key = self.record_key(key);
        if let Some(record) = self.records.get(&key).await?
            && record.decode::<v1::Claim>()?.state == "done"
        {
            self.records.delete(&key, record.revision).await?;
        }
        Ok(())
    }

    /// Writes the held claim again, which starts its lease anew. False when it was taken over.
    pub async fn renew(&self, held: &mut Held) -> Result<bool, BusError> {
        self.write(held).await
    }

    /// Records the outputs: from now on the work is done, whoever asks.
    pub async fn finish(&self, held: &mut Held, outputs: Vec<v1::ClaimOutput>) -> Result<bool, BusError> {
        held.claim.state = "done".into();
        held.claim.outputs = outputs;
        held.claim.lease_ms = 0;
        self.write(held).await
    }

    /// Gives the work back for another attempt, without waiting for the lease to end.
    pub async fn release(&self, held: &mut Held, code: &str) -> Result<bool, BusError> {
        held.claim.lease_ms = 0;
        held.claim.code = code.to_owned();
        self.write(held).await
    }

    /// Gives the work back as if this attempt had not been: the process is stopping, which is not the work's fault.
    pub async fn give_back(&self, held: &mut Held) -> Result<bool, BusError> {
        held.claim.attempts = held.claim.attempts.saturating_sub(1);
        held.claim.lease_ms = 0;
        self.write(held).await
    }

    /// Forgets the work, so that it can be asked for anew.
    pub async fn forget(&self, held: &Held) -> Result<bool, BusError> {
        self.records.delete(&held.key, held.revision).await
    }

    /// Only the holder writes with its owner and fence.
    async fn write(&self, held: &mut Held) -> Result<bool, BusError> {
        let claim = &held.claim;
        let ours = |stored: &v1::Claim| stored.owner == claim.owner && stored.fence == claim.fence;
        let written = self.records.update_own(&held.key, claim, held.revision, ours).await?;
        held.revision = written.unwrap_or(held.revision);
        Ok(written.is_some())
    }
}

/// Milliseconds that are left of a lease, by server time.
pub(crate) fn lease_left(written: Timestamp, lease_ms: u64, now: Timestamp) -> u64 {
    let age = u64::try_from(now.since(written)).unwrap_or(0);
    lease_ms.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_lease_shrinks_with_the_servers_clock(written in 0i64..1 << 50, lease in 0u64..1 << 40, age in -(1i64 << 41)..1 << 41) {
            let left = lease_left(Timestamp(written), lease, Timestamp(written + age));
            prop_assert!(left <= lease);
            // A clock that went backwards, as at a change of leaders, never ends a lease early.
            let elapsed = u64::try_from(age).unwrap_or(0);
            prop_assert_eq!(left == 0, elapsed >= lease);
            prop_assert!(left == 0 || left + elapsed == lease);
        }

        #[test]
        fn work_keys_tell_parts_apart(a in ".{0,6}", b in ".{0,6}", c in ".{0,6}", d in ".{0,6}") {
            prop_assert_eq!(WorkKey::of(&[&a, &b]) == WorkKey::of(&[&c, &d]), (&a, &b) == (&c, &d));
            let joined = format!("{}{}", a, b);
            prop_assert_ne!(WorkKey::of(&[&a, &b]), WorkKey::of(&[&joined]));
        }
    }
}
