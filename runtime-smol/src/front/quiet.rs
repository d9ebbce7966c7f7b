//! Keeps strangers from flooding the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line through a second and counts the others.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    said: Option<Instant>,
    unsaid: u64,
}

const EVERY: Duration = Duration::from_secs(1);

impl Quiet {
    /// Whether to say it: `Some` with how many times it went unsaid before, or `None`.
    #[must_use]
    pub(super) fn may_say(&self) -> Option<u64> {
        self.may_say_at(Instant::now())
    }

    fn may_say_at(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if since
            .said
            .is_some_and(|said| now.saturating_duration_since(said) < EVERY)
        {
            since.unsaid += 1;
            return None;
        }
        since.said = Some(now);
        Some(std::mem::take(&mut since.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_one_a_second_and_counts_the_rest() {
        let quiet = Quiet::default();
        let start = Instant::now();
        assert_eq!(quiet.may_say_at(start), Some(0));
        assert_eq!(quiet.may_say_at(start), None);
        assert_eq!(quiet.may_say_at(start + EVERY / 2), None);
        assert_eq!(quiet.may_say_at(start + EVERY), Some(2));
        assert_eq!(quiet.may_say_at(start + EVERY * 2), Some(0));
    }
}
