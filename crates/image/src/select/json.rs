//! Package databases that are one JSON document: Composer's `installed.json`, .NET's `*.deps.json`, `conda-meta`,
//! Bitnami's SPDX files.
//!
//! Each selector names the members that it keeps, at each level; everything else is passed over without being held.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{File, Selector, Trigger, Want};

const MAX: u64 = 16 << 20;

/// What is kept of a value.
#[derive(Debug, Clone, Copy)]
enum Keep {
    /// All of it.
    All,
    /// Of an object the members that are listed, of a list the same of each element; nothing of texts and numbers.
    Members(&'static [(&'static str, Keep)]),
    /// The same of every member, or of every element.
    Each(&'static Keep),
}

/// PHP packages as installed by Composer: `vendor/composer/installed.json`. Keeps an object or a list of packages.
pub struct Composer;
/// What a .NET application was published with: `*.deps.json`. Keeps `libraries`, `runtimeTarget` and what each
/// package of `targets` depends on, with the names of its assemblies.
pub struct Dotnet;
/// Packages of a conda environment: `conda-meta/*.json`. Keeps what identifies the package.
pub struct Conda;
/// What a Bitnami image's application consists of: `opt/bitnami/NAME/.spdx-NAME.spdx`. Keeps licences and external
/// references of the packages.
pub struct Bitnami;

const COMPOSER_PACKAGE: Keep = Keep::Members(&[
    ("authors", Keep::All),
    ("license", Keep::All),
    ("name", Keep::All),
    ("require", Keep::All),
    ("type", Keep::All),
    ("version", Keep::All),
]);
const COMPOSER: Keep = Keep::Members(&[
    ("authors", Keep::All),
    ("license", Keep::All),
    ("name", Keep::All),
    ("packages", COMPOSER_PACKAGE),
    ("require", Keep::All),
    ("type", Keep::All),
    ("version", Keep::All),
]);
const DOTNET: Keep = Keep::Members(&[
    ("libraries", Keep::Each(&Keep::Members(&[("type", Keep::All)]))),
    ("runtimeTarget", Keep::Members(&[("name", Keep::All)])),
    (
        "targets",
        Keep::Each(&Keep::Each(&Keep::Members(&[
            ("dependencies", Keep::All),
            ("runtime", Keep::Each(&Keep::Members(&[]))),
        ]))),
    ),
]);
const CONDA: Keep = Keep::Members(&[
    ("build", Keep::All),
    ("channel", Keep::All),
    ("depends", Keep::All),
    ("license", Keep::All),
    ("name", Keep::All),
    ("subdir", Keep::All),
    ("version", Keep::All),
]);

const BITNAMI: Keep = Keep::Members(&[(
    "packages",
    Keep::Members(&[
        ("externalRefs", Keep::All),
        ("licenseDeclared", Keep::All),
        ("name", Keep::All),
        ("versionInfo", Keep::All),
    ]),
)]);

impl Selector for Bitnami {
    fn name(&self) -> &'static str {
        "bitnami"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("spdx")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let here = file.path.starts_with("opt/bitnami/") && file.name().starts_with(".spdx-");
        if here { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        reduce(bytes, BITNAMI)
    }
}

impl Selector for Composer {
    fn name(&self) -> &'static str {
        "composer"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("installed.json")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.parent() == "composer" { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        reduce(bytes, COMPOSER)
    }
}

impl Selector for Dotnet {
    fn name(&self) -> &'static str {
        "dotnet"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Extension("json")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.path.ends_with(".deps.json") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        reduce(bytes, DOTNET)
    }
}

impl Selector for Conda {
    fn name(&self) -> &'static str {
        "conda"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Parent("conda-meta")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.name().ends_with(".json") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        reduce(bytes, CONDA)
    }
}

fn reduce(bytes: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match keep.deserialize(&mut json).ok()? {
        Value::Object(members) if members.is_empty() => None,
        Value::Null => None,
        value => serde_json::to_vec(&value).ok(),
    }
}

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        match self {
            Self::All => serde::Deserialize::deserialize(json),
            _ => json.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let keep = match self {
                Self::All => Some(Self::All),
                Self::Each(keep) => Some(*keep),
                Self::Members(members) => {
                    members.iter().find(|(known, _)| *known == name).map(|(_, keep)| *keep)
                }
            };
            match keep {
                Some(keep) => {
                    kept.insert(name, access.next_value_seed(keep)?);
                }
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = match self {
            Self::Each(keep) => *keep,
            keep => keep,
        };
        let mut kept = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            kept.push(value);
        }
        Ok(Value::Array(kept))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn kept(text: &str, keep: Keep) -> Option<Value> {
        reduce(text.as_bytes(), keep).map(|kept| serde_json::from_slice(&kept).unwrap())
    }

    #[test]
    fn keeps_members_at_every_level() {
        let package =
            r#"{"name":"a/b","version":"v1.0","dist":{"url":"x"},"license":["MIT"],"require":{"php":">=7"}}"#;
        let expected =
            json!({"name": "a/b", "version": "v1.0", "license": ["MIT"], "require": {"php": ">=7"}});
        assert_eq!(
            kept(&format!("{{\"packages\":[{package}],\"dev\":true}}"), COMPOSER),
            Some(json!({"packages": [expected]}))
        );
        assert_eq!(kept(&format!("[{package}]"), COMPOSER), Some(json!([expected])));
        let deps = r#"{"runtimeTarget":{"name":".NETCoreApp,Version=v6.0","signature":""},"targets":{".NETCoreApp,Version=v6.0":{"App/1.0.0":{"dependencies":{"Serilog":"2.10.0"},"runtime":{"App.dll":{}}}}},"libraries":{"App/1.0.0":{"type":"project","sha512":""},"Serilog/2.10.0":{"type":"package","path":"x"}}}"#;
        assert_eq!(
            kept(deps, DOTNET),
            Some(json!({
                "runtimeTarget": {"name": ".NETCoreApp,Version=v6.0"},
                "targets": {".NETCoreApp,Version=v6.0": {"App/1.0.0": {"dependencies": {"Serilog": "2.10.0"}, "runtime": {"App.dll": {}}}}},
                "libraries": {"App/1.0.0": {"type": "project"}, "Serilog/2.10.0": {"type": "package"}},
            }))
        );
        assert_eq!(
            kept(r#"{"name":"zlib","version":"1.2.13","files":["a","b"],"build_number":0}"#, CONDA),
            Some(json!({"name": "zlib", "version": "1.2.13"}))
        );
        for nothing in ["", "{}", "1", "null", "\"x\"", "{\"name\":", &"[".repeat(5_000)] {
            assert_eq!(kept(nothing, COMPOSER), None, "{nothing}");
        }
    }

    #[test]
    fn wants_documents_in_their_places() {
        for (selector, path, wanted) in [
            (&Composer as &dyn Selector, "app/vendor/composer/installed.json", true),
            (&Composer, "app/installed.json", false),
            (&Dotnet, "app/App.deps.json", true),
            (&Dotnet, "app/deps.json", false),
            (&Conda, "opt/conda/conda-meta/zlib-1.2.13-h0.json", true),
            (&Conda, "opt/conda/conda-meta/history", false),
            (&Bitnami, "opt/bitnami/redis/.spdx-redis.spdx", true),
            (&Bitnami, "srv/x.spdx", false),
        ] {
            assert_eq!(selector.wants(&File { path, size: 1, mode: 0o644 }) != Want::No, wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_reduced_to_json_or_nothing(text in r#"[\[\]{}",:a-z0-9]{0,60}"#) {
            for keep in [COMPOSER, DOTNET, CONDA, BITNAMI] {
                if let Some(once) = reduce(text.as_bytes(), keep) {
                    prop_assert_eq!(reduce(&once, keep), Some(once));
                }
            }
        }
    }
}
