//! Haskell package versions: numbers separated by `.`.
//!
//! Order: the Haskell Package Versioning Policy (<https://pvp.haskell.org>) and the `Ord` of Cabal's
//! `Version`: lexicographic over the numbers, so the longer of two is the greater. Leading zeros, which
//! Cabal refuses, are taken by value.

use std::cmp::Ordering;

use crate::numeric;

fn separates(c: char) -> bool {
    c == '.'
}

pub(crate) fn parse(text: &str) -> Result<(), &'static str> {
    numeric::parse(text, separates)
}

pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    numeric::compare_longer_wins(a, b, separates)
}
