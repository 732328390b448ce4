//! Elements of XML documents as small trees. Document types and entities beyond the five that XML knows are not
//! expanded; elements are bounded in size, number and depth.

use std::io::BufRead;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Texts and attributes of one element, and those below it, together.
const MAX_BYTES: usize = 16 << 20;
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;

/// An element. Names have no prefix.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    /// Text directly inside, trimmed.
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

impl Node {
    /// An attribute; empty where there is none.
    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str())
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name; empty where there is none.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }

    /// Children of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Why a document cannot be read on, or an element not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// No XML, or it ends early: nothing behind it can be read.
    Syntax,
    /// An element passes a limit; it was left out.
    TooLarge,
}

/// Gives every element of one of `names`, outermost only, as a tree.
pub(super) fn elements(input: impl BufRead, names: &[&str], mut take: impl FnMut(Result<Node, Bad>)) {
    let mut reader = Reader::from_reader(input);
    let mut buffer = Vec::new();
    // The elements that are open, outermost first; empty outside of wanted ones.
    let mut open: Vec<Node> = Vec::new();
    let (mut nodes, mut bytes, mut skipping) = (0_usize, 0_usize, 0_usize);
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(_) => return take(Err(Bad::Syntax)),
        };
        match event {
            Event::Eof if open.is_empty() && skipping == 0 => return,
            Event::Eof => return take(Err(Bad::Syntax)),
            Event::Start(_) if skipping > 0 => skipping += 1,
            Event::End(_) if skipping > 0 => skipping -= 1,
            _ if skipping > 0 => {}
            Event::Start(start) | Event::Empty(start) if open.is_empty() && !is_wanted(&start, names) => {}
            Event::Start(start) => {
                let node = node(&start);
                nodes += 1;
                bytes += size(&node);
                if nodes > MAX_NODES || bytes > MAX_BYTES || open.len() >= MAX_DEPTH {
                    // The whole outermost element is left out.
                    skipping = open.len() + 1;
                    open.clear();
                    (nodes, bytes) = (0, 0);
                    take(Err(Bad::TooLarge));
                    continue;
                }
                open.push(node);
            }
            Event::Empty(start) => {
                let node = node(&start);
                nodes += 1;
                bytes += size(&node);
                match open.last_mut() {
                    Some(parent) if nodes <= MAX_NODES && bytes <= MAX_BYTES => parent.children.push(node),
                    Some(_) => {}
                    None => take(Ok(node)),
                }
            }
            Event::Text(text) => {
                if let Some(node) = open.last_mut() {
                    let text: &str = text.as_ref();
                    bytes += text.len();
                    if bytes <= MAX_BYTES {
                        node.text.push_str(text);
                    }
                }
            }
            Event::CData(text) => {
                if let Some(node) = open.last_mut() {
                    let text: &str = text.as_ref();
                    bytes += text.len();
                    if bytes <= MAX_BYTES {
                        node.text.push_str(text);
                    }
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(node) = open.last_mut() {
                    node.text.push(entity(reference.as_ref()));
                }
            }
            Event::End(_) => {
                if let Some(mut node) = open.pop() {
                    node.text = node.text.trim().to_owned();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => {
                            (nodes, bytes) = (0, 0);
                            take(Ok(node));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_wanted(start: &BytesStart<'_>, names: &[&str]) -> bool {
    names.contains(&start.local_name().as_ref())
}

fn node(start: &BytesStart<'_>) -> Node {
    let attributes = start
        .attributes()
        .flatten()
        .map(|attribute| {
            let key = attribute.key.local_name().as_ref().to_owned();
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_or_else(|_| String::new(), |value| value.into_owned());
            (key, value)
        })
        .collect();
    let name = start.local_name().as_ref().to_owned();
    Node { name, attributes, ..Node::default() }
}

fn size(node: &Node) -> usize {
    64 + node.name.len()
        + node.attributes.iter().map(|(key, value)| 48 + key.len() + value.len()).sum::<usize>()
}

/// A character that XML itself knows, or a space.
fn entity(text: &str) -> char {
    match text {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = match text.strip_prefix("#x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => text.strip_prefix('#').and_then(|decimal| decimal.parse().ok()),
            };
            number.and_then(char::from_u32).unwrap_or(' ')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<String, Bad>> {
        let mut found = Vec::new();
        elements(text.as_bytes(), &["a"], |node| {
            found.push(node.map(|node| {
                format!("{}:{}:{}", node.attribute("k"), node.text_of("b"), node.children.len())
            }));
        });
        found
    }

    #[test]
    fn trees_of_wanted_elements() {
        let text = "<?xml version=\"1.0\"?><r><x><a k='1&amp;2'><b>p &lt; q</b></a></x><a k='e'/><n:a k='n'><a/><b> t </b></n:a></r>";
        assert_eq!(read(text), [Ok("1&2:p < q:1".to_owned()), Ok("e::0".to_owned()), Ok("n:t:2".to_owned())]);
    }

    #[test]
    fn broken_and_hostile_documents() {
        assert_eq!(read("<r><a>"), [Err(Bad::Syntax)]);
        assert_eq!(read("<r><a></b></r>").last(), Some(&Err(Bad::Syntax)));
        let deep = format!("<r><a>{}{}</a><a k='after'/></r>", "<c>".repeat(500), "</c>".repeat(500));
        assert_eq!(read(&deep), [Err(Bad::TooLarge), Ok("after::0".to_owned())]);
        // Entities that a document type defines are not expanded.
        let laughs = "<!DOCTYPE r [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;&l;'>]><r><a><b>&m;</b></a></r>";
        assert!(matches!(read(laughs).first(), Some(Ok(text)) if !text.contains("lol")));
        let many = format!("<r><a>{}</a><a k='after'/></r>", "<c></c>".repeat(MAX_NODES + 1));
        assert_eq!(read(&many), [Err(Bad::TooLarge), Ok("after::0".to_owned())]);
    }
}
