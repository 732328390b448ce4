//! Ruby gem versions.
//!
//! Order: `Gem::Version#<=>` (rubygems `lib/rubygems/version.rb`): the version is cut into numbers and words,
//! `-` reads as `.pre.`, zeros before the first word and at the end do not count, missing segments are
//! zero, and a word is less than any number. Syntax: letters, digits, `.` and `-`, beginning with a digit;
//! `1beta`, which Gem refuses, is read as `1.beta`.

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, is_zero, split_digits, split_run};

/// Where the segments that count are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    /// The numbers before the first word, without trailing zeros.
    numbers: Span,
    /// From the first word to the end.
    words: Span,
}

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("expected a digit first");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
        return Err("character other than letters, digits, `.` and `-`");
    }
    if text.ends_with(['.', '-']) || text.contains("..") {
        return Err("segment is empty");
    }
    let (numbers, words) = split_run(text, |b| b.is_ascii_digit() || b == b'.');
    let numbers = numbers.trim_end_matches('.');
    // Drop `.0` from the end as long as it is a whole segment.
    let mut kept = numbers;
    while let Some((head, last)) = kept.rsplit_once('.') {
        if !is_zero(last) {
            break;
        }
        kept = head;
    }
    if is_zero(kept) {
        kept = "";
    }
    Ok(Parts { numbers: Span::at(0, kept), words: Span::at(text.len() - words.len(), words) })
}

/// A number or a word of a version.
#[derive(Clone, Copy)]
enum Segment<'a> {
    Number(&'a str),
    Word(&'a str),
}

struct Segments<'a> {
    numbers: &'a str,
    words: &'a str,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if !self.numbers.is_empty() {
            let (number, rest) = split_digits(self.numbers);
            self.numbers = rest.strip_prefix('.').unwrap_or(rest);
            return Some(Segment::Number(number));
        }
        if let Some(rest) = self.words.strip_prefix('-') {
            self.words = rest;
            return Some(Segment::Word("pre"));
        }
        let words = self.words.trim_start_matches('.');
        let (number, rest) = split_digits(words);
        if !number.is_empty() {
            self.words = rest;
            return Some(Segment::Number(number));
        }
        let (word, rest) = split_run(words, |b| b.is_ascii_alphabetic());
        if !word.is_empty() {
            self.words = rest;
            return Some(Segment::Word(word));
        }
        // Only a hyphen after dots is left.
        self.words = words;
        (!words.is_empty()).then(|| self.next())?
    }
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
    let segments =
        |text, parts: &Parts| Segments { numbers: parts.numbers.of(text), words: parts.words.of(text) };
    let (mut sa, mut sb) = (segments(a, pa), segments(b, pb));
    loop {
        let zero = Segment::Number("");
        let order = match (sa.next(), sb.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => match (a.unwrap_or(zero), b.unwrap_or(zero)) {
                (Segment::Number(a), Segment::Number(b)) => cmp_digits(a, b),
                (Segment::Word(a), Segment::Word(b)) => a.cmp(b),
                (Segment::Number(_), Segment::Word(_)) => Ordering::Greater,
                (Segment::Word(_), Segment::Number(_)) => Ordering::Less,
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
