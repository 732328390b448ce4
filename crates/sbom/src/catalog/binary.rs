//! Programs that a classifier knows by their content: `PRODUCT`, a tab, `VERSION`. Low confidence, and only those that
//! no distribution package owns count: the others are that package.

use plimsoll_model::Ecosystem;
use plimsoll_model::sbom::Confidence;

use super::documents::key;
use super::{Context, File, Interpreted, component};

pub(super) fn interpret(_: &Context<'_>, files: &[File<'_>]) -> Interpreted {
    let mut found = Interpreted::default();
    for file in files {
        let text = file.text();
        let Some((product, version)) = text.trim().split_once('\t') else { continue };
        // `pkg:TYPE/NAME` where the product has a type of its own.
        let (ecosystem, product) = match product.strip_prefix("pkg:").and_then(|rest| rest.split_once('/')) {
            Some((kind, name)) => match kind.parse::<Ecosystem>() {
                Ok(ecosystem) => (ecosystem, name),
                Err(_) => continue,
            },
            None => (Ecosystem::Generic, product),
        };
        if product.is_empty() || version.is_empty() {
            continue;
        }
        let mut component = component(key(ecosystem, product, version), product, file, "binary");
        component.confidence = Confidence::Low;
        found.components.push(component);
    }
    found
}
