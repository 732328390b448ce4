//! Brings the copies of sources to what the sources have now.
//!
//! Invariant: the copy that counts is changed only by one that was fetched and read whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use plimsoll_bus::connection::message_id;
use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_vuln::{Input, Layers};
use reqwest::Client;

use crate::fetch::{self, LARGEST, LIST, RECORD};
use crate::source::{Kind, Source};
use crate::state::{Copy, Failure, Progress, State, copy_folder};

/// An archive below changes is fetched anew after this time: what is only ever left out is then gone.
const BASE_AGE: Duration = Duration::from_secs(7 * 86_400);
/// More changes than this are an archive.
const MAX_CHANGES: usize = 20_000;
/// Requests to one source at a time.
const AT_ONCE: usize = 8;
/// Largest folder of this machine, in files.
const MAX_FILES: usize = 1_000_000;
const BASE: &str = "base";
const CHANGES: &str = "changes";

/// A new copy, before it is read.
struct Fetched {
    number: u64,
    as_of: Option<Timestamp>,
    progress: Progress,
}

/// Fetches every source once and gives their states. A source that fails keeps its copies, and its state says why; only
/// a folder that cannot be used is an error.
pub async fn update(sources: &[Source], folder: &Path, now: Timestamp) -> Result<Vec<State>, ProcessError> {
    let client = fetch::client()?;
    let mut states = Vec::with_capacity(sources.len());
    for source in sources {
        let folder = folder.join(source.folder());
        std::fs::create_dir_all(&folder).map_err(ProcessError::io(format!("create {}", folder.display())))?;
        let mut state = State::load(&folder, source)?;
        match one(&client, source, &folder, &state, now).await {
            Ok(None) => {
                state.checked = Some(now);
                state.failure = None;
            }
            Ok(Some((copy, progress))) => {
                state.offer(copy, now);
                state.progress = progress;
                state.checked = Some(now);
                state.failure = None;
            }
            Err(error) => {
                tracing::warn!(feed = source.name, code = error.code(), %error, "a feed could not be fetched");
                let since = state.failure.as_ref().map_or(now, |failure| failure.since);
                let detail: String = error.to_string().chars().take(400).collect();
                state.failure = Some(Failure { code: error.code().to_owned(), detail, since });
            }
        }
        state.save(&folder)?;
        state.sweep(&folder);
        states.push(state);
    }
    Ok(states)
}

/// What a Db is built of: the copies that count.
pub fn inputs(sources: &[Source], states: &[State], folder: &Path) -> Vec<Input> {
    sources
        .iter()
        .zip(states)
        .filter_map(|(source, state)| {
            let path = state.path(&folder.join(source.folder()))?;
            Some(Input { path, provenance: Some(state.provenance()) })
        })
        .collect()
}

/// Equal for equal content of equal sources.
pub fn fingerprint(states: &[State]) -> String {
    let parts: Vec<String> = states
        .iter()
        .filter_map(|state| Some(format!("{} {}", state.name, state.current.as_ref()?.checksum)))
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    message_id(&parts)
}

/// Fetches one source; `None` when it has nothing new.
async fn one(
    client: &Client,
    source: &Source,
    folder: &Path,
    state: &State,
    now: Timestamp,
) -> Result<Option<(Copy, Progress)>, ProcessError> {
    let number = state.newest().map_or(0, |copy| copy.number) + 1;
    let to = copy_folder(folder, number);
    // What an earlier attempt left.
    match std::fs::remove_dir_all(&to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ProcessError::io(format!("remove {}", to.display()))(error));
        }
        _ => {}
    }
    std::fs::create_dir_all(&to).map_err(ProcessError::io(format!("create {}", to.display())))?;
    let before = state.newest().map(|copy| copy_folder(folder, copy.number));
    let place = Place { client, to: &to, before: before.as_deref(), state, number, now };
    let fetched = match &source.kind {
        Kind::Path(path) => place.path(path).await,
        Kind::File(url) => place.file(url).await,
        Kind::Osv(url) => place.osv(url).await,
        Kind::Csaf(url) => place.csaf(url).await,
    };
    let read = match fetched {
        Ok(Some(fetched)) => read(&to, fetched, now).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    if !matches!(read, Ok(Some(_)))
        && let Err(error) = std::fs::remove_dir_all(&to)
    {
        tracing::debug!(%error, "a copy that is not wanted could not be removed");
    }
    read
}

/// Reads a new copy once, to know what it has.
async fn read(to: &Path, fetched: Fetched, now: Timestamp) -> Result<(Copy, Progress), ProcessError> {
    let path = to.to_owned();
    let reports = tokio::task::spawn_blocking(move || plimsoll_vuln::feeds::read(&path, &mut |_| {}))
        .await
        .map_err(|error| ProcessError::role("internal", error))?
        .map_err(|error| ProcessError::role(error.code(), error))?;
    if reports.iter().all(|report| report.records == 0) {
        return Err(ProcessError::role("feed_empty", "no record of it can be used"));
    }
    Ok((Copy::of(fetched.number, &reports, fetched.as_of, now), fetched.progress))
}

struct Place<'a> {
    client: &'a Client,
    /// Folder of the new copy.
    to: &'a Path,
    /// Folder of the copy before.
    before: Option<&'a Path>,
    state: &'a State,
    number: u64,
    now: Timestamp,
}

impl Place<'_> {
    async fn path(&self, path: &Path) -> Result<Option<Fetched>, ProcessError> {
        let (from, to) = (path.to_owned(), self.to.to_owned());
        let known = self.state.progress.cursor.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let found =
                files(&from).map_err(ProcessError::io(format!("read the feed {}", from.display())))?;
            let mark = mark(&found);
            if mark == known {
                return Ok(None);
            }
            for (file, _) in &found {
                let relative = file.strip_prefix(&from).ok().filter(|path| !path.as_os_str().is_empty());
                let name = relative.or_else(|| file.file_name().map(Path::new)).unwrap_or(file);
                let to = to.join(name);
                let failed = || ProcessError::io(format!("copy {}", file.display()));
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent).map_err(failed())?;
                }
                std::fs::copy(file, &to).map_err(failed())?;
            }
            Ok::<_, ProcessError>(Some(mark))
        })
        .await
        .map_err(|error| ProcessError::role("internal", error))??;
        let Some(cursor) = copied else { return Ok(None) };
        Ok(Some(Fetched {
            number: self.number,
            as_of: None,
            progress: Progress { cursor, ..Progress::default() },
        }))
    }

    async fn file(&self, url: &str) -> Result<Option<Fetched>, ProcessError> {
        let known = self.before.map(|_| &self.state.progress.validators);
        let to = self.to.join(last(url, "feed.json"));
        let Some(validators) = fetch::to_file(self.client, url, known, &to, LARGEST).await? else {
            return Ok(None);
        };
        let as_of = validators.date();
        Ok(Some(Fetched {
            number: self.number,
            as_of,
            progress: Progress { validators, ..Progress::default() },
        }))
    }

    /// True when the copy before is an archive that changes may be put on.
    fn grows(&self) -> bool {
        let age = i64::try_from(BASE_AGE.as_millis()).unwrap_or(i64::MAX);
        let young = self.now.0.saturating_sub(self.state.progress.base_at.0) < age;
        young && self.before.is_some_and(|before| matches!(Layers::of(before), Ok(Some(_))))
    }

    async fn osv(&self, url: &str) -> Result<Option<Fetched>, ProcessError> {
        let list = format!("{url}/modified_id.csv");
        let grows = self.grows();
        let known = grows.then_some(&self.state.progress.validators);
        let Some((csv, validators)) = fetch::to_memory(self.client, &list, known, LIST).await? else {
            return Ok(None);
        };
        let rows = rows(&csv, false);
        let cursor = newest(&rows).unwrap_or_default();
        let since = self.state.progress.cursor.as_str();
        let changed: Vec<(String, String)> = rows
            .iter()
            .filter(|(at, id)| at.as_str() > since && is_id(last(id, "")))
            .map(|(_, id)| (format!("{}.json", last(id, "")), format!("{url}/{}.json", last(id, ""))))
            .collect();
        let mut progress = Progress { validators, cursor, base_at: self.state.progress.base_at };
        if grows && changed.len() <= MAX_CHANGES {
            if changed.is_empty() {
                return Ok(None);
            }
            self.layer(&changed, &[]).await?;
        } else {
            // The list is older than the archive: what changed between is fetched twice, and nothing is missed.
            let base = format!("{BASE}.zip");
            fetch::to_file(self.client, &format!("{url}/all.zip"), None, &self.to.join(&base), LARGEST)
                .await?;
            self.start(&base)?;
            progress.base_at = self.now;
        }
        Ok(Some(Fetched { number: self.number, as_of: None, progress }))
    }

    async fn csaf(&self, url: &str) -> Result<Option<Fetched>, ProcessError> {
        let grows = self.grows();
        let known = grows.then_some(&self.state.progress.validators);
        let changes = fetch::to_memory(self.client, &format!("{url}/changes.csv"), known, LIST).await?;
        let Some((csv, validators)) = changes else { return Ok(None) };
        let deletions = fetch::if_there(self.client, &format!("{url}/deletions.csv"), LIST).await?;
        let changed = rows(&csv, true);
        let deleted = rows(&deletions.unwrap_or_default(), true);
        let cursor = newest(&changed).max(newest(&deleted)).unwrap_or_default();
        let mut progress = Progress { validators, cursor, base_at: self.state.progress.base_at };
        let mut since = self.state.progress.cursor.clone();
        if !grows {
            let archive =
                fetch::to_memory(self.client, &format!("{url}/archive_latest.txt"), None, 4096).await?;
            let archive = archive.map(|(bytes, _)| String::from_utf8_lossy(&bytes).trim().to_owned());
            let name = archive.filter(|name| is_id(name) && name.contains(".tar")).ok_or_else(|| {
                ProcessError::role("feed_unavailable", format!("{url}/archive_latest.txt names no archive"))
            })?;
            let base = format!("{BASE}.tar{}", name.rsplit_once(".tar").map_or("", |(_, end)| end));
            let to = self.to.join(&base);
            fetch::to_file(self.client, &format!("{url}/{name}"), None, &to, LARGEST).await?;
            if let Some(sum) = fetch::if_there(self.client, &format!("{url}/{name}.sha256"), 4096).await? {
                verify(&to, &String::from_utf8_lossy(&sum)).await?;
            }
            self.start(&base)?;
            progress.base_at = self.now;
            // The archive is of the day in its name: `csaf_vex_2026-11-20.tar.zst`. Changes of that day may be missing.
            since = day_in(&name).unwrap_or_default();
        }
        let path = |(at, path): &(String, String)| {
            let name = last(path, "").to_owned();
            let safe = is_id(&name) && path.split('/').all(is_id);
            (at.as_str() > since.as_str() && safe).then(|| (name, format!("{url}/{path}")))
        };
        let changed: Vec<_> = changed.iter().filter_map(path).collect();
        let deleted: Vec<_> = deleted.iter().filter_map(path).map(|(name, _)| name).collect();
        if grows && changed.is_empty() && deleted.is_empty() {
            return Ok(None);
        }
        if changed.len() > MAX_CHANGES {
            let detail =
                format!("{} documents changed since the archive, more than {MAX_CHANGES}", changed.len());
            return Err(ProcessError::role("too_large", detail));
        }
        if grows {
            self.layer(&changed, &deleted).await?;
        } else {
            self.put(&changed, &deleted).await?;
        }
        Ok(Some(Fetched { number: self.number, as_of: None, progress }))
    }

    /// Begins a copy with an archive that is in its folder already.
    fn start(&self, base: &str) -> Result<(), ProcessError> {
        let changes = self.to.join(CHANGES);
        std::fs::create_dir_all(&changes)
            .map_err(ProcessError::io(format!("create {}", changes.display())))?;
        let layers = Layers { base: base.to_owned(), changes: CHANGES.to_owned(), ..Layers::default() };
        layers.write(self.to).map_err(|error| ProcessError::role(error.code(), error))
    }

    /// Begins a copy with what the one before has, and puts changes on it. Files are linked, not copied.
    async fn layer(&self, changed: &[(String, String)], deleted: &[String]) -> Result<(), ProcessError> {
        let Some(before) = self.before else { return Ok(()) };
        let files = files(before).map_err(ProcessError::io(format!("read {}", before.display())))?;
        for (file, _) in files {
            let relative = file.strip_prefix(before).unwrap_or(&file);
            let to = self.to.join(relative);
            let failed = || ProcessError::io(format!("copy {}", file.display()));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed())?;
            }
            // The description is written again, and must not be written through a link.
            if relative == Path::new("layered.json") || std::fs::hard_link(&file, &to).is_err() {
                std::fs::copy(&file, &to).map_err(failed())?;
            }
        }
        self.put(changed, deleted).await
    }

    /// Fetches changed records, and notes those that are gone.
    async fn put(&self, changed: &[(String, String)], deleted: &[String]) -> Result<(), ProcessError> {
        let failed = |error: plimsoll_vuln::feeds::FeedError| ProcessError::role(error.code(), error);
        let mut layers = Layers::of(self.to).map_err(failed)?.unwrap_or_default();
        let folder = self.to.join(CHANGES);
        std::fs::create_dir_all(&folder).map_err(ProcessError::io(format!("create {}", folder.display())))?;
        let fetches = changed.iter().map(|(name, url)| {
            let part = folder.join(format!(".{name}.part"));
            let to = folder.join(name);
            async move {
                match fetch::to_file(self.client, url, None, &part, RECORD).await {
                    Ok(_) => std::fs::rename(&part, &to)
                        .map(|()| (name, true))
                        .map_err(ProcessError::io(format!("write {}", to.display()))),
                    Err(error) if error.code() == "feed_missing" => Ok((name, false)),
                    Err(error) => Err(error),
                }
            }
        });
        let mut fetches = futures::stream::iter(fetches).buffer_unordered(AT_ONCE);
        while let Some(fetched) = fetches.next().await {
            let (name, there) = fetched?;
            if there {
                layers.deleted.remove(name);
            } else {
                layers.deleted.insert(name.clone());
            }
        }
        for name in deleted {
            // What was fetched just now is newer than the note that it is gone.
            if !changed.iter().any(|(fetched, _)| fetched == name) {
                layers.deleted.insert(name.clone());
            }
        }
        for name in &layers.deleted {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ProcessError::io(format!("remove {name}"))(error));
                }
                _ => {}
            }
        }
        layers.write(self.to).map_err(failed)
    }
}

/// Compares a file with the SHA-256 that stands first in `stated`.
async fn verify(path: &Path, stated: &str) -> Result<(), ProcessError> {
    let stated = stated.split_ascii_whitespace().next().unwrap_or("").to_ascii_lowercase();
    let path = path.to_owned();
    let found = tokio::task::spawn_blocking(move || plimsoll_vuln::feeds::checksum(&path))
        .await
        .map_err(|error| ProcessError::role("internal", error))?
        .map_err(|error| ProcessError::role(error.code(), error))?;
    if found.to_string().strip_prefix("sha256:") == Some(stated.as_str()) {
        return Ok(());
    }
    Err(ProcessError::role("feed_checksum", format!("the archive is {found}, its source says {stated}")))
}

/// The last component of a path or address.
fn last<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    let text = text.split(['?', '#']).next().unwrap_or(text).trim_end_matches('/');
    let name = text.rsplit('/').next().unwrap_or(otherwise);
    if is_id(name) { name } else { otherwise }
}

/// True for what may be the name of a file, and a part of an address.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
}

/// Rows of two columns as (time, path); `path_first` as Red Hat writes them, `"PATH","TIME"`, else `TIME,ID`.
fn rows(csv: &[u8], path_first: bool) -> Vec<(String, String)> {
    String::from_utf8_lossy(csv)
        .lines()
        .filter_map(|line| {
            let (first, second) = line.split_once(',')?;
            let (first, second) = (first.trim().trim_matches('"'), second.trim().trim_matches('"'));
            let (at, path) = if path_first { (second, first) } else { (first, second) };
            Some((cursor(at.parse().ok()?), path.to_owned()))
        })
        .collect()
}

/// A time as a text of one length, so that texts are in the order of times.
fn cursor(at: Timestamp) -> String {
    format!("{:015}", at.0.max(0))
}

fn newest(rows: &[(String, String)]) -> Option<String> {
    rows.iter().map(|(at, _)| at).max().cloned()
}

/// The day in a name, as a time.
fn day_in(name: &str) -> Option<String> {
    let at = (0..name.len()).filter_map(|at| name.get(at..at + 10)).find_map(|day| {
        let shaped = day
            .as_bytes()
            .iter()
            .enumerate()
            .all(|(n, b)| if n == 4 || n == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if shaped { format!("{day}T00:00:00Z").parse::<Timestamp>().ok() } else { None }
    })?;
    Some(cursor(at))
}

/// Files of a folder with their sizes and times, sorted; the file itself.
fn files(path: &Path) -> std::io::Result<Vec<(PathBuf, std::fs::Metadata)>> {
    let mut found = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::metadata(&path)?;
        if !metadata.is_dir() {
            found.push((path, metadata));
            continue;
        }
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') && !entry.file_type()?.is_symlink() {
                pending.push(entry.path());
            }
        }
        if found.len() + pending.len() > MAX_FILES {
            return Err(std::io::Error::other("too many files"));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Names, sizes and times of files.
fn mark(files: &[(PathBuf, std::fs::Metadata)]) -> String {
    let parts: Vec<String> = files
        .iter()
        .map(|(path, metadata)| {
            let modified =
                metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            format!("{}:{}:{}", path.display(), metadata.len(), modified.unwrap_or_default().as_nanos())
        })
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    message_id(&parts)
}
