//! Long exchanges from the server's end: what a direct connection is, and a streamed answer (A22; PROTOCOL §5.8, §5.9).

use super::exchanges::{AtOnce, Held, Kind, Long};
use super::{Reject, Server};
use crate::config::{BODY_MIN, Config};
use crate::id::RequestId;
use crate::outbox::FlightInfo;
use crate::pace::Pace;
use crate::session::Room;
use crate::time::Instant;
use crate::wire::{Refusal, RequestPrefix};
use core::time::Duration;

/// A connection's sender is not made to speak more often than this, whatever its peer asks for.
const WAIT_MIN: Duration = Duration::from_millis(500);

/// A streamed answer carries something at least this often while bytes move, and at rest (A22): so its client learns
/// soon that it has been cut or is being kept back.
const MORE_MIN: Duration = Duration::from_secs(1);
const MORE_MAX: Duration = Duration::from_secs(20);

/// For how long the server may say nothing in the exchange of this request.
pub(super) fn wait(prefix: &RequestPrefix) -> Duration {
    let wait = Duration::from_millis(prefix.wait.min(600_000));
    if prefix.long.is_some() {
        wait.max(WAIT_MIN)
    } else {
        wait
    }
}

impl Long {
    /// What the exchange of this request is, if it is a long one. `streams`: its answer may be streamed, if it asks.
    pub(super) fn of(
        prefix: &RequestPrefix,
        streams: bool,
        config: &Config,
        now: Instant,
    ) -> Option<Long> {
        let kind = if prefix.long.is_some() {
            Kind::Duplex
        } else if streams && prefix.streamed == Some(0) {
            Kind::Streamed { heard: false }
        } else {
            return None;
        };
        Some(Long {
            kind,
            busy: false,
            doubted: false,
            said_at: now,
            within: wait(prefix),
            pace: Pace::new(config),
        })
    }
}

impl Server {
    /// The last response that named this request, of a long exchange, has been written: the next may follow.
    pub fn feed_written(&mut self, now: Instant, request: RequestId) {
        self.advance(now);
        if let Some(long) = self
            .exchanges
            .long(request)
            .and_then(|held| held.long.as_mut())
        {
            long.busy = false;
        }
    }

    /// When something will follow in this long exchange once the response handed out last has been written, if nothing else
    /// happens before; a moment that has passed: at once. Until then [`feed_written`](Self::feed_written) may be left out,
    /// if it comes before any other call that changes something.
    pub fn follows_at(&self, request: RequestId) -> Option<Instant> {
        let held = self.exchanges.held().iter();
        let named = held.filter(|h| h.long.is_some() && h.requests.contains(&request));
        let Some(number) = named.map(|h| h.number).next() else {
            return Some(self.session.now);
        };
        let planned = self.plan_after(Some(number));
        planned.map_or_else(|at| at, |_| Some(self.session.now))
    }

    /// Another bundle came by the connection: it lives. `acked`: how much had been acknowledged before it.
    pub(super) fn on_heard(
        &mut self,
        request: RequestId,
        prefix: &RequestPrefix,
        fine: bool,
        acked: u64,
    ) {
        let (now, acked) = (self.session.now, self.session.outbox.acked() - acked);
        let body_max = self.session.config.body_max();
        let Some(held) = self.exchanges.long(request) else {
            return;
        };
        held.arrived_at = now;
        held.wait = wait(prefix);
        held.long
            .iter_mut()
            .for_each(|long| long.within = held.wait);
        held.answer_max = usize::try_from(prefix.answer_max).map_or(body_max, |n| {
            n.clamp(BODY_MIN as usize, body_max.max(BODY_MIN as usize))
        });
        if !fine {
            held.at_once = AtOnce::Empty;
        } else if prefix.opening.is_some() || prefix.echo.is_some() {
            held.at_once = AtOnce::Data;
        }
        let number = held.number;
        if let Some(long) = &mut held.long {
            long.pace.on_acked(now, acked);
            self.session.on_rate(long.pace.rate());
            if core::mem::take(&mut long.doubted) {
                self.session.outbox.prompt(number);
            }
        }
    }

    /// The newest request says that this streamed answer comes through, or of none that it does. `acked`: how much had been
    /// acknowledged before it.
    pub(super) fn on_stream_heard(&mut self, exchange: Option<u64>, acked: u64) {
        let (now, acked) = (self.session.now, self.session.outbox.acked() - acked);
        let Some(held) = self.exchanges.streamed() else {
            return;
        };
        let (number, hears) = (held.number, exchange == Some(held.number));
        if hears {
            held.arrived_at = now;
        }
        let Some(long) = &mut held.long else {
            return;
        };
        let heard = long.kind == Kind::Streamed { heard: true };
        long.kind = Kind::Streamed { heard: hears };
        if hears {
            long.pace.on_acked(now, acked);
            if core::mem::take(&mut long.doubted) {
                self.session.outbox.prompt(number);
            }
        } else if heard {
            // Its client has heard nothing for too long.
            long.doubted = true;
            self.session.outbox.late(number, now);
        }
    }

    /// Within which time a streamed answer that says something now is to say more: half the time since bytes last moved.
    pub(super) fn more(&self, now: Instant) -> Duration {
        (now.since(self.last_byte) / 2).clamp(MORE_MIN, MORE_MAX)
    }

    /// What comes by the connection can't be read: it carries nothing more.
    pub(super) fn end_long(&mut self, request: RequestId) -> Reject {
        self.session.unread += 1;
        self.stats.unreadable += 1;
        let number = self.exchanges.on_hangup(request).unwrap_or(0);
        self.on_lost(number);
        Reject::new(&self.session.id, number, Refusal::Unreadable)
    }

    /// When what a long exchange carries is late: nothing has come for a timer, though it is to be acknowledged.
    pub(super) fn long_late_at(&self, flight: &FlightInfo) -> Option<Instant> {
        let mut held = self.exchanges.held().iter();
        let held = held.find(|h| h.number == flight.exchange)?;
        let long = held.long.as_ref()?;
        let since = flight.sent_at.max(held.arrived_at);
        Some(since.after(self.timer + long.pace.takes()))
    }
}

impl Held {
    /// Whether its client speaks in it, too.
    pub(super) fn is_duplex(&self) -> bool {
        let kind = self.long.as_ref().map(|long| long.kind);
        kind == Some(Kind::Duplex)
    }

    /// If its answer is streamed: whether it comes through.
    pub(super) fn heard(&self) -> Option<bool> {
        match self.long.as_ref()?.kind {
            Kind::Streamed { heard } => Some(heard),
            Kind::Duplex => None,
        }
    }

    /// Whether it is taken for dead.
    pub(super) fn is_doubted(&self) -> bool {
        self.long.as_ref().is_some_and(|long| long.doubted)
    }

    /// Whether something can be said in it now, or once what was handed out for exchange `written` has been written.
    pub(super) fn can_speak(&self, written: Option<u64>) -> bool {
        let long = self.long.as_ref();
        long.is_none_or(|long| !long.busy || written == Some(self.number))
    }

    /// What may go into its next bundle, with so many bytes of it under way. `None`: it is no long one.
    pub(super) fn long_room(&self, flying: u64) -> Option<Room> {
        let long = self.long.as_ref()?;
        let room = Room::of_long(&long.pace, flying);
        let most = if self.heard() == Some(false) {
            0 // it has to come through first
        } else {
            self.answer_max
        };
        Some(Room {
            bytes: room.bytes.min(most),
            ..room
        })
    }

    /// When something is said in it though there is nothing to say.
    pub(super) fn ends_at(&self) -> Instant {
        match &self.long {
            Some(long) => long.said_at.after(long.within),
            None => self.arrived_at.after(self.wait),
        }
    }
}
