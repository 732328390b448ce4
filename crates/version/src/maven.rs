//! Maven versions.
//!
//! Order: `org.apache.maven.artifact.versioning.ComparableVersion` of Maven 3.9 (described in the POM reference,
//! "Version Order Specification", <https://maven.apache.org/pom.html#version-order-specification>, which gives way
//! to the code where the two differ). Any text is a version. Only ASCII digits are numbers and only ASCII letters
//! change case.
//!
//! `ComparableVersion` is no order on every text: `1.0.rc.1` < `1` < `1-2` < `1.0.rc.1`, because a hyphenated number is
//! less than a dotted zero, which equals nothing; and `1` < `1.sp.1` < `1-alpha` < `1`, because a qualifier after a dot is
//! less than any hyphenated list, and that list may be less than nothing. Nothing sorted or searched may rest on that, so
//! [`Class`] puts what can stand at one place of a version into one row, and versions are compared place by place. It
//! differs from Maven only where one of two versions has a qualifier inside of a list (after a dot, and `.` or `-`
//! after it: `1.0.rc.1`, `1.0.0.Beta-1`) or a list that begins with a list (`1--alpha`): there the side of the release
//! on which the two are decides first. A version whose qualifiers follow a hyphen, are before a digit or at the end
//! does not meet this.
//!
//! `ComparableVersion` builds nested lists, but a list is only ever nested at the end of its parent, so one version
//! is a flat row of places in which a marker opens the next list.

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, cmp_ignore_case, is_zero, split_digits, split_run};

/// What stands at one place of a version, as it compares with what stands there in another: the row is the order.
/// "Before" and "after" are sides of the release, which is what nothing stands for: the side of a list or of zeros is
/// that of the first item in or behind them that does not equal nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    WordBefore,
    ListBefore,
    /// Zeros that lead to a qualifier.
    ZeroBefore,
    /// Nothing, or a qualifier that means the same.
    Release,
    WordAfter,
    ListAfter,
    ZeroAfter,
    /// Zeros that lead to another number, and other numbers.
    Number,
}

/// One place: its class, and for a qualifier the rank and text, for a number the digits. Texts of qualifiers count only
/// among [`OTHER`] ones.
#[derive(Clone, Copy, Debug)]
struct Place {
    class: Class,
    rank: u8,
    text: Span,
}

impl Place {
    /// The list at the end of this one begins.
    const DOWN: Place = Place { class: Class::ListAfter, rank: RELEASE, text: Span::EMPTY };

    fn number(text: Span) -> Self {
        Self { class: Class::Number, rank: RELEASE, text }
    }

    fn word(rank: u8, text: Span) -> Self {
        let class = match rank.cmp(&RELEASE) {
            Ordering::Less => Class::WordBefore,
            Ordering::Equal => Class::Release,
            Ordering::Greater => Class::WordAfter,
        };
        Self { class, rank, text }
    }
}

/// What every version ends with, as often as need be.
const END: Place = Place { class: Class::Release, rank: RELEASE, text: Span::EMPTY };

const RELEASE: u8 = 5;
const OTHER: u8 = 7;

/// The places of one version.
#[derive(Clone, Debug)]
pub(crate) struct Parts(Box<[Place]>);

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    let mut builder = Builder { text, places: Vec::with_capacity(8), level: 0 };
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        match first {
            // A separator with nothing before it stands for a zero.
            b'.' => {
                builder.push(Place::number(Span::EMPTY));
                rest = rest.get(1..).unwrap_or("");
            }
            b'-' => {
                builder.push(Place::number(Span::EMPTY));
                builder.down();
                rest = rest.get(1..).unwrap_or("");
            }
            _ if first.is_ascii_digit() => {
                let (digits, after) = split_digits(rest);
                builder.push(Place::number(builder.span(rest, digits)));
                rest = builder.separator(after);
            }
            _ => {
                let (word, after) = split_run(rest, |b| !(b.is_ascii_digit() || b == b'.' || b == b'-'));
                let digit_follows = after.starts_with(|c: char| c.is_ascii_digit());
                // A word before a digit, or at the very end, opens a list of its own.
                if (digit_follows || after.is_empty()) && builder.places.len() > builder.level {
                    builder.down();
                }
                let rank = qualifier(word, digit_follows);
                builder.push(Place::word(rank, builder.span(rest, word)));
                rest = if digit_follows {
                    builder.down();
                    after
                } else {
                    builder.separator(after)
                };
            }
        }
    }
    builder.trim();
    while builder.places.last().is_some_and(|place| place.class == Class::ListAfter) {
        builder.places.pop();
    }
    classify(&mut builder.places, text);
    Ok(Parts(builder.places.into_boxed_slice()))
}

/// Finds the classes of lists and zeros, which depend on what follows.
fn classify(places: &mut [Place], text: &str) {
    // The side of what follows, and whether it begins with a number that is not zero, or with zeros before one.
    let (mut side, mut number) = (Ordering::Equal, false);
    for place in places.iter_mut().rev() {
        match place.class {
            Class::ListBefore | Class::ListAfter => {
                number = false;
                place.class = if side == Ordering::Less { Class::ListBefore } else { Class::ListAfter };
            }
            Class::WordBefore | Class::Release | Class::WordAfter => {
                number = false;
                side = place.rank.cmp(&RELEASE).then(side);
            }
            Class::ZeroBefore | Class::ZeroAfter | Class::Number => {
                if !is_zero(place.text.of(text)) {
                    (side, number) = (Ordering::Greater, true);
                }
                place.class = match (number, side) {
                    (true, _) => Class::Number,
                    (false, Ordering::Less) => Class::ZeroBefore,
                    (false, _) => Class::ZeroAfter,
                };
            }
        }
    }
}

/// The places while they are found.
struct Builder<'a> {
    text: &'a str,
    places: Vec<Place>,
    /// Where the places of the innermost list begin.
    level: usize,
}

impl Builder<'_> {
    fn push(&mut self, place: Place) {
        self.places.push(place);
    }

    /// The span of `part`, with which `rest` begins; `rest` is the end of the text.
    fn span(&self, rest: &str, part: &str) -> Span {
        Span::at(self.text.len() - rest.len(), part)
    }

    /// Drops the places at the end of the innermost list that equal nothing.
    fn trim(&mut self) {
        while self.places.len() > self.level {
            let null = self.places.last().is_some_and(|place| match place.class {
                Class::Number => is_zero(place.text.of(self.text)),
                class => class == Class::Release,
            });
            if !null {
                break;
            }
            self.places.pop();
        }
    }

    /// Closes the innermost list for places of its own and opens one at its end.
    fn down(&mut self) {
        self.trim();
        self.places.push(Place::DOWN);
        self.level = self.places.len();
    }

    /// Handles what follows an item: `.` goes on in the same list, `-` or a change between digits and
    /// letters opens a new one.
    fn separator<'t>(&mut self, after: &'t str) -> &'t str {
        match after.bytes().next() {
            None => after,
            Some(b'.') => after.get(1..).unwrap_or(""),
            Some(b'-') => {
                self.down();
                after.get(1..).unwrap_or("")
            }
            Some(_) => {
                self.down();
                after
            }
        }
    }
}

/// The rank of a qualifier; `a`, `b` and `m` are short forms only before a digit.
fn qualifier(word: &str, digit_follows: bool) -> u8 {
    const RANKS: [(&str, u8); 10] = [
        ("alpha", 0),
        ("beta", 1),
        ("milestone", 2),
        ("rc", 3),
        ("cr", 3),
        ("snapshot", 4),
        ("ga", RELEASE),
        ("final", RELEASE),
        ("release", RELEASE),
        ("sp", 6),
    ];
    const SHORT: [(&str, u8); 3] = [("a", 0), ("b", 1), ("m", 2)];
    let find = |table: &[(&str, u8)]| {
        table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, rank)| *rank)
    };
    let short = if digit_follows { find(&SHORT) } else { None };
    short.or_else(|| find(&RANKS)).unwrap_or(OTHER)
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
    let (mut ia, mut ib) = (pa.0.iter(), pb.0.iter());
    loop {
        let (x, y) = match (ia.next(), ib.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) => (x.unwrap_or(&END), y.unwrap_or(&END)),
        };
        let order = x.class.cmp(&y.class).then(x.rank.cmp(&y.rank)).then_with(|| match x.class {
            Class::Number => cmp_digits(x.text.of(a), y.text.of(b)),
            Class::WordAfter if x.rank == OTHER => cmp_ignore_case(x.text.of(a), y.text.of(b)),
            _ => Ordering::Equal,
        });
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Compares two versions of only dotted numbers without parsing them; none for others.
pub(crate) fn compare_plain(a: &str, b: &str) -> Option<Ordering> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain(a) || !plain(b) {
        return None;
    }
    let (mut ia, mut ib) = (a.split('.'), b.split('.'));
    loop {
        let order = match (ia.next(), ib.next()) {
            (None, None) => return Some(Ordering::Equal),
            (na, nb) => cmp_digits(na.unwrap_or(""), nb.unwrap_or("")),
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
}
