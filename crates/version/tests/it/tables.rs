//! Tables of comparisons: a small one for each scheme in this crate, and larger ones made with the ecosystems' own
//! tools, read where they are present beside the repository.
//!
//! A line is `A < B`, `A = B` or `A > B`, or in this crate's own tables `! A` for a text that the scheme refuses.
//! Lines that begin with `//` are comments.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use plimsoll_version::Scheme;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn symbol(order: Ordering) -> &'static str {
    match order {
        Ordering::Less => "<",
        Ordering::Equal => "=",
        Ordering::Greater => ">",
    }
}

/// All the ways in which one order can be asked for.
fn answers(scheme: Scheme, a: &str, b: &str) -> [Result<Ordering, String>; 4] {
    let parsed = |text| scheme.parse(text).map_err(|e| e.to_string());
    [
        scheme.compare(a, b).map_err(|e| e.to_string()),
        scheme.compare(b, a).map(Ordering::reverse).map_err(|e| e.to_string()),
        parsed(a).and_then(|v| v.cmp_str(b).map_err(|e| e.to_string())),
        parsed(a).and_then(|a| Ok(a.cmp_same(&parsed(b)?).expect("same scheme"))),
    ]
}

/// Checks the lines of one table; returns how many there were and what is wrong with those that failed.
fn check(scheme: Scheme, table: &str) -> (usize, Vec<String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for (number, line) in table.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        count += 1;
        if let Some(text) = line.strip_prefix("! ") {
            if scheme.parse(text).is_ok() {
                wrong.push(format!("{}: {text}: accepted", number + 1));
            }
            continue;
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[a, expected, b] = fields.as_slice() else {
            panic!("{scheme}:{}: not a comparison: {line}", number + 1);
        };
        for answer in answers(scheme, a, b) {
            if answer.as_ref().map(|o| symbol(*o)) != Ok(expected) {
                wrong.push(format!("{}: {line}: got {answer:?}", number + 1));
                break;
            }
        }
    }
    (count, wrong)
}

#[test]
fn own_tables_hold() {
    for scheme in Scheme::ALL {
        let path = here().join("tests/tables").join(format!("{scheme}.txt"));
        let table = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let (count, wrong) = check(scheme, &table);
        assert!(count >= 5, "{scheme}: only {count} lines");
        assert!(wrong.is_empty(), "{scheme}:\n{}", wrong.join("\n"));
    }
}

/// The directory of the larger tables, if this checkout has one beside it.
fn shared() -> Option<PathBuf> {
    let path = here().join("../../../shared/versions");
    path.is_dir().then_some(path)
}

fn scheme_of(file: &str) -> Option<Scheme> {
    let name = file.strip_suffix(".txt")?;
    let name = name.strip_suffix("-generated").unwrap_or(name);
    match name.strip_suffix("-versions")? {
        "alpine" => Some(Scheme::Apk),
        "debian" => Some(Scheme::Dpkg),
        "redhat" => Some(Scheme::Rpm),
        other => other.parse().ok(),
    }
}

#[test]
fn tables_of_the_ecosystems_own_tools_hold() {
    let Some(directory) = shared() else {
        return;
    };
    let (mut total, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(scheme) = scheme_of(&file) else {
            continue;
        };
        let (count, wrong) = check(scheme, &std::fs::read_to_string(&path).unwrap());
        total += count;
        failures.extend(wrong.into_iter().map(|line| format!("{file}:{line}")));
    }
    assert!(total > 10_000, "only {total} lines");
    assert!(failures.is_empty(), "{} wrong:\n{}", failures.len(), failures.join("\n"));
}

/// npm and Hex read what is plain Semantic Versioning as `semver` does.
#[test]
fn the_semver_table_holds_for_npm_and_hex() {
    let Some(directory) = shared() else {
        return;
    };
    let table = std::fs::read_to_string(directory.join("semver-versions.txt")).unwrap();
    for scheme in [Scheme::Npm, Scheme::Hex, Scheme::Go] {
        let plain: Vec<&str> = table
            .lines()
            .filter(|line| !line.starts_with("99999") && !line.starts_with("1.1.3.4.5"))
            .collect();
        let (count, wrong) = check(scheme, &plain.join("\n"));
        assert!(count > 30);
        assert!(wrong.is_empty(), "{scheme}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let error = Scheme::Semver.compare("1.0.0", "2.0.x").unwrap_err();
    assert_eq!(error.to_string(), "invalid semver version \"2.0.x\": expected a number");
    assert_eq!(error.code(), "invalid_version");
    let error = "debian".parse::<Scheme>().unwrap_err();
    assert!(error.to_string().starts_with("unknown version scheme \"debian\", expected one of dpkg, rpm"));
}

#[test]
fn limits_hold_for_every_scheme() {
    for scheme in Scheme::ALL {
        let longest = "1".repeat(1024);
        let long = "1".repeat(1025);
        let wide = "é".repeat(600);
        let error = scheme.parse(&long).unwrap_err();
        assert_eq!(error.reason, "longer than 1024 bytes", "{scheme}");
        assert_eq!(error.version.len(), 128);
        assert!(scheme.parse(&wide).is_err());
        if !matches!(scheme, Scheme::Npm | Scheme::Pypi) {
            assert_eq!(scheme.compare(&longest, "2").unwrap(), Ordering::Greater, "{scheme}");
        }
        for text in ["", "  ", "1 2", "1\u{0}2", "1\u{a0}2", "1\n2"] {
            assert!(scheme.parse(text).is_err(), "{scheme} {text:?}");
            assert!(scheme.compare(text, "1").is_err(), "{scheme} {text:?}");
        }
        assert_eq!(scheme.compare(" 1.0.0\n", "1.0.0"), Ok(Ordering::Equal), "{scheme}");
    }
}

#[test]
fn versions_of_two_schemes_are_not_ordered() {
    let (a, b) = (Scheme::Npm.parse("1.0.0").unwrap(), Scheme::Hex.parse("1.0.0").unwrap());
    assert_eq!(a.cmp_same(&b), None);
    assert_ne!(a, b);
    assert_eq!(a, Scheme::Npm.parse("v1.0").unwrap());
    assert!(a < Scheme::Npm.parse("1.0.1").unwrap());
}

/// Every level of Maven's nesting and every separator at the length limit.
#[test]
fn deep_versions_compare_in_bounded_stack() {
    for unit in ["1-", "a1", ".", "-", "1.a-", "0.", "1a"] {
        let text = unit.repeat(1024 / unit.len());
        for scheme in Scheme::ALL {
            if let Ok(version) = scheme.parse(&text) {
                assert_eq!(version.cmp_str(&text).unwrap(), Ordering::Equal);
                let _ = version.cmp_str("1.0");
                let _ = version.cmp_str(text.get(..1000).unwrap());
            }
        }
    }
}
