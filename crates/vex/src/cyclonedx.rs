//! CycloneDX VEX: `vulnerabilities[].analysis` with `affects`, in a document of its own or inside an SBOM
//! (<https://cyclonedx.org/docs/1.6/json/#vulnerabilities>).
//!
//! A `ref` is a package URL, or the `bom-ref` of a component of the same document; then the document's own subject
//! (`metadata.component`) is the product. A link into another document (`urn:cdx:SERIAL/VERSION#REF`) is followed where it
//! is this document's own serial number; any other product is not known here, and the reference says nothing.

use std::collections::BTreeMap;

use plimsoll_model::vex::{PackagePattern, Product, VexStatus};
use serde_json::Value;

use crate::document::{Context, Said, list, text, time};
use crate::product::{Named, products};

/// Components may be nested so deep.
const MAX_DEPTH: usize = 16;

/// True for a CycloneDX document with vulnerabilities.
pub(crate) fn is(value: &Value) -> bool {
    value.get("bomFormat").and_then(Value::as_str) == Some("CycloneDX")
        && value.get("vulnerabilities").is_some()
}

/// The components of a document, by `bom-ref`.
struct Bom<'v> {
    serial: &'v str,
    components: BTreeMap<&'v str, &'v str>,
    subject_ref: &'v str,
    /// The purl of what the document describes.
    subject: &'v str,
}

impl<'v> Bom<'v> {
    fn of(value: &'v Value) -> Self {
        let subject = value.pointer("/metadata/component").unwrap_or(&Value::Null);
        let mut bom = Self {
            serial: text(value, "serialNumber").trim_start_matches("urn:uuid:"),
            components: BTreeMap::new(),
            subject_ref: text(subject, "bom-ref"),
            subject: text(subject, "purl"),
        };
        let mut pending: Vec<(&Value, usize)> = list(value, "components").iter().map(|c| (c, 0)).collect();
        while let Some((component, depth)) = pending.pop() {
            if !text(component, "bom-ref").is_empty() {
                bom.components.insert(text(component, "bom-ref"), text(component, "purl"));
            }
            if depth < MAX_DEPTH {
                pending.extend(list(component, "components").iter().map(|c| (c, depth + 1)));
            }
        }
        bom
    }
}

pub(crate) fn read(value: &Value, context: &mut Context<'_>) {
    let author = author(value);
    if !context.believes(author) {
        return;
    }
    let bom = Bom::of(value);
    for vulnerability in list(value, "vulnerabilities") {
        let Some(analysis) = vulnerability.get("analysis") else {
            context.leave("analysis_missing");
            continue;
        };
        let Some(status) = status(text(analysis, "state")) else {
            context.leave("status_unknown");
            continue;
        };
        let mut named = Vec::new();
        for affected in list(vulnerability, "affects") {
            named.extend(product_of(affected, &bom, context));
        }
        let mut ids = vec![text(vulnerability, "id").to_owned()];
        ids.extend(list(vulnerability, "references").iter().map(|r| text(r, "id").to_owned()));
        let at = time([
            text(analysis, "lastUpdated"),
            text(analysis, "firstIssued"),
            text(vulnerability, "updated"),
            value.pointer("/metadata/timestamp").and_then(Value::as_str).unwrap_or(""),
        ]);
        let said = Said {
            vulnerabilities: ids,
            products: named,
            status,
            justification: match (text(analysis, "justification"), text(analysis, "state")) {
                ("", "false_positive") => "false_positive".to_owned(),
                (word, _) => word.to_owned(),
            },
            reason: text(analysis, "detail").to_owned(),
            at,
        };
        context.say(author, text(value, "serialNumber"), said);
    }
}

fn author(value: &Value) -> &str {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let named = |name: &str| metadata.get(name).map_or("", |one| text(one, "name"));
    let person = list(metadata, "authors").first().map_or("", |one| text(one, "name"));
    [named("manufacturer"), named("supplier"), named("manufacture"), person]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("")
}

fn status(word: &str) -> Option<VexStatus> {
    Some(match word {
        "not_affected" | "false_positive" => VexStatus::NotAffected,
        "resolved" | "resolved_with_pedigree" => VexStatus::Fixed,
        "exploitable" => VexStatus::Affected,
        "in_triage" => VexStatus::UnderInvestigation,
        _ => return None,
    })
}

fn product_of(affected: &Value, bom: &Bom<'_>, context: &mut Context<'_>) -> Vec<Product> {
    let reference = text(affected, "ref");
    let local = match reference.strip_prefix("urn:cdx:") {
        None => reference.to_owned(),
        Some(link) => match link.split_once('#') {
            Some((document, rest))
                if !bom.serial.is_empty() && document.split('/').next() == Some(bom.serial) =>
            {
                unescape(rest)
            }
            _ => {
                context.leave("product_in_another_document");
                return Vec::new();
            }
        },
    };
    if !bom.subject_ref.is_empty() && local == bom.subject_ref {
        return context.product(bom.subject).map_or_else(Vec::new, |outer| products(&outer, None));
    }
    let Some(purl) = bom.components.get(local.as_str()).copied() else {
        // The document has no such component: the reference itself names the product.
        let Some(named) = context.product(&local) else { return Vec::new() };
        return versioned(named, affected, context)
            .into_iter()
            .map(|package| match package {
                Named::Package(package) => Product { package: Some(package), ..Product::default() },
                Named::Image(image) => Product { image: Some(image), ..Product::default() },
            })
            .collect();
    };
    let Some(outer) = context.product(bom.subject) else { return Vec::new() };
    let Ok(part) = crate::product::named(purl) else {
        context.leave("subcomponent_unknown");
        return Vec::new();
    };
    let parts: Vec<PackagePattern> = versioned(part, affected, context)
        .into_iter()
        .filter_map(|named| match named {
            Named::Package(package) => Some(package),
            Named::Image(_) => None,
        })
        .collect();
    products(&outer, Some(&parts))
}

/// With the versions of `versions`, where the reference has none. Ranges are not followed.
fn versioned(named: Named, affected: &Value, context: &mut Context<'_>) -> Vec<Named> {
    let versions = list(affected, "versions");
    let Named::Package(package) = named else { return vec![named] };
    if versions.is_empty() || package.version.is_some() {
        return vec![Named::Package(package)];
    }
    let mut named = Vec::new();
    for version in versions {
        match text(version, "version") {
            "" => context.leave("version_range"),
            version => named.push(Named::Package(PackagePattern {
                version: Some(version.to_owned()),
                ..package.clone()
            })),
        }
    }
    named
}

fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
