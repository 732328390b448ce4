//! What a secret looks like, by the fixed text that it begins with.

/// The beginning of every PEM block.
pub(super) const KEY: &[u8] = b"-----BEGIN ";
/// Index of the rule of private keys.
pub(super) const PRIVATE_KEY: usize = 0;

/// How the characters after a rule's text are judged.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A PEM block with a private key.
    Pem,
    /// So many characters of an alphabet, directly after the text; the whole, text included, is the secret.
    Token { least: usize, most: usize, alphabet: fn(u8) -> bool },
    /// After the text: quotes, spaces and `=` or `:`, then a value of this length.
    Value { least: usize, most: usize, alphabet: fn(u8) -> bool },
    /// Three characters before the text, and so many after it.
    Middle { least: usize, most: usize, alphabet: fn(u8) -> bool },
    /// The path of a Slack webhook.
    Webhook,
}

/// One kind of secret.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) text: &'static str,
    shape: Shape,
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte)
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn azure(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~')
}

const fn token(id: &'static str, text: &'static str, least: usize, most: usize) -> Rule {
    Rule { id, text, shape: Shape::Token { least, most, alphabet: alphanumeric } }
}

const fn words(id: &'static str, text: &'static str, least: usize, most: usize) -> Rule {
    Rule { id, text, shape: Shape::Token { least, most, alphabet: word } }
}

const fn aws(text: &'static str) -> Rule {
    Rule { id: "aws-access-key-id", text, shape: Shape::Token { least: 16, most: 16, alphabet: upper } }
}

const fn value(id: &'static str, text: &'static str, length: usize) -> Rule {
    Rule { id, text, shape: Shape::Value { least: length, most: length, alphabet: base64 } }
}

/// Every rule. Lengths are those that the issuers document, or that their tokens have had.
pub(super) const RULES: &[Rule] = &[
    Rule { id: "private-key", text: "-----BEGIN ", shape: Shape::Pem },
    aws("AKIA"),
    aws("ASIA"),
    value("aws-secret-access-key", "aws_secret_access_key", 40),
    value("aws-secret-access-key", "AWS_SECRET_ACCESS_KEY", 40),
    value("aws-secret-access-key", "SecretAccessKey", 40),
    value("azure-storage-key", "AccountKey", 88),
    value("azure-shared-access-key", "SharedAccessKey", 44),
    Rule {
        id: "azure-client-secret",
        text: "8Q~",
        shape: Shape::Middle { least: 34, most: 34, alphabet: azure },
    },
    words("gcp-api-key", "AIza", 35, 35),
    token("github-token", "ghp_", 36, 255),
    token("github-token", "gho_", 36, 255),
    token("github-token", "ghu_", 36, 255),
    token("github-token", "ghs_", 36, 255),
    token("github-token", "ghr_", 36, 255),
    words("github-token", "github_pat_", 82, 82),
    words("gitlab-token", "glpat-", 20, 300),
    words("gitlab-token", "gldt-", 20, 300),
    words("gitlab-token", "glrt-", 20, 300),
    words("slack-token", "xoxb-", 24, 255),
    words("slack-token", "xoxp-", 24, 255),
    words("slack-token", "xoxa-", 24, 255),
    words("slack-token", "xoxr-", 24, 255),
    words("slack-token", "xoxs-", 24, 255),
    Rule { id: "slack-webhook", text: "hooks.slack.com/services/", shape: Shape::Webhook },
    token("stripe-key", "sk_live_", 24, 255),
    token("stripe-key", "rk_live_", 24, 255),
    token("npm-token", "npm_", 36, 36),
    words("pypi-token", "pypi-AgEIcHlwaS5vcmc", 50, 1_000),
    words("docker-token", "dckr_pat_", 27, 27),
];

impl Rule {
    pub(super) fn is_key(&self) -> bool {
        matches!(self.shape, Shape::Pem)
    }

    /// The excerpt for a secret whose text begins `rest`; `None` if it is none. `start` is what stands before it in
    /// memory, `before` the byte before it.
    pub(super) fn judge(&self, start: &[u8], before: Option<u8>, rest: &[u8]) -> Option<String> {
        let after = rest.get(self.text.len()..)?;
        match self.shape {
            Shape::Pem => pem(after),
            Shape::Token { least, most, alphabet } => {
                // In the middle of a longer word it is no token; base64 data has everything somewhere.
                if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+')) {
                    return None;
                }
                let token = run(after, most, alphabet)?;
                (token.len() >= least && plausible(token)).then(|| format!("{}****", self.text))
            }
            Shape::Value { least, most, alphabet } => {
                let value = after_sign(after)?;
                let value = run(value, most, alphabet)?;
                (value.len() >= least && plausible(value)).then(|| format!("{}=****", self.text))
            }
            Shape::Middle { least, most, alphabet } => {
                let three = start.get(start.len().checked_sub(3)?..)?;
                let outside = start.len().checked_sub(4).and_then(|at| start.get(at));
                if !three.iter().all(|byte| alphabet(*byte)) || outside.is_some_and(|byte| alphabet(*byte)) {
                    return None;
                }
                let rest = run(after, most, alphabet)?;
                (rest.len() >= least && plausible(rest)).then(|| format!("***{}****", self.text))
            }
            Shape::Webhook => {
                let path = after.split(|byte| !word(*byte) && *byte != b'/').next()?;
                let mut parts = path.split(|byte| *byte == b'/');
                let (team, hook, secret) = (parts.next()?, parts.next()?, parts.next()?);
                let id = |part: &[u8], first| part.len() >= 8 && part.first() == Some(&first);
                (id(team, b'T') && id(hook, b'B') && secret.len() >= 20 && plausible(secret))
                    .then(|| format!("{}****", self.text))
            }
        }
    }
}

/// The characters of the alphabet at the beginning, if no more of them follow than may.
fn run(bytes: &[u8], most: usize, alphabet: fn(u8) -> bool) -> Option<&[u8]> {
    let length = bytes.iter().take(most + 1).take_while(|byte| alphabet(**byte)).count();
    bytes.get(..length).filter(|_| length <= most)
}

/// What follows `=` or `:`, with quotes and spaces around.
fn after_sign(bytes: &[u8]) -> Option<&[u8]> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'\\');
    let skip = |bytes: &[u8]| bytes.iter().take(8).take_while(|byte| blank(byte)).count();
    let bytes = bytes.get(skip(bytes)..)?;
    let bytes = bytes.strip_prefix(b"=").or_else(|| bytes.strip_prefix(b":"))?;
    bytes.get(skip(bytes)..)
}

/// A PEM block (RFC 7468; RFC 4716 and OpenSSH's form) of a private key, with content: the words alone stand in every
/// program that reads keys.
fn pem(after: &[u8]) -> Option<String> {
    let end = memchr::memmem::find(after.get(..64).unwrap_or(after), b"-----")?;
    let label = std::str::from_utf8(after.get(..end)?).ok()?;
    let pgp = label == "PGP PRIVATE KEY BLOCK";
    let known = ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "];
    let plain = label.strip_suffix("PRIVATE KEY").is_some_and(|kind| known.contains(&kind));
    if !pgp && !plain {
        return None;
    }
    let mut body = after.get(end.saturating_add(5)..)?;
    // Inside of JSON and the like a line break is written `\n`.
    let mut encoded: Vec<u8> = Vec::with_capacity(128);
    let mut lines = 0;
    while encoded.len() < 96 && lines < 24 {
        let (line, rest) = line(body);
        lines += 1;
        body = rest;
        // Headers as `Proc-Type: 4,ENCRYPTED` and `Version: GnuPG`.
        let header = line.contains(&b':') || line.is_empty();
        if !header {
            if line.starts_with(b"-----") || !line.iter().all(|byte| base64(*byte)) {
                break;
            }
            encoded.extend_from_slice(line);
        }
        if rest.is_empty() {
            break;
        }
    }
    // Ed25519 in PKCS #8 has 64 characters; below that it is no key.
    (encoded.len() >= 60 && entropy(&encoded) >= 3.5).then(|| format!("-----BEGIN {label}----- ****"))
}

/// The first line and the rest, for either way to write a line break.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let real = memchr::memchr(b'\n', bytes).map(|at| (at, 1));
    let written = memchr::memmem::find(bytes, b"\\n").map(|at| (at, 2));
    let end = match (real, written) {
        (Some(real), Some(written)) => Some(real.min(written)),
        (one, other) => one.or(other),
    };
    let (line, rest) = match end {
        Some((at, width)) => (bytes.get(..at).unwrap_or(&[]), bytes.get(at + width..).unwrap_or(&[])),
        None => (bytes, &[][..]),
    };
    (line.trim_ascii(), rest)
}

/// False for examples and patterns.
pub(super) fn plausible(secret: &[u8]) -> bool {
    !placeholder(secret) && entropy(secret) >= 3.0
}

/// Whether a value is there to be replaced by another.
pub(super) fn placeholder(value: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"example",
        b"xxxx",
        b"changeme",
        b"placeholder",
        b"your",
        b"dummy",
        b"sample",
        b"redacted",
        b"****",
        b"1234567890",
        b"abcdefgh",
        b"${",
        b"{{",
        b"<",
        b"$(",
        b"%(",
        b"fake",
        b"insert",
    ];
    let lower = value.to_ascii_lowercase();
    value.is_empty()
        || value.first() == Some(&b'$')
        || WORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// Shannon's entropy, in bits a byte.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let of = |count: u32| {
        let share = f64::from(count) / total;
        -share * share.log2()
    };
    counts.into_iter().filter(|count| *count > 0).map(of).sum()
}

/// Whether a path is below a folder of installed packages: their test keys are known to everybody.
pub(super) fn of_package(path: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "site-packages/",
        "dist-packages/",
        "node_modules/",
        "usr/share/",
        "usr/local/share/",
        "usr/local/go/",
        "usr/lib/go",
        "/gems/",
        "usr/lib/python3",
        "usr/local/lib/python3",
        "go/pkg/mod/",
        "usr/include/",
        ".cargo/registry/",
    ];
    FOLDERS.iter().any(|folder| path.contains(folder))
}
