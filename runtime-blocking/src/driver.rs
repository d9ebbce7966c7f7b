//! Goes round the loop of [`posthole_runtime`]: lock, feed, take what the core says, unlock, do it.
//!
//! There is no thread that runs the loop. Whoever brings something in (an application's read or write, a lane with an
//! answer, an HTTP connection with a request, the timer) goes round it once by [`Locked::settle`], so what a write makes
//! the server say leaves from the thread that wrote. The lock is held for core calls only, never across HTTP.

use crate::carrier::Trouble;
use crate::front::Responder;
use crate::handler::Home;
use crate::lanes::{Lanes, Slot};
use crate::timer;
use crate::wait::{Threads, wait};
use crate::work::Todo;
use bytes::Bytes;
use posthole_protocol::{Client, ExchangeId, RequestId, Server};
use posthole_runtime::Alarm;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// A session as this runtime has it.
pub(crate) type State = posthole_runtime::State<Box<dyn Responder>, Threads>;
pub(crate) type Work = posthole_runtime::Work<Box<dyn Responder>, Threads>;

/// One session, shared by its handles, its lanes, the house and the timer.
pub(crate) struct Shared {
    /// This session's name within the process.
    key: u64,
    inside: Mutex<Inside>,
    /// The house that it is in, on the server.
    pub(crate) home: Option<Home>,
}

/// What the lock protects.
struct Inside {
    state: State,
    /// Who carries a client's exchanges.
    lanes: Option<Lanes>,
}

impl Shared {
    /// A client's session.
    pub(crate) fn client(core: Client, lanes: Lanes) -> Arc<Shared> {
        Shared::new(State::client(core), Some(lanes), None)
    }

    /// A server's.
    pub(crate) fn server(core: Server, home: Home) -> Arc<Shared> {
        Shared::new(State::server(core), None, Some(home))
    }

    fn new(state: State, lanes: Option<Lanes>, home: Option<Home>) -> Arc<Shared> {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Shared {
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            inside: Mutex::new(Inside { state, lanes }),
            home,
        })
    }

    /// This session's name within the process.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn lock(self: &Arc<Self>) -> Locked<'_> {
        // A poisoned session was ended by the guard that poisoned it.
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            shared: self,
            inside: Some(inside),
            unwinding: thread::panicking(),
        }
    }

    /// Bytes of an exchange have moved.
    pub(crate) fn feed_progress(self: &Arc<Self>, exchange: ExchangeId) {
        let mut locked = self.lock();
        locked.feed_progress(timer::now(), exchange);
        locked.settle();
    }

    /// An exchange has ended, and the lane that carried it is idle.
    pub(crate) fn feed_answer(
        self: &Arc<Self>,
        exchange: ExchangeId,
        answer: Result<Bytes, Trouble>,
        lane: &Arc<Slot>,
    ) {
        if let Err(trouble) = &answer {
            tracing::debug!(%exchange, %trouble, "exchange failed");
        }
        let now = timer::now();
        let mut locked = self.lock();
        if let Some(lanes) = locked.lanes() {
            lanes.done(exchange, Some(lane));
        }
        locked.feed_answer(now, exchange, answer);
        locked.settle();
    }

    /// A request of this session came.
    pub(crate) fn feed_request(
        self: &Arc<Self>,
        request: RequestId,
        body: Bytes,
        responder: Box<dyn Responder>,
    ) {
        let mut locked = self.lock();
        let fed = locked.feed_request(timer::now(), request, body, responder);
        locked.settle();
        if let Err((responder, reply)) = fed {
            responder.respond(reply);
        }
    }

    /// Whoever sent the request has gone.
    pub(crate) fn feed_hangup(self: &Arc<Self>, request: RequestId) {
        let mut locked = self.lock();
        let responder = locked.feed_hangup(timer::now(), request);
        locked.settle();
        drop(responder);
    }
}

impl timer::Expire for Shared {
    fn expire(self: Arc<Self>, at: posthole_protocol::Instant) {
        let mut locked = self.lock();
        locked.rang(at);
        locked.settle();
    }
}

/// The session's state, for as long as the lock is held.
pub(crate) struct Locked<'a> {
    shared: &'a Arc<Shared>,
    /// There until the guard is dropped or settled.
    inside: Option<MutexGuard<'a, Inside>>,
    /// The thread was unwinding before it took the lock.
    unwinding: bool,
}

const HELD: &str = "only `settle`, `wait` and `drop` take it, and they end the guard";

impl Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.inside.as_ref().expect(HELD).state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.inside.as_mut().expect(HELD).state
    }
}

/// A core call that panics ends its session, and that only.
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(inside) = &mut self.inside else {
            return;
        };
        if self.unwinding || !thread::panicking() || inside.state.is_broken() {
            return;
        }
        for waiting in inside.state.break_off() {
            waiting.notify_all();
        }
    }
}

impl<'a> Locked<'a> {
    /// The lanes of a client.
    pub(crate) fn lanes(&mut self) -> Option<&mut Lanes> {
        self.inside.as_mut().expect(HELD).lanes.as_mut()
    }

    /// Waits with those that `which` finds in the session, not beyond `deadline`. The flag says whether that has
    /// passed.
    pub(crate) fn wait(
        mut self,
        which: impl Fn(&mut State) -> &mut Threads,
        deadline: Option<Instant>,
    ) -> (Locked<'a>, bool) {
        let inside = self.inside.take().expect(HELD);
        let (inside, late) = wait(inside, |inside| which(&mut inside.state), deadline);
        self.inside = Some(inside);
        (self, late)
    }

    /// Goes round the loop once: takes all that the core has to say, unlocks, and does it.
    pub(crate) fn settle(self) {
        let shared = self.shared;
        self.poll().perform(shared);
    }

    /// Takes all that the core has to say, finds the lanes that it needs, and unlocks.
    pub(crate) fn poll(mut self) -> Todo {
        let shared = self.shared;
        let inside = self.inside.as_mut().expect(HELD);
        let work = inside.state.poll(timer::now());
        match work.alarm {
            Some(Alarm::At { at, instead_of }) => {
                timer::arm(shared.key, instead_of, at, shared.clone());
            }
            Some(Alarm::Off(at)) => timer::disarm(shared.key, at),
            None => {}
        }
        let has_ended = inside.state.closed().is_some();
        Todo::new(work, inside.lanes.as_mut(), has_ended)
    }
}
