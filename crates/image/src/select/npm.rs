//! Node packages as installed: `package.json`.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{File, Selector, Trigger, Want};

/// Keeps the members that identify and describe a package, if the file is a JSON object.
pub struct Npm;

const MAX: u64 = 1 << 20;

/// Members that are kept as they are, sorted by name in the output.
pub const MEMBERS: &[&str] = &[
    "author",
    "dependencies",
    "homepage",
    "license",
    "licenses",
    "name",
    "optionalDependencies",
    "private",
    "repository",
    "version",
];

impl Selector for Npm {
    fn name(&self) -> &'static str {
        "npm"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("package.json")] }
    }

    fn wants(&self, _file: &File<'_>) -> Want {
        Want::Whole { max: MAX }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(text);
        let mut json = serde_json::Deserializer::from_str(&text);
        let members = json.deserialize_map(Members).ok()?;
        serde_json::to_vec(&members).ok()
    }
}

/// Reads only what is kept; of equal names the last stands, as in JavaScript.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(Key(known)) = access.next_key()? {
            if let Some(name) = known {
                members.insert(name.to_owned(), access.next_value()?);
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// A member's name, if it is kept. Read without an allocation: most members are not.
struct Key(Option<&'static str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key(MEMBERS.binary_search(&name).ok().and_then(|index| MEMBERS.get(index)).copied()))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(text: &str) -> Option<String> {
        let file = File { path: "package.json", size: 1, mode: 0o644 };
        Npm.reduce(&file, text.as_bytes()).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn keeps_members_of_objects_that_parse() {
        assert_eq!(
            reduce("\u{feff}{\"name\":\"a\",\"scripts\":{\"x\":[1,{}]},\"version\":\"0\",\"version\":\"1\",\"n\\u0061me\":\"b\",\"dependencies\":{\"c\":\"^1\"}}").unwrap(),
            r#"{"dependencies":{"c":"^1"},"name":"b","version":"1"}"#
        );
        assert_eq!(reduce("{}").unwrap(), "{}");
        for bad in ["", "[]", "\"x\"", "{\"name\":", "{\"x\":}", &"{\"a\":".repeat(5_000)] {
            assert_eq!(reduce(bad), None);
        }
        let mut sorted = MEMBERS.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, MEMBERS);
    }
}
