//! The connection under everything: a TCP socket, TLS on it where it is due, and what hyper sees of them.
//!
//! - A failed write is not yet a failed exchange: a box that refuses a body answers while it is still being sent, and
//!   closes. From then on output is dropped and the answer is read.
//! - hyper reads only when it is let: see [`Line`].

#[cfg(doc)]
use super::watch::Gate;
use super::watch::Pulse;
use crate::io::{fill, poll_io};
use hyper::rt::{Read, ReadBufCursor, Write};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A TCP connection that tells what moves.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Async<TcpStream>,
    pulse: Arc<Pulse>,
    /// The last thing seen was that there is nothing to read, or the last thing done was to ask for it: a read would
    /// most likely give nothing, so it waits first.
    is_drained: bool,
}

impl Wire {
    pub(super) fn new(stream: Async<TcpStream>, pulse: Arc<Pulse>) -> Wire {
        Wire {
            stream,
            pulse,
            is_drained: false,
        }
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.is_drained {
            ready!(self.stream.poll_readable(cx))?;
            self.is_drained = false;
        }
        let amount = ready!(poll_io(&self.stream, cx, Async::poll_readable, attempt))?;
        self.is_drained = amount > 0 && amount < room;
        self.pulse.note_moved(amount);
        Poll::Ready(Ok(amount))
    }

    #[cfg(unix)]
    fn poll_append(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        use rustix::net::{RecvFlags, recv};
        let room = into.capacity() - into.len();
        debug_assert!(room > 0);
        self.poll_recv(cx, room, |stream| {
            let spare = rustix::buffer::spare_capacity(into);
            Ok(recv(stream, spare, RecvFlags::empty())?.0)
        })
    }

    #[cfg(not(unix))]
    fn poll_append(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        append_through(self, cx, into)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.pulse.deaf.is_set() {
            return Poll::Ready(Ok(length));
        }
        let sent = ready!(poll_io(&self.stream, cx, Async::poll_writable, attempt));
        self.is_drained = true;
        Poll::Ready(match sent {
            Err(error) if is_closed(&error) => {
                self.pulse.deaf.set();
                // What could have come before is there to be read now.
                self.is_drained = false;
                Ok(length)
            }
            Ok(amount) => {
                self.pulse.note_moved(amount);
                Ok(amount)
            }
            Err(error) => Err(error),
        })
    }

    /// Whether a read would give something at once: bytes, the end, or an error.
    fn has_input(&self) -> bool {
        let peeked = self.stream.get_ref().peek(&mut [0]);
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, room.len(), |mut stream| {
            io::Read::read(&mut stream, room)
        })
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes.len(), |mut stream| {
            io::Write::write(&mut stream, bytes)
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, length, |mut stream| {
            io::Write::write_vectored(&mut stream, slices)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Never a half-close: some boxes take it for the end of both directions.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a proxy or server is spoken to by.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Wire),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

#[cfg(feature = "tls")]
pub(super) type TlsStream = futures_rustls::client::TlsStream<Stream>;

impl Stream {
    fn wire(&self) -> &Wire {
        match self {
            Stream::Plain(wire) => wire,
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.get_ref().0.wire(),
        }
    }

    /// Appends what comes to `into`, which has room and is not made larger.
    fn poll_append(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(wire) => wire.poll_append(cx, into),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => append_through(stream.as_mut(), cx, into),
        }
    }
}

/// Appends what a stream that wants its memory zeroed gives.
#[cfg(any(feature = "tls", not(unix)))]
fn append_through(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    into: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    crate::io::read_through(
        into.capacity() - into.len(),
        |scratch| Pin::new(stream).poll_read(cx, scratch),
        |bytes| into.extend_from_slice(bytes),
    )
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(wire) => Pin::new(wire).poll_read(cx, room),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(wire) => Pin::new(wire).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(wire) => Pin::new(wire).poll_flush(cx),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(wire) => Pin::new(wire).poll_close(cx),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

/// A connection to the server as hyper sees it, for one request and its answer at a time.
///
/// hyper tries to read before it has written, and once more when it has all that it wants: each would be a system call
/// for nothing and one to wait for something. So it may read once whenever [`Gate::open`] has said so, which is
/// done when it has tried in vain and has nothing else to do.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    pulse: Arc<Pulse>,
}

impl Line {
    pub(super) fn new(stream: Stream) -> Line {
        let pulse = stream.wire().pulse.clone();
        Line { stream, pulse }
    }

    /// Whether something has come, if only the end, that nobody asked for.
    pub(super) fn has_input(&self) -> bool {
        self.stream.wire().has_input()
    }

    /// Appends what comes to `into`, which has room and is not made larger.
    pub(super) fn poll_append(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_append(cx, into)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.pulse.gate.may_pass() {
            return Poll::Pending;
        }
        let amount = ready!(fill(&mut cursor, |room| {
            Pin::new(&mut self.stream).poll_read(cx, room)
        }))?;
        self.pulse.gate.shut();
        if amount > 0 {
            self.pulse.heard.set();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing more to write for now.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.pulse.flushed.set();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pulse.sent.set();
        self.pulse.flushed.clear();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

/// Whether the other side, or something on the way, has ended the connection.
pub(super) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}
