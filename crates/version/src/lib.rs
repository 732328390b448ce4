//! The version orders of package ecosystems: two texts in, their order out.
//!
//! | scheme | module | order | also accepted |
//! |---|---|---|---|
//! | `dpkg` | [`dpkg`] | Debian Policy 5.6.12 | what dpkg only warns about |
//! | `rpm` | [`rpm`] | `rpmverCmp`, `rpmvercmp` | any text |
//! | `apk` | [`apk`] | apk-tools 3 `version.c` | any text |
//! | `semver` | [`semver`] | SemVer 2.0.0, clause 11 | `v`, `1.0`, leading zeros, more numbers |
//! | `npm` | [`npm`] | node-semver, loose | `v`, `=`, `1.0`, leading zeros |
//! | `go` | [`go`] | `x/mod/semver` | no `v`, `go1.21rc2` |
//! | `hex` | [`hex`] | Elixir's `Version` | `v`, `1.0`, leading zeros |
//! | `pub` | [`dart`] | `pub_semver`: build metadata counts | as semver |
//! | `nuget` | [`nuget`] | `VersionComparer.Default` | `v` |
//! | `pypi` | [`pypi`] | PEP 440 | legacy versions, below all others |
//! | `maven` | [`maven`] | Maven 3.9 `ComparableVersion`, made transitive | any text |
//! | `rubygems` | [`rubygems`] | `Gem::Version` | `1beta` |
//! | `packagist` | [`packagist`] | Composer, PHP `version_compare` | what Composer cannot normalise |
//! | `cran` | [`cran`] | R `package_version` | one number |
//! | `hackage` | [`hackage`] | PVP | leading zeros |
//!
//! Every order is total over what its scheme accepts; Maven's own is not, and is changed where it goes in circles (see
//! [`maven`]).
//! Numbers are compared at any length, but for npm and PyPI, which refuse those that they cannot hold.
//!
//! ```
//! use std::cmp::Ordering;
//! use plimsoll_version::Scheme;
//!
//! let scheme: Scheme = "dpkg".parse()?;
//! assert_eq!(scheme.compare("1.0~rc1-1", "1.0-1")?, Ordering::Less);
//!
//! // Parsed once, compared with many.
//! let installed = Scheme::Npm.parse("4.17.20")?;
//! assert_eq!(installed.cmp_str("4.17.21")?, Ordering::Less);
//!
//! // A placeholder has no place in the order.
//! assert!(Scheme::Semver.compare("2.0.x", "2.0.1").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod apk;
pub mod cran;
pub mod dart;
pub mod dpkg;
pub mod go;
pub mod hackage;
pub mod hex;
mod lines;
pub mod maven;
pub mod npm;
pub mod nuget;
mod numeric;
pub mod packagist;
pub mod pypi;
pub mod rpm;
pub mod rubygems;
mod scan;
mod scheme;
pub mod semver;
mod semver_core;

pub use lines::{LinesSummary, compare_lines};
pub use scheme::{InvalidVersion, MAX_LENGTH, Scheme, UnknownScheme, Version};
