//! The same archives read by other readers: the `tar` crate, and Python's `tarfile` where there is Python.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::archive::*;

/// An entry to write, with a real archive writer.
#[derive(Debug, Clone)]
enum Item {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Hardlink(String),
    Fifo,
}

fn items() -> impl Strategy<Value = Vec<(String, Item)>> {
    let name = prop_oneof![
        3 => "[a-c]{1,2}(/[a-c.]{1,3}){0,3}".prop_filter("relative", |name| !name.contains("..")),
        1 => "[a-zé]{90,120}(/[a-z]{60,120}){0,2}",
    ];
    let item = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..1500).prop_map(Item::File),
        2 => Just(Item::Directory),
        1 => "[a-c/.]{1,6}".prop_map(Item::Symlink),
        1 => "[a-c]{1,2}(/[a-c]{1,3}){0,2}".prop_map(Item::Hardlink),
        1 => "[a-z]{101,130}".prop_map(Item::Symlink),
        1 => Just(Item::Fifo),
    ];
    proptest::collection::vec((name, item), 0..12)
}

/// Writes with GNU records or with PAX records for what does not fit.
fn write(items: &[(String, Item)], pax: bool) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, item) in items {
        let mut header = if pax { tar::Header::new_ustar() } else { tar::Header::new_gnu() };
        header.set_mode(0o644);
        let (kind, link, data): (_, Option<&str>, &[u8]) = match item {
            Item::File(data) => (tar::EntryType::Regular, None, data),
            Item::Directory => (tar::EntryType::Directory, None, &[]),
            Item::Symlink(target) => (tar::EntryType::Symlink, Some(target), &[]),
            Item::Hardlink(target) => (tar::EntryType::Link, Some(target), &[]),
            Item::Fifo => (tar::EntryType::Fifo, None, &[]),
        };
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mtime(0);
        if pax {
            let mut records = vec![("path", name.as_bytes())];
            records.extend(link.map(|link| ("linkpath", link.as_bytes())));
            builder.append_pax_extensions(records).unwrap();
            header.set_path("short").unwrap();
            if link.is_some() {
                header.set_link_name("short").unwrap();
            }
            header.set_cksum();
            builder.append(&header, data).unwrap();
        } else if let Some(link) = link {
            builder.append_link(&mut header, name, link).unwrap();
        } else {
            builder.append_data(&mut header, name, data).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Paths in order of the archive, with kind and target, as the `tar` crate reads them.
fn by_tar_crate(bytes: &[u8]) -> Vec<(String, char, String)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let kind = match entry.header().entry_type() {
                tar::EntryType::Regular => 'f',
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                tar::EntryType::Link => 'h',
                _ => 'o',
            };
            let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            entry.read_to_end(&mut Vec::new()).unwrap();
            (path, kind, if matches!(kind, 'l' | 'h') { link.unwrap_or_default() } else { String::new() })
        })
        .collect()
}

fn cleaned(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// What should stand, by the plainest possible rule: entries one after the other into a map.
fn model(entries: &[(String, char, String)]) -> Vec<String> {
    let mut standing: BTreeMap<String, (char, String)> = BTreeMap::new();
    for (path, kind, link) in entries {
        let path = cleaned(path);
        if path.is_empty() {
            continue;
        }
        if *kind != 'd' {
            let below = format!("{path}/");
            standing.retain(|other, _| !other.starts_with(&below));
        }
        let link = if *kind == 'h' { cleaned(link) } else { link.clone() };
        standing.insert(path, (*kind, link));
    }
    standing
        .into_iter()
        .map(|(path, (kind, link))| match kind {
            'l' => format!("l {path} -> {link}"),
            'h' => format!("h {path} = {link}"),
            _ => format!("{kind} {path}"),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn entries_are_those_of_the_tar_crate(items in items(), pax: bool) {
        let bytes = write(&items, pax);
        let extract = read(&bytes);
        prop_assert!(extract.partial.iter().all(|partial| partial.code == "hardlink_unread"));
        let written = by_tar_crate(&bytes);
        prop_assert_eq!(lines(&extract), model(&written));
        // What readers may disagree about is said.
        let twice = written.iter().enumerate().any(|(at, (path, kind, _))| {
            let path = cleaned(path);
            let before = written.iter().take(at).filter(|(other, ..)| cleaned(other) == path);
            !path.is_empty() && before.into_iter().any(|(_, other, _)| (*kind, *other) != ('d', 'd'))
        });
        prop_assert_eq!(twice, anomalies(&extract).contains(&"duplicate_entry"));
        prop_assert_eq!(&read(&bytes), &extract);
    }

    /// The order of entries that do not concern each other is no part of an Extract.
    #[test]
    fn the_order_of_entries_does_not_matter(
        names in proptest::collection::btree_set("[a-c]{1,3}(/[a-c]{1,3}){0,3}", 0..20),
        seed in proptest::collection::vec(any::<u32>(), 40),
        pax: bool,
    ) {
        let mut items: Vec<(String, Item)> = Vec::new();
        for (name, turn) in names.iter().zip(&seed) {
            // Nothing stands below a file.
            let leaf = !names.iter().any(|other| other.starts_with(&format!("{name}/")));
            items.push((name.clone(), match turn % 4 {
                0 if leaf => Item::Symlink("x".to_owned()),
                1 if leaf => Item::Fifo,
                2 if leaf => Item::File(name.clone().into_bytes()),
                _ => Item::Directory,
            }));
        }
        items.push(("lib/apk/db/installed".to_owned(), Item::File(b"P:x\nV:1\n\n".to_vec())));
        items.push(("a/package.json".to_owned(), Item::File(br#"{"name":"x","version":"1.0.0"}"#.to_vec())));
        let stands = !names.contains("a") || items.iter().any(|(name, item)| name == "a" && matches!(item, Item::Directory));
        prop_assume!(stands);
        let first = read(&write(&items, pax));
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|at| seed[seed.len() - 1 - at % seed.len()]);
        let shuffled: Vec<_> = order.into_iter().map(|at| items[at].clone()).collect();
        let mut second = read(&write(&shuffled, pax));
        second.layer = first.layer.clone();
        prop_assert_eq!(second, first);
    }

    #[test]
    fn selected_content_is_what_was_written(
        before in proptest::collection::vec(any::<u8>(), 0..2000),
        content in "[A-Z]{1,8}=[a-z]{0,60}\n",
        after in proptest::collection::vec(any::<u8>(), 0..2000),
        compression in 0..3_u8,
    ) {
        let items = [
            ("x".to_owned(), Item::File(before)),
            ("etc/os-release".to_owned(), Item::File(content.clone().into_bytes())),
            ("y".to_owned(), Item::File(after)),
        ];
        let tar = write(&items, false);
        let bytes = match compression { 0 => tar, 1 => gzip(&tar), _ => zstd(&tar) };
        let extract = try_read(&bytes, "", &Default::default()).unwrap();
        let kept = extract.selected.iter().find(|kept| kept.path == "etc/os-release").unwrap();
        prop_assert_eq!(&kept.bytes, content.as_bytes());
    }

    #[test]
    fn any_bytes_end_in_a_result(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        start in 0..4_usize,
    ) {
        let tar = Archive::default().file("a", b"abc").end();
        let starts: [&[u8]; 4] = [&[], &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd], &tar[..1024]];
        bytes.splice(0..0, starts[start].iter().copied());
        let _ = try_read(&bytes, TAR, &Default::default());
    }
}

/// Files with holes, written by GNU tar in each of its formats.
#[test]
fn files_with_holes_read_as_gnu_tar_found_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let parts = proptest::collection::vec((0..10_usize, proptest::collection::vec(1..255_u8, 0..1200)), 0..9);
    for round in 0..24 {
        let mut content = Vec::new();
        for (blocks, bytes) in parts.new_tree(&mut runner).unwrap().current() {
            content.resize(content.len() + blocks * 512, 0);
            content.extend(bytes);
        }
        content.push(b'\n');
        std::fs::write(folder.path().join("etc/os-release"), &content).unwrap();
        let format = [
            &["--format=gnu"][..],
            &["--format=posix", "--sparse-version=0.0"],
            &["--format=posix", "--sparse-version=0.1"],
            &["--format=posix", "--sparse-version=1.0"],
        ][round % 4];
        let tar = Command::new("tar")
            .args(["-S", "--hole-detection=raw", "-cf", "-"])
            .args(format)
            .arg("-C")
            .arg(folder.path())
            .arg("etc/os-release")
            .stderr(Stdio::null())
            .output();
        let Ok(tar) = tar
            .map(|tar| tar.stdout)
            .map_err(drop)
            .and_then(|bytes| if bytes.is_empty() { Err(()) } else { Ok(bytes) })
        else {
            return; // another tar, or none
        };
        let extract = read(&tar);
        let kept = extract.selected.first().unwrap();
        assert_eq!((kept.size, kept.path.as_str()), (content.len() as u64, "etc/os-release"));
        assert!(kept.bytes == content, "{format:?}: {} bytes, {} kept", content.len(), kept.bytes.len());
        let taken = read_with_tarfile(&tar);
        assert!(taken.is_none_or(|taken| taken == content), "{format:?}");
    }
}

/// The content of an archive's first file as Python reads it.
fn read_with_tarfile(bytes: &[u8]) -> Option<Vec<u8>> {
    let script = "import sys,tarfile,io\narchive=tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\nsys.stdout.buffer.write(archive.extractfile(archive.next()).read())";
    let child =
        Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.ok()?;
    child.stdin.take()?.write_all(bytes).ok()?;
    let output = child.wait_with_output().ok()?;
    assert!(output.status.success());
    Some(output.stdout)
}

const PYTHON: &str = r#"
import sys, tarfile, io
data = sys.stdin.buffer.read()
with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
    for member in archive:
        kind = "f" if member.isreg() else "d" if member.isdir() else "l" if member.issym() else "h" if member.islnk() else "o"
        link = member.linkname if kind in "lh" else ""
        sys.stdout.write("\t".join([member.name, kind, link]) + "\n")
"#;

/// Archives that Python reads the same way: no broken headers, no global records.
#[test]
fn entries_are_those_of_pythons_tarfile() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for round in 0..12 {
        let items = items().new_tree(&mut runner).unwrap().current();
        let bytes = write(&items, round % 2 == 0);
        let Ok(mut child) = Command::new("python3")
            .args(["-c", PYTHON])
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            return; // no Python here
        };
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let entries: Vec<(String, char, String)> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                (fields[0].to_owned(), fields[1].chars().next().unwrap(), fields[2].to_owned())
            })
            .collect();
        assert_eq!(lines(&read(&bytes)), model(&entries));
    }
}
