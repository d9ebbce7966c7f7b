//! The server's role: it answers exchanges.
use crate::*;
use crate::wire::Chain;
use bytes::Bytes;

/// A response to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP request that it answers.
    pub request: RequestId,
    /// Which exchange that was; for the header.
    pub exchange: u64,
    /// The body; status 200.
    pub body: Chain,
}

/// One session's server side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {}

/// A request that is not the session's: it has its answer with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject { body: Chain, exchange: u64 }
impl Reject {
    /// What to answer, with status 200.
    pub fn body(self) -> Chain { self.body }
    /// The exchange to name in the header.
    pub fn exchange(&self) -> u64 { self.exchange }
}

/// A session that a request asks for; see [`Router::route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {}

#[allow(unused_variables)]
impl Server {
    /// The session that `opening` asks for. `nonce` must be random: it tells this start of the session from copies of old ones.
    pub fn new(config: Config, opening: Opening, nonce: Nonce, now: Instant) -> Server { todo!() }
    /// The session's secret id.
    pub fn id(&self) -> SessionId { todo!() }
    /// A request came: its whole body. On `Ok` exactly one response will name `request`.
    /// # Errors
    /// If it can't be read or belongs elsewhere; the error is the answer.
    pub fn feed_request(&mut self, now: Instant, request: RequestId, body: Bytes) -> Result<(), Reject> { todo!() }
    /// Whoever sent the request has gone, or its response could not be sent.
    pub fn feed_hangup(&mut self, now: Instant, request: RequestId) { todo!() }
    /// Time has passed.
    pub fn feed_timeout(&mut self, now: Instant) { todo!() }
    /// The next response to send; call until `None`.
    #[must_use]
    pub fn poll_response(&mut self, now: Instant) -> Option<Response> { todo!() }
    /// As the client's.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    /// As the client's.
    pub fn next_timeout(&self) -> Option<Instant> { todo!() }
    /// Opens a stream.
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&mut self) -> Result<StreamId, OpenError> { todo!() }
    /// As the client's.
    pub fn accept(&mut self) -> Option<StreamId> { todo!() }
    /// As the client's.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> { todo!() }
    /// As the client's.
    pub fn close(&mut self, code: u32, reason: &str) { todo!() }
    /// As the client's.
    pub fn abort(&mut self) { todo!() }
    /// Whether the session is over and has no response left to give: the router may forget it (`Router::ended`).
    pub fn is_over(&self) -> bool { todo!() }
}

/// Which session a request belongs to (S15). `S` is whatever the embedder keeps for a session: a `Server`, or a
/// shared handle to one.
#[derive(Clone, Debug)]
pub struct Router<S> { _s: core::marker::PhantomData<S> }

/// Where a request belongs.
#[derive(Debug)]
pub enum Route<'a, S> {
    /// To this session: feed it there.
    Session(&'a mut S),
    /// To none yet: make a `Server` of it, `insert` it and feed the request there. `replaced` is the session whose place it takes, out of the router already: end it with `Server::replace`.
    Opening { /// What to make the server of.
        opening: Opening, /// The session whose place it takes.
        replaced: Option<S> },
    /// Nowhere: answer this.
    Reject(Reject),
    /// It is none of ours: answer 400 with a word for a person.
    NotOurs,
}

#[allow(unused_variables)]
impl<S> Router<S> {
    /// An empty router. `instance` must be random.
    pub fn new(config: RouterConfig, instance: Instance, now: Instant) -> Router<S> { todo!() }
    /// Finds out where a request's body belongs; looks at its first bundle's head and prefix.
    pub fn route(&mut self, now: Instant, body: &Bytes) -> Route<'_, S> { todo!() }
    /// Keeps a new session.
    pub fn insert(&mut self, id: SessionId, session: S) { todo!() }
    /// Forgets a session but for what late copies of its requests must be told. `server` is its machine, if it ended in order.
    pub fn ended(&mut self, now: Instant, id: SessionId, server: &Server) -> Option<S> { todo!() }
    /// All sessions.
    pub fn sessions(&mut self) -> impl Iterator<Item = (&SessionId, &mut S)> { core::iter::empty() }
    /// How many sessions there are.
    pub fn len(&self) -> usize { todo!() }
}
impl Server {
    /// Another session took this one's place.
    pub fn replace(&mut self) { todo!() }
}
