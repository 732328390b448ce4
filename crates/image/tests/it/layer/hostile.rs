//! Lying, broken and oversized layers.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plimsoll_image::layer::{self, Hooks, LayerError, Limits, Progress};
use plimsoll_image::select::Table;

use super::archive::*;

fn code(bytes: &[u8], media_type: &str) -> &'static str {
    try_read(bytes, media_type, &Limits::default()).map(|_| "read").unwrap_or_else(|error| error.code())
}

#[test]
fn digest_and_size_are_verified_to_the_last_byte() {
    let bytes = gzip(&Archive::default().file("a", b"abc").end());
    let mut longer = bytes.clone();
    longer.extend_from_slice(b"trailing");
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let shorter = &bytes[..bytes.len() - 1];
    let read = |content: &[u8], size: Option<u64>| {
        let mut layer = source(&bytes, GZIP);
        layer.size = size;
        layer::read(content, &layer, &Limits::default(), Table::all(), &()).map_err(|error| error.code())
    };
    let size = Some(bytes.len() as u64);
    assert!(read(&bytes, size).is_ok() && read(&bytes, None).is_ok());
    assert_eq!(read(&longer, None), Err("corrupt_digest"));
    assert_eq!(read(&longer, size), Err("corrupt_size"));
    assert_eq!(read(&other, size), Err("corrupt_digest"));
    assert_eq!(read(shorter, size), Err("corrupt_digest"));
    assert_eq!(read(&bytes, Some(7)), Err("corrupt_size"));
    assert_eq!(read(&bytes, Some(1 << 40)), Err("corrupt_size"));
}

#[test]
fn broken_content_with_the_right_digest_is_partial_or_an_error() {
    let tar = Archive::default().file("a", b"abc").file("b", &[7; 3000]).end();
    let mut bad_checksum = Archive::default().file("a", b"abc").file("b", b"").end();
    bad_checksum[1024] ^= 1;
    let after_zero = Archive::default().file("a", b"").raw(&[0; 512]).file("b", b"").end();
    let negative = Archive::default().file("a", b"").header(b'0', b"b", 0, |block| {
        block[124..136].copy_from_slice(&[0xff; 12]);
    });
    let bad_pax = Archive::default().file("a", b"").header(b'x', b"p", 9, |_| {}).data(b"8 path=b\n");
    let long_pax = Archive::default().file("a", b"").header(b'x', b"p", (1 << 20) + 1, |_| {});
    let bad_octal = Archive::default().file("a", b"").header(b'0', b"b", 0, |block| block[108] = b'9');
    let sparse = |map: &str, size: &str| {
        Archive::default()
            .file("a", b"")
            .pax(b'x', &[("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", map), ("GNU.sparse.size", size)])
            .header(b'0', b"b", 10, |_| {})
            .data(&[1; 10])
            .end()
    };
    let gz = gzip(&tar);
    let zst = zstd(&tar);
    let mut wrong_crc = gz.clone();
    let at = wrong_crc.len() - 6;
    wrong_crc[at] ^= 1;
    for (name, bytes, partial, anomaly) in [
        ("cut in a header", tar[..1500].to_vec(), Some("truncated"), None),
        ("cut in data", tar[..2000].to_vec(), Some("truncated"), None),
        ("checksum", bad_checksum, Some("corrupt_tar"), None),
        ("zero block inside", after_zero, Some("corrupt_tar"), None),
        ("negative size", negative.end(), Some("corrupt_tar"), None),
        ("bad octal", bad_octal.end(), Some("corrupt_tar"), None),
        ("pax record", bad_pax.end(), Some("corrupt_tar"), None),
        ("pax too long", long_pax.end(), Some("corrupt_tar"), None),
        ("sparse overlap", sparse("0,5,4,5", "100"), Some("corrupt_tar"), None),
        ("sparse beyond the end", sparse("0,5,95,6", "100"), Some("corrupt_tar"), None),
        ("sparse overflow", sparse("0,5,9223372036854775807,5", "100"), Some("corrupt_tar"), None),
        ("sparse negative", sparse("-1,5,6,5", "100"), Some("corrupt_tar"), None),
        ("sparse with too little data", sparse("0,5,10,6", "100"), Some("corrupt_tar"), None),
        ("sparse without pairs", sparse("0,5,10", "100"), Some("corrupt_tar"), None),
        ("gzip cut", gz[..gz.len() - 20].to_vec(), Some("truncated"), None),
        ("gzip cut in its trailer", gz[..gz.len() - 4].to_vec(), None, Some("corrupt_after_end")),
        ("gzip checksum", wrong_crc, None, Some("corrupt_after_end")),
        ("gzip trailing", [gz.clone(), b"garbage".to_vec()].concat(), None, Some("corrupt_after_end")),
        ("zstd trailing", [zst.clone(), b"garbage".to_vec()].concat(), None, Some("corrupt_after_end")),
        ("second archive", [tar.clone(), tar.clone()].concat(), None, Some("data_after_end")),
    ] {
        let extract =
            try_read(&bytes, "", &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(partials(&extract), partial.into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(anomalies(&extract), anomaly.into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(extract.entries.path(0), "a", "{name}");
    }
    assert_eq!(code(b"not a layer at all", "application/octet-stream"), "not_a_layer");
    assert_eq!(code(b"{\"config\":{}}", TAR), "truncated");
    assert_eq!(code(&[7; 2000], TAR), "corrupt_tar");
    assert_eq!(code(&gzip(&[7; 2000]), GZIP), "corrupt_tar");
    assert_eq!(code(&[&gz[..10], &[0xff; 50]].concat(), GZIP), "corrupt_gzip");
    assert_eq!(code(&[&zst[..6], &[0xff; 50]].concat(), ZSTD), "corrupt_zstd");
    assert_eq!(code(b"", "application/vnd.oci.image.config.v1+json"), "unsupported");
}

#[test]
fn every_cut_of_an_archive_ends_without_a_panic() {
    let tar = Archive::default()
        .pax(b'x', &[("path", "a/b")])
        .file("x", b"abc")
        .header(b'L', b"long", 4, |_| {})
        .data(b"abc\0")
        .file("etc/os-release", b"ID=a")
        .link(b'1', "h", "etc/os-release")
        .end();
    for (whole, media_type) in [(gzip(&tar), GZIP), (zstd(&tar), ZSTD), (tar, TAR)] {
        for end in 0..whole.len() {
            match try_read(&whole[..end], media_type, &Limits::default()) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, LayerError::Corrupt { .. }), "{end}: {error}"),
            }
        }
    }
}

#[test]
fn paths_stay_inside_the_root_and_are_reported() {
    let extract = read(
        &Archive::default()
            .file("../../etc/shadow", b"")
            .file("/etc/passwd", b"")
            .link(b'1', "x", "../../../etc/passwd")
            .link(b'2', "y", "../../../etc/passwd")
            .header(b'0', b"bad\xffname", 0, |_| {})
            .end(),
    );
    assert_eq!(
        lines(&extract),
        [
            "f bad\u{fffd}ffname",
            "f etc/passwd",
            "f etc/shadow",
            "h x = etc/passwd",
            "l y -> ../../../etc/passwd"
        ]
    );
    assert_eq!(anomalies(&extract), ["absolute_path", "path_escapes_root", "path_not_utf8"]);
}

#[test]
fn limits_end_in_partials_and_keep_what_was_read() {
    let tar = Archive::default()
        .file("a", b"")
        .file("etc/os-release", &[b'x'; 3000])
        .file("zeros", &vec![0; 4 << 20])
        .file("etc/alpine-release", b"3")
        .end();
    let bytes = gzip(&tar);
    let limits = Limits::default();
    let long = format!("{}/b", "a".repeat(90));
    let deep = (0..50).fold(Archive::default().file("0", b""), |archive, at| {
        archive.link(b'1', &format!("{}", at + 1), &at.to_string())
    });
    for (limits, bytes, expected, entries) in [
        (Limits { entries: 2, ..limits.clone() }, &bytes, "entries", 2),
        (Limits { decompressed_bytes: 1 << 20, ..limits.clone() }, &bytes, "decompressed_bytes", 3),
        (Limits { ratio: 100, ratio_from: 1 << 20, ..limits.clone() }, &bytes, "ratio", 3),
        (Limits { name_bytes: 10, ..limits.clone() }, &bytes, "names", 1),
        (Limits { kept_bytes: 100, ..limits.clone() }, &bytes, "kept_bytes", 4),
        (Limits { entry_bytes: 2999, ..limits.clone() }, &bytes, "entry_bytes", 4),
        (Limits { time: Duration::ZERO, ..limits.clone() }, &bytes, "time", 0),
        (
            Limits { path_bytes: 80, ..limits.clone() },
            &gzip(&Archive::default().file("a", b"").file(&long, b"").end()),
            "path_length",
            1,
        ),
        (Limits { link_depth: 40, ..limits.clone() }, &gzip(&deep.end()), "link_depth", 51),
    ] {
        let extract = try_read(bytes, GZIP, &limits).unwrap();
        assert_eq!(partials(&extract), [expected]);
        assert_eq!(extract.entries.len(), entries, "{expected}");
        assert_eq!(extract.compressed_size, bytes.len() as u64);
        let again = try_read(bytes, GZIP, &limits).unwrap();
        assert_eq!(extract, again);
        // the digest counts whatever stopped the reading
        let mut layer = source(bytes, GZIP);
        layer.digest = digest(b"other");
        let error = layer::read(bytes.as_slice(), &layer, &limits, Table::all(), &()).unwrap_err();
        assert_eq!(error.code(), "corrupt_digest");
    }
    let small = Limits { compressed_bytes: 100, ..limits.clone() };
    assert_eq!(try_read(&bytes, GZIP, &small).unwrap_err().code(), "too_large");
    let many = (0..300).fold(Archive::default(), |archive, at| archive.file(&format!("/{at}"), b""));
    let extract = read(&many.end());
    assert_eq!(extract.anomalies.len(), 101);
    assert!(anomalies(&extract).contains(&"anomalies_omitted"));
}

/// Gives `piece` bytes at a time, then fails if told so.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
    fail: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(self.bytes.len());
        if count == 0 && self.fail {
            return Err(io::Error::other("connection reset"));
        }
        (&self.bytes[..count]).read(out).inspect(|count| self.bytes = &self.bytes[*count..])
    }
}

#[test]
fn how_the_bytes_arrive_changes_nothing() {
    let mut noise = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    })
    .take(900_000)
    .collect();
    let tar = Archive::default().file("a", &data).file("etc/os-release", b"ID=a").file("b", &data).end();
    for limits in [Limits::default(), Limits { decompressed_bytes: 1_000_000, ..Limits::default() }] {
        for (bytes, media_type) in [(gzip(&tar), GZIP), (zstd(&tar), ZSTD), (tar.clone(), TAR)] {
            let expected = try_read(&bytes, media_type, &limits).unwrap();
            for piece in [1_000, 4_099, 65_537] {
                let reader = Pieces { bytes: &bytes, piece, fail: false };
                let layer = source(&bytes, media_type);
                let extract = layer::read(reader, &layer, &limits, Table::all(), &()).unwrap();
                assert_eq!(extract, expected);
            }
        }
    }
}

#[test]
fn a_failing_source_is_not_the_contents_fault() {
    let bytes = gzip(&Archive::default().file("a", &[1; 5000]).end());
    for end in [0, 10, bytes.len() / 2, bytes.len()] {
        let reader = Pieces { bytes: &bytes[..end], piece: 7, fail: true };
        let error =
            layer::read(reader, &source(&bytes, GZIP), &Limits::default(), Table::all(), &()).unwrap_err();
        assert_eq!(error.code(), "unavailable");
    }
}

#[derive(Default)]
struct Watch {
    calls: AtomicU64,
    stop_after: u64,
    largest_reservation: AtomicU64,
}

impl Hooks for Watch {
    fn progress(&self, _progress: &Progress) -> ControlFlow<()> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.stop_after {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn reserve(&self, bytes: u64) -> Option<plimsoll_cpu::Permit> {
        self.largest_reservation.fetch_max(bytes, Ordering::Relaxed);
        None
    }
}

#[test]
fn cancellation_is_noticed_between_reads() {
    let bytes = gzip(&Archive::default().file("a", &[1; 5000]).end());
    let watch = Watch { stop_after: 3, ..Watch::default() };
    let reader = Pieces { bytes: &bytes, piece: 8, fail: false };
    let error =
        layer::read(reader, &source(&bytes, GZIP), &Limits::default(), Table::all(), &watch).unwrap_err();
    assert!(matches!(error, LayerError::Cancelled));
    assert_eq!(watch.calls.into_inner(), 4);
}

#[test]
fn only_selected_content_is_held_and_large_content_is_reserved() {
    let large = vec![b'x'; 40 << 20];
    let mut status = b"Package: a\nVersion: 1\n".to_vec();
    status.resize(3 << 20, b'x');
    let tar = Archive::default().file("data.bin", &large).file("var/lib/dpkg/status", &status).end();
    let watch = Watch { stop_after: u64::MAX, ..Watch::default() };
    let extract =
        layer::read(tar.as_slice(), &source(&tar, TAR), &Limits::default(), Table::all(), &watch).unwrap();
    assert_eq!(watch.largest_reservation.into_inner(), 3 << 20);
    assert_eq!(extract.selected.len(), 1);
}

/// A few hundred bytes that stand for gigabytes of zeros cost what gigabytes do.
#[test]
fn holes_count_as_decompressed_bytes() {
    let jar = |archive: Archive, n: usize| {
        archive
            .pax(
                b'x',
                &[("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "1000000")],
            )
            .header(b'0', format!("opt/{n}.jar").as_bytes(), 1, |_| {})
            .data(b"P")
    };
    let archive = (0..20).fold(Archive::default(), jar).end();
    let limits = Limits { decompressed_bytes: 5_500_000, ..Limits::default() };
    let extract = try_read(&archive, TAR, &limits).unwrap();
    assert_eq!((partials(&extract), extract.entries.len()), (vec!["decompressed_bytes"], 6));
    assert_eq!(extract.uncompressed_size, archive.len() as u64);
    assert!(partials(&read(&archive)).is_empty());
}
