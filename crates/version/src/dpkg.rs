//! Debian package versions: `[epoch:]upstream[-revision]`.
//!
//! Order: Debian Policy 5.6.12, as `lib/dpkg/version.c` does it. Syntax: what dpkg's
//! `parseversion` refuses is refused here; what it merely warns about (a version that does not begin
//! with a digit, a character outside the policy's alphabet) is compared with dpkg's own order, as
//! long as it is printable ASCII.

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, is_number, split_digits};

/// Epoch, upstream version and revision of one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    epoch: u32,
    upstream: Span,
    revision: Span,
}

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("character outside printable ASCII");
    }
    let (epoch, rest) = match text.split_once(':') {
        None => (0, text),
        Some(("", _)) => return Err("epoch is empty"),
        Some((epoch, _)) if !is_number(epoch) => return Err("epoch is not a number"),
        Some((epoch, rest)) => match epoch.parse::<i32>() {
            Ok(epoch) => (epoch.unsigned_abs(), rest),
            Err(_) => return Err("epoch is too large"),
        },
    };
    let start = text.len() - rest.len();
    let (upstream, revision) = match rest.rsplit_once('-') {
        None => (rest, ""),
        Some((_, "")) => return Err("revision is empty"),
        Some(pair) => pair,
    };
    if upstream.is_empty() {
        return Err("upstream version is empty");
    }
    Ok(Parts {
        epoch,
        upstream: Span::at(start, upstream),
        revision: Span::at(text.len() - revision.len(), revision),
    })
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
    pa.epoch
        .cmp(&pb.epoch)
        .then_with(|| compare_part(pa.upstream.of(a), pb.upstream.of(b)))
        .then_with(|| compare_part(pa.revision.of(a), pb.revision.of(b)))
}

/// The weight of a character that is not a digit: `~` sorts before the end of the part, letters
/// before everything else.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    }
}

/// Alternates between runs without digits and numbers, as policy 5.6.12.1 prescribes.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (wa, wb) = (weight(a.bytes().next()), weight(b.bytes().next()));
            if wa != wb {
                return wa.cmp(&wb);
            }
            if wa == 0 {
                break;
            }
            (a, b) = (a.get(1..).unwrap_or(""), b.get(1..).unwrap_or(""));
        }
        let ((na, ra), (nb, rb)) = (split_digits(a), split_digits(b));
        match cmp_digits(na, nb) {
            Ordering::Equal => (a, b) = (ra, rb),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}
