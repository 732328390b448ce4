//! Go module versions, pseudo-versions and toolchain versions.
//!
//! Order: `golang.org/x/mod/semver.Compare` (<https://go.dev/ref/mod#versions>): SemVer clause 11 with
//! build metadata, and so `+incompatible`, ignored. A pseudo-version
//! (`v0.0.0-20191109021931-daa7c04131f5`) is a pre-release and falls into place by its base version and
//! then its time. The leading `v` may be missing, as it is in OSV records.
//!
//! A toolchain version (`go1.21rc2`, `go1.22.1`) is read as the Go vulnerability database writes it:
//! `1.21.0-rc.2`, `1.22.1`.

use crate::scan::{split_digits, split_run};
use crate::semver_core::{self, Dialect, Parts};

pub(crate) const DIALECT: Dialect = Dialect { max_numbers: 3, ..Dialect::PLAIN };

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    match text.strip_prefix("go") {
        Some(toolchain) => parse_toolchain(text, toolchain),
        None => semver_core::parse(text, &DIALECT),
    }
}

fn parse_toolchain(text: &str, toolchain: &str) -> Result<Parts, &'static str> {
    let (_, tail) = split_run(toolchain, |b| b.is_ascii_digit() || b == b'.');
    let (word, number) = split_run(tail, |b| b.is_ascii_lowercase());
    if word.is_empty() {
        return semver_core::parse_at(text, toolchain, &DIALECT);
    }
    if number.is_empty() || !split_digits(number).1.is_empty() {
        return Err("expected a number after the toolchain's pre-release word");
    }
    // `1.21rc2`: the numbers end where the word begins, no hyphen between.
    semver_core::parse_fused(text, toolchain, tail, &DIALECT)
}
