//! The operator's own rules: findings that are to be ignored for a time, each with its reason.

use std::path::Path;

use plimsoll_model::Timestamp;
use plimsoll_model::vex::{PackagePattern, Product, Scope, Statement, StatementKind, VexStatus, is_network};
use serde::Deserialize;
use serde_saphyr::{budget, options};

use crate::document::{clip, identified};
use crate::error::VexError;
use crate::product::{Named, named};

/// Largest file, in bytes.
const MAX_FILE: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// A vulnerability, by any of its ids, or the code of a finding about network policy.
    id: String,
    /// A name, or a package URL with or without version.
    #[serde(default)]
    package: String,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    workload: String,
    #[serde(default)]
    image: String,
    /// Of findings about network policy: who is on the other side.
    #[serde(default)]
    peer: String,
    /// Of findings about network policy: `ingress`, `egress` or `policy`.
    #[serde(default)]
    side: String,
    reason: String,
    /// A date or time, or `never`.
    expires: String,
    /// Who decided.
    #[serde(default)]
    by: String,
}

/// Reads a file of rules. One that is wrong is an error that names it: nothing of the file counts then.
///
/// # Errors
/// [`VexError::Io`], [`VexError::TooLarge`], or [`VexError::Ignore`].
pub fn ignore_rules(path: &Path) -> Result<Vec<Statement>, VexError> {
    if std::fs::metadata(path).map_err(VexError::io(path))?.len() > MAX_FILE {
        return Err(VexError::TooLarge { path: path.to_owned(), what: "4 MiB" });
    }
    let text = std::fs::read_to_string(path).map_err(VexError::io(path))?;
    let place = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&text, &place).map_err(|reason| VexError::Ignore { path: path.to_owned(), reason })
}

fn parse(text: &str, place: &str) -> Result<Vec<Statement>, String> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(Vec::new());
    }
    let options = options! {
        budget: budget! {
            max_events: 500_000,
            max_depth: 8,
            max_documents: 1,
            max_nodes: 250_000,
            max_aliases: 100,
            max_anchors: 100,
            max_merge_keys: 100,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    let file: File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().chars().take(500).collect::<String>())?;
    file.rules.into_iter().enumerate().map(|(n, rule)| statement(n, rule, place)).collect()
}

fn statement(n: usize, rule: Rule, place: &str) -> Result<Statement, String> {
    let at = |reason: &str| format!("rules[{n}]: {reason}");
    if rule.id.trim().is_empty() {
        return Err(at("id is empty"));
    }
    if rule.reason.trim().is_empty() {
        return Err(at("reason is empty"));
    }
    let id = rule.id.trim();
    if is_network(id) {
        for (name, value) in [("package", &rule.package), ("image", &rule.image)] {
            if !value.trim().is_empty() {
                return Err(at(&format!("{name} says nothing of {id}")));
            }
        }
        if !matches!(rule.side.as_str(), "" | "ingress" | "egress" | "policy") {
            return Err(at("side is ingress, egress or policy"));
        }
    } else if !(rule.peer.is_empty() && rule.side.is_empty()) {
        return Err(at("peer and side are of findings about network policy alone"));
    }
    let expires: Option<Timestamp> = match rule.expires.trim() {
        "never" => None,
        text => Some(text.parse().map_err(|_| at("expires is neither a date, a time nor \"never\""))?),
    };
    let mut product = Product::default();
    match rule.package.trim() {
        "" => {}
        purl if purl.starts_with("pkg:") => match named(purl) {
            Ok(Named::Image(image)) => product.image = Some(image),
            Ok(Named::Package(package)) => product.package = Some(package),
            Err(_) => return Err(at("package is no package URL that names one product")),
        },
        name => {
            product.package = Some(PackagePattern { name: name.to_owned(), ..PackagePattern::default() });
        }
    }
    Ok(identified(Statement {
        id: String::new(),
        kind: StatementKind::Ignore,
        vulnerabilities: vec![rule.id.trim().to_owned()],
        products: vec![product],
        scope: Scope {
            cluster: rule.cluster,
            namespace: rule.namespace,
            workload: rule.workload,
            image: rule.image,
            peer: rule.peer,
            side: rule.side,
        },
        status: VexStatus::NotAffected,
        justification: String::new(),
        reason: clip(&rule.reason),
        issuer: if rule.by.trim().is_empty() { "ignore rule".to_owned() } else { clip(&rule.by) },
        document: format!("{place} rules[{n}]"),
        signed_by: String::new(),
        at: Timestamp::default(),
        expires,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let text = "rules:\n- id: CVE-2024-1\n  package: pkg:deb/debian/openssl@3.0.11-1\n  namespace: shop-*\n  reason: not reached\n  expires: 2026-12-31\n- id: GHSA-x\n  reason: accepted\n  expires: never\n  by: security@example.com\n";
        let read = parse(text, "ignore.yaml").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].expires, Some("2026-12-31".parse().unwrap()));
        assert_eq!(read[0].products[0].package.as_ref().unwrap().version.as_deref(), Some("3.0.11-1"));
        assert_eq!((read[1].expires, read[1].issuer.as_str()), (None, "security@example.com"));
        assert_eq!(read[1].products, [Product::default()]);
        assert_eq!(parse("# nothing\n", "x").unwrap(), []);
        let text = "rules:\n- {id: NETPOL004, namespace: shop, peer: 10.0.0.0/8, side: egress, reason: r, expires: never}\n";
        let read = parse(text, "x").unwrap();
        assert_eq!((read[0].scope.peer.as_str(), read[0].scope.side.as_str()), ("10.0.0.0/8", "egress"));
    }

    #[test]
    fn wrong_rules_are_named() {
        for (text, why) in [
            ("rules:\n- id: CVE-1\n  expires: never\n", "reason"),
            ("rules:\n- id: CVE-1\n  reason: r\n", "expires"),
            ("rules:\n- id: CVE-1\n  reason: ' '\n  expires: never\n", "rules[0]: reason is empty"),
            ("rules:\n- id: CVE-1\n  reason: r\n  expires: soon\n", "rules[0]: expires"),
            (
                "rules:\n- id: CVE-1\n  reason: r\n  expires: never\n  package: pkg:oci/x\n",
                "rules[0]: package",
            ),
            ("rules:\n- id: CVE-1\n  reason: r\n  expires: never\n  namspace: x\n", "namspace"),
            ("rules:\n- {id: CVE-1, reason: r, expires: never, peer: x}\n", "rules[0]: peer"),
            ("rules:\n- {id: NETPOL001, reason: r, expires: never, image: x}\n", "rules[0]: image"),
            ("rules:\n- {id: NETPOL001, reason: r, expires: never, side: in}\n", "rules[0]: side"),
        ] {
            let error = parse(text, "x").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
