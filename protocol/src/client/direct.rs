//! A direct connection as a carrier: one long exchange, tried gently and committed to once something has come back
//! (S11, A8, A22; PROTOCOL §5.8).
//!
//! ```text
//! wanted ──dial──> dialling ──> trial ──a bundle came──> proven ──silence──> doubted ──more silence──> lost
//!   ▲                  │          │                        ▲                    │                       │
//!   └──── later ───────┴──────────┘                        └──── a bundle ──────┘                       │
//!   └───────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::path::RoundTrips;
use crate::config::{Carrier, Config};
use crate::outbox::backoff;
use crate::pace::Pace;
use crate::time::Instant;
use core::time::Duration;

/// The first pause between two tries, doubling from there.
const AGAIN: Duration = Duration::from_secs(1);

/// And the longest.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// A connection that has lived for so long was a good one: the next is tried at once.
const GOOD: Duration = Duration::from_secs(60);

/// How long the first answer on a connection may take before it is given up.
pub(crate) const TRIAL: Duration = Duration::from_secs(3);

/// While bytes move, each side says something at least this often, so that a dead connection is noticed soon.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// And this often at rest (A22).
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// A connection that is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Long {
    pub(crate) exchange: u64,
    /// Nothing else was tried before it: its opening bears data.
    pub(crate) first: bool,
    /// A bundle was handed out that has not been written yet.
    pub(crate) busy: bool,
    /// A bundle has come: what is sent arrives.
    pub(crate) proven: bool,
    pub(crate) born: Instant,
    /// When bytes last came, and when a bundle last left.
    pub(crate) heard: Instant,
    pub(crate) sent: Option<Instant>,
    /// Since when it has been silent though it should not be.
    pub(crate) doubted: Option<Instant>,
    /// How long each side may say nothing, as the server was told last.
    pub(crate) wait: Duration,
    pub(crate) trips: RoundTrips,
    pub(crate) pace: Pace,
}

/// All that a client knows of direct connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Direct {
    carrier: Carrier,
    allowed: bool,
    /// The application knows an address, or the server has told its port.
    wanted: bool,
    pub(crate) port: Option<u16>,
    dialling: bool,
    dial_at: Option<Instant>,
    /// Tries in a row that came to nothing, or to little.
    failed: u8,
    /// No other carrier is tried before this: the head start.
    pub(crate) others_from: Option<Instant>,
    pub(crate) long: Option<Long>,
}

impl Direct {
    pub(crate) fn new(config: &Config) -> Direct {
        Direct {
            carrier: config.carrier,
            allowed: config.direct,
            wanted: false,
            port: None,
            dialling: false,
            dial_at: None,
            failed: 0,
            others_from: None,
            long: None,
        }
    }

    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        let all = [&mut self.dial_at, &mut self.others_from];
        all.into_iter().flatten().for_each(&mut *visit);
        if let Some(long) = &mut self.long {
            visit(&mut long.born);
            visit(&mut long.heard);
            long.sent.iter_mut().for_each(&mut *visit);
            long.doubted.iter_mut().for_each(&mut *visit);
            long.pace.instants(visit);
        }
    }

    /// Whether nothing but a direct connection may be used.
    pub(crate) fn is_only(&self) -> bool {
        self.carrier == Carrier::Direct
    }

    /// An address is known.
    pub(crate) fn want(&mut self, now: Instant) {
        let may = self.allowed && matches!(self.carrier, Carrier::Auto | Carrier::Direct);
        if may && !self.wanted {
            self.wanted = true;
            self.dial_at = Some(now);
        }
    }

    /// When to dial.
    pub(crate) fn dial_at(&self) -> Option<Instant> {
        self.dial_at
            .filter(|_| !self.dialling && self.long.is_none())
    }

    /// Whether to dial now; says so once.
    pub(crate) fn poll_dial(&mut self, now: Instant) -> bool {
        let due = self.dial_at().is_some_and(|at| at <= now);
        if due {
            self.dialling = true;
            self.dial_at = None;
        }
        due
    }

    /// A connection is there, to be exchange `exchange`. `first`: nothing else has been tried.
    pub(crate) fn on_dialled(&mut self, now: Instant, exchange: u64, first: bool, config: &Config) {
        self.dialling = false;
        self.long = Some(Long {
            exchange,
            first,
            busy: false,
            proven: false,
            born: now,
            heard: now,
            sent: None,
            doubted: None,
            wait: WAIT_MIN,
            trips: RoundTrips::default(),
            pace: Pace::new(config),
        });
    }

    /// No connection could be made.
    pub(crate) fn on_undialled(&mut self, now: Instant) {
        self.dialling = false;
        self.others_from = None;
        self.later(now);
    }

    /// The connection is lost.
    pub(crate) fn on_lost(&mut self, now: Instant) {
        let good = self
            .long
            .take()
            .is_some_and(|long| long.proven && now.since(long.born) >= GOOD);
        if good {
            self.failed = 0;
        }
        self.others_from = None;
        self.later(now);
    }

    /// The next try: at once the first time, then later and later.
    fn later(&mut self, now: Instant) {
        self.dial_at = Some(now.after(backoff(self.failed, AGAIN, AGAIN_MAX)));
        self.failed = self.failed.saturating_add(1);
    }

    /// The connection that bears everything now.
    pub(crate) fn bearer(&self) -> Option<&Long> {
        self.long.as_ref().filter(|long| long.bears())
    }
}

impl Long {
    /// Whether everything goes by this connection.
    pub(crate) fn bears(&self) -> bool {
        self.proven && self.doubted.is_none()
    }

    /// How long each side may say nothing from now on: half the time since bytes last moved.
    pub(crate) fn wait_now(now: Instant, last_byte: Instant) -> Duration {
        (now.since(last_byte) / 2).clamp(WAIT_MIN, WAIT_MAX)
    }

    /// When the next bundle leaves though there is nothing to say.
    pub(crate) fn speak_by(&self, now: Instant) -> Instant {
        self.sent.map_or(now, |sent| sent.after(self.wait))
    }

    /// How long an answer may take: a round trip, the peer's delay, and a bundle each way.
    pub(crate) fn timer(&self, config: &Config, peer_ack_delay: Duration) -> Duration {
        let trip = self.trips.timer().unwrap_or(config.timer_first);
        let base = trip.max(config.timer_min).min(config.timer_max);
        base + peer_ack_delay + self.pace.takes() * 2
    }

    /// Until when something must have come. `due_since`: since when an answer has been due, if one is.
    pub(crate) fn silent_until(
        &self,
        config: &Config,
        peer_ack_delay: Duration,
        due_since: Option<Instant>,
    ) -> Instant {
        let timer = self.timer(config, peer_ack_delay);
        if !self.proven {
            return self.sent.unwrap_or(self.born).after(TRIAL.max(timer));
        }
        // It promised a word by then.
        let word = self.heard.after(self.wait + timer);
        let due = due_since.map(|since| since.max(self.heard).after(timer));
        due.map_or(word, |due| due.min(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_not_be_reached_is_dialled_every_five_minutes_at_least() {
        let mut direct = Direct::new(&Config::default());
        let mut now = Instant::ZERO;
        direct.want(now);
        for _ in 0..300 {
            assert!(direct.poll_dial(now));
            direct.on_undialled(now);
            let at = direct.dial_at().expect("it is dialled again");
            assert!(at.since(now) <= Duration::from_secs(300));
            now = at;
        }
    }
}
