//! The server's role: it answers exchanges, and judges what became of its answers (S4, S5, S13; PROTOCOL §5).
//!
//! Knows nothing of HTTP: a request is bytes and a name for it, a response is bytes for that name.

mod exchanges;
mod long;
mod rebase;
mod router;
mod schedule;

pub use router::{Opening, Reject, Route, Router};

use crate::config::{Config, SMALL_BODY};
use crate::error::{CloseReason, OpenError};
use crate::event::Event;
use crate::id::{Instance, Nonce, RequestId, SessionId, StreamId};
use crate::pace::Pace;
use crate::session::{Room, Session};
use crate::stats::Stats;
use crate::stream::{Side, Stream};
use crate::time::{Instant, wire_micros};
use crate::wire::{
    AnswerPrefix, Bundle, Chain, Decoded, MAX_PAYLOAD, Params, Refusal, RequestPrefix, decode,
    encode,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use exchanges::{Arrival, AtOnce, Exchanges, Held, Long};

/// Zeros behind a bundle up to `size` bytes in all: nobody reads them (§3.1.3).
fn fill_up(body: &mut Chain, size: usize) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while body.len() < size {
        let some = ZEROS.len().min(size - body.len());
        body.push(Bytes::from_static(&ZEROS[..some]));
    }
}

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
    /// Nothing more follows. `false`: a bundle of a long exchange, to be written on its connection, and
    /// [`Server::feed_written`] then. The last one of a long exchange is written, and the connection closed.
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
    /// Answers are filled up: the client tries what comes through.
    pad: bool,
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
            pad,
            rate: 0,
            least: Duration::MAX,
            stats: Stats::default(),
        }
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

    /// A request came: its whole body. On `Ok` exactly one response will name `request`, or a hang-up.
    ///
    /// Of a long exchange each further bundle of its connection is fed in the same way, under the same name, and any
    /// number of responses name it, of which one is the last. An error ends it.
    ///
    /// # Errors
    /// If it can't be read, is too old, or comes after the end; the error is the answer.
    pub fn feed_request(
        &mut self,
        now: Instant,
        request: RequestId,
        mut body: Bytes,
    ) -> Result<(), Reject> {
        let size = body.len();
        let claimed = crate::wire::Head::peek(&body).map_or(0, |head| head.exchange);
        let reject = |server: &Server, what| Reject::new(&server.session.id, claimed, what);
        self.advance(now);
        if self.is_done() || self.session.is_over() {
            return Err(reject(self, self.last_word()));
        }
        self.stats.bytes_in += size as u64;
        let first = match decode::<RequestPrefix>(&mut body, &self.session.id, None) {
            Some(Ok(Bundle::Session(first))) if !self.exchanges.is_too_old(first.exchange) => first,
            _ if self.exchanges.long(request).is_some() => return Err(self.end_long(request)),
            _ => {
                self.session.unread += 1;
                self.stats.unreadable += 1;
                return Err(reject(self, Refusal::Unreadable));
            }
        };
        self.last_request = self.session.now;
        self.stats.exchanges += 1;
        self.again = self.heard;
        self.heard = true;
        let number = first.exchange;
        let long = first.prefix.long.is_some();
        match self.exchanges.long(request).map(|held| held.number) {
            Some(own) if own != number || !long => return Err(self.end_long(request)),
            None if self.exchanges.is_anothers(number, long) => {
                return Err(reject(self, Refusal::Unreadable));
            }
            Some(_) | None => {}
        }
        self.on_bundle(request, first, size);
        while let Some(Ok(Bundle::Session(more))) =
            decode::<RequestPrefix>(&mut body, &self.session.id, None)
        {
            if more.exchange != number {
                break;
            }
            if more.prefix.long.is_some() {
                self.on_bundle(request, more, size);
            } else {
                self.take_in(more, size);
            }
        }
        if self.vouched && (self.again || self.session.inbox.next() > 0) {
            self.session.on_connected();
        }
        Ok(())
    }

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

    /// Takes in the first bundle of a request and finds its exchange a place.
    fn on_bundle(&mut self, request: RequestId, decoded: Decoded<RequestPrefix>, size: usize) {
        let (number, prefix) = (decoded.exchange, decoded.prefix.clone());
        let opening = prefix.opening.is_some();
        let acked = self.session.outbox.acked();
        let fine = self.take_in(decoded, size);
        if self.exchanges.long(request).is_some() {
            self.on_heard(request, &prefix, fine, acked);
            return;
        }
        match self.exchanges.on_arrival(number) {
            Arrival::New if !fine => {
                self.hold_request(request, number, &prefix, size, AtOnce::Empty)
            }
            // Whoever tries a connection learns at once that it works.
            Arrival::New if prefix.long.is_some() => {
                self.hold_request(request, number, &prefix, size, AtOnce::Data)
            }
            // No connection is tried under an old number.
            _ if prefix.long.is_some() => {
                self.hold_request(request, number, &prefix, size, AtOnce::Empty)
            }
            Arrival::New if opening && !self.vouched => {
                self.hold_request(request, number, &prefix, size, AtOnce::Data)
            }
            // Nor is an echo held for long, so that its sender learns that it has arrived.
            Arrival::New if opening || prefix.echo.is_some() => {
                self.hold_request(request, number, &prefix, size, AtOnce::Grace)
            }
            Arrival::New => self.hold_request(request, number, &prefix, size, AtOnce::No),
            // Nobody waits for it, says a newer request (A14).
            Arrival::Unlisted => self.hold_request(request, number, &prefix, size, AtOnce::Empty),
            Arrival::Held => {
                // The two newest copies get the same answer; one before them is not waited for (A21).
                if let Some(old) = self.exchanges.add_copy(number, request) {
                    self.outgoing_empty(old, number);
                }
            }
            Arrival::Answered => {
                // Its answer did not get through, or not yet: what it carried may go in a second one (A21).
                self.session.outbox.late(number, self.session.now);
                self.hold_request(request, number, &prefix, size, AtOnce::Data);
            }
        }
    }

    fn hold_request(
        &mut self,
        request: RequestId,
        number: u64,
        prefix: &RequestPrefix,
        size: usize,
        at_once: AtOnce,
    ) {
        let body_max = self.session.config.body_max();
        self.exchanges.hold(Held {
            number,
            requests: [request].to_vec(),
            arrived_at: self.session.now,
            wait: long::wait(prefix),
            answer_max: usize::try_from(prefix.answer_max)
                .unwrap_or(body_max)
                .clamp(SMALL_BODY, body_max),
            is_bulk: size > MAX_PAYLOAD && prefix.long.is_none(),
            at_once,
            long: prefix.long.map(|_| Long {
                busy: false,
                doubted: false,
                said_at: self.session.now,
                pace: Pace::new(&self.session.config),
            }),
        });
    }

    /// What a bundle says, wherever it came. `false`: its sender broke a rule.
    fn take_in(&mut self, decoded: Decoded<RequestPrefix>, size: usize) -> bool {
        let Decoded {
            exchange,
            bundle,
            prefix,
            messages,
        } = decoded;
        let before = self.acknowledged();
        let arrived =
            match self
                .session
                .on_bundle(bundle, &prefix.ack, prefix.credit, messages, size)
            {
                Ok(arrived) => arrived,
                Err(violation) => {
                    self.session.on_violation(violation);
                    return false;
                }
            };
        self.learn_rate(before);
        if !self.vouched && prefix.echo == Some(self.nonce) {
            self.vouched = true;
            self.session.ending.unvouched = false;
            self.session.check_close();
        }
        self.known |= prefix.opening.is_none();
        if arrived.newest {
            self.hold = usize::try_from(prefix.hold).unwrap_or(1).clamp(1, 64);
            self.timer = Duration::from_micros(prefix.timer).clamp(
                self.session.config.timer_min,
                self.session.config.timer_max * 2,
            );
            self.hint = prefix.backlog;
            self.newest_at = self.session.now;
            // Of a long exchange itself the list says nothing: that it speaks says it.
            let (newest, listed) = match prefix.long {
                Some(later) => {
                    let own = [exchange];
                    let all = prefix.open.iter().chain(&own).copied();
                    (
                        exchange.saturating_add(later).saturating_add(1),
                        all.collect(),
                    )
                }
                None => (exchange, prefix.open),
            };
            self.exchanges.on_newest(newest, &listed);
            let lost = self.lost(newest, &listed);
            lost.into_iter().for_each(|e| self.on_lost(e));
        }
        true
    }

    // --- out -----------------------------------------------------------------------------------------------

    /// The next response to send; call until `None`. `now` only stamps it.
    #[must_use]
    pub fn poll_response(&mut self, now: Instant) -> Option<Response> {
        if let Some(response) = self.outgoing.pop_front() {
            return Some(response);
        }
        let answer = self.plan().ok()?;
        let sent_at = self.session.now.max(now);
        // A long one stays, unless it is over.
        let (held, last) = match self.exchanges.stays(answer.number) {
            Some(held) if answer.room.is_some() => (held, false),
            _ => (self.exchanges.take(answer.number)?, true),
        };
        let mut prefix = self.prefix(&held, sent_at);
        let alone = !self.session.outbox.is_flying(held.number);
        let messages = match answer.room {
            Some(room) => {
                let bytes = room.bytes.saturating_sub(prefix.cost() + 16);
                self.session
                    .fill(held.number, sent_at, Room { bytes, ..room })
            }
            None => Vec::new(),
        };
        prefix.backlog = self.session.backlog();
        self.told = prefix.backlog;
        let bundle = self.session.next_bundle();
        let mut body = encode(&self.session.id, held.number, bundle, &prefix, &messages);
        if self.pad && held.long.is_none() {
            fill_up(&mut body, held.answer_max);
        }
        self.stats.bytes_out += body.len() as u64 * held.requests.len() as u64;
        self.stats.messages += messages.len() as u64;
        self.stats.resent += messages
            .iter()
            .filter(|m| m.number < self.stats.next)
            .count() as u64;
        self.stats.next = self.session.outbox.next_number();
        if !last {
            self.exchanges.on_said(held.number, sent_at, alone);
        }
        for request in held.requests {
            if last && held.long.is_none() {
                self.exchanges.on_answered(request, held.number);
            }
            self.outgoing.push_back(Response {
                request,
                exchange: held.number,
                body: body.clone(),
                last,
            });
        }
        if last && held.long.is_some() {
            self.on_lost(held.number);
        }
        self.finish();
        self.outgoing.pop_front()
    }

    fn prefix(&self, held: &Held, sent_at: Instant) -> AnswerPrefix {
        let config = &self.session.config;
        let opening = (!self.known).then(|| Params {
            streams: config.streams,
            versions: Some((1, 1)),
            ack_delay: Some(wire_micros(config.ack_delay)),
            idle: Some(wire_micros(config.idle)),
            instance: Some(self.instance),
            direct: config.direct_port.map(u64::from),
            ..Params::default()
        });
        AnswerPrefix {
            opening,
            nonce: (!self.vouched).then_some(self.nonce),
            read: true,
            ack: self.session.inbox.ack(),
            credit: config.pool,
            unread: self.session.unread,
            held_for: wire_micros(sent_at.since(held.arrived_at)),
            newest: self.exchanges.newest(),
            held: self.exchanges.list(Some(held.number)),
            backlog: 0,
        }
    }

    /// An empty answer for a request whose exchange has found another way.
    fn outgoing_empty(&mut self, request: RequestId, exchange: u64) {
        let bundle = self.session.next_bundle();
        let prefix = AnswerPrefix {
            read: true,
            ack: self.session.inbox.ack(),
            credit: self.session.config.pool,
            newest: self.exchanges.newest(),
            held: self.exchanges.list(Some(exchange)),
            ..AnswerPrefix::default()
        };
        let body = encode(&self.session.id, exchange, bundle, &prefix, &[]);
        self.outgoing.push_back(Response {
            request,
            exchange,
            body,
            last: true,
        });
    }

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
