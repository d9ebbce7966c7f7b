//! Keeps strangers from flooding the log.

use posthole_protocol::Instant;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets one line through a second and counts the others.
#[derive(Debug, Default)]
pub struct Quiet {
    /// In microseconds, when the next line may be said.
    next: AtomicU64,
    unsaid: AtomicU64,
}

/// In microseconds.
const EVERY: u64 = 1_000_000;

impl Quiet {
    /// Whether to say it: `Some` with how many times it went unsaid before, or `None`. Of threads that ask at once
    /// one may.
    #[must_use]
    pub fn may_say(&self, now: Instant) -> Option<u64> {
        let now = now.as_micros();
        let may = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (now >= next).then(|| now.saturating_add(EVERY))
            });
        if may.is_err() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_one_a_second_and_counts_the_rest() {
        for start in [0, 1, 7 * EVERY] {
            let quiet = Quiet::default();
            let may_say = |after| quiet.may_say(Instant::from_micros(start + after));
            assert_eq!(may_say(0), Some(0));
            assert_eq!(may_say(0), None);
            assert_eq!(may_say(EVERY - 1), None);
            assert_eq!(may_say(EVERY), Some(2));
            assert_eq!(may_say(0), None, "a clock read before");
            assert_eq!(may_say(2 * EVERY), Some(1));
            assert_eq!(may_say(3 * EVERY), Some(0));
        }
    }
}
