//! Small files whose format says what a password is.

use serde_json::Value;

use super::Note;
use super::rules::placeholder;

/// A file that holds credentials by its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `.npmrc`
    Npmrc,
    /// `.pypirc`
    Pypirc,
    /// `pip.conf`, `pip.ini`: addresses with a password.
    Pip,
    /// `.netrc`
    Netrc,
    /// `.git-credentials`: addresses with a password.
    Git,
    /// Docker's `config.json` and `.dockercfg`.
    Docker,
}

impl Format {
    /// The format of a file, by its name.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(match name {
            ".npmrc" | "npmrc" => Self::Npmrc,
            ".pypirc" => Self::Pypirc,
            "pip.conf" | "pip.ini" => Self::Pip,
            ".netrc" | "_netrc" => Self::Netrc,
            ".git-credentials" => Self::Git,
            ".dockercfg" | ".dockerconfigjson" => Self::Docker,
            "config.json" if folder.ends_with(".docker") || folder.ends_with("kaniko") => Self::Docker,
            _ => return None,
        })
    }

    /// Notes the credentials of a file.
    pub(super) fn read(self, bytes: &[u8], notes: &mut Vec<Note>) {
        let text = String::from_utf8_lossy(bytes);
        if self == Self::Docker {
            return docker(&text, notes);
        }
        let mut machine = false;
        for (n, line) in text.lines().enumerate() {
            let line_number = u32::try_from(n.saturating_add(1)).unwrap_or(u32::MAX);
            let mut note = |rule, excerpt: &str| {
                notes.push(Note { line: line_number, rule, excerpt: excerpt.to_owned() });
            };
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            match self {
                Self::Npmrc => {
                    for name in ["_authToken", "_password", "_auth"] {
                        if assigned(line, name).is_some_and(|value| !placeholder(value.as_bytes())) {
                            note("npm-credentials", &format!("{name}=****"));
                        }
                    }
                }
                Self::Pypirc => {
                    if assigned(line, "password").is_some_and(|value| !placeholder(value.as_bytes())) {
                        note("pypi-credentials", "password = ****");
                    }
                }
                Self::Pip if password_in_address(line) => note("pip-credentials", "https://****@"),
                Self::Git if password_in_address(line) => note("git-credentials", "https://****@"),
                Self::Netrc => {
                    let mut words = line.split_whitespace();
                    while let Some(word) = words.next() {
                        machine |= matches!(word, "machine" | "default");
                        if word == "password"
                            && machine
                            && words.next().is_some_and(|value| !placeholder(value.as_bytes()))
                        {
                            note("netrc-credentials", "password ****");
                        }
                    }
                }
                Self::Pip | Self::Git | Self::Docker => {}
            }
        }
    }
}

/// The value of `NAME = VALUE`, where the name may have a scope before it (`//registry.example.org/:_authToken`).
fn assigned<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim_end();
    let scope = key.strip_suffix(name)?;
    let value = value.trim().trim_matches(['"', '\'']);
    (scope.is_empty() || scope.ends_with(':')).then_some(value).filter(|value| !value.is_empty())
}

/// Whether there is a `https://USER:PASSWORD@HOST` with a password that is meant.
fn password_in_address(line: &str) -> bool {
    line.match_indices("://").any(|(at, sign)| {
        let rest = line.get(at.saturating_add(sign.len())..).unwrap_or("");
        let authority = rest.split(['/', ' ', '"', '\'']).next().unwrap_or("");
        authority.rsplit_once('@').is_some_and(|(user, _)| match user.split_once(':') {
            Some((_, password)) => !placeholder(password.as_bytes()),
            // A token alone, as GitHub and GitLab take it.
            None => user.len() >= 20 && !placeholder(user.as_bytes()),
        })
    })
}

/// `auths`: `auth` is base64 of `USER:PASSWORD`; `.dockercfg` has the hosts at the top.
fn docker(text: &str, notes: &mut Vec<Note>) {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    let hosts = document.get("auths").unwrap_or(&document);
    for (host, entry) in hosts.as_object().into_iter().flatten() {
        for name in ["auth", "identitytoken", "registrytoken", "password"] {
            let value = entry.get(name).and_then(Value::as_str).unwrap_or("");
            if value.len() >= 4 && !placeholder(value.as_bytes()) {
                // The line of the host, which is no secret.
                let at = text.find(host.as_str()).and_then(|at| text.get(..at));
                let line = at.map_or(0, |before| before.matches('\n').count().saturating_add(1));
                notes.push(Note {
                    line: u32::try_from(line).unwrap_or(u32::MAX),
                    rule: "docker-credentials",
                    excerpt: format!("\"{name}\": \"****\""),
                });
            }
        }
    }
}
