//! Text of `Name: value` lines: Debian control files, Python metadata.

/// The stanzas of a text: runs of lines between blank ones.
pub(super) fn stanzas(text: &str) -> impl Iterator<Item = Vec<(&str, String)>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        let mut fields: Vec<(&str, String)> = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim(), value.trim().to_owned()));
            }
        }
        Some(fields)
    })
}

/// The first value of a field, without regard to case; empty if there is none.
pub(super) fn first<'f>(fields: &'f [(&str, String)], name: &str) -> &'f str {
    all(fields, name).next().unwrap_or("")
}

/// Every value of a field.
pub(super) fn all<'f>(fields: &'f [(&str, String)], name: &str) -> impl Iterator<Item = &'f str> {
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_and_continuations() {
        let text = "\n\nPackage: a\nDescription: x\n y\n\tz\nnonsense\n\n \nPackage:b\n";
        let found: Vec<_> = stanzas(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(first(&found[0], "package"), "a");
        assert_eq!(first(&found[0], "Description"), "x\ny\nz");
        assert_eq!(first(&found[1], "Package"), "b");
        assert_eq!(first(&found[1], "Version"), "");
    }
}
