//! Weathers and operations, drawn by chance.

use posthole_protocol::Carrier;
use posthole_tests::chaos::{Op, Weather};
use proptest::prelude::*;

/// What happens next.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (any::<bool>(), 0u64..60_000, 1usize..20_000, 0u64..30_000, any::<bool>())
            .prop_map(|(server, send, chunk, pace, slow)| Op::Open { server, send, chunk, pace, slow }),
        1 => (any::<bool>(), 0usize..8).prop_map(|(server, which)| Op::Reset { server, which }),
        1 => (any::<bool>(), 0usize..8).prop_map(|(server, which)| Op::Stop { server, which }),
        8 => (0u64..2_000_000).prop_map(|micros| Op::Pass { micros }),
        1 => Just(Op::Kill),
        1 => (0u64..8_000_000).prop_map(|micros| Op::Silence { micros }),
        1 => Just(Op::CutWires),
        1 => Just(Op::Swallow),
        1 => Just(Op::Forms),
        1 => (any::<bool>(), 0u64..40_000_000).prop_map(|(server, micros)| Op::Sleep { server, micros }),
    ]
}

/// What is on the way besides faults.
fn boxes() -> impl Strategy<Value = Weather> {
    let carrier = prop_oneof![
        4 => Just(Carrier::Auto),
        1 => Just(Carrier::Streamed),
        1 => Just(Carrier::Exchange),
    ];
    let direct = prop_oneof![3 => Just(Some(false)), 2 => Just(Some(true)), 1 => Just(None)];
    let limit = prop_oneof![4 => Just(None), 1 => (40_000usize..300_000).prop_map(Some)];
    let lanes = prop_oneof![6 => Just(None), 1 => (1usize..4).prop_map(Some)];
    let hold = prop_oneof![6 => Just(None), 1 => (3_000_000u64..20_000_000).prop_map(Some)];
    (carrier, direct, any::<bool>(), limit, lanes, hold).prop_map(
        |(carrier, direct, streams, limit, lanes, hold)| Weather {
            carrier,
            direct,
            streams,
            limit,
            lanes,
            hold,
            ..Weather::fair(0)
        },
    )
}

/// What is on the way, faults included.
pub(crate) fn weather() -> impl Strategy<Value = Weather> {
    let rate = prop_oneof![3 => Just(None), 1 => (50_000u64..2_000_000).prop_map(Some)];
    let delay = prop_oneof![3 => Just(25_000u64), 1 => 500u64..5_000, 2 => 5_000u64..300_000];
    let faults = (
        any::<u64>(),
        0u64..60,
        0u64..200_000,
        rate,
        any::<bool>(),
        delay,
    );
    let requests = prop_oneof![4 => Just(None), 1 => (1u8..=12).prop_map(Some)];
    let pool = prop_oneof![4 => Just(None), 1 => (65_536u64..1_000_000).prop_map(Some)];
    let ends = (prop::bool::weighted(0.1), requests, pool, any::<bool>());
    (faults, ends, boxes()).prop_map(|(faults, (classic, requests, pool, knows), boxes)| {
        let (seed, percent, jitter, rate, hangups, delay) = faults;
        Weather {
            delay,
            knows,
            requests,
            pool,
            seed,
            percent,
            jitter,
            rate,
            hangups,
            classic,
            ..boxes
        }
    })
}
