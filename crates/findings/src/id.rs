//! The id of a finding.

use plimsoll_model::digest::push_hex;
use plimsoll_model::{FindingKey, Holder};
use sha2::{Digest as _, Sha256};

/// The id of a key: the first 128 bits of SHA-256 over its fields, each with its length before it, as 32 hexadecimal
/// digits. Names come from images and advisories, so the hash has to resist chosen collisions. The text is stored and
/// published: it must never change.
pub fn finding_id(key: &FindingKey) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    };
    field("finding/1");
    field(&key.vulnerability);
    field(key.package.ecosystem.purl_type());
    field(key.package.release.as_ref().map_or("", |r| r.id.as_str()));
    field(key.package.release.as_ref().map_or("", |r| r.version.as_str()));
    field(&key.package.name);
    match &key.holder {
        Holder::Workload { workload, container } => {
            field("workload");
            for part in [&workload.cluster, &workload.namespace, &workload.kind, &workload.name, container] {
                field(part);
            }
        }
        Holder::Repository { registry, repository, platform } => {
            field("repository");
            let variant = platform.variant.as_deref().unwrap_or("");
            for part in [registry, repository, &platform.os, &platform.architecture, variant] {
                field(part);
            }
        }
    }
    let mut text = String::with_capacity(32);
    let bytes = hash.finalize();
    push_hex(&mut text, bytes.get(..16).unwrap_or(&bytes));
    text
}

/// 128 bits of a text as hexadecimal digits, for names that grow too long.
pub(crate) fn short_hash(text: &str) -> String {
    let mut short = String::with_capacity(32);
    let bytes = Sha256::digest(text.as_bytes());
    push_hex(&mut short, bytes.get(..16).unwrap_or(&bytes));
    short
}
