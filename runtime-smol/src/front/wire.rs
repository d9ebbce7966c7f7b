//! A connection's socket as hyper gets it: tells [`Conn`] what moves, and keeps from the other end what hyper says of
//! its own accord.

use super::conn::Conn;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(super) struct Wire {
    stream: Arc<Async<TcpStream>>,
    conn: Arc<Conn>,
}

impl Wire {
    pub(super) fn new(stream: Arc<Async<TcpStream>>, conn: Arc<Conn>) -> Wire {
        Wire { stream, conn }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.conn.may_read() {
            return Poll::Pending;
        }
        let read = Pin::new(&mut &*self.stream).poll_read(cx, into);
        let amount = match &read {
            Poll::Ready(Ok(amount)) => Some(*amount),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        };
        if self.conn.on_read(amount) {
            read
        } else {
            Poll::Pending
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.conn.may_write() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut &*self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(amount)) = written {
            self.conn.on_written(amount);
        }
        written
    }

    /// hyper flushes when all that it had to write is written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conn.on_flush();
        Poll::Ready(Ok(()))
    }

    /// How a connection ends is not hyper's to say.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
