//! Images that others are built on: all of their layers are the oldest layers of these.

use plimsoll_model::Digest;

/// A number for each list of layers that begins `layers`, the shortest first: that of the list with n layers is at n - 1.
/// Equal lists have equal numbers everywhere and always (FNV-1a over the digests); whoever looks lists up by number has
/// to compare the layers, because others may have it too.
pub fn chains(layers: &[Digest]) -> Vec<i64> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    layers
        .iter()
        .map(|layer| {
            for byte in layer.as_str().bytes().chain(std::iter::once(b'\n')) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            hash.cast_signed()
        })
        .collect()
}

/// The number of a whole list; none for an empty one, which begins everything and says nothing.
pub fn chain(layers: &[Digest]) -> Option<i64> {
    chains(layers).pop()
}

/// True where an image of the layers `theirs` is a base of one of the layers `own`.
pub fn is_base(theirs: &[Digest], own: &[Digest]) -> bool {
    !theirs.is_empty() && theirs.len() < own.len() && own.starts_with(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_begin_another() {
        let layers: Vec<Digest> = (0..4).map(|n| Digest::from_sha256(&[n; 32])).collect();
        let all = chains(&layers);
        assert_eq!(all.len(), 4);
        for n in 0..=4 {
            assert_eq!(chain(&layers[..n]), n.checked_sub(1).map(|at| all[at]));
            assert_eq!(is_base(&layers[..n], &layers), (1..4).contains(&n), "{n}");
        }
        let swapped = [layers[1].clone(), layers[0].clone()];
        assert_ne!(chain(&swapped), chain(&layers[..2]));
        assert!(!is_base(&swapped, &layers));
    }

    /// Numbers are stored.
    #[test]
    fn numbers_never_change() {
        let layers = [Digest::from_sha256(&[0; 32])];
        assert_eq!(chain(&layers), Some(-5979630692595756962));
    }
}
