//! What was learned about the way to the server: round trips, rates, and from them timers, body sizes and how many
//! exchanges are worth having (A18, A25; PROTOCOL §5.4, §5.5).

use crate::config::{BODY_MIN, Config};
use crate::time::Instant;
use core::time::Duration;

/// A body that takes longer than so many of the shortest round trips is long enough, and enough of them are on their
/// way: more would save no round trips worth having and only make others wait.
const LONG_ENOUGH: u32 = 3;

/// A body that takes no longer than this costs more for what is done once for each body than for its bytes, and makes
/// nobody wait: on loopback, ten of 1 MB at a time take about 4 ms each. Three round trips are less than that there, more
/// or less by chance, and half the runs stayed at 256 KiB, with a third more processor time for each byte.
const QUICK: Duration = Duration::from_millis(4);

/// Shorter round trips than this are taken for so long: below it, threads cost more than the wire.
const SHORTEST: Duration = Duration::from_micros(100);

/// A path on which no body makes anybody wait gets bodies as large as this, and one that holds more on its way as large as
/// that. Processor seconds per GB on loopback, eight connections up and down: with 256 KiB 1.49 and 1.56 on tasks, with
/// 512 KiB 1.35 and 1.41; in another hour with 512 KiB 1.68 and 1.43 on tasks, 1.44 and 1.71 on threads, with 1 MiB 1.55
/// and 1.37, 1.28 and 1.64, and a ping-pong beside bulk took as long.
const BODY_ENOUGH: u64 = 1024 * 1024;

/// So many exchanges any path is worth: one held, one moving bulk while the next is made ready, one for what is small.
const FEW: u8 = 4;

/// Where nothing is known of the rate, timers allow for this many bytes a second.
const SLOW: u64 = 64 * 1024;

/// Rates are averaged over about this many samples.
const RATE_SAMPLES: u64 = 4;

/// Round trips (RFC 6298), in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RoundTrips {
    smoothed: u64,
    varied: u64,
    /// The shortest, drifting slowly towards the smoothed one lest a change of path go unnoticed: what a round trip
    /// takes when nothing else is on the wire.
    least: u64,
    known: bool,
}

/// One direction's bodies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Direction {
    /// The size to aim at now.
    target: u32,
    /// The largest that boxes let through, as far as is known.
    limit: u32,
    /// Bytes per second of one exchange beside the others, 0 while unknown.
    rate: u64,
    /// Bytes per second of all together.
    whole: u64,
    /// Large bodies that failed since the last one as large that came through, and the smallest of them.
    failed: u8,
    lost: u32,
    /// The largest that has come through since the first of them, and whether anything has since the last.
    came: u32,
    passed: bool,
    /// Full bodies since the limit was learned, and how many of them raise it again.
    full: u16,
    trial: u16,
    /// It has been raised since it was learned.
    raised: bool,
}

/// So many large bodies in a row that fail while small ones pass are too large for something on the way (A25).
const FAILED: u8 = 2;

/// So many full bodies in a row are reason to try larger ones again; doubles with every try that fails.
const TRIAL: u16 = 32;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    trips: RoundTrips,
    up: Direction,
    down: Direction,
    requests: u8,
}

/// How one exchange went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// From sending to the whole answer, without the time for which the server held it.
    pub(crate) net: Duration,
    pub(crate) up: usize,
    pub(crate) down: usize,
    /// The bodies were as large as they were allowed to be.
    pub(crate) up_full: bool,
    pub(crate) down_full: bool,
    /// Both bodies were small: a round trip.
    pub(crate) small: bool,
}

impl Path {
    pub(crate) fn new(config: &Config) -> Path {
        let direction = Direction {
            target: config.body_first,
            limit: config.body_max,
            rate: 0,
            whole: 0,
            failed: 0,
            lost: 0,
            came: 0,
            passed: true,
            full: 0,
            trial: TRIAL,
            raised: false,
        };
        Path {
            trips: RoundTrips::default(),
            up: direction.clone(),
            down: direction,
            requests: config.requests.min(FEW),
        }
    }

    /// How many exchanges may be open now.
    pub(crate) fn requests(&self) -> usize {
        usize::from(self.requests)
    }

    pub(crate) fn body_up(&self) -> usize {
        self.up.target as usize
    }

    pub(crate) fn body_down(&self) -> usize {
        self.down.target as usize
    }

    /// What of a full body the exchange of this number is to move, in eighths. Bodies of one size that begin together
    /// end together, and nothing is on a long path until their answers are back; of several sizes they soon take turns.
    pub(crate) fn share(&self, exchange: u64) -> usize {
        let is_long = |way: &Direction| way.fills(self.least()) >= u64::from(way.target);
        if is_long(&self.up) || is_long(&self.down) {
            [8, 4, 6, 5][(exchange % 4) as usize]
        } else {
            8
        }
    }

    /// What boxes let through, if that is less than what might be sent.
    pub(crate) fn limit_up(&self, config: &Config) -> Option<usize> {
        (self.up.limit < config.body_max).then_some(self.up.limit as usize)
    }

    /// The same of answers.
    pub(crate) fn limit_down(&self, config: &Config) -> Option<usize> {
        (self.down.limit < config.body_max).then_some(self.down.limit as usize)
    }

    /// Bytes per second of all exchanges together, once that was measured.
    pub(crate) fn rate_up(&self) -> Option<u64> {
        Some(self.up.whole).filter(|rate| *rate > 0)
    }

    /// The same of answers.
    pub(crate) fn rate_down(&self) -> Option<u64> {
        Some(self.down.whole).filter(|rate| *rate > 0)
    }

    /// The re-send timer for an exchange with `bytes` of messages that were sent `again` so often before (§5.4).
    pub(crate) fn timer(
        &self,
        config: &Config,
        peer_ack_delay: Duration,
        bytes: u64,
        again: u8,
    ) -> Duration {
        let base = self.trips.timer().unwrap_or(config.timer_first) + peer_ack_delay;
        if !config.learning {
            // Fixed, but for what was lost twice: a path slower than the timer would never let it through.
            let doubled = 1 << u32::from(again.saturating_sub(1)).min(4);
            return config.timer_first.saturating_mul(doubled);
        }
        let base = base
            .max(config.timer_min + peer_ack_delay)
            .min(config.timer_max);
        let doubled = base
            .saturating_mul(1 << u32::from(again).min(8))
            .min(config.timer_max.max(base));
        doubled + self.transfer(bytes)
    }

    /// How long `bytes` may take beside the round trip, either way, with room for half the rate.
    pub(crate) fn transfer(&self, bytes: u64) -> Duration {
        let known = [self.up.rate, self.down.rate]
            .into_iter()
            .filter(|r| *r > 0)
            .min();
        let rate = known.map_or(SLOW, |r| (r / 2).max(1024));
        Duration::from_micros(bytes.saturating_mul(1_000_000) / rate).min(Duration::from_secs(120))
    }

    /// An answer came.
    pub(crate) fn on_answer(&mut self, config: &Config, sample: Sample) {
        if !config.learning {
            return;
        }
        if sample.small {
            self.trips
                .sample(u64::try_from(sample.net.as_micros()).unwrap_or(u64::MAX));
        } else {
            self.trips.at_most(sample.net);
        }
        let least = self.least();
        let short = sample.net <= least * LONG_ENOUGH;
        let grow = short || sample.net <= QUICK;
        // While bodies are full, so many share the wire.
        let slots = u64::from(self.requests.saturating_sub(2).max(1));
        self.up
            .sample(sample.up, sample, (least, slots), sample.up_full && grow);
        self.down.sample(
            sample.down,
            sample,
            (least, slots),
            sample.down_full && grow,
        );
        for (full, way) in [
            (sample.up_full, &mut self.up),
            (sample.down_full, &mut self.down),
        ] {
            if full {
                way.on_full(config.body_max);
            }
        }
        let full = [(sample.up_full, &self.up), (sample.down_full, &self.down)];
        let grows = full.iter().any(|(full, way)| {
            let carried = u64::from(way.target) * u64::from(self.requests.saturating_sub(2));
            *full && (self.requests < FEW || short && carried < way.fills(least))
        });
        if grows && self.requests < config.requests {
            self.requests = self.requests.saturating_add(2).min(config.requests);
        }
    }

    /// What a round trip takes when nothing else is on the wire, once one was measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.trips.shortest()
    }

    /// A round trip on the empty wire.
    fn least(&self) -> Duration {
        Duration::from_micros(self.trips.least).max(SHORTEST)
    }

    /// A box refused a body of this size (413). Whether the limit is lower for it.
    pub(crate) fn on_too_large(&mut self, size: usize) -> bool {
        self.up.on_too_large(size)
    }

    /// An exchange failed whose answer could have had this size, and much waited at the server: perhaps it was too
    /// large. Whether that is now believed.
    pub(crate) fn on_answer_lost(&mut self, config: &Config, size: usize) -> bool {
        config.learning && self.down.on_lost(size)
    }

    /// An exchange failed whose request had this size: perhaps something on the way ends what is so large. Whether that is
    /// now believed.
    pub(crate) fn on_request_lost(&mut self, config: &Config, size: usize) -> bool {
        config.learning && self.up.on_lost(size)
    }
}

impl RoundTrips {
    /// The smoothed round trip and four times its variation, once one was measured.
    pub(crate) fn timer(&self) -> Option<Duration> {
        let micros = self.smoothed + 4 * self.varied;
        self.known.then(|| Duration::from_micros(micros))
    }

    /// What a round trip takes when nothing else is on the wire, once one was measured.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        let least = Duration::from_micros(self.least).max(SHORTEST);
        self.known.then_some(least)
    }

    /// A body went there and back in this time: a round trip takes no longer. Until a small one was measured that is all
    /// that is known, and better than nothing: bodies that seem to take many round trips don't grow.
    fn at_most(&mut self, net: Duration) {
        let net = u64::try_from(net.as_micros()).unwrap_or(u64::MAX);
        if !self.known {
            self.least = if self.least == 0 {
                net
            } else {
                self.least.min(net)
            };
        }
    }

    pub(crate) fn sample(&mut self, micros: u64) {
        let micros = micros.min(60_000_000);
        if self.known {
            self.varied = (3 * self.varied + self.smoothed.abs_diff(micros)) / 4;
            self.smoothed = (7 * self.smoothed + micros) / 8;
            self.least = micros.min(self.least + self.smoothed.saturating_sub(self.least) / 64);
        } else {
            *self = RoundTrips {
                smoothed: micros,
                varied: micros / 2,
                least: micros,
                known: true,
            };
        }
    }
}

impl Direction {
    /// A body of this size may be lost because of it. Whether the limit is lower for it.
    fn on_lost(&mut self, size: usize) -> bool {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        // An outage teaches nothing: something has to come through between.
        if size <= BODY_MIN || !self.passed {
            return false;
        }
        self.passed = false;
        if self.failed == 0 || size <= self.came {
            // The first, or what has come through since then was no smaller.
            (self.failed, self.lost, self.came) = (1, size, 0);
            return false;
        }
        self.lost = self.lost.min(size);
        self.failed += 1;
        if self.failed < FAILED {
            return false;
        }
        self.failed = 0;
        self.lower((self.lost / 2).max(self.came))
    }

    /// A body of this size has come through.
    fn on_passed(&mut self, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.passed = true;
        self.came = self.came.max(size);
        if size >= self.lost {
            self.failed = 0;
        }
    }

    /// Something on the way has said that a body of this size is too large. Whether the limit is lower for it.
    fn on_too_large(&mut self, size: usize) -> bool {
        self.failed = 0;
        self.lower(u32::try_from(size / 2).unwrap_or(u32::MAX))
    }

    /// Not by what was sent before the limit was known.
    fn lower(&mut self, to: u32) -> bool {
        let to = to.max(BODY_MIN);
        if to >= self.limit {
            return false;
        }
        self.limit = to;
        self.target = self.target.min(to);
        self.full = 0;
        self.trial = self.trial.saturating_mul(2);
        self.raised = false;
        true
    }

    /// Larger bodies are tried again after many that came through, and sooner once that has gone well.
    fn on_full(&mut self, most: u32) {
        self.full = self.full.saturating_add(1);
        if self.raised && self.full >= TRIAL {
            self.trial = TRIAL;
        }
        if self.full >= self.trial && self.limit < most {
            self.limit = self.limit.saturating_mul(2).min(most);
            self.full = 0;
            self.raised = true;
        }
    }

    fn sample(&mut self, bytes: usize, sample: Sample, path: (Duration, u64), grow: bool) {
        let (least, slots) = path;
        self.on_passed(bytes);
        if bytes < BODY_MIN as usize / 2 {
            return;
        }
        let micros = sample
            .net
            .saturating_sub(least)
            .max(Duration::from_micros(50))
            .as_micros() as u64;
        let rate = (bytes as u64).saturating_mul(1_000_000) / micros;
        let average = |was: u64, is: u64| match was {
            0 => is,
            was => (was * (RATE_SAMPLES - 1) + is) / RATE_SAMPLES,
        };
        self.rate = average(self.rate, rate);
        self.whole = average(self.whole, rate.saturating_mul(slots));
        if grow {
            self.target = self.target.saturating_mul(2);
        }
        // No more than fills the path, and lest a keystroke wait for the wire no more than half a second's worth, a
        // twentieth where more would fill nothing.
        let most = BODY_ENOUGH
            .min(self.whole / 20)
            .max(self.fills(least) / slots)
            .min(self.rate / 2);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let most = most.max(BODY_MIN).min(self.limit);
        self.target = self.target.min(most);
    }

    /// How many bytes are on their way when the path is full.
    fn fills(&self, least: Duration) -> u64 {
        let micros = u64::try_from(least.as_micros()).unwrap_or(u64::MAX);
        self.whole.saturating_mul(micros) / 1_000_000
    }
}

/// The longest hold of a path with one slot (A23).
pub(crate) const ALONE_MAX: Duration = Duration::from_secs(5);

/// How long an exchange of a path with one slot is held: half the pause since the last byte (A23).
pub(crate) fn wait_alone(now: Instant, last_byte: Instant) -> Duration {
    (now.since(last_byte) / 2).clamp(Duration::from_millis(50), ALONE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::vec::Vec;

    const MS: Duration = Duration::from_millis(1);

    fn full(net: Duration, up: usize) -> Sample {
        Sample {
            net,
            up,
            down: 100,
            up_full: true,
            down_full: false,
            small: false,
        }
    }

    fn trips(path: &mut Path, config: &Config, net: Duration) {
        for _ in 0..40 {
            path.on_answer(
                config,
                Sample {
                    net,
                    up: 100,
                    down: 100,
                    up_full: false,
                    down_full: false,
                    small: true,
                },
            );
        }
    }

    #[test]
    fn s20_bodies_double_on_a_long_path_up_to_their_limit() {
        let (config, mut sizes) = (Config::default(), alloc::vec::Vec::new());
        let mut path = Path::new(&config);
        trips(&mut path, &config, 100 * MS);
        for _ in 0..6 {
            sizes.push(path.body_up());
            path.on_answer(&config, full(105 * MS, path.body_up()));
        }
        assert_eq!(
            sizes,
            [65_536, 131_072, 262_144, 524_288, 1_000_000, 1_000_000]
        );
        assert_eq!(path.requests(), 12);
    }

    #[test]
    fn bodies_shrink_on_a_slow_link() {
        let config = Config::default();
        let mut path = Path::new(&config);
        trips(&mut path, &config, 50 * MS);
        path.on_answer(&config, full(700 * MS, 65_536));
        assert_eq!(path.body_up(), BODY_MIN as usize);
        assert!(path.timer(&config, config.ack_delay, 50_000, 0) > 1000 * MS);
    }

    #[test]
    fn a_body_that_takes_many_round_trips_is_large_enough() {
        let config = Config::default();
        let mut path = Path::new(&config);
        trips(&mut path, &config, MS / 10);
        path.on_answer(&config, full(5 * MS, 65_536));
        assert_eq!(path.body_up(), 65_536);
    }

    /// Whether bodies grew on loopback was chance: one of 256 KiB took three of the shortest round trips or a little more.
    #[test]
    fn s20_a_body_that_takes_no_time_is_not_large_enough() {
        let config = Config::default();
        let mut path = Path::new(&config);
        trips(&mut path, &config, MS / 20);
        for _ in 0..4 {
            path.on_answer(&config, full(MS / 2, path.body_up()));
        }
        assert_eq!(path.body_up(), 1_000_000);
        assert_eq!(path.requests(), FEW.into());
    }

    #[test]
    fn a_413_halves_and_never_goes_below_what_any_message_needs() {
        let mut path = Path::new(&Config::default());
        path.on_too_large(100_000);
        assert_eq!(path.body_up(), 50_000);
        path.on_too_large(40_000);
        assert_eq!(path.body_up(), BODY_MIN as usize);
    }

    #[test]
    fn what_is_cut_twice_is_too_large_unless_its_like_comes_through() {
        let config = Config::default();
        let mut path = Path::new(&config);
        assert!(!path.on_request_lost(&config, 60_000));
        // Nothing has come through between: an outage.
        assert!(!path.on_request_lost(&config, 60_000));
        trips(&mut path, &config, MS);
        assert!(path.on_request_lost(&config, 64_000));
        assert_eq!(path.body_up(), BODY_MIN as usize);
        // No message is larger than this.
        assert!(!path.on_request_lost(&config, BODY_MIN as usize));
    }

    #[test]
    fn a_limit_is_no_lower_than_what_comes_through() {
        let config = Config::default();
        let mut path = Path::new(&config);
        path.up.target = 1_000_000;
        for (lost, came, limit) in [
            (1_000_000, 1_000_000, 1_000_000),
            (900_000, 750_000, 1_000_000),
            // No larger than what came: the first again.
            (750_000, 100_000, 1_000_000),
            (40_000, 50_000, 1_000_000),
            (1_000_000, 700_000, 1_000_000),
            (900_000, 700_000, 700_000),
            // Sent before that was known.
            (1_400_000, 100_000, 700_000),
            (1_400_000, 100_000, 700_000),
        ] {
            path.on_request_lost(&config, lost);
            path.on_answer(&config, full(MS, came));
            assert_eq!(path.up.limit, limit, "{lost} {came}");
        }
    }

    #[test]
    fn larger_bodies_are_tried_as_soon_as_ever_once_that_has_gone_well() {
        let config = Config::default();
        let mut path = Path::new(&config);
        assert!(path.on_too_large(100_000) && !path.on_too_large(100_000));
        assert!(path.on_too_large(90_000));
        let mut raised = Vec::new();
        for n in 0..300 {
            let before = path.up.limit;
            path.on_answer(&config, full(MS, path.body_up()));
            raised.extend((path.up.limit > before).then_some(n));
        }
        assert_eq!(raised, [127, 159, 191, 223, 255]);
    }

    /// However slow the way, what is lost on it is noticed.
    #[test]
    fn no_body_is_allowed_more_than_two_minutes() {
        let path = Path::new(&Config::default());
        let most = Duration::from_secs(120);
        assert!(path.transfer(1_000_000) < most);
        assert_eq!(path.transfer(1 << 40), most);
    }
}
