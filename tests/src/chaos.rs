//! Random operations under random faults: what the property tests and the fuzzer's pair have in common.

use crate::app::{Reading, Script};
use crate::fault::{Fate, Fault, Outage};
use crate::net::Conditions;
use crate::oracle::{FlowKey, Side};
use crate::pair::Pair;
use crate::rng::Rng;
use crate::{MS, SEC, settings};
use posthole_protocol::{
    Carrier, Config, ConfigBuilder, Duration, Failure, Instant, ReadError, ResetCode, WriteError,
};

/// What an application, or the world, does next.
#[derive(Clone, Debug)]
pub enum Op {
    /// A stream is opened and written to.
    Open {
        /// By the server.
        server: bool,
        /// Bytes.
        send: u64,
        /// Bytes at once.
        chunk: usize,
        /// Microseconds between writes.
        pace: u64,
        /// Whether what comes back is read slowly.
        slow: bool,
    },
    /// A side resets what it writes.
    Reset {
        /// The server does.
        server: bool,
        /// Which of its streams.
        which: usize,
    },
    /// A side stops what it reads.
    Stop {
        /// The server does.
        server: bool,
        /// Which of its streams.
        which: usize,
    },
    /// Time passes.
    Pass {
        /// Microseconds.
        micros: u64,
    },
    /// All connections are reset.
    Kill,
    /// Nothing gets through and nobody is told.
    Silence {
        /// Microseconds.
        micros: u64,
    },
    /// All direct connections are cut.
    CutWires,
    /// What is on direct connections vanishes from now on, and nobody is told; or not any more.
    Swallow,
    /// A firewall begins to let only form uploads pass, or ceases to.
    Forms,
    /// A side's machine sleeps.
    Sleep {
        /// The server's.
        server: bool,
        /// Microseconds.
        micros: u64,
    },
}

/// How bad the path is.
#[derive(Clone, Debug)]
pub struct Weather {
    /// What all chance comes from.
    pub seed: u64,
    /// How many of a hundred exchanges meet a fault.
    pub percent: u64,
    /// Microseconds of extra delay at most.
    pub jitter: u64,
    /// Bytes per second each way.
    pub rate: Option<u64>,
    /// Whether servers hear that clients have gone.
    pub hangups: bool,
    /// Whether both sides keep the source's own schedule.
    pub classic: bool,
    /// What carries it, where that is not classic.
    pub carrier: Carrier,
    /// Whether a direct connection can be made; `None`: whoever tries hears nothing.
    pub direct: Option<bool>,
    /// Whether boxes give answers on as they come.
    pub streams: bool,
    /// The largest body that boxes let through either way, in bytes.
    pub limit: Option<usize>,
    /// How many exchanges they let through at a time.
    pub lanes: Option<usize>,
    /// Microseconds after which they answer in the server's place.
    pub hold: Option<u64>,
    /// Microseconds one way.
    pub delay: u64,
    /// Whether the client knows beforehand where to make direct connections, where that is not classic.
    pub knows: bool,
    /// How many exchanges may be open at once, if not as many as by default.
    pub requests: Option<u8>,
    /// Bytes that either side takes in beyond what each stream owns, if not as many as by default.
    pub pool: Option<u64>,
}

impl Weather {
    /// Fair, for sessions as they are by default.
    pub fn fair(seed: u64) -> Weather {
        Weather {
            seed,
            percent: 0,
            jitter: 0,
            rate: None,
            hangups: true,
            classic: false,
            carrier: Carrier::Auto,
            direct: Some(false),
            streams: true,
            limit: None,
            lanes: None,
            hold: None,
            delay: 25_000,
            knows: false,
            requests: None,
            pool: None,
        }
    }

    /// The configuration that it asks of one side.
    fn config(&self, mut builder: ConfigBuilder) -> Config {
        if let Some(requests) = self.requests {
            builder = builder.requests(requests);
        }
        if let Some(pool) = self.pool {
            builder = builder.pool(pool).send_pool(pool);
        }
        builder.build().expect("weathers are in bounds")
    }
}

fn fault(rng: &mut Rng, percent: u64) -> Fault {
    if !rng.percent(percent) {
        return Fault::NONE;
    }
    let place = rng.below(1000);
    match rng.below(12) {
        0 => Fault::request(Fate::Lose),
        1 => Fault::response(Fate::Lose),
        2 => Fault::request(Fate::Fail(Failure::Cut)),
        3 => Fault::response(Fate::Fail(Failure::Cut)),
        4 => Fault::request(Fate::Fail(Failure::Middlebox { status: 502 })),
        5 => Fault::response(Fate::Fail(Failure::Middlebox { status: 502 })),
        6 => Fault::request(Fate::Cut(place)),
        7 => Fault::response(Fate::Cut(place)),
        8 => Fault::request(Fate::Corrupt(place)),
        9 => Fault::response(Fate::Corrupt(place)),
        10 => Fault::twice(rng.below(2 * SEC), rng.percent(50)),
        _ => Fault {
            request_delay: rng.below(3 * SEC),
            response_delay: rng.below(3 * SEC),
            ..Fault::NONE
        },
    }
}

fn script(send: u64, chunk: usize, pace: u64, slow: bool) -> Script {
    let script = Script::paced(send, chunk, pace);
    if slow {
        script.reading(Reading::Slow {
            max: 3_000,
            every: 20 * MS,
        })
    } else {
        script
    }
}

fn apply(pair: &mut Pair, op: &Op) {
    match *op {
        Op::Open {
            server,
            send,
            chunk,
            pace,
            slow,
        } => match (server, pair.server()) {
            (true, Some(end)) => end.play(script(send, chunk, pace, slow)),
            _ => pair.client().play(script(send, chunk, pace, slow)),
        },
        Op::Reset { server, which } => give_up(pair, server, which, true),
        Op::Stop { server, which } => give_up(pair, server, which, false),
        Op::Pass { micros } => pair.run_for(micros),
        Op::Kill => pair.net.kill(pair.now),
        Op::Silence { micros } => {
            let outage = Outage {
                from: pair.now,
                until: pair.now + micros,
                fate: Fate::Lose,
            };
            pair.net.conditions.outages.push(outage);
        }
        Op::CutWires => pair.net.cut_direct(pair.now),
        Op::Swallow if pair.net.direct.swallow => pair.net.direct.swallow = false,
        Op::Swallow => pair.net.swallow_direct(pair.now),
        Op::Forms => {
            let only = &mut pair.net.conditions.only_forms;
            *only = only.is_none().then_some(403);
        }
        Op::Sleep { server, micros } => {
            let side = if server { Side::Server } else { Side::Client };
            pair.sleep(side, micros);
            pair.net.tally.excused += 1;
        }
    }
    pair.settle();
}

/// One side resets what it writes, or stops what it reads, of one of its streams.
fn give_up(pair: &mut Pair, server: bool, which: usize, reset: bool) {
    let side = if server { Side::Server } else { Side::Client };
    let code = which as u32 + 40;
    let Pair {
        clients,
        hosts,
        ledger,
        ..
    } = pair;
    macro_rules! at {
        ($end:expr) => {{
            let end = $end;
            let Some(id) = end.talkers.keys().nth(which).copied() else {
                return;
            };
            let key = FlowKey {
                session: 0,
                stream: id.number(),
                from: side,
            };
            let Some(mut stream) = end.machine.stream(id) else {
                return;
            };
            let talker = end.talkers.get_mut(&id).expect("it was found by its key");
            if reset && !ledger.flow(key).finished && talker.write_error.is_none() {
                stream.reset(ResetCode(code));
                ledger.reset(key, code);
                talker.write_error = Some(WriteError::Finished);
            } else if !reset && talker.read_error.is_none() {
                let key = FlowKey {
                    from: side.peer(),
                    ..key
                };
                if !ledger.flow(key).ended {
                    stream.stop(ResetCode(code));
                    ledger.stopped(key, code);
                    talker.read_error = Some(ReadError::Stopped);
                }
            }
        }};
    }
    if server {
        let Some(index) = hosts[0].session_of(0) else {
            return;
        };
        at!(&mut hosts[0].sessions[index]);
    } else {
        at!(&mut clients[0]);
    }
}

/// A stream is written within a minute, and in classic mode, where a write is a message and ten are a bundle, in
/// pieces that are not tiny.
fn bounded(mut op: Op, classic: bool) -> Op {
    if let Op::Open {
        send, chunk, pace, ..
    } = &mut op
    {
        *chunk = (*chunk).max(if classic { 1_000 } else { 1 });
        *pace = (*pace).min(60 * SEC / (*send / *chunk as u64 + 1));
    }
    op
}

/// A machine that was moved to another zero says and waits for the same, by as much earlier.
macro_rules! check_moved {
    ($machine:expr, $now:expr, $poll:ident) => {{
        let (mut plain, mut moved) = ($machine.clone(), $machine.clone());
        let zero = plain.earliest().min($now);
        let back = |at: Instant| Instant::from_micros(at.as_micros() - zero.as_micros());
        moved.rebase(zero);
        assert_eq!(moved.next_timeout(), plain.next_timeout().map(back));
        let at = plain.next_timeout().unwrap_or($now).max($now);
        plain.feed_timeout(at);
        moved.feed_timeout(back(at));
        while let Some(said) = plain.$poll(at) {
            assert_eq!(moved.$poll(back(at)), Some(said));
        }
        plain.rebase(zero);
        moved.rebase(Instant::from_micros(0));
        assert!(moved == plain, "moved by {zero}");
    }};
}

/// What both ends know, as a line of the ladder.
fn note(pair: &mut Pair, what: &str) {
    let now = Instant::from_micros(pair.now);
    check_moved!(pair.client().machine, now, poll_request);
    if let Some(server) = pair.server() {
        check_moved!(server.machine, now, poll_response);
    }
    let end = pair.client();
    let client = format!(
        "c0 {what}: next {:?}, {:?}, {:?}, {:?}",
        end.machine.next_timeout(),
        end.machine.learned(),
        end.machine.stats(),
        end.events,
    );
    let server = pair.server().map(|end| {
        let (next, stats) = (end.machine.next_timeout(), end.machine.stats());
        format!("s0 {what}: next {next:?}, {stats:?}")
    });
    let now = pair.now;
    pair.net.trace.line(now, client);
    if let Some(server) = server {
        pair.net.trace.line(now, server);
    }
}

/// As [`play`], for who doesn't ask what happened.
///
/// # Panics
/// As [`play`].
pub fn run(weather: &Weather, ops: &[Op]) {
    play(weather, ops, |_| {});
}

/// Plays the operations under the weather, then heals the network: L1 to L6 hold all along, and everything is
/// delivered in the end. `prepare` is done before.
///
/// # Panics
/// If any of that is not so.
pub fn play(weather: &Weather, ops: &[Op], prepare: impl FnOnce(&mut Pair)) -> Pair {
    let mut pair = if weather.classic {
        Pair::with(weather.seed, settings::classic())
    } else {
        let client = weather.config(Config::builder().carrier(weather.carrier));
        let server = weather.config(Config::builder().direct_port(Some(7)));
        Pair::many(weather.seed, 1, client, server)
    };
    prepare(&mut pair);
    pair.net.direct.allowed = weather.direct;
    let ops: Vec<Op> = ops
        .iter()
        .map(|op| bounded(op.clone(), weather.classic))
        .collect();
    (pair.net.direct.delay, pair.net.direct.rate) = (weather.delay, weather.rate);
    let weather_alone = Conditions {
        delay_up: weather.delay,
        delay_down: weather.delay,
        jitter: weather.jitter,
        hangups: weather.hangups,
        streams: weather.streams,
        ..Conditions::default()
    };
    pair.net.conditions = Conditions {
        limit_up: weather.limit,
        limit_down: weather.limit,
        lanes: weather.lanes,
        hold_limit: weather.hold,
        ..weather_alone.clone()
    };
    pair.net.set_rate(weather.rate, weather.rate);
    if weather.lanes.is_some() {
        // What waits in a box behind what a server holds says nothing for seconds; both sides think it lost.
        pair.net.tally.excused = 4;
    }
    if weather.knows && !weather.classic {
        let (now, head_start) = (Instant::from_micros(pair.now), Duration::from_millis(300));
        pair.client().machine.knows_direct(now, head_start);
    }
    pair.serve(script(10_000, 3_000, 5 * MS, false));
    pair.client().on_accept = Some(script(10_000, 3_000, 5 * MS, false));
    let mut rng = Rng::new(weather.seed);
    let percent = weather.percent;
    pair.net.rule = Box::new(move |_| fault(&mut rng, percent));
    for op in &ops {
        apply(&mut pair, op);
        note(&mut pair, &format!("after {op:?}"));
        assert!(
            pair.client().closed.is_none(),
            "closed: {:?}",
            pair.client().closed
        );
    }
    pair.net.heal();
    pair.net.conditions = weather_alone;
    pair.run_to_end(600 * SEC);
    note(&mut pair, "has delivered everything");
    // At rest: silence costs one exchange per wait (L5), and the server holds one (L3).
    let awake = |pair: &Pair| {
        let servers = pair.hosts.iter().flat_map(|host| &host.sessions);
        let servers = servers.map(|end| end.asleep_until);
        let clients = pair.clients.iter().map(|end| end.asleep_until);
        servers.chain(clients).all(|until| until <= pair.now)
    };
    pair.run_until(600 * SEC, awake);
    pair.run_for(30 * SEC);
    assert!(
        weather.classic
            || weather.direct == Some(true)
            || pair.net.held() >= 1
            || pair.net.open(0) >= 1,
        "nothing is outstanding at rest (S4)"
    );
    let before = pair.net.tally.exchanges(0);
    pair.run_for(120 * SEC);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(
        cost <= 120 / 5 + 3,
        "{cost} exchanges in two minutes of silence"
    );
    note(&mut pair, "at rest");
    pair
}
