//! The loop over a core: lock, tell it what happened, take what it has to say, unlock, do that.
//!
//! There is no thread that runs the loop. Whoever brings something in (an application's read or write, a lane with an
//! answer, an HTTP connection with a request, the timer) goes round it once by [`Locked::settle`], so what a write makes
//! the server say leaves from the thread that wrote. The lock is held for core calls only, never across HTTP.
//!
//! Inputs are fed before deadlines: an answer that came late but came is an answer.

use crate::carrier::Trouble;
use crate::ends::Ends;
use crate::front::{Reply, Responder};
use crate::handler::{Home, unavailable};
use crate::lanes::Slot;
use crate::machine::Machine;
use crate::path::Path;
use crate::timer;
use crate::work::Work;
use bytes::Bytes;
use posthole_protocol::{CloseReason, Event, ExchangeId, RequestId, StreamId};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// One session, shared by its handles, its lanes, the router and the timer.
pub(crate) struct Shared {
    /// This session's name within the process.
    key: u64,
    state: Mutex<State>,
    /// A stream can be opened.
    pub(crate) room: Condvar,
    /// A stream can be accepted.
    pub(crate) incoming: Condvar,
    /// The session is there, or has ended.
    pub(crate) milestone: Condvar,
    /// The router that knows it, on the server.
    pub(crate) home: Option<Home>,
}

/// What the lock protects.
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) streams: HashMap<StreamId, Ends>,
    pub(crate) connected: bool,
    pub(crate) closed: Option<CloseReason>,
    /// The application has written or ended something. The core learns only from a feed what time that was, and counts
    /// from there for how long it waits.
    pub(crate) changed: bool,
    pub(crate) path: Path,
    armed: Option<posthole_protocol::Instant>,
    /// The server's router has been told that the session is over.
    forgotten: bool,
    /// A core call panicked: the core is not called again.
    broken: bool,
}

impl Shared {
    pub(crate) fn new(machine: Machine, home: Option<Home>) -> Arc<Shared> {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Shared {
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(State {
                machine,
                streams: HashMap::new(),
                connected: false,
                closed: None,
                changed: false,
                path: Path::default(),
                armed: None,
                forgotten: false,
                broken: false,
            }),
            room: Condvar::new(),
            incoming: Condvar::new(),
            milestone: Condvar::new(),
            home,
        })
    }

    /// This session's name within the process.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn lock(self: &Arc<Self>) -> Locked<'_> {
        // A poisoned session was ended by the guard that poisoned it.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            shared: self,
            state: Some(state),
            unwinding: thread::panicking(),
        }
    }

    /// Bytes of an exchange have moved.
    pub(crate) fn feed_progress(self: &Arc<Self>, exchange: ExchangeId) {
        let mut locked = self.lock();
        if let Some(Machine::Client { core, .. }) = locked.machine() {
            // An exchange that is not open any more is cancelled soon.
            let _ = core.feed_progress(timer::now(), exchange);
        }
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
        if let Some(Machine::Client { core, lanes }) = locked.machine() {
            lanes.done(exchange, Some(lane));
            // An exchange that the core gave up meanwhile changes nothing; what its answer would have said comes again.
            match answer {
                Ok(body) => {
                    if core.feed_response(now, exchange, body).is_ok() {
                        locked.path.answered();
                    }
                }
                Err(trouble) => {
                    if core.feed_failure(now, exchange, trouble.failure).is_ok() {
                        locked.path.failed(trouble.says);
                    }
                }
            }
        } else {
            lane.end();
        }
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
        let refused = match locked.machine() {
            Some(Machine::Server { core, held }) => {
                match core.feed_request(timer::now(), request, body) {
                    Ok(()) => {
                        held.insert(request, responder);
                        None
                    }
                    Err(reject) => Some((responder, Reply::from(reject))),
                }
            }
            Some(Machine::Client { .. }) | None => Some((responder, unavailable())),
        };
        locked.settle();
        if let Some((responder, reply)) = refused {
            responder.respond(reply);
        }
    }

    /// Whoever sent the request has gone.
    pub(crate) fn feed_hangup(self: &Arc<Self>, request: RequestId) {
        let mut locked = self.lock();
        if let Some(Machine::Server { core, held }) = locked.machine() {
            held.remove(&request);
            core.feed_hangup(timer::now(), request);
        }
        locked.settle();
    }
}

impl timer::Expire for Shared {
    fn expire(self: Arc<Self>, at: posthole_protocol::Instant) {
        let mut locked = self.lock();
        // Another may have been armed since this one came.
        locked.armed.take_if(|armed| *armed == at);
        locked.settle();
    }
}

/// The session's state, for as long as the lock is held.
pub(crate) struct Locked<'a> {
    shared: &'a Arc<Shared>,
    /// There until the guard is dropped or settled.
    state: Option<MutexGuard<'a, State>>,
    /// The thread was unwinding before it took the lock.
    unwinding: bool,
}

impl Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state
            .as_ref()
            .expect("only `settle`, `wait` and `drop` take it, and they end the guard")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state
            .as_mut()
            .expect("only `settle`, `wait` and `drop` take it, and they end the guard")
    }
}

/// A core call that panics ends its session, and that only.
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(state) = &mut self.state else { return };
        if self.unwinding || !thread::panicking() || state.broken {
            return;
        }
        state.broken = true;
        state.closed.get_or_insert(CloseReason::Aborted);
        for ends in state.streams.values() {
            ends.wake_all();
        }
        self.shared.room.notify_all();
        self.shared.incoming.notify_all();
        self.shared.milestone.notify_all();
    }
}

impl<'a> Locked<'a> {
    /// Waits on a condition variable of this session, not beyond `deadline`. The flag says whether that has passed.
    pub(crate) fn wait(mut self, on: &Condvar, deadline: Option<Instant>) -> (Locked<'a>, bool) {
        let Some(state) = self.state.take() else {
            return (self, true);
        };
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let (state, late) = match left {
            None => (
                on.wait(state).unwrap_or_else(PoisonError::into_inner),
                false,
            ),
            Some(left) => {
                let (state, timeout) = on
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner);
                (state, timeout.timed_out())
            }
        };
        self.state = Some(state);
        (self, late)
    }

    /// Goes round the loop once: takes all that the core has to say, unlocks, and does it.
    pub(crate) fn settle(mut self) {
        let shared = self.shared;
        let work = self.poll(shared);
        drop(self);
        work.perform(shared);
    }
}

impl State {
    /// The core, unless a call of it panicked.
    pub(crate) fn machine(&mut self) -> Option<&mut Machine> {
        if self.broken {
            None
        } else {
            Some(&mut self.machine)
        }
    }

    /// Ends the session in order.
    pub(crate) fn close(&mut self) {
        self.changed = true;
        if let Some(machine) = self.machine() {
            machine.close();
        }
    }

    /// Ends the session at once.
    pub(crate) fn abort(&mut self) {
        if let Some(machine) = self.machine() {
            machine.abort();
        }
    }

    /// The lanes of a client.
    pub(crate) fn lanes(&mut self) -> Option<&mut crate::lanes::Lanes> {
        match &mut self.machine {
            Machine::Client { lanes, .. } => Some(lanes),
            Machine::Server { .. } => None,
        }
    }

    /// All that the core has to say, and what follows from it.
    pub(crate) fn poll(&mut self, shared: &Arc<Shared>) -> Work {
        let mut work = Work::default();
        if self.broken {
            self.leave(shared, &mut work);
            return work;
        }
        let now = timer::now();
        let changed = std::mem::take(&mut self.changed);
        if changed || self.machine.next_timeout().is_some_and(|at| at <= now) {
            self.machine.feed_timeout(now);
        }
        match &mut self.machine {
            Machine::Client { core, lanes } => {
                while let Some(request) = core.poll_request(now) {
                    work.jobs.push(lanes.assign(request));
                }
                while let Some(exchange) = core.poll_cancel() {
                    work.cancelled
                        .extend(lanes.cancel(exchange).map(|slot| (slot, exchange)));
                }
            }
            Machine::Server { core, held } => {
                while let Some(response) = core.poll_response(now) {
                    // None: whoever asked has hung up.
                    if let Some(responder) = held.remove(&response.request) {
                        let exchange = Some(response.exchange);
                        work.replies.push((
                            responder,
                            Reply {
                                status: 200,
                                exchange,
                                body: response.body,
                            },
                        ));
                    }
                }
            }
        }
        while let Some(event) = self.machine.poll_event() {
            self.on_event(event, &mut work);
        }
        work.path = self.path.news();
        if self.closed.is_some() {
            self.leave(shared, &mut work);
        }
        if let Some(at) = self.machine.next_timeout()
            && self.armed.is_none_or(|armed| at < armed)
        {
            timer::arm(shared.key, self.armed, at, shared.clone());
            self.armed = Some(at);
        }
        work
    }

    fn on_event(&mut self, event: Event, work: &mut Work) {
        match event {
            Event::Connected => {
                work.announce = !std::mem::replace(&mut self.connected, true);
                work.milestone = true;
            }
            Event::Incoming => work.incoming = true,
            Event::CanOpen => work.room = true,
            Event::Readable(id) => {
                work.wakes
                    .extend(self.streams.get(&id).and_then(Ends::reader));
            }
            Event::Writable(id) => {
                work.wakes
                    .extend(self.streams.get(&id).and_then(Ends::writer));
            }
            Event::Closed(reason) => {
                work.closed = Some(reason.clone());
                self.closed = Some(reason);
                work.wakes
                    .extend(self.streams.values().filter_map(Ends::reader));
                work.wakes
                    .extend(self.streams.values().filter_map(Ends::writer));
                work.room = true;
                work.incoming = true;
                work.milestone = true;
            }
            Event::Finished(_) => {}
            // News that a later core brings and that nobody here waits for.
            _ => {}
        }
    }

    /// The session has ended: lets go of what only a live one needs.
    fn leave(&mut self, shared: &Arc<Shared>, work: &mut Work) {
        let over = match &mut self.machine {
            Machine::Client { lanes, .. } => {
                work.ended.extend(lanes.end());
                self.broken || self.machine.next_timeout().is_none()
            }
            Machine::Server { core, held } => {
                let over = self.broken || core.is_over();
                if over {
                    // The core has answered all that it owes; who is still here gets a lost exchange.
                    let rest = held
                        .drain()
                        .map(|(_, responder)| (responder, unavailable()));
                    work.replies.extend(rest);
                    work.over = !std::mem::replace(&mut self.forgotten, true);
                }
                over
            }
        };
        if over && let Some(armed) = self.armed.take() {
            timer::disarm(shared.key, armed);
        }
    }
}
