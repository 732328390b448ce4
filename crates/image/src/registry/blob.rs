//! The bytes of a blob as a stream that goes on where a broken transfer stopped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use plimsoll_model::Digest;
use reqwest::Response;

use super::error::RegistryError;
use super::host::{Ask, Host, Places, reason};

/// Breaks of one transfer, in all: a registry that sends a byte and hangs up does not hold us for ever.
const MAX_BREAKS: u32 = 64;
/// Bytes after which a transfer counts as getting on again.
const PROGRESS: u64 = 64 * 1024;

/// A blob's bytes as the registry sends them. They are *not* verified: who reads them hashes them, on its own
/// thread, and compares at the end. Ends early only with an error.
pub struct BlobStream {
    size: Option<u64>,
    inner: BoxStream<'static, Result<Bytes, RegistryError>>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").field("size", &self.size).finish_non_exhaustive()
    }
}

impl BlobStream {
    /// Bytes that the registry announced, if it did.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, RegistryError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.poll_next_unpin(cx)
    }
}

/// Opens a blob at the first host that has it; the others stand by for when a transfer cannot go on.
pub(super) async fn open(
    hosts: Vec<Arc<Host>>,
    repository: &str,
    digest: &Digest,
    limit: u64,
) -> Result<BlobStream, RegistryError> {
    let mut transfer = Transfer {
        hosts: hosts.into(),
        repository: repository.to_owned(),
        digest: digest.clone(),
        limit,
        offset: 0,
        total: None,
        skip: 0,
        ranges: true,
        breaks: 0,
        stalled: 0,
        resumed_at: 0,
        body: None,
    };
    transfer.connect_somewhere().await?;
    let size = transfer.total;
    let stream = stream::try_unfold(transfer, |mut transfer| async move {
        Ok(transfer.next().await?.map(|bytes| (bytes, transfer)))
    });
    Ok(BlobStream { size, inner: stream.boxed() })
}

struct Transfer {
    /// The first is the one that is read from.
    hosts: VecDeque<Arc<Host>>,
    repository: String,
    digest: Digest,
    limit: u64,
    /// Bytes handed on.
    offset: u64,
    total: Option<u64>,
    /// Bytes at the start of the body that were handed on already.
    skip: u64,
    /// Whether the host answers range requests.
    ranges: bool,
    breaks: u32,
    /// Breaks since the transfer last got on.
    stalled: u32,
    resumed_at: u64,
    body: Option<(Response, Places)>,
}

impl Transfer {
    fn what(&self) -> String {
        format!("blob {} of {}", self.digest, self.repository)
    }

    fn ask(&self, host: &Host) -> Ask {
        let url = host.url(&format!("{}/blobs/{}", self.repository, self.digest));
        let scope = format!("repository:{}:pull", self.repository);
        Ask {
            from: (self.offset > 0 && self.ranges).then_some(self.offset),
            transfer: true,
            ..Ask::read(Method::GET, url, scope, self.what())
        }
    }

    /// Connects to the first host; on failure to the next, and fails with the last one's error.
    async fn connect_somewhere(&mut self) -> Result<(), RegistryError> {
        loop {
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if self.hosts.len() > 1 => self.next_host(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn next_host(&mut self, error: &RegistryError) {
        if let Some(host) = self.hosts.pop_front() {
            tracing::debug!(mirror = host.identity, code = error.code(), "mirror is passed over");
        }
        self.ranges = true;
        self.stalled = 0;
        self.breaks = 0;
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        let Some(host) = self.hosts.front().map(Arc::clone) else {
            return Err(RegistryError::NotConfigured { host: "no host".into(), role: "registry" });
        };
        let ask = self.ask(&host);
        let (response, places) = match host.send(&ask).await {
            // 416 comes as unsupported: the host has ranges, but not this one. Start over and skip.
            Err(RegistryError::Unsupported { .. }) if ask.from.is_some() => {
                self.ranges = false;
                host.send(&self.ask(&host)).await?
            }
            other => other?,
        };
        let (start, total) = if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let Some((start, total)) = range.and_then(content_range) else {
                return Err(host.unsupported(&ask, "a partial answer that does not say which part".into()));
            };
            (start, total)
        } else {
            (0, response.content_length())
        };
        if start > self.offset {
            return Err(host.unsupported(&ask, "a partial answer that begins too late".into()));
        }
        if let (Some(before), Some(now)) = (self.total, total)
            && before != now
        {
            let detail = format!("its size changes from {before} to {now} bytes");
            return Err(RegistryError::Corrupt { what: self.what(), detail });
        }
        self.total = self.total.or(total);
        if self.total.is_some_and(|total| total > self.limit) {
            return Err(self.too_large());
        }
        self.skip = self.offset.saturating_sub(start);
        self.resumed_at = self.offset;
        self.body = Some((response, places));
        Ok(())
    }

    fn too_large(&self) -> RegistryError {
        RegistryError::TooLarge { what: self.what(), limit: self.limit }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some((response, _)) = self.body.as_mut() else {
                self.connect_somewhere().await?;
                continue;
            };
            let broken = match response.chunk().await {
                Ok(Some(mut bytes)) => {
                    let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip = self.skip.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
                    let bytes = bytes.split_off(skipped);
                    if bytes.is_empty() {
                        continue;
                    }
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.offset = self.offset.saturating_add(length);
                    if self.offset > self.limit {
                        return Err(self.too_large());
                    }
                    if self.offset.saturating_sub(self.resumed_at) >= PROGRESS {
                        self.stalled = 0;
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) if self.total.is_none_or(|total| self.offset >= total) => return Ok(None),
                Ok(None) => "the transfer ended early".to_owned(),
                Err(error) => reason(error),
            };
            self.body = None;
            self.breaks += 1;
            self.stalled += 1;
            let Some(host) = self.hosts.front().map(Arc::clone) else { return Ok(None) };
            if self.stalled >= host.retry.attempts || self.breaks >= MAX_BREAKS {
                let error = host.unavailable(&self.ask(&host), &broken);
                if self.hosts.len() < 2 {
                    return Err(error);
                }
                self.next_host(&error);
                continue;
            }
            tracing::debug!(registry = host.identity, offset = self.offset, broken, "transfer is resumed");
            host.rest(self.stalled - 1, None).await;
        }
    }
}

/// `bytes START-END/TOTAL` (RFC 9110 §14.4); the total may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes 5-10/10", None),
            ("bytes 6-5/10", None),
            ("bytes */10", None),
            ("items 0-1/2", None),
            ("bytes 0-18446744073709551616/*", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
