//! A random schedule of faults x random operations over one and several streams: L1 to L6 hold, and once the network
//! heals everything is delivered. PROPTEST_CASES says how many; the seed of a failure is printed with its trace.

use crate::drawn::{op, weather};
use posthole_protocol::Carrier;
use posthole_tests::chaos::{Op, Weather, run};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
    ) })]

    /// L1, L2, L3, L4, L5, L6, S7, S8, S14, S22: random operations under random faults.
    #[test]
    fn everything_is_delivered_in_the_end(weather in weather(), ops in prop::collection::vec(op(), 1..25)) {
        run(&weather, &ops);
    }
}

/// A19, C5: after a sleep, a doubt of a streamed answer was followed by a moment that had passed already, again and again.
#[test]
fn a19_both_machines_slept_beside_a_streamed_answer() {
    let weather = Weather {
        jitter: 64_074,
        hangups: false,
        ..Weather::fair(7_890_212_116_135_034_735)
    };
    let open = Op::Open {
        server: false,
        send: 0,
        chunk: 1,
        pace: 0,
        slow: false,
    };
    let sleep = |server, micros| Op::Sleep { server, micros };
    let pass = |micros| Op::Pass { micros };
    let ops = [
        pass(493_911),
        pass(747_270),
        sleep(true, 28_455_688),
        open,
        sleep(false, 27_001_144),
    ];
    run(&weather, &ops);
}

/// Each end had as many applications as the other, but for another stream that the other had not heard of yet.
#[test]
fn a_stream_on_its_way_each_way_is_not_the_end() {
    let weather = Weather {
        hangups: false,
        classic: true,
        direct: Some(false),
        ..Weather::fair(7_427_272_523_801_058_731)
    };
    let open = |server, send| Op::Open {
        server,
        send,
        chunk: 1,
        pace: 0,
        slow: false,
    };
    let ops = [
        open(false, 25_048),
        Op::Pass { micros: 1_125_000 },
        Op::Silence { micros: 0 },
        open(true, 0),
        open(false, 0),
        Op::Stop {
            server: false,
            which: 1,
        },
        Op::Silence { micros: 25_001 },
        Op::Reset {
            server: false,
            which: 0,
        },
        Op::Stop {
            server: true,
            which: 1,
        },
    ];
    run(&weather, &ops);
}

/// S9: what becomes due with a lower number than one that does not fit goes before it, and nobody said when.
#[test]
fn what_becomes_due_before_one_that_does_not_fit_is_told_in_time() {
    let weather = Weather {
        seed: 16787574025235592846,
        percent: 34,
        jitter: 13542,
        rate: Some(1261901),
        hangups: false,
        classic: false,
        carrier: Carrier::Streamed,
        direct: Some(false),
        streams: true,
        limit: None,
        lanes: None,
        hold: None,
        ..Weather::fair(0)
    };
    let ops = [
        Op::Open {
            server: false,
            send: 4010,
            chunk: 4010,
            pace: 0,
            slow: false,
        },
        Op::Kill,
        Op::Pass { micros: 233850 },
        Op::Open {
            server: true,
            send: 54335,
            chunk: 1668,
            pace: 1,
            slow: false,
        },
        Op::Open {
            server: true,
            send: 0,
            chunk: 1,
            pace: 0,
            slow: false,
        },
        Op::Open {
            server: true,
            send: 2049,
            chunk: 2049,
            pace: 0,
            slow: false,
        },
        Op::Pass { micros: 31193 },
    ];
    run(&weather, &ops);
}

/// L5: a message of a streamed answer went three times, none of them lost.
#[test]
fn a_message_of_a_streamed_answer_goes_twice_at_most() {
    let weather = Weather {
        seed: 12973740711552780134,
        percent: 52,
        jitter: 95917,
        rate: None,
        hangups: false,
        classic: false,
        carrier: Carrier::Streamed,
        direct: Some(false),
        streams: true,
        limit: None,
        lanes: None,
        hold: None,
        ..Weather::fair(0)
    };
    let ops = [
        Op::Pass { micros: 889812 },
        Op::Pass { micros: 590551 },
        Op::Pass { micros: 1925964 },
        Op::Pass { micros: 465559 },
        Op::Open {
            server: true,
            send: 15793,
            chunk: 115,
            pace: 23785,
            slow: false,
        },
        Op::Open {
            server: true,
            send: 39048,
            chunk: 290,
            pace: 0,
            slow: false,
        },
        Op::Pass { micros: 1152491 },
        Op::Pass { micros: 1329902 },
    ];
    run(&weather, &ops);
}
