//! One document: format, signature, issuer, statements.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use plimsoll_model::digest::{Digest, push_hex};
use plimsoll_model::vex::{Product, Scope, Statement, StatementKind, VexStatus};
use plimsoll_model::{Timestamp, vex::ImagePattern};
use serde_json::Value;

use crate::envelope::{self, Key};
use crate::product::{Named, Unusable};
use crate::{csaf, cyclonedx, openvex};

/// Largest document, in bytes.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// Most statements of all sources together.
pub const MAX_STATEMENTS: usize = 1_000_000;
/// Most products of one statement.
pub const MAX_PRODUCTS: usize = 100_000;
/// Most reasons that a report names.
const MAX_NAMED: usize = 200;
/// Longest text that is kept of a document, in characters.
const MAX_TEXT: usize = 1_000;

/// Whom to believe in a source.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The name under which the statements count; where it is empty, the document's author.
    pub issuer: String,
    /// Where there are any, only documents that are signed with one of them.
    pub keys: Vec<Key>,
    /// Where there are any, only documents of one of these authors.
    pub authors: Vec<String>,
}

/// What was read, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub documents: u64,
    pub statements: u64,
    /// Documents and parts of documents that say nothing here, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// The first of them: reason and place.
    pub named: Vec<(&'static str, String)>,
}

impl Report {
    pub(crate) fn leave(&mut self, reason: &'static str, place: &str) {
        *self.left_out.entry(reason).or_default() += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push((reason, place.chars().take(200).collect()));
        }
    }
}

/// Statements with the report of their sources.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    pub statements: Vec<Statement>,
    pub report: Report,
}

impl Collected {
    /// In one order, each once.
    pub fn finish(&mut self) {
        self.statements.sort();
        self.statements.dedup();
        self.report.statements = u64::try_from(self.statements.len()).unwrap_or(u64::MAX);
    }
}

/// What the readers of formats know of the document at hand.
pub(crate) struct Context<'a> {
    pub(crate) trust: &'a Trust,
    /// Name of the key of its signature.
    pub(crate) signed_by: String,
    /// Path or address, for people.
    pub(crate) place: &'a str,
    /// Images that a signed attestation is about.
    pub(crate) subjects: Vec<Digest>,
    /// Only products of this package (type, namespace and name), as a VEX repository files them.
    pub(crate) only: Option<&'a str>,
    pub(crate) out: &'a mut Collected,
}

/// One statement before it has an issuer.
pub(crate) struct Said {
    pub(crate) vulnerabilities: Vec<String>,
    pub(crate) products: Vec<Product>,
    pub(crate) status: VexStatus,
    pub(crate) justification: String,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

impl Context<'_> {
    pub(crate) fn leave(&mut self, reason: &'static str) {
        self.out.report.leave(reason, self.place);
    }

    /// True where the document's author may speak.
    pub(crate) fn believes(&mut self, author: &str) -> bool {
        let believed = self.trust.authors.is_empty() || self.trust.authors.iter().any(|a| a == author);
        if !believed {
            self.leave("author_untrusted");
        }
        believed
    }

    /// Reads a product, in an attestation with the image that it is about.
    pub(crate) fn product(&mut self, purl: &str) -> Option<Named> {
        if self.only.is_some_and(|only| !same_package(only, purl)) {
            self.leave("product_elsewhere");
            return None;
        }
        match crate::product::named(purl) {
            Ok(named) => Some(named),
            Err(Unusable::Vague) if !self.subjects.is_empty() => Some(Named::Image(ImagePattern::default())),
            Err(reason) => {
                self.leave(reason.as_str());
                None
            }
        }
    }

    pub(crate) fn say(&mut self, author: &str, document: &str, said: Said) {
        let mut products = said.products;
        products.truncate(MAX_PRODUCTS);
        if !self.subjects.is_empty() {
            products = self.narrowed(products);
        }
        products.sort();
        products.dedup();
        let mut vulnerabilities: Vec<String> =
            said.vulnerabilities.into_iter().filter(|id| is_id(id)).collect();
        vulnerabilities.sort();
        vulnerabilities.dedup();
        if vulnerabilities.is_empty() {
            return self.leave("vulnerability_unknown");
        }
        if products.is_empty() {
            return self.leave("statement_without_product");
        }
        if self.out.statements.len() >= MAX_STATEMENTS {
            return self.leave("too_many_statements");
        }
        let issuer = [self.trust.issuer.as_str(), author, self.place];
        let issuer = issuer.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let document = if document.is_empty() { self.place } else { document };
        self.out.statements.push(identified(Statement {
            id: String::new(),
            kind: StatementKind::Vex,
            vulnerabilities,
            products,
            scope: Scope::default(),
            status: said.status,
            justification: clip(&said.justification),
            reason: clip(&said.reason),
            issuer: clip(issuer),
            document: clip(document),
            signed_by: self.signed_by.clone(),
            at: said.at,
            expires: None,
        }));
    }

    /// What an attestation says holds for the images it is about; a product that names another digest keeps it.
    fn narrowed(&self, products: Vec<Product>) -> Vec<Product> {
        let mut narrowed = Vec::new();
        for product in products {
            if product.image.as_ref().is_some_and(|image| image.digest.is_some()) {
                narrowed.push(product);
                continue;
            }
            for subject in &self.subjects {
                let image = ImagePattern { digest: Some(subject.clone()), repository: String::new() };
                narrowed.push(Product { image: Some(image), ..product.clone() });
            }
        }
        narrowed
    }
}

/// The package of two purls is the same, versions and qualifiers aside.
fn same_package(a: &str, b: &str) -> bool {
    let read = |text: &str| {
        let purl: plimsoll_sbom::purl::Purl = text.parse().ok()?;
        Some((purl.kind.clone(), purl.full_name()))
    };
    read(a).is_some_and(|a| read(b) == Some(a))
}

/// An id of a vulnerability, not an address or a sentence.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

pub(crate) fn clip(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control() || *c == '\n').take(MAX_TEXT).collect()
}

/// The statement with its id: 128 bits of SHA-256 over its JSON without one.
pub(crate) fn identified(statement: Statement) -> Statement {
    let statement = Statement { id: String::new(), ..statement };
    let bytes = serde_json::to_vec(&statement).unwrap_or_default();
    let hash = digest(&SHA256, &bytes);
    let mut id = String::with_capacity(32);
    push_hex(&mut id, hash.as_ref().get(..16).unwrap_or_default());
    Statement { id, ..statement }
}

/// Reads a document of any format: OpenVEX, CSAF, CycloneDX, or a DSSE envelope or Sigstore bundle with one of them
/// in it; or several envelopes, one a line. `place` is what people are told. False where the format is not known.
pub fn read(bytes: &[u8], place: &str, trust: &Trust, out: &mut Collected) -> bool {
    read_only(bytes, place, trust, None, out)
}

pub(crate) fn read_only(
    bytes: &[u8],
    place: &str,
    trust: &Trust,
    only: Option<&str>,
    out: &mut Collected,
) -> bool {
    if bytes.len() > MAX_DOCUMENT {
        out.report.leave("document_too_large", place);
        return true;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value = match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => value,
        Err(_) => return lines(bytes, place, trust, only, out),
    };
    let mut context = Context { trust, signed_by: String::new(), place, subjects: Vec::new(), only, out };
    any(&value, &mut context)
}

/// Envelopes one a line, as `cosign download attestation` prints them.
fn lines(bytes: &[u8], place: &str, trust: &Trust, only: Option<&str>, out: &mut Collected) -> bool {
    let lines: Vec<Value> = match bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(serde_json::from_slice)
        .collect()
    {
        Ok(lines) => lines,
        Err(_) => {
            out.report.leave("document_not_json", place);
            return true;
        }
    };
    let mut known = false;
    for value in &lines {
        let mut context = Context { trust, signed_by: String::new(), place, subjects: Vec::new(), only, out };
        known |= any(value, &mut context);
    }
    known
}

fn any(value: &Value, context: &mut Context<'_>) -> bool {
    let envelope = value.get("dsseEnvelope").unwrap_or(value);
    if envelope.get("payloadType").is_some() && envelope.get("signatures").is_some() {
        context.out.report.documents += 1;
        match envelope::open(envelope, &context.trust.keys) {
            Ok(opened) => {
                context.signed_by = opened.signed_by;
                context.subjects = opened.subjects;
                if !format(&opened.document, context) {
                    context.leave("predicate_unknown");
                }
            }
            Err(reason) => context.leave(reason),
        }
        return true;
    }
    if !is_known(value) {
        return false;
    }
    context.out.report.documents += 1;
    if !context.trust.keys.is_empty() {
        context.leave("signature_missing");
        return true;
    }
    format(value, context)
}

fn is_known(value: &Value) -> bool {
    openvex::is(value) || cyclonedx::is(value) || csaf::is(value)
}

fn format(value: &Value, context: &mut Context<'_>) -> bool {
    if openvex::is(value) {
        openvex::read(value, context);
    } else if cyclonedx::is(value) {
        cyclonedx::read(value, context);
    } else if csaf::is(value) {
        csaf::read(value, context);
    } else {
        return false;
    }
    true
}

/// A member that is a text, else an empty one.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// A member that is a list, else an empty one.
pub(crate) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first of these texts that is a time.
pub(crate) fn time<'v>(texts: impl IntoIterator<Item = &'v str>) -> Timestamp {
    texts.into_iter().find_map(|text| text.parse().ok()).unwrap_or_default()
}
