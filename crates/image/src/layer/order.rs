//! The order of entries by path.
//!
//! Paths share long beginnings and lie scattered in memory, so comparing them two by two is slow. Eight bytes of each
//! are looked at together (a most-significant-digit radix sort with keys of eight bytes), and only paths that are equal
//! in them go on to the next eight.

use std::cmp::Ordering;

use plimsoll_model::extract::Entries;

use super::collect::class;

/// Bytes of a key.
const STEP: usize = 8;
/// Groups up to this size are sorted by comparison.
const SMALL: usize = 24;

/// Indexes of the entries, by path, then class, then index.
pub(super) fn order(entries: &Entries) -> Vec<u32> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let in_order = |index: &u32| compare(entries, index - 1, *index) != Ordering::Greater;
    if (1..count).all(|index| in_order(&index)) {
        return (0..count).collect();
    }
    let mut keyed: Vec<(u64, u32)> = (0..count).map(|index| (0, index)).collect();
    let mut open = vec![(0, keyed.len(), 0)];
    while let Some((start, end, depth)) = open.pop() {
        let Some(group) = keyed.get_mut(start..end) else { continue };
        if group.len() <= SMALL {
            group.sort_unstable_by(|a, b| compare(entries, a.1, b.1));
            continue;
        }
        for (key, index) in group.iter_mut() {
            *key = key_at(path(entries, *index), depth);
        }
        group.sort_unstable();
        let mut at = start;
        for run in group.chunk_by_mut(|a, b| a.0 == b.0) {
            let (begin, length) = (at, run.len());
            at += length;
            if length == 1 {
                continue;
            }
            // What ends here comes before what goes on.
            let goes_on = |index: u32| path(entries, index).len() > depth + STEP;
            let ended = run.iter().filter(|(_, index)| !goes_on(*index)).count();
            if ended > 0 {
                run.sort_unstable_by_key(|(_, index)| goes_on(*index));
                let (ended, _) = run.split_at_mut(ended);
                ended.sort_unstable_by(|a, b| compare(entries, a.1, b.1));
            }
            if length - ended > 1 {
                open.push((begin + ended, begin + length, depth + STEP));
            }
        }
    }
    keyed.into_iter().map(|(_, index)| index).collect()
}

fn path(entries: &Entries, index: u32) -> &str {
    usize::try_from(index).map_or("", |index| entries.path(index))
}

fn compare(entries: &Entries, a: u32, b: u32) -> Ordering {
    let class = |index: u32| {
        usize::try_from(index).ok().and_then(|at| entries.get(at)).map_or(0, |entry| class(&entry.kind))
    };
    path(entries, a).cmp(path(entries, b)).then_with(|| (class(a), a).cmp(&(class(b), b)))
}

/// Eight bytes from `depth` on, zeros behind the end.
fn key_at(path: &str, depth: usize) -> u64 {
    let rest = path.as_bytes().get(depth..).unwrap_or(&[]);
    if let Some(bytes) = rest.first_chunk::<STEP>() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; STEP];
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use plimsoll_model::extract::{Entry, EntryKind};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_by_comparison(
            paths in proptest::collection::vec(("(usr/share/doc/|usr/share|usr/sha|)", "[ab/\0-]{0,20}", 0..3_u8), 0..200),
        ) {
            let entries: Entries = paths
                .into_iter()
                .map(|(start, end, kind)| Entry {
                    path: start + &end,
                    kind: match kind { 0 => EntryKind::Whiteout, 1 => EntryKind::Opaque, _ => EntryKind::File },
                })
                .collect();
            let mut expected: Vec<u32> = (0..entries.len() as u32).collect();
            expected.sort_by(|a, b| compare(&entries, *a, *b));
            prop_assert_eq!(order(&entries), expected);
        }
    }
}
