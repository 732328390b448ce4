//! Reading of XML as far as project files need it: elements, attributes, texts. No namespaces, no document types, of
//! entities only the five that need no declaration.

/// Elements in elements in …: deeper ones end the reading.
const MAX_DEPTH: usize = 64;

/// What a document consists of, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An element begins; its name is the last of the path.
    Open(Attributes<'a>),
    /// Text in the innermost element, entities resolved, blanks at the ends cut; never empty.
    Text(String),
    /// The last element of the path ends.
    Close,
}

/// The attributes of an element, unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    /// The value of an attribute.
    pub fn get(self, name: &str) -> Option<String> {
        let mut rest = self.0;
        loop {
            let (key, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, more) = after.get(1..)?.split_once(quote)?;
            if key.trim() == name {
                return Some(resolved(value));
            }
            rest = more;
        }
    }
}

/// Calls `visit` with the path of names from the root and what is there, up to the end or the first thing that is no
/// XML.
pub fn walk<'a>(text: &'a str, mut visit: impl FnMut(&[&'a str], Event<'a>)) {
    let mut path: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let content = before.trim();
        if !content.is_empty() && !path.is_empty() {
            visit(&path, Event::Text(resolved(content)));
        }
        let skipped = |end: &str| after.split_once(end).map(|(_, rest)| rest);
        if let Some(comment) = after.strip_prefix("!--") {
            let Some((_, more)) = comment.split_once("-->") else { return };
            rest = more;
        } else if let Some(data) = after.strip_prefix("![CDATA[") {
            let Some((data, more)) = data.split_once("]]>") else { return };
            if !data.trim().is_empty() && !path.is_empty() {
                visit(&path, Event::Text(data.trim().to_owned()));
            }
            rest = more;
        } else if after.starts_with('?') {
            let Some(more) = skipped("?>") else { return };
            rest = more;
        } else if after.starts_with('!') {
            let Some(more) = skipped(">") else { return };
            rest = more;
        } else if after.starts_with('/') {
            let Some(more) = skipped(">") else { return };
            if path.is_empty() {
                return;
            }
            visit(&path, Event::Close);
            path.pop();
            rest = more;
        } else {
            let Some(end) = tag_end(after) else { return };
            let (tag, more) = after.split_at(end);
            rest = more.get(1..).unwrap_or("");
            let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, attributes) = tag.split_at(tag.find(char::is_whitespace).unwrap_or(tag.len()));
            if name.is_empty() || path.len() >= MAX_DEPTH {
                return;
            }
            path.push(name);
            visit(&path, Event::Open(Attributes(attributes)));
            if closed {
                visit(&path, Event::Close);
                path.pop();
            }
        }
    }
}

/// Where a tag ends: at the first `>` outside of quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut open: Option<u8> = None;
    text.bytes().position(|byte| {
        match (open, byte) {
            (None, b'"' | b'\'') => open = Some(byte),
            (Some(quote), byte) if quote == byte => open = None,
            (None, b'>') => return true,
            _ => {}
        }
        false
    })
}

fn resolved(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        walk(text, |path, event| {
            let event = match event {
                Event::Open(attributes) => attributes.get("b").map_or("+".to_owned(), |b| format!("+b={b}")),
                Event::Text(text) => text,
                Event::Close => "-".to_owned(),
            };
            lines.push(format!("{} {event}", path.join("/")));
        });
        lines
    }

    #[test]
    fn documents() {
        assert_eq!(
            read(
                "<?xml version='1.0'?><!DOCTYPE a><!-- <x> --><a>\n <c x='>' b=\"1&amp;2\"/> t&lt; <![CDATA[ <d> ]]></a> <e>"
            ),
            ["a +", "a/c +b=1&2", "a/c -", "a t<", "a <d>", "a -", "e +"]
        );
        assert!(
            read("").is_empty() && read("text").is_empty() && read("<").is_empty() && read("</a>").is_empty()
        );
        assert_eq!(read(&"<a>".repeat(100)).len(), MAX_DEPTH);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>/!?a=\"'\\-\\[\\]&;é ]{0,60}") {
            let _ = read(&text);
        }
    }
}
