//! Layers that attack their reader. Each says what a careful reader does with it.

use bytes::Bytes;
use tar::EntryType;

use super::layer::{Entry, EntryKind, header, write_entry};
use super::{Compression, ImageError, Layer, LayerBlob, format_digest};

/// A gzip layer of one file of `size` zero bytes, about a thousandth of that when stored. It is made without
/// ever holding the file. The reader stops at its limit.
pub fn gzip_bomb(size: u64) -> Result<LayerBlob, ImageError> {
    let encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    bomb(size, encoder, Compression::Gzip, |encoder| encoder.finish())
}

/// As [`gzip_bomb`] with zstd, which reaches ten thousand to one.
pub fn zstd_bomb(size: u64) -> Result<LayerBlob, ImageError> {
    let encoder = zstd::Encoder::new(Vec::new(), 3).map_err(ImageError::Compress)?;
    bomb(size, encoder, Compression::Zstd, zstd::Encoder::finish)
}

/// A zstd layer whose frame demands a window of 2 GiB. The reader refuses the frame.
pub fn zstd_wide_window() -> Result<LayerBlob, ImageError> {
    let tar = Layer::new().file("etc/motd", "wide").tar();
    // Magic, a frame header without content size or single segment, and the window descriptor of 2^31 bytes
    // (exponent 21 above 2^10), then the tar in raw blocks (RFC 8878, 3.1.1).
    let mut stored = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    let mut blocks = tar.chunks(64 * 1024).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        let head = u32::try_from(block.len()).unwrap_or(0) << 3 | last;
        stored.extend(head.to_le_bytes().into_iter().take(3));
        stored.extend_from_slice(block);
    }
    Ok(LayerBlob::new(Compression::Zstd.media_type(), stored, &tar))
}

fn bomb<W: std::io::Write>(
    size: u64,
    mut encoder: W,
    compression: Compression,
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> Result<LayerBlob, ImageError> {
    let zeros = vec![0_u8; 1 << 16];
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut put = |encoder: &mut W, bytes: &[u8]| {
        hash.update(bytes);
        encoder.write_all(bytes).map_err(ImageError::Compress)
    };
    put(&mut encoder, header(EntryType::Regular, "zeros", 0o644, size).as_bytes())?;
    let mut left = size.next_multiple_of(512).saturating_add(1024);
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        put(&mut encoder, zeros.get(..step).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(step).unwrap_or(u64::MAX));
    }
    let diff_id = format_digest(hash.finish().as_ref());
    let stored = finish(encoder).map_err(ImageError::Compress)?;
    Ok(LayerBlob { blob: super::Blob::new(compression.media_type(), stored), diff_id })
}

/// Paths that leave the root: `../`, absolute, through the middle, through a symbolic link, and with a name
/// that only a PAX record carries. The reader keeps every one inside the root or refuses it.
pub fn path_traversal() -> Layer {
    let mut layer = Layer::new()
        .file("../../etc/passwd", "parent")
        .file("/etc/shadow", "absolute")
        .file("usr/../../../etc/group", "middle")
        .symlink("outside", "../../../../")
        .file("outside/etc/hosts", "through a symbolic link")
        .symlink("absolute", "/")
        .file("absolute/etc/hostname", "through an absolute link")
        .hardlink("passwd", "../../etc/passwd")
        .file("./../.wh.etc", "");
    layer = layer.entry(Entry {
        path: "harmless".to_owned(),
        kind: EntryKind::File(Bytes::from_static(b"pax")),
        mode: 0o644,
        pax: vec![("path".to_owned(), b"../../../tmp/pax".to_vec())],
        declared_size: None,
    });
    layer
}

/// `count` empty files. The reader stops at its limit of entries, and its memory does not follow the count.
pub fn entry_bomb(count: u32) -> Layer {
    (0..count)
        .fold(Layer::new(), |layer, number| layer.file(format!("d{}/f{number}", number % 256), Bytes::new()))
}

/// A plain tar whose first header says `declared` bytes while `actual` follow and the tar ends. The reader finds
/// it truncated, and has not allocated what was declared.
pub fn lying_size(declared: u64, actual: &[u8]) -> LayerBlob {
    let mut tar = Vec::new();
    let entry = Entry {
        path: "var/lib/dpkg/status".to_owned(),
        kind: EntryKind::File(Bytes::copy_from_slice(actual)),
        mode: 0o644,
        pax: Vec::new(),
        declared_size: Some(declared),
    };
    write_entry(&mut tar, &entry);
    LayerBlob::new(Compression::None.media_type(), tar.clone(), &tar)
}

/// A gzip layer cut in the middle. The reader reports it as corrupt, not as empty.
pub fn truncated_gzip(layer: &Layer) -> Result<LayerBlob, ImageError> {
    let tar = layer.tar();
    let mut stored = Compression::Gzip.apply(&tar)?;
    stored.truncate(stored.len() / 2);
    Ok(LayerBlob::new(Compression::Gzip.media_type(), stored, &tar))
}

/// A gzip layer with a wrong checksum at its end. The reader reports it as corrupt.
pub fn wrong_crc(layer: &Layer) -> Result<LayerBlob, ImageError> {
    let tar = layer.tar();
    let mut stored = Compression::Gzip.apply(&tar)?;
    let at = stored.len().saturating_sub(8);
    if let Some(byte) = stored.get_mut(at) {
        *byte ^= 0xff;
    }
    Ok(LayerBlob::new(Compression::Gzip.media_type(), stored, &tar))
}

/// A path of `depth` directories, a symbolic link that names itself, and two that name each other. The reader
/// ends.
pub fn deep_and_circular(depth: usize) -> Layer {
    Layer::new()
        .file(format!("{}f", "d/".repeat(depth)), "deep")
        .symlink("self", "self")
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/etc/passwd", "below a loop")
}

/// An entry with a PAX header of `size` bytes in one extended attribute. The reader's memory does not follow it.
pub fn huge_pax(size: usize) -> Layer {
    Layer::new().entry(Entry {
        path: "attributes".to_owned(),
        kind: EntryKind::File(Bytes::from_static(b"x")),
        mode: 0o644,
        pax: vec![("SCHILY.xattr.user.huge".to_owned(), vec![b'a'; size])],
        declared_size: None,
    })
}
