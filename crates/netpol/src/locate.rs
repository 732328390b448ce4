//! The lines of a file at which objects stand.

use rustc_hash::FxHashMap;

use crate::objects::ObjectKey;

/// Lines of the objects of one text, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Index(FxHashMap<(String, String), (bool, usize)>);

impl Index {
    /// Reads a text once; an estimate by words, for people to jump to.
    pub(crate) fn of(text: &str) -> Self {
        let mut found = Self::default();
        // Line and kind of the object at hand; its first name, where that stands before the kind.
        let mut kind: Option<(usize, &str)> = None;
        let mut pending: Option<(usize, &str)> = None;
        let mut named = false;
        // Kinds that stand deeper are of references, not of objects.
        let mut level: Option<usize> = None;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.starts_with("---") {
                (kind, pending, level) = (None, None, None);
            }
            let indent = line.len() - line.trim_start_matches([' ', '-', '\t']).len();
            for (field, value) in fields(line) {
                match field {
                    "kind" if level.is_none_or(|level| indent <= level) => {
                        level = if value.ends_with("List") { None } else { Some(indent) };
                        (kind, named) = (Some((number, value)), false);
                        if let Some((line, name)) = pending.take() {
                            found.note(value, name, line, true);
                        }
                    }
                    "name" | "generateName" => match kind {
                        Some((line, kind)) if !kind.ends_with("List") => {
                            found.note(kind, value, line, !named);
                            named = true;
                        }
                        _ => {
                            pending.get_or_insert((number, value));
                        }
                    },
                    _ => {}
                }
            }
        }
        found
    }

    /// The first name of an object is its own, as a rule; later ones are those of its parts.
    fn note(&mut self, kind: &str, name: &str, line: usize, first: bool) {
        let known = self.0.entry((kind.to_owned(), name.to_owned())).or_insert((first, line));
        if first && !known.0 {
            *known = (true, line);
        }
    }

    /// The 1-based line at which the object names its kind. None where the text does not name it.
    pub(crate) fn line(&self, key: &ObjectKey) -> Option<usize> {
        let kind = key.kind.rsplit('/').next().unwrap_or(&key.kind);
        self.0.get(&(kind.to_owned(), key.name.clone())).map(|(_, line)| *line)
    }
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
        let index = Index::of(yaml);
        assert_eq!(index.line(&key("Service", "web")), Some(3));
        assert_eq!(index.line(&key("apps/Deployment", "web")), Some(8));
        assert_eq!(index.line(&key("Pod", "in-list")), Some(16));
        assert_eq!(index.line(&key("Pod", "flow")), Some(18));
        assert_eq!(index.line(&key("Pod", "none")), None);
        let refers = "kind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec:\n  scaleTargetRef:\n    kind: Deployment\n    name: \
                      web\n---\nkind: Deployment\nmetadata: {name: web}\n";
        assert_eq!(Index::of(refers).line(&key("apps/Deployment", "web")), Some(8));
        let json = "{\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"a\"}\n}";
        assert_eq!(Index::of(json).line(&key("Pod", "a")), Some(2));
    }
}
