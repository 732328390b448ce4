//! Extracts → Sbom.

use std::borrow::Borrow;

use plimsoll_model::extract::{Anomaly, Extract, Partial};
use plimsoll_model::sbom::{Base, Component, Distribution, LayerInfo, Secret};
use plimsoll_model::{Digest, Platform, Sbom};

use crate::catalog::{self, os_release};
use crate::{introduced, merge, secrets};

/// What is known of an image beside its layers' content.
#[derive(Debug, Clone, Default)]
pub struct ImageMeta {
    /// Digest of the image manifest; `None` for a directory.
    pub image: Option<Digest>,
    /// A name for people: reference or path.
    pub name: String,
    pub platform: Option<Platform>,
    /// Every layer, oldest first, those included that could not be read. Empty where layers mean nothing (a
    /// directory): then components have no layer.
    pub layers: Vec<LayerInfo>,
    /// Labels and annotations of interest.
    pub labels: Vec<(String, String)>,
    /// Why layers are missing: one for each that failed, with its code.
    pub partial: Vec<Partial>,
    /// The known image that this one is built on: see [`crate::base::find`].
    pub base: Option<Base>,
}

/// Merges the layers that could be read, oldest first, and catalogs what they show.
///
/// Equal input gives an equal Sbom, whatever the order of labels, partials and anomalies. What the layers' reading
/// lacked is in [`Sbom::partial`], what was strange in [`Sbom::anomalies`].
pub fn build<E: Borrow<Extract>>(image: ImageMeta, extracts: &[E]) -> Sbom {
    let content = Content::of(&image.layers, extracts);
    content.into_sbom(image)
}

/// What layers come to, whatever image they are of: images that differ in their configuration only have it in common.
#[derive(Debug, Clone)]
pub struct Content {
    distribution: Option<Distribution>,
    components: Vec<Component>,
    anomalies: Vec<Anomaly>,
    partial: Vec<Partial>,
    secrets: Vec<Secret>,
}

impl Content {
    /// As [`build`]. Of the layers only the digests count.
    pub fn of<E: Borrow<Extract>>(layers: &[LayerInfo], extracts: &[E]) -> Self {
        let merged = merge::merge(extracts);
        let distribution = os_release::distribution(&merged);
        let reported: Vec<Option<Digest>> = extracts
            .iter()
            .map(|extract| {
                let digest = &extract.borrow().layer;
                layers.iter().any(|layer| layer.digest == *digest).then(|| digest.clone())
            })
            .collect();
        let mut catalog = catalog::run(&merged, &reported, distribution.as_ref());
        introduced::mark(&mut catalog.components, extracts, &reported, &merged, distribution.as_ref());
        let secrets = secrets::list(extracts, &reported, &merged, distribution.as_ref());
        let mut anomalies = merged.anomalies;
        anomalies.extend(catalog.anomalies);
        let mut partial = merged.partial;
        for extract in extracts {
            let extract = extract.borrow();
            anomalies.extend(extract.anomalies.iter().cloned());
            partial.extend(extract.partial.iter().cloned());
        }
        anomalies.sort();
        anomalies.dedup();
        Self { distribution, components: catalog.components, anomalies, partial, secrets }
    }

    /// The Sbom of an image with these layers.
    pub fn into_sbom(self, image: ImageMeta) -> Sbom {
        let mut partial = image.partial;
        partial.extend(self.partial);
        partial.sort();
        partial.dedup();
        let mut labels = image.labels;
        labels.sort();
        labels.dedup();
        Sbom {
            image: image.image,
            name: image.name,
            platform: image.platform,
            distribution: self.distribution,
            layers: image.layers,
            components: self.components,
            anomalies: self.anomalies,
            partial,
            labels,
            base: image.base,
            secrets: self.secrets,
        }
    }
}
