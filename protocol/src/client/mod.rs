//! The client's role: it opens exchanges, and judges what became of them (S3, S7, S9; PROTOCOL §5).
//!
//! Knows nothing of HTTP: a response is bytes, a failure is a [`Failure`].

mod answers;
mod direct;
mod exchanges;
mod fails;
mod form;
mod hold;
mod learned;
mod long;
mod path;
mod queue;
mod rebase;
mod requests;
mod schedule;
mod streamed;
mod time;

use crate::config::{Config, SMALL_BODY};
use crate::error::{CloseReason, Failure, OpenError, UnknownExchange};
use crate::event::Event;
use crate::id::{ExchangeId, Instance, Nonce, SessionId, StreamId};
use crate::learned::Lesson;
use crate::session::Session;
use crate::stats::Stats;
use crate::stream::{Side, Stream};
use crate::time::Instant;
use crate::wire::Chain;
use bytes::Bytes;
use core::time::Duration;
use direct::Direct;
use exchanges::{Exchange, Exchanges};
use fails::Fails;
use form::Envelope;
use hold::Hold;
use learned::Lessons;
use path::Path;
use queue::Queue;
use streamed::Streaming;

/// The version spoken.
const VERSION: u8 = 1;

/// A request to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The exchange that it opens.
    pub exchange: ExchangeId,
    /// The body of the POST.
    pub body: Chain,
    /// How long to let it run without progress before it is fed as [`Failure::TimedOut`]. For a long exchange: how long
    /// the writing may take.
    pub patience: Duration,
    /// A bundle of a long exchange: to be written on its connection, and [`Client::feed_written`] then.
    pub long: bool,
    /// The answer may be streamed ([`Client::reads_pieces`]): its bundles are fed by [`Client::feed_bundles`] as they come, and its end, with what is
    /// left of it, by [`Client::feed_response`].
    pub streamed: bool,
    /// The body is to be sent as a form's file ([`http::Form`](crate::http::Form)): something refuses it as it is. To send it
    /// as it is all the same does no harm.
    pub form: bool,
}

/// A direct connection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The port that the server has told, if it has.
    pub port: Option<u16>,
}

/// One session's client side.
///
/// Give it what happens (`feed_*`), take what it wants (`poll_*`, each until `None`), and call `feed_timeout` when
/// `next_timeout` has come. Order and number of calls never matter for what is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    session: Session,
    exchanges: Exchanges,
    path: Path,
    hold: Hold,
    queue: Queue,
    lessons: Lessons,
    connections: learned::Connections,
    fails: Fails,
    envelope: Envelope,
    direct: Direct,
    streaming: Streaming,
    /// The server has answered: requests need not carry the opening.
    answered: bool,
    replaces: Option<SessionId>,
    server: Option<Instance>,
    /// To be echoed in every request, and whether that has been done since it came (A8).
    nonce: Option<Nonce>,
    echo_due: bool,
    /// An exchange was lost since the last request: what the server said in it goes again only when it knows.
    untold: bool,
    /// Bytes that wait at the server, by its latest word.
    hint: u64,
    /// Empty answers in a row that came before their time with nothing else open, and when the last one came (A11).
    early: u8,
    early_at: Instant,
    /// When the last answer came that was no long exchange's.
    answered_at: Instant,
    /// The server holds fewer than asked for.
    held_less: bool,
    /// When bytes of a stream last moved either way (A23).
    last_byte: Instant,
    last_sent: Instant,
    /// Classic mode: a response has come since the last request (S3c).
    responded: bool,
    stats: Stats,
}

impl Client {
    /// A new session. `id` must come from a cryptographic random source.
    pub fn new(config: Config, id: SessionId, now: Instant) -> Client {
        Client {
            path: Path::new(&config),
            hold: Hold::new(&config),
            queue: Queue::default(),
            lessons: Lessons::default(),
            connections: learned::Connections::default(),
            direct: Direct::new(&config),
            streaming: Streaming::new(&config),
            session: Session::new(Side::Client, config, id, now),
            exchanges: Exchanges::default(),
            fails: Fails::default(),
            envelope: Envelope::default(),
            answered: false,
            replaces: None,
            server: None,
            nonce: None,
            echo_due: false,
            untold: false,
            hint: 0,
            early: 0,
            early_at: now,
            answered_at: now,
            held_less: false,
            last_byte: now,
            last_sent: now,
            responded: false,
            stats: Stats::default(),
        }
    }

    /// A new session that takes the place of `old`, of which the server may not have noticed that its client has gone
    /// (A24). Whoever knows the id has proved that it was theirs.
    pub fn replacing(config: Config, id: SessionId, old: SessionId, now: Instant) -> Client {
        Client {
            replaces: Some(old),
            ..Client::new(config, id, now)
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

    /// A response came that seems to be ours: its whole body. What is in it is believed only if it passes its check;
    /// otherwise the exchange counts as lost.
    ///
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_response(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        body: Bytes,
    ) -> Result<(), UnknownExchange> {
        if self.is_streamed(exchange.0) {
            self.advance(now);
            self.on_stream_bundles(exchange.0, body, true);
            return Ok(());
        }
        let entry = self
            .exchanges
            .get(exchange.0)
            .ok_or(UnknownExchange)?
            .clone();
        self.advance(now);
        if !self.session.is_over() {
            self.on_response(&entry, body);
        }
        Ok(())
    }

    /// The exchange came to nothing: what it carried goes again.
    ///
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_failure(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        why: Failure,
    ) -> Result<(), UnknownExchange> {
        let Some(entry) = self.exchanges.get(exchange.0) else {
            return self.fail_long(now, exchange, why);
        };
        let (size, answer_max) = (entry.size, entry.answer_max);
        let (wait, sent_at) = (entry.wait, entry.sent_at);
        self.advance(now);
        if self.session.is_over() {
            return Ok(());
        }
        match why {
            Failure::TooLarge => {
                if self.path.on_too_large(size) {
                    let limit = self.path.body_up();
                    self.lessons.note(Lesson::RequestTooLarge { size, limit });
                }
            }
            Failure::Cut | Failure::Middlebox { .. } => {
                self.learn_from_loss(size, answer_max);
                if size <= SMALL_BODY {
                    self.learn_from_age(wait, sent_at);
                }
            }
            Failure::Connect
            | Failure::TimedOut
            | Failure::Credentials
            | Failure::Refused { .. } => {}
        }
        if let Failure::Refused { status } | Failure::Middlebox { status } = why
            && self.session.config.learning
        {
            let next = self.exchanges.next();
            self.envelope.on_refused(status, exchange.0, next);
        }
        self.exchanges.settle(exchange.0);
        self.on_lost(exchange.0);
        Ok(())
    }

    /// An exchange came to nothing: perhaps the larger of its bodies was too large.
    fn learn_from_loss(&mut self, size: usize, answer_max: usize) {
        let config = &self.session.config;
        if self.hint > 0 && answer_max > size {
            if self.path.on_answer_lost(config, answer_max) {
                self.lessons.note(Lesson::AnswerTooLarge {
                    size: answer_max,
                    limit: self.path.body_down(),
                });
            }
        } else if self.path.on_request_lost(config, size) {
            let limit = self.path.body_up();
            self.lessons.note(Lesson::RequestTooLarge { size, limit });
        }
    }

    /// A small request got no answer though it had arrived: perhaps it was too old.
    fn learn_from_age(&mut self, wait: Duration, sent_at: Instant) {
        let (config, now) = (&self.session.config, self.session.now);
        let age = now.since(sent_at);
        if config.learning && self.hold.on_ended(now, wait, age) {
            let wait = self.hold.wait(config, now);
            self.lessons.note(Lesson::HoldEnds { at: age, wait });
        }
    }

    /// Bytes of the request have left or bytes of the response have come: its patience begins anew. For a long exchange
    /// only what has come counts: what has left may still be in this machine.
    ///
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_progress(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
    ) -> Result<(), UnknownExchange> {
        let is_long = self.exchanges.is_long(exchange.0);
        if !is_long && !self.is_streamed(exchange.0) {
            self.exchanges.get(exchange.0).ok_or(UnknownExchange)?;
        }
        self.advance(now);
        let now = self.session.now;
        if let Some(long) = self.direct.long.as_mut().filter(|_| is_long) {
            long.heard = now;
        }
        if let Some(entry) = self.exchanges.iter_mut().find(|e| e.number == exchange.0) {
            entry.touched = now;
        }
        self.streaming.on_progress(exchange.0, now);
        Ok(())
    }

    /// Time has passed. Early, late and repeated calls are harmless.
    pub fn feed_timeout(&mut self, now: Instant) {
        self.advance(now);
        if !self.session.is_over() {
            self.on_time();
        }
    }

    // --- out -----------------------------------------------------------------------------------------------

    /// The next exchange that nobody waits for any more: its HTTP request is to be cancelled. Feeding it later is an
    /// error value.
    #[must_use]
    pub fn poll_cancel(&mut self) -> Option<ExchangeId> {
        if self.session.is_over() {
            for number in self.exchanges.list(None) {
                self.exchanges.give_up(number);
            }
            self.exchanges.end_long(true);
            self.exchanges.end_streamed(true);
        }
        self.exchanges.poll_cancel().map(ExchangeId)
    }

    /// The next piece of news; call until `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        // The first of all events is that there is a session, and the last that it is over.
        self.session.poll_event().or_else(|| {
            let lives = self.session.is_connected() && !self.session.is_over();
            let lesson = lives.then(|| self.lessons.poll()).flatten();
            lesson.map(Event::Learned)
        })
    }

    // --- the application's side ----------------------------------------------------------------------------

    /// Opens a stream.
    ///
    /// # Errors
    /// When as many are open as the server allows, or the session is ending.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        self.session.open()
    }

    /// The next stream that the server opened.
    pub fn accept(&mut self) -> Option<StreamId> {
        self.session.streams.accept()
    }

    /// The handle of a stream. `None` once it has ended both ways and everything was said of it, or never was.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.session.stream(id)
    }

    /// Ends the session in order (S10): what was written is delivered first, then the server is told. `reason` is
    /// cut at 256 bytes.
    pub fn close(&mut self, code: u32, reason: &str) {
        self.session.close(code, reason);
    }

    /// Ends the session at once, telling nobody.
    pub fn abort(&mut self) {
        self.session.end(CloseReason::Aborted);
    }
}

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
