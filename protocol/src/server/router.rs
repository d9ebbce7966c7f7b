//! Which session a request belongs to; opens, refuses and remembers sessions (S15, A8, A13; PROTOCOL §7).

use super::Server;
use crate::config::RouterConfig;
use crate::id::{Instance, SessionId};
use crate::time::Instant;
use crate::wire::{
    Bundle, Chain, Head, Params, Refusal, RequestPrefix, Unreadable, decode, refusal,
};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;

/// How long a client is asked to wait when there is no room for its session, in milliseconds.
const BUSY: u64 = 2000;

/// The highest number that can travel (§3.2).
const MAX_NUMBER: u64 = (1 << 62) - 1;

/// A request that is no session's: it has its answer with it, to be sent with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    exchange: u64,
    body: Chain,
}

impl Reject {
    /// `exchange` as the request claims it: what could not be an exchange's number has no answer that fits it.
    pub(super) fn new(id: &SessionId, exchange: u64, what: Refusal) -> Reject {
        let exchange = exchange.min(MAX_NUMBER);
        Reject {
            exchange,
            body: refusal(id, exchange, what),
        }
    }

    /// The exchange to name in the header.
    pub fn exchange(&self) -> u64 {
        self.exchange
    }

    /// The body of the answer.
    pub fn body(self) -> Chain {
        self.body
    }
}

/// A session that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub(super) id: SessionId,
    pub(super) params: Params,
    pub(super) instance: Instance,
    /// This router would know if it were a copy of an old one.
    pub(super) trusted: bool,
}

impl Opening {
    /// The session's secret id, under which to [`insert`](Router::insert) it.
    pub fn id(&self) -> SessionId {
        self.id
    }
}

/// Where a request belongs.
#[derive(Debug)]
pub enum Route<'a, S> {
    /// To this session: feed it there.
    Session(&'a mut S),
    /// To none yet: make a [`Server`] of it, `insert` it and feed the request there.
    Opening {
        /// What to make the server of.
        opening: Opening,
        /// The session whose place it takes, out of the router already: end it with [`Server::replace`].
        replaced: Option<S>,
    },
    /// Nowhere: answer this.
    Reject(Reject),
    /// It is none of ours: answer 400, with a word for a person.
    NotOurs,
}

/// Finds sessions by their requests. `S` is whatever the embedder keeps for one: a [`Server`], or a shared handle.
#[derive(Clone, Debug)]
pub struct Router<S> {
    config: RouterConfig,
    instance: Instance,
    sessions: BTreeMap<SessionId, S>,
    /// What late copies of an ended session's requests are told, and until when; `order` is by time.
    ended: BTreeMap<SessionId, Option<u64>>,
    order: VecDeque<(Instant, SessionId)>,
    /// Before this, an unknown id may be that of a session which was forgotten.
    trusted_from: Instant,
}

impl<S> Router<S> {
    /// An empty router. `instance` must be random: it tells this start of the server from others.
    pub fn new(config: RouterConfig, instance: Instance, now: Instant) -> Router<S> {
        Router {
            trusted_from: now.after(config.linger),
            config,
            instance,
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Finds out where a request's body belongs, by its first bundle.
    pub fn route(&mut self, now: Instant, body: &Bytes) -> Route<'_, S> {
        self.forget(now);
        let Some(head) = Head::peek(body) else {
            return Route::NotOurs;
        };
        let (Some(id), false) = (head.session, head.answer) else {
            return Route::NotOurs;
        };
        let reject = |what| Reject::new(&id, head.exchange, what);
        if head.version != 1 {
            return Route::Reject(reject(Refusal::Version(1, 1)));
        }
        // Twice looked up: a borrow that is returned can't be given up on the other ways out.
        if self.sessions.contains_key(&id) {
            return match self.sessions.get_mut(&id) {
                Some(session) => Route::Session(session),
                None => Route::NotOurs,
            };
        }
        if let Some(ended) = self.ended.get(&id) {
            return Route::Reject(reject(
                ended.map_or(Refusal::Gone(self.instance), Refusal::Ended),
            ));
        }
        let params = match decode::<RequestPrefix>(&mut body.clone(), &id, None) {
            Some(Ok(Bundle::Session(first))) => first.prefix.opening,
            Some(Err(Unreadable::Version(_))) => {
                return Route::Reject(reject(Refusal::Version(1, 1)));
            }
            _ => return Route::Reject(reject(Refusal::Unreadable)),
        };
        let Some(params) = params else {
            return Route::Reject(reject(Refusal::Gone(self.instance)));
        };
        let old = params.replaces.filter(|old| *old != id);
        if self.sessions.len() >= self.config.sessions
            && !old.is_some_and(|old| self.sessions.contains_key(&old))
        {
            return Route::Reject(reject(Refusal::Busy(BUSY)));
        }
        let replaced = old.and_then(|old| self.end(now, old, None));
        let trusted = now >= self.trusted_from;
        Route::Opening {
            opening: Opening {
                id,
                params,
                instance: self.instance,
                trusted,
            },
            replaced,
        }
    }

    /// Keeps a new session.
    pub fn insert(&mut self, id: SessionId, session: S) {
        self.sessions.insert(id, session);
    }

    /// Forgets a session but for what late copies of its requests are told. `server` is its machine.
    pub fn ended(&mut self, now: Instant, id: SessionId, server: &Server) -> Option<S> {
        self.end(now, id, server.final_ack())
    }

    fn end(&mut self, now: Instant, id: SessionId, next: Option<u64>) -> Option<S> {
        let session = self.sessions.remove(&id)?;
        self.ended.insert(id, next);
        self.order.push_back((now.after(self.config.linger), id));
        if self.order.len() > self.config.ended
            && let Some((_, id)) = self.order.pop_front()
        {
            self.ended.remove(&id);
            self.trusted_from = now.after(self.config.linger);
        }
        Some(session)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, id)) = self
            .order
            .front()
            .copied()
            .filter(|(until, _)| *until <= now)
        {
            self.order.pop_front();
            self.ended.remove(&id);
        }
    }

    /// All sessions.
    pub fn sessions(&mut self) -> impl Iterator<Item = (&SessionId, &mut S)> {
        self.sessions.iter_mut()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Client, Config};

    const NOW: Instant = Instant::ZERO;
    const OLD: SessionId = SessionId::from_bytes([1; 16]);
    const NEW: SessionId = SessionId::from_bytes([2; 16]);

    fn router(sessions: usize) -> Router<u8> {
        let config = RouterConfig {
            sessions,
            ..RouterConfig::default()
        };
        let mut router = Router::new(config, Instance(1), NOW);
        router.insert(OLD, 7);
        router
    }

    fn first(mut client: Client) -> Bytes {
        client.poll_request(NOW).unwrap().body.into_bytes()
    }

    /// §7.5, A24: its ghost would hold what the server's application has for it until `idle`.
    #[test]
    fn who_replaces_a_session_ends_it_at_once() {
        let body = first(Client::replacing(Config::default(), NEW, OLD, NOW));
        // A full server has room for it, too: one goes and one comes.
        for sessions in [1, 9] {
            let mut router = router(sessions);
            let Route::Opening { replaced, opening } = router.route(NOW, &body) else {
                panic!("no opening")
            };
            assert_eq!((replaced, opening.id), (Some(7), NEW));
            assert_eq!(router.sessions().count(), 0);
            // Its client, if it lives, is told that it has ended.
            let late = first(Client::new(Config::default(), OLD, NOW));
            assert!(matches!(router.route(NOW, &late), Route::Reject(_)));
        }
    }

    /// The header of an answer names the exchange that the request claims, as far as there can be one of this number.
    #[test]
    fn who_is_turned_away_is_told_under_its_own_number() {
        for (claimed, named) in [
            (0, 0),
            (5, 5),
            (MAX_NUMBER, MAX_NUMBER),
            (u64::MAX, MAX_NUMBER),
        ] {
            let reject = Reject::new(&OLD, claimed, Refusal::Unreadable);
            assert_eq!(reject.exchange(), named);
            let body = reject.body();
            assert_eq!(body, refusal(&OLD, named, Refusal::Unreadable));
        }
    }

    #[test]
    fn who_replaces_none_ends_none() {
        let others = SessionId::from_bytes([3; 16]);
        for (client, is_taken) in [
            (Client::new(Config::default(), NEW, NOW), true),
            (Client::replacing(Config::default(), NEW, NEW, NOW), true),
            (Client::replacing(Config::default(), NEW, others, NOW), true),
            (
                Client::replacing(Config::default(), NEW, others, NOW),
                false,
            ),
        ] {
            let mut router = router(if is_taken { 2 } else { 1 });
            let body = first(client);
            let ends_none = matches!(
                router.route(NOW, &body),
                Route::Opening { replaced: None, .. } | Route::Reject(_)
            );
            assert!(ends_none);
            assert_eq!(router.sessions().count(), 1);
        }
    }

    /// §7.3: for as long as copies of its requests may come, and no longer.
    #[test]
    fn a_router_forgets_ended_sessions_in_time() {
        let mut router = router(9);
        let body = first(Client::new(Config::default(), OLD, NOW));
        assert_eq!(router.end(NOW, OLD, None), Some(7));
        for (second, is_known) in [(1, true), (299, true), (300, false)] {
            let now = NOW.after(core::time::Duration::from_secs(second));
            let is_turned_away = matches!(router.route(now, &body), Route::Reject(_));
            assert_eq!(is_turned_away, is_known, "{second} s");
        }
        assert!(router.ended.is_empty() && router.order.is_empty());
    }
}
