//! Fetching a feed: a conditional request, a bounded body, the last good copy kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use plimsoll_bus::connection::message_id;
use plimsoll_process::ProcessError;
use reqwest::{StatusCode, header};
use tokio::io::AsyncWriteExt;

/// Largest feed, in bytes.
const LIMIT: u64 = 4 << 30;

/// Where the copy of a feed is kept: its name ends as the address does, so that its format is known.
fn place(url: &str, folder: &Path) -> PathBuf {
    let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or("feed");
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    folder.join(format!("{}-{name}", message_id(&[url.as_bytes()])))
}

/// The copy that was fetched last, if there is one.
pub fn last_good(url: &str, folder: &Path) -> Option<PathBuf> {
    Some(place(url, folder)).filter(|path| path.exists())
}

/// Fetches the feed unless its source says that it has not changed. Gives the path of the copy.
pub async fn fetch(url: &str, folder: &Path) -> Result<PathBuf, ProcessError> {
    std::fs::create_dir_all(folder).map_err(ProcessError::io(format!("create {}", folder.display())))?;
    let path = place(url, folder);
    let tag_path = path.with_extension("etag");
    let failed = |error: reqwest::Error| ProcessError::role("feed_unavailable", error);
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(failed)?;
    let mut request = client.get(url);
    if path.exists()
        && let Ok(tag) = std::fs::read_to_string(&tag_path)
    {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    let response = request.send().await.map_err(failed)?;
    if response.status() == StatusCode::NOT_MODIFIED {
        return Ok(path);
    }
    let response = response.error_for_status().map_err(failed)?;
    let tag = response.headers().get(header::ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let part = path.with_extension("part");
    let io = || ProcessError::io(format!("write {}", part.display()));
    let mut file = tokio::fs::File::create(&part).await.map_err(io())?;
    let (mut body, mut size) = (response.bytes_stream(), 0u64);
    while let Some(chunk) = body.next().await {
        let chunk: bytes::Bytes = chunk.map_err(failed)?;
        size += chunk.len() as u64;
        if size > LIMIT {
            return Err(ProcessError::role("too_large", format!("{url} is larger than {LIMIT} bytes")));
        }
        file.write_all(&chunk).await.map_err(io())?;
    }
    file.flush().await.map_err(io())?;
    drop(file);
    std::fs::rename(&part, &path).map_err(ProcessError::io(format!("write {}", path.display())))?;
    match tag {
        Some(tag) => std::fs::write(&tag_path, tag).map_err(ProcessError::io("write an entity tag"))?,
        None => match std::fs::remove_file(&tag_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ProcessError::io("remove an entity tag")(error));
            }
            _ => {}
        },
    }
    Ok(path)
}
