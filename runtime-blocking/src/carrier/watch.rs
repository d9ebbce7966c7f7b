//! What a lane's thread and the threads around it must agree on: which exchange runs, whether it is to be given up,
//! and what its thread waits for just now.

use posthole_protocol::http::policy::goes_again;
use socket2::Socket;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What a name lookup gave; `None` wakes who waits for it without an answer.
pub(super) type Found = Option<io::Result<Vec<SocketAddr>>>;

/// Gives up a lane's exchange from another thread.
#[derive(Clone, Debug)]
pub struct Canceller(pub(super) Arc<Watch>);

impl Canceller {
    /// Wakes the call that waits for this exchange, which then ends in an error; if the lane comes to it only later,
    /// it ends so at once. Other exchanges are left alone. The lane stays usable; after an exchange that was running
    /// the next takes a fresh connection.
    ///
    /// While the connection is just being made, waking it works on Linux; elsewhere it ends with the attempt, after
    /// ten seconds at most.
    pub fn cancel(&self, exchange: u64) {
        self.0.cancel(exchange);
    }
}

/// See the module. The facts about the running exchange are written by the lane's thread and what it calls; only
/// `state` is touched by others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Mutex<State>,
    patience: AtomicU64,
    fresh: AtomicBool,
    sent: AtomicBool,
    heard: AtomicBool,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    running: Option<u64>,
    cancelled: bool,
    /// Cancelled while it was not running: perhaps it has yet to begin. The last such is enough, as a lane is given
    /// its next exchange only when the one before is over.
    called_off: Option<u64>,
    waiting: Waiting,
}

/// What can be woken.
#[derive(Debug, Default)]
pub(super) enum Waiting {
    #[default]
    Nothing,
    Lookup(Sender<Found>),
    /// Weak, so that a connection that is let go is closed.
    Socket(Weak<Socket>),
}

impl Waiting {
    fn wake(&self) {
        match self {
            Waiting::Nothing => {}
            // Neither can fail in a way that matters: then nobody waits any more.
            Waiting::Lookup(answer) => drop(answer.send(None)),
            Waiting::Socket(socket) => {
                if let Some(socket) = socket.upgrade() {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

impl Watch {
    /// A connection was made.
    pub(super) fn note_connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were made so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Says whether the exchange is still wanted; [`Watch::end`] follows in any case.
    pub(super) fn begin(&self, exchange: u64, patience: Duration) -> bool {
        let mut state = self.lock();
        state.running = Some(exchange);
        state.cancelled = state.called_off.take() == Some(exchange);
        let is_wanted = !state.cancelled;
        self.patience.store(
            u64::try_from(patience.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        self.fresh.store(false, Ordering::Relaxed);
        self.sent.store(false, Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
        is_wanted
    }

    /// Ends the running exchange; says whether it was cancelled.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.running = None;
        std::mem::take(&mut state.cancelled)
    }

    /// Says what the lane's thread waits for from here on.
    ///
    /// # Errors
    /// The exchange was cancelled before: don't begin to wait.
    pub(super) fn wait_for(&self, what: Waiting) -> Result<(), Cancelled> {
        let mut state = self.lock();
        if state.cancelled {
            return Err(Cancelled);
        }
        state.waiting = what;
        Ok(())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    fn cancel(&self, exchange: u64) {
        let mut state = self.lock();
        if state.running != Some(exchange) {
            state.called_off = Some(exchange);
            return;
        }
        if state.cancelled {
            return;
        }
        state.cancelled = true;
        state.waiting.wake();
    }

    /// For how long nothing may move.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_micros(self.patience.load(Ordering::Relaxed).max(1000))
    }

    /// A new connection is made for this exchange.
    pub(super) fn note_fresh(&self) {
        self.fresh.store(true, Ordering::Relaxed);
    }

    /// Some of the request may leave from here on.
    pub(super) fn note_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Some of an answer has arrived.
    pub(super) fn note_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the exchange went over a reused connection and nothing came back: it may have been closed while idle.
    pub(super) fn may_be_stale(&self) -> bool {
        goes_again(
            !self.fresh.load(Ordering::Relaxed),
            self.heard.load(Ordering::Relaxed),
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is a single step, so a state seen after a panic is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exchange was given up by this side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cancelled;
