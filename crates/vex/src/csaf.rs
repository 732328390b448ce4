//! CSAF 2.0 (<https://docs.oasis-open.org/csaf/csaf/v2.0/csaf-v2.0.html>): what `product_status` says of products with
//! package URLs.
//!
//! A product that is a component of another is read as a part of it where the other has a package URL of its own, and as a
//! package of Red Hat Enterprise Linux where the other is that platform. A component of any other platform counts only with
//! its version, which is that of one build.

use std::collections::{BTreeMap, HashMap};

use plimsoll_model::package::Release;
use plimsoll_model::vex::{PackagePattern, Product, VexStatus};
use serde_json::Value;

use crate::document::{Context, Said, list, text, time};
use crate::product::{Named, products};

const MAX_PRODUCTS: usize = 500_000;
/// Branches, and relationships of relationships, may be so deep.
const MAX_DEPTH: usize = 16;

/// True for a CSAF document.
pub(crate) fn is(value: &Value) -> bool {
    value.pointer("/document/csaf_version").is_some()
}

struct Tree<'v> {
    /// Package URL and CPE.
    helpers: HashMap<&'v str, (&'v str, &'v str)>,
    /// Component and what it is a component of.
    relationships: HashMap<&'v str, (&'v str, &'v str)>,
}

impl<'v> Tree<'v> {
    fn of(tree: &'v Value) -> Option<Self> {
        let mut helpers = HashMap::new();
        let mut take = |product: &'v Value| {
            let helper = product.get("product_identification_helper").unwrap_or(&Value::Null);
            helpers.insert(text(product, "product_id"), (text(helper, "purl"), text(helper, "cpe")));
            helpers.len() <= MAX_PRODUCTS
        };
        for product in list(tree, "full_product_names") {
            take(product).then_some(())?;
        }
        let mut pending: Vec<(&Value, usize)> = list(tree, "branches").iter().map(|b| (b, 0)).collect();
        while let Some((branch, depth)) = pending.pop() {
            if let Some(product) = branch.get("product") {
                take(product).then_some(())?;
            }
            if depth < MAX_DEPTH {
                pending.extend(list(branch, "branches").iter().map(|b| (b, depth + 1)));
            }
        }
        let mut relationships = HashMap::new();
        for relationship in list(tree, "relationships") {
            let whole = relationship.get("full_product_name").unwrap_or(&Value::Null);
            take(whole).then_some(())?;
            let ends =
                (text(relationship, "product_reference"), text(relationship, "relates_to_product_reference"));
            relationships.insert(text(whole, "product_id"), ends);
        }
        Some(Self { helpers, relationships })
    }

    fn purl(&self, id: &str) -> &'v str {
        self.helpers.get(id).map_or("", |(purl, _)| purl)
    }
}

pub(crate) fn read(value: &Value, context: &mut Context<'_>) {
    let document = value.get("document").unwrap_or(&Value::Null);
    let author = document.get("publisher").map_or("", |publisher| text(publisher, "name"));
    if !context.believes(author) {
        return;
    }
    let tracking = document.get("tracking").unwrap_or(&Value::Null);
    let at = time([text(tracking, "current_release_date"), text(tracking, "initial_release_date")]);
    let Some(tree) = Tree::of(value.get("product_tree").unwrap_or(&Value::Null)) else {
        return context.leave("too_many_products");
    };
    for vulnerability in list(value, "vulnerabilities") {
        let mut ids = vec![text(vulnerability, "cve").to_owned()];
        ids.extend(list(vulnerability, "ids").iter().map(|id| text(id, "text").to_owned()));
        let why = Why::of(vulnerability);
        let statuses = vulnerability.get("product_status").and_then(Value::as_object);
        for (word, products) in statuses.into_iter().flatten() {
            let Some(status) = status(word) else { continue };
            let mut groups: BTreeMap<(&str, &str), Vec<Product>> = BTreeMap::new();
            for id in products.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let named = product_of(id, &tree, context);
                if !named.is_empty() {
                    groups.entry(why.of_product(id)).or_default().extend(named);
                }
            }
            for ((justification, reason), products) in groups {
                let said = Said {
                    vulnerabilities: ids.clone(),
                    products,
                    status,
                    justification: justification.to_owned(),
                    reason: reason.to_owned(),
                    at,
                };
                context.say(author, text(tracking, "id"), said);
            }
        }
    }
}

fn status(word: &str) -> Option<VexStatus> {
    Some(match word {
        "known_not_affected" => VexStatus::NotAffected,
        "fixed" | "first_fixed" => VexStatus::Fixed,
        "known_affected" | "first_affected" | "last_affected" => VexStatus::Affected,
        "under_investigation" => VexStatus::UnderInvestigation,
        _ => return None,
    })
}

/// Justifications (`flags`) and impact statements (`threats`), by product.
struct Why<'v> {
    labels: HashMap<&'v str, &'v str>,
    impacts: HashMap<&'v str, &'v str>,
    general: &'v str,
}

impl<'v> Why<'v> {
    fn of(vulnerability: &'v Value) -> Self {
        let ids = |value: &'v Value| list(value, "product_ids").iter().filter_map(Value::as_str);
        let mut why = Self { labels: HashMap::new(), impacts: HashMap::new(), general: "" };
        for flag in list(vulnerability, "flags") {
            why.labels.extend(ids(flag).map(|id| (id, text(flag, "label"))));
        }
        for threat in list(vulnerability, "threats").iter().filter(|t| text(t, "category") == "impact") {
            // Red Hat says severities there, in one word.
            let details = text(threat, "details");
            if !details.contains(' ') {
                continue;
            }
            if list(threat, "product_ids").is_empty() {
                why.general = details;
            }
            why.impacts.extend(ids(threat).map(|id| (id, details)));
        }
        why
    }

    fn of_product(&self, id: &str) -> (&'v str, &'v str) {
        let label = self.labels.get(id).copied().unwrap_or("");
        (label, self.impacts.get(id).copied().unwrap_or(self.general))
    }
}

fn product_of(id: &str, tree: &Tree<'_>, context: &mut Context<'_>) -> Vec<Product> {
    if !tree.purl(id).is_empty() {
        return context.product(tree.purl(id)).map_or_else(Vec::new, |named| products(&named, None));
    }
    let Some((part, mut whole)) = tree.relationships.get(id).copied() else {
        context.leave("product_unknown");
        return Vec::new();
    };
    // A module stands between a package and its platform.
    let mut module = false;
    for _ in 0..MAX_DEPTH {
        match tree.relationships.get(whole) {
            Some((_, outer)) if tree.purl(whole).is_empty() => (whole, module) = (outer, true),
            _ => break,
        }
    }
    let inner = match crate::product::named(tree.purl(part)) {
        Ok(Named::Image(image)) => return products(&Named::Image(image), None),
        Ok(Named::Package(package)) => package,
        Err(reason) => {
            context.leave(reason.as_str());
            return Vec::new();
        }
    };
    let (purl, cpe) = tree.helpers.get(whole).copied().unwrap_or_default();
    if !purl.is_empty() {
        return match context.product(purl) {
            Some(outer) => products(&outer, Some(&[inner])),
            None => Vec::new(),
        };
    }
    let release =
        enterprise_linux(cpe).map(|version| Release { id: "rhel".to_owned(), version: version.to_owned() });
    if inner.version.is_none() && (release.is_none() || module || tree.purl(part).contains("rpmmod=")) {
        context.leave("platform_unknown");
        return Vec::new();
    }
    let package = match release {
        Some(release) if inner.version.is_none() => PackagePattern { release: Some(release), ..inner },
        _ => inner,
    };
    vec![Product { package: Some(package), ..Product::default() }]
}

/// The major version in the CPE of Red Hat Enterprise Linux: `cpe:/o:redhat:enterprise_linux:9::baseos`.
fn enterprise_linux(cpe: &str) -> Option<&str> {
    let rest = cpe.strip_prefix("cpe:/o:redhat:enterprise_linux:");
    let rest = rest.or_else(|| cpe.strip_prefix("cpe:/a:redhat:enterprise_linux:"))?;
    let major = rest.split([':', '.']).next()?;
    (!major.is_empty() && major.len() <= 3 && major.bytes().all(|b| b.is_ascii_digit())).then_some(major)
}
