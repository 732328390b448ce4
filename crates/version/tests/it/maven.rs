//! Maven's order beside a port of Maven's own code, nested lists and all: where the two agree, and where they cannot.

use std::cmp::Ordering;

use plimsoll_version::Scheme;
use proptest::prelude::*;

/// `ComparableVersion` of Maven 3.9, line by line.
#[derive(Debug, Default)]
struct List(Vec<Item>);

#[derive(Debug)]
enum Item {
    Number(u128),
    Word(String),
    List(List),
}

const QUALIFIERS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];

/// The text by which words are compared: the place of a known qualifier, else `7-` and the word.
fn comparable(word: &str) -> String {
    match QUALIFIERS.iter().position(|known| *known == word) {
        Some(at) => at.to_string(),
        None => format!("{}-{word}", QUALIFIERS.len()),
    }
}

fn word(text: &str, digit_follows: bool) -> Item {
    let word = match text {
        "a" if digit_follows => "alpha",
        "b" if digit_follows => "beta",
        "m" if digit_follows => "milestone",
        "ga" | "final" | "release" => "",
        "cr" => "rc",
        other => other,
    };
    Item::Word(word.to_owned())
}

fn item(digits: bool, text: &str) -> Item {
    if digits { Item::Number(text.parse().unwrap()) } else { word(text, false) }
}

impl Item {
    fn is_null(&self) -> bool {
        match self {
            Self::Number(n) => *n == 0,
            Self::Word(word) => comparable(word) == "5",
            Self::List(list) => list.0.is_empty(),
        }
    }

    fn against(&self, other: Option<&Item>) -> Ordering {
        match (self, other) {
            (Self::Number(n), None) => n.cmp(&0),
            (Self::Word(word), None) => comparable(word).as_str().cmp("5"),
            (Self::List(list), None) => {
                let orders = list.0.iter().map(|item| item.against(None));
                orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }
            (Self::Number(a), Some(Self::Number(b))) => a.cmp(b),
            (Self::Number(_), Some(_)) => Ordering::Greater,
            (Self::Word(_), Some(Self::Number(_) | Self::List(_))) => Ordering::Less,
            (Self::Word(a), Some(Self::Word(b))) => comparable(a).cmp(&comparable(b)),
            (Self::List(_), Some(Self::Number(_))) => Ordering::Less,
            (Self::List(_), Some(Self::Word(_))) => Ordering::Greater,
            (Self::List(a), Some(Self::List(b))) => a.against(b),
        }
    }
}

impl List {
    fn against(&self, other: &List) -> Ordering {
        for n in 0..self.0.len().max(other.0.len()) {
            let order = match (self.0.get(n), other.0.get(n)) {
                (Some(a), b) => a.against(b),
                (None, b) => b.map_or(Ordering::Equal, |b| b.against(None).reverse()),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    fn normalize(&mut self) {
        for at in (0..self.0.len()).rev() {
            if self.0[at].is_null() {
                self.0.remove(at);
            } else if !matches!(self.0[at], Item::List(_)) {
                break;
            }
        }
    }

    fn parse(text: &str) -> List {
        let text = text.to_lowercase();
        let mut lists = vec![List::default()];
        let (mut digits, mut start) = (false, 0);
        for (at, c) in text.char_indices() {
            let part = &text[start..at];
            match c {
                '.' | '-' => {
                    let item = if part.is_empty() { Item::Number(0) } else { item(digits, part) };
                    lists.last_mut().unwrap().0.push(item);
                    start = at + 1;
                    if c == '-' {
                        lists.push(List::default());
                    }
                }
                '0'..='9' => {
                    if !digits && !part.is_empty() {
                        if !lists.last().unwrap().0.is_empty() {
                            lists.push(List::default());
                        }
                        lists.last_mut().unwrap().0.push(word(part, true));
                        start = at;
                        lists.push(List::default());
                    }
                    digits = true;
                }
                _ => {
                    if digits && !part.is_empty() {
                        lists.last_mut().unwrap().0.push(item(true, part));
                        start = at;
                        lists.push(List::default());
                    }
                    digits = false;
                }
            }
        }
        if start < text.len() {
            if !digits && !lists.last().unwrap().0.is_empty() {
                lists.push(List::default());
            }
            lists.last_mut().unwrap().0.push(item(digits, &text[start..]));
        }
        // Each list ends the one before it, and is normalised first.
        let mut inner: Option<List> = None;
        while let Some(mut list) = lists.pop() {
            list.0.extend(inner.take().map(Item::List));
            list.normalize();
            inner = Some(list);
        }
        inner.unwrap()
    }
}

/// Whether a version has what Maven's order is not sure of.
fn odd(list: &List, whole: bool) -> bool {
    list.0.iter().enumerate().any(|(n, item)| match item {
        Item::Number(_) => false,
        Item::Word(_) => n > 0 || whole,
        Item::List(inner) => n == 0 || odd(inner, false),
    })
}

fn maven(a: &str, b: &str) -> Ordering {
    List::parse(a).against(&List::parse(b))
}

fn ours(a: &str, b: &str) -> Ordering {
    Scheme::Maven.compare(a, b).unwrap()
}

/// What projects call their releases.
const SHAPE: &str = "(0|1|2|10)(\\.(0|00|1|2|10)){0,3}\
(-(alpha|beta|rc|m|b)-?[0-9]{1,2}|-(alpha|RC|beta)\\.[0-9]|-SNAPSHOT|-[1-9][0-9]?|[.-](Final|GA|RELEASE|SP|SP[0-9]|jre|jre[0-9]{1,2}|android|v2024[0-9]{2}|CR[0-9]|Alpha[0-9]|M[0-9])\
|\\.Final-redhat-[0-9]{1,3}|-20240101\\.[0-9]{2}-[0-9]|[a-e]|-[1-9][0-9]?-SNAPSHOT|(\\.RELEASE|\\.Final)-[a-z]{2})?";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6000) })]

    #[test]
    fn versions_as_projects_write_them_are_ordered_as_maven_orders_them(a in SHAPE, b in SHAPE) {
        prop_assert_eq!(ours(&a, &b), maven(&a, &b), "{} {}", a, b);
    }

    /// Elsewhere the two differ only if one has a qualifier inside of a list, or a list that begins with a list.
    #[test]
    fn differences_have_the_stated_cause(
        a in "1?([.-]|[0-2]|alpha|rc|sp|ga|x){1,6}", b in "1?([.-]|[0-2]|alpha|rc|sp|ga|x){1,6}"
    ) {
        let cause = |text| odd(&List::parse(text), true);
        if ours(&a, &b) != maven(&a, &b) {
            prop_assert!(cause(&a) || cause(&b), "{} {}: Maven {:?}", a, b, maven(&a, &b));
        }
    }
}

/// Maven's own order has no place for these: each is below the next, and the last below the first.
#[test]
fn mavens_cycles_are_cut_at_one_place() {
    use Ordering::{Greater, Less};
    for [a, b, c] in [
        ["1.0.rc.1", "1", "1-2"],
        ["1.0.0.Beta-1", "1.0.0", "1.0.0-2"],
        ["1-alpha", "1", "1.sp.1"],
        ["1--alpha", "1", "1-sp"],
    ] {
        let theirs = [maven(a, b), maven(b, c), maven(a, c)];
        assert_eq!(theirs, [Less, Less, Greater], "{a} {b} {c}");
        assert_eq!([ours(a, b), ours(b, c), ours(a, c)], [Less; 3], "{a} {b} {c}");
    }
}
