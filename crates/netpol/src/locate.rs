//! The line of a file at which an object stands.

use crate::objects::ObjectKey;

/// The 1-based line at which the object's document, or its entry of a list, names its kind; an estimate by words, for
/// people to jump to. None where the text does not name it.
pub(crate) fn line_of(text: &str, key: &ObjectKey) -> Option<usize> {
    let kind = key.kind.rsplit('/').next().unwrap_or(&key.kind);
    let mut at_kind: Option<usize> = None;
    let mut at_name: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("---") {
            (at_kind, at_name) = (None, None);
        }
        // The kind of an entry may stand before or behind its metadata.
        for (field, value) in fields(line) {
            match field {
                "kind" if value == kind => {
                    if at_name.is_some() {
                        return at_name;
                    }
                    at_kind = Some(index + 1);
                }
                "kind" if value.strip_suffix("List") != Some(kind) => at_kind = None,
                "name" | "generateName" if value == key.name => {
                    if at_kind.is_some() {
                        return at_kind;
                    }
                    at_name.get_or_insert(index + 1);
                }
                _ => {}
            }
        }
    }
    at_name
}

/// The `field: value` pairs of a line, without quotes; of block and flow style and of JSON.
fn fields(line: &str) -> impl Iterator<Item = (&str, &str)> {
    const MARKS: &[char] = &['"', '\'', ' ', '\t', '-', '{', '}', '[', ']'];
    line.split(',').flat_map(|part| part.split('{')).filter_map(|part| {
        let (field, value) = part.split_once(':')?;
        let field = field.rsplit(MARKS).find(|word| !word.is_empty())?;
        let value = value.split(" #").next().unwrap_or_default();
        let value = value.trim().trim_matches(['"', '\'', '}', ']', ' ']);
        Some((field, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, name: &str) -> ObjectKey {
        ObjectKey { kind: kind.into(), namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn finds_documents_entries_and_json() {
        let yaml = "# head\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n---\napiVersion: apps/v1\nkind: \
                    Deployment # the app\nmetadata:\n  labels: {app: web}\n  name: \"web\"\n---\nkind: List\nitems:\n- \
                    metadata:\n    name: in-list\n  kind: Pod\n- {kind: Pod, metadata: {name: flow}}\n";
        assert_eq!(line_of(yaml, &key("Service", "web")), Some(3));
        assert_eq!(line_of(yaml, &key("apps/Deployment", "web")), Some(8));
        assert_eq!(line_of(yaml, &key("Pod", "in-list")), Some(16));
        assert_eq!(line_of(yaml, &key("Pod", "flow")), Some(18));
        assert_eq!(line_of(yaml, &key("Pod", "none")), None);
        let json = "{\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"a\"}\n}";
        assert_eq!(line_of(json, &key("Pod", "a")), Some(2));
    }
}
