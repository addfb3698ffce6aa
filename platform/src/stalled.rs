//! Connections whose other end stops reading. HTTP/1 waits for such a reader for ever, with all that the answer holds: its
//! memory, its place among the readers. A connection that takes nothing of what it is sent for a while is over.

use std::future::Future as _;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::world::Stream;

/// How long the other end may take nothing of what it is sent.
const TAKE_WITHIN: Duration = Duration::from_secs(30);

/// A connection that breaks when a write waits too long without getting on.
pub(crate) struct Unstalled {
    stream: Stream,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Unstalled {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self { stream, patience: None }
    }

    /// What became of a write; one that waits, waits as long as it may.
    fn judge(
        &mut self,
        wrote: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.patience = None;
            return wrote;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(TAKE_WITHIN)));
        ready!(patience.as_mut().poll(context));
        let problem = format!("the other end took nothing of what it was sent for {TAKE_WITHIN:?}");
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, problem)))
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(wrote, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    const BUFFER: usize = 16;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_breaks_the_connection() {
        let (near, _far) = duplex(BUFFER);
        let mut connection = Unstalled::new(Box::new(near));
        let begun = Instant::now();
        let error = connection.write_all(&[0; 2 * BUFFER]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), TAKE_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_as_long_as_it_takes_something() {
        let (near, mut far) = duplex(BUFFER);
        let mut connection = Unstalled::new(Box::new(near));
        let read = async {
            let mut taken = [0; BUFFER];
            for _ in 0..10 {
                sleep(TAKE_WITHIN / 2).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        };
        let (wrote, ()) = tokio::join!(connection.write_all(&[0; 10 * BUFFER]), read);
        wrote.unwrap();
    }
}
