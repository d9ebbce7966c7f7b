//! A direct connection: one bundle after another, written by whoever has it, read by a thread of its own.
//!
//! Whoever takes a bundle from the core sends what the socket takes at once. The rest is for a thread that is made when
//! it is first needed; what the core says next leaves from there, so under load it is that thread that writes.

use crate::driver::Shared;
use crate::front::outgoing::Outgoing;
use crate::front::sock::{self, Got};
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, RequestId};
use posthole_runtime::Frames;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a writing thread waits for more, outside tests.
const KEPT: Duration = Duration::from_secs(5);

/// How long what is said last may take, before the connection is closed.
const LAST: Duration = Duration::from_secs(2);

/// A writing thread's stack.
const STACK: usize = 256 * 1024;

/// What a direct connection is called, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Exchange(ExchangeId),
    Request(RequestId),
}

/// A direct connection.
pub(crate) struct Wire {
    stream: TcpStream,
    writing: Mutex<Writing>,
    more: Condvar,
    /// Nothing more is said after the last, and by then all is over.
    ends: OnceLock<Instant>,
    /// How long a writing thread waits for more.
    kept: Duration,
}

#[derive(Default)]
struct Writing {
    rest: Option<Rest>,
    /// The thread writes what was the rest.
    is_under_way: bool,
    last: Option<Outgoing>,
    has_thread: bool,
    is_over: bool,
}

/// What the socket did not take at once, and whom to tell when it has.
struct Rest {
    outgoing: Outgoing,
    shared: Arc<Shared>,
    name: Name,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Arc<Wire> {
        // Every write is a whole bundle: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        Arc::new(Wire {
            stream,
            writing: Mutex::default(),
            more: Condvar::new(),
            ends: OnceLock::new(),
            kept: KEPT,
        })
    }

    /// Sends a bundle. `true`: all of it has been written. Otherwise the core hears of that later, or, by the thread
    /// that reads, of the connection's end.
    pub(crate) fn send(self: &Arc<Self>, shared: &Arc<Shared>, name: Name, bundle: Chain) -> bool {
        let mut outgoing = Outgoing::bare(bundle);
        match outgoing.send_now(&self.stream) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => {
                self.close();
                return false;
            }
        }
        let mut writing = self.lock();
        writing.rest = Some(Rest {
            outgoing,
            shared: shared.clone(),
            name,
        });
        self.wake(writing);
        false
    }

    /// Says the last thing and closes, as soon as the other side has or when that takes too long.
    pub(crate) fn end(self: &Arc<Self>, last: Chain) {
        let mut outgoing = Outgoing::bare(last);
        let mut writing = self.lock();
        self.ends.get_or_init(|| Instant::now() + LAST);
        let is_free = writing.rest.is_none() && !writing.is_under_way;
        if is_free && !matches!(outgoing.send_now(&self.stream), Ok(false)) {
            return self.finish();
        }
        writing.last = Some(outgoing);
        self.wake(writing);
    }

    /// Closes, at once unless the last thing is being said.
    pub(crate) fn stop(&self) {
        if self.ends.get().is_none() {
            self.close();
        }
    }

    /// Closes at once.
    pub(crate) fn close(&self) {
        let mut writing = self.lock();
        writing.is_over = true;
        writing.rest = None;
        drop(writing);
        self.more.notify_all();
        // An error says that it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes after what was written.
    fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until the connection ends or what comes is refused. Whoever says the last thing on a connection has told its
    /// socket for how long to wait.
    pub(crate) fn read(&self, mut frames: Frames, mut on: impl FnMut(Read) -> bool) {
        loop {
            let got = sock::recv(&self.stream, frames.room());
            if let Some(ends) = self.ends.get() {
                // What has come already must be read, or closing becomes a reset that may overtake what was said last.
                frames.room().clear();
                if got == Got::End || Instant::now() >= *ends {
                    return;
                }
                continue;
            }
            let goes_on = match got {
                Got::End => return,
                Got::Nothing => on(Read::Nothing),
                Got::Bytes => match frames.take() {
                    Ok(Some(bundles)) => on(Read::Bundles {
                        bundles,
                        has_more: frames.has_part(),
                    }),
                    Ok(None) => on(Read::Part(frames.part())),
                    Err(_) => false,
                },
            };
            if !goes_on && self.ends.get().is_none() {
                return;
            }
        }
    }

    /// Someone is to write what waits.
    fn wake(self: &Arc<Self>, mut writing: MutexGuard<'_, Writing>) {
        if std::mem::replace(&mut writing.has_thread, true) {
            drop(writing);
            self.more.notify_one();
            return;
        }
        drop(writing);
        let wire = self.clone();
        let thread = thread::Builder::new()
            .name("posthole-write".into())
            .stack_size(STACK);
        if let Err(error) = thread.spawn(move || wire.write()) {
            tracing::warn!(%error, "no thread to write a direct connection: it is closed");
            self.close();
        }
    }

    /// Writes what others could not, until nothing has come for a while.
    fn write(self: Arc<Self>) {
        let mut writing = self.lock();
        let mut idle = Instant::now();
        loop {
            if let Some(mut rest) = writing.rest.take() {
                writing.is_under_way = true;
                drop(writing);
                // Whoever closes the connection ends this.
                let sent = rest.outgoing.send_all(&self.stream, Duration::MAX);
                self.lock().is_under_way = false;
                if sent.is_err() {
                    self.close();
                } else {
                    rest.shared.feed_written(rest.name);
                }
                writing = self.lock();
                idle = Instant::now();
                continue;
            }
            if let Some(mut last) = writing.last.take() {
                drop(writing);
                let _ = last.send_all(&self.stream, LAST);
                self.finish();
                return;
            }
            if writing.is_over || idle.elapsed() >= self.kept {
                writing.has_thread = false;
                return;
            }
            writing = self
                .more
                .wait_timeout(writing, self.kept)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of reading.
pub(crate) enum Read {
    /// Whole bundles, and perhaps part of one after them.
    Bundles { bundles: Bytes, has_more: bool },
    /// Part of one, so many bytes by now.
    Part(usize),
    /// Nothing, for as long as the socket was told to wait.
    Nothing,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use socket2::SockRef;
    use std::io::Read as _;
    use std::net::TcpListener;

    /// A connection whose socket takes little at once, and its other end.
    fn narrow() -> (Arc<Wire>, TcpStream) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(port.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (stream, _) = port.accept().unwrap();
        SockRef::from(&stream)
            .set_send_buffer_size(64 * 1024)
            .unwrap();
        (Wire::new(stream), peer)
    }

    #[test]
    fn a_writing_thread_that_has_gone_is_made_anew() {
        let (mut wire, mut peer) = narrow();
        Arc::get_mut(&mut wire).unwrap().kept = Duration::from_millis(10);
        // The first has nothing to write, and goes.
        wire.wake(wire.lock());
        let begun = Instant::now();
        while Arc::strong_count(&wire) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
            thread::yield_now();
        }
        // More than the socket takes at once.
        let last = vec![7; 2_000_000];
        wire.end(Bytes::from(last.clone()).into());
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("someone writes the rest");
        assert_eq!(got.len(), last.len());
    }
    #[test]
    fn what_is_said_last_comes_after_what_is_being_written() {
        const BUNDLE: usize = 8_000_000;
        for round in 0..50 {
            let (wire, mut peer) = narrow();
            let name = Name::Request(RequestId::new(1));
            assert!(!wire.send(&Shared::alone(), name, Bytes::from(vec![7; BUNDLE]).into()));
            while wire.lock().rest.is_some() {
                thread::yield_now();
            }
            // So that there is a little room, and at some time the thread has not woken for it.
            let mut got = vec![0; round * 16 * 1024];
            peer.read_exact(&mut got).unwrap();
            wire.end(Bytes::from_static(&[8]).into());
            peer.read_to_end(&mut got).unwrap();
            let (last, bundle) = got.split_last().unwrap();
            assert_eq!((*last, bundle.len()), (8, BUNDLE), "in round {round}");
            assert!(bundle.iter().all(|byte| *byte == 7));
        }
    }
}
