//! Bit sets over the columns of a row.

/// Bits in 64-bit words. Sets of different widths meet: what is past the end is not in the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn empty(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    #[cfg(test)]
    pub(crate) fn full(len: usize) -> Self {
        let mut bits = Self::empty(len);
        bits.fill(0, len);
        bits
    }

    fn widen(&mut self, words: usize) {
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
    }

    /// Sets `from..to`.
    #[cfg(test)]
    pub(crate) fn fill(&mut self, from: usize, to: usize) {
        self.widen(to.div_ceil(64));
        let mut at = from;
        while at < to {
            let end = ((at / 64 + 1) * 64).min(to);
            let count = end - at;
            let mask = if count == 64 { u64::MAX } else { ((1u64 << count) - 1) << (at % 64) };
            if let Some(word) = self.0.get_mut(at / 64) {
                *word |= mask;
            }
            at = end;
        }
    }

    pub(crate) fn set(&mut self, at: usize) {
        self.widen(at / 64 + 1);
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn clear(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.widen(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn keep(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// True when both have the same bits in `from..to`; widths may differ.
    pub(crate) fn same_within(&self, other: &Self, from: usize, to: usize) -> bool {
        let word = |bits: &Self, index: usize| bits.0.get(index).copied().unwrap_or_default();
        (from / 64..to.div_ceil(64)).all(|index| {
            let mut mask = u64::MAX;
            if index == from / 64 {
                mask &= u64::MAX << (from % 64);
            }
            if index == to / 64 {
                mask &= (1u64 << (to % 64)) - 1;
            }
            (word(self, index) ^ word(other, index)) & mask == 0
        })
    }

    /// The set bits, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter_from(0)
    }

    /// The set bits not below `from`, ascending.
    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().skip(from / 64).flat_map(move |(index, &word)| {
            let mut rest = if index == from / 64 { word & (u64::MAX << (from % 64)) } else { word };
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_across_words() {
        let mut bits = Bits::empty(200);
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
        let mut wide = Bits::empty(10);
        wide.add(&bits);
        assert_eq!(wide.count(), bits.count());
        wide.keep(&Bits::full(100));
        assert_eq!(wide.iter().last(), Some(99));
        wide.set(500);
        wide.clear(99);
        wide.clear(9_000);
        assert_eq!(wide.iter().last(), Some(500));
    }
}
