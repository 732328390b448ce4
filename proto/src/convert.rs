//! Messages to values of `plimsoll-model` and back.

mod artifacts;
mod common;
mod facts;
mod findings;

pub use artifacts::{EXTRACT_FORMAT, SBOM_FORMAT};

/// A message whose content is no value: which field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid message: {field}: {reason}")]
pub struct Invalid {
    pub field: &'static str,
    pub reason: String,
}

impl Invalid {
    fn new(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { field, reason: reason.to_string() }
    }

    fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }
}

/// Parses a text field.
fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, Invalid> {
    text.parse().map_err(|error| Invalid::new(field, error))
}

/// Parses a text field in which empty means none.
fn parse_optional<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn all<P, M>(items: Vec<P>) -> Result<Vec<M>, Invalid>
where
    M: TryFrom<P, Error = Invalid>,
{
    items.into_iter().map(M::try_from).collect()
}

fn into_all<P, M: From<P>>(items: Vec<P>) -> Vec<M> {
    items.into_iter().map(M::from).collect()
}

/// A closed set of words.
macro_rules! words {
    ($to:ident, $from:ident, $field:literal, $type:ty { $($variant:path => $word:literal),* $(,)? }) => {
        pub(super) fn $to(value: $type) -> String {
            match value { $($variant => $word),* }.to_owned()
        }
        pub(super) fn $from(word: &str) -> Result<$type, Invalid> {
            match word { $($word => Ok($variant),)* other => Err(Invalid::new($field, format!("unknown word {other:?}"))) }
        }
    };
}
use words;
