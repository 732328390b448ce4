//! An upstream: what it has can be changed, and what it was asked is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Held {
    /// Body and entity tag by path.
    bodies: BTreeMap<String, (Vec<u8>, String)>,
    /// Paths that were asked for, each with the status that was answered.
    asked: Vec<(String, u16)>,
    broken: bool,
    dates: BTreeMap<String, String>,
}

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    held: Arc<Mutex<Held>>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let held: Arc<Mutex<Held>> = Arc::default();
        let shared = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { url, held }
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let tag = format!("\"{}-{}\"", body.len(), body.iter().map(|b| u64::from(*b)).sum::<u64>());
        self.held.lock().unwrap().bodies.insert(path.to_owned(), (body, tag));
    }

    pub(crate) fn date(&self, path: &str, date: &str) {
        self.held.lock().unwrap().dates.insert(path.to_owned(), date.to_owned());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.held.lock().unwrap().bodies.remove(path);
    }

    pub(crate) fn broken(&self, broken: bool) {
        self.held.lock().unwrap().broken = broken;
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.held.lock().unwrap().asked);
        asked.into_iter().map(|(path, status)| format!("{path} {status}")).collect()
    }
}

async fn answer(mut stream: TcpStream, held: Arc<Mutex<Held>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
    let known = text.lines().find_map(|l| {
        l.to_ascii_lowercase().starts_with("if-none-match:").then(|| l[14..].trim().to_owned())
    });
    let (head, body) = {
        let mut held = held.lock().unwrap();
        let date = held.dates.get(&path).map_or(String::new(), |date| format!("last-modified: {date}\r\n"));
        let (status, tag, body) = match held.bodies.get(&path) {
            _ if held.broken => (503, String::new(), Vec::new()),
            Some((_, tag)) if known.as_deref() == Some(tag) => (304, tag.clone(), Vec::new()),
            Some((body, tag)) => (200, tag.clone(), body.clone()),
            None => (404, String::new(), Vec::new()),
        };
        held.asked.push((path, status));
        let tag = if tag.is_empty() { tag } else { format!("etag: {tag}\r\n") };
        (
            format!(
                "HTTP/1.1 {status} x\r\n{tag}{date}content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            ),
            body,
        )
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}
