//! For how long a request may be held, as boxes on the way teach it (A25; PROTOCOL §5.5).

use crate::config::Config;
use crate::time::Instant;
use core::time::Duration;

/// Nothing that boxes do makes holds shorter than this.
const LEAST: Duration = Duration::from_secs(5);

/// How long until a longer hold is tried again, doubling with every such try that fails.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hold {
    /// For how long the next request may be held.
    wait: Duration,
    /// At which age the last one was ended by something on the way.
    ended_at: Option<Duration>,
    /// A box ends requests of this age, and when that is put to the test again.
    limit: Option<Duration>,
    again: Instant,
    pause: Duration,
}

impl Hold {
    pub(crate) fn new(config: &Config) -> Hold {
        Hold {
            wait: config.wait_first,
            ended_at: None,
            limit: None,
            again: Instant::ZERO,
            pause: PAUSE,
        }
    }

    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        if self.limit.is_some() {
            visit(&mut self.again);
        }
    }

    /// For how long the next request may be held.
    pub(crate) fn wait(&self, config: &Config, now: Instant) -> Duration {
        if self.limit.is_some() && now >= self.again {
            config.wait
        } else {
            self.wait
        }
    }

    /// At which age a box ends requests, if one does.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// A request was held for its whole wait and the answer came. Whether that is news.
    pub(crate) fn on_held(&mut self, config: &Config, wait: Duration) -> bool {
        self.ended_at = None;
        let is_limited = self.limit.is_some_and(|limit| wait < limit);
        if wait < self.wait || is_limited {
            return false;
        }
        let news = self.wait < config.wait;
        (self.wait, self.limit, self.pause) = (config.wait, None, PAUSE);
        news
    }

    /// One that might have been held for `wait` was ended at this age by something on the way. Whether that is news:
    /// twice at a like age is a rule of a box's, once is chance.
    pub(crate) fn on_ended(&mut self, now: Instant, wait: Duration, age: Duration) -> bool {
        if age > wait || age < LEAST / 2 {
            return false;
        }
        let is_like = |other: Duration| age.abs_diff(other) <= other.max(age) / 8;
        if self.limit.is_some_and(is_like) {
            // Only that it has been put to the test.
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            self.again = now.after(self.pause);
            return false;
        }
        if !self.ended_at.replace(age).is_some_and(is_like) {
            return false;
        }
        self.ended_at = None;
        (self.limit, self.again) = (Some(age), now.after(self.pause));
        self.wait = (age * 4 / 5).max(LEAST).min(self.wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a25_twice_at_a_like_age_is_a_rule() {
        let config = Config::default();
        let (mut hold, mut now) = (Hold::new(&config), Instant::ZERO);
        assert!(hold.on_held(&config, 12 * SEC));
        assert_eq!(hold.wait(&config, now), 25 * SEC);
        assert!(!hold.on_ended(now, 25 * SEC, 15 * SEC));
        assert!(hold.on_ended(now, 25 * SEC, 15 * SEC));
        assert_eq!(hold.wait(&config, now), 12 * SEC);
        assert!(!hold.on_held(&config, 12 * SEC));
        assert_eq!(hold.wait(&config, now), 12 * SEC);
        // Later it is put to the test, ever later.
        for pause in [60, 120, 240] {
            now = now.after(pause * SEC);
            assert_eq!(hold.wait(&config, now), 25 * SEC);
            assert!(!hold.on_ended(now, 25 * SEC, 15 * SEC));
            assert_eq!(hold.wait(&config, now), 12 * SEC);
        }
        now = now.after(3600 * SEC);
        assert!(hold.on_held(&config, 25 * SEC));
        assert_eq!(hold.limit(), None);
        assert_eq!(hold.wait(&config, now), 25 * SEC);
    }

    #[test]
    fn when_a_limit_is_tried_again_moves_with_the_clock() {
        let config = Config::default();
        let mut hold = Hold::new(&config);
        let (age, late) = (SEC * 6, Instant::ZERO.after(PAUSE));
        hold.instants(&mut |_| panic!("there is none"));
        for _ in 0..2 {
            hold.on_ended(Instant::ZERO, config.wait, age);
        }
        assert_eq!(hold.wait(&config, late), config.wait);
        hold.instants(&mut |at| *at = at.after(SEC));
        assert!(hold.wait(&config, late) < age);
        assert_eq!(hold.wait(&config, late.after(SEC)), config.wait);
    }

    /// The server would have answered it then, too; what is older was ended by its own end.
    #[test]
    fn a25_at_the_end_of_its_wait_is_an_end_too() {
        let config = Config::default();
        let wait = config.wait_first;
        let after = |age| {
            let mut hold = Hold::new(&config);
            let mut end = || hold.on_ended(Instant::ZERO, wait, age);
            end() || end()
        };
        assert!(after(wait));
        assert!(!after(wait + Duration::from_nanos(1)));
        assert!(after(LEAST / 2));
        assert!(!after(LEAST / 2 - Duration::from_nanos(1)));
    }

    #[test]
    fn a25_ends_at_any_age_teach_nothing() {
        let config = Config::default();
        let mut hold = Hold::new(&config);
        for age in [3, 9, 5, 11, 1, 1, 1, 7, 12] {
            assert!(!hold.on_ended(Instant::ZERO, 12 * SEC, age * SEC), "{age}");
        }
        assert_eq!(hold.wait(&config, Instant::ZERO), 12 * SEC);
    }

    #[test]
    fn a25_two_ends_with_a_whole_hold_between_are_not_in_a_row() {
        let config = Config::default();
        let (mut hold, now) = (Hold::new(&config), Instant::ZERO);
        for _ in 0..3 {
            assert!(!hold.on_ended(now, 12 * SEC, 8 * SEC));
            hold.on_held(&config, 12 * SEC);
        }
        assert_eq!(hold.limit(), None);
        assert_eq!(hold.wait(&config, now), 25 * SEC);
    }

    #[test]
    fn a25_no_hold_is_shorter_than_five_seconds() {
        let mut hold = Hold::new(&Config::default());
        for _ in 0..2 {
            hold.on_ended(Instant::ZERO, 12 * SEC, 3 * SEC);
        }
        assert_eq!(hold.wait(&Config::default(), Instant::ZERO), 5 * SEC);
    }

    #[test]
    fn a25_a_box_is_put_to_the_test_once_an_hour_at_least() {
        let config = Config::default();
        let (mut hold, mut now) = (Hold::new(&config), Instant::ZERO);
        for _ in 0..20 {
            hold.on_ended(now, 25 * SEC, 15 * SEC);
            now = now.after(3600 * SEC);
        }
        assert_eq!(hold.limit(), Some(15 * SEC));
        assert_eq!(hold.wait(&config, now), 25 * SEC);
    }
}
