//! Registries and manifests; the bytes of a layer become an Extract.
//!
//! | module | what |
//! |---|---|
//! | [`registry`] | reading from registries, within the configured allow-list |
//! | [`manifest`] | indexes, manifests and configurations |
//! | [`source`] | images wherever they are: registry, layout, archive, directory |
//! | [`layer`] | a layer's bytes become an Extract |
//! | [`select`] | what of a layer is kept |

pub mod layer;
pub mod manifest;
pub mod registry;
mod secrets;
pub mod select;
pub mod source;
