//! SPDX 2.3, JSON and tag-value (<https://spdx.github.io/spdx-spec/v2.3/>): written in 2.3, read in 2.2 and 2.3.
//!
//! Identities travel as package URLs (`PACKAGE-MANAGER purl`), whose qualifiers carry release, architecture and
//! source package; places and layers stand in `sourceInfo`, for people. What decides about findings beside that is in
//! references of the category `OTHER`: `plimsoll-owned-by`, the purl of the distribution package that owns a component's
//! files; `plimsoll-confidence` with the locator `low`; `plimsoll-location`, each path of what is no distribution's
//! package, percent-encoded, which tells what is inside of what; and, only where the purl does not lead back to the identity (odd
//! names, versions with an epoch of their own, texts too long for a purl), `plimsoll-key`,
//! [`ComponentKey::id`](plimsoll_model::ComponentKey::id) percent-encoded.

mod tag_value;

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use plimsoll_model::sbom::{Component, Confidence, Distribution, Location};
use plimsoll_model::{ComponentKey, Release, Sbom, Timestamp};
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::Value;

use crate::cyclonedx::uuid;
use crate::document::{self, DocumentError, MAX_COMPONENTS, list, text};
use crate::identity;
use crate::import;
use crate::license;
use crate::purl::Purl;

const ROOT: &str = "SPDXRef-Image";
const OS: &str = "SPDXRef-OperatingSystem";
const NONE: &str = "NOASSERTION";
const OWNED_BY: &str = "plimsoll-owned-by";
const CONFIDENCE: &str = "plimsoll-confidence";
const KEY: &str = "plimsoll-key";
const LOCATION: &str = "plimsoll-location";
/// A locator has no spaces.
const IN_LOCATOR: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Extracted>,
}

#[derive(Serialize)]
struct Creation {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version_info: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    supplier: String,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_info: String,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<External>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct External {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extracted {
    license_id: String,
    extracted_text: String,
}

/// The document, in UTF-8 with a final line feed. SPDX wants a time: without one it is 1970, so that equal Sboms
/// give equal bytes.
pub fn write(sbom: &Sbom, created: Option<Timestamp>, pretty: bool) -> Vec<u8> {
    let document = complete(sbom, created);
    let text = if pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) };
    let mut text = text.unwrap_or_default();
    text.push(b'\n');
    text
}

/// As [`write`], in the tag-value form.
pub fn write_tag_value(sbom: &Sbom, created: Option<Timestamp>) -> Vec<u8> {
    tag_value::write(&complete(sbom, created)).into_bytes()
}

fn complete(sbom: &Sbom, created: Option<Timestamp>) -> Document {
    let mut document = document(sbom);
    let content = uuid(&serde_json::to_vec(&document).unwrap_or_default());
    document.document_namespace = format!("https://plimsoll.invalid/spdx/{content}");
    // Seconds: the specification has no fractions.
    let created = Timestamp(created.map_or(0, |at| at.0 - at.0.rem_euclid(1000)));
    document.creation_info.created = created.to_string();
    document
}

/// The purl, and what matching reads beside it.
fn external(component: &Component, release: Option<&Release>) -> Vec<External> {
    let mut refs = vec![External {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: component.purl.clone(),
    }];
    let mut other = |reference_type, locator: &str| {
        // A locator has no spaces.
        if !locator.contains(char::is_whitespace) {
            refs.push(External {
                reference_category: "OTHER",
                reference_type,
                reference_locator: locator.to_owned(),
            });
        }
    };
    if let Some(owner) = &component.owned_by {
        other(OWNED_BY, owner);
    }
    if component.confidence == Confidence::Low {
        other(CONFIDENCE, "low");
    }
    if !component.key.package.ecosystem.is_distribution() {
        // The same path in several layers is one place.
        let paths: BTreeSet<&str> = component.locations.iter().map(|place| place.path.as_str()).collect();
        for path in paths.into_iter().filter(|path| !path.is_empty()) {
            other(LOCATION, &utf8_percent_encode(path, IN_LOCATOR).to_string());
        }
    }
    let told = component.purl.parse().ok().and_then(|purl| identity::component(&purl, release));
    if told.as_ref() != Some(&component.key) {
        other(KEY, &utf8_percent_encode(&component.key.id(), IN_LOCATOR).to_string());
    }
    refs
}

/// Where a component was found, and what brought it in: the layer and its line of the image's history.
fn source_info(sbom: &Sbom, component: &Component) -> String {
    let places: Vec<&str> = component.locations.iter().map(|location| location.path.as_str()).collect();
    let mut text = String::new();
    if !places.is_empty() {
        text = format!("found in {}", places.join(", "));
    }
    if let Some(layer) = &component.introduced {
        let known = sbom.layers.iter().find(|known| known.digest == *layer);
        let line = known.map_or("", |known| known.created_by.trim());
        let origin = match sbom.from_base(component) {
            Some(true) => " of the base image",
            Some(false) => " of the application",
            None => "",
        };
        text.push_str(if text.is_empty() { "from layer " } else { "; from layer " });
        text.push_str(layer.as_str());
        text.push_str(origin);
        if !line.is_empty() {
            text.push_str(": ");
            text.push_str(line);
        }
    }
    text
}

fn document(sbom: &Sbom) -> Document {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let root = Package {
        id: ROOT.to_owned(),
        name: if sbom.name.is_empty() { "image".to_owned() } else { sbom.name.clone() },
        version_info: sbom.image.as_ref().map(ToString::to_string).unwrap_or_default(),
        supplier: NONE.to_owned(),
        license_declared: NONE.to_owned(),
        primary_package_purpose: if sbom.image.is_some() { "CONTAINER" } else { "APPLICATION" },
        ..package(ROOT.to_owned())
    };
    let mut packages = vec![root];
    let mut relationships = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)];
    if let Some(distribution) = &sbom.distribution {
        packages.push(Package {
            name: distribution.release.id.clone(),
            version_info: distribution.release.version.clone(),
            supplier: NONE.to_owned(),
            source_info: distribution.pretty_name.clone(),
            license_declared: NONE.to_owned(),
            primary_package_purpose: "OPERATING-SYSTEM",
            ..package(OS.to_owned())
        });
        relationships.push(relation(ROOT, "CONTAINS", OS));
    }
    let release = sbom.distribution.as_ref().map(|distribution| &distribution.release);
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    for component in &sbom.components {
        let id = format!("SPDXRef-Package-{}", uuid(component.key.id().as_bytes()));
        packages.push(Package {
            name: component.display_name.clone(),
            version_info: component.key.version.clone(),
            supplier: supplier(&component.supplier),
            source_info: source_info(sbom, component),
            license_declared: declared(&component.licenses, &mut texts),
            primary_package_purpose: "LIBRARY",
            external_refs: external(component, release),
            ..package(id.clone())
        });
        relationships.push(relation(ROOT, "CONTAINS", &id));
        ids.entry(&component.purl).or_insert(id);
    }
    for component in &sbom.components {
        let Some(from) = ids.get(component.purl.as_str()) else { continue };
        let to: BTreeSet<&String> =
            component.depends_on.iter().filter_map(|purl| ids.get(purl.as_str())).collect();
        relationships.extend(to.into_iter().map(|to| relation(from, "DEPENDS_ON", to)));
    }
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name: if sbom.name.is_empty() { "image".to_owned() } else { sbom.name.clone() },
        document_namespace: String::new(),
        creation_info: Creation {
            created: String::new(),
            creators: vec![format!("Tool: plimsoll-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        relationships,
        has_extracted_licensing_infos: texts
            .into_iter()
            .map(|(license_id, extracted_text)| Extracted { license_id, extracted_text })
            .collect(),
    }
}

fn package(id: String) -> Package {
    Package {
        id,
        name: String::new(),
        version_info: String::new(),
        supplier: String::new(),
        download_location: NONE,
        files_analyzed: false,
        source_info: String::new(),
        license_concluded: NONE,
        license_declared: String::new(),
        copyright_text: NONE,
        primary_package_purpose: "LIBRARY",
        external_refs: Vec::new(),
    }
}

fn relation(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to.to_owned(),
    }
}

/// `Organization: NAME (MAIL)`; a mail address alone is a name too.
fn supplier(stated: &str) -> String {
    let stated = stated.replace(['\n', '\r'], " ");
    if stated.trim().is_empty() {
        return NONE.to_owned();
    }
    match stated
        .split_once('<')
        .map(|(name, rest)| (name.trim(), rest.split('>').next().unwrap_or("").trim()))
    {
        Some((name, mail)) if !name.is_empty() && mail.contains('@') && !mail.contains(' ') => {
            format!("Organization: {} ({mail})", name.replace(['(', ')'], ""))
        }
        _ => format!("Organization: {}", stated.replace(['(', ')', '<', '>'], "").trim()),
    }
}

/// The statements as one expression: what is no SPDX identifier becomes a `LicenseRef-` with its text.
fn declared(stated: &[String], texts: &mut BTreeMap<String, String>) -> String {
    let mut part = |one: &String| {
        if license::is_id(one) || (license::is_expression(one) && !one.contains("LicenseRef-")) {
            return one.clone();
        }
        let id = format!("LicenseRef-{}", uuid(one.as_bytes()));
        texts.insert(id.clone(), one.clone());
        id
    };
    match stated {
        [] => NONE.to_owned(),
        [one] => part(one),
        _ => {
            let parts: Vec<String> = stated
                .iter()
                .map(|one| if license::is_expression(one) { format!("({})", part(one)) } else { part(one) })
                .collect();
            parts.join(" AND ")
        }
    }
}

/// Reads a document of SPDX 2.2 or 2.3. Packages without a package URL are counted as partial, but for those that
/// the document describes and operating systems.
pub fn read(bytes: &[u8]) -> Result<Sbom, DocumentError> {
    if is_tag_value(bytes) { read_tag_value(bytes) } else { from_value(&document::parse(bytes)?) }
}

/// Whether a document is of the tag-value form.
pub(crate) fn is_tag_value(bytes: &[u8]) -> bool {
    tag_value::begins(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// Reads the tag-value form; what is not UTF-8 is replaced.
pub(crate) fn read_tag_value(bytes: &[u8]) -> Result<Sbom, DocumentError> {
    if bytes.len() > document::MAX_BYTES {
        return Err(DocumentError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    from_value(&tag_value::value(&String::from_utf8_lossy(bytes))?)
}

pub(crate) fn from_value(spdx: &Value) -> Result<Sbom, DocumentError> {
    let version = text(spdx, "spdxVersion");
    if version.is_empty() {
        return Err(DocumentError::UnknownFormat);
    }
    if !matches!(version, "SPDX-2.2" | "SPDX-2.3") {
        return Err(DocumentError::UnknownVersion {
            format: "SPDX",
            version: version.chars().take(16).collect(),
        });
    }
    let packages = list(spdx, "packages");
    if packages.len() > MAX_COMPONENTS {
        return Err(DocumentError::TooManyComponents);
    }
    let texts: FxHashMap<&str, &str> = list(spdx, "hasExtractedLicensingInfos")
        .iter()
        .map(|info| (text(info, "licenseId"), text(info, "extractedText")))
        .collect();
    let mut sbom = document::empty(text(spdx, "name"));
    let described: BTreeSet<&str> = list(spdx, "relationships")
        .iter()
        .filter(|relationship| text(relationship, "relationshipType") == "DESCRIBES")
        .map(|relationship| text(relationship, "relatedSpdxElement"))
        .chain(list(spdx, "documentDescribes").iter().filter_map(Value::as_str))
        .collect();
    let purpose =
        |package: &Value, wanted: &str| text(package, "primaryPackagePurpose").replace('_', "-") == wanted;
    for package in packages {
        if described.contains(text(package, "SPDXID")) {
            sbom.image = text(package, "versionInfo").parse().ok();
        }
        if purpose(package, "OPERATING-SYSTEM") && !text(package, "name").is_empty() {
            sbom.distribution = Some(Distribution {
                release: identity::canonical(
                    &text(package, "name").to_lowercase(),
                    text(package, "versionInfo"),
                ),
                codename: String::new(),
                pretty_name: text(package, "sourceInfo").to_owned(),
                like: Vec::new(),
            });
        }
    }
    let release = sbom.distribution.as_ref().map(|distribution| &distribution.release);
    let mut by_id: FxHashMap<&str, usize> = FxHashMap::default();
    let mut components: Vec<Component> = Vec::new();
    let mut nameless = 0;
    for package in packages {
        let references = |kind: &'static str| {
            let all = list(package, "externalRefs").iter();
            all.filter(move |external| text(external, "referenceType") == kind)
                .map(|external| text(external, "referenceLocator"))
        };
        let reference = |kind| references(kind).next();
        let place = |path: &str| Location {
            path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
            layer: None,
        };
        let stated =
            reference(KEY).and_then(|id| ComponentKey::from_id(&percent_decode_str(id).decode_utf8_lossy()));
        let key = stated.or_else(|| {
            let purl: Purl = reference("purl")?.parse().ok()?;
            identity::component(&purl, release)
        });
        let Some(key) = key else {
            let known = described.contains(text(package, "SPDXID")) || purpose(package, "OPERATING-SYSTEM");
            nameless += usize::from(!known);
            continue;
        };
        by_id.insert(text(package, "SPDXID"), components.len());
        let stated = match text(package, "licenseDeclared") {
            "" | NONE | "NONE" => None,
            // One reference is the text that it stands for; the parts of an expression stay as they are.
            other => Some(texts.get(other).copied().unwrap_or(other).to_owned()),
        };
        let supplier = text(package, "supplier");
        let supplier = supplier.split_once(": ").map_or("", |(_, name)| name);
        components.push(Component {
            purl: identity::purl(&key).to_string(),
            key,
            display_name: text(package, "name").to_owned(),
            locations: references(LOCATION).map(place).collect(),
            licenses: stated.into_iter().collect(),
            owned_by: reference(OWNED_BY).and_then(import::owner),
            confidence: match reference(CONFIDENCE) {
                Some("low") => Confidence::Low,
                _ => Confidence::High,
            },
            supplier: supplier.to_owned(),
            found_by: String::new(),
            depends_on: Vec::new(),
            introduced: None,
        });
    }
    for relationship in list(spdx, "relationships") {
        let (from, to) = match text(relationship, "relationshipType") {
            "DEPENDS_ON" => ("spdxElementId", "relatedSpdxElement"),
            "DEPENDENCY_OF" => ("relatedSpdxElement", "spdxElementId"),
            _ => continue,
        };
        let (Some(&from), Some(&to)) =
            (by_id.get(text(relationship, from)), by_id.get(text(relationship, to)))
        else {
            continue;
        };
        let purl = components.get(to).map(|component| component.purl.clone());
        if let (Some(component), Some(purl)) = (components.get_mut(from), purl) {
            component.depends_on.push(purl);
        }
    }
    import::finish(&mut sbom, components, nameless);
    Ok(sbom)
}
