//! The order of Semantic Versioning 2.0.0 (<https://semver.org>, clauses 9 to 11), and the syntaxes
//! of the ecosystems that share it.
//!
//! Numbers may be of any length. Dialects differ in what they accept and in two details of the order,
//! see [`Dialect`].

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, cmp_ignore_case, is_number, split_digits};

/// What an ecosystem accepts beside `major.minor.patch[-prerelease][+build]`. In every dialect a
/// leading `v`, leading zeros, and a missing minor or patch number (read as zero) are accepted: none of
/// them leaves a doubt about the value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// How many numbers there may be.
    pub(crate) max_numbers: usize,
    /// The greatest value of a number, if there is one.
    pub(crate) max_value: Option<u64>,
    /// npm's loose mode: a leading `=`, a pre-release without a hyphen after three numbers.
    pub(crate) loose: bool,
    /// Pre-releases compare without regard to case.
    pub(crate) ignore_case: bool,
    /// Build metadata is part of the order.
    pub(crate) build_counts: bool,
}

impl Dialect {
    /// Numbers of any length and count, case matters, build metadata does not.
    pub(crate) const PLAIN: Dialect = Dialect {
        max_numbers: usize::MAX,
        max_value: None,
        loose: false,
        ignore_case: false,
        build_counts: false,
    };
}

/// The parts of one version.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    /// The dotted numbers.
    numbers: Span,
    /// The dotted pre-release identifiers.
    pre: Span,
    /// The dotted build identifiers.
    build: Span,
    /// The pre-release is a Go toolchain's (`rc2`): letters, then a number.
    fused: bool,
}

pub(crate) fn parse(text: &str, dialect: &Dialect) -> Result<Parts, &'static str> {
    let mut rest = text;
    if dialect.loose {
        rest = rest.trim_start_matches('=');
    }
    rest = rest.strip_prefix(['v', 'V']).unwrap_or(rest);
    parse_at(text, rest, dialect)
}

/// Parses `rest`, which is the end of `text`.
pub(crate) fn parse_at<'a>(
    text: &'a str,
    mut rest: &'a str,
    dialect: &Dialect,
) -> Result<Parts, &'static str> {
    let from = rest;
    let start = text.len() - rest.len();
    let mut count = 0;
    loop {
        let (digits, after) = split_digits(rest);
        if digits.is_empty() {
            return Err("expected a number");
        }
        if let Some(max) = dialect.max_value
            && digits.parse::<u64>().map_or(true, |n| n > max)
        {
            return Err("number is too large");
        }
        count += 1;
        if count > dialect.max_numbers {
            return Err("too many numbers");
        }
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => {
                rest = after;
                break;
            }
        }
    }
    let taken = from.len() - rest.len();
    let numbers = Span::at(start, from.get(..taken).unwrap_or(""));
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => (rest, identifiers(text, build)?),
        None => (rest, Span::default()),
    };
    let pre = match rest.strip_prefix('-') {
        Some(pre) => pre,
        None if rest.is_empty() => "",
        None if dialect.loose && count == 3 => rest,
        None => return Err("expected `-`, `+` or the end after the numbers"),
    };
    if pre.is_empty() && !rest.is_empty() {
        return Err("pre-release is empty");
    }
    let pre = match pre {
        "" => Span::default(),
        pre => {
            identifiers(pre, pre)?;
            let offset = start + taken + (rest.len() - pre.len());
            Span::at(offset, pre)
        }
    };
    Ok(Parts { numbers, pre, build, fused: false })
}

/// Parses numbers that run into a pre-release of letters and digits; `rest` is the end of `text`, `pre` that
/// of `rest`.
pub(crate) fn parse_fused(
    text: &str,
    rest: &str,
    pre: &str,
    dialect: &Dialect,
) -> Result<Parts, &'static str> {
    let numbers = rest.strip_suffix(pre).unwrap_or(rest);
    let head = text.strip_suffix(pre).unwrap_or(text);
    let parts = parse_at(head, numbers, dialect)?;
    Ok(Parts { pre: identifiers(text, pre)?, fused: true, ..parts })
}

/// Checks dotted identifiers; `part` must be the end of `text`.
fn identifiers(text: &str, part: &str) -> Result<Span, &'static str> {
    for identifier in part.split('.') {
        if identifier.is_empty() {
            return Err("identifier is empty");
        }
        if !identifier.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err("identifier has a character other than letters, digits and `-`");
        }
    }
    Ok(Span::at(text.len() - part.len(), part))
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts, dialect: &Dialect) -> Ordering {
    compare_numbers(pa.numbers.of(a), pb.numbers.of(b))
        .then_with(|| match (pa.pre.is_empty(), pb.pre.is_empty()) {
            (false, false) => compare_identifiers(
                Identifiers::new(pa.pre.of(a), pa.fused),
                Identifiers::new(pb.pre.of(b), pb.fused),
                dialect.ignore_case,
            ),
            (ra, rb) => ra.cmp(&rb),
        })
        .then_with(|| {
            if !dialect.build_counts {
                return Ordering::Equal;
            }
            match (pa.build.is_empty(), pb.build.is_empty()) {
                (false, false) => compare_identifiers(
                    Identifiers::new(pa.build.of(a), false),
                    Identifiers::new(pb.build.of(b), false),
                    false,
                ),
                (na, nb) => nb.cmp(&na),
            }
        })
}

/// Dotted numbers, the shorter one padded with zeros.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (mut ia, mut ib) = (a.split('.'), b.split('.'));
    loop {
        let order = match (ia.next(), ib.next()) {
            (None, None) => return Ordering::Equal,
            (na, nb) => cmp_digits(na.unwrap_or(""), nb.unwrap_or("")),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The dot-separated identifiers of a pre-release or of build metadata.
struct Identifiers<'a> {
    rest: Option<&'a str>,
    fused: bool,
}

impl<'a> Identifiers<'a> {
    fn new(text: &'a str, fused: bool) -> Self {
        Identifiers { rest: Some(text), fused }
    }
}

impl<'a> Iterator for Identifiers<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        if self.fused {
            let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
            self.fused = false;
            if !letters.is_empty() && letters.len() < rest.len() {
                self.rest = rest.get(letters.len()..);
                return Some(letters);
            }
        }
        match rest.split_once('.') {
            Some((first, rest)) => {
                self.rest = Some(rest);
                Some(first)
            }
            None => Some(rest),
        }
    }
}

/// Clause 11.4: numbers by value and below words, words by their ASCII text, and where one list goes on
/// it is the greater.
fn compare_identifiers(mut a: Identifiers<'_>, mut b: Identifiers<'_>, ignore_case: bool) -> Ordering {
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => cmp_digits(a, b),
                (false, false) if ignore_case => cmp_ignore_case(a, b),
                (false, false) => a.cmp(b),
                (na, nb) => nb.cmp(&na),
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
