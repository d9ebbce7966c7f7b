//! The server's role: it answers exchanges, and judges what became of its answers (S4, S5, S13; PROTOCOL §5).
//!
//! Knows nothing of HTTP: a request is bytes and a name for it, a response is bytes for that name.

mod answers;
mod arrivals;
mod exchanges;
mod long;
mod rebase;
mod router;
mod schedule;

pub use router::{Opening, Reject, Route, Router};

use crate::config::Config;
use crate::error::{CloseReason, OpenError};
use crate::event::Event;
use crate::id::{Instance, Nonce, RequestId, SessionId, StreamId};
use crate::session::Session;
use crate::stats::Stats;
use crate::stream::{Side, Stream};
use crate::time::Instant;
use crate::wire::{Chain, Refusal};
use alloc::collections::VecDeque;
use core::time::Duration;
use exchanges::{AtOnce, Exchanges, Held};

/// A client that has not shown that it is more than a copy of an old request is kept for this long.
const UNVOUCHED: Duration = Duration::from_secs(120);

/// A response to be sent now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The HTTP request that it answers.
    pub request: RequestId,
    /// Which exchange that was; for the header.
    pub exchange: u64,
    /// The body; status 200.
    pub body: Chain,
    /// Nothing more follows. `false`: a bundle of a long exchange, to be written on its connection or as the next piece
    /// of a streamed answer, and [`Server::feed_written`] then. The last one of a long exchange is written, and the
    /// connection closed or the answer ended.
    pub last: bool,
}

/// One session's server side.
///
/// Give it what happens (`feed_*`), take what it wants (`poll_*`, each until `None`), and call `feed_timeout` when
/// `next_timeout` has come. A [`Router`] finds it by the request's body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    session: Session,
    exchanges: Exchanges,
    /// Second copies of one answer, and answers to requests that a newer copy has replaced.
    outgoing: VecDeque<Response>,
    instance: Instance,
    nonce: Nonce,
    /// A request has come, and another one after it.
    heard: bool,
    again: bool,
    /// This is no copy of an old opening: what comes may reach the application (A8).
    vouched: bool,
    /// The client knows our parameters.
    known: bool,
    /// How many exchanges the client wants held, its re-send timer, and what waits there, by its newest request.
    hold: usize,
    timer: Duration,
    hint: u64,
    /// What waits here, as the client was told last.
    told: u64,
    newest_at: Instant,
    last_request: Instant,
    /// When bytes of a stream last moved either way.
    last_byte: Instant,
    /// Answers are filled up: the client tries what comes through.
    pad: bool,
    /// The embedder can write an answer piece by piece.
    pieces: bool,
    /// Bytes per second to the client, 0 while unknown.
    rate: u64,
    /// The shortest time from an answer to its acknowledgement.
    least: Duration,
    stats: Stats,
}

impl Server {
    /// The session that `opening` asks for. `nonce` must be random: by its echo a client is told from a copy.
    pub fn new(config: Config, opening: Opening, nonce: Nonce, now: Instant) -> Server {
        let mut session = Session::new(Side::Server, config, opening.id, now);
        session.on_params(&opening.params);
        let pad = opening.params.pad == Some(1);
        session.ending.unvouched = !opening.trusted;
        Server {
            session,
            exchanges: Exchanges::default(),
            outgoing: VecDeque::new(),
            instance: opening.instance,
            nonce,
            heard: false,
            again: false,
            vouched: opening.trusted,
            known: false,
            hold: 1,
            timer: Duration::from_secs(1),
            hint: 0,
            told: 0,
            newest_at: now,
            last_request: now,
            last_byte: now,
            pad,
            pieces: false,
            rate: 0,
            least: Duration::MAX,
            stats: Stats::default(),
        }
    }

    /// Whether the answers to requests from here on can be written piece by piece, each when it is there: they are
    /// streamed to clients that ask for it ([`Response::last`]). Otherwise, and at first, each request has one answer.
    pub fn writes_pieces(&mut self, can: bool) {
        self.pieces = can;
    }

    /// The session's secret id.
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Counts since the session began.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    // --- in ------------------------------------------------------------------------------------------------

    /// Whoever sent the request has gone, or its response could not be written: what that answer carried goes again.
    pub fn feed_hangup(&mut self, now: Instant, request: RequestId) {
        self.advance(now);
        self.outgoing.retain(|response| response.request != request);
        if let Some(exchange) = self.exchanges.on_hangup(request) {
            self.on_lost(exchange);
        }
        self.finish();
    }

    /// Time has passed. Early, late and repeated calls are harmless.
    pub fn feed_timeout(&mut self, now: Instant) {
        self.advance(now);
        if !self.session.is_over() {
            self.on_time();
        }
    }

    // --- out -----------------------------------------------------------------------------------------------

    /// The next piece of news; call until `None`. A session that may be a copy of an old one has none.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let over = self.is_over();
        if !self.session.is_connected() {
            let closed = if over {
                self.session.ending.poll_closed()
            } else {
                None
            };
            return closed.map(Event::Closed);
        }
        if self.session.is_over() && !over {
            return self.session.streams.poll_event();
        }
        self.session.poll_event()
    }

    // --- the end -------------------------------------------------------------------------------------------

    /// Whether the session is over and has no response left to give: the router may forget it ([`Router::ended`]).
    pub fn is_over(&self) -> bool {
        self.session.is_over() && self.exchanges.is_empty() && self.outgoing.is_empty()
    }

    /// Both sides have said CLOSE.
    fn is_done(&self) -> bool {
        self.session.ending.is_sent() && self.session.ending.is_received()
    }

    /// Ends a session of which everything has been said and answered.
    fn finish(&mut self) {
        if self.is_done() && self.exchanges.is_empty() {
            let reason = self.session.ending.reason();
            self.session.end(reason);
        }
    }

    /// What a request is told that comes after the end.
    fn last_word(&self) -> Refusal {
        match self.final_ack() {
            Some(next) => Refusal::Ended(next),
            None => Refusal::Gone(self.instance),
        }
    }

    /// Below this everything was delivered, if the session ended in order.
    fn final_ack(&self) -> Option<u64> {
        self.is_done().then(|| self.session.inbox.next())
    }

    /// Another session took this one's place (A24).
    pub fn replace(&mut self) {
        self.session.end(CloseReason::Replaced);
    }

    // --- the application's side ----------------------------------------------------------------------------

    /// Opens a stream.
    ///
    /// # Errors
    /// When as many are open as the client allows, or the session is ending.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        self.session.open()
    }

    /// The next stream that the client opened.
    pub fn accept(&mut self) -> Option<StreamId> {
        if !self.session.is_connected() {
            return None;
        }
        self.session.streams.accept()
    }

    /// The handle of a stream. `None` once it has ended both ways and everything was said of it, or never was.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.session.stream(id)
    }

    /// Ends the session in order (S10): what was written is delivered first, then the client is told. `reason` is
    /// cut at 256 bytes.
    pub fn close(&mut self, code: u32, reason: &str) {
        self.session.close(code, reason);
    }

    /// Ends the session at once; requests that are held get empty answers.
    pub fn abort(&mut self) {
        self.session.end(CloseReason::Aborted);
    }
}

#[cfg(test)]
impl Server {
    pub(crate) fn check(&self) {
        self.session.streams.check();
        self.session.outbox.check();
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.session.outbox.next_number()
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.session.outbox.is_empty()
    }
}
