//! OpenVEX 0.2 (<https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md>), and 0.0.1's shorter forms of it.

use plimsoll_model::vex::{ImagePattern, PackagePattern, Product, VexStatus};
use serde_json::Value;

use crate::document::{Context, Said, list, text, time};
use crate::product::{Named, products};

/// True for an OpenVEX document.
pub(crate) fn is(value: &Value) -> bool {
    text(value, "@context").starts_with("https://openvex.dev/ns") && value.get("statements").is_some()
}

pub(crate) fn read(value: &Value, context: &mut Context<'_>) {
    let author = text(value, "author");
    if !context.believes(author) {
        return;
    }
    for statement in list(value, "statements") {
        let Some(status) = status(text(statement, "status")) else {
            context.leave("status_unknown");
            continue;
        };
        let mut named = Vec::new();
        for product in list(statement, "products") {
            named.extend(product_of(product, context));
        }
        let reason = [
            text(statement, "impact_statement"),
            text(statement, "action_statement"),
            text(statement, "status_notes"),
        ];
        let at = time([
            text(statement, "last_updated"),
            text(statement, "timestamp"),
            text(value, "last_updated"),
            text(value, "timestamp"),
        ]);
        let said = Said {
            vulnerabilities: vulnerabilities(statement),
            products: named,
            status,
            justification: text(statement, "justification").to_owned(),
            reason: reason.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned(),
            at,
        };
        context.say(author, text(value, "@id"), said);
    }
}

fn status(word: &str) -> Option<VexStatus> {
    Some(match word {
        "not_affected" => VexStatus::NotAffected,
        "affected" => VexStatus::Affected,
        "fixed" => VexStatus::Fixed,
        "under_investigation" => VexStatus::UnderInvestigation,
        _ => return None,
    })
}

/// Name and aliases; of an `@id` alone its last segment (`https://nvd.nist.gov/vuln/detail/CVE-…`).
fn vulnerabilities(statement: &Value) -> Vec<String> {
    let Some(vulnerability) = statement.get("vulnerability") else { return Vec::new() };
    if let Some(name) = vulnerability.as_str() {
        return vec![name.to_owned()];
    }
    let mut ids = vec![text(vulnerability, "name").to_owned()];
    if ids.iter().all(String::is_empty) {
        ids.extend(text(vulnerability, "@id").rsplit(['/', '=']).next().map(str::to_owned));
    }
    ids.extend(list(vulnerability, "aliases").iter().filter_map(Value::as_str).map(str::to_owned));
    ids
}

/// The purl of a component: `identifiers.purl`, or its `@id`.
fn purl(component: &Value) -> &str {
    if let Some(text) = component.as_str() {
        return text;
    }
    match component.get("identifiers").map_or("", |identifiers| text(identifiers, "purl")) {
        "" => text(component, "@id"),
        purl => purl,
    }
}

fn product_of(product: &Value, context: &mut Context<'_>) -> Vec<Product> {
    let hash = product.get("hashes").map_or("", |hashes| text(hashes, "sha-256"));
    let hash = format!("sha256:{hash}").parse().ok();
    let outer = match (context.product(purl(product)), hash) {
        (Some(Named::Image(ImagePattern { digest: None, repository })), Some(digest)) => {
            Named::Image(ImagePattern { digest: Some(digest), repository })
        }
        (Some(named), _) => named,
        (None, _) => return Vec::new(),
    };
    let Some(parts) = product.get("subcomponents").and_then(Value::as_array).filter(|p| !p.is_empty()) else {
        return products(&outer, None);
    };
    let mut read: Vec<PackagePattern> = Vec::with_capacity(parts.len());
    for part in parts {
        match crate::product::named(purl(part)) {
            Ok(Named::Package(package)) => read.push(package),
            Ok(Named::Image(_)) | Err(_) => context.leave("subcomponent_unknown"),
        }
    }
    products(&outer, Some(&read))
}
