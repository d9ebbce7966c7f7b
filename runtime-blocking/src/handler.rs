//! The server without HTTP: which session a request belongs to, and the sessions that wait to be accepted.
//!
//! Locks are taken in this order: the table of sessions, then one session's. The table's is held to find a session and
//! to forget one, never while a session works.

use crate::driver::{Shared, State};
use crate::front::{Responder, Service, Ticket};
use crate::random;
use crate::server::Running;
use crate::session::Session;
use crate::sync::{Mutex, MutexGuard};
use crate::timer;
use crate::wait::{Threads, wait};
use crate::wire::Wire;
use bytes::Bytes;
use posthole_protocol::http::form;
use posthole_protocol::{Instance, Nonce, RequestId};
use posthole_runtime::{ListenOptions, Reply, Tried, Visit};
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The server's side without an HTTP server: give it the bodies of requests and it has the replies (S18).
///
/// Clone it: one handle goes to the HTTP server, which calls it as a [`Service`], another accepts sessions. When the
/// last one is dropped, the sessions end, as nobody could bring their requests any more.
#[derive(Clone)]
pub struct Handler {
    pub(crate) house: Arc<House>,
}

/// What the sessions of a server have in common.
pub(crate) struct House {
    inside: Mutex<Inside>,
    /// Whom sessions keep running.
    front: OnceLock<Weak<Running>>,
}

type Inside = posthole_runtime::House<Resident, Session, Threads>;

/// A session in its house.
struct Resident {
    shared: Arc<Shared>,
    /// It keeps the front alive that brings its requests.
    _front: Option<Arc<Running>>,
}

/// A session's way back to the house that it is in, and its number there.
pub(crate) struct Home(Weak<House>, u32);

impl Handler {
    /// A server's sessions, none so far. Path and limits are those of the HTTP server that it is mounted in.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(options: ListenOptions) -> io::Result<Handler> {
        let instance = Instance(random::number()?);
        let inside = Inside::new(options.config, options.router, instance, timer::now());
        let house = House {
            inside: Mutex::new(inside),
            front: OnceLock::new(),
        };
        Ok(Handler {
            house: Arc::new(house),
        })
    }

    /// Waits for the next session.
    ///
    /// # Errors
    /// `NotConnected`, once the handler was closed.
    pub fn accept(&self) -> io::Result<Session> {
        let mut inside = self.house.lock();
        loop {
            match inside.accept()? {
                Tried::Done(session) => return Ok(session),
                Tried::Blocked => (inside, _) = wait(inside, |house| &mut house.arrived, None),
            }
        }
    }

    /// How many sessions there are, accepted or not.
    pub fn sessions(&self) -> usize {
        self.house.lock().sessions().len()
    }

    /// Accepts no more and closes every session in order; those that have not ended within `grace` are aborted.
    /// Requests must go on being brought meanwhile.
    pub fn close(&self, grace: Duration) {
        let until = Instant::now().checked_add(grace);
        self.house.shut();
        self.house.for_all(State::close);
        let (mut inside, mut late) = (self.house.lock(), false);
        while inside.sessions().len() > 0 && !late {
            (inside, late) = wait(inside, |house| &mut house.left, until);
        }
        drop(inside);
        self.house.for_all(State::abort);
    }
}

impl Service for Handler {
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        self.house.begin(body, responder)
    }

    fn hangup(&self, ticket: Ticket) {
        let request = RequestId::new(ticket.0);
        let inside = self.house.lock();
        let shared = inside.session_of(request).map(|at| at.shared.clone());
        drop(inside);
        if let Some(shared) = shared {
            shared.feed_hangup(request);
        }
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

    fn begin(self: &Arc<Self>, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        let body = form::open(body);
        match self.visit(&body) {
            Ok((shared, request)) => {
                shared.feed_request(request, body, responder);
                Ticket(request.number())
            }
            Err(reply) => {
                responder.respond(reply);
                // No session's.
                Ticket(0)
            }
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
        let mut inside = self.lock();
        let routed = inside.route(timer::now(), body, nonce, |core, number| Resident {
            shared: Shared::server(core, Home(Arc::downgrade(self), number)),
            _front: self.front.get().and_then(Weak::upgrade),
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
            let mut locked = replaced.lock();
            locked.replace();
            locked.settle();
        }
        Ok((shared, request))
    }

    /// Lets no more sessions in, and closes those that wait.
    pub(crate) fn shut(&self) {
        let (waiting, wake) = self.lock().shut();
        wake.iter().for_each(|waiting| waiting.notify_all());
        drop(waiting);
    }

    /// Does something to every session.
    pub(crate) fn for_all(&self, mut what: impl FnMut(&mut State)) {
        let inside = self.lock();
        let all: Vec<_> = inside.sessions().map(|at| at.shared.clone()).collect();
        drop(inside);
        for shared in all {
            let mut locked = shared.lock();
            what(&mut locked);
            locked.settle();
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
            Ok(wake) => wake.iter().for_each(|waiting| waiting.notify_all()),
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
        wake.iter().for_each(|waiting| waiting.notify_all());
        // Perhaps the last that kept the front.
        drop(resident);
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use posthole_protocol::{Client, CloseReason, Config, SessionId};

    /// Holds each answer.
    struct Nobody;

    impl Responder for Nobody {
        fn respond(self: Box<Self>, _: Reply) {}
    }

    fn begin(handler: &Handler, mut client: Client) {
        let request = client.poll_request(timer::now()).unwrap();
        handler.begin(request.body.into_bytes(), Box::new(Nobody));
    }

    #[test]
    fn a_client_that_begins_anew_ends_the_session_that_it_names() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let [before, id] = [3, 4].map(|seed| SessionId::from_bytes([seed; 16]));
        begin(
            &handler,
            Client::new(Config::default(), before, timer::now()),
        );
        let old = handler
            .house
            .lock()
            .sessions()
            .next()
            .unwrap()
            .shared
            .clone();
        let next = Client::replacing(Config::default(), id, before, timer::now());
        begin(&handler, next);
        assert_eq!(old.lock().closed(), Some(&CloseReason::Replaced));
    }
}
