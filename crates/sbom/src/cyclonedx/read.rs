//! CycloneDX → Sbom: Plimsoll's own documents exactly, Syft's, Trivy's and others' as far as they say.

use std::collections::BTreeMap;

use plimsoll_model::extract::{Anomaly, Partial};
use plimsoll_model::package::SourcePackage;
use plimsoll_model::sbom::{Base, Component, Confidence, Distribution, LayerInfo, Location};
use plimsoll_model::{ComponentKey, Platform, Release, Sbom};
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::xml;
use crate::document::{self, DocumentError, MAX_COMPONENTS, list, text};
use crate::identity;
use crate::import;

/// Reads a document of CycloneDX 1.2 to 1.7, JSON or XML.
///
/// Source packages come from `plimsoll:` properties, purl qualifiers (Syft) or `aquasecurity:trivy:` properties;
/// releases from the `distro` qualifier, else from the operating-system component.
pub fn read(bytes: &[u8]) -> Result<Sbom, DocumentError> {
    let bom = if xml::begins(bytes) { xml::value(bytes)? } else { document::parse(bytes)? };
    from_value(&bom)
}

pub(crate) fn from_value(bom: &Value) -> Result<Sbom, DocumentError> {
    if !text(bom, "bomFormat").eq_ignore_ascii_case("CycloneDX") {
        return Err(DocumentError::UnknownFormat);
    }
    let version = text(bom, "specVersion");
    if !matches!(version, "1.2" | "1.3" | "1.4" | "1.5" | "1.6" | "1.7") {
        return Err(DocumentError::UnknownVersion {
            format: "CycloneDX",
            version: version.chars().take(16).collect(),
        });
    }

    let metadata = bom.get("metadata").unwrap_or(&Value::Null);
    let subject = metadata.get("component").unwrap_or(&Value::Null);
    let mut sbom = document::empty(text(subject, "name"));
    sbom.image = text(subject, "version").parse().ok();
    read_metadata(metadata, &mut sbom);

    let items = flatten(bom)?;
    sbom.distribution = items
        .iter()
        .find(|item| text(item, "type") == "operating-system" && !text(item, "name").is_empty())
        .map(|item| distribution(item));
    let release = sbom.distribution.as_ref().map(|distribution| &distribution.release);
    let mut by_reference: FxHashMap<&str, usize> = FxHashMap::default();
    let mut components: Vec<Component> = Vec::new();
    let mut nameless = 0usize;
    for item in items {
        match component(item, release) {
            Some(component) => {
                by_reference.entry(text(item, "bom-ref")).or_insert(components.len());
                components.push(component);
            }
            None => nameless += usize::from(matches!(text(item, "type"), "library" | "framework" | "")),
        }
    }
    for dependency in list(bom, "dependencies") {
        let Some(&from) = by_reference.get(text(dependency, "ref")) else { continue };
        let targets: Vec<String> = list(dependency, "dependsOn")
            .iter()
            .filter_map(|to| Some(components.get(*by_reference.get(to.as_str()?)?)?.purl.clone()))
            .collect();
        if let Some(component) = components.get_mut(from) {
            component.depends_on.extend(targets);
        }
    }
    import::finish(&mut sbom, components, nameless);
    Ok(sbom)
}

/// Every component, nested ones too.
fn flatten(bom: &Value) -> Result<Vec<&Value>, DocumentError> {
    let mut open: Vec<&Value> = list(bom, "components").iter().rev().collect();
    let mut items = Vec::new();
    while let Some(item) = open.pop() {
        items.push(item);
        if items.len() > MAX_COMPONENTS {
            return Err(DocumentError::TooManyComponents);
        }
        open.extend(list(item, "components").iter().rev());
    }
    Ok(items)
}

/// Name and value of each property.
fn properties(item: &Value) -> impl Iterator<Item = (&str, &str)> {
    list(item, "properties").iter().map(|property| (text(property, "name"), text(property, "value")))
}

fn property<'v>(item: &'v Value, name: &str) -> &'v str {
    properties(item).find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// `PREFIX:N:FIELD` → N, FIELD.
fn numbered<'n>(name: &'n str, prefix: &str) -> Option<(usize, &'n str)> {
    let (n, field) = name.strip_prefix(prefix)?.split_once(':')?;
    Some((n.parse().ok()?, field))
}

fn read_metadata(metadata: &Value, sbom: &mut Sbom) {
    let base = |field: &str| property(metadata, field);
    if let (Ok(digest), Ok(layers)) =
        (base("plimsoll:base:digest").parse(), base("plimsoll:base:layers").parse())
    {
        sbom.base = Some(Base { name: base("plimsoll:base:name").to_owned(), digest, layers });
    }
    let mut layers: BTreeMap<usize, (&str, &str)> = BTreeMap::new();
    for (name, value) in properties(metadata) {
        if let Some((n, field)) = numbered(name, "plimsoll:layer:") {
            let layer = layers.entry(n).or_default();
            match field {
                "digest" => layer.0 = value,
                "created_by" => layer.1 = value,
                _ => {}
            }
        } else if let Some(label) = name.strip_prefix("plimsoll:label:") {
            sbom.labels.push((label.to_owned(), value.to_owned()));
        }
        match name {
            "plimsoll:platform" => {
                let mut parts = value.splitn(3, '/').map(str::to_owned);
                if let (Some(os), Some(architecture)) = (parts.next(), parts.next()) {
                    sbom.platform = Some(Platform { os, architecture, variant: parts.next() });
                }
            }
            "plimsoll:partial" => {
                if let Ok((code, detail)) = serde_json::from_str(value) {
                    sbom.partial.push(Partial { code, detail });
                }
            }
            "plimsoll:anomaly" => {
                if let Ok((code, path, detail)) = serde_json::from_str(value) {
                    sbom.anomalies.push(Anomaly { code, path, detail });
                }
            }
            _ => {}
        }
    }
    sbom.layers = layers
        .into_values()
        .filter_map(|(digest, created_by)| {
            Some(LayerInfo { digest: digest.parse().ok()?, created_by: created_by.to_owned() })
        })
        .collect();
}

fn distribution(item: &Value) -> Distribution {
    let first = |names: &[&str]| {
        names.iter().map(|name| property(item, name)).find(|value| !value.is_empty()).unwrap_or("").to_owned()
    };
    let id = text(item, "name").to_lowercase();
    let like = first(&["plimsoll:distro:like", "syft:distro:idLike:0"]);
    Distribution {
        release: identity::canonical(&id, text(item, "version")),
        codename: first(&["plimsoll:distro:codename", "syft:distro:versionCodename"]),
        pretty_name: first(&["plimsoll:distro:pretty_name", "syft:distro:prettyName"]),
        like: like.split_whitespace().map(str::to_owned).collect(),
    }
}

fn component(item: &Value, release: Option<&Release>) -> Option<Component> {
    if text(item, "type") == "operating-system" {
        return None;
    }
    let purl = text(item, "purl");
    let stated = ComponentKey::from_id(property(item, "plimsoll:key"));
    let own = stated.is_some();
    let mut key = match stated {
        Some(key) => key,
        None => identity::component(&purl.parse().ok()?, release)?,
    };
    let mut locations: Vec<Location> = item
        .get("evidence")
        .map(|evidence| list(evidence, "occurrences"))
        .unwrap_or(&[])
        .iter()
        .map(|occurrence| Location { path: text(occurrence, "location").to_owned(), layer: None })
        .collect();
    let mut component = Component {
        purl: String::new(),
        display_name: display_name(item, &key),
        locations: Vec::new(),
        licenses: licenses(item),
        owned_by: None,
        confidence: Confidence::High,
        supplier: supplier(item).to_owned(),
        found_by: String::new(),
        depends_on: Vec::new(),
        introduced: None,
        key: key.clone(),
    };
    let (mut source, mut trivy_layer) = ([""; 4], "");
    for (name, value) in properties(item) {
        match name {
            "plimsoll:found_by" => component.found_by = value.to_owned(),
            "syft:package:foundBy" => {
                component.found_by = value.to_owned();
                component.confidence = crate::syft::confidence(value);
            }
            "plimsoll:owned_by" => component.owned_by = import::owner(value),
            "plimsoll:introduced_by" => component.introduced = value.parse().ok(),
            "plimsoll:confidence" if value == "low" => component.confidence = Confidence::Low,
            "aquasecurity:trivy:FilePath" => locations.push(Location { path: value.to_owned(), layer: None }),
            "aquasecurity:trivy:LayerDigest" => trivy_layer = value,
            "aquasecurity:trivy:SrcEpoch" => source[0] = value,
            "aquasecurity:trivy:SrcName" => source[1] = value,
            "aquasecurity:trivy:SrcVersion" => source[2] = value,
            "aquasecurity:trivy:SrcRelease" => source[3] = value,
            _ => match (numbered(name, "plimsoll:location:"), numbered(name, "syft:location:")) {
                (Some((n, "layer")), _) => {
                    if let Some(location) = locations.get_mut(n) {
                        location.layer = value.parse().ok();
                    }
                }
                // Syft's layers are named by diff id, not by the digest of the blob: of no use here.
                (_, Some((_, "path"))) => {
                    let path = value.trim_start_matches('/').to_owned();
                    locations.push(Location { path, layer: None });
                }
                _ => {}
            },
        }
    }
    if !own && let Ok(layer) = trivy_layer.parse() {
        for location in &mut locations {
            location.layer = Some(Clone::clone(&layer));
        }
    }
    let [epoch, name, version, release] = source;
    if !own && key.package.ecosystem.is_distribution() && !name.is_empty() {
        let mut full = version.to_owned();
        if !release.is_empty() {
            full = format!("{full}-{release}");
        }
        if !matches!(epoch, "" | "0") {
            full = format!("{epoch}:{full}");
        }
        let version = if full.is_empty() { key.version.clone() } else { full };
        key.source = Some(SourcePackage { name: name.to_owned(), version });
    }
    component.purl = if own && !purl.is_empty() { purl.to_owned() } else { identity::purl(&key).to_string() };
    component.key = key;
    component.locations = locations;
    Some(component)
}

/// The name as the document has it: with the group, which for npm is the scope.
fn display_name(item: &Value, key: &ComponentKey) -> String {
    match (text(item, "group"), text(item, "name")) {
        (_, "") => key.package.name.clone(),
        ("", name) => name.to_owned(),
        _ => key.package.name.clone(),
    }
}

fn supplier(item: &Value) -> &str {
    let named = item.get("supplier").map_or("", |supplier| text(supplier, "name"));
    [named, text(item, "publisher"), text(item, "author")]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or("")
}

fn licenses(item: &Value) -> Vec<String> {
    let of = |choice: &Value| {
        let license = choice.get("license").unwrap_or(&Value::Null);
        let all = [text(choice, "expression"), text(license, "id"), text(license, "name")];
        all.into_iter().find(|text| !text.is_empty()).map(str::to_owned)
    };
    list(item, "licenses").iter().filter_map(of).collect()
}
