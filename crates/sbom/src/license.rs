//! Licence statements: which are SPDX identifiers or expressions.

/// Identifiers of the SPDX licence list, one a line, sorted.
const IDS: &str = include_str!("spdx-ids.txt");

/// Longest statement that is kept: some packages state the whole text.
const MAX_STATEMENT: usize = 200;

/// A statement worth keeping: one line, not a placeholder, not a licence's full text.
pub(crate) fn stated(text: &str) -> Option<String> {
    let text = text.trim();
    let placeholder = matches!(text.to_ascii_lowercase().as_str(), "" | "unknown" | "none" | "unlicensed");
    if placeholder || text.len() > MAX_STATEMENT || text.contains('\n') {
        return None;
    }
    Some(text.to_owned())
}

/// True for an identifier of the SPDX licence list (exact case).
pub(crate) fn is_id(text: &str) -> bool {
    // The list has some 700 lines: a search over its bytes, from the line that the middle of the range is in.
    let (mut low, mut high) = (0, IDS.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = IDS.get(..middle).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
        let end = IDS.get(middle..).and_then(|tail| tail.find('\n')).map_or(IDS.len(), |at| middle + at);
        let Some(line) = IDS.get(start..end) else { return false };
        match line.cmp(text) {
            std::cmp::Ordering::Equal => return !text.is_empty(),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

/// True for a compound SPDX expression (`A OR B`, `A WITH exception`, parentheses) of known identifiers.
pub(crate) fn is_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut depth = 0usize;
    let mut operand = true; // what is expected next
    let mut operators = 0;
    let mut words = spaced.split_whitespace();
    while let Some(word) = words.next() {
        match (operand, word) {
            (true, "(") => depth += 1,
            (false, ")") if depth > 0 => depth -= 1,
            (false, "AND" | "OR") => (operand, operators) = (true, operators + 1),
            (false, "WITH") => {
                operators += 1;
                let exception = words.next().unwrap_or("");
                if exception.is_empty()
                    || !exception.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
                {
                    return false;
                }
            }
            (true, id) => {
                if !is_id(id.strip_suffix('+').unwrap_or(id)) && !id.starts_with("LicenseRef-") {
                    return false;
                }
                operand = false;
            }
            _ => return false,
        }
    }
    depth == 0 && !operand && operators > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_every_line_is_found() {
        let lines: Vec<&str> = IDS.lines().collect();
        assert!(lines.len() > 500);
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
        for line in lines {
            assert!(is_id(line), "{line}");
            assert!(!is_id(&format!("{line}x")) || IDS.contains(&format!("\n{line}x\n")), "{line}x");
        }
        assert!(!is_id("") && !is_id("mit") && !is_id("zzz") && !is_id("!") && !is_id("MIT\nMIT-0"));
    }

    #[test]
    fn expressions() {
        for text in [
            "MIT OR Apache-2.0",
            "(MIT AND BSD-3-Clause)",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
            "(MIT OR (GPL-2.0+ AND LicenseRef-x))",
        ] {
            assert!(is_expression(text), "{text}");
        }
        for text in [
            "MIT",
            "",
            "MIT OR",
            "OR MIT",
            "(MIT OR Apache-2.0",
            "MIT Apache-2.0",
            "MIT OR nonsense",
            "MIT)",
            "BSD License",
        ] {
            assert!(!is_expression(text), "{text}");
        }
    }
}
