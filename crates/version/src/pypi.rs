//! Python package versions.
//!
//! Order: PEP 440 (<https://packaging.python.org/specifications/version-specifiers>), through `pep440_rs`. A text that
//! is not PEP 440 is a *legacy* version: below every valid one, and among its like ordered as `packaging` did before
//! release 22 (`LegacyVersion`, which is setuptools' `parse_version`). A PEP 440 version with a number above 2^64 - 1 is
//! refused rather than taken for a legacy one.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::scan::{is_number, split_digits, split_run};

/// A version, parsed.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    /// `LegacyVersion`'s sort key: its parts, joined by a byte that sorts below all others.
    Legacy(Box<str>),
    Valid(pep440_rs::Version),
}

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    if let Ok(version) = pep440_rs::Version::from_str(text) {
        return Ok(Parts::Valid(version));
    }
    if pep440_rs::Version::from_str(&shorten_numbers(text)).is_ok() {
        return Err("number is too large");
    }
    Ok(Parts::Legacy(legacy_key(text)))
}

pub(crate) fn compare(a: &Parts, b: &Parts) -> Ordering {
    match (a, b) {
        (Parts::Valid(a), Parts::Valid(b)) => a.cmp(b),
        (Parts::Legacy(a), Parts::Legacy(b)) => a.cmp(b),
        (Parts::Legacy(_), Parts::Valid(_)) => Ordering::Less,
        (Parts::Valid(_), Parts::Legacy(_)) => Ordering::Greater,
    }
}

/// `text` with every number that 64 bits cannot hold replaced by `9`.
fn shorten_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (other, after) = split_run(rest, |b| !b.is_ascii_digit());
        let (digits, after) = split_digits(after);
        out.push_str(other);
        out.push_str(match digits.parse::<u64>() {
            Err(_) if !digits.is_empty() => "9",
            _ => digits,
        });
        rest = after;
    }
    out
}

/// `packaging.version._legacy_cmpkey`, as text.
fn legacy_key(text: &str) -> Box<str> {
    const FINAL: &str = "*final";
    const ZERO: &str = "00000000";
    let lower = text.to_lowercase();
    let mut parts: Vec<String> = Vec::new();
    let mut rest = lower.as_str();
    while !rest.is_empty() {
        let part;
        (part, rest) = legacy_part(rest);
        if part == "." {
            continue;
        }
        if is_number(part) {
            parts.push(format!("{part:0>8}"));
            continue;
        }
        push_word(
            &mut parts,
            match part {
                "pre" | "preview" | "rc" => "*c".to_owned(),
                "-" => "*final-".to_owned(),
                "dev" => "*@".to_owned(),
                word => format!("*{word}"),
            },
        );
    }
    push_word(&mut parts, FINAL.to_owned());
    return parts.join("\0").into_boxed_str();

    fn push_word(parts: &mut Vec<String>, word: String) {
        // A hyphen before a pre-release does not count, nor do zeros at the end of a row of numbers.
        while word.as_str() < FINAL && parts.last().is_some_and(|p| p == "*final-") {
            parts.pop();
        }
        while parts.last().is_some_and(|p| p == ZERO) {
            parts.pop();
        }
        parts.push(word);
    }
}

/// The first part of a legacy version: digits, letters, a dot, a hyphen, or a run of anything else.
fn legacy_part(text: &str) -> (&str, &str) {
    match text.bytes().next() {
        Some(b) if b.is_ascii_digit() => split_digits(text),
        Some(b'a'..=b'z') => split_run(text, |b| b.is_ascii_lowercase()),
        Some(b'.' | b'-') => text.split_at_checked(1).unwrap_or((text, "")),
        _ => split_run(text, |b| !(b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'.' || b == b'-')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_keys_are_those_of_packaging_21() {
        for (text, key) in [
            ("0.1-bulbasaur", "00000000|00000001|*bulbasaur|*final"),
            ("2.0.0-x", "00000002|*final-|*x|*final"),
            ("2.0.0-post1.x", "00000002|*final-|*post|00000001|*x|*final"),
            ("1-rc.git", "00000001|*c|*git|*final"),
            ("1.0-a_b", "00000001|*a|*_|*b|*final"),
            ("-class.-jw", "*class|*final-|*jw|*final"),
            ("21T33+0100", "00000021|*t|00000033|*+|00000100|*final"),
        ] {
            assert_eq!(legacy_key(text).replace('\0', "|"), key, "{text}");
        }
    }

    #[test]
    fn a_number_above_64_bits_is_refused_not_legacy() {
        assert!(parse("1.99999999999999999999").is_err());
        assert!(matches!(parse("1.99999999999999999999-x-y"), Ok(Parts::Legacy(_))));
        assert!(matches!(parse("1.00000000000000000000001"), Ok(Parts::Valid(_))));
    }
}
