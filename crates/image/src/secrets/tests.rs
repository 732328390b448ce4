use proptest::prelude::*;

use super::*;

/// Rules and lines of what is found in a file that arrives in pieces of one size.
fn scan_in(path: &str, bytes: &[u8], piece: usize) -> Vec<(String, u64)> {
    let mut scanner = Scanner::default();
    // What an earlier file leaves must not show.
    scanner.begin("before");
    scanner.feed(b"ghp_");
    scanner.end();
    scanner.begin(path);
    for part in bytes.chunks(piece.max(1)) {
        scanner.feed(part);
    }
    let Some(found) = scanner.end() else { return Vec::new() };
    let found: Vec<serde_json::Value> = serde_json::from_slice(&found).unwrap();
    found
        .iter()
        .map(|one| (one["rule"].as_str().unwrap().to_owned(), one["line"].as_u64().unwrap()))
        .collect()
}

fn scan(path: &str, text: &str) -> Vec<(String, u64)> {
    scan_in(path, text.as_bytes(), usize::MAX)
}

/// A token's end, made here: nothing in this file is to be found by a scanner.
fn random(length: usize) -> String {
    let alphabet = b"q7Xz2Vb9Kd4Ts1Ym8Rw3Jn6Lf5HcGpQa0ZeUoNi";
    (0..length).map(|n| char::from(alphabet[(n * n * 7 + n * 11) % alphabet.len()])).collect()
}

fn key(label: &str) -> String {
    let body: Vec<String> = (0..6).map(|_| random(64)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.join("\n"))
}

fn upper(length: usize) -> String {
    random(length).to_ascii_uppercase().replace(['0', '1', '8', '9'], "B")
}

#[test]
fn each_kind() {
    let r = random;
    for (path, text, rule) in [
        ("a", key("RSA PRIVATE KEY"), "private-key"),
        ("a", key("PRIVATE KEY"), "private-key"),
        ("etc/ssh/ssh_host_ed25519_key", key("OPENSSH PRIVATE KEY"), "private-key"),
        ("a", key("PGP PRIVATE KEY BLOCK").replacen("\n", "\nVersion: GnuPG v2\n\n", 1), "private-key"),
        ("a", key("RSA PRIVATE KEY").replacen("\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1), "private-key"),
        (
            "sa.json",
            format!("{{\"private_key\": \"{}\"}}", key("PRIVATE KEY").replace('\n', "\\n")),
            "private-key",
        ),
        ("a", format!("id = AKIA{}", upper(16)), "aws-access-key-id"),
        ("a", format!("aws_secret_access_key = {}", r(40)), "aws-secret-access-key"),
        ("a", format!("AWS_SECRET_ACCESS_KEY=\"{}\"", r(40)), "aws-secret-access-key"),
        ("a", format!("x;AccountKey={}==;y", r(86)), "azure-storage-key"),
        ("a", format!("client_secret: abc8Q~{}", r(34)), "azure-client-secret"),
        ("a", format!("AIza{}", r(35)), "gcp-api-key"),
        ("a", format!("token: ghp_{}", r(36)), "github-token"),
        ("a", format!("github_pat_{}", r(82)), "github-token"),
        ("a", format!("glpat-{}", r(20)), "gitlab-token"),
        ("a", format!("xoxb-{}", r(40)), "slack-token"),
        (
            "a",
            format!("https://hooks.slack.com/services/T{}/B{}/{}", upper(9), upper(9), r(24)),
            "slack-webhook",
        ),
        ("a", format!("sk_live_{}", r(24)), "stripe-key"),
        ("a", format!("npm_{}", r(36)), "npm-token"),
        ("a", format!("pypi-AgEIcHlwaS5vcmc{}", r(100)), "pypi-token"),
        ("root/.npmrc", format!("//r.example.com/:_auth={}", r(20)), "npm-credentials"),
        ("root/.pypirc", format!("[pypi]\npassword = {}", r(9)), "pypi-credentials"),
        ("etc/pip.conf", format!("index-url = https://me:{}@pypi.corp/simple", r(9)), "pip-credentials"),
        ("root/.netrc", format!("machine a.corp login me password {}", r(9)), "netrc-credentials"),
        ("root/.git-credentials", format!("https://me:{}@git.corp", r(9)), "git-credentials"),
        (
            "root/.docker/config.json",
            format!("{{\"auths\":{{\"h\":{{\"auth\":\"{}\"}}}}}}", r(24)),
            "docker-credentials",
        ),
    ] {
        let found = scan(path, &text);
        assert_eq!(found.iter().map(|(rule, _)| rule.as_str()).collect::<Vec<_>>(), [rule], "{path}: {text}");
        // The note says nothing of the secret.
        let mut scanner = Scanner::default();
        scanner.begin(path);
        scanner.feed(text.as_bytes());
        let note = String::from_utf8(scanner.end().unwrap()).unwrap();
        for at in 0..text.len().saturating_sub(8) {
            let Some(piece) = text.get(at..at + 8) else { continue };
            let secret = piece.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && random(2_000).contains(piece.trim_end_matches('='));
            assert!(!secret || !note.contains(piece), "{piece} of {rule} is in {note}");
        }
    }
}

#[test]
fn what_is_no_secret() {
    let r = random;
    for (path, text) in [
        ("a", "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        ("a", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        ("a", "if text.startswith('-----BEGIN PRIVATE KEY-----') then".to_owned()),
        ("a", "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----".to_owned()),
        ("a", key("PUBLIC KEY")),
        ("a", key("CERTIFICATE")),
        ("usr/lib/python3.11/test/keycert.pem", key("PRIVATE KEY")),
        ("a", format!("ghp_{}", "x".repeat(36))),
        ("a", format!("ghp_{}", "a".repeat(36))),
        ("a", format!("abcghp_{}", r(36))),
        ("a", format!("npm_{}", r(37))),
        ("a", format!("npm_{}", r(35))),
        ("a", "npm_config_registry=https://registry.example.org/".to_owned()),
        ("root/.npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}".to_owned()),
        ("root/.npmrc", "# _authToken=abcdefg".to_owned()),
        ("etc/pip.conf", "index-url = https://packages.example.org/simple".to_owned()),
        ("etc/pip.conf", "index-url = https://me:${PASSWORD}@pypi.corp/simple".to_owned()),
        ("root/.docker/config.json", "{\"auths\":{\"h\":{}},\"credsStore\":\"x\"}".to_owned()),
        ("root/.docker/config.json", "{".to_owned()),
        ("root/.netrc", "password lonely".to_owned()),
    ] {
        assert_eq!(scan(path, &text), [], "{path}: {text}");
    }
}

#[test]
fn files_that_are_no_text_are_looked_at_for_keys_alone() {
    let mut bytes = vec![0_u8; 10_000];
    bytes.extend(format!("ghp_{} ", random(36)).bytes());
    bytes.extend(key("EC PRIVATE KEY").bytes());
    bytes.resize(30_000, 0);
    assert_eq!(scan_in("a", &bytes, 4_096), [("private-key".to_owned(), 0)]);
    let program =
        [b"\x7fELF\0-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0".as_slice(), &bytes[..10_000]];
    assert_eq!(scan_in("a", &program.concat(), 100), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However a file arrives, the same is found, at the same lines.
    #[test]
    fn pieces_do_not_matter(gaps in proptest::collection::vec(0_usize..9_000, 1..8), piece in 1_usize..20_000) {
        let mut text = String::new();
        let mut expected = Vec::new();
        for (n, gap) in gaps.iter().enumerate() {
            text.extend(std::iter::repeat_n("filler of a line\n", gap / 17));
            text.push_str(&"f".repeat(gap % 17));
            text.push(' ');
            let line = u64::try_from(text.matches('\n').count()).unwrap() + 1;
            let rule = match n % 3 {
                0 => { text.push_str(&format!("ghp_{}", random(36))); "github-token" }
                1 => { text.push_str(&key("PRIVATE KEY")); "private-key" }
                _ => { text.push_str(&format!("aws_secret_access_key={}", random(40))); "aws-secret-access-key" }
            };
            text.push('\n');
            expected.push((rule.to_owned(), line));
        }
        expected.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        prop_assert_eq!(scan_in("a", text.as_bytes(), piece), expected);
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), piece in 1_usize..9_000, text in 0_usize..30, path in "(root/)?(\\.npmrc|\\.netrc|a|\\.docker/config\\.json)") {
        let mut bytes = bytes;
        let at = bytes.len() / 2;
        let word = RULES[text % RULES.len()].text.as_bytes();
        bytes.splice(at..at, word.iter().copied());
        scan_in(&path, &bytes, piece);
    }
}
