//! Messages kept until the peer has acknowledged them, and which of them go again (S1, S2, S6, S7, S22; PROTOCOL §4).
//!
//! Knows which exchange carried what. What became of an exchange it is told: [`Outbox::lost`] when nothing of it can
//! arrive any more, [`Outbox::late`] when it may and nobody wants to wait for it.
//!
//! ```text
//! number ──> in flight ──ack──────────────> forgotten
//!              │   ▲  └─late─> due, too        ▲
//!             lost  take                       │
//!              ▼   │                           │
//!             due ─┴──────────ack──────────────┘
//! ```

mod acks;
mod flight;

pub(crate) use acks::{Delivered, DeliveredWhat};
pub(crate) use flight::FlightInfo;

use crate::id::StreamId;
use crate::time::Instant;
use crate::wire::{Content, Message};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use flight::{Flight, lighten};

/// Copies of one message in exchanges that may still arrive: never more (DESIGN, "Silence"). So it is sent so often, and
/// once more for every exchange with it that was lost (L5).
const MAX_COPIES: u8 = 2;

/// What a message costs at most beside its payload, CLOSE with its 256 bytes of reason included.
const CONTROL_COST: usize = 320;

/// Messages kept at most, but for one CLOSE: at 16 KiB each more than a path of 1 GB/s holds in a second.
const MAX_UNACKED: usize = 1 << 16;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    content: Content,
    acked: bool,
    /// How many flights with it may still arrive.
    flying: u8,
    /// And how many do not.
    lost: u16,
}

/// Messages that may have to go (again).
///
/// Invariant: `items` holds the numbers from `base` on without gaps, the first of them not acknowledged; every number
/// in `due` is in it, not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outbox {
    base: u64,
    items: VecDeque<Item>,
    flights: Vec<Flight>,
    due: BTreeMap<u64, Instant>,
    bytes: u64,
    /// Bytes of payload that were ever acknowledged.
    acked: u64,
}

impl Outbox {
    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.flights.iter_mut().for_each(|f| visit(&mut f.sent_at));
        self.due.values_mut().for_each(visit);
    }

    /// Whether everything numbered has been acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether so much is unacknowledged that nothing new may be numbered: a peer that never acknowledges must not
    /// fill memory with messages that hold no bytes (A15).
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= MAX_UNACKED
    }

    /// The number that the next new message gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.base + self.items.len() as u64
    }

    /// The lowest number that is not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Bytes of payload not acknowledged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins what `exchange` carries; `numbered` and `take` then add to it. A second bundle of the same exchange
    /// adds to the first, and its time begins anew.
    pub(crate) fn begin(&mut self, exchange: u64, now: Instant) {
        match self.flight(exchange) {
            Some(flight) => (flight.sent_at, flight.late, flight.overtaken) = (now, false, 0),
            None => self.fly(exchange, now, 0),
        }
    }

    /// The same for another bundle of a long exchange, whose time goes on: it begins anew with every acknowledgement.
    pub(crate) fn begin_long(&mut self, exchange: u64, now: Instant) {
        match self.flight(exchange) {
            Some(flight) => flight.bundles = flight.bundles.saturating_add(1),
            None => self.fly(exchange, now, 1),
        }
    }

    /// A long exchange begins anew, and what it carried may arrive all the same: that is then a flight of its own, late,
    /// and lost when the exchange is.
    pub(crate) fn anew(&mut self, exchange: u64, now: Instant) {
        self.late(exchange, now);
        if let Some(flight) = self.flight(exchange) {
            (flight.ended, flight.sent_at) = (true, now);
        }
    }

    fn flight(&mut self, exchange: u64) -> Option<&mut Flight> {
        let mut flights = self.flights.iter_mut();
        flights.find(|f| f.is(exchange))
    }

    fn fly(&mut self, exchange: u64, now: Instant, bundles: u32) {
        self.flights.push(Flight::new(exchange, now, bundles));
    }

    /// Ends what `begin` began: a flight without messages is none.
    pub(crate) fn end(&mut self, exchange: u64) {
        self.flights
            .retain(|f| f.exchange != exchange || !f.numbers.is_empty());
    }

    /// Gives `content` its number and puts it into the flight of `exchange`.
    pub(crate) fn number(&mut self, exchange: u64, content: Content) -> Message {
        let number = self.next_number();
        self.bytes += payload_len(&content);
        self.items.push_back(Item {
            content: content.clone(),
            acked: false,
            flying: 0,
            lost: 0,
        });
        self.board(exchange, number);
        Message { number, content }
    }

    /// The lowest message that is due again and costs at most `room` bytes, put into the flight of `exchange`.
    pub(crate) fn take(&mut self, exchange: u64, now: Instant, room: usize) -> Option<Message> {
        let number = *self.due.iter().find(|(_, at)| **at <= now)?.0;
        let message = Message {
            number,
            content: self.item(number)?.content.clone(),
        };
        if message.cost() > room {
            return None;
        }
        self.due.remove(&number);
        self.board(exchange, number);
        Some(message)
    }

    /// How often the message that `take` would give was lost.
    pub(crate) fn losses(&self, now: Instant) -> u16 {
        let due = self.due.iter().find(|(_, at)| **at <= now);
        due.and_then(|(number, _)| self.item(*number))
            .map_or(0, |item| item.lost)
    }

    fn board(&mut self, exchange: u64, number: u64) {
        let Some(item) = self.items.get_mut((number - self.base) as usize) else {
            return;
        };
        let before = item.lost.saturating_add(u16::from(item.flying));
        let (bytes, again) = (payload_len(&item.content), before.min(255) as u8);
        item.flying = item.flying.saturating_add(1);
        let Some(flight) = self.flight(exchange) else {
            return;
        };
        flight.bytes += bytes;
        flight.again = flight.again.max(again);
        match flight.numbers.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => flight.numbers.push(number..number + 1),
        }
    }

    /// Bytes of payload that this exchange carries and that are not acknowledged.
    pub(crate) fn flying_bytes(&self, exchange: u64) -> u64 {
        let flight = self.flights.iter().find(|f| f.is(exchange));
        flight.map_or(0, |f| f.bytes)
    }

    fn item(&self, number: u64) -> Option<&Item> {
        self.items.get(number.checked_sub(self.base)? as usize)
    }

    /// Nothing of this exchange can arrive any more: what only it carried goes again, at once the first time, then
    /// after `pace` doubling with every loss up to `pace_max` (A17).
    pub(crate) fn lost(&mut self, exchange: u64, now: Instant, pace: Duration, pace_max: Duration) {
        while let Some(at) = self.flights.iter().position(|f| f.exchange == exchange) {
            for number in self.flights.swap_remove(at).numbers.into_iter().flatten() {
                let Some(index) = number.checked_sub(self.base) else {
                    continue;
                };
                let Some(item) = self.items.get_mut(index as usize).filter(|i| !i.acked) else {
                    continue;
                };
                item.flying = item.flying.saturating_sub(1);
                item.lost = item.lost.saturating_add(1);
                if item.flying == 0 {
                    let at = now.after(backoff((item.lost - 1).min(255) as u8, pace, pace_max));
                    let due = self.due.entry(number).or_insert(at);
                    *due = at.min(*due);
                }
            }
        }
    }

    /// This exchange is slower than it should be: what it carries may go in another one, too.
    pub(crate) fn late(&mut self, exchange: u64, now: Instant) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.is(exchange)) else {
            return;
        };
        flight.late = true;
        for number in flight.numbers.iter().cloned().flatten() {
            let Some(index) = number.checked_sub(self.base) else {
                continue;
            };
            let Some(item) = self.items.get_mut(index as usize).filter(|i| !i.acked) else {
                continue;
            };
            if item.flying < MAX_COPIES {
                self.due.entry(number).or_insert(now);
            }
        }
    }

    /// A long exchange that was slow is not so any more: what it carries need go in no other, as far as it has not yet.
    pub(crate) fn prompt(&mut self, exchange: u64) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.is(exchange)) else {
            return;
        };
        if core::mem::take(&mut flight.late) {
            for number in flight.numbers.iter().cloned().flatten() {
                self.due.remove(&number);
            }
        }
    }

    /// Whether `exchange` carries something that is not acknowledged.
    pub(crate) fn is_flying(&self, exchange: u64) -> bool {
        self.flights.iter().any(|f| f.is(exchange))
    }

    /// The exchanges that carry something not acknowledged.
    pub(crate) fn flights(&self) -> impl Iterator<Item = FlightInfo> {
        self.flights.iter().map(Flight::info)
    }

    /// Bytes of payload that were ever acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// When what this long exchange carries left, if that was in one bundle.
    pub(crate) fn single(&self, exchange: u64) -> Option<Instant> {
        let mut flights = self.flights.iter();
        let flight = flights.find(|f| f.is(exchange) && f.bundles <= 1)?;
        Some(flight.sent_at)
    }

    /// When `take` has a message to give that costs at most `room` bytes, if nothing else happens; a moment that has
    /// passed: now. The lowest number that is due goes first, and while it does not fit only a lower one goes.
    pub(crate) fn again_at(&self, now: Instant, room: usize) -> Option<Instant> {
        let mut first = self.due.iter().find(|(_, at)| **at <= now);
        let mut before = u64::MAX;
        loop {
            let (number, at) =
                first.or_else(|| self.due.range(..before).min_by_key(|(_, at)| **at))?;
            if self.fits(*number, room) {
                return Some(*at);
            }
            (first, before) = (None, *number);
        }
    }

    fn fits(&self, number: u64, room: usize) -> bool {
        let item = self.item(number);
        item.is_some_and(|i| payload_len(&i.content) as usize + CONTROL_COST <= room)
    }

    /// About how many bytes are due again by now.
    pub(crate) fn due_bytes(&self, now: Instant) -> u64 {
        let due = self.due.iter().filter(|(_, at)| **at <= now).take(64);
        due.filter_map(|(n, _)| self.item(*n))
            .map(|i| payload_len(&i.content))
            .sum()
    }

    /// The stream was reset: its data need not arrive any more, only its numbers (A26).
    pub(crate) fn void(&mut self, stream: StreamId) {
        for (number, item) in (self.base..).zip(&mut self.items) {
            if matches!(&item.content, Content::Data { stream: s, .. } if *s == stream) {
                let bytes = payload_len(&item.content);
                lighten(&mut self.flights, number, bytes);
                self.bytes -= bytes;
                item.content = Content::Void;
            }
        }
    }

    /// Drops everything: the session is over, nothing need arrive any more.
    pub(crate) fn clear(&mut self) {
        let (base, acked) = (self.next_number(), self.acked);
        *self = Outbox {
            base,
            acked,
            ..Outbox::default()
        };
    }
}

fn payload_len(content: &Content) -> u64 {
    match content {
        Content::Data { payload, .. } => payload.len() as u64,
        Content::Void | Content::Control(_) => 0,
    }
}

/// Nothing the first time, then `first` doubling up to `max`.
pub(crate) fn backoff(times: u8, first: Duration, max: Duration) -> Duration {
    match times {
        0 => Duration::ZERO,
        n => first.saturating_mul(1 << u32::from(n - 1).min(20)).min(max),
    }
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod tests;
