//! Where nothing is lost, nothing waits for a timer: whatever is written at whatever pace arrives within a few round trips
//! (S3, S4, S20).

use posthole_protocol::{Carrier, Config};
use posthole_tests::app::Script;
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::{MS, SEC, settings};

/// And whether there are direct connections.
const CARRIERS: [(Carrier, bool); 4] = [
    (Carrier::Auto, true),
    (Carrier::Auto, false),
    (Carrier::Streamed, false),
    (Carrier::Exchange, false),
];

/// No byte takes longer than `most`, in microseconds.
fn plays(
    seed: u64,
    (carrier, direct): (Carrier, bool),
    delay: u64,
    up: Script,
    down: Script,
    most: u64,
) {
    let client = Config::builder().carrier(carrier).build().unwrap();
    let mut pair = Pair::many(seed, 1, client, settings::direct());
    pair.net.direct.allowed = Some(direct);
    pair.net.direct.delay = delay;
    pair.net.conditions.delay_up = delay;
    pair.net.conditions.delay_down = delay;
    // What is learned at first is learned of a stream that does nothing.
    pair.serve(Script::bulk(1));
    pair.client().play(Script::bulk(1));
    pair.run_for(5 * SEC);
    let first = pair.talker().stream;
    pair.server().unwrap().on_accept = Some(down);
    pair.client().play(up);
    pair.run_for(0);
    let stream = *pair.client().talkers.keys().find(|s| **s != first).unwrap();
    let flows = [Side::Client, Side::Server].map(|side| pair.key(stream, side));
    let lag = |pair: &Pair| {
        flows
            .iter()
            .map(|f| pair.ledger.flow(*f).worst_lag)
            .max()
            .unwrap()
    };
    let late = pair.run_until(4 * SEC, |pair| lag(pair) > most);
    let lag = lag(&pair);
    assert!(
        !late,
        "case {seed}: {carrier:?}, {} ms: {} ms late, {up:?} {down:?}",
        delay / MS,
        lag / MS
    );
}

#[test]
fn nothing_waits_for_a_timer() {
    let mut rng = Rng::new(11);
    for case in 0..200 {
        let carrier = CARRIERS[rng.below(4) as usize];
        let delay = [MS / 10, MS, 10 * MS, 75 * MS][rng.below(4) as usize];
        // Bytes per microsecond: on a long path as many as need no time to get there.
        let rate = if delay > 10 * MS { 3 } else { 50 };
        let mut script = || {
            let chunk = [1, 100, 3_000, 20_000, 100_000, 400_000][rng.below(6) as usize];
            let slowest = [10, 50, 200][rng.below(3) as usize] * MS;
            let pace = 1 + rng.below(slowest);
            let all = if rng.percent(40) { 0 } else { u64::MAX / 2 };
            Script::paced(all, chunk, pace.max(chunk as u64 / rate)).open_ended()
        };
        let (up, down) = (script(), script());
        // Four round trips, in which bodies grow, and a server's grace.
        plays(case, carrier, delay, up, down, 8 * delay + 25 * MS);
    }
}
