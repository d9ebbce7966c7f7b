//! Random whole machines: both roles, a router and a wire that loses, doubles, reorders, delays, damages and fails,
//! with applications that write, read, finish, reset, stop and close at random. Every byte is checked, and so are
//! C2, C5, L1, L5, the sums of the streams, and that everything ends once the wire heals.

/// Says what happens, for whoever runs one seed with TRACE set.
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        if $world.trace {
            let (ms, us) = ($world.now / MS, $world.now % MS);
            std::eprintln!("{ms}.{us:03} {}", std::format!($($what)*));
        }
    };
}

mod apps;
mod random;
mod slow;
mod time;
mod wire;

use super::*;
use crate::event::Read;
use crate::id::{Instance, Nonce, RequestId};
use crate::server::{Route, Router, Server};
use crate::{ReadError, ResetCode, RouterConfig, WriteError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

const MS: u64 = 1000;
const SEC: u64 = 1000 * MS;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

enum Packet {
    Request(RequestId, Bytes),
    Answer(u64, Bytes),
    Failure(u64, Failure),
    Hangup(RequestId),
}

/// One direction of one stream, as both applications know it.
#[derive(Default, Debug)]
struct Flow {
    written: u64,
    pending: u64,
    finished: bool,
    finished_told: bool,
    reset: bool,
    stopped: bool,
    read: u64,
    ended: bool,
    failed: Option<ReadError>,
}

#[derive(Default, Debug)]
struct Faults {
    lose: u64,
    fail: u64,
    double: u64,
    damage: u64,
    hangup: u64,
    jitter: u64,
}

struct World {
    rng: Rng,
    now: u64,
    delay: u64,
    faults: Faults,
    client: Client,
    server: Option<Server>,
    config: Config,
    router: Router<()>,
    wire: BTreeMap<(u64, u64), Packet>,
    seq: u64,
    requests: u64,
    open_requests: Vec<(RequestId, u64)>,
    /// By stream and the side that writes: 0 the client.
    flows: BTreeMap<(u64, usize), Flow>,
    known: [Vec<StreamId>; 2],
    closed: [Option<CloseReason>; 2],
    closing: [bool; 2],
    full: [bool; 2],
    ghosts: Vec<Bytes>,
    polls: u64,
    lost_request: Option<u64>,
    lost_answer: Option<u64>,
    answers: u64,
    trace: bool,
}

fn byte(stream: u64, side: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8) ^ (stream * 77) ^ (side as u64 * 13)) as u8
}

fn config(rng: &mut Rng) -> Config {
    let base = Config::builder()
        .give_up(Duration::from_secs(20_000))
        .idle(Duration::from_secs(60_000));
    let requests = rng.pick(&[1u8, 2, 2, 3, 4, 8]);
    let hold = if requests > 2 { rng.pick(&[1, 2]) } else { 1 };
    let mut built = base
        .requests(requests)
        .hold(hold)
        .pool(rng.pick(&[64 << 10, 64 << 10, 100_000, 24 << 20]))
        .send_pool(rng.pick(&[0, 10, 40_000, 24 << 20]))
        .streams(rng.pick(&[16, 17, 2048]))
        .body_first(rng.pick(&[32 << 10, 64 << 10]))
        .body_max(rng.pick(&[64 << 10, 1_000_000]))
        .bundle_messages(rng.pick(&[1, 2, 10, u16::MAX, u16::MAX]))
        .build()
        .unwrap();
    match rng.below(10) {
        0 => {
            built.classic = true;
            built.learning = false;
            built.bundle_messages = 10;
            built.gather = Duration::from_secs(1);
            built.grace = Duration::ZERO;
        }
        1 => {
            built.learning = false;
            built.gather = Duration::ZERO;
        }
        _ => {}
    }
    built
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        let (config, server_config) = (config(&mut rng), config(&mut rng));
        // Half of them begin while the router can't vouch (A8).
        let start = rng.pick(&[0, 2000 * SEC]);
        let router_config = RouterConfig {
            linger: Duration::from_secs(1000),
            ..RouterConfig::default()
        };
        let id = SessionId::from_bytes([seed as u8; 16]);
        let delay = rng.pick(&[0, 10, MS, 10 * MS, 50 * MS, 300 * MS]);
        let level = rng.pick(&[0, 1, 5, 20, 50]);
        let mut some = |most: u64| rng.below(2) * rng.below(most + 1);
        let faults = Faults {
            lose: some(level),
            fail: some(level),
            double: some(level),
            damage: some(level),
            hangup: some(level),
            jitter: some(1) * some(2 * delay + 5 * MS),
        };
        World {
            now: start,
            delay,
            faults,
            client: Client::new(config, id, Instant::from_micros(start)),
            server: None,
            config: server_config,
            router: Router::new(router_config, Instance(1), Instant::ZERO),
            wire: BTreeMap::new(),
            seq: 0,
            requests: 0,
            open_requests: Vec::new(),
            flows: BTreeMap::new(),
            known: [Vec::new(), Vec::new()],
            closed: [None, None],
            closing: [false; 2],
            full: [false; 2],
            ghosts: Vec::new(),
            polls: 0,
            lost_request: None,
            lost_answer: None,
            answers: 0,
            trace: std::env::var("TRACE").is_ok(),
            rng,
        }
    }

    fn at(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    fn post(&mut self, packet: Packet) {
        let jitter = self.rng.below(self.faults.jitter + 1);
        self.seq += 1;
        self.wire
            .insert((self.now + self.delay + jitter, self.seq), packet);
    }
}

fn each_seed(session: fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let from = number("SEED").unwrap_or(0);
    let cases = number("CASES").unwrap_or(300);
    let mut bad = Vec::new();
    for seed in from..from + cases {
        if std::panic::catch_unwind(|| session(seed)).is_err() {
            std::eprintln!("SEED {seed}");
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "seeds that fail: {bad:?}");
}
