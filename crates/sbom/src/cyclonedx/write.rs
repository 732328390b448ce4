//! Sbom → CycloneDX.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::sbom::{Component, Confidence, Distribution, Sbom};
use serde::Serialize;

use super::Options;
use crate::license;

/// The document, in UTF-8 with a final line feed.
///
/// Equal Sboms and options give equal bytes. The serial number is a UUID (version 8) of the content without the
/// timestamp.
pub fn write(sbom: &Sbom, options: &Options) -> Vec<u8> {
    let mut bom = bom(sbom, options);
    bom.serial_number = Some(serial(&serde_json::to_vec(&bom).unwrap_or_default()));
    bom.metadata.timestamp = options.timestamp.map(|at| at.to_string());
    let text = if options.pretty { serde_json::to_vec_pretty(&bom) } else { serde_json::to_vec(&bom) };
    // Strings, lists and structures have no way to fail.
    let mut text = text.unwrap_or_default();
    text.push(b'\n');
    text
}

/// A UUID of version 8 (RFC 9562) whose bits are the FNV-1a hash of the content, of 128 bits: it names a content, it
/// does not protect it.
pub(crate) fn serial(content: &[u8]) -> String {
    format!("urn:uuid:{}", uuid(content))
}

/// See [`serial`].
pub(crate) fn uuid(content: &[u8]) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = content.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    let bits = hash & !(0xf000 << 64) & !(0xc000 << 48) | (0x8000 << 64) | (0x8000 << 48);
    let hex = format!("{bits:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or("");
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom {
    #[serde(rename = "$schema")]
    schema: String,
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata,
    components: Vec<Item>,
    dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compositions: Vec<Composition>,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    tools: Tools,
    component: Item,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Item>,
}

#[derive(Serialize, Default)]
struct Item {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "String::is_empty")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Entity>,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<LicenseChoice>,
    #[serde(skip_serializing_if = "String::is_empty")]
    purl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Entity {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum LicenseChoice {
    License(License),
    #[serde(untagged)]
    Expression {
        expression: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum License {
    Id(String),
    Name(String),
}

#[derive(Serialize)]
struct Evidence {
    occurrences: Vec<Occurrence>,
}

#[derive(Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: Vec<String>,
}

/// A list of properties under construction; empty values are left out.
#[derive(Default)]
struct Properties(Vec<Property>);

impl Properties {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push(Property { name: name.into(), value });
        }
    }
}

fn bom(sbom: &Sbom, options: &Options) -> Bom {
    let version = options.version.as_str();
    let root = match &sbom.image {
        Some(digest) => digest.to_string(),
        None => "root".to_owned(),
    };
    let mut references: BTreeSet<String> = BTreeSet::from([root.clone()]);
    let mut by_purl: BTreeMap<&str, String> = BTreeMap::new();
    let mut components: Vec<Item> = Vec::with_capacity(sbom.components.len() + 1);
    let mut depends: Vec<Dependency> = Vec::new();
    let mut named: Vec<String> = Vec::with_capacity(sbom.components.len());
    for component in &sbom.components {
        let mut reference = component.purl.clone();
        while !references.insert(reference.clone()) {
            reference = format!("{}&key={}", reference, component.key.id());
        }
        by_purl.entry(&component.purl).or_insert_with(|| reference.clone());
        named.push(reference);
    }
    for (component, reference) in sbom.components.iter().zip(&named) {
        let mut item = item(component, reference);
        if let Some(from_base) = sbom.from_base(component) {
            let value = if from_base { "base" } else { "application" }.to_owned();
            item.properties.push(Property { name: "plimsoll:origin".to_owned(), value });
        }
        components.push(item);
        let depends_on: BTreeSet<String> =
            component.depends_on.iter().filter_map(|purl| by_purl.get(purl.as_str()).cloned()).collect();
        if !depends_on.is_empty() {
            depends.push(Dependency {
                reference: reference.clone(),
                depends_on: depends_on.into_iter().collect(),
            });
        }
    }
    if let Some(distribution) = &sbom.distribution {
        components.push(operating_system(distribution));
    }
    let mut dependencies = vec![Dependency { reference: root.clone(), depends_on: named }];
    dependencies.append(&mut depends);
    let compositions = if sbom.partial.is_empty() {
        Vec::new()
    } else {
        vec![Composition { aggregate: "incomplete", assemblies: vec![root.clone()] }]
    };
    Bom {
        schema: format!("http://cyclonedx.org/schema/bom-{version}.schema.json"),
        bom_format: "CycloneDX",
        spec_version: version,
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: None,
            tools: Tools {
                components: vec![Item {
                    kind: "application",
                    name: "plimsoll".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..Item::default()
                }],
            },
            component: Item {
                kind: if sbom.image.is_some() { "container" } else { "application" },
                reference: root,
                name: sbom.name.clone(),
                version: sbom.image.as_ref().map(ToString::to_string).unwrap_or_default(),
                ..Item::default()
            },
            properties: metadata_properties(sbom),
        },
        components,
        dependencies,
        compositions,
    }
}

fn metadata_properties(sbom: &Sbom) -> Vec<Property> {
    let mut properties = Properties::default();
    if let Some(platform) = &sbom.platform {
        properties.add("plimsoll:platform", platform.to_string());
    }
    for (n, layer) in sbom.layers.iter().enumerate() {
        properties.add(format!("plimsoll:layer:{n}:digest"), layer.digest.as_str());
        properties.add(format!("plimsoll:layer:{n}:created_by"), layer.created_by.as_str());
    }
    if let Some(base) = &sbom.base {
        properties.add("plimsoll:base:name", base.name.as_str());
        properties.add("plimsoll:base:digest", base.digest.as_str());
        properties.add("plimsoll:base:layers", base.layers.to_string());
    }
    for (name, value) in &sbom.labels {
        // An empty label is a label.
        properties.0.push(Property { name: format!("plimsoll:label:{name}"), value: value.clone() });
    }
    for partial in &sbom.partial {
        properties.add("plimsoll:partial", list(&[&partial.code, &partial.detail]));
    }
    for anomaly in &sbom.anomalies {
        properties.add("plimsoll:anomaly", list(&[&anomaly.code, &anomaly.path, &anomaly.detail]));
    }
    properties.0
}

fn list(texts: &[&str]) -> String {
    serde_json::to_string(texts).unwrap_or_default()
}

fn operating_system(distribution: &Distribution) -> Item {
    let mut properties = Properties::default();
    properties.add("plimsoll:distro:codename", distribution.codename.as_str());
    properties.add("plimsoll:distro:pretty_name", distribution.pretty_name.as_str());
    properties.add("plimsoll:distro:like", distribution.like.join(" "));
    Item {
        kind: "operating-system",
        reference: format!("os:{}", distribution.release),
        name: distribution.release.id.clone(),
        version: distribution.release.version.clone(),
        description: distribution.pretty_name.clone(),
        properties: properties.0,
        ..Item::default()
    }
}

fn item(component: &Component, reference: &str) -> Item {
    let mut properties = Properties::default();
    properties.add("plimsoll:key", component.key.id());
    properties.add("plimsoll:found_by", component.found_by.as_str());
    if let Some(source) = &component.key.source {
        properties.add("plimsoll:source:name", source.name.as_str());
        properties.add("plimsoll:source:version", source.version.as_str());
    }
    if let Some(owner) = &component.owned_by {
        properties.add("plimsoll:owned_by", owner.as_str());
    }
    if component.confidence == Confidence::Low {
        properties.add("plimsoll:confidence", "low");
    }
    if let Some(layer) = &component.introduced {
        properties.add("plimsoll:introduced_by", layer.as_str());
    }
    for (n, location) in component.locations.iter().enumerate() {
        if let Some(layer) = &location.layer {
            properties.add(format!("plimsoll:location:{n}:layer"), layer.as_str());
        }
    }
    let occurrences: Vec<Occurrence> =
        component.locations.iter().map(|at| Occurrence { location: at.path.clone() }).collect();
    Item {
        kind: "library",
        reference: reference.to_owned(),
        supplier: (!component.supplier.is_empty()).then(|| Entity { name: component.supplier.clone() }),
        name: component.display_name.clone(),
        version: component.key.version.clone(),
        description: String::new(),
        licenses: licenses(&component.licenses),
        purl: component.purl.clone(),
        evidence: (!occurrences.is_empty()).then_some(Evidence { occurrences }),
        properties: properties.0,
    }
}

/// One expression, or any number of licences: the schema allows no mixture.
fn licenses(stated: &[String]) -> Vec<LicenseChoice> {
    if let [one] = stated
        && license::is_expression(one)
    {
        return vec![LicenseChoice::Expression { expression: one.clone() }];
    }
    let choice = |text: &String| {
        let text = text.clone();
        LicenseChoice::License(if license::is_id(&text) { License::Id(text) } else { License::Name(text) })
    };
    stated.iter().map(choice).collect()
}
