//! Alpine and Wolfi package versions: `number{.number}{letter}{_suffix{number}}{~hash}{-r number}`.
//!
//! Order: apk-tools 3 `src/version.c`; syntax: apk-package(5). A number after the first that begins
//! with `0` is compared as text (as in Gentoo's specification). apk compares strings outside the
//! grammar too, up to the point where they leave it, and there calls two of them equal; so that the
//! order stays useful and total, what remains is compared as text, except that everything from a
//! malformed `-` on is ignored, as in apk.

use std::cmp::Ordering;

use crate::scan::{cmp_digits, split_digits, split_run};

pub(crate) fn parse(_text: &str) -> Result<(), &'static str> {
    Ok(())
}

/// The place of a token in the grammar; the order is that of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Start,
    Initial,
    Number,
    Letter,
    Suffix,
    SuffixNumber,
    Hash,
    Revision,
}

/// One token. Where two versions have different tokens at the same place, the later variant is the
/// greater: a pre-release suffix sorts below everything, then a string that leaves the grammar,
/// then the end.
#[derive(Clone, Copy, Debug)]
enum Token<'a> {
    PreSuffix(u8),
    Invalid(&'a str),
    End,
    Revision(&'a str),
    Hash(&'a str),
    SuffixNumber(&'a str),
    PostSuffix(u8),
    Letter(u8),
    Number(&'a str),
    Initial(&'a str),
}

impl Token<'_> {
    fn rank(self) -> u8 {
        match self {
            Token::PreSuffix(_) => 0,
            Token::Invalid(_) => 1,
            Token::End => 2,
            Token::Revision(_) => 3,
            Token::Hash(_) => 4,
            Token::SuffixNumber(_) => 5,
            Token::PostSuffix(_) => 6,
            Token::Letter(_) => 7,
            Token::Number(_) => 8,
            Token::Initial(_) => 9,
        }
    }
}

/// The tokens of one version, to the end or to the point where it leaves the grammar.
struct Tokens<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Token<'a> {
        let before = self.rest;
        self.token().unwrap_or_else(|| {
            self.rest = "";
            Token::Invalid(if before.starts_with('-') { "" } else { before })
        })
    }

    /// The next token, or nothing when the text leaves the grammar here.
    fn token(&mut self) -> Option<Token<'a>> {
        if self.place == Place::Start {
            self.place = Place::Initial;
            return Some(Token::Initial(self.digits(self.rest)?));
        }
        let Some(first) = self.rest.bytes().next() else {
            return Some(Token::End);
        };
        let after = self.rest.get(1..).unwrap_or("");
        match first {
            b'a'..=b'z' if self.place <= Place::Number => {
                (self.place, self.rest) = (Place::Letter, after);
                Some(Token::Letter(first))
            }
            b'.' if self.place <= Place::Number => {
                self.place = Place::Number;
                Some(Token::Number(self.digits(after)?))
            }
            b'0'..=b'9' if self.place == Place::Suffix => {
                self.place = Place::SuffixNumber;
                Some(Token::SuffixNumber(self.digits(self.rest)?))
            }
            b'_' if self.place <= Place::SuffixNumber => {
                let (word, rest) = split_run(after, |b| b.is_ascii_lowercase());
                (self.place, self.rest) = (Place::Suffix, rest);
                suffix(word)
            }
            b'~' if self.place < Place::Hash => {
                let (hash, rest) = split_run(after, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                (self.place, self.rest) = (Place::Hash, rest);
                (!hash.is_empty()).then_some(Token::Hash(hash))
            }
            b'-' if self.place < Place::Revision => {
                self.place = Place::Revision;
                Some(Token::Revision(self.digits(after.strip_prefix('r')?)?))
            }
            _ => None,
        }
    }

    /// Takes the digits at the start of `text`; there must be one.
    fn digits(&mut self, text: &'a str) -> Option<&'a str> {
        let (digits, rest) = split_digits(text);
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }
}

fn suffix<'a>(word: &str) -> Option<Token<'a>> {
    Some(match word {
        "alpha" => Token::PreSuffix(0),
        "beta" => Token::PreSuffix(1),
        "pre" => Token::PreSuffix(2),
        "rc" => Token::PreSuffix(3),
        "cvs" => Token::PostSuffix(0),
        "svn" => Token::PostSuffix(1),
        "git" => Token::PostSuffix(2),
        "hg" => Token::PostSuffix(3),
        "p" => Token::PostSuffix(4),
        _ => return None,
    })
}

pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let start = |rest| Tokens { rest, place: Place::Start };
    let (mut ta, mut tb) = (start(a), start(b));
    loop {
        let order = match (ta.next(), tb.next()) {
            (Token::End, Token::End) => return Ordering::Equal,
            (Token::Invalid(a), Token::Invalid(b)) => return a.cmp(b),
            (Token::Initial(a), Token::Initial(b))
            | (Token::SuffixNumber(a), Token::SuffixNumber(b))
            | (Token::Revision(a), Token::Revision(b)) => cmp_digits(a, b),
            (Token::Number(a), Token::Number(b)) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
            (Token::Number(a), Token::Number(b)) => cmp_digits(a, b),
            (Token::Hash(a), Token::Hash(b)) => a.cmp(b),
            (Token::Letter(a), Token::Letter(b))
            | (Token::PreSuffix(a), Token::PreSuffix(b))
            | (Token::PostSuffix(a), Token::PostSuffix(b)) => a.cmp(&b),
            (a, b) => a.rank().cmp(&b.rank()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
