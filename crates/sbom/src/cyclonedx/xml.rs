//! The XML form of CycloneDX 1.2 to 1.7 (<https://cyclonedx.org/docs/1.6/xml/>).
//!
//! Reading makes of it the value that its JSON twin would be, of what is read of those: metadata, components and
//! dependencies. Other elements are passed over, as are those of other namespaces' prefixes. Document types and
//! entities beyond XML's own five are refused, so nothing expands; elements may be [`MAX_DEPTH`] deep.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value, json};

use crate::document::{DocumentError, MAX_BYTES, MAX_COMPONENTS};

/// As deep as JSON may be.
const MAX_DEPTH: usize = 128;
/// What the namespace of every version begins with; the version follows.
const NAMESPACE: &str = "http://cyclonedx.org/schema/bom/";

/// White space of XML: around names and the like it is layout.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What an element stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing that is read, nor is anything below it.
    Other,
    Bom,
    /// A structure with the members below it.
    Object(&'static str),
    /// A list of what is below it.
    List(&'static str),
    /// A structure of a list.
    Item,
    /// A component of a list.
    Component,
    /// A member that is a text.
    Text(&'static str),
    License,
    Expression,
    /// An expression in an attribute (1.7).
    Detailed,
    /// Its text is the member `value`, with every space.
    Property,
    Dependencies,
    Dependency,
}

/// What an element of a name is below another.
fn kind(parent: &Frame, name: &str) -> Kind {
    use Kind::{
        Component, Dependencies, Dependency, Detailed, Expression, Item, License, List, Object, Text,
    };
    match (parent.kind, name) {
        (Kind::Bom, "metadata") => Object("metadata"),
        (Kind::Bom | Component, "components") => List("components"),
        (Kind::Bom, "dependencies") => Dependencies,
        (Object("metadata"), "component") => Object("component"),
        (List("components"), "component") => Component,
        (Object("metadata" | "component") | Component, "properties") => List("properties"),
        (List("properties"), "property") => Kind::Property,
        (Object("component") | Component, "name" | "version" | "group" | "publisher" | "author" | "purl") => {
            Text(match name {
                "name" => "name",
                "version" => "version",
                "group" => "group",
                "publisher" => "publisher",
                "author" => "author",
                _ => "purl",
            })
        }
        (Object("component") | Component, "supplier") => Object("supplier"),
        (Object("supplier") | License, "name") => Text("name"),
        (Component, "licenses") => List("licenses"),
        (List("licenses"), "license") => License,
        (List("licenses"), "expression") => Expression,
        (List("licenses"), "expression-detailed") => Detailed,
        (License, "id") => Text("id"),
        (Component, "evidence") => Object("evidence"),
        (Object("evidence"), "occurrences") => List("occurrences"),
        (List("occurrences"), "occurrence") => Item,
        (Item, "location") => Text("location"),
        (Dependencies | Dependency, "dependency") => Dependency,
        _ => Kind::Other,
    }
}

/// An element that is open.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    members: Map<String, Value>,
    items: Vec<Value>,
    text: String,
}

impl Frame {
    fn new(kind: Kind) -> Self {
        Self { kind, members: Map::new(), items: Vec::new(), text: String::new() }
    }

    fn put(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }
}

/// Whether a document is of this form: the first character is `<`.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start().starts_with(b"<")
}

/// The document as a value of the JSON form. UTF-8 is read, no other encoding.
pub(super) fn value(bytes: &[u8]) -> Result<Value, DocumentError> {
    if bytes.len() > MAX_BYTES {
        return Err(DocumentError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::Xml("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Frame> = Vec::new();
    let (mut document, mut prefix, mut components) = (None, String::new(), 0_usize);
    loop {
        let event = reader.read_event().map_err(|_| DocumentError::Xml("it is not well-formed"))?;
        let empty = matches!(event, Event::Empty(_));
        match event {
            Event::Start(start) | Event::Empty(start) => {
                let frame = match open.last() {
                    None if document.is_some() => {
                        return Err(DocumentError::Xml("it has more than one element"));
                    }
                    None => {
                        prefix = prefix_of(&start).to_owned();
                        root(&start)?
                    }
                    Some(parent) if prefix_of(&start) == prefix => {
                        let kind = kind(parent, start.local_name().as_ref());
                        begin(kind, &start)?
                    }
                    Some(_) => Frame::new(Kind::Other),
                };
                components += usize::from(frame.kind == Kind::Component);
                if components > MAX_COMPONENTS {
                    return Err(DocumentError::TooManyComponents);
                }
                if open.len() >= MAX_DEPTH {
                    return Err(DocumentError::Xml("its elements are nested too deep"));
                }
                open.push(frame);
                if empty {
                    document = document.or(end(&mut open));
                }
            }
            Event::End(_) => document = document.or(end(&mut open)),
            Event::Text(part) => add(&mut open, &part.xml10_content()),
            Event::CData(part) => add(&mut open, &part.xml10_content()),
            Event::GeneralRef(reference) => add(&mut open, entity(&reference)?.encode_utf8(&mut [0; 4])),
            Event::DocType(_) => return Err(DocumentError::Xml("it has a document type")),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
    document.filter(|_| open.is_empty()).ok_or(DocumentError::Xml("it ends early"))
}

fn prefix_of<'a>(start: &'a BytesStart<'_>) -> &'a str {
    let name: &str = start.name().into_inner();
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

/// The first element: `bom`, in the namespace of a version.
fn root(start: &BytesStart<'_>) -> Result<Frame, DocumentError> {
    let declared = match prefix_of(start) {
        "" => "xmlns".to_owned(),
        prefix => format!("xmlns:{prefix}"),
    };
    let namespace = attribute(start, &declared)?.unwrap_or_default();
    match namespace.strip_prefix(NAMESPACE) {
        Some(version) if start.local_name().as_ref() == "bom" => {
            let mut frame = Frame::new(Kind::Bom);
            frame.put("bomFormat", json!("CycloneDX"));
            frame.put("specVersion", json!(version.trim_end_matches('/')));
            Ok(frame)
        }
        _ => Err(DocumentError::UnknownFormat),
    }
}

/// An element with those of its attributes that are members.
fn begin(kind: Kind, start: &BytesStart<'_>) -> Result<Frame, DocumentError> {
    let mut frame = Frame::new(kind);
    let names: &[&str] = match kind {
        Kind::Component => &["type", "bom-ref"],
        Kind::Property => &["name"],
        Kind::Detailed => &["expression"],
        Kind::Dependency => &["ref"],
        _ => &[],
    };
    for name in names {
        if let Some(value) = attribute(start, name)? {
            frame.put(name, Value::String(value));
        }
    }
    Ok(frame)
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, DocumentError> {
    let bad = DocumentError::Xml("an attribute is not well-formed");
    for attribute in start.attributes() {
        let Ok(attribute) = attribute else { return Err(bad) };
        if attribute.key.into_inner() == name {
            return match attribute.normalized_value(XmlVersion::Implicit1_0) {
                Ok(value) => Ok(Some(value.into_owned())),
                Err(_) => Err(bad),
            };
        }
    }
    Ok(None)
}

/// The character that a reference stands for.
fn entity(reference: &BytesRef<'_>) -> Result<char, DocumentError> {
    let name: &str = reference.as_ref();
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => match reference.resolve_char_ref() {
            Ok(Some(c)) => Ok(c),
            _ => Err(DocumentError::Xml("it has an entity of its own")),
        },
    }
}

/// Adds text to the innermost element, if its text is read.
fn add(open: &mut [Frame], text: &str) {
    if let Some(frame) = open.last_mut()
        && matches!(frame.kind, Kind::Text(_) | Kind::Expression | Kind::Property)
    {
        frame.text.push_str(text);
    }
}

/// Closes the innermost element and hands it to the one around it; gives the document when that is closed.
fn end(open: &mut Vec<Frame>) -> Option<Value> {
    let Frame { kind, mut members, items, text } = open.pop()?;
    let Some(parent) = open.last_mut() else { return Some(Value::Object(members)) };
    match kind {
        Kind::Other | Kind::Bom => {}
        Kind::Object(name) => parent.put(name, Value::Object(members)),
        Kind::List(name) => parent.put(name, Value::Array(items)),
        Kind::Dependencies => parent.put("dependencies", Value::Array(items)),
        Kind::Item | Kind::Component => parent.items.push(Value::Object(members)),
        Kind::Text(name) => parent.put(name, json!(text.trim_matches(SPACE))),
        Kind::License => parent.items.push(json!({"license": members})),
        Kind::Expression => parent.items.push(json!({"expression": text.trim_matches(SPACE)})),
        Kind::Detailed => parent.items.push(Value::Object(members)),
        Kind::Property => {
            members.insert("value".to_owned(), Value::String(text));
            parent.items.push(Value::Object(members));
        }
        Kind::Dependency => {
            // Inside of another one it is what that one depends on, whatever it has itself.
            let nested = parent.kind == Kind::Dependency;
            if nested {
                parent.items.extend(members.get("ref").cloned());
            }
            if !nested || !items.is_empty() {
                members.insert("dependsOn".to_owned(), Value::Array(items));
                let list = open.iter_mut().find(|frame| frame.kind == Kind::Dependencies);
                if let Some(list) = list {
                    list.items.push(Value::Object(members));
                }
            }
        }
    }
    None
}
