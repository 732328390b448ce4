//! Statements -> what they say of one match of a holder.
//!
//! Rules:
//! - A statement counts where it names the vulnerability (by id or alias) and the component in its image, and has not
//!   expired.
//! - Of one issuer's statements the latest counts; at the same time, the more cautious.
//! - Issuers that differ: the most cautious counts (affected, under investigation, fixed, not affected), so that only what
//!   all who speak of it call safe is suppressed.
//! - An ignore rule is the operator's own decision and counts whatever issuers say.

use std::collections::{BTreeMap, HashMap};

use plimsoll_model::vex::{ImagePlace, Product, Statement, StatementKind, Suppression};
use plimsoll_model::{ComponentKey, Holder, Timestamp, Vulnerability};

/// Statements, found by the ids of the vulnerabilities that they name.
#[derive(Debug, Default)]
pub struct Statements {
    all: Vec<Statement>,
    by_vulnerability: HashMap<String, Vec<usize>>,
    /// Some product is told by what it is inside of.
    needs_inside: bool,
    /// Some product is an image's digest.
    needs_digests: bool,
}

impl Statements {
    /// An index of `statements`.
    pub fn new(statements: Vec<Statement>) -> Self {
        let mut by_vulnerability: HashMap<String, Vec<usize>> = HashMap::new();
        for (n, statement) in statements.iter().enumerate() {
            for id in &statement.vulnerabilities {
                by_vulnerability.entry(id.clone()).or_default().push(n);
            }
        }
        let inside = |product: &Product| product.inside.is_some();
        let needs_inside = statements.iter().any(|s| s.products.iter().any(inside));
        let digest = |product: &Product| product.image.as_ref().is_some_and(|image| image.digest.is_some());
        let needs_digests = statements.iter().any(|s| s.products.iter().any(digest));
        Self { all: statements, by_vulnerability, needs_inside, needs_digests }
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, in the order given.
    pub fn all(&self) -> &[Statement] {
        &self.all
    }

    /// True where [`ImagePlace::inside`] matters.
    pub fn needs_inside(&self) -> bool {
        self.needs_inside
    }

    /// True where digests of indexes in [`ImagePlace::digests`] matter.
    pub fn needs_digests(&self) -> bool {
        self.needs_digests
    }

    /// The statements that name the vulnerability `id`, or one of its aliases.
    pub fn about<'s>(
        &'s self,
        id: &str,
        vulnerability: Option<&Vulnerability>,
    ) -> impl Iterator<Item = &'s Statement> {
        let aliases = vulnerability.map_or(&[][..], |v| v.aliases.as_slice());
        let ids = std::iter::once(id).chain(aliases.iter().map(String::as_str));
        let mut found: Vec<usize> =
            ids.filter_map(|id| self.by_vulnerability.get(id)).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|n| self.all.get(n))
    }
}

/// What statements come to for one match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stands; what issuers say of it, in words.
    Stands(Vec<String>),
    Suppressed(Vec<Suppression>),
}

/// Judges one component. `about` are the statements that name the vulnerability.
pub(crate) fn judge(
    about: &[&Statement],
    holder: &Holder,
    place: &ImagePlace,
    component: &ComponentKey,
    now: Timestamp,
) -> Verdict {
    let mut rules = Vec::new();
    let mut latest: BTreeMap<&str, &Statement> = BTreeMap::new();
    for statement in about {
        let named = statement.is_live(now)
            && statement.scope.names(holder, place)
            && statement.products.iter().any(|product| product.names(component, place));
        match statement.kind {
            _ if !named => {}
            StatementKind::Ignore => rules.push(*statement),
            StatementKind::Vex => {
                let last = latest.entry(&statement.issuer).or_insert(statement);
                // Later first, then the more cautious, then any order that is the same everywhere.
                let key = |s: &Statement| (std::cmp::Reverse(s.at), s.status, s.id.clone());
                if key(statement) < key(last) {
                    *last = statement;
                }
            }
        }
    }
    if !rules.is_empty() {
        return Verdict::Suppressed(suppressions(&rules));
    }
    let said: Vec<&Statement> = latest.into_values().collect();
    if !said.is_empty() && said.iter().all(|s| s.status.suppresses()) {
        return Verdict::Suppressed(suppressions(&said));
    }
    Verdict::Stands(
        said.iter().map(|s| format!("VEX: {} ({}, {})", s.sentence(), s.document, s.at)).collect(),
    )
}

pub(crate) fn suppressions(statements: &[&Statement]) -> Vec<Suppression> {
    let mut all: Vec<Suppression> = statements.iter().copied().map(Suppression::from).collect();
    all.sort();
    all.dedup();
    all
}
