//! npm package versions: Semantic Versioning as node-semver reads it in loose mode.
//!
//! Order: SemVer clause 11. Syntax: node-semver's `LOOSE` grammar (`=` or `v` in front, leading zeros, a
//! pre-release without a hyphen), with a missing minor or patch number read as zero. As there, numbers above
//! 2^53 - 1 and a fourth number are refused.

use crate::semver_core::Dialect;

pub(crate) const DIALECT: Dialect =
    Dialect { max_numbers: 3, max_value: Some(9_007_199_254_740_991), loose: true, ..Dialect::PLAIN };
