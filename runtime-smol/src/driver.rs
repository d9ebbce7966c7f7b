//! Goes round the loop of [`posthole_runtime`]: lock, feed, take what the core says, unlock, do it.
//!
//! There is no task that runs the loop. Whoever brings something in (an application's read or write, a lane with an
//! answer, an HTTP connection with a request, the session's task at the deadline) goes round it once, so what a write
//! makes the server say leaves with the task that wrote. The lock is held for core calls only: never across an await,
//! nor while anybody is woken.

use crate::carrier::Trouble;
use crate::handler::Home;
use crate::lanes::{Lanes, Slot};
use crate::pending::Responder;
use crate::spawn::Spawner;
use crate::timer::{self, Deadline};
use crate::wait::{Place, Wakers};
use crate::wire::{Name, Wire};
use crate::work::Todo;
use bytes::Bytes;
use posthole_protocol::{Client, ExchangeId, Failure, RequestId, Server};
use posthole_runtime::{Alarm, Lull, Tried};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;

/// A session as this runtime has it.
pub(crate) type State = posthole_runtime::State<Responder, Wakers>;
pub(crate) type Work = posthole_runtime::Work<Responder, Wakers>;

/// One session, shared by its handles, its task, its lanes and the house.
pub(crate) struct Shared {
    /// This session's name within the process.
    key: u64,
    inside: Mutex<Inside>,
    pub(crate) lull: Lull,
    /// The house that it is in, on the server.
    pub(crate) home: Option<Home>,
}

/// What the lock protects.
pub(crate) struct Inside {
    state: State,
    /// Who carries a client's exchanges.
    lanes: Option<Lanes>,
    /// A server's direct connections, by the requests that began them.
    wires: BTreeMap<RequestId, Arc<Wire>>,
    deadline: Deadline,
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
        let deadline = Deadline::new();
        Arc::new(Shared {
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            inside: Mutex::new(Inside {
                state,
                lanes,
                wires: BTreeMap::new(),
                deadline,
            }),
            lull: Lull::default(),
            home,
        })
    }

    /// Starts the session's task and goes round the loop for the first time.
    pub(crate) fn begin(self: &Arc<Self>, spawner: &Spawner) {
        spawner.spawn(Keeping(self.clone()));
        self.turn(|_| ());
    }

    /// This session's name within the process.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut locked = Locked {
            // A poisoned session was ended by the guard that poisoned it.
            inside: Some(self.inside.lock().unwrap_or_else(PoisonError::into_inner)),
            unwinding: thread::panicking(),
            lull: &self.lull,
        };
        // Tells the core what was put off until somebody would come.
        if self.lull.interrupt() {
            locked.feed_lull(timer::now());
        }
        locked
    }

    /// Does something to the session and goes round the loop once: takes all that the core has to say, unlocks, and
    /// does it.
    pub(crate) fn turn<T>(self: &Arc<Self>, act: impl FnOnce(&mut Inside) -> T) -> T {
        let mut locked = self.lock();
        let done = act(&mut locked);
        let todo = locked.poll();
        drop(locked);
        todo.perform(self);
        done
    }

    /// As [`turn`](Shared::turn), but what the core has to say is for the caller to do.
    pub(crate) fn polled(&self, act: impl FnOnce(&mut Inside)) -> Todo {
        let mut locked = self.lock();
        act(&mut locked);
        locked.poll()
    }

    /// As [`turn`](Shared::turn), if that came to something: who has to wait has changed nothing.
    pub(crate) fn attempt<T>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> Poll<T>) -> Poll<T> {
        let mut locked = self.lock();
        let tried = act(&mut locked);
        if tried.is_pending() && !locked.wakes_somebody() {
            return Poll::Pending;
        }
        let todo = locked.poll();
        drop(locked);
        todo.perform(self);
        tried
    }

    /// Tries until there is something else to do than to wait in the list. Cancel-safe: before it is ready nothing was
    /// done, and dropped it waits no more.
    pub(crate) async fn wait<T>(
        self: &Arc<Self>,
        list: fn(&mut State) -> &mut Wakers,
        mut attempt: impl FnMut(&mut State) -> io::Result<Tried<T>>,
    ) -> io::Result<T> {
        let mut waiting = Waiting {
            shared: self,
            list,
            place: Place::default(),
        };
        poll_fn(|cx| {
            let (place, mut old) = (&mut waiting.place, None);
            let polled = self.attempt(|state| {
                let tried = match attempt(state) {
                    Ok(Tried::Blocked) => Tried::Blocked,
                    Ok(Tried::Done(done)) => Tried::Done(Ok(done)),
                    Err(error) => Tried::Done(Err(error)),
                };
                let (polled, left) = list(state).tried(tried, place, cx.waker());
                old = left;
                polled
            });
            drop(old);
            polled
        })
        .await
    }

    /// An exchange has ended, and the lane that carried it is idle; its connection is kept or not. Without an answer it
    /// was cancelled.
    pub(crate) fn feed_answer(
        self: &Arc<Self>,
        exchange: ExchangeId,
        answer: Option<Result<Bytes, Trouble>>,
        kept: bool,
        lane: &Arc<Slot>,
    ) {
        if let Some(Err(trouble)) = &answer {
            tracing::debug!(%exchange, %trouble, "exchange failed");
        }
        let now = timer::now();
        self.turn(|inside| {
            if let Some(lanes) = &mut inside.lanes {
                lanes.done(exchange, lane);
            }
            if let Some(answer) = answer {
                if answer.is_ok() {
                    inside.feed_connection(kept);
                }
                inside.feed_answer(now, exchange, answer);
            }
        });
    }

    /// A request of this session came.
    pub(crate) fn feed_request(
        self: &Arc<Self>,
        request: RequestId,
        body: Bytes,
        responder: Responder,
    ) {
        let now = timer::now();
        let fed = self.turn(|inside| {
            inside.writes_pieces(true);
            inside.feed_request(now, request, body, responder)
        });
        if let Err((responder, reply)) = fed {
            responder.respond(reply);
        }
    }

    /// The first request came on a direct connection.
    pub(crate) fn feed_direct(self: &Arc<Self>, request: RequestId, body: Bytes, wire: &Arc<Wire>) {
        let (now, responder) = (timer::now(), Responder::to_wire(wire));
        let fed = self.turn(|inside| {
            inside.wires.insert(request, wire.clone());
            let fed = inside.feed_request(now, request, body, responder);
            if fed.is_err() {
                inside.wires.remove(&request);
            }
            fed
        });
        if let Err((responder, reply)) = fed {
            responder.respond(reply);
        }
    }

    /// Further bundles came on it. `false`: it carries nothing more.
    pub(crate) fn feed_more(self: &Arc<Self>, request: RequestId, body: Bytes) -> bool {
        let now = timer::now();
        let Err((responder, reply)) = self.turn(|inside| inside.feed_more(now, request, body))
        else {
            return true;
        };
        if let Some(responder) = responder {
            responder.respond(reply);
        }
        false
    }

    /// What came of dialling; the name of the connection, if it is wanted.
    pub(crate) fn feed_dialled(self: &Arc<Self>, wire: Option<&Arc<Wire>>) -> Option<ExchangeId> {
        let now = timer::now();
        self.turn(|inside| {
            let exchange = inside.feed_dialled(now, wire.is_some());
            if let (Some(exchange), Some(wire), Some(lanes)) = (exchange, wire, &mut inside.lanes) {
                lanes.direct.set(exchange, wire.clone());
            }
            exchange
        })
    }

    /// What the core gave last for a direct connection has been written.
    pub(crate) fn feed_written(self: &Arc<Self>, name: Name) {
        self.turn(|inside| inside.feed_written_on(name));
    }

    /// A client's direct connection has ended.
    pub(crate) fn end_direct(self: &Arc<Self>, exchange: ExchangeId) {
        let now = timer::now();
        let wire = self.turn(|inside| {
            inside.feed_failure(now, exchange, Failure::Cut);
            inside.lanes.as_mut().and_then(|l| l.direct.take(exchange))
        });
        drop(wire);
    }

    /// Whoever sent the request has gone.
    pub(crate) fn feed_hangup(self: &Arc<Self>, request: RequestId) {
        let now = timer::now();
        let gone = self.turn(|inside| {
            let wire = inside.wires.remove(&request);
            (inside.feed_hangup(now, request), wire)
        });
        drop(gone);
    }
}

impl Deref for Inside {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Inside {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Inside {
    /// What the core gave last for a direct connection has been written.
    pub(crate) fn feed_written_on(&mut self, name: Name) {
        let now = timer::now();
        match name {
            Name::Exchange(exchange) => self.state.feed_written(now, exchange),
            Name::Request(request) => self.state.feed_said(now, request),
        }
    }

    /// The lanes of a client.
    pub(crate) fn lanes(&mut self) -> Option<&mut Lanes> {
        self.lanes.as_mut()
    }
}

/// What the session's lock protects, for as long as it is held.
pub(crate) struct Locked<'a> {
    /// There until the guard is dropped.
    inside: Option<MutexGuard<'a, Inside>>,
    /// The thread was unwinding before it took the lock.
    unwinding: bool,
    lull: &'a Lull,
}

const HELD: &str = "only `drop` takes it";

impl Deref for Locked<'_> {
    type Target = Inside;
    fn deref(&self) -> &Inside {
        self.inside.as_ref().expect(HELD)
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inside {
        self.inside.as_mut().expect(HELD)
    }
}

/// A core call that panics ends its session, and that only.
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut inside) = self.inside.take() else {
            return;
        };
        if self.unwinding || !thread::panicking() || inside.is_broken() {
            return;
        }
        let wakes = inside.break_off();
        drop(inside);
        wakes.into_iter().for_each(crate::wait::Wake::wake);
    }
}

impl Locked<'_> {
    /// Takes all that the core has to say, and finds the lanes that it needs.
    fn poll(&mut self) -> Todo {
        let lull = self.lull;
        let inside = &mut **self;
        let work = inside.state.poll(timer::now());
        if let Some(id) = work.lull {
            lull.begin(id);
        }
        let task = match work.alarm {
            Some(Alarm::At { at, .. }) => inside.deadline.set(at),
            Some(Alarm::Off { .. }) => inside.deadline.end(),
            None => None,
        };
        let has_ended = inside.state.closed().is_some();
        Todo::new(
            work,
            &mut inside.state,
            inside.lanes.as_mut(),
            &inside.wires,
            task,
            has_ended,
        )
    }
}

/// A future's place in one of the session's lists.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    list: fn(&mut State) -> &mut Wakers,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.place.is_none() {
            let old = (self.list)(&mut self.shared.lock()).leave(self.place);
            drop(old);
        }
    }
}

/// The session's task: waits for its core's deadlines, until there are none any more. If it is dropped before, the
/// executor that the session runs on is gone, and with it the session.
struct Keeping(Arc<Shared>);

impl Future for Keeping {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let polled = self.0.lock().deadline.poll(cx);
            if !ready!(polled) {
                return Poll::Ready(());
            }
            self.0.turn(|inside| inside.rang(timer::now()));
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let mut locked = self.0.lock();
        if locked.deadline.is_over() {
            return;
        }
        let wakes = locked.break_off();
        drop(locked);
        wakes.into_iter().for_each(crate::wait::Wake::wake);
        self.0.turn(|_| ());
    }
}

#[cfg(test)]
mod orders;
