//! The server without HTTP: bodies of requests go in, replies come out, sessions wait to be accepted.
//!
//! Locks are taken in this order: the house's, then one session's. The house's is held to find a session and to forget
//! one, never while a session works.

use crate::clock::Timer;
use crate::driver::{Shared, State};
use crate::front::Service;
use crate::pending::Pending;
use crate::random;
use crate::server::Running;
use crate::session::Session;
use crate::spawn::Spawner;
use crate::timer;
use crate::wait::{Place, Wake, Wakers};
use crate::wire::Wire;
use bytes::Bytes;
use posthole_protocol::http::form;
use posthole_protocol::{Instance, Nonce, RequestId};
use posthole_runtime::{ListenOptions, Reply, Tried, Visit};
use smol::future::FutureExt;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// The server's side without an HTTP server: give it the bodies of requests and it has the replies (S18).
///
/// Clone it: one handle goes to the HTTP server, which calls it as a [`Service`] (in a [`Mount`](crate::front::Mount), for
/// instance), another accepts sessions. When the last one is dropped, the sessions end, as nobody could bring their
/// requests any more.
#[derive(Clone)]
pub struct Handler {
    pub(crate) house: Arc<House>,
}

/// What the sessions of a server have in common.
pub(crate) struct House {
    inside: Mutex<Inside>,
    /// Where the tasks of sessions run.
    spawner: Spawner,
    /// Whom sessions keep running.
    front: OnceLock<Weak<Running>>,
}

type Inside = posthole_runtime::House<Resident, Session, Wakers>;

/// A session in its house.
pub(crate) struct Resident {
    shared: Arc<Shared>,
    /// It keeps the front alive that brings its requests.
    _front: Option<Arc<Running>>,
}

/// A session's way back to the house that it is in, and its number there.
pub(crate) struct Home(Weak<House>, u32);

impl Handler {
    /// A server's sessions, none so far, on smol's global executor. Path and limits are those of the HTTP server that it
    /// is mounted in.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(options: ListenOptions) -> io::Result<Handler> {
        Handler::new_on(&Spawner::default(), options)
    }

    /// As [`new`](Handler::new), with the sessions' tasks wherever `spawner` starts them. They must be run for as long as
    /// the sessions are in use; a session whose task is dropped is aborted.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new_on(spawner: &Spawner, options: ListenOptions) -> io::Result<Handler> {
        let instance = Instance(random::number()?);
        let inside = Inside::new(options.config, options.router, instance, timer::now());
        let house = House {
            inside: Mutex::new(inside),
            spawner: spawner.clone(),
            front: OnceLock::new(),
        };
        Ok(Handler {
            house: Arc::new(house),
        })
    }

    /// Waits for the next session.
    ///
    /// Cancel-safe: a session that was not given stays for the next call.
    ///
    /// # Errors
    /// `NotConnected`, once the handler was closed.
    pub async fn accept(&self) -> io::Result<Session> {
        let mut waiting = Waiting::new(&self.house, |house| &mut house.arrived);
        poll_fn(|cx| self.poll_accept(cx, &mut waiting)).await
    }

    pub(crate) fn poll_accept(
        &self,
        cx: &Context<'_>,
        waiting: &mut Waiting<'_>,
    ) -> Poll<io::Result<Session>> {
        waiting.attempt(cx, |house| match house.accept() {
            Ok(Tried::Blocked) => Tried::Blocked,
            Ok(Tried::Done(session)) => Tried::Done(Ok(session)),
            Err(error) => Tried::Done(Err(error)),
        })
    }

    /// How many sessions there are, accepted or not.
    pub fn sessions(&self) -> usize {
        self.house.lock().sessions().len()
    }

    /// Accepts no more and closes every session in order; those that have not ended within `grace` are aborted.
    /// Requests must go on being brought meanwhile.
    ///
    /// Cancel-safe: once polled, the sessions go on closing; dropped before it is ready, it aborts none.
    pub async fn close(&self, grace: Duration) {
        self.house.shut();
        self.house.for_all(State::close);
        let mut waiting = Waiting::new(&self.house, |house| &mut house.left);
        let empty = poll_fn(|cx| {
            waiting.attempt(cx, |house| match house.sessions().len() {
                0 => Tried::Done(()),
                _ => Tried::Blocked,
            })
        });
        let late = async {
            Timer::after(grace).await;
        };
        empty.or(late).await;
        self.house.for_all(State::abort);
    }
}

impl Service for Handler {
    type Pending = Pending;

    fn begin(&self, body: Bytes) -> Pending {
        self.house.begin(body)
    }
}

impl House {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions keep this front running.
    pub(crate) fn run_by(&self, front: &Arc<Running>) {
        let first = self.front.set(Arc::downgrade(front));
        debug_assert!(first.is_ok(), "a listener has one front");
    }

    fn begin(self: &Arc<Self>, body: Bytes) -> Pending {
        let body = form::open(body);
        match self.visit(&body) {
            Ok((shared, request)) => {
                let (pending, responder) = Pending::new(shared.clone(), request);
                shared.feed_request(request, body, responder);
                pending
            }
            Err(reply) => Pending::ready(reply),
        }
    }

    /// The first bundles came on a direct connection: whose it is, and what it is called there. `None`: nobody's.
    pub(crate) fn begin_direct(
        self: &Arc<Self>,
        body: Bytes,
        wire: &Arc<Wire>,
    ) -> Option<(Arc<Shared>, RequestId)> {
        match self.visit(&body) {
            Ok((shared, request)) => {
                shared.feed_direct(request, body, wire);
                Some((shared, request))
            }
            Err(reply) => {
                wire.end(reply.body);
                None
            }
        }
    }

    /// Direct connections are taken on this port, as clients are told from now on.
    pub(crate) fn take_direct(&self, port: u16) {
        self.lock().take_direct(port);
    }

    /// The largest body that clients are to send, in bytes.
    pub(crate) fn body_max(&self) -> usize {
        self.lock().body_max()
    }

    /// Finds or makes the session that a body belongs to.
    fn visit(self: &Arc<Self>, body: &Bytes) -> Result<(Arc<Shared>, RequestId), Reply> {
        let nonce = || random::number().ok().map(Nonce);
        let mut fresh = None;
        let mut inside = self.lock();
        let routed = inside.route(timer::now(), body, nonce, |core, number| {
            let shared = Shared::server(core, Home(Arc::downgrade(self), number));
            fresh = Some(shared.clone());
            Resident {
                shared,
                _front: self.front.get().and_then(Weak::upgrade),
            }
        });
        let (shared, replaced, request) = match routed {
            Ok(Visit {
                session,
                replaced,
                request,
            }) => {
                let replaced = replaced.map(|old| old.shared.clone());
                (session.shared.clone(), replaced, request)
            }
            Err(reply) => return Err(reply),
        };
        drop(inside);
        if let Some(replaced) = replaced {
            replaced.turn(|inside| inside.replace());
        }
        if let Some(fresh) = fresh {
            fresh.begin(&self.spawner);
        }
        Ok((shared, request))
    }

    /// Lets no more sessions in, and closes those that wait.
    pub(crate) fn shut(&self) {
        let (waiting, wake) = self.lock().shut();
        wake.into_iter().for_each(Wake::wake);
        drop(waiting);
    }

    /// Does something to every session.
    pub(crate) fn for_all(&self, mut what: impl FnMut(&mut State)) {
        let inside = self.lock();
        let all: Vec<_> = inside.sessions().map(|at| at.shared.clone()).collect();
        drop(inside);
        for shared in all {
            shared.turn(|inside| what(inside));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shut();
        self.for_all(State::abort);
    }
}

impl Home {
    /// The session is there: it can be accepted.
    pub(crate) fn announce(&self, shared: &Arc<Shared>) {
        let Some(house) = self.0.upgrade() else {
            return;
        };
        let announced = house.lock().announce(Session::new(shared.clone()));
        match announced {
            Ok(wake) => wake.into_iter().for_each(Wake::wake),
            // With no lock held: that closes it.
            Err(unwanted) => drop(unwanted),
        }
    }

    /// The session is over: late copies of its requests are the router's from here on.
    pub(crate) fn ended(&self, shared: &Arc<Shared>) {
        let Some(house) = self.0.upgrade() else {
            return;
        };
        let mut inside = house.lock();
        let (resident, wake) = inside.ended(timer::now(), self.1, &shared.lock());
        drop(inside);
        wake.into_iter().for_each(Wake::wake);
        // Perhaps the last that kept the front.
        drop(resident);
    }
}

/// A future's place in one of the house's lists.
pub(crate) struct Waiting<'a> {
    house: &'a House,
    list: fn(&mut Inside) -> &mut Wakers,
    place: Place,
}

impl<'a> Waiting<'a> {
    fn new(house: &'a House, list: fn(&mut Inside) -> &mut Wakers) -> Waiting<'a> {
        Waiting {
            house,
            list,
            place: Place::default(),
        }
    }

    /// In the list of those who accept.
    pub(crate) fn to_accept(handler: &'a Handler) -> Waiting<'a> {
        Waiting::new(&handler.house, |house| &mut house.arrived)
    }

    fn attempt<T>(
        &mut self,
        cx: &Context<'_>,
        attempt: impl FnOnce(&mut Inside) -> Tried<T>,
    ) -> Poll<T> {
        let mut inside = self.house.lock();
        let tried = attempt(&mut inside);
        let (polled, old) = (self.list)(&mut inside).tried(tried, &mut self.place, cx.waker());
        drop(inside);
        drop(old);
        polled
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.place.is_none() {
            let old = (self.list)(&mut self.house.lock()).leave(self.place);
            drop(old);
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}
