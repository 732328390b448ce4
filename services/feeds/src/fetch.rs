//! HTTP: conditional requests, bounded bodies, checksums.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use plimsoll_process::ProcessError;
use reqwest::{Client, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

/// Largest feed, in bytes.
pub const LARGEST: u64 = 4 << 30;
/// Largest list of changes.
pub const LIST: u64 = 256 << 20;
/// Largest single record.
pub const RECORD: u64 = 16 << 20;

/// What a server said of a body, to ask with the next time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    /// The date that the server gives the content.
    pub fn date(&self) -> Option<plimsoll_model::Timestamp> {
        let at = httpdate::parse_http_date(self.last_modified.as_deref()?).ok()?;
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok().map(plimsoll_model::Timestamp)
    }
}

fn unavailable(error: impl std::fmt::Display) -> ProcessError {
    ProcessError::role("feed_unavailable", error)
}

/// A client of all sources.
pub fn client() -> Result<Client, ProcessError> {
    let build = Client::builder()
        .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60));
    build.build().map_err(unavailable)
}

/// Fetches a body into a file, unless the server says that it is what `known` describes (`None`). At most `limit` bytes.
pub async fn to_file(
    client: &Client,
    url: &str,
    known: Option<&Validators>,
    to: &Path,
    limit: u64,
) -> Result<Option<Validators>, ProcessError> {
    let Some((response, validators)) = ask(client, url, known).await? else { return Ok(None) };
    let io = || ProcessError::io(format!("write {}", to.display()));
    let mut file = tokio::fs::File::create(to).await.map_err(io())?;
    let expected = response.content_length();
    let (mut body, mut size) = (response.bytes_stream(), 0u64);
    while let Some(chunk) = body.next().await {
        let chunk: bytes::Bytes = chunk.map_err(unavailable)?;
        size += chunk.len() as u64;
        if size > limit {
            return Err(ProcessError::role("too_large", format!("{url} is larger than {limit} bytes")));
        }
        file.write_all(&chunk).await.map_err(io())?;
    }
    file.flush().await.map_err(io())?;
    if expected.is_some_and(|expected| expected != size) {
        return Err(unavailable(format!("{url} broke off after {size} bytes")));
    }
    Ok(Some(validators))
}

/// Fetches a small body; `None` as in [`to_file`].
pub async fn to_memory(
    client: &Client,
    url: &str,
    known: Option<&Validators>,
    limit: u64,
) -> Result<Option<(Vec<u8>, Validators)>, ProcessError> {
    let Some((response, validators)) = ask(client, url, known).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk: bytes::Bytes = chunk.map_err(unavailable)?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(ProcessError::role("too_large", format!("{url} is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some((bytes, validators)))
}

/// As [`to_memory`], where the server may not have it: `None` then.
pub async fn if_there(client: &Client, url: &str, limit: u64) -> Result<Option<Vec<u8>>, ProcessError> {
    match to_memory(client, url, None, limit).await {
        Ok(found) => Ok(found.map(|(bytes, _)| bytes)),
        Err(error) if error.code() == "feed_missing" => Ok(None),
        Err(error) => Err(error),
    }
}

async fn ask(
    client: &Client,
    url: &str,
    known: Option<&Validators>,
) -> Result<Option<(reqwest::Response, Validators)>, ProcessError> {
    let mut request = client.get(url);
    if let Some(known) = known {
        if let Some(tag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, tag);
        } else if let Some(date) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
    }
    let response = request.send().await.map_err(unavailable)?;
    match response.status() {
        StatusCode::NOT_MODIFIED => return Ok(None),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Err(ProcessError::role("feed_missing", format!("{url} is not there")));
        }
        _ => {}
    }
    let response = response.error_for_status().map_err(unavailable)?;
    let text = |name: header::HeaderName| {
        response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
    };
    let validators = Validators { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) };
    Ok(Some((response, validators)))
}
