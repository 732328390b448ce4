//! RPM versions: `[epoch:]version[-release]`.
//!
//! Order: `rpmverCmp` and `rpmvercmp` of RPM (`rpmio/rpmver.c`, `rpmio/rpmvercmp.c`), with tilde and
//! caret. A missing epoch is zero; a missing release sorts before any release, even an empty one.
//! Bytes that are neither ASCII letters nor digits, `~` or `^` only separate segments, so any
//! printable text is a version.

use std::cmp::Ordering;

use crate::scan::{Span, cmp_digits, split_digits, split_run};

/// Epoch, version and release of one package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    epoch: Span,
    version: Span,
    release: Option<Span>,
}

pub(crate) fn parse(text: &str) -> Result<Parts, &'static str> {
    let (digits, after) = split_digits(text);
    let (epoch, rest) = match after.strip_prefix(':') {
        Some(rest) => (digits, rest),
        None => ("", text),
    };
    let start = text.len() - rest.len();
    let (version, release) = match rest.rsplit_once('-') {
        Some((version, release)) => (version, Some(release)),
        None => (rest, None),
    };
    if version.is_empty() && release.is_none_or(str::is_empty) {
        return Err("version is empty");
    }
    Ok(Parts {
        epoch: Span::at(0, epoch),
        version: Span::at(start, version),
        release: release.map(|r| Span::at(text.len() - r.len(), r)),
    })
}

pub(crate) fn compare(a: &str, pa: &Parts, b: &str, pb: &Parts) -> Ordering {
    cmp_digits(pa.epoch.of(a), pb.epoch.of(b))
        .then_with(|| compare_segments(pa.version.of(a), pb.version.of(b)))
        .then_with(|| match (pa.release, pb.release) {
            (Some(ra), Some(rb)) => compare_segments(ra.of(a), rb.of(b)),
            (ra, rb) => ra.is_some().cmp(&rb.is_some()),
        })
}

/// What comes next in a version, in ascending order: `~`, the end, `^`, letters, a number.
fn rank(text: &str) -> u8 {
    match text.bytes().next() {
        Some(b'~') => 0,
        None => 1,
        Some(b'^') => 2,
        Some(b) if b.is_ascii_digit() => 4,
        Some(_) => 3,
    }
}

/// `rpmvercmp`: the segments of both texts, left to right.
fn compare_segments(mut a: &str, mut b: &str) -> Ordering {
    let separates = |c: u8| !(c.is_ascii_alphanumeric() || c == b'~' || c == b'^');
    loop {
        (a, b) = (split_run(a, separates).1, split_run(b, separates).1);
        let (ra, rb) = (rank(a), rank(b));
        if ra != rb {
            return ra.cmp(&rb);
        }
        let segment;
        match ra {
            1 => return Ordering::Equal,
            0 | 2 => {
                (a, b) = (a.get(1..).unwrap_or(""), b.get(1..).unwrap_or(""));
                continue;
            }
            4 => {
                let ((na, ta), (nb, tb)) = (split_digits(a), split_digits(b));
                segment = cmp_digits(na, nb);
                (a, b) = (ta, tb);
            }
            _ => {
                let letters = |c: u8| c.is_ascii_alphabetic();
                let ((la, ta), (lb, tb)) = (split_run(a, letters), split_run(b, letters));
                segment = la.cmp(lb);
                (a, b) = (ta, tb);
            }
        }
        if segment != Ordering::Equal {
            return segment;
        }
    }
}
