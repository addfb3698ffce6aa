//! Connections whose other end stops reading. HTTP/1 waits for such a reader for ever, with all that the answer holds: its
//! memory, its place among the readers. A connection that takes too little of what it is sent is over: within each
//! [`TAKE_WITHIN`] that writes wait for it, [`LEAST_BYTES`]. A stream on which nothing is to be sent waits for nobody, and
//! may be silent for as long as it likes.

use std::future::Future as _;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::world::Stream;

/// For how long writes may wait before the other end must have taken [`LEAST_BYTES`].
pub(crate) const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// 1 KiB/s: any link that people still use carries several times as much, and so must one between the roles already, whose
/// pings pass the buffers of a socket within seconds.
const LEAST_BYTES: usize = 32 * 1024;

/// A connection that breaks when too little is taken of what is written to it.
pub(crate) struct Unstalled {
    stream: Stream,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
    /// For how long writes may still wait.
    left: Duration,
    /// What was taken since they might wait for as long as any.
    taken: usize,
}

impl Unstalled {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self { stream, patience: None, left: TAKE_WITHIN, taken: 0 }
    }

    /// What became of a write; one that waits, waits as long as it may.
    fn judge(
        &mut self,
        wrote: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(wrote) = wrote {
            if let Some(patience) = self.patience.take() {
                self.left = patience.deadline().saturating_duration_since(Instant::now());
            }
            self.taken = self.taken.saturating_add(wrote.as_ref().map_or(0, |taken| *taken));
            if self.taken >= LEAST_BYTES {
                (self.left, self.taken) = (TAKE_WITHIN, 0);
            }
            return Poll::Ready(wrote);
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(self.left)));
        ready!(patience.as_mut().poll(context));
        let problem = format!(
            "the other end took {} bytes of what it was sent while that waited for {TAKE_WITHIN:?}",
            self.taken
        );
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

    /// Writes so many bytes to a reader who takes `piece` of them each time that he waited for `pause`.
    async fn written(bytes: usize, piece: usize, pause: Duration) -> io::Result<()> {
        let (near, mut far) = duplex(BUFFER);
        let mut connection = Unstalled::new(Box::new(near));
        let read = async {
            let mut taken = vec![0; piece];
            loop {
                sleep(pause).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        };
        let bytes = vec![0; bytes];
        tokio::select! {
            wrote = connection.write_all(&bytes) => wrote,
            () = read => unreachable!("it reads for ever"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_as_long_as_it_takes_what_is_the_least() {
        let pieces = TAKE_WITHIN / 10;
        written(10 * LEAST_BYTES, LEAST_BYTES / 8, pieces).await.unwrap();
        let error = written(10 * LEAST_BYTES, LEAST_BYTES / 16, pieces).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_little_is_sent_is_never_too_slow() {
        let (near, mut far) = duplex(BUFFER);
        let mut connection = Unstalled::new(Box::new(near));
        for _ in 0..1_000 {
            sleep(TAKE_WITHIN).await;
            connection.write_all(&[0; BUFFER]).await.unwrap();
            far.read_exact(&mut [0; BUFFER]).await.unwrap();
        }
    }
}
