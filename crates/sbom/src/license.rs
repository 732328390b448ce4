//! Licence statements: which are SPDX identifiers or expressions.

/// Identifiers of the SPDX licence list, one a line, sorted.
const IDS: &str = include_str!("spdx-ids.txt");

/// Longest statement that is kept: some packages state the whole text.
const MAX_STATEMENT: usize = 200;

/// A statement worth keeping: one line, not a placeholder, not a licence's full text. Names that everybody uses
/// become SPDX identifiers, statements of several such names SPDX expressions; others stay as they are.
pub(crate) fn stated(text: &str) -> Option<String> {
    let text = text.trim();
    let placeholder = matches!(text.to_ascii_lowercase().as_str(), "" | "unknown" | "none" | "unlicensed");
    if placeholder || text.len() > MAX_STATEMENT || text.contains('\n') {
        return None;
    }
    Some(spdx(text).unwrap_or_else(|| text.to_owned()))
}

/// The SPDX identifier or expression that a statement means, if every part of it is known.
fn spdx(text: &str) -> Option<String> {
    if is_id(text) || is_expression(text) {
        return None; // as it is
    }
    if let Some(id) = known(text) {
        return Some(id.to_owned());
    }
    // `GPLv2+ and (MIT or BSD-3)`: rpm's old way, operators in small letters.
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut expression, mut name) = (String::new(), String::new());
    let mut operators = 0;
    for word in spaced.split_whitespace().chain([""]) {
        let operator = match word {
            "and" | "AND" | "&" => " AND ",
            "or" | "OR" | "|" | "||" => " OR ",
            "(" | ")" | "" => word,
            _ => {
                if !name.is_empty() {
                    name.push(' ');
                }
                name.push_str(word);
                continue;
            }
        };
        if !name.is_empty() {
            let plain = name.as_str();
            expression.push_str(if is_id(plain) { plain } else { known(plain)? });
            name.clear();
        }
        operators += usize::from(operator.len() > 1);
        expression.push_str(operator);
    }
    (operators > 0 && is_expression(&expression)).then_some(expression)
}

/// Words, with which licences are named and which say nothing, aside, and how the licence is called then.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    ("0bsd", "0BSD"),
    ("agpl 3", "AGPL-3.0-only"), ("agpl 3 or later", "AGPL-3.0-or-later"), ("agpl 3+", "AGPL-3.0-or-later"), ("agplv3", "AGPL-3.0-only"), ("agplv3+", "AGPL-3.0-or-later"),
    ("apache 2", "Apache-2.0"), ("apache 2.0", "Apache-2.0"), ("apache software 2", "Apache-2.0"), ("apache software 2.0", "Apache-2.0"), ("asf 2.0", "Apache-2.0"), ("asl 2.0", "Apache-2.0"), ("al 2.0", "Apache-2.0"),
    ("apache.org/licenses/license-2.0", "Apache-2.0"), ("apache.org/licenses/license-2.0.txt", "Apache-2.0"), ("apache.org/licenses/license-2.0.html", "Apache-2.0"), ("opensource.org/licenses/apache-2.0", "Apache-2.0"), ("opensource.org/licenses/apache2.0.php", "Apache-2.0"),
    ("artistic 2.0", "Artistic-2.0"), ("artistic2", "Artistic-2.0"),
    ("asl 1.1", "Apache-1.1"),
    ("boost", "BSL-1.0"), ("boost software 1.0", "BSL-1.0"),
    ("bsd 2 clause", "BSD-2-Clause"), ("bsd 2", "BSD-2-Clause"), ("bsd2", "BSD-2-Clause"), ("simplified bsd", "BSD-2-Clause"), ("freebsd", "BSD-2-Clause"), ("2 clause bsd", "BSD-2-Clause"), ("bsd 2 clause \"simplified\"", "BSD-2-Clause"),
    ("bsd 3 clause", "BSD-3-Clause"), ("bsd 3", "BSD-3-Clause"), ("bsd3", "BSD-3-Clause"), ("new bsd", "BSD-3-Clause"), ("revised bsd", "BSD-3-Clause"), ("modified bsd", "BSD-3-Clause"), ("3 clause bsd", "BSD-3-Clause"), ("opensource.org/licenses/bsd-3-clause", "BSD-3-Clause"), ("bsd new", "BSD-3-Clause"),
    ("bsd 4 clause", "BSD-4-Clause"),
    ("cc0", "CC0-1.0"), ("cc0 1.0", "CC0-1.0"), ("cc0 1.0 universal", "CC0-1.0"), ("cc0 1.0 universal public domain dedication", "CC0-1.0"),
    ("cddl 1.0", "CDDL-1.0"), ("cddl 1.1", "CDDL-1.1"), ("cddl+gpl 1.1", "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"),
    ("common development and distribution cddl 1.0", "CDDL-1.0"),
    ("cpl 1.0", "CPL-1.0"), ("common public 1.0", "CPL-1.0"),
    ("eclipse distribution 1.0", "BSD-3-Clause"), ("edl 1.0", "BSD-3-Clause"), ("eclipse.org/org/documents/edl-v10.php", "BSD-3-Clause"),
    ("eclipse public 1.0", "EPL-1.0"), ("epl 1.0", "EPL-1.0"), ("eclipse public 2.0", "EPL-2.0"), ("epl 2.0", "EPL-2.0"), ("eclipse.org/legal/epl-v10.html", "EPL-1.0"), ("eclipse.org/legal/epl-v20.html", "EPL-2.0"), ("eclipse.org/legal/epl-2.0", "EPL-2.0"),
    ("expat", "MIT"), ("mit", "MIT"), ("mit mit", "MIT"), ("mit/x11", "MIT"), ("opensource.org/licenses/mit", "MIT"), ("opensource.org/licenses/mit-license.php", "MIT"), ("x11", "X11"),
    ("gpl 1", "GPL-1.0-only"), ("gpl 1+", "GPL-1.0-or-later"), ("gpl+", "GPL-1.0-or-later"),
    ("gpl 2", "GPL-2.0-only"), ("gplv2", "GPL-2.0-only"), ("gpl v2", "GPL-2.0-only"), ("gpl2", "GPL-2.0-only"), ("gpl 2.0", "GPL-2.0-only"), ("gnu general public v2 gplv2", "GPL-2.0-only"), ("gnu general public 2", "GPL-2.0-only"), ("gnu gpl 2", "GPL-2.0-only"),
    ("gpl 2+", "GPL-2.0-or-later"), ("gpl 2.0+", "GPL-2.0-or-later"), ("gplv2+", "GPL-2.0-or-later"), ("gplv2 or later", "GPL-2.0-or-later"), ("gpl v2 or later", "GPL-2.0-or-later"), ("gpl2+", "GPL-2.0-or-later"), ("gpl 2 or later", "GPL-2.0-or-later"), ("gnu general public v2 or later gplv2+", "GPL-2.0-or-later"),
    ("gpl 3", "GPL-3.0-only"), ("gplv3", "GPL-3.0-only"), ("gpl v3", "GPL-3.0-only"), ("gpl3", "GPL-3.0-only"), ("gpl 3.0", "GPL-3.0-only"), ("gnu general public v3 gplv3", "GPL-3.0-only"), ("gnu gpl 3", "GPL-3.0-only"), ("gnu gplv3", "GPL-3.0-only"),
    ("gpl 3+", "GPL-3.0-or-later"), ("gpl 3.0+", "GPL-3.0-or-later"), ("gplv3+", "GPL-3.0-or-later"), ("gplv3 or later", "GPL-3.0-or-later"), ("gpl3+", "GPL-3.0-or-later"), ("gpl 3 or later", "GPL-3.0-or-later"), ("gnu general public v3 or later gplv3+", "GPL-3.0-or-later"),
    ("gpl >= 2", "GPL-2.0-or-later"), ("gpl >= 2.0", "GPL-2.0-or-later"), ("gpl >= 3", "GPL-3.0-or-later"), ("lgpl >= 2", "LGPL-2.0-or-later"), ("lgpl >= 2.1", "LGPL-2.1-or-later"), ("lgpl >= 3", "LGPL-3.0-or-later"), ("mit + file", "MIT"),
    ("isc", "ISC"), ("isc iscl", "ISC"), ("iscl", "ISC"),
    ("lgpl 2", "LGPL-2.0-only"), ("lgpl 2+", "LGPL-2.0-or-later"), ("lgplv2", "LGPL-2.0-only"), ("lgplv2+", "LGPL-2.0-or-later"), ("gnu lesser general public v2 or later lgplv2+", "LGPL-2.0-or-later"), ("gnu library or lesser general public lgpl", "LGPL-2.0-or-later"),
    ("lgpl 2.1", "LGPL-2.1-only"), ("lgpl2.1", "LGPL-2.1-only"), ("lgplv2.1", "LGPL-2.1-only"), ("gnu lesser general public 2.1", "LGPL-2.1-only"), ("lgpl 2.1+", "LGPL-2.1-or-later"), ("lgpl2.1+", "LGPL-2.1-or-later"), ("lgplv2.1+", "LGPL-2.1-or-later"),
    ("lgpl 3", "LGPL-3.0-only"), ("lgplv3", "LGPL-3.0-only"), ("lgpl 3+", "LGPL-3.0-or-later"), ("lgplv3+", "LGPL-3.0-or-later"), ("gnu lesser general public v3 lgplv3", "LGPL-3.0-only"), ("gnu lesser general public v3 or later lgplv3+", "LGPL-3.0-or-later"),
    ("mpl 1.1", "MPL-1.1"), ("mplv1.1", "MPL-1.1"), ("mozilla public 1.1 mpl 1.1", "MPL-1.1"), ("mpl 2.0", "MPL-2.0"), ("mplv2.0", "MPL-2.0"), ("mozilla public 2.0", "MPL-2.0"), ("mozilla public 2.0 mpl 2.0", "MPL-2.0"),
    ("postgresql", "PostgreSQL"), ("openssl", "OpenSSL"), ("ruby", "Ruby"), ("zlib", "Zlib"), ("zlib/libpng", "Zlib"), ("unlicense", "Unlicense"), ("unlicense unlicense", "Unlicense"), ("wtfpl", "WTFPL"), ("blueoak 1.0.0", "BlueOak-1.0.0"),
    ("psf", "PSF-2.0"), ("psf 2", "PSF-2.0"), ("python software foundation", "PSF-2.0"), ("psfl", "PSF-2.0"), ("python 2.0", "Python-2.0"),
    ("zpl 2.1", "ZPL-2.1"), ("zpl 2.0", "ZPL-2.0"), ("sleepycat", "Sleepycat"), ("vim", "Vim"), ("curl", "curl"), ("ncsa", "NCSA"), ("tcl", "TCL"), ("bsl 1.0", "BSL-1.0"),
    ("universal permissive 1.0", "UPL-1.0"), ("upl 1.0", "UPL-1.0"),
];

/// The identifier of a licence that is called by one of the names of [`NAMES`].
fn known(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let address = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let name = match address {
        Some(address) => address.trim_start_matches("www.").trim_end_matches('/').to_owned(),
        None => {
            let separated = lower.replace("version", " ").replace(['-', ',', ';', ':', '(', ')', '_'], " ");
            let mut words = Vec::new();
            for word in separated.split_whitespace() {
                let word = match word {
                    "v2.0" => "2.0",
                    "v1.0" => "1.0",
                    "v1.1" => "1.1",
                    word => word.trim_end_matches('.'),
                };
                if !matches!(word, "the" | "license" | "licence" | "licensed" | "under" | "v" | "v." | "") {
                    words.push(word);
                }
            }
            words.join(" ")
        }
    };
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, id)| *id)
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
    fn statements_become_expressions() {
        for (_, id) in NAMES {
            assert!(is_id(id) || is_expression(id), "{id}");
        }
        for (text, expected) in [
            ("MIT", "MIT"),
            ("MIT License", "MIT"),
            ("The MIT License (MIT)", "MIT"),
            ("Expat", "MIT"),
            ("Apache License, Version 2.0", "Apache-2.0"),
            ("The Apache Software License, Version 2.0", "Apache-2.0"),
            ("http://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"),
            ("Apache-2", "Apache-2.0"),
            ("GPL-2+", "GPL-2.0-or-later"),
            ("GPLv2+ and (MIT or BSD-3)", "GPL-2.0-or-later AND (MIT OR BSD-3-Clause)"),
            ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
            ("ASL 2.0 and LGPLv2+", "Apache-2.0 AND LGPL-2.0-or-later"),
            ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
            ("BSD-3-clause", "BSD-3-Clause"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("GPL (>= 2)", "GPL-2.0-or-later"),
            ("MIT + file LICENSE", "MIT"),
            ("BSD License", "BSD License"),
            ("MIT and something of our own", "MIT and something of our own"),
            ("GPL", "GPL"),
            ("(MIT or", "(MIT or"),
        ] {
            assert_eq!(stated(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(stated("Unknown"), None);
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
