//! A cursor over a parsed document that knows the path it stands at.

use std::cell::RefCell;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::selector::{Labels, Operator, Requirement, Selector};

/// A refused field: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) field: String,
    pub(super) message: String,
}

pub(super) type Read<T> = Result<T, Refused>;

#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    misread: &'a Misread,
}

/// The first value that was asked for a field and has none because it is no object. Kubernetes refuses those.
#[derive(Debug, Default)]
pub(super) struct Misread(RefCell<Option<Refused>>);

impl Misread {
    /// What was noted, and nothing from now on.
    pub(super) fn take(&self) -> Option<Refused> {
        self.0.take()
    }

    fn note(&self, node: &Node<'_>) {
        let message = || Refused { field: node.path.clone(), message: "must be an object".into() };
        self.0.borrow_mut().get_or_insert_with(message);
    }
}

/// Why a value is no string. YAML takes `no`, `on` and `1` for something else unless they are quoted.
fn no_string(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => format!("must be a string, not {value}; put it in quotes"),
        _ => "must be a string".to_owned(),
    }
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, misread: &'a Misread) -> Self {
        Self { value, path: String::new(), misread }
    }

    /// Lets pass what was read so far though it was no object.
    pub(super) fn forgive(&self) {
        self.misread.take();
    }

    pub(super) fn refuse<T>(&self, message: impl Into<String>) -> Read<T> {
        Err(Refused { field: self.path.clone(), message: message.into() })
    }

    /// The field, or `None` when it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let Some(object) = self.value.as_object() else {
            if !self.value.is_null() {
                self.misread.note(self);
            }
            return None;
        };
        let value = object.get(name).filter(|value| !value.is_null())?;
        Some(Self { value, path: self.join(name), misread: self.misread })
    }

    /// True when the field is written, be it with null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value.as_object().is_some_and(|object| object.contains_key(name))
    }

    /// Paths of the fields that are written and not among the known.
    pub(super) fn unknown(&self, known: &[&str]) -> Vec<String> {
        let names = self.value.as_object().into_iter().flat_map(|object| object.keys());
        names.filter(|name| !known.contains(&name.as_str())).map(|name| self.join(name)).collect()
    }

    pub(super) fn require(&self, name: &str) -> Read<Self> {
        match self.get(name) {
            Some(node) => Ok(node),
            None => Err(Refused { field: self.join(name), message: "is required".into() }),
        }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn object(&self) -> Read<&'a serde_json::Map<String, Value>> {
        match self.value.as_object() {
            Some(object) => Ok(object),
            None => self.refuse("must be an object"),
        }
    }

    /// Refuses what has no fields; null has, as for Kubernetes, every field at its default.
    pub(super) fn structure(&self) -> Read<()> {
        if self.value.is_null() { Ok(()) } else { self.object().map(|_| ()) }
    }

    /// The entries of a list field; empty when it is missing.
    pub(super) fn list(&self, name: &str) -> Read<Vec<Self>> {
        self.get(name).map_or(Ok(Vec::new()), |node| node.items())
    }

    pub(super) fn items(&self) -> Read<Vec<Self>> {
        let Some(items) = self.value.as_array() else { return self.refuse("must be a list") };
        let item =
            |(index, value)| Self { value, path: format!("{}[{index}]", self.path), misread: self.misread };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Read<&'a str> {
        match self.value.as_str() {
            Some(text) => Ok(text),
            None => self.refuse(no_string(self.value)),
        }
    }

    pub(super) fn text_at(&self, name: &str) -> Read<Option<String>> {
        self.get(name).map(|node| node.text().map(str::to_owned)).transpose()
    }

    pub(super) fn flag_at(&self, name: &str) -> Read<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(node) => node.value.as_bool().map_or_else(|| node.refuse("must be true or false"), Ok),
        }
    }

    pub(super) fn integer(&self) -> Read<i64> {
        match self.value.as_i64() {
            Some(number) => Ok(number),
            None => self.refuse("must be an integer"),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// A port number, 1–65535.
    pub(super) fn port(&self) -> Read<u16> {
        match u16::try_from(self.integer()?) {
            Ok(port) if port > 0 => Ok(port),
            _ => self.refuse("must be between 1 and 65535"),
        }
    }

    pub(super) fn block(&self) -> Read<IpNet> {
        let text = self.text()?;
        match text.parse() {
            Ok(block) => Ok(block),
            Err(_) => self.refuse(format!("invalid CIDR address: {text}")),
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.value.as_str()?.parse().ok()
    }

    pub(super) fn labels_at(&self, name: &str) -> Read<Labels> {
        let Some(node) = self.get(name) else { return Ok(Labels::new()) };
        let mut labels = Labels::new();
        for (key, value) in node.object()? {
            match value {
                Value::String(value) => labels.insert(key.clone(), value.clone()),
                Value::Null => labels.insert(key.clone(), String::new()),
                _ => {
                    return Err(Refused { field: format!("{}.{key}", node.path), message: no_string(value) });
                }
            };
        }
        Ok(labels)
    }

    pub(super) fn selector(&self) -> Read<Selector> {
        self.object()?;
        let mut match_expressions = Vec::new();
        for entry in self.list("matchExpressions")? {
            let key = entry.require("key")?.text()?.to_owned();
            if key.is_empty() {
                return entry.refuse("key must not be empty");
            }
            let mut values = Vec::new();
            for value in entry.list("values")? {
                values.push(value.text()?.to_owned());
            }
            let operator = entry.require("operator")?;
            let parsed = match (operator.text()?, values.is_empty()) {
                ("In", false) => Operator::In(values),
                ("NotIn", false) => Operator::NotIn(values),
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                ("In" | "NotIn", true) => {
                    return entry.refuse("values must not be empty for operators In and NotIn");
                }
                ("Exists" | "DoesNotExist", false) => {
                    return entry.refuse("values must be empty for operators Exists and DoesNotExist");
                }
                (other, _) => {
                    return operator.refuse(format!("{other:?} is not a valid label selector operator"));
                }
            };
            match_expressions.push(Requirement { key, operator: parsed });
        }
        Ok(Selector { match_labels: self.labels_at("matchLabels")?, match_expressions })
    }
}
