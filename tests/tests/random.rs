//! A random schedule of faults x random operations over one and several streams: L1 to L6 hold, and once the network
//! heals everything is delivered. PROPTEST_CASES says how many; the seed of a failure is printed with its trace.
#![allow(missing_docs, clippy::unwrap_used)]

use posthole_tests::chaos::{Op, Weather, run};
use proptest::prelude::*;

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
