//! Layers from asynchronous streams.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use plimsoll_cpu::Cancel;
use plimsoll_image::layer::{LayerError, LayerSource, Limits, StreamError, read_stream};
use plimsoll_image::select::Table;
use plimsoll_model::Extract;

use super::archive::*;

fn chunks(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    let chunks: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    stream::iter(chunks.into_iter().map(Ok))
}

async fn run(
    stream: impl Stream<Item = Result<Bytes, io::Error>>,
    layer: LayerSource,
    cancel: &Cancel,
) -> Result<Extract, StreamError<io::Error>> {
    read_stream(stream, layer, Limits::default(), Table::all(), Arc::new(()), cancel).await
}

fn sample() -> Vec<u8> {
    let data: Vec<u8> = (0..6_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Archive::default().file("data", &data).file("etc/os-release", b"ID=a\n").end()
}

#[tokio::test]
async fn a_stream_gives_what_the_bytes_give() {
    let bytes = gzip(&sample());
    let layer = source(&bytes, GZIP);
    let expected = try_read(&bytes, GZIP, &Limits::default()).unwrap();
    for size in [5_000, 200_000, bytes.len()] {
        let extract = run(chunks(&bytes, size), layer.clone(), &Cancel::new()).await.unwrap();
        assert_eq!(extract, expected);
    }
}

#[tokio::test]
async fn a_failed_transfer_is_the_callers_own_error() {
    let bytes = gzip(&sample());
    let failing = chunks(&bytes[..bytes.len() / 2], 10_000)
        .chain(stream::iter([Err(io::Error::other("connection reset"))]));
    let error = run(failing, source(&bytes, GZIP), &Cancel::new()).await.unwrap_err();
    assert!(matches!(error, StreamError::Transfer(error) if error.to_string() == "connection reset"));
}

#[tokio::test]
async fn a_short_transfer_fails_the_digest_and_a_long_one_stops_early() {
    let bytes = gzip(&sample());
    let layer = source(&bytes, GZIP);
    let error =
        run(chunks(&bytes[..bytes.len() - 1], 9_999), layer.clone(), &Cancel::new()).await.unwrap_err();
    assert!(matches!(error, StreamError::Layer(LayerError::Digest { .. })), "{error}");
    // an endless stream ends where the descriptor's size is passed
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 4096])));
    let error = run(endless, layer, &Cancel::new()).await.unwrap_err();
    assert!(matches!(error, StreamError::Layer(LayerError::Size { .. })), "{error}");
}

#[tokio::test]
async fn cancelling_ends_the_reading() {
    let bytes = gzip(&sample());
    let cancel = Cancel::new();
    let token = cancel.clone();
    let mut seen = 0;
    let stream = chunks(&bytes, 1_000).inspect(move |_| {
        seen += 1;
        if seen == 50 {
            token.cancel();
        }
    });
    // The stream never ends by itself.
    let more = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096])));
    let layer = LayerSource { size: None, ..source(&bytes, GZIP) };
    let error = run(stream.chain(more), layer, &cancel).await.unwrap_err();
    assert!(matches!(error, StreamError::Layer(LayerError::Cancelled)), "{error}");
}
