//! Bit sets over the columns of a row.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

/// Bits in 64-bit words, from the first word that matters: sets of few neighbours are short wherever they lie. Sets of
/// different extents meet: what is outside the words is not in the set.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    /// Number of the first word.
    from: usize,
    words: SmallVec<[u64; 2]>,
}

impl Clone for Bits {
    fn clone(&self) -> Self {
        // As a copy of memory; SmallVec clones item by item.
        Self { from: self.from, words: SmallVec::from_slice(&self.words) }
    }
}

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        let (from, to) = (self.from.min(other.from), self.end().max(other.end()));
        (from..to).all(|index| self.word(index) == other.word(index))
    }
}

impl Eq for Bits {}

impl Hash for Bits {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Words that are zero at either end do not count, as in comparisons.
        let mut words = self.words.as_slice();
        let mut from = self.from;
        while let Some((0, rest)) = words.split_first() {
            (words, from) = (rest, from + 1);
        }
        while let Some((0, rest)) = words.split_last() {
            words = rest;
        }
        if !words.is_empty() {
            (from, words).hash(state);
        }
    }
}

impl Bits {
    #[cfg(test)]
    pub(crate) fn full(len: usize) -> Self {
        let mut bits = Self::default();
        bits.fill(0, len);
        bits
    }

    /// The number after the last word.
    fn end(&self) -> usize {
        self.from + self.words.len()
    }

    fn word(&self, index: usize) -> u64 {
        let at = index.checked_sub(self.from).and_then(|at| self.words.get(at));
        at.copied().unwrap_or_default()
    }

    /// The words `from..to`, which are there.
    fn between(&self, from: usize, to: usize) -> &[u64] {
        let range = from.saturating_sub(self.from)..to.saturating_sub(self.from);
        self.words.get(range).unwrap_or_default()
    }

    fn between_mut(&mut self, from: usize, to: usize) -> &mut [u64] {
        let range = from.saturating_sub(self.from)..to.saturating_sub(self.from);
        self.words.get_mut(range).unwrap_or_default()
    }

    /// The words that both have, first and after the last.
    fn common(&self, other: &Self) -> (usize, usize) {
        let from = self.from.max(other.from);
        (from, self.end().min(other.end()).max(from))
    }

    /// Makes the words `from..to` be there.
    fn widen(&mut self, from: usize, to: usize) {
        if self.words.is_empty() {
            self.from = from;
        }
        if from < self.from {
            self.words.insert_many(0, std::iter::repeat_n(0, self.from - from));
            self.from = from;
        }
        if self.end() < to {
            self.words.resize(to - self.from, 0);
        }
    }

    /// Lets go of words at either end that have no bits.
    fn trim(&mut self) {
        let Some(first) = self.words.iter().position(|word| *word != 0) else {
            self.words.clear();
            return;
        };
        let last = self.words.iter().rposition(|word| *word != 0).unwrap_or(first);
        self.words.truncate(last + 1);
        if first > 0 {
            self.words.drain(..first);
            self.from += first;
        }
    }

    /// Sets `from..to`.
    pub(crate) fn fill(&mut self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (first, last) = (from / 64, (to - 1) / 64);
        self.widen(first, last + 1);
        for (index, word) in (first..).zip(self.between_mut(first, last + 1)) {
            let low = if index == first { u64::MAX << (from % 64) } else { u64::MAX };
            let high = if index == last { u64::MAX >> (63 - (to - 1) % 64) } else { u64::MAX };
            *word |= low & high;
        }
    }

    pub(crate) fn set(&mut self, at: usize) {
        let (index, bit) = (at / 64, 1 << (at % 64));
        if let Some(word) = self.words.get_mut(index.wrapping_sub(self.from)) {
            *word |= bit;
            return;
        }
        self.widen(index, index + 1);
        if let Some(word) = self.words.get_mut(index - self.from) {
            *word |= bit;
        }
    }

    pub(crate) fn clear(&mut self, at: usize) {
        let index = (at / 64).checked_sub(self.from);
        if let Some(word) = index.and_then(|index| self.words.get_mut(index)) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.word(at / 64) >> (at % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (from, to) = self.common(other);
        self.between(from, to).iter().zip(other.between(from, to)).any(|(a, b)| a & b != 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if other.words.is_empty() {
            return;
        }
        self.widen(other.from, other.end());
        let words = self.between_mut(other.from, other.end());
        words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn keep(&mut self, other: &Self) {
        *self = self.and(other);
    }

    pub(crate) fn remove(&mut self, other: &Self) {
        let (from, to) = self.common(other);
        let words = self.between_mut(from, to);
        words.iter_mut().zip(other.between(from, to)).for_each(|(a, b)| *a &= !b);
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let (from, to) = self.common(other);
        let (ours, theirs) = (self.between(from, to), other.between(from, to));
        let both = || ours.iter().zip(theirs).map(|(a, b)| a & b);
        let Some(first) = both().position(|word| word != 0) else { return Self::default() };
        let last = both().rposition(|word| word != 0).unwrap_or(first);
        let mut words = SmallVec::from_slice(ours.get(first..=last).unwrap_or_default());
        let theirs = theirs.get(first..=last).unwrap_or_default();
        words.iter_mut().zip(theirs).for_each(|(a, b)| *a &= b);
        Self { from: from + first, words }
    }

    /// True when both have the same bits in `from..to`; extents may differ.
    pub(crate) fn same_within(&self, other: &Self, from: usize, to: usize) -> bool {
        (from / 64..to.div_ceil(64)).all(|index| {
            let mut mask = u64::MAX;
            if index == from / 64 {
                mask &= u64::MAX << (from % 64);
            }
            if index == to / 64 {
                mask &= (1u64 << (to % 64)) - 1;
            }
            (self.word(index) ^ other.word(index)) & mask == 0
        })
    }

    /// The set bits, ascending.
    pub(crate) fn iter(&self) -> Ones<'_> {
        let (rest, words) =
            self.words.split_first().map_or((0, [].as_slice()), |(first, words)| (*first, words));
        Ones { rest, base: self.from * 64, words }
    }

    /// The set bits not below `from`, ascending.
    pub(crate) fn iter_from(&self, from: usize) -> Ones<'_> {
        let at = (from / 64).saturating_sub(self.from);
        let words = self.words.get(at..).unwrap_or_default();
        let Some((first, words)) = words.split_first() else { return Ones { rest: 0, base: 0, words: &[] } };
        let index = self.from + at;
        let rest = if index == from / 64 { first & (u64::MAX << (from % 64)) } else { *first };
        Ones { rest, base: index * 64, words }
    }
}

/// The set bits of some words, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Ones<'a> {
    /// What is left of the current word.
    rest: u64,
    /// The first bit of the current word.
    base: usize,
    words: &'a [u64],
}

impl Iterator for Ones<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.rest == 0 {
            let (first, words) = self.words.split_first()?;
            (self.rest, self.words) = (*first, words);
            self.base += 64;
        }
        let bit = self.rest.trailing_zeros() as usize;
        self.rest &= self.rest - 1;
        Some(self.base + bit)
    }
}

/// The bits of a set by rank: what is scattered over many words lies close together, so that sets of ranks are short.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbering {
    of: Bits,
    /// Number of bits before each word.
    before: Vec<u32>,
    /// The bits by rank.
    list: Vec<u32>,
    /// Ranks in order of the bits, where ranks are not in that order.
    order: Option<Vec<u32>>,
}

impl Numbering {
    pub(crate) fn new(of: Bits) -> Self {
        let (mut before, mut list) = (Vec::with_capacity(of.words.len()), Vec::with_capacity(of.count()));
        for (index, word) in (of.from..).zip(&of.words) {
            before.push(list.len() as u32);
            let mut rest = *word;
            while rest != 0 {
                list.push((index * 64) as u32 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        Self { of, before, list, order: None }
    }

    /// With these ranks, in order of the bits: each once, none left out.
    pub(crate) fn ordered(of: Bits, order: Vec<u32>) -> Self {
        let plain = Self::new(of);
        let mut list = vec![0; plain.list.len()];
        for (at, rank) in plain.list.iter().zip(&order) {
            if let Some(slot) = list.get_mut(*rank as usize) {
                *slot = *at;
            }
        }
        Self { list, order: Some(order), ..plain }
    }

    fn placed(&self, rank: usize) -> usize {
        match &self.order {
            Some(order) => order.get(rank).map_or(usize::MAX, |rank| *rank as usize),
            None => rank,
        }
    }

    /// The set.
    pub(crate) fn bits(&self) -> &Bits {
        &self.of
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The bit of a rank.
    pub(crate) fn at(&self, rank: usize) -> Option<usize> {
        self.list.get(rank).map(|at| *at as usize)
    }

    /// The rank of a bit; none for one that is not in the set.
    pub(crate) fn rank(&self, at: usize) -> Option<usize> {
        let index = (at / 64).checked_sub(self.of.from)?;
        let (word, bit) = (self.of.words.get(index)?, 1u64 << (at % 64));
        let before = *self.before.get(index)? as usize;
        (word & bit != 0).then(|| self.placed(before + (word & (bit - 1)).count_ones() as usize))
    }

    /// The ranks of the bits that some bits and the set have in common.
    pub(crate) fn narrow(&self, bits: &Bits) -> Bits {
        let (from, to) = self.of.common(bits);
        let before = self.before.iter().skip(from.saturating_sub(self.of.from));
        let mut found = Bits::default();
        if self.order.is_some() {
            found.widen(0, self.list.len().div_ceil(64));
        }
        for ((word, other), before) in
            self.of.between(from, to).iter().zip(bits.between(from, to)).zip(before)
        {
            let (mut rest, before) = (word & other, *before as usize);
            if rest == *word && self.order.is_none() {
                found.fill(before, before + word.count_ones() as usize);
                continue;
            }
            while rest != 0 {
                let bit = rest & rest.wrapping_neg();
                found.set(self.placed(before + (word & (bit - 1)).count_ones() as usize));
                rest ^= bit;
            }
        }
        if self.order.is_some() {
            found.trim();
        }
        found
    }

    /// The bits of some ranks.
    pub(crate) fn widen(&self, ranks: &Bits) -> Bits {
        let mut bits = Bits::default();
        ranks.iter().filter_map(|rank| self.at(rank)).for_each(|at| bits.set(at));
        bits
    }
}

/// Bits that copies share, with their extent and first word beside: most questions to most sets need no more.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedBits {
    from: usize,
    to: usize,
    first: u64,
    bits: Arc<Bits>,
}

impl SharedBits {
    pub(crate) fn of(bits: Bits) -> Self {
        let first = bits.words.first().copied().unwrap_or_default();
        Self { from: bits.from, to: bits.end(), first, bits: Arc::new(bits) }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        let index = at / 64;
        if index == self.from {
            return self.first >> (at % 64) & 1 == 1;
        }
        self.from < index && index < self.to && self.bits.has(at)
    }

    pub(crate) fn meets(&self, other: &Bits) -> bool {
        if self.to <= other.from || other.end() <= self.from {
            return false;
        }
        self.first & other.word(self.from) != 0 || self.to - self.from > 1 && self.bits.meets(other)
    }

    /// True where both are the very same copy.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bits, &other.bits)
    }

    /// Puts a bit in or out; copies do not see it.
    pub(crate) fn put(&mut self, at: usize, holds: bool) {
        let bits = Arc::make_mut(&mut self.bits);
        if holds {
            bits.set(at)
        } else {
            bits.clear(at)
        }
        self.first = bits.words.first().copied().unwrap_or_default();
        (self.from, self.to) = (bits.from, bits.end());
    }
}

impl Deref for SharedBits {
    type Target = Bits;

    fn deref(&self) -> &Bits {
        &self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_across_words() {
        let mut bits = Bits::default();
        bits.fill(60, 130);
        assert_eq!(bits.iter().collect::<Vec<_>>(), (60..130).collect::<Vec<_>>());
        assert_eq!(bits.iter_from(127).collect::<Vec<_>>(), [127, 128, 129]);
        assert_eq!(bits.iter_from(64).count(), 66);
        let mut other = bits.clone();
        other.set(3);
        assert!(
            bits.same_within(&other, 4, 200)
                && bits.same_within(&other, 0, 3)
                && !bits.same_within(&other, 3, 4)
        );
        assert_eq!(Bits::full(130).count(), 130);
        assert!(!bits.has(59) && bits.has(129) && !bits.has(130));
        let mut wide = Bits::default();
        wide.add(&bits);
        assert_eq!(wide.count(), bits.count());
        wide.keep(&Bits::full(100));
        assert_eq!(wide.iter().last(), Some(99));
        wide.set(500);
        wide.clear(99);
        wide.clear(9_000);
        assert_eq!(wide.iter().last(), Some(500));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_sets(
            ours in proptest::collection::btree_set(0usize..700, 0..12),
            theirs in proptest::collection::btree_set(0usize..700, 0..12),
            from in 0usize..700,
        ) {
            use std::collections::BTreeSet;
            use std::hash::BuildHasher;
            let of = |set: &BTreeSet<usize>| {
                let mut bits = Bits::default();
                set.iter().rev().for_each(|at| bits.set(*at));
                bits
            };
            let listed = |bits: &Bits| bits.iter().collect::<BTreeSet<_>>();
            let (a, b) = (of(&ours), of(&theirs));
            proptest::prop_assert_eq!(&listed(&a), &ours);
            proptest::prop_assert_eq!(listed(&a.and(&b)), &ours & &theirs);
            proptest::prop_assert_eq!(a.meets(&b), !ours.is_disjoint(&theirs));
            let (mut sum, mut rest, mut common) = (a.clone(), a.clone(), a.clone());
            sum.add(&b);
            rest.remove(&b);
            common.keep(&b);
            proptest::prop_assert_eq!(listed(&sum), &ours | &theirs);
            proptest::prop_assert_eq!(listed(&rest), &ours - &theirs);
            proptest::prop_assert_eq!(&common, &of(&(&ours & &theirs)));
            proptest::prop_assert_eq!(a == b, ours == theirs);
            let hash = |bits: &Bits| rustc_hash::FxBuildHasher.hash_one(bits);
            proptest::prop_assert_eq!(hash(&common), hash(&a.and(&b)));
            rest.add(&common);
            proptest::prop_assert_eq!(&rest, &a);
            let turned = (0..ours.len() as u32).rev().collect();
            for numbering in [Numbering::new(a.clone()), Numbering::ordered(a.clone(), turned)] {
                let ranks = numbering.narrow(&b);
                proptest::prop_assert_eq!(numbering.len(), ours.len());
                proptest::prop_assert_eq!(&numbering.widen(&ranks), &common);
                proptest::prop_assert_eq!(&numbering.narrow(&a), &Bits::full(ours.len()));
                for at in 0..700 {
                    let rank = numbering.rank(at);
                    proptest::prop_assert_eq!(rank.is_some(), a.has(at));
                    proptest::prop_assert_eq!(rank.and_then(|rank| numbering.at(rank)), rank.map(|_| at));
                    proptest::prop_assert_eq!(rank.is_some_and(|rank| ranks.has(rank)), a.has(at) && b.has(at));
                }
            }
            let (mut filled, to) = (a.clone(), from + theirs.len() * 9);
            filled.fill(from, to);
            proptest::prop_assert!((0..900).all(|at| filled.has(at) == (a.has(at) || from <= at && at < to)));
            let mut shared = SharedBits::of(a.clone());
            proptest::prop_assert_eq!(shared.meets(&b), a.meets(&b));
            let kept = shared.clone();
            ours.iter().for_each(|at| shared.put(*at, false));
            theirs.iter().for_each(|at| shared.put(*at, true));
            proptest::prop_assert!((0..700).all(|at| kept.has(at) == a.has(at) && shared.has(at) == b.has(at)));
            proptest::prop_assert_eq!(shared.meets(&a), b.meets(&a));
            let past: Vec<usize> = ours.iter().copied().filter(|at| *at >= from).collect();
            proptest::prop_assert_eq!(a.iter_from(from).collect::<Vec<_>>(), past);
            proptest::prop_assert_eq!(sum.count(), ours.union(&theirs).count());
        }
    }
}
