//! What each exchange carries, as far as it is not acknowledged.

use crate::time::Instant;
use core::ops::Range;
use smallvec::SmallVec;

/// What so many that left later have overtaken did not merely take another connection (as RFC 9002 counts packets; of
/// exchanges that share a wire fairly none of the same size overtakes another by so much).
const OVERTAKEN: u8 = 3;

/// What one exchange carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) exchange: u64,
    /// Rising; mostly one range.
    pub(super) numbers: SmallVec<[Range<u64>; 1]>,
    pub(super) sent_at: Instant,
    pub(super) bytes: u64,
    /// Re-sendings before, of the most re-sent message in it: doubles its timer.
    pub(super) again: u8,
    pub(super) late: bool,
    /// Its exchange has begun anew and adds nothing to it.
    pub(super) ended: bool,
    /// How many bundles of a long exchange; 0 for a short one.
    pub(super) bundles: u32,
    /// So many that left later and were no smaller have arrived.
    pub(super) overtaken: u8,
}

/// What is to be known of an open flight to time it (§5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlightInfo {
    pub(crate) exchange: u64,
    pub(crate) sent_at: Instant,
    pub(crate) bytes: u64,
    pub(crate) again: u8,
    pub(crate) late: bool,
    /// It is a long exchange's: what it carries changes with every bundle and every acknowledgement.
    pub(crate) long: bool,
    /// One bundle alone: `sent_at` is when that left.
    pub(crate) single: bool,
    /// Enough that left later have arrived: this has not merely been overtaken.
    pub(crate) overtaken: bool,
}

/// A message needs no carrying any more: long exchanges, which go on, are the lighter by it.
pub(super) fn lighten(flights: &mut [Flight], number: u64, bytes: u64) {
    for flight in flights.iter_mut().filter(|f| f.bundles > 0) {
        if flight.numbers.iter().any(|r| r.contains(&number)) {
            flight.bytes = flight.bytes.saturating_sub(bytes);
        }
    }
}

impl Flight {
    /// Of an exchange that is just begun; `bundles` is 0 for a short one.
    pub(super) fn new(exchange: u64, now: Instant, bundles: u32) -> Flight {
        Flight {
            exchange,
            numbers: SmallVec::new(),
            sent_at: now,
            bytes: 0,
            again: 0,
            late: false,
            ended: false,
            bundles,
            overtaken: 0,
        }
    }

    /// Whether it is what `exchange` adds to.
    pub(super) fn is(&self, exchange: u64) -> bool {
        self.exchange == exchange && !self.ended
    }

    /// Whether more may be added to it, bundle by bundle, as its exchange is a long one.
    pub(super) fn is_long(&self) -> bool {
        self.bundles > 0 && !self.ended
    }

    /// What is to be known of it to time it.
    pub(super) fn info(&self) -> FlightInfo {
        let f = self;
        FlightInfo {
            exchange: f.exchange,
            sent_at: f.sent_at,
            bytes: f.bytes,
            again: f.again,
            late: f.late,
            long: f.is_long(),
            single: f.bundles <= 1 && !f.ended,
            overtaken: f.overtaken >= OVERTAKEN,
        }
    }

    /// Everything below `base` has arrived: whether any of this was among it.
    pub(super) fn on_progress(&mut self, base: u64) -> bool {
        let first = |f: &Flight| f.numbers.first().map(|r| r.start);
        let before = first(self);
        self.numbers.retain_mut(|r| {
            r.start = r.start.max(base);
            !r.is_empty()
        });
        before != first(self)
    }
}
