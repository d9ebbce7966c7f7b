//! Silence costs one exchange a wait, and ends the moment somebody speaks (S3, S4, S22, D4).

use posthole_protocol::Config;
use posthole_protocol::wire::Content;
use posthole_tests::app::{Reading, Script};
use posthole_tests::craft::{FakeClient, FakeServer, data};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::settings::{self, Settings};
use posthole_tests::{MS, SEC};

/// The shortest wait that the default grows from, in seconds.
const WAIT: u64 = 12;

/// S4, S22, D4: an hour's silence costs one exchange per wait; a keystroke after it leaves at once, either way.
#[test]
fn an_hour_of_silence() {
    let mut pair = Pair::new(1);
    pair.serve(Script::sink().open_ended());
    pair.client().play(Script::sink().open_ended());
    pair.run_for(10 * SEC);
    let before = pair.net.tally.exchanges(0);
    pair.run_for(3600 * SEC);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(
        cost <= 3600 / WAIT + 2,
        "{cost} exchanges in an hour of silence"
    );
    assert!(
        cost >= 3600 / 60,
        "the server could not have spoken: {cost} exchanges"
    );
    for side in [Side::Client, Side::Server] {
        let id = pair.talker().stream;
        pair.client().talkers.get_mut(&id).unwrap().script.send = u64::from(side == Side::Client);
        pair.server()
            .unwrap()
            .talkers
            .get_mut(&id)
            .unwrap()
            .script
            .send = u64::from(side == Side::Server);
        let key = pair.key(id, side);
        assert!(pair.run_until(30 * SEC, |p| p.ledger.flow(key).read == 1));
        let lag = pair.ledger.flow(key).worst_lag;
        assert!(
            lag <= 25 * MS + 10 * MS,
            "a keystroke of the {side:?} took {lag} us on a path of 25 ms"
        );
        pair.run_for(60 * SEC);
    }
}

/// D10's count, S20, A12: 100 ping-pongs answered within grace cost at most 105 exchanges beyond idle polls.
#[test]
fn quick_ping_pongs_cost_one_exchange_each() {
    for think in [0, 10 * MS] {
        let mut pair = Pair::new(2);
        pair.serve(Script::echo(think));
        pair.run_for(SEC);
        let (before, began) = (pair.net.tally.exchanges(0), pair.now);
        pair.client().play(Script::ping(100, 8, 0).open_ended());
        let done = pair.run_until(60 * SEC, |p| {
            p.clients[0].talkers.values().all(|t| t.laps.len() == 100)
                && !p.clients[0].talkers.is_empty()
        });
        assert!(done);
        let cost = pair.net.tally.exchanges(0) - before;
        let idle = (pair.now - began).div_ceil(WAIT * SEC);
        assert!(
            cost <= 105 + idle,
            "{cost} exchanges for 100 ping-pongs, {idle} of them idle"
        );
    }
}

/// S5, A12: a surplus exchange waits `grace` for a reply of the application's to ride on its answer. To bulk that waited
/// in vain: with every exchange for bulk held, nothing more could be sent for 20 ms.
#[test]
fn s5_bulk_is_not_held_for_a_reply() {
    for (bytes, waits) in [(&[7; 50][..], true), (&[7; 10_000], false)] {
        let mut fake = FakeClient::connected(Config::default());
        fake.prefix.echo = None;
        fake.send(&[]);
        fake.prefix.open = vec![fake.exchange - 1].into();
        let before = fake.answers.len();
        fake.send(&[data(0, 0, bytes), data(0, bytes.len() as u64, bytes)]);
        assert_eq!(fake.answers.len() == before, waits, "{} bytes", bytes.len());
        fake.run_for(30 * MS);
        assert_eq!(fake.answers.len(), before + 1, "one of two is held");
    }
}

/// D10's count, A1: further apart than ack_delay, at most 205.
#[test]
fn slow_ping_pongs_cost_two_exchanges_each() {
    let mut pair = Pair::new(3);
    pair.serve(Script::echo(0));
    pair.run_for(SEC);
    let (before, began) = (pair.net.tally.exchanges(0), pair.now);
    pair.client()
        .play(Script::ping(100, 8, 600 * MS).open_ended());
    assert!(pair.run_until(120 * SEC, |p| {
        p.clients[0].talkers.values().any(|t| t.laps.len() == 100)
    }));
    let cost = pair.net.tally.exchanges(0) - before;
    let idle = (pair.now - began).div_ceil(WAIT * SEC);
    assert!(
        cost <= 205 + idle,
        "{cost} exchanges for 100 slow ping-pongs, {idle} of them idle"
    );
}

/// S20: a ping-pong takes a round trip, from either side.
#[test]
fn a_ping_pong_takes_a_round_trip() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new(4);
        pair.serve(Script::echo(0));
        pair.client().on_accept = Some(Script::echo(0));
        pair.run_for(SEC);
        match side {
            Side::Client => pair.client().play(Script::ping(50, 8, 7 * MS)),
            Side::Server => pair.server().unwrap().play(Script::ping(50, 8, 7 * MS)),
        }
        pair.run_to_end(60 * SEC);
        let talkers = match side {
            Side::Client => &pair.clients[0].talkers,
            Side::Server => &pair.hosts[0].sessions[0].talkers,
        };
        let mut laps = talkers.values().next().unwrap().laps.clone();
        laps.sort_unstable();
        // A pong that comes while its exchange is on the way back waits for the next one.
        let limit = if side == Side::Client {
            60 * MS
        } else {
            110 * MS
        };
        assert!(
            laps[25] <= limit,
            "half the {side:?}'s ping-pongs took more than {} us",
            laps[25]
        );
        assert!(
            laps[49] <= 160 * MS,
            "the slowest of the {side:?}'s took {} us",
            laps[49]
        );
    }
}

/// D4, A3: both sides blocked for credit make no exchanges but the idle ones.
#[test]
fn both_blocked() {
    let mut pair = Pair::new(5);
    pair.serve(Script::bulk(1 << 40).reading(Reading::Never));
    pair.client()
        .play(Script::bulk(1 << 40).reading(Reading::Never));
    pair.run_for(20 * SEC);
    let before = pair.net.tally.exchanges(0);
    pair.run_for(600 * SEC);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(cost <= 600 / WAIT + 3, "{cost} exchanges in ten minutes");
}

/// D4, A11: a server that answers everything at once and with nothing is polled more and more slowly, but every two seconds.
#[test]
fn server_that_holds_nothing() {
    let mut fake = FakeServer::connected(settings::tuned());
    let before = fake.requests;
    for _ in 0..6_000 {
        while !fake.open.is_empty() {
            fake.answer(&[]);
            assert!(fake.requests - before < 500, "polled without end");
        }
        fake.run_for(100 * MS);
    }
    let cost = fake.requests - before;
    let every_two = 600 / 2 - 20..=600 / 2 + 20;
    assert!(every_two.contains(&cost), "{cost} exchanges in ten minutes");
}

/// D4, A3: a server that gives no credit at all is not asked for it again and again.
#[test]
fn server_without_credit() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.prefix.credit = 0;
    let id = fake.client.open().expect("a hundred streams are allowed");
    let mut bytes = bytes::Bytes::from(vec![7; 200_000]);
    fake.client.stream(id).unwrap().write(&mut bytes).unwrap();
    fake.collect();
    let before = fake.requests;
    for _ in 0..50 {
        fake.run_for(WAIT * SEC);
        while fake.open.len() > 1 {
            fake.answer(&[]);
        }
        if !fake.open.is_empty() {
            fake.answer(&[]);
        }
    }
    let cost = fake.requests - before;
    assert!(cost <= 50 * 3 + 10, "{cost} exchanges in ten minutes");
}

/// D4, A11: a server that holds one more, or one less, than it was told.
#[test]
fn server_that_disagrees_about_hold() {
    for holds in [0usize, 2, 3] {
        let mut fake = FakeServer::connected(
            Settings {
                requests: Some(4),
                hold: Some(1),
                window: None,
            }
            .config(),
        );
        let before = fake.requests;
        for _ in 0..600 {
            fake.run_for(SEC);
            let mut answered = 0;
            while fake.open.len() > holds && answered < 10 {
                fake.answer(&[]);
                answered += 1;
            }
        }
        let cost = fake.requests - before;
        assert!(
            cost <= 600 / 2 + 60,
            "{cost} exchanges in ten minutes with a server that holds {holds}"
        );
    }
}

/// A1: only numbered messages owe acknowledgements: after a talk both sides fall silent.
#[test]
fn acknowledgements_are_not_acknowledged() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.run_for(SEC);
    let content: Content = data(1, 0, b"hello");
    let before = fake.requests;
    fake.answer(&[content]);
    fake.run_for(2 * SEC);
    let soon = fake.requests - before;
    assert!(
        (1..=2).contains(&soon),
        "{soon} requests after a push: one polls, one may acknowledge"
    );
    let later = fake.run_for(9 * SEC);
    assert_eq!(later, 0, "requests though nobody has anything to say");
}

/// C5, D4: no deadline is asked for that nothing can come of, all through a talk on a bad path.
#[test]
fn no_deadline_in_the_past() {
    let mut pair = Pair::new(6);
    pair.net.conditions.jitter = 100 * MS;
    pair.serve(Script::echo(10 * MS));
    pair.client().play(Script::paced(50_000, 1_000, 40 * MS));
    // The pair checks C5 after each step.
    pair.run_to_end(120 * SEC);
}
