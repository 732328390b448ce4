//! A registry whose every answer the test decides, and which remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use plimsoll_config::Registry;
use plimsoll_image::registry::{Options, Registries, Retry};
use plimsoll_model::Digest;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// How many requests came before.
    pub(crate) n: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Fake {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

/// Connections whose handshake succeeds; the others are nobody's.
struct Tls {
    inner: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.inner.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

fn app(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static, log: Arc<Mutex<Vec<Asked>>>) -> Router {
    let answer = Arc::new(answer);
    Router::new().fallback(move |request: Request| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let asked = {
                let mut log: std::sync::MutexGuard<'_, Vec<Asked>> = log.lock().unwrap();
                let asked = Asked {
                    method: request.method().to_string(),
                    path: request.uri().path().to_owned(),
                    query: request.uri().query().unwrap_or("").to_owned(),
                    headers: request.headers().clone(),
                    n: log.len(),
                };
                log.push(asked.clone());
                asked
            };
            answer(&asked)
        }
    })
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let app = app(answer, Arc::clone(&asked));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { host, asked, task }
    }

    /// As [`Fake::start`], with TLS by the test authority of `tls/ca.pem`.
    pub(crate) async fn start_tls(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
        use tokio_rustls::rustls::{ServerConfig, crypto};
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let inner = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("127.0.0.1:{}", inner.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let app = app(answer, Arc::clone(&asked));
        let listener = Tls { inner, acceptor: tokio_rustls::TlsAcceptor::from(Arc::new(config)) };
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { host, asked, task }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn entry(&self) -> Registry {
        Registry::anonymous(&self.host)
    }

    pub(crate) fn registries(&self) -> Registries {
        registries(&[self.entry()])
    }
}

/// Registries that try again at once.
pub(crate) fn registries(entries: &[Registry]) -> Registries {
    let retry = Retry {
        attempts: 4,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        ..Retry::default()
    };
    Registries::with_options(entries, Options { retry, ..Options::default() }).unwrap()
}

pub(crate) fn status(code: u16) -> Response {
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Body::empty()).unwrap()
}

pub(crate) fn reply(code: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(code);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

/// Announces all of `bytes` and breaks off after the first `sent` of them.
pub(crate) fn broken(code: u16, headers: &[(&str, &str)], bytes: &[u8], sent: usize) -> Response {
    let part = bytes::Bytes::copy_from_slice(&bytes[..sent]);
    // The pause between the two makes hyper flush what there is before it meets the error.
    let body = futures::stream::unfold(Some(part), |part| async move {
        match part {
            Some(part) => Some((Ok(part), None)),
            None => {
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::other("cut")), None))
            }
        }
    });
    let length = bytes.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("content-length", &length));
    reply(code, &headers, Body::from_stream(body))
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Digest::from_sha256(hash.as_ref().try_into().unwrap())
}
