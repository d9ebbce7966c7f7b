//! Failures in a row: how long to wait before the next try, and when to give up (S9, A17, A19; PROTOCOL §5.7).

use crate::config::Config;
use crate::outbox::backoff;
use crate::time::Instant;
use core::time::Duration;

/// From so many failures in a row on, only a small probe goes until an answer comes.
const PROBE_FROM: u8 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Fails {
    /// Failures in a row. Exchanges that were open together count once: one broken wire is one failure.
    streak: u8,
    /// The exchange from which on a failure is another one.
    round: u64,
    retry_at: Option<Instant>,
    /// When the first answer since the last one that came was due and did not come.
    since: Option<Instant>,
    /// Exchanges begun and failed since then.
    count: u32,
    /// Since when a server that is not the session's own says that it knows nothing of it.
    gone_since: Option<Instant>,
}

impl Fails {
    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        let all = [&mut self.retry_at, &mut self.since, &mut self.gone_since];
        all.into_iter().flatten().for_each(visit);
    }

    /// Another server than the session's own does not know it. Says whether that has gone on for too long (A13).
    pub(crate) fn has_been_gone(&mut self, now: Instant, config: &Config) -> bool {
        now.since(*self.gone_since.get_or_insert(now)) >= config.gone_repeats
    }

    /// An exchange was lost. `next`: the number that the next one will have.
    pub(crate) fn on_lost(&mut self, config: &Config, now: Instant, exchange: u64, next: u64) {
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
        if exchange >= self.round {
            self.streak = self.streak.saturating_add(1);
            self.round = next;
            self.wait(
                now,
                backoff(self.streak - 1, config.retry_first, config.retry_max),
            );
        }
    }

    /// The server is there but has no room.
    pub(crate) fn on_busy(&mut self, now: Instant, after: Duration) {
        self.wait(now, after);
    }

    fn wait(&mut self, now: Instant, time: Duration) {
        self.retry_at = self.retry_at.max(now.checked_add(time));
    }

    /// An answer came.
    pub(crate) fn on_answer(&mut self) {
        *self = Fails {
            round: self.round,
            ..Fails::default()
        };
    }

    /// `now` jumped over a deadline, as after a sleep: the clock begins again (A19).
    pub(crate) fn on_jump(&mut self, now: Instant) {
        if self.since.is_some() {
            self.since = Some(now);
        }
    }

    pub(crate) fn is_probing(&self) -> bool {
        self.streak >= PROBE_FROM
    }

    /// Failures in a row.
    pub(crate) fn streak(&self) -> u8 {
        self.streak
    }

    /// Before this, nothing may be sent.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// When to give up, unless an answer comes before.
    pub(crate) fn give_up_at(&self, config: &Config) -> Option<Instant> {
        let since = self
            .since
            .filter(|_| self.count >= config.give_up_exchanges)?;
        Some(since.after(config.give_up))
    }

    /// For how long, and in how many exchanges, no answer has come.
    pub(crate) fn silence(&self, now: Instant) -> (Duration, u32) {
        (
            self.since.map_or(Duration::ZERO, |t| now.since(t)),
            self.count,
        )
    }
}
