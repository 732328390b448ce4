//! A small tree that is written as YAML, byte for byte the same each time, and as JSON.

use serde_json::Value;

/// One node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doc {
    Map(Vec<(String, Doc)>),
    /// Entries with the comments above them.
    List(Vec<(Vec<String>, Doc)>),
    Text(String),
    Number(u16),
}

impl Doc {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn map(fields: impl IntoIterator<Item = (&'static str, Doc)>) -> Self {
        Self::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(super) fn list(items: impl IntoIterator<Item = Doc>) -> Self {
        Self::List(items.into_iter().map(|item| (Vec::new(), item)).collect())
    }

    /// As JSON, without comments.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Map(fields) => fields.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
            Self::List(items) => items.iter().map(|(_, item)| item.json()).collect(),
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::from(*number),
        }
    }

    /// As a YAML document with a final line feed.
    pub(super) fn yaml(&self) -> String {
        let mut out = String::new();
        self.block(0, &mut out);
        out
    }

    fn block(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(fields) => {
                for (index, (key, value)) in fields.iter().enumerate() {
                    // The first field of an entry stands behind its dash.
                    if index > 0 || out.is_empty() || out.ends_with('\n') {
                        out.push_str(&" ".repeat(indent));
                    }
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.after_key(indent, out);
                }
            }
            Self::List(items) => {
                for (comments, item) in items {
                    for comment in comments {
                        out.push_str(&format!("{}# {}\n", " ".repeat(indent), line(comment)));
                    }
                    out.push_str(&format!("{}- ", " ".repeat(indent)));
                    match item {
                        Self::Map(fields) if !fields.is_empty() => item.block(indent + 2, out),
                        _ => {
                            item.inline(out);
                            out.push('\n');
                        }
                    }
                }
            }
            _ => {
                self.inline(out);
                out.push('\n');
            }
        }
    }

    fn after_key(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(fields) if !fields.is_empty() => {
                out.push('\n');
                self.block(indent + 2, out);
            }
            Self::List(items) if !items.is_empty() => {
                out.push('\n');
                self.block(indent + 2, out);
            }
            _ => {
                out.push(' ');
                self.inline(out);
                out.push('\n');
            }
        }
    }

    fn inline(&self, out: &mut String) {
        match self {
            Self::Map(_) => out.push_str("{}"),
            Self::List(_) => out.push_str("[]"),
            Self::Text(text) => out.push_str(&scalar(text)),
            Self::Number(number) => out.push_str(&number.to_string()),
        }
    }
}

/// A comment's text: one line, without control characters, of bounded length.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() || "\u{2028}\u{2029}\u{feff}".contains(char) { ' ' } else { char })
        .take(300)
        .collect()
}

/// A plain scalar where nobody can read it as anything but text, otherwise a double-quoted one.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(char),
            _ if u32::from(char) < 0x100 => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(char))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_survives(key in "\\PC{0,8}", text in "[\\PC\\n\\t\\x00-\\x1f]{0,24}") {
            let list = Doc::List(vec![(vec![text.clone()], Doc::map([("a", Doc::text(&*text)), ("b", Doc::Number(7))]))]);
            let doc = Doc::Map(vec![(key, Doc::text(&*text)), ("list-of-all".into(), list), ("none".into(), Doc::list([]))]);
            let yaml = doc.yaml();
            let read: Value = serde_saphyr::from_str(&yaml).map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error}\n{yaml}")))?;
            proptest::prop_assert_eq!(read, doc.json(), "{}", yaml);
        }
    }
}
