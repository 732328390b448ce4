//! Label selectors, in one canonical form.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Labels of a pod or namespace.
pub type Labels = BTreeMap<String, String>;

/// One requirement on the value of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// One entry of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
}

impl Requirement {
    /// True when the labels meet it; `NotIn` and `DoesNotExist` hold where the key is absent.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, values) = match &self.operator {
            Operator::In(values) => ("In", values.as_slice()),
            Operator::NotIn(values) => ("NotIn", values.as_slice()),
            Operator::Exists => ("Exists", [].as_slice()),
            Operator::DoesNotExist => ("DoesNotExist", [].as_slice()),
        };
        write!(f, "{{Key:{},Operator:{name},Values:[{}],}}", self.key, values.join(" "))
    }
}

/// Requirements as `kubectl get -l` takes them: `app=web,tier in (a,b),!canary`.
pub(crate) fn words(requirements: &[Requirement]) -> String {
    let word = |Requirement { key, operator }: &Requirement| match operator {
        Operator::In(values) => match values.as_slice() {
            [value] => format!("{key}={value}"),
            values => format!("{key} in ({})", values.join(",")),
        },
        Operator::NotIn(values) => match values.as_slice() {
            [value] => format!("{key}!={value}"),
            values => format!("{key} notin ({})", values.join(",")),
        },
        Operator::Exists => key.clone(),
        Operator::DoesNotExist => format!("!{key}"),
    };
    requirements.iter().map(word).collect::<Vec<_>>().join(",")
}

/// A Kubernetes label selector as written; an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    pub match_labels: Labels,
    pub match_expressions: Vec<Requirement>,
}

impl Selector {
    /// Selects by equality of labels.
    pub fn of_labels(labels: Labels) -> Self {
        Self { match_labels: labels, match_expressions: Vec::new() }
    }

    /// True when it has no requirement.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// True when the labels meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }

    /// Keys that it reads.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.match_labels.keys().chain(self.match_expressions.iter().map(|r| &r.key)).map(String::as_str)
    }

    /// Sorted requirements without duplicates; `In` with one value is the same as equality.
    pub fn canonical(&self) -> Vec<Requirement> {
        let labels = self.match_labels.iter().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In(vec![value.clone()]),
        });
        let expressions = self.match_expressions.iter().map(|requirement| {
            let mut requirement = requirement.clone();
            if let Operator::In(values) | Operator::NotIn(values) = &mut requirement.operator {
                values.sort();
                values.dedup();
            }
            requirement
        });
        let mut all: Vec<_> = labels.chain(expressions).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// `a=b,c=d,{Key:e,Operator:In,Values:[f g],}`: labels by key, then expressions in byte order.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let mut expressions: Vec<_> = self.match_expressions.iter().map(ToString::to_string).collect();
        expressions.sort();
        f.write_str(&labels.chain(expressions).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_and_canonical_form() {
        let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
        let not_in = Requirement { key: "tier".into(), operator: Operator::NotIn(vec!["db".into()]) };
        let absent = Requirement { key: "tier".into(), operator: Operator::DoesNotExist };
        assert!(not_in.matches(&labels) && absent.matches(&labels));
        let single = Selector {
            match_labels: Labels::new(),
            match_expressions: vec![Requirement {
                key: "app".into(),
                operator: Operator::In(vec!["web".into()]),
            }],
        };
        assert_eq!(single.canonical(), Selector::of_labels(labels.clone()).canonical());
        assert!(single.matches(&labels) && Selector::default().matches(&Labels::new()));
    }
}
