//! The Extracts of an image become one [`Sbom`](plimsoll_model::Sbom); CycloneDX, SPDX and syft-json out and in.
//!
//! [`merge::merge`] applies the layers' shadow sets; the catalogers of [`catalog`] turn the selected bytes that stay
//! visible into components; [`build`] does both and gives the Sbom. Values in, values out: nothing is read or
//! written, and equal input gives equal bytes.

pub mod base;
pub mod catalog;
pub mod cyclonedx;
pub mod document;
pub mod merge;
pub mod purl;
pub mod spdx;
pub mod syft;

mod assemble;
mod diff;
mod identity;
mod import;
mod introduced;
mod license;
mod secrets;

pub use assemble::{Content, ImageMeta, build};
pub use diff::{Change, Diff, Distributions, diff};
pub use identity::{component as component_of_purl, purl as purl_of_component};
pub use merge::merge;
