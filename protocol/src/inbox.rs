//! What has arrived, what to acknowledge, and when (S1, S14; PROTOCOL §4.3 to §4.5). Knows numbers, not contents.

use crate::ranges::Ranges;
use crate::time::Instant;
use crate::wire::Ack;
use core::time::Duration;

/// Which messages have arrived, and since when the peer is owed word of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Inbox {
    arrived: Ranges,
    /// Since when messages have arrived that no bundle of ours has acknowledged yet.
    owed_since: Option<Instant>,
    owed_bytes: u64,
}

impl Inbox {
    /// Notes `count` messages from `number` on. `false`: they can't be kept track of and count as unread (§4.3).
    ///
    /// Copies of what is already known owe an acknowledgement too: whoever sent them has not heard of the first.
    pub(crate) fn note(&mut self, now: Instant, number: u64, count: u64, bytes: u64) -> bool {
        if !self.arrived.insert(number..number + count) {
            return false;
        }
        self.owed_since.get_or_insert(now);
        self.owed_bytes += bytes;
        true
    }

    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.owed_since.iter_mut().for_each(visit);
    }

    /// Everything below this number has arrived.
    pub(crate) fn next(&self) -> u64 {
        self.arrived.next()
    }

    pub(crate) fn has_gaps(&self) -> bool {
        self.arrived.has_gaps()
    }

    pub(crate) fn ack(&self) -> Ack {
        self.arrived.ack()
    }

    /// A bundle with [`Inbox::ack`] has left. Should it be lost, the peer's copies will owe the next one.
    pub(crate) fn on_ack_sent(&mut self) {
        self.owed_since = None;
        self.owed_bytes = 0;
    }

    /// When the acknowledgement that is owed has to leave by itself: after `delay`, or at once when it is for more
    /// than `much` bytes, lest the peer run out of room to send (A1).
    pub(crate) fn owed_at(&self, delay: Duration, much: u64) -> Option<Instant> {
        let since = self.owed_since?;
        Some(if self.owed_bytes >= much {
            since
        } else {
            since.after(delay)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init)]

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    #[test]
    fn since_when_it_is_owed_moves_with_the_clock() {
        let mut inbox = Inbox::default();
        inbox.note(Instant::from_micros(7), 0, 1, 0);
        inbox.instants(&mut |at| *at = at.after(Duration::from_micros(3)));
        let owed = inbox.owed_at(Duration::ZERO, u64::MAX);
        assert_eq!(owed, Some(Instant::from_micros(10)));
    }

    #[test]
    fn owes_after_the_delay_or_at_once_for_much() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.owed_at(DELAY, 100), None);
        assert!(inbox.note(Instant::from_micros(5), 0, 1, 60));
        assert_eq!(
            inbox.owed_at(DELAY, 100),
            Some(Instant::from_micros(250_005))
        );
        assert!(inbox.note(Instant::from_micros(9), 2, 1, 60));
        assert_eq!(inbox.owed_at(DELAY, 100), Some(Instant::from_micros(5)));
        assert_eq!(
            inbox.ack(),
            Ack {
                next: 1,
                ranges: [2..3].to_vec()
            }
        );
        inbox.on_ack_sent();
        assert_eq!(inbox.owed_at(DELAY, 100), None);
    }

    #[test]
    fn a_copy_owes_again() {
        let mut inbox = Inbox::default();
        inbox.note(Instant::ZERO, 0, 3, 1);
        inbox.on_ack_sent();
        assert!(inbox.note(Instant::from_micros(7), 1, 1, 1));
        assert!(inbox.owed_at(DELAY, 100).is_some());
        assert_eq!(inbox.next(), 3);
    }
}
