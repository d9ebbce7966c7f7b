//! A direct connection: one bundle after another, written by whoever has it, read by a task of its own.
//!
//! Whoever takes a bundle from the core sends what the socket takes at once. The rest is the task's, which is woken for
//! it; what the core says next leaves from there, so under load it is that task that writes.

use crate::driver::Shared;
use crate::io::Alarm;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, RequestId};
use posthole_runtime::{Frames, Unsent};
use smol::Async;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Pieces handed to one call; a longer chain takes several.
const PIECES: usize = 64;

/// So many reads in a row, then others have their turn.
const READS: u32 = 16;

/// How long what is said last may take, and the other side to close after it.
const LAST: Duration = Duration::from_secs(2);

/// What a direct connection is called, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Exchange(ExchangeId),
    Request(RequestId),
}

/// A direct connection.
pub(crate) struct Wire {
    stream: Async<TcpStream>,
    /// Held for writing, too, which never waits: so what is said last comes after the rest of what was said before.
    writing: Mutex<Writing>,
    /// Nothing more is said after the last, and by then all is over.
    ends: OnceLock<Instant>,
}

#[derive(Default)]
struct Writing {
    rest: Option<Rest>,
    last: Option<Unsent>,
    is_over: bool,
    /// The connection's task, while it waits.
    task: Option<Waker>,
}

/// What the socket did not take at once, and whom to tell when it has.
struct Rest {
    unsent: Unsent,
    /// Weak: a client's session has the connection.
    shared: Weak<Shared>,
    name: Name,
}

/// What comes of reading.
pub(crate) enum Read {
    /// Whole bundles, and perhaps part of one after them.
    Bundles { bundles: Bytes, has_more: bool },
    /// Part of one, so many bytes by now.
    Part(usize),
    /// The moment that was asked for has come.
    Late,
}

/// What is to be done after that.
pub(crate) enum Then {
    /// Read on; at this moment at the latest, say so.
    GoOn(Option<Instant>),
    /// The connection carries nothing more.
    End,
}

impl Wire {
    pub(crate) fn new(stream: Async<TcpStream>) -> Arc<Wire> {
        // Every write is a whole bundle: nothing is gained by waiting for more.
        let _ = stream.get_ref().set_nodelay(true);
        Arc::new(Wire {
            stream,
            writing: Mutex::default(),
            ends: OnceLock::new(),
        })
    }

    /// Sends a bundle. `true`: all of it has been written. Otherwise the core hears of that later, or, by the task that
    /// reads, of the connection's end.
    pub(crate) fn send(&self, shared: &Arc<Shared>, name: Name, bundle: Chain) -> bool {
        let mut unsent = Unsent::new(bundle);
        match self.send_now(&mut unsent) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => {
                self.close();
                return false;
            }
        }
        self.tell(|writing| {
            writing.rest = Some(Rest {
                unsent,
                shared: Arc::downgrade(shared),
                name,
            });
        });
        false
    }

    /// Says the last thing and closes, as soon as the other side has or when that takes too long.
    pub(crate) fn end(&self, last: Chain) {
        self.ends.get_or_init(|| Instant::now() + LAST);
        let unsent = Unsent::new(last);
        self.tell(|writing| writing.last = Some(unsent));
    }

    /// Closes, at once unless the last thing is being said.
    pub(crate) fn stop(&self) {
        if self.ends.get().is_none() {
            self.close();
        }
    }

    /// Closes at once.
    pub(crate) fn close(&self) {
        // An error says that it is closed already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
        let mut rest = None;
        self.tell(|writing| {
            writing.is_over = true;
            rest = writing.rest.take();
        });
        drop(rest);
    }

    fn tell(&self, change: impl FnOnce(&mut Writing)) {
        let mut writing = self.lock();
        change(&mut writing);
        let task = writing.task.take();
        drop(writing);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Writes what the socket takes without waiting; true if that is all.
    fn send_now(&self, unsent: &mut Unsent) -> io::Result<bool> {
        loop {
            let mut room = [IoSlice::new(&[]); PIECES];
            let count = unsent.slices(&mut room);
            let slices = room.get(..count).unwrap_or_default();
            match self.stream.get_ref().write_vectored(slices) {
                Ok(0) if count > 0 => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    if unsent.advance(sent) {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads, and writes what others could not, until the connection ends or what comes is refused.
    pub(crate) async fn run(
        &self,
        most: usize,
        late: Option<Instant>,
        mut on: impl FnMut(Read) -> Then,
    ) {
        let mut reading = Reading {
            frames: Frames::new(most),
            is_drained: false,
            alarm: Alarm::never(),
            late: None,
        };
        reading.until(late);
        let closing = Closing(self);
        poll_fn(|cx| self.poll(cx, &mut reading, &mut on)).await;
        drop(closing);
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        reading: &mut Reading,
        on: &mut impl FnMut(Read) -> Then,
    ) -> Poll<()> {
        for _ in 0..READS {
            let mut writing = self.lock();
            if writing.is_over {
                return Poll::Ready(());
            }
            let old = writing.task.replace(cx.waker().clone());
            drop(writing);
            drop(old);
            if self.write(cx).is_err() {
                return Poll::Ready(());
            }
            let ends = self.ends.get().copied();
            if ends.is_some() {
                reading.until(ends);
            }
            let goes_on = match reading.poll(&self.stream, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                // What has come already must be read, or closing becomes a reset that may overtake what was said last.
                Poll::Ready(Ok(_)) if ends.is_some() => {
                    if ends.is_some_and(|ends| Instant::now() >= ends) {
                        return Poll::Ready(());
                    }
                    reading.frames.room().clear();
                    continue;
                }
                Poll::Ready(Ok(_)) => match reading.frames.take() {
                    Ok(Some(bundles)) => on(Read::Bundles {
                        bundles,
                        has_more: reading.frames.has_part(),
                    }),
                    Ok(None) => on(Read::Part(reading.frames.part())),
                    Err(_) => return Poll::Ready(()),
                },
                Poll::Pending if reading.is_late(cx) => {
                    if ends.is_some() {
                        return Poll::Ready(());
                    }
                    on(Read::Late)
                }
                // What was written meanwhile may have given this something to do.
                Poll::Pending if self.has_work() => continue,
                Poll::Pending => return Poll::Pending,
            };
            match goes_on {
                Then::End if self.ends.get().is_none() => return Poll::Ready(()),
                Then::End => {}
                Then::GoOn(late) => reading.until(late),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether something that could not be sent at once has come while the task was at work, or all is over.
    fn has_work(&self) -> bool {
        let writing = self.lock();
        writing.task.is_none() && (writing.rest.is_some() || writing.last.is_some())
            || writing.is_over
    }

    /// Writes what others could not, as far as the socket takes it.
    fn write(&self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut writing = self.lock();
            let Writing { rest, last, .. } = &mut *writing;
            let unsent = match (&mut *rest, &mut *last) {
                (Some(rest), _) => &mut rest.unsent,
                (None, Some(last)) => last,
                (None, None) => return Ok(()),
            };
            if self.send_now(unsent)? {
                let done = rest.take();
                if done.is_none() {
                    *last = None;
                    self.stream.get_ref().shutdown(Shutdown::Write)?;
                }
                drop(writing);
                let told = done.and_then(|rest| Some((rest.shared.upgrade()?, rest.name)));
                if let Some((shared, name)) = told {
                    shared.feed_written(name);
                }
                continue;
            }
            drop(writing);
            match self.stream.poll_writable(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the connection, also when its task is dropped.
struct Closing<'a>(&'a Wire);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the task knows of what comes.
struct Reading {
    frames: Frames,
    /// The last read gave less than there was room for: another would most likely give nothing.
    is_drained: bool,
    /// Left as it is while nothing is to be late, as in bulk that changes with every other read.
    alarm: Alarm,
    late: Option<Instant>,
}

impl Reading {
    fn until(&mut self, late: Option<Instant>) {
        self.late = late;
        if let Some(late) = late {
            self.alarm.move_to(late);
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.late.is_some() && Pin::new(&mut self.alarm).poll(cx).is_ready()
    }

    fn poll(&mut self, stream: &Async<TcpStream>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if self.is_drained {
                match stream.poll_readable(cx) {
                    Poll::Ready(Ok(())) => self.is_drained = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let room = self.frames.room();
            let spare = room.capacity() - room.len();
            match receive(stream.get_ref(), room) {
                Ok(amount) => {
                    self.is_drained = amount < spare;
                    return Poll::Ready(Ok(amount));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_drained = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Appends what is there, up to the capacity.
#[cfg(unix)]
fn receive(stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    use rustix::net::{RecvFlags, recv};
    let spare = rustix::buffer::spare_capacity(into);
    Ok(recv(stream, spare, RecvFlags::empty())?.0)
}

#[cfg(not(unix))]
fn receive(mut stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    let len = into.len();
    into.resize(into.capacity(), 0);
    let result = io::Read::read(&mut stream, &mut into[len..]);
    into.truncate(len + result.as_ref().copied().unwrap_or(0));
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Carrier, Config, Handler, ListenOptions};
    use posthole_protocol::{Client, Instant as Time, SessionId};
    use smol::future::{block_on, zip};
    use smol::io::AsyncReadExt;
    use socket2::SockRef;
    use std::net::TcpListener;

    /// Both ends of a connection; this one has next to no buffer.
    fn pair() -> (Arc<Wire>, Async<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = SockRef::from(&listener);
        socket.set_send_buffer_size(4096).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        (
            Wire::new(Async::new(near).unwrap()),
            Async::new(far).unwrap(),
        )
    }

    /// A client's first bundle for a direct connection.
    fn first() -> Bytes {
        let config = Config::default().by(Carrier::Direct);
        let mut client = Client::new(config, SessionId::from_bytes([5; 16]), Time::ZERO);
        client.knows_direct(Time::ZERO, Duration::ZERO);
        assert!(client.poll_dial().is_some());
        client.feed_dialled(Time::ZERO).unwrap();
        client.poll_request(Time::ZERO).unwrap().body.into_bytes()
    }

    /// The rest of what was said before comes first, also where the socket has no room for it for a while.
    #[test]
    fn the_last_word_comes_last() {
        const LENGTH: usize = 2_000_000;
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (wire, mut far) = pair();
        let (shared, request) = handler.house.begin_direct(first(), &wire).unwrap();
        let said = Chain::from(Bytes::from(vec![7; LENGTH]));
        assert!(!wire.send(&shared, Name::Request(request), said));
        shared.turn(|inside| inside.abort());
        let mut all = Vec::new();
        let reading = async {
            far.read_to_end(&mut all).await.unwrap();
            drop(far);
        };
        block_on(zip(wire.run(1000, None, |_| Then::GoOn(None)), reading));
        let begin = all.windows(9).position(|bytes| bytes == [7; 9]).unwrap();
        let (said, last) = all[begin..].split_at(LENGTH);
        assert!(said.iter().all(|byte| *byte == 7));
        assert!(!last.is_empty(), "the session has ended, and says so");
    }

    #[test]
    fn a_connection_that_has_ended_is_kept_nowhere() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (wire, far) = pair();
        let (shared, request) = handler.house.begin_direct(first(), &wire).unwrap();
        let kept = Arc::downgrade(&wire);
        drop((wire, far));
        assert!(kept.upgrade().is_some(), "the session speaks on it");
        shared.feed_hangup(request);
        assert!(kept.upgrade().is_none(), "its socket stays open");
        assert_eq!(handler.sessions(), 1);
    }
}
