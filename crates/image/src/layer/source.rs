//! The compressed stream: read, counted and hashed once.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use plimsoll_model::Digest;

use super::error::LayerError;
use super::{Hooks, Progress};

/// Bytes read ahead. Always filled before it is handed on, so that what is decoded when does not depend on how
/// the bytes arrived.
const BUFFER: usize = 128 << 10;

/// Hashes what it reads. A failure of the input is kept in `failure`; decoders see only that reading failed.
pub(super) struct Hashed<'a, R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    digest: Context,
    total: u64,
    claimed: Option<u64>,
    limit: u64,
    waited: Duration,
    hooks: &'a dyn Hooks,
    /// Reported with the next read, beside what this stream knows itself.
    pub(super) progress: Progress,
    failure: Option<LayerError>,
}

impl<'a, R: Read> Hashed<'a, R> {
    pub(super) fn new(
        reader: R,
        digest: &Digest,
        claimed: Option<u64>,
        limit: u64,
        hooks: &'a dyn Hooks,
    ) -> Self {
        let algorithm = if digest.algorithm() == "sha512" { &SHA512 } else { &SHA256 };
        Self {
            reader,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            ended: false,
            digest: Context::new(algorithm),
            total: 0,
            claimed,
            limit,
            waited: Duration::ZERO,
            hooks,
            progress: Progress::default(),
            failure: None,
        }
    }

    /// Compressed bytes that were handed on.
    pub(super) fn consumed(&self) -> u64 {
        self.total.saturating_sub((self.end - self.start) as u64)
    }

    /// Time spent waiting for input.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether the input failed, which explains any error of the decoder above.
    pub(super) fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Reads on to the end and compares. Returns the length.
    pub(super) fn verify(mut self, expected: &Digest) -> Result<u64, LayerError> {
        while !self.ended && self.failure.is_none() {
            self.start = self.end;
            let _ = self.refill();
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let bytes = self.digest.finish();
        let mut text = format!("{}:", expected.algorithm());
        plimsoll_model::digest::push_hex(&mut text, bytes.as_ref());
        if text != expected.as_str() {
            let actual = text.parse().map_err(|_| LayerError::Lost)?;
            return Err(LayerError::Digest { expected: expected.clone(), actual });
        }
        match self.claimed {
            Some(claimed) if claimed != self.total => Err(LayerError::Size { claimed, actual: self.total }),
            _ => Ok(self.total),
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.start = 0;
        self.end = 0;
        while let Some(room) = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty()) {
            let before = Instant::now();
            let read = self.reader.read(room);
            self.waited += before.elapsed();
            match read {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => {
                    let Some(new) = room.get(..count) else { break };
                    self.digest.update(new);
                    self.end += count;
                    self.total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fail(LayerError::Input(error))),
            }
            if let Some(claimed) = self.claimed.filter(|claimed| self.total > *claimed) {
                return Err(self.fail(LayerError::Size { claimed, actual: self.total }));
            }
            if self.total > self.limit {
                return Err(self.fail(LayerError::TooLarge { limit: self.limit }));
            }
            self.progress.compressed = self.total;
            if let ControlFlow::Break(()) = self.hooks.progress(&self.progress) {
                return Err(self.fail(LayerError::Cancelled));
            }
        }
        Ok(())
    }

    fn fail(&mut self, failure: LayerError) -> io::Error {
        self.failure = Some(failure);
        self.ended = true;
        self.start = self.end;
        io::Error::other("the input failed")
    }
}

impl<R: Read> BufRead for Hashed<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failure.is_some() {
            return Err(io::Error::other("the input failed"));
        }
        if self.start >= self.end && !self.ended {
            self.refill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or(&[]))
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
