//! Reading JSON as Go's decoder does, or not at all.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// `null` as the default value: Go writes nil slices and maps that way.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Fields that decide what a manifest means.
const FIELDS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "fsLayers",
    "annotations",
    "digest",
    "size",
    "platform",
    "os",
    "architecture",
    "variant",
];
/// Fields whose content is free.
const FREE: &[&str] = &["annotations", "data", "urls", "os.features", "features"];

/// Fails if a field differs from a known one in case only: Go would take it for the known one.
pub(super) fn refuse_ambiguous(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Fields.deserialize(&mut deserializer)?;
    deserializer.end()
}

#[derive(Clone, Copy)]
struct Fields;

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            // Go folds two characters beside ASCII into it: the long s and the Kelvin sign.
            let folded = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
            if let Some(field) = FIELDS.iter().find(|field| folded.eq_ignore_ascii_case(field))
                && key != **field
            {
                return Err(de::Error::custom(format_args!("field {key:?} stands for {field:?}")));
            }
            if FREE.contains(&key.as_str()) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(self)?;
            }
        }
        Ok(())
    }
}
