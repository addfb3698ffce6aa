//! A network that one member can be cut off from.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use muster_platform::{Listener, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The switch. While it is cut, nothing goes in or out.
#[derive(Debug, Default)]
pub(super) struct Cut {
    is_cut: AtomicBool,
    refused: AtomicUsize,
}

impl Cut {
    pub(super) fn set(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Connections that were tried in vain.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_cut.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// A network behind a switch.
pub(super) struct CutNetwork {
    pub(super) inner: Arc<dyn Network>,
    pub(super) cut: Arc<Cut>,
}

impl Network for CutNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            if let Err(error) = self.cut.check() {
                self.cut.refused.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
            let inner = self.inner.connect(address).await?;
            Ok(Box::new(CutStream { inner, cut: Arc::clone(&self.cut) }) as Stream)
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = self.inner.bind(address).await?;
            Ok(Box::new(CutListener { inner, cut: Arc::clone(&self.cut) }) as Box<dyn Listener>)
        })
    }
}

struct CutListener {
    inner: Box<dyn Listener>,
    cut: Arc<Cut>,
}

impl Listener for CutListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (inner, from) = self.inner.accept().await?;
            Ok((Box::new(CutStream { inner, cut: Arc::clone(&self.cut) }) as Stream, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

struct CutStream {
    inner: Stream,
    cut: Arc<Cut>,
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cut.check()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
