//! VEX documents and ignore rules become [`Statement`](plimsoll_model::Statement)s.
//!
//! | module | does |
//! |---|---|
//! | [`source`] | files, directories and VEX repositories, under a [`Trust`], to statements and a [`Report`] |
//! | [`document`] | one document: its format, its signature, its statements |
//! | [`openvex`], [`csaf`], [`cyclonedx`] | the formats |
//! | [`attached`] | what beside an image in a registry may be a document |
//! | [`envelope`] | DSSE envelopes and the keys that they are verified with |
//! | [`product`] | package URLs to what a statement is about |
//! | [`ignore`] | the operator's own rules |
//!
//! Invariant: what cannot be read exactly is left out and counted, never widened: a product with subcomponents that are
//! not understood says nothing, rather than something about the whole product.

pub mod attached;
pub mod csaf;
pub mod cyclonedx;
pub mod document;
pub mod envelope;
mod error;
pub mod ignore;
pub mod openvex;
pub mod product;
pub mod source;

pub use attached::may_be_vex;
pub use document::{Collected, Report, Trust, read};
pub use envelope::Key;
pub use error::VexError;
pub use ignore::ignore_rules;
pub use source::{load, load_all};
