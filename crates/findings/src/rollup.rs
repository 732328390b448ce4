//! Changes of one cause -> messages, and the subjects that they are published under.

use std::collections::BTreeMap;

use plimsoll_model::finding::{Change, ChangeKind, Class, RollUp};
use plimsoll_model::{Finding, Holder};

use crate::id::short_hash;

/// Most changes in one message.
pub const MAX_CHANGES: usize = 200;

/// The changes of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub holder: Holder,
    /// The more urgent of old and new class of every change in it.
    pub class: Class,
    /// In the order of work: class, rank, age, id. At most [`MAX_CHANGES`].
    pub changes: Vec<Change>,
}

/// Groups changes of one cause into one part for each (holder, published class), split above [`MAX_CHANGES`]; sorted, whatever the
/// order of `changes`.
pub fn roll_up(changes: Vec<Change>) -> Vec<Part> {
    let mut groups: BTreeMap<(Holder, Class), Vec<Change>> = BTreeMap::new();
    for change in changes {
        groups.entry((change.finding.key.holder.clone(), change.published_class())).or_default().push(change);
    }
    let mut parts = Vec::new();
    for ((holder, class), mut changes) in groups {
        changes.sort_by(|a, b| order(&a.finding).cmp(&order(&b.finding)));
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(MAX_CHANGES));
            parts.push(Part { holder: holder.clone(), class, changes });
            changes = rest;
        }
    }
    parts
}

fn order(finding: &Finding) -> plimsoll_risk::OrderKey<'_> {
    plimsoll_risk::order_key(finding)
}

/// Advisories that a sentence names of each kind of change; more are counted.
const NAMED: usize = 3;

/// The sentence of a cause that is a change of advisories, with what it did to these findings: which advisories appeared, went, or
/// say something else. As in `Db 7: published or widened: CVE-2026-1 (DSA-9); withdrawn or narrowed: CVE-2026-2`.
pub fn advisory_sentence(base: &str, changes: &[Change]) -> String {
    let mut groups: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for change in changes {
        let what = match change.kind {
            ChangeKind::Opened | ChangeKind::Reopened => "published or widened",
            ChangeKind::Fixed => "withdrawn or narrowed",
            ChangeKind::Suppressed => "found not to affect",
            ChangeKind::Merged => "merged",
            ChangeKind::Rescoped => continue,
            ChangeKind::Reclassified | ChangeKind::Updated | ChangeKind::ScanFailed => "changed",
        };
        let finding = &change.finding;
        groups.entry(what).or_default().insert(&finding.key.vulnerability, &finding.advisory);
    }
    let mut sentence = base.to_owned();
    let mut glue = ": ";
    for (what, advisories) in groups {
        let more = advisories.len().saturating_sub(NAMED);
        let named: Vec<String> = advisories
            .into_iter()
            .take(NAMED)
            .map(|(id, advisory)| match advisory.is_empty() || advisory == id {
                true => id.to_owned(),
                false => format!("{id} ({advisory})"),
            })
            .collect();
        sentence.push_str(&format!("{glue}{what}: {}", named.join(", ")));
        if more > 0 {
            sentence.push_str(&format!(" and {more} more"));
        }
        glue = "; ";
    }
    sentence
}

/// The subject of a message on FINDINGS.
pub fn subject(message: &RollUp) -> String {
    subject_of(message.class, &message.holder)
}

/// `findings.v1.<class>.workload.<cluster>.<ns>.<kind>.<name>` or `findings.v1.<class>.image.<registry>.<repository>`.
pub fn subject_of(class: Class, holder: &Holder) -> String {
    let (kind, tokens): (_, Vec<&str>) = match holder {
        Holder::Workload { workload: w, .. } => {
            ("workload", vec![&w.cluster, &w.namespace, &w.kind, &w.name])
        }
        Holder::Repository { registry, repository, .. } => ("image", vec![registry, repository]),
    };
    let mut subject = format!("findings.v1.{class}.{kind}");
    for token in tokens {
        subject.push('.');
        subject.push_str(&encode_token(token));
    }
    subject
}

/// Longest token in bytes; longer names end in a hash.
const MAX_TOKEN: usize = 400;

/// One token of a subject: percent-encoded outside `[A-Za-z0-9_-]`. An empty text is `_`, which no Kubernetes name is.
pub fn encode_token(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            token.push(char::from(byte));
        } else {
            token.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                token.push(digit.to_ascii_uppercase());
            }
        }
    }
    if token.len() > MAX_TOKEN {
        token.truncate(MAX_TOKEN - 33);
        token.push('-');
        token.push_str(&short_hash(text));
    }
    token
}
