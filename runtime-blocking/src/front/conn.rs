//! One connection, as its own thread and those who answer share it.
//!
//! The connection's thread alone reads and alone calls the service; it is always in `recv`, also while a request is
//! held, so it learns at once when the client goes. Whoever answers writes, under the lock and without waiting; only
//! what the socket doesn't take at once is left to a helper.
//!
//! ```text
//!            begin                 respond: all sent
//!  Reading --------> Held -----------------------------> Reading, or Done if it was the last
//!                     |  respond: some sent           ^
//!                     +----------------> Writing -----+
//!                     |                     |
//!                     +---------------------+----------> Failed: the thread calls hangup
//!  dropped unanswered, or not to be written
//! ```
//!
//! A piece of a streamed reply is written in the same way, but leads back to `Held`.
//!
//! A client's next request may come before the answering thread is back from its write. So the write and the step
//! to `Reading` are one critical section, and the connection's thread, once it has bytes, waits for a helper that is
//! still `Writing`: what it finds then decides whether those bytes are a request or pipelining.

use super::helpers::Helpers;
use super::outgoing::Outgoing;
use super::reply::{Head, Persist};
use super::sock::Got;
use super::{Limits, Pieces, Reply, Responder};
use posthole_protocol::wire::Chain;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub(super) struct Conn {
    pub(super) stream: TcpStream,
    state: Mutex<State>,
    settled: Condvar,
}

struct State {
    phase: Phase,
    /// How the request in hand, or the one to come, leaves the connection.
    persist: Persist,
    /// Its sender reads bodies in chunks.
    chunks: bool,
    /// The reply is streamed: its head has been written.
    streams: bool,
    /// The end of a streamed reply, that waits for a piece to be written; `None` within: there will be none.
    rest: Option<Option<Reply>>,
    idle_since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No request, or one that is partly here.
    Reading,
    /// The service has it.
    Held,
    /// A helper writes the reply.
    Writing,
    /// Nothing more will be read.
    Done,
    /// The reply won't be whole.
    Failed,
}

/// What the connection's thread is to do after a receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Receive again.
    Wait,
    /// Read a request, which has begun.
    Request,
    /// Tell the service that its request is void, and end.
    Hangup,
    /// End.
    End,
}

impl Conn {
    pub(super) fn new(stream: TcpStream) -> Conn {
        let state = State {
            phase: Phase::Reading,
            persist: Persist::Default,
            chunks: false,
            streams: false,
            rest: None,
            idle_since: Instant::now(),
        };
        Conn {
            stream,
            state: Mutex::new(state),
            settled: Condvar::new(),
        }
    }

    /// A whole request is here: from now on a reply is owed. False if the connection is to end instead.
    #[must_use]
    pub(super) fn hold(&self, persist: Persist, chunks: bool) -> bool {
        let mut state = self.lock();
        let reading = state.phase == Phase::Reading;
        if reading {
            (state.phase, state.persist) = (Phase::Held, persist);
            (state.chunks, state.streams, state.rest) = (chunks, false, None);
        }
        reading
    }

    /// Judges what the connection's thread has received between requests.
    pub(super) fn on_received(&self, got: Got, idle: Duration) -> Next {
        let mut state = self.lock();
        if got != Got::Nothing {
            let writing = |state: &mut State| state.phase == Phase::Writing;
            state = self
                .settled
                .wait_while(state, writing)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let next = match (state.phase, got) {
            (Phase::Reading, Got::Bytes) => return Next::Request,
            (Phase::Reading, Got::Nothing) if state.idle_since.elapsed() < idle => {
                return Next::Wait;
            }
            (Phase::Held | Phase::Writing, Got::Nothing) => return Next::Wait,
            (Phase::Reading | Phase::Done, _) => Next::End,
            // Bytes in `Held` are pipelining: what they ask for could not be answered before what is held.
            (Phase::Held | Phase::Writing | Phase::Failed, _) => Next::Hangup,
        };
        state.phase = Phase::Done;
        next
    }

    /// Closes it, unless a reply is being written and `force` is not set; then it closes after that.
    pub(super) fn stop(&self, force: bool) {
        let mut state = self.lock();
        state.persist = Persist::Close;
        if state.phase == Phase::Reading {
            state.phase = Phase::Done;
        }
        if state.phase != Phase::Writing || force {
            self.shut_down();
        }
    }

    fn reply(self: Arc<Self>, reply: Reply, helpers: &Helpers, limits: &Limits) {
        let mut state = self.lock();
        if state.phase == Phase::Writing && state.streams {
            state.rest = Some(Some(reply));
            return;
        }
        if state.phase != Phase::Held {
            return;
        }
        let mut outgoing = if state.streams {
            Outgoing::rest(None, reply.body, state.chunks)
        } else {
            Outgoing::new(reply, state.persist)
        };
        match outgoing.send_now(&self.stream) {
            Ok(true) => self.settle(state, Whole::Yes),
            Err(_) => self.settle(state, Whole::No),
            Ok(false) => {
                state.phase = Phase::Writing;
                drop(state);
                let time = limits.time_for(outgoing.left());
                let conn = Arc::clone(&self);
                let spawned = helpers.run(move || {
                    let whole = outgoing
                        .send_all(&conn.stream, time)
                        .map_or(Whole::No, |()| Whole::Yes);
                    conn.settle(conn.lock(), whole);
                });
                if spawned.is_err() {
                    self.settle(self.lock(), Whole::No);
                }
            }
        }
    }

    /// Writes a piece of a streamed reply, as [`Pieces::piece`](super::Pieces::piece) says.
    fn piece(
        self: Arc<Self>,
        (helpers, limits): (&Helpers, &Arc<Limits>),
        exchange: u64,
        bundle: Chain,
        then: Box<dyn FnOnce() + Send>,
    ) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Held {
            return false;
        }
        let first = !std::mem::replace(&mut state.streams, true);
        if !state.chunks {
            state.persist = Persist::Close;
        }
        let head = first.then(|| Head::of_streamed(exchange, state.persist, state.chunks));
        let mut outgoing = Outgoing::streamed(head, bundle, state.chunks);
        match outgoing.send_now(&self.stream) {
            Ok(true) => return true,
            Err(_) => self.settle(state, Whole::No),
            Ok(false) => {
                state.phase = Phase::Writing;
                drop(state);
                let time = limits.time_for(outgoing.left());
                let (conn, more) = (Arc::clone(&self), (helpers.clone(), Arc::clone(limits)));
                let spawned = helpers.run(move || {
                    let written = outgoing.send_all(&conn.stream, time);
                    if conn.wrote_piece(written.is_ok(), &more) {
                        then();
                    }
                });
                if spawned.is_err() {
                    self.settle(self.lock(), Whole::No);
                }
            }
        }
        false
    }

    /// A helper has written a piece, or not: what comes then. Whether another piece may follow.
    fn wrote_piece(
        self: Arc<Self>,
        whole: bool,
        (helpers, limits): &(Helpers, Arc<Limits>),
    ) -> bool {
        let mut state = self.lock();
        match state.rest.take() {
            Some(None) => self.settle(state, Whole::No),
            _ if !whole => self.settle(state, Whole::No),
            rest => {
                state.phase = Phase::Held;
                self.settled.notify_one();
                drop(state);
                let Some(Some(reply)) = rest else {
                    return true;
                };
                self.reply(reply, helpers, limits);
            }
        }
        false
    }

    /// The responder was dropped: there will be no reply, or no end of it.
    fn abandon(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Held {
            self.settle(state, Whole::No);
        } else if state.phase == Phase::Writing && state.streams {
            state.rest.get_or_insert(None);
        }
    }

    fn settle(&self, mut state: MutexGuard<'_, State>, whole: Whole) {
        // A notification is a system call even if nobody waits, and only a helper can be waited for.
        if state.phase == Phase::Writing {
            self.settled.notify_one();
        }
        state.idle_since = Instant::now();
        state.phase = match (whole, state.persist) {
            (Whole::Yes, Persist::Default | Persist::KeepAlive) => Phase::Reading,
            (Whole::Yes, Persist::Close) => Phase::Done,
            (Whole::No, _) => Phase::Failed,
        };
        if state.phase != Phase::Reading {
            // Wakes the connection's thread; what has been written still goes out before the end of the stream.
            self.shut_down();
        }
    }

    fn shut_down(&self) {
        // An error says that the connection is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whole {
    Yes,
    No,
}

/// Answers the request that a connection holds. Doesn't keep the connection open: once its thread has ended, a reply
/// goes nowhere.
pub(super) struct ConnResponder {
    conn: Weak<Conn>,
    helpers: Helpers,
    limits: Arc<Limits>,
}

impl ConnResponder {
    pub(super) fn new(conn: &Arc<Conn>, helpers: &Helpers, limits: &Arc<Limits>) -> ConnResponder {
        ConnResponder {
            conn: Arc::downgrade(conn),
            helpers: helpers.clone(),
            limits: Arc::clone(limits),
        }
    }
}

impl Responder for ConnResponder {
    fn respond(mut self: Box<Self>, reply: Reply) {
        // Taken, so that dropping `self` abandons nothing.
        if let Some(conn) = std::mem::take(&mut self.conn).upgrade() {
            conn.reply(reply, &self.helpers, &self.limits);
        }
    }

    fn streams(&self) -> bool {
        true
    }

    fn pieces(&self) -> Option<Arc<dyn Pieces>> {
        Some(Arc::new(ConnPieces {
            conn: self.conn.clone(),
            helpers: self.helpers.clone(),
            limits: Arc::clone(&self.limits),
        }))
    }
}

/// Writes a streamed reply.
struct ConnPieces {
    conn: Weak<Conn>,
    helpers: Helpers,
    limits: Arc<Limits>,
}

impl Pieces for ConnPieces {
    fn piece(
        self: Arc<Self>,
        exchange: u64,
        bundle: Chain,
        then: Box<dyn FnOnce() + Send>,
    ) -> bool {
        let conn = self.conn.upgrade();
        conn.is_some_and(|conn| conn.piece((&self.helpers, &self.limits), exchange, bundle, then))
    }
}

impl Drop for ConnResponder {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.upgrade() {
            conn.abandon();
        }
    }
}
