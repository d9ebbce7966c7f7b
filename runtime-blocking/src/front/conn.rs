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
//! A client's next request may come before the answering thread is back from its write. So the write and the step
//! to `Reading` are one critical section, and the connection's thread, once it has bytes, waits for a helper that is
//! still `Writing`: what it finds then decides whether those bytes are a request or pipelining.

use super::helpers::Helpers;
use super::outgoing::Outgoing;
use super::reply::Persist;
use super::sock::Got;
use super::{Limits, Reply, Responder};
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
    pub(super) fn hold(&self, persist: Persist) -> bool {
        let mut state = self.lock();
        let reading = state.phase == Phase::Reading;
        if reading {
            (state.phase, state.persist) = (Phase::Held, persist);
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
        if state.phase != Phase::Held {
            return;
        }
        let mut outgoing = Outgoing::new(reply, state.persist);
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

    /// The responder was dropped: there will be no reply.
    fn abandon(&self) {
        let state = self.lock();
        if state.phase == Phase::Held {
            self.settle(state, Whole::No);
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
}

impl Drop for ConnResponder {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.upgrade() {
            conn.abandon();
        }
    }
}
