//! The laws of a total order, on versions of plausible shapes and on whatever else parses.

use std::cmp::Ordering;

use plimsoll_version::{Scheme, Version};
use proptest::prelude::*;

/// Small numbers, so that versions share components, with leading zeros and the odd huge one.
const NUMBER: &str = "(0|1|2|9|10|[0-9]{1,2}|00|01|20240101|18446744073709551616)";

/// The shape of a scheme's versions, as a regular expression.
fn shape(scheme: Scheme) -> String {
    let n = NUMBER;
    let semver =
        format!("v?{n}(\\.{n}){{0,2}}(-(alpha|beta|rc|{n})(\\.{n}|\\.x|-a){{0,2}})?(\\+(b|{n}|b\\.1))?");
    match scheme {
        Scheme::Dpkg => format!("([01]:)?{n}([.+~]({n}|a|rc1|dfsg)){{0,3}}(-{n}([.+~](deb12u1|b1|{n}))?)?"),
        Scheme::Rpm => {
            format!("([01]:)?{n}([.~^_+](a|rc|git|el8|{n})){{0,3}}(-{n}(\\.el[89](_1)?)?)?")
        }
        Scheme::Apk => format!(
            "{n}(\\.{n}){{0,3}}[ab]?(_(alpha|beta|pre|rc|git|p){n}?){{0,2}}(~[0-9a-f]{{1,3}})?(-r{n})?"
        ),
        Scheme::Semver | Scheme::Hex | Scheme::Pub | Scheme::Go => semver,
        Scheme::Npm => semver.replace("|18446744073709551616", ""),
        Scheme::Nuget => format!("{n}(\\.{n}){{0,3}}(-(Alpha|alpha|BETA|rc|{n})(\\.{n}){{0,2}})?"),
        Scheme::Pypi => format!(
            "([01]!)?{n}(\\.{n}){{0,3}}((a|b|rc){n})?(\\.post{n})?(\\.dev{n})?(\\+(a|{n}))?|{n}(-[a-c]{{1,2}}|\\.x){{1,2}}"
        )
        .replace("|18446744073709551616", ""),
        Scheme::Maven => format!(
            "{n}(\\.{n}){{0,3}}([.-](alpha|beta|m|rc|SNAPSHOT|Final|GA|sp|jre|RELEASE|v)[.-]?[1-9]?[0-9]?)?|{n}(\\.{n}){{0,2}}-[1-9][0-9]?"
        ),
        Scheme::Rubygems => format!("{n}(\\.{n}){{0,3}}([.-](a|beta|rc|pre)(\\.?{n}){{0,2}})?"),
        Scheme::Packagist => format!(
            "v?{n}(\\.{n}){{0,4}}([.-]?(dev|alpha|a|b|beta|RC|p|pl|patch|foo)(\\.?{n}){{0,2}}(-dev)?)?|dev-[ab]|[12]\\.x-dev"
        ),
        Scheme::Cran => format!("{n}([.-]{n}){{0,4}}"),
        Scheme::Hackage => format!("{n}(\\.{n}){{0,4}}"),
        _ => unreachable!("a scheme without a shape"),
    }
}

fn scheme() -> impl Strategy<Value = Scheme> {
    proptest::sample::select(Scheme::ALL.to_vec())
}

/// Three texts that a regular expression generates.
fn three(regex: &str) -> impl Strategy<Value = [String; 3]> + use<> {
    [(); 3].map(|()| proptest::string::string_regex(regex).unwrap())
}

/// Three versions of one scheme, of its shape.
fn plausible() -> impl Strategy<Value = (Scheme, [String; 3])> {
    scheme().prop_flat_map(|scheme| (Just(scheme), three(&shape(scheme))))
}

/// Three texts over the characters that mean something to some scheme.
fn arbitrary() -> impl Strategy<Value = (Scheme, [String; 3])> {
    let words = "([0-9]{1,2}|[.:~^+_@#!=-]|[a-cvxprR]|dev|rc|alpha|beta|final|sp|go|é){1,8}";
    (scheme(), three(words))
}

/// What means something to one scheme or another, and what means nothing to any.
const FRAGMENTS: [&str; 68] = [
    "0",
    "00",
    "1",
    "01",
    "2",
    "9",
    "10",
    "99999999999999999999",
    "٣",
    ".",
    "..",
    "-",
    "--",
    "_",
    "+",
    "~",
    "^",
    "^~",
    ":",
    "!",
    "1!",
    "0:",
    "1:",
    "v",
    "V",
    "=",
    "a",
    "A",
    "b",
    "c",
    "m",
    "p",
    "r",
    "x",
    "z",
    "é",
    "ß",
    "\u{200b}",
    "dev",
    "-dev",
    "dev-",
    ".x-dev",
    "alpha",
    "ALPHA",
    "beta",
    "rc",
    "RC",
    "cr",
    "snapshot",
    "ga",
    "final",
    "release",
    "sp",
    "pl",
    "patch",
    "pre",
    "post",
    ".post1",
    ".dev0",
    "go",
    "git",
    "_p1",
    "_rc",
    "-r0",
    "-r1",
    "*",
    "#",
    "@",
];

/// Versions of one scheme that begin alike, of any fragments: where orders go wrong is near.
fn hostile() -> impl Strategy<Value = (Scheme, Vec<String>)> {
    let fragment = || proptest::sample::select(FRAGMENTS.to_vec());
    let some = move |most: usize| proptest::collection::vec(fragment(), 0..most).prop_map(|all| all.concat());
    let beginning = prop_oneof![Just("1".to_owned()), Just("1.0.".to_owned()), some(4)];
    (scheme(), beginning, proptest::collection::vec(some(6), 3..10)).prop_map(|(scheme, beginning, ends)| {
        (scheme, ends.into_iter().map(|end| format!("{beginning}{end}")).collect())
    })
}

fn order(a: &Version, b: &Version) -> Ordering {
    a.cmp_same(b).unwrap()
}

/// Reflexive, antisymmetric, and the same whichever way it is asked.
fn check_pair(a: &Version, b: &Version) {
    assert_eq!(order(a, a), Ordering::Equal, "{a} is not itself");
    assert_eq!(order(a, b), order(b, a).reverse(), "{a} against {b}");
    assert_eq!(a.cmp_str(b.as_str()), Ok(order(a, b)), "{a} against {b}");
    assert_eq!(a.scheme().compare(a.as_str(), b.as_str()), Ok(order(a, b)), "{a} against {b}");
}

/// Transitive, for `<` and for `=`.
fn check_triple(versions: [&Version; 3]) {
    // Any of the six arrangements that is a chain must also hold from end to end.
    for [x, y, z] in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let [a, b, c] = [versions[x], versions[y], versions[z]];
        let (first, second) = (order(a, b), order(b, c));
        if first != Ordering::Greater && second != Ordering::Greater {
            assert_eq!(order(a, c), first.min(second), "{a}, {b}, {c}");
        }
    }
}

/// All laws over all of them: sorted, none is above a later one, and what is equal to the first of a run of equals is
/// equal to all of it.
fn check_all(versions: &[Version]) {
    let mut sorted: Vec<&Version> = Vec::new();
    for version in versions {
        let at = sorted.iter().position(|known| order(known, version) == Ordering::Greater);
        sorted.insert(at.unwrap_or(sorted.len()), version);
    }
    let mut run = 0;
    let mut runs = Vec::new();
    for (n, version) in sorted.iter().enumerate() {
        run += usize::from(n > 0 && order(sorted[n - 1], version) != Ordering::Equal);
        runs.push(run);
    }
    for (a, ra) in sorted.iter().zip(&runs) {
        for (b, rb) in sorted.iter().zip(&runs) {
            assert_eq!(order(a, b), ra.cmp(rb), "{a} against {b} among {sorted:?}");
            check_pair(a, b);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn plausible_versions_are_totally_ordered((scheme, texts) in plausible()) {
        let [a, b, c] = texts.map(|text| scheme.parse(&text).unwrap_or_else(|e| panic!("{e}")));
        check_pair(&a, &b);
        check_triple([&a, &b, &c]);
    }

    #[test]
    fn whatever_parses_is_totally_ordered((scheme, texts) in arbitrary()) {
        let parsed = texts.map(|text| scheme.parse(&text));
        let [Ok(a), Ok(b), Ok(c)] = parsed else { return Ok(()); };
        check_pair(&a, &b);
        check_triple([&a, &b, &c]);
    }

    #[test]
    fn hostile_texts_are_totally_ordered((scheme, texts) in hostile()) {
        let versions: Vec<Version> = texts.iter().filter_map(|text| scheme.parse(text).ok()).collect();
        check_all(&versions);
    }

    #[test]
    fn nothing_panics(scheme in scheme(), a in "\\PC{0,40}", b in "[ -~]{0,40}") {
        let _ = scheme.compare(&a, &b);
        let _ = scheme.compare(&a, &a);
    }

    /// Strict Semantic Versioning is ordered as crate `semver` orders it.
    #[test]
    fn strict_semver_agrees_with_the_semver_crate(
        a in "(0|[1-9][0-9]?)(\\.(0|[1-9][0-9]?)){2}(-(a|b|rc|0|[1-9][0-9]?)(\\.(x|-|0|[1-9][0-9]?)){0,2})?",
        b in "(0|1|2)(\\.(0|1)){2}(-(a|b|rc|0|1)(\\.(x|-|0|1)){0,2})?",
    ) {
        let theirs = ::semver::Version::parse(&a).unwrap().cmp(&::semver::Version::parse(&b).unwrap());
        for scheme in [Scheme::Semver, Scheme::Npm, Scheme::Hex, Scheme::Go] {
            prop_assert_eq!(scheme.compare(&a, &b).unwrap(), theirs);
        }
    }
}
