//! Pub package versions (Dart, Flutter): Semantic Versioning in which build metadata counts.
//!
//! Order: `Version.compareTo` of package `pub_semver`: SemVer clause 11, then a version without build
//! metadata before one with it, and build identifiers compared as pre-release identifiers are.

use crate::semver_core::Dialect;

pub(crate) const DIALECT: Dialect = Dialect { build_counts: true, ..Dialect::PLAIN };
