//! Composer package versions.
//!
//! Order: `Composer\Semver\Comparator`: both versions are normalised as
//! `Composer\Semver\VersionParser::normalize` does (`v1.0pl1` is `1.0.0.0-patch1`, `2.x-dev` is
//! `2.9999999.9999999.9999999-dev`, build metadata goes) and then ordered by PHP's `version_compare`. What
//! Composer cannot normalise (a date, a fifth number, an unknown word) is ordered by `version_compare` as it
//! stands, except that its words are read without regard to case, as the normalised ones are.
//!
//! Branches (`dev-main`, `master`) are below every numbered version. Composer does not order them among
//! themselves; here they go by name, so that the order is total.

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, is_number, split_digits, split_run, strip_prefix_ignore_case};

/// Ranks of PHP's special forms, in ascending order; the end of a version and a number stand between.
const UNKNOWN: u8 = 0;
const DEV: u8 = 1;
const ALPHA: u8 = 2;
const BETA: u8 = 3;
const RC: u8 = 4;
const END: u8 = 5;
const NUMBER: u8 = 6;
const PATCH: u8 = 7;

/// The number that Composer puts for a wildcard.
const WILDCARD: &str = "9999999";

/// A version after normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts {
    /// One to four numbers, filled up to four.
    Normal {
        numbers: Span,
        /// What stands for a missing number.
        wildcard: bool,
        /// Rank of the stability word, if there is one.
        stability: Option<u8>,
        stability_numbers: Span,
        dev: bool,
    },
    /// Whatever else has a number or a word in it.
    Other(Span),
    /// A branch, by its name.
    Branch(Span),
}

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    let core = strip_stability_flag(text);
    if matches!(core, "master" | "trunk" | "default") {
        return Ok(Parts::Branch(Span::at(0, core)));
    }
    if let Some(name) = strip_prefix_ignore_case(core, "dev-") {
        return Ok(Parts::Branch(Span::at(core.len() - name.len(), name)));
    }
    let core = match core.split_once('+') {
        Some((head, build)) if !head.is_empty() && !build.is_empty() => head,
        _ => core,
    };
    let bare = match core.strip_prefix(['v', 'V']) {
        Some(bare) if bare.starts_with(|c: char| c.is_ascii_digit()) => bare,
        _ => core,
    };
    let start = core.len() - bare.len();
    if let Some(parts) = classical(bare, start).or_else(|| numeric_branch(bare, start)) {
        return Ok(parts);
    }
    if !bare.bytes().any(|b| b.is_ascii_alphanumeric()) {
        return Err("expected a number or a word");
    }
    Ok(Parts::Other(Span::at(start, bare)))
}

/// `1.0@beta` asks for a stability and is no part of the version.
fn strip_stability_flag(text: &str) -> &str {
    match text.rsplit_once('@') {
        Some((head, flag))
            if !head.is_empty()
                && ["stable", "rc", "beta", "alpha", "dev"].iter().any(|s| flag.eq_ignore_ascii_case(s)) =>
        {
            head
        }
        _ => text,
    }
}

/// One to four numbers, then a stability word with its numbers, then `dev`; each but the first optional.
fn classical(bare: &str, start: usize) -> Option<Parts> {
    let (first, mut rest) = split_digits(bare);
    if first.is_empty() || first.len() > 5 {
        return None;
    }
    for _ in 0..3 {
        let Some((digits, after)) = rest.strip_prefix('.').map(split_digits) else {
            break;
        };
        if digits.is_empty() {
            break;
        }
        rest = after;
    }
    let numbers = Span::at(start, bare.strip_suffix(rest)?);
    let modifier = rest.strip_prefix(['.', '_', '-']).unwrap_or(rest);
    let (stability, mut rest) = stability_word(modifier);
    let before = rest;
    if stability.is_some() {
        loop {
            let (digits, after) = split_digits(rest.strip_prefix(['.', '-']).unwrap_or(rest));
            if digits.is_empty() {
                break;
            }
            rest = after;
        }
    }
    let taken = before.strip_suffix(rest)?;
    let stability_numbers = Span::at(start + bare.len() - before.len(), taken);
    let tail = rest.strip_prefix(['.', '-']).unwrap_or(rest);
    let dev = tail.eq_ignore_ascii_case("dev");
    if !dev && !rest.is_empty() {
        return None;
    }
    let stable = stability == Some(END);
    Some(Parts::Normal {
        numbers,
        wildcard: false,
        stability: stability.filter(|_| !stable),
        stability_numbers: if stable { Span::default() } else { stability_numbers },
        dev: dev && !stable,
    })
}

/// The stability word at the start of `text` and what follows it; `stable` has the rank of the end.
fn stability_word(text: &str) -> (Option<u8>, &str) {
    const WORDS: [(&str, u8); 9] = [
        ("stable", END),
        ("beta", BETA),
        ("b", BETA),
        ("rc", RC),
        ("alpha", ALPHA),
        ("a", ALPHA),
        ("patch", PATCH),
        ("pl", PATCH),
        ("p", PATCH),
    ];
    WORDS
        .iter()
        .find_map(|(word, rank)| Some((Some(*rank), strip_prefix_ignore_case(text, word)?)))
        .unwrap_or((None, text))
}

/// `2.x-dev`: a branch whose name is numbers and wildcards.
fn numeric_branch(bare: &str, start: usize) -> Option<Parts> {
    let (head, dev) = bare.split_at_checked(bare.len().checked_sub(3)?)?;
    if !dev.eq_ignore_ascii_case("dev") {
        return None;
    }
    let name = head.strip_suffix(['.', '-']).unwrap_or(head);
    let mut parts = name.split('.');
    let first = parts.next()?;
    let rest = name.split('.').skip(1);
    let wild = |part: &str| matches!(part, "x" | "X" | "*");
    if !is_number(first) || name.split('.').count() > 4 {
        return None;
    }
    if !rest.into_iter().all(|part| is_number(part) || wild(part)) {
        return None;
    }
    Some(Parts::Normal {
        numbers: Span::at(start, name),
        wildcard: true,
        stability: None,
        stability_numbers: Span::default(),
        dev: true,
    })
}

/// An element of a version as `version_compare` sees it: its rank, and its digits if it is a number.
type Element<'a> = (u8, &'a str);

/// The elements of a version that is not a branch, without the end.
struct Elements<'a> {
    /// Numbers of a normalised version that are still to come, and how many fill it up to four.
    numbers: &'a str,
    fill: u8,
    filler: &'a str,
    stability: Option<u8>,
    stability_numbers: &'a str,
    dev: bool,
    other: &'a str,
}

impl<'a> Elements<'a> {
    fn new(text: &'a str, parts: &Parts) -> Self {
        let empty = Elements {
            numbers: "",
            fill: 0,
            filler: "0",
            stability: None,
            stability_numbers: "",
            dev: false,
            other: "",
        };
        match *parts {
            Parts::Normal { numbers, wildcard, stability, stability_numbers, dev } => Elements {
                numbers: numbers.of(text),
                fill: 4,
                filler: if wildcard { WILDCARD } else { "0" },
                stability,
                stability_numbers: stability_numbers.of(text),
                dev,
                other: "",
            },
            Parts::Other(span) | Parts::Branch(span) => Elements { other: span.of(text), ..empty },
        }
    }

    fn next(&mut self) -> Element<'a> {
        if self.fill > 0 {
            self.fill -= 1;
            if self.numbers.is_empty() {
                return (NUMBER, self.filler);
            }
            let (number, rest) = self.numbers.split_once('.').unwrap_or((self.numbers, ""));
            self.numbers = rest;
            return (NUMBER, if is_number(number) { number } else { WILDCARD });
        }
        if let Some(rank) = self.stability.take() {
            return (rank, "");
        }
        let (number, rest) = split_digits(self.stability_numbers.trim_start_matches(['.', '-']));
        if !number.is_empty() {
            self.stability_numbers = rest;
            return (NUMBER, number);
        }
        if std::mem::take(&mut self.dev) {
            return (DEV, "");
        }
        self.other = split_run(self.other, |b| !b.is_ascii_alphanumeric()).1;
        let (number, rest) = split_digits(self.other);
        if !number.is_empty() {
            self.other = rest;
            return (NUMBER, number);
        }
        let (word, rest) = split_run(self.other, |b| b.is_ascii_alphabetic());
        self.other = rest;
        (if word.is_empty() { END } else { form(word) }, "")
    }
}

/// The rank of a word; PHP looks only at how it begins.
fn form(word: &str) -> u8 {
    const FORMS: [(&str, u8); 5] = [("dev", DEV), ("a", ALPHA), ("b", BETA), ("rc", RC), ("p", PATCH)];
    FORMS
        .iter()
        .find(|(start, _)| strip_prefix_ignore_case(word, start).is_some())
        .map_or(UNKNOWN, |(_, rank)| *rank)
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
    match (pa, pb) {
        (Parts::Branch(na), Parts::Branch(nb)) => return na.of(a).cmp(nb.of(b)),
        (Parts::Branch(_), _) => return Ordering::Less,
        (_, Parts::Branch(_)) => return Ordering::Greater,
        _ => {}
    }
    let (mut ea, mut eb) = (Elements::new(a, pa), Elements::new(b, pb));
    loop {
        let ((ra, na), (rb, nb)) = (ea.next(), eb.next());
        match ra.cmp(&rb).then_with(|| cmp_digits(na, nb)) {
            Ordering::Equal if ra == END => return Ordering::Equal,
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}
