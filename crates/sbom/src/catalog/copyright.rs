//! Debian's names of licences (DEP 5, "License specification") as SPDX expressions.

use crate::license;

/// A statement such as `GPL-2+ or Artistic` as an SPDX expression; as it is, where a name has no identifier.
pub(super) fn spdx(statement: &str) -> String {
    let translated =
        expression(statement).filter(|text| license::is_id(text) || license::is_expression(text));
    translated.unwrap_or_else(|| statement.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `and` binds tighter than `or`, and a comma before it says that it does not (DEP 5).
fn expression(statement: &str) -> Option<String> {
    let mut text = String::new();
    let mut words = statement.split_whitespace().peekable();
    let (mut commas, mut operators) = (false, 0);
    while let Some(word) = words.next() {
        let bare = word.trim_end_matches(',');
        commas |= bare.len() < word.len();
        let operator = match bare.to_ascii_lowercase().as_str() {
            "or" => Some("OR"),
            "and" | "and/or" => Some("AND"),
            _ => None,
        };
        let part = match operator {
            Some(operator) => {
                operators += 1;
                operator.to_owned()
            }
            None => {
                let id = identifier(bare)?;
                match words.next_if(|next| next.eq_ignore_ascii_case("with")) {
                    Some(_) => {
                        let mut exception = Vec::new();
                        while let Some(next) = words.next_if(|next| {
                            !matches!(next.to_ascii_lowercase().as_str(), "or" | "and" | "and/or")
                        }) {
                            exception.push(next.trim_end_matches(',').to_ascii_lowercase());
                        }
                        format!("{id} WITH {}", exception_name(&exception.join(" "))?)
                    }
                    None => id,
                }
            }
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&part);
    }
    // The grouping that commas mean is lost here: leave such statements as they are.
    (!commas || operators < 2).then_some(text)
}

fn exception_name(words: &str) -> Option<&'static str> {
    let name = words.trim_end_matches(" exception").trim_end_matches("-exception");
    Some(match name {
        "autoconf" | "autoconf-2.0" => "Autoconf-exception-2.0",
        "autoconf-3.0" => "Autoconf-exception-3.0",
        "bison" | "bison-2.2" => "Bison-exception-2.2",
        "classpath" | "classpath-2.0" => "Classpath-exception-2.0",
        "font" => "Font-exception-2.0",
        "gcc" | "gcc-3.1" => "GCC-exception-3.1",
        "libtool" => "Libtool-exception",
        "llvm" => "LLVM-exception",
        "openssl" => "openvpn-openssl-exception",
        _ => return None,
    })
}

/// The identifier of one name: `GPL-2+`, `BSD-3-clause`, `Expat`.
fn identifier(name: &str) -> Option<String> {
    if license::is_id(name) && !name.ends_with('+') && !name.starts_with("GPL") && !name.starts_with("LGPL") {
        return Some(name.to_owned());
    }
    let lower = name.to_ascii_lowercase();
    let known = match lower.as_str() {
        "expat" | "mit" | "mit/expat" => "MIT",
        "apache-2" | "apache-2.0" | "apache2" | "apache" => "Apache-2.0",
        "artistic" | "artistic-1" => "Artistic-1.0-Perl",
        "artistic-2" | "artistic-2.0" => "Artistic-2.0",
        "bsd-2-clause" | "bsd-2" => "BSD-2-Clause",
        "bsd-3-clause" | "bsd-3" => "BSD-3-Clause",
        "bsd-4-clause" | "bsd-4" => "BSD-4-Clause",
        "bsl-1" | "bsl-1.0" | "boost-1.0" => "BSL-1.0",
        "cc0" | "cc0-1.0" => "CC0-1.0",
        "isc" => "ISC",
        "mpl-1.1" => "MPL-1.1",
        "mpl-2" | "mpl-2.0" => "MPL-2.0",
        "openssl" => "OpenSSL",
        "psf-2" | "python-2.0" => "PSF-2.0",
        "unlicense" => "Unlicense",
        "x11" => "X11",
        "zlib" => "Zlib",
        "bzip2" => "bzip2-1.0.6",
        _ => "",
    };
    if !known.is_empty() {
        return Some(known.to_owned());
    }
    // The GNU family: a number, of which `.0` may be missing, and `+` for later ones.
    let (family, number) = lower.split_once('-')?;
    if !matches!(family, "gpl" | "lgpl" | "agpl" | "gfdl") {
        return None;
    }
    let (number, later) = number.strip_suffix('+').map_or((number, false), |number| (number, true));
    let number = if number.contains('.') { number.to_owned() } else { format!("{number}.0") };
    let gfdl = matches!((family, number.as_str()), ("gfdl", number) if number.ends_with(".0"));
    let id = format!("{}-{number}-{}", family.to_ascii_uppercase(), if later { "or-later" } else { "only" });
    (!gfdl && license::is_id(&id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements() {
        for (stated, expected) in [
            ("GPL-3+", "GPL-3.0-or-later"),
            ("GPL-2", "GPL-2.0-only"),
            ("LGPL-2.1+", "LGPL-2.1-or-later"),
            ("GFDL-1.3+", "GFDL-1.3-or-later"),
            ("Expat", "MIT"),
            ("BSD-3-clause", "BSD-3-Clause"),
            ("Apache-2.0", "Apache-2.0"),
            ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
            ("GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-2.0"),
            (
                "GPL-2+ with OpenSSL exception and Expat",
                "GPL-2.0-or-later WITH openvpn-openssl-exception AND MIT",
            ),
            ("GPL-2+, and Expat", "GPL-2.0-or-later AND MIT"),
            ("GPL-2+ or Expat, and ISC", "GPL-2+ or Expat, and ISC"),
            ("public-domain", "public-domain"),
            ("permissive-fsf  or GPL-2", "permissive-fsf or GPL-2"),
            ("GPL-2+ with unheard exception", "GPL-2+ with unheard exception"),
            ("GPL-99", "GPL-99"),
        ] {
            assert_eq!(spdx(stated), expected);
        }
    }
}
