//! Java archives: jar, war, ear and the like, archives inside them included.

use std::collections::BTreeMap;

use serde::Serialize;

use super::pom::{self, Project};
use super::zipped::{Member, Zip};
use super::{File, Selector, Trigger, Want};

/// Keeps a JSON object for an archive that says what it is: [`Archive`].
pub struct Java;

const MAX: u64 = 64 << 20;
/// Archives in archives in …: deeper ones are not opened.
const MAX_DEPTH: usize = 5;
/// Archives inside one file.
const MAX_ARCHIVES: u32 = 10_000;
/// Bytes that are inflated or searched for one file.
const MAX_WORK: u64 = 1 << 30;
/// Inflated archives that are held at one time, those around them included.
const MAX_HELD: u64 = 128 << 20;
/// Deflate makes no more of a byte.
const MAX_RATIO: u64 = 1_032;
/// Bytes of names and values that are kept for one file.
const MAX_KEPT: usize = 8 << 20;
/// Bytes of a manifest that are looked at; signed jars list every class in it.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_PROPERTIES: u64 = 64 << 10;
const MAX_PROJECT: u64 = 1 << 20;
const MAX_VALUE: usize = 1_024;

const EXTENSIONS: &[&str] = &["jar", "war", "ear", "par", "sar", "nar", "jpi", "hpi", "kar", "lpkg", "rar"];

/// Attributes of the manifest that are kept: of the main section, else of the first section that has them.
pub const ATTRIBUTES: &[&str] = &[
    "Automatic-Module-Name",
    "Bundle-License",
    "Bundle-Name",
    "Bundle-SymbolicName",
    "Bundle-Vendor",
    "Bundle-Version",
    "Created-By",
    "Extension-Name",
    "Group-Id",
    "Implementation-Title",
    "Implementation-Vendor",
    "Implementation-Vendor-Id",
    "Implementation-Version",
    "Plugin-Version",
    "Short-Name",
    "Specification-Title",
    "Specification-Vendor",
    "Specification-Version",
    "Weave-Classes",
];

/// What is kept of an archive.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// Attributes of `META-INF/MANIFEST.MF`; absent where the archive has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<BTreeMap<String, String>>,
    /// `META-INF/maven/GROUP/ARTIFACT` and what `pom.properties` there says; nothing for a `pom.xml` alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub poms: BTreeMap<String, BTreeMap<String, String>>,
    /// What a `pom.xml` in such a directory says, dependencies left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<String, Project>,
    /// Archives inside, by their path in this one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nested: BTreeMap<String, Archive>,
    /// The limit that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<&'static str>,
}

impl Selector for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Extension("jar"),
                Trigger::Extension("war"),
                Trigger::Extension("ear"),
                Trigger::Extension("par"),
                Trigger::Extension("sar"),
                Trigger::Extension("nar"),
                Trigger::Extension("jpi"),
                Trigger::Extension("hpi"),
                Trigger::Extension("kar"),
                Trigger::Extension("lpkg"),
            ]
        }
    }

    fn wants(&self, _file: &File<'_>) -> Want {
        Want::Whole { max: MAX }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut budget = Budget { work: MAX_WORK, kept: MAX_KEPT, archives: MAX_ARCHIVES, held: 0 };
        let archive = archive(bytes, 1, &mut budget)?;
        serde_json::to_vec(&archive).ok()
    }
}

/// What one file may still cost.
struct Budget {
    work: u64,
    kept: usize,
    archives: u32,
    /// Bytes of inflated archives that are held.
    held: u64,
}

impl Budget {
    /// A member's bytes, paid for whether or not they can be read.
    fn read<'a>(&mut self, zip: &Zip<'a>, member: &Member<'a>, max: u64) -> Option<Vec<u8>> {
        let max = max.min(self.work);
        let bytes = zip.read(member, max);
        let ceiling = member.stored.saturating_mul(MAX_RATIO).min(max);
        self.work(bytes.as_ref().map_or(ceiling, |bytes| bytes.len() as u64).saturating_add(64));
        bytes
    }

    fn work(&mut self, bytes: u64) {
        self.work = self.work.saturating_sub(bytes);
    }

    /// Takes `kept` bytes and says which limit is reached, if one is.
    fn enough(&mut self, kept: usize) -> Result<(), &'static str> {
        self.kept = self.kept.saturating_sub(kept);
        match (self.work, self.kept) {
            (0, _) => Err("work"),
            (_, 0) => Err("kept"),
            _ => Ok(()),
        }
    }
}

/// What an archive says of itself; `None` for one without a manifest, a POM, or an archive that does.
fn archive(bytes: &[u8], depth: usize, budget: &mut Budget) -> Option<Archive> {
    let zip = Zip::open(bytes)?;
    let mut found = Archive::default();
    for member in zip.members() {
        let limit = if member.name == b"META-INF/MANIFEST.MF" && found.manifest.is_none() {
            manifest(&zip, &member, budget, &mut found)
        } else if let Some(inside) = member.name.strip_prefix(b"META-INF/maven/") {
            maven(&zip, &member, inside, budget, &mut found)
        } else if is_archive(member.name) {
            nested(&zip, &member, depth, budget, &mut found)
        } else {
            Ok(())
        };
        if let Err(limit) = limit {
            found.incomplete = Some(limit);
            if limit != "nesting" && limit != "size" {
                break;
            }
        }
    }
    (found != Archive::default()).then_some(found)
}

fn is_archive(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return false };
    let extension = name.get(dot + 1..).unwrap_or(&[]);
    EXTENSIONS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(extension))
}

fn manifest<'a>(
    zip: &Zip<'a>,
    member: &Member<'a>,
    budget: &mut Budget,
    found: &mut Archive,
) -> Result<(), &'static str> {
    let Some(bytes) = budget.read(zip, member, MAX_MANIFEST) else { return Ok(()) };
    let attributes = attributes(&String::from_utf8_lossy(&bytes));
    let kept = attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + 16;
    found.manifest = Some(attributes);
    budget.enough(kept)
}

/// The attributes of interest (JAR File Specification, "Name-Value pairs and Sections").
fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    // The attribute that continuation lines belong to, if it is kept.
    let mut open: Option<&'static str> = None;
    for line in text.split(['\n', '\r']) {
        if line.is_empty() {
            // Blank lines end sections; `\r\n` gives one after every line, so what is open stays open.
            continue;
        }
        if let Some(more) = line.strip_prefix(' ') {
            if let Some(value) = open.and_then(|name| kept.get_mut(name))
                && value.len() < MAX_VALUE
            {
                value.push_str(more);
            }
            continue;
        }
        open = None;
        let Some((name, value)) = line.split_once(':') else { continue };
        let Some(known) = ATTRIBUTES.iter().find(|known| known.eq_ignore_ascii_case(name)) else { continue };
        if !kept.contains_key(*known) {
            open = Some(known);
            kept.insert((*known).to_owned(), value.trim_start().to_owned());
        }
    }
    for value in kept.values_mut() {
        let mut end = MAX_VALUE.min(value.len());
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
        *value = value.trim().to_owned();
    }
    kept.retain(|_, value| !value.is_empty());
    kept
}

/// A `pom.properties`, or a `pom.xml`.
fn maven<'a>(
    zip: &Zip<'a>,
    member: &Member<'a>,
    inside: &[u8],
    budget: &mut Budget,
    found: &mut Archive,
) -> Result<(), &'static str> {
    let Some((directory, name)) = std::str::from_utf8(inside).ok().and_then(|path| path.rsplit_once('/'))
    else {
        return Ok(());
    };
    let coordinates = match name {
        "pom.xml" => {
            let project = budget
                .read(zip, member, MAX_PROJECT)
                .and_then(|bytes| pom::read(&String::from_utf8_lossy(&bytes)));
            if let Some(project) = project {
                let project = Project { dependencies: Vec::new(), ..project };
                let texts = [&project.group_id, &project.artifact_id, &project.version];
                let kept =
                    texts.into_iter().chain(&project.licenses).map(|text| text.len() + 16).sum::<usize>();
                found.projects.insert(directory.to_owned(), project);
                budget.enough(kept)?;
            }
            BTreeMap::new()
        }
        "pom.properties" => {
            let Some(bytes) = budget.read(zip, member, MAX_PROPERTIES) else { return budget.enough(0) };
            properties(&String::from_utf8_lossy(&bytes))
        }
        _ => return Ok(()),
    };
    let kept = directory.len() + coordinates.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() + 16;
    found.poms.entry(directory.to_owned()).or_default().extend(coordinates);
    budget.enough(kept)
}

/// `groupId`, `artifactId`, `version` of a properties file (java.util.Properties, without escapes).
fn properties(text: &str) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', '!'])) {
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let (name, value) = (name.trim(), value.trim());
        if matches!(name, "groupId" | "artifactId" | "version")
            && !value.is_empty()
            && value.len() < MAX_VALUE
        {
            kept.insert(name.to_owned(), value.to_owned());
        }
    }
    kept
}

fn nested<'a>(
    zip: &Zip<'a>,
    member: &Member<'a>,
    depth: usize,
    budget: &mut Budget,
    found: &mut Archive,
) -> Result<(), &'static str> {
    let Some(left) = budget.archives.checked_sub(1) else { return Err("archives") };
    budget.archives = left;
    if depth >= MAX_DEPTH {
        return Err("nesting");
    }
    let inside = if let Some(bytes) = zip.plain(member) {
        budget.work(bytes.len() as u64);
        budget.enough(0)?;
        archive(bytes, depth + 1, budget)
    } else {
        let max = MAX.min(MAX_HELD - budget.held);
        let bytes = budget.read(zip, member, max);
        budget.enough(0)?;
        let Some(bytes) = bytes else { return Err("size") };
        budget.held += bytes.len() as u64;
        let inside = archive(&bytes, depth + 1, budget);
        budget.held -= bytes.len() as u64;
        inside
    };
    if let Some(inside) = inside {
        let name = String::from_utf8_lossy(member.name).into_owned();
        let kept = name.len() + 16;
        found.nested.insert(name, inside);
        return budget.enough(kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn jar(members: &[(&str, &[u8])], deflate: bool) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let method = if deflate { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        for (name, bytes) in members {
            writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn reduce(bytes: &[u8]) -> Option<Value> {
        let file = File { path: "a.jar", size: bytes.len() as u64, mode: 0o644 };
        Java.reduce(&file, bytes).map(|kept| serde_json::from_slice(&kept).unwrap())
    }

    const MANIFEST: &[u8] = b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.example.\r\n  a\r\nIMPLEMENTATION-VERSION: 1.\r\n 2\r\n\r\nName: x/\r\nImplementation-Version: 9\r\nImplementation-Title: T\r\n";
    const POM: &[u8] = b"#Generated\n#Mon\nversion=1.2\r\ngroupId = org.example\nartifactId: a\nother=x\n";

    #[test]
    fn keeps_what_archives_say_of_themselves() {
        let inner = jar(&[("META-INF/maven/org.example/a/pom.properties", POM), ("x.class", b"x")], true);
        for deflate in [false, true] {
            let outer = jar(
                &[
                    ("META-INF/MANIFEST.MF", MANIFEST),
                    ("BOOT-INF/lib/a-1.2.JAR", &inner),
                    ("BOOT-INF/lib/broken.jar", b"PK"),
                    ("META-INF/maven/org.example/b/pom.xml", b"<project/>"),
                    ("META-INF/maven/pom.properties", POM),
                ],
                deflate,
            );
            let pom = json!({"artifactId": "a", "groupId": "org.example", "version": "1.2"});
            let expected = json!({
                "manifest": {"Bundle-SymbolicName": "org.example. a", "Implementation-Title": "T", "Implementation-Version": "1.2"},
                "poms": {"org.example/b": {}},
                "nested": {"BOOT-INF/lib/a-1.2.JAR": {"poms": {"org.example/a": pom}}},
            });
            assert_eq!(reduce(&outer), Some(expected.clone()));
            // The script of a self-executing archive comes first.
            assert_eq!(reduce(&[b"#!/bin/sh\nexec java -jar\n", &outer[..]].concat()), Some(expected));
        }
        assert_eq!(reduce(&jar(&[("x.class", b"x")], true)), None);
        assert_eq!(reduce(b"no archive"), None);
        assert_eq!(reduce(b""), None);
    }

    #[test]
    fn limits_end_what_is_opened() {
        let mut nested = jar(&[("META-INF/MANIFEST.MF", MANIFEST)], true);
        for _ in 0..10 {
            nested = jar(&[("META-INF/MANIFEST.MF", MANIFEST), ("a.jar", &nested)], true);
        }
        let mut found = &reduce(&nested).unwrap();
        let mut depth = 1;
        while let Some(inside) = found["nested"].get("a.jar") {
            (found, depth) = (inside, depth + 1);
        }
        assert_eq!((depth, found["incomplete"].as_str()), (MAX_DEPTH, Some("nesting")));
        // A directory of many records for the same large content costs no more than the budget.
        let zeros = vec![0; 1 << 20];
        let mut budget = Budget { work: 3 << 20, kept: 100, archives: 10, held: 0 };
        let many = jar(&[("a.jar", &zeros), ("b.jar", &zeros), ("c.jar", &zeros), ("d.jar", &zeros)], true);
        assert_eq!(archive(&many, 1, &mut budget).unwrap().incomplete, Some("work"));
        let many =
            jar(&[("META-INF/maven/g/a/pom.xml", b""), ("META-INF/maven/g/b/pom.xml", &[b'x'; 90])], true);
        budget = Budget { work: 3 << 20, kept: 30, archives: 10, held: 0 };
        assert_eq!(archive(&many, 1, &mut budget).unwrap().incomplete, Some("kept"));
    }

    proptest! {
        /// The members are those that the `zip` crate finds, with the same bytes.
        #[test]
        fn reads_what_the_zip_crate_writes(members in proptest::collection::btree_map("[a-z/]{1,8}[a-z]", proptest::collection::vec(any::<u8>(), 0..200), 0..8), deflate: bool) {
            let list: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            let bytes = jar(&list, deflate);
            let zip = Zip::open(&bytes).unwrap();
            let mut found = BTreeMap::new();
            for member in zip.members() {
                found.insert(String::from_utf8(member.name.to_vec()).unwrap(), zip.read(&member, 200).unwrap());
            }
            prop_assert_eq!(found, members);
        }

        #[test]
        fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..600, byte: u8) {
            let _ = reduce(&noise);
            let inner = jar(&[("META-INF/maven/org.example/a/pom.properties", POM)], true);
            let mut bytes = jar(&[("META-INF/MANIFEST.MF", MANIFEST), ("a.jar", &inner)], false);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = reduce(&bytes);
            let _ = reduce(&[&bytes[..at], &noise[..], &bytes[at..]].concat());
        }
    }
}
