//! What fuzzing runs: one function for each kind of input that strangers write, from bytes as far as findings look at
//! them. A function panics where something that must hold does not; whatever else it does with the bytes is right.
//!
//! | target | input |
//! |---|---|
//! | `layer` | layers of an image, oldest first, with [`BETWEEN_LAYERS`] between them: tar, gzip or zstd |
//! | `file` | a path, a newline, and the content of that file: everything that selectors and catalogers read |
//! | `manifest` | a media type, a newline, and a manifest, an index or a configuration |
//! | `document` | an SBOM: CycloneDX, SPDX or Syft's |
//! | `feed` | a file name, a newline, and a source of advisories or intelligence |
//! | `objects` | Kubernetes objects, YAML |
//! | `text` | lines: package URLs, references, versions |
//!
//! The same functions run over the committed seeds in an ordinary test, `services/plimsoll/tests/it/seeds.rs`.

use std::cmp::Ordering;

use aws_lc_rs::digest::{SHA256, digest};
use plimsoll_image::layer::{self, LayerSource, Limits};
use plimsoll_image::manifest::{ImageConfig, Manifest};
use plimsoll_image::select::Table;
use plimsoll_model::extract::Extract;
use plimsoll_model::{Digest, Platform, Reference, Sbom};
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::exposure::exposures;
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol::state::ClusterState;
use plimsoll_sbom::purl::Purl;
use plimsoll_sbom::{ImageMeta, build, cyclonedx, document, spdx};
use plimsoll_version::Scheme;
use plimsoll_vuln::{BuildOptions, Db};

/// A target: its name, which is that of its folder of seeds, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("document", document),
    ("feed", feed),
    ("file", file),
    ("layer", layer),
    ("manifest", manifest),
    ("objects", objects),
    ("text", text),
];

/// What stands between the layers of an input.
pub const BETWEEN_LAYERS: &[u8] = b"\n=== layer ===\n";

/// Bounds that end a run soon: what is slow by its size alone is not what is looked for.
fn limits() -> Limits {
    Limits {
        profile: "fuzz".to_owned(),
        decompressed_bytes: 16 << 20,
        ratio_from: 8 << 20,
        entries: 10_000,
        name_bytes: 1 << 20,
        kept_bytes: 4 << 20,
        entry_bytes: 8 << 20,
        ..Limits::default()
    }
}

/// The layers of an image are read, merged and cataloged, and the SBOM is written and read again.
pub fn layer(input: &[u8]) {
    let mut extracts = Vec::new();
    let mut rest = input;
    while extracts.len() < 4 {
        let at = rest.windows(BETWEEN_LAYERS.len()).position(|window| window == BETWEEN_LAYERS);
        let (bytes, after) = match at {
            Some(at) => (&rest[..at], Some(&rest[at + BETWEEN_LAYERS.len()..])),
            None => (rest, None),
        };
        extracts.extend(extract(bytes, &limits()));
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    sbom(&extracts);
}

/// A layer of one file is read and cataloged, lockfiles included.
pub fn file(input: &[u8]) {
    let (path, content) = split(input);
    if path.is_empty() || path.len() > 100 {
        return;
    }
    let mut header = [0_u8; 512];
    header[..path.len()].copy_from_slice(path);
    header[100..108].copy_from_slice(b"0000755\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    sbom(extract(&tar, &limits()).as_slice());
    // The same file as one that is too large to be held.
    sbom(extract(&tar, &Limits { entry_bytes: 64, ..limits() }).as_slice());
}

fn extract(bytes: &[u8], limits: &Limits) -> Option<Extract> {
    let hash = digest(&SHA256, bytes);
    let digest = Digest::from_sha256(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"));
    let source = LayerSource {
        digest,
        size: Some(bytes.len() as u64),
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
    };
    let extract = layer::read(bytes, &source, limits, Table::with_lockfiles(), &()).ok()?;
    let sorted = |a: &(&str, &str), b: &(&str, &str)| a <= b;
    let paths = extract.entries.iter().is_sorted_by(|a, b| a.path <= b.path);
    assert!(paths, "entries are not sorted by path");
    let kept = extract
        .selected
        .windows(2)
        .all(|pair| sorted(&(&pair[0].path, &pair[0].selector), &(&pair[1].path, &pair[1].selector)));
    assert!(kept, "kept bytes are not sorted by path and selector");
    let sum: usize = extract.selected.iter().map(|kept| kept.bytes.len()).sum();
    assert!(sum <= 4 << 20, "{sum} bytes are kept");
    Some(extract)
}

fn sbom(extracts: &[Extract]) {
    let sbom = build(ImageMeta { name: "fuzz".to_owned(), ..ImageMeta::default() }, extracts);
    assert_eq!(sbom, build(ImageMeta { name: "fuzz".to_owned(), ..ImageMeta::default() }, extracts));
    written(&sbom);
}

/// The forms in which an SBOM is written.
fn forms(sbom: &Sbom) -> [(&'static str, Vec<u8>); 3] {
    [
        ("CycloneDX", cyclonedx::write(sbom, &cyclonedx::Options::default())),
        ("SPDX", spdx::write(sbom, None, false)),
        ("SPDX tag-value", spdx::write_tag_value(sbom, None)),
    ]
}

/// What is written can be read again, with all that decides about matches.
fn written(sbom: &Sbom) {
    let decisive = |sbom: &Sbom| {
        let mut all: Vec<_> = sbom
            .components
            .iter()
            .map(|component| (component.key.clone(), component.owned_by.clone(), component.confidence))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    for (name, bytes) in forms(sbom) {
        match document::read(&bytes) {
            Ok(read) => {
                assert_eq!(decisive(&read), decisive(sbom), "{name}");
                assert_eq!(read.inside(), sbom.inside(), "{name}");
            }
            Err(error) => panic!("{name} that was written is refused: {error}"),
        }
    }
}

/// A manifest and a configuration are read from the same bytes.
pub fn manifest(input: &[u8]) {
    let (media_type, content) = split(input);
    let media_type = String::from_utf8_lossy(media_type);
    if let Ok(Manifest::Index(index)) = Manifest::parse(content, &media_type) {
        index.select(&Platform::default());
    }
    let _ = ImageConfig::parse(content, 3);
}

/// An SBOM is read; what was read can be written and read again. A document may say one thing twice, which is once in
/// what is written.
pub fn document(input: &[u8]) {
    if let Ok(sbom) = document::read(input) {
        for (name, bytes) in forms(&sbom) {
            match document::read(&bytes) {
                Ok(read) => written(&read),
                Err(error) => panic!("{name} that was written is refused: {error}"),
            }
        }
    }
}

/// A source is read and becomes a Db, which can be opened, verified and asked.
pub fn feed(input: &[u8]) {
    let (name, content) = split(input);
    let Ok(name) = std::str::from_utf8(name) else { return };
    if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        return;
    }
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(format!("x{name}"));
    if std::fs::write(&path, content).is_err() {
        return;
    }
    let options = BuildOptions { seq: 1, ..BuildOptions::default() };
    let Ok((bytes, _)) = plimsoll_vuln::build(std::slice::from_ref(&path), &options) else { return };
    let again = plimsoll_vuln::build(&[path], &options).expect("the same input");
    assert_eq!(bytes, again.0, "equal inputs give equal bytes");
    let db = Db::from_bytes(bytes).expect("a Db that was just built");
    db.verify().expect("a Db that was just built is whole");
    db.info().expect("a Db that was just built tells of itself");
    for id in ["CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"] {
        db.vulnerabilities(id).expect("a Db that was just built can be asked");
    }
}

/// Objects become a cluster state, its connectivity and exposures.
pub fn objects(input: &[u8]) {
    let Ok(objects) = parse_documents(input, Format::Yaml) else { return };
    let state = ClusterState::from(objects);
    let options = Options::default();
    let connectivity = Connectivity::build(&state, &options);
    exposures(&state, &connectivity, &options);
    for (source, destination, _) in connectivity.rows().iter() {
        connectivity.between(source, destination);
    }
}

/// Package URLs, references, digests and versions.
pub fn text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines: Vec<&str> = text.lines().take(3).collect();
    for line in &lines {
        if let Ok(purl) = line.parse::<Purl>() {
            let written = purl.to_string();
            assert_eq!(written.parse::<Purl>().as_ref(), Ok(&purl), "{written}");
            plimsoll_sbom::component_of_purl(&purl, None);
        }
        if let Ok(reference) = line.parse::<Reference>() {
            let written = reference.to_string();
            assert_eq!(written.parse::<Reference>().ok(), Some(reference), "{written}");
        }
        let _ = line.parse::<Digest>();
    }
    for scheme in Scheme::ALL {
        for (a, b) in [(0, 0), (0, 1), (1, 2), (0, 2)] {
            let (Some(a), Some(b)) = (lines.get(a), lines.get(b)) else { continue };
            let (forth, back) = (scheme.compare(a, b), scheme.compare(b, a));
            assert_eq!(forth.ok(), back.ok().map(Ordering::reverse), "{scheme}: {a:?} {b:?}");
        }
        if let [a, b, c] = lines.as_slice()
            && let (Ok(ab), Ok(bc), Ok(ac)) =
                (scheme.compare(a, b), scheme.compare(b, c), scheme.compare(a, c))
            && (ab == bc || ab.is_eq() || bc.is_eq())
        {
            assert_eq!(ac, ab.then(bc), "{scheme}: {a:?} {b:?} {c:?}");
        }
    }
}

/// The first line, and what follows it.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[]),
    }
}
