//! Versions that are only numbers, and the orders built on them: CRAN and Hackage.

use std::cmp::Ordering;

use crate::scan::{cmp_digits, is_number};

/// Checks that `text` is numbers between single separators.
pub(crate) fn parse(text: &str, separates: fn(char) -> bool) -> Result<(), &'static str> {
    if text.split(separates).all(is_number) { Ok(()) } else { Err("expected numbers between separators") }
}

/// Number by number; where one version goes on, it is the greater (`1.0` < `1.0.0`).
pub(crate) fn compare_longer_wins(a: &str, b: &str, separates: fn(char) -> bool) -> Ordering {
    let (mut ia, mut ib) = (a.split(separates), b.split(separates));
    loop {
        let order = match (ia.next(), ib.next()) {
            (None, None) => return Ordering::Equal,
            (Some(na), Some(nb)) => cmp_digits(na, nb),
            (na, nb) => return na.is_some().cmp(&nb.is_some()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
