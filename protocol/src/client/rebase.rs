//! Time as a model checker wants it: relative, so that states that differ only in when they were reached are equal.

use super::{Client, direct, path};
use crate::time::Instant;
use core::time::Duration;

impl Client {
    /// The earliest moment that still decides something, at most the latest that was fed.
    pub fn earliest(&self) -> Instant {
        let (mut copy, mut earliest) = (self.clone(), self.session.now);
        copy.forget_old();
        copy.instants(&mut |at| earliest = earliest.min(*at));
        earliest
    }

    /// Counts time from `zero` on, at most [`earliest`](Self::earliest): from here the machine behaves as it would
    /// have, if all that is fed is less by `zero`, too. So two machines and what is between them can be moved
    /// together, and states that differ only in when they were reached become equal (for model checkers). Numbers of
    /// exchanges, bundles and messages are on the wire as well and stay as they are.
    pub fn rebase(&mut self, zero: Instant) {
        self.forget_old();
        self.instants(&mut |at| at.rebase(zero));
    }

    fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.session.instants(visit);
        self.fails.instants(visit);
        self.exchanges.instants(visit);
        self.direct.instants(visit);
        self.streaming.instants(visit);
        self.hold.instants(visit);
        self.queue.instants(visit);
        let other = [&mut self.early_at, &mut self.answered_at];
        [&mut self.last_byte, &mut self.last_sent]
            .into_iter()
            .chain(other)
            .for_each(visit);
    }

    /// Moments so long ago that an hour earlier would be the same.
    fn forget_old(&mut self) {
        let now = self.session.now;
        let long_ago = |by: Duration| {
            Instant::from_micros(now.as_micros().saturating_sub(by.as_micros() as u64))
        };
        let rests = if self.session.config.direct {
            direct::WAIT_MAX.max(path::ALONE_MAX)
        } else {
            path::ALONE_MAX
        };
        self.last_byte = self.last_byte.max(long_ago(rests * 2));
        let config = &self.session.config;
        let polls = if self.streaming.heard().is_some() {
            config.wait.max(config.timer_first)
        } else {
            config.timer_first
        };
        self.last_sent = self.last_sent.max(long_ago(polls));
        self.early_at = self.early_at.max(long_ago(Duration::from_secs(2)));
    }
}
