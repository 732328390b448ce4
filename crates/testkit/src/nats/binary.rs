//! Which `nats-server` to run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::NatsError;

/// Oldest server that has what the bus relies on.
pub(super) const OLDEST: semver::Version = semver::Version::new(2, 14, 0);

/// The server to run: `NATS_SERVER`, else `.tools/bin/nats-server` in this directory or one above it, else
/// the first on `PATH`. One that is older than 2.14 is refused rather than skipped, except on `PATH`, where the
/// search goes on.
pub fn find() -> Result<PathBuf, NatsError> {
    if let Some(named) = std::env::var_os("NATS_SERVER").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        check(&path)?;
        return Ok(path);
    }
    let here = std::env::current_dir().unwrap_or_default();
    for above in here.ancestors() {
        let tool = above.join(".tools/bin/nats-server");
        if tool.is_file() {
            check(&tool)?;
            return Ok(tool);
        }
    }
    let mut refused = None;
    for dir in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        let candidate = dir.join("nats-server");
        if candidate.is_file() {
            match check(&candidate) {
                Ok(_) => return Ok(candidate),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
    }
    Err(refused.unwrap_or(NatsError::NotInstalled))
}

/// The version that `path` says it is, or an error when it is too old. Asked once for each path.
pub fn check(path: &Path) -> Result<semver::Version, NatsError> {
    static KNOWN: Mutex<Option<HashMap<PathBuf, semver::Version>>> = Mutex::new(None);
    if let Ok(known) = KNOWN.lock()
        && let Some(version) = known.as_ref().and_then(|map| map.get(path))
    {
        return Ok(version.clone());
    }
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|source| NatsError::Version { path: path.to_owned(), said: source.to_string() })?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = parse(&said).ok_or_else(|| NatsError::Version {
        path: path.to_owned(),
        said: if said.is_empty() { String::from_utf8_lossy(&output.stderr).trim().to_owned() } else { said },
    })?;
    if version < OLDEST {
        return Err(NatsError::TooOld { path: path.to_owned(), version });
    }
    if let Ok(mut known) = KNOWN.lock() {
        known.get_or_insert_default().insert(path.to_owned(), version.clone());
    }
    Ok(version)
}

/// `nats-server: v2.15.1` → 2.15.1.
fn parse(said: &str) -> Option<semver::Version> {
    let version = said.strip_prefix("nats-server:")?.trim().trim_start_matches('v');
    semver::Version::parse(version).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_prints_them() {
        for (said, expected) in [
            ("nats-server: v2.15.1", Some(semver::Version::new(2, 15, 1))),
            ("nats-server: v2.9.10", Some(semver::Version::new(2, 9, 10))),
            ("nats-server: v2.14.0-RC.1", semver::Version::parse("2.14.0-RC.1").ok()),
            ("pyenv: nats-server: command not found", None),
            ("", None),
        ] {
            assert_eq!(parse(said), expected, "{said:?}");
        }
        assert!(parse("nats-server: v2.9.10").is_some_and(|version| version < OLDEST));
    }
}
