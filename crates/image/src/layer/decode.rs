//! The decompressed stream, bounded.

use std::io::{self, BufRead, Read};
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;

use super::error::LayerError;
use super::limits::Limits;
use super::media::Compression;
use super::source::Hashed;

/// Decompressed bytes held at a time.
const BUFFER: usize = 256 << 10;
/// Largest zstd window, as a power of two (zstd's own default bound, `--long=27`).
const WINDOW_LOG: u32 = 27;

/// Why no more bytes can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The content makes no sense to the reader that containerd uses.
    Corrupt { code: &'static str, detail: String },
    /// A limit was reached; the code of the partial result.
    Limit { code: &'static str, detail: String },
    /// The input failed; `Hashed` knows why.
    Input,
}

impl Stop {
    pub(super) fn truncated(detail: &str) -> Self {
        Self::Corrupt { code: "truncated", detail: detail.to_owned() }
    }

    pub(super) fn tar(detail: impl Into<String>) -> Self {
        Self::Corrupt { code: "corrupt_tar", detail: detail.into() }
    }
}

enum Decoder<'a, R: Read> {
    Plain(Hashed<'a, R>),
    Gzip(Box<MultiGzDecoder<Hashed<'a, R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Hashed<'a, R>>>),
}

impl<'a, R: Read> Decoder<'a, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(out),
            Self::Gzip(decoder) => decoder.read(out),
            Self::Zstd(decoder) => decoder.read(out),
        }
    }

    fn input(&mut self) -> &mut Hashed<'a, R> {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn into_input(self) -> Hashed<'a, R> {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

/// A bounded reader of decompressed bytes, with its own buffer so that skipping copies nothing.
pub(super) struct Decoded<'a, R: Read> {
    decoder: Decoder<'a, R>,
    compression: Compression,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    total: u64,
    /// Bytes of holes that were written out.
    holes: u64,
    started: Instant,
    limits: &'a Limits,
    /// Set once: what stopped the stream, repeated on every later call.
    stopped: Option<Stop>,
    ended: bool,
}

impl<'a, R: Read> Decoded<'a, R> {
    pub(super) fn new(
        input: Hashed<'a, R>,
        compression: Compression,
        limits: &'a Limits,
    ) -> Result<Self, LayerError> {
        let decoder = match compression {
            Compression::Uncompressed => Decoder::Plain(input),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(input).map_err(LayerError::Input)?;
                decoder.window_log_max(WINDOW_LOG).map_err(LayerError::Input)?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self {
            decoder,
            compression,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            total: 0,
            holes: 0,
            started: Instant::now(),
            limits,
            stopped: None,
            ended: false,
        })
    }

    /// Decompressed bytes produced so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn note_entries(&mut self, entries: u64) {
        self.decoder.input().progress.entries = entries;
    }

    /// Ends decoding; what remains is to read the input to its end.
    pub(super) fn into_input(self) -> Hashed<'a, R> {
        self.decoder.into_input()
    }

    /// The bytes at hand, at least one unless the stream has ended.
    pub(super) fn available(&mut self) -> Result<&[u8], Stop> {
        if self.start >= self.end && !self.ended {
            self.fill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or(&[]))
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Skips up to `count` bytes; fewer only at the end. Returns how many were skipped.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64, Stop> {
        let mut left = count;
        while left > 0 {
            let at_hand = self.available()?.len();
            if at_hand == 0 {
                break;
            }
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(at_hand);
            self.consume(step);
            left -= step as u64;
        }
        Ok(count - left)
    }

    /// Shows up to `count` bytes, until `look` says that it has seen enough. Returns how many were shown, and false
    /// where that was said.
    pub(super) fn show(
        &mut self,
        count: u64,
        look: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(u64, bool), Stop> {
        let mut left = count;
        let mut more = true;
        while left > 0 && more {
            let at_hand = self.available()?;
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(at_hand.len());
            let Some(bytes) = at_hand.get(..step).filter(|bytes| !bytes.is_empty()) else { break };
            more = look(bytes);
            self.consume(step);
            left -= step as u64;
        }
        Ok((count - left, more))
    }

    /// Appends up to `count` bytes; fewer only at the end. Returns how many were appended.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, count: u64) -> Result<u64, Stop> {
        let mut left = count;
        while left > 0 {
            let at_hand = self.available()?;
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(at_hand.len());
            let Some(bytes) = at_hand.get(..step).filter(|bytes| !bytes.is_empty()) else { break };
            out.extend_from_slice(bytes);
            self.consume(step);
            left -= step as u64;
        }
        Ok(count - left)
    }

    /// Fills one block; returns how many bytes there were.
    pub(super) fn block(&mut self, block: &mut [u8; 512]) -> Result<usize, Stop> {
        if let Some(bytes) = self.buffer.get(self.start..self.end).and_then(|b| b.first_chunk::<512>()) {
            *block = *bytes;
            self.start += 512;
            return Ok(512);
        }
        let mut filled = 0;
        while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
            let at_hand = self.available()?;
            let step = room.len().min(at_hand.len());
            if step == 0 {
                break;
            }
            for (to, from) in room.iter_mut().zip(at_hand) {
                *to = *from;
            }
            self.consume(step);
            filled += step;
        }
        Ok(filled)
    }

    /// Counts bytes of a hole that are about to be written out: they cost what decompressed bytes do.
    pub(super) fn hole(&mut self, bytes: u64) -> Result<(), Stop> {
        self.holes = self.holes.saturating_add(bytes);
        self.check()
    }

    fn fill(&mut self) -> Result<(), Stop> {
        if let Some(stop) = &self.stopped {
            return Err(stop.clone());
        }
        self.start = 0;
        self.end = 0;
        match self.decoder.read(&mut self.buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.end = count;
                self.total += count as u64;
            }
            Err(error) => {
                let stop = self.explain(&error);
                return Err(self.stop(stop));
            }
        }
        self.check()
    }

    fn explain(&mut self, error: &io::Error) -> Stop {
        if self.decoder.input().failed() {
            return Stop::Input;
        }
        let code = match (error.kind(), self.compression) {
            (io::ErrorKind::UnexpectedEof, _) => "truncated",
            (_, Compression::Zstd) => "corrupt_zstd",
            _ => "corrupt_gzip",
        };
        Stop::Corrupt { code, detail: error.to_string() }
    }

    fn check(&mut self) -> Result<(), Stop> {
        let limits = self.limits;
        let input = self.decoder.input();
        let total = self.total.saturating_add(self.holes);
        let stop = if total > limits.decompressed_bytes {
            Stop::Limit {
                code: "decompressed_bytes",
                detail: format!("more than {} bytes after decompression", limits.decompressed_bytes),
            }
        } else if total > limits.ratio_from && total / limits.ratio.max(1) > input.consumed().max(1) {
            Stop::Limit {
                code: "ratio",
                detail: format!("more than {} bytes for each compressed byte", limits.ratio),
            }
        } else if self.started.elapsed().saturating_sub(input.waited()) > limits.time {
            Stop::Limit { code: "time", detail: format!("more than {} s of work", limits.time.as_secs()) }
        } else {
            input.progress.uncompressed = self.total;
            return Ok(());
        };
        Err(self.stop(stop))
    }

    fn stop(&mut self, stop: Stop) -> Stop {
        self.start = self.end;
        self.ended = false;
        self.stopped = Some(stop.clone());
        stop
    }
}

/// The first bytes of the input, without consuming them.
pub(super) fn peek<'b, R: Read>(input: &'b mut Hashed<'_, R>) -> &'b [u8] {
    input.fill_buf().unwrap_or(&[])
}
