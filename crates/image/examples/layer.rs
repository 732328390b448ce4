//! Reads layer blobs and prints what they contain and what it took.
//!
//! `cargo run --release -p plimsoll-image --example layer -- BLOB…` reads each file as a layer. With `--floor`
//! it only decompresses and hashes with the same libraries, which is the limit to compare with.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::time::Instant;

use plimsoll_image::layer::{self, Compression, LayerSource, Limits};
use plimsoll_image::select::Table;
use plimsoll_model::Digest;

fn main() -> ExitCode {
    let mut floor = false;
    for argument in std::env::args().skip(1) {
        if argument == "--floor" {
            floor = true;
            continue;
        }
        let result = if floor { floor_of(&argument) } else { extract(&argument) };
        if let Err(error) = result {
            eprintln!("{argument}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn extract(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let digest = digest_of(path)?;
    let source = LayerSource { digest, size: None, media_type: "application/octet-stream".to_owned() };
    let started = Instant::now();
    let extract = layer::read(File::open(path)?, &source, &Limits::default(), Table::all(), &())?;
    let elapsed = started.elapsed();
    println!("{path}: {elapsed:.3?}, {} bytes from {}", extract.uncompressed_size, extract.compressed_size);
    println!("  {} entries, {} selected", extract.entries.len(), extract.selected.len());
    for selector in &extract.selectors {
        let kept: Vec<usize> = extract
            .selected
            .iter()
            .filter(|selected| selected.selector == selector.name)
            .map(|selected| selected.bytes.len())
            .collect();
        if !kept.is_empty() {
            println!("  {}: {} files, {} bytes", selector.name, kept.len(), kept.iter().sum::<usize>());
        }
    }
    for partial in &extract.partial {
        println!("  partial {}: {}", partial.code, partial.detail);
    }
    for anomaly in extract.anomalies.iter().take(10) {
        println!("  anomaly {} {}: {}", anomaly.code, anomaly.path, anomaly.detail);
    }
    Ok(())
}

/// Reads, hashes and decompresses with nothing else.
fn floor_of(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let mut input = Hashing {
        inner: BufReader::with_capacity(128 << 10, File::open(path)?),
        context: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
        hashed: 0,
    };
    let compression = Compression::sniff(input.fill_buf()?);
    let mut reader: Box<dyn Read> = match compression {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Uncompressed => Box::new(input),
    };
    let mut buffer = vec![0_u8; 256 << 10];
    let mut total = 0_u64;
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            count => total += count as u64,
        }
    }
    println!("{path}: floor {:.3?}, {total} bytes", started.elapsed());
    Ok(())
}

fn digest_of(path: &str) -> Result<Digest, Box<dyn std::error::Error>> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut file = BufReader::with_capacity(128 << 10, File::open(path)?);
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        context.update(bytes);
        let count = bytes.len();
        file.consume(count);
    }
    let digest: [u8; 32] = context.finish().as_ref().try_into()?;
    Ok(Digest::from_sha256(&digest))
}

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
        self.hashed -= count;
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
