//! How large the bundles of a long exchange are: as much as a moment carries, so that a keystroke waits for no more.

use crate::config::Config;
use crate::time::Instant;
use core::time::Duration;

/// The smallest, in which any message fits (A2), and the first: it says how fast the wire is.
const LEAST: u64 = 20 * 1024;

/// So much may be under way while nothing is known of the rate.
const WINDOW: u64 = 64 * 1024;

/// The largest: more saves nothing that could be measured, and what comes is read only when all of it is there.
const MOST: u64 = 256 * 1024;

/// The part of a second that one bundle may take on the wire.
const MOMENT: u64 = 20;

/// Where nothing is known of the rate, timers allow for this many bytes a second.
const SLOW: u64 = 64 * 1024;

/// What was learned from how fast bytes are acknowledged. How fast they are written teaches nothing: the system's
/// buffers take megabytes at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pace {
    most: u64,
    target: u64,
    /// Bytes per second, 0 while unknown.
    rate: u64,
    /// Acknowledged since then, all of it while bytes were under way.
    since: Option<Instant>,
    acked: u64,
    /// What left then left alone: when it is acknowledged, a round trip is over.
    alone: bool,
    /// Microseconds of the shortest such, 0 while unknown.
    trip: u64,
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Pace {
        Pace {
            most: MOST.min(config.body_max() as u64),
            target: LEAST,
            rate: 0,
            since: None,
            acked: 0,
            alone: false,
            trip: 0,
        }
    }

    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.since.iter_mut().for_each(visit);
    }

    /// The size to aim at now.
    pub(crate) fn target(&self) -> usize {
        self.target as usize
    }

    /// Bytes per second, 0 while unknown.
    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }

    /// How long a bundle may take on its way, with room for half the rate.
    pub(crate) fn takes(&self) -> Duration {
        let rate = if self.rate > 0 {
            (self.rate / 2).max(1024)
        } else {
            SLOW
        };
        Duration::from_micros(self.target.saturating_mul(1_000_000) / rate)
            .min(Duration::from_secs(30))
    }

    /// Whether with so many bytes under way only what is small may follow. No more is under way than half a second
    /// carries, or two round trips, or one bundle: what waits in buffers makes whatever comes after it wait, too.
    pub(crate) fn is_full(&self, flying: u64) -> bool {
        // Less than a path holds would be taken for all that it carries, and the window with it would shrink to one bundle.
        let holds = self.rate.saturating_mul(self.trip) / 500_000;
        let window = if self.rate > 0 {
            (self.rate / 2).max(holds)
        } else {
            WINDOW
        };
        flying > 0 && flying + self.target > window
    }

    /// A bundle leaves, and nothing else is under way.
    pub(crate) fn on_first(&mut self, now: Instant) {
        (self.since, self.acked, self.alone) = (Some(now), 0, true);
    }

    /// So many bytes more were acknowledged.
    pub(crate) fn on_acked(&mut self, now: Instant, bytes: u64) {
        self.acked += bytes;
        let Some(since) = self.since.filter(|_| self.acked >= self.target) else {
            return;
        };
        let micros = (now.since(since).as_micros() as u64).max(50);
        if self.alone && (self.trip == 0 || micros < self.trip) {
            self.trip = micros;
        }
        let rate = self.acked.saturating_mul(1_000_000) / micros;
        self.rate = match self.rate {
            0 => rate,
            was => (3 * was + rate) / 4,
        };
        let carries = (self.rate / MOMENT).clamp(LEAST, self.most.max(LEAST));
        self.target = carries.min(self.target.saturating_mul(2));
        (self.since, self.acked, self.alone) = (Some(now), 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_what_a_twentieth_of_a_second_carries() {
        let mut pace = Pace::new(&Config::default());
        let mut now = Instant::ZERO;
        pace.on_first(now);
        for _ in 0..20 {
            let size = pace.target() as u64;
            now = now.after(Duration::from_micros(size / 2)); // 2 MB/s
            pace.on_acked(now, size);
        }
        assert!((90_000..=110_000).contains(&pace.target()), "{pace:?}");
        for _ in 0..20 {
            pace.on_acked(now, pace.target() as u64);
        }
        assert_eq!(pace.target(), MOST as usize);
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What is acknowledged in less than a bundle's worth is counted with what follows.
    #[test]
    fn a_rate_is_that_of_a_bundles_worth() {
        let mut pace = Pace::new(&Config::default());
        let start = Instant::ZERO;
        pace.on_acked(start.after(ms(1)), LEAST);
        assert_eq!(pace.rate(), 0, "nobody knows since when");
        pace.on_first(start);
        pace.on_acked(start.after(ms(5)), LEAST - 1);
        assert_eq!((pace.rate(), pace.target()), (0, LEAST as usize));
        pace.on_acked(start.after(ms(10)), 1);
        assert_eq!(pace.rate(), LEAST * 100);
        assert_eq!((pace.trip, pace.target()), (10_000, 2 * LEAST as usize));
        // The next begins where this one ended, and is no round trip; it counts for a quarter.
        pace.on_acked(start.after(ms(20)), 10 * LEAST);
        assert_eq!(pace.rate(), (3 * 100 + 1000) * LEAST / 4);
        assert_eq!((pace.trip, pace.target()), (10_000, 4 * LEAST as usize));
        // A shorter round trip is one, a longer one is not.
        pace.on_first(start.after(ms(30)));
        pace.on_acked(start.after(ms(50)), 10 * LEAST);
        assert_eq!(pace.trip, 10_000);
        pace.on_first(start.after(ms(60)));
        pace.on_acked(start.after(ms(68)), 20 * LEAST);
        assert_eq!(pace.trip, 8_000);
    }

    /// At no rate that can be told from none is a bundle smaller than any message needs.
    #[test]
    fn a_slow_wire_has_the_smallest_bundles() {
        let mut pace = Pace::new(&Config::default());
        pace.on_first(Instant::ZERO);
        pace.on_acked(Instant::ZERO.after(ms(20_000)), LEAST);
        assert_eq!((pace.rate(), pace.target()), (1024, LEAST as usize));
        assert_eq!(pace.takes(), ms(20_000));
        pace.on_first(Instant::ZERO);
        pace.on_acked(Instant::ZERO.after(ms(800_000)), LEAST);
        assert_eq!(pace.rate(), (3 * 1024 + 25) / 4);
        assert_eq!(pace.takes(), ms(20_000), "1 KiB/s at least");
    }

    #[test]
    fn a_window_is_half_a_second_two_round_trips_or_one_bundle() {
        let mut pace = Pace::new(&Config::default());
        assert_eq!(pace.takes(), Duration::from_micros(312_500));
        assert!(!pace.is_full(0) && !pace.is_full(WINDOW - LEAST));
        assert!(pace.is_full(WINDOW - LEAST + 1));
        // 10 MB/s on a short wire: half a second.
        (pace.rate, pace.trip, pace.target) = (10_000_000, 1_000, 200_000);
        assert!(!pace.is_full(4_800_000) && pace.is_full(4_800_001));
        assert_eq!(pace.takes(), ms(40));
        // 400 ms long: two round trips.
        pace.trip = 400_000;
        assert!(!pace.is_full(7_800_000) && pace.is_full(7_800_001));
        // What is one bundle may always go.
        (pace.rate, pace.target) = (1_000, 200_000);
        assert!(!pace.is_full(0) && pace.is_full(1));
    }
}
