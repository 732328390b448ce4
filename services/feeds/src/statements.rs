//! VEX documents and ignore rules become one set of statements: an artifact that the control record `statements` names.
//!
//! Invariant: a source that cannot be read keeps what it said last; where nothing is known of it, the set stays as it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_bus::Bus;
use plimsoll_bus::connection::message_id;
use plimsoll_config::{Feed, VexSource};
use plimsoll_model::Statement;
use plimsoll_model::time::Timestamp;
use plimsoll_process::{ProcessError, Role};
use plimsoll_proto::{statements, v1};
use plimsoll_vex::{Collected, Key, Trust, VexError};

use crate::fetch;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How often addresses are asked.
const ASK_EVERY: Duration = Duration::from_secs(600);
/// Largest document or archive that is fetched.
const MAX_SOURCE: u64 = 1 << 30;

/// What the sources said last, by place.
#[derive(Default)]
pub struct Known {
    said: HashMap<String, (String, Vec<Statement>)>,
    fetched: HashMap<String, (Instant, fetch::Validators)>,
}

/// Publishes sets until the role ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let mut known = Known::default();
    while !role.stop.is_cancelled() {
        match publish(&role, &mut known).await {
            Ok(Some((seq, statements))) => tracing::info!(seq, statements, "statements published"),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "statements stay as they are")
            }
        }
        tokio::select! {
            () = role.stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    Ok(())
}

/// Makes the set of the sources current, unless the current one says the same. Gives its number and size.
pub async fn publish(role: &Role, known: &mut Known) -> Result<Option<(u64, usize)>, ProcessError> {
    let records = role.bus.records("control");
    let current: v1::StatementsPointer = match records.get("statements").await? {
        Some(record) => record.decode()?,
        None => v1::StatementsPointer::default(),
    };
    if current.seq == 0 && role.config.vex.is_empty() && role.config.ignore.is_none() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for source in &role.config.vex {
        all.extend(source_statements(role, source, known).await?);
    }
    if let Some(path) = &role.config.ignore {
        all.extend(rules(path, known)?);
    }
    all.sort();
    all.dedup();
    let bytes = statements::encode(&all).map_err(|error| ProcessError::role("internal", error))?;
    let inputs = message_id(&[&bytes]);
    if current.seq > 0 && current.inputs == inputs {
        return Ok(None);
    }
    store(&role.bus, &current, inputs, &bytes).await.map(|seq| seq.map(|seq| (seq, all.len())))
}

async fn store(
    bus: &Bus,
    current: &v1::StatementsPointer,
    inputs: String,
    bytes: &[u8],
) -> Result<Option<u64>, ProcessError> {
    // By the clock: a store that outlives the broker's data must find later sets newer.
    let now = u64::try_from(Timestamp::now().0).unwrap_or(0);
    let seq = now.max(current.seq + 1);
    let artifact = format!("statements.{inputs}");
    bus.artifacts().put_named(&artifact, bytes).await?;
    let pointer = v1::StatementsPointer { seq, artifact, inputs };
    let records = bus.records("control");
    let won = records
        .change("statements", |known: Option<v1::StatementsPointer>| match known {
            // Another one was faster: its set is as good.
            Some(known) if known.seq >= seq => (None, false),
            _ => (Some(pointer.clone()), true),
        })
        .await?;
    Ok(won.then_some(seq))
}

fn failed(error: &VexError) -> ProcessError {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {cause}");
    }
    ProcessError::role(error.code(), text)
}

/// What one source says, read again if its files changed; what it said last, if it cannot be read.
async fn source_statements(
    role: &Role,
    source: &VexSource,
    known: &mut Known,
) -> Result<Vec<Statement>, ProcessError> {
    let name = format!("{source:?}");
    let path = match &source.from {
        Feed::Path(path) => Ok(path.clone()),
        Feed::Url(url) => fetched(url, &role.data.join("vex"), known).await,
    };
    let read = match path {
        Ok(path) => read(&path, source, known.said.get(&name).map(|(print, _)| print.as_str())),
        Err(error) => Err(error),
    };
    match read {
        Ok(None) => {}
        Ok(Some((print, statements))) => {
            known.said.insert(name.clone(), (print, statements));
        }
        Err(error) if known.said.contains_key(&name) => {
            tracing::warn!(source = %source.from, code = error.code(), %error, "a source of VEX keeps what it said last");
        }
        Err(error) => return Err(error),
    }
    Ok(known.said.get(&name).map(|(_, statements)| statements.clone()).unwrap_or_default())
}

/// Reads a source unless its files are those of the fingerprint.
fn read(
    path: &Path,
    source: &VexSource,
    before: Option<&str>,
) -> Result<Option<(String, Vec<Statement>)>, ProcessError> {
    let mut inputs = vec![path.to_owned()];
    inputs.extend(source.keys.iter().cloned());
    let print = fingerprint(&inputs)?;
    if before == Some(print.as_str()) {
        return Ok(None);
    }
    let keys = source.keys.iter().map(|key| Key::load(key)).collect::<Result<Vec<_>, _>>();
    let trust = Trust {
        issuer: source.issuer.clone(),
        keys: keys.map_err(|e| failed(&e))?,
        authors: source.authors.clone(),
    };
    let mut out = Collected::default();
    plimsoll_vex::load(path, &trust, &mut out).map_err(|e| failed(&e))?;
    out.finish();
    let report = &out.report;
    tracing::info!(
        source = %source.from,
        documents = report.documents,
        statements = report.statements,
        left_out = ?report.left_out,
        "VEX documents were read"
    );
    for (reason, place) in &report.named {
        tracing::debug!(source = %source.from, reason, place, "left out of a VEX document");
    }
    Ok(Some((print, out.statements)))
}

fn rules(path: &Path, known: &mut Known) -> Result<Vec<Statement>, ProcessError> {
    let name = format!("ignore {}", path.display());
    match plimsoll_vex::ignore_rules(path) {
        Ok(rules) => {
            known.said.insert(name, (String::new(), rules.clone()));
            Ok(rules)
        }
        Err(error) => match known.said.get(&name) {
            Some((_, rules)) => {
                tracing::warn!(code = error.code(), error = %failed(&error), "the ignore rules stay as they were");
                Ok(rules.clone())
            }
            None => Err(failed(&error)),
        },
    }
}

/// The copy of what an address names: a document, an archive, or the archive that a `vex-repository.json` names. The last copy
/// serves while the address fails.
async fn fetched(url: &str, folder: &Path, known: &mut Known) -> Result<PathBuf, ProcessError> {
    let path = copy_of(url, folder, known).await?;
    if !url.ends_with("vex-repository.json") {
        return Ok(path);
    }
    let io = || ProcessError::io(format!("read {}", path.display()));
    let bytes = std::fs::read(&path).map_err(io())?;
    let archive = location(&bytes).ok_or_else(|| {
        ProcessError::role("vex_format_unknown", format!("{url} names no archive of a VEX repository"))
    })?;
    copy_of(&archive, folder, known).await
}

async fn copy_of(url: &str, folder: &Path, known: &mut Known) -> Result<PathBuf, ProcessError> {
    let path = place(url, folder);
    let before = known.fetched.get(url);
    if before.is_some_and(|(at, _)| at.elapsed() < ASK_EVERY) && path.exists() {
        return Ok(path);
    }
    let validators = before.map(|(_, validators)| validators.clone()).filter(|_| path.exists());
    let validators = match ask(url, &path, validators.as_ref()).await {
        Ok(fresh) => fresh.or(validators).unwrap_or_default(),
        Err(error) if path.exists() => {
            tracing::warn!(url, code = error.code(), %error, "the last copy serves");
            validators.unwrap_or_default()
        }
        Err(error) => return Err(error),
    };
    known.fetched.insert(url.to_owned(), (Instant::now(), validators));
    Ok(path)
}

async fn ask(
    url: &str,
    path: &Path,
    known: Option<&fetch::Validators>,
) -> Result<Option<fetch::Validators>, ProcessError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ProcessError::io(format!("create {}", folder.display())))?;
    }
    let part = path.with_extension("part");
    let fresh = fetch::to_file(&fetch::client()?, url, known, &part, MAX_SOURCE).await?;
    if fresh.is_some() {
        std::fs::rename(&part, path).map_err(ProcessError::io(format!("write {}", path.display())))?;
    }
    Ok(fresh)
}

/// Where the copy of an address is kept: its name ends as the address does, so that its format is known.
fn place(url: &str, folder: &Path) -> PathBuf {
    let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or("vex");
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    folder.join(format!("{}-{name}", message_id(&[url.as_bytes()])))
}

/// Names, sizes and times of the files below the inputs.
fn fingerprint(paths: &[PathBuf]) -> Result<String, ProcessError> {
    let mut parts: Vec<String> = Vec::new();
    let mut pending: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = pending.pop() {
        let failed = || ProcessError::io(format!("read {}", path.display()));
        let metadata = std::fs::metadata(&path).map_err(failed())?;
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(failed())? {
                pending.push(entry.map_err(failed())?.path());
            }
            continue;
        }
        let modified = metadata.modified().map_err(failed())?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        parts.push(format!("{}:{}:{}", path.display(), metadata.len(), since.as_nanos()));
    }
    parts.sort();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    Ok(message_id(&parts))
}

/// The archive that a repository's manifest names, without the folder inside of it that `//` separates.
fn location(manifest: &[u8]) -> Option<String> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let versions = manifest.get("versions")?.as_array()?;
    let version = versions.iter().find(|v| v.get("spec_version").is_some_and(|s| s == "0.1"))?;
    let url = version.get("locations")?.as_array()?.first()?.get("url")?.as_str()?;
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split_once("//").map_or(rest, |(archive, _)| archive);
    matches!(scheme, "https" | "http").then(|| format!("{scheme}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_of_repositories() {
        let manifest = |url: &str| {
            format!(r#"{{"name":"x","versions":[{{"spec_version":"0.1","locations":[{{"url":"{url}"}}]}}]}}"#)
        };
        for (url, archive) in [
            (
                "https://example.com/archive/refs/heads/main.tar.gz//vexhub-main",
                Some("https://example.com/archive/refs/heads/main.tar.gz"),
            ),
            ("https://example.com/hub.tar.gz", Some("https://example.com/hub.tar.gz")),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(location(manifest(url).as_bytes()).as_deref(), archive, "{url}");
        }
        assert_eq!(location(b"{}"), None);
    }
}
