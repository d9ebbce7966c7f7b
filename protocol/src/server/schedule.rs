//! When the server answers, with what, and what time does to its answers (S4, S5, S13; PROTOCOL §5.6, §5.7).
//!
//! [`Server::plan`] is the one place that decides; `poll_response` carries it out, and `next_timeout` says when it
//! would decide otherwise.

use super::{AtOnce, Held, Server, UNVOUCHED};
use crate::config::SMALL_BODY;
use crate::error::CloseReason;
use crate::outbox::FlightInfo;
use crate::session::Room;
use crate::time::{Instant, first};
use alloc::vec::Vec;
use core::time::Duration;

/// Where nothing is known of the rate, timers allow for this many bytes a second.
const SLOW: u64 = 64 * 1024;

/// An answer for which the client still waits after so many timers will not come.
const LONG_AGO: u32 = 3;

/// The exchange to answer now, and what may go into the answer, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) room: Option<Room>,
}

/// The exchange that is to be answered first, and when.
#[derive(Default)]
struct Soonest<'a>(Option<(Instant, &'a Held)>);

impl<'a> Soonest<'a> {
    /// Or this one, then, if that is sooner.
    fn or(&mut self, at: Option<Instant>, held: &'a Held) {
        if let Some(at) = at
            && self.0.is_none_or(|(first, _)| at < first)
        {
            self.0 = Some((at, held));
        }
    }
}

impl Server {
    /// The exchange to answer now, or when there might be one if nothing else happens.
    pub(super) fn plan(&self) -> Result<Answer, Option<Instant>> {
        self.plan_after(None)
    }

    /// The same, once what was handed out for exchange `written` has been written.
    pub(super) fn plan_after(&self, written: Option<u64>) -> Result<Answer, Option<Instant>> {
        let (now, all) = (self.session.now, self.exchanges.held());
        let Some(oldest) = all.first() else {
            return Err(None);
        };
        if self.session.is_over() || self.is_done() {
            return Ok(Answer {
                number: oldest.number,
                room: None,
            });
        }
        let at_once = |h: &&Held| match h.at_once {
            AtOnce::Data => h.can_speak(written),
            AtOnce::Empty => true,
            AtOnce::No | AtOnce::Grace => false,
        };
        if let Some(held) = all.iter().find(at_once) {
            let room = (held.at_once == AtOnce::Data).then(|| self.room(held));
            return Ok(Answer {
                number: held.number,
                room,
            });
        }
        let mut held = all.iter().filter(|h| h.long.is_none());
        let (oldest, freshest) = (held.clone().next(), held.clone().next_back());
        // A streamed answer is one of those that are held.
        let streamed = self.streamed();
        let hold = self.hold - usize::from(streamed.is_some_and(|h| !h.is_doubted()));
        let surplus = held.clone().count() > hold;
        let short = if surplus { oldest } else { freshest };
        let streamed = streamed.filter(|h| !h.is_doubted() || short.is_none());
        // A connection speaks while nothing newer has come another way.
        let long = all.iter().find(|h| h.is_duplex() && !h.is_doubted());
        let long = long.filter(|l| freshest.is_none_or(|h| l.arrived_at >= h.arrived_at));
        let mut first = Soonest::default();
        let speakers = match long {
            Some(long) => [Some(long), None],
            None => [short, streamed],
        };
        for speaker in speakers {
            if let Some(held) = speaker.filter(|h| h.can_speak(written)) {
                first.or(self.speak_at(self.room(held)), held);
            }
        }
        if let Some(held) = streamed.filter(|h| h.can_speak(written) && self.is_to_tell(h, short)) {
            first.or(Some(now), held);
        }
        // S4, S5: a reply of the application's may ride on it; nothing rides sooner for waiting if more is coming, and
        // while bulk is held its sender may have no exchange for more.
        if let Some(oldest) = oldest.filter(|_| surplus) {
            let grace = if self.hint > 0 || held.clone().any(|h| h.is_bulk) {
                Duration::ZERO
            } else {
                self.session.config.grace
            };
            first.or(Some(self.newest_at.after(grace)), oldest);
        }
        if let Some(opening) = held.find(|h| h.at_once == AtOnce::Grace) {
            let at = opening.arrived_at.after(self.session.config.grace);
            first.or(Some(at), opening);
        }
        for held in all.iter().filter(|h| h.can_speak(written)) {
            first.or(Some(held.ends_at()), held);
        }
        match first.0 {
            Some((at, held)) if at <= now => Ok(Answer {
                number: held.number,
                room: Some(self.room(held)),
            }),
            later => Err(later.map(|(at, _)| at)),
        }
    }

    /// The streamed answer that comes through.
    fn streamed(&self) -> Option<&Held> {
        let mut held = self.exchanges.held().iter();
        held.find(|h| h.heard() == Some(true))
    }

    /// Whether a streamed answer is to say that more waits: it may hold no more until what it holds is acknowledged, no
    /// other answer can carry it, and the client, who was told that nothing waits, sees no haste.
    fn is_to_tell(&self, streamed: &Held, short: Option<&Held>) -> bool {
        self.told == 0
            && self.session.backlog() > 0
            && [Some(streamed), short]
                .into_iter()
                .flatten()
                .all(|held| self.room(held).small)
    }

    fn speak_at(&self, room: Room) -> Option<Instant> {
        let session = &self.session;
        if !session.config.classic {
            return session.speak_at(room.bytes as u64, room);
        }
        // S4, to the letter: only a bundle's worth is answered before a second request comes.
        let many = session.streams.sendable_messages()
            >= usize::from(session.config.bundle_messages)
            && session.may_number();
        let other = session.speak_at(
            u64::MAX,
            Room {
                small: true,
                ..room
            },
        );
        let other = other.filter(|_| session.streams.sendable() == 0);
        first(&[many.then_some(session.now), other])
    }

    /// What may go into an answer. The last exchange held is kept for what is small while bulk is on its way and
    /// the client has been told that more waits: its next polls are on their way, too (A4). Where there is room for both, a
    /// keystroke goes alone: whoever reads it waits for no bulk.
    fn room(&self, held: &Held) -> Room {
        let bulk_is_out = || {
            let mut flights = self.session.outbox.flights();
            flights.any(|f| f.bytes > SMALL_BODY as u64 && !f.late)
        };
        let flying = self.session.outbox.flying_bytes(held.number);
        let all = self.exchanges.held();
        if let Some(room) = held.long_room(flying) {
            // Whole answers carry more at once, where their client asks for them beside a streamed one: there are some,
            // or it has been told that they are wanted.
            let asked = self.told > 0 || all.iter().any(|h| h.long.is_none());
            let small = held.heard() == Some(true) && self.hold > 1 && asked;
            return Room {
                bytes: if small { SMALL_BODY } else { room.bytes },
                small: small || room.small,
                ..room
            };
        }
        let last = all.iter().filter(|h| h.long.is_none()).count() == 1;
        let streams = self.streamed().is_some_and(|h| !h.is_doubted());
        let alone = if last {
            // With a streamed one, its client may ask for no more than what is small.
            let only_small = streams && self.hold == 1;
            only_small || self.hold > 1 && self.told > 0 && bulk_is_out()
        } else {
            self.session.streams.is_mixed()
        };
        Room {
            bytes: if alone { SMALL_BODY } else { held.answer_max },
            small: alone,
            long: false,
        }
    }

    // --- time ----------------------------------------------------------------------------------------------

    /// Time enters here.
    pub(super) fn advance(&mut self, now: Instant) {
        let slept = self.session.may_have_slept(now);
        let due = slept.then(|| self.next_timeout()).flatten();
        if self.session.advance(now, due) {
            self.last_request = self.session.now;
        }
    }

    /// When `feed_timeout` is due; `None`: nothing is waiting for time. A moment that has passed: something is to be
    /// polled.
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.outgoing.is_empty() {
            return Some(self.session.now);
        }
        let plan = match self.plan() {
            Ok(_) => Some(self.session.now),
            Err(at) => at,
        };
        if self.session.is_over() {
            return plan;
        }
        let late = self.late().map(|(_, at)| at).min();
        first(&[plan, late, Some(self.idle_at()), self.session.flush_at()])
    }

    fn idle_at(&self) -> Instant {
        let idle = self.session.config.idle;
        self.last_request.after(if self.vouched {
            idle
        } else {
            idle.min(UNVOUCHED)
        })
    }

    /// Answers that nobody has acknowledged, and when that is late. Only while there is another exchange to say it
    /// again in.
    fn late(&self) -> impl Iterator<Item = (u64, Instant)> {
        let held = self.exchanges.held();
        let can = move |f: &FlightInfo| held.iter().any(|h| h.number != f.exchange);
        let flights = self.session.outbox.flights();
        let flights = flights.filter(move |f| !f.late && can(f));
        flights.map(move |f| {
            if let Some(at) = self.long_late_at(&f) {
                return (f.exchange, at);
            }
            if f.overtaken {
                return (f.exchange, f.sent_at);
            }
            let doubled = self.timer.saturating_mul(1 << u32::from(f.again).min(8));
            let timer =
                doubled.min(self.session.config.timer_max.max(self.timer)) + self.transfer(f.bytes);
            (f.exchange, f.sent_at.after(timer))
        })
    }

    /// Which answers are lost, by what the newest request lists (S7): those that it does not list and does not
    /// acknowledge, and those that it still waits for though they should have arrived long ago.
    pub(super) fn lost(&self, newest: u64, listed: &[u64]) -> Vec<u64> {
        let now = self.session.now;
        let flights = self
            .session
            .outbox
            .flights()
            .filter(|f| f.exchange < newest);
        let lost = flights.filter(|f| {
            if f.long {
                return !listed.contains(&f.exchange);
            }
            let long = (self.timer + self.transfer(f.bytes)) * LONG_AGO;
            !listed.contains(&f.exchange) || now.since(f.sent_at) > long
        });
        lost.map(|f| f.exchange).collect()
    }

    fn transfer(&self, bytes: u64) -> Duration {
        let rate = if self.rate > 0 {
            (self.rate / 2).max(1024)
        } else {
            SLOW
        };
        Duration::from_micros(bytes.saturating_mul(1_000_000) / rate).min(Duration::from_secs(120))
    }

    /// S7, S9: what nobody has acknowledged in time goes again (A5); a client that is silent for too long is gone.
    pub(super) fn on_time(&mut self) {
        let now = self.session.now;
        let late: Vec<_> = self
            .late()
            .filter(|(_, at)| *at <= now)
            .map(|(exchange, _)| exchange)
            .collect();
        for exchange in late {
            self.session.outbox.late(exchange, now);
            if let Some(long) = self.exchanges.long_numbered(exchange) {
                long.doubted = true;
            }
        }
        if self.idle_at() <= now {
            self.session.end(CloseReason::Idle {
                silence: now.since(self.last_request),
            });
        }
        self.session.check_flush();
    }

    /// The answer to this exchange will not arrive any more.
    pub(super) fn on_lost(&mut self, exchange: u64) {
        let (now, config) = (self.session.now, &self.session.config);
        self.stats.lost += u64::from(self.session.outbox.is_flying(exchange));
        self.session
            .outbox
            .lost(exchange, now, config.retry_first, config.retry_max);
    }

    // --- the rate to the client ----------------------------------------------------------------------------

    /// The oldest answer that is out, to measure by.
    pub(super) fn acknowledged(&self) -> Option<(u64, Instant, u64)> {
        // One that goes on says how fast it is by itself.
        let streamed = self.streamed().map(|held| held.number);
        self.session
            .outbox
            .flights()
            .find(|f| streamed != Some(f.exchange))
            .filter(|f| f.single)
            .map(|f| (f.exchange, f.sent_at, f.bytes))
    }

    /// Learns the rate from an answer that `before` was out and is acknowledged by now.
    pub(super) fn learn_rate(&mut self, before: Option<(u64, Instant, u64)>) {
        let Some((exchange, sent_at, bytes)) = before else {
            return;
        };
        if self.session.outbox.is_flying(exchange) || !self.session.config.learning {
            return;
        }
        let took = self.session.now.since(sent_at);
        // An acknowledgement may have waited for something to go with; the shortest did not.
        self.least = self.least.min(took);
        self.session.on_round_trip(self.least);
        if bytes < SLOW / 4 {
            return;
        }
        let micros = (took.as_micros() as u64).max(50);
        let rate = bytes.saturating_mul(1_000_000) / micros;
        self.rate = if self.rate == 0 {
            rate
        } else {
            (3 * self.rate + rate) / 4
        };
        self.session.on_rate(self.rate);
    }
}
