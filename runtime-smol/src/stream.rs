//! A stream of a session, for code written for `async_net::TcpStream`.

use crate::driver::{Shared, State};
use crate::session::Keeper;
use crate::turn::Use;
use bytes::Bytes;
use posthole_protocol::{ResetCode, StreamId};
use posthole_runtime::Tried;
use smol::io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// How much of what is written is copied at a time. One copy of the application's bytes is made, when the session
/// takes them; from there on they are shared.
const PIECE: usize = 64 * 1024;

/// One byte stream of a [`Session`](crate::Session), both ways.
///
/// It behaves like an `async_net::TcpStream`: [`AsyncRead`] and [`AsyncWrite`] (also for `&Stream`), so one task may read
/// while another writes; clones are handles of the same stream, and errors have the same kinds:
///
/// | what happened | read gives | write gives |
/// | --- | --- | --- |
/// | the peer finished its side | `Ok(0)` | - |
/// | the peer reset the stream | `ConnectionReset` | `BrokenPipe` |
/// | the peer reads no more | - | `BrokenPipe` |
/// | this side was shut down | `Ok(0)` | `BrokenPipe` |
/// | the session was closed here | `NotConnected` | `NotConnected` |
/// | the session ended otherwise | `ConnectionAborted` | `ConnectionAborted` |
///
/// Inside the error is the reason: a [`ReadError`](crate::ReadError), a [`WriteError`](crate::WriteError) or a
/// [`SessionEnded`](crate::SessionEnded).
///
/// A written byte waits for nobody's `flush`. `close` (of [`AsyncWrite`]) ends this side, as a socket's shutdown of
/// writing does, and reading goes on. When the last handle of a stream is dropped, what was written is still delivered,
/// then the peer reads the end; what the peer goes on writing gets it a `BrokenPipe`. Like a session, the delivery needs
/// its executor to live on: see [`Session::close`](crate::Session::close).
///
/// # Cancelling
/// All futures here, and those that `AsyncReadExt` and the like make of one `poll_read` or `poll_write`, are cancel-safe:
/// dropped before they are ready they have read and written nothing. Those that go on after a part (`read_exact`,
/// `write_all`, [`write_bytes`](Stream::write_bytes)) lose only the knowledge of how far they came. Any number of tasks
/// may wait for the same stream; of more than eight on one side some are woken now and then without need.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<Inner>,
}

struct Inner {
    keeper: Arc<Keeper>,
    id: StreamId,
    nodelay: AtomicBool,
    used: Use,
}

impl Stream {
    /// The first handle of a stream, which was just opened or accepted.
    pub(crate) fn new(keeper: &Arc<Keeper>, id: StreamId) -> Stream {
        Stream {
            inner: Arc::new(Inner {
                keeper: keeper.clone(),
                id,
                nodelay: AtomicBool::new(true),
                used: Use::default(),
            }),
        }
    }

    /// The stream's number, the same on both sides.
    pub fn id(&self) -> StreamId {
        self.inner.id
    }

    /// Ends one or both directions. `Write`: the peer reads the end after what was written. `Read`: reads here give the
    /// end at once, and the peer's writes fail with `BrokenPipe`.
    ///
    /// # Errors
    /// `NotConnected`, if the session has ended.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let id = self.inner.id;
        self.shared().turn(|inside| inside.shutdown(id, how))
    }

    /// Gives the stream up in both directions, as a socket's reset does; what was not delivered is dropped. The peer's
    /// reads fail with `ConnectionReset`, unless it has read the end already, its writes with `BrokenPipe`, and both
    /// errors hold `code`.
    pub fn reset(&self, code: u32) {
        let (id, code) = (self.inner.id, ResetCode(code));
        self.shared().turn(|inside| inside.reset(id, code));
    }

    /// The next bytes, at most `max`, without copying them; empty at the end.
    ///
    /// Cancel-safe: what was not given is read by the next call.
    ///
    /// # Errors
    /// As reading; see [`Stream`].
    pub async fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let bytes = poll_fn(|cx| self.poll_receive(cx, |state, id| state.take(id, max))).await?;
        self.inner.used.moved(bytes.len());
        Ok(bytes)
    }

    /// Writes all of `data` without copying it. A slice that pins a much larger buffer pins it until the peer has
    /// confirmed it.
    ///
    /// Cancel-safe in this sense: dropped in the middle it has written some part of the front of `data`, and the rest
    /// not.
    ///
    /// # Errors
    /// As writing; see [`Stream`]. Some of `data` may have been taken.
    pub async fn write_bytes(&self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            poll_fn(|cx| self.poll_send(cx, &mut data)).await?;
        }
        Ok(())
    }

    /// As reading, but what is read stays to be read again.
    ///
    /// Cancel-safe, as it changes nothing.
    ///
    /// # Errors
    /// As reading; see [`Stream`].
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let max = buf.len();
        let bytes = poll_fn(|cx| self.poll_receive(cx, |state, id| state.look(id, max))).await?;
        let n = bytes.len().min(max);
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Accepted and remembered: a lone small write leaves at once anyway, and others gather for milliseconds only.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.nodelay.store(nodelay, Ordering::Relaxed);
        Ok(())
    }

    /// What was set; at first `true`.
    ///
    /// # Errors
    /// None.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.inner.nodelay.load(Ordering::Relaxed))
    }

    /// A stream's peer has no address: between stand proxies, and connections come and go.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "a stream of a session has no peer address",
        ))
    }

    /// See [`peer_addr`](Stream::peer_addr).
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "a stream of a session has no local address",
        ))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.keeper.shared
    }

    /// Tries until there is something to read.
    fn poll_receive<T>(
        &self,
        cx: &Context<'_>,
        attempt: impl FnOnce(&mut State, StreamId) -> io::Result<Tried<T>>,
    ) -> Poll<io::Result<T>> {
        let id = self.inner.id;
        self.shared().attempt(|state| match attempt(state, id) {
            Ok(Tried::Done(done)) => Poll::Ready(Ok(done)),
            Ok(Tried::Blocked) => {
                let others = state.readable(id).join_task(cx.waker());
                others.into_iter().for_each(|others| state.wake(others));
                Poll::Pending
            }
            // With its end told, the core may have let go of the stream, and have that to say.
            Err(error) => Poll::Ready(Err(error)),
        })
    }

    /// Takes what there is room for off the front of `data`, which is not empty, and says how much that was.
    fn poll_send(&self, cx: &Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        let id = self.inner.id;
        let tried: Poll<io::Result<usize>> = self.shared().attempt(|state| {
            let whole = data.len();
            state.put(id, data)?;
            if data.len() < whole {
                return Poll::Ready(Ok(whole - data.len()));
            }
            let others = state.writable(id).join_task(cx.waker());
            others.into_iter().for_each(|others| state.wake(others));
            Poll::Pending
        });
        let sent = ready!(tried)?;
        self.inner.used.moved(sent);
        Poll::Ready(Ok(sent))
    }

    /// How much of `length` bytes is worth copying at this moment. One where there is no room: the session has to see
    /// that something is to be written.
    fn worth_copying(&self, length: usize) -> usize {
        let room = self.shared().lock().room_in(self.inner.id);
        length.min(PIECE).min(room.max(1))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.shared.turn(|inside| inside.release(self.id));
    }
}

impl AsyncRead for &Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let pieces = ready!(self.poll_receive(cx, |state, id| state.take_all(id, buf.len())))?;
        let amount = pieces.copy_to(buf);
        self.inner.used.moved(amount);
        Poll::Ready(Ok(amount))
    }
}

impl AsyncWrite for &Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let amount = self.worth_copying(buf.len());
        self.poll_send(cx, &mut Bytes::copy_from_slice(&buf[..amount]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole = bufs.iter().map(|buf| buf.len()).sum();
        if whole == 0 {
            return Poll::Ready(Ok(0));
        }
        let amount = self.worth_copying(whole);
        let mut piece = Vec::with_capacity(amount);
        for buf in bufs {
            let more = buf.len().min(amount - piece.len());
            piece.extend_from_slice(&buf[..more]);
        }
        self.poll_send(cx, &mut piece.into())
    }

    /// Nothing to do, as with a socket: what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.inner.id.number())
            .finish_non_exhaustive()
    }
}
