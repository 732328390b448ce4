//! Archives for tests, byte by byte: what writers refuse to write is what readers meet.

use std::io::Write;

use plimsoll_image::layer::{self, LayerError, LayerSource, Limits};
use plimsoll_image::select::Table;
use plimsoll_model::Digest;
use plimsoll_model::extract::Extract;

/// A tar stream under construction.
#[derive(Default, Clone)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header with the checksum made right after `change`.
    pub(crate) fn header(
        self,
        typeflag: u8,
        name: &[u8],
        size: usize,
        change: impl Fn(&mut [u8; 512]),
    ) -> Self {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = typeflag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.raw(&block)
    }

    pub(crate) fn data(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.header(b'0', name.as_bytes(), bytes.len(), |_| {}).data(bytes)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.header(b'5', name.as_bytes(), 0, |_| {})
    }

    pub(crate) fn link(self, typeflag: u8, name: &str, target: &str) -> Self {
        self.header(typeflag, name.as_bytes(), 0, |block| {
            block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        })
    }

    pub(crate) fn pax(self, typeflag: u8, records: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + body.to_string().len();
            if length.to_string().len() + body != length {
                length = body + length.to_string().len();
            }
            text.push_str(&format!("{length} {key}={value}\n"));
        }
        self.header(typeflag, b"pax", text.len(), |_| {}).data(text.as_bytes())
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Digest::from_sha256(hash.as_ref().try_into().unwrap())
}

pub(crate) fn source(bytes: &[u8], media_type: &str) -> LayerSource {
    LayerSource { digest: digest(bytes), size: Some(bytes.len() as u64), media_type: media_type.to_owned() }
}

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub(crate) fn try_read(bytes: &[u8], media_type: &str, limits: &Limits) -> Result<Extract, LayerError> {
    layer::read(bytes, &source(bytes, media_type), limits, Table::all(), &())
}

pub(crate) fn read(bytes: &[u8]) -> Extract {
    try_read(bytes, TAR, &Limits::default()).unwrap()
}

/// Entries as lines: a letter for the kind, the path, a target.
pub(crate) fn lines(extract: &Extract) -> Vec<String> {
    use plimsoll_model::extract::EntryKind;
    let line = |entry: plimsoll_model::extract::Entry<&str>| match entry.kind {
        EntryKind::File => format!("f {}", entry.path),
        EntryKind::Directory => format!("d {}", entry.path),
        EntryKind::Symlink(target) => format!("l {} -> {target}", entry.path),
        EntryKind::Hardlink(target) => format!("h {} = {target}", entry.path),
        EntryKind::Other => format!("o {}", entry.path),
        EntryKind::Whiteout => format!("w {}", entry.path),
        EntryKind::Opaque => format!("q {}", entry.path),
    };
    extract.entries.iter().map(line).collect()
}

pub(crate) fn anomalies(extract: &Extract) -> Vec<&str> {
    extract.anomalies.iter().map(|anomaly| anomaly.code.as_str()).collect()
}

pub(crate) fn partials(extract: &Extract) -> Vec<&str> {
    extract.partial.iter().map(|partial| partial.code.as_str()).collect()
}
