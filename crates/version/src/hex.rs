//! Hex package versions (Elixir, Erlang): Semantic Versioning 2.0.0.
//!
//! Order: Elixir's `Version` module (<https://hexdocs.pm/elixir/Version.html>), which is SemVer clause 11
//! with build metadata ignored. A missing minor or patch number is read as zero, a fourth number refused.

use crate::semver_core::Dialect;

pub(crate) const DIALECT: Dialect = Dialect { max_numbers: 3, ..Dialect::PLAIN };
