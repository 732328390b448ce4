//! R package versions: numbers separated by `.` or `-`.
//!
//! Order: R's `package_version` (base R, `?numeric_version`; the syntax stands in "Writing R Extensions",
//! 1.1.1): number by number, and the longer version is the greater. A single number, which R
//! refuses for packages, is taken.

use std::cmp::Ordering;

use crate::numeric;

fn separates(c: char) -> bool {
    c == '.' || c == '-'
}

pub(crate) fn parse(text: &str) -> Result<(), &'static str> {
    numeric::parse(text, separates)
}

pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    numeric::compare_longer_wins(a, b, separates)
}
