//! The client's role: it opens exchanges.
use crate::*;
use crate::wire::Chain;
use bytes::Bytes;

/// A request to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The exchange that it opens.
    pub exchange: ExchangeId,
    /// The body of the POST.
    pub body: Chain,
    /// How long to let it run without progress before it is fed as `Failure::TimedOut`.
    pub patience: Duration,
}

/// One session's client side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {}

#[allow(unused_variables)]
impl Client {
    /// A new session.
    pub fn new(config: Config, id: SessionId, now: Instant) -> Client { todo!() }
    /// The session's secret id.
    pub fn id(&self) -> SessionId { todo!() }
    /// A response with status 200 and our marker came: its whole body.
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_response(&mut self, now: Instant, exchange: ExchangeId, body: Bytes) -> Result<(), UnknownExchange> { todo!() }
    /// The exchange came to nothing.
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_failure(&mut self, now: Instant, exchange: ExchangeId, why: Failure) -> Result<(), UnknownExchange> { todo!() }
    /// Bytes of the request have left or of the response have come: patience begins anew.
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_progress(&mut self, now: Instant, exchange: ExchangeId) -> Result<(), UnknownExchange> { todo!() }
    /// Time has passed.
    pub fn feed_timeout(&mut self, now: Instant) { todo!() }
    /// The next request to send; call until `None`.
    #[must_use]
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> { todo!() }
    /// The next exchange that nobody waits for any more: its HTTP request is to be cancelled. Feeding it later is an error value.
    #[must_use]
    pub fn poll_cancel(&mut self) -> Option<ExchangeId> { todo!() }
    /// The next piece of news; call until `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    /// When `feed_timeout` is due; `None`: nothing is waiting for time.
    pub fn next_timeout(&self) -> Option<Instant> { todo!() }
    /// Opens a stream.
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&mut self) -> Result<StreamId, OpenError> { todo!() }
    /// The next stream that the peer opened.
    pub fn accept(&mut self) -> Option<StreamId> { todo!() }
    /// The handle of a stream; `None` once it has ended both ways and everything was said of it, or never was.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> { todo!() }
    /// Ends the session in order: what was written is delivered first, then the peer is told.
    pub fn close(&mut self, code: u32, reason: &str) { todo!() }
    /// Ends the session at once, telling nobody.
    pub fn abort(&mut self) { todo!() }
}
