//! The limit of reading an image: its layers decompressed and hashed with the same libraries, and nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use plimsoll_image::layer::Compression;
use serde_json::Value;

use crate::LoadError;

/// Decompresses and hashes each layer of an OCI layout's first image. Gives the decompressed bytes.
pub(super) fn layout(layout: &Path) -> Result<u64, LoadError> {
    let index = json(&layout.join("index.json"))?;
    let manifest = json(&blob(layout, index.pointer("/manifests/0/digest"))?)?;
    let layers = manifest.get("layers").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut total = 0;
    for layer in &layers {
        total += read(&blob(layout, layer.get("digest"))?)
            .map_err(LoadError::io(format!("read a layer of {}", layout.display())))?;
    }
    Ok(total)
}

fn json(path: &Path) -> Result<Value, LoadError> {
    let bytes = std::fs::read(path).map_err(LoadError::io(format!("read {}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(LoadError::other)
}

fn blob(layout: &Path, digest: Option<&Value>) -> Result<std::path::PathBuf, LoadError> {
    let digest = digest.and_then(Value::as_str).unwrap_or_default();
    match digest.split_once(':') {
        Some((algorithm, hex)) => Ok(layout.join("blobs").join(algorithm).join(hex)),
        None => Err(LoadError::Other(format!("{} is no OCI layout of an image", layout.display()))),
    }
}

fn read(path: &Path) -> std::io::Result<u64> {
    let mut input = Hashing {
        inner: BufReader::with_capacity(128 << 10, File::open(path)?),
        context: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
        hashed: 0,
    };
    let mut reader: Box<dyn Read> = match Compression::sniff(input.fill_buf()?) {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Uncompressed => Box::new(input),
    };
    let mut buffer = vec![0_u8; 256 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += u64::try_from(count).unwrap_or(0),
        }
    }
}

/// A reader that hashes what passes.
struct Hashing<R> {
    inner: R,
    context: aws_lc_rs::digest::Context,
    /// Bytes at the front of the buffer that are hashed already.
    hashed: usize,
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let bytes = self.inner.fill_buf()?;
        self.context.update(bytes.get(self.hashed..).unwrap_or(&[]));
        self.hashed = bytes.len();
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.hashed = self.hashed.saturating_sub(count);
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
