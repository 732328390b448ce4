//! What the scanner for secrets noted in the layers, hidden files included.
//!
//! What a distribution ships is nobody's secret: libraries hold test keys for their self-tests, for one. So a file is
//! passed over if it lies where distributions put programs and data, and a package that its own layer installs owns it.
//! A file that came with another layer than its package was changed since, and counts.

use std::borrow::Borrow;

use plimsoll_model::Digest;
use plimsoll_model::extract::{Extract, Selected};
use plimsoll_model::sbom::{Distribution, Secret};
use rustc_hash::FxHashSet;
use serde::Deserialize;

use crate::catalog;
use crate::merge::{self, Merged};

/// The selector whose bytes are read here: a JSON array of what was found in one file.
pub(crate) const SELECTOR: &str = "secrets";
/// Secrets that are listed of one image.
const MAX_SECRETS: usize = 10_000;
/// Folders of which distributions own what packages put there; `etc` and the like hold what people configure.
const OF_DISTRIBUTIONS: &[&str] = &["usr", "lib", "lib32", "lib64", "libx32", "bin", "sbin", "opt"];

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
    distribution: Option<&Distribution>,
) -> Vec<Secret> {
    let visible: FxHashSet<*const Selected> =
        merged.files.iter().map(|file| std::ptr::from_ref(file.selected)).collect();
    let mut secrets = Vec::new();
    for (n, (extract, layer)) in extracts.iter().zip(reported).enumerate() {
        let noted = || extract.borrow().selected.iter().filter(|selected| selected.selector == SELECTOR);
        if noted().next().is_none() {
            continue;
        }
        let shipped = shipped(extracts, n, distribution);
        for selected in noted().filter(|selected| !shipped.contains(&std::ptr::from_ref(*selected))) {
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

/// The files with secrets of a layer that packages of this very layer own.
fn shipped<E: Borrow<Extract>>(
    extracts: &[E],
    layer: usize,
    distribution: Option<&Distribution>,
) -> FxHashSet<*const Selected> {
    // The layers below say where paths lead; packages and files are this one's.
    let mut merged = merge::merge(extracts.get(..=layer).unwrap_or(extracts));
    merged.files.retain(|file| file.layer == layer);
    let owned = catalog::owned(&merged, SELECTOR, distribution);
    let of_distribution = |path: &str| OF_DISTRIBUTIONS.contains(&path.split('/').next().unwrap_or(path));
    let shipped = |path: &String| of_distribution(path) && owned.contains(path);
    let files = merged.files.iter().filter(|file| file.selected.selector == SELECTOR);
    files
        .filter(|file| shipped(&file.path) && file.links.iter().all(shipped))
        .map(|file| std::ptr::from_ref(file.selected))
        .collect()
}
