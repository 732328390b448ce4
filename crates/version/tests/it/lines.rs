//! The line protocol.

use plimsoll_version::{LinesSummary, Scheme, compare_lines};

fn run(scheme: Scheme, input: &[u8]) -> (String, LinesSummary) {
    let mut out = Vec::new();
    let summary = compare_lines(scheme, input, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), summary)
}

#[test]
fn each_line_has_one_answer() {
    let (out, summary) = run(Scheme::Dpkg, b"1.0 1.1\n2:1\t1:9\r\n1.0-0 1.0\n1\n\n1 2 3\n1- 1\n\xff 1\n1 2");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "<",
            ">",
            "=",
            "! expected two versions",
            "! expected two versions",
            "! expected two versions",
            "! invalid dpkg version \"1-\": revision is empty",
            "! line is not UTF-8",
            "<",
        ]
    );
    assert_eq!(summary, LinesSummary { lines: 9, invalid: 5 });
}

#[test]
fn a_long_line_is_one_invalid_line() {
    let mut input = vec![b'1'; 1 << 20];
    input.extend_from_slice(b" 2\n1 2\n");
    let (out, summary) = run(Scheme::Semver, &input);
    assert_eq!(out, "! line too long\n<\n");
    assert_eq!(summary, LinesSummary { lines: 2, invalid: 1 });
    let (out, _) = run(Scheme::Semver, &vec![b'1'; 1 << 20]);
    assert_eq!(out, "! line too long\n");
    assert_eq!(run(Scheme::Semver, b"").1, LinesSummary::default());
}

#[test]
fn two_versions_of_the_greatest_length_fit_a_line() {
    let input = format!("{} {}\n", "1".repeat(1024), "2".repeat(1024));
    assert_eq!(run(Scheme::Hackage, input.as_bytes()).0, "<\n");
}
