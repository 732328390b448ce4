//! What stands in an Extract: names, kinds, duplicates, links, whiteouts, selected content.

use plimsoll_image::layer::{Limits, foreign};
use plimsoll_image::select::Table;

use super::archive::*;

#[test]
fn names_come_from_ustar_prefix_pax_and_gnu_records() {
    let archive = Archive::default()
        .header(b'0', b"name", 0, |block| block[345..351].copy_from_slice(b"prefix"))
        .pax(b'x', &[("path", "from/pax"), ("linkpath", "ignored")])
        .file("short", b"")
        .header(b'L', b"././@LongLink", 10, |_| {})
        .data(b"from/gnu1\0")
        .file("short", b"")
        .header(b'K', b"././@LongLink", 7, |_| {})
        .data(b"target\0")
        .link(b'2', "symlink", "short")
        // GNU wins over PAX, and records last for one entry only
        .pax(b'x', &[("path", "from/pax2")])
        .header(b'L', b"././@LongLink", 10, |_| {})
        .data(b"from/gnu2\0")
        .file("short", b"")
        .file("last", b"")
        // an empty value keeps the header's own
        .pax(b'x', &[("path", "")])
        .file("kept", b"");
    assert_eq!(
        lines(&read(&archive.end())),
        [
            "f from/gnu1",
            "f from/gnu2",
            "f from/pax",
            "f kept",
            "f last",
            "f prefix/name",
            "l symlink -> target"
        ]
    );
}

#[test]
fn global_headers_change_nothing_and_end_what_came_before() {
    let archive = Archive::default()
        .pax(b'g', &[("comment", "x")])
        .file("a", b"")
        .pax(b'x', &[("path", "lost")])
        .pax(b'g', &[("path", "global")])
        .file("b", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["f a", "f b"]);
    assert_eq!(anomalies(&extract), ["global_header"]);
}

#[test]
fn types_as_containerd_takes_them() {
    let archive = Archive::default()
        .header(0, b"old-dir/", 0, |_| {})
        .header(0, b"old-file", 0, |_| {})
        .header(b'0', b"file-with-slash/", 0, |_| {})
        .header(b'3', b"dev", 0, |_| {})
        .header(b'6', b"fifo", 0, |_| {})
        // entries without data have none whatever their size says
        .header(b'5', b"dir", 4096, |_| {})
        .header(b'7', b"contiguous", 3, |_| {})
        .data(b"abc")
        .header(b'V', b"volume", 3, |_| {})
        .data(b"abc");
    let extract = read(&archive.end());
    assert_eq!(
        lines(&extract),
        [
            "f contiguous",
            "o dev",
            "d dir",
            "o fifo",
            "f file-with-slash",
            "d old-dir",
            "f old-file",
            "o volume"
        ]
    );
    assert_eq!(anomalies(&extract), ["unhandled_type", "unhandled_type"]);
}

#[test]
fn sizes_in_base_256_and_in_pax_move_the_reader() {
    let archive = Archive::default()
        .header(b'0', b"etc/os-release", 0, |block| {
            block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        })
        .data(b"ID=a\n")
        .pax(b'x', &[("size", "6")])
        .header(b'0', b"etc/alpine-release", 0, |_| {})
        .data(b"3.20.1")
        .file("after", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["f after", "f etc/alpine-release", "f etc/os-release"]);
    assert_eq!(extract.selected[0].bytes, b"3.20.1");
    assert_eq!((extract.selected[1].bytes.as_slice(), extract.selected[1].size), (&b"ID=a\n"[..], 5));
}

#[test]
fn sparse_files_are_read_with_their_holes() {
    let content = |extract: &plimsoll_model::Extract| extract.selected[0].bytes.clone();
    let expected = b"ID=x\0\0\0\0\0\0\0\0\0\0\0\0NAME=y\0\0";
    let parts = b"ID=xNAME=y";
    // old GNU: offset and length in the header
    let old = Archive::default()
        .header(b'S', b"etc/os-release", parts.len(), |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            for (at, number) in [(386, 0), (398, 4), (410, 16), (422, 6), (483, 24)] {
                block[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
            }
        })
        .data(parts)
        .file("after", b"")
        .end();
    let extract = read(&old);
    assert_eq!(lines(&extract), ["f after", "f etc/os-release"]);
    assert_eq!(content(&extract), expected);
    assert_eq!(anomalies(&extract), ["unhandled_type"]);
    // PAX 0.0, 0.1, 1.0
    let records: [&[(&str, &str)]; 2] = [
        &[
            ("GNU.sparse.size", "24"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "4"),
            ("GNU.sparse.offset", "16"),
            ("GNU.sparse.numbytes", "6"),
        ],
        &[
            ("GNU.sparse.size", "24"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.map", "0,4,16,6"),
            ("GNU.sparse.name", "etc/os-release"),
        ],
    ];
    for (records, name) in records.iter().zip(["etc/os-release", "GNUSparseFile.1/x"]) {
        let archive = Archive::default()
            .pax(b'x', records)
            .header(b'0', name.as_bytes(), parts.len(), |_| {})
            .data(parts)
            .file("after", b"");
        let extract = read(&archive.end());
        assert_eq!(lines(&extract), ["f after", "f etc/os-release"]);
        assert_eq!(content(&extract), expected);
        assert_eq!(extract.selected[0].size, 24);
    }
    let mut data = b"2\n0\n4\n16\n6\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(parts);
    let archive = Archive::default()
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", "24"),
                ("GNU.sparse.name", "etc/os-release"),
            ],
        )
        .header(b'0', b"x", data.len(), |_| {})
        .data(&data)
        .file("after", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["f after", "f etc/os-release"]);
    assert_eq!(content(&extract), expected);
}

#[test]
fn the_last_of_duplicates_stands() {
    let archive = Archive::default()
        .file("etc/os-release", b"ID=first\n")
        .file("./etc//os-release", b"ID=second\n")
        .directory("a")
        .directory("a/")
        .file("a/b/c", b"")
        .file("a/b/c/../d", b"")
        .file("a/b", b"")
        .directory("a/b")
        .file("a/b/e", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["d a", "d a/b", "f a/b/e", "f etc/os-release"]);
    assert_eq!(extract.selected.len(), 1);
    assert_eq!(extract.selected[0].bytes, b"ID=second\n");
    assert_eq!(
        anomalies(&extract),
        ["duplicate_entry", "duplicate_entry", "entry_replaced", "entry_replaced"]
    );
}

#[test]
fn links_and_files_between_siblings_do_not_confuse_ancestors() {
    // "a-b" and "a.b" sort between "a" and "a/x"
    let archive = Archive::default()
        .file("a/x", b"")
        .file("a-b", b"")
        .file("a.b/c", b"")
        .link(b'2', "a", "elsewhere")
        .file("a/y", b"")
        .file("a-b/z", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["l a -> elsewhere", "f a-b", "f a-b/z", "f a.b/c", "f a/y"]);
    assert_eq!(anomalies(&extract), ["entry_replaced", "parent_not_directory"]);
}

#[test]
fn whiteouts_stand_beside_what_the_same_layer_adds() {
    let archive = Archive::default()
        .file("a/.wh.gone", b"")
        .file("a/.wh..wh..opq", b"")
        .file(".wh.top", b"")
        .file("new", b"")
        .file(".wh.new", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .file("a/.wh..wh.orph", b"")
        .file("a/.wh.", b"");
    let extract = read(&archive.end());
    assert_eq!(lines(&extract), ["q a", "w a/gone", "f new", "w new", "w top"]);
    assert_eq!(anomalies(&extract), ["invalid_whiteout", "whiteout_of_own_entry"]);
}

#[test]
fn hard_links_carry_what_their_target_holds() {
    let json = br#"{"name":"left-pad","version":"1.0.0"}"#;
    let archive = Archive::default()
        .file("a/package.json", json)
        .link(b'1', "b/package.json", "/a/package.json")
        .link(b'1', "c/package.json", "b/../b/package.json")
        .link(b'1', "d/other.json", "a/package.json")
        // the target is replaced, what was linked before stays
        .file("a/package.json", br#"{"name":"right-pad"}"#)
        .link(b'1', "e/package.json", "a/package.json");
    let extract = read(&archive.end());
    let selected: Vec<(&str, bool)> = extract
        .selected
        .iter()
        .map(|kept| (kept.path.as_str(), kept.bytes.windows(8).any(|bytes| bytes == b"left-pad")))
        .collect();
    assert_eq!(
        selected,
        [
            ("a/package.json", false),
            ("b/package.json", true),
            ("c/package.json", true),
            ("e/package.json", false)
        ]
    );
    assert!(extract.partial.is_empty());
    // a link whose name is selected to a file whose name is not
    let archive = Archive::default().file("store/0001", json).link(b'1', "x/package.json", "store/0001");
    assert_eq!(partials(&read(&archive.end())), ["hardlink_unread"]);
    let archive = Archive::default().link(b'1', "x/package.json", "nowhere").link(b'1', "y", "y");
    let extract = read(&archive.end());
    assert_eq!(partials(&extract), ["hardlink_unread"]);
    assert_eq!(anomalies(&extract), ["hardlink_target_missing", "hardlink_target_missing"]);
}

#[test]
fn an_archive_may_end_without_zero_blocks() {
    let whole = Archive::default().file("a", b"abc").file("b", b"").0;
    for extra in [0, 512, 1024, 10_240] {
        let mut bytes = whole.clone();
        bytes.resize(bytes.len() + extra, 0);
        let extract = read(&bytes);
        assert_eq!(lines(&extract), ["f a", "f b"]);
        assert!(extract.partial.is_empty() && extract.anomalies.is_empty());
    }
    // even inside the padding of the last entry
    let bytes = Archive::default().file("a", b"abc").0;
    let extract = read(&bytes[..512 + 3]);
    assert!(extract.partial.is_empty());
    assert!(read(b"").entries.is_empty());
}

#[test]
fn all_compressions_give_the_same_extract() {
    let tar = Archive::default().file("etc/os-release", b"ID=a\n").directory("b").end();
    let expected = read(&tar);
    let (first, second) = tar.split_at(700);
    let mut skippable = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    skippable.extend(zstd(&tar));
    skippable.extend([0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    for (bytes, media_type) in [
        (gzip(&tar), GZIP),
        ([gzip(first), gzip(second), gzip(b"")].concat(), GZIP),
        (zstd(&tar), ZSTD),
        ([zstd(first), zstd(second)].concat(), ZSTD),
        (skippable, ZSTD),
        (gzip(&tar), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (gzip(&tar), "application/octet-stream"),
        (tar.clone(), "application/octet-stream"),
    ] {
        let extract = try_read(&bytes, media_type, &Limits::default()).unwrap();
        assert_eq!((&extract.entries, &extract.selected), (&expected.entries, &expected.selected));
        assert!(extract.anomalies.is_empty() && extract.partial.is_empty(), "{extract:?}");
        assert_eq!(extract.uncompressed_size, tar.len() as u64);
        assert_eq!(extract.compressed_size, bytes.len() as u64);
    }
    for (bytes, media_type) in [(gzip(&tar), TAR), (gzip(&tar), ZSTD), (zstd(&tar), GZIP), (tar, GZIP)] {
        let extract = try_read(&bytes, media_type, &Limits::default()).unwrap();
        assert_eq!(extract.entries, expected.entries);
        assert_eq!(anomalies(&extract), ["compression_differs"]);
    }
}

#[test]
fn a_foreign_layer_is_partial() {
    let extract = foreign(digest(b""), &Limits::default(), Table::all());
    assert_eq!(partials(&extract), ["foreign_layer"]);
    assert!(!extract.selectors.is_empty());
}
