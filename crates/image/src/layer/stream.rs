//! From an asynchronous byte stream to [`layer::read`](super::read) on a thread of its own.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use plimsoll_cpu::{Cancel, RunError, thread};
use plimsoll_model::extract::Extract;
use tokio::sync::mpsc;

use super::{Hooks, LayerError, LayerSource, Limits, Progress, read};
use crate::select::Table;

/// Largest piece in the channel.
const PIECE: usize = 64 << 10;
/// Pieces in the channel: with [`PIECE`], 2 MiB.
const PIECES: usize = 32;

/// Why a streamed layer gave no Extract.
#[derive(Debug, thiserror::Error)]
pub enum StreamError<E: std::error::Error + 'static> {
    /// The stream of bytes failed; the caller knows its own errors best.
    #[error("the transfer of the layer failed")]
    Transfer(#[source] E),
    /// Reading failed.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Reads a layer from a stream of bytes. One thread is busy with it until the result is there; dropping the
/// future ends it. At most 2 MiB wait in the channel, so a slow reading slows the transfer.
///
/// The number of threads at once is the caller's to bound.
pub async fn read_stream<S, E>(
    stream: S,
    layer: LayerSource,
    limits: Limits,
    table: &'static Table,
    hooks: Arc<dyn Hooks>,
    cancel: &Cancel,
) -> Result<Extract, StreamError<E>>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::error::Error + 'static,
{
    let (pieces, receiver) = mpsc::channel(PIECES);
    let reading = thread::run("layer", cancel, move |cancel| {
        let reader = PieceReader { receiver, piece: Bytes::new(), ended: false };
        let hooks = Cancellable { hooks: hooks.as_ref(), cancel };
        read(reader, &layer, &limits, table, &hooks)
    });
    let feeding = async {
        let mut stream = std::pin::pin!(stream);
        while let Some(next) = stream.next().await {
            let mut bytes = next?;
            while !bytes.is_empty() {
                let piece = bytes.split_to(PIECE.min(bytes.len()));
                if pieces.send(Piece::Bytes(piece)).await.is_err() {
                    return Ok(()); // the reader has its result already
                }
            }
        }
        let _ = pieces.send(Piece::End).await;
        Ok(())
    };
    let mut reading = std::pin::pin!(reading);
    let mut feeding = std::pin::pin!(feeding);
    let mut fed = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut reading => break outcome,
            result = &mut feeding, if !fed => match result {
                Ok(()) => fed = true,
                Err(error) => return Err(StreamError::Transfer(error)),
            },
        }
    };
    match outcome {
        Ok(result) => Ok(result?),
        Err(RunError::Cancelled { .. }) => Err(LayerError::Cancelled.into()),
        Err(RunError::NoThread { message, .. }) => Err(LayerError::Thread(io::Error::other(message)).into()),
        Err(_) => Err(LayerError::Lost.into()),
    }
}

/// What travels to the reading thread. A channel that closes without `End` was abandoned.
enum Piece {
    Bytes(Bytes),
    End,
}

struct PieceReader {
    receiver: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the transfer was abandoned")),
            }
        }
        let count = self.piece.len().min(out.len());
        let taken = self.piece.split_to(count);
        if let Some(room) = out.get_mut(..count) {
            room.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

/// The caller's hooks, and the thread's cancellation.
struct Cancellable<'a> {
    hooks: &'a dyn Hooks,
    cancel: &'a Cancel,
}

impl Hooks for Cancellable<'_> {
    fn progress(&self, progress: &Progress) -> std::ops::ControlFlow<()> {
        if self.cancel.is_cancelled() {
            return std::ops::ControlFlow::Break(());
        }
        self.hooks.progress(progress)
    }

    fn reserve(&self, bytes: u64) -> Option<plimsoll_cpu::Permit> {
        self.hooks.reserve(bytes)
    }
}
