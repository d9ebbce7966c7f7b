//! Long silences, storms of failures, clocks that jump (D7, A6, A19).

use posthole_protocol::Failure;
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault, Outage};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC};

fn talk(seed: u64) -> Pair {
    let mut pair = Pair::new(seed);
    pair.serve(Script::paced(100_000, 500, 200 * MS));
    pair.client().play(Script::paced(100_000, 500, 200 * MS));
    pair.run_for(5 * SEC);
    pair
}

fn out(pair: &mut Pair, seconds: u64, fate: Fate) {
    let from = pair.now;
    pair.net.conditions.outages.push(Outage {
        from,
        until: from + seconds * SEC,
        fate,
    });
}

/// D7: forty seconds of 502, or of refused connections, are survived, and cost no storm.
#[test]
fn forty_seconds_of_failures() {
    for why in [
        Failure::Middlebox { status: 502 },
        Failure::Connect,
        Failure::Cut,
    ] {
        let mut pair = talk(1);
        out(&mut pair, 40, Fate::Fail(why));
        let before = pair.net.tally.exchanges(0);
        pair.run_for(40 * SEC);
        let cost = pair.net.tally.exchanges(0) - before;
        assert!(cost <= 120, "{cost} exchanges in forty seconds of {why}");
        pair.run_to_end(300 * SEC);
    }
}

/// D7: after an outage the talk goes on within seconds, not after a patience.
#[test]
fn talk_resumes_soon_after_an_outage() {
    let mut pair = talk(2);
    out(
        &mut pair,
        40,
        Fate::Fail(Failure::Middlebox { status: 502 }),
    );
    pair.run_for(40 * SEC);
    let read = pair.ledger.total_read();
    assert!(
        pair.run_until(8 * SEC, |p| p.ledger.total_read() > read),
        "still nothing after eight seconds"
    );
}

/// D7: 59 seconds of silence are survived.
#[test]
fn a_minute_of_silence() {
    let mut pair = talk(3);
    out(&mut pair, 59, Fate::Lose);
    pair.run_to_end(400 * SEC);
}

/// D7: the connections are reset every so often, for a minute.
#[test]
fn resets_all_the_time() {
    for hangups in [true, false] {
        let mut pair = talk(4);
        pair.net.conditions.hangups = hangups;
        let mut rng = posthole_tests::rng::Rng::new(4);
        for _ in 0..60 {
            let pause = 200 * MS + rng.below(1800 * MS);
            pair.run_for(pause);
            pair.net.kill(pair.now);
        }
        pair.run_to_end(300 * SEC);
    }
}

/// D7, A6: two hundred numbers are burnt in failures; the next one is taken.
#[test]
fn burnt_numbers() {
    let mut pair = talk(5);
    let first = pair.net.tally.exchanges(0);
    let mut left = 200;
    pair.net.rule = Box::new(move |_| {
        left -= 1;
        if left > 0 {
            Fault::request(Fate::Fail(Failure::Connect))
        } else {
            Fault::NONE
        }
    });
    let burnt = pair.run_until(85 * SEC, |p| p.net.tally.exchanges(0) >= first + 200);
    pair.net.heal();
    assert!(
        burnt || pair.net.tally.exchanges(0) > first + 10,
        "failures are hardly tried again"
    );
    pair.run_to_end(400 * SEC);
}

/// D7, A19: a laptop sleeps for an hour: less than the server's idle passes at the server, or the session would be
/// gone. Here both clocks jump.
#[test]
fn both_sleep_for_an_hour() {
    for (client, server) in [(3600, 3600), (200, 0), (0, 3600)] {
        let mut pair = talk(6);
        pair.sleep(Side::Client, client * SEC);
        pair.sleep(Side::Server, server * SEC);
        // Whoever is awake may well give up on the other (S9), but not whoever slept.
        let both = client == server || client == 200;
        pair.run_for(client.max(server) * SEC + 5 * SEC);
        if both {
            assert_eq!(pair.client().closed, None);
            pair.run_to_end(400 * SEC);
        } else {
            assert_eq!(
                pair.server().unwrap().closed,
                None,
                "the sleeper gave up before it tried"
            );
        }
    }
}

/// D7, A25: an origin that restarts behind a box; the session is idle meanwhile and costs little.
#[test]
fn failing_path_while_idle() {
    let mut pair = Pair::new(7);
    pair.serve(Script::sink().open_ended());
    pair.client().play(Script::sink().open_ended());
    pair.run_for(30 * SEC);
    out(
        &mut pair,
        60,
        Fate::Fail(Failure::Middlebox { status: 503 }),
    );
    let before = pair.net.tally.exchanges(0);
    pair.run_for(60 * SEC);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(
        (5..=120).contains(&cost),
        "{cost} exchanges in a minute of 503"
    );
    let after = pair.net.tally.exchanges(0);
    pair.run_for(600 * SEC);
    let cost = pair.net.tally.exchanges(0) - after;
    assert!(
        cost <= 600 / 12 + 5,
        "{cost} exchanges in ten minutes after it"
    );
}
