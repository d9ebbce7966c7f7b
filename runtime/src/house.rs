//! A server without HTTP: which session a request belongs to, and the sessions that wait to be accepted.
//!
//! A runtime keeps it behind a lock of its own. Locks are taken in this order: the house's, then a session's. The house's
//! is held to find a session and to forget one, never while a session works.

use crate::driver::State;
use crate::ends::Tried;
use crate::reply::Reply;
use crate::wait::Waiters;
use bytes::Bytes;
use posthole_protocol::{
    Config, Instance, Instant, Nonce, RequestId, Route, Router, RouterConfig, Server,
};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the sessions of a server have in common.
///
/// `S` is what the runtime keeps of a session, `A` what is accepted (a handle, whose drop may close the session: none is
/// dropped in here), `W` who waits.
pub struct House<S, A, W: Waiters> {
    config: Config,
    router: Router<u32>,
    /// By the number that their requests begin with.
    sessions: HashMap<u32, S>,
    /// The last number given to a session.
    number: u32,
    /// And to a request.
    request: u32,
    waiting: VecDeque<A>,
    is_open: bool,
    /// Who waits to accept a session.
    pub arrived: W,
    /// Who waits for a session to end.
    pub left: W,
}

/// A request that has found its session: feed it there, under this name.
#[derive(Debug)]
pub struct Visit<'a, S> {
    /// The session.
    pub session: &'a S,
    /// The request's name: not 0, and no other's that is held at the same time.
    pub request: RequestId,
    /// The session whose place this one takes: end it first, by [`State::replace`].
    pub replaced: Option<&'a S>,
}

impl<S, A, W: Waiters> House<S, A, W> {
    /// A house without sessions. `instance` must be random: it tells this start of the server from others.
    pub fn new(
        config: Config,
        router: RouterConfig,
        instance: Instance,
        now: Instant,
    ) -> House<S, A, W> {
        House {
            config,
            router: Router::new(router, instance, now),
            sessions: HashMap::new(),
            number: 0,
            request: 0,
            waiting: VecDeque::new(),
            is_open: true,
            arrived: W::default(),
            left: W::default(),
        }
    }

    /// Direct connections are taken on this port: clients that begin a session from now on are told.
    pub fn take_direct(&mut self, port: u16) {
        self.config.tell_direct(port);
    }

    /// The largest body that clients are told to send, in bytes.
    pub fn body_max(&self) -> usize {
        self.config.body_max()
    }

    /// Finds the session that a body belongs to, or makes it: of its core and its number in this house. `nonce` must be
    /// random; `None`: the system has no random bytes.
    ///
    /// # Errors
    /// What to answer a request that is no session's.
    pub fn route(
        &mut self,
        now: Instant,
        body: &Bytes,
        nonce: impl FnOnce() -> Option<Nonce>,
        make: impl FnOnce(Server, u32) -> S,
    ) -> Result<Visit<'_, S>, Reply> {
        let (number, replaced) = match self.router.route(now, body) {
            Route::Session(number) => (*number, None),
            Route::Opening { opening, replaced } => {
                let nonce = nonce().filter(|_| self.is_open);
                let nonce = nonce.ok_or_else(Reply::unavailable)?;
                let (id, number) = (opening.id(), self.next_number());
                let core = Server::new(self.config.clone(), opening, nonce, now);
                self.sessions.insert(number, make(core, number));
                self.router.insert(id, number);
                (number, replaced)
            }
            Route::Reject(reject) => {
                tracing::debug!(exchange = reject.exchange(), "request refused");
                return Err(reject.into());
            }
            Route::NotOurs => {
                tracing::debug!(bytes = body.len(), "request of another kind");
                return Err(Reply::not_ours());
            }
        };
        self.request = self.request.wrapping_add(1);
        Ok(Visit {
            // The router may know one for longer whose core broke as it was to be forgotten.
            session: self.sessions.get(&number).ok_or_else(Reply::unavailable)?,
            request: RequestId::new(u64::from(number) << 32 | u64::from(self.request)),
            replaced: replaced.and_then(|number| self.sessions.get(&number)),
        })
    }

    /// Differs among sessions that are there at the same time. Never 0, so no request's name is.
    fn next_number(&mut self) -> u32 {
        loop {
            self.number = self.number.wrapping_add(1);
            if self.number != 0 && !self.sessions.contains_key(&self.number) {
                return self.number;
            }
        }
    }

    /// The session that was given this request, if it is still there.
    pub fn session_of(&self, request: RequestId) -> Option<&S> {
        let number = u32::try_from(request.number() >> 32).expect("32 of 64 bits");
        self.sessions.get(&number)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = &S> {
        self.sessions.values()
    }

    /// The next session. `Blocked`: wait for [`arrived`](House::arrived).
    ///
    /// # Errors
    /// `NotConnected`, once the house was shut.
    pub fn accept(&mut self) -> io::Result<Tried<A>> {
        match self.waiting.pop_front() {
            Some(session) => Ok(Tried::Done(session)),
            None if self.is_open => Ok(Tried::Blocked),
            None => Err(io::Error::new(
                ErrorKind::NotConnected,
                "the listener is closed",
            )),
        }
    }

    /// A session is there: it can be accepted. Gives whom to wake.
    ///
    /// # Errors
    /// Back, if none is let in any more.
    pub fn announce(&mut self, session: A) -> Result<Option<W::Wake>, A> {
        if !self.is_open {
            return Err(session);
        }
        self.waiting.push_back(session);
        Ok(self.arrived.take())
    }

    /// Lets no more sessions in. Gives those that wait, and whom to wake.
    pub fn shut(&mut self) -> (VecDeque<A>, Option<W::Wake>) {
        self.is_open = false;
        (std::mem::take(&mut self.waiting), self.arrived.take())
    }

    /// The session with this number is over: late copies of its requests are the router's from here on. Gives what was
    /// kept of it, and whom to wake.
    pub fn ended<R>(
        &mut self,
        now: Instant,
        number: u32,
        state: &State<R, W>,
    ) -> (Option<S>, Option<W::Wake>) {
        if let Some(core) = state.server_core() {
            // A core that panicked may do so again; the others' house stays whole.
            let forget = AssertUnwindSafe(|| self.router.ended(now, core.id(), core));
            drop(catch_unwind(forget));
        }
        (self.sessions.remove(&number), self.left.take())
    }
}

#[cfg(test)]
mod tests;
