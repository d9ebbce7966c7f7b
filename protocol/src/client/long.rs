//! The long exchange that a direct connection is: the same bundles, the same fates, one after another on one wire
//! (A22; PROTOCOL §5.8).

use super::direct::Long;
use super::schedule::{Plan, Way};
use super::{Client, Dial, Lesson};
use crate::config::SMALL_BODY;
use crate::error::{Failure, UnknownExchange};
use crate::id::ExchangeId;
use crate::learned::Buffered;
use crate::session::Room;
use crate::time::{Instant, first};
use crate::wire::{AnswerPrefix, Bundle, decode};
use bytes::Bytes;
use core::time::Duration;

impl Client {
    /// An address for direct connections is known before the server has told its port. Other carriers wait for
    /// `head_start`, or until [`feed_undialled`](Self::feed_undialled). Does nothing if the configuration wants none.
    pub fn knows_direct(&mut self, now: Instant, head_start: Duration) {
        self.advance(now);
        self.direct.want(self.session.now);
        if self.direct.dial_at().is_some() && !self.answered {
            self.direct.others_from = Some(self.session.now.after(head_start));
        }
    }

    /// Whether to make a direct connection now; says so once, and hears what came of it by
    /// [`feed_dialled`](Self::feed_dialled) or [`feed_undialled`](Self::feed_undialled).
    #[must_use]
    pub fn poll_dial(&mut self) -> Option<Dial> {
        if self.session.is_over() {
            return None;
        }
        let port = self.direct.port;
        let due = self.direct.poll_dial(self.session.now);
        due.then_some(Dial { port })
    }

    /// A direct connection is there. It is this long exchange: what is to be written on it comes out of
    /// [`poll_request`](Self::poll_request), one bundle after another. `None`: it is not wanted any more.
    pub fn feed_dialled(&mut self, now: Instant) -> Option<ExchangeId> {
        self.advance(now);
        if self.session.is_over() || self.direct.long.is_some() {
            return None;
        }
        let first = !self.answered && self.exchanges.next() == 0;
        let number = self.exchanges.open_long();
        let config = &self.session.config;
        self.direct
            .on_dialled(self.session.now, number, first, config);
        Some(ExchangeId(number))
    }

    /// No direct connection could be made.
    pub fn feed_undialled(&mut self, now: Instant) {
        self.advance(now);
        self.direct.on_undialled(self.session.now);
        if self.direct.is_only() {
            let number = self.exchanges.next();
            self.fails
                .on_lost(&self.session.config, self.session.now, number, number + 1);
        }
    }

    /// Whole bundles came on the connection of a long exchange, or of a streamed answer before its end.
    ///
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_bundles(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        mut body: Bytes,
    ) -> Result<(), UnknownExchange> {
        if self.is_streamed(exchange.0) {
            self.advance(now);
            self.on_stream_bundles(exchange.0, body, false);
            return Ok(());
        }
        self.long(exchange)?;
        self.advance(now);
        let size = body.len();
        self.stats.bytes_in += size as u64;
        while !self.session.is_over()
            && let Some(bundle) =
                decode::<AnswerPrefix>(&mut body, &self.session.id, Some(exchange.0))
        {
            match bundle {
                Ok(Bundle::Session(decoded)) => {
                    let outbox = &self.session.outbox;
                    let (before, acked) = (outbox.single(exchange.0), outbox.acked());
                    let held_for = Duration::from_micros(decoded.prefix.held_for);
                    let missed = self.session.missed;
                    self.on_bundle(exchange.0, decoded, size);
                    // While it lives, the server would not say again what counts as not arrived (§5.8.4).
                    if self.session.missed > missed {
                        self.end_long(true);
                        return Ok(());
                    }
                    self.on_heard(before, held_for);
                    let (now, acked) = (self.session.now, self.session.outbox.acked() - acked);
                    if let Some(long) = &mut self.direct.long {
                        long.pace.on_acked(now, acked);
                        self.session.on_rate(long.pace.rate());
                    }
                }
                Ok(Bundle::Refusal(refusal)) => {
                    self.end_long(true);
                    self.on_refusal(exchange.0, refusal);
                    return Ok(());
                }
                // A wire that changes bytes carries nothing more.
                Err(_) => {
                    self.session.unread += 1;
                    self.stats.unreadable += 1;
                    self.end_long(true);
                    return Ok(());
                }
            }
        }
        self.end_if_done();
        Ok(())
    }

    /// The last bundle that came out of [`poll_request`](Self::poll_request) for this long exchange has been written:
    /// the next may follow.
    ///
    /// # Errors
    /// If the exchange is not open (any more); nothing changes.
    pub fn feed_written(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
    ) -> Result<(), UnknownExchange> {
        self.long(exchange)?;
        self.advance(now);
        self.long(exchange)?.busy = false;
        Ok(())
    }

    /// When something will follow on this long exchange once the bundle handed out last has been written, if nothing else
    /// happens before; a moment that has passed: at once. Until then [`feed_written`](Self::feed_written) may be left out,
    /// if it comes before any other call that changes something.
    pub fn follows_at(&self, exchange: ExchangeId) -> Option<Instant> {
        let long = self.direct.bearer();
        let planned = match long.filter(|long| long.exchange == exchange.0 && !self.is_race()) {
            Some(long) => self.plan_written(long),
            // What else there is is not so simple.
            None => return Some(self.session.now),
        };
        planned.map_or_else(|at| at, |_| Some(self.session.now))
    }

    /// The long exchange of this name.
    fn long(&mut self, exchange: ExchangeId) -> Result<&mut Long, UnknownExchange> {
        let long = self.direct.long.as_mut();
        long.filter(|long| long.exchange == exchange.0)
            .ok_or(UnknownExchange)
    }

    /// A bundle came by the connection: it lives. `before`: when what it may acknowledge left, if that was one bundle.
    fn on_heard(&mut self, before: Option<Instant>, held_for: Duration) {
        let now = self.session.now;
        let Some(long) = &mut self.direct.long else {
            return;
        };
        let sent_at = if long.proven {
            before.filter(|_| !self.session.outbox.is_flying(long.exchange))
        } else {
            long.sent
        };
        if let Some(sent_at) = sent_at.filter(|_| self.session.config.learning) {
            let elapsed = now.since(sent_at);
            let net = elapsed.saturating_sub(held_for.min(elapsed));
            long.trips
                .sample(u64::try_from(net.as_micros()).unwrap_or(u64::MAX));
        }
        if !long.proven {
            self.lessons.note(Lesson::Direct);
        }
        (long.proven, long.heard) = (true, now);
        if long.doubted.take().is_some() {
            self.session.outbox.prompt(long.exchange);
        }
        if let Some(least) = long.trips.shortest() {
            self.session.on_round_trip(least);
        }
        self.fails.on_answer();
    }

    /// The connection is lost, and what it carried goes another way. `cancel`: the embedder is to close it.
    pub(super) fn end_long(&mut self, cancel: bool) {
        let Some(number) = self.exchanges.end_long(cancel) else {
            return;
        };
        let now = self.session.now;
        if self.direct.long.as_ref().is_some_and(|long| long.proven) && !self.session.is_over() {
            self.lessons.note(Lesson::DirectLost);
        }
        self.direct.on_lost(now);
        self.session.on_rate(0);
        if self.direct.is_only() {
            self.on_lost(number);
        } else {
            self.stats.lost += 1;
            self.settle(number);
            self.echo_due |= self.nonce.is_some() && self.exchanges.is_empty();
        }
        // Whatever else there is takes over at once.
        self.early = 0;
    }

    /// Whether a failure that was fed is a long exchange's.
    pub(super) fn fail_long(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        _why: Failure,
    ) -> Result<(), UnknownExchange> {
        if self.is_streamed(exchange.0) {
            self.advance(now);
            self.end_stream(false, Some(Buffered::Cut));
            return Ok(());
        }
        self.long(exchange)?;
        self.advance(now);
        if !self.session.is_over() {
            self.end_long(false);
        }
        Ok(())
    }

    // --- when ----------------------------------------------------------------------------------------------

    /// What to write on the connection now, or when there might be something.
    pub(super) fn plan_long(&self, long: &Long) -> Result<Plan, Option<Instant>> {
        if long.busy {
            return Err(None);
        }
        self.plan_written(long)
    }

    /// The same, once what was handed out has been written.
    fn plan_written(&self, long: &Long) -> Result<Plan, Option<Instant>> {
        let now = self.session.now;
        let (room, speak) = if long.sent.is_none() {
            // Small, that it is answered soon; and of carriers that race only one bears data (A8).
            let room = Room {
                bytes: if long.first { SMALL_BODY } else { 0 },
                small: false,
                long: true,
            };
            (room, Some(now))
        } else if !long.bears() {
            return Err(None);
        } else {
            let flying = self.session.outbox.flying_bytes(long.exchange);
            let room = Room::of_long(&long.pace, flying);
            let said = self.session.speak_at(long.pace.target() as u64, room);
            let by = Some(long.speak_by(now));
            let echo = self.echo_due.then_some(now);
            (room, first(&[said, by, echo]))
        };
        match speak {
            Some(at) if at <= now => Ok(Plan {
                room,
                wait: Long::wait_now(now, self.last_byte),
                probe: false,
                way: Way::Long,
            }),
            later => Err(later),
        }
    }

    /// What time will do to the connection: when, and whether that is its end.
    pub(super) fn long_fate(&self) -> Option<(Instant, bool)> {
        let long = self.direct.long.as_ref()?;
        let (config, delay) = (&self.session.config, self.session.peer_ack_delay);
        let timer = long.timer(config, delay);
        match long.doubted {
            None => {
                let mut flights = self.session.outbox.flights();
                let flight = flights.find(|f| f.exchange == long.exchange);
                let due = flight.map(|f| f.sent_at);
                let due = due.or((self.hint > 0).then_some(long.heard));
                let until = long.silent_until(config, delay, due);
                // Nothing has come by it yet: it is not doubted but no good.
                Some((until, !long.proven))
            }
            // Another carrier's answer shows that it is not the server.
            Some(doubted) if self.direct.is_only() || self.answered_at > doubted => {
                Some((doubted.after(timer), true))
            }
            Some(_) => Some((long.heard.after(long.wait + config.patience), true)),
        }
    }

    /// Does it.
    pub(super) fn on_long_time(&mut self) {
        let now = self.session.now;
        let Some((_, lost)) = self.long_fate().filter(|(at, _)| *at <= now) else {
            return;
        };
        if lost {
            self.end_long(true);
        } else if let Some(long) = &mut self.direct.long {
            long.doubted = Some(now);
            self.session.outbox.late(long.exchange, now);
        }
    }
}
