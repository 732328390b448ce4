//! Maven's project files: coordinates, licences, dependencies of a `pom.xml`, as far as the file alone says them
//! (Maven, "POM Reference"). Nothing is fetched: what a parent elsewhere defines stays unknown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::xml::{Event, walk};

const MAX_PROPERTIES: usize = 1_000;
const MAX_DEPENDENCIES: usize = 10_000;
const MAX_LICENSES: usize = 16;
const MAX_VALUE: usize = 1_024;
/// Properties in properties in …
const MAX_ROUNDS: usize = 8;

/// A project.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub artifact_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Names, or addresses where a licence has no name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    /// `GROUP:ARTIFACT` and version of what the project names with a version, tests' dependencies left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<(String, String)>,
}

/// The texts of a project, unresolved.
#[derive(Default)]
struct Texts {
    own: BTreeMap<&'static str, String>,
    parent: BTreeMap<&'static str, String>,
    properties: BTreeMap<String, String>,
}

/// Reads a project file; `None` if it is none, or has no artifact.
pub fn read(text: &str) -> Option<Project> {
    let mut texts = Texts::default();
    let mut licenses: Vec<(String, String)> = Vec::new();
    let mut dependencies: Vec<[String; 4]> = Vec::new();
    let mut managed: Vec<[String; 4]> = Vec::new();
    walk(text, |path, event| match (path, event) {
        (["project", "licenses", "license"], Event::Open(_)) if licenses.len() < MAX_LICENSES => {
            licenses.push(Default::default())
        }
        (["project", "dependencies", "dependency"], Event::Open(_))
            if dependencies.len() < MAX_DEPENDENCIES =>
        {
            dependencies.push(Default::default());
        }
        (["project", "dependencyManagement", "dependencies", "dependency"], Event::Open(_))
            if managed.len() < MAX_DEPENDENCIES =>
        {
            managed.push(Default::default());
        }
        (path, Event::Text(value)) if value.len() <= MAX_VALUE => match path {
            ["project", field] => keep(&mut texts.own, field, value),
            ["project", "parent", field] => keep(&mut texts.parent, field, value),
            ["project", "properties", name] if texts.properties.len() < MAX_PROPERTIES => {
                texts.properties.insert((*name).to_owned(), value);
            }
            ["project", "licenses", "license", field] => {
                if let Some((name, url)) = licenses.last_mut() {
                    match *field {
                        "name" => *name = value,
                        "url" => *url = value,
                        _ => {}
                    }
                }
            }
            ["project", "dependencies", "dependency", field] => {
                field_of(dependencies.last_mut(), field, value)
            }
            ["project", "dependencyManagement", "dependencies", "dependency", field] => {
                field_of(managed.last_mut(), field, value);
            }
            _ => {}
        },
        _ => {}
    });
    let text = |name: &str| texts.resolved(texts.own.get(name).or_else(|| texts.parent.get(name))?);
    let artifact_id = texts.resolved(texts.own.get("artifactId")?)?;
    let (group_id, version) = (text("groupId").unwrap_or_default(), text("version").unwrap_or_default());
    let resolved =
        |[group, artifact, ..]: &[String; 4]| Some((texts.resolved(group)?, texts.resolved(artifact)?));
    let fixed: BTreeMap<(String, String), String> =
        managed.iter().filter_map(|one| Some((resolved(one)?, texts.resolved(version_of(one))?))).collect();
    let dependencies = dependencies
        .iter()
        .filter(|[.., scope]| !matches!(scope.as_str(), "test" | "system"))
        .filter_map(|one| {
            let named = resolved(one)?;
            let version = texts.resolved(version_of(one)).or_else(|| fixed.get(&named).cloned())?;
            Some((format!("{}:{}", named.0, named.1), version))
        })
        .collect();
    let licenses = licenses.into_iter().map(|(name, url)| if name.is_empty() { url } else { name });
    let licenses = licenses.filter(|license| !license.is_empty()).collect();
    Some(Project { group_id, artifact_id, version, licenses, dependencies })
}

fn keep(texts: &mut BTreeMap<&'static str, String>, field: &str, value: String) {
    if let Some(known) = ["groupId", "artifactId", "version"].into_iter().find(|known| *known == field) {
        texts.entry(known).or_insert(value);
    }
}

fn version_of([_, _, version, _]: &[String; 4]) -> &str {
    version
}

fn field_of(dependency: Option<&mut [String; 4]>, field: &str, value: String) {
    let Some([group, artifact, version, scope]) = dependency else { return };
    match field {
        "groupId" => *group = value,
        "artifactId" => *artifact = value,
        "version" => *version = value,
        "scope" => *scope = value,
        _ => {}
    }
}

impl Texts {
    /// A text with its `${…}` replaced; `None` if one is not known here, or the result is empty or no coordinate.
    fn resolved(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for _ in 0..MAX_ROUNDS {
            let Some((before, rest)) = text.split_once("${") else {
                let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"[](),:${}".contains(c);
                return (!text.is_empty() && text.chars().all(fits)).then_some(text);
            };
            let (name, after) = rest.split_once('}')?;
            let value = self.property(name)?;
            if before.len() + value.len() + after.len() > MAX_VALUE {
                return None;
            }
            text = format!("{before}{value}{after}");
        }
        None
    }

    fn property(&self, name: &str) -> Option<&String> {
        let bare = name.strip_prefix("project.").or_else(|| name.strip_prefix("pom.")).unwrap_or(name);
        let own = match bare.strip_prefix("parent.") {
            Some(field) => self.parent.get(field),
            None => self.own.get(bare).or_else(|| self.parent.get(bare)),
        };
        self.properties.get(name).or(own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POM: &str = "<?xml version=\"1.0\"?>
<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <parent><groupId>org.example</groupId><artifactId>parent</artifactId><version>3</version></parent>
  <artifactId>app</artifactId>
  <version>${revision}${changelist}</version>
  <properties><revision>1.2</revision><changelist>-rc1</changelist><jackson>${jackson.base}.2</jackson><jackson.base>2.15</jackson.base><loop>${loop}</loop></properties>
  <licenses><license><name>Apache License, Version 2.0</name><url>x</url></license><license><url>https://opensource.org/licenses/MIT</url></license></licenses>
  <dependencyManagement><dependencies><dependency><groupId>g</groupId><artifactId>managed</artifactId><version>7</version></dependency></dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>${jackson}</version></dependency>
    <dependency><groupId>${project.groupId}</groupId><artifactId>core</artifactId><version>${project.parent.version}</version></dependency>
    <dependency><groupId>g</groupId><artifactId>managed</artifactId></dependency>
    <dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4</version><scope>test</scope></dependency>
    <dependency><groupId>g</groupId><artifactId>loop</artifactId><version>${loop}</version></dependency>
    <dependency><groupId>g</groupId><artifactId>unknown</artifactId></dependency>
    <dependency><groupId>g</groupId><artifactId>range</artifactId><version>[1,2)</version></dependency>
  </dependencies>
</project>";

    #[test]
    fn projects() {
        let project = read(POM).unwrap();
        assert_eq!(
            (project.group_id.as_str(), project.artifact_id.as_str(), project.version.as_str()),
            ("org.example", "app", "1.2-rc1")
        );
        assert_eq!(project.licenses, ["Apache License, Version 2.0", "https://opensource.org/licenses/MIT"]);
        let dependencies: Vec<String> =
            project.dependencies.iter().map(|(name, version)| format!("{name}:{version}")).collect();
        assert_eq!(
            dependencies,
            ["com.fasterxml.jackson.core:jackson-databind:2.15.2", "org.example:core:3", "g:managed:7"]
        );
        assert_eq!(read("<project/>"), None);
        assert_eq!(read("no xml"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(at in 0..POM.len(), noise in "[<>/${}a]{0,8}") {
            let (before, after) = POM.split_at(at);
            let _ = read(&format!("{before}{noise}{after}"));
        }
    }
}
