//! Moments in time. The core never asks a clock: the embedder says what time it is with every input.

use core::fmt;
use core::time::Duration;

/// A moment, in microseconds since a zero that the embedder chooses.
///
/// The zero means nothing to the core; only differences count. An event loop makes one from its own clock, a
/// simulator from a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The embedder's zero.
    pub const ZERO: Instant = Instant(0);

    /// A moment so many microseconds after the embedder's zero.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the embedder's zero.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `by` later, or `None` where that is beyond what can be said.
    pub fn checked_add(self, by: Duration) -> Option<Instant> {
        self.0
            .checked_add(u64::try_from(by.as_micros()).ok()?)
            .map(Instant)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same moment, counted from another zero that is not after it.
    pub(crate) fn rebase(&mut self, zero: Instant) {
        self.0 = self.0.saturating_sub(zero.0);
    }

    /// The moment `by` later; the last moment there is where that would be beyond it. For deadlines: one that
    /// far away never comes.
    pub(crate) fn after(self, by: Duration) -> Instant {
        self.checked_add(by).unwrap_or(Instant(u64::MAX))
    }
}

/// The first of these moments, as far as they are to come.
pub(crate) fn first(moments: &[Option<Instant>]) -> Option<Instant> {
    let mut first = None;
    for moment in moments {
        first = match (first, *moment) {
            (Some(one), Some(other)) => Some(Instant::min(one, other)),
            (one, other) => one.or(other),
        };
    }
    first
}

/// A duration as it travels: in microseconds, the most that a varint holds (2^62 - 1) standing for what is longer.
pub(crate) fn wire_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros())
        .unwrap_or(u64::MAX)
        .min((1 << 62) - 1)
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn moments_are_told_in_seconds() {
        assert_eq!(Instant::from_micros(1_000_002).to_string(), "1.000002s");
        assert_eq!(Instant::from_micros(999_999).to_string(), "0.999999s");
    }

    #[test]
    fn what_travels_is_what_a_varint_holds() {
        let most = (1 << 62) - 1;
        for (micros, wire) in [
            (0, 0),
            (7, 7),
            (most, most),
            (most + 1, most),
            (u64::MAX, most),
        ] {
            assert_eq!(wire_micros(Duration::from_micros(micros)), wire);
        }
        assert_eq!(wire_micros(Duration::MAX), most);
    }
}
