//! A random schedule of faults x random operations over one and several streams: L1 to L6 hold, and once the network
//! heals everything is delivered. PROPTEST_CASES says how many; the seed of a failure is printed with its trace.
#![allow(missing_docs, clippy::unwrap_used)]

use posthole_protocol::{Failure, ReadError, ResetCode};
use posthole_tests::app::{Reading, Script};
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::{MS, SEC, settings};
use proptest::prelude::*;

/// What an application, or the world, does next.
#[derive(Clone, Debug)]
enum Op {
    Open {
        server: bool,
        send: u64,
        chunk: usize,
        pace: u64,
        slow: bool,
    },
    Reset {
        server: bool,
        which: usize,
    },
    Stop {
        server: bool,
        which: usize,
    },
    Pass {
        micros: u64,
    },
    Kill,
    Silence {
        micros: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (any::<bool>(), 0u64..60_000, 1usize..20_000, 0u64..30_000, any::<bool>())
            .prop_map(|(server, send, chunk, pace, slow)| Op::Open { server, send, chunk, pace, slow }),
        1 => (any::<bool>(), 0usize..8).prop_map(|(server, which)| Op::Reset { server, which }),
        1 => (any::<bool>(), 0usize..8).prop_map(|(server, which)| Op::Stop { server, which }),
        8 => (0u64..2_000_000).prop_map(|micros| Op::Pass { micros }),
        1 => Just(Op::Kill),
        1 => (0u64..8_000_000).prop_map(|micros| Op::Silence { micros }),
    ]
}

/// How bad the path is.
#[derive(Clone, Debug)]
struct Weather {
    seed: u64,
    percent: u64,
    jitter: u64,
    rate: Option<u64>,
    hangups: bool,
    classic: bool,
}

fn weather() -> impl Strategy<Value = Weather> {
    let rate = prop_oneof![3 => Just(None), 1 => (50_000u64..2_000_000).prop_map(Some)];
    (
        any::<u64>(),
        0u64..60,
        0u64..200_000,
        rate,
        any::<bool>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(seed, percent, jitter, rate, hangups, classic)| Weather {
            seed,
            percent,
            jitter,
            rate,
            hangups,
            classic,
        })
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
            let outage = posthole_tests::fault::Outage {
                from: pair.now,
                until: pair.now + micros,
                fate: Fate::Lose,
            };
            pair.net.conditions.outages.push(outage);
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
            let key = posthole_tests::oracle::FlowKey {
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
                talker.write_error = Some(posthole_protocol::WriteError::Finished);
            } else if !reset && talker.read_error.is_none() {
                let key = posthole_tests::oracle::FlowKey {
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

/// L1 to L6 over any schedule.
fn run(weather: &Weather, ops: &[Op]) {
    let config = if weather.classic {
        settings::classic()
    } else {
        settings::tuned()
    };
    let mut pair = Pair::with(weather.seed, config);
    pair.net.conditions.jitter = weather.jitter;
    pair.net.conditions.hangups = weather.hangups;
    pair.net.set_rate(weather.rate, weather.rate);
    pair.serve(script(10_000, 3_000, 5 * MS, false));
    pair.client().on_accept = Some(script(10_000, 3_000, 5 * MS, false));
    let mut rng = Rng::new(weather.seed);
    let percent = weather.percent;
    pair.net.rule = Box::new(move |_| fault(&mut rng, percent));
    for op in ops {
        apply(&mut pair, op);
        assert!(
            pair.client().closed.is_none(),
            "closed: {:?}",
            pair.client().closed
        );
    }
    pair.net.heal();
    pair.run_to_end(600 * SEC);
    // At rest: silence costs one exchange per wait (L5), and the server holds one (L3).
    pair.run_for(30 * SEC);
    assert!(
        weather.classic || pair.net.held() >= 1 || pair.net.open(0) >= 1,
        "nothing is outstanding at rest (S4)"
    );
    let before = pair.net.tally.exchanges(0);
    pair.run_for(120 * SEC);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(
        cost <= 120 / 5 + 3,
        "{cost} exchanges in two minutes of silence"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
    ) })]

    /// L1, L2, L3, L4, L5, L6, S7, S8, S14, S22: random operations under random faults.
    #[test]
    fn everything_is_delivered_in_the_end(weather in weather(), ops in prop::collection::vec(op(), 1..25)) {
        run(&weather, &ops);
    }
}
