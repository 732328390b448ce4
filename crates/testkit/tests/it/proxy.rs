use std::time::Duration;

use plimsoll_testkit::proxy::FaultProxy;
use plimsoll_testkit::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::BOUND;

/// Sends back what it gets.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    addr
}

async fn say(stream: &mut TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(words).await?;
    let mut heard = vec![0; words.len()];
    tokio::time::timeout(BOUND, stream.read_exact(&mut heard)).await.unwrap()?;
    Ok(heard)
}

#[tokio::test]
async fn passes_captures_cuts_and_heals() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(say(&mut stream, b"before").await.unwrap(), b"before");
    proxy.capture(true);
    assert_eq!(say(&mut stream, b"kept").await.unwrap(), b"kept");
    proxy.capture(false);
    assert_eq!(say(&mut stream, b"after").await.unwrap(), b"after");
    let captured = proxy.captured();
    assert_eq!((captured[0].sent.as_slice(), captured[0].received.as_slice()), (&b"kept"[..], &b"kept"[..]));
    assert_eq!(proxy.bytes(), (15, 15));

    proxy.cut();
    until("the connection to end", BOUND, || async { proxy.live() == 0 }).await.unwrap();
    assert!(say(&mut stream, b"x").await.is_err());
    let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(say(&mut refused, b"x").await.is_err());

    proxy.heal();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(say(&mut stream, b"again").await.unwrap(), b"again");
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn a_stall_keeps_the_connection_and_the_bytes() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(say(&mut stream, b"go").await.unwrap(), b"go");
    proxy.stall();
    stream.write_all(b"later").await.unwrap();
    let mut heard = [0; 5];
    let early = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut heard)).await;
    assert!(early.is_err(), "bytes moved during a stall");
    assert_eq!(proxy.live(), 1);
    proxy.heal();
    tokio::time::timeout(BOUND, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"later");
}

#[tokio::test]
async fn a_cut_reaches_a_stalled_and_a_delayed_connection() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    for stalled in [true, false] {
        proxy.heal();
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(say(&mut stream, b"go").await.unwrap(), b"go");
        if stalled {
            proxy.stall()
        } else {
            proxy.delay(Duration::from_secs(3_600))
        }
        stream.write_all(b"never").await.unwrap();
        proxy.cut();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(BOUND, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(ended.is_err() || rest.is_empty());
    }
}

#[tokio::test]
async fn cuts_in_the_middle_of_a_transfer() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    proxy.cut_after(10_000);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let words = vec![7; 50_000];
    let (_, heard) = tokio::join!(write.write_all(&words), async {
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(BOUND, read.read_to_end(&mut heard)).await.unwrap();
        heard.len()
    });
    assert!(heard <= 10_000, "{heard}");
    assert_eq!(proxy.bytes().1, 10_000);
}

#[tokio::test]
async fn delay_holds_back() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    proxy.delay(Duration::from_millis(50));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let start = std::time::Instant::now();
    assert_eq!(say(&mut stream, b"slow").await.unwrap(), b"slow");
    assert!(start.elapsed() >= Duration::from_millis(100), "each direction is held back");
}

#[tokio::test]
async fn ends_with_its_connections_on_drop() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(say(&mut stream, b"go").await.unwrap(), b"go");
    drop(proxy);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(BOUND, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || rest.is_empty());
}
