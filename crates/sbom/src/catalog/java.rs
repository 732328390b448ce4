//! Java archives: Maven's `pom.properties`, else the manifest and the file's name, as Syft orders them.

use std::collections::BTreeMap;

use plimsoll_model::sbom::{Component, Confidence, Location};
use plimsoll_model::{ComponentKey, Ecosystem, PackageKey};
use serde::Deserialize;

use super::{Context, File, Interpreted, component, last};
use crate::license;

/// What the selector keeps of an archive.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Archive {
    manifest: Option<BTreeMap<String, String>>,
    /// By `GROUP/ARTIFACT`; empty for a `pom.xml` alone.
    poms: BTreeMap<String, BTreeMap<String, String>>,
    /// What a `pom.xml` in such a directory says.
    projects: BTreeMap<String, Project>,
    nested: BTreeMap<String, Archive>,
    incomplete: Option<String>,
}

/// What is kept of a `pom.xml`; empty where it is not known from the file alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Project {
    group_id: String,
    artifact_id: String,
    version: String,
    licenses: Vec<String>,
}

/// A package's coordinates.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Coordinates {
    group: String,
    artifact: String,
    version: String,
    confidence: Confidence,
}

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        match serde_json::from_slice::<Archive>(file.bytes) {
            Ok(top) => {
                archive(&top, file, "", last(file.path), &mut found);
            }
            Err(why) => found.unreadable("java_archive_unreadable", file, why),
        }
    }
    found
}

/// Adds an archive's packages and gives the purl of the archive itself. `inside` is the path of a nested archive
/// in the file, each step after `!/`.
fn archive(
    archive: &Archive,
    file: &File<'_>,
    inside: &str,
    name: &str,
    found: &mut Interpreted,
) -> Option<String> {
    if let Some(limit) = &archive.incomplete {
        found.unreadable("java_archive_limit", file, format!("{inside}: {limit}"));
    }
    let mut stated = stated(archive);
    let itself = itself(archive, name, &stated);
    if let Some(itself) = &itself {
        stated.retain(|other| (&other.artifact, &other.version) != (&itself.artifact, &itself.version));
    }
    let project_licenses = |coordinates: &Coordinates| -> Vec<String> {
        let of = |project: &&Project| {
            project.artifact_id == coordinates.artifact
                && (project.group_id == coordinates.group || project.group_id.is_empty())
        };
        let project = archive.projects.values().find(of);
        project
            .map_or(&[][..], |project| &project.licenses)
            .iter()
            .filter_map(|text| license::stated(text))
            .collect()
    };
    let mut licenses: Vec<String> = archive
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.get("Bundle-License"))
        .and_then(|text| license::stated(text.split([';', ',']).next()?.trim().trim_matches('"')))
        .into_iter()
        .collect();

    let mut parts: Vec<String> = Vec::new();
    for coordinates in stated {
        let mut part = package(&coordinates, file, inside);
        part.licenses = project_licenses(&coordinates);
        parts.push(part.purl.clone());
        found.components.push(part);
    }
    for (path, nested) in &archive.nested {
        let name = last(path);
        parts.extend(self::archive(nested, file, &format!("{inside}!/{path}"), name, found));
    }
    let itself = itself?;
    let stated = project_licenses(&itself);
    if !stated.is_empty() {
        licenses = stated; // Maven's names say more than the manifest's addresses
    }
    let mut component = package(&itself, file, inside);
    component.licenses = licenses;
    component.depends_on = parts;
    let purl = component.purl.clone();
    found.components.push(component);
    Some(purl)
}

fn package(coordinates: &Coordinates, file: &File<'_>, inside: &str) -> Component {
    let Coordinates { group, artifact, version, confidence } = coordinates;
    let key = ComponentKey {
        package: PackageKey {
            ecosystem: Ecosystem::Maven,
            release: None,
            name: format!("{group}:{artifact}"),
        },
        version: version.clone(),
        source: None,
        arch: String::new(),
        stream: String::new(),
    };
    let mut component = component(key, artifact, file, "java");
    component.confidence = *confidence;
    if !inside.is_empty() {
        let path = |location: Location| Location { path: format!("{}{inside}", location.path), ..location };
        component.locations = component.locations.into_iter().map(path).collect();
    }
    component
}

/// The coordinates that the archive's POMs state: `pom.properties`, else `pom.xml`.
fn stated(archive: &Archive) -> Vec<Coordinates> {
    let of = |(directory, properties): (&String, &BTreeMap<String, String>)| {
        coordinates(properties).or_else(|| archive.projects.get(directory)?.coordinates())
    };
    archive.poms.iter().filter_map(of).collect()
}

impl Project {
    fn coordinates(&self) -> Option<Coordinates> {
        let texts = [&self.group_id, &self.artifact_id, &self.version];
        texts.iter().all(|text| valid(text)).then(|| Coordinates {
            group: self.group_id.clone(),
            artifact: self.artifact_id.clone(),
            version: self.version.clone(),
            confidence: Confidence::High,
        })
    }
}

/// The coordinates of a `pom.properties` with all three, free of placeholders.
fn coordinates(properties: &BTreeMap<String, String>) -> Option<Coordinates> {
    let value = |name: &str| {
        let text = properties.get(name).map(String::as_str).unwrap_or("").trim();
        (valid(text) && !text.contains("${")).then(|| text.to_owned())
    };
    Some(Coordinates {
        group: value("groupId")?,
        artifact: value("artifactId")?,
        version: value("version")?,
        confidence: Confidence::High,
    })
}

/// Text that can stand in coordinates.
fn valid(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ":/\\@!?#".contains(c))
}

/// The package that the archive is: of its POMs the one that its name fits, else by its manifest and name.
fn itself(archive: &Archive, file_name: &str, stated: &[Coordinates]) -> Option<Coordinates> {
    let (name, version) = split_name(stem(file_name));
    let exact = stated.iter().any(|pom| pom.artifact == name);
    let fits = |artifact: &str| {
        if exact { artifact == name } else { artifact.starts_with(name) || name.ends_with(artifact) }
    };
    if let Some(pom) = stated.iter().find(|pom| fits(&pom.artifact)) {
        return Some(pom.clone());
    }
    // A repackaged archive carries the POMs of what it contains; alone, a POM is the archive's own.
    let manifest = archive.manifest.as_ref()?;
    if manifest.contains_key("Weave-Classes") {
        return None; // instrumentation of another library, under its name
    }
    let get = |field: &str| manifest.get(field).map(|text| text.trim()).filter(|text| valid(text));
    let version = Some(version)
        .filter(|version| valid(version))
        .or_else(|| get("Implementation-Version"))
        .or_else(|| get("Specification-Version"))
        .or_else(|| get("Plugin-Version"))
        .or_else(|| get("Bundle-Version"))
        // What an archive is called is known even so; nothing is looked up for it.
        .unwrap_or("");
    // A directory with a `pom.xml` alone names group and artifact.
    let named = archive.poms.iter().filter(|(_, properties)| properties.is_empty());
    for (directory, _) in named {
        if let Some((group, artifact)) = directory.split_once('/')
            && fits(artifact)
            && valid(group)
            && valid(artifact)
        {
            let (group, artifact, version) = (group.to_owned(), artifact.to_owned(), version.to_owned());
            return Some(Coordinates { group, artifact, version, confidence: Confidence::High });
        }
    }
    // `ARTIFACT-VERSION.jar` is how Maven itself names the file.
    let by_name = (!split_name(stem(file_name)).1.is_empty() && !name.contains('.')).then_some(name);
    let artifact = by_name
        .or_else(|| bundle_artifact(manifest))
        .or_else(|| Some(dotted_artifact(name)))
        .filter(|name| valid(name))
        .or_else(|| get("Short-Name"))
        .or_else(|| get("Extension-Name"))
        .or_else(|| get("Implementation-Title"))?;
    Some(Coordinates {
        group: group(manifest, name, artifact),
        artifact: artifact.to_owned(),
        version: version.to_owned(),
        confidence: Confidence::Low,
    })
}

fn stem(file_name: &str) -> &str {
    file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem)
}

/// Name and version of a file's name without its extension: the version begins at the first part between dashes
/// that looks like one (`1.2`, `r09`, `rc1`, `build7`).
fn split_name(stem: &str) -> (&str, &str) {
    let begins = |text: &str| {
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let lower = text.to_ascii_lowercase();
        digit(&lower)
            || ["rc", "r", "build", "v"].iter().any(|word| lower.strip_prefix(word).is_some_and(digit))
    };
    for (at, _) in stem.match_indices('-') {
        if let (Some(name), Some(version)) = (stem.get(..at), stem.get(at + 1..))
            && !name.is_empty()
            && begins(version)
        {
            return (name, version);
        }
    }
    // `name.1.2`, `name_1.2` (Eclipse).
    for (at, _) in stem.match_indices(['_', '.']) {
        if let (Some(name), Some(version)) = (stem.get(..at), stem.get(at + 1..))
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && version.starts_with(|c: char| c.is_ascii_digit())
            && version.contains('.')
        {
            return (name, version);
        }
    }
    (stem, "")
}

/// The last part of a name that may be `group.artifact`: artifacts have no dots by convention.
fn dotted_artifact(name: &str) -> &str {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    match name.rsplit_once('.') {
        Some((_, last)) if name.split('.').all(part) => last,
        _ => name,
    }
}

/// `Bundle-SymbolicName` is `GROUP.ARTIFACT` where Maven's bundle plugin wrote it.
fn bundle_artifact(manifest: &BTreeMap<String, String>) -> Option<&str> {
    if !manifest.get("Created-By")?.contains("Apache Maven Bundle Plugin") {
        return None;
    }
    let symbolic = symbolic_name(manifest)?;
    let vendor = manifest.get("Implementation-Vendor-Id").map(String::as_str).unwrap_or("");
    if vendor == symbolic {
        return None;
    }
    let after = symbolic.strip_prefix(vendor).filter(|_| !vendor.is_empty());
    after.and_then(|rest| rest.strip_prefix('.')).or_else(|| symbolic.rsplit('.').next())
}

/// `Bundle-SymbolicName` without its directives.
fn symbolic_name(manifest: &BTreeMap<String, String>) -> Option<&str> {
    manifest.get("Bundle-SymbolicName")?.split(';').next().map(str::trim).filter(|name| valid(name))
}

/// Groups of libraries that are found without a POM and are called by their artifact's name alone; sorted.
const GROUPS: &[(&str, &str)] = &[
    ("activation", "javax.activation"),
    ("ant", "org.apache.ant"),
    ("antlr", "antlr"),
    ("bcprov-jdk15on", "org.bouncycastle"),
    ("bcprov-jdk18on", "org.bouncycastle"),
    ("commons-beanutils", "commons-beanutils"),
    ("commons-cli", "commons-cli"),
    ("commons-codec", "commons-codec"),
    ("commons-collections", "commons-collections"),
    ("commons-compress", "org.apache.commons"),
    ("commons-configuration", "commons-configuration"),
    ("commons-dbcp", "commons-dbcp"),
    ("commons-digester", "commons-digester"),
    ("commons-fileupload", "commons-fileupload"),
    ("commons-httpclient", "commons-httpclient"),
    ("commons-io", "commons-io"),
    ("commons-lang", "commons-lang"),
    ("commons-logging", "commons-logging"),
    ("commons-net", "commons-net"),
    ("commons-pool", "commons-pool"),
    ("derby", "org.apache.derby"),
    ("dom4j", "dom4j"),
    ("gson", "com.google.code.gson"),
    ("guava", "com.google.guava"),
    ("h2", "com.h2database"),
    ("hsqldb", "org.hsqldb"),
    ("jackson-core-asl", "org.codehaus.jackson"),
    ("jackson-mapper-asl", "org.codehaus.jackson"),
    ("javax.servlet-api", "javax.servlet"),
    ("jdom", "org.jdom"),
    ("jetty-server", "org.eclipse.jetty"),
    ("junit", "junit"),
    ("log4j", "log4j"),
    ("mysql-connector-java", "mysql"),
    ("ojdbc8", "com.oracle.database.jdbc"),
    ("oro", "oro"),
    ("postgresql", "org.postgresql"),
    ("snakeyaml", "org.yaml"),
    ("spring-beans", "org.springframework"),
    ("spring-context", "org.springframework"),
    ("spring-core", "org.springframework"),
    ("spring-expression", "org.springframework"),
    ("spring-web", "org.springframework"),
    ("spring-webmvc", "org.springframework"),
    ("velocity", "org.apache.velocity"),
    ("xalan", "xalan"),
    ("xercesImpl", "xerces"),
    ("xstream", "com.thoughtworks.xstream"),
    ("zookeeper", "org.apache.zookeeper"),
];

/// A group for an archive that states none: what of the manifest looks like a reversed domain, without the
/// artifact at its end; else the artifact, as many old packages have it.
fn group(manifest: &BTreeMap<String, String>, file_name: &str, artifact: &str) -> String {
    let get = |field: &str| manifest.get(field).map(|text| text.trim());
    let whole = [get("Group-Id"), get("Implementation-Vendor-Id")];
    let longer = [
        symbolic_name(manifest),
        get("Extension-Name"),
        get("Implementation-Title"),
        get("Automatic-Module-Name"),
        Some(file_name),
    ];
    if let Ok(at) = GROUPS.binary_search_by(|(known, _)| (*known).cmp(artifact)) {
        return GROUPS.get(at).map_or("", |(_, group)| group).to_owned();
    }
    if let Some(group) = whole.into_iter().flatten().find(|text| domain(text)) {
        return group.to_owned();
    }
    let longer: Vec<&str> = longer.into_iter().flatten().filter(|text| domain(text)).collect();
    for text in &longer {
        if let Some(group) = text.strip_suffix(artifact).and_then(|rest| rest.strip_suffix('.'))
            && group.contains('.')
            // Every project of Apache has a group of its own.
            && group != "org.apache"
        {
            return group.to_owned();
        }
        // `org.eclipse.jetty.util` of `jetty-util` is in the group `org.eclipse.jetty`.
        let dotted = artifact.replace('-', ".");
        if let Some((first, rest)) = dotted.split_once('.')
            && text.strip_suffix(dotted.as_str()).is_some_and(|before| before.ends_with('.'))
            && let Some(group) = text.strip_suffix(rest).and_then(|before| before.strip_suffix('.'))
            && group.ends_with(first)
        {
            return group.to_owned();
        }
    }
    longer.first().copied().unwrap_or(artifact).to_owned()
}

/// Whether a text looks like a reversed domain: `org.example…`.
fn domain(text: &str) -> bool {
    const TOP: &[&str] = &[
        "com", "org", "net", "io", "edu", "gov", "dev", "de", "fr", "uk", "ch", "eu", "ru", "cn", "jp", "me",
        "co", "jakarta", "javax", "info", "nl", "no", "se", "at", "be", "it", "pl", "us", "tech", "app",
        "cz", "br", "au",
    ];
    let mut parts = text.split('.');
    parts.next().is_some_and(|first| TOP.contains(&first))
        && text.contains('.')
        && valid(text)
        && text.split('.').all(|part| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) && !part.is_empty()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(file: &str, archive: serde_json::Value) -> Option<(String, Confidence)> {
        let archive: Archive = serde_json::from_value(archive).unwrap();
        let stated = stated(&archive);
        let found = itself(&archive, file, &stated)?;
        Some((format!("{}:{}:{}", found.group, found.artifact, found.version), found.confidence))
    }

    #[test]
    fn identities_of_archives() {
        use Confidence::{High, Low};
        let pom = |group: &str, artifact: &str, version: &str| serde_json::json!({"groupId": group, "artifactId": artifact, "version": version});
        let cases = [
            ("a-1.jar", serde_json::json!({"poms": {"g/a": pom("g", "a", "1")}}), Some(("g:a:1", High))),
            // A shaded archive: the POM that the name fits is its own.
            (
                "big-2.0.jar",
                serde_json::json!({"poms": {"g/a": pom("g", "a", "1"), "h/big": pom("h", "big", "2.0")}}),
                Some(("h:big:2.0", High)),
            ),
            // Scala's cross-building: the name is longer than the artifact.
            (
                "x-y_2.12-1.jar",
                serde_json::json!({"poms": {"g/y_2.12": pom("g", "y_2.12", "1")}}),
                Some(("g:y_2.12:1", High)),
            ),
            (
                "log4j-1.2.17.jar",
                serde_json::json!({"manifest": {"Implementation-Version": "9"}}),
                Some(("log4j:log4j:1.2.17", Low)),
            ),
            (
                "jetty-util-9.4.jar",
                serde_json::json!({"manifest": {"Bundle-SymbolicName": "org.eclipse.jetty.util", "Created-By": "Apache Maven Bundle Plugin"}}),
                Some(("org.eclipse.jetty:jetty-util:9.4", Low)),
            ),
            (
                "asm.jar",
                serde_json::json!({"manifest": {"Bundle-SymbolicName": "org.objectweb.asm;singleton:=true", "Implementation-Version": "9.1"}}),
                Some(("org.objectweb:asm:9.1", Low)),
            ),
            ("b.jar", serde_json::json!({"manifest": {}, "poms": {"org.x/b": {}}}), Some(("org.x:b:", High))),
            // A name without a version is a name.
            ("jsr305.jar", serde_json::json!({"manifest": {}}), Some(("jsr305:jsr305:", Low))),
            (
                "b-3.jar",
                serde_json::json!({"manifest": {}, "poms": {"org.x/b": {}}}),
                Some(("org.x:b:3", High)),
            ),
            ("b-3.jar", serde_json::json!({"manifest": {"Weave-Classes": "x"}}), None),
            ("b-3.jar", serde_json::json!({}), None),
            ("b.jar", serde_json::json!({"poms": {"g/b": pom("${project.groupId}", "b", "1")}}), None),
        ];
        for (file, archive, expected) in cases {
            let found = identity(file, archive);
            let found = found.as_ref().map(|(text, confidence)| (text.as_str(), *confidence));
            assert_eq!(found, expected, "{file}");
        }
    }

    #[test]
    fn groups_are_sorted() {
        assert!(GROUPS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn names_and_versions() {
        for (stem, name, version) in [
            ("spark-core_2.12-3.0.0", "spark-core_2.12", "3.0.0"),
            ("guava-14.0.1", "guava", "14.0.1"),
            ("guava-31.1-jre", "guava", "31.1-jre"),
            ("javax.inject-1", "javax.inject", "1"),
            ("guice-r09", "guice", "r09"),
            ("x-rc1", "x", "rc1"),
            ("org.eclipse.osgi_3.8.1.v2012", "org.eclipse.osgi", "3.8.1.v2012"),
            ("bcprov-jdk15on-1.68", "bcprov-jdk15on", "1.68"),
            ("plain", "plain", ""),
            ("log4j2", "log4j2", ""),
            ("-1", "-1", ""),
            ("", "", ""),
        ] {
            assert_eq!(split_name(stem), (name, version), "{stem}");
        }
        assert_eq!(dotted_artifact("javax.inject"), "inject");
        assert_eq!(dotted_artifact("spark-core_2.12"), "spark-core_2.12");
    }
}
