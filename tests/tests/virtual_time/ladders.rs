//! What both machines do, to the microsecond and the byte, is what they did when it was recorded in `tests/ladders`.
//!
//! The machines are pure: the same inputs give the same outputs. So whatever a change changes in what they do shows here, and a
//! change that is meant is recorded anew: `LADDERS=write cargo test -p posthole-tests --test virtual_time ladders::`. What is on a ladder is
//! right or wrong by other tests.

use crate::drawn::{op, weather};
use posthole_protocol::Carrier;
use posthole_tests::app::Script;
use posthole_tests::chaos::{Op, Weather, play};
use posthole_tests::{MS, SEC};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::fmt::Write;
use std::path::PathBuf;

/// How many are drawn, of which only the sums are kept.
const DRAWN: usize = 2_000;

const HOW: &str = "if that is meant, LADDERS=write records it, and its diff shows what it changes";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("ladders")
        .join(format!("{name}.txt"))
}

/// Compares with what is recorded, or records it.
fn compare(name: &str, is: &str) {
    let path = file(name);
    if std::env::var("LADDERS").is_ok_and(|what| what == "write") {
        return std::fs::write(path, is).unwrap();
    }
    let was = std::fs::read_to_string(&path).unwrap_or_default();
    let same = was
        .lines()
        .zip(is.lines())
        .take_while(|(was, is)| was == is);
    let at = same.count();
    let (was, now) = (was.lines().nth(at), is.lines().nth(at));
    assert!(
        was.is_none() && now.is_none(),
        "{}, line {}\nwas {}\nis  {}\n{HOW}",
        path.display(),
        at + 1,
        was.unwrap_or("the end"),
        now.unwrap_or("the end"),
    );
}

fn open(server: bool, send: u64, chunk: usize, pace: u64) -> Op {
    let slow = false;
    Op::Open {
        server,
        send,
        chunk,
        pace,
        slow,
    }
}

const fn pass(micros: u64) -> Op {
    Op::Pass { micros }
}

/// What is told line by line.
fn told() -> Vec<(&'static str, Weather, Vec<Op>)> {
    let fair = || Weather::fair(1);
    let by = |carrier| Weather { carrier, ..fair() };
    let direct = Weather {
        direct: Some(true),
        ..fair()
    };
    vec![
        (
            "a-word-each-way",
            fair(),
            vec![open(false, 5, 5, 0), pass(2 * SEC)],
        ),
        (
            "bulk-each-way",
            Weather {
                rate: Some(1_000_000),
                ..fair()
            },
            vec![
                open(false, 400_000, 50_000, 0),
                open(true, 10, 10, 0),
                pass(SEC),
                open(true, 300_000, 50_000, 0),
            ],
        ),
        (
            "direct",
            direct.clone(),
            vec![
                open(false, 50_000, 5_000, 10 * MS),
                pass(SEC),
                Op::CutWires,
                pass(400 * MS),
                open(false, 20_000, 5_000, 0),
                pass(SEC),
                Op::Swallow,
                open(false, 20_000, 100, MS),
                pass(10 * SEC),
            ],
        ),
        (
            "direct-never-heard-of",
            Weather {
                direct: None,
                ..fair()
            },
            vec![open(false, 1_000, 100, 200 * MS), pass(20 * SEC)],
        ),
        (
            "streamed",
            by(Carrier::Streamed),
            vec![
                open(false, 2_000, 100, 100 * MS),
                pass(2 * SEC),
                open(true, 2_000, 100, 50 * MS),
                pass(2 * SEC),
                open(true, 60_000, 20_000, 0),
                pass(2 * SEC),
                Op::Kill,
                open(true, 500, 100, 50 * MS),
            ],
        ),
        (
            "streamed-kept-back",
            Weather {
                streams: false,
                ..fair()
            },
            vec![
                open(true, 2_000, 100, 100 * MS),
                pass(10 * SEC),
                open(true, 500, 100, 50 * MS),
                pass(130 * SEC),
            ],
        ),
        (
            "bodies-are-limited",
            Weather {
                limit: Some(50_000),
                rate: Some(2_000_000),
                ..fair()
            },
            vec![
                open(false, 300_000, 50_000, 0),
                pass(3 * SEC),
                open(true, 300_000, 50_000, 0),
            ],
        ),
        (
            "holds-are-limited",
            Weather {
                hold: Some(6 * SEC),
                carrier: Carrier::Exchange,
                ..fair()
            },
            vec![pass(90 * SEC), open(true, 100, 10, 20 * MS), pass(SEC)],
        ),
        (
            "one-at-a-time",
            Weather {
                lanes: Some(1),
                carrier: Carrier::Exchange,
                ..fair()
            },
            vec![
                open(false, 3_000, 300, 100 * MS),
                pass(40 * SEC),
                open(true, 3_000, 300, 100 * MS),
                pass(40 * SEC),
            ],
        ),
        (
            "classic",
            Weather {
                classic: true,
                ..fair()
            },
            vec![
                open(false, 20_000, 1_000, 10 * MS),
                pass(3 * SEC),
                open(true, 20_000, 1_000, 10 * MS),
            ],
        ),
        (
            "classic-one-at-a-time",
            Weather {
                classic: true,
                lanes: Some(1),
                ..fair()
            },
            vec![
                open(false, 20_000, 1_000, 100 * MS),
                open(true, 20_000, 1_000, 100 * MS),
                pass(10 * SEC),
            ],
        ),
        (
            "direct-from-the-beginning",
            Weather {
                knows: true,
                ..direct
            },
            vec![
                open(false, 20_000, 1_000, 10 * MS),
                pass(SEC),
                open(true, 20_000, 1_000, 10 * MS),
                pass(SEC),
                Op::CutWires,
                pass(SEC),
            ],
        ),
        (
            "direct-hoped-for",
            Weather {
                knows: true,
                direct: None,
                ..fair()
            },
            vec![open(false, 20_000, 1_000, 10 * MS), pass(10 * SEC)],
        ),
        (
            "only-forms",
            fair(),
            vec![
                open(false, 100, 10, MS),
                pass(SEC),
                Op::Forms,
                open(false, 100, 10, MS),
                pass(10 * SEC),
                Op::Forms,
                open(false, 100, 10, MS),
                pass(SEC),
            ],
        ),
        (
            "three-of-ten-fail",
            Weather {
                percent: 30,
                carrier: Carrier::Exchange,
                ..fair()
            },
            vec![
                open(false, 30_000, 1_000, 10 * MS),
                open(true, 10_000, 1_000, 10 * MS),
                pass(SEC),
                open(true, 20_000, 500, 0),
            ],
        ),
        (
            "silence-and-sleep",
            by(Carrier::Exchange),
            vec![
                open(false, 5_000, 100, 20 * MS),
                pass(300 * MS),
                Op::Silence { micros: 9 * SEC },
                pass(10 * SEC),
                Op::Kill,
                open(true, 1_000, 100, 0),
                Op::Sleep {
                    server: false,
                    micros: 40 * SEC,
                },
                pass(SEC),
            ],
        ),
        (
            "given-up-and-slow",
            fair(),
            vec![
                Op::Open {
                    server: false,
                    send: 60_000,
                    chunk: 20_000,
                    pace: 0,
                    slow: true,
                },
                open(false, 60_000, 1_000, 10 * MS),
                pass(200 * MS),
                Op::Reset {
                    server: false,
                    which: 0,
                },
                Op::Stop {
                    server: false,
                    which: 1,
                },
                pass(SEC),
            ],
        ),
    ]
}

/// Who ends the session, at the end of a ladder.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Client,
    Server,
    Both,
    Aborts,
}

fn end(number: usize) -> Ends {
    [Ends::Client, Ends::Server, Ends::Both, Ends::Aborts][number % 4]
}

/// Plays them, and then the end of the session with bytes on the way.
fn ladder(weather: &Weather, ops: &[Op], ends: Ends) -> (u64, u32, String) {
    let mut pair = play(weather, ops, |pair| pair.net.trace.keep_all());
    pair.client().play(Script::bulk(20_000));
    pair.settle();
    if matches!(ends, Ends::Client | Ends::Both) {
        pair.client().machine.close(7, "that was it");
    }
    if let (Ends::Server | Ends::Both, Some(server)) = (ends, pair.server()) {
        server.machine.close(8, "enough");
    }
    if matches!(ends, Ends::Aborts) {
        pair.client().machine.abort();
    }
    pair.settle();
    pair.run_for(60 * SEC);
    let client = pair.client().closed.clone();
    let server = pair.server().and_then(|server| server.closed.clone());
    let now = pair.now;
    let line = format!("{ends:?} ended it: c0 {client:?}, s0 {server:?}");
    pair.net.trace.line(now, line);
    let (lines, sum) = pair.net.trace.sum();
    (lines, sum, pair.net.trace.text())
}

#[test]
fn told_ones_go_as_they_went() {
    for (number, (name, weather, ops)) in told().into_iter().enumerate() {
        let (_, sum, text) = ladder(&weather, &ops, end(number));
        compare(name, &format!("{text}sum {sum:08x}\n"));
    }
}

/// Much at once, over paths of every length and width: what is learned of them.
fn bulk() -> impl Iterator<Item = (Weather, Vec<Op>)> {
    let rates = [
        None,
        Some(200_000),
        Some(1_000_000),
        Some(10_000_000),
        Some(100_000_000),
    ];
    let delays = [500, 5_000, 25_000, 100_000, 300_000];
    let carriers = [Carrier::Auto, Carrier::Exchange, Carrier::Streamed];
    let limits = [None, None, Some(100_000), Some(300_000)];
    (0..120).map(move |n| {
        let weather = Weather {
            rate: rates[n % 5],
            delay: delays[n / 5 % 5],
            carrier: carriers[n % 3],
            limit: limits[n % 4],
            direct: Some(n % 7 == 0),
            percent: [0, 0, 3][n / 2 % 3],
            requests: [None, None, None, Some(2), Some(8)][n / 3 % 5],
            ..Weather::fair(n as u64)
        };
        // What some ten seconds carry.
        let size = rates[n % 5].map_or(2_000_000, |rate: u64| (10 * rate).min(3_000_000));
        let ops = vec![
            pass(2 * SEC),
            open(n % 2 == 0, size, 100_000, 0),
            pass(3 * SEC),
            open(n % 2 == 1, size / 4, 30_000, 0),
            open(true, 300, 10, 50 * MS),
            pass(SEC),
        ];
        (weather, ops)
    })
}

#[test]
fn bulk_goes_as_it_went() {
    let asked = std::env::var("LADDER").ok();
    let mut sums = String::new();
    for (number, (weather, ops)) in bulk().enumerate() {
        let (lines, sum, text) = ladder(&weather, &ops, end(number));
        writeln!(sums, "{number}: {lines} lines, {sum:08x}").unwrap();
        if asked
            .as_ref()
            .is_some_and(|asked| *asked == format!("bulk{number}"))
        {
            println!("{text}");
        }
    }
    compare("bulk", &sums);
}

/// `LADDER=NUMBER` prints one, `LADDER=bulkNUMBER` one of the others.
#[test]
fn drawn_ones_go_as_they_went() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let drawn = (weather(), prop::collection::vec(op(), 1..25));
    let asked = std::env::var("LADDER").ok();
    let mut sums = String::new();
    for number in 0..DRAWN {
        let (weather, ops) = drawn.new_tree(&mut runner).unwrap().current();
        let (lines, sum, text) = ladder(&weather, &ops, end(number));
        writeln!(sums, "{number}: {lines} lines, {sum:08x}").unwrap();
        if asked
            .as_ref()
            .is_some_and(|asked| *asked == number.to_string())
        {
            println!("{text}");
        }
    }
    compare("drawn", &sums);
}
