//! Semantic Versioning 2.0.0, for crates.io, Swift, Bitnami and OSV ranges of type SEMVER.
//!
//! Order: <https://semver.org/spec/v2.0.0.html>, clause 11. Accepted beyond the specification, because
//! feeds hold it and its value is not in doubt: a leading `v`, a missing minor or patch number, leading
//! zeros (`2023.02.17`), and more than three numbers, which compare as further numbers. A placeholder
//! (`2.0.x`) or a word where a number belongs is refused.

use crate::semver_core::Dialect;

pub(crate) const DIALECT: Dialect = Dialect::PLAIN;
