//! The tag-value form of SPDX 2.2 and 2.3 (specification, clause 6 to 12 and annex "SPDX Lite" have the tags).
//!
//! Reading makes of it the value that the JSON form would be, of packages, relationships and extracted licences; files,
//! snippets, annotations and reviews are passed over.

use serde_json::{Map, Value, json};

use super::Document;
use crate::document::{DocumentError, MAX_COMPONENTS};

/// Longest run of lines that one `<text>` may take, in bytes.
const MAX_TEXT: usize = 1 << 20;

pub(super) fn write(document: &Document) -> String {
    let mut out = String::new();
    let mut tag = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push('\n');
        }
    };
    tag("SPDXVersion", document.spdx_version);
    tag("DataLicense", document.data_license);
    tag("SPDXID", document.id);
    tag("DocumentName", &name(&document.name));
    tag("DocumentNamespace", &document.document_namespace);
    for creator in &document.creation_info.creators {
        tag("Creator", creator);
    }
    tag("Created", &document.creation_info.created);
    for package in &document.packages {
        tag("\nPackageName", &name(&package.name));
        tag("SPDXID", &package.id);
        tag("PackageVersion", &line(&package.version_info));
        tag("PackageSupplier", &line(&package.supplier));
        tag("PackageDownloadLocation", package.download_location);
        tag("PrimaryPackagePurpose", package.primary_package_purpose);
        tag("FilesAnalyzed", if package.files_analyzed { "true" } else { "false" });
        tag("PackageSourceInfo", &text(&package.source_info));
        tag("PackageLicenseConcluded", package.license_concluded);
        tag("PackageLicenseDeclared", &package.license_declared);
        tag("PackageCopyrightText", package.copyright_text);
        for external in &package.external_refs {
            let value = format!(
                "{} {} {}",
                external.reference_category, external.reference_type, external.reference_locator
            );
            tag("ExternalRef", &value);
        }
    }
    for license in &document.has_extracted_licensing_infos {
        tag("\nLicenseID", &license.license_id);
        tag("ExtractedText", &text(&license.extracted_text));
        tag("LicenseName", "NOASSERTION");
    }
    for (n, relationship) in document.relationships.iter().enumerate() {
        let value = format!(
            "{} {} {}",
            relationship.spdx_element_id, relationship.relationship_type, relationship.related_spdx_element
        );
        tag(if n == 0 { "\nRelationship" } else { "Relationship" }, &value);
    }
    out
}

/// A name, which may not be empty: a package begins with it.
fn name(value: &str) -> String {
    Some(line(value)).filter(|line| !line.is_empty()).unwrap_or_else(|| "unnamed".to_owned())
}

/// A value of one line.
fn line(value: &str) -> String {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = value.trim();
    // A value that begins like a text would be read as one.
    if value.starts_with("<text>") { value.replacen('<', "(", 1) } else { value.to_owned() }
}

fn text(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    format!("<text>{}</text>", value.replace("</text>", "< /text>").replace('\r', ""))
}

/// Whether a document begins as one of this form does.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    let head = bytes.get(..64 << 10).unwrap_or(bytes);
    let first = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| {
        // Comments and empty lines may come first.
        !line.is_empty() && !line.starts_with(b"#")
    });
    first.is_some_and(|line| line.starts_with(b"SPDXVersion:"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Document,
    Package,
    License,
    Other,
}

/// The document as a value of the JSON form.
pub(super) fn value(text: &str) -> Result<Value, DocumentError> {
    let mut document = Map::new();
    let (mut packages, mut licenses, mut relationships) = (Vec::new(), Vec::new(), Vec::new());
    let mut current = Map::new();
    let mut section = Section::Document;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end_matches('\r');
        if line.trim_start().starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim();
        let mut value = value.trim().to_owned();
        if value.starts_with("<text>") {
            while !value.contains("</text>") && value.len() < MAX_TEXT {
                let Some(next) = lines.next() else { break };
                value.push('\n');
                value.push_str(next);
            }
            let inner = value.strip_prefix("<text>").unwrap_or(&value);
            value = inner.split("</text>").next().unwrap_or("").to_owned();
        }
        let starts = match name {
            "PackageName" => Some(Section::Package),
            "LicenseID" => Some(Section::License),
            "FileName" | "SnippetSPDXID" | "Annotator" | "Reviewer" => Some(Section::Other),
            _ => None,
        };
        if let Some(starts) = starts {
            let done = std::mem::take(&mut current);
            match section {
                Section::Package => packages.push(Value::Object(done)),
                Section::License => licenses.push(Value::Object(done)),
                Section::Document | Section::Other => {}
            }
            if packages.len() > MAX_COMPONENTS {
                return Err(DocumentError::TooManyComponents);
            }
            section = starts;
        }
        if name == "Relationship" {
            let mut words = value.split_whitespace();
            if let (Some(from), Some(kind), Some(to)) = (words.next(), words.next(), words.next()) {
                relationships
                    .push(json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to}));
            }
            continue;
        }
        let mut put = |to: &mut Map<String, Value>, name: &str| {
            to.entry(name).or_insert_with(|| Value::String(std::mem::take(&mut value)));
        };
        match (section, name) {
            (Section::Document, "SPDXVersion") => put(&mut document, "spdxVersion"),
            (Section::Document, "DocumentName") => put(&mut document, "name"),
            (Section::Package, "PackageName") => put(&mut current, "name"),
            (Section::Package, "SPDXID") => put(&mut current, "SPDXID"),
            (Section::Package, "PackageVersion") => put(&mut current, "versionInfo"),
            (Section::Package, "PackageSupplier") => put(&mut current, "supplier"),
            (Section::Package, "PackageSourceInfo") => put(&mut current, "sourceInfo"),
            (Section::Package, "PackageLicenseDeclared") => put(&mut current, "licenseDeclared"),
            (Section::Package, "PrimaryPackagePurpose") => put(&mut current, "primaryPackagePurpose"),
            (Section::License, "LicenseID") => put(&mut current, "licenseId"),
            (Section::License, "ExtractedText") => put(&mut current, "extractedText"),
            (Section::Package, "ExternalRef") => {
                let mut words = value.split_whitespace();
                if let (Some(category), Some(kind), Some(locator)) =
                    (words.next(), words.next(), words.next())
                    && let Some(all) = current
                        .entry("externalRefs")
                        .or_insert_with(|| Value::Array(Vec::new()))
                        .as_array_mut()
                {
                    all.push(json!({
                        "referenceCategory": category, "referenceType": kind, "referenceLocator": locator
                    }));
                }
            }
            _ => {}
        }
    }
    match section {
        Section::Package => packages.push(Value::Object(current)),
        Section::License => licenses.push(Value::Object(current)),
        Section::Document | Section::Other => {}
    }
    document.insert("packages".to_owned(), Value::Array(packages));
    document.insert("relationships".to_owned(), Value::Array(relationships));
    document.insert("hasExtractedLicensingInfos".to_owned(), Value::Array(licenses));
    Ok(Value::Object(document))
}
