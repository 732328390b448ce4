//! The image that another one is built on.

use plimsoll_model::Digest;
use plimsoll_model::sbom::{Base, LayerInfo};

/// Of the known images the one whose layers, all of them, are the most of the oldest layers of this one. An image is
/// not its own base. Among equals the first stands.
pub fn find<'a>(
    layers: &[LayerInfo],
    known: impl IntoIterator<Item = (&'a str, &'a Digest, &'a [Digest])>,
) -> Option<Base> {
    let mut best: Option<Base> = None;
    for (name, digest, theirs) in known {
        let begins = theirs.len() < layers.len()
            && !theirs.is_empty()
            && theirs.iter().zip(layers).all(|(their, own)| *their == own.digest);
        let count = u32::try_from(theirs.len()).unwrap_or(u32::MAX);
        if begins && best.as_ref().is_none_or(|best| best.layers < count) {
            best = Some(Base { name: name.to_owned(), digest: digest.clone(), layers: count });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_whole_prefix_wins() {
        let of = |n: u8| Digest::from_sha256(&[n; 32]);
        let layers: Vec<LayerInfo> =
            (0..4).map(|n| LayerInfo { digest: of(n), created_by: String::new() }).collect();
        let (a, b, c, d) =
            (vec![of(0)], vec![of(0), of(1)], vec![of(0), of(1), of(9)], (0..4).map(of).collect::<Vec<_>>());
        let digest = of(100);
        let mut known: Vec<(&str, &Digest, &[Digest])> = vec![("a", &digest, &a), ("c", &digest, &c)];
        assert_eq!(find(&layers, known.clone()).unwrap().name, "a", "a shared part is no base");
        known.extend([
            ("b", &digest, b.as_slice()),
            ("b2", &digest, &b),
            ("itself", &digest, &d),
            ("", &digest, &[]),
        ]);
        let found = find(&layers, known).unwrap();
        assert_eq!((found.name.as_str(), found.layers), ("b", 2));
        assert_eq!(find(&layers, [("c", &digest, c.as_slice())]), None);
    }
}
