//! NuGet package versions: Semantic Versioning with up to four numbers, without regard to case.
//!
//! Order: `NuGet.Versioning.VersionComparer.Default`
//! (<https://learn.microsoft.com/nuget/concepts/package-versioning>): `1.0` equals `1.0.0.0`, pre-release
//! labels compare by SemVer clause 11 ignoring case, build metadata is ignored. Numbers may be of any length.

use crate::semver_core::Dialect;

pub(crate) const DIALECT: Dialect = Dialect { max_numbers: 4, ignore_case: true, ..Dialect::PLAIN };
