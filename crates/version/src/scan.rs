//! What every order is made of: spans of a version's text, runs of characters, numbers of any length.

use std::cmp::Ordering;

/// A part of a version's text. Versions are at most [`crate::MAX_LENGTH`] bytes, so 16 bits are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// No text.
    pub(crate) const EMPTY: Span = Span { start: 0, end: 0 };

    /// The place of `part` in `text`; `part` must be a piece of `text` that begins `start` bytes in.
    pub(crate) fn at(start: usize, part: &str) -> Span {
        // The length limit is checked before any parser runs; saturating keeps this total all the same.
        let clamp = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Span { start: clamp(start), end: clamp(start + part.len()) }
    }

    /// The text that the span stands for.
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(usize::from(self.start)..usize::from(self.end)).unwrap_or("")
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Splits `text` after its leading run of bytes that satisfy `keep`.
///
/// `keep` must take either only ASCII bytes or every byte that is not ASCII, so that the cut falls
/// between characters.
pub(crate) fn split_run(text: &str, keep: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !keep(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits `text` after its leading ASCII digits.
pub(crate) fn split_digits(text: &str) -> (&str, &str) {
    split_run(text, |b| b.is_ascii_digit())
}

/// Compares two runs of ASCII digits by value, whatever their length; an empty run is zero.
pub(crate) fn cmp_digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Whether a run of ASCII digits has the value zero.
pub(crate) fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|b| b == b'0')
}

/// Whether `text` is one or more ASCII digits.
pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Compares two texts as if their ASCII letters were lower case.
pub(crate) fn cmp_ignore_case(a: &str, b: &str) -> Ordering {
    a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
}

/// `text` without `prefix`, which is compared without regard to ASCII case.
pub(crate) fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value_at_any_length() {
        assert_eq!(cmp_digits("007", "7"), Ordering::Equal);
        assert_eq!(cmp_digits("", "000"), Ordering::Equal);
        assert_eq!(cmp_digits("10", "9"), Ordering::Greater);
        let (a, b) = ("9".repeat(40), "1".repeat(41));
        assert_eq!(cmp_digits(&a, &b), Ordering::Less);
    }

    #[test]
    fn runs_cut_between_characters() {
        assert_eq!(split_digits("12é"), ("12", "é"));
        assert_eq!(split_run("é1", |b| !b.is_ascii_digit()), ("é", "1"));
        assert_eq!(split_digits(""), ("", ""));
    }
}
