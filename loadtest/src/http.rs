//! The few requests that a load needs: POST with a body over HTTP/1.1 in the clear, one connection that is kept.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::LoadError;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const LARGEST: usize = 64 << 20;

/// A client of one address.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: String,
    connection: Option<BufReader<TcpStream>>,
}

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    /// A client that presents `token`.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), connection: None }
    }

    /// One POST. Fails when the server is away or its answer does not read; the next request connects anew.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, LoadError> {
        match tokio::time::timeout(PATIENCE, self.exchange(path, headers, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                self.connection = None;
                Err(LoadError::Io { what: format!("POST {path}"), source })
            }
            Err(_) => {
                self.connection = None;
                Err(LoadError::Timeout { what: format!("POST {path}"), seconds: PATIENCE.as_secs() })
            }
        }
    }

    /// POSTs until the answer is a success, for at most `bound`. A refusal (4xx) is an error at once.
    pub async fn insist(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        bound: Duration,
    ) -> Result<Answer, LoadError> {
        let began = std::time::Instant::now();
        loop {
            match self.post(path, headers, body).await {
                Ok(answer) if answer.status < 300 => return Ok(answer),
                Ok(answer) if answer.status < 500 => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(LoadError::Other(format!("POST {path}: {} {text}", answer.status)));
                }
                _ if began.elapsed() > bound => {
                    return Err(LoadError::Timeout {
                        what: format!("the gateway to take POST {path}"),
                        seconds: bound.as_secs(),
                    });
                }
                _ => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }

    async fn exchange(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
            self.address,
            self.token,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        connection.get_mut().write_all(&bytes).await?;
        let bad = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP/1.1");
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(bad)?;
        let mut length = 0;
        let mut keep = true;
        loop {
            line.clear();
            if connection.read_line(&mut line).await? == 0 {
                return Err(bad());
            }
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').ok_or_else(bad)?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(|_| bad())?,
                "connection" => keep = !value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        if length > LARGEST {
            return Err(bad());
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        if keep {
            self.connection = Some(connection);
        }
        Ok(Answer { status, body })
    }
}
