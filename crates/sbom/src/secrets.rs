//! What the scanner for secrets noted in the layers, hidden files included.

use std::borrow::Borrow;

use plimsoll_model::Digest;
use plimsoll_model::extract::{Extract, Selected};
use plimsoll_model::sbom::Secret;
use rustc_hash::FxHashSet;
use serde::Deserialize;

use crate::merge::Merged;

/// The selector whose bytes are read here: a JSON array of what was found in one file.
const SELECTOR: &str = "secrets";
/// Secrets that are listed of one image.
const MAX_SECRETS: usize = 10_000;

#[derive(Deserialize)]
struct Note {
    rule: String,
    line: u32,
    excerpt: String,
}

/// Every secret of the layers, sorted; what is in a file that a later layer hides is marked so.
pub(crate) fn list<E: Borrow<Extract>>(
    extracts: &[E],
    reported: &[Option<Digest>],
    merged: &Merged<'_>,
) -> Vec<Secret> {
    let visible: FxHashSet<*const Selected> =
        merged.files.iter().map(|file| std::ptr::from_ref(file.selected)).collect();
    let mut secrets = Vec::new();
    for (extract, layer) in extracts.iter().zip(reported) {
        for selected in extract.borrow().selected.iter().filter(|selected| selected.selector == SELECTOR) {
            let hidden = !visible.contains(&std::ptr::from_ref(selected));
            let notes: Vec<Note> = serde_json::from_slice(&selected.bytes).unwrap_or_default();
            secrets.extend(notes.into_iter().map(|note| Secret {
                path: selected.path.clone(),
                line: note.line,
                rule: note.rule,
                excerpt: note.excerpt,
                layer: layer.clone(),
                hidden,
            }));
        }
    }
    secrets.sort();
    secrets.dedup();
    secrets.truncate(MAX_SECRETS);
    secrets
}
