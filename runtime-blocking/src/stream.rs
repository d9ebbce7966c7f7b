//! A stream of a session, for code written for [`std::net::TcpStream`].

mod options;

use crate::driver::{Locked, State};
use crate::relay::{Pass, Relay};
use crate::session::Keeper;
use bytes::Bytes;
use posthole_protocol::{ResetCode, StreamId};
use posthole_runtime::Tried;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// How much of what is written is copied at a time. One copy of the application's bytes is made, when the session
/// takes them; from there on they are shared.
const PIECE: usize = 64 * 1024;

/// One byte stream of a [`Session`](crate::Session), both ways.
///
/// It behaves like a blocking [`TcpStream`](std::net::TcpStream): [`Read`] and [`Write`] (also for `&Stream`), so one
/// thread may read while another writes; `shutdown`, time-outs and [`try_clone`](Stream::try_clone) mean the same, and
/// errors have the same kinds:
///
/// | what happened | read gives | write gives |
/// | --- | --- | --- |
/// | the peer finished its side | `Ok(0)` | - |
/// | the peer reset the stream | `ConnectionReset` | `BrokenPipe` |
/// | the peer reads no more | - | `BrokenPipe` |
/// | this side was shut down | `Ok(0)` | `BrokenPipe` |
/// | the session was closed here | `NotConnected` | `NotConnected` |
/// | the session ended otherwise | `ConnectionAborted` | `ConnectionAborted` |
/// | the time-out passed, or it is non-blocking | `WouldBlock` | `WouldBlock` |
///
/// Inside the error is the reason: a [`ReadError`](crate::ReadError), a [`WriteError`](crate::WriteError) or a
/// [`SessionEnded`](crate::SessionEnded).
///
/// A written byte waits for nobody's `flush`. When the last handle of a stream is dropped, what was written is still
/// delivered, then the peer reads the end; what the peer goes on writing gets it a `BrokenPipe`. Like a session, the
/// delivery needs the process to live on: see [`Session::close`](crate::Session::close).
pub struct Stream {
    inner: Arc<Inner>,
}

struct Inner {
    keeper: Arc<Keeper>,
    id: StreamId,
    /// In microseconds; 0 is none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    nonblocking: AtomicBool,
    nodelay: AtomicBool,
}

impl Stream {
    /// The first handle of a stream, which was just opened or accepted.
    pub(crate) fn new(keeper: &Arc<Keeper>, id: StreamId) -> Stream {
        Stream {
            inner: Arc::new(Inner {
                keeper: keeper.clone(),
                id,
                read_timeout: AtomicU64::new(0),
                write_timeout: AtomicU64::new(0),
                nonblocking: AtomicBool::new(false),
                nodelay: AtomicBool::new(true),
            }),
        }
    }

    /// The stream's number, the same on both sides.
    pub fn id(&self) -> StreamId {
        self.inner.id
    }

    /// Another handle of the same stream: time-outs and all else are shared, as with sockets.
    ///
    /// # Errors
    /// None; it is a `Result` because a socket's is.
    pub fn try_clone(&self) -> io::Result<Stream> {
        Ok(Stream {
            inner: self.inner.clone(),
        })
    }

    /// Ends one or both directions. `Write`: the peer reads the end after what was written. `Read`: reads here give the
    /// end at once, and the peer's writes fail with `BrokenPipe`.
    ///
    /// # Errors
    /// `NotConnected`, if the session has ended.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut locked = self.lock();
        let shut = locked.shutdown(self.inner.id, how);
        locked.settle();
        shut
    }

    /// Gives the stream up in both directions, as a socket's reset does; what was not delivered is dropped. The peer's
    /// reads fail with `ConnectionReset`, unless it has read the end already, its writes with `BrokenPipe`, and both
    /// errors hold `code`.
    pub fn reset(&self, code: u32) {
        let mut locked = self.lock();
        locked.reset(self.inner.id, ResetCode(code));
        locked.settle();
    }

    /// The next bytes, at most `max`, without copying them; empty at the end.
    ///
    /// # Errors
    /// As reading; see [`Stream`].
    pub fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let (locked, bytes) = self.receive(|state, id| state.take(id, max))?;
        locked.settle();
        Ok(bytes)
    }

    /// As [`read_bytes`](Stream::read_bytes), but what comes while this waits is given to `pass` by whichever thread
    /// brings it, and this goes on waiting if `pass` says that it has taken all. So a stream is copied to a socket, say, and no thread
    /// need be woken for what the socket takes at once.
    ///
    /// Gives what `pass` has not taken; empty at the end. `pass` is called for one piece after another, of at most `max`
    /// bytes, from any thread, and must not wait: it says how many bytes it took. No time-out applies.
    ///
    /// # Errors
    /// As reading; see [`Stream`].
    ///
    /// # Panics
    /// If `pass` does.
    pub fn read_through(
        &self,
        max: usize,
        pass: impl FnMut(&[u8]) -> usize + Send + 'static,
    ) -> io::Result<Bytes> {
        let mut pass: Pass = Box::new(pass);
        loop {
            let mut locked = self.lock();
            match locked.take(self.inner.id, max) {
                Ok(Tried::Done(bytes)) => {
                    locked.settle();
                    let passed = if bytes.is_empty() { 0 } else { pass(&bytes) };
                    if bytes.is_empty() || passed < bytes.len() {
                        return Ok(bytes.slice(passed.min(bytes.len())..));
                    }
                }
                Ok(Tried::Blocked) => {
                    let relay = Relay::new(self.inner.id, max, pass);
                    if locked.readable(self.inner.id).join(&relay) {
                        locked.settle();
                    } else {
                        // What another thread waits for is passed on already: this one waits as all who read do.
                        drop(locked.wait(|state| state.readable(self.inner.id), None));
                        relay.call_back();
                    }
                    let waited = relay.wait();
                    self.lock().readable(self.inner.id).leave(&relay);
                    let (rest, back) = waited.unwrap_or_else(|panic| resume_unwind(panic));
                    match back {
                        Some(back) if rest.is_empty() => pass = back,
                        _ => return Ok(rest),
                    }
                }
                Err(error) => {
                    locked.settle();
                    return Err(error);
                }
            }
        }
    }

    /// Writes all of `data` without copying it. A slice that pins a much larger buffer pins it until the peer has
    /// confirmed it.
    ///
    /// # Errors
    /// As writing; see [`Stream`]. Some of `data` may have been taken.
    pub fn write_bytes(&self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            self.send(&mut data)?;
        }
        Ok(())
    }

    /// As [`read`](Read::read), but what is read stays to be read again.
    ///
    /// # Errors
    /// As reading; see [`Stream`].
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (locked, bytes) = self.receive(|state, id| state.look(id, buf.len()))?;
        locked.settle();
        let n = bytes.len().min(buf.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn lock(&self) -> Locked<'_> {
        self.inner.keeper.shared.lock()
    }

    /// Until when a call that begins now may wait; the error: not at all.
    fn deadline(&self, timeout: &AtomicU64) -> io::Result<Option<Instant>> {
        if self.inner.nonblocking.load(Ordering::Relaxed) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(options::load(timeout).and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Tries until there is something to read.
    fn receive<T>(
        &self,
        mut attempt: impl FnMut(&mut State, StreamId) -> io::Result<Tried<T>>,
    ) -> io::Result<(Locked<'_>, T)> {
        let mut locked = self.lock();
        let mut deadline = None;
        let mut late = false;
        loop {
            match attempt(&mut locked, self.inner.id) {
                Ok(Tried::Done(done)) => return Ok((locked, done)),
                Ok(Tried::Blocked) => {}
                Err(error) => {
                    // With its end told, the core may have let go of the stream, and have that to say.
                    locked.settle();
                    return Err(error);
                }
            }
            if late {
                return Err(ErrorKind::WouldBlock.into());
            }
            let until = match deadline {
                Some(until) => until,
                None => *deadline.insert(self.deadline(&self.inner.read_timeout)?),
            };
            (locked, late) = locked.wait(|state| state.readable(self.inner.id), until);
        }
    }

    /// Writes all of `data`, which is not empty, waiting for room as often as it takes. Gives how much was written
    /// if something stood in the way of the rest.
    fn send(&self, data: &mut Bytes) -> io::Result<usize> {
        let whole = data.len();
        let mut deadline = None;
        let mut late = false;
        let mut locked = self.lock();
        loop {
            let before = data.len();
            let tried = locked.put(self.inner.id, data);
            if data.is_empty() {
                locked.settle();
                return Ok(whole);
            }
            let until = match (tried, late, deadline) {
                (Err(error), ..) => Err(error),
                (Ok(()), true, _) => Err(ErrorKind::WouldBlock.into()),
                (Ok(()), false, Some(until)) => Ok(until),
                (Ok(()), false, None) => self.deadline(&self.inner.write_timeout),
            };
            let until = match until {
                Ok(until) => until,
                Err(error) => {
                    locked.settle();
                    let written = whole - data.len();
                    return if written > 0 { Ok(written) } else { Err(error) };
                }
            };
            deadline = Some(until);
            if data.len() < before {
                // What was taken leaves before this thread waits; meanwhile there may be room again.
                locked.settle();
                locked = self.lock();
                continue;
            }
            (locked, late) = locked.wait(|state| state.writable(self.inner.id), until);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut locked = self.keeper.shared.lock();
        locked.release(self.id);
        locked.settle();
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (locked, pieces) = self.receive(|state, id| state.take_all(id, buf.len()))?;
        locked.settle();
        Ok(pieces.copy_to(buf))
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut piece = Bytes::copy_from_slice(&buf[..buf.len().min(PIECE)]);
        self.send(&mut piece)
    }

    /// Nothing to do, as with a socket: what was written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.inner.id.number())
            .finish_non_exhaustive()
    }
}
