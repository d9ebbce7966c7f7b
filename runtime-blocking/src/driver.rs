//! Goes round the loop of [`posthole_runtime`]: lock, feed, take what the core says, unlock, do it.
//!
//! There is no thread that runs the loop. Whoever brings something in (an application's read or write, a lane with an
//! answer, an HTTP connection with a request, the timer) goes round it once by [`Locked::settle`], so what a write makes
//! the server say leaves from the thread that wrote. The lock is held for core calls only, never across HTTP.

use crate::carrier::Trouble;
use crate::front::Responder;
use crate::handler::Home;
use crate::lanes::{Lanes, Slot};
use crate::sync::{Mutex, MutexGuard};
use crate::timer;
use crate::wait::{Threads, wait};
use crate::wire::{Name, Wire};
use crate::work::Todo;
use bytes::Bytes;
use posthole_protocol::{Client, ExchangeId, Failure, RequestId, Server};
use posthole_runtime::{Alarm, Lull, Reply};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
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
    pub(crate) lull: Lull,
    /// The house that it is in, on the server.
    pub(crate) home: Option<Home>,
}

/// What the lock protects.
struct Inside {
    state: State,
    /// Who carries a client's exchanges.
    lanes: Option<Lanes>,
    /// A server's direct connections, by the requests that began them.
    wires: BTreeMap<RequestId, Arc<Wire>>,
}

impl Shared {
    /// A client's session.
    pub(crate) fn client(core: Client, lanes: Lanes) -> Arc<Shared> {
        Shared::new(State::client(core), Some(lanes), None)
    }

    /// A client's without lanes: what it asks for goes nowhere.
    #[cfg(test)]
    pub(crate) fn alone() -> Arc<Shared> {
        let id = posthole_protocol::SessionId::from_bytes([7; 16]);
        let core = Client::new(posthole_protocol::Config::default(), id, timer::now());
        Shared::new(State::client(core), None, None)
    }

    /// A server's.
    pub(crate) fn server(core: Server, home: Home) -> Arc<Shared> {
        Shared::new(State::server(core), None, Some(home))
    }

    fn new(state: State, lanes: Option<Lanes>, home: Option<Home>) -> Arc<Shared> {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Shared {
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            inside: Mutex::new(Inside {
                state,
                lanes,
                wires: BTreeMap::new(),
            }),
            lull: Lull::default(),
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
        let mut locked = Locked {
            shared: self,
            inside: Some(inside),
            unwinding: thread::panicking(),
        };
        locked.heed();
        locked
    }

    /// Bytes of an exchange have moved.
    pub(crate) fn feed_progress(self: &Arc<Self>, exchange: ExchangeId) {
        let mut locked = self.lock();
        locked.feed_progress(timer::now(), exchange);
        locked.settle();
    }

    /// An exchange has ended, and the lane that carried it is idle; its connection is kept or not.
    pub(crate) fn feed_answer(
        self: &Arc<Self>,
        exchange: ExchangeId,
        answer: Result<Bytes, Trouble>,
        kept: bool,
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
        if answer.is_ok() {
            locked.feed_connection(kept);
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
        locked.writes_pieces(responder.streams());
        let fed = locked.feed_request(timer::now(), request, body, responder);
        locked.settle();
        if let Err((responder, reply)) = fed {
            responder.respond(reply);
        }
    }

    /// The first request came on a direct connection.
    pub(crate) fn feed_direct(self: &Arc<Self>, request: RequestId, body: Bytes, wire: &Arc<Wire>) {
        let mut locked = self.lock();
        locked.wires().insert(request, wire.clone());
        let responder = Box::new(Last(wire.clone()));
        let fed = locked.feed_request(timer::now(), request, body, responder);
        if fed.is_err() {
            locked.wires().remove(&request);
        }
        locked.settle();
        if let Err((responder, reply)) = fed {
            responder.respond(reply);
        }
    }

    /// Further bundles came on it. `false`: it carries nothing more.
    pub(crate) fn feed_more(self: &Arc<Self>, request: RequestId, body: Bytes) -> bool {
        let mut locked = self.lock();
        let fed = locked.feed_more(timer::now(), request, body);
        locked.settle();
        let Err((responder, reply)) = fed else {
            return true;
        };
        if let Some(responder) = responder {
            responder.respond(reply);
        }
        false
    }

    /// What came of dialling; the name of the connection, if it is wanted.
    pub(crate) fn feed_dialled(self: &Arc<Self>, wire: Option<&Arc<Wire>>) -> Option<ExchangeId> {
        let mut locked = self.lock();
        let exchange = locked.feed_dialled(timer::now(), wire.is_some());
        if let (Some(exchange), Some(wire), Some(lanes)) = (exchange, wire, locked.lanes()) {
            lanes.direct.set(exchange, wire.clone());
        }
        locked.settle();
        exchange
    }

    /// Bundles came on a client's direct connection.
    pub(crate) fn feed_bundles(self: &Arc<Self>, exchange: ExchangeId, bundles: Bytes) {
        let mut locked = self.lock();
        locked.feed_bundles(timer::now(), exchange, bundles);
        locked.settle();
    }

    /// What the core gave last for a direct connection has been written.
    pub(crate) fn feed_written(self: &Arc<Self>, name: Name) {
        let mut locked = self.lock();
        locked.feed_written_on(name);
        locked.settle();
    }

    /// A client's direct connection has ended.
    pub(crate) fn end_direct(self: &Arc<Self>, exchange: ExchangeId) {
        let mut locked = self.lock();
        if let Some(lanes) = locked.lanes() {
            lanes.direct.take(exchange);
        }
        locked.feed_failure(timer::now(), exchange, Failure::Cut);
        locked.settle();
    }

    /// Whoever sent the request has gone.
    pub(crate) fn feed_hangup(self: &Arc<Self>, request: RequestId) {
        let mut locked = self.lock();
        locked.wires().remove(&request);
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

    /// The direct connections of a server.
    pub(crate) fn wires(&mut self) -> &mut BTreeMap<RequestId, Arc<Wire>> {
        &mut self.inside.as_mut().expect(HELD).wires
    }

    /// What the core gave last for a direct connection has been written.
    pub(crate) fn feed_written_on(&mut self, name: Name) {
        match name {
            Name::Exchange(exchange) => self.feed_written(timer::now(), exchange),
            Name::Request(request) => self.feed_said(timer::now(), request),
        }
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
        self.heed();
        (self, late)
    }

    /// Tells the core what was put off until somebody would come.
    fn heed(&mut self) {
        if self.shared.lull.interrupt() {
            self.feed_lull(timer::now());
        }
    }

    /// Goes round the loop once: takes all that the core has to say, unlocks, and does it.
    pub(crate) fn settle(self) {
        let shared = self.shared;
        self.poll().perform(shared);
    }

    /// Takes all that the core has to say, finds the lanes that it needs, and unlocks.
    pub(crate) fn poll(mut self) -> Todo {
        let shared = self.shared;
        let inside = &mut **self.inside.as_mut().expect(HELD);
        let work = inside.state.poll(timer::now());
        match work.alarm {
            Some(Alarm::At { at, instead_of }) => {
                timer::arm(shared.key, instead_of, at, shared.clone());
            }
            Some(Alarm::Off {
                instead_of: Some(at),
            }) => timer::disarm(shared.key, at),
            Some(Alarm::Off { instead_of: None }) | None => {}
        }
        if let Some(lull) = work.lull {
            shared.lull.begin(lull);
        }
        let has_ended = inside.state.closed().is_some();
        let (lanes, wires) = (inside.lanes.as_mut(), &mut inside.wires);
        Todo::new(work, &mut inside.state, lanes, wires, has_ended)
    }
}

/// What is said last on a direct connection, which then ends. Dropped without it, it ends at once.
struct Last(Arc<Wire>);

impl Responder for Last {
    fn respond(self: Box<Self>, reply: Reply) {
        self.0.end(reply.body);
    }
}

#[cfg(all(test, interleave))]
mod orders;

#[cfg(all(test, not(interleave)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::relay::Relay;
    use posthole_protocol::StreamId;
    use posthole_runtime::Tried;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn open(locked: &mut Locked<'_>) -> StreamId {
        let Tried::Done(stream) = locked.open().unwrap() else {
            panic!("it may be opened");
        };
        stream
    }

    /// The timer tells apart by it who waits for the same moment.
    #[test]
    fn no_two_sessions_of_a_process_have_one_name() {
        assert_ne!(Shared::alone().key(), Shared::alone().key());
    }

    /// The timer would keep it for as long as its last deadline is away.
    #[test]
    fn nothing_keeps_a_session_that_has_ended() {
        let shared = Shared::alone();
        // It waits for an answer, and then for an earlier moment.
        shared.lock().settle();
        let mut locked = shared.lock();
        let stream = open(&mut locked);
        let mut word = Bytes::from_static(b"word");
        locked.put(stream, &mut word).unwrap();
        locked.settle();
        let mut locked = shared.lock();
        locked.abort();
        locked.settle();
        let kept = Arc::downgrade(&shared);
        drop(shared);
        assert_eq!(kept.strong_count(), 0);
    }

    /// It would wait for ever.
    #[test]
    fn who_waits_for_what_is_passed_on_hears_that_the_session_broke() {
        let shared = Shared::alone();
        let stream = open(&mut shared.lock());
        let relay = Relay::new(stream, 10, Box::new(|bytes| bytes.len()));
        assert!(shared.lock().readable(stream).join(&relay));
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let _locked = shared.lock();
            panic!("the test wants it so");
        }));
        assert!(broken.is_err());
        let (tell, told) = channel();
        thread::spawn(move || tell.send(relay.wait().is_ok()));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
