//! Every number that can be set, its default, and where the default comes from.

use core::fmt;
use core::time::Duration;

/// No body is limited to less, in bytes, so that any message fits (A2).
pub(crate) const BODY_MIN: u32 = 32 * 1024;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The credit and the send buffer that every open stream owns, in bytes (§6.3): no other stream can take them.
pub const OWN_CREDIT: u64 = 16 * 1024;

/// Bodies up to this size count as small: they sample round trips and may use the slot kept for them (§5.5).
pub const SMALL_BODY: usize = 4096;

/// By what a client's bundles travel (S11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// A direct connection where one can be had; where not, exchanges, and streamed answers if they come through.
    #[default]
    Auto,
    /// Direct connections only.
    Direct,
    /// Streamed answers where they come through, and no direct connection.
    Streamed,
    /// Exchanges only: whole bodies, which any path carries.
    Exchange,
}

/// How a session behaves. Made by [`Config::builder`], which checks all fields together.
///
/// | field | default | source |
/// | --- | --- | --- |
/// | `requests` | 12 | two beside ten bodies of 1 MB: 100 MB/s at 100 ms, what one TCP window carries and a third more |
/// | `hold` | 1 | boxes share their slots among all users (tinyproxy 100, apache 150) |
/// | `wait` | 12 s, then 25 s | Envoy ends answers at 15 s, Traffic Server, Heroku and Google at 30 s |
/// | `ack_delay` | 250 ms | pings 150 to 200 ms apart cost 101 exchanges per 100, with 25 ms 200 |
/// | `grace` | 20 ms | lets an application's reply ride on the answer: 132 exchanges per 100 pings instead of 232 |
/// | `gather` | 5 ms | below what a person notices, above a loopback round trip |
/// | `give_up` | 90 s, 5 exchanges | outlives the restart of a proxy and an outage of a minute |
/// | `idle` | 240 s | at least `give_up` + 2 x `wait` + patience |
/// | `body_max` | 1,000,000 bytes | nginx refuses one byte more than 1,048,576 |
/// | `pool`, `send_pool` | 24 MiB | two thirds for one stream: 16 MiB, twice 80 MB/s x 100 ms |
/// | `streams` | 2048 | 32 MiB of own credit at most |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub(crate) requests: u8,
    pub(crate) hold: u8,
    pub(crate) wait_first: Duration,
    pub(crate) wait: Duration,
    pub(crate) ack_delay: Duration,
    pub(crate) grace: Duration,
    pub(crate) gather: Duration,
    pub(crate) give_up: Duration,
    pub(crate) give_up_exchanges: u32,
    pub(crate) idle: Duration,
    pub(crate) patience: Duration,
    pub(crate) timer_first: Duration,
    pub(crate) timer_min: Duration,
    pub(crate) timer_max: Duration,
    pub(crate) retry_first: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) poll_backoff: Duration,
    pub(crate) flush: Duration,
    pub(crate) gone_repeats: Duration,
    pub(crate) body_first: u32,
    pub(crate) body_max: u32,
    pub(crate) pool: u64,
    pub(crate) send_pool: u64,
    pub(crate) streams: u64,
    pub(crate) bundle_messages: u16,
    pub(crate) classic: bool,
    pub(crate) learning: bool,
    pub(crate) carrier: Carrier,
    pub(crate) direct: bool,
    pub(crate) direct_port: Option<u16>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            requests: 12,
            hold: 1,
            wait_first: secs(12),
            wait: secs(25),
            ack_delay: ms(250),
            grace: ms(20),
            gather: ms(5),
            give_up: secs(90),
            give_up_exchanges: 5,
            idle: secs(240),
            patience: secs(15),
            timer_first: secs(1),
            timer_min: ms(200),
            timer_max: secs(10),
            retry_first: ms(100),
            retry_max: secs(2),
            poll_backoff: ms(50),
            flush: secs(30),
            gone_repeats: secs(3),
            body_first: 64 * 1024,
            body_max: 1_000_000,
            pool: 24 << 20,
            send_pool: 24 << 20,
            streams: 2048,
            bundle_messages: u16::MAX,
            classic: false,
            learning: true,
            carrier: Carrier::Auto,
            direct: true,
            direct_port: None,
        }
    }
}

impl Config {
    /// A builder that begins with the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder {
            config: Config::default(),
        }
    }

    /// The source's own schedule: bundles of ten messages, one second until everything stored goes again, a held
    /// request answered when the second one arrives or a bundle's worth has gathered (S1 to S5).
    ///
    /// Two provisos make it rest and survive boxes: a response is a reason to send another request only when
    /// something is stored or nothing is open, and a held request ends after `wait`.
    pub fn classic() -> Config {
        Config {
            requests: 2,
            classic: true,
            learning: false,
            bundle_messages: 10,
            grace: Duration::ZERO,
            gather: secs(1),
            timer_first: secs(1),
            timer_min: secs(1),
            timer_max: secs(1),
            ..Config::default()
        }
    }

    /// Fixed timers and nothing learned, so that the states of a model are finite; so many exchanges open at once.
    pub fn model(requests: u8) -> Config {
        Config {
            requests,
            learning: false,
            wait_first: secs(12),
            wait: secs(12),
            timer_first: secs(1),
            timer_min: secs(1),
            timer_max: secs(1),
            gather: Duration::ZERO,
            ..Config::default()
        }
    }

    /// The most bytes of received and not yet read stream data that a session keeps (L4): the pool and what every
    /// stream owns.
    pub fn receive_bound(&self) -> u64 {
        self.pool + 2 * self.streams * OWN_CREDIT
    }

    /// The most bytes of written and not yet acknowledged stream data that a session keeps (L4).
    pub fn send_bound(&self) -> u64 {
        self.send_pool + 2 * self.streams * OWN_CREDIT
    }

    /// How long a silent client is kept, on the server.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// The largest body that is sent, in bytes.
    pub fn body_max(&self) -> usize {
        self.body_max as usize
    }

    /// Tells clients to make direct connections to this port.
    pub fn tell_direct(&mut self, port: u16) {
        self.direct_port = Some(port);
    }

    /// By what a client's bundles travel.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The same, for a client whose bundles travel so.
    #[must_use]
    pub fn by(self, carrier: Carrier) -> Config {
        Config { carrier, ..self }
    }

    /// The same, for a client that makes no direct connections.
    #[must_use]
    pub fn without_direct(self) -> Config {
        Config {
            direct: false,
            ..self
        }
    }

    /// How many exchanges may be open at once.
    pub fn requests(&self) -> usize {
        usize::from(self.requests)
    }

    /// The longest time for which a request is held.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

/// Sets fields of a [`Config`] in any order; [`build`](ConfigBuilder::build) checks them together.
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    config: Config,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, value: $type) -> Self { self.config.$name = value; self })*
    };
}

impl ConfigBuilder {
    setters! {
        /// Exchanges open at once at most, 1 to 32. Sessions begin with 4 and grow while there is much to move.
        requests: u8,
        /// Exchanges that the server holds while nothing is to be said, below `requests` (or 1 with it).
        hold: u8,
        /// How long a request is held at first.
        wait_first: Duration,
        /// How long a request is held once that has worked.
        wait: Duration,
        /// How long an acknowledgement may be owed.
        ack_delay: Duration,
        /// How long a surplus held request waits for an application's reply to ride on it.
        grace: Duration,
        /// How long small writes gather while something is unacknowledged.
        gather: Duration,
        /// After how long without any answer the client gives up.
        give_up: Duration,
        /// And after how many exchanges begun and failed in that time at least.
        give_up_exchanges: u32,
        /// After how long without any request the server gives up.
        idle: Duration,
        /// How much longer than `wait` an exchange may run without progress.
        patience: Duration,
        /// How long closing may make no progress.
        flush: Duration,
        /// The first bodies' size in bytes.
        body_first: u32,
        /// The largest body in bytes, 32 KiB to 16 MiB.
        body_max: u32,
        /// Received and not yet read bytes kept beyond what each stream owns.
        pool: u64,
        /// Written and not yet acknowledged bytes kept beyond what each stream owns.
        send_pool: u64,
        /// Streams that the peer may have open at once, 16 to 65,536.
        streams: u64,
        /// Messages in a bundle at most (S2).
        bundle_messages: u16,
        /// By what a client's bundles travel.
        carrier: Carrier,
        /// The port on which a server takes direct connections; clients are told.
        direct_port: Option<u16>,
    }

    /// The configuration, if its fields fit one another.
    ///
    /// # Errors
    /// The first inequality that does not hold.
    pub fn build(self) -> Result<Config, ConfigError> {
        let c = self.config;
        let check = |holds: bool, what: &'static str| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError(what))
            }
        };
        check((1..=32).contains(&c.requests), "1 <= requests <= 32")?;
        check(
            c.hold >= 1 && (c.hold < c.requests || c.requests == 1),
            "1 <= hold < requests, or requests = 1",
        )?;
        check(c.wait_first <= c.wait, "wait_first <= wait")?;
        check(
            c.wait <= secs(600) && c.patience <= secs(3600),
            "wait <= 10 min, beyond which no server holds, and patience <= 1 h",
        )?;
        check(
            c.grace.saturating_add(c.ack_delay) < c.timer_first,
            "grace + ack_delay < the first re-send timer (1 s)",
        )?;
        check(
            c.timer_max < c.patience,
            "the longest re-send timer (10 s) < patience",
        )?;
        check(
            c.idle
                >= c.give_up
                    .saturating_add(c.wait.saturating_mul(3))
                    .saturating_add(c.patience),
            "idle >= give_up + 3 x wait + patience, or a client that may still come back is dropped",
        )?;
        check(
            (BODY_MIN..=16 << 20).contains(&c.body_max),
            "32 KiB <= body_max <= 16 MiB",
        )?;
        check(
            (BODY_MIN..=c.body_max).contains(&c.body_first),
            "32 KiB <= body_first <= body_max",
        )?;
        check(
            (16..=65_536).contains(&c.streams),
            "16 <= streams <= 65,536",
        )?;
        check(c.bundle_messages >= 1, "bundle_messages >= 1")?;
        check(c.pool < 1 << 40 && c.send_pool < 1 << 40, "pools < 1 TiB")?;
        check(
            c.pool >= 64 * 1024,
            "pool >= 64 KiB, what a peer may use before it has heard of it",
        )?;
        Ok(c)
    }
}

/// Which inequality does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError(&'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration needs {}", self.0)
    }
}

impl core::error::Error for ConfigError {}

/// The bounds of a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouterConfig {
    /// Sessions at most; one more is told "busy".
    pub sessions: usize,
    /// Ended sessions remembered at most.
    pub ended: usize,
    /// For how long an ended session is remembered: longer than any box keeps a request.
    pub linger: Duration,
}

impl Default for RouterConfig {
    fn default() -> RouterConfig {
        RouterConfig {
            sessions: 10_000,
            ended: 10_000,
            linger: secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_pass_their_own_checks() {
        assert_eq!(Config::builder().build(), Ok(Config::default()));
        assert_eq!(
            ConfigBuilder {
                config: Config::model(2)
            }
            .build(),
            Ok(Config::model(2))
        );
    }

    /// S1 to S5: two exchanges, ten messages, a second until all goes again, and nothing that is learned.
    #[test]
    fn classic_is_the_source_s_own_schedule() {
        let classic = Config::classic();
        assert!(classic.classic && !classic.learning);
        assert_eq!((classic.requests, classic.bundle_messages), (2, 10));
        assert_eq!((classic.grace, classic.gather), (Duration::ZERO, secs(1)));
        let timers = [classic.timer_first, classic.timer_min, classic.timer_max];
        assert_eq!(timers, [secs(1); 3]);
    }

    /// L4: the pools, and what every stream of either side owns.
    #[test]
    fn what_is_asked_is_what_is_told() {
        let builder = Config::builder()
            .pool(100_000)
            .send_pool(70_000)
            .streams(20);
        let builder = builder.requests(5).wait(secs(20)).wait_first(secs(3));
        let config = builder.body_max(40_000).body_first(33_000).build().unwrap();
        assert_eq!(config.receive_bound(), 100_000 + 40 * OWN_CREDIT);
        assert_eq!(config.send_bound(), 70_000 + 40 * OWN_CREDIT);
        assert_eq!((config.requests(), config.wait()), (5, secs(20)));
        assert_eq!((config.body_max(), config.idle()), (40_000, secs(240)));
        assert_eq!(config.carrier(), Carrier::Auto);
        let streamed = config.clone().by(Carrier::Streamed);
        assert_eq!(streamed.carrier(), Carrier::Streamed);
        assert_eq!(streamed.by(Carrier::Auto), config);
        assert!(config.direct && !config.without_direct().direct);
        let mut server = Config::default();
        server.tell_direct(443);
        assert_eq!(server.direct_port, Some(443));
    }

    /// Its states are finite, as nothing is learned and every timer has one length.
    #[test]
    fn a_model_s_times_are_fixed() {
        let model = Config::model(3);
        assert!(!model.learning);
        assert_eq!(model.requests, 3);
        assert_eq!(model.wait_first, model.wait);
        assert_eq!(model.timer_first, model.timer_min);
        assert_eq!(model.timer_first, model.timer_max);
    }

    #[test]
    fn fields_that_do_not_fit_are_named() {
        let says = |b: ConfigBuilder| alloc::format!("{}", b.build().unwrap_err());
        assert!(says(Config::builder().requests(2).hold(2)).contains("hold < requests"));
        assert!(says(Config::builder().idle(secs(100))).contains("idle"));
        assert!(says(Config::builder().ack_delay(secs(1))).contains("ack_delay"));
        assert!(Config::builder().requests(1).hold(1).build().is_ok());
        let never = Config::builder().give_up(Duration::MAX).idle(Duration::MAX);
        assert!(never.build().is_ok());
        assert!(says(Config::builder().wait(Duration::MAX)).contains("wait <= 10 min"));
    }

    /// The last value that fits, and the first that does not.
    #[test]
    fn every_inequality_is_exact() {
        let (c, tick) = (Config::default(), Duration::from_nanos(1));
        let b = Config::builder;
        let free = || b().give_up(Duration::ZERO).idle(Duration::MAX);
        let dropped = c.give_up + c.wait * 3 + c.patience;
        let late = c.timer_first - c.grace;
        for (fits, does_not) in [
            (b().requests(32), b().requests(33)),
            (b().requests(4).hold(3), b().requests(4).hold(4)),
            (b().requests(4).hold(1), b().requests(4).hold(0)),
            (b().wait_first(c.wait), b().wait_first(c.wait + tick)),
            (free().wait(secs(600)), free().wait(secs(600) + tick)),
            (
                free().patience(secs(3600)),
                free().patience(secs(3600) + tick),
            ),
            (b().ack_delay(late - tick), b().ack_delay(late)),
            (
                free().patience(c.timer_max + tick),
                free().patience(c.timer_max),
            ),
            (b().idle(dropped), b().idle(dropped - tick)),
            (b().body_max(16 << 20), b().body_max((16 << 20) + 1)),
            (b().body_first(BODY_MIN), b().body_first(BODY_MIN - 1)),
            (b().body_first(c.body_max), b().body_first(c.body_max + 1)),
            (b().streams(16), b().streams(15)),
            (b().streams(65_536), b().streams(65_537)),
            (b().bundle_messages(1), b().bundle_messages(0)),
            (b().pool((1 << 40) - 1), b().pool(1 << 40)),
            (b().send_pool((1 << 40) - 1), b().send_pool(1 << 40)),
            (b().pool(64 * 1024), b().pool(64 * 1024 - 1)),
        ] {
            assert!(fits.clone().build().is_ok(), "{:?}", fits.build());
            assert!(does_not.clone().build().is_err(), "{does_not:?}");
        }
    }
}
